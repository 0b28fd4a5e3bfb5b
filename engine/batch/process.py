"""A worker process: reads jobs as lines of JSON from stdin, and writes progress and outcomes as such to stdout.

It ends when stdin is closed, so no worker outlives the process that started it. See ``engine.batch.pool`` for the other
end.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import json
import os
import queue
import signal
import sys
import threading
import time
from typing import Any, TextIO

from engine.batch.work import Job, Restorer
from engine.jobs import Cancelled, JobContext
from engine.runtime.session import SESSIONS

_STEP = 0.02
"""Progress is sent when it has grown by this."""


def main() -> int:
    """Work until stdin is closed; returns the exit status."""
    # The process that started this one decides what Ctrl+C means, and closes stdin.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    faulthandler.enable()
    _Process(_own_stdout()).run()
    return 0


def _own_stdout() -> TextIO:
    """The real stdout; what libraries print goes to stderr from here on."""
    own = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(own, "w", encoding="ascii")


class _Process:
    def __init__(self, out: TextIO) -> None:
        self._out, self._lock = out, threading.Lock()
        self._jobs: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._newest: _Work | None = None
        self._held, self._changed = False, threading.Condition()

    def run(self) -> None:
        threading.Thread(target=self._listen, name="listener", daemon=True).start()
        restorer = Restorer()
        self.send(ready=True)
        while (given := self._jobs.get()) is not None:
            try:
                outcome = restorer.do(given.job, given.context)
                outcome = dataclasses.replace(outcome, seconds=round(max(0.0, outcome.seconds - given.paused), 3))
                self.send(id=given.job.id, outcome=outcome.to_dict())
            except Cancelled:
                self.send(id=given.job.id, cancelled=True)

    def _listen(self) -> None:
        """Take jobs, cancellations and pauses until stdin is closed."""
        for line in sys.stdin:
            message: dict[str, Any] = json.loads(line)
            if "threads" in message:
                SESSIONS.threads = message["threads"]
            elif "cancel" in message:
                # Only the newest job can be unfinished: the other end gives the next one when it has the outcome.
                self._change(cancel=True)
            elif "hold" in message:
                self._change(hold=message["hold"])
            else:
                self._newest = _Work(self, Job(**message["job"]))
                self._jobs.put(self._newest)
        self._change(cancel=True, hold=False)
        self._jobs.put(None)

    def _change(self, *, cancel: bool = False, hold: bool | None = None) -> None:
        """Cancel the newest job, or hold or release the work, and wake it to see that."""
        with self._changed:
            self._held = self._held if hold is None else hold
            if cancel and self._newest is not None:
                self._newest.context.cancel()
            self._changed.notify_all()

    def pause(self, work: _Work) -> None:
        """Wait while the work is held and its job is wanted. The work's thread."""
        if not self._held or work.context.cancelled:
            return
        self.send(id=work.job.id, held=True)
        start = time.monotonic()
        with self._changed:
            self._changed.wait_for(lambda: not self._held or work.context.cancelled)
        work.paused += time.monotonic() - start

    def send(self, **message: object) -> None:
        """Send a message. Any thread."""
        # The other end may be gone; stdin is closed then, too.
        with self._lock:
            try:
                self._out.write(json.dumps(message) + "\n")
                self._out.flush()
            except OSError:
                os._exit(1)


class _Work:
    """The work on one job: sends its progress, not more often than anybody could see it, and pauses it.

    Attributes:
        paused: seconds for which it was held.
    """

    def __init__(self, process: _Process, job: Job) -> None:
        self.job, self.paused = job, 0.0
        self.context = JobContext(self._report, lambda: process.pause(self))
        self._process, self._sent = process, -1.0

    def _report(self, share: float, step: str) -> None:
        if share >= self._sent + _STEP or share >= 1.0:
            self._sent = share
            self._process.send(id=self.job.id, share=round(share, 4), step=step)


if __name__ == "__main__":
    sys.exit(main())
