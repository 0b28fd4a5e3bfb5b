"""An enlargement of a photograph into a file of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from desktop.document.compose import Composite
from desktop.document.edits import Edit
from desktop.document.model import Document, Layer
from desktop.document.project import Snapshot
from desktop.work.base import Job, NextActive, Outcome, TaskRequest, TaskRunner
from engine import imageio
from engine.jobs import JobContext
from engine.output import Output, write_result
from engine.raster import Raster

if TYPE_CHECKING:
    from engine.runtime.cards import Registry


@dataclass(frozen=True, kw_only=True)
class Enlarge(Job):
    """All that is visible, enlarged into a file of its own with its record; the photograph stays as it is.

    Attributes:
        request: of a task that gives another picture.
        output: where to.
    """

    request: TaskRequest
    output: Output
    changes = False


@dataclass(frozen=True)
class WrittenFile:
    """A file that was written, and what is to be said of it."""

    path: Path
    notices: tuple[str, ...]


class EnlargeRunner(TaskRunner[Enlarge]):
    """Runs an ``Enlarge``."""

    def __init__(self, job: Enlarge, document: Document, registry: Registry) -> None:
        super().__init__(job, document, registry, job.request)

    def freeze(self, active: Layer | None) -> Callable[[JobContext], Outcome]:
        """All layers are read, whichever is chosen."""
        from engine.tasks import run_task

        del active
        snapshot, output = Snapshot.of(self._document), self._job.output
        job = self._task_input(Composite.of(snapshot.state))
        height, width = (job.card.tile.scale * side for side in job.source.shape[:2])
        imageio.check_size(output.path, width, height)

        def work(context: JobContext) -> Outcome:
            enlarged = run_task(job, context.part(0.0, 0.85))
            before = snapshot.state.scan.read(snapshot.state.scan.bounds)
            scan = Raster(before, snapshot.profile, snapshot.resolution, snapshot.metadata)
            repair = enlarged.repair(job)
            notices = write_result(
                enlarged.raster(scan),
                output,
                scan=before,
                source=snapshot.scan,
                repairs=[*snapshot.state.repairs(), repair],
                command="upscale",
                context=context.part(0.85, 1.0),
            )
            return Outcome(WrittenFile(output.path, notices), enlarged.device.value, (repair,))

        return work

    def edit(self, outcome: Outcome) -> tuple[Edit | None, NextActive]:
        """Nothing changes here."""
        del outcome
        return None, None
