"""Heal, clean and tone: engine tasks whose pixels become a layer or are added to one."""

from __future__ import annotations

from abc import abstractmethod
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
from desktop.work.base import AT_ONCE, J, Job, NextActive, Outcome, TaskRequest, TaskRunner, Urgency, index_above
from desktop.work.edges import clear_edges_edits
from engine.jobs import JobContext
from engine.raster import Rect, mix
from engine.tiles import Cell, TileDelta, TileMap, compact

Tile = NDArray[Any]

if TYPE_CHECKING:
    from engine.runtime.cards import Registry
    from engine.tasks import Patch, Piece, TaskInput


@dataclass(frozen=True, kw_only=True)
class ApplyTask(Job):
    """Runs a task that gives pixels.

    With a mask, the result is added to the active layer if possible; for the whole picture it becomes a new layer.

    Attributes:
        request: the task.
        spot: the mask is a stroke of the spot heal, not a part of the document's repair mask.
    """

    request: TaskRequest
    spot: bool = False

    @property
    def urgency(self) -> Urgency:
        """A spot heal has the highest priority."""
        return Urgency.HAND if self.spot else super().urgency


class PatchRunner(TaskRunner[J]):
    """Base of the runners whose patches become layers."""

    def __init__(self, job: J, document: Document, registry: Registry, request: TaskRequest) -> None:
        super().__init__(job, document, registry, request)
        self._source: Composite | None = None
        self._below: tuple[int, ...] = ()
        self._turned: dict[int, tuple[Transform, Sequence[Piece]]] = {}

    def _read_below(self, index: int) -> Composite:
        """Freeze the visible picture of the layers below an index. The result will be inserted above these layers."""
        state = self._document.state
        self._below = tuple(layer.id for layer in state.layers[:index])
        self._source = Composite.of(state, below=index)
        return self._source

    def _insert_index(self) -> int:
        """The index just above the topmost layer that was read and still exists. Newer layers stay above it."""
        ids = [layer.id for layer in self._document.state.layers]
        return next((ids.index(id_) + 1 for id_ in reversed(self._below) if id_ in ids), 0)

    def _layer(self, kind: str, patch: Patch) -> Layer:
        """A new layer with the pixels of a patch."""
        layer = self._document.new_layer("")
        pixels, mask = patch_deltas(self._document, layer, self._pieces_now(patch))
        layer = layer.with_pixels(pixels.apply_to(layer.pixels), mask.apply_to(layer.mask))
        return replace(layer, name=f"{kind} {layer.id}{self._model_suffix}")

    @abstractmethod
    def _patches(self, outcome: Outcome) -> Sequence[Patch]:
        """All patches of an outcome."""

    def turn(self, outcome: Outcome) -> Callable[[JobContext], None] | None:
        patches, source, transform = self._patches(outcome), self._source, self._transform()
        done = all(self._turned.get(id(patch), (None,))[0] == transform for patch in patches)
        if source is None or not transform or done or sum(len(patch.pieces) for patch in patches) <= AT_ONCE:
            return None

        def work(context: JobContext) -> None:
            for number, patch in enumerate(patches):
                part = context.part(number / len(patches), (number + 1) / len(patches))
                self._turned[id(patch)] = transform, transform_pieces(patch, source, transform, part)

        return work

    def _pieces_now(self, patch: Patch) -> Sequence[Piece]:
        """The pieces of a patch in the current orientation of the picture."""
        transform, pieces = self._turned.get(id(patch), (None, ()))
        if transform == self._transform():
            return pieces
        transform, source = self._transform(), self._source
        assert source is not None
        return transform_pieces(patch, source, transform) if transform else patch.pieces


class ApplyTaskRunner(PatchRunner[ApplyTask]):
    """Executes ``ApplyTask``."""

    def __init__(self, job: ApplyTask, document: Document, registry: Registry) -> None:
        super().__init__(job, document, registry, job.request)
        self._target: int | None = None

    def freeze(self, active: Layer | None) -> Callable[[JobContext], Outcome]:
        """Freeze all that is visible up to the active layer, to which the result will be added."""
        from engine.recipes import left_alone
        from engine.tasks import run_task

        job = self._freeze_input(active)

        def work(context: JobContext) -> Outcome:
            patch = run_task(job, context)
            if not patch.pieces and not self._task.wants_mask:
                raise left_alone(job.task)
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

    def _patches(self, outcome: Outcome) -> Sequence[Patch]:
        return [outcome.result]

    def edit(self, outcome: Outcome) -> tuple[Edit | None, NextActive]:
        """Add the result to the layer for which it was computed, if that still can take it.

        Otherwise it becomes a new layer just above the layers that were read. What was repaired is removed from the
        repair mask, except where it was painted meanwhile; an edge map that was drawn for it is removed.
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
    """The change that removes one mask from another, except where the values differ because it was painted since.

    Args:
        mask: from which is removed.
        done: what is removed.
    """
    edit = mask.edit()

    def clear(view: NDArray[np.uint8], part: Rect) -> None:
        finished = done.read(part)
        view[(finished > 0) & (view == finished)] = 0

    for rect in done.occupied():
        edit.change(rect, clear)
    return edit.commit()


def patch_deltas(document: Document, layer: Layer, pieces: Sequence[Piece]) -> tuple[TileDelta, TileDelta]:
    """The changes of a layer's pixels and of its mask that add the pieces of a patch to it.

    Where the layer shows already, the composed result becomes its pixels with full mask, since one layer cannot hold
    two partly transparent repairs of the same pixel. Elsewhere the pieces become its tiles unchanged.
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


def transform_pieces(
    patch: Patch, source: Composite, transform: Transform, context: JobContext | None = None
) -> list[Piece]:
    """The pieces of a patch after the picture was rotated or flipped.

    Args:
        patch: in the orientation before.
        source: the picture from which it was computed, in the orientation before.
        transform: what was done to the picture.
        context: progress and cancellation.

    Raises:
        Cancelled: the context was cancelled.
    """
    from engine.tasks import Piece

    context = context or JobContext()

    made = {next(piece.rect.cells()): piece for piece in patch.pieces}
    weights = TileMap.empty(source.shape[:2], np.uint8)
    weights = weights.with_tiles({cell: piece.weight for cell, piece in made.items()})
    tiles = {cell: piece.pixels for cell, piece in made.items()}
    # A transformed tile may cover parts of several cells; the rest of these is filled from the picture.
    bounds = weights.bounds
    near = {cell for piece in made.values() for cell in (piece.rect.grown(1) & bounds).cells()}
    tiles |= {cell: source.read(Rect.of_cell(cell) & bounds) for cell in near - made.keys()}
    filled = TileMap.empty(source.shape, source.dtype, holes=True).with_tiles(tiles)
    pixels = transform.tiles(filled, context=context.part(0.0, 0.8))
    weights, bounds = transform.tiles(weights, context=context.part(0.8, 1.0)), pixels.bounds
    return [Piece(Rect.of_cell(cell) & bounds, pixels.tile(cell), weights.tile(cell)) for cell in weights.stored]


def _can_join(layer: Layer, task: str) -> bool:
    """Whether a result can be added to a layer: it must be shown unchanged, and hold only results of the same task."""
    from engine.tasks import TASKS

    # Searches are listed in ``made_by`` but have no pixels.
    searches = {task.id for task in TASKS.values() if task.gives == "findings"}
    made = {repair.task for repair in layer.made_by} - searches
    alike = layer.has_pixels and made <= {task}
    return alike and layer.visible and layer.opacity == 1.0 and layer.blend is BlendMode.NORMAL


def _overlaps(one: TileMap | None, other: TileMap) -> bool:
    """Whether two masks have a pixel in common."""
    return one is not None and any(np.any((one.read(part) > 0) & (other.read(part) > 0)) for part in other.occupied())
