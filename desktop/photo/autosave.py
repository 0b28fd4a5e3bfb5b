"""Keeps the work of one photograph safe: autosave after changes, and old undo steps out of memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from desktop.document.autosave_folder import AutosaveFolder
from desktop.document.model import Document, State
from desktop.document.project import OpenedFile, Snapshot
from desktop.document.tiles import Cell
from desktop.language import sentence_of
from desktop.photo.undo_memory import UndoMemory
from desktop.work.threads import Lane, Ticket, Work
from engine.errors import EngineError
from engine.imageio import same_file
from engine.jobs import JobContext

UNDO_BYTES = 512 << 20
"""Memory that undo steps may hold; the oldest beyond it go to the autosave folder."""
AUTOSAVE_SECONDS = 10
"""After a change the work is saved this much later."""

Submit = Callable[[str, Lane, Callable[[], Work]], Ticket]


class Autosave(QObject):
    """Autosave and undo memory of one photograph. GUI thread.

    Args:
        document: to keep.
        path: the file it was read from.
        folder: where to.
        submit: queues a job.
        steps: the undo steps.

    Signals:
        due: something was changed a while ago.
        message: something to say, a sentence.
    """

    due = Signal()
    message = Signal(str)

    def __init__(
        self,
        document: Document,
        path: Path,
        folder: AutosaveFolder,
        submit: Submit,
        steps: UndoMemory,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self.folder = folder
        self._document, self._submit, self._steps = document, submit, steps
        self._opened = OpenedFile(path, document.stamp)
        self._numbers = itertools.count(1)
        self._kept: State | None = document.state
        self._running = self._again = self._closed = False
        self._putting_away = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(AUTOSAVE_SECONDS * 1000)
        self._timer.timeout.connect(self.due)

    @property
    def busy(self) -> bool:
        """Whether an autosave is waiting or running."""
        return self._running

    @property
    def opened(self) -> OpenedFile:
        """The file that autosaved work is laid over, as it was opened or last saved over."""
        return self._opened

    def snapshot(self) -> Snapshot:
        """All that a worker needs to save or export the present state."""
        return Snapshot.of(self._document, self._opened, next(self._numbers))

    def schedule(self) -> None:
        """Something was done: want an autosave soon."""
        if not self._timer.isActive() and not self._closed:
            self._timer.start()

    def save(self) -> None:
        """Save the present state to the autosave folder, if it changed since the last time."""
        state = self._document.state
        if self._running:
            self._again = True
            return
        if self._kept is not None and state.same_work(self._kept):
            return
        snapshot, before = self.snapshot(), self._kept

        def work(context: JobContext) -> None:
            self.folder.autosave(snapshot, context)

        def kept() -> None:
            # Unless it was forgotten, or the opened file was saved over, meanwhile: then it has to be saved again.
            if snapshot.opened is self._opened and self._kept is before:
                self._kept = state

        self._running = True
        ticket = self._submit("Autosave", Lane.AUTOSAVE, lambda: work)
        ticket.done.connect(kept)
        ticket.failed.connect(self._on_failed)
        ticket.ended.connect(self._on_ended)

    def forget(self) -> None:
        """There is nothing unsaved any more: what was autosaved is not to be offered."""
        state = self._document.state
        if self._kept is not None and state.same_work(self._kept):
            return
        self._kept = state

        def work(_: JobContext) -> None:
            self.folder.forget_work()

        # On the same lane, behind an autosave that may still be waiting there.
        self._submit("Tidying up", Lane.AUTOSAVE, lambda: work)

    def save_at_once(self) -> None:
        """Autosave on this thread, without a job: the program is in trouble.

        Raises:
            EngineError: it cannot be saved.
        """
        self.folder.autosave(self.snapshot())

    def mark_saved(self, snapshot: Snapshot, path: Path, stamp: tuple[int, int] | None) -> None:
        """The user saved: only what was done since is left to recover.

        Args:
            snapshot: what was saved.
            path: where to.
            stamp: of that file as it was written.
        """
        if same_file(path, self._opened.path):
            self._opened = OpenedFile(self._opened.path, stamp, snapshot.state.geometry)
        # What was autosaved is saved now, or belongs to the file as it was before.
        self._kept = None
        if self._document.state.same_work(snapshot.state):
            self.forget()
        else:
            self.save()

    def limit_undo_memory(self) -> None:
        """Move the oldest tiles beyond the memory for undo to the autosave folder, in the background."""
        excess = self._steps.nbytes - UNDO_BYTES
        if self._putting_away or excess <= 0:
            return
        chosen = self._steps.take_oldest(excess)

        def work(context: JobContext) -> list[dict[Cell, tuple[str | None, str | None]]]:
            keys = []
            for done, delta in enumerate(chosen):
                context.progress(done / len(chosen), "old undo steps")
                keys.append(delta.copy_to(self.folder))
            return keys

        def put_away(keys: list[dict[Cell, tuple[str | None, str | None]]]) -> None:
            self._putting_away = False
            if self._closed:
                return
            for delta, names in zip(chosen, keys, strict=True):
                delta.release(self.folder, names)
            # What was pushed meanwhile.
            self.limit_undo_memory()

        self._putting_away = True
        ticket = self._submit("Putting old undo steps away", Lane.AUTOSAVE, lambda: work)
        ticket.done.connect(put_away)
        ticket.failed.connect(self._on_not_put_away)
        ticket.cancelled.connect(self._on_not_put_away)
        ticket.crashed.connect(lambda _: self._on_not_put_away())

    def close(self) -> None:
        """No more autosaves."""
        self._timer.stop()
        self._again, self._closed = False, True

    def _on_ended(self) -> None:
        self._running = False
        again, self._again = self._again, False
        if again:
            self.save()

    def _on_failed(self, error: EngineError) -> None:
        if not self._closed:
            self.message.emit(f"The work could not be autosaved. {sentence_of(error)}")

    def _on_not_put_away(self, error: EngineError | None = None) -> None:
        self._putting_away = False
        if error is not None and not self._closed:
            self.message.emit(f"Old undo steps stay in memory. {sentence_of(error)}")
