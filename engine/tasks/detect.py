"""Detect: find and classify damage in a whole picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from engine.errors import ModelError
from engine.jobs import JobContext
from engine.raster import Rect
from engine.runtime.cards import ModelCard
from engine.tasks.base import Model, TaskInput, check_settings, run_shrinking, to_planes
from engine.tasks.findings import DAMAGE, SHAPES, DamagePixels, DetectSettings, Findings, to_damage_pixels
from engine.tasks.kinds import Signature, check_kind
from engine.tasks.pyramid import ReducedSource, merge_reduced, scales_of
from engine.tasks.whole import sweep

MAPS: Signature = (("picture", "probability"),)


def check_detector(card: ModelCard) -> None:
    """Refuse a model that detect cannot run, or without a label for each plane; raises as ``check_kind``."""
    # The threshold is no input of a model, but which one is sensible depends on it.
    check_kind(card, (MAPS,), free=("threshold",))
    planes = card.stages[0].outputs[0].channels
    if len(card.labels) != planes or not all(card.labels) or len(set(card.labels)) < planes:
        raise ModelError(
            "The model {model} has {planes} maps of damage, but its card does not name each of them (labels).",
            "model.kind",
            model=card.id,
            planes=planes,
        )


def detect(given: TaskInput, context: JobContext) -> Findings:
    """Find damage in a whole picture, and in a large one also in reductions of it. Finding none is no error.

    Raises:
        ModelError: the model is of another kind.
        SettingsError: a setting is outside the model's range.
        Cancelled, DeviceError, ModelError: see ``Session.run``.
    """
    assert isinstance(given.settings, DetectSettings)
    check_detector(given.card)
    check_settings(given)
    return run_shrinking(given, lambda model, window: _detect_scales(given, model, window, context), context)


def _detect_scales(given: TaskInput, model: Model, window: int, context: JobContext) -> Findings:
    """Run the model at all scales, the coarsest first, and merge their maps into that of full size."""
    *steps, _ = reversed(scales_of(given.source.shape))
    shares = [1 / step**2 for step in steps]
    whole, done = 1 + sum(shares), 0.0
    coarse = []
    for step, share in zip(steps, shares, strict=True):
        part = context.part(done / whole, (done + share) / whole)
        reduced = replace(given, source=ReducedSource(given.source, step))
        pieces = [(rect, seen) for rect, seen in _detect_scale(reduced, model, window, part) if seen.any()]
        coarse.append((step, _findings(reduced, pieces, model, ())))
        done += share
    found = []
    for rect, seen in _detect_scale(given, model, window, context.part(done / whole, 1.0)):
        surest = seen
        for step, findings in coarse:
            surest = merge_reduced(surest, rect, findings, step)
        if surest.any():
            found.append((rect, surest))
    context.progress(1.0)
    return _findings(given, found, model, tuple(sorted({1, *steps})))


def _detect_scale(
    given: TaskInput, model: Model, window: int, context: JobContext
) -> Iterator[tuple[Rect, DamagePixels]]:
    """Run the model at one scale and yield the map of each cell of the ``TILE`` grid."""
    for rect, probability in sweep(
        given,
        window,
        len(given.card.labels),
        lambda part: model.picture(0, context, picture=to_planes(part)),
        "looking for damage",
        context,
    ):
        yield rect, to_damage_pixels(probability)


def _findings(
    given: TaskInput, pieces: list[tuple[Rect, DamagePixels]], model: Model, scales: tuple[int, ...]
) -> Findings:
    labels = SHAPES if given.card.labels == DAMAGE else given.card.labels
    return Findings((given.source.shape[0], given.source.shape[1]), labels, tuple(pieces), model.device, scales)
