"""The log, and the crash dialog for exceptions that nobody expected."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import QObject, Qt, Signal, Slot
from PySide6.QtWidgets import QMessageBox

from desktop.crashes import CrashFolder, without_home
from desktop.panels.widgets import show_file

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
    return bool(names) and show_file(Path(names[0]))


class CrashReporter(QObject):
    """Handles unexpected exceptions of any thread: logs and reports them, saves the work, then shows the crash dialog.

    Args:
        save_work: called on the GUI thread; returns whether all work was saved.
        log_file: named in the dialog.
        folder: gets a report of each.

    Attributes:
        folder: of the reports.
        native: how many programs before this one were ended by a crash of native code.
    """

    _happened = Signal(str, str, object)

    def __init__(self, save_work: Callable[[], bool], log_file: Path, folder: CrashFolder) -> None:
        super().__init__()
        self._save_work, self._log_file, self.folder = save_work, log_file, folder
        self.native = 0
        self._open = False
        self._happened.connect(self._report, Qt.ConnectionType.QueuedConnection)

    def install(self) -> None:
        """Install the hooks for uncaught exceptions, and watch for crashes of native code."""
        sys.excepthook = self._on_exception
        threading.excepthook = lambda args: self._on_exception(
            args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
        )
        self.native = self.folder.watch_native()

    @Slot(object)
    def report(self, error: BaseException) -> None:
        """Report an exception that was caught. Any thread."""
        self._on_exception(type(error), error, error.__traceback__)

    def _on_exception(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        text = "".join(traceback.format_exception(kind, error, trace))
        LOG.error(text)
        report = None
        try:
            # At once, not on the GUI thread, which may not come to it any more.
            report = self.folder.write(text)
        except Exception:
            LOG.exception("the crash could not be reported")
        self._happened.emit(f"{kind.__name__}: {error}", text, report)

    @Slot(str, str, object)
    def _report(self, what: str, details: str, report: Path | None) -> None:
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
            show_crash(what, details, report or self._log_file, saved=saved)
        finally:
            self._open = False


def show_crash(what: str, details: str, report: Path, *, saved: bool) -> None:
    """Show the crash dialog, and wait until it is closed.

    Args:
        what: the exception in one line.
        details: the traceback.
        report: the report, or the log if there is none.
        saved: whether all work was saved.
    """
    box = QMessageBox()
    box.setIcon(QMessageBox.Icon.Critical)
    box.setWindowTitle("Lacuna")
    trouble = box.tr("Something went wrong that should not.")
    safe = box.tr("Your work was saved, and will be offered at the next start if this one ends badly.")
    box.setText(f"{trouble} {safe if saved else box.tr('Please save your work now.')}")
    where = box.tr("The report is {0}. It stays on this computer; Help > Crash Reports shows it.")
    box.setInformativeText(f"{what}\n\n{where.format(without_home(str(report)))}")
    box.setDetailedText(details)
    box.exec()
