"""Two pictures side by side: before and after."""

from __future__ import annotations

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from engine.raster import Pixels

_GAP = 8


class BeforeAfter(QWidget):
    """Shows a picture before and after, as large as there is room. GUI thread."""

    def __init__(self) -> None:
        super().__init__()
        self._images: tuple[QImage, QImage] | None = None
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setAccessibleName(self.tr("Before and after"))

    @property
    def images(self) -> tuple[QImage, QImage] | None:
        """The pictures that are shown."""
        return self._images

    def sizeHint(self) -> QSize:
        return QSize(560, self.heightForWidth(560))

    def heightForWidth(self, width: int) -> int:
        return (width - _GAP) // 2 + self._line

    @property
    def _line(self) -> int:
        """Height of the titles."""
        return self.fontMetrics().height() + 4

    def show_pictures(self, before: Pixels, after: Pixels) -> None:
        """Show two pictures, uint8 (h, w, 3) for the screen; they may differ in size."""
        self._images = _image(before), _image(after)
        self.update()

    def clear(self) -> None:
        """Show nothing."""
        self._images = None
        self.update()

    def paintEvent(self, _: QPaintEvent) -> None:
        width = (self.width() - _GAP) // 2
        places = QRect(0, 0, width, self.height()), QRect(width + _GAP, 0, width, self.height())
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            for number, (place, title) in enumerate(zip(places, (self.tr("Before"), self.tr("After")), strict=True)):
                painter.drawText(place, Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft, title)
                room = place.adjusted(0, self._line, 0, 0)
                if self._images is None:
                    side = min(room.width(), room.height())
                    painter.fillRect(QRect(room.topLeft(), QSize(side, side)), self.palette().base())
                    continue
                size = self._images[number].size().scaled(room.size(), Qt.AspectRatioMode.KeepAspectRatio)
                painter.drawImage(QRect(room.topLeft(), size), self._images[number])


def _image(pixels: Pixels) -> QImage:
    """A copy of a picture as Qt's."""
    height, width = pixels.shape[:2]
    return QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()
