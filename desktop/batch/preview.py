"""A row of a batch, large: the scan and its result with a divider between them, and what was done."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRect, Qt, Signal
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QLabel, QSizePolicy, QSlider, QVBoxLayout, QWidget

from desktop.batch.model import BatchModel
from desktop.batch.pictures import Pair, Pictures
from desktop.batch.words import details_of, found_in_words, told_in_words
from desktop.panels.widgets import WheelGuard
from desktop.theme import surround
from engine.batch.rows import Row

_STEPS = 1000


class SplitPicture(QWidget):
    """The scan left of a divider, and its result right of it.

    Attributes:
        pair: what is shown; None = nothing.

    Signals:
        dragged: the divider was dragged; carries its place, 0..1 of the picture's width.
    """

    dragged = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.pair: Pair | None = None
        self._share = 0.5
        self.setMinimumSize(240, 200)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def show_pair(self, pair: Pair | None) -> None:
        """Show a scan with its result, if it has one, or nothing."""
        self.pair = pair
        split = pair is not None and pair.after is not None
        self.setCursor(Qt.CursorShape.SplitHCursor if split else Qt.CursorShape.ArrowCursor)
        self.update()

    def set_share(self, share: float) -> None:
        """Move the divider to a place, 0..1 of the picture's width."""
        self._share = min(1.0, max(0.0, share))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        with QPainter(self) as painter:
            painter.fillRect(self.rect(), surround(0.2))
            if self.pair is None:
                return
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            place = self._place(self.pair.before)
            painter.drawImage(place, self.pair.before)
            if self.pair.after is None:
                return
            x = place.left() + round(self._share * place.width())
            painter.setClipRect(QRect(x, place.top(), place.right() - x + 1, place.height()))
            painter.drawImage(place, self.pair.after)
            painter.setClipping(False)
            painter.fillRect(QRect(x, place.top(), 1, place.height()), QColor(255, 255, 255))
            words = QRect(place.left(), place.bottom() + 4, place.width(), 20)
            painter.setPen(self.palette().color(QPalette.ColorRole.Text))
            painter.drawText(words, Qt.AlignmentFlag.AlignLeft, self.tr("before"))
            painter.drawText(words, Qt.AlignmentFlag.AlignRight, self.tr("after"))

    def _place(self, image: QImage) -> QRect:
        room = self.rect().adjusted(8, 8, -8, -28)
        size = image.size().scaled(room.size(), Qt.AspectRatioMode.KeepAspectRatio)
        return QRect(room.center() - QPoint(size.width() // 2, size.height() // 2), size)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.mouseMoveEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.pair is not None and event.buttons():
            place = self._place(self.pair.before)
            self.dragged.emit(min(1.0, max(0.0, (event.position().x() - place.left()) / max(1, place.width()))))


class Preview(QWidget):
    """The row under the mouse, or else the current one. GUI thread.

    Args:
        model: says the states of rows.
        pictures: makes the pictures.
    """

    def __init__(self, model: BatchModel, pictures: Pictures) -> None:
        super().__init__()
        self._model, self._pictures = model, pictures
        self._row: Row | None = None
        self.picture = SplitPicture()
        self.divider = QSlider(Qt.Orientation.Horizontal)
        self.divider.setRange(0, _STEPS)
        self.divider.setValue(_STEPS // 2)
        self.divider.setSingleStep(_STEPS // 20)
        self.divider.setAccessibleName(self.tr("Divider between before and after"))
        self.divider.setToolTip(self.tr("Left of the divider is the scan, right of it the result"))
        WheelGuard(self.divider)
        self.divider.valueChanged.connect(lambda value: self.picture.set_share(value / _STEPS))
        self.picture.dragged.connect(lambda share: self.divider.setValue(round(share * _STEPS)))
        self._name, self._told = QLabel(), QLabel()
        for label in (self._name, self._told):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._name.setObjectName("previewName")
        self._told.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self._told.setMinimumHeight(7 * self.fontMetrics().height())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self.picture, 1)
        layout.addWidget(self.divider)
        layout.addWidget(self._name)
        layout.addWidget(self._told)
        pictures.made.connect(self._on_made)
        self.show_row(None)

    @property
    def text(self) -> str:
        """What is said about the row."""
        return self._told.text()

    def show_row(self, row: Row | None) -> None:
        """Show a row, or nothing."""
        self._row = row
        pair = self._pictures.pair(row) if row is not None else None
        self.picture.show_pair(pair)
        self.divider.setEnabled(pair is not None and pair.after is not None)
        self._name.setText(row.relative if row is not None else "")
        nothing = self.tr("Point at a scan to see it here, before and after.")
        self._told.setText(self._words(row) if row is not None else nothing)
        self._told.setForegroundRole(QPalette.ColorRole.PlaceholderText if row is None else QPalette.ColorRole.Text)

    def _words(self, row: Row) -> str:
        found = found_in_words(row)
        lines = [
            self._model.state_text(row),
            self.tr("Found: {0}").format(found) if found else "",
            told_in_words(row),
            details_of(row),
        ]
        return "\n".join(dict.fromkeys(line for line in lines if line))

    def _on_made(self, id_: int) -> None:
        if self._row is not None and self._row.id == id_:
            self.show_row(self._row)
