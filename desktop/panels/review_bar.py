"""The bar above a scan of a batch that is being reviewed: where the restorer is, and what to do with the picture."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QWidget

from desktop.panels.widgets import action_button

_LONGEST_NAME = 280
"""Width up to which a name is shown whole, pixels."""


class ReviewBar(QWidget):
    """A slim bar with words and buttons. Hidden at first. GUI thread.

    Args:
        actions: the window's actions by id; some are its buttons.
    """

    def __init__(self, actions: dict[str, QAction]) -> None:
        super().__init__()
        self.setObjectName("reviewBar")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._label = QLabel()
        self._label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._label.setTextFormat(Qt.TextFormat.PlainText)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 4, 8, 4)
        layout.setSpacing(4)
        layout.addWidget(self._label, 1)
        for id_, text in (
            ("defects_accept_all", self.tr("Accept What Is Certain")),
            ("defects_keep_rest", self.tr("Keep the Rest")),
            ("review_previous", self.tr("Previous")),
            ("review_next", self.tr("Done, Next")),
            ("review_end", self.tr("End Review")),
        ):
            if id_ in ("review_previous", "review_end"):
                layout.addSpacing(8)
            button = action_button(actions[id_], text)
            button.setAccessibleName(text)
            # The keys stay those of the picture.
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.setObjectName("primary" if id_ == "review_next" else "")
            layout.addWidget(button)
        self.hide()

    @property
    def text(self) -> str:
        """What is said; empty while it is hidden."""
        return "" if self.isHidden() else self._label.text()

    def show_opening(self, name: str) -> None:
        """A scan is being opened."""
        self._show(self.tr("Opening {0}…").format(self._short(name)), name)

    def show_place(self, place: int, count: int, name: str, decided: tuple[int, int] | None) -> None:
        """Show where the restorer is.

        Args:
            place: number of the picture, from 1 on.
            count: number of all pictures of the review.
            name: of the scan.
            decided: number of defects that are decided about, and of all; None = not known yet.
        """
        where = self.tr("Review {0:,} of {1:,}: {2}").format(place, count, self._short(name))
        if decided is None:
            self._show(where, name)
        elif not decided[1]:
            self._show(self.tr("{0}, no defects").format(where), name)
        else:
            self._show(self.tr("{0}, {1:,} of {2:,} decided").format(where, *decided), name)

    def _show(self, text: str, name: str) -> None:
        self._label.setText(text)
        self._label.setToolTip(f"{text}\n{name}" if name not in text else text)
        self.show()

    def _short(self, name: str) -> str:
        return self.fontMetrics().elidedText(name, Qt.TextElideMode.ElideMiddle, _LONGEST_NAME)
