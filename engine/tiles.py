"""Pictures as immutable maps of 256 px tiles, and the edits that produce a new map from an old one.

Published tiles are read-only. An edit works on private copies of the tiles that it changes; the delta
``{cell: (old, new)}`` that it returns is all that undo needs. Maps share unchanged tiles. Memory is used only for tiles
that were changed: the others come from one base array (the scan as it was read) or are empty, and a tile of one value
is stored as that value.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.jobs import JobContext
from engine.raster import Mask, Rect, from_float
from engine.resample import halve

Cell = tuple[int, int]
"""Column and row of a tile."""

LEVELS = 6
"""Reductions by 2, 4, ... 64 that a map can be read at."""


class TileMap:
    """An immutable picture (h, w, c) or mask (h, w) in tiles.

    Reading is safe on any thread. Level 0 is the picture, level k its reduction by 2**k, of ceil(size / 2**k) pixels.

    Attributes:
        shape, dtype: as of an array.
        holes: tiles that are not stored count as absent, not as zeros; a tile of zeros that was written is kept.
    """

    __slots__ = ("_base", "_levels", "_reduced", "_stored_cells", "_tiles", "_value", "dtype", "holes", "shape")

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        *,
        holes: bool = False,
        base: NDArray[Any] | None = None,
        levels: tuple[NDArray[Any], ...] = (),
        tiles: Mapping[Cell, NDArray[Any]] | None = None,
        reduced: dict[tuple[int, Cell], NDArray[Any]] | None = None,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.holes = holes
        self._base = base
        self._levels = levels
        self._tiles: dict[Cell, NDArray[Any]] = dict(tiles or {})
        self._reduced = reduced if reduced is not None else {}
        self._stored_cells: dict[int, set[Cell]] = {}
        self._value = np.zeros((), dtype)

    @classmethod
    def of_array(cls, array: NDArray[Any]) -> TileMap:
        """A map over an array, without a copy. The array must not be written any more."""
        view = array.view()
        view.flags.writeable = False
        return cls(array.shape, array.dtype, base=view)

    @classmethod
    def empty(cls, shape: tuple[int, ...], dtype: Any, *, holes: bool = False) -> TileMap:
        """A map of zeros, or of holes."""
        return cls(shape, np.dtype(dtype), holes=holes)

    # -- reading ----------------------------------------------------------------------------------------------

    @property
    def bounds(self) -> Rect:
        """The whole picture."""
        return Rect.of_shape(self.shape)

    def bounds_at(self, level: int) -> Rect:
        """The whole picture in the pixels of a level."""
        return Rect(0, 0, -(-self.shape[1] >> level), -(-self.shape[0] >> level))

    @property
    def base(self) -> NDArray[Any] | None:
        """The array below the tiles, if there is one."""
        return self._base

    @property
    def levels(self) -> tuple[NDArray[Any], ...]:
        """The reductions of the base, if they are attached."""
        return self._levels

    @property
    def stored(self) -> Mapping[Cell, NDArray[Any]]:
        """The tiles that differ from the base, read-only arrays; do not change the mapping."""
        return self._tiles

    @property
    def nbytes(self) -> int:
        """Bytes of the stored tiles, without the base."""
        return sum(_tile_bytes(tile) for tile in self._tiles.values())

    def tile(self, cell: Cell) -> NDArray[Any]:
        """One tile, clipped to the picture, read-only."""
        stored = self._tiles.get(cell)
        if stored is not None:
            return stored
        return self._background(Rect.of_cell(cell) & self.bounds, 0)

    def at(self, cell: Cell, level: int = 0) -> NDArray[Any]:
        """One tile of a level, clipped to the picture, read-only.

        A reduced tile that depends on stored tiles is computed once and kept: later calls return the same array.
        """
        if level == 0:
            return self.tile(cell)
        rect = Rect.of_cell(cell) & self.bounds_at(level)
        if not self._any_stored([cell], level):
            return self._background(rect, level)
        known = self._reduced.get((level, cell))
        if known is None:
            known = halve(self.read(self._finer_rect(rect, level), level - 1))
            known.flags.writeable = False
            self._reduced[level, cell] = known
        return known

    def read(self, rect: Rect, level: int = 0) -> NDArray[Any]:
        """The pixels of a rectangle inside the picture.

        Args:
            rect: in the pixels of the level.
            level: reduction by 2**level.

        Returns:
            (h, w, ...); may be a read-only view.
        """
        cells = list(rect.cells())
        if not self._any_stored(cells, level):
            return self._background(rect, level)
        if len(cells) == 1:
            return self.at(cells[0], level)[rect.slices(Rect.of_cell(cells[0]))]
        result = np.empty((rect.height, rect.width, *self.shape[2:]), self.dtype)
        for cell in cells:
            square = Rect.of_cell(cell)
            part = square & rect
            result[part.slices(rect)] = self.at(cell, level)[part.slices(square)]
        return result

    def prepare(self, rect: Rect, level: int, keep_going: Callable[[], bool]) -> bool:
        """Compute the reduced tiles that reading a rectangle needs, in small steps. They are kept with the map.

        Args:
            rect: in the pixels of the level, inside the picture.
            level: reduction by 2**level.
            keep_going: called before each step; False stops. It may raise.

        Returns:
            True when all are computed, False when it was stopped.
        """
        return all(self._prepare(cell, level, keep_going) for cell in rect.cells())

    def read_mask(self, rect: Rect) -> Mask:
        """``read`` under the name that ``engine.raster.MaskSource`` asks for."""
        return self.read(rect)

    def occupied(self) -> list[Rect]:
        """Rectangles of the tiles that may hold anything but 0 (the whole picture when there is a base)."""
        if self._base is not None:
            return [self.bounds]
        return [
            Rect.of_cell(cell) & self.bounds for cell, tile in self._tiles.items() if _tile_bytes(tile) or tile.any()
        ]

    def is_empty(self) -> bool:
        """Whether it holds nothing but 0."""
        if self._base is not None:
            return not self.read(self.bounds).any()
        return not any(tile.any() for tile in self._tiles.values())

    def extent(self) -> Rect:
        """The bounding box of the stored tiles, clipped to the picture."""
        extent = Rect(0, 0, 0, 0)
        for cell in self._tiles:
            extent |= Rect.of_cell(cell)
        return extent & self.bounds

    def holds(self, cell: Cell, level: int = 0) -> bool:
        """Whether a tile of a level depends on any stored tile."""
        return bool(self._tiles) and cell in self._stored_cells_of(level)

    def touches(self, rect: Rect, level: int = 0) -> bool:
        """Whether a rectangle of a level may depend on stored tiles; compares whole tiles, so only False is exact."""
        return self._any_stored(rect.cells(), level)

    # -- change -----------------------------------------------------------------------------------------------

    def edit(self, within: TileMap | None = None) -> TileEdit:
        """Begin an edit; this map stays as it is.

        Args:
            within: only cells that are stored in this other map can be changed. A layer's mask is limited to the cells
                in which the layer has pixels.
        """
        return TileEdit(self, within)

    def with_tiles(self, changes: Mapping[Cell, NDArray[Any] | None]) -> TileMap:
        """A map with some tiles replaced; None restores the base. The arrays are made read-only and not copied."""
        tiles = dict(self._tiles)
        for cell, tile in changes.items():
            if tile is None:
                tiles.pop(cell, None)
            else:
                tile.flags.writeable = False
                tiles[cell] = tile
        stale = {(level, (cell[0] >> level, cell[1] >> level)) for cell in changes for level in range(1, LEVELS + 1)}
        # Copied first: another thread may add to it while it reads.
        reduced = {key: tile for key, tile in list(self._reduced.items()) if key not in stale}
        return self._copy_with(tiles=tiles, levels=self._levels, reduced=reduced)

    def with_levels(self, levels: tuple[NDArray[Any], ...]) -> TileMap:
        """The same map with the reductions of its base, as ``engine.resample.reductions`` returns them."""
        return self._copy_with(tiles=self._tiles, levels=levels, reduced={})

    def transformed(
        self,
        move: Callable[[NDArray[Any]], NDArray[Any]],
        destination: Callable[[Rect], Rect],
        below: TileMap | None = None,
        context: JobContext | None = None,
    ) -> TileMap:
        """The map rotated or flipped; the base becomes a view of the old one.

        Args:
            move: rotates or flips an array, as a view.
            destination: maps a rectangle to where it is afterwards.
            below: the transformed map below this one. A transformed tile may cover parts of several cells; the rest of
                these cells is filled with pixels of this map.
            context: progress and cancellation.

        Raises:
            Cancelled: the context was cancelled.
        """
        context = context or JobContext()
        whole = destination(self.bounds)
        shape = (whole.height, whole.width, *self.shape[2:])
        base = move(self._base) if self._base is not None else None
        edit = TileMap(shape, self.dtype, holes=self.holes, base=base).edit()
        moved = [(destination(Rect.of_cell(cell) & self.bounds), tile) for cell, tile in self._tiles.items()]
        if below is not None:
            for cell in {cell for rect, _ in moved for cell in rect.cells()}:
                edit.write(Rect.of_cell(cell) & whole, below.tile(cell))
        for done, (rect, tile) in enumerate(moved):
            context.progress(done / len(moved), "turning")
            edit.write(rect, move(tile))
        return edit.commit().apply_to(edit.source)

    # -- inside -----------------------------------------------------------------------------------------------

    def _copy_with(
        self,
        *,
        tiles: Mapping[Cell, NDArray[Any]],
        levels: tuple[NDArray[Any], ...],
        reduced: dict[tuple[int, Cell], NDArray[Any]],
    ) -> TileMap:
        return TileMap(
            self.shape, self.dtype, holes=self.holes, base=self._base, levels=levels, tiles=tiles, reduced=reduced
        )

    def _background(self, rect: Rect, level: int) -> NDArray[Any]:
        if self._base is None:
            return np.broadcast_to(self._value, (rect.height, rect.width, *self.shape[2:]))
        if level == 0:
            return self._base[rect.slices()]
        if level <= len(self._levels):
            return self._levels[level - 1][rect.slices()]
        # The reductions are not computed yet: sample every n-th pixel instead.
        step = 1 << level
        # The middle of each square; the last, partial square may be smaller than that.
        y, x = (min(step // 2, (side - 1) % step) for side in self.shape[:2])
        return self._base[
            rect.top * step + y : rect.bottom * step : step, rect.left * step + x : rect.right * step : step
        ]

    def _any_stored(self, cells: Iterable[Cell], level: int) -> bool:
        """Whether any of these cells of a level depends on stored tiles."""
        return bool(self._tiles) and not self._stored_cells_of(level).isdisjoint(cells)

    def _stored_cells_of(self, level: int) -> set[Cell]:
        """The cells of a level that depend on stored tiles."""
        cells = self._stored_cells.get(level)
        if cells is None:
            cells = set(self._tiles) if level == 0 else {(x >> level, y >> level) for x, y in self._tiles}
            self._stored_cells[level] = cells
        return cells

    def _prepare(self, cell: Cell, level: int, keep_going: Callable[[], bool]) -> bool:
        """``prepare`` for one tile: first the four tiles that it is computed from."""
        if level == 0 or (level, cell) in self._reduced or not self._any_stored([cell], level):
            return True
        sources = self._finer_rect(Rect.of_cell(cell) & self.bounds_at(level), level)
        if not self.prepare(sources, level - 1, keep_going) or not keep_going():
            return False
        self.at(cell, level)
        return True

    def _finer_rect(self, rect: Rect, level: int) -> Rect:
        """A rectangle of a level in the pixels of the next finer level."""
        return Rect(rect.left * 2, rect.top * 2, rect.right * 2, rect.bottom * 2) & self.bounds_at(level - 1)


class TileEdit:
    """An unfinished change of a map, on private copies of its tiles.

    Used by one thread. It ends with ``commit``, or is simply dropped.
    """

    def __init__(self, source: TileMap, within: TileMap | None = None) -> None:
        self._source, self._within = source, within
        self._private: dict[Cell, NDArray[Any]] = {}
        self.dirty = Rect(0, 0, 0, 0)
        """Bounding box of everything changed since the caller last reset it to an empty rectangle."""

    @property
    def source(self) -> TileMap:
        """The map before the edit."""
        return self._source

    def change(self, rect: Rect, how: Callable[[NDArray[Any], Rect], None]) -> None:
        """Change a rectangle tile by tile; what is outside the picture is ignored.

        Args:
            rect: what changes.
            how: called with a writable view of a part and the part's rectangle; must not keep the view.
        """
        inside = rect & self._source.bounds
        for cell in inside.cells():
            if self._within is not None and not self._within.holds(cell):
                continue
            square = Rect.of_cell(cell)
            part = square & inside
            if cell not in self._private:
                self._private[cell] = np.array(self._source.tile(cell))
            how(self._private[cell][part.slices(square)], part)
        self.dirty |= inside

    def write(self, rect: Rect, values: NDArray[Any]) -> None:
        """Replace the pixels of a rectangle inside the picture by an array (h, w, ...) of its size."""

        def put(view: NDArray[Any], part: Rect) -> None:
            view[...] = values[part.slices(rect)]

        self.change(rect, put)

    def preview(self) -> TileMap:
        """The map with the changes so far; valid until the next change, which alters its tiles."""
        views: dict[Cell, NDArray[Any] | None] = {}
        for cell, tile in self._private.items():
            view = tile.view()
            view.flags.writeable = False
            views[cell] = view
        return self._source.with_tiles(views)

    def commit(self) -> TileDelta:
        """The changes as a delta of copied tiles, without tiles that are equal; the edit is empty afterwards."""
        changes: dict[Cell, tuple[NDArray[Any] | None, NDArray[Any] | None]] = {}
        for cell, tile in self._private.items():
            old = self._source.stored.get(cell)
            if (self._source.holes and old is None) or not np.array_equal(self._source.tile(cell), tile):
                changes[cell] = (old, compact(tile))
        self._private.clear()
        return TileDelta(changes)


class TileStore(Protocol):
    """Keeps tiles outside memory, by a key that follows from their contents."""

    def put(self, tile: NDArray[Any]) -> str:
        """Store a tile and return its key; equal tiles have equal keys."""

    def get(self, key: str) -> NDArray[Any]:
        """The tile of a key, read-only."""


class TileDelta:
    """What an edit changed: for each cell the stored tile before and after (None = the base).

    Deltas are applied in the order they were made and removed in the opposite order. Their tiles can be moved to a
    ``TileStore``: ``copy_to``, then ``release``.
    """

    def __init__(self, changes: Mapping[Cell, tuple[NDArray[Any] | None, NDArray[Any] | None]]) -> None:
        self._changes = dict(changes)
        self._released: tuple[TileStore, dict[Cell, tuple[str | None, str | None]]] | None = None
        self.extent = Rect(0, 0, 0, 0)
        for cell in changes:
            self.extent |= Rect.of_cell(cell)

    def __bool__(self) -> bool:
        """Whether it changes anything."""
        return bool(self.extent)

    @property
    def nbytes(self) -> int:
        """Bytes of the tiles in memory; 0 once they are released."""
        return sum(_tile_bytes(tile) for pair in self._changes.values() for tile in pair if tile is not None)

    def apply_to(self, tiles: TileMap) -> TileMap:
        """The map with the new tiles.

        Raises:
            ReadError: released tiles cannot be read back.
        """
        return tiles.with_tiles({cell: new for cell, (_, new) in self._read().items()})

    def remove_from(self, tiles: TileMap) -> TileMap:
        """The map with the old tiles; raises as ``apply_to``."""
        return tiles.with_tiles({cell: old for cell, (old, _) in self._read().items()})

    def copy_to(self, store: TileStore) -> dict[Cell, tuple[str | None, str | None]]:
        """Copy the tiles to a store, and return their keys for ``release``. Any thread.

        Raises:
            WriteError: the store cannot keep them.
        """

        def put(tile: NDArray[Any] | None) -> str | None:
            return None if tile is None else store.put(tile)

        return {cell: (put(old), put(new)) for cell, (old, new) in self._changes.items()}

    def release(self, store: TileStore, keys: dict[Cell, tuple[str | None, str | None]]) -> None:
        """Drop the tiles from memory; they are read from the store when they are needed. GUI thread."""
        if self._released is None:
            self._released, self._changes = (store, keys), {}

    def _read(self) -> Mapping[Cell, tuple[NDArray[Any] | None, NDArray[Any] | None]]:
        if self._released is None:
            return self._changes
        store, keys = self._released

        def get(key: str | None) -> NDArray[Any] | None:
            return None if key is None else store.get(key)

        return {cell: (get(old), get(new)) for cell, (old, new) in keys.items()}


def _tile_bytes(tile: NDArray[Any]) -> int:
    """Bytes of a tile; 0 for a repeated single value."""
    return tile.nbytes if any(tile.strides) else 0


def compact(tile: NDArray[Any]) -> NDArray[Any]:
    """A tile as it is stored: a read-only copy, or a broadcast of its value if all pixels are equal."""
    first = tile[0, 0]
    if (tile == first).all():
        return np.broadcast_to(first.copy(), tile.shape)
    copy = tile.copy()
    copy.flags.writeable = False
    return copy


def time_limit(seconds: float) -> Callable[[], bool]:
    """A ``keep_going`` for ``TileMap.prepare``: True until this many seconds from now have passed."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() < until


def uniform_map(shape: tuple[int, ...], dtype: np.dtype[Any], value: float) -> TileMap:
    """A map of one value, with reductions; it takes no memory.

    Args:
        shape: as of an array.
        dtype: the same.
        value: 0..1 of the sample type's range.
    """
    sample = from_float(np.full((), value, np.float32), dtype)
    sizes = [(-(-shape[0] >> level), -(-shape[1] >> level), *shape[2:]) for level in range(LEVELS + 1)]
    base, *levels = (np.broadcast_to(sample, size) for size in sizes)
    return TileMap.of_array(base).with_levels(tuple(levels))
