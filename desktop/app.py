"""The composition root: settings, models, job centre, notifier and window. Nobody else wires."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from desktop.settings import SettingsStore
from desktop.shell import Shell
from desktop.theme import apply_theme
from engine.errors import EngineError

if TYPE_CHECKING:
    from desktop.files import Files
    from desktop.jobs import JobCentre
    from desktop.notify import CrashReporter
    from desktop.window import Window
    from engine.runtime.cards import ModelCard, Registry


class Program:
    """The running program: made once, on the GUI thread. The shell is there at once, the rest after ``start``.

    Args:
        state: folder for sessions and the log; None = the user's own.
        store: settings; None = the user's own.
        registry: models; None = those that ship and the user's own.
    """

    jobs: JobCentre
    registry: Registry
    files: Files
    window: Window
    crashes: CrashReporter

    def __init__(
        self, state: Path | None = None, store: SettingsStore | None = None, registry: Registry | None = None
    ) -> None:
        self._state = state
        self.store = store or SettingsStore()
        self._wanted_registry = registry
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        apply_theme(app, self.store.settings.look.theme)
        self.shell = Shell(self.store)
        self.furnished = False

    def start(self, paths: list[Path], *, catch: bool = False) -> None:
        """Show the shell, then furnish it, offer autosaved work and open files.

        Args:
            paths: to open.
            catch: become the hook for uncaught exceptions.
        """

        def later() -> None:
            self._furnish(catch=catch)
            self.window.task.load()
            self._offer_recovery()
            self.window.open_paths(paths)

        # Once it is on the screen, and not before.
        self.shell.painted.connect(lambda: QTimer.singleShot(0, self.shell, later))
        self.shell.show()

    def save_all(self) -> bool:
        """Autosave every photograph on this thread: something went wrong. False when one could not be saved."""
        safe = True
        for view in self.window.views() if self.furnished else []:
            if view.workspace is not None and view.workspace.unsaved:
                try:
                    view.workspace.keeper.save_at_once()
                except EngineError as error:
                    self.window.strip.warn(error)
                    safe = False
        return safe

    def stop(self) -> None:
        """End the threads and tidy up. Safe more than once."""
        if self.furnished:
            self.furnished = False
            self.jobs.stop()
            self.files.shut_down()

    def _furnish(self, *, catch: bool) -> None:
        from desktop.files import Files
        from desktop.jobs import JobCentre
        from desktop.notify import CrashReporter, start_log
        from desktop.window import Window
        from engine.runtime.cards import Registry

        if self._state is None:
            import platformdirs

            self._state = Path(platformdirs.user_state_dir("lacuna", appauthor=False))
        self.crashes = CrashReporter(self.save_all, start_log(self._state))
        if catch:
            self.crashes.install()
        self.jobs = JobCentre()
        self.jobs.crashed.connect(self.crashes.report)
        self.registry = self._wanted_registry or Registry(check=_check_card)
        self.files = Files(self.jobs, self.registry, self._state / "sessions")
        self.window = Window(self.shell, self.store, self.jobs, self.files, self.registry, self._monitor_profile)
        self.shell.closed.connect(self.stop)
        self.furnished = True

    def _offer_recovery(self) -> None:
        from desktop.dialogs.recover import RecoverDialog, Recovery

        abandoned = self.files.abandoned()
        if not abandoned:
            return
        answers = RecoverDialog.ask(self.shell, abandoned)
        for folder, source in abandoned.items():
            answer = answers.get(folder, Recovery.LATER)
            if answer is Recovery.OPEN:
                self.files.recover(folder, source)
            elif answer is Recovery.FORGET:
                self.files.forget(folder)
            else:
                self.files.leave(folder)

    def _monitor_profile(self) -> bytes | None:
        """The ICC file of the settings, else the system's profile where it can be read, else None (sRGB)."""
        from engine import colour

        chosen = self.store.settings.look.monitor
        if not chosen:
            return colour.system_monitor_profile()
        try:
            return Path(chosen).read_bytes()
        except OSError as error:
            self.window.strip.warn(f"The monitor profile {chosen} cannot be read: {error.strerror}.")
            return None


def _check_card(card: ModelCard) -> None:
    """Refuse a model that could never run; what knows that is loaded later than the window."""
    from engine.tasks import check_card

    check_card(card)


def run(arguments: list[str]) -> int:
    """Run the desktop application until its window is closed."""
    app = QApplication(sys.argv[:1])
    app.setApplicationName("lacuna")
    app.setApplicationDisplayName("Lacuna")
    app.setDesktopFileName("lacuna")
    program = Program()
    program.start([Path(name).resolve() for name in arguments], catch=True)
    code = app.exec()
    program.stop()
    return code
