"""From a press on Heal to a layer: freezing the input of a repair, and turning its patch into one edit. Knows no Qt."""

from __future__ import annotations

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
    turned_tiles,
    turns_between,
)
from desktop.document.model import BlendMode, Document, Layer
from desktop.document.tiles import Cell, TileMap, TilePatch
from engine.jobs import JobContext
from engine.raster import Rect, mix
from engine.record import Repair

Tile = NDArray[Any]

if TYPE_CHECKING:
    from engine.runtime.cards import Registry
    from engine.tasks import Patch, Piece


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
class Repaired:
    """What comes back from the engine thread."""

    patch: Patch
    repair: Repair


class RepairJob:
    """One repair, from the press to its edit.

    Args:
        document: to read from and to write to.
        request: what is wanted.
        mask: where, frozen when it was asked for.
        spot: the mask is no part of the document's repair mask.
        registry: the models.
    """

    def __init__(
        self, document: Document, request: RepairRequest, mask: TileMap, *, spot: bool, registry: Registry
    ) -> None:
        self._document, self._request, self._mask, self._spot = document, request, mask, spot
        self._registry = registry
        self._turns = document.state.turns
        self._frozen: tuple[str, ...] = ()
        self._target: int | None = None

    @property
    def mask(self) -> TileMap:
        """Where, as the picture lies now."""
        now = self._document.state.turns
        for turn in _turns(self._turns, now):
            self._mask = turned_tiles(self._mask, turn)
        self._turns = now
        return self._mask

    def freeze(self, active: Layer | None) -> Callable[[JobContext], Repaired]:
        """Fix the input when the job's turn comes, so that it sees what the repairs before it did.

        The picture that is read is all that is visible up to the layer which the result will join.

        Args:
            active: the layer that is chosen.

        Raises:
            SettingsError: a setting is impossible.
            ModelError: the model is gone.
        """
        from engine.runtime.session import Device
        from engine.tasks import TASKS, Job, run_job

        request, document = self._request, self._document
        self._frozen = document.state.turns
        joins = active is not None and not request.new_layer and _joinable(active)
        self._target = active.id if active is not None and joins else None
        job = Job(
            request.task,
            Composite.of(document.state, below=_above(document, active)),
            document.profile,
            self.mask,
            TASKS[request.task].settings(**request.settings),
            self._registry.card(request.model),
            Device(request.device),
        )

        def work(context: JobContext) -> Repaired:
            patch = run_job(job, context)
            return Repaired(patch, patch.repair(job))

        return work

    def edit(self, result: Repaired, active: Layer | None) -> tuple[Edit, int]:
        """The result as one undo step, and the id of the layer it is on.

        It joins the layer it was made for if that is still fit for it; the repair mask loses what was repaired, but
        keeps what was painted meanwhile. When the picture was turned while the job ran, the result is turned with it.
        """
        document, label = self._document, "Spot heal" if self._spot else "Heal"
        target = next((la for la in document.state.layers if la.id == self._target and _joinable(la)), None)
        pieces = self._turned(result.patch)
        steps: list[Edit] = []
        if target is None:
            layer = document.new_layer("Repair")
            layer = replace(layer, name=f"Repair {layer.id}")
            pixels, mask = _laid(document, layer, pieces)
            layer = replace(
                layer, pixels=pixels.applied(layer.pixels), mask=mask.applied(layer.mask), made_by=(result.repair,)
            )
            steps.append(AddLayer(label, layer, _above(document, active)))
        else:
            layer = target
            pixels, mask = _laid(document, layer, pieces)
            steps.append(JoinLayer(label, layer.id, pixels, mask, result.repair))
        if not self._spot:
            steps.append(PaintMask(label, None, cleared(document.state.mask, self.mask)))
        return Compound(label, steps), layer.id

    def _turned(self, patch: Patch) -> Sequence[Piece]:
        """The pieces of a patch as the picture lies now."""
        state = self._document.state
        turns = _turns(self._frozen, state.turns)
        if not turns:
            return patch.pieces
        height, width = state.scan.shape[:2]
        if sum(turn in (Turn.LEFT, Turn.RIGHT) for turn in turns) % 2:
            height, width = width, height
        cells = [next(piece.rect.cells()) for piece in patch.pieces]
        shape = (height, width, *state.scan.shape[2:])
        pixels = TileMap.empty(shape, state.scan.dtype, holes=True)
        pixels = pixels.with_tiles({cell: piece.pixels for cell, piece in zip(cells, patch.pieces, strict=True)})
        weights = TileMap.empty((height, width), np.uint8)
        weights = weights.with_tiles({cell: piece.weight for cell, piece in zip(cells, patch.pieces, strict=True)})
        for turn in turns:
            pixels, weights = turned_tiles(pixels, turn), turned_tiles(weights, turn)
        from engine.tasks import Piece

        bounds = pixels.bounds
        return [Piece(Rect.of_cell(cell) & bounds, tile, weights.tile(cell)) for cell, tile in pixels.stored.items()]


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


def _joinable(layer: Layer) -> bool:
    """Whether more repair on a layer would look as it was computed."""
    return layer.visible and layer.opacity == 1.0 and layer.blend is BlendMode.NORMAL


def _above(document: Document, active: Layer | None) -> int:
    """The index just above the active layer, or above all when the scan is active."""
    ids = [layer.id for layer in document.state.layers]
    return ids.index(active.id) + 1 if active is not None and active.id in ids else len(ids)


def _laid(document: Document, layer: Layer, pieces: Sequence[Piece]) -> tuple[TilePatch, TilePatch]:
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
        masks[cell] = layer.mask.stored.get(cell), weight
    return TilePatch(pixels), TilePatch(masks)
