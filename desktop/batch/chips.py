"""Cells of the table of a batch: wrapped text, and the reasons why a person should look at a scan as small labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, Qt
from PySide6.QtGui import QPainter, QPalette
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from desktop.batch.model import CHIPS_ROLE

_GAP, _INSIDE = 4, 8
"""Between two labels, and from the border of one to its text, pixels."""
_MARGIN = 11
"""From the border of a cell to its text, as in other cells, pixels."""
_HEIGHT = 18
"""Of a label, pixels."""
Index = QModelIndex | QPersistentModelIndex


class Cell(QStyledItemDelegate):
    """Draws a cell; the whole row shows that it is selected, and no frame that one cell has the cursor."""

    def initStyleOption(self, option: QStyleOptionViewItem, index: Index) -> None:
        super().initStyleOption(option, index)
        option.state &= ~QStyle.StateFlag.State_HasFocus


class Wrapping(Cell):
    """Draws text in as many lines as the row has room for."""

    def initStyleOption(self, option: QStyleOptionViewItem, index: Index) -> None:
        super().initStyleOption(option, index)
        option.features |= QStyleOptionViewItem.ViewItemFeature.WrapText
        option.textElideMode = Qt.TextElideMode.ElideRight


class ChipPainter(Wrapping):
    """Draws the labels of a cell in one line below its text; those for which there is no room become "+1"."""

    def initStyleOption(self, option: QStyleOptionViewItem, index: Index) -> None:
        super().initStyleOption(option, index)
        if index.data(CHIPS_ROLE):
            # Drawn in ``paint``, over the cell's background.
            option.text = ""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        super().paint(painter, option, index)
        chips: tuple[str, ...] = index.data(CHIPS_ROLE) or ()
        if not chips:
            return
        room: QRect = option.rect
        room = room.adjusted(_MARGIN, 0, -_MARGIN, 0)
        chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        role = QPalette.ColorRole.Text if chosen else QPalette.ColorRole.PlaceholderText
        text, top = str(index.data() or ""), room.center().y() - _HEIGHT // 2
        with _kept(painter):
            if text:
                top = room.center().y() + 2
                painter.setPen(option.palette.color(role))
                above = QRect(room.left(), room.top() + 2, room.width(), room.height() // 2)
                shown = option.fontMetrics.elidedText(text, Qt.TextElideMode.ElideRight, above.width())
                painter.drawText(above, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, shown)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            self._paint_chips(painter, option, QRect(room.left(), top, room.width(), _HEIGHT), chips)

    def _paint_chips(
        self, painter: QPainter, option: QStyleOptionViewItem, room: QRect, chips: tuple[str, ...]
    ) -> None:
        palette: QPalette = option.palette
        metrics, left = option.fontMetrics, room.left()
        for number, chip in enumerate(chips):
            rest = len(chips) - number
            more = metrics.horizontalAdvance(f"+{rest}") + 2 * _INSIDE + _GAP if rest > 1 else 0
            fits = left + metrics.horizontalAdvance(chip) + 2 * _INSIDE + more <= room.right()
            text = chip if fits or not number else f"+{rest}"
            width = min(metrics.horizontalAdvance(text) + 2 * _INSIDE, room.right() - left)
            place = QRect(left, room.top(), width, room.height())
            painter.setPen(palette.color(QPalette.ColorRole.Mid))
            painter.setBrush(palette.color(QPalette.ColorRole.Button))
            painter.drawRoundedRect(place, _HEIGHT / 2, _HEIGHT / 2)
            painter.setPen(palette.color(QPalette.ColorRole.Text))
            shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, max(0, width - _INSIDE))
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, shown)
            if text is not chip:
                break
            left += width + _GAP


@contextmanager
def _kept(painter: QPainter) -> Iterator[None]:
    """Context manager: the painter is as before afterwards."""
    painter.save()
    try:
        yield
    finally:
        painter.restore()
