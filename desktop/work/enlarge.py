"""Enlarges a photograph into a new file."""

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
    """Enlarges the visible picture into a new file with its record; the photograph is not changed.

    Attributes:
        request: a task that gives another picture.
        output: the file.
    """

    request: TaskRequest
    output: Output
    changes = False


@dataclass(frozen=True)
class WrittenFile:
    """A file that was written, and notices for the restorer."""

    path: Path
    notices: tuple[str, ...]


class EnlargeRunner(TaskRunner[Enlarge]):
    """Executes ``Enlarge``."""

    def __init__(self, job: Enlarge, document: Document, registry: Registry) -> None:
        super().__init__(job, document, registry, job.request)

    def freeze(self, active: Layer | None) -> Callable[[JobContext], Outcome]:
        """Freeze the whole visible picture, whatever layer is active."""
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
        """No edit: the result is a file."""
        del outcome
        return None, None
