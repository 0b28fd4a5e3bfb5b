"""Jobs: state, progress and cancellation of a computation. Starts no threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum


class JobState(Enum):
    """The state of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


class Cancelled(Exception):  # noqa: N818 - it is not an error
    """The job was cancelled. The only exception with this meaning in the program."""


class JobContext:
    """Reports progress to the caller and cancellation to the worker; passed to every long computation.

    A context without arguments reports nothing, but can be cancelled.
    ``cancel`` may be called on any thread, all other methods only on the worker's thread.

    Args:
        report: called with the share done, 0..1, and the name of the current step.
        between: called at each ``progress`` and after each ``on_cancel``, on the worker's thread, to run more urgent
            jobs in between. It must not raise.
    """

    def __init__(
        self, report: Callable[[float, str], None] | None = None, between: Callable[[], None] | None = None
    ) -> None:
        self._report, self._between = report, between
        self._low, self._high = 0.0, 1.0
        self._cancel = _Cancellation()

    def progress(self, share: float, step: str = "") -> None:
        """Report the share of this context's range that is done, and raise if the job was cancelled.

        Args:
            share: 0..1; clipped.
            step: name of the current step.

        Raises:
            Cancelled: the job was cancelled.
        """
        if self._between is not None:
            self._between()
        self.check()
        if self._report is not None:
            self._report(self._low + (self._high - self._low) * min(1.0, max(0.0, share)), step)

    def check(self) -> None:
        """Raise if the job was cancelled.

        Raises:
            Cancelled: the job was cancelled.
        """
        if self._cancel.wanted.is_set():
            raise Cancelled

    def part(self, low: float, high: float) -> JobContext:
        """A context for one step: its progress 0..1 is mapped to ``low``..``high`` of this one; shares cancellation."""
        part = JobContext(self._report, self._between)
        span = self._high - self._low
        part._low, part._high = self._low + span * low, self._low + span * high
        part._cancel = self._cancel
        return part

    def cancel(self) -> None:
        """Cancel the job. Returns at once; may be called on any thread and more than once."""
        self._cancel.fire()

    @property
    def cancelled(self) -> bool:
        """Whether the job was cancelled."""
        return self._cancel.wanted.is_set()

    @contextmanager
    def on_cancel(self, stop: Callable[[], None]) -> Iterator[None]:
        """Context manager: ``cancel`` also calls ``stop``, on its thread. For library calls that cannot check a flag.

        Raises:
            Cancelled: the job was cancelled before, or inside the block.
        """
        self._cancel.watch(stop)
        try:
            self.check()
            yield
            self.check()
        finally:
            self._cancel.watch(None)
        if self._between is not None:
            self._between()


class _Cancellation:
    """The cancel flag that a context shares with its parts."""

    def __init__(self) -> None:
        self.wanted = threading.Event()
        self._lock = threading.Lock()
        self._stop: Callable[[], None] | None = None

    def watch(self, stop: Callable[[], None] | None) -> None:
        with self._lock:
            self._stop = stop

    def fire(self) -> None:
        with self._lock:
            self.wanted.set()
            if self._stop is not None:
                self._stop()
