"""Cutting a picture into windows for a model, and blending what comes back. Pure geometry and NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from engine.raster import TILE, Floats, Rect, assemble


def strips(area: Rect, rows: int) -> Iterator[Rect]:
    """A rectangle in strips of so many rows, from the top; who reads one at a time needs memory by its width alone."""
    for top in range(area.top, area.bottom, rows):
        yield Rect(area.left, top, area.right, min(top + rows, area.bottom))


def plan_windows(
    boxes: Sequence[Rect], bounds: Rect, *, window: int, context: int, overlap: int, multiple: int
) -> list[tuple[Rect, Rect]]:
    """Windows that together cover some boxes, so that cost follows the boxes and not the picture.

    Boxes close enough to share a window share it; a box too large for one is cut evenly into overlapping parts.

    Args:
        boxes: what must be covered.
        bounds: the picture; parts (never windows) stay inside.
        window: largest side of a window, but for less than a multiple more, by which it may begin earlier.
        context: how much surroundings a window shows on each side of its part.
        overlap: what neighbouring parts of one large box share.
        multiple: sides of windows are multiples of this.

    Returns:
        Pairs (window, part): the model sees the window, which may hang over the picture's edge; the part is kept.
    """
    room = window - 2 * context
    assert room > overlap, "the context leaves no room for the damage"
    parts: list[Rect] = []
    for box in _merge_boxes([box & bounds for box in boxes if box & bounds], room):
        parts += _split(box, room, overlap)
    # A model of windows of one size has no room to begin on a grid.
    grid = 1 if window == multiple else multiple
    return [(around(part, bounds, context, multiple, grid), part) for part in parts]


def plan_sweep(bounds: Rect, *, window: int, context: int, overlap: int, multiple: int) -> list[tuple[Rect, Rect]]:
    """Windows over the whole of a picture, row by row, as few as will do: no context is shown beyond its edges.

    Args:
        bounds: the picture.
        window: largest side of a window, a multiple of ``multiple``.
        context: how much surroundings a window shows where its part meets a neighbour's.
        overlap: what neighbouring parts share, at least.
        multiple: sides of windows are multiples of this.

    Returns:
        Pairs (window, part) as ``plan_windows`` gives them; windows hang over the right and lower edge at most, and
        the parts of a row have all the same top and bottom.
    """
    assert window > 2 * context + overlap, "the context leaves no room for the picture"
    rows = _axis_windows(bounds.top, bounds.bottom, window, context, overlap, multiple)
    columns = _axis_windows(bounds.left, bounds.right, window, context, overlap, multiple)
    return [
        (Rect(left, top, right, bottom), Rect(first, upper, last, lower))
        for (top, bottom), (upper, lower) in rows
        for (left, right), (first, last) in columns
    ]


def around(part: Rect, bounds: Rect, context: int, multiple: int, grid: int) -> Rect:
    """The window around a part: with so much context, sides rounded up to a multiple, inside the picture where it can.

    It begins at a multiple of ``grid`` and may hang over the picture's right and lower edge.
    """
    left, right = _fit_to_grid(part.left - context, part.right + context, bounds.left, bounds.right, multiple, grid)
    top, bottom = _fit_to_grid(part.top - context, part.bottom + context, bounds.top, bounds.bottom, multiple, grid)
    return Rect(left, top, right, bottom)


def pad_to_window(read: np.ndarray, inside: Rect, window: Rect) -> np.ndarray:
    """Grow what was read of the inside of a picture to a window that hangs over the edge, by reflection.

    Args:
        read: pixels or mask (h, w, ...) of ``inside``.
        inside: the part of the window that lies in the picture.
        window: the whole window.
    """
    before = (inside.top - window.top, inside.left - window.left)
    after = (window.bottom - inside.bottom, window.right - inside.right)
    if not any(before) and not any(after):
        return read
    rows = _reflect_indices(read.shape[0], before[0], after[0])
    columns = _reflect_indices(read.shape[1], before[1], after[1])
    return np.ascontiguousarray(read[rows][:, columns])


class Blender:
    """Adds up overlapping parts with weights that fade towards their edges. Memory follows the parts."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._sums: dict[tuple[int, int], Floats] = {}

    def add(self, part: Rect, values: Floats, fade: int) -> None:
        """Add a part.

        Args:
            part: where it lies.
            values: (h, w, channels) float32.
            fade: width of the fading at the part's edges, pixels.
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
        """The grid cells (column, row) that hold anything, in reading order."""
        return sorted(self._sums, key=lambda cell: (cell[1], cell[0]))

    def read(self, rect: Rect) -> Floats:
        """The blended values (h, w, channels) of a rectangle, 0 where nothing was added."""
        return _normalise(assemble(self._sums, rect, np.zeros(self._channels + 1, np.float32)))

    def free_above(self, y: int) -> None:
        """Free the cells that end above a line; they are read no more."""
        for cell in [cell for cell in self._sums if Rect.of_cell(cell).bottom <= y]:
            del self._sums[cell]

    def take(self, cell: tuple[int, int]) -> Floats:
        """The blended values (TILE, TILE, channels) of a cell, 0 where nothing was added; frees the cell."""
        return _normalise(self._sums.pop(cell))


class Stitcher:
    """Joins the parts of a sweep as they come, cross-fading what they share; each pixel is handed out once.

    Faster than a ``Blender``, which adds up parts in any order: only what parts share is computed. It keeps the shared
    rows above and the shared columns beside the next part, and no more.

    Args:
        parts: all that will come, row by row as ``plan_sweep`` gives them.
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
            number: its place among the parts; they come in order.
            values: (h, w, channels) float32; is written to.

        Returns:
            What is finished by it: a rectangle and its values, a view.
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
    """Lead over, along the first axis and in place, from what was there to new values; these are at least as long."""
    share = _ramp(2 * len(before), len(before))[: len(before), None, None]
    lead = values[: len(before)]
    lead += (1 - share) * (before - lead)


def _normalise(sums: Floats) -> Floats:
    """Sums (h, w, channels + 1) by their weights, which come last; 0 where there is none."""
    weight = sums[..., -1:]
    values: Floats = np.divide(sums[..., :-1], weight, out=np.zeros_like(sums[..., :-1]), where=weight > 0)
    return values


def _ramp(length: int, fade: int) -> Floats:
    """Weights along one axis: a raised cosine up from the edge, flat in the middle; never 0."""
    distance = np.minimum(np.arange(length), np.arange(length)[::-1]) + 0.5
    share = np.clip(distance / max(fade, 0.5), 0, 1)
    return (0.5 - 0.5 * np.cos(np.pi * share)).astype(np.float32)


def _merge_boxes(boxes: list[Rect], room: int) -> list[Rect]:
    """Join boxes that fit a window together, nearest first in reading order: fewer runs for scattered specks."""
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
    """Even overlapping pieces of a range, rather than a thin last one."""
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
    # Windows that are hardly larger than a multiple find no room to keep to it, and begin anywhere.
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
    """A range rounded up to a multiple and pushed inside the picture where the picture is large enough.

    It begins on a grid from the picture's edge: a network that halves its picture several times gives the same for the
    same place only if the place lies the same on its coarsest grid.
    """
    size = -(-(high - low) // multiple) * multiple
    low = first + max(0, low - (size - (high - low)) // 2 - first) // grid * grid
    size = -(-(high - low) // multiple) * multiple
    end = first + -(-(last - first) // grid) * grid
    if size > end - first:
        # The picture is smaller: cover all of it and hang over at the far edge.
        return first, first + min(size, -(-(last - first) // multiple) * multiple)
    low = min(low, end - size)
    return low, low + size


def _reflect_indices(length: int, before: int, after: int) -> np.ndarray:
    """Indices that continue a range by reflection, as often as it takes."""
    period = max(1, 2 * (length - 1))
    index = np.abs(np.arange(-before, length + after)) % period
    return np.where(index >= length, period - index, index)
