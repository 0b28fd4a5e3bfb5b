"""Editing one open photograph: its document and undo stack. Here alone edits become Qt's undo commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QUndoCommand, QUndoStack

from desktop.document.edits import AddLayer, Compound, Edit, MoveLayer, Paint, TurnPicture, merge_down
from desktop.document.geometry import Turn
from desktop.document.model import Change, Document, Layer, State
from desktop.document.targets import EDGE_MAP, REPAIR_MASK, LayerMask, LayerPixels, Target
from desktop.document.tiles import TileDelta, TileEdit, TileMap
from desktop.language import sentence_of
from desktop.photo.undo_memory import UndoMemory
from desktop.work.base import Urgency
from desktop.work.edges import clear_edges
from desktop.work.threads import JobCentre, Lane, Ticket, Work
from engine.errors import EngineError
from engine.jobs import JobContext
from engine.raster import Rect

AT_ONCE = 16
"""Tiles that are changed without a job of its own: about 50 ms."""
_TRIES = 3
"""How often a change is computed anew because the picture was changed meanwhile."""

EditMaker = Callable[[JobContext], Edit | None]
"""Makes an edit, on an engine thread; None: there is nothing to change."""


class Editor(QObject):
    """The document of one open photograph, what is chosen in it, and its undo stack. Used on the GUI thread.

    Attributes:
        closed: nothing may happen to it any more.
        undo: the stack.

    Signals:
        picture_changed, mask_changed: carry the Rect to draw anew.
        layers_changed: the list, a property, the active layer or the mask target.
        size_changed: the picture was turned.
        review_changed: the search for damage, or what was decided about it.
        modified: whether there is unsaved work may have changed.
        message: something to say, a sentence.
        offered: the same with a button: a sentence, the button's text, and what it does.
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
        """The layer that is chosen in the panel; None is the scan."""
        return self.document.state.find(self._active)

    def set_active(self, id_: int | None) -> None:
        """Choose a layer, or the scan. A target on another layer is left."""
        self._active = id_
        if isinstance(self._target, LayerMask | LayerPixels) and self._target.layer != id_:
            self._target = REPAIR_MASK
        self.layers_changed.emit()

    @property
    def target(self) -> Target:
        """What the tools paint."""
        return self._target

    def set_target(self, target: Target) -> None:
        """Choose what the tools paint, if the document has it; a layer is chosen with what is painted of it."""
        if target != self._target and self._can_paint(target):
            self._target = target
            if isinstance(target, LayerMask | LayerPixels):
                self._active = target.layer
            self.layers_changed.emit()

    def _can_paint(self, target: Target) -> bool:
        return target.exists(self.document.state) and (target != EDGE_MAP or self._edges_shown)

    def mask(self) -> TileMap:
        """The map that the tools paint."""
        return self._target.read(self.document.state)

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
            self._target = REPAIR_MASK
        self.mask_changed.emit(self.document.bounds)
        self.layers_changed.emit()

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
            while self._held_results:
                self._held_results.pop(0)()
        finally:
            self._jobs.recheck()

    @property
    def settled(self) -> bool:
        """Whether no job's result waits for the end of a drag: what is frozen now lacks nothing."""
        return not self._held_results

    def _when_free(self, action: Callable[[], object]) -> None:
        if self.closed:
            return
        if self._gesturing:
            self._held_results.append(action)
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
        self._realign_stack()
        index = self.undo.index()
        self.undo_memory.truncate(index)
        step = _Step(self, edit)
        # Whoever hears of the step counts it already.
        self.undo_memory.add(step)
        self.undo.push(step)
        if self.undo.index() == index:
            # It was merged with the step before.
            self.undo_memory.truncate(index)
            self.undo_memory.refresh_last()

    def paint(self, label: str, deltas: Mapping[Target, TileDelta]) -> None:
        """A finished stroke, as one step; one that changes nothing is none."""
        steps = [(target, delta) for target, delta in deltas.items() if delta]
        if not steps:
            self.cancel_live()
            return
        if self._target != REPAIR_MASK:
            label = f"{label}, {self._target.name(self.document.state).removeprefix('the ')}"
        paints = [Paint(label, target, delta) for target, delta in steps]
        self.push(paints[0] if len(paints) == 1 else Compound(label, paints))

    def show_live(self, edits: Mapping[Target, TileEdit]) -> None:
        """Show a stroke in the making; the dirty rectangles of its edits are taken."""
        state, change = self.document.state, Change()
        for target, edit in edits.items():
            dirty, edit.dirty = edit.dirty, Rect(0, 0, 0, 0)
            state, change = target.put(state, edit.preview()), change | target.change(dirty)
        self.document.show(state, change)

    def cancel_live(self) -> None:
        """Show the document as it is: no stroke after all."""
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
        """An edit that takes long to make: a job makes it, and it is pushed when it is there.

        When the document was changed meanwhile so that the edit fits no more, it is made anew.

        Args:
            label: for the job list.
            freeze: called on the GUI thread with the document's state when the job's turn comes; gives what makes the
                edit of it.
            at_once: it is made here and now instead: there is little to do.
            fits: whether an edit that was made of the first state may be done on the second.
            then: called after it was pushed.
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

        def made(edit: Edit | None) -> None:
            if fits(frozen[0], self.document.state):
                self._push_made(edit, then)
            elif tries > 1:
                self._submit_change(label, freeze, fits, then, tries - 1)
            else:
                self.message.emit(f"{label} was not done: the picture was changed meanwhile. Please try again.")

        ticket = self.submit(label, Lane.COMPUTE, prepare, urgency=Urgency.HAND, ready=lambda: self.settled)
        ticket.done.connect(self.while_open(made))
        ticket.failed.connect(lambda error: self.message.emit(sentence_of(error)))

    def _push_made(self, edit: Edit | None, then: Callable[[], object]) -> None:
        if edit is not None:
            self.push(edit)
            then()

    def turn(self, turn: Turn) -> None:
        """Turn the picture; many layers take a job."""

        def freeze(state: State) -> EditMaker:
            return lambda context: TurnPicture(turn, state, context)

        state = self.document.state
        maps = [tiles for layer in state.layers for tiles in (*layer.content.maps().values(), layer.mask)]
        maps += [state.mask] if state.review is None else [state.mask, state.review.damage]
        self.push_when_made(turn.title, freeze, at_once=sum(len(tiles.stored) for tiles in maps) <= AT_ONCE)

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

    def move_layer(self, id_: int, index: int) -> None:
        """Move a layer to another place, 0 = just above the scan; nothing happens where there is none."""
        state = self.document.state
        if state.find(id_) is not None and 0 <= index < len(state.layers) and index != state.index(id_):
            self.push(MoveLayer("Move layer", state, id_, index))

    def merge_down(self) -> None:
        """Join the active layer with the one below; large ones take a job."""
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
        """Queue a job that belongs to this photograph: it is called off when the photograph is closed."""
        ticket = self._jobs.submit(title, lane, prepare, urgency=urgency, soon=soon, ready=ready)
        self._tickets.add(ticket)
        ticket.ended.connect(lambda: self._tickets.discard(ticket))
        return ticket

    def close(self) -> None:
        """Call off the jobs, and let go of the document's memory."""
        self.closed = True
        self.undo.cleanChanged.disconnect(self._on_clean_changed)
        # A stack says that it changed while it is emptied.
        self.undo.blockSignals(True)
        for ticket in list(self._tickets):
            ticket.cancel()
        self.document.forget_watchers()
        self.undo.clear()
        self.undo_memory.truncate(0)
        self._held_results.clear()

    # -- undo steps that cannot be taken ----------------------------------------------------------------------

    def run_step(self, step: QUndoCommand, change: Callable[[Document], None], *, done_before: bool) -> None:
        """Do or take back a step of the undo stack; only the stack's commands call this."""
        if self._failed_step is not None:
            return
        before = self.document.state
        try:
            change(self.document)
        except EngineError as error:
            self._failed_step = step, done_before
            everything = Change(self.document.bounds, self.document.bounds, layers=True, size=True, review=True)
            self.document.update(before, everything)
            self.message.emit(f"This step cannot be taken. {sentence_of(error)}")
            QTimer.singleShot(0, self, self._realign_stack)

    def _realign_stack(self) -> None:
        """Move the stack, whose steps do nothing meanwhile, to where the document is."""
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
        """The list of layers may be another: keep the active layer and the target sensible."""
        before, layers = self._layer_ids, [layer.id for layer in self.document.state.layers]
        new = set(layers) - set(before)
        # A layer that comes, or comes back, is the one to go on with; after one that goes, what was next below it.
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
        # Not every step makes or takes back work that is saved.
        self.modified.emit()


class _Step(QUndoCommand):
    """An edit on Qt's undo stack.

    When a step cannot be taken, because tiles that were put away cannot be read, the document stays as it is, and so
    it does in the steps after it; then the stack is moved back to where the document is.
    """

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
