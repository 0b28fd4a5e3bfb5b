"""From a press on the panel's button to one edit: freezing a task's input, and laying what comes of it on the document.

A repair's patch becomes a layer or joins one; drawn edges become the edge map. Knows no Qt.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from desktop.document.compose import Composite
from desktop.document.edits import (
    AddLayer,
    Compound,
    Edit,
    JoinLayer,
    PaintMask,
    Turn,
    mask_of,
    turned_tiles,
    turns_between,
)
from desktop.document.model import EDGES, GUIDED, BlendMode, Document, Layer, State
from desktop.document.tiles import Cell, TileMap, TilePatch, compact
from engine.jobs import JobContext
from engine.raster import Rect, mix
from engine.record import Repair

Tile = NDArray[Any]

if TYPE_CHECKING:
    from engine.runtime.cards import Registry
    from engine.tasks import Job, Marks, Patch, Piece, Task


@dataclass(frozen=True)
class RepairRequest:
    """What the task panel asks for.

    Attributes:
        task: a row of ``engine.tasks.TASKS``.
        model: id of a model card.
        device: ``auto``, ``cpu`` or ``cuda``.
        settings: the task's settings by name.
        new_layer: always on a layer of its own.
    """

    task: str
    model: str
    device: str
    settings: dict[str, float]
    new_layer: bool = False


@dataclass(frozen=True)
class Outcome:
    """What comes back from the engine thread: a patch, marks or ``defects.Found``; and where the model really ran."""

    result: Any
    device: str
    repair: Repair | None = None


class TaskJob(ABC):
    """One task on the document, from the press to its edit. GUI thread, but for what ``freeze`` gives.

    Args:
        document: to read from and to write to.
        request: what is wanted.
        registry: the models.
        mask: where, frozen when it was asked for; None = the whole picture.
    """

    spot = False
    """Whether the mask is no part of the document's repair mask."""
    claims = False
    """Whether the mask is taken: no second job works on it meanwhile."""

    def __init__(
        self, document: Document, request: RepairRequest, registry: Registry, mask: TileMap | None = None
    ) -> None:
        self._document, self._request, self._registry, self._mask = document, request, registry, mask
        self._turns = document.state.turns
        self._frozen: tuple[str, ...] = ()
        self._with = ""

    @property
    def task(self) -> Task:
        """The row of the task that is done."""
        from engine.tasks import TASKS

        return TASKS[self._request.task]

    @property
    def mask(self) -> TileMap | None:
        """Where, as the picture lies now."""
        now = self._document.state.turns
        if self._mask is not None:
            for turn in _turns(self._turns, now):
                self._mask = turned_tiles(self._mask, turn)
        self._turns = now
        return self._mask

    @abstractmethod
    def freeze(self, active: Layer | None) -> Callable[[JobContext], Outcome]:
        """Fix the input when the job's turn comes, so that it sees what the jobs before it did.

        Args:
            active: the layer that is chosen.

        Raises:
            SettingsError: a setting is impossible.
            ModelError: the model is gone.
        """

    @abstractmethod
    def edit(self, outcome: Outcome) -> tuple[Edit | None, int | None]:
        """What came of it as one undo step (None: nothing did), and the layer or mask target to go on with.

        When the picture was turned while the job ran, the result is turned with it.
        """

    def _job(self, source: Composite, guide: TileMap | None = None, guided: TileMap | None = None) -> Job:
        from engine.runtime.session import Device
        from engine.tasks import Job, make_settings

        request, card = self._request, self._registry.card(self._request.model)
        self._frozen = self._document.state.turns
        # The task's own model goes without saying.
        self._with = f", {card.title}" if card.id != self._registry.default(request.task).id else ""
        return Job(
            request.task,
            source,
            self._document.profile,
            self.mask,
            make_settings(request.task, card, request.settings),
            card,
            Device(request.device),
            guide=guide,
            guided=guided,
        )

    def _turned(self, tiles: TileMap) -> TileMap:
        """A map that was made of the frozen picture, as the picture lies now."""
        for turn in _turns(self._frozen, self._document.state.turns):
            tiles = turned_tiles(tiles, turn)
        return tiles

    def _frozen_shape(self) -> tuple[int, int]:
        """Height and width of the frozen picture."""
        height, width = self._document.state.scan.shape[:2]
        turns = _turns(self._frozen, self._document.state.turns)
        on_its_side = sum(turn in (Turn.LEFT, Turn.RIGHT) for turn in turns) % 2
        return (width, height) if on_its_side else (height, width)


class RepairJob(TaskJob):
    """A task that gives a patch: a mask's on the layer it was made for, the whole picture's on a layer of its own.

    Args:
        document, request, registry, mask: see ``TaskJob``.
        spot: the mask is no part of the document's repair mask.
    """

    def __init__(
        self,
        document: Document,
        request: RepairRequest,
        mask: TileMap | None,
        *,
        registry: Registry,
        spot: bool = False,
    ) -> None:
        super().__init__(document, request, registry, mask)
        self.spot, self.claims = spot, mask is not None and not spot
        self._target: int | None = None
        self._below: tuple[int, ...] = ()
        self._source: Composite | None = None

    def freeze(self, active: Layer | None) -> Callable[[JobContext], Outcome]:
        """The picture that is read is all that is visible up to the layer which the result will join."""
        from engine.tasks import run_job

        job = self._prepared(active)

        def work(context: JobContext) -> Outcome:
            patch = run_job(job, context)
            return Outcome(patch, patch.device.value, patch.repair(job))

        return work

    def _prepared(self, active: Layer | None) -> Job:
        from engine.tasks import wants_edges

        document, request = self._document, self._request
        alone = self._mask is None or request.new_layer
        joins = active is not None and not alone and _joinable(active, request.task)
        self._target = active.id if active is not None and joins else None
        state, index = document.state, _above(document, active)
        self._below = tuple(layer.id for layer in state.layers[:index])
        self._source = Composite.of(state, below=index)
        follows = self.claims and wants_edges(self._registry.card(request.model))
        return self._job(self._source, *((state.edges, state.guided) if follows else ()))

    def edit(self, outcome: Outcome) -> tuple[Edit | None, int | None]:
        """The result joins the layer it was made for if that is still fit for it.

        Else it becomes one just above the layers that it was computed from. The repair mask loses what was repaired,
        but keeps what was painted meanwhile; an edge map that was drawn for it is gone.
        """
        document, label = self._document, ("Spot heal" if self.spot else self.task.verb) + self._with
        kept = (la for la in document.state.layers if la.id == self._target and _joinable(la, self._request.task))
        target = next(kept, None)
        pieces = self._turned_pieces(outcome.result)
        made_by = outcome.repair
        assert made_by is not None
        steps: list[Edit] = []
        if target is None:
            layer = document.new_layer("")
            kind = "Repair" if self.task.wants_mask else self.task.title
            layer = replace(layer, name=f"{kind} {layer.id}{self._with}")
            pixels, mask = laid(document, layer, pieces)
            layer = replace(layer, pixels=pixels.applied(layer.pixels), mask=mask.applied(layer.mask))
            steps.append(AddLayer(label, replace(layer, made_by=(made_by,)), self._place()))
        else:
            layer = target
            pixels, mask = laid(document, layer, pieces)
            steps.append(JoinLayer(label, layer.id, pixels, mask, made_by))
        if self.claims and self.mask is not None:
            steps.append(PaintMask(label, None, cleared(document.state.mask, self.mask)))
            if _overlap(document.state.guided, self.mask):
                steps += _without_edges(label, document.state)
        return Compound(label, steps), layer.id

    def _place(self) -> int:
        """The index just above the highest layer that was read and is still there: what came since stays in sight."""
        ids = [layer.id for layer in self._document.state.layers]
        return next((ids.index(id_) + 1 for id_ in reversed(self._below) if id_ in ids), 0)

    def _turned_pieces(self, patch: Patch) -> Sequence[Piece]:
        """The pieces of a patch as the picture lies now."""
        if self._frozen == self._document.state.turns:
            return patch.pieces
        from engine.tasks import Piece

        source = self._source
        assert source is not None
        made = {next(piece.rect.cells()): piece for piece in patch.pieces}
        weights = TileMap.empty(source.shape[:2], np.uint8)
        weights = weights.with_tiles({cell: piece.weight for cell, piece in made.items()})
        tiles = {cell: piece.pixels for cell, piece in made.items()}
        # A tile that comes to lie across others shows the picture in what no piece fills of them.
        bounds = weights.bounds
        near = {cell for piece in made.values() for cell in (piece.rect.grown(1) & bounds).cells()}
        tiles |= {cell: source.read(Rect.of_cell(cell) & bounds) for cell in near - made.keys()}
        pixels = self._turned(TileMap.empty(source.shape, source.dtype, holes=True).with_tiles(tiles))
        weights, bounds = self._turned(weights), pixels.bounds
        return [Piece(Rect.of_cell(cell) & bounds, pixels.tile(cell), weights.tile(cell)) for cell in weights.stored]


class EdgesJob(TaskJob):
    """The first half of a repair that follows edges: those it would draw replace the edge map, to be painted on."""

    def freeze(self, active: Layer | None) -> Callable[[JobContext], Outcome]:
        """The picture that is read is the one that the repair will read."""
        from engine.tasks import draw_edges

        job = self._job(Composite.of(self._document.state, below=_above(self._document, active)))

        def work(context: JobContext) -> Outcome:
            marks = draw_edges(job, context)
            return Outcome(marks, marks.device.value)

        return work

    def edit(self, outcome: Outcome) -> tuple[Edit | None, int | None]:
        """Where the mask is the map is stored even without an edge: no edge is an answer, too."""
        state, mask = self._document.state, self.mask
        drawn = self._turned(_map_of(outcome.result, self._frozen_shape()))
        cells = {cell for rect in (mask.occupied() if mask is not None else ()) for cell in rect.cells()}
        before = mask_of(state, EDGES).stored
        changes = {
            cell: (before.get(cell), compact(drawn.tile(cell)) if cell in cells or cell in drawn.stored else None)
            for cell in {*cells, *drawn.stored, *before}
        }
        steps = [PaintMask("Draw edges", EDGES, TilePatch(changes))]
        if mask is not None:
            before = mask_of(state, GUIDED).stored
            kept = {cell: (before.get(cell), mask.stored.get(cell)) for cell in {*before, *mask.stored}}
            steps.append(PaintMask("Draw edges", GUIDED, TilePatch(kept)))
        return Compound("Draw edges", steps), EDGES


def clear_edges(state: State) -> Edit | None:
    """The edge map goes; None when there is none."""
    return Compound("Clear edges", _without_edges("Clear edges", state)) if state.edges is not None else None


def _without_edges(label: str, state: State) -> list[Edit]:
    """The edge map goes, and the mask that it was drawn for."""
    return [
        PaintMask(
            label, target, TilePatch({cell: (tile, None) for cell, tile in mask_of(state, target).stored.items()})
        )
        for target in (EDGES, GUIDED)
    ]


def _overlap(one: TileMap | None, other: TileMap) -> bool:
    """Whether two masks have a pixel in common."""
    return one is not None and any(np.any((one.read(part) > 0) & (other.read(part) > 0)) for part in other.occupied())


def _map_of(marks: Marks, shape: tuple[int, int]) -> TileMap:
    """Marks as a map of the picture's (height, width)."""
    tiles = TileMap.empty(shape, np.uint8)
    edit = tiles.edit()
    for rect, part in marks.pieces:
        edit.write(rect, part)
    return edit.commit().applied(tiles)


def _turns(earlier: tuple[str, ...], now: tuple[str, ...]) -> list[Turn]:
    return [Turn[name] for name in turns_between(earlier, now)]


def cleared(mask: TileMap, done: TileMap) -> TilePatch:
    """A mask without another one; where it was painted over meanwhile it stays."""
    edit = mask.edit()

    def clear(view: NDArray[np.uint8], part: Rect) -> None:
        finished = done.read(part)
        view[(finished > 0) & (view == finished)] = 0

    for rect in done.occupied():
        edit.change(rect, clear)
    return edit.commit()


def _joinable(layer: Layer, task: str) -> bool:
    """Whether more repair on a layer would look as it was computed, and be of its kind: not on a cleaned picture."""
    alike = all(repair.task == task for repair in layer.made_by)
    return alike and layer.visible and layer.opacity == 1.0 and layer.blend is BlendMode.NORMAL


def _above(document: Document, active: Layer | None) -> int:
    """The index just above the active layer, or above all when the scan is active."""
    ids = [layer.id for layer in document.state.layers]
    return ids.index(active.id) + 1 if active is not None and active.id in ids else len(ids)


def laid(document: Document, layer: Layer, pieces: Sequence[Piece]) -> tuple[TilePatch, TilePatch]:
    """A patch on a layer's pixels and mask.

    Where the layer shows already, pixels take on the finished look and the mask is full there: two half-shown repairs
    in one layer cannot be kept apart. Elsewhere the pieces become tiles as they are.
    """
    ids = [other.id for other in document.state.layers]
    below = Composite.of(document.state, below=ids.index(layer.id) + 1 if layer.id in ids else None)
    pixels: dict[Cell, tuple[Tile | None, Tile | None]] = {}
    masks: dict[Cell, tuple[Tile | None, Tile | None]] = {}
    for piece in pieces:
        cell = next(piece.rect.cells())
        new, weight = piece.pixels, piece.weight
        if layer.pixels.holds(cell):
            shown = layer.mask.tile(cell)
            both = ((shown > 0) & (weight > 0))[..., None]
            look = mix(below.read(piece.rect), new, weight)
            new = np.where(both, look, np.where((weight > 0)[..., None], new, layer.pixels.tile(cell)))
            weight = np.where(both[..., 0], np.uint8(255), np.maximum(shown, weight))
        pixels[cell] = layer.pixels.stored.get(cell), new
        masks[cell] = layer.mask.stored.get(cell), compact(weight)
    return TilePatch(pixels), TilePatch(masks)
