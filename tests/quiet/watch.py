"""Processes that are watched: what each connects to, looks up and writes, seen by ``watch.c``."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEEDS = (
    ""
    if platform.libc_ver()[0] == "glibc" and shutil.which("cc")
    else "watching needs Linux with glibc and a C compiler"
)
"""Why nothing can be watched here; "" where it can."""
_FOLDERS = {"HOME": "home", "TMPDIR": "tmp"} | {
    f"XDG_{kind}_HOME": kind.lower() for kind in ("CACHE", "CONFIG", "DATA", "STATE")
}


@dataclass(frozen=True)
class Seen:
    """What a watched process did.

    Attributes:
        status: its exit status.
        output: what it printed on both streams.
        events: kind (``connect``, ``look-up``, ``write``) and where to.
        files: what lies in its folders afterwards, relative to them.
    """

    status: int
    output: str
    events: frozenset[tuple[str, str]]
    files: frozenset[str]

    def foreign(self, own: list[Path]) -> set[tuple[str, str]]:
        """All connections and look-ups, and what was written outside some folders."""
        return {
            (kind, where)
            for kind, where in self.events
            if kind != "write" or not any(Path(where).is_relative_to(folder) for folder in [*own, Path(os.devnull)])
        }


class Watched:
    """A process in an environment of its own: no ``CI``, and a home, temporary and XDG folders in ``folder``.

    Args:
        words: the program and its arguments; it starts in ``folder / "work"``.
        folder: made here.
        environment: more variables.
    """

    def __init__(self, words: list[str], folder: Path, **environment: str) -> None:
        for name in ("work", *_FOLDERS.values()):
            (folder / name).mkdir(parents=True)
        self.folder = folder
        library = folder / "watch.so"
        source = Path(__file__).with_name("watch.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        watching = {"LD_PRELOAD": str(library), "WATCH_LOG": str(folder / "events"), "PYTHONDONTWRITEBYTECODE": "1"}
        passed = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        own = {name: str(folder / place) for name, place in _FOLDERS.items()}
        self._process = subprocess.Popen(
            words,
            cwd=folder / "work",
            env=passed | own | watching | {"LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait(self) -> Seen:
        """What it did, once it has ended."""
        output, _ = self._process.communicate(timeout=300)
        log = self.folder / "events"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        files = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file())
        return Seen(
            self._process.returncode,
            output,
            frozenset((kind, where) for kind, _, where in (line.partition("\t") for line in lines)),
            frozenset(path.as_posix() for path in files if len(path.parts) > 1),
        )

    def stop(self) -> None:
        """End it, if it still runs."""
        self._process.kill()
        self._process.communicate()


def python(*words: str) -> list[str]:
    """The words that start Python here."""
    return [sys.executable, *words]
