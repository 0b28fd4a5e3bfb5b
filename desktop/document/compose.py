"""From layers to pixels: first a flat list of what is drawn, then a loop over tiles that draws it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desktop.document.model import BlendMode, State
from desktop.document.tiles import Cell, TileMap
from engine.jobs import JobContext
from engine.raster import Floats, Pixels, Rect, maximum, mix

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of the luminosity of the non-separable modes (ITU-R BT.601, which W3C's section 10 rounds)."""


@dataclass(frozen=True)
class Operation:
    """Draw the pixels of one layer over what is there."""

    pixels: TileMap
    mask: TileMap
    opacity: float
    blend: BlendMode


@dataclass(frozen=True)
class Composite:
    """The visible picture of a state, or of its lower layers; readable piece by piece on any thread.

    Attributes:
        scan: the bottom.
        operations: what is drawn above it, bottom first.
    """

    scan: TileMap
    operations: tuple[Operation, ...]

    @classmethod
    def of(cls, state: State, *, below: int | None = None) -> Composite:
        """What is visible: of all layers, or of those below an index."""
        visible = [layer for layer in state.layers[:below] if layer.visible and layer.opacity > 0]
        return cls(
            state.scan, tuple(Operation(layer.pixels, layer.mask, layer.opacity, layer.blend) for layer in visible)
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.scan.shape
        return height, width, channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """The sample type."""
        return self.scan.dtype

    def read(self, rect: Rect, level: int = 0, cache: ComposeCache | None = None) -> Pixels:
        """The composed pixels of a rectangle that lies inside, in the pixels of a level; may be a read-only view.

        Where no layer shows, these are the scan's samples bit for bit.

        Args:
            rect: in the pixels of the level.
            level: reduction by 2**level.
            cache: keeps whole composed tiles; not for a state whose tiles still change.
        """
        if cache is not None and any(_parts(operation, rect, level) for operation in self.operations):
            return cache.read(self, rect, level)
        below = self.scan.read(rect, level)
        written = False
        for operation in self.operations:
            for part in _parts(operation, rect, level):
                mask = operation.mask.read(part, level)
                if not mask.any():
                    continue
                if not written:
                    below, written = below.copy(), True
                view = below[part.slices(rect)]
                view[...] = draw(view, operation.pixels.read(part, level), mask, operation.opacity, operation.blend)
        return below

    def changed(self) -> list[Rect]:
        """The tiles in which anything may differ from the scan."""
        cells = {cell for operation in self.operations for cell in operation.pixels.stored}
        return [Rect.of_cell(cell) & self.scan.bounds for cell in sorted(cells)]


class ComposeCache:
    """Composed tiles, the most recently used ones, by what they are made of: undo and redo find theirs again.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._tiles: OrderedDict[tuple[object, ...], tuple[Pixels, list[object]]] = OrderedDict()

    def read(self, composite: Composite, rect: Rect, level: int) -> Pixels:
        """As ``Composite.read``."""
        result = np.empty((rect.height, rect.width, composite.shape[2]), composite.dtype)
        for cell in rect.cells():
            square = Rect.of_cell(cell)
            part = square & rect
            result[part.slices(rect)] = self._tile(composite, cell, level)[part.slices(square)]
        return result

    def _tile(self, composite: Composite, cell: Cell, level: int) -> Pixels:
        # Tiles never change, so what they are is who they are; the entry holds on to them.
        made_of: list[object] = [composite.scan.base, composite.scan.levels]
        key: list[object] = [cell, level, id(composite.scan.base), id(composite.scan.levels)]
        for operation in composite.operations:
            if operation.pixels.holds(cell, level) and operation.mask.holds(cell, level):
                tiles = operation.pixels.at(cell, level), operation.mask.at(cell, level)
                made_of += tiles
                key += [id(tiles[0]), id(tiles[1]), operation.opacity, operation.blend]
        known = self._tiles.pop(tuple(key), None)
        if known is None:
            height, width, _ = composite.shape
            whole = Rect(0, 0, -(-width >> level), -(-height >> level))
            known = composite.read(Rect.of_cell(cell) & whole, level), made_of
            self._held += known[0].nbytes
        self._tiles[tuple(key)] = known
        while self._held > self._limit and len(self._tiles) > 1:
            self._held -= self._tiles.popitem(last=False)[1][0].nbytes
        return known[0]


def flatten(composite: Composite, context: JobContext | None = None) -> Pixels:
    """The whole composed picture, read-only; the scan's own array when nothing is drawn on it.

    Raises:
        Cancelled: the context was cancelled.
    """
    context = context or JobContext()
    scan = composite.scan
    base = scan.read(scan.bounds)
    changed = composite.changed()
    if not changed:
        return base
    result = np.array(base, order="C")
    for done, rect in enumerate(changed):
        context.progress(done / len(changed), "flattening")
        result[rect.slices()] = composite.read(rect)
    result.flags.writeable = False
    return result


def draw(below: Pixels, above: Pixels, mask: NDArray[np.uint8], opacity: float, blend: BlendMode) -> Pixels:
    """One layer over what is below, in the picture's own encoding: b + (B(b, s) - b) mask opacity, rounded.

    Args:
        below: b, (h, w, c).
        above: s, the same shape and sample type.
        mask: (h, w), 255 = shown.
        opacity: 0..1.
        blend: the function B.

    Returns:
        The same shape and type; exactly ``below`` where the mask is 0.
    """
    if blend is BlendMode.NORMAL:
        return mix(below, above, mask, opacity)
    top = np.float32(maximum(below.dtype))
    blended = _BLENDS[blend](below.astype(np.float32) / top, above.astype(np.float32) / top) * top
    return mix(below, blended, mask, opacity)


def _parts(operation: Operation, rect: Rect, level: int) -> list[Rect]:
    """The tiles of a rectangle in which a layer may show."""
    cells = (cell for cell in rect.cells() if operation.pixels.holds(cell, level) and operation.mask.holds(cell, level))
    return [Rect.of_cell(cell) & rect for cell in cells]


# Blend functions of backdrop b and source s, (h, w, c) in 0..1 (W3C Compositing and Blending Level 1, sections 9, 10).


def _multiply(b: Floats, s: Floats) -> Floats:
    return b * s


def _screen(b: Floats, s: Floats) -> Floats:
    return b + s - b * s


def _overlay(b: Floats, s: Floats) -> Floats:
    return np.where(b <= 0.5, 2 * b * s, 1 - 2 * (1 - b) * (1 - s))


def _soft_light(b: Floats, s: Floats) -> Floats:
    root = np.where(b <= 0.25, ((16 * b - 12) * b + 4) * b, np.sqrt(b))
    return np.where(s <= 0.5, b - (1 - 2 * s) * b * (1 - b), b + (2 * s - 1) * (root - b))


def _darken(b: Floats, s: Floats) -> Floats:
    return np.minimum(b, s)


def _lighten(b: Floats, s: Floats) -> Floats:
    return np.maximum(b, s)


def _luminosity(b: Floats, s: Floats) -> Floats:
    return _with_luma(b, s)


def _colour(b: Floats, s: Floats) -> Floats:
    return _with_luma(s, b)


def _with_luma(colour: Floats, light: Floats) -> Floats:
    """The colour of one with the luminosity of the other; a grey picture has no colour but its luminosity."""
    if colour.shape[2] == 1:
        return light
    shifted = colour + (_luma(light) - _luma(colour))
    luma = _luma(shifted)
    low, high = shifted.min(axis=2, keepdims=True), shifted.max(axis=2, keepdims=True)
    # A grey pixel a hair outside the range has no spread to divide by.
    least = np.float32(1e-6)
    shifted = np.where(low < 0, luma + (shifted - luma) * luma / np.maximum(luma - low, least), shifted)
    return np.where(high > 1, luma + (shifted - luma) * (1 - luma) / np.maximum(high - luma, least), shifted)


def _luma(colour: Floats) -> Floats:
    return (colour @ _LUMA)[..., None]


_BLENDS: dict[BlendMode, Callable[[Floats, Floats], Floats]] = {
    BlendMode.MULTIPLY: _multiply,
    BlendMode.SCREEN: _screen,
    BlendMode.OVERLAY: _overlay,
    BlendMode.SOFT_LIGHT: _soft_light,
    BlendMode.DARKEN: _darken,
    BlendMode.LIGHTEN: _lighten,
    BlendMode.LUMINOSITY: _luminosity,
    BlendMode.COLOUR: _colour,
}
