"""Pictures in panels and dialogs: arrays as images, and a picture before and after with a divider."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRectF, QSize, QSizeF, Qt
from PySide6.QtGui import QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QSizePolicy, QWidget

from desktop.canvas.paint import paint_divider
from desktop.theme import surround
from engine.raster import Pixels

_KEY_STEP = 0.05


def image_of(pixels: Pixels) -> QImage:
    """An image of its own of (h, w, 1 or 3) uint8, sRGB or as the screen shows it."""
    height, width = pixels.shape[:2]
    whole = np.ascontiguousarray(np.broadcast_to(pixels, (height, width, 3)))
    # Copied, because an image of an array does not own its pixels.
    return QImage(whole.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()


class DividedPicture(QWidget):
    """A picture before and after, with a divider that follows the mouse and the arrow keys. GUI thread.

    Args:
        name: for screen readers.
        enlarges: fills the room; otherwise a pixel of the picture has at most one of the screen.

    Attributes:
        hint: what is said while there is no picture.
    """

    def __init__(self, name: str, *, enlarges: bool = False) -> None:
        super().__init__()
        self.setMinimumSize(QSize(240, 220))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName(name)
        self._enlarges = enlarges
        self._images: tuple[QImage, ...] = ()
        self._split = 0.5
        self.hint = ""
        self.show_images()

    @property
    def images(self) -> tuple[QImage, ...]:
        """The picture before and after, or only before; empty if there is none."""
        return self._images

    def show_images(self, *images: QImage) -> None:
        """Show a picture before and after, which may differ in size, one picture, or none."""
        self._images = images
        divided = len(images) > 1
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus if divided else Qt.FocusPolicy.NoFocus)
        self.setCursor(Qt.CursorShape.SplitHCursor if divided else Qt.CursorShape.ArrowCursor)
        self.setToolTip(self.tr("Drag the divider, or move it with the arrow keys") if divided else "")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        with QPainter(self) as painter:
            painter.fillRect(self.rect(), surround(0.2))
            if not self._images:
                painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
                room = self.rect().adjusted(24, 24, -24, -24)
                painter.drawText(room, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self.hint)
                return
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            place = self._place()
            painter.drawImage(place, self._images[0])
            if len(self._images) > 1:
                x = place.left() + self._split * place.width()
                painter.setClipRect(QRectF(x, 0, self.width() - x, self.height()))
                painter.drawImage(place, self._images[1])
                painter.setClipping(False)
                paint_divider(painter, x, self.rect(), self.tr("Before"), self.tr("After"))

    def _place(self) -> QRectF:
        """Where the pictures are drawn: in the middle, completely."""
        largest = max((image.size() for image in self._images), key=QSize.width)
        size, room = largest.toSizeF() / self.devicePixelRatioF(), QSizeF(self.size())
        if self._enlarges or size.width() > room.width() or size.height() > room.height():
            size.scale(room, Qt.AspectRatioMode.KeepAspectRatio)
        left, top = (room.width() - size.width()) / 2, (room.height() - size.height()) / 2
        return QRectF(round(left), round(top), size.width(), size.height())

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.mouseMoveEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if len(self._images) > 1 and event.buttons():
            place = self._place()
            self._divide((event.position().x() - place.left()) / max(1.0, place.width()))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        by = {Qt.Key.Key_Left: -_KEY_STEP, Qt.Key.Key_Right: _KEY_STEP}.get(Qt.Key(event.key()))
        if by is None:
            super().keyPressEvent(event)
        else:
            self._divide(self._split + by)

    def _divide(self, share: float) -> None:
        self._split = min(1.0, max(0.0, share))
        self.update()
