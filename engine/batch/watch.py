"""Watching folders: scans that come while a batch runs, or long after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from engine.batch.gather import Scan
from engine.errors import ReadError, WriteError

if TYPE_CHECKING:
    from engine.batch import Batch
    from engine.batch.run import BatchRun

SETTLE = 10.0
"""Seconds for which a file must have kept its size and time before it is taken: a scanner or a copy may still write."""
POLL = 2.0
"""Seconds between two looks at the folders."""

REPORT = 60.0
"""Seconds between two reports: of hundreds of thousands of scans it takes a while to write one."""
_PASSING = ("batch.gone", "write.full")
"""Codes of errors of writing that a watch outlives: the output folder is gone, or its disk is full."""


class Settled:
    """Tells which scans are no longer being written.

    Args:
        settle: seconds for which a file must have been still.
    """

    def __init__(self, settle: float = SETTLE) -> None:
        self._settle = settle
        self._seen: dict[Path, tuple[int, int, float]] = {}

    def __call__(self, scan: Scan) -> bool:
        """Whether a scan has been still for long enough, as far as it has been looked at."""
        now = time.monotonic()
        size, modified, since = self._seen.get(scan.path, (-1, 0, now))
        if (size, modified) != (scan.size, scan.modified):
            # A file that is old by its own time need not be waited for; a clock that was set back only costs the wait.
            old = time.time() - scan.modified / 1e9 >= self._settle and size < 0
            since = now - self._settle if old else now
            self._seen[scan.path] = (scan.size, scan.modified, since)
        return now - since >= self._settle


def watch(
    batch: Batch,
    new_run: Callable[[], BatchRun],
    ending: threading.Event,
    say: Callable[[str], None],
    poll: float = POLL,
    folders: Callable[[], Mapping[Path, str]] | None = None,
) -> bool:
    """Do all scans of a batch's folders, and then those that come, until ``ending`` is set.

    Args:
        batch: opened with a ``Settled``.
        new_run: makes a run of it.
        ending: ends it between two runs; to end a run as well, stop that.
        say: is told when a folder is gone, or a disk is full.
        poll: seconds between two looks at the folders.
        folders: returns the folders to look at, as ``Batch.names``; None = always the batch's inputs.

    Returns:
        Whether scans were done that no report tells of yet.

    Raises:
        DeviceError, WriteError: see ``BatchRun.run``.
    """
    told, due, written = False, False, -REPORT
    while not ending.is_set():
        if batch.table.pending()[1]:
            due = True
            new_run().run()
        if due and not ending.is_set() and time.monotonic() - written >= REPORT:
            due, written = False, time.monotonic()
            try:
                batch.write_report()
            except WriteError as error:
                say(error.text())
        ending.wait(poll)
        if batch.table.is_listed_elsewhere():
            # Scans that are found there are not kept waiting until it ends.
            continue
        if folders is not None:
            batch.names = folders()
            batch.inputs = list(batch.names)
        try:
            batch.list_scans(same_run=True)
        except (ReadError, WriteError) as error:
            if isinstance(error, WriteError) and error.code not in _PASSING:
                raise
            if not told:
                say(f"{error.text()} It goes on when that has changed.")
            told = True
        else:
            told = False
    return due
