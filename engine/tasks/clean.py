"""Clean: take noise, grain, blur and traces of compression off a whole picture."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.jobs import JobContext
from engine.tasks.base import Job, Patch, Ranged, knob
from engine.tasks.whole import restore


@dataclass(frozen=True)
class CleanSettings(Ranged):
    """How much is cleaned."""

    strength: float = field(
        default=1.0,
        metadata=knob(
            "Strength", "At 0 the picture stays as it is; at the full strength all is done that the model can", 0.0, 1.0
        ),
    )
    """0 = not at all, 1 = fully; a model's card may say otherwise where it starts."""


def clean(job: Job, context: JobContext) -> Patch:
    """Clean a whole picture; errors as of ``restore``."""
    assert isinstance(job.settings, CleanSettings)
    return restore(job, job.settings.strength, "cleaning", context)
