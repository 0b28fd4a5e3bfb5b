"""Runs a batch: gives the scans of a table to workers until all are done."""

from __future__ import annotations

import dataclasses
import os
import queue
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engine.batch.pool import Event, Worker
from engine.batch.rows import Outcome, Row, State
from engine.batch.table import JobTable
from engine.batch.work import KEPT, Job, Want
from engine.errors import DeviceError

_ROOM = 256 << 20
"""Free room on the disk from which a run goes on that had found it full, bytes."""
_FULL = 3
"""Times that a scan's result may find the disk full although there seems to be room, until the scan fails."""
_GRACE = 10.0
"""Seconds that workers have to break off when the run is stopped; those that do not are killed."""
_STARTS = 3
"""Workers that may end without having started, one after another, until the run is given up."""


@dataclass
class Listener:
    """What a run tells while it works; called on the thread that runs it.

    Attributes:
        finished: a scan and what became of it.
        progress: a scan, the share of its work that is done, 0..1, and the name of the step.
        notice: a sentence about the run as a whole, such as that the disk is full.
    """

    finished: Callable[[Row, Outcome], None] = lambda _row, _outcome: None
    progress: Callable[[Row, float, str], None] = lambda _row, _share, _step: None
    notice: Callable[[str], None] = lambda _sentence: None


@dataclass(frozen=True)
class Patience:
    """How a run waits for a full disk and for folders that have vanished, seconds.

    Attributes:
        first: the first pause; each is twice as long as the one before.
        longest: the longest pause.
        share: time after which scans in a vanished folder fail. For room on the disk there is no limit.
    """

    first: float = 1.0
    longest: float = 60.0
    share: float = 600.0


@dataclass(frozen=True)
class _Stop:
    """Posted to the queue by ``BatchRun.stop``."""

    now: bool


@dataclass
class _Wait:
    """A pause of the run, because something is missing; each look finds it there, or makes the pause longer.

    Attributes:
        over: whether what was missing is there again.
        pause: seconds between two looks.
        since, until: when it began, and the time of the next look, of ``time.monotonic``.
        missing: the folder that is missing; None: it is room on the disk.
    """

    over: Callable[[], bool]
    pause: float
    since: float
    until: float
    missing: Path | None = None


class BatchRun:
    """Runs a batch whose table has been filled by ``JobTable.list_scans``. The table must be held meanwhile.

    Args:
        table: of the thread that calls ``run``.
        folder: the output folder; it exists.
        fingerprint: of the table's plan.
        workers: number of workers, at least 1.
        new_worker: makes a worker that reports to the function it is given, which may be called on any thread.
        listener: is told what happens.
        patience: how to wait.
    """

    def __init__(
        self,
        table: JobTable,
        folder: Path,
        fingerprint: str,
        workers: int,
        new_worker: Callable[[Callable[[Event], None]], Worker],
        listener: Listener | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._table, self._folder, self._fingerprint = table, folder, fingerprint
        self._count, self._new_worker = workers, new_worker
        self._listener, self._patience = listener or Listener(), patience or Patience()
        plan = table.plan()
        self._plan = dataclasses.asdict(plan)
        self._looks, self._heals = plan.review or plan.detect_only, plan.searches and not plan.detect_only
        self._events: queue.SimpleQueue[Event | _Stop] = queue.SimpleQueue()
        self._workers: list[Worker] = []
        self._working: dict[int, Row] = {}
        self._false_starts = 0
        self._stopping = False
        self._wait: _Wait | None = None
        self._given_up: set[Path] = set()
        self._found_full: Counter[int] = Counter()
        self._killing: float | None = None
        self._mounts = {folder: _mount_of(folder)}

    def stop(self, *, now: bool) -> None:
        """End the run early. Any thread, and more than once.

        Args:
            now: break off what runs, which becomes pending again; else what runs is completed first.
        """
        self._events.put(_Stop(now))

    def run(self) -> bool:
        """Work until no scan is pending.

        Returns:
            Whether it came to its end, and was not stopped.

        Raises:
            DeviceError: the worker processes cannot be started.
        """
        try:
            self._give_work()
            while self._working or (self._wait is not None and not self._stopping):
                self._handle(self._next_event())
                if self._killing is not None and time.monotonic() >= self._killing:
                    break
                self._give_work()
        finally:
            for worker in self._workers:
                worker.cancel()
            for worker in self._workers:
                worker.end()
            self._table.put_back(self._working)
        if not self._stopping:
            self._table.end_run()
        return not self._stopping

    def _next_event(self) -> Event | _Stop | None:
        """The next event; None when it is time to look whether a wait is over, or to kill what does not stop."""
        ends = self._killing if self._stopping or self._wait is None else self._wait.until
        if ends is None:
            return self._events.get()
        try:
            return self._events.get(timeout=max(0.0, ends - time.monotonic()))
        except queue.Empty:
            return None

    # -- giving work --------------------------------------------------------------------------------------------------

    def _give_work(self) -> None:
        """Give a scan to every worker that has none; a worker is started when there is work for it."""
        if self._stopping or self._is_waiting():
            return
        while len(self._working) < self._count and (row := self._table.take()) is not None:
            if refusal := self._refusal(row):
                self._finish(row, refusal)
                continue
            self._working[row.id] = row
            self._idle_worker().start(
                Job(
                    row.id, str(row.path), str(self._folder), row.output, self._plan, self._fingerprint, self._want(row)
                )
            )

    def _want(self, row: Row) -> Want:
        if row.decided and self._heals:
            return "heal"
        return "look" if self._looks else "restore"

    def _refusal(self, row: Row) -> Outcome | None:
        """Why a scan fails before anything is done; None if nothing speaks against it."""
        self._mounts.setdefault(row.root, _mount_of(row.root))
        if row.root in self._given_up and not self._is_there(row.root):
            return Outcome(State.FAILED, f"The folder {row.root} is gone.", "batch.gone")
        if self._table.is_scan(self._folder / row.output):
            said = (
                f"Its result would get the name {row.output}, which is that of a scan. Choose another folder or name."
            )
            return Outcome(State.FAILED, said, "batch.scan")
        return None

    def _idle_worker(self) -> Worker:
        """A worker without a job, or a new one."""
        for worker in self._workers:
            if worker.job is None:
                return worker
        worker = self._new_worker(self._events.put)
        self._workers.append(worker)
        return worker

    def _is_waiting(self) -> bool:
        wait, now = self._wait, time.monotonic()
        if wait is None:
            return False
        if now < wait.until:
            return True
        if wait.over():
            self._wait = None
            self._listener.notice("Going on.")
        elif wait.missing is not None and now - wait.since > self._patience.share:
            self._given_up.add(wait.missing)
            self._wait = None
        else:
            wait.pause = min(2 * wait.pause, self._patience.longest)
            wait.until = now + wait.pause
        return self._wait is not None

    # -- events -------------------------------------------------------------------------------------------------------

    def _handle(self, event: Event | _Stop | None) -> None:
        if event is None:
            return
        if isinstance(event, _Stop):
            self._stopping = True
            if event.now and self._killing is None:
                self._killing = time.monotonic() + _GRACE
                for worker in self._workers:
                    worker.cancel()
        elif not event.message:
            self._ended(event.worker)
        elif "ready" in event.message:
            self._false_starts = 0
        elif "share" in event.message:
            if row := self._working.get(event.message["id"]):
                self._listener.progress(row, event.message["share"], event.message["step"])
        else:
            event.worker.job = None
            row = self._working.pop(event.message["id"])
            if "outcome" in event.message:
                self._take_outcome(row, Outcome.from_dict(event.message["outcome"]))
            else:
                self._table.put_back([row.id])

    def _ended(self, worker: Worker) -> None:
        """A worker has ended by itself: its scan failed, and another worker takes its place when it is needed."""
        self._workers.remove(worker)
        worker.end()
        job = worker.job
        if not worker.ready:
            self._false_starts += 1
        if self._false_starts >= _STARTS and not self._stopping:
            raise DeviceError(
                "The processes that do the work cannot be started: {reason}.", "batch.workers", reason=worker.death()
            )
        if job is None:
            return
        row = self._working.pop(job.id)
        if not worker.ready or self._stopping:
            self._table.put_back([row.id])
            return
        said = f"The process that worked on it ended before it was done: {worker.death()}."
        self._finish(row, Outcome(State.FAILED, said, "batch.worker"))

    def _take_outcome(self, row: Row, outcome: Outcome) -> None:
        if outcome.code == KEPT:
            self._table.give_copy_name(row, self._folder)
            self._table.put_back([row.id])
            return
        self._found_full[row.id] += outcome.code == "write.full"
        if outcome.code == "write.full" and not (self._found_full[row.id] >= _FULL and self._has_room()):
            self._pause_for(row, f"The disk of {self._folder} is full. It goes on when there is room.", self._has_room)
            return
        for folder in (row.root, self._folder):
            if outcome.state is State.FAILED and folder not in self._given_up and not self._is_there(folder):
                said = f"The folder {folder} is gone. It goes on when it is there again."
                self._pause_for(row, said, partial(self._is_there, folder), folder)
                return
        self._finish(row, outcome)

    def _pause_for(self, row: Row, said: str, over: Callable[[], bool], missing: Path | None = None) -> None:
        """Make a scan pending again, and give no work until something is there again."""
        self._table.put_back([row.id])
        if self._wait is None:
            now, pause = time.monotonic(), self._patience.first
            self._wait = _Wait(over, pause, now, now + pause, missing)
            self._listener.notice(said)

    def _is_there(self, folder: Path) -> bool:
        """Whether a folder exists, on the disk or share on which it was when the run began."""
        mount = self._mounts[folder]
        return os.path.isdir(folder) and (mount is None or os.path.ismount(mount))  # noqa: PTH112 - Path's raise

    def _has_room(self) -> bool:
        try:
            return shutil.disk_usage(self._folder).free >= _ROOM
        except OSError:
            return False

    def _finish(self, row: Row, outcome: Outcome) -> None:
        self._table.finish(row.id, outcome)
        self._listener.finished(row, outcome)


def _mount_of(folder: Path) -> Path | None:
    """Where the disk or share of a folder is mounted; None if it does not exist.

    A share that is gone may leave an empty folder behind.
    """
    if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises where a share is gone
        return None
    place = Path(os.path.realpath(folder))
    while not os.path.ismount(place) and place != place.parent:
        place = place.parent
    return place
