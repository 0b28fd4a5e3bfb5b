"""Tone: bring back the tone and colours of a faded or yellowed picture; nothing moves."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.jobs import JobContext
from engine.tasks.base import Job, Patch
from engine.tasks.clean import STRENGTH, check_strength
from engine.tasks.whole import restore


@dataclass(frozen=True)
class ToneSettings:
    """How far the tone is corrected.

    Raises:
        SettingsError: a value is out of range.
    """

    strength: float = field(default=1.0, metadata=STRENGTH)
    """0 = not at all, 1 = fully."""

    def __post_init__(self) -> None:
        check_strength(self.strength)


def tone(job: Job, context: JobContext) -> Patch:
    """Correct the tone of a whole picture; errors as of ``restore``."""
    assert isinstance(job.settings, ToneSettings)
    return restore(job, job.settings.strength, "correcting the tone", context)
