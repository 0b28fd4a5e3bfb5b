"""Clean: take noise, grain, blur and traces of compression off a whole picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.errors import SettingsError
from engine.jobs import JobContext
from engine.tasks.base import Job, Patch
from engine.tasks.whole import restore

STRENGTH: dict[str, Any] = {
    "title": "Strength",
    "tooltip": "At 0 the picture stays as it is; at the full strength all is done that the model can",
    "low": 0.0,
    "high": 1.0,
    "unit": "",
}
"""How the task panel shows a strength; a model's card may say otherwise."""


@dataclass(frozen=True)
class CleanSettings:
    """How much is cleaned.

    Raises:
        SettingsError: a value is out of range.
    """

    strength: float = field(default=1.0, metadata=STRENGTH)
    """0 = not at all, 1 = fully."""

    def __post_init__(self) -> None:
        if not STRENGTH["low"] <= self.strength <= STRENGTH["high"]:
            raise SettingsError("Strength goes from 0 to 1.", "task.strength")


def clean(job: Job, context: JobContext) -> Patch:
    """Clean a whole picture; errors as of ``restore``."""
    assert isinstance(job.settings, CleanSettings)
    return restore(job, job.settings.strength, "cleaning", context)
