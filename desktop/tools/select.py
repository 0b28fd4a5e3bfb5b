"""The rectangle and lasso tools, and commands that change a whole mask."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from desktop.document.edits import Paint
from desktop.document.model import State
from desktop.document.targets import Target
from desktop.tools.base import BrushSettings, Cursor, PointerEvent, Tool, ToolContext
from engine import masks
from engine.jobs import JobContext
from engine.raster import TILE, Mask, Rect
from engine.tiles import Cell, TileDelta, TileEdit, TileMap

Point = tuple[float, float]


class ShapeTool(Tool):
    """Adds the inside of a drawn shape to the paint target or removes it; the opposite with Alt."""

    paints = True

    def __init__(self) -> None:
        self._points: list[Point] = []

    def press(self, context: ToolContext, event: PointerEvent) -> None:
        del context
        self._points = [(event.x, event.y)]

    def cancel(self, context: ToolContext) -> None:
        self._points = []
        context.cancel_live()

    def release(self, context: ToolContext, event: PointerEvent) -> None:
        self.move(context, event)
        corners, self._points = self.outline(), []
        context.cancel_live()
        if len(corners) < 3:
            return
        columns, rows = [x for x, _ in corners], [y for _, y in corners]
        around = Rect(int(min(columns)) - 1, int(min(rows)) - 1, int(max(columns)) + 2, int(max(rows)) + 2)
        rect = around & context.document.bounds
        if rect:
            inside = self._inside(corners, rect)
            edit = context.target.edit(context.document.state)
            context.paint(
                self.label,
                {context.target: shape_delta(edit, rect, inside, adding=context.adding != event.alt)},
            )

    def cursor(self, brush: BrushSettings, *, adding: bool) -> Cursor:
        del brush
        return Cursor(adding=adding)

    def outline(self) -> list[Point]:
        return list(self._points)

    def _inside(self, corners: list[Point], rect: Rect) -> Mask:
        return masks.polygon(corners, rect)


class RectangleTool(ShapeTool):
    """A rectangle of whole pixels; a square with Shift."""

    id = "rectangle"
    label = "Rectangle"

    def move(self, context: ToolContext, event: PointerEvent) -> None:
        del context
        if self._points:
            (x, y), dx, dy = self._points[0], event.x - self._points[0][0], event.y - self._points[0][1]
            if event.shift:
                side = max(abs(dx), abs(dy))
                dx, dy = float(np.copysign(side, dx)), float(np.copysign(side, dy))
            self._points[1:] = [(x + dx, y + dy)]

    def outline(self) -> list[Point]:
        if len(self._points) < 2:
            return []
        (x0, y0), (x1, y1) = ((float(round(x)), float(round(y))) for x, y in self._points)
        return [] if x0 == x1 or y0 == y1 else [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]

    def _inside(self, corners: list[Point], rect: Rect) -> Mask:
        (x0, y0), _, (x1, y1), _ = corners
        chosen = Rect(int(min(x0, x1)), int(min(y0, y1)), int(max(x0, x1)), int(max(y0, y1))) & rect
        inside = np.zeros((rect.height, rect.width), np.uint8)
        inside[chosen.slices(rect)] = 255
        return inside


class LassoTool(ShapeTool):
    """A free outline, closed on release."""

    id = "lasso"
    label = "Lasso"

    def move(self, context: ToolContext, event: PointerEvent) -> None:
        del context
        if self._points:
            self._points.append((event.x, event.y))


def shape_delta(edit: TileEdit, rect: Rect, inside: Mask, *, adding: bool) -> TileDelta:
    """The change of a mask by which a shape is added (maximum) or removed (minimum of the inverse).

    Args:
        edit: of the mask; it is committed.
        rect: where the shape is.
        inside: (rect.height, rect.width) uint8, 255 = inside, antialiased edges in between.
        adding: whether it is added.
    """

    def put(view: NDArray[np.uint8], part: Rect) -> None:
        shape = inside[part.slices(rect)]
        view[...] = np.maximum(view, shape) if adding else np.minimum(view, 255 - shape)

    edit.change(rect, put)
    return edit.commit()


def filter_cost(mask: TileMap, reach: float) -> int:
    """Estimated cost of ``filter_mask`` in pixels. A soft mask costs more the larger the reach is."""
    pixels = len(_cells(mask, reach)) * int(TILE + 2 * (0 if np.isinf(reach) else reach)) ** 2
    return int(pixels * max(1.0, reach / 4)) if np.isfinite(reach) and masks.is_soft(mask) else pixels


def filter_mask(
    state: State,
    target: Target,
    label: str,
    change: Callable[[Mask], Mask],
    reach: float,
    context: JobContext | None = None,
) -> Paint | None:
    """Change a whole mask tile by tile. Any thread.

    Args:
        state: of the document.
        target: the mask.
        label: for the history.
        change: computes the new mask from the old one; a pixel may depend on others up to ``reach`` away.
        reach: how far the change extends beyond masked pixels, in pixels; infinite if it changes unmasked pixels
            everywhere, each by itself.
        context: progress and cancellation.

    Returns:
        The edit; None where nothing changes.

    Raises:
        Cancelled: the context was cancelled.
    """
    context = context or JobContext()
    edit = target.edit(state)
    mask = edit.source
    margin = 0 if np.isinf(reach) else int(np.ceil(reach)) + 1
    cells = _cells(mask, reach)
    for done, cell in enumerate(cells):
        context.progress(done / len(cells), label)
        rect = Rect.of_cell(cell) & mask.bounds
        around = rect.grown(margin) & mask.bounds
        edit.write(rect, change(mask.read(around))[rect.slices(around)])
    return _paint(label, target, edit)


def replace_mask(
    state: State, target: Target, label: str, mask: Mask, context: JobContext | None = None
) -> Paint | None:
    """Replace a whole mask by another one of the same size. Any thread.

    Args:
        state: of the document.
        target: the mask.
        label: for the history.
        mask: the new mask, (h, w) uint8.
        context: progress and cancellation.

    Returns:
        The edit; None where both are equal.

    Raises:
        Cancelled: the context was cancelled.
    """
    context = context or JobContext()
    edit = target.edit(state)
    cells = list(edit.source.bounds.cells())
    for done, cell in enumerate(cells):
        context.progress(done / len(cells), label)
        rect = Rect.of_cell(cell) & edit.source.bounds
        edit.write(rect, mask[rect.slices()])
    return _paint(label, target, edit)


def _paint(label: str, target: Target, edit: TileEdit) -> Paint | None:
    delta = edit.commit()
    return Paint(label, target, delta) if delta else None


def _cells(mask: TileMap, reach: float) -> list[Cell]:
    """The cells that a change with this reach can affect."""
    if np.isinf(reach):
        return list(mask.bounds.cells())
    cells = {cell for rect in mask.occupied() for cell in (rect.grown(int(np.ceil(reach))) & mask.bounds).cells()}
    return sorted(cells)
