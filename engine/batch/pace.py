"""How long a batch still takes, by the pictures that it did last."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from engine.errors import Words

_UNITS = ((86400, "{count} days"), (3600, "{count} hours"), (60, "{count} minutes"))
_LAST = 100
"""Pictures that are measured; older ones were perhaps made with other workers or beside other programs."""


class Pace:
    """The time left of a batch: the bytes that are left, at the speed of the last pictures. Of one thread.

    Pictures that were up to date are not measured, and neither is the time for which the batch was held.

    Args:
        left: bytes of the scans that are pending.
        clock: seconds, of a clock that is never set.

    Attributes:
        left: bytes that are left; to be set when scans come or go.
    """

    def __init__(self, left: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.left = left
        self._clock, self._away = clock, 0.0
        self._held_since: float | None = None
        # The time at which each measured picture was completed, and its bytes; the first is the beginning.
        self._done: deque[tuple[float, int]] = deque([(clock(), 0)], maxlen=_LAST + 1)

    def finished(self, size: int, *, worked: bool = True) -> None:
        """Note that a scan is done or has failed.

        Args:
            size: its bytes.
            worked: whether it took work; not if its result was up to date.
        """
        self.left = max(0, self.left - size)
        if worked:
            self._done.append((self._now(), size))

    def hold(self, on: bool) -> None:  # noqa: FBT001 - as BatchRun.hold
        """Note that the batch is held, or goes on."""
        if on and self._held_since is None:
            self._held_since = self._clock()
        elif not on and self._held_since is not None:
            self._away += self._clock() - self._held_since
            self._held_since = None

    def seconds_left(self) -> float | None:
        """The time left, seconds; None as long as no picture has been measured."""
        (start, _), (end, _) = self._done[0], self._done[-1]
        measured = sum(size for _, size in self._done) - self._done[0][1]
        if not measured:
            return None
        return (end - start) * self.left / measured

    def _now(self) -> float:
        """The time without that for which the batch was held."""
        return (self._clock() if self._held_since is None else self._held_since) - self._away


def duration(seconds: float) -> Words:
    """A duration, roughly."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return Words(unit, count=round(seconds / size))
    return Words("{count} s", count=max(1, round(seconds)))
