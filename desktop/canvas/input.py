"""Mouse, pen, wheel and touch to pointer events in image coordinates, and to scrolling and zooming."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QMouseEvent, QNativeGestureEvent, QTabletEvent, QWheelEvent
from PySide6.QtWidgets import QApplication

from desktop.document.model import EDGES, Document
from desktop.document.tiles import TileEdit, TileMap, TilePatch
from desktop.tools.base import Cursor, PointerEvent, Tool, ToolSettings
from desktop.tools.navigate import HandTool
from desktop.workspace import Workspace

if TYPE_CHECKING:
    from desktop.canvas.view import CanvasView

WHEEL_FACTOR = 1.25
"""Zoom of one notch of the wheel."""
_NOTCH = 120


def pointer_shape(cursor: Cursor, zoom: float, *, dragging: bool) -> Qt.CursorShape:
    """The system's pointer for a tool.

    Args:
        cursor: the tool's.
        zoom: logical pixels of the screen per image pixel; a ring that would be tiny needs a cross, too.
        dragging: whether the tool is down.
    """
    shapes = Qt.CursorShape
    if cursor.diameter is not None:
        return shapes.BlankCursor if cursor.diameter * zoom >= 5 else shapes.CrossCursor
    if cursor.shape == "hand":
        return shapes.ClosedHandCursor if dragging else shapes.OpenHandCursor
    return shapes.PointingHandCursor if cursor.shape == "zoom" else shapes.CrossCursor


class CanvasContext:
    """What tools may do, for the photograph that the canvas shows (see ``tools.base.ToolContext``)."""

    def __init__(self, view: CanvasView, workspace: Workspace) -> None:
        self._view, self._workspace = view, workspace

    def begin_gesture(self) -> None:
        """A drag begins: results of jobs wait."""
        self._workspace.begin_gesture()

    def end_gesture(self) -> None:
        """The drag is over."""
        self._workspace.end_gesture()

    @property
    def document(self) -> Document:
        """The document."""
        return self._workspace.document

    @property
    def settings(self) -> ToolSettings:
        """The options bar, as it is for what is painted."""
        settings = self._view.tool_settings
        return settings.for_edges() if self.target == EDGES else settings

    @property
    def target(self) -> int | None:
        """The layer whose mask is painted, None for the repair mask, or ``EDGES``."""
        return self._workspace.target

    def show_live(self, edit: TileEdit) -> None:
        """Show an unfinished edit of the target mask."""
        self._workspace.show_live(edit)

    def show_spot(self, edit: TileEdit | None) -> None:
        """Show the unfinished stroke of a spot heal."""
        self._workspace.show_spot(edit)

    def cancel_live(self) -> None:
        """Show the target mask as it was."""
        self._workspace.cancel_live()

    def paint(self, label: str, patch: TilePatch) -> None:
        """Make a finished edit of the target mask one undo step."""
        self._workspace.paint(label, patch)

    def heal_spot(self, mask: TileMap) -> None:
        """Heal under a mask of its own."""
        self._view.spot_painted.emit(mask)

    def scroll(self, dx: float, dy: float) -> None:
        """Move the picture under the window by image pixels."""
        self._view.scroll_by(dx * self._view.zoom, dy * self._view.zoom)

    def zoom(self, x: float, y: float, steps: int) -> None:
        """Zoom in or out around an image point."""
        self._view.zoom_step(steps, self._view.to_widget(x, y))

    def choose(self, x: float, y: float) -> None:
        """Choose the defect at an image point, if there is one."""
        item = self._view.marks.at(x, y)
        if item is not None:
            self._workspace.review.choose(item, go=False)


class CanvasInput:
    """Turns the canvas's Qt events into tool calls. One drag at a time: what pressed first releases."""

    def __init__(self, view: CanvasView) -> None:
        self._view = view
        self._hand = HandTool()
        self._dragging: Tool | None = None
        self._latest: PointerEvent | None = None
        self._pressed_at = QPointF()
        self._pen_down = False
        self.space_held = False

    @property
    def dragging(self) -> bool:
        """Whether a drag is under way."""
        return self._dragging is not None

    @property
    def tool(self) -> Tool:
        """The tool that the next press would use."""
        return self._dragging or (self._hand if self.space_held else self._view.tool)

    def mouse(self, event: QMouseEvent) -> None:
        """A press, move or release of the mouse."""
        if self._pen_down:
            return
        middle = event.button() == Qt.MouseButton.MiddleButton
        # A second press that comes quickly is a press, too.
        pressed = event.type() in (QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonDblClick)
        if pressed and (middle or event.button() == Qt.MouseButton.LeftButton):
            self._press(self._hand if middle else self.tool, self._pointer(event.position(), event.modifiers()))
        elif event.type() == QEvent.Type.MouseMove and self.dragging and not event.buttons():
            # The button was let go where nobody told us, in a dialog for instance.
            self.finish()
        elif event.type() == QEvent.Type.MouseMove:
            self._move(self._pointer(event.position(), event.modifiers()))
        elif event.type() == QEvent.Type.MouseButtonRelease and not event.buttons():
            self._release(self._pointer(event.position(), event.modifiers()))

    def tablet(self, event: QTabletEvent) -> None:
        """A press, move or release of the pen; accepted, so that Qt makes no mouse event of it."""
        pointer = self._pointer(event.position(), event.modifiers(), event.pressure())
        if event.type() == QEvent.Type.TabletPress:
            self._pen_down = True
            self._press(self.tool, pointer)
        elif event.type() == QEvent.Type.TabletMove:
            self._move(pointer)
        elif event.type() == QEvent.Type.TabletRelease:
            self._release(pointer)
            self._pen_down = False
        event.accept()

    def wheel(self, event: QWheelEvent) -> None:
        """A mouse wheel zooms at the pointer; two fingers on a touchpad scroll, and zoom with Ctrl."""
        fingers = not event.pixelDelta().isNull() and event.phase() != Qt.ScrollPhase.NoScrollPhase
        if fingers and not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            delta = event.pixelDelta()
            self._view.scroll_by(-delta.x(), -delta.y(), logical=True)
        elif event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            delta = event.angleDelta()
            self._view.scroll_by(-(delta.x() or delta.y()), 0.0, logical=True)
        else:
            notches = event.angleDelta().y() / _NOTCH
            self._view.zoom_to(self._view.zoom * WHEEL_FACTOR**notches, event.position())
        event.accept()

    def native_gesture(self, event: QNativeGestureEvent) -> bool:
        """Pinch on a touchpad zooms."""
        if event.gestureType() != Qt.NativeGestureType.ZoomNativeGesture:
            return False
        self._view.zoom_to(self._view.zoom * (1 + event.value()), event.position())
        return True

    def finish(self) -> None:
        """End the drag where the pointer was last, as if it had been released there."""
        self._pen_down = False
        if self._latest is not None:
            self._release(self._latest)

    def cancel(self) -> bool:
        """Call off the drag, if there is one."""
        tool, self._dragging = self._dragging, None
        if tool is None or self._view.context is None:
            return False
        tool.cancel(self._view.context)
        self._view.context.end_gesture()
        self._view.update()
        return True

    def _press(self, tool: Tool, pointer: PointerEvent) -> None:
        if self._dragging is None and self._view.context is not None:
            self._dragging, self._latest = tool, pointer
            self._pressed_at = self._view.to_widget(pointer.x, pointer.y)
            self._view.pressed.emit()
            self._view.context.begin_gesture()
            tool.press(self._view.context, pointer)
            self._view.update_overlay()

    def _move(self, pointer: PointerEvent) -> None:
        if self._dragging is not None and self._view.context is not None:
            self._latest = pointer
            self._dragging.move(self._view.context, pointer)
        self._view.update_overlay()

    def _release(self, pointer: PointerEvent) -> None:
        tool, self._dragging = self._dragging, None
        if tool is not None and self._view.context is not None:
            away = (self._view.to_widget(pointer.x, pointer.y) - self._pressed_at).manhattanLength()
            try:
                tool.release(self._view.context, pointer)
            finally:
                self._view.context.end_gesture()
            # What had waited for the drag to end may have closed the photograph.
            if away < QApplication.startDragDistance() and self._view.context is not None:
                tool.click(self._view.context, pointer)
            self._view.update_overlay()

    def _pointer(self, position: QPointF, modifiers: Qt.KeyboardModifier, pressure: float = 1.0) -> PointerEvent:
        x, y = self._view.to_image(position)
        return PointerEvent(
            x,
            y,
            pressure,
            shift=bool(modifiers & Qt.KeyboardModifier.ShiftModifier),
            alt=bool(modifiers & Qt.KeyboardModifier.AltModifier),
        )
