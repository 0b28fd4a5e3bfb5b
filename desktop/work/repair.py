"""Heal, clean and tone: an engine task whose pixels become a layer, or join one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from desktop.document.blend import BlendMode
from desktop.document.compose import Composite
from desktop.document.edits import AddLayer, AddToLayer, Compound, Edit, Paint
from desktop.document.geometry import Transform
from desktop.document.model import Document, Layer
from desktop.document.targets import REPAIR_MASK
from desktop.document.tiles import Cell, TileDelta, TileMap, compact
from desktop.work.base import J, Job, NextActive, Outcome, TaskRequest, TaskRunner, Urgency, index_above
from desktop.work.edges import clear_edges_edits
from engine.jobs import JobContext
from engine.raster import Rect, mix

Tile = NDArray[Any]

if TYPE_CHECKING:
    from engine.runtime.cards import Registry
    from engine.tasks import Patch, Piece, TaskInput


@dataclass(frozen=True, kw_only=True)
class ApplyTask(Job):
    """A task that gives pixels: of a mask on the layer it was made for, of the whole picture on a layer of its own.

    Attributes:
        request: the task.
        spot: the mask is one stroke of the spot heal, and no part of the document's repair mask.
    """

    request: TaskRequest
    spot: bool = False

    @property
    def urgency(self) -> Urgency:
        """A stroke of the hand goes before everything else."""
        return Urgency.HAND if self.spot else super().urgency


class PatchRunner(TaskRunner[J]):
    """What every job has in common whose patches become layers."""

    def __init__(self, job: J, document: Document, registry: Registry, request: TaskRequest) -> None:
        super().__init__(job, document, registry, request)
        self._source: Composite | None = None
        self._below: tuple[int, ...] = ()

    def _read_below(self, index: int) -> Composite:
        """Freeze what is visible below an index of the layers: the job reads it, and its layer comes above it."""
        state = self._document.state
        self._below = tuple(layer.id for layer in state.layers[:index])
        self._source = Composite.of(state, below=index)
        return self._source

    def _insert_index(self) -> int:
        """The index just above the highest layer that was read and is still there: what came since stays in sight."""
        ids = [layer.id for layer in self._document.state.layers]
        return next((ids.index(id_) + 1 for id_ in reversed(self._below) if id_ in ids), 0)

    def _layer(self, kind: str, patch: Patch) -> Layer:
        """A new layer with the pixels of a patch."""
        layer = self._document.new_layer("")
        pixels, mask = patch_deltas(self._document, layer, self._pieces_now(patch))
        layer = layer.with_pixels(pixels.apply_to(layer.pixels), mask.apply_to(layer.mask))
        return replace(layer, name=f"{kind} {layer.id}{self._model_suffix}")

    def _pieces_now(self, patch: Patch) -> Sequence[Piece]:
        """The pieces of a patch as the picture lies now."""
        transform, source = self._transform(), self._source
        assert source is not None
        return transform_pieces(patch, source, transform) if transform else patch.pieces


class ApplyTaskRunner(PatchRunner[ApplyTask]):
    """Runs an ``ApplyTask``."""

    def __init__(self, job: ApplyTask, document: Document, registry: Registry) -> None:
        super().__init__(job, document, registry, job.request)
        self._target: int | None = None

    def freeze(self, active: Layer | None) -> Callable[[JobContext], Outcome]:
        """The picture that is read is all that is visible up to the layer which the result will join."""
        from engine.tasks import run_task

        job = self._freeze_input(active)

        def work(context: JobContext) -> Outcome:
            patch = run_task(job, context)
            return Outcome(patch, patch.device.value, (patch.repair(job),))

        return work

    def _freeze_input(self, active: Layer | None) -> TaskInput:
        from engine.tasks import wants_edges

        request, state = self._request, self._document.state
        alone = self._job.mask is None or request.new_layer
        joins = active is not None and not alone and _can_join(active, request.task)
        self._target = active.id if active is not None and joins else None
        source = self._read_below(index_above(self._document, active))
        follows = self._job.claims and wants_edges(self._registry.card(request.model))
        return self._task_input(source, *((state.edges, state.guided) if follows else ()))

    def edit(self, outcome: Outcome) -> tuple[Edit | None, NextActive]:
        """The result joins the layer it was made for if that is still fit for it.

        Else it becomes one just above the layers that it was computed from. The repair mask loses what was repaired,
        but keeps what was painted meanwhile; an edge map that was drawn for it is gone.
        """
        document, label = self._document, ("Spot heal" if self._job.spot else self._task.verb) + self._model_suffix
        target = document.state.find(self._target)
        (made_by,) = outcome.repairs
        steps: list[Edit] = []
        if target is None or not _can_join(target, self._request.task):
            layer = self._layer(self._task.layer, outcome.result)
            steps.append(AddLayer(label, replace(layer, made_by=(made_by,)), self._insert_index()))
        else:
            layer = target
            pixels, weights = patch_deltas(document, layer, self._pieces_now(outcome.result))
            steps.append(AddToLayer(label, layer.id, pixels, weights, made_by))
        mask = self.mask
        if self._job.claims and mask is not None:
            steps.append(Paint(label, REPAIR_MASK, subtraction_delta(document.state.mask, mask)))
            if _overlaps(document.state.guided, mask):
                steps += clear_edges_edits(label, document.state)
        return Compound(label, steps), layer.id


def subtraction_delta(mask: TileMap, done: TileMap) -> TileDelta:
    """What takes one mask out of another; where that was painted over meanwhile it stays."""
    edit = mask.edit()

    def clear(view: NDArray[np.uint8], part: Rect) -> None:
        finished = done.read(part)
        view[(finished > 0) & (view == finished)] = 0

    for rect in done.occupied():
        edit.change(rect, clear)
    return edit.commit()


def patch_deltas(document: Document, layer: Layer, pieces: Sequence[Piece]) -> tuple[TileDelta, TileDelta]:
    """What puts a patch on a layer: the change of its pixels and the change of its mask.

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
    return TileDelta(pixels), TileDelta(masks)


def transform_pieces(patch: Patch, source: Composite, transform: Transform) -> list[Piece]:
    """The pieces of a patch once the picture was moved.

    Args:
        patch: made of the picture as it lay before.
        source: the picture as it lay before.
        transform: what happened to it.
    """
    from engine.tasks import Piece

    made = {next(piece.rect.cells()): piece for piece in patch.pieces}
    weights = TileMap.empty(source.shape[:2], np.uint8)
    weights = weights.with_tiles({cell: piece.weight for cell, piece in made.items()})
    tiles = {cell: piece.pixels for cell, piece in made.items()}
    # A tile that comes to lie across others shows the picture in what no piece fills of them.
    bounds = weights.bounds
    near = {cell for piece in made.values() for cell in (piece.rect.grown(1) & bounds).cells()}
    tiles |= {cell: source.read(Rect.of_cell(cell) & bounds) for cell in near - made.keys()}
    pixels = transform.tiles(TileMap.empty(source.shape, source.dtype, holes=True).with_tiles(tiles))
    weights, bounds = transform.tiles(weights), pixels.bounds
    return [Piece(Rect.of_cell(cell) & bounds, pixels.tile(cell), weights.tile(cell)) for cell in weights.stored]


def _can_join(layer: Layer, task: str) -> bool:
    """Whether more repair on a layer would look as it was computed, and be of its kind: not on a cleaned picture."""
    from engine.tasks import TASKS

    # A search that led to a repair has left nothing on the layer.
    searches = {task.id for task in TASKS.values() if task.gives == "findings"}
    made = {repair.task for repair in layer.made_by} - searches
    alike = layer.has_pixels and made <= {task}
    return alike and layer.visible and layer.opacity == 1.0 and layer.blend is BlendMode.NORMAL


def _overlaps(one: TileMap | None, other: TileMap) -> bool:
    """Whether two masks have a pixel in common."""
    return one is not None and any(np.any((one.read(part) > 0) & (other.read(part) > 0)) for part in other.occupied())
