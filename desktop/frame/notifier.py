"""Reports to the user: the message strip for messages and expected failures, the crash dialog for everything else."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, QUrl, Signal, Slot
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QHBoxLayout, QLabel, QMessageBox, QPushButton, QToolButton, QWidget

from desktop.language import sentence_of
from engine.errors import EngineError

LOG = logging.getLogger("lacuna")
_INFORMATION_SECONDS = 8
_SEEN_SECONDS = 5
"""A problem that was shown this long counts as read when the user continues working."""
_MOST_PROBLEMS = 3


def start_log(folder: Path) -> Path:
    """Write the program's log to a rotating file in a folder; returns its path."""
    import logging.handlers

    path = folder / "lacuna.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(path, maxBytes=1 << 20, backupCount=2, encoding="utf-8")
    except OSError:
        # The program must also work if the home folder cannot be written.
        return path
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    return path


def show_log() -> bool:
    """Open the log in the system's viewer; False when there is no log or no viewer."""
    names = [str(handler.baseFilename) for handler in LOG.handlers if isinstance(handler, logging.FileHandler)]
    return bool(names) and QDesktopServices.openUrl(QUrl.fromLocalFile(names[0]))


@dataclass(frozen=True)
class _Offer:
    sentence: str
    verb: str
    do: Callable[[], object]


class MessageStrip(QWidget):
    """Messages in a strip over the lower edge of the picture. Hidden when there are none; does not affect the layout.

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
        self._offer = QPushButton()
        self._offer.clicked.connect(self._on_offer)
        self._offers: dict[Hashable, _Offer] = {}
        self._subject: Hashable | None = None
        self._problems: dict[str, float] = {}
        self._information = ""
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 4, 4, 4)
        layout.addWidget(self._label, 1)
        layout.addWidget(self._offer)
        layout.addWidget(self._close, 0, Qt.AlignmentFlag.AlignTop)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._on_timeout)
        self.hide()

    @property
    def text(self) -> str:
        """The text that is shown; empty when hidden."""
        return self._label.text() if not self.isHidden() else ""

    def attach_to(self, area: QWidget) -> None:
        """Place the strip over the lower edge of a widget."""
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

    def offer(self, sentence: str, verb: str, do: Callable[[], object], of: Hashable) -> None:
        """Show a message with a button until it is pressed or closed, or another information takes its place.

        Args:
            sentence: the message.
            verb: text of the button.
            do: called when it is pressed.
            of: the photograph that it is about; the message is shown while that photograph is.
        """
        self._offers[of] = _Offer(sentence, verb, do)
        if of is self._subject:
            self._information = ""
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
        """The button of an offer; None when there is none."""
        return self._offer if self._offered is not None and not self.isHidden() else None

    @property
    def _offered(self) -> _Offer | None:
        return self._offers.get(self._subject)

    def _drop_offer(self) -> None:
        self._offers.pop(self._subject, None)

    def warn(self, error: EngineError | str) -> None:
        """Show a problem until it is closed, or until it was read and the user continues. Also logs it."""
        sentence = sentence_of(error) if isinstance(error, EngineError) else error
        LOG.info(sentence)
        self._problems.pop(sentence, None)
        self._problems[sentence] = time.monotonic()
        self._show()

    def dismiss_read(self) -> None:
        """Remove the problems that were shown for some seconds. Called when the user works on the picture."""
        now = time.monotonic()
        self._problems = {line: since for line, since in self._problems.items() if now - since < _SEEN_SECONDS}
        self._show()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize and not self.isHidden():
            self._place()
        return super().eventFilter(watched, event)

    def _clear(self) -> None:
        self._problems.clear()
        self._drop_offer()
        self._on_timeout()

    def _on_offer(self) -> None:
        offer = self._offered
        self._drop_offer()
        self._on_timeout()
        if offer is not None:
            offer.do()

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
        self._offer.setVisible(offer is not None)
        if offer is not None:
            self._offer.setText(offer.verb)
            self._offer.setToolTip(offer.sentence)
        self.setProperty("problem", bool(shown))
        self.style().unpolish(self)
        self.style().polish(self)
        self.show()
        self.raise_()
        self._place()

    def _place(self) -> None:
        area = self.parentWidget()
        if area is not None:
            height = max(self.minimumSizeHint().height(), self.heightForWidth(area.width()))
            self.setGeometry(0, area.height() - height, area.width(), height)


class CrashReporter(QObject):
    """Handles unexpected exceptions of any thread: logs them, saves the work, then shows the crash dialog.

    Args:
        save_work: called first, on the GUI thread; returns whether all work was saved.
        log_file: named in the dialog.
    """

    _happened = Signal(str, str)

    def __init__(self, save_work: Callable[[], bool], log_file: Path) -> None:
        super().__init__()
        self._save_work, self._log_file = save_work, log_file
        self._open = False
        self._happened.connect(self._report, Qt.ConnectionType.QueuedConnection)

    def install(self) -> None:
        """Install the hooks for uncaught exceptions."""
        sys.excepthook = self._on_exception
        threading.excepthook = lambda args: self._on_exception(
            args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
        )

    @Slot(object)
    def report(self, error: BaseException) -> None:
        """Report an exception that was caught. Any thread."""
        self._on_exception(type(error), error, error.__traceback__)

    def _on_exception(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        text = "".join(traceback.format_exception(kind, error, trace))
        LOG.error(text)
        self._happened.emit(f"{kind.__name__}: {error}", text)

    @Slot(str, str)
    def _report(self, what: str, details: str) -> None:
        try:
            saved = self._save_work()
        except Exception:
            # Saving failed too: that is logged, and the first exception is still shown.
            LOG.exception("the work could not be saved")
            saved = False
        if self._open:
            return
        self._open = True
        try:
            show_crash(what, details, self._log_file, saved=saved)
        finally:
            self._open = False


def show_crash(what: str, details: str, log_file: Path, *, saved: bool) -> None:
    """Show the crash dialog, and wait until it is closed.

    Args:
        what: the exception in one line.
        details: the traceback.
        log_file: the log.
        saved: whether all work was saved.
    """
    box = QMessageBox()
    box.setIcon(QMessageBox.Icon.Critical)
    box.setWindowTitle("Lacuna")
    trouble = box.tr("Something went wrong that should not.")
    safe = box.tr("Your work was saved, and will be offered at the next start if this one ends badly.")
    box.setText(f"{trouble} {safe if saved else box.tr('Please save your work now.')}")
    box.setInformativeText(f"{what}\n\n{box.tr('The log is at')} {log_file}")
    box.setDetailedText(details)
    box.exec()
