"""Brush, eraser and spot heal: round strokes with size, hardness, opacity and pen pressure."""

from __future__ import annotations

import itertools
import math
import weakref

import numpy as np
from numpy.typing import NDArray

from desktop.document.geometry import Geometry
from desktop.document.model import Document
from desktop.tools.base import BrushSettings, Cursor, PointerEvent, Tool, ToolContext
from engine.raster import Floats, Mask, Rect
from engine.tiles import TileEdit, TileMap


class Stroke:
    """One stroke in the making: its coverage so far, and the mask that results from it.

    The coverage of a pixel is the maximum over all parts of the stroke: where a stroke crosses itself it is not denser.

    Args:
        edit: of the mask, without changes so far.
        brush: size, hardness, opacity and pen.
        adding: paint towards 255, otherwise towards 0.
    """

    def __init__(self, edit: TileEdit, brush: BrushSettings, *, adding: bool) -> None:
        self.edit = edit
        self._coverage = TileMap.empty(edit.source.shape, np.uint8).edit()
        self._brush = brush
        self._value = 255.0 if adding else 0.0
        self._last: tuple[float, float, float] | None = None

    def line_to(self, event: PointerEvent) -> None:
        """Continue the stroke to a point; the first call paints a dab."""
        brush = self._brush
        radius = brush.size / 2 * (max(0.05, event.pressure) if brush.pen_size else 1.0)
        opacity = brush.opacity * (event.pressure if brush.pen_opacity else 1.0)
        here = (event.x, event.y, radius)
        start = self._last or here
        # In pieces about as long as the brush is wide, so that the cost is proportional to the area of the stroke.
        pieces = max(1, math.ceil(math.hypot(here[0] - start[0], here[1] - start[1]) / max(8.0, 2 * radius)))
        points = [tuple(a + (b - a) * i / pieces for a, b in zip(start, here, strict=True)) for i in range(pieces + 1)]
        for a, b in itertools.pairwise(points):
            self._segment((a[0], a[1], a[2]), (b[0], b[1], b[2]), opacity)
        self._last = here

    def _segment(self, a: tuple[float, float, float], b: tuple[float, float, float], opacity: float) -> None:
        reach = max(a[2], b[2]) + 1
        rect = Rect(
            math.floor(min(a[0], b[0]) - reach),
            math.floor(min(a[1], b[1]) - reach),
            math.ceil(max(a[0], b[0]) + reach),
            math.ceil(max(a[1], b[1]) + reach),
        )
        rect &= self.edit.source.bounds
        if not rect:
            return
        covered = np.rint(coverage(rect, a, b, self._brush.hardness) * np.float32(255 * opacity)).astype(np.uint8)
        source = self.edit.source
        parts: dict[Rect, Mask] = {}

        def cover(view: NDArray[np.uint8], part: Rect) -> None:
            np.maximum(view, covered[part.slices(rect)], out=view)
            parts[part] = view.copy()

        def paint(view: NDArray[np.uint8], part: Rect) -> None:
            old = source.read(part).astype(np.float32)
            view[...] = np.rint(old + (self._value - old) * (parts[part] * np.float32(1 / 255)))

        self._coverage.change(rect, cover)
        self.edit.change(rect, paint)


def coverage(rect: Rect, a: tuple[float, float, float], b: tuple[float, float, float], hardness: float) -> Floats:
    """The coverage of a round brush that is moved from a to b.

    Args:
        rect: the pixels wanted.
        a: (x, y, radius) at the start, image pixels.
        b: (x, y, radius) at the end.
        hardness: share of the radius with full coverage, 0..1; the rest fades, over at least one pixel.

    Returns:
        (rect.height, rect.width) float32 in 0..1.
    """
    x = np.arange(rect.left, rect.right, dtype=np.float32)[None, :] + np.float32(0.5 - a[0])
    y = np.arange(rect.top, rect.bottom, dtype=np.float32)[:, None] + np.float32(0.5 - a[1])
    dx, dy = np.float32(b[0] - a[0]), np.float32(b[1] - a[1])
    length = float(dx * dx + dy * dy)
    if length < 1e-6:
        distance, radius = np.sqrt(x * x + y * y), np.float32(max(a[2], b[2]))
        inner = min(hardness * float(radius), float(radius) - 0.5)
        width = max(float(radius) * (1 - hardness), 1.0)
        share = np.clip((np.float32(inner + width) - distance) * np.float32(1 / width), 0, 1)
    else:
        along = np.clip((x * dx + y * dy) * np.float32(1 / length), 0, 1)
        distance = np.sqrt((x - along * dx) ** 2 + (y - along * dy) ** 2)
        radii = np.float32(a[2]) + along * np.float32(b[2] - a[2])
        inner_at = np.minimum(np.float32(hardness) * radii, radii - np.float32(0.5))
        width_at = np.maximum(radii * np.float32(1 - hardness), np.float32(1))
        share = np.clip((inner_at + width_at - distance) / width_at, 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


class BrushTool(Tool):
    """Paints the paint target; adds or removes as set in the options bar, the opposite with Alt.

    A press with Shift draws a straight line from the end of the last stroke.
    """

    id = "brush"
    label = "Brush"
    paints = True

    def __init__(self) -> None:
        self._stroke: Stroke | None = None
        # A weak reference, so that the tool does not keep a closed photograph in memory.
        self._end: tuple[weakref.ref[Document], Geometry, PointerEvent] | None = None

    def press(self, context: ToolContext, event: PointerEvent) -> None:
        self._stroke = self._begin(context, event)
        if event.shift and self._end is not None:
            document, geometry, end = self._end
            # Only if it is the same picture in the same orientation.
            if document() is context.document and geometry == context.document.state.geometry:
                self._stroke.line_to(end)
        self.move(context, event)

    def move(self, context: ToolContext, event: PointerEvent) -> None:
        if self._stroke is not None:
            self._stroke.line_to(event)
            self._show(context, self._stroke.edit)

    def release(self, context: ToolContext, event: PointerEvent) -> None:
        stroke, self._stroke = self._stroke, None
        self._end = (weakref.ref(context.document), context.document.state.geometry, event)
        if stroke is not None:
            self._finish(context, stroke.edit)

    def cancel(self, context: ToolContext) -> None:
        if self._stroke is not None:
            self._stroke = None
            context.cancel_live()

    def cursor(self, brush: BrushSettings, *, adding: bool) -> Cursor:
        return Cursor(brush.size, adding=self._adds(adding=adding))

    def _adds(self, *, adding: bool) -> bool:
        """Whether the tool adds, given the setting of the options bar."""
        return adding

    def _begin(self, context: ToolContext, event: PointerEvent) -> Stroke:
        edit = context.target.edit(context.document.state)
        return Stroke(edit, context.brush, adding=self._adds(adding=context.adding) != event.alt)

    def _show(self, context: ToolContext, edit: TileEdit) -> None:
        context.show_live({context.target: edit})

    def _finish(self, context: ToolContext, edit: TileEdit) -> None:
        context.paint(self.label, {context.target: edit.commit()})


class EraserTool(BrushTool):
    """A brush that always removes."""

    id = "eraser"
    label = "Eraser"

    def _adds(self, *, adding: bool) -> bool:
        del adding
        return False


class SpotHealTool(BrushTool):
    """A brush whose strokes are healed on release; it does not change the repair mask."""

    id = "spot"
    label = "Spot heal"
    paints = False

    def cancel(self, context: ToolContext) -> None:
        if self._stroke is not None:
            self._stroke = None
            context.show_spot(None)

    def _adds(self, *, adding: bool) -> bool:
        del adding
        return True

    def _begin(self, context: ToolContext, event: PointerEvent) -> Stroke:
        del event
        empty = TileMap.empty(context.document.state.mask.shape, np.uint8)
        return Stroke(empty.edit(), context.brush, adding=True)

    def _show(self, context: ToolContext, edit: TileEdit) -> None:
        context.show_spot(edit)

    def _finish(self, context: ToolContext, edit: TileEdit) -> None:
        delta = edit.commit()
        context.show_spot(None)
        if delta:
            context.heal_spot(delta.apply_to(edit.source))
