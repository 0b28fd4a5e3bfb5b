"""Autosaves the work on one photograph after changes, and moves old undo steps from memory to disk."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from desktop.document.autosave_folder import AutosaveFolder
from desktop.document.model import Document, State
from desktop.document.project import OpenedFile, Snapshot
from desktop.language import sentence_of
from desktop.photo.undo_memory import UndoMemory
from desktop.work.threads import Lane, Ticket, Work
from engine.errors import EngineError
from engine.imageio import same_file
from engine.jobs import JobContext
from engine.tiles import Cell

UNDO_BYTES = 512 << 20
"""Memory for undo steps, bytes; the oldest beyond it are moved to the autosave folder."""
AUTOSAVE_SECONDS = 10
"""Seconds from the first change to the autosave."""
_NOT_SAVED = "The work could not be autosaved."
_NOT_MOVED = "Old undo steps stay in memory."

Submit = Callable[[str, Lane, Callable[[], Work]], Ticket]


class Autosave(QObject):
    """Autosave and undo memory of one photograph. GUI thread.

    Args:
        document: what is saved.
        path: the file from which it was read.
        folder: where it is saved.
        submit: queues a job.
        state: the state that is autosaved: the document's, with work that is still waiting.
        steps: the memory of the undo steps.

    Signals:
        due: an autosave should be made now.
        message: carries a sentence for the user. The same failure is not told again until its work has succeeded.
    """

    due = Signal()
    message = Signal(str)

    def __init__(
        self,
        document: Document,
        path: Path,
        folder: AutosaveFolder,
        submit: Submit,
        state: Callable[[], State],
        steps: UndoMemory,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self.folder = folder
        self._document, self._submit, self._state, self._steps = document, submit, state, steps
        self._opened = OpenedFile(path, document.stamp)
        self._numbers = itertools.count(1)
        self._kept: State | None = document.state
        self._running = self._again = self._closed = False
        self._moving_undo = False
        self._told: set[str] = set()
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
        """The file on which autosaved work is based, as it was opened or last overwritten."""
        return self._opened

    def snapshot(self) -> Snapshot:
        """The current state, to be saved or exported by a worker."""
        return Snapshot.of(self._document, self._opened, next(self._numbers))

    def schedule(self) -> None:
        """The document changed: emit ``due`` after ``AUTOSAVE_SECONDS``."""
        if not self._timer.isActive() and not self._closed:
            self._timer.start()

    def save(self) -> None:
        """Start saving the current state to the autosave folder, if it changed since the last time."""
        state = self._state()
        if self._running:
            self._again = True
            return
        if self._kept is not None and state.same_work(self._kept):
            return
        snapshot, before = replace(self.snapshot(), state=state), self._kept

        def work(context: JobContext) -> None:
            self.folder.autosave(snapshot, context)

        def on_saved() -> None:
            self._told.discard(_NOT_SAVED)
            # Not if it was deleted or the opened file was overwritten meanwhile: then it has to be saved again.
            if snapshot.opened is self._opened and self._kept is before:
                self._kept = state

        self._running = True
        ticket = self._submit("Autosave", Lane.AUTOSAVE, lambda: work)
        ticket.done.connect(on_saved)
        ticket.failed.connect(self._on_failed)
        ticket.ended.connect(self._on_ended)

    def forget(self) -> None:
        """Delete the autosaved work: nothing is unsaved any more."""
        state = self._document.state
        if self._kept is not None and state.same_work(self._kept):
            return
        self._kept = state

        def work(_: JobContext) -> None:
            self.folder.forget_work()

        # On the same lane, so that it runs after an autosave that is still waiting.
        self._submit("Tidying up", Lane.AUTOSAVE, lambda: work)

    def save_at_once(self) -> None:
        """Autosave synchronously, without a job: the program is about to end.

        Raises:
            EngineError: it cannot be saved.
        """
        self.folder.autosave(replace(self.snapshot(), state=self._state()))

    def mark_saved(self, snapshot: Snapshot, path: Path, stamp: tuple[int, int] | None) -> None:
        """The project was saved: only later changes have to be autosaved.

        Args:
            snapshot: what was saved.
            path: the file.
            stamp: ``file_stamp`` of it after it was written.
        """
        if same_file(path, self._opened.path):
            self._opened = OpenedFile(self._opened.path, stamp, snapshot.state.geometry)
        # The autosaved work is saved now, or is based on the file before it was overwritten.
        self._kept = None
        if self._document.state.same_work(snapshot.state):
            self.forget()
        else:
            self.save()

    def limit_undo_memory(self) -> None:
        """Start moving the oldest tiles beyond ``UNDO_BYTES`` to the autosave folder."""
        excess = self._steps.nbytes - UNDO_BYTES
        if self._moving_undo or excess <= 0:
            return
        chosen = self._steps.take_oldest(excess)

        def work(context: JobContext) -> list[dict[Cell, tuple[str | None, str | None]]]:
            keys = []
            for done, delta in enumerate(chosen):
                context.progress(done / len(chosen), "old undo steps")
                keys.append(delta.copy_to(self.folder))
            return keys

        def release(keys: list[dict[Cell, tuple[str | None, str | None]]]) -> None:
            self._moving_undo = False
            self._told.discard(_NOT_MOVED)
            if self._closed:
                return
            for delta, names in zip(chosen, keys, strict=True):
                delta.release(self.folder, names)
            # Steps may have been pushed meanwhile.
            self.limit_undo_memory()

        self._moving_undo = True
        ticket = self._submit("Moving old undo steps to disk", Lane.AUTOSAVE, lambda: work)
        ticket.done.connect(release)
        ticket.failed.connect(self._on_undo_not_moved)
        ticket.cancelled.connect(self._on_undo_not_moved)
        ticket.crashed.connect(lambda _: self._on_undo_not_moved())

    def close(self) -> None:
        """Stop autosaving."""
        self._timer.stop()
        self._again, self._closed = False, True

    def _on_ended(self) -> None:
        self._running = False
        again, self._again = self._again, False
        if again:
            self.save()

    def _on_failed(self, error: EngineError) -> None:
        self._tell(_NOT_SAVED, error)

    def _on_undo_not_moved(self, error: EngineError | None = None) -> None:
        self._moving_undo = False
        if error is not None:
            self._tell(_NOT_MOVED, error)

    def _tell(self, what: str, error: EngineError) -> None:
        """Tell a failure once: it is tried again after every change, and a full disk stays full."""
        if not self._closed and what not in self._told:
            self._told.add(what)
            self.message.emit(f"{what} {sentence_of(error)}")
