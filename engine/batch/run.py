"""Runs a batch: gives the scans of a table to workers until all are done."""

from __future__ import annotations

import dataclasses
import os
import queue
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from engine.batch.pool import Event, Worker
from engine.batch.rows import Outcome, Row, State
from engine.batch.table import JobTable
from engine.batch.work import KEPT, Job, Want
from engine.errors import DeviceError, WriteError

_T = TypeVar("_T")
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
        started: a scan that a worker begins with.
        paused: nothing works any more, after ``BatchRun.hold``.
    """

    finished: Callable[[Row, Outcome], None] = lambda _row, _outcome: None
    progress: Callable[[Row, float, str], None] = lambda _row, _share, _step: None
    notice: Callable[[str], None] = lambda _sentence: None
    started: Callable[[Row], None] = lambda _row: None
    paused: Callable[[], None] = lambda: None


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

    Attributes:
        workers: number of workers that are wanted.
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
        self.workers, self._new_worker = workers, new_worker
        self._listener, self._patience = listener or Listener(), patience or Patience()
        plan = table.plan()
        self._plan = dataclasses.asdict(plan)
        self._looks, self._heals = plan.review or plan.detect_only, plan.searches and not plan.detect_only
        # What workers report, and what other threads ask for, which this thread calls.
        self._events: queue.SimpleQueue[Event | Callable[[], None]] = queue.SimpleQueue()
        self._workers: list[Worker] = []
        self._working: dict[int, Row] = {}
        self._cancelling: set[int] = set()
        self._held, self._paused, self._told_paused = False, set[int](), False
        self._false_starts = 0
        self._stopping = False
        self._wait: _Wait | None = None
        # Changes of the table for which there was no room on its disk, in order.
        self._unwritten: list[Callable[[], object]] = []
        self._given_up: set[Path] = set()
        self._found_full: Counter[int] = Counter()
        self._killing: float | None = None
        self._mounts = {folder: _mount_of(folder)}

    def stop(self, *, now: bool) -> None:
        """End the run early, also one that is held. Any thread, and more than once.

        Args:
            now: break off what runs, which becomes pending again; else what runs is completed first.
        """
        self._events.put(partial(self._stop, now))

    def hold(self, on: bool) -> None:  # noqa: FBT001 - hold(True), hold(False)
        """Pause the workers within one window of a model's work, and give no new work; or let them go on. Any thread.

        They keep what they have done. A task of a cluster is not paused.
        """
        self._events.put(partial(self._hold, on))

    def cancel(self, id_: int) -> None:
        """Break off one scan, or take one that is pending out of the run: it becomes ``CANCELLED``. Any thread.

        One that is done or has failed stays so, also if it was completed before it could be broken off.

        Args:
            id_: its row.
        """
        self._events.put(partial(self._cancel, id_))

    def use_workers(self, count: int) -> None:
        """Work with more or fewer workers from now on; those over the number end after their scans. Any thread.

        Args:
            count: number of workers, at least 1.
        """
        self._events.put(partial(self._use_workers, count))

    def run(self) -> bool:
        """Work until no scan is pending.

        Returns:
            Whether it came to its end, and was not stopped.

        Raises:
            DeviceError: the worker processes cannot be started.
            WriteError: ``batch.table``: the table cannot be read or written any more. If only the room on its disk is
                missing, that is waited for.
        """
        try:
            self._work()
            # Another connection may have made scans pending after the last one was taken.
            while not self._stopping and not self._end_run():
                self._work()
        finally:
            for worker in self._workers:
                worker.cancel()
            for worker in self._workers:
                worker.end()
            self._put_back(self._working)
        return not self._stopping

    def _work(self) -> None:
        """Work until there is nothing to do, or the run is stopped."""
        # What was asked for before the run began is heeded before any work is given.
        for _ in range(self._events.qsize()):
            self._handle(self._events.get())
        self._give_work()
        while self._is_open():
            self._handle(self._next_event())
            if self._killing is not None and time.monotonic() >= self._killing:
                break
            self._give_work()

    def _is_open(self) -> bool:
        """Whether something is worked on or waited for."""
        waits = self._wait is not None or (self._held and self._table.has_pending())
        return bool(self._working) or (waits and not self._stopping)

    def _next_event(self) -> Event | Callable[[], None] | None:
        """The next event; None when it is time to look whether a wait is over, or to kill what does not stop."""
        waits = self._wait is not None and not self._held and not self._stopping
        ends = self._wait.until if self._wait is not None and waits else self._killing
        if ends is None:
            return self._events.get()
        try:
            return self._events.get(timeout=max(0.0, ends - time.monotonic()))
        except queue.Empty:
            return None

    # -- giving work --------------------------------------------------------------------------------------------------

    def _give_work(self) -> None:
        """Give a scan to every worker that has none; a worker is started when there is work for it."""
        if self._stopping or self._held or self._is_waiting():
            return
        while len(self._working) < self.workers and (row := self._take()) is not None:
            if refusal := self._refusal(row):
                self._finish(row, refusal)
                continue
            self._working[row.id] = row
            self._idle_worker().start(
                Job(
                    row.id, str(row.path), str(self._folder), row.output, self._plan, self._fingerprint, self._want(row)
                )
            )
            self._listener.started(row)

    def _take(self) -> Row | None:
        return self._if_there_is_room(self._table.take, otherwise=None)

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
        if wait.over() and self._catch_up():
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

    def _handle(self, event: Event | Callable[[], None] | None) -> None:
        if isinstance(event, Event):
            self._handle_report(event)
        elif event is not None:
            event()
        self._end_idle_workers()
        if self._held and not self._told_paused and self._paused.issuperset(self._working):
            self._told_paused = True
            self._listener.paused()

    def _handle_report(self, event: Event) -> None:
        if not event.message:
            self._ended(event.worker)
        elif "ready" in event.message:
            self._false_starts = 0
        elif "share" in event.message:
            if row := self._working.get(event.message["id"]):
                self._listener.progress(row, event.message["share"], event.message["step"])
        elif "held" in event.message:
            self._paused.add(event.message["id"])
        else:
            event.worker.job = None
            row = self._working.pop(event.message["id"])
            if "outcome" in event.message:
                self._take_outcome(row, Outcome.from_dict(event.message["outcome"]))
            else:
                self._put_back([row.id])

    def _stop(self, now: bool) -> None:  # noqa: FBT001 - see stop
        self._stopping = True
        if not now:
            self._hold(False)
        elif self._killing is None:
            self._killing = time.monotonic() + _GRACE
            for worker in self._workers:
                worker.cancel()

    def _hold(self, on: bool) -> None:  # noqa: FBT001 - see hold
        if on == self._held:
            # Workers that are paused do not report it again.
            return
        self._held, self._told_paused = on, False
        self._paused.clear()
        for worker in self._workers:
            worker.hold(on=on)

    def _cancel(self, id_: int) -> None:
        if id_ not in self._working:
            self._change_table(partial(self._table.cancel, [id_]))
            return
        self._cancelling.add(id_)
        for worker in self._workers:
            if worker.job is not None and worker.job.id == id_:
                worker.cancel()

    def _use_workers(self, count: int) -> None:
        self.workers = max(1, count)

    def _end_idle_workers(self) -> None:
        """End workers over the number that is wanted, as far as they have no scan."""
        idle = [worker for worker in self._workers if worker.job is None]
        for worker in idle[: max(0, len(self._workers) - self.workers)]:
            self._workers.remove(worker)
            worker.end()

    def _put_back(self, ids: Iterable[int]) -> None:
        """Make scans whose work was broken off pending again, or ``CANCELLED`` if that was wanted."""
        given = set(ids)
        self._change_table(partial(self._table.put_back, given - self._cancelling))
        self._change_table(partial(self._table.put_back, given & self._cancelling, State.CANCELLED))
        self._cancelling -= given

    def _ended(self, worker: Worker) -> None:
        """A worker has ended by itself: its scan failed, and another worker takes its place when it is needed."""
        if worker not in self._workers:
            # It was ended because fewer are wanted.
            return
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
        if not worker.ready or self._stopping or row.id in self._cancelling:
            self._put_back([row.id])
            return
        said = f"The process that worked on it ended before it was done: {worker.death()}."
        self._finish(row, Outcome(State.FAILED, said, "batch.worker"))

    def _take_outcome(self, row: Row, outcome: Outcome) -> None:
        if outcome.code == KEPT:
            self._change_table(partial(self._table.give_copy_name, row, self._folder))
            self._put_back([row.id])
            return
        self._found_full[row.id] += outcome.code == "write.full"
        if outcome.code == "write.full" and not (self._found_full[row.id] >= _FULL and _has_room(self._place_of(row))):
            said = f"The disk of {self._place_of(row)} is full. It goes on when there is room."
            self._put_back([row.id])
            self._wait_for(said, partial(_has_room, self._place_of(row)))
            return
        for folder in (row.root, self._folder):
            if outcome.state is State.FAILED and folder not in self._given_up and not self._is_there(folder):
                said = f"The folder {folder} is gone. It goes on when it is there again."
                self._put_back([row.id])
                self._wait_for(said, partial(self._is_there, folder), folder)
                return
        self._finish(row, outcome)

    def _wait_for(self, said: str, over: Callable[[], bool], missing: Path | None = None) -> None:
        """Give no work until something is there again; one wait is enough, and each finds what is missing then."""
        if self._wait is None:
            now, pause = time.monotonic(), self._patience.first
            self._wait = _Wait(over, pause, now, now + pause, missing)
            self._listener.notice(said)

    def _is_there(self, folder: Path) -> bool:
        """Whether a folder exists, on the disk or share on which it was when the run began."""
        mount = self._mounts[folder]
        return os.path.isdir(folder) and (mount is None or os.path.ismount(mount))  # noqa: PTH112 - Path's raise

    def _place_of(self, row: Row) -> Path:
        """A folder on the disk of a scan's result."""
        return row.root if self._plan["beside"] else self._folder

    def _finish(self, row: Row, outcome: Outcome) -> None:
        self._cancelling.discard(row.id)
        self._change_table(partial(self._table.finish, row.id, outcome, self._fingerprint))
        self._listener.finished(row, outcome)

    # -- the table, whose disk may be full ----------------------------------------------------------------------------

    def _change_table(self, change: Callable[[], object]) -> None:
        """Change the table, now or when there is room on its disk.

        If the run is stopped before, the scan stays marked as being worked on, and the next run takes it again.
        """
        self._unwritten.append(change)
        self._catch_up()

    def _catch_up(self) -> bool:
        """Make the changes for which there was no room; returns whether all are made."""

        def make_first() -> bool:
            self._unwritten[0]()
            del self._unwritten[0]
            return True

        while self._unwritten:
            if not self._if_there_is_room(make_first, otherwise=False):
                return False
        return True

    def _end_run(self) -> bool:
        """Note that the run came to its end; False if something is still to be done or to be written."""
        return self._catch_up() and self._if_there_is_room(self._table.end_run, otherwise=False)

    def _if_there_is_room(self, change: Callable[[], _T], otherwise: _T) -> _T:
        """What a change of the table returns; if there is no room for it, begin to wait for that."""
        try:
            return change()
        except WriteError as error:
            if error.code != "write.full":
                raise
            place = self._table.path.absolute().parent
            self._wait_for(f"{error.text()} It goes on when there is room.", partial(_has_room, place))
            return otherwise


def _has_room(folder: Path) -> bool:
    """Whether there is room on the disk of a folder again."""
    try:
        return shutil.disk_usage(folder).free >= _ROOM
    except OSError:
        return False


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
