"""One open photograph: its editor with its jobs, defects, autosave and files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QTimer, Signal

from desktop.document.autosave_folder import AutosaveFolder
from desktop.document.compose import Composite
from desktop.document.model import Document
from desktop.document.project import Snapshot
from desktop.document.targets import Target
from desktop.photo.autosave import Autosave
from desktop.photo.defect_list import DefectList
from desktop.photo.editor import EditMaker, Editor
from desktop.photo.task_queue import TaskQueue
from desktop.work.threads import JobCentre, Lane
from engine.jobs import JobContext, JobState
from engine.outlines import union_delta
from engine.raster import Rect
from engine.resample import reductions
from engine.tiles import LEVELS, TileEdit, TileMap

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from desktop.document.edits import Edit
    from desktop.document.model import State
    from engine.runtime.cards import Registry


_LARGE = 16_000_000
"""Changed pixels from which the reductions for small zooms are computed in a job, not when they are painted."""


class Workspace(Editor):
    """One open photograph. Used on the GUI thread.

    Attributes:
        source: the file that was opened.
        project: the project file to which Save writes; None = Save asks for one.
        project_stamp: ``file_stamp`` of that file when this program last read or wrote it.
        task: id of the task that is chosen for it in the Repair panel; empty until one is.
        queue, defects, autosave: its jobs, defects and autosave.
        recovered: whether it was opened with autosaved work.

    Signals:
        scan_shown: the scan was shown or hidden on the canvas.
    """

    scan_shown = Signal()

    def __init__(
        self, document: Document, path: Path, folder: AutosaveFolder, jobs: JobCentre, registry: Registry
    ) -> None:
        super().__init__(document, jobs)
        self.source = path
        self.project: Path | None = None
        self.project_stamp: tuple[int, int] | None = None
        self.task = ""
        self.recovered = self._recovered = False
        self._spot: TileEdit | None = None
        self._scan_hidden = False
        self.autosave = Autosave(document, path, folder, self.submit, self._autosaved_state, self.undo_memory, self)
        self.autosave.due.connect(self.save_for_recovery)
        self.autosave.message.connect(self.message)
        self.defects = DefectList(self)
        self.queue = TaskQueue(self, self.defects, registry, lambda: self.title)
        self.queue.changed.connect(self._on_queue)
        self.undo.indexChanged.connect(self.autosave.schedule)
        self.undo.indexChanged.connect(self.autosave.limit_undo_memory)
        self._preparing = self._prepare_again = False
        self.size_changed.connect(self._prepare_view)
        self.picture_changed.connect(self._on_picture)
        # After the first repaint.
        QTimer.singleShot(0, self, self._prepare_view)
        QTimer.singleShot(0, self, self.defects.refresh)

    # -- the file and its name --------------------------------------------------------------------------------

    @property
    def title(self) -> str:
        """The file's name."""
        return (self.project or self.source).name

    def files(self) -> list[Path]:
        """The file that was opened, and the project file."""
        return list(dict.fromkeys(path.resolve() for path in (self.source, self.project) if path is not None))

    @property
    def unsaved(self) -> bool:
        """Whether closing would lose work, including that of waiting and running jobs."""
        clean, now = self.undo.cleanIndex(), self.undo.index()
        return self._recovered or self.queue.pending or clean < 0 or self.undo_memory.changes_saved_work(clean, now)

    def mark_recovered(self) -> None:
        """The document holds autosaved work that is not in any file of the user."""
        self.recovered = self._recovered = True
        self.modified.emit()

    def mark_saved(self, project: Path, snapshot: Snapshot, stamp: tuple[int, int] | None) -> None:
        """A snapshot was written to a project file; ``stamp`` is its ``file_stamp`` after that."""
        if self.closed:
            return
        self.project, self.project_stamp = project, stamp
        self.autosave.mark_saved(snapshot, project, stamp)
        if self.document.state.same_work(snapshot.state):
            self._recovered = False
            self.undo.setClean()
        else:
            # No step of the stack is the saved one.
            self.undo.resetClean()
        self.modified.emit()

    def snapshot(self) -> Snapshot:
        """The current state, to be saved or exported by a worker."""
        return self.autosave.snapshot()

    def save_for_recovery(self) -> None:
        """Autosave unsaved work that is not autosaved yet; delete autosaved work if nothing is unsaved any more."""
        if self.closed:
            return
        if self.unsaved:
            self.autosave.save()
        else:
            self.autosave.forget()

    def _autosaved_state(self) -> State:
        """The document's state; strokes that wait for their spot heal are kept as parts of the repair mask."""
        state = self.document.state
        for spot in self.queue.spot_masks():
            state = replace(state, mask=union_delta(state.mask, spot).apply_to(state.mask))
        return state

    def close(self) -> None:
        """Cancel the jobs, stop autosaving, and release the document's memory."""
        self.autosave.close()
        super().close()

    # -- what the canvas shows --------------------------------------------------------------------------------

    @property
    def scan_hidden(self) -> bool:
        """Whether the canvas shows the layers without the scan."""
        return self._scan_hidden

    def show_scan(self, *, shown: bool) -> None:
        """Show or hide the scan on the canvas; saving and exporting are not affected."""
        if self._scan_hidden == shown:
            self._scan_hidden = not shown
            self.picture_changed.emit(self.document.bounds)
            self.scan_shown.emit()

    def veil_masks(self) -> list[TileMap]:
        """The masks to show over the picture: the repair mask and the masks of spot heals."""
        live = [self._spot.preview()] if self._spot is not None else []
        return [self.document.shown.mask, *self.queue.spot_masks(), *live]

    def show_spot(self, edit: TileEdit | None) -> None:
        """Show the unfinished stroke of a spot heal; None removes it."""
        dirty = self.document.bounds
        if edit is not None:
            dirty, edit.dirty = edit.dirty, Rect(0, 0, 0, 0)
        self._spot = edit
        self.mask_changed.emit(dirty)

    def _on_picture(self, changed: Rect) -> None:
        if changed.area > _LARGE:
            self._prepare_view()

    def _prepare_view(self) -> None:
        """Queue a job that computes the missing reductions of scan and layers, so that small zooms are painted fast."""
        self._prepare_again = self._preparing
        if self._preparing or self.closed or _is_prepared(self.document.state):
            return
        scan: list[TileMap] = []

        def prepare() -> Callable[[JobContext], object]:
            state = self.document.state
            scan.append(state.scan)
            return lambda context: _make_reductions(state, context)

        # If it is cancelled, the scan is sampled instead, and reductions of layers are computed when they are painted.
        ticket = self.submit("Preparing the view", Lane.IO, prepare, soon=True)

        def on_done(levels: tuple[NDArray[Any], ...]) -> None:
            if not scan[0].levels:
                self.document.attach_levels(scan[0], levels)

        ticket.done.connect(self.while_open(on_done))
        ticket.ended.connect(lambda: self._on_prepared(again=self._prepare_again and ticket.state is JobState.DONE))
        self._preparing = True

    def _on_prepared(self, *, again: bool) -> None:
        """Prepare what changed meanwhile too, unless the user cancelled the job: then it does not come back."""
        self._preparing = False
        if again:
            self._prepare_view()

    # -- masks ------------------------------------------------------------------------------------------------

    def change_mask(
        self,
        label: str,
        make: Callable[[State, Target, JobContext], Edit | None],
        *,
        at_once: bool = False,
    ) -> None:
        """Change the whole map of the paint target, in a job.

        Args:
            label: for the job list.
            make: computes the edit from a state and the current paint target; on an engine thread.
            at_once: compute it synchronously, because there is little to do.
        """
        target = self.target

        def freeze(state: State) -> EditMaker:
            return lambda context: make(state, target, context)

        def fits(before: State, now: State) -> bool:
            same = target.exists(now) and target.read(before) is target.read(now)
            return same and before.geometry == now.geometry

        self.push_when_made(label, freeze, at_once=at_once, fits=fits)

    def _on_queue(self) -> None:
        self.modified.emit()
        self.save_for_recovery()


def _is_prepared(state: State) -> bool:
    """Whether all reductions of the scan and the layers are computed."""
    scan, top = state.scan, state.scan.bounds_at(LEVELS)
    return (scan.base is None or bool(scan.levels)) and Composite.of(state).prepare(top, LEVELS, lambda: False)


def _make_reductions(state: State, context: JobContext) -> tuple[NDArray[Any], ...]:
    """Compute the missing reductions of the layers, which are kept in their maps, and return those of the scan.

    Any thread.

    Raises:
        Cancelled: the context was cancelled.
    """
    scan, operations = state.scan, Composite.of(state).operations
    levels = scan.levels
    if scan.base is not None and not levels:
        levels = reductions(scan.base, LEVELS, context.part(0.0, 0.5))

    def keep_going() -> bool:
        context.check()
        return True

    for number, operation in enumerate(operations):
        context.progress(0.5 + 0.5 * number / len(operations), "preparing the view")
        operation.prepare(scan.bounds_at(LEVELS), LEVELS, keep_going)
    return levels
