"""Translates mouse, pen, wheel and touch events to tool calls in image coordinates, and to scrolling and zooming."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QEvent, QObject, QPointF, Qt, Signal
from PySide6.QtGui import QMouseEvent, QNativeGestureEvent, QTabletEvent, QWheelEvent
from PySide6.QtWidgets import QApplication

from desktop.canvas.defect_overlay import DefectOverlay
from desktop.canvas.viewport import Viewport
from desktop.document.model import Document
from desktop.document.targets import EDGE_MAP, Target
from desktop.photo.workspace import Workspace
from desktop.tools.base import EDGES, BrushSettings, Cursor, PointerEvent, Tool, ToolSettings
from desktop.tools.navigate import HandTool
from engine.tiles import TileDelta, TileEdit, TileMap

WHEEL_FACTOR = 1.25
"""Zoom of one notch of the wheel."""
_NOTCH = 120


def pointer_shape(cursor: Cursor, zoom: float, *, dragging: bool) -> Qt.CursorShape:
    """The system pointer for a tool's cursor.

    Args:
        cursor: of the tool.
        zoom: logical pixels per image pixel; a cross is shown with a ring that is too small to see.
        dragging: whether a drag is going on.
    """
    shapes = Qt.CursorShape
    if cursor.diameter is not None:
        return shapes.BlankCursor if cursor.diameter * zoom >= 5 else shapes.CrossCursor
    if cursor.shape == "hand":
        return shapes.ClosedHandCursor if dragging else shapes.OpenHandCursor
    return shapes.PointingHandCursor if cursor.shape == "zoom" else shapes.CrossCursor


class CanvasInput(QObject):
    """Calls the tools for the Qt events of a canvas. GUI thread; one drag at a time.

    Implements ``tools.base.ToolContext``.

    Args:
        viewport: pan and zoom of the canvas.
        overlay: its defects.
        settings: of the tools.

    Attributes:
        tool: the chosen tool.
        space_held: whether Space is held, which replaces the tool by the hand.

    Signals:
        pressed: a drag begins.
        spot_painted: a spot-heal stroke ended; carries its mask.
        outline_changed: the unfinished shape or the brush ring has to be redrawn.
        cancelled: a drag was cancelled.
    """

    pressed = Signal()
    spot_painted = Signal(object)
    outline_changed = Signal()
    cancelled = Signal()

    def __init__(self, viewport: Viewport, overlay: DefectOverlay, settings: ToolSettings) -> None:
        super().__init__(viewport)
        self._viewport, self._overlay, self._settings = viewport, overlay, settings
        self._workspace: Workspace | None = None
        self.tool = Tool()
        self._hand = HandTool()
        self._dragging: Tool | None = None
        self._latest: PointerEvent | None = None
        self._pressed_at = QPointF()
        self._pen_down = False
        self.space_held = False

    def show_workspace(self, workspace: Workspace | None) -> None:
        """Use the tools on another photograph, or none; cancels the current drag."""
        self.cancel()
        self._workspace = workspace

    @property
    def dragging(self) -> bool:
        """Whether a drag is going on."""
        return self._dragging is not None

    @property
    def active_tool(self) -> Tool:
        """The tool of the current drag, otherwise the one that a press would use."""
        return self._dragging or (self._hand if self.space_held else self.tool)

    @property
    def cursor(self) -> Cursor:
        """How the pointer looks."""
        return self.active_tool.cursor(self.brush, adding=self.adding)

    # -- events -----------------------------------------------------------------------------------------------

    def mouse(self, event: QMouseEvent) -> None:
        """A press, move or release of the mouse."""
        if self._pen_down:
            return
        middle = event.button() == Qt.MouseButton.MiddleButton
        # Qt sends the second of two quick presses as a double click.
        pressed = event.type() in (QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonDblClick)
        if pressed and (middle or event.button() == Qt.MouseButton.LeftButton):
            self._press(self._hand if middle else self.active_tool, self._pointer(event.position(), event.modifiers()))
        elif event.type() == QEvent.Type.MouseMove and self.dragging and not event.buttons():
            # The release was not sent to the canvas, for example because a dialog opened.
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
            self._press(self.active_tool, pointer)
        elif event.type() == QEvent.Type.TabletMove:
            self._move(pointer)
        elif event.type() == QEvent.Type.TabletRelease:
            self._release(pointer)
            self._pen_down = False
        event.accept()

    def wheel(self, event: QWheelEvent) -> None:
        """A mouse wheel zooms at the pointer; two fingers on a touchpad scroll, and zoom with Ctrl."""
        viewport = self._viewport
        fingers = not event.pixelDelta().isNull() and event.phase() != Qt.ScrollPhase.NoScrollPhase
        if fingers and not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            delta = event.pixelDelta()
            viewport.scroll_by(-delta.x(), -delta.y(), logical=True)
        elif event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            delta = event.angleDelta()
            viewport.scroll_by(-(delta.x() or delta.y()), 0.0, logical=True)
        else:
            notches = event.angleDelta().y() / _NOTCH
            viewport.zoom_to(viewport.zoom * WHEEL_FACTOR**notches, event.position())
        event.accept()

    def native_gesture(self, event: QNativeGestureEvent) -> bool:
        """Pinch on a touchpad zooms."""
        if event.gestureType() != Qt.NativeGestureType.ZoomNativeGesture:
            return False
        self._viewport.zoom_to(self._viewport.zoom * (1 + event.value()), event.position())
        return True

    def finish(self) -> None:
        """End the drag as if the pointer had been released at its last position."""
        self._pen_down = False
        if self._latest is not None:
            self._release(self._latest)

    def cancel(self) -> bool:
        """Cancel the current drag; returns whether there was one."""
        tool, self._dragging = self._dragging, None
        if tool is None or self._workspace is None:
            return False
        tool.cancel(self)
        self._workspace.end_gesture()
        self.cancelled.emit()
        return True

    def _press(self, tool: Tool, pointer: PointerEvent) -> None:
        if self._dragging is None and self._workspace is not None:
            self._dragging, self._latest = tool, pointer
            self._pressed_at = self._viewport.to_widget(pointer.x, pointer.y)
            self.pressed.emit()
            self._workspace.begin_gesture()
            tool.press(self, pointer)
            self.outline_changed.emit()

    def _move(self, pointer: PointerEvent) -> None:
        if self._dragging is not None:
            self._latest = pointer
            self._dragging.move(self, pointer)
        self.outline_changed.emit()

    def _release(self, pointer: PointerEvent) -> None:
        tool, self._dragging = self._dragging, None
        if tool is not None and self._workspace is not None:
            away = (self._viewport.to_widget(pointer.x, pointer.y) - self._pressed_at).manhattanLength()
            try:
                tool.release(self, pointer)
            finally:
                self._workspace.end_gesture()
            # ``end_gesture`` applies results that were held back, which may close the photograph.
            if away < QApplication.startDragDistance() and self._workspace is not None:
                tool.click(self, pointer)
            self.outline_changed.emit()

    def _pointer(self, position: QPointF, modifiers: Qt.KeyboardModifier, pressure: float = 1.0) -> PointerEvent:
        x, y = self._viewport.to_image(position)
        return PointerEvent(
            x,
            y,
            pressure,
            shift=bool(modifiers & Qt.KeyboardModifier.ShiftModifier),
            alt=bool(modifiers & Qt.KeyboardModifier.AltModifier),
        )

    # -- ToolContext ------------------------------------------------------------------------------------------

    @property
    def document(self) -> Document:
        """The document."""
        return self._photo.document

    @property
    def brush(self) -> BrushSettings:
        """The brush of the chosen tool for the paint target."""
        edges = self._workspace is not None and self._workspace.target == EDGE_MAP and self.tool.paints
        return self._settings.brush(EDGES if edges else self.tool.id)

    @property
    def adding(self) -> bool:
        """Whether tools add to the paint target."""
        return self._settings.adding

    @property
    def target(self) -> Target:
        """The paint target."""
        return self._photo.target

    def show_live(self, edits: Mapping[Target, TileEdit]) -> None:
        """Show an unfinished stroke."""
        self._photo.show_live(edits)

    def show_spot(self, edit: TileEdit | None) -> None:
        """Show the unfinished stroke of a spot heal."""
        self._photo.show_spot(edit)

    def cancel_live(self) -> None:
        """Discard the unfinished stroke."""
        self._photo.cancel_live()

    def paint(self, label: str, deltas: Mapping[Target, TileDelta]) -> None:
        """Make a finished stroke one undo step."""
        self._photo.paint(label, deltas)

    def heal_spot(self, mask: TileMap) -> None:
        """Heal the pixels of a mask that is not the repair mask."""
        self.spot_painted.emit(mask)

    def scroll(self, dx: float, dy: float) -> None:
        """Scroll the view by image pixels."""
        self._viewport.scroll_by(dx * self._viewport.zoom, dy * self._viewport.zoom)

    def zoom(self, x: float, y: float, steps: int) -> None:
        """Zoom in or out around an image point."""
        self._viewport.zoom_step(steps, self._viewport.to_widget(x, y))

    def choose(self, x: float, y: float) -> None:
        """Select the defect at an image point, if there is one."""
        item = self._overlay.defect_at(x, y)
        if item is not None:
            self._photo.defects.choose(item, go=False)

    @property
    def _photo(self) -> Workspace:
        """The open photograph; tools are called only while there is one."""
        assert self._workspace is not None
        return self._workspace
