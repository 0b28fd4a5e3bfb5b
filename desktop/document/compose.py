"""From layers to pixels: first a flat list of drawing steps, then a loop over tiles that does them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from desktop.document.content import Operation
from desktop.document.model import State
from desktop.document.tiles import Cell, TileMap
from engine.jobs import JobContext
from engine.raster import Pixels, Rect


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
        """Make what reading a rectangle needs, in small steps; as ``TileMap.prepare``."""
        return all(operation.prepare(rect, level, keep_going) for operation in self.operations)

    def read(self, rect: Rect, level: int = 0, cache: ComposeCache | None = None) -> Pixels:
        """The composed pixels of a rectangle that lies inside, in the pixels of a level; may be a read-only view.

        Where no layer shows, these are the scan's samples bit for bit.

        Args:
            rect: in the pixels of the level.
            level: reduction by 2**level.
            cache: keeps whole composed tiles; not for a state whose tiles still change.
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
        """The tiles in which anything may differ from the scan."""
        cells = {cell for operation in self.operations for cell in operation.cells()}
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
        # Tiles never change, so the object tells which tile it is; the entry keeps it alive.
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
    """The whole composed picture, read-only; the scan's own array when nothing is drawn on it.

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
    """The tiles of a rectangle in which an operation may change something."""
    return [Rect.of_cell(cell) & rect for cell in rect.cells() if operation.touches(cell, level)]
