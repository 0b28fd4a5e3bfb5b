"""Detect: look for damage in a whole picture and name it."""

from __future__ import annotations

from engine.errors import ModelError
from engine.jobs import JobContext
from engine.tasks.base import Job, Model, Signature, check_settings, run_shrinking, runs_here, to_planes
from engine.tasks.findings import DetectSettings, Findings, seen_in
from engine.tasks.whole import sweep

MAPS: Signature = (("picture", "probability"),)


def detect(job: Job, context: JobContext) -> Findings:
    """Look for damage in a whole picture at full resolution; nothing found is no error.

    Raises:
        ModelError: the model is of another kind.
        SettingsError: a setting is outside the model's range.
        Cancelled, DeviceError, ModelError: see ``Session.run``.
    """
    assert isinstance(job.settings, DetectSettings)
    card = job.card
    if not runs_here(card, (MAPS,)) or len(card.labels) != card.stages[0].outputs[0].channels:
        raise ModelError(
            f"The model {card.id} is not of the kind that detect can run: one picture (NCHW, 0 to 1) in, "
            "one probability map of the same size out for each of the card's labels.",
            "model.kind",
        )
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
