"""The table of the window of batches: a row for each scan."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtCore import (
    QEvent,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QAction, QContextMenuEvent, QKeySequence, QPainter, QPalette
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QMenu,
    QStyleOptionViewItem,
    QTableView,
)

from desktop.batch.chips import Cell, ChipPainter, Wrapping
from desktop.batch.model import ORDERS, PROGRESS_ROLE, BatchModel, Column
from desktop.batch.pictures import THUMBNAIL
from engine.batch.rows import Row
from engine.batch.views import Order

_WIDTHS = {
    Column.SCAN: 220,
    Column.RESULT: 160,
    Column.STATE: 88,
    Column.FOUND: 128,
    Column.PROGRESS: 76,
    Column.DEVICE: 64,
    Column.TIME: 64,
}
_GROUPS = (4, 6, 9)
"""Places in the context menu before which there is a line."""
_MOST_KEPT = 1000
"""Selected rows that stay selected when the order changes."""
Index = QModelIndex | QPersistentModelIndex


class _ProgressPainter(Cell):
    """Draws a bar for a scan that is being worked on."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        super().paint(painter, option, index)
        share = index.data(PROGRESS_ROLE)
        if share is None:
            return
        room: QRect = option.rect
        palette: QPalette = option.palette
        bar = QRect(room.left() + 4, room.center().y() + 10, room.width() - 8, 4)
        painter.fillRect(bar, palette.color(QPalette.ColorRole.Mid))
        bar.setWidth(round(bar.width() * share))
        painter.fillRect(bar, palette.accent())


class BatchTable(QTableView):
    """The table. GUI thread.

    Args:
        model: its rows.

    Signals:
        pointed: another row is under the mouse, or none, or another is the current one; carries the Row to preview.
        sorted: the user wants another order; carries it and whether it is descending.
    """

    pointed = Signal(object)
    sorted = Signal(str, bool)

    def __init__(self, model: BatchModel) -> None:
        super().__init__()
        self._model = model
        self._hovered: int | None = None
        self.setModel(model)
        self.setAccessibleName(self.tr("Scans of the batch"))
        self.setItemDelegate(Cell(self))
        self.setItemDelegateForColumn(Column.PROGRESS, _ProgressPainter(self))
        self.setItemDelegateForColumn(Column.FOUND, Wrapping(self))
        self.setItemDelegateForColumn(Column.TOLD, ChipPainter(self))
        self.setIconSize(QSize(THUMBNAIL, THUMBNAIL))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setTabKeyNavigation(False)
        self.setMouseTracking(True)
        self.setCornerButtonEnabled(False)
        self._set_up_headers()
        self.entered.connect(self._on_entered)
        self.selectionModel().currentRowChanged.connect(self._show_pointed)
        model.dataChanged.connect(self._on_changed)

    def _set_up_headers(self) -> None:
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        rows.hide()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(THUMBNAIL + 8)
        # Otherwise its painting asks for each row whether it is selected, which takes seconds in long tables.
        columns.setSelectionModel(QItemSelectionModel(self.model(), self))
        columns.setHighlightSections(False)
        columns.setStretchLastSection(True)
        columns.setSectionsMovable(True)
        columns.setMinimumSectionSize(48)
        for column, width in _WIDTHS.items():
            self.setColumnWidth(column, width)
        columns.setSectionsClickable(True)
        columns.setSortIndicatorShown(True)
        columns.setSortIndicatorClearable(True)
        columns.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        columns.sortIndicatorChanged.connect(self._on_sort)

    def add_command(self, text: str, key: str, run: Callable[[], object]) -> QAction:
        """Add an entry of the context menu, with a shortcut that works while the table has the focus."""
        action = QAction(text, self)
        action.setShortcut(QKeySequence(key))
        action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        action.triggered.connect(run)
        self.addAction(action)
        return action

    # -- rows -------------------------------------------------------------------------------------------------

    def current_row(self) -> Row | None:
        """The row with the cursor."""
        index = self.currentIndex()
        return self._model.row(index.row()) if index.isValid() else None

    def selected_ids(self) -> list[int]:
        """The numbers of the selected rows, in order."""
        places = sorted((one.top(), one.bottom()) for one in self.selectionModel().selection().toList())
        return [int(id_) for top, bottom in places for id_ in self._model.ids[top : bottom + 1]]

    def show_ids(self, ids: np.ndarray) -> None:
        """Show these rows; what is selected and where the view is stay as they are, if they can."""
        chosen, current, place = self.selected_ids(), self.current_row(), self.verticalScrollBar().value()
        if not self._model.show(ids):
            if len(ids) and not self.currentIndex().isValid():
                # The first is seen large at once, and the arrow keys begin there.
                first = self._model.index(0, 0)
                self.selectionModel().setCurrentIndex(first, QItemSelectionModel.SelectionFlag.NoUpdate)
            return
        self._hovered = None
        selection = QItemSelection()
        if len(chosen) <= _MOST_KEPT:
            for place_kept in np.flatnonzero(np.isin(ids, chosen)):
                index = self._model.index(int(place_kept), 0)
                selection.select(index, index)
        rows = QItemSelectionModel.SelectionFlag.Rows
        if current is not None and (number := self._model.place_of(current.id)) >= 0:
            self.selectionModel().setCurrentIndex(
                self._model.index(number, 0), QItemSelectionModel.SelectionFlag.NoUpdate
            )
        self.selectionModel().select(selection, QItemSelectionModel.SelectionFlag.Select | rows)
        self.verticalScrollBar().setValue(place)
        self._show_pointed()

    def _pointed_row(self) -> Row | None:
        if self._hovered is not None and self._hovered < self._model.rowCount():
            return self._model.row(self._hovered)
        return self.current_row()

    def _show_pointed(self) -> None:
        self.pointed.emit(self._pointed_row())

    def _on_entered(self, index: QModelIndex) -> None:
        self._hovered = index.row()
        self._show_pointed()

    def _on_changed(self, first: QModelIndex, last: QModelIndex) -> None:
        if first.row() != last.row():
            # Rows have changed, and not only a thumbnail, which the preview hears of itself.
            self._show_pointed()

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._hovered = None
        self._show_pointed()

    def _on_sort(self, section: int, way: Qt.SortOrder) -> None:
        order: Order | None = ORDERS.get(Column(section)) if section >= 0 else None
        if order is None and section >= 0:
            self.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
            return
        self.sorted.emit(order or "place", way is Qt.SortOrder.DescendingOrder and order is not None)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        if not self.selectionModel().hasSelection():
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for number, action in enumerate(self.actions()):
            if number in _GROUPS:
                menu.addSeparator()
            menu.addAction(action)
        menu.popup(event.globalPos())
