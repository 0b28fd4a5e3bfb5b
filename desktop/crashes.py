"""Reports of crashes, as text files in a folder of this machine. They are sent nowhere."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine import __version__
from engine.errors import EngineError
from engine.resources import build, is_frozen, package_version

LOG = logging.getLogger("lacuna")
MOST = 20
"""Reports that are kept; the oldest are deleted."""
LARGEST = 1 << 20
"""Bytes of a report that are read."""
_PREFIX, _RUNNING, _SUFFIX = "crash-", "running-", ".txt"
_DUMP = "The program ended by itself. What its threads were doing:"
"""The last line of the head of a running program's file; what follows it was written by ``faulthandler``."""


@dataclass(frozen=True)
class Report:
    """A report: its file, and when it was written, in seconds since 1970."""

    path: Path
    when: float


def versions() -> dict[str, str]:
    """What the program is and is built with, name -> version; without what is not known."""
    import PySide6.QtCore

    made = build()
    own = f"{__version__} ({made.commit}, {made.date})" if made is not None else __version__
    found = {"Lacuna": own, "Python": platform.python_version(), "Qt": PySide6.QtCore.qVersion()}
    found["onnxruntime"] = package_version("onnxruntime-gpu", "onnxruntime")
    found["NumPy"] = package_version("numpy")
    found["OpenCV"] = package_version("opencv-contrib-python-headless", "opencv-python-headless")
    return {title: version for title, version in found.items() if version}


def without_home(text: str) -> str:
    """A text in which the path of the home folder is ``~``: it often holds a person's name."""
    try:
        home = str(Path.home())
    except RuntimeError:
        return text
    if len(home) < 2:
        return text
    # Python writes backslashes twice where it quotes a path.
    return text.replace(home.replace("\\", "\\\\"), "~").replace(home, "~")


class CrashFolder:
    """The folder of the reports. Any thread.

    Args:
        folder: made when the first report is written, or when native crashes are watched.
        device: returns on which device models are to run, for the reports.
    """

    def __init__(self, folder: Path, device: Callable[[], str] = lambda: "") -> None:
        self.folder, self._device = folder, device
        self._lock = threading.Lock()
        self._written: dict[str, Path] = {}
        self._running: BinaryIO | None = None

    def write(self, trace: str) -> Path | None:
        """Write a report about an exception.

        Args:
            trace: its traceback.

        Returns:
            The file; that of the first one, if this exception was reported already since the start. None when it
            cannot be written: then only the log has it.
        """
        with self._lock:
            if trace not in self._written:
                path = self._put(f"{self._head('Happened')}\n{_used()}\n{trace}", time.time())
                if path is None:
                    return None
                self._written[trace] = path
            return self._written[trace]

    def reports(self) -> list[Report]:
        """All reports, latest first."""
        found = []
        for path in self._files(_PREFIX):
            with contextlib.suppress(OSError):
                found.append(Report(path, path.stat().st_mtime))
        return sorted(found, key=lambda report: (report.when, report.path.name), reverse=True)

    def _files(self, prefix: str) -> list[Path]:
        try:
            return list(self.folder.glob(f"{prefix}*{_SUFFIX}"))
        except OSError:
            # A folder above may not be read.
            return []

    def _put(self, text: str, when: float) -> Path | None:
        """Write a report of what happened at a time, seconds since 1970; None if that is impossible."""
        from engine.imageio import atomic_write_bytes

        stem = self.folder / f"{_PREFIX}{time.strftime('%Y-%m-%d-%H%M%S', time.localtime(when))}"
        taken = (stem.with_name(f"{stem.name}-{number}{_SUFFIX}") for number in range(2, 1000))
        try:
            path = next(path for path in (stem.with_name(stem.name + _SUFFIX), *taken) if not path.exists())
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic_write_bytes(path, without_home(text).encode(errors="replace"))
            os.utime(path, (when, when))
        except (OSError, EngineError):
            LOG.info("The report of a crash cannot be written to %s.", self.folder)
            return None
        for report in self.reports()[MOST:]:
            with contextlib.suppress(OSError):
                report.path.unlink()
        return path

    def _head(self, word: str) -> str:
        """What the program is, below a word and the time."""
        lines = [f"{name} {version}" for name, version in versions().items()]
        frozen = "installed" if is_frozen() else "from Python"
        lines.append(f"{platform.platform()}, {os.cpu_count()} cores, {frozen}")
        lines.append(f"Device that was chosen at that time: {self._device() or 'not known'}")
        return "\n".join([f"{word}: {_told(time.time())}", *lines, ""])

    # -- crashes of native code -------------------------------------------------------------------------------

    def watch_native(self) -> int:
        """Have Python write down what its threads do if native code crashes. Main thread, once.

        Returns:
            How many programs before this one ended in that way; each has a report now.
        """
        crashed = self._collect()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._running = (self.folder / f"{_RUNNING}{os.getpid()}{_SUFFIX}").open("w+b", buffering=0)
            self._running.write(f"{self._head('Started')}\n{_DUMP}\n".encode(errors="replace"))
        except OSError:
            # The folder cannot be written: crashes of native code leave no trace then.
            return crashed
        faulthandler.enable(self._running)
        return crashed

    def stop(self) -> None:
        """The program ends as it should. Can be called more than once."""
        running, self._running = self._running, None
        if running is not None:
            faulthandler.disable()
            running.close()
            with contextlib.suppress(OSError):
                Path(running.name).unlink()

    def _collect(self) -> int:
        """Make reports of what programs left that do not run any more; returns their number."""
        crashed = 0
        for path in sorted(self._files(_RUNNING)):
            if _runs(path.stem.removeprefix(_RUNNING)):
                continue
            text = read_report(path)
            # Without anything below the head the program was killed, or the power failed.
            dumped = bool(text.partition(_DUMP)[2].strip())
            with contextlib.suppress(OSError):
                when = path.stat().st_mtime
                if dumped and self._put(f"Crashed: {_told(when)}\n{text}", when) is None:
                    continue
                crashed += dumped
                path.unlink()
        return crashed


def _told(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def _used() -> str:
    """Where the models that are loaded run, as a line."""
    from engine.runtime.session import SESSIONS

    used = ", ".join(device.value for device in SESSIONS.devices)
    return f"Loaded models run on: {used}\n" if used else ""


def _runs(number: str) -> bool:
    """Whether there is another process with this number."""
    import psutil

    # Longer ones are no process's: psutil refuses them.
    process = int(number) if number.isdecimal() and len(number) < 10 else 0
    return process not in (0, os.getpid()) and psutil.pid_exists(process)


def read_report(path: Path) -> str:
    """The text of a report; empty if it cannot be read."""
    from engine.imageio import read_plain

    try:
        return read_plain(path, LARGEST).decode(errors="replace")
    except OSError:
        return ""
