"""Pan and zoom of a canvas."""

from __future__ import annotations

import math

from PySide6.QtCore import QObject, QPointF, QRect, QRectF, QSize, Signal
from PySide6.QtWidgets import QWidget

from desktop.canvas.render import Frame
from engine.raster import Rect

SMALLEST, LARGEST = 0.05, 32.0
"""Zoom, device pixels per image pixel."""
STEPS = (0.05, 0.0625, 0.0833, 0.125, 0.1667, 0.25, 0.3333, 0.5, 0.6667, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Zooms of the zoom-in and zoom-out commands."""
_KEPT = 64
"""Device pixels of the picture that stay in view at least."""
_ROOM = 1.25
"""``look_at`` shows at least this many times the size of the box."""
_NEAREST = 4.0
"""Highest zoom that is chosen for it: what a speck is, only its surroundings tell."""
_SEEN = 80.0
"""``look_at`` makes the box at least this large if possible, logical pixels."""


class Viewport(QObject):
    """Pan and zoom of one canvas. GUI thread.

    There are three coordinate systems: widget (logical pixels), screen (device pixels from the corner of the zoomed
    picture, see ``render.Frame``) and image (image pixels).

    Attributes:
        frame: the zoom, and the size of the picture.
        origin: screen position of the widget's corner.

    Signals:
        zoom_changing: the zoom is about to change; carries the new one.
        moved: pan or zoom changed.
    """

    zoom_changing = Signal(float)
    moved = Signal()

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self._widget = widget
        self.frame = Frame(1.0, 1, 1)
        self.origin = QPointF(0, 0)
        self._fitted, self._fit_limit = True, 1.0

    @property
    def zoom(self) -> float:
        """Device pixels per image pixel: 1 is 100 %."""
        return self.frame.zoom

    @property
    def ratio(self) -> float:
        """Device pixels per logical pixel."""
        return self._widget.devicePixelRatioF()

    @property
    def size(self) -> QSize:
        """Size of the widget, device pixels."""
        return QSize(round(self._widget.width() * self.ratio), round(self._widget.height() * self.ratio))

    # -- moving -----------------------------------------------------------------------------------------------

    def set_picture_size(self, width: int, height: int) -> None:
        """Set the size of the picture, image pixels; if it changed, the picture is fitted to the window."""
        before = self.frame
        self.frame = Frame(before.zoom, width, height)
        # A flip or a rotation by 180 degrees keeps pan and zoom.
        if (width, height) != (before.width, before.height):
            self.fit(self._fit_limit)

    def fit(self, largest: float = LARGEST) -> None:
        """Fit the picture to the widget, with at most the zoom ``largest``; it stays fitted on resizes."""
        self._fit_limit, size = largest, self.size
        self._set_zoom(min(largest, max(SMALLEST / 8, self.frame.fitting(size.width(), size.height()))))
        self.origin = QPointF(
            (self.frame.width * self.zoom - size.width()) / 2, (self.frame.height * self.zoom - size.height()) / 2
        )
        self._fitted = True
        self._apply_origin()

    def on_resize(self) -> None:
        """The widget was resized."""
        if self._fitted:
            self.fit(self._fit_limit)
        else:
            self._apply_origin()

    def zoom_to(self, zoom: float, around: QPointF | None = None) -> None:
        """Set the zoom; the image point at a widget position (default: the centre) stays where it is."""
        around = around if around is not None else QRectF(self._widget.rect()).center()
        x, y = self.to_image(around)
        self._set_zoom(min(LARGEST, max(SMALLEST, zoom)))
        self.origin = QPointF(x * self.zoom, y * self.zoom) - around * self.ratio
        self._fitted = False
        self._apply_origin()

    def zoom_step(self, steps: int, around: QPointF | None = None) -> None:
        """Go to the next larger (``steps`` > 0) or smaller zoom of ``STEPS``; see ``zoom_to``."""
        if steps > 0:
            wanted = next((zoom for zoom in STEPS if zoom > self.zoom * 1.01), LARGEST)
        else:
            wanted = next((zoom for zoom in reversed(STEPS) if zoom < self.zoom * 0.99), SMALLEST)
        self.zoom_to(wanted, around)

    def scroll_by(self, dx: float, dy: float, *, logical: bool = False) -> None:
        """Scroll the view by device pixels, or by logical ones."""
        scale = self.ratio if logical else 1.0
        self.origin += QPointF(dx * scale, dy * scale)
        self._fitted = False
        self._apply_origin()

    def centre_on(self, x: float, y: float) -> None:
        """Scroll an image point to the centre of the widget."""
        size = self.size
        self.origin = QPointF(x * self.zoom - size.width() / 2, y * self.zoom - size.height() / 2)
        self._fitted = False
        self._apply_origin()

    def look_at(self, box: Rect) -> None:
        """Show a box of the picture in the centre: large enough to be seen well, but completely."""
        size, long = self.size, max(box.width, box.height)
        room = min(size.width() / box.width, size.height() / box.height) / _ROOM
        near = max(self.zoom, 1.0, min(_SEEN * self.ratio / long, _NEAREST * self.ratio))
        self.zoom_to(min(near, room))
        self.centre_on((box.left + box.right) / 2, (box.top + box.bottom) / 2)

    def _set_zoom(self, zoom: float) -> None:
        if abs(zoom - self.zoom) > 1e-9:
            self.zoom_changing.emit(zoom)
            self.frame = Frame(zoom, self.frame.width, self.frame.height)

    def _apply_origin(self) -> None:
        """Clamp the origin so that some of the picture stays in view, and round it so that tiles stay sharp."""
        size, bounds = self.size, self.frame.bounds
        x = min(max(self.origin.x(), _KEPT - size.width()), bounds.width - _KEPT)
        y = min(max(self.origin.y(), _KEPT - size.height()), bounds.height - _KEPT)
        self.origin = QPointF(round(x), round(y))
        self.moved.emit()

    # -- positions --------------------------------------------------------------------------------------------

    def to_image(self, position: QPointF) -> tuple[float, float]:
        """Image coordinates of a widget position."""
        point = (position * self.ratio + self.origin) / self.zoom
        return point.x(), point.y()

    def to_widget(self, x: float, y: float) -> QPointF:
        """Widget position of an image point."""
        return (QPointF(x * self.zoom, y * self.zoom) - self.origin) / self.ratio

    def to_screen(self, rect: QRectF) -> Rect:
        """The screen rectangle of the picture that a widget rectangle touches."""
        return screen_rect(rect, self.ratio, self.origin) & self.frame.bounds

    def visible_screen(self) -> Rect:
        """The part of the picture in view, screen coordinates."""
        return self.to_screen(QRectF(self._widget.rect()))

    def visible_image(self) -> QRectF:
        """The part of the picture in view, image coordinates."""
        seen, scale = screen_rect(QRectF(self._widget.rect()), self.ratio, self.origin), 1 / self.zoom
        image = QRectF(seen.left * scale, seen.top * scale, seen.width * scale, seen.height * scale)
        return image & QRectF(0, 0, self.frame.width, self.frame.height)

    def widget_rect(self, image: Rect) -> QRect:
        """The widget rectangle that shows an image rectangle."""
        return widget_rect(self.frame.to_screen(image), self.ratio, self.origin)


def screen_rect(rect: QRectF, ratio: float, origin: QPointF) -> Rect:
    """The screen rectangle that a widget rectangle touches.

    Args:
        rect: widget coordinates.
        ratio: device pixels per logical pixel.
        origin: screen position of the widget's corner.
    """
    return Rect(
        math.floor(rect.left() * ratio + origin.x()),
        math.floor(rect.top() * ratio + origin.y()),
        math.ceil(rect.right() * ratio + origin.x()),
        math.ceil(rect.bottom() * ratio + origin.y()),
    )


def widget_rect(screen: Rect, ratio: float, origin: QPointF) -> QRect:
    """The widget rectangle that shows a screen rectangle; arguments as of ``screen_rect``."""
    left, top = (screen.left - origin.x()) / ratio, (screen.top - origin.y()) / ratio
    width, height = math.ceil(screen.width / ratio) + 1, math.ceil(screen.height / ratio) + 1
    return QRect(math.floor(left), math.floor(top), width, height)
