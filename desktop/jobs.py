"""The job centre: two engine threads, and a queue for each, seen from the GUI thread.

``compute`` runs models, one job at a time; ``io`` reads and writes files, so that saving never waits for healing.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, Qt, QThread, Signal, Slot

from engine.errors import EngineError
from engine.jobs import Cancelled, JobContext, JobState

_REPORT_SECONDS = 0.03


class Lane(Enum):
    """The thread a job runs on."""

    COMPUTE = "compute"
    IO = "io"


Work = Callable[[JobContext], Any]


class Ticket(QObject):
    """One job in the queue. Lives in the GUI thread, and so do its signals' receivers.

    Signals:
        changed: the state or the progress moved.
        done: it ended well; carries what the work returned.
        failed: an expected failure; carries the EngineError.
        cancelled: it was called off.
        crashed: it met an unexpected exception; carries it.
        ended: after one of the four above.
    """

    changed = Signal()
    done = Signal(object)
    failed = Signal(object)
    cancelled = Signal()
    crashed = Signal(object)
    ended = Signal()

    def __init__(self, title: str, lane: Lane, prepare: Callable[[], Work], ready: Callable[[], bool]) -> None:
        super().__init__()
        self.title, self.lane, self.ready = title, lane, ready
        self.state = JobState.WAITING
        self.progress = 0.0
        self.step = ""
        self.prepare = prepare
        self._cancel: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Call the job off: at once when it is waiting, within 0.2 s when it is running."""
        if self.state is JobState.WAITING:
            self.end(JobState.CANCELLED, None)
        elif self.state is JobState.RUNNING and self._cancel is not None:
            self._cancel()

    def begin(self, cancel: Callable[[], None]) -> None:
        """The job gets its turn."""
        self._cancel = cancel
        self.state = JobState.RUNNING
        self.changed.emit()

    def advance(self, share: float, step: str) -> None:
        """Progress, 0..1, and the current step in words."""
        self.progress, self.step = share, step
        self.changed.emit()

    def end(self, state: JobState, outcome: object) -> None:
        """The job is over."""
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


class _Runner(QObject):
    """Lives in an engine thread and does the work there."""

    progressed = Signal(int, float, str)
    finished = Signal(int, object, object)

    @Slot(int, object, object)
    def run(self, number: int, work: Work, context: JobContext) -> None:
        """Do one job and say how it ended: (number, state, result or exception)."""
        try:
            context.check()
            result = work(context)
        except Cancelled:
            self.finished.emit(number, JobState.CANCELLED, None)
        except Exception as error:  # noqa: BLE001 - handed over to the GUI thread, which reports it
            self.finished.emit(number, JobState.FAILED, error)
        else:
            self.finished.emit(number, JobState.DONE, result)


class EngineThread(QThread):
    """One lane: a thread, its queue, and the job that is running. Used from the GUI thread only.

    Signals:
        crashed: an unexpected exception, for the crash report.
    """

    crashed = Signal(object)
    _wanted = Signal(int, object, object)
    _queued = Signal()

    def __init__(self, name: str, parent: QObject) -> None:
        super().__init__(parent)
        self.setObjectName(f"engine-{name}")
        self._numbers = itertools.count(1)
        self._queue: list[Ticket] = []
        self._running: tuple[int, Ticket, JobContext] | None = None
        self._runner = _Runner()
        self._runner.moveToThread(self)
        self._wanted.connect(self._runner.run)
        # Slots of this object, which lives in the GUI thread: Qt queues the calls.
        self._runner.progressed.connect(self._on_progress)
        self._runner.finished.connect(self._on_finished)
        # Through the event loop, so that whoever submits can connect to the ticket first.
        self._queued.connect(self._next, Qt.ConnectionType.QueuedConnection)
        self.start()

    def add(self, ticket: Ticket, *, soon: bool) -> None:
        """Put a job at the end of the queue, or before all that wait."""
        self._queue.insert(0 if soon else len(self._queue), ticket)
        self._queued.emit()

    def go_on(self) -> None:
        """See whether a job that was not ready is so now."""
        self._queued.emit()

    def stop(self) -> None:
        """Call everything off and wait for the thread."""
        for ticket in list(self._queue):
            ticket.cancel()
        if self._running is not None:
            self._running[2].cancel()
        self.quit()
        self.wait()

    @Slot()
    def _next(self) -> None:
        while self._running is None:
            self._queue = [ticket for ticket in self._queue if ticket.state is JobState.WAITING]
            ticket = next((ticket for ticket in self._queue if ticket.ready()), None)
            if ticket is None:
                return
            self._queue.remove(ticket)
            number = next(self._numbers)
            context = JobContext(_throttled(partial(self._runner.progressed.emit, number)))
            try:
                # Frozen now, not when it was asked for: it sees what the jobs before it did.
                work = ticket.prepare()
            except Exception as error:  # noqa: BLE001 - the queue goes on, and the crash is reported
                self._end(ticket, JobState.FAILED, error)
                continue
            self._running = (number, ticket, context)
            # The work first: what the window shows of it need not be waited for.
            self._wanted.emit(number, work, context)
            ticket.begin(context.cancel)

    @Slot(int, float, str)
    def _on_progress(self, number: int, share: float, step: str) -> None:
        if self._running is not None and self._running[0] == number:
            self._running[1].advance(share, step)

    @Slot(int, object, object)
    def _on_finished(self, number: int, state: JobState, outcome: object) -> None:
        if self._running is None or self._running[0] != number:
            return
        ticket, self._running = self._running[1], None
        self._end(ticket, state, outcome)
        self._next()

    def _end(self, ticket: Ticket, state: JobState, outcome: object) -> None:
        ticket.end(state, outcome)
        if state is JobState.FAILED and not isinstance(outcome, EngineError):
            self.crashed.emit(outcome)


def _throttled(report: Callable[[float, str], None]) -> Callable[[float, str], None]:
    """Pass on no more reports than a person can see."""
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
        added: a job was queued; carries its Ticket.
        crashed: a job met an unexpected exception; carries it.
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
        soon: bool = False,
        ready: Callable[[], bool] = lambda: True,
    ) -> Ticket:
        """Queue a job.

        Args:
            title: for the job list.
            lane: where it runs.
            prepare: called on the GUI thread when its turn comes; freezes the input and gives the work, which is
                called with a context on the lane's thread and must not touch Qt or the document.
            soon: before all that wait already.
            ready: whether its turn may come; until then those behind it go first. ``go_on`` has it asked again.

        Returns:
            Its ticket. Connect to it before returning to the event loop and nothing is missed.
        """
        ticket = Ticket(title, lane, prepare, ready)
        ticket.setParent(self)
        ticket.ended.connect(ticket.deleteLater)
        self.added.emit(ticket)
        self._lanes[lane].add(ticket, soon=soon)
        return ticket

    def go_on(self) -> None:
        """A job that was not ready may be so now."""
        for thread in self._lanes.values():
            thread.go_on()

    def stop(self) -> None:
        """Call everything off and wait until the threads are gone. The centre cannot be used afterwards."""
        for thread in self._lanes.values():
            thread.stop()
