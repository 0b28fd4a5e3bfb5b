"""The canvas: the picture under pan and zoom, the mask's veil, the before/after divider and the brush ring."""

from __future__ import annotations

import math
import time

from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QNativeGestureEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QResizeEvent,
    QTabletEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QGestureEvent, QPinchGesture, QWidget

from desktop.canvas.input import CanvasContext, CanvasInput
from desktop.canvas.render import Frame, ImageCache, picture_pixels, screen_tiles, veil_pixels
from desktop.document.compose import ComposeCache, Composite
from desktop.tools.base import Tool, ToolSettings
from desktop.workspace import Workspace
from engine.raster import Rect

SMALLEST, LARGEST = 0.05, 32.0
"""Zoom, device pixels per image pixel."""
STEPS = (0.05, 0.0625, 0.0833, 0.125, 0.1667, 0.25, 0.3333, 0.5, 0.6667, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Zooms that the keys go through."""
CACHE_BYTES, COMPOSED_BYTES = 256 << 20, 256 << 20
PAINT_SECONDS = 0.03
"""New tiles are made for at most so long in one repaint; the rest follows in the next, so that nothing blocks."""
_DIVIDER_REACH = 6


class CanvasView(QWidget):
    """Shows one open photograph. GUI thread.

    Positions are of three kinds: widget (logical pixels), screen (device pixels from the corner of the zoomed picture,
    see ``render.Frame``) and image.

    Signals:
        pointed: the pointer is over an image point (x, y), or left (None).
        viewed: pan or zoom moved.
        spot_painted: a spot-heal stroke ended; carries its mask.
        panels_toggled: the key that hides the panels.
    """

    pointed = Signal(object)
    viewed = Signal()
    spot_painted = Signal(object)
    panels_toggled = Signal()

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
        self._veil_colour = QColor(230, 40, 40, 140)
        self._monitor: bytes | None = None
        self._veil_shown, self._before_held = True, False
        self._divider: float | None = None
        self._divider_dragged = False
        self._input = CanvasInput(self)
        self._cache = ImageCache(CACHE_BYTES)
        self._composed = ComposeCache(COMPOSED_BYTES)
        self._frame = Frame(1.0, 1, 1)
        self._origin = QPointF(0, 0)
        self._fitted = True
        self._ghost: tuple[QImage, QPointF, float] | None = None
        self._hover: QPointF | None = None
        self._overlay = QRect()
        self.frames = 0
        """Repaints of a photograph so far."""
        self.complete = False
        """Whether the last repaint had every tile ready."""
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
        self._input.cancel()
        if self._workspace is not None:
            self._workspace.picture_changed.disconnect(self._on_picture_changed)
            self._workspace.mask_changed.disconnect(self._on_mask_changed)
            self._workspace.size_changed.disconnect(self._on_size_changed)
        self._workspace = workspace
        self.context = CanvasContext(self, workspace) if workspace is not None else None
        self._ghost = None
        if workspace is not None:
            workspace.picture_changed.connect(self._on_picture_changed)
            workspace.mask_changed.connect(self._on_mask_changed)
            workspace.size_changed.connect(self._on_size_changed)
            self._on_size_changed()
        self._cache.clear()
        self.update()

    def set_tool(self, tool: Tool) -> None:
        """Take another tool in hand; a drag under way is called off."""
        self._input.cancel()
        self.tool = tool
        self._update_pointer()
        self.update()

    def set_veil(self, colour: QColor | None = None, *, shown: bool | None = None) -> None:
        """The veil's colour (with its opacity), and whether it is there."""
        if colour is not None:
            self._veil_colour = colour
            self._cache.clear("veil")
        if shown is not None:
            self._veil_shown = shown
        self.update()

    @property
    def veil_shown(self) -> bool:
        """Whether the veil is there."""
        return self._veil_shown

    def set_monitor(self, profile: bytes | None) -> None:
        """The screen's ICC profile; None is sRGB."""
        self._monitor = profile
        self._cache.clear()
        self.update()

    @property
    def monitor(self) -> bytes | None:
        """The screen's ICC profile; None is sRGB."""
        return self._monitor

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
        self._before_held = held
        if held:
            self.setFocus()
        self.update()

    # -- pan and zoom -----------------------------------------------------------------------------------------

    @property
    def zoom(self) -> float:
        """Device pixels per image pixel: 1 is 100 %."""
        return self._frame.zoom

    def fit(self) -> None:
        """All of the picture, as large as it fits; stays fitted when the window is resized."""
        self._set_zoom(self._fitting_zoom())
        self._centre()
        self._fitted = True
        self._moved()

    def zoom_to(self, zoom: float, around: QPointF | None = None) -> None:
        """Zoom so that the image point at a widget position (the middle by default) stays where it is."""
        around = around if around is not None else QRectF(self.rect()).center()
        x, y = self.to_image(around)
        self._set_zoom(min(LARGEST, max(SMALLEST, zoom)))
        self._origin = QPointF(x * self.zoom, y * self.zoom) - around * self.devicePixelRatioF()
        self._fitted = False
        self._settle()
        self._moved()

    def zoom_by(self, factor: float, around: QPointF | None = None) -> None:
        """Zoom by a factor."""
        self.zoom_to(self.zoom * factor, around)

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
        self._settle()
        self._moved()

    def centre_on(self, x: float, y: float) -> None:
        """Bring an image point to the middle."""
        size = self._device_size()
        self._origin = QPointF(x * self.zoom - size.width() / 2, y * self.zoom - size.height() / 2)
        self._fitted = False
        self._settle()
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
        size = self._device_size()
        seen = QRectF(self._origin.x(), self._origin.y(), size.width(), size.height())
        image = QRectF(seen.x() / self.zoom, seen.y() / self.zoom, seen.width() / self.zoom, seen.height() / self.zoom)
        return image & QRectF(0, 0, self._frame.width, self._frame.height)

    def _device_size(self) -> QSize:
        ratio = self.devicePixelRatioF()
        return QSize(round(self.width() * ratio), round(self.height() * ratio))

    def _fitting_zoom(self) -> float:
        size, margin = self._device_size(), 32
        fitting = min(
            max(1, size.width() - margin) / self._frame.width, max(1, size.height() - margin) / self._frame.height
        )
        return min(LARGEST, max(SMALLEST / 8, min(1.0, fitting)))

    def _set_zoom(self, zoom: float) -> None:
        if abs(zoom - self._frame.zoom) > 1e-9:
            self._ghost = self._take_ghost()
            self._frame = Frame(zoom, self._frame.width, self._frame.height)

    def _centre(self) -> None:
        size = self._device_size()
        self._origin = QPointF(
            (self._frame.width * self.zoom - size.width()) / 2, (self._frame.height * self.zoom - size.height()) / 2
        )
        self._settle()

    def _settle(self) -> None:
        """Keep some of the picture in view, and the origin on whole device pixels so that tiles stay sharp."""
        size = self._device_size()
        keep = 64
        x = min(max(self._origin.x(), keep - size.width()), self._frame.bounds.width - keep)
        y = min(max(self._origin.y(), keep - size.height()), self._frame.bounds.height - keep)
        self._origin = QPointF(round(x), round(y))

    def _moved(self) -> None:
        self.viewed.emit()
        self.update()

    # -- painting ---------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(event.rect(), self.surround)
        if self._workspace is None:
            return
        ratio = self.devicePixelRatioF()
        painter.scale(1 / ratio, 1 / ratio)
        painter.translate(-self._origin)
        clip = event.rect()
        seen = Rect(
            math.floor(clip.left() * ratio + self._origin.x()),
            math.floor(clip.top() * ratio + self._origin.y()),
            math.ceil((clip.right() + 1) * ratio + self._origin.x()),
            math.ceil((clip.bottom() + 1) * ratio + self._origin.y()),
        )
        deadline = time.monotonic() + PAINT_SECONDS
        complete = self._paint_picture(painter, seen & self._frame.bounds, deadline)
        self.frames, self.complete = self.frames + 1, complete
        if complete:
            self._ghost = self._ghost if seen & self._frame.bounds != self._seen() else None
        else:
            self._later.start(0)
        painter.resetTransform()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_overlay(painter)

    def _seen(self) -> Rect:
        size = self._device_size()
        x, y = int(self._origin.x()), int(self._origin.y())
        return Rect(x, y, x + size.width(), y + size.height()) & self._frame.bounds

    def _paint_picture(self, painter: QPainter, rect: Rect, deadline: float) -> bool:
        """The picture's tiles in a screen rectangle; False when time was up before all were made."""
        assert self._workspace is not None
        state = self._workspace.document.shown
        after, before = Composite.of(state), Composite(state.scan, ())
        split = self._split()
        complete = True
        if self._before_held or split is not None:
            left = rect if split is None else rect & Rect(rect.left, rect.top, split, rect.bottom)
            complete = self._paint_tiles(painter, "before", before, left, deadline)
            rect = Rect(0, 0, 0, 0) if split is None else rect & Rect(split, rect.top, rect.right, rect.bottom)
        complete = self._paint_tiles(painter, "after", after, rect, deadline) and complete
        if self._veil_shown and not self._before_held:
            self._paint_veil(painter, rect)
        return complete

    def _paint_tiles(self, painter: QPainter, kind: str, composite: Composite, rect: Rect, deadline: float) -> bool:
        assert self._workspace is not None
        document = self._workspace.document
        profile = document.profile
        # A stroke in the making still changes its tiles: nothing of it is kept.
        composed = self._composed if document.shown is document.state else None
        complete = True
        for column, row, square in screen_tiles(rect, self._frame):
            key = (kind, self.zoom, column, row)
            tile = self._cache.get(key)
            late = time.monotonic() > deadline
            if tile is None:
                if late:
                    complete = False
                    self._paint_ghost(painter, square & rect)
                    continue
                pixels = picture_pixels(composite, self._frame, square, profile, self._monitor, composed)
                tile = self._cache.put(key, pixels, square)
            elif tile.dirty and late:
                # What it was stands until the next repaint.
                complete = False
            elif tile.dirty:
                part, tile.dirty = tile.dirty, Rect(0, 0, 0, 0)
                tile.redraw(part, picture_pixels(composite, self._frame, part, profile, self._monitor, composed))
            _blit(painter, tile.image, square, square & rect)
        return complete

    def _paint_veil(self, painter: QPainter, rect: Rect) -> None:
        assert self._workspace is not None
        masks = self._workspace.veils()
        for column, row, square in screen_tiles(rect, self._frame):
            key = ("veil", self.zoom, column, row)
            tile = self._cache.get(key)
            if tile is None or (tile.dirty and tile.image is None):
                tile = self._cache.put(key, veil_pixels(masks, self._frame, square, self._veil_colour), square)
            elif tile.dirty:
                part, tile.dirty = tile.dirty, Rect(0, 0, 0, 0)
                tile.redraw(part, veil_pixels(masks, self._frame, part, self._veil_colour))
            if tile.image is not None:
                _blit(painter, tile.image, square, square & rect)

    def _paint_ghost(self, painter: QPainter, rect: Rect) -> None:
        """What was on the screen before the zoom, scaled, until the tile is made."""
        if self._ghost is None:
            return
        image, origin, zoom = self._ghost
        scale = self.zoom / zoom
        source = QRectF(
            rect.left / scale - origin.x(), rect.top / scale - origin.y(), rect.width / scale, rect.height / scale
        )
        painter.drawImage(QRectF(rect.left, rect.top, rect.width, rect.height), image, source)

    def _take_ghost(self) -> tuple[QImage, QPointF, float] | None:
        """The picture as it is on the screen now."""
        if self._workspace is None or not self.isVisible() or self._seen().area == 0:
            return None
        image = QImage(self._device_size(), QImage.Format.Format_RGB32)
        image.fill(self.surround)
        painter = QPainter(image)
        painter.translate(-self._origin)
        self._paint_picture(painter, self._seen(), 0.0)
        painter.end()
        return image, QPointF(self._origin), self.zoom

    def _split(self) -> int | None:
        """Screen column of the divider."""
        if self._divider is None or self._before_held:
            return None
        return round(self._origin.x() + self._divider * self._device_size().width())

    # -- overlay: divider, outline, ring ----------------------------------------------------------------------

    def update_overlay(self) -> None:
        """Redraw the brush ring and the unfinished outline, and no more."""
        new = self._overlay_rect()
        self.update(new.united(self._overlay))
        self._overlay = new

    def _overlay_rect(self) -> QRect:
        rect = QRectF()
        diameter = self._input.tool.cursor(self.tool_settings).diameter
        if self._hover is not None and diameter is not None:
            radius = diameter * self.zoom / self.devicePixelRatioF() / 2 + 3
            rect = QRectF(self._hover - QPointF(radius, radius), self._hover + QPointF(radius, radius))
        outline = self._input.tool.outline()
        if outline:
            rect = rect.united(
                QPolygonF([self.to_widget(x, y) for x, y in outline]).boundingRect().adjusted(-3, -3, 3, 3)
            )
        return rect.toAlignedRect()

    def _paint_overlay(self, painter: QPainter) -> None:
        light, dark = QPen(QColor(255, 255, 255, 220), 1), QPen(QColor(0, 0, 0, 200), 1)
        if self._divider is not None and not self._before_held:
            x = self._divider * self.width()
            painter.setPen(QPen(QColor(0, 0, 0, 160), 3))
            painter.drawLine(QPointF(x, 0), QPointF(x, self.height()))
            painter.setPen(light)
            painter.drawLine(QPointF(x, 0), QPointF(x, self.height()))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        outline = QPolygonF([self.to_widget(x, y) for x, y in self._input.tool.outline()])
        cursor = self._input.tool.cursor(self.tool_settings)
        for pen, grow in ((dark, 1.0), (light, 0.0)):
            painter.setPen(pen)
            if not outline.isEmpty():
                painter.drawPolygon(outline.translated(grow, grow))
            if self._hover is not None and cursor.diameter is not None:
                radius = max(1.0, cursor.diameter * self.zoom / self.devicePixelRatioF() / 2)
                painter.drawEllipse(self._hover, radius + grow, radius + grow)

    def refresh_cursor(self) -> None:
        """The tool's settings moved: the ring is another."""
        self._update_pointer()
        self.update_overlay()

    def _update_pointer(self) -> None:
        cursor = self._input.tool.cursor(self.tool_settings)
        shape = Qt.CursorShape.CrossCursor
        if self._workspace is None:
            shape = Qt.CursorShape.ArrowCursor
        elif self._over_divider(self._hover):
            shape = Qt.CursorShape.SplitHCursor
        elif cursor.diameter is not None:
            wide = cursor.diameter * self.zoom / self.devicePixelRatioF() >= 5
            shape = Qt.CursorShape.BlankCursor if wide else Qt.CursorShape.CrossCursor
        elif cursor.shape == "hand":
            closed, opened = Qt.CursorShape.ClosedHandCursor, Qt.CursorShape.OpenHandCursor
            shape = closed if self._input.dragging else opened
        elif cursor.shape == "zoom":
            shape = Qt.CursorShape.PointingHandCursor
        if self.cursor().shape() != shape:
            self.setCursor(shape)

    def _over_divider(self, position: QPointF | None) -> bool:
        if position is None or self._divider is None or self._input.dragging:
            return False
        return abs(position.x() - self._divider * self.width()) <= _DIVIDER_REACH

    # -- events -----------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._point(event.position())
        if event.button() == Qt.MouseButton.LeftButton and self._over_divider(event.position()):
            self._divider_dragged = True
            return
        self._input.mouse(event)
        self._update_pointer()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._point(event.position())
        if self._divider_dragged:
            self._divider = min(1.0, max(0.0, event.position().x() / max(1, self.width())))
            self.update()
            return
        self._input.mouse(event)
        self._update_pointer()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._divider_dragged and event.button() == Qt.MouseButton.LeftButton:
            self._divider_dragged = False
            return
        self._input.mouse(event)
        self._update_pointer()

    def tabletEvent(self, event: QTabletEvent) -> None:
        self._point(event.position())
        self._input.tablet(event)
        self._update_pointer()

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self._workspace is not None:
            self._input.wheel(event)
            self._update_pointer()

    def event(self, event: QEvent) -> bool:
        if self._workspace is not None:
            if isinstance(event, QNativeGestureEvent) and self._input.native_gesture(event):
                return True
            if isinstance(event, QGestureEvent):
                pinch = event.gesture(Qt.GestureType.PinchGesture)
                if isinstance(pinch, QPinchGesture):
                    self.zoom_by(pinch.scaleFactor(), pinch.centerPoint())
                    return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space and not event.isAutoRepeat():
            self._input.space_held = True
            self._update_pointer()
            self.update_overlay()
        elif event.key() == Qt.Key.Key_Escape and self._workspace is not None:
            if not self._input.cancel():
                self._workspace.set_target(None)
        else:
            super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space and not event.isAutoRepeat():
            self._input.space_held = False
            self._update_pointer()
            self.update_overlay()
        elif self._before_held and not event.isAutoRepeat():
            self.hold_before(held=False)
        else:
            super().keyReleaseEvent(event)

    def focusNextPrevChild(self, _next: bool) -> bool:  # noqa: FBT001 - Qt calls it
        # Tab is the key that hides the panels; F6 moves the keyboard on.
        self.panels_toggled.emit()
        return True

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self._input.space_held = False
        if self._before_held:
            self.hold_before(held=False)
        super().focusOutEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        self._hover = None
        self.pointed.emit(None)
        self.update_overlay()
        super().leaveEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._fitted:
            self.fit()
        else:
            self._settle()

    def sizeHint(self) -> QSize:
        return QSize(1000, 700)

    def minimumSizeHint(self) -> QSize:
        return QSize(200, 150)

    # -- slots ------------------------------------------------------------------------------------------------

    def _point(self, position: QPointF) -> None:
        self._hover = position
        if self._workspace is not None:
            self.pointed.emit(self.to_image(position))
        self.update_overlay()

    def _on_picture_changed(self, rect: Rect) -> None:
        self._cache.mark("after", self._frame, rect)
        if rect == Rect(0, 0, self._frame.width, self._frame.height):
            # The reductions arrived, or all of it changed: the scan's own view too.
            self._cache.mark("before", self._frame, rect)
        self._update_image(rect)

    def _on_mask_changed(self, rect: Rect) -> None:
        self._cache.mark("veil", self._frame, rect)
        self._update_image(rect)

    def _on_size_changed(self) -> None:
        assert self._workspace is not None
        bounds = self._workspace.document.bounds
        self._cache.clear()
        self._ghost = None
        self._frame = Frame(self._frame.zoom, bounds.width, bounds.height)
        self.fit()

    def _update_image(self, rect: Rect) -> None:
        screen, ratio = self._frame.to_screen(rect), self.devicePixelRatioF()
        shown = QRectF(
            (screen.left - self._origin.x()) / ratio,
            (screen.top - self._origin.y()) / ratio,
            screen.width / ratio,
            screen.height / ratio,
        )
        self.update(shown.toAlignedRect())


def _blit(painter: QPainter, image: QImage | None, square: Rect, part: Rect) -> None:
    if image is not None and part:
        source = QRect(part.left - square.left, part.top - square.top, part.width, part.height)
        painter.drawImage(QRect(part.left, part.top, part.width, part.height), image, source)
