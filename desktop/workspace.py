"""One open photograph: its document, undo stack, jobs and autosave. Here alone edits become Qt's undo commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QUndoCommand, QUndoStack

from desktop.document.edits import (
    AddLayer,
    Edit,
    PaintMask,
    Turn,
    TurnPicture,
    mask_change,
    mask_of,
    merge_down,
    turns_between,
    with_mask,
)
from desktop.document.model import Change, Document, Layer, State
from desktop.document.project import Snapshot
from desktop.document.session import Session
from desktop.document.tiles import LEVELS, TileEdit, TileMap, TilePatch
from desktop.jobs import JobCentre, Lane, Ticket, Work
from desktop.repairs import Repaired, RepairJob, RepairRequest, cleared
from engine.errors import EngineError, SettingsError
from engine.jobs import JobContext
from engine.raster import Rect
from engine.resample import reductions
from engine.runtime.cards import Registry

UNDO_BYTES = 512 << 20
"""Memory that undo steps may hold; the oldest beyond it go to the session folder."""
AUTOSAVE_SECONDS = 60


@dataclass
class _Claim:
    """A mask that a job is repairing, so that no second job takes it; a spot is no part of the repair mask."""

    mask: TileMap
    spot: bool


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
        self.document, self.source, self.session = document, path, session
        self._registry = registry
        self.project: Path | None = None
        self.undo = QUndoStack(self)
        self.undo.cleanChanged.connect(self._on_clean_changed)
        self._jobs = jobs
        self._active: int | None = None
        self._target: int | None = None
        self._claims: dict[Ticket, _Claim] = {}
        self._tickets: set[Ticket] = set()
        self._spot: TileEdit | None = None
        self._source_turns: tuple[str, ...] = ()
        self._autosaved: State | None = document.state
        self._recovered = False
        self._closed = False
        self._saving = 0
        document.watch(self._on_change)
        self._timer = QTimer(self)
        self._timer.setInterval(AUTOSAVE_SECONDS * 1000)
        self._timer.timeout.connect(self.autosave)
        self._timer.start()
        self._make_levels()

    # -- state ------------------------------------------------------------------------------------------------

    @property
    def title(self) -> str:
        """The file's name."""
        return (self.project or self.source).name

    @property
    def unsaved(self) -> bool:
        """Whether closing would lose work."""
        return self._recovered or not self.undo.isClean()

    def mark_recovered(self) -> None:
        """The document holds autosaved work that is not in any file of the user."""
        self._recovered = True
        self.modified.emit()

    def mark_saved(self, project: Path, index: int) -> None:
        """The state at an index of the undo stack was written to a project file."""
        self.project = project
        if project == self.source:
            self._source_turns = self.document.state.turns
        self._recovered = False
        if index == self.undo.index():
            self.undo.setClean()
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
        """The layer whose mask the brush paints; None is the repair mask."""
        return self._target

    def set_target(self, id_: int | None) -> None:
        """Choose what the brush paints."""
        if id_ != self._target:
            self._target = id_
            self._active = id_ if id_ is not None else self._active
            self.layers_changed.emit()

    def snapshot(self) -> Snapshot:
        """All that a worker needs to save or export the present state."""
        document = self.document
        turns = turns_between(self._source_turns, document.state.turns)
        return Snapshot(document.state, document.profile, document.resolution, document.metadata, self.source, turns)

    def veils(self) -> list[TileMap]:
        """Masks to show over the picture: the repair mask and spots that wait for their heal."""
        spots = [claim.mask for claim in self._claims.values() if claim.spot]
        live = [self._spot.preview()] if self._spot is not None else []
        return [self.document.shown.mask, *spots, *live]

    # -- edits ------------------------------------------------------------------------------------------------

    def push(self, edit: Edit) -> None:
        """Do an edit as one undo step."""
        self.undo.push(_Step(self.document, edit))
        self._bound_undo()

    def paint(self, label: str, patch: TilePatch) -> None:
        """A finished stroke on the target mask."""
        self.push(PaintMask(label, self._target, patch))

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

    def turn(self, turn: Turn) -> None:
        """Turn the picture."""
        self.push(TurnPicture(turn, self.document.state))

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

    def submit(self, title: str, lane: Lane, prepare: Callable[[], Work]) -> Ticket:
        """Queue a job that belongs to this photograph: it is called off when the photograph is closed."""
        ticket = self._jobs.submit(title, lane, prepare)
        self._tickets.add(ticket)
        ticket.ended.connect(lambda: self._tickets.discard(ticket))
        return ticket

    @property
    def saving(self) -> bool:
        """Whether an autosave is waiting or running."""
        return self._saving > 0

    @property
    def busy(self) -> bool:
        """Whether repairs are waiting or running."""
        return bool(self._claims)

    def repair(self, request: RepairRequest, spot: TileMap | None = None) -> Ticket:
        """Queue a repair of the repair mask, or of a spot of its own.

        Raises:
            SettingsError: nothing is masked that is not being repaired already.
        """
        mask = spot or self._unclaimed()
        if not any(mask.read(rect).any() for rect in mask.occupied()):
            text = "All that is masked is being healed already." if self._claims else "Paint over the damage first."
            raise SettingsError(text, "repair.empty")
        job = RepairJob(self.document, request, mask, spot=spot is not None, registry=self._registry)
        ticket = self.submit(f"Heal {self.title}", Lane.COMPUTE, lambda: job.freeze(self.active))
        self._claims[ticket] = _Claim(mask, spot is not None)
        ticket.done.connect(lambda result: self._apply(job, result))
        ticket.ended.connect(lambda: self._release(ticket))
        return ticket

    def _apply(self, job: RepairJob, result: Repaired) -> None:
        if self._closed:
            return
        try:
            edit, layer = job.edit(result, self.active)
        except EngineError as error:
            self.message.emit(error.sentence)
            return
        self.push(edit)
        self._active = layer
        self.layers_changed.emit()

    def _release(self, ticket: Ticket) -> None:
        claim = self._claims.pop(ticket, None)
        if claim is not None and claim.spot:
            self.mask_changed.emit(claim.mask.extent())
        self.autosave()

    def _unclaimed(self) -> TileMap:
        """The repair mask without what jobs are working on."""
        mask = self.document.state.mask
        for claim in self._claims.values():
            if not claim.spot and claim.mask.shape == mask.shape:
                mask = cleared(mask, claim.mask).applied(mask)
        return mask

    def _make_levels(self) -> None:
        """Have the reductions of the scan made, for quick and smooth views from afar."""
        base = self.document.state.scan
        if base.base is None or base.has_levels:
            return
        array = base.base

        def work(context: JobContext) -> object:
            return reductions(array, LEVELS, context)

        ticket = self.submit("Preparing the view", Lane.IO, lambda: work)
        ticket.done.connect(lambda levels: self.document.attach_levels(base, levels))

    # -- memory and autosave ----------------------------------------------------------------------------------

    def autosave(self) -> None:
        """Save the present state to the session folder, if it changed since the last time."""
        state = self.document.state
        if self._closed or state is self._autosaved or not self.unsaved:
            return
        self._autosaved = state
        snapshot = self.snapshot()

        def work(context: JobContext) -> None:
            self.session.autosave(snapshot, context)

        self._saving += 1
        ticket = self.submit("Autosave", Lane.IO, lambda: work)
        ticket.failed.connect(self._on_autosave_failed)
        ticket.ended.connect(self._on_autosave_ended)

    def close(self) -> None:
        """Call off the jobs and stop saving."""
        self._timer.stop()
        self.undo.cleanChanged.disconnect(self._on_clean_changed)
        self._closed = True
        # A stack says that it changed while it is destroyed.
        self.undo.blockSignals(True)
        for ticket in list(self._tickets):
            ticket.cancel()

    def _bound_undo(self) -> None:
        steps = [self.undo.command(i) for i in range(self.undo.count())]
        held = [step.edit.nbytes for step in steps if isinstance(step, _Step)]
        excess = sum(held) - UNDO_BYTES
        for step, size in zip(steps, held, strict=True):
            if excess <= 0:
                return
            if size and isinstance(step, _Step):
                try:
                    step.edit.put_away(self.session)
                except EngineError as error:
                    self.message.emit(f"Old undo steps stay in memory. {error.sentence}")
                    return
                excess -= size

    # -- slots ------------------------------------------------------------------------------------------------

    def _on_change(self, change: Change) -> None:
        if change.size:
            self.size_changed.emit()
            self._make_levels()
        if change.layers:
            layers = {layer.id for layer in self.document.state.layers}
            self._active = self._active if self._active in layers else None
            self._target = self._target if self._target in layers else None
            self.layers_changed.emit()
        if change.picture:
            self.picture_changed.emit(change.picture)
        if change.mask:
            self.mask_changed.emit(change.mask)

    def _on_clean_changed(self, _clean: bool) -> None:  # noqa: FBT001 - Qt's signature
        self.modified.emit()

    def _on_autosave_ended(self) -> None:
        self._saving -= 1

    def _on_autosave_failed(self, error: EngineError) -> None:
        self._autosaved = None
        self.message.emit(f"The work could not be autosaved. {error.sentence}")


class _Step(QUndoCommand):
    """An edit on Qt's undo stack."""

    def __init__(self, document: Document, edit: Edit) -> None:
        super().__init__(edit.label)
        self._document, self.edit = document, edit

    def redo(self) -> None:
        self.edit.apply(self._document)

    def undo(self) -> None:
        self.edit.revert(self._document)

    def id(self) -> int:
        return 1

    def mergeWith(self, other: QUndoCommand) -> bool:
        merged = self.edit.merged(other.edit) if isinstance(other, _Step) else None
        if merged is None:
            return False
        self.edit = merged
        return True
