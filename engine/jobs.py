"""Jobs: what is to be computed, how far it is, and how it is called off. No threads live here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum


class JobState(Enum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


class Cancelled(Exception):  # noqa: N818 - it is not an error
    """The job was called off. The only such exception in the program."""


class JobContext:
    """Carries progress up and cancellation down; passed to everything that takes long.

    A context made without arguments reports to nobody, but can be cancelled all the same.
    ``cancel`` may be called on any thread, everything else belongs to the thread that works.

    Args:
        report: called with the share done, 0..1, and a word about the current step.
        between: called at each ``progress`` and after each ``on_cancel``, on the thread that works: what is more urgent
            is done there in between. It must raise nothing.
    """

    def __init__(
        self, report: Callable[[float, str], None] | None = None, between: Callable[[], None] | None = None
    ) -> None:
        self._report, self._between = report, between
        self._low, self._high = 0.0, 1.0
        self._cancel = _Cancellation()

    def progress(self, share: float, step: str = "") -> None:
        """Say how much of this context's range is done, and give up here if the job was cancelled.

        Raises:
            Cancelled: the job was called off.
        """
        if self._between is not None:
            self._between()
        self.check()
        if self._report is not None:
            self._report(self._low + (self._high - self._low) * min(1.0, max(0.0, share)), step)

    def check(self) -> None:
        """Give up here if the job was cancelled.

        Raises:
            Cancelled: the job was called off.
        """
        if self._cancel.wanted.is_set():
            raise Cancelled

    def part(self, low: float, high: float) -> JobContext:
        """A context for one step, which fills this one's range from ``low`` to ``high``."""
        part = JobContext(self._report, self._between)
        span = self._high - self._low
        part._low, part._high = self._low + span * low, self._low + span * high
        part._cancel = self._cancel
        return part

    def cancel(self) -> None:
        """Call the job off. Returns at once; safe on any thread and more than once."""
        self._cancel.fire()

    @property
    def cancelled(self) -> bool:
        """Whether the job was called off."""
        return self._cancel.wanted.is_set()

    @contextmanager
    def on_cancel(self, stop: Callable[[], None]) -> Iterator[None]:
        """While inside, cancelling also calls ``stop``, on the cancelling thread: for calls that cannot look.

        Raises:
            Cancelled: the job was called off before, or meanwhile.
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
    """The flag that a context shares with its parts."""

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
