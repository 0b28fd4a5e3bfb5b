"""Detect: look for damage in a whole picture and name it."""

from __future__ import annotations

from engine.errors import ModelError
from engine.jobs import JobContext
from engine.runtime.cards import ModelCard
from engine.tasks.base import Job, Model, check_settings, run_shrinking, to_planes
from engine.tasks.findings import DetectSettings, Findings, seen_in
from engine.tasks.kinds import Signature, check_kind
from engine.tasks.whole import sweep

MAPS: Signature = (("picture", "probability"),)


def check_detector(card: ModelCard) -> None:
    """Refuse a model that cannot be run here; see ``check_kind``."""
    check_kind(card, (MAPS,))
    planes = card.stages[0].outputs[0].channels
    if len(card.labels) != planes or not all(card.labels) or len(set(card.labels)) < planes:
        raise ModelError(
            f"The model {card.id} has {planes} maps of damage, and its card not a name for each (labels).",
            "model.kind",
        )


def detect(job: Job, context: JobContext) -> Findings:
    """Look for damage in a whole picture at full resolution; nothing found is no error.

    Raises:
        ModelError: the model is of another kind.
        SettingsError: a setting is outside the model's range.
        Cancelled, DeviceError, ModelError: see ``Session.run``.
    """
    assert isinstance(job.settings, DetectSettings)
    check_detector(job.card)
    check_settings(job)
    return run_shrinking(job, lambda model, window: _looked(job, model, window, context), context)


def _looked(job: Job, model: Model, window: int, context: JobContext) -> Findings:
    pieces = []
    for rect, probability in sweep(
        job,
        window,
        len(job.card.labels),
        lambda part: model.picture(0, context, picture=to_planes(part)),
        "looking for damage",
        context,
    ):
        seen = seen_in(probability)
        if seen.any():
            pieces.append((rect, seen))
    context.progress(1.0)
    return Findings((job.source.shape[0], job.source.shape[1]), job.card.labels, tuple(pieces), model.device)
