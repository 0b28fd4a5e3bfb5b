"""Between the thread that runs a batch and the window: what the run tells, and how it is steered. No Qt here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.batch.rows import Outcome, Row
    from engine.batch.run import BatchRun

LOG = logging.getLogger("lacuna")

Shares = dict[int, tuple[float, str]]
"""Running scan -> the share of its work that is done, 0..1, and the name of the step."""


@dataclass(frozen=True)
class Told:
    """What a run has told since it was asked last.

    Attributes:
        changed: rows that changed.
        shares: of the running scans.
        notices: sentences about the run.
        paused: whether nothing works any more, because the run is held.
        watching: whether the run is over and folders are watched.
        came_to_end: whether the run came to its end, before folders are watched.
        ended: scans that were completed, with what became of them.
    """

    changed: frozenset[int]
    shares: Shares
    notices: tuple[str, ...]
    paused: bool
    watching: bool
    came_to_end: bool
    ended: tuple[tuple[Row, Outcome], ...]


class Feed:
    """What a run tells, kept until the window asks for it: a run may tell more than a window can show. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shares: Shares = {}
        self._changed: set[int] = set()
        self._notices: list[str] = []
        self._ended: list[tuple[Row, Outcome]] = []
        self._paused = self._watching = self._came_to_end = False

    def started(self, row: Row) -> None:
        """A scan is being worked on."""
        self.progress(row, 0.0, "")

    def progress(self, row: Row, share: float, step: str) -> None:
        """A share 0..1 of a scan's work is done."""
        with self._lock:
            self._shares[row.id] = share, step
            self._changed.add(row.id)
            self._paused = False

    def finished(self, row: Row, outcome: Outcome) -> None:
        """The work on a scan has ended. Writes a line to the log."""
        said = f": {outcome.reason}" if outcome.reason else ""
        LOG.info("batch: %s: %s (%.1f s)%s", outcome.state.value, row.path, outcome.seconds, said)
        with self._lock:
            self._shares.pop(row.id, None)
            self._changed.add(row.id)
            self._ended.append((row, outcome))

    def notice(self, sentence: str) -> None:
        """The run as a whole says something."""
        with self._lock:
            self._notices.append(sentence)

    def paused(self) -> None:
        """Nothing works any more, because the run is held."""
        with self._lock:
            self._paused = True

    def came_to_end(self, *, watching: bool) -> None:
        """The run came to its end; its folders are watched from now on, or not."""
        with self._lock:
            self._came_to_end, self._watching = True, watching

    def clear(self) -> None:
        """Nothing is being worked on any more."""
        with self._lock:
            self._changed |= set(self._shares)
            self._shares.clear()
            self._paused = self._watching = False

    def take(self) -> Told:
        """What was told since this was called last."""
        with self._lock:
            told = Told(
                frozenset(self._changed),
                dict(self._shares),
                tuple(self._notices),
                self._paused,
                self._watching,
                self._came_to_end,
                tuple(self._ended),
            )
            self._changed.clear()
            self._notices.clear()
            self._ended.clear()
            self._came_to_end = False
            return told


class RunHandle:
    """Steers the run on a lane from another thread. What is asked before the run exists is done when it does.

    Attributes:
        watch_ended: set while what comes into the folders is not wanted.
        folders: that are watched then -> what stands before the paths of their scans.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._run: BatchRun | None = None
        self._asked: dict[str, Callable[[BatchRun], object]] = {}
        self.folders: Mapping[Path, str] = {}
        self.watch_ended = threading.Event()
        self.watch_ended.set()

    @property
    def watching(self) -> bool:
        """Whether it is to go on with what comes into the folders."""
        return not self.watch_ended.is_set()

    def watch_also(self, folders: Mapping[Path, str]) -> None:
        """Watch these folders, too."""
        with self._lock:
            # Another one, because the thread of the run may be walking through this.
            self.folders = {**self.folders, **folders}

    def attach(self, run: BatchRun | None) -> None:
        """Steer this run from now on; None: there is none any more."""
        with self._lock:
            self._run = run
            if run is not None:
                for ask in self._asked.values():
                    ask(run)

    def stop(self, *, now: bool) -> None:
        """End it after its pictures, or ``now``; and do not watch its folders afterwards."""
        self.watch_ended.set()
        self._ask("stop now" if now else "stop", lambda run: run.stop(now=now))

    def hold(self, *, on: bool) -> None:
        """Pause it within one window of work, or let it go on."""
        self._ask("hold", lambda run: run.hold(on))

    def use_workers(self, count: int) -> None:
        """Work with so many processes."""
        self._ask("workers", lambda run: run.use_workers(count))

    def cancel(self, id_: int) -> None:
        """Break off one scan."""
        with self._lock:
            if self._run is not None:
                self._run.cancel(id_)

    def _ask(self, name: str, ask: Callable[[BatchRun], object]) -> None:
        with self._lock:
            self._asked[name] = ask
            if self._run is not None:
                ask(self._run)
