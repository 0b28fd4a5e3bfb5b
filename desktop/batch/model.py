"""The table model of a batch: it knows the numbers of all rows, and reads the rows that are seen from the table."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QGuiApplication, QPalette

from desktop.batch.pictures import Pictures
from desktop.batch.words import (
    chips_of,
    details_of,
    found_in_words,
    is_decided,
    state_title,
    told_in_words,
    words,
)
from desktop.language import sentence_of
from engine.batch.pace import duration
from engine.batch.rows import Row, State
from engine.batch.views import Order

_BRIEF = 100
"""Times up to this are shown with tenths of a second, seconds."""
PAGE = 32
"""Rows that are read at once."""
_KEPT = 16 * PAGE
PROGRESS_ROLE = Qt.ItemDataRole.UserRole
"""The share of a running scan's work that is done, 0..1; None for others."""
CHIPS_ROLE = PROGRESS_ROLE + 1
"""Why a person should look at what was found in a scan, texts; empty for others."""
Index = QModelIndex | QPersistentModelIndex
_NONE = QModelIndex()


class Column(IntEnum):
    """The columns of the table."""

    SCAN = 0
    RESULT = 1
    STATE = 2
    FOUND = 3
    PROGRESS = 4
    DEVICE = 5
    TIME = 6
    TOLD = 7


_TITLES = ("Scan", "Result", "State", "Found", "Progress", "Device", "Time", "What was done")
ORDERS: dict[Column, Order] = {
    Column.SCAN: "name",
    Column.RESULT: "output",
    Column.STATE: "state",
    Column.FOUND: "found",
    Column.TIME: "seconds",
}
"""The columns by which the table can be sorted."""


class BatchModel(QAbstractTableModel):
    """The rows of a batch. GUI thread.

    Args:
        read: returns the rows with these numbers, in any order.
        pictures: makes the thumbnails.
    """

    def __init__(self, read: Callable[[Sequence[int]], Sequence[Row]], pictures: Pictures) -> None:
        super().__init__()
        self._read, self._pictures = read, pictures
        self._ids: NDArray[np.int64] = np.empty(0, np.int64)
        self._rows: OrderedDict[int, Row] = OrderedDict()
        self._shares: dict[int, tuple[float, str]] = {}
        self._cancelling: set[int] = set()
        self._held = False
        pictures.made.connect(self._on_picture)

    # -- what is shown ----------------------------------------------------------------------------------------

    @property
    def ids(self) -> NDArray[np.int64]:
        """The numbers of all rows, in order."""
        return self._ids

    def show(self, ids: NDArray[np.int64]) -> bool:
        """Show these rows.

        Returns:
            Whether rows went or changed places, so that selections are lost.
        """
        before = len(self._ids)
        if len(ids) >= before and np.array_equal(ids[:before], self._ids):
            if len(ids) > before:
                self.beginInsertRows(_NONE, before, len(ids) - 1)
                self._ids = ids
                self.endInsertRows()
            return False
        self.beginResetModel()
        self._ids = ids
        self.endResetModel()
        return True

    def touch(self, changed: Iterable[int] | None, shares: Mapping[int, tuple[float, str]]) -> None:
        """Rows have changed in the table.

        Args:
            changed: their numbers; None = any of them may have.
            shares: running scans -> the share of their work that is done, and the name of the step.
        """
        for id_ in list(self._rows) if changed is None else changed:
            self._rows.pop(id_, None)
        self._shares = dict(shares)
        self._cancelling &= set(self._shares)
        self._changed()

    def show_cancelling(self, ids: Iterable[int]) -> None:
        """These scans, if they are running, are being broken off."""
        self._cancelling |= set(ids)
        self._changed()

    def show_held(self, *, on: bool) -> None:
        """Whether what is being worked on is paused."""
        if on is not self._held:
            self._held = on
            self._changed()

    def row(self, number: int) -> Row | None:
        """The row in this place; None if it has gone from the table meanwhile."""
        id_ = int(self._ids[number])
        if id_ not in self._rows:
            start = number // PAGE * PAGE
            missing = [int(one) for one in self._ids[start : start + PAGE] if int(one) not in self._rows]
            self._rows.update((row.id, row) for row in self._read(missing))
            while len(self._rows) > _KEPT:
                self._rows.popitem(last=False)
        return self._rows.get(id_)

    def place_of(self, id_: int) -> int:
        """The place of a row; -1 if it is not shown."""
        found = np.flatnonzero(self._ids == id_)
        return int(found[0]) if len(found) else -1

    def _changed(self) -> None:
        if len(self._ids):
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._ids) - 1, len(Column) - 1))

    def _on_picture(self, id_: int) -> None:
        place = self.place_of(id_)
        if place >= 0:
            index = self.index(place, Column.SCAN)
            self.dataChanged.emit(index, index)

    # -- for the view -----------------------------------------------------------------------------------------

    def rowCount(self, parent: Index = _NONE) -> int:
        return 0 if parent.isValid() else len(self._ids)

    def columnCount(self, parent: Index = _NONE) -> int:
        return 0 if parent.isValid() else len(Column)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> str | int | None:
        if orientation is not Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return words(_TITLES[section])
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.ToolTipRole:
            return words("Click to sort; a third click restores the order of the work") if section in ORDERS else None
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        column = index.column()
        if role not in _ROLES or (role == Qt.ItemDataRole.DecorationRole and column != Column.SCAN):
            return None
        row = self.row(index.row())
        if row is None:
            return None
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            text = self._text(row, Column(column))
            if role == Qt.ItemDataRole.DisplayRole:
                return text
            return ", ".join(part for part in (text, *_spoken(row, Column(column))) if part)
        if role == Qt.ItemDataRole.DecorationRole:
            return self._pictures.thumbnail(row, QGuiApplication.primaryScreen().devicePixelRatio())
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tip(row, Column(column))
        if role == Qt.ItemDataRole.ForegroundRole:
            return _colour(row, column)
        if role == CHIPS_ROLE:
            return chips_of(row)
        return self._shares.get(row.id, (0.0, ""))[0] if row.state is State.RUNNING else None

    def _text(self, row: Row, column: Column) -> str:
        if column is Column.SCAN:
            return row.relative
        if column is Column.RESULT:
            return f"≠ {row.output}" if row.renamed else row.output
        if column is Column.STATE:
            return self.state_text(row)
        if column is Column.FOUND:
            return found_in_words(row)
        if column is Column.TOLD:
            return told_in_words(row)
        outcome = row.outcome
        if outcome is None or row.state in (State.PENDING, State.RUNNING):
            share = self._shares.get(row.id)
            return f"{100 * share[0]:.0f} %" if column is Column.PROGRESS and share is not None else ""
        if column is Column.DEVICE:
            return outcome.device.upper()
        if column is not Column.TIME or not outcome.seconds:
            return ""
        return f"{outcome.seconds:.1f} s" if outcome.seconds < _BRIEF else sentence_of(duration(outcome.seconds))

    def state_text(self, row: Row) -> str:
        """The state of a row in words, with the step of one that is running."""
        if is_decided(row):
            return words("decided")
        if row.state is not State.RUNNING:
            return state_title(row.state)
        if row.id in self._cancelling:
            return words("cancelling")
        return words("paused") if self._held else state_title(row.state)

    def _tip(self, row: Row, column: Column) -> str | None:
        if column is Column.SCAN:
            return str(row.path)
        if column in (Column.RESULT, Column.TOLD):
            details = details_of(row)
            return "\n".join(part for part in (row.output if column is Column.RESULT else "", details) if part) or None
        if column is Column.FOUND:
            return found_in_words(row) or None
        if column is Column.PROGRESS:
            return self._shares.get(row.id, (0.0, ""))[1] or None
        return None


_ROLES = frozenset(
    (
        Qt.ItemDataRole.DisplayRole,
        Qt.ItemDataRole.AccessibleTextRole,
        Qt.ItemDataRole.DecorationRole,
        Qt.ItemDataRole.ToolTipRole,
        Qt.ItemDataRole.ForegroundRole,
        PROGRESS_ROLE,
        CHIPS_ROLE,
    )
)


def _marked(row: Row, column: int) -> bool:
    """Whether a cell is marked because of a name that another result has."""
    return row.renamed and column == Column.RESULT


def _spoken(row: Row, column: Column) -> tuple[str, ...]:
    """What a cell says beside its text."""
    if column is Column.TOLD:
        return chips_of(row)
    return (words("another result has the name of the template"),) if _marked(row, column) else ()


def _colour(row: Row, column: int) -> Any:
    """The colour of a cell's text; None = the normal one."""
    palette = QGuiApplication.palette()
    if _marked(row, column) or (row.state is State.FAILED and column in (Column.STATE, Column.TOLD)):
        return palette.color(QPalette.ColorRole.Accent)
    if column not in (Column.SCAN, Column.STATE) or row.state in (State.PENDING, State.UP_TO_DATE):
        return palette.color(QPalette.ColorRole.PlaceholderText) if column != Column.SCAN else None
    return None
