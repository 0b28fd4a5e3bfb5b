"""Ctrl+C, SIGTERM and SIGHUP on the command line: the first cancels the job, a second one stops the program at once."""

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
def cancelled_by_signals(context: JobContext) -> Iterator[list[int]]:
    """Context manager: the first SIGINT, SIGTERM or SIGHUP cancels a context. Does nothing outside the main thread.

    Python runs signal handlers only between bytecode instructions, and a model's run is a single one. Therefore a
    thread, which the signal wakes through a pipe, cancels the context and thereby stops the run. Signals that are
    ignored already (by ``nohup``, or by a shell for background jobs) stay ignored.

    Yields:
        The numbers of the signals that came, a list that grows.

    Raises:
        KeyboardInterrupt: on the second signal, from any place in the block.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    read, write = os.pipe()
    if os.name != "nt":
        os.set_blocking(write, False)
    watcher = threading.Thread(target=_watch, args=(read, context, came), name="signals")
    watcher.start()
    woken, previous, handle = signal.set_wakeup_fd(write), dict[int, Any](), _handler()
    try:
        for number in _SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                previous[number] = signal.signal(number, handle)
        yield came
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(woken)
        # Closing the pipe ends the watcher.
        os.close(write)
        watcher.join()
        os.close(read)


def _watch(read: int, context: JobContext, came: list[int]) -> None:
    while number := os.read(read, 1):
        if number[0] in _SIGNALS:
            came.append(number[0])
            context.cancel()


def _handler() -> Callable[[int, FrameType | None], None]:
    seen = 0

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            raise KeyboardInterrupt

    return handle
