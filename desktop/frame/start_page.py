"""The page that is shown without a photograph: at first three steps, later recent files; and two buttons to begin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from PySide6.QtCore import QDateTime, QLocale, QModelIndex, QPersistentModelIndex, QPoint, QRect, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QImage,
    QKeyEvent,
    QPainter,
    QPalette,
    QPixmap,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QListView,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QScrollArea,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

MOST = 8
"""Recent files that are shown."""
_COLUMNS = 4
_PICTURE = QSize(160, 120)
"""Room for a thumbnail, logical pixels."""
_PAD, _GAP, _MARGIN = 8, 8, 8
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


class _Cards(QListWidget):
    """Recent files as cards. They are opened by a click and by Enter, and have a menu.

    Signals:
        chosen: the user wants to open a file; carries its path.
        menu_wanted: the user wants the menu of a file; carries its item and the place on the screen.
    """

    chosen = Signal(str)
    menu_wanted = Signal(QListWidgetItem, QPoint)

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
        self.itemClicked.connect(lambda item: self.chosen.emit(item.data(_NAME)))

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

    def keyPressEvent(self, event: QKeyEvent) -> None:
        item = self.currentItem()
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and item is not None:
            self.chosen.emit(item.data(_NAME))
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        by_key = event.reason() == QContextMenuEvent.Reason.Keyboard
        item = self.currentItem() if by_key else self.itemAt(event.pos())
        if item is not None:
            place = self.viewport().mapToGlobal(self.visualItemRect(item).center()) if by_key else event.globalPos()
            self.menu_wanted.emit(item, place)


class StartPage(QScrollArea):
    """Shown when no photograph is open. GUI thread.

    Args:
        recent: paths of recent files, latest first.

    Signals:
        open_wanted: the user wants to choose a scan.
        sample_wanted: the user wants to open the sample.
        file_wanted: the user wants to open a recent file; carries its path.
        folder_wanted: the user wants to see the folder of a recent file; carries the file's path.
        forgotten: the user takes files off the list; carries their paths.
    """

    open_wanted = Signal()
    sample_wanted = Signal()
    file_wanted = Signal(str)
    folder_wanted = Signal(str)
    forgotten = Signal(object)

    def __init__(self, recent: Sequence[str] = ()) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setWidgetResizable(True)
        self._names: list[str] = []
        self._room = 0
        # Made when there are recent files: the first start is not slowed down by it.
        self._cards: _Cards | None = None
        self._column = QVBoxLayout()
        self._steps = QWidget()
        self._steps.setLayout(self._make_steps())
        self._short = _label("short", self.tr("Drop a scan here, paint over the damage, press Heal."))
        self._page = QWidget()
        self._page.setObjectName("welcome")
        self._page.setLayout(self._arrange())
        self.setWidget(self._page)
        self.show_recent(recent)

    def _make_steps(self) -> QVBoxLayout:
        steps = QVBoxLayout()
        steps.setContentsMargins(0, 0, 0, 0)
        steps.setSpacing(8)
        for text in (self.tr("1   Drop a scan here"), self.tr("2   Paint over the damage"), self.tr("3   Press Heal")):
            steps.addWidget(_label("step", text))
        return steps

    def _arrange(self) -> QVBoxLayout:
        """A column in the middle of the page."""
        self._buttons = QWidget()
        buttons = QHBoxLayout(self._buttons)
        buttons.setContentsMargins(_PAD + _GAP // 2, 0, 0, 0)
        for text, signal in (
            (self.tr("Open a scan…"), self.open_wanted),
            (self.tr("Open the sample"), self.sample_wanted),
        ):
            button = QPushButton(text)
            button.clicked.connect(signal)
            buttons.addWidget(button)
        buttons.addStretch(1)
        column = self._column
        column.setSpacing(8)
        column.addWidget(_label("title", self.tr("Lacuna")))
        column.addWidget(self._steps)
        column.addSpacing(16)
        column.addWidget(self._buttons)
        column.addSpacing(8)
        column.addWidget(self._short)
        line = QHBoxLayout()
        line.addStretch(1)
        line.addLayout(column)
        line.addStretch(1)
        layout = QVBoxLayout()
        layout.setContentsMargins(_MARGIN, _MARGIN, _MARGIN, _MARGIN)
        layout.addStretch(2)
        layout.addLayout(line)
        layout.addStretch(3)
        return layout

    # -- recent files -----------------------------------------------------------------------------------------

    def _make_cards(self) -> _Cards:
        cards = _Cards()
        cards.chosen.connect(self.file_wanted)
        cards.menu_wanted.connect(self._show_menu)
        cards.currentItemChanged.connect(self._show_current)
        self._column.insertWidget(2, cards)
        # For the keyboard they come before the buttons: Tab follows the order in which widgets got their parent.
        self._buttons.setParent(None)
        self._column.insertWidget(4, self._buttons)
        self._buttons.show()
        return cards

    @property
    def names(self) -> list[str]:
        """The paths of the files that are shown, in their order."""
        return list(self._names)

    def show_recent(self, names: Sequence[str]) -> None:
        """Show the first of these recent files as cards, or the three steps if there are none."""
        if list(names[:MOST]) == self._names and self._names:
            return
        pictures = {item.data(_NAME): item.data(_IMAGE) for item in self._items()}
        self._names = list(names[:MOST])
        if self._names and self._cards is None:
            self._cards = self._make_cards()
        if self._cards is not None:
            self._cards.clear()
            self._cards.setVisible(bool(names))
        for name in self._names:
            item = QListWidgetItem(self._cards)
            item.setData(_NAME, name)
            item.setData(_IMAGE, pictures.get(name))
            self._describe(item, "")
        self._short.setVisible(bool(names))
        self._steps.setVisible(not names)
        self._fit()

    def show_picture(self, name: str, image: QImage) -> None:
        """Show the thumbnail of a file."""
        for item in self._items(name):
            item.setData(_IMAGE, image)

    def show_found(self, name: str, changed: float | None) -> None:
        """Show whether a file is there.

        Args:
            name: its path.
            changed: when it was changed, in seconds since 1970; None if it was not found.
        """
        for item in self._items(name):
            item.setData(_MISSING, changed is None)
            if changed is None:
                self._describe(item, self.tr("not found"))
            else:
                when = QLocale().toString(QDateTime.fromSecsSinceEpoch(int(changed)), QLocale.FormatType.ShortFormat)
                self._describe(item, self.tr("changed {0}").format(when))

    def _items(self, *names: str) -> list[QListWidgetItem]:
        """The cards of files, or all."""
        cards = self._cards
        items = [cards.item(row) for row in range(cards.count())] if cards is not None else []
        return [item for item in items if not names or item.data(_NAME) in names]

    def _describe(self, item: QListWidgetItem, more: str) -> None:
        """Set the tooltip and what screen readers say."""
        path = PurePath(item.data(_NAME))
        item.setToolTip("\n".join(filter(None, (str(path), more))))
        item.setData(Qt.ItemDataRole.AccessibleTextRole, ", ".join(filter(None, (path.name, str(path.parent), more))))

    def _show_menu(self, item: QListWidgetItem, place: QPoint) -> None:
        name = item.data(_NAME)
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction(self.tr("Open"), lambda: self.file_wanted.emit(name))
        menu.addAction(self.tr("Show in Folder"), lambda: self.folder_wanted.emit(name))
        menu.addSeparator()
        menu.addAction(self.tr("Remove from List"), lambda: self.forgotten.emit([name]))
        menu.addAction(self.tr("Clear List"), lambda: self.forgotten.emit(None))
        menu.popup(place)

    def _show_current(self, item: QListWidgetItem | None) -> None:
        cards = self._cards
        if cards is not None and item is not None:
            place = cards.mapTo(self._page, cards.visualItemRect(item).center())
            cell = cards.cell()
            self.ensureVisible(place.x(), place.y(), cell.width() // 2, cell.height() // 2)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._room = event.size().width()
        self._fit()

    def _fit(self) -> None:
        if self._cards is not None and self._room:
            self._cards.fit(self._room - 2 * _MARGIN)


def _label(name: str, text: str) -> QLabel:
    label = QLabel(text)
    label.setObjectName(name)
    # In line with the pictures of the cards.
    label.setContentsMargins(_PAD + _GAP // 2, 0, 0, 0)
    return label
