"""Creates the QApplication; where that is impossible, a sentence says why and the program ends, without Qt's abort."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from PySide6.QtCore import QEvent, QMessageLogContext, QtMsgType, Signal, qInstallMessageHandler
from PySide6.QtGui import QFileOpenEvent
from PySide6.QtWidgets import QApplication

from desktop import system_libraries


class Application(QApplication):
    """The application, which hears of files that macOS wants opened: it names none on the command line.

    Signals:
        file_wanted: carries the path of such a file.
    """

    file_wanted = Signal(object)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QFileOpenEvent) and event.file():
            self.file_wanted.emit(Path(event.file()))
            return True
        return super().event(event)


def create_application(name: str) -> Application:
    """The application. If there can be none, prints why and ends the process with status 1.

    Qt would abort the process, which leaves a core dump and a page about plug-ins. It calls the message handler before
    that, so the check costs nothing where all is well.

    Args:
        name: of the program's file, for the window manager.
    """
    said: list[str] = []

    def keep(kind: QtMsgType, _: QMessageLogContext, text: str) -> None:
        said.append(text)
        if kind is QtMsgType.QtFatalMsg:
            _write(_reason(said))
            os._exit(1)

    before = qInstallMessageHandler(keep)
    try:
        app = Application([name])
    finally:
        qInstallMessageHandler(before)
    for text in said:
        _write(text)
    return app


def _reason(said: list[str]) -> str:
    """Why there is no window.

    Args:
        said: Qt's messages.
    """
    libraries = system_libraries.complaint()
    if libraries:
        return libraries
    wanted = os.environ.get("QT_QPA_PLATFORM", "")
    displays = [os.environ[name] for name in ("WAYLAND_DISPLAY", "DISPLAY") if os.environ.get(name)]
    if displays and wanted.split(":")[0] in ("", "xcb", "wayland"):
        return f"The display {' or '.join(displays)} does not answer, so there is no window. Without one: lacuna --help"
    return "The window cannot be shown. Qt says:\n" + "\n".join(said)


def _write(text: str) -> None:
    # A program without a console has no stderr.
    if sys.stderr is not None:
        sys.stderr.write(f"{text.rstrip()}\n")
        sys.stderr.flush()
