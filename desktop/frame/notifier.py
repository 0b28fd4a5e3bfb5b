"""The log, and the crash dialog for exceptions that nobody expected."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import QObject, Qt, QUrl, Signal, Slot
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QMessageBox

LOG = logging.getLogger("lacuna")


def start_log(folder: Path) -> Path:
    """Write the program's log to a rotating file in a folder; returns its path."""
    import logging.handlers

    path = folder / "lacuna.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # File names may have parts that are no text.
        handler = logging.handlers.RotatingFileHandler(
            path, maxBytes=1 << 20, backupCount=2, encoding="utf-8", errors="backslashreplace"
        )
    except OSError:
        # The program must also work if the home folder cannot be written.
        return path
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    # On a full disk the log has gaps, and nothing else is wrong.
    logging.raiseExceptions = False
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    return path


def show_log() -> bool:
    """Open the log in the system's viewer; False when there is no log or no viewer."""
    names = [str(handler.baseFilename) for handler in LOG.handlers if isinstance(handler, logging.FileHandler)]
    return bool(names) and QDesktopServices.openUrl(QUrl.fromLocalFile(names[0]))


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
