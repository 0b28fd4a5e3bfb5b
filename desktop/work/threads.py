"""The engine threads and their job queues. All of it is used from the GUI thread.

``compute`` runs models, ``io`` reads and writes files, ``autosave`` saves unsaved work, ``batch`` gives the scans of a
batch to worker processes, ``lists`` reads folders into its table and asks that, ``thumbnails`` makes small pictures,
``background`` does what nobody waits for, such as asking drives that may not answer; they do not wait for each other. A
more urgent job does not wait until a less urgent one has ended: the thread runs it inside the next progress step of the
running job.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, Qt, QThread, Signal, Slot

from desktop.work.base import Urgency
from engine.errors import EngineError
from engine.jobs import Cancelled, JobContext, JobState

_REPORT_SECONDS = 0.03
_BACKGROUND_SECONDS = 3
"""How long the end of the program waits for the background lane."""


class Lane(Enum):
    """The thread a job runs on."""

    COMPUTE = "compute"
    IO = "io"
    AUTOSAVE = "autosave"
    BATCH = "batch"
    LISTS = "lists"
    THUMBNAILS = "thumbnails"
    BACKGROUND = "background"


Work = Callable[[JobContext], Any]


class Ticket(QObject):
    """One job in a queue. GUI thread, where its signals are emitted.

    Signals:
        changed: the state or the progress changed.
        told: carries what the work passes to ``told.emit`` while it runs, the only signal that it may emit itself.
        done: it succeeded; carries what the work returned.
        failed: an expected failure; carries the EngineError.
        cancelled: it was cancelled.
        crashed: an unexpected exception; carries it.
        ended: after one of the four above.
    """

    changed = Signal()
    told = Signal(object)
    done = Signal(object)
    failed = Signal(object)
    cancelled = Signal()
    crashed = Signal(object)
    ended = Signal()

    def __init__(
        self, title: str, lane: Lane, urgency: Urgency, prepare: Callable[[], Work], ready: Callable[[], bool]
    ) -> None:
        super().__init__()
        self.title, self.lane, self.urgency, self.ready = title, lane, urgency, ready
        self.state = JobState.WAITING
        self.progress = 0.0
        self.step = ""
        self.prepare = prepare
        self._cancel: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Cancel the job: at once when it is waiting, within 0.2 s when it is running."""
        if self.state is JobState.WAITING:
            self.end(JobState.CANCELLED, None)
        elif self.state is JobState.RUNNING and self._cancel is not None:
            self._cancel()

    def begin(self, cancel: Callable[[], None]) -> None:
        """Set the state to running; ``cancel`` cancels the running work."""
        self._cancel = cancel
        self.state = JobState.RUNNING
        self.changed.emit()

    def advance(self, share: float, step: str) -> None:
        """Set the progress, 0..1, and the current step in words."""
        self.progress, self.step = share, step
        self.changed.emit()

    def end(self, state: JobState, outcome: object) -> None:
        """Set the final state and emit the signals; the outcome is the result or the exception."""
        self.state, self._cancel = state, None
        self.changed.emit()
        if state is JobState.DONE:
            self.done.emit(outcome)
        elif state is JobState.CANCELLED:
            self.cancelled.emit()
        elif isinstance(outcome, EngineError):
            self.failed.emit(outcome)
        else:
            self.crashed.emit(outcome)
        self.ended.emit()


@dataclass(frozen=True)
class _WorkItem:
    """The work of a job, handed to an engine thread."""

    number: int
    urgency: Urgency
    work: Work
    context: JobContext


class _Worker(QObject):
    """Runs the work in an engine thread, in which it lives."""

    progressed = Signal(int, float, str)
    finished = Signal(int, object, object)

    def __init__(self) -> None:
        super().__init__()
        self._running: list[Urgency] = []
        self.pending: deque[_WorkItem] = deque()
        """Filled by the GUI thread, emptied by the engine thread."""

    @Slot()
    def run(self) -> None:
        """Run the pending items that are more urgent than the running one, and emit how each ended.

        The event loop calls it, and so does each progress step of a running job: so it can be nested.
        """
        while self.pending and (not self._running or self.pending[0].urgency > self._running[-1]):
            item = self.pending.popleft()
            self._running.append(item.urgency)
            try:
                item.context.check()
                result = item.work(item.context)
            except Cancelled:
                self.finished.emit(item.number, JobState.CANCELLED, None)
            except Exception as error:  # noqa: BLE001 - passed to the GUI thread, which reports it
                self.finished.emit(item.number, JobState.FAILED, error)
            else:
                self.finished.emit(item.number, JobState.DONE, result)
            finally:
                self._running.pop()


class EngineThread(QThread):
    """One lane: a thread, its queue, and the running jobs. Used from the GUI thread only.

    Several jobs are running when a more urgent one interrupted a less urgent one, which continues afterwards.

    Signals:
        crashed: a job raised an unexpected exception; carries it.
    """

    crashed = Signal(object)
    _work_added = Signal()
    _queued = Signal()

    def __init__(self, name: str, parent: QObject) -> None:
        super().__init__(parent)
        self.setObjectName(f"engine-{name}")
        self._numbers = itertools.count(1)
        self._queue: list[Ticket] = []
        self._running: dict[int, tuple[Ticket, JobContext]] = {}
        self._worker = _Worker()
        self._worker.moveToThread(self)
        self._work_added.connect(self._worker.run)
        # These slots belong to an object of the GUI thread, so Qt calls them there.
        self._worker.progressed.connect(self._on_progress)
        self._worker.finished.connect(self._on_finished)
        # Queued, so that the caller of ``submit`` can connect to the ticket before the job starts.
        self._queued.connect(self._next, Qt.ConnectionType.QueuedConnection)
        self.start()

    def add(self, ticket: Ticket, *, soon: bool) -> None:
        """Queue a job behind the jobs of the same urgency, or with ``soon`` before them."""
        reached = (place for place, other in enumerate(self._queue) if other.urgency < ticket.urgency + soon)
        self._queue.insert(next(reached, len(self._queue)), ticket)
        self._queued.emit()

    def recheck(self) -> None:
        """Check again whether waiting jobs are ready."""
        self._queued.emit()

    def stop(self, seconds: float = math.inf) -> bool:
        """Cancel all jobs and wait until the thread has ended; False if it has not after so many seconds."""
        for ticket in list(self._queue):
            ticket.cancel()
        for _, context in self._running.values():
            context.cancel()
        self.quit()
        return self.wait() if seconds == math.inf else self.wait(round(1000 * seconds))

    @Slot()
    def _next(self) -> None:
        while True:
            self._queue = [ticket for ticket in self._queue if ticket.state is JobState.WAITING]
            ticket = next((ticket for ticket in self._queue if ticket.ready()), None)
            busy = max((running.urgency for running, _ in self._running.values()), default=None)
            if ticket is None or (busy is not None and ticket.urgency <= busy):
                return
            self._queue.remove(ticket)
            number = next(self._numbers)
            context = JobContext(_throttle(partial(self._worker.progressed.emit, number)), self._worker.run)
            try:
                # The input is frozen now, not when the job was submitted, to include the results of earlier jobs.
                work = ticket.prepare()
            except Exception as error:  # noqa: BLE001 - the queue goes on, and the crash is reported
                self._end(ticket, JobState.FAILED, error)
                continue
            self._running[number] = ticket, context
            # Start the work before the window is updated.
            self._worker.pending.append(_WorkItem(number, ticket.urgency, work, context))
            self._work_added.emit()
            ticket.begin(context.cancel)

    @Slot(int, float, str)
    def _on_progress(self, number: int, share: float, step: str) -> None:
        if number in self._running:
            self._running[number][0].advance(share, step)

    @Slot(int, object, object)
    def _on_finished(self, number: int, state: JobState, outcome: object) -> None:
        if number not in self._running:
            return
        ticket, _ = self._running.pop(number)
        self._end(ticket, state, outcome)
        self._next()

    def _end(self, ticket: Ticket, state: JobState, outcome: object) -> None:
        ticket.end(state, outcome)
        if state is JobState.FAILED and not isinstance(outcome, EngineError):
            self.crashed.emit(outcome)


def _throttle(report: Callable[[float, str], None]) -> Callable[[float, str], None]:
    """Limit progress reports to one in 0.03 s; the last one always passes."""
    last = 0.0

    def throttled(share: float, step: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _REPORT_SECONDS or share >= 1.0:
            last = now
            report(share, step)

    return throttled


class JobCentre(QObject):
    """All jobs of the program. Used from the GUI thread only.

    Signals:
        added: a job that is shown in lists of jobs was queued; carries its Ticket.
        crashed: a job raised an unexpected exception; carries it.
    """

    added = Signal(object)
    crashed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._lanes = {lane: EngineThread(lane.value, self) for lane in Lane}
        for thread in self._lanes.values():
            thread.crashed.connect(self.crashed)

    def submit(
        self,
        title: str,
        lane: Lane,
        prepare: Callable[[], Work],
        *,
        urgency: Urgency = Urgency.WHOLE_PICTURE,
        soon: bool = False,
        ready: Callable[[], bool] = lambda: True,
        shown: bool = True,
    ) -> Ticket:
        """Queue a job.

        Args:
            title: for the job list.
            lane: where it runs.
            prepare: called on the GUI thread when its turn comes; freezes the input and returns the work, which is
                called with a context on the lane's thread and must not touch Qt or the document.
            urgency: a more urgent job runs before less urgent ones, and interrupts running ones.
            soon: queue it before the waiting jobs of the same urgency.
            ready: whether it may run now; until then the jobs behind it run first. ``recheck`` asks again.
            shown: whether it is shown in lists of jobs.

        Returns:
            Its ticket. Signals that are connected before control returns to the event loop miss nothing.
        """
        ticket = Ticket(title, lane, urgency, prepare, ready)
        ticket.setParent(self)
        ticket.ended.connect(ticket.deleteLater)
        if shown:
            self.added.emit(ticket)
        self._lanes[lane].add(ticket, soon=soon)
        return ticket

    def recheck(self) -> None:
        """Check again whether waiting jobs are ready."""
        for thread in self._lanes.values():
            thread.recheck()

    def stop(self) -> bool:
        """Cancel all jobs and wait until the threads have ended. The centre cannot be used afterwards.

        Returns:
            False when the background lane asks a drive that does not answer: then the process must be left at once,
            because a thread that runs must not be deleted.
        """
        background = self._lanes[Lane.BACKGROUND]
        for thread in self._lanes.values():
            if thread is not background:
                thread.stop()
        return background.stop(_BACKGROUND_SECONDS)
