"""Clean: remove noise, grain, blur and compression artefacts from a whole picture."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.jobs import JobContext
from engine.tasks.base import Patch, TaskInput, knob
from engine.tasks.whole import WholeSettings, restore


@dataclass(frozen=True)
class CleanSettings(WholeSettings):
    """Strength of the cleaning, and the noise level where it is known."""

    noise_level: float = field(
        default=0.0,
        metadata=knob(
            "Noise level",
            "How strong the noise is, on a scale of 255 for every depth; at 0 the model estimates it",
            0.0,
            75.0,
            by_card=True,
        ),
    )
    """Standard deviation of the noise, 0..75 of 255; 0 = unknown."""


def clean(given: TaskInput, context: JobContext) -> Patch:
    """Clean a whole picture; raises as ``restore``."""
    assert isinstance(given.settings, CleanSettings)
    return restore(given, given.settings.strength, "cleaning", context)
