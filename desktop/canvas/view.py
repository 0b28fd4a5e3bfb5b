"""The canvas: one photograph under pan and zoom, with veil, before/after divider and brush ring."""

from __future__ import annotations

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

from desktop.canvas.input import CanvasContext, CanvasInput, pointer_shape
from desktop.canvas.marks import DefectMarks
from desktop.canvas.paint import (
    PicturePainter,
    Shown,
    paint_divider,
    paint_outline,
    paint_ring,
    screen_rect,
    widget_rect,
)
from desktop.canvas.render import Frame
from desktop.tools.base import Cursor, Tool, ToolSettings
from desktop.workspace import Workspace
from engine.raster import Rect

SMALLEST, LARGEST = 0.05, 32.0
"""Zoom, device pixels per image pixel."""
STEPS = (0.05, 0.0625, 0.0833, 0.125, 0.1667, 0.25, 0.3333, 0.5, 0.6667, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Zooms that the keys go through."""
_DIVIDER_REACH = 6


class CanvasView(QWidget):
    """Shows one open photograph. GUI thread.

    Positions are of three kinds: widget (logical pixels), screen (device pixels from the corner of the zoomed picture,
    see ``render.Frame``) and image.

    Signals:
        pointed: the pointer is over an image point (x, y), or left (None).
        viewed: pan or zoom moved.
        pressed: a tool was put to the picture.
        spot_painted: a spot-heal stroke ended; carries its mask.
    """

    pointed = Signal(object)
    viewed = Signal()
    spot_painted = Signal(object)
    pressed = Signal()

    # Qt sends events while its own constructor runs.
    _workspace: Workspace | None = None

    def __init__(self, settings: ToolSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName(self.tr("Picture"))
        self.grabGesture(Qt.GestureType.PinchGesture)
        self.tool_settings = settings
        self.tool = Tool()
        self.context: CanvasContext | None = None
        self.surround = QColor(51, 51, 51)
        self.frames = 0
        """Repaints of a photograph so far."""
        self.complete = False
        """Whether the last repaint had every tile ready."""
        self._divider: float | None = None
        self._divider_dragged = False
        self.input = CanvasInput(self)
        self._picture, self.marks = PicturePainter(), DefectMarks(self)
        self._origin = QPointF(0, 0)
        self._fitted, self._fit_limit = True, 1.0
        self._hover: QPointF | None = None
        self._overlay = QRect()
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.update)

    # -- what is shown ----------------------------------------------------------------------------------------

    @property
    def workspace(self) -> Workspace | None:
        """The photograph on the canvas."""
        return self._workspace

    def show_workspace(self, workspace: Workspace | None) -> None:
        """Show a photograph, fitted; None is an empty canvas."""
        self.input.cancel()
        if self._workspace is not None:
            self._workspace.picture_changed.disconnect(self._on_picture_changed)
            self._workspace.mask_changed.disconnect(self._on_mask_changed)
            self._workspace.size_changed.disconnect(self._on_size_changed)
        self._workspace = workspace
        self.context = CanvasContext(self, workspace) if workspace is not None else None
        self._picture.clear()
        self.marks.show_workspace(workspace)
        if workspace is not None:
            workspace.picture_changed.connect(self._on_picture_changed)
            workspace.mask_changed.connect(self._on_mask_changed)
            workspace.size_changed.connect(self._on_size_changed)
            self._on_size_changed()
            self.fit(1.0)
        self.update()

    def set_tool(self, tool: Tool) -> None:
        """Take another tool in hand; a drag under way is called off."""
        self.input.cancel()
        self.tool = tool
        self._update_pointer()
        self.update()

    @property
    def shown(self) -> Shown:
        """Veil, before, divider and monitor profile as they are shown now."""
        return self._picture.shown

    def set_veil(self, colour: QColor | None = None, *, shown: bool | None = None) -> None:
        """The veil's colour (with its opacity), and whether it is there."""
        if colour is not None:
            self.shown.veil_colour = colour
            self._picture.clear("veil")
        if shown is not None:
            self.shown.veil = shown
        self.update()

    def set_monitor(self, profile: bytes | None) -> None:
        """The screen's ICC profile; None is sRGB."""
        self.shown.monitor = profile
        self._picture.clear()
        self.update()

    @property
    def divider(self) -> bool:
        """Whether the before/after divider is shown: the scan on its left, the repaired picture on its right."""
        return self._divider is not None

    def set_divider(self, *, shown: bool) -> None:
        """Show or hide the before/after divider."""
        self._divider = 0.5 if shown else None
        self._update_pointer()
        self.update()

    def hold_before(self, *, held: bool) -> None:
        """Show the scan alone while a key is held."""
        self.shown.before = held
        if held:
            self.setFocus()
        self.update()

    # -- pan and zoom -----------------------------------------------------------------------------------------

    @property
    def zoom(self) -> float:
        """Device pixels per image pixel: 1 is 100 %."""
        return self._frame.zoom

    @property
    def _frame(self) -> Frame:
        return self._picture.frame

    def fit(self, largest: float = LARGEST) -> None:
        """All of the picture, as large as it fits up to a zoom; stays fitted when the window is resized."""
        self._fit_limit, size = largest, self._device_size()
        self._set_zoom(min(largest, max(SMALLEST / 8, self._frame.fitting(size.width(), size.height()))))
        self._origin = QPointF(
            (self._frame.width * self.zoom - size.width()) / 2, (self._frame.height * self.zoom - size.height()) / 2
        )
        self._fitted = True
        self._moved()

    def zoom_to(self, zoom: float, around: QPointF | None = None) -> None:
        """Zoom so that the image point at a widget position (the middle by default) stays where it is."""
        around = around if around is not None else QRectF(self.rect()).center()
        x, y = self.to_image(around)
        self._set_zoom(min(LARGEST, max(SMALLEST, zoom)))
        self._origin = QPointF(x * self.zoom, y * self.zoom) - around * self.devicePixelRatioF()
        self._fitted = False
        self._moved()

    def zoom_step(self, steps: int, around: QPointF | None = None) -> None:
        """To the next of ``STEPS``, up or down."""
        if steps > 0:
            wanted = next((zoom for zoom in STEPS if zoom > self.zoom * 1.01), LARGEST)
        else:
            wanted = next((zoom for zoom in reversed(STEPS) if zoom < self.zoom * 0.99), SMALLEST)
        self.zoom_to(wanted, around)

    def scroll_by(self, dx: float, dy: float, *, logical: bool = False) -> None:
        """Move the view over the picture, in device pixels, or logical ones."""
        scale = self.devicePixelRatioF() if logical else 1.0
        self._origin += QPointF(dx * scale, dy * scale)
        self._fitted = False
        self._moved()

    def centre_on(self, x: float, y: float) -> None:
        """Bring an image point to the middle."""
        size = self._device_size()
        self._origin = QPointF(x * self.zoom - size.width() / 2, y * self.zoom - size.height() / 2)
        self._fitted = False
        self._moved()

    def to_image(self, position: QPointF) -> tuple[float, float]:
        """Image coordinates of a widget position."""
        point = (position * self.devicePixelRatioF() + self._origin) / self.zoom
        return point.x(), point.y()

    def to_widget(self, x: float, y: float) -> QPointF:
        """Widget position of an image point."""
        return (QPointF(x * self.zoom, y * self.zoom) - self._origin) / self.devicePixelRatioF()

    def visible(self) -> QRectF:
        """The part of the picture in view, image coordinates."""
        if self._workspace is None:
            return QRectF()
        seen = screen_rect(QRectF(self.rect()), self.devicePixelRatioF(), self._origin)
        scale = 1 / self.zoom
        image = QRectF(seen.left * scale, seen.top * scale, seen.width * scale, seen.height * scale)
        return image & QRectF(0, 0, self._frame.width, self._frame.height)

    def _device_size(self) -> QSize:
        ratio = self.devicePixelRatioF()
        return QSize(round(self.width() * ratio), round(self.height() * ratio))

    def _set_zoom(self, zoom: float) -> None:
        if abs(zoom - self._frame.zoom) > 1e-9:
            self._picture.zoom_to(zoom, self._take_ghost())

    def _moved(self) -> None:
        """Keep some of the picture in view, and the origin on whole device pixels so that tiles stay sharp."""
        size, keep = self._device_size(), 64
        x = min(max(self._origin.x(), keep - size.width()), self._frame.bounds.width - keep)
        y = min(max(self._origin.y(), keep - size.height()), self._frame.bounds.height - keep)
        self._origin = QPointF(round(x), round(y))
        self.viewed.emit()
        self._point(self._hover)
        self.update()

    # -- painting ---------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        try:
            painter.fillRect(event.rect(), self.surround)
            if self._workspace is not None:
                self._paint(painter, self._workspace, event.rect())
        finally:
            # Whatever goes wrong, Qt must not be left with an open painter.
            painter.end()

    def _paint(self, painter: QPainter, workspace: Workspace, clip: QRect) -> None:
        ratio = self.devicePixelRatioF()
        painter.scale(1 / ratio, 1 / ratio)
        painter.translate(-self._origin)
        self.shown.split = None
        if self._divider is not None:
            self.shown.split = round(self._origin.x() + self._divider * self._device_size().width())
        seen = screen_rect(QRectF(clip), ratio, self._origin) & self._frame.bounds
        self.complete = self._picture.paint(painter, workspace, seen)
        self.frames += 1
        if not self.complete:
            self._later.start(0)
        elif seen == self._seen():
            self._picture.drop_ghost()
        painter.resetTransform()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self.marks.paint(painter, QRectF(clip))
        self._paint_overlay(painter)

    def _seen(self) -> Rect:
        return screen_rect(QRectF(self.rect()), self.devicePixelRatioF(), self._origin) & self._frame.bounds

    def _take_ghost(self) -> tuple[QImage, QPointF, float] | None:
        """The picture as it is on the screen now."""
        if self._workspace is None or not self.frames or not self.isVisible() or not self._seen():
            return None
        image = QImage(self._device_size(), QImage.Format.Format_RGB32)
        image.fill(self.surround)
        self._picture.paint_on(image, self._workspace, self._origin, self._seen())
        return image, QPointF(self._origin), self.zoom

    # -- overlay: divider, outline, ring ----------------------------------------------------------------------

    def update_overlay(self) -> None:
        """Redraw the brush ring and the unfinished outline, and no more."""
        self.update(self._overlay_rect().united(self._overlay))

    def _cursor(self) -> Cursor:
        return self.input.tool.cursor(self.context.settings if self.context is not None else self.tool_settings)

    def _ring_radius(self) -> float | None:
        diameter = self._cursor().diameter
        if self._hover is None or diameter is None:
            return None
        return max(1.0, diameter * self.zoom / self.devicePixelRatioF() / 2)

    def _outline(self) -> QPolygonF:
        return QPolygonF([self.to_widget(x, y) for x, y in self.input.tool.outline()])

    def _overlay_rect(self) -> QRect:
        rect, radius = QRectF(), self._ring_radius()
        if self._hover is not None and radius is not None:
            reach = QPointF(radius + 3, radius + 3)
            rect = QRectF(self._hover - reach, self._hover + reach)
        outline = self._outline()
        if not outline.isEmpty():
            rect = rect.united(outline.boundingRect().adjusted(-3, -3, 3, 3))
        return rect.toAlignedRect()

    def _paint_overlay(self, painter: QPainter) -> None:
        if self._divider is not None and not self.shown.before:
            paint_divider(painter, self._divider * self.width(), self.rect(), self.tr("Before"), self.tr("After"))
        outline, radius = self._outline(), self._ring_radius()
        if not outline.isEmpty():
            paint_outline(painter, outline)
        if self._hover is not None and radius is not None:
            alt = bool(QGuiApplication.keyboardModifiers() & Qt.KeyboardModifier.AltModifier)
            paint_ring(painter, self._hover, radius, adding=self._cursor().adding != alt)
        self._overlay = self._overlay_rect()

    def refresh_cursor(self) -> None:
        """The tool's settings moved: the ring is another."""
        self._update_pointer()
        self.update_overlay()

    def _update_pointer(self) -> None:
        if self._workspace is None:
            shape = Qt.CursorShape.ArrowCursor
        elif self._over_divider(self._hover):
            shape = Qt.CursorShape.SplitHCursor
        else:
            zoom = self.zoom / self.devicePixelRatioF()
            shape = pointer_shape(self._cursor(), zoom, dragging=self.input.dragging)
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
        # Qt's word for a second press that comes quickly: dabs come quickly.
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
                    self.zoom_to(self.zoom * pinch.scaleFactor(), self.mapFromGlobal(pinch.centerPoint()))
                    return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space:
            if not event.isAutoRepeat():
                self._hold_hand(held=True)
        else:
            super().keyPressEvent(event)
            # Alt turns the ring over.
            self.update_overlay()

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        if event.isAutoRepeat():
            return
        if event.key() == Qt.Key.Key_Space:
            self._hold_hand(held=False)
        elif self.shown.before:
            self.hold_before(held=False)
        else:
            super().keyReleaseEvent(event)
            self.update_overlay()

    def _hold_hand(self, *, held: bool) -> None:
        self.input.space_held = held
        self._update_pointer()
        self.update_overlay()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self.input.space_held = False
        self.input.finish()
        if self.shown.before:
            self.hold_before(held=False)
        super().focusOutEvent(event)

    def enterEvent(self, event: QEnterEvent) -> None:
        super().enterEvent(event)
        # The hand is over the picture, so the keys are meant for it, unless a number is being typed.
        if self.window().isActiveWindow() and not isinstance(QApplication.focusWidget(), QLineEdit | QAbstractSpinBox):
            self.setFocus(Qt.FocusReason.MouseFocusReason)

    def leaveEvent(self, event: QEvent) -> None:
        self._hover = None
        self.pointed.emit(None)
        self.update_overlay()
        super().leaveEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._fitted:
            self.fit(self._fit_limit)
        else:
            self._moved()

    def sizeHint(self) -> QSize:
        return QSize(1000, 700)

    def minimumSizeHint(self) -> QSize:
        return QSize(200, 150)

    # -- slots ------------------------------------------------------------------------------------------------

    def _point(self, position: QPointF | None) -> None:
        """The pointer is somewhere; or it has not moved, and something else is under it now."""
        self._hover = position
        if self._workspace is not None and position is not None:
            self.pointed.emit(self.to_image(position))
        self.update_overlay()

    def _on_picture_changed(self, rect: Rect) -> None:
        self._picture.picture_changed(rect)
        self._update_image(rect)
        self._point(self._hover)

    def _on_mask_changed(self, rect: Rect) -> None:
        self._picture.mask_changed(rect)
        self._update_image(rect)

    def _on_size_changed(self) -> None:
        assert self._workspace is not None
        self.input.cancel()
        bounds, frame = self._workspace.document.bounds, self._frame
        self._picture.clear()
        self._picture.frame = Frame(frame.zoom, bounds.width, bounds.height)
        # Flipped or upside down it is looked at from where it was.
        if (bounds.width, bounds.height) != (frame.width, frame.height):
            self.fit(self._fit_limit)
        self.update()

    def _update_image(self, rect: Rect) -> None:
        self.update(widget_rect(self._frame.to_screen(rect), self.devicePixelRatioF(), self._origin))
