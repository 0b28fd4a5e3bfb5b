"""Ctrl+C, SIGTERM and SIGHUP: the first calls the job off, a second one ends the program where it stands."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from engine.jobs import JobContext

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def cancelled_by_signals(context: JobContext) -> Iterator[None]:
    """While inside, a signal that asks the program to end cancels a context. Main thread; elsewhere nothing changes.

    Python runs handlers between two of its own instructions only, and a model's run is one instruction. So a thread is
    woken by the signal itself and cancels the context, which stops the run. Signals that were ignored when the program
    started (by ``nohup``, or by a shell for its background jobs) stay ignored.

    Raises:
        KeyboardInterrupt: the second signal, at whatever place that is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    read, write = os.pipe()
    if os.name != "nt":
        os.set_blocking(write, False)
    watcher = threading.Thread(target=_watch, args=(read, context), name="signals")
    watcher.start()
    woken, previous, handle = signal.set_wakeup_fd(write), dict[int, Any](), _handler()
    try:
        for number in _SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                previous[number] = signal.signal(number, handle)
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(woken)
        # With nothing more to read the watcher ends.
        os.close(write)
        watcher.join()
        os.close(read)


def _watch(read: int, context: JobContext) -> None:
    while number := os.read(read, 1):
        if number[0] in _SIGNALS:
            context.cancel()


def _handler() -> Callable[[int, FrameType | None], None]:
    seen = 0

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            raise KeyboardInterrupt

    return handle
