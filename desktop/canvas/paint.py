"""Paints the canvas: cached tiles of the picture and of the mask overlay ("veil"), and shapes over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPen, QPolygonF

from desktop.canvas.render import Frame, ImageCache, picture_pixels, screen_tiles, source_region, veil_pixels
from desktop.document.compose import ComposeCache, Composite
from desktop.photo.workspace import Workspace
from engine.raster import Rect
from engine.tiles import TileMap, uniform_map

CACHE_BYTES, COMPOSED_BYTES = 256 << 20, 256 << 20
"""Limits of the caches of screen tiles and of composed tiles."""
_GREY = 0.5
"""Value, 0..1 in the picture's own encoding, that is shown instead of a hidden scan."""
_LIGHT, _DARK = QColor(255, 255, 255, 220), QColor(0, 0, 0, 200)


@dataclass
class DisplayOptions:
    """How a photograph is shown.

    Attributes:
        veil, veil_colour: whether masks are shown as a coloured overlay, and its colour with alpha.
        before: show the scan without layers.
        split: screen column left of which the scan is shown; None for no divider.
        monitor: the screen's ICC profile; None is sRGB.
    """

    veil: bool = True
    veil_colour: QColor = field(default_factory=lambda: QColor(230, 40, 40, 140))
    before: bool = False
    split: int | None = None
    monitor: bytes | None = None


class PicturePainter:
    """Paints one photograph tile by tile. GUI thread.

    Screen coordinates are those of ``render.Frame``. The tiles of a new zoom take time; until they are computed, a
    placeholder is painted: the last screen image, scaled.

    Attributes:
        display: how the photograph is shown.
    """

    def __init__(self) -> None:
        self._images = ImageCache(CACHE_BYTES)
        self._composed = ComposeCache(COMPOSED_BYTES)
        self._placeholder: tuple[QImage, QPointF, float] | None = None
        self._blank: TileMap | None = None
        self.display = DisplayOptions()

    def paint(
        self, painter: QPainter, workspace: Workspace, frame: Frame, rect: Rect, in_time: Callable[[], bool]
    ) -> bool:
        """Paint a screen rectangle.

        Args:
            painter: set up for screen coordinates.
            workspace: the photograph.
            frame: zoom and size.
            rect: what to paint, inside the frame.
            in_time: whether there is time to compute more tiles; called often.

        Returns:
            False when time was up before all tiles were computed; placeholders are painted for the others.
        """
        state, display = workspace.document.shown, self.display
        after, before = Composite.of(state), Composite(state.scan, ())
        if workspace.scan_hidden:
            after = Composite(self._blank_scan(state.scan), after.operations)
        complete = True
        if display.before or display.split is not None:
            left = rect if display.split is None or display.before else _left_of(rect, display.split)
            complete = self._paint_tiles(painter, workspace, frame, "before", before, left, in_time)
            rect = Rect(0, 0, 0, 0) if display.split is None or display.before else _right_of(rect, display.split)
        complete = self._paint_tiles(painter, workspace, frame, "after", after, rect, in_time) and complete
        if display.veil and not display.before:
            self._paint_veil(painter, workspace, frame, rect)
        return complete

    def paint_on(self, image: QImage, workspace: Workspace, frame: Frame, origin: QPointF, rect: Rect) -> None:
        """Paint a screen rectangle on an image, with the tiles that are cached.

        Args:
            image: of device pixels.
            workspace: the photograph.
            frame: zoom and size.
            origin: screen position of the image's corner.
            rect: what to paint, inside the frame.
        """
        with QPainter(image) as painter:
            painter.translate(-origin)
            self.paint(painter, workspace, frame, rect, lambda: False)

    def set_placeholder(self, placeholder: tuple[QImage, QPointF, float] | None) -> None:
        """Set what is painted where tiles of the current zoom are not computed yet.

        Args:
            placeholder: an image of the screen, the screen position of its corner, and its zoom; None = nothing.
        """
        self._placeholder = placeholder

    def drop_placeholder(self) -> None:
        """Release the placeholder: all tiles in view are computed."""
        self._placeholder = None

    def invalidate_picture(self, frame: Frame, rect: Rect) -> None:
        """The composed picture changed in an image rectangle."""
        self._images.invalidate("after", frame, rect)
        if rect == Rect(0, 0, frame.width, frame.height):
            # The whole picture changed or its reductions were computed: that affects the view of the scan too.
            self._images.invalidate("before", frame, rect)

    def invalidate_masks(self, frame: Frame, rect: Rect) -> None:
        """The masks changed in an image rectangle."""
        self._images.invalidate("veil", frame, rect)

    def clear(self, kind: str | None = None) -> None:
        """Drop all cached tiles, or those of a kind: ``before``, ``after`` or ``veil``."""
        self._images.clear(kind)
        if kind is None:
            self._composed = ComposeCache(COMPOSED_BYTES)
            self._placeholder = None

    def _blank_scan(self, scan: TileMap) -> TileMap:
        """A grey picture of the scan's size."""
        if self._blank is None or self._blank.shape != scan.shape or self._blank.dtype != scan.dtype:
            self._blank = uniform_map(scan.shape, scan.dtype, _GREY)
        return self._blank

    def _paint_tiles(
        self,
        painter: QPainter,
        workspace: Workspace,
        frame: Frame,
        kind: str,
        composite: Composite,
        rect: Rect,
        in_time: Callable[[], bool],
    ) -> bool:
        document, monitor = workspace.document, self.display.monitor
        # The tiles of an unfinished stroke still change, so they must not be cached.
        composed = self._composed if document.shown is document.state else None
        complete, live = True, composed is None

        def out_of_time(part: Rect) -> bool:
            """Whether there is no time to compute a part; its reductions are continued in the next repaint."""
            # The reductions of an unfinished stroke are not kept between repaints.
            return not in_time() or not (live or composite.prepare(*source_region(composite, frame, part), in_time))

        for column, row, square in screen_tiles(rect, frame):
            key = (kind, frame.zoom, column, row)
            tile = self._images.get(key)
            if tile is None:
                if out_of_time(square):
                    complete = False
                    self._paint_placeholder(painter, frame.zoom, square & rect)
                    continue
                pixels = picture_pixels(composite, frame, square, document.profile, monitor, composed)
                tile = self._images.put(key, pixels, square)
            elif tile.dirty and out_of_time(tile.dirty):
                # Its old image is painted until the next repaint.
                complete = False
            elif tile.dirty:
                part, tile.dirty = tile.dirty, Rect(0, 0, 0, 0)
                tile.redraw(part, picture_pixels(composite, frame, part, document.profile, monitor, composed))
            _blit(painter, tile.image, square, square & rect)
        return complete

    def _paint_veil(self, painter: QPainter, workspace: Workspace, frame: Frame, rect: Rect) -> None:
        masks, colour = workspace.veil_masks(), self.display.veil_colour
        edges = workspace.edges
        for column, row, square in screen_tiles(rect, frame):
            key = ("veil", frame.zoom, column, row)
            tile = self._images.get(key)
            if tile is None or (tile.dirty and tile.image is None):
                tile = self._images.put(key, veil_pixels(masks, frame, square, colour, edges), square)
            elif tile.dirty:
                part, tile.dirty = tile.dirty, Rect(0, 0, 0, 0)
                tile.redraw(part, veil_pixels(masks, frame, part, colour, edges))
            if tile.image is not None:
                _blit(painter, tile.image, square, square & rect)

    def _paint_placeholder(self, painter: QPainter, now: float, rect: Rect) -> None:
        """Paint a rectangle from the placeholder, scaled to a zoom."""
        if self._placeholder is None:
            return
        image, origin, zoom = self._placeholder
        scale = now / zoom
        source = QRectF(
            rect.left / scale - origin.x(), rect.top / scale - origin.y(), rect.width / scale, rect.height / scale
        )
        painter.drawImage(QRectF(rect.left, rect.top, rect.width, rect.height), image, source)


def paint_divider(painter: QPainter, x: float, size: QRect, before: str, after: str) -> None:
    """Paint the before/after divider at a widget column, with its two labels."""
    painter.setPen(QPen(QColor(0, 0, 0, 160), 3))
    painter.drawLine(QPointF(x, 0), QPointF(x, size.height()))
    painter.setPen(QPen(_LIGHT, 1))
    painter.drawLine(QPointF(x, 0), QPointF(x, size.height()))
    metrics = painter.fontMetrics()
    for text, left in ((before, x - metrics.horizontalAdvance(before) - 20), (after, x + 8)):
        box = QRectF(left, 8, metrics.horizontalAdvance(text) + 12, metrics.height() + 6)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(0, 0, 0, 130))
        painter.drawRoundedRect(box, 3, 3)
        painter.setPen(_LIGHT)
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)


def paint_ring(painter: QPainter, middle: QPointF, radius: float, *, adding: bool) -> None:
    """Paint the brush ring in two tones; dashed for a brush that removes."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for colour, grow in ((_DARK, 1.0), (_LIGHT, 0.0)):
        pen = QPen(colour, 1)
        if not adding:
            pen.setDashPattern([4, 4])
        painter.setPen(pen)
        painter.drawEllipse(middle, radius + grow, radius + grow)


def paint_outline(painter: QPainter, outline: QPolygonF) -> None:
    """Paint the outline of an unfinished shape in two tones."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for colour, shift in ((_DARK, 1.0), (_LIGHT, 0.0)):
        painter.setPen(QPen(colour, 1))
        painter.drawPolygon(outline.translated(shift, shift))


def _left_of(rect: Rect, column: int) -> Rect:
    return rect & Rect(rect.left, rect.top, column, rect.bottom)


def _right_of(rect: Rect, column: int) -> Rect:
    return rect & Rect(column, rect.top, rect.right, rect.bottom)


def _blit(painter: QPainter, image: QImage | None, square: Rect, part: Rect) -> None:
    if image is not None and part:
        source = QRect(part.left - square.left, part.top - square.top, part.width, part.height)
        painter.drawImage(QRect(part.left, part.top, part.width, part.height), image, source)
