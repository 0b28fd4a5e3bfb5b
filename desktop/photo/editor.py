"""Edits one open photograph: its document and undo stack. The only place where edits become Qt undo commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QUndoCommand, QUndoStack

from desktop.document.edits import (
    AddLayer,
    Compound,
    Edit,
    MoveLayer,
    Paint,
    TurnPicture,
    UpdateReview,
    merge_down,
)
from desktop.document.geometry import Turn
from desktop.document.model import Change, Document, Layer, State
from desktop.document.targets import EDGE_MAP, REPAIR_MASK, LayerMask, LayerPixels, Target
from desktop.language import sentence_of
from desktop.photo.undo_memory import UndoMemory
from desktop.work.base import AT_ONCE, Urgency
from desktop.work.edges import clear_edges
from desktop.work.threads import JobCentre, Lane, Ticket, Work
from engine.errors import EngineError
from engine.jobs import JobContext
from engine.raster import Rect
from engine.tiles import TileDelta, TileEdit, TileMap

_TRIES = 3
"""How often an edit is computed before it is given up, if the picture is changed meanwhile."""

EditMaker = Callable[[JobContext], Edit | None]
"""Computes an edit on an engine thread; None: there is nothing to change."""


class Editor(QObject):
    """The document of one open photograph, its active layer and paint target, and its undo stack. GUI thread.

    Attributes:
        document: what is edited.
        undo: the undo stack.
        undo_memory: the memory that its steps hold.
        closed: whether the photograph was closed; results of jobs are ignored then.

    Signals:
        picture_changed, mask_changed: carry the Rect to redraw, image pixels.
        layers_changed: the list of layers, a property, the active layer or the paint target changed.
        size_changed: the picture was rotated or flipped.
        review_changed: the search for damage or the decisions about it changed.
        modified: whether there is unsaved work may have changed.
        message: carries a sentence for the user.
        offered: a message with a button; carries the sentence, the button's text, and the function that it calls.
    """

    picture_changed = Signal(object)
    mask_changed = Signal(object)
    layers_changed = Signal()
    size_changed = Signal()
    review_changed = Signal()
    modified = Signal()
    message = Signal(str)
    offered = Signal(str, str, object)

    def __init__(self, document: Document, jobs: JobCentre) -> None:
        super().__init__()
        self.document = document
        self.undo = QUndoStack(self)
        self.undo.cleanChanged.connect(self._on_clean_changed)
        self.undo.indexChanged.connect(self._on_step)
        self.undo_memory = UndoMemory()
        self._jobs = jobs
        self._layer_ids = [layer.id for layer in document.state.layers]
        self._active: int | None = self._layer_ids[-1] if self._layer_ids else None
        self._target: Target = REPAIR_MASK
        self._edges_shown = True
        self._tickets: set[Ticket] = set()
        self.closed = False
        self._gesturing = False
        self._failed_step: tuple[QUndoCommand, bool] | None = None
        self._held_results: list[Callable[[], object]] = []
        document.watch(self._on_change)

    # -- what is chosen ---------------------------------------------------------------------------------------

    @property
    def active(self) -> Layer | None:
        """The active layer; None is the scan."""
        return self.document.state.find(self._active)

    def set_active(self, id_: int | None) -> None:
        """Make a layer (None = the scan) active. A paint target on another layer is replaced by the repair mask."""
        self._active = id_
        if isinstance(self._target, LayerMask | LayerPixels) and self._target.layer != id_:
            self._target = REPAIR_MASK
        self.layers_changed.emit()

    @property
    def target(self) -> Target:
        """The paint target: what the tools paint."""
        return self._target

    def set_target(self, target: Target) -> None:
        """Set the paint target, if the document has it; its layer becomes active."""
        if target != self._target and self._can_paint(target):
            self._target = target
            if isinstance(target, LayerMask | LayerPixels):
                self._active = target.layer
            self.layers_changed.emit()

    def _can_paint(self, target: Target) -> bool:
        return target.exists(self.document.state) and (target != EDGE_MAP or self._edges_shown)

    def mask(self) -> TileMap:
        """The tile map of the paint target."""
        return self._target.read(self.document.state)

    @property
    def edges(self) -> TileMap | None:
        """The edge map to draw over the picture; None without one, or while it is hidden."""
        return self.document.shown.edges if self._edges_shown else None

    def show_edges(self, *, shown: bool) -> None:
        """Show or hide the edge map, which stays in the document. While hidden it cannot be the paint target."""
        if shown == self._edges_shown:
            return
        self._edges_shown = shown
        if not self._can_paint(self._target):
            self._target = REPAIR_MASK
        self.mask_changed.emit(self.document.bounds)
        self.layers_changed.emit()

    # -- gestures ---------------------------------------------------------------------------------------------

    @property
    def gesturing(self) -> bool:
        """Whether a stroke or slider is being dragged; nothing else may change the document then."""
        return self._gesturing

    def begin_gesture(self) -> None:
        """A drag begins: hold back results of jobs until it ends."""
        self._gesturing = True

    def end_gesture(self) -> None:
        """The drag ended and its edit was pushed: apply the results that were held back."""
        self._gesturing = False
        try:
            while self._held_results:
                self._held_results.pop(0)()
        finally:
            self._jobs.recheck()

    @property
    def settled(self) -> bool:
        """Whether no result of a job is held back by a drag, so that an input frozen now includes all results."""
        return not self._held_results

    def _when_free(self, action: Callable[[], object]) -> None:
        if self.closed:
            return
        if self._gesturing:
            self._held_results.append(action)
        else:
            action()

    def while_open(self, slot: Callable[..., Any]) -> Callable[..., None]:
        """Wrap a slot for a job: it is not called after the photograph was closed, and not before a drag has ended."""

        def guarded(*arguments: object) -> None:
            self._when_free(lambda: slot(*arguments))

        return guarded

    # -- edits ------------------------------------------------------------------------------------------------

    def push(self, edit: Edit) -> None:
        """Apply an edit as one undo step."""
        if self.document.batch_review is not None and isinstance(edit, UpdateReview):
            # The batch keeps it.
            edit.saved = False
        self._realign_stack()
        index = self.undo.index()
        self.undo_memory.truncate(index)
        step = _Step(self, edit)
        # Before the push, whose signals lead to questions about the memory.
        self.undo_memory.add(step)
        self.undo.push(step)
        if self.undo.index() == index:
            # Qt merged it with the step before.
            self.undo_memory.truncate(index)
            self.undo_memory.refresh_last()

    def paint(self, label: str, deltas: Mapping[Target, TileDelta]) -> None:
        """Make a finished stroke one undo step; none if it changes nothing."""
        steps = [(target, delta) for target, delta in deltas.items() if delta]
        if not steps:
            self.cancel_live()
            return
        if self._target != REPAIR_MASK:
            label = f"{label}, {self._target.name(self.document.state).removeprefix('the ')}"
        paints = [Paint(label, target, delta) for target, delta in steps]
        self.push(paints[0] if len(paints) == 1 else Compound(label, paints))

    def show_live(self, edits: Mapping[Target, TileEdit]) -> None:
        """Show an unfinished stroke; resets the dirty rectangles of its edits."""
        state, change = self.document.state, Change()
        for target, edit in edits.items():
            dirty, edit.dirty = edit.dirty, Rect(0, 0, 0, 0)
            state, change = target.put(state, edit.preview()), change | target.change(dirty)
        self.document.show(state, change)

    def cancel_live(self) -> None:
        """Discard the unfinished stroke and show the current state."""
        if self.document.shown is not self.document.state:
            self.document.show(None, Change(picture=self.document.bounds, mask=self.document.bounds))

    def push_when_made(
        self,
        label: str,
        freeze: Callable[[State], EditMaker],
        *,
        at_once: bool = False,
        fits: Callable[[State, State], bool] = State.same_work,
        then: Callable[[], object] = lambda: None,
    ) -> None:
        """Compute an edit in a job, and push it when it is ready.

        If the document was changed meanwhile so that the edit does not fit, it is computed again.

        Args:
            label: for the job list.
            freeze: called on the GUI thread with the document's state when the job's turn comes; returns the function
                that computes the edit.
            at_once: compute it synchronously, because there is little to do.
            fits: whether an edit that was computed for the first state can be applied to the second.
            then: called after the push.
        """
        if at_once:
            self._push_made(freeze(self.document.state)(JobContext()), then)
        else:
            self._submit_change(label, freeze, fits, then, _TRIES)

    def _submit_change(
        self,
        label: str,
        freeze: Callable[[State], EditMaker],
        fits: Callable[[State, State], bool],
        then: Callable[[], object],
        tries: int,
    ) -> None:
        frozen: list[State] = []

        def prepare() -> Work:
            frozen.append(self.document.state)
            return freeze(self.document.state)

        def on_made(edit: Edit | None) -> None:
            if fits(frozen[0], self.document.state):
                self._push_made(edit, then)
            elif tries > 1:
                self._submit_change(label, freeze, fits, then, tries - 1)
            else:
                self.message.emit(f"{label} was not done: the picture was changed meanwhile. Please try again.")

        ticket = self.submit(label, Lane.COMPUTE, prepare, urgency=Urgency.HAND, ready=lambda: self.settled)
        ticket.done.connect(self.while_open(on_made))
        ticket.failed.connect(lambda error: self.message.emit(sentence_of(error)))

    def _push_made(self, edit: Edit | None, then: Callable[[], object]) -> None:
        if edit is not None:
            self.push(edit)
            then()

    def turn(self, turn: Turn) -> None:
        """Rotate or flip the picture; in a job if there are many tiles."""

        def freeze(state: State) -> EditMaker:
            return lambda context: TurnPicture(turn, state, context)

        state = self.document.state
        maps = [tiles for layer in state.layers for tiles in (*layer.content.maps().values(), layer.mask)]
        maps += [state.mask] if state.review is None else [state.mask, state.review.damage]
        self.push_when_made(turn.title, freeze, at_once=sum(len(tiles.stored) for tiles in maps) <= AT_ONCE)

    def clear_edges(self) -> None:
        """Remove the edge map."""
        edit = clear_edges(self.document.state)
        if edit is not None:
            self.push(edit)

    def duplicate_layer(self) -> None:
        """Insert a copy of the active layer above it, and make it active."""
        layer = self.active
        if layer is not None:
            copy = replace(layer, id=self.document.new_id(), name=f"{layer.name} copy")
            self.push(AddLayer("Duplicate layer", copy, self.document.state.index(layer.id) + 1))
            self.set_active(copy.id)

    def move_layer(self, id_: int, index: int) -> None:
        """Move a layer to another index, 0 = just above the scan; ignores an impossible index or id."""
        state = self.document.state
        if state.find(id_) is not None and 0 <= index < len(state.layers) and index != state.index(id_):
            self.push(MoveLayer("Move layer", state, id_, index))

    def merge_down(self) -> None:
        """Merge the active layer with the one below; in a job if there are many tiles."""
        layer, state = self.active, self.document.state
        if layer is None or state.index(layer.id) == 0:
            return
        upper = layer.id
        empty = self.document.new_layer("")
        lower = state.layers[state.index(upper) - 1]

        def freeze(state: State) -> EditMaker:
            return lambda context: merge_down(state, upper, empty, context)

        def fits(before: State, now: State) -> bool:
            return before.layers is now.layers and before.geometry == now.geometry

        cells = {cell for one in (layer, lower) for cell in one.operation().cells()}
        self.push_when_made(
            f"Merge {layer.name} down",
            freeze,
            at_once=len(cells) <= AT_ONCE,
            fits=fits,
            then=lambda: self.set_active(empty.id),
        )

    # -- jobs -------------------------------------------------------------------------------------------------

    def submit(
        self,
        title: str,
        lane: Lane,
        prepare: Callable[[], Work],
        *,
        urgency: Urgency = Urgency.WHOLE_PICTURE,
        soon: bool = False,
        ready: Callable[[], bool] = lambda: True,
    ) -> Ticket:
        """Queue a job that is cancelled when the photograph is closed; see ``JobCentre.submit``."""
        ticket = self._jobs.submit(title, lane, prepare, urgency=urgency, soon=soon, ready=ready)
        self._tickets.add(ticket)
        ticket.ended.connect(lambda: self._tickets.discard(ticket))
        return ticket

    def close(self) -> None:
        """Cancel the jobs, and release the document's memory."""
        self.closed = True
        self.undo.cleanChanged.disconnect(self._on_clean_changed)
        # A stack emits signals while it is cleared.
        self.undo.blockSignals(True)
        for ticket in list(self._tickets):
            ticket.cancel()
        self.document.forget_watchers()
        self.undo.clear()
        self.undo_memory.truncate(0)
        self._held_results.clear()

    # -- undo steps that fail ---------------------------------------------------------------------------------

    def run_step(self, step: QUndoCommand, change: Callable[[Document], None], *, done_before: bool) -> None:
        """Apply or revert a step of the undo stack. Only the stack's commands call this.

        If it fails, the document keeps its state, further steps do nothing, and the stack is realigned afterwards.

        Args:
            step: the command.
            change: applies or reverts its edit.
            done_before: whether the edit was applied before the call.
        """
        if self._failed_step is not None:
            return
        before = self.document.state
        try:
            change(self.document)
        except EngineError as error:
            self._failed_step = step, done_before
            everything = Change(self.document.bounds, self.document.bounds, layers=True, size=True, review=True)
            self.document.update(before, everything)
            self.message.emit(f"This step cannot be undone or redone. {sentence_of(error)}")
            QTimer.singleShot(0, self, self._realign_stack)

    def _realign_stack(self) -> None:
        """After a failed step: set the index of the stack to the state of the document. Steps do nothing meanwhile."""
        if self._failed_step is None:
            return
        step, done_before = self._failed_step
        steps = [self.undo.command(i) for i in range(self.undo.count())]
        if step in steps:
            self.undo.setIndex(steps.index(step) + done_before)
        self._failed_step = None

    # -- slots ------------------------------------------------------------------------------------------------

    def _on_change(self, change: Change) -> None:
        if change.size:
            self.size_changed.emit()
        if change.layers:
            self._update_active()
        if change.review:
            self.review_changed.emit()
        if change.picture:
            self.picture_changed.emit(change.picture)
        if change.mask:
            self.mask_changed.emit(change.mask)

    def _update_active(self) -> None:
        """The list of layers may have changed: update the active layer and the paint target."""
        before, layers = self._layer_ids, [layer.id for layer in self.document.state.layers]
        new = set(layers) - set(before)
        # A layer that was added becomes active; after a removal, the one that was below.
        if len(new) == 1 and self._target == REPAIR_MASK:
            (self._active,) = new
        elif self._active in before and self._active not in layers:
            below = before[: before.index(self._active)]
            self._active = next((id_ for id_ in reversed(below) if id_ in layers), None)
        self._layer_ids = layers
        self._target = self._target if self._can_paint(self._target) else REPAIR_MASK
        self.layers_changed.emit()

    def _on_clean_changed(self, _clean: bool) -> None:  # noqa: FBT001 - Qt's signature
        self.modified.emit()

    def _on_step(self) -> None:
        # Whether work is unsaved depends on the steps that are done, not only on the stack's clean state.
        self.modified.emit()


class _Step(QUndoCommand):
    """An edit on Qt's undo stack; see ``Editor.run_step`` for steps that fail."""

    def __init__(self, editor: Editor, edit: Edit) -> None:
        super().__init__(edit.label)
        self._editor, self.edit = editor, edit

    def redo(self) -> None:
        self._editor.run_step(self, self.edit.apply, done_before=False)

    def undo(self) -> None:
        self._editor.run_step(self, self.edit.revert, done_before=True)

    def id(self) -> int:
        return 1

    def mergeWith(self, other: QUndoCommand) -> bool:
        merged = self.edit.merge_with(other.edit) if isinstance(other, _Step) else None
        if merged is None:
            return False
        self.edit = merged
        return True
