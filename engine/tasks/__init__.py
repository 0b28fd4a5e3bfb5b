"""The kinds of repair. A task is a settings dataclass, a pure function and a row in ``TASKS``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.errors import SettingsError
from engine.jobs import JobContext
from engine.tasks.base import Job, Patch, Piece
from engine.tasks.heal import HealSettings, heal


@dataclass(frozen=True)
class Task:
    """One kind of repair.

    Attributes:
        id: its name in cards, recipes and on the command line.
        title: its verb in the window.
        settings: dataclass of its settings; its fields carry titles and ranges for the task panel.
        wants_mask: whether it works on a repair mask.
        run: the function.
    """

    id: str
    title: str
    settings: type
    wants_mask: bool
    run: Callable[[Job, JobContext], Patch]


TASKS: dict[str, Task] = {task.id: task for task in (Task("heal", "Heal", HealSettings, True, heal),)}


def run_job(job: Job, context: JobContext | None = None) -> Patch:
    """Run one job on the calling thread.

    Raises:
        Cancelled: the context was cancelled.
        EngineError: the job cannot be done; the sentence says why.
    """
    if job.card.task != job.task:
        raise SettingsError(f"The model {job.card.id} does not do {job.task}, but {job.card.task}.", "task.model")
    return TASKS[job.task].run(job, context or JobContext())


__all__ = ["TASKS", "HealSettings", "Job", "Patch", "Piece", "Task", "run_job"]
