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
        self._jobs: queue.SimpleQueue[tuple[Job, JobContext] | None] = queue.SimpleQueue()
        self._newest = JobContext()

    def run(self) -> None:
        threading.Thread(target=self._listen, name="listener", daemon=True).start()
        restorer = Restorer()
        self._send(ready=True)
        while (given := self._jobs.get()) is not None:
            job, context = given
            try:
                outcome = restorer.do(job, context)
                self._send(id=job.id, outcome=outcome.to_dict())
            except Cancelled:
                self._send(id=job.id, cancelled=True)

    def _listen(self) -> None:
        """Take jobs and cancellations until stdin is closed."""
        for line in sys.stdin:
            message: dict[str, Any] = json.loads(line)
            if "threads" in message:
                SESSIONS.threads = message["threads"]
            elif "cancel" in message:
                # Only the newest job can be unfinished: the other end gives the next one when it has the outcome.
                self._newest.cancel()
            else:
                job = Job(**message["job"])
                self._newest = JobContext(_Reporter(self, job.id).report)
                self._jobs.put((job, self._newest))
        self._newest.cancel()
        self._jobs.put(None)

    def _send(self, **message: object) -> None:
        # The other end may be gone; stdin is closed then, too.
        with self._lock:
            try:
                self._out.write(json.dumps(message) + "\n")
                self._out.flush()
            except OSError:
                os._exit(1)

    def send_progress(self, id_: int, share: float, step: str) -> None:
        self._send(id=id_, share=round(share, 4), step=step)


@dataclasses.dataclass
class _Reporter:
    """Sends the progress of one job, not more often than anybody could see it."""

    process: _Process
    id: int
    sent: float = -1.0

    def report(self, share: float, step: str) -> None:
        if share >= self.sent + _STEP or share >= 1.0:
            self.sent = share
            self.process.send_progress(self.id, share, step)


if __name__ == "__main__":
    sys.exit(main())
