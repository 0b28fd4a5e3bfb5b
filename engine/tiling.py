"""Cutting a picture into windows for a model, and blending the results. Pure geometry and NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from engine.raster import TILE, Floats, Rect, assemble


def strips(area: Rect, rows: int) -> Iterator[Rect]:
    """Split a rectangle into strips of ``rows`` rows, from the top; the last may be lower."""
    for top in range(area.top, area.bottom, rows):
        yield Rect(area.left, top, area.right, min(top + rows, area.bottom))


def plan_windows(
    boxes: Sequence[Rect], bounds: Rect, *, window: int, context: int, overlap: int, multiple: int
) -> list[tuple[Rect, Rect]]:
    """Windows that together cover some boxes, so that the cost depends on the boxes and not on the picture.

    Boxes that fit into one window share it; a box too large for a window is split evenly into overlapping parts.

    Args:
        boxes: the areas to cover.
        bounds: the picture; parts lie inside it, windows may not.
        window: largest side of a window; it may be exceeded by less than ``multiple`` for alignment.
        context: margin of surroundings that a window shows on each side of its part.
        overlap: overlap of neighbouring parts of one large box.
        multiple: sides of windows are multiples of this.

    Returns:
        Pairs (window, part): the window is the input of the model and may reach beyond the picture; the part is kept.
    """
    room = window - 2 * context
    assert room > overlap, "the context leaves no room for the damage"
    parts: list[Rect] = []
    for box in _merge_boxes([box & bounds for box in boxes if box & bounds], room):
        parts += _split(box, room, overlap)
    # A window of a fixed size cannot be enlarged to be aligned.
    grid = 1 if window == multiple else multiple
    return [(window_around(part, bounds, context, multiple, grid), part) for part in parts]


def plan_sweep(bounds: Rect, *, window: int, context: int, overlap: int, multiple: int) -> list[tuple[Rect, Rect]]:
    """As few windows as possible that cover a whole picture, row by row, without context beyond its edges.

    Args:
        bounds: the picture.
        window: largest side of a window, a multiple of ``multiple``.
        context: margin of surroundings that a window shows where its part meets a neighbour's.
        overlap: least overlap of neighbouring parts.
        multiple: sides of windows are multiples of this.

    Returns:
        Pairs (window, part) as from ``plan_windows``; windows reach beyond the right and lower edge only, and all parts
        of a row have the same top and bottom.
    """
    assert window > 2 * context + overlap, "the context leaves no room for the picture"
    rows = _axis_windows(bounds.top, bounds.bottom, window, context, overlap, multiple)
    columns = _axis_windows(bounds.left, bounds.right, window, context, overlap, multiple)
    return [
        (Rect(left, top, right, bottom), Rect(first, upper, last, lower))
        for (top, bottom), (upper, lower) in rows
        for (left, right), (first, last) in columns
    ]


def window_around(part: Rect, bounds: Rect, context: int, multiple: int, grid: int) -> Rect:
    """The window around a part, moved inside the picture where it fits; else it starts at the left or top edge.

    Args:
        part: what the window must show.
        bounds: the picture.
        context: margin around the part, pixels.
        multiple: sides of the window are multiples of this.
        grid: the window's left and top are multiples of this, counted from the picture's corner.
    """
    left, right = _fit_to_grid(part.left - context, part.right + context, bounds.left, bounds.right, multiple, grid)
    top, bottom = _fit_to_grid(part.top - context, part.bottom + context, bounds.top, bounds.bottom, multiple, grid)
    return Rect(left, top, right, bottom)


def pad_to_window(values: np.ndarray, inside: Rect, window: Rect) -> np.ndarray:
    """Pad the part of a window inside the picture to the whole window, by reflection.

    Args:
        values: pixels or mask (h, w, ...) of ``inside``.
        inside: the part of the window that lies in the picture.
        window: the whole window.

    Returns:
        (window.height, window.width, ...).
    """
    before = (inside.top - window.top, inside.left - window.left)
    after = (window.bottom - inside.bottom, window.right - inside.right)
    if not any(before) and not any(after):
        return values
    rows = _reflect_indices(values.shape[0], before[0], after[0])
    columns = _reflect_indices(values.shape[1], before[1], after[1])
    return np.ascontiguousarray(values[rows][:, columns])


class Blender:
    """Weighted mean of overlapping parts, added in any order. Memory depends on the area of the parts."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._sums: dict[tuple[int, int], Floats] = {}

    def add(self, part: Rect, values: Floats, fade: int) -> None:
        """Add a part.

        Args:
            part: where it lies.
            values: (h, w, channels) float32.
            fade: width at the part's edges over which its weight falls, pixels.
        """
        weight = _ramp(part.height, fade)[:, None] * _ramp(part.width, fade)[None, :]
        weighted = np.concatenate([values * weight[..., None], weight[..., None]], axis=2)
        for cell in part.cells():
            square = Rect.of_cell(cell)
            shared = square & part
            if cell not in self._sums:
                self._sums[cell] = np.zeros((TILE, TILE, self._channels + 1), np.float32)
            self._sums[cell][shared.slices(square)] += weighted[shared.slices(part)]

    def cells(self) -> list[tuple[int, int]]:
        """The grid cells (column, row) that a part touches, row by row."""
        return sorted(self._sums, key=lambda cell: (cell[1], cell[0]))

    def read(self, rect: Rect) -> Floats:
        """The blended values (h, w, channels) of a rectangle, 0 where nothing was added."""
        return _normalise(assemble(self._sums, rect, np.zeros(self._channels + 1, np.float32)))

    def free_above(self, y: int) -> None:
        """Free the memory of the cells whose bottom is at most ``y``; they must not be read any more."""
        for cell in [cell for cell in self._sums if Rect.of_cell(cell).bottom <= y]:
            del self._sums[cell]

    def take(self, cell: tuple[int, int]) -> Floats:
        """The blended values (TILE, TILE, channels) of a cell, 0 where nothing was added; frees the cell."""
        return _normalise(self._sums.pop(cell))


class Stitcher:
    """Joins the parts of a sweep in order and cross-fades where they overlap; each pixel is returned once.

    Faster than a ``Blender``, because only overlaps are blended. Stores only the rows and columns that the parts so far
    share with later ones.

    Args:
        parts: all parts of the sweep, row by row as from ``plan_sweep``.
    """

    def __init__(self, parts: Sequence[Rect]) -> None:
        self._parts = parts
        self._columns = sum(part.top == parts[0].top for part in parts)
        self._above: Floats | None = None
        self._beside: Floats | None = None
        self._below: Floats | None = None

    def join(self, number: int, values: Floats) -> tuple[Rect, Floats]:
        """Add the next part.

        Args:
            number: its index among the parts; they must be added in order.
            values: (h, w, channels) float32; overwritten.

        Returns:
            The rectangle that is now final, and its values, a view of ``values``.
        """
        part, column = self._parts[number], number % self._columns
        right = self._parts[number + 1].left if column + 1 < self._columns else part.right
        lower = number + self._columns - column
        bottom = self._parts[lower].top if lower < len(self._parts) else part.bottom
        if column == 0:
            self._above, self._beside, self._below = self._below, None, None
        if self._above is not None:
            _cross_fade(self._above[:, part.left : part.right], values)
        if self._beside is not None:
            _cross_fade(self._beside.transpose(1, 0, 2), values.transpose(1, 0, 2))
        done = Rect(part.left, part.top, right, bottom)
        rows, columns = done.slices(part)
        self._beside = values[:, columns.stop :].copy() if right < part.right else None
        if bottom < part.bottom:
            if self._below is None:
                self._below = np.empty((part.bottom - bottom, self._parts[-1].right, values.shape[2]), np.float32)
            self._below[:, part.left : right] = values[rows.stop :, columns]
        return done, values[rows, columns]


def _cross_fade(before: Floats, values: Floats) -> None:
    """Cross-fade the beginning of ``values`` along the first axis, in place, from ``before``, which is not longer."""
    share = _ramp(2 * len(before), len(before))[: len(before), None, None]
    lead = values[: len(before)]
    lead += (1 - share) * (before - lead)


def _normalise(sums: Floats) -> Floats:
    """Divide weighted sums (h, w, channels + 1) by the sum of weights in the last channel; 0 where that is 0."""
    weight = sums[..., -1:]
    values: Floats = np.divide(sums[..., :-1], weight, out=np.zeros_like(sums[..., :-1]), where=weight > 0)
    return values


def _ramp(length: int, fade: int) -> Floats:
    """Weights along one axis: a raised cosine up from the edge, flat in the middle; never 0."""
    distance = np.minimum(np.arange(length), np.arange(length)[::-1]) + 0.5
    share = np.clip(distance / max(fade, 0.5), 0, 1)
    return (0.5 - 0.5 * np.cos(np.pi * share)).astype(np.float32)


def _merge_boxes(boxes: list[Rect], room: int) -> list[Rect]:
    """Replace boxes that fit into one window by their union: fewer runs for scattered specks. Greedy, in row order."""
    remaining = sorted(boxes, key=lambda box: (box.top // room, box.left, box.top))
    merged: list[Rect] = []
    for box in remaining:
        for i in range(len(merged) - 1, max(-1, len(merged) - 9), -1):
            union = merged[i] | box
            if union.width <= room and union.height <= room:
                merged[i] = union
                break
        else:
            merged.append(box)
    return merged


def _split(box: Rect, room: int, overlap: int) -> list[Rect]:
    rows = _cuts(box.top, box.bottom, room, overlap)
    columns = _cuts(box.left, box.right, room, overlap)
    return [Rect(left, top, right, bottom) for top, bottom in rows for left, right in columns]


def _cuts(low: int, high: int, room: int, overlap: int) -> list[tuple[int, int]]:
    """Split a range into overlapping pieces of equal length, at most ``room``."""
    length = high - low
    if length <= room:
        return [(low, high)]
    count = -(-(length - overlap) // (room - overlap))
    size = -(-(length + (count - 1) * overlap) // count)
    starts = [low + round(i * (length - size) / (count - 1)) for i in range(count)]
    return [(start, start + size) for start in starts]


def _axis_windows(
    low: int, high: int, window: int, context: int, overlap: int, multiple: int
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The windows of a sweep along one axis, and the part that is kept of each, as pairs of ranges."""
    shared = overlap + 2 * context
    # Windows hardly larger than a multiple cannot be aligned to it without losing the overlap.
    grid = multiple if shared <= window - multiple else 1
    cuts = _cuts(0, -(-(high - low) // grid), window // grid, -(-shared // grid))
    size = -(-grid * (cuts[0][1] - cuts[0][0]) // multiple) * multiple
    last = len(cuts) - 1
    laps = []
    for i, (first, _) in enumerate(cuts):
        start = low + (grid * first if grid > 1 else min(first, max(0, high - low - size)))
        part = (start + (context if i else 0), min(high, start + size - (context if i < last else 0)))
        laps.append(((start, start + size), part))
    return laps


def _fit_to_grid(low: int, high: int, first: int, last: int, multiple: int, grid: int) -> tuple[int, int]:
    """Enlarge the range low..high to a multiple, align it to a grid, and move it inside first..last where it fits.

    The alignment matters for networks that halve their input several times: they give the same result for a pixel only
    if it has the same position on their coarsest grid.
    """
    size = -(-(high - low) // multiple) * multiple
    low = first + max(0, low - (size - (high - low)) // 2 - first) // grid * grid
    size = -(-(high - low) // multiple) * multiple
    end = first + -(-(last - first) // grid) * grid
    if size > end - first:
        # The picture is smaller: cover all of it, and reach beyond the right or lower edge.
        return first, first + min(size, -(-(last - first) // multiple) * multiple)
    low = min(low, end - size)
    return low, low + size


def _reflect_indices(length: int, before: int, after: int) -> np.ndarray:
    """Indices 0..length-1, extended on both sides by repeated reflection."""
    period = max(1, 2 * (length - 1))
    index = np.abs(np.arange(-before, length + after)) % period
    return np.where(index >= length, period - index, index)
