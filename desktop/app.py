"""The composition root: creates settings, models, job centre, crash reporter and window, and connects them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QSocketNotifier, Qt, QTimer
from PySide6.QtWidgets import QApplication

from desktop.display import create_application
from desktop.frame.commands import ACTIONS
from desktop.frame.main_window import MainWindow
from desktop.frame.menus import Menus
from desktop.instance import Instance
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
"""Signals with which a system or a terminal asks a program to end."""


class Program:
    """The running program. Created once, on the GUI thread.

    The constructor creates only the empty main window, so that it is shown quickly; ``start`` does the rest.

    Args:
        state: folder for all that the program writes by itself; None = the user's folders.
        store: settings; None = the user's.
        registry: models; None = those that ship and the user's.

    Attributes:
        ready: whether everything was created.
        stuck: whether a thread waits for a drive that does not answer, after ``stop``.
        store: settings.
        window, menus: of the program.
        jobs, registry, files, contents, crashes: exist only when it is ``ready``.
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
        self.ready = self.stuck = False
        self._early: list[Path] | None = []

    def start(self, paths: list[Path], *, catch: bool = False) -> None:
        """Show the window, then create its contents, offer autosaved work and open files.

        Args:
            paths: files to open.
            catch: install the hook for uncaught exceptions.
        """

        def later() -> None:
            from desktop.frame.recovery import offer_recovery

            self._build(catch=catch)
            self.contents.task.load()
            # Before the question about autosaved work, behind which the page with recent files is seen.
            self.contents.begin()
            offer_recovery(self.window, self.files)
            early, self._early = self._early or [], None
            self.contents.photos.open([*paths, *early])

        # After the first paint, so that the window appears without delay.
        self.window.painted.connect(lambda: QTimer.singleShot(0, self.window, later))
        self.window.show()

    def open_more(self, paths: list[Path], token: str = "") -> None:
        """Bring the window to the front and open files, because the program was started once more.

        Args:
            paths: the files; those that come while the program starts are opened when it has.
            token: of XDG activation, with which Wayland lets a window come to the front; may be empty.
        """
        if token:
            # There is no call for it: Qt looks here when a window is activated, and then deletes it.
            os.environ["XDG_ACTIVATION_TOKEN"] = token
        self.window.setWindowState(self.window.windowState() & ~Qt.WindowState.WindowMinimized)
        for window in (self.window, QApplication.activeModalWidget()):
            if window is not None:
                window.show()
                window.raise_()
                window.activateWindow()
        os.environ.pop("XDG_ACTIVATION_TOKEN", None)
        if self._early is not None:
            self._early += paths
        elif self.ready and paths:
            self.contents.photos.open(paths)

    def save_all(self) -> bool:
        """Autosave all photographs synchronously, because something went wrong; False when one could not be saved."""
        safe = True
        for view in self.contents.photos.views() if self.ready else []:
            if view.workspace is not None and view.workspace.unsaved:
                try:
                    view.workspace.autosave.save_at_once()
                except EngineError as error:
                    self.contents.strip.warn(error)
                    safe = False
        if self.ready:
            self.contents.reviewing.flush()
        return safe

    def stop(self) -> None:
        """End the threads and delete autosave folders of closed photographs; those still open keep theirs.

        Can be called more than once.
        """
        if self.ready:
            self.ready = False
            for view in self.contents.photos.views():
                if view.workspace is not None:
                    view.workspace.close()
            self.stuck = not self.jobs.stop()
            self.contents.batches.stop()
            self.files.shut_down()
            self.crashes.folder.stop()

    def _build(self, *, catch: bool) -> None:
        from desktop.crashes import CrashFolder
        from desktop.frame.contents import Contents
        from desktop.frame.notifier import CrashReporter, start_log
        from desktop.photo.files import Files
        from desktop.work.threads import JobCentre
        from engine.runtime.cards import Registry

        batch_folder = cache = self._state
        if self._state is None:
            import platformdirs

            cache = Path(platformdirs.user_cache_dir("lacuna", appauthor=False))
            self._state = Path(platformdirs.user_state_dir("lacuna", appauthor=False))
            batch_folder = Path(platformdirs.user_data_dir("lacuna", appauthor=False))
        reports = CrashFolder(self._state / "crashes", lambda: self.store.settings.repair.device)
        self.crashes = CrashReporter(self.save_all, start_log(self._state), reports)
        if catch:
            self.crashes.install()
        self.jobs = JobCentre()
        self.jobs.crashed.connect(self.crashes.report)
        self.registry = self._wanted_registry or Registry(check=_check_card)
        self.files = Files(self.jobs, self.registry, self._state)
        self.contents = Contents(
            self.window,
            self.menus,
            self.store,
            self.jobs,
            self.files,
            self.registry,
            self._monitor_profile,
            (batch_folder or self._state) / "batch",
            cache or self._state,
            self.crashes,
        )
        self.window.closed.connect(self.stop)
        self.store.report_to(self.contents.strip.warn)
        self.ready = True

    def _monitor_profile(self) -> bytes | None:
        """The ICC profile of the settings, otherwise that of the system if it can be read, otherwise None (sRGB)."""
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
    """Refuse a model that cannot run. Imports the tasks late, because the window is shown first."""
    from engine.tasks import check_card

    check_card(card)


class SignalWatch(QObject):
    """Ends the program on SIGINT, SIGTERM and SIGHUP: autosaves all work, without questions.

    Args:
        program: to end.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self._program = program
        # Python runs signal handlers only between bytecodes, so not while Qt waits for events. The wakeup file
        # descriptor gets a byte at each signal, and a notifier wakes Qt.
        self._read, self._write = os.pipe()
        for end in (self._read, self._write):
            os.set_blocking(end, False)
        # Signals that were ignored at the start (by nohup, for example) stay ignored.
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
        """Restore the previous signal handlers."""
        self._notifier.setEnabled(False)
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for end in (self._read, self._write):
            os.close(end)


def run(arguments: list[str]) -> int:
    """Run the desktop application until its window is closed or a signal ends it.

    Args:
        arguments: paths of files to open.

    Returns:
        The exit status.
    """
    app = create_application(sys.argv[0])
    app.setApplicationName("lacuna")
    app.setApplicationDisplayName("Lacuna")
    app.setDesktopFileName("lacuna")
    paths = [Path(name).resolve() for name in arguments]
    store = SettingsStore()
    instance = Instance(store.file.parent)
    if instance.give(paths):
        return 0
    program = Program(store=store)
    # Windows has only SIGINT of these, from consoles.
    watch = SignalWatch(program) if os.name == "posix" else None
    instance.asked.connect(program.open_more)
    app.file_wanted.connect(lambda path: program.open_more([path]))
    program.window.painted.connect(lambda: QTimer.singleShot(0, instance, instance.listen))
    program.window.closed.connect(instance.stop)
    program.start(paths, catch=True)
    code = app.exec()
    instance.stop()
    program.stop()
    if watch is not None:
        watch.stop()
    if program.stuck:
        # All work is saved. Waiting could take minutes, in a program that nobody sees any more.
        os._exit(code)
    return code
