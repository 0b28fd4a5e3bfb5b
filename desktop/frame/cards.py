"""Recent files as cards: thumbnail, name and folder. Imported only where there are some: the first start needs none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from PySide6.QtCore import QDateTime, QLocale, QModelIndex, QPersistentModelIndex, QPoint, QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QContextMenuEvent, QImage, QKeyEvent, QPainter, QPalette, QPixmap
from PySide6.QtWidgets import (
    QFrame,
    QListView,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
)

_COLUMNS = 4
_PICTURE = QSize(160, 120)
"""Room for a thumbnail, logical pixels."""
_PAD, _GAP = 8, 8
_DIMMED = 0.4
_NAME = Qt.ItemDataRole.UserRole
_IMAGE = Qt.ItemDataRole.UserRole + 1
_MISSING = Qt.ItemDataRole.UserRole + 2
_Index = QModelIndex | QPersistentModelIndex


class _Card(QStyledItemDelegate):
    """Draws a recent file: its thumbnail, its name, and its folder or that it was not found."""

    def sizeHint(self, option: QStyleOptionViewItem, index: _Index) -> QSize:
        del index
        return QSize(_PICTURE.width() + 2 * _PAD, _PICTURE.height() + 3 * _PAD + 2 * option.fontMetrics.height())

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _Index) -> None:
        palette, states = option.palette, option.state
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = QRect(option.rect)
        focused = bool(states & QStyle.StateFlag.State_HasFocus)
        if focused or states & QStyle.StateFlag.State_MouseOver:
            painter.setPen(palette.color(QPalette.ColorRole.Accent) if focused else Qt.PenStyle.NoPen)
            painter.setBrush(palette.color(QPalette.ColorRole.Button))
            painter.drawRoundedRect(frame.toRectF().adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        room = QRect(frame.topLeft() + QPoint(_PAD, _PAD), _PICTURE)
        missing = bool(index.data(_MISSING))
        painter.setOpacity(_DIMMED if missing else 1.0)
        self._paint_picture(painter, room, index, palette)
        path = PurePath(index.data(_NAME))
        line = QRect(room.left(), room.bottom() + _PAD, room.width(), option.fontMetrics.height())
        self._paint_line(painter, line, path.name, palette.color(QPalette.ColorRole.Text), option)
        painter.setOpacity(1.0)
        words = self.tr("not found") if missing else str(path.parent)
        line.translate(0, line.height())
        self._paint_line(painter, line, words, palette.color(QPalette.ColorRole.PlaceholderText), option)
        painter.restore()

    def _paint_line(
        self, painter: QPainter, line: QRect, text: str, colour: QColor, option: QStyleOptionViewItem
    ) -> None:
        painter.setPen(colour)
        shown = option.fontMetrics.elidedText(text, Qt.TextElideMode.ElideMiddle, line.width())
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, shown)

    def _paint_picture(self, painter: QPainter, room: QRect, index: _Index, palette: QPalette) -> None:
        """The thumbnail in the middle of its room; a plate with the kind of the file while there is none."""
        image = index.data(_IMAGE)
        if not isinstance(image, QImage):
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(palette.color(QPalette.ColorRole.Base))
            painter.drawRoundedRect(room, 4, 4)
            painter.setPen(palette.color(QPalette.ColorRole.PlaceholderText))
            kind = PurePath(index.data(_NAME)).suffix.lstrip(".").upper()
            painter.drawText(room, Qt.AlignmentFlag.AlignCenter, kind[:6])
            return
        device = painter.device()
        ratio = device.devicePixelRatioF() if device is not None else 1.0
        fit, smooth = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        pixmap = QPixmap.fromImage(image.scaled(_PICTURE * ratio, fit, smooth))
        pixmap.setDevicePixelRatio(ratio)
        size = pixmap.deviceIndependentSize()
        left, top = (room.width() - size.width()) / 2, room.height() - size.height()
        painter.drawPixmap(QPoint(room.left() + round(left), room.top() + round(top)), pixmap)


class Cards(QListWidget):
    """Recent files as cards. They are opened by a click and by Enter, and have a menu. GUI thread.

    Signals:
        file_wanted, folder_wanted: the user wants to open a file, or to see its folder; carries the file's path.
        forgotten: the user takes files off the list; carries a list of their paths, None for all.
    """

    file_wanted = Signal(str)
    folder_wanted = Signal(str)
    forgotten = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName(self.tr("Recent files"))
        self.setItemDelegate(_Card(self))
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setMovement(QListView.Movement.Static)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setDragEnabled(False)
        self.setAcceptDrops(False)
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        for set_policy in (self.setHorizontalScrollBarPolicy, self.setVerticalScrollBarPolicy):
            set_policy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.itemClicked.connect(lambda item: self.file_wanted.emit(item.data(_NAME)))

    def cell(self) -> QSize:
        """The room of a card with the gap to the next."""
        option = QStyleOptionViewItem()
        self.initViewItemOption(option)
        return self.itemDelegate().sizeHint(option, QModelIndex()) + QSize(_GAP, _GAP)

    def fit(self, width: int) -> None:
        """Take as many columns as fit into a width, and as much height as all cards need."""
        cell = self.cell()
        columns = max(1, min(_COLUMNS, self.count(), width // cell.width()))
        rows = -(-self.count() // columns)
        self.setGridSize(cell)
        # One more pixel, or Qt wraps too early.
        self.setFixedSize(columns * cell.width() + 1, rows * cell.height() + 1)

    def items_of(self, *names: str) -> list[QListWidgetItem]:
        """The cards of files, or all."""
        items = [self.item(row) for row in range(self.count())]
        return [item for item in items if not names or item.data(_NAME) in names]

    def show_names(self, names: Sequence[str]) -> None:
        """Show the files with these paths; the pictures that are known already are kept."""
        pictures = {item.data(_NAME): item.data(_IMAGE) for item in self.items_of()}
        self.clear()
        for name in names:
            item = QListWidgetItem(self)
            item.setData(_NAME, name)
            item.setData(_IMAGE, pictures.get(name))
            _describe(item, "")

    def show_picture(self, name: str, image: QImage) -> None:
        """Show the thumbnail of a file."""
        for item in self.items_of(name):
            item.setData(_IMAGE, image)

    def show_found(self, name: str, changed: float | None) -> None:
        """Show when a file was changed, in seconds since 1970, or that it was not found."""
        said = self.tr("not found")
        if changed is not None:
            when = QDateTime.fromSecsSinceEpoch(int(changed))
            said = self.tr("changed {0}").format(QLocale().toString(when, QLocale.FormatType.ShortFormat))
        for item in self.items_of(name):
            item.setData(_MISSING, changed is None)
            _describe(item, said)

    def _show_menu(self, name: str, place: QPoint) -> None:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction(self.tr("Open"), lambda: self.file_wanted.emit(name))
        menu.addAction(self.tr("Show in Folder"), lambda: self.folder_wanted.emit(name))
        menu.addSeparator()
        menu.addAction(self.tr("Remove from List"), lambda: self.forgotten.emit([name]))
        menu.addAction(self.tr("Clear List"), lambda: self.forgotten.emit(None))
        menu.popup(place)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        item = self.currentItem()
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and item is not None:
            self.file_wanted.emit(item.data(_NAME))
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        by_key = event.reason() == QContextMenuEvent.Reason.Keyboard
        item = self.currentItem() if by_key else self.itemAt(event.pos())
        if item is not None:
            place = self.viewport().mapToGlobal(self.visualItemRect(item).center()) if by_key else event.globalPos()
            self._show_menu(item.data(_NAME), place)


def _describe(item: QListWidgetItem, more: str) -> None:
    """Set the tooltip and what screen readers say."""
    path = PurePath(item.data(_NAME))
    item.setToolTip("\n".join(filter(None, (str(path), more))))
    item.setData(Qt.ItemDataRole.AccessibleTextRole, ", ".join(filter(None, (path.name, str(path.parent), more))))
