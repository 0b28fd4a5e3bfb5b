"""The message strip: messages, expected failures and offers, at the lower edge of a window."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial

from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QToolButton, QWidget

from desktop.language import sentence_of
from engine.errors import EngineError

LOG = logging.getLogger("lacuna")
_INFORMATION_SECONDS = 8
_SEEN_SECONDS = 5
"""A problem that was shown this long counts as read when the user continues working."""
_MOST_PROBLEMS = 3
_MOST_CHOICES = 2
"""Buttons of an offer."""
Choice = tuple[str, Callable[[], object]]
"""Text of a button, and what is done when it is pressed."""


@dataclass(frozen=True)
class _Offer:
    sentence: str
    choices: tuple[Choice, ...]
    closed: Callable[[], object] = lambda: None
    """Called when it was read: a button was pressed, or it was closed."""
    passing: bool = False
    """Whether it is of no more use once the user works on."""


class MessageStrip(QWidget):
    """Messages in a strip, such as over the lower edge of the picture. Hidden when there are none.

    GUI thread.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("messageStrip")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._label = QLabel()
        self._label.setWordWrap(True)
        self._label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._close = QToolButton()
        self._close.setText("✕")
        self._close.setAutoRaise(True)
        self._close.setAccessibleName(self.tr("Close message"))
        self._close.setToolTip(self.tr("Close message"))
        self._close.clicked.connect(self._clear)
        self._buttons = [QPushButton() for _ in range(_MOST_CHOICES)]
        self._offers: dict[Hashable, _Offer] = {}
        self._notices: list[_Offer] = []
        self._subject: Hashable | None = None
        self._problems: dict[str, float] = {}
        self._information = ""
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 4, 4, 4)
        layout.addWidget(self._label, 1)
        for number, button in enumerate(self._buttons):
            button.clicked.connect(partial(self._on_chosen, number))
            layout.addWidget(button)
        layout.addWidget(self._close, 0, Qt.AlignmentFlag.AlignTop)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._on_timeout)
        self._area: QWidget | None = None
        self.hide()

    @property
    def text(self) -> str:
        """The text that is shown; empty when hidden."""
        return self._label.text() if not self.isHidden() else ""

    def attach_to(self, area: QWidget) -> None:
        """Place the strip over the lower edge of a widget; otherwise its place is that of a layout."""
        self._area = area
        self.setParent(area)
        area.installEventFilter(self)

    def say(self, sentence: str, *, keep_offer: bool = False) -> None:
        """Show an information for some seconds. Problems that are still shown stay.

        Args:
            sentence: the message.
            keep_offer: keep the offer that is shown; otherwise the information takes its place.
        """
        self._information = sentence
        if not keep_offer:
            self._drop_offer()
        self._show()
        self._timer.start(_INFORMATION_SECONDS * 1000)

    def offer(
        self,
        sentence: str,
        verb: str,
        do: Callable[[], object],
        of: Hashable,
        other: Choice | None = None,
        *,
        passing: bool = False,
    ) -> None:
        """Show a message with a button until it is pressed or closed, or another information takes its place.

        Args:
            sentence: the message.
            verb: text of the button.
            do: called when it is pressed.
            of: the photograph that it is about; the message is shown while that photograph is.
            other: text of a second button, and what it does.
            passing: it goes when the user works on the picture.
        """
        choices: tuple[Choice, ...] = ((verb, do),) if other is None else ((verb, do), other)
        self._offers[of] = _Offer(sentence, choices, passing=passing)
        if of is self._subject:
            self._information = ""
        self._show()

    def announce(
        self, sentence: str, verb: str, do: Callable[[], object], closed: Callable[[], object] = lambda: None
    ) -> None:
        """Show a message with a button that is about no photograph, until it is pressed or closed.

        It gives way to an offer about the photograph that is shown; several are shown one after another.

        Args:
            sentence: the message.
            verb: text of the button.
            do: called when it is pressed.
            closed: called when the message was pressed or closed, so that it need not be shown again.
        """
        self._notices.append(_Offer(sentence, ((verb, do),), closed))
        self._show()

    def show_offer_of(self, photo: Hashable | None) -> None:
        """Another photograph is shown, or none: show its offer."""
        self._subject = photo
        self._show()

    def forget_offer_of(self, photo: Hashable) -> None:
        """A photograph is closed."""
        self._offers.pop(photo, None)
        self._show()

    @property
    def button(self) -> QPushButton | None:
        """The first button of an offer; None when there is none."""
        return next(iter(self.buttons), None)

    @property
    def buttons(self) -> list[QPushButton]:
        """The buttons of an offer."""
        offer = self._offered
        return self._buttons[: len(offer.choices)] if offer is not None and not self.isHidden() else []

    @property
    def _offered(self) -> _Offer | None:
        return self._offers.get(self._subject) or next(iter(self._notices), None)

    def _close_offered(self) -> None:
        """The message with buttons that is shown was pressed or closed."""
        offer = self._offered
        if offer is not None and self._offers.pop(self._subject, None) is None:
            self._notices.remove(offer)
            offer.closed()

    def _drop_offer(self) -> None:
        self._offers.pop(self._subject, None)

    def warn(self, error: EngineError | str) -> None:
        """Show a problem until it is closed, or until it was read and the user continues. Also logs it."""
        sentence = sentence_of(error) if isinstance(error, EngineError) else error
        LOG.info(sentence)
        self._problems.pop(sentence, None)
        self._problems[sentence] = time.monotonic()
        self._show()

    def dismiss_problems(self) -> None:
        """Remove all problems: the user has begun anew."""
        self._problems.clear()
        self._show()

    def dismiss_read(self) -> None:
        """Remove passing offers, and problems that were shown for some seconds: the user works on the picture."""
        now = time.monotonic()
        self._offers = {of: offer for of, offer in self._offers.items() if not offer.passing}
        self._problems = {line: since for line, since in self._problems.items() if now - since < _SEEN_SECONDS}
        self._show()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize and not self.isHidden():
            self._place()
        return super().eventFilter(watched, event)

    def _clear(self) -> None:
        self._problems.clear()
        self._close_offered()
        self._on_timeout()

    def _on_chosen(self, number: int, _checked: bool = False) -> None:  # noqa: FBT001, FBT002 - Qt's signal
        offer = self._offered
        self._close_offered()
        self._on_timeout()
        if offer is not None:
            _, do = offer.choices[number]
            do()

    def _on_timeout(self) -> None:
        self._information = ""
        self._timer.stop()
        self._show()

    def _show(self) -> None:
        shown = list(self._problems)[-_MOST_PROBLEMS:]
        more = len(self._problems) - len(shown)
        first = [self.tr("Earlier problems are in the log (Help > Show Log).")] if more else []
        offer = self._offered
        last = [self._information] if self._information else []
        lines = [*first, *shown, *last, *([offer.sentence] if offer is not None else [])]
        if not lines:
            self.hide()
            return
        self._label.setText("\n".join(lines))
        choices = offer.choices if offer is not None else ()
        for button, choice in itertools.zip_longest(self._buttons, choices):
            button.setVisible(choice is not None)
            if choice is not None and offer is not None:
                button.setText(choice[0])
                button.setToolTip(offer.sentence)
        self.setProperty("problem", bool(shown))
        self.style().unpolish(self)
        self.style().polish(self)
        self.show()
        self.raise_()
        self._place()

    def _place(self) -> None:
        area = self._area
        if area is not None:
            height = max(self.minimumSizeHint().height(), self.heightForWidth(area.width()))
            self.setGeometry(0, area.height() - height, area.width(), height)
