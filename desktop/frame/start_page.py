"""The page that is shown without a photograph: at first three steps, later recent files; and two buttons to begin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from PySide6.QtGui import QResizeEvent
    from PySide6.QtWidgets import QListWidgetItem

    from desktop.frame.cards import Cards

MOST = 8
"""Recent files that are shown."""
_MARGIN, _INDENT = 8, 12
"""Around the page, and from the left of the cards to their pictures, logical pixels."""


class StartPage(QScrollArea):
    """Shown when no photograph is open. GUI thread.

    Args:
        recent: paths of recent files, latest first.

    Attributes:
        names: the paths of the files that are shown, in their order.
        cards: they are shown here; None while there never were any.

    Signals:
        open_wanted: the user wants to choose a scan.
        sample_wanted: the user wants to open the sample.
        file_wanted: the user wants to open a recent file; carries its path.
        folder_wanted: the user wants to see the folder of a recent file; carries the file's path.
        forgotten: the user takes files off the list; carries a list of their paths, None for all.
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
        self.names: list[str] = []
        self._room = 0
        # Made when there are recent files: the first start is not slowed down by it.
        self.cards: Cards | None = None
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
        buttons.setContentsMargins(_INDENT, 0, 0, 0)
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

    def _make_cards(self) -> Cards:
        from desktop.frame.cards import Cards

        cards = Cards()
        cards.file_wanted.connect(self.file_wanted)
        cards.folder_wanted.connect(self.folder_wanted)
        cards.forgotten.connect(self.forgotten)
        cards.currentItemChanged.connect(self._show_current)
        self._column.insertWidget(2, cards)
        # For the keyboard they come before the buttons: Tab follows the order in which widgets got their parent.
        self._buttons.setParent(None)
        self._column.insertWidget(4, self._buttons)
        self._buttons.show()
        return cards

    def show_recent(self, names: Sequence[str]) -> None:
        """Show the first of these recent files as cards, or the three steps if there are none."""
        shown = list(names[:MOST])
        if shown and shown == self.names:
            return
        self.names = shown
        if shown and self.cards is None:
            self.cards = self._make_cards()
        if self.cards is not None:
            self.cards.show_names(shown)
            self.cards.setVisible(bool(shown))
        self._short.setVisible(bool(shown))
        self._steps.setVisible(not shown)
        self._fit()

    def _show_current(self, item: QListWidgetItem | None) -> None:
        cards = self.cards
        if cards is not None and item is not None:
            place = cards.mapTo(self._page, cards.visualItemRect(item).center())
            cell = cards.cell()
            self.ensureVisible(place.x(), place.y(), cell.width() // 2, cell.height() // 2)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._room = event.size().width()
        self._fit()

    def _fit(self) -> None:
        if self.cards is not None and self._room:
            self.cards.fit(self._room - 2 * _MARGIN)


def _label(name: str, text: str) -> QLabel:
    label = QLabel(text)
    label.setObjectName(name)
    # In line with the pictures of the cards.
    label.setContentsMargins(_INDENT, 0, 0, 0)
    return label
