"""Tone: restore the tone and colours of a faded or yellowed picture; its geometry is unchanged."""

from __future__ import annotations

from dataclasses import dataclass

from engine.jobs import JobContext
from engine.tasks.base import Patch, TaskInput
from engine.tasks.whole import WholeSettings, restore


@dataclass(frozen=True)
class ToneSettings(WholeSettings):
    """Strength of the correction."""


def tone(given: TaskInput, context: JobContext) -> Patch:
    """Correct the tone of a whole picture; raises as ``restore``."""
    assert isinstance(given.settings, ToneSettings)
    return restore(given, given.settings.strength, "correcting the tone", context)
