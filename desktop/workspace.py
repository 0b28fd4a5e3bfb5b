"""One open photograph: its document, undo stack, jobs and autosave. Here alone edits become Qt's undo commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QUndoCommand, QUndoStack

from desktop.desk import TaskDesk
from desktop.document.edits import (
    AddLayer,
    Edit,
    PaintMask,
    Turn,
    TurnPicture,
    mask_change,
    mask_of,
    merge_down,
    with_mask,
)
from desktop.document.model import EDGES, Change, Document, Layer
from desktop.document.project import Snapshot
from desktop.document.session import Session
from desktop.document.tiles import LEVELS, TileEdit, TileMap, TilePatch
from desktop.jobs import JobCentre, Lane, Ticket, Work
from desktop.keeper import Keeper
from desktop.repairs import clear_edges
from desktop.review import ReviewDesk
from desktop.tools.select import filter_cost, filtered
from engine.errors import EngineError
from engine.jobs import JobContext
from engine.raster import Mask, Rect
from engine.resample import reductions
from engine.runtime.cards import Registry

FILTER_AT_ONCE = 16_000_000
"""Pixels of a whole-mask command that is done at once; a larger one is a job."""


class Workspace(QObject):
    """One open photograph. Used on the GUI thread.

    Signals:
        picture_changed, mask_changed: carry the Rect to draw anew.
        layers_changed: the list, a property, the active layer or the mask target.
        size_changed: the picture was turned.
        modified: whether there is unsaved work may have changed.
        message: something to say, a sentence.
    """

    picture_changed = Signal(object)
    mask_changed = Signal(object)
    layers_changed = Signal()
    size_changed = Signal()
    modified = Signal()
    message = Signal(str)

    def __init__(self, document: Document, path: Path, session: Session, jobs: JobCentre, registry: Registry) -> None:
        super().__init__()
        self.document, self.source = document, path
        self.project: Path | None = None
        self.undo = QUndoStack(self)
        self.undo.cleanChanged.connect(self._on_clean_changed)
        self._jobs = jobs
        self._order = [layer.id for layer in document.state.layers]
        self._active: int | None = self._order[-1] if self._order else None
        self._target: int | None = None
        self._edges_shown = True
        self._tickets: set[Ticket] = set()
        self._spot: TileEdit | None = None
        self.recovered = self._recovered = False
        self.closed = False
        """Whether it was closed: nothing may happen to it any more."""
        self._gesturing = False
        self._stuck: tuple[QUndoCommand, bool] | None = None
        self._held: list[Callable[[], object]] = []
        self.keeper = Keeper(document, path, session, self.submit, self._patches, self)
        self.keeper.wanted.connect(self.autosave)
        self.keeper.message.connect(self.message)
        self.desk = TaskDesk(self, registry)
        self.review = ReviewDesk(self)
        self.undo.indexChanged.connect(self._on_step)
        document.watch(self._on_change)
        # The first picture first.
        QTimer.singleShot(0, self, self._make_levels)
        QTimer.singleShot(0, self, self.review.follow)

    # -- state ------------------------------------------------------------------------------------------------

    @property
    def title(self) -> str:
        """The file's name."""
        return (self.project or self.source).name

    def files(self) -> list[Path]:
        """The file that was opened, and the project it is saved to."""
        return list(dict.fromkeys(path.resolve() for path in (self.source, self.project) if path is not None))

    @property
    def unsaved(self) -> bool:
        """Whether closing would lose work."""
        clean, now = self.undo.cleanIndex(), self.undo.index()
        steps = [self.undo.command(i) for i in range(min(clean, now), max(clean, now))] if clean >= 0 else []
        lost = clean < 0 or any(isinstance(step, _Step) and step.edit.saved for step in steps)
        return self._recovered or lost

    def mark_recovered(self) -> None:
        """The document holds autosaved work that is not in any file of the user."""
        self.recovered = self._recovered = True
        self.modified.emit()

    def mark_saved(self, project: Path, snapshot: Snapshot, stamp: tuple[int, int] | None) -> None:
        """A snapshot was written to a project file, which then had a stamp."""
        if self.closed:
            return
        self.project = project
        self.keeper.saved_to_file(snapshot, project, stamp)
        if self.document.state.same_work(snapshot.state):
            self._recovered = False
            self.undo.setClean()
        else:
            # The step that was the saved one before is so no more.
            self.undo.resetClean()
        self.modified.emit()

    def mask(self) -> TileMap:
        """The mask that the brush paints."""
        return mask_of(self.document.state, self._target)

    @property
    def active(self) -> Layer | None:
        """The layer that is chosen in the panel; None is the scan."""
        return next((layer for layer in self.document.state.layers if layer.id == self._active), None)

    def set_active(self, id_: int | None) -> None:
        """Choose a layer, or the scan. A mask target on another layer is left."""
        self._active = id_
        if self._target not in (None, id_):
            self._target = None
        self.layers_changed.emit()

    @property
    def target(self) -> int | None:
        """The layer whose mask the brush paints; None is the repair mask, ``EDGES`` the edge map."""
        return self._target

    @property
    def target_name(self) -> str:
        """What the brush paints, in words; empty for the repair mask."""
        if self._target == EDGES:
            return "the edges"
        return f"the mask of {self.document.state.layer(self._target).name}" if self._target is not None else ""

    def set_target(self, id_: int | None) -> None:
        """Choose what the brush paints; the edge map only where there is one."""
        if id_ != self._target and self._can_paint(id_):
            self._target = id_
            self._active = self._active if id_ in (None, EDGES) else id_
            self.layers_changed.emit()

    def _can_paint(self, target: int | None) -> bool:
        state = self.document.state
        if target == EDGES:
            return state.edges is not None and self._edges_shown
        return target is None or any(layer.id == target for layer in state.layers)

    @property
    def edges(self) -> TileMap | None:
        """The edge map to show over the picture; None without one, or while it is hidden."""
        return self.document.shown.edges if self._edges_shown else None

    def show_edges(self, *, shown: bool) -> None:
        """Show or hide the edge map, which the document keeps. What is hidden is not painted."""
        if shown == self._edges_shown:
            return
        self._edges_shown = shown
        if not self._can_paint(self._target):
            self._target = None
        self.mask_changed.emit(self.document.bounds)
        self.layers_changed.emit()

    def snapshot(self) -> Snapshot:
        """All that a worker needs to save or export the present state."""
        return self.keeper.snapshot()

    def veils(self) -> list[TileMap]:
        """Masks to show over the picture: the repair mask and spots that wait for their heal."""
        live = [self._spot.preview()] if self._spot is not None else []
        return [self.document.shown.mask, *self.desk.spots(), *live]

    # -- gestures ---------------------------------------------------------------------------------------------

    @property
    def gesturing(self) -> bool:
        """Whether a stroke or a slider is being dragged: then nothing else may change the document."""
        return self._gesturing

    def begin_gesture(self) -> None:
        """A drag begins; results of jobs wait until it ends."""
        self._gesturing = True

    def end_gesture(self) -> None:
        """The drag is over, and what it made is pushed."""
        self._gesturing = False
        try:
            while self._held:
                self._held.pop(0)()
        finally:
            self._jobs.go_on()

    @property
    def settled(self) -> bool:
        """Whether no job's result waits for the end of a drag: what is frozen now lacks nothing."""
        return not self._held

    def _when_free(self, action: Callable[[], object]) -> None:
        if self.closed:
            return
        if self._gesturing:
            self._held.append(action)
        else:
            action()

    def while_open(self, slot: Callable[..., Any]) -> Callable[..., None]:
        """A slot for a job that does nothing once the photograph is closed, and waits while something is dragged."""

        def guarded(*arguments: object) -> None:
            self._when_free(lambda: slot(*arguments))

        return guarded

    # -- edits ------------------------------------------------------------------------------------------------

    def push(self, edit: Edit) -> None:
        """Do an edit as one undo step."""
        self._unstick()
        self.undo.push(_Step(self, edit))
        self.keeper.bound_undo()

    def paint(self, label: str, patch: TilePatch) -> None:
        """A finished stroke on the target mask; one that changes nothing is no step."""
        if patch:
            if self._target is not None:
                label = f"{label}, {self.target_name.removeprefix('the ')}"
            self.push(PaintMask(label, self._target, patch))
        else:
            self.cancel_live()

    def show_live(self, edit: TileEdit) -> None:
        """A stroke in the making on the target mask."""
        dirty, edit.dirty = edit.dirty, Rect(0, 0, 0, 0)
        state = with_mask(self.document.state, self._target, edit.preview())
        self.document.show(state, mask_change(self._target, dirty))

    def cancel_live(self) -> None:
        """No stroke after all."""
        if self.document.shown is not self.document.state:
            self.document.show(None, Change(picture=self.document.bounds, mask=self.document.bounds))

    def show_spot(self, edit: TileEdit | None) -> None:
        """A spot-heal stroke in the making, or its end."""
        dirty = self.document.bounds
        if edit is not None:
            dirty, edit.dirty = edit.dirty, Rect(0, 0, 0, 0)
        self._spot = edit
        self.mask_changed.emit(dirty)

    def filter_mask(self, label: str, change: Callable[[Mask], Mask], reach: float) -> None:
        """A command on the whole of the mask that is painted; a long one is a job.

        Args:
            label: for the history.
            change: from mask to mask.
            reach: see ``tools.select.filtered``.
        """
        state, target = self.document.state, self._target
        mask = mask_of(state, target)
        if filter_cost(mask, reach) <= FILTER_AT_ONCE:
            self._push_filter(filtered(state, target, label, change, reach))
            return

        def work(context: JobContext) -> PaintMask:
            return filtered(state, target, label, change, reach, context)

        def apply(edit: PaintMask) -> None:
            if self._can_paint(target) and mask_of(self.document.state, target) is mask:
                self._push_filter(edit)
            else:
                self.message.emit("The mask was painted meanwhile; please try again.")

        ticket = self.submit(label, Lane.COMPUTE, lambda: work)
        ticket.done.connect(self.while_open(apply))

    def _push_filter(self, edit: PaintMask) -> None:
        if edit.patches()[0]:
            self.push(edit)

    def turn(self, turn: Turn) -> None:
        """Turn the picture."""
        self.push(TurnPicture(turn, self.document.state))

    def clear_edges(self) -> None:
        """The edge map goes."""
        edit = clear_edges(self.document.state)
        if edit is not None:
            self.push(edit)

    def duplicate_layer(self) -> None:
        """A copy of the active layer above it."""
        layer = self.active
        if layer is not None:
            copy = replace(layer, id=self.document.new_id(), name=f"{layer.name} copy")
            self.push(AddLayer("Duplicate layer", copy, self.document.state.index(layer.id) + 1))
            self.set_active(copy.id)

    def merge_down(self) -> None:
        """Join the active layer with the one below."""
        layer = self.active
        if layer is not None and self.document.state.index(layer.id) > 0:
            index = self.document.state.index(layer.id) - 1
            self.push(merge_down(self.document, layer.id))
            self.set_active(self.document.state.layers[index].id)

    # -- jobs -------------------------------------------------------------------------------------------------

    def submit(
        self,
        title: str,
        lane: Lane,
        prepare: Callable[[], Work],
        *,
        soon: bool = False,
        ready: Callable[[], bool] = lambda: True,
    ) -> Ticket:
        """Queue a job that belongs to this photograph: it is called off when the photograph is closed."""
        ticket = self._jobs.submit(title, lane, prepare, soon=soon, ready=ready)
        self._tickets.add(ticket)
        ticket.ended.connect(lambda: self._tickets.discard(ticket))
        return ticket

    @property
    def busy(self) -> bool:
        """Whether tasks are waiting or running."""
        return self.desk.busy

    def _make_levels(self) -> None:
        """Have the reductions of the scan made, for quick and smooth views from afar."""
        base = self.document.state.scan
        array = base.base
        if array is None or base.levels or self.closed:
            return

        def work(context: JobContext) -> object:
            return reductions(array, LEVELS, context)

        ticket = self.submit("Preparing the view", Lane.IO, lambda: work, soon=True)
        # Nobody means to look at the first quick view for good.
        ticket.cancelled.connect(self._make_levels)
        ticket.done.connect(self.while_open(lambda levels: self.document.attach_levels(base, levels)))

    def autosave(self) -> None:
        """Save unsaved work to the session folder if it is not there yet; work that was taken back goes from there."""
        if self.closed:
            return
        if self.unsaved:
            self.keeper.autosave()
        else:
            self.keeper.forget()

    def close(self) -> None:
        """Call off the jobs, stop saving, and let go of the document's memory."""
        self.closed = True
        self.keeper.close()
        self.undo.cleanChanged.disconnect(self._on_clean_changed)
        # A stack says that it changed while it is emptied.
        self.undo.blockSignals(True)
        for ticket in list(self._tickets):
            ticket.cancel()
        self.document.forget_watchers()
        self.undo.clear()
        self._held.clear()

    def take(self, step: QUndoCommand, change: Callable[[Document], None], *, done_before: bool) -> None:
        """Do or take back a step of the undo stack; only the stack's commands call this."""
        if self._stuck is not None:
            return
        before = self.document.state
        try:
            change(self.document)
        except EngineError as error:
            self._stuck = step, done_before
            everything = Change(self.document.bounds, self.document.bounds, layers=True, size=True, review=True)
            self.document.update(before, everything)
            self.message.emit(f"This step cannot be taken. {error.sentence}")
            QTimer.singleShot(0, self, self._unstick)

    def _unstick(self) -> None:
        """Move the stack, whose steps do nothing meanwhile, to where the document is."""
        if self._stuck is None:
            return
        step, done_before = self._stuck
        steps = [self.undo.command(i) for i in range(self.undo.count())]
        if step in steps:
            self.undo.setIndex(steps.index(step) + done_before)
        self._stuck = None

    def _patches(self) -> list[TilePatch]:
        """The patches of all undo steps, oldest first."""
        steps = [self.undo.command(i) for i in range(self.undo.count())]
        return [patch for step in steps if isinstance(step, _Step) for patch in step.edit.patches()]

    # -- slots ------------------------------------------------------------------------------------------------

    def _on_change(self, change: Change) -> None:
        if change.size:
            self.size_changed.emit()
            self._make_levels()
        if change.layers:
            before, layers = self._order, [layer.id for layer in self.document.state.layers]
            new = set(layers) - set(before)
            # A layer that comes, or comes back, is the one to go on with; after one that goes, what was next below it.
            if len(new) == 1 and self._target is None:
                (self._active,) = new
            elif self._active in before and self._active not in layers:
                below = before[: before.index(self._active)]
                self._active = next((id_ for id_ in reversed(below) if id_ in layers), None)
            self._order = layers
            self._target = self._target if self._can_paint(self._target) else None
            self.layers_changed.emit()
        if change.review:
            self.review.follow()
        if change.picture:
            self.picture_changed.emit(change.picture)
        if change.mask:
            self.mask_changed.emit(change.mask)

    def _on_clean_changed(self, _clean: bool) -> None:  # noqa: FBT001 - Qt's signature
        self.modified.emit()

    def _on_step(self) -> None:
        self.keeper.changed()
        # Not every step makes or takes back work that is saved.
        self.modified.emit()


class _Step(QUndoCommand):
    """An edit on Qt's undo stack.

    When a step cannot be taken, because tiles that were put away cannot be read, the document stays as it is, and so
    it does in the steps after it; then the stack is moved back to where the document is.
    """

    def __init__(self, workspace: Workspace, edit: Edit) -> None:
        super().__init__(edit.label)
        self._workspace, self.edit = workspace, edit

    def redo(self) -> None:
        self._workspace.take(self, self.edit.apply, done_before=False)

    def undo(self) -> None:
        self._workspace.take(self, self.edit.revert, done_before=True)

    def id(self) -> int:
        return 1

    def mergeWith(self, other: QUndoCommand) -> bool:
        merged = self.edit.merged(other.edit) if isinstance(other, _Step) else None
        if merged is None:
            return False
        self.edit = merged
        return True
