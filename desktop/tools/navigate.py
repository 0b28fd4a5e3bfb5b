"""The hand and zoom tools."""

from __future__ import annotations

from desktop.tools.base import BrushSettings, Cursor, PointerEvent, Tool, ToolContext


class HandTool(Tool):
    """Scrolls the picture; a click selects the defect at that point."""

    id = "hand"
    label = "Hand"

    def __init__(self) -> None:
        self._grip: PointerEvent | None = None

    def press(self, context: ToolContext, event: PointerEvent) -> None:
        del context
        self._grip = event

    def move(self, context: ToolContext, event: PointerEvent) -> None:
        if self._grip is not None:
            # The picture follows the pointer, so the image point at which it was pressed does not change.
            context.scroll(self._grip.x - event.x, self._grip.y - event.y)

    def release(self, context: ToolContext, event: PointerEvent) -> None:
        del context, event
        self._grip = None

    def cancel(self, context: ToolContext) -> None:
        del context
        self._grip = None

    def click(self, context: ToolContext, event: PointerEvent) -> None:
        context.choose(event.x, event.y)

    def cursor(self, brush: BrushSettings, *, adding: bool) -> Cursor:
        del brush, adding
        return Cursor(shape="hand")


class ZoomTool(Tool):
    """A click zooms in, with Alt out."""

    id = "zoom"
    label = "Zoom"

    def press(self, context: ToolContext, event: PointerEvent) -> None:
        context.zoom(event.x, event.y, -1 if event.alt else 1)

    def cursor(self, brush: BrushSettings, *, adding: bool) -> Cursor:
        del brush, adding
        return Cursor(shape="zoom")
