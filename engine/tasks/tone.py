"""Tone: bring back the tone and colours of a faded or yellowed picture; nothing moves."""

from __future__ import annotations

from dataclasses import dataclass

from engine.jobs import JobContext
from engine.tasks.base import Patch, TaskInput
from engine.tasks.whole import WholeSettings, restore


@dataclass(frozen=True)
class ToneSettings(WholeSettings):
    """How far the tone is corrected."""


def tone(given: TaskInput, context: JobContext) -> Patch:
    """Correct the tone of a whole picture; errors as of ``restore``."""
    assert isinstance(given.settings, ToneSettings)
    return restore(given, given.settings.strength, "correcting the tone", context)
