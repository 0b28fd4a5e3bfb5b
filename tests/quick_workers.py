"""Workers for the runs of batches that do no work, so that a test takes no time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from engine.batch.plan import Plan
from engine.batch.pool import Event
from engine.batch.rows import Outcome, State
from engine.batch.work import Job

PLAN = Plan("mine", 'title = "Mine"\n[[steps]]\ntask = "clean"\nmodel = "none"\n')
DONE = Outcome(State.DONE)


class Answers:
    """Makes a ``Worker`` that answers each job at once.

    Args:
        outcomes: of the first jobs; for later ones some result is written.

    Attributes:
        asked: the names of the results that were asked for.
    """

    def __init__(self, *outcomes: Outcome) -> None:
        self._outcomes, self.asked = list(outcomes), list[str]()

    def __call__(self, on_event: Callable[[Event], None]) -> Answers:
        self.job, self.ready, self._on_event = None, True, on_event
        return self

    def start(self, job: Job) -> None:
        self.job = job
        self.asked.append(job.output)
        outcome = self._outcomes.pop(0) if self._outcomes else DONE
        if outcome is DONE:
            result = Path(job.folder, job.output)
            result.parent.mkdir(exist_ok=True)
            result.write_bytes(b"result")
            status = result.stat()
            outcome = replace(DONE, output_size=status.st_size, output_modified=status.st_mtime_ns)
        self._on_event(Event(self, {"id": job.id, "outcome": outcome.to_dict()}))

    def cancel(self) -> None: ...

    def hold(self, *, on: bool) -> None: ...

    def end(self) -> None: ...

    def death(self) -> str:
        return ""
