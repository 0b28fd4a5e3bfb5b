"""The line below the table of a batch: what waits for decisions, and buttons that decide about whole pictures."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QWidget

from desktop.batch.decided import DecidedList
from desktop.batch.table import BatchTable
from desktop.batch.words import waiting_in_words
from desktop.panels.widgets import action_button
from engine.batch.rows import Row, State


class DecisionBar(QWidget):
    """Shown while scans wait for decisions or are decided. GUI thread.

    Args:
        scans: the list of the batch.

    Signals:
        review_wanted: pictures are to be reviewed; carries whether it is every one that waits, or the current one.
    """

    review_wanted = Signal(bool)

    def __init__(self, scans: DecidedList) -> None:
        super().__init__()
        self._scans = scans
        self._ids: list[int] = []
        self._selected = ""
        self._words = QLabel()
        self._words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._actions = self._make_actions()
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 4)
        line.setSpacing(4)
        line.addWidget(self._words, 1)
        self.buttons = [action_button(action) for action in self._actions]
        for number, button in enumerate(self.buttons):
            if number in (1, len(self.buttons) - 1):
                line.addSpacing(8)
            line.addWidget(button)
        scans.changed.connect(self.refresh)
        self.show_selected([], [])

    def _make_actions(self) -> list[QAction]:
        scans = self._scans
        review = QAction(self.tr("Review All"), self)
        review.setToolTip(self.tr("Go through the pictures that wait for you one after another, from the first on"))
        review.triggered.connect(lambda: self.review_wanted.emit(True))
        actions = [review]
        for text, tip, do in (
            (
                self.tr("Accept Certain"),
                self.tr("In the selected pictures, accept all defects but those of which Lacuna is unsure"),
                lambda: scans.decide(self._ids, "certain"),
            ),
            (
                self.tr("Accept All"),
                self.tr("In the selected pictures, accept all defects that are still to do"),
                lambda: scans.decide(self._ids, "all"),
            ),
            (
                self.tr("Keep All"),
                self.tr("Leave the selected pictures' defects as they are, also those that were accepted"),
                lambda: scans.decide(self._ids, "none"),
            ),
            (
                self.tr("Decide Again"),
                self.tr("Let the selected pictures wait for decisions again; what was judged stays"),
                lambda: scans.decide_again(self._ids),
            ),
        ):
            action = QAction(text, self)
            action.setToolTip(tip)
            action.triggered.connect(do)
            actions.append(action)
        return actions

    def add_commands(self, table: BatchTable) -> None:
        """Add the commands to the table's context menu."""
        one = QAction(self.tr("Review"), table)
        one.triggered.connect(lambda: self.review_wanted.emit(False))
        table.addActions([one, *self._actions[1:]])

    @property
    def text(self) -> str:
        """What is said."""
        return self._words.text()

    def show_selected(self, ids: Sequence[int], rows: Sequence[Row] | None) -> None:
        """These rows are selected.

        Args:
            ids: their numbers.
            rows: the rows; None if they are too many to count their defects.
        """
        self._ids = list(ids)
        self._selected = self._selected_words(rows)
        waiting = rows is None or any(row.state is State.FOUND for row in rows)
        decided = rows is None or any(row.decided for row in rows)
        for action in self._actions[1:-1]:
            action.setEnabled(bool(ids) and waiting and not self._scans.busy)
        self._actions[-1].setEnabled(bool(ids) and decided and not self._scans.busy)
        self.refresh()

    def _selected_words(self, rows: Sequence[Row] | None) -> str:
        if rows is None:
            return self.tr("{0:,} selected").format(len(self._ids))
        looked = [row for row in rows if row.state is State.FOUND]
        if not looked:
            return ""
        found, unsure = sum(row.numbers.found for row in looked), sum(row.numbers.unsure for row in looked)
        said = self.tr("{0:,} selected: {1:,} defects").format(len(looked), found)
        return self.tr("{0}, {1:,} unsure").format(said, unsure) if unsure else said

    def refresh(self) -> None:
        """Show what waits."""
        files, defects = self._scans.waiting
        self.setVisible(bool(files or self._scans.totals is not None))
        self._actions[0].setEnabled(files > 0)
        waiting = waiting_in_words(files, defects) if files else self.tr("No picture waits for you")
        self._words.setText("  ·  ".join(part for part in (waiting, self._selected) if part))
