"""Composes layers to pixels: a state becomes a flat list of operations, which are applied tile by tile."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from desktop.document.content import Operation
from desktop.document.model import State
from engine.jobs import JobContext
from engine.raster import Pixels, Rect
from engine.tiles import Cell, TileMap


@dataclass(frozen=True)
class Composite:
    """The visible picture of a state, or of its lower layers; can be read rectangle by rectangle on any thread.

    Attributes:
        scan: the bottom layer.
        operations: what is drawn over it, bottom first.
    """

    scan: TileMap
    operations: tuple[Operation, ...]

    @classmethod
    def of(cls, state: State, *, below: int | None = None) -> Composite:
        """The visible layers of a state, or only those below an index of its list."""
        return cls(state.scan, tuple(layer.operation() for layer in state.layers[:below] if layer.shows))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.scan.shape
        return height, width, channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """The sample type."""
        return self.scan.dtype

    def prepare(self, rect: Rect, level: int, keep_going: Callable[[], bool]) -> bool:
        """Compute the reductions that reading a rectangle needs, in small steps; see ``TileMap.prepare``."""
        return all(operation.prepare(rect, level, keep_going) for operation in self.operations)

    def read(self, rect: Rect, level: int = 0, cache: ComposeCache | None = None) -> Pixels:
        """The composed pixels of a rectangle.

        Where no layer shows, these are exactly the scan's samples.

        Args:
            rect: inside the picture, in the pixels of the level.
            level: reduction by 2**level.
            cache: keeps composed tiles. Not for the state of an unfinished stroke, whose tiles still change.

        Returns:
            (h, w, c) in the scan's sample type and colour space; may be a read-only view.
        """
        if cache is not None and any(_touched_parts(operation, rect, level) for operation in self.operations):
            return cache.read(self, rect, level)
        below = self.scan.read(rect, level)
        written = False
        for operation in self.operations:
            for part in _touched_parts(operation, rect, level):
                drawn = operation.render(below[part.slices(rect)], part, level)
                if drawn is None:
                    continue
                if not written:
                    below, written = below.copy(), True
                below[part.slices(rect)] = drawn
        return below

    def changed_rects(self) -> list[Rect]:
        """Rectangles of the tiles in which anything may differ from the scan."""
        cells = {cell for operation in self.operations for cell in operation.cells()}
        return [Rect.of_cell(cell) & self.scan.bounds for cell in sorted(cells)]


class ComposeCache:
    """Keeps the most recently used composed tiles. The key is what a tile was composed from, so undo and redo hit it.

    GUI thread.

    Args:
        limit: bytes that are kept at most; one tile is always kept.
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
        # Tiles never change, so ``id`` identifies them; the cache entry keeps them alive, so no id is reused.
        inputs: list[object] = [composite.scan.base, composite.scan.levels]
        key: list[object] = [cell, level, id(composite.scan.base), id(composite.scan.levels)]
        for operation in composite.operations:
            if operation.touches(cell, level):
                arrays, values = operation.inputs(cell, level)
                inputs += arrays
                key += [type(operation), *map(id, arrays), *values]
        known = self._tiles.pop(tuple(key), None)
        if known is None:
            known = composite.read(Rect.of_cell(cell) & composite.scan.bounds_at(level), level), inputs
            self._held += known[0].nbytes
        self._tiles[tuple(key)] = known
        while self._held > self._limit and len(self._tiles) > 1:
            self._held -= self._tiles.popitem(last=False)[1][0].nbytes
        return known[0]


def flatten(composite: Composite, context: JobContext | None = None) -> Pixels:
    """The whole composed picture, read-only; the scan's own array when there is nothing above it. Any thread.

    Returns:
        (h, w, c) in the scan's sample type and colour space.

    Raises:
        Cancelled: the context was cancelled.
    """
    context = context or JobContext()
    scan = composite.scan
    base = scan.read(scan.bounds)
    changed = composite.changed_rects()
    if not changed:
        return base
    result = np.array(base, order="C")
    for done, rect in enumerate(changed):
        context.progress(done / len(changed), "flattening")
        result[rect.slices()] = composite.read(rect)
    result.flags.writeable = False
    return result


def _touched_parts(operation: Operation, rect: Rect, level: int) -> list[Rect]:
    """The parts of a rectangle, one for each tile, in which an operation may change something."""
    return [Rect.of_cell(cell) & rect for cell in rect.cells() if operation.touches(cell, level)]
