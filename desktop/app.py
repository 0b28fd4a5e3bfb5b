"""The composition root: settings, models, job centre, notifier and window. Nobody else wires."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QSocketNotifier, QTimer
from PySide6.QtWidgets import QApplication

from desktop.frame.commands import ACTIONS
from desktop.frame.main_window import MainWindow
from desktop.frame.menus import Menus
from desktop.settings import SettingsStore
from desktop.theme import apply_theme
from engine.errors import EngineError

if TYPE_CHECKING:
    from desktop.frame.contents import Contents
    from desktop.frame.notifier import CrashReporter
    from desktop.photo.files import Files
    from desktop.work.threads import JobCentre
    from engine.runtime.cards import ModelCard, Registry

_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals by which a system or a terminal asks a program to end."""


class Program:
    """The running program, made once, on the GUI thread. The main window is up at once, its contents after ``start``.

    Args:
        state: folder for autosaved work and the log; None = the user's own.
        store: settings; None = the user's own.
        registry: models; None = those that ship and the user's own.

    Attributes:
        window, menus: there at once.
        jobs, registry, files, contents, crashes: there once it is ``furnished``.
    """

    jobs: JobCentre
    registry: Registry
    files: Files
    contents: Contents
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
        self.window = MainWindow(self.store)
        self.menus = Menus(self.window, ACTIONS, self.store.settings.shortcuts)
        self.furnished = False

    def start(self, paths: list[Path], *, catch: bool = False) -> None:
        """Show the window, then furnish it, offer autosaved work and open files.

        Args:
            paths: to open.
            catch: become the hook for uncaught exceptions.
        """

        def later() -> None:
            from desktop.frame.recovery import offer_recovery

            self._furnish(catch=catch)
            self.contents.task.load()
            offer_recovery(self.window, self.files)
            self.contents.photos.open(paths)

        # Once it is on the screen, and not before.
        self.window.painted.connect(lambda: QTimer.singleShot(0, self.window, later))
        self.window.show()

    def save_all(self) -> bool:
        """Autosave every photograph on this thread: something went wrong. False when one could not be saved."""
        safe = True
        for view in self.contents.photos.views() if self.furnished else []:
            if view.workspace is not None and view.workspace.unsaved:
                try:
                    view.workspace.autosave.save_at_once()
                except EngineError as error:
                    self.contents.strip.warn(error)
                    safe = False
        return safe

    def stop(self) -> None:
        """End the threads and tidy up. Safe more than once. What is still open keeps its autosaved work."""
        if self.furnished:
            self.furnished = False
            for view in self.contents.photos.views():
                if view.workspace is not None:
                    view.workspace.close()
            self.jobs.stop()
            self.files.shut_down()

    def _furnish(self, *, catch: bool) -> None:
        from desktop.frame.contents import Contents
        from desktop.frame.notifier import CrashReporter, start_log
        from desktop.photo.files import Files
        from desktop.work.threads import JobCentre
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
        self.files = Files(self.jobs, self.registry, self._state)
        self.contents = Contents(
            self.window, self.menus, self.store, self.jobs, self.files, self.registry, self._monitor_profile
        )
        self.window.closed.connect(self.stop)
        self.furnished = True

    def _monitor_profile(self) -> bytes | None:
        """The ICC file of the settings, else the system's profile where it can be read, else None (sRGB)."""
        from engine import colour, imageio

        chosen = self.store.settings.look.monitor
        if not chosen:
            return colour.system_monitor_profile()
        try:
            profile = imageio.read_plain(Path(chosen), colour.LARGEST_PROFILE)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            self.contents.strip.warn(f"The monitor profile {chosen} cannot be read: {reason}.")
            return None
        if colour.fits(profile, 3):
            return profile
        # It would fail at every repaint.
        self.contents.strip.warn(f"{chosen} is not an ICC profile for RGB pictures, so the screen is taken for sRGB.")
        return None


def _check_card(card: ModelCard) -> None:
    """Refuse a model that could never run; what knows that is loaded later than the window."""
    from engine.tasks import check_card

    check_card(card)


class SignalWatch(QObject):
    """Ends the program when the system or a terminal asks it to: work is autosaved, and nothing is asked.

    Args:
        program: what ends.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self._program = program
        # Python runs handlers between its own steps, of which there are none while Qt waits: a byte wakes Qt.
        self._read, self._write = os.pipe()
        for end in (self._read, self._write):
            os.set_blocking(end, False)
        # What was ignored when the program started, by nohup for instance, stays ignored.
        heard = [number for number in _ENDING if signal.getsignal(number) not in (signal.SIG_IGN, None)]
        self._before = {number: signal.signal(number, lambda *_: None) for number in heard}
        signal.set_wakeup_fd(self._write)
        self._notifier = QSocketNotifier(self._read, QSocketNotifier.Type.Read, self)
        self._notifier.activated.connect(self._on_signal)

    def _on_signal(self) -> None:
        self._notifier.setEnabled(False)
        self._program.save_all()
        QApplication.exit(1)

    def stop(self) -> None:
        """Let signals do what they did before."""
        self._notifier.setEnabled(False)
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for end in (self._read, self._write):
            os.close(end)


def run(arguments: list[str]) -> int:
    """Run the desktop application until its window is closed, or a signal ends it."""
    app = QApplication(sys.argv[:1])
    app.setApplicationName("lacuna")
    app.setApplicationDisplayName("Lacuna")
    app.setDesktopFileName("lacuna")
    program = Program()
    # Windows knows no such signals, but for the one that its consoles send.
    watch = SignalWatch(program) if os.name == "posix" else None
    program.start([Path(name).resolve() for name in arguments], catch=True)
    code = app.exec()
    program.stop()
    if watch is not None:
        watch.stop()
    return code
