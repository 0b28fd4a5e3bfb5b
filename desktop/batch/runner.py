"""What the lanes of a batch do: list scans, run the batch, write its report. No Qt here; any thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import WriteError
from engine.jobs import JobContext

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from engine.batch import Batch
    from engine.batch.gather import Scan
    from engine.batch.plan import Plan
    from engine.batch.rows import Outcome, Row, State
    from engine.batch.run import BatchRun
    from engine.batch.views import View

LOG = logging.getLogger("lacuna")
_TOLD_EVERY = 200
"""Scans after which the number that was found is told."""


@dataclass(frozen=True)
class Wanted:
    """What a batch is to do, and where.

    Attributes:
        table: the file of its table.
        plan: what is done with every scan.
        folder: the output folder.
        folders: the folders that were given -> what stands before the paths of their scans.
    """

    table: Path
    plan: Plan
    folder: Path
    folders: Mapping[Path, str]


@dataclass(frozen=True)
class Snapshot:
    """What a table holds at one time.

    Attributes:
        ids: the numbers of the rows of a view, in order.
        counts: the number of scans of each state.
    """

    ids: NDArray[np.int64]
    counts: dict[State, int]


@dataclass(frozen=True)
class Added:
    """What a listing did: the number of scans that it added, and of the files that it left out by reason."""

    count: int
    left_out: dict[str, int]


class Feed:
    """What a run tells, kept until the window asks for it: a run may tell more than a window can show. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shares: dict[int, tuple[float, str]] = {}
        self._changed: set[int] = set()
        self._notices: list[str] = []

    def started(self, row: Row) -> None:
        """A scan is being worked on."""
        self.progress(row, 0.0, "")

    def progress(self, row: Row, share: float, step: str) -> None:
        """A share 0..1 of a scan's work is done."""
        with self._lock:
            self._shares[row.id] = share, step
            self._changed.add(row.id)

    def finished(self, row: Row, outcome: Outcome) -> None:
        """The work on a scan has ended. Writes a line to the log."""
        said = outcome.reason or (row.output if outcome.output_sha256 else "")
        LOG.info("batch: %s: %s: %s (%.1f s)", outcome.state.value, row.path, said, outcome.seconds)
        with self._lock:
            self._shares.pop(row.id, None)
            self._changed.add(row.id)

    def notice(self, sentence: str) -> None:
        """The run as a whole says something."""
        with self._lock:
            self._notices.append(sentence)

    def clear(self) -> None:
        """Nothing is being worked on any more."""
        with self._lock:
            self._changed |= set(self._shares)
            self._shares.clear()

    def take(self) -> tuple[set[int], dict[int, tuple[float, str]], list[str]]:
        """The rows that changed since this was called last, the shares of running ones, and new sentences."""
        with self._lock:
            changed, self._changed = self._changed, set()
            notices, self._notices = self._notices, []
            return changed, dict(self._shares), notices


class RunHandle:
    """Steers the run on a lane from another thread. What is asked before the run exists is done when it does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._run: BatchRun | None = None
        self._asked: dict[str, Callable[[BatchRun], object]] = {}

    def attach(self, run: BatchRun | None) -> None:
        """Steer this run from now on; None: there is none any more."""
        with self._lock:
            self._run = run
            if run is not None:
                for ask in self._asked.values():
                    ask(run)

    def stop(self, *, now: bool) -> None:
        """End it after its pictures, or ``now``."""
        self._ask("stop now" if now else "stop", lambda run: run.stop(now=now))

    def _ask(self, name: str, ask: Callable[[BatchRun], object]) -> None:
        with self._lock:
            self._asked[name] = ask
            if self._run is not None:
                ask(self._run)


@dataclass(frozen=True)
class RunOptions:
    """How a batch is run.

    Attributes:
        workers: number of worker processes.
        handle: steers it.
        feed: is told what happens.
        watch: go on with what comes into the folders until the job is cancelled.
        protected: files that no result may overwrite.
    """

    workers: int
    handle: RunHandle
    feed: Feed
    watch: bool = False
    protected: Sequence[Path] = field(default=())


def take_snapshot(table: Path, view: View) -> Snapshot:
    """What the table holds now. Raises ReadError, WriteError as ``JobTable``."""
    from engine.batch.table import JobTable
    from engine.batch.views import row_ids

    with JobTable(table) as rows:
        return Snapshot(row_ids(rows, view), rows.counts())


def add_scans(wanted: Wanted, inputs: Sequence[Path], context: JobContext, *, running: bool) -> Added:
    """Take files and the pictures of folders into the table.

    Args:
        wanted: the batch.
        inputs: files and folders.
        context: progress and cancellation.
        running: whether a run of this program works on the table.

    Raises:
        ReadError, WriteError, SettingsError, ModelError: as ``open_batch``.
        Cancelled: it was cancelled; what was found until then stays in the table.
    """
    from engine.batch.gather import Gathered, gather
    from engine.batch.table import JobTable

    _make_folder(wanted.table.parent)
    with ExitStack() as stack:
        table = stack.enter_context(JobTable(wanted.table))
        if not running:
            stack.enter_context(table.held())
        before, ignored = sum(table.counts().values()), table.ignored()
        left_out = Gathered()
        left_out.ignored.update(ignored)
        names = {path: wanted.folders[path] for path in inputs if path in wanted.folders}
        found = _told(gather(inputs, wanted.folder, left_out, names), context)
        fingerprint = _fingerprint(wanted.plan)
        table.list_scans(wanted.plan, fingerprint, found, left_out, wanted.folder, same_run=True)
        known = {reason: count - ignored.get(reason, 0) for reason, count in left_out.ignored.items()}
        return Added(sum(table.counts().values()) - before, known)


def _told(scans: Iterator[Scan], context: JobContext) -> Iterator[Scan]:
    for number, scan in enumerate(scans):
        if number % _TOLD_EVERY == 0:
            context.progress(0.0, f"{number:,}")
        yield scan


def run_batch(wanted: Wanted, options: RunOptions, context: JobContext) -> bool:
    """Run the batch and write its report.

    Returns:
        Whether it came to its end, and was not stopped.

    Raises:
        ReadError, WriteError, SettingsError, ModelError, DeviceError: it cannot be run, or not any more.
        Cancelled: the context was cancelled; what was worked on is pending again.
    """
    from engine.batch import Batch, Listener
    from engine.batch.report import report_folder
    from engine.batch.table import JobTable

    feed, handle, own = options.feed, options.handle, report_folder(wanted.folder)
    _make_folder(own)
    with JobTable(wanted.table) as table, table.held(own / "held"):
        fingerprint = _fingerprint(wanted.plan)
        batch = Batch(table, wanted.folder, own, wanted.plan, fingerprint, list(wanted.folders))
        listener = Listener(feed.finished, feed.progress, feed.notice)
        runner = batch.runner(options.workers, listener)
        handle.attach(runner)
        try:
            with context.on_cancel(lambda: handle.stop(now=True)):
                return runner.run()
        finally:
            handle.attach(None)
            feed.clear()
            _report(batch, feed)


def write_report(wanted: Wanted) -> Path:
    """Write the report as the table is now; returns its page. Raises as ``engine.batch.report.write_report``."""
    from engine.batch.report import report_folder
    from engine.batch.report import write_report as write
    from engine.batch.table import JobTable

    with JobTable(wanted.table) as table:
        return write(table, wanted.folder, report_folder(wanted.folder)).with_name("report.html")


def _report(batch: Batch, feed: Feed) -> None:
    """Write the report; that it cannot be written must not hide how the run ended."""
    try:
        batch.write_report()
    except WriteError as error:
        feed.notice(error.text())


def _fingerprint(plan: Plan) -> str:
    from engine.runtime.cards import Registry
    from engine.tasks import check_card

    return plan.check(Registry(check=check_card))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(
            "The folder {folder} cannot be made: {reason}.",
            "write.folder",
            folder=error.filename or folder,
            reason=error.strerror,
        ) from error
