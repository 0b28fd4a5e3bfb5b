"""The worker processes of a batch, as seen from the process that started them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from engine.batch.work import Job
from engine.resources import import_folder, is_frozen

WORKER_COMMAND = "batch-worker"
"""Subcommand by which a frozen program starts itself as a worker."""

_MEMORY = 3 << 30
"""Free memory that a worker should find, bytes: with the recipe Standard, 2.5 GB for a scan of 12 megapixels."""
_PATIENCE = 5.0
"""Longest time that an idle worker is given to end by itself, seconds."""


def fitting_workers(*, leave_core: bool = False, running: int = 0) -> int:
    """Number of workers for this computer by its cores and free memory; at least 1.

    Args:
        leave_core: leave one core to other programs.
        running: workers that run already; their memory is not free, and is theirs.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores - leave_core, running + int(psutil.virtual_memory().available) // _MEMORY))


class Worker(Protocol):
    """What works on one scan at a time for a run: a process here, or a place in a cluster.

    Attributes:
        job: what it works on; None = nothing.
        ready: whether it has started.
    """

    job: Job | None
    ready: bool

    def start(self, job: Job) -> None:
        """Give it a job; it must have none."""

    def cancel(self) -> None:
        """Break its job off, also while it is held; it reports ``cancelled``, or an outcome if it was done by then."""

    def hold(self, *, on: bool) -> None:
        """Pause its job between two windows of a model's work, where it reports ``held``; or let it go on."""

    def end(self) -> None:
        """End it, and wait for it."""

    def death(self) -> str:
        """How one that has ended by itself died, as the rest of a sentence."""


@dataclass(frozen=True)
class Event:
    """What a worker reports.

    Attributes:
        worker: the one that reports.
        message: ``ready``, progress (``id``, ``share``, ``step``), ``held``, ``outcome`` or ``cancelled`` as sent;
            empty: the worker has ended.
    """

    worker: Worker
    message: dict[str, Any]


_START = (
    "import sys; sys.argv[1] in sys.path or sys.path.insert(0, sys.argv[1]); "
    "from engine.batch.process import main; sys.exit(main())"
)


def _command() -> list[str]:
    """The command line of a worker.

    It imports nothing from the folder in which this program was started, as ``-m`` alone would: that may hold anything.
    """
    if is_frozen():
        # The program with a console: Windows gives the other one no streams.
        beside = Path(sys.executable).with_name(f"lacuna-cli{Path(sys.executable).suffix}")
        return [str(beside if beside.is_file() else sys.executable), WORKER_COMMAND]
    # In a source checkout that is not installed the worker would not find the program otherwise.
    return [sys.executable, "-P", "-c", _START, str(import_folder())]


class WorkerProcess:
    """A ``Worker`` that is a process. Its methods are for the thread that made it; events come on another thread.

    Args:
        threads: processor threads of its models; 0 = one for each core.
        on_event: called with each event, on another thread.
    """

    def __init__(self, threads: int, on_event: Callable[[Event], None]) -> None:
        self.job: Job | None = None
        self.ready = False
        self._on_event = on_event
        self._process = subprocess.Popen(  # noqa: S603 - this program itself
            _command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            # No console window on Windows.
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            # Signals of a terminal or of a service are for the process that runs the batch, which ends its workers.
            start_new_session=True,
        )
        self._said: deque[str] = deque(maxlen=20)
        self._threads = [
            threading.Thread(target=target, name="batch worker", daemon=True)
            for target in (self._listen, self._keep_stderr)
        ]
        for thread in self._threads:
            thread.start()
        self._send({"threads": threads})

    def start(self, job: Job) -> None:
        self.job = job
        self._send({"job": dataclasses.asdict(job)})

    def cancel(self) -> None:
        if self.job is not None:
            self._send({"cancel": self.job.id})

    def hold(self, *, on: bool) -> None:
        self._send({"hold": on})

    def end(self) -> None:
        """Let it end after its job, and wait for it; a worker that does not end is killed."""
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join()
        for pipe in (self._process.stdout, self._process.stderr):
            pipe.close()  # type: ignore[union-attr]

    def death(self) -> str:
        status = self._process.wait()
        if status == -9:
            return "the system ended it, probably because the memory was not enough"
        if status < 0:
            return f"it crashed (signal {-status})"
        last = next((line for line in reversed(self._said) if line.strip()), "")
        return f"it crashed: {last.strip()}" if last else f"it ended with status {status}"

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def _send(self, message: dict[str, Any]) -> None:
        # If it has ended, that is reported as an event.
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(json.dumps(message) + "\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]

    def _listen(self) -> None:
        for line in self._process.stdout:  # type: ignore[union-attr]
            try:
                message = json.loads(line)
            except ValueError:
                # Killed in the middle of a line; or a library has got hold of its real stdout.
                self._process.kill()
                break
            self.ready = True
            self._on_event(Event(self, message))
        self._process.wait()
        self._on_event(Event(self, {}))

    def _keep_stderr(self) -> None:
        for line in self._process.stderr:  # type: ignore[union-attr]
            self._said.append(line)
