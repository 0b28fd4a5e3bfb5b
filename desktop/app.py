"""The composition root: settings, models, job centre, notifier and window. Nobody else wires."""

from __future__ import annotations

import sys
from pathlib import Path

import platformdirs
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from desktop.dialogs.questions import Questions
from desktop.files import Files
from desktop.jobs import JobCentre
from desktop.notify import CrashReporter, start_log
from desktop.settings import SettingsStore
from desktop.window import Window
from engine import colour
from engine.runtime.cards import Registry


class Program:
    """The running program: made once, on the GUI thread.

    Args:
        state: folder for sessions and the log; None = the user's own.
        store: settings; None = the user's own.
        registry: models; None = those that ship and the user's own.
    """

    def __init__(
        self, state: Path | None = None, store: SettingsStore | None = None, registry: Registry | None = None
    ) -> None:
        state = state or Path(platformdirs.user_state_dir("lacuna", appauthor=False))
        self.store = store or SettingsStore()
        self.log_file = start_log(state)
        self.jobs = JobCentre()
        self.registry = registry or Registry()
        self.files = Files(self.jobs, self.registry, state / "sessions")
        self.window = Window(self.store, self.jobs, self.files, self.registry, self._monitor_profile)
        self.crashes = CrashReporter(self.save_all, self.log_file)
        self.jobs.crashed.connect(self.crashes.report)
        self.window.closed.connect(self.stop)
        self._running = True

    def start(self, paths: list[Path]) -> None:
        """Show the window, then read the models, offer autosaved work and open files."""
        self.window.show()

        def later() -> None:
            self.window.task.load()
            self._offer_recovery()
            self.window.open_paths(paths)

        QTimer.singleShot(0, self.window, later)

    def save_all(self) -> None:
        """Autosave every photograph: something went wrong."""
        for view in self.window.views():
            if view.workspace is not None:
                view.workspace.autosave()

    def stop(self) -> None:
        """End the threads and tidy up. Safe more than once."""
        if self._running:
            self._running = False
            self.jobs.stop()
            self.files.shut_down()

    def _offer_recovery(self) -> None:
        abandoned = self.files.abandoned()
        if not abandoned:
            return
        if Questions.recover(self.window, [str(source) for source in abandoned.values()]):
            for folder in abandoned:
                self.files.recover(folder)
        else:
            for folder in abandoned:
                self.files.forget(folder)

    def _monitor_profile(self) -> bytes | None:
        """The ICC file of the settings, else the system's profile where it can be read, else None (sRGB)."""
        chosen = self.store.settings.look.monitor
        if chosen:
            try:
                return Path(chosen).read_bytes()
            except OSError as error:
                self.window.strip.warn(f"The monitor profile {chosen} cannot be read: {error.strerror}.")
                return None
        return colour.system_monitor_profile()


def run(arguments: list[str]) -> int:
    """Run the desktop application until its window is closed."""
    app = QApplication(sys.argv[:1])
    app.setApplicationName("lacuna")
    app.setApplicationDisplayName("Lacuna")
    app.setDesktopFileName("lacuna")
    program = Program()
    program.crashes.install()
    program.start([Path(name).resolve() for name in arguments])
    code = app.exec()
    program.stop()
    return code
