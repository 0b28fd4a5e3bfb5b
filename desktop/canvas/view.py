"""The canvas: one photograph with pan and zoom, mask overlay, before/after divider and brush ring."""

from __future__ import annotations

import math

from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QEnterEvent,
    QFocusEvent,
    QGuiApplication,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QNativeGestureEvent,
    QPainter,
    QPaintEvent,
    QPolygonF,
    QResizeEvent,
    QTabletEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QAbstractSpinBox, QApplication, QGestureEvent, QLineEdit, QPinchGesture, QWidget

from desktop.canvas.defect_overlay import DefectOverlay
from desktop.canvas.input import CanvasInput, pointer_shape
from desktop.canvas.paint import DisplayOptions, PicturePainter, paint_divider, paint_outline, paint_ring
from desktop.canvas.viewport import Viewport
from desktop.photo.workspace import Workspace
from desktop.tools.base import Tool, ToolSettings
from engine.raster import Rect
from engine.tiles import time_limit

_DIVIDER_REACH = 6
_PAINT_SECONDS = 0.03
"""Time for computing new tiles in one repaint; the next repaint continues, so that the window never blocks."""


class CanvasView(QWidget):
    """Shows one open photograph. GUI thread.

    Attributes:
        viewport: pan and zoom.
        input: handles pointer events.
        overlay: the outlines of defects.
        surround: colour around the picture.
        frames: number of repaints of a photograph so far.
        complete: whether the last repaint had all tiles.

    Signals:
        pointed: the pointer moved over an image point; carries (x, y), or None when it left the canvas.
    """

    pointed = Signal(object)

    # A class attribute, because Qt sends events while its constructor runs.
    _workspace: Workspace | None = None

    def __init__(self, settings: ToolSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName(self.tr("Picture"))
        self.grabGesture(Qt.GestureType.PinchGesture)
        self.surround = QColor(51, 51, 51)
        self.frames, self.complete = 0, False
        self._divider: float | None = None
        self._divider_dragged = False
        self._picture = PicturePainter()
        self.viewport = Viewport(self)
        self.overlay = DefectOverlay(self, self.viewport, self.display)
        self.input = CanvasInput(self.viewport, self.overlay, settings)
        self._hover: QPointF | None = None
        self._painted_outline = QRect()
        self._repaint_timer = QTimer(self)
        self._repaint_timer.setSingleShot(True)
        self._repaint_timer.timeout.connect(self.update)
        self.viewport.zoom_changing.connect(self._on_zoom_changing)
        self.viewport.moved.connect(self._on_moved)
        self.input.outline_changed.connect(self.update_outline)
        self.input.cancelled.connect(self.update)

    # -- what is shown ----------------------------------------------------------------------------------------

    @property
    def workspace(self) -> Workspace | None:
        """The photograph on the canvas."""
        return self._workspace

    def show_workspace(self, workspace: Workspace | None) -> None:
        """Show a photograph, fitted to the window; None shows an empty canvas."""
        if self._workspace is not None:
            self._workspace.picture_changed.disconnect(self._on_picture_changed)
            self._workspace.mask_changed.disconnect(self._on_mask_changed)
            self._workspace.size_changed.disconnect(self._on_size_changed)
        self.input.show_workspace(workspace)
        self._workspace = workspace
        self._picture.clear()
        self.overlay.show_workspace(workspace)
        if workspace is not None:
            workspace.picture_changed.connect(self._on_picture_changed)
            workspace.mask_changed.connect(self._on_mask_changed)
            workspace.size_changed.connect(self._on_size_changed)
            self._on_size_changed()
            self.viewport.fit(1.0)
        self.update()

    def set_tool(self, tool: Tool) -> None:
        """Use another tool; cancels the current drag."""
        self.input.cancel()
        self.input.tool = tool
        self._update_pointer()
        self.update()

    @property
    def display(self) -> DisplayOptions:
        """The current display options."""
        return self._picture.display

    def set_veil(self, colour: QColor | None = None, *, shown: bool | None = None) -> None:
        """Set the colour (with alpha) and the visibility of the mask overlay; None leaves either unchanged."""
        if colour is not None:
            self.display.veil_colour = colour
            self._picture.clear("veil")
        if shown is not None:
            self.display.veil = shown
        self.update()

    def set_monitor(self, profile: bytes | None) -> None:
        """Set the screen's ICC profile; None is sRGB."""
        self.display.monitor = profile
        self._picture.clear()
        self.update()

    @property
    def divider(self) -> bool:
        """Whether the before/after divider is shown: scan on its left, repaired picture on its right."""
        return self._divider is not None

    def set_divider(self, *, shown: bool) -> None:
        """Show or hide the before/after divider."""
        self._divider = 0.5 if shown else None
        self._update_pointer()
        self.update()

    def hold_before(self, *, held: bool) -> None:
        """Show the scan without layers (``held``), as long as a key is held."""
        self.display.before = held
        if held:
            self.setFocus()
        self.update()

    # -- painting ---------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        # The painter must be closed even after an exception, or Qt aborts the program.
        with QPainter(self) as painter:
            painter.fillRect(event.rect(), self.surround)
            if self._workspace is not None:
                self._paint(painter, self._workspace, event.rect())

    def _paint(self, painter: QPainter, workspace: Workspace, clip: QRect) -> None:
        viewport = self.viewport
        painter.scale(1 / viewport.ratio, 1 / viewport.ratio)
        # At 125 % and the like a widget may begin between two pixels of the screen; tiles would leave gaps there.
        device = painter.deviceTransform()
        pixel = QPointF(math.floor(device.dx()) - device.dx(), math.floor(device.dy()) - device.dy())
        painter.translate(pixel - viewport.origin)
        self.display.split = None
        if self._divider is not None:
            self.display.split = round(viewport.origin.x() + self._divider * viewport.size.width())
        seen = viewport.to_screen(QRectF(clip))
        self.complete = self._picture.paint(painter, workspace, viewport.frame, seen, time_limit(_PAINT_SECONDS))
        self.frames += 1
        if not self.complete:
            self._repaint_timer.start(0)
        elif seen == viewport.visible_screen():
            self._picture.drop_placeholder()
        painter.resetTransform()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self.overlay.paint(painter, QRectF(clip))
        self._paint_outline(painter)

    def _on_zoom_changing(self) -> None:
        """The zoom is about to change: keep the current screen image as placeholder for tiles of the new zoom."""
        viewport = self.viewport
        if self._workspace is None or not self.frames or not self.isVisible() or not viewport.visible_screen():
            self._picture.set_placeholder(None)
            return
        image = QImage(viewport.size, QImage.Format.Format_RGB32)
        image.fill(self.surround)
        self._picture.paint_on(image, self._workspace, viewport.frame, viewport.origin, viewport.visible_screen())
        self._picture.set_placeholder((image, QPointF(viewport.origin), viewport.zoom))

    # -- divider, unfinished shape, brush ring -----------------------------------------------------------------

    def update_outline(self) -> None:
        """Repaint only the brush ring and the unfinished shape."""
        self.update(self._outline_rect().united(self._painted_outline))

    def _ring_radius(self) -> float | None:
        diameter = self.input.cursor.diameter
        if self._hover is None or diameter is None:
            return None
        return max(1.0, diameter * self.viewport.zoom / self.viewport.ratio / 2)

    def _outline(self) -> QPolygonF:
        return QPolygonF([self.viewport.to_widget(x, y) for x, y in self.input.active_tool.outline()])

    def _outline_rect(self) -> QRect:
        rect, radius = QRectF(), self._ring_radius()
        if self._hover is not None and radius is not None:
            reach = QPointF(radius + 3, radius + 3)
            rect = QRectF(self._hover - reach, self._hover + reach)
        outline = self._outline()
        if not outline.isEmpty():
            rect = rect.united(outline.boundingRect().adjusted(-3, -3, 3, 3))
        return rect.toAlignedRect()

    def _paint_outline(self, painter: QPainter) -> None:
        if self._divider is not None and not self.display.before:
            paint_divider(painter, self._divider * self.width(), self.rect(), self.tr("Before"), self.tr("After"))
        outline, radius = self._outline(), self._ring_radius()
        if not outline.isEmpty():
            paint_outline(painter, outline)
        if self._hover is not None and radius is not None:
            alt = bool(QGuiApplication.keyboardModifiers() & Qt.KeyboardModifier.AltModifier)
            paint_ring(painter, self._hover, radius, adding=self.input.cursor.adding != alt)
        self._painted_outline = self._outline_rect()

    def refresh_cursor(self) -> None:
        """Update pointer and brush ring after the tool's settings changed."""
        self._update_pointer()
        self.update_outline()

    def _update_pointer(self) -> None:
        if self._workspace is None:
            shape = Qt.CursorShape.ArrowCursor
        elif self._over_divider(self._hover):
            shape = Qt.CursorShape.SplitHCursor
        else:
            zoom = self.viewport.zoom / self.viewport.ratio
            shape = pointer_shape(self.input.cursor, zoom, dragging=self.input.dragging)
        if self.cursor().shape() != shape:
            self.setCursor(shape)

    def _over_divider(self, position: QPointF | None) -> bool:
        if position is None or self._divider is None or self.input.dragging:
            return False
        return abs(position.x() - self._divider * self.width()) <= _DIVIDER_REACH

    # -- events -----------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._point(event.position())
        if event.button() == Qt.MouseButton.LeftButton and self._over_divider(event.position()):
            self._divider_dragged = True
            return
        self.input.mouse(event)
        self._update_pointer()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        # Qt sends the second of two quick presses as a double click; for a brush it is a second dab.
        self.mousePressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._point(event.position())
        if self._divider_dragged:
            self._divider = min(1.0, max(0.0, event.position().x() / max(1, self.width())))
            self.update()
            return
        self.input.mouse(event)
        self._update_pointer()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._divider_dragged and event.button() == Qt.MouseButton.LeftButton:
            self._divider_dragged = False
            return
        self.input.mouse(event)
        self._update_pointer()

    def tabletEvent(self, event: QTabletEvent) -> None:
        self._point(event.position())
        self.input.tablet(event)
        self._update_pointer()

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self._workspace is not None:
            self.input.wheel(event)
            self._update_pointer()

    def event(self, event: QEvent) -> bool:
        if self._workspace is not None:
            if isinstance(event, QNativeGestureEvent) and self.input.native_gesture(event):
                return True
            if isinstance(event, QGestureEvent):
                pinch = event.gesture(Qt.GestureType.PinchGesture)
                if isinstance(pinch, QPinchGesture):
                    centre = self.mapFromGlobal(pinch.centerPoint())
                    self.viewport.zoom_to(self.viewport.zoom * pinch.scaleFactor(), centre)
                    return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space:
            if not event.isAutoRepeat():
                self._hold_hand(held=True)
        else:
            super().keyPressEvent(event)
            # Alt switches between adding and removing, which changes the ring.
            self.update_outline()

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        if event.isAutoRepeat():
            return
        if event.key() == Qt.Key.Key_Space:
            self._hold_hand(held=False)
        elif self.display.before:
            self.hold_before(held=False)
        else:
            super().keyReleaseEvent(event)
            self.update_outline()

    def _hold_hand(self, *, held: bool) -> None:
        self.input.space_held = held
        self._update_pointer()
        self.update_outline()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self.input.space_held = False
        self.input.finish()
        if self.display.before:
            self.hold_before(held=False)
        super().focusOutEvent(event)

    def enterEvent(self, event: QEnterEvent) -> None:
        super().enterEvent(event)
        # Single-key shortcuts work when the pointer is over the picture, unless a number is being typed.
        if self.window().isActiveWindow() and not isinstance(QApplication.focusWidget(), QLineEdit | QAbstractSpinBox):
            self.setFocus(Qt.FocusReason.MouseFocusReason)

    def leaveEvent(self, event: QEvent) -> None:
        self._hover = None
        self.pointed.emit(None)
        self.update_outline()
        super().leaveEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.viewport.on_resize()

    def sizeHint(self) -> QSize:
        return QSize(1000, 700)

    def minimumSizeHint(self) -> QSize:
        return QSize(200, 150)

    # -- slots ------------------------------------------------------------------------------------------------

    def _point(self, position: QPointF | None) -> None:
        """Update what depends on the image point under the pointer; the pointer or the picture moved."""
        self._hover = position
        if self._workspace is not None and position is not None:
            self.pointed.emit(self.viewport.to_image(position))
        self.update_outline()

    def _on_moved(self) -> None:
        self._point(self._hover)
        self.update()

    def _on_picture_changed(self, rect: Rect) -> None:
        self._picture.invalidate_picture(self.viewport.frame, rect)
        self.update(self.viewport.widget_rect(rect))
        self._point(self._hover)

    def _on_mask_changed(self, rect: Rect) -> None:
        self._picture.invalidate_masks(self.viewport.frame, rect)
        self.update(self.viewport.widget_rect(rect))

    def _on_size_changed(self) -> None:
        assert self._workspace is not None
        self.input.cancel()
        bounds = self._workspace.document.bounds
        self._picture.clear()
        self.viewport.set_picture_size(bounds.width, bounds.height)
        self.update()
