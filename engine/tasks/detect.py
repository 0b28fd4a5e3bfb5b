"""Detect: find damage in a whole picture, name it, and make the repair mask of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from engine import masks
from engine.errors import ModelError
from engine.jobs import JobContext
from engine.raster import TILE, Mask, Rect
from engine.tasks.base import (
    Job,
    Marks,
    Model,
    Ranged,
    Signature,
    check_settings,
    knob,
    run_shrinking,
    runs_here,
    to_planes,
)
from engine.tasks.whole import sweep

MAPS: Signature = (("picture", "probability"),)
_SIMPLE = 1.0
"""How far an outline may stray from the damage's edge, pixels."""
_SWEPT = 0.85
"""Share of the work that the model does."""


@dataclass(frozen=True)
class DetectSettings(Ranged):
    """What counts as damage."""

    threshold: float = field(
        default=0.5,
        metadata=knob("Threshold", "From which probability on a place counts as damaged; lower finds more", 0.01, 0.99),
    )
    """Least probability of the likeliest class."""
    grow: float = field(
        default=2.0,
        metadata=knob("Grow", "The mask reaches so far beyond the damage that was found", 0.0, 100.0, " px"),
    )
    """The mask is larger than the damage by so many pixels; outlines and areas are not."""
    smallest: float = field(
        default=4.0, metadata=knob("Smallest", "Damage of fewer pixels is left alone", 1.0, 10_000.0, " px")
    )
    """Least area of a damage, pixels."""


@dataclass(frozen=True)
class Defect:
    """One damage.

    Attributes:
        kind: the class with the largest summed probability in it, one of the card's labels.
        score: mean probability of the likeliest class over it, 0..1.
        box: tight around it.
        area: pixels.
        outline: corners (x, y) of its outer edge, centres of its outermost pixels.
    """

    kind: str
    score: float
    box: Rect
    area: int
    outline: tuple[tuple[int, int], ...]


def detect(job: Job, context: JobContext) -> Marks:
    """Find the damage in a whole picture; nothing found is no error.

    Pixels whose likeliest class reaches the threshold are damaged; those that touch, also at corners, are one defect.

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
    return run_shrinking(job, lambda model, window: _detected(job, model, window, context), context)


class _Maps:
    """Probabilities of a whole picture: 8 bit, and only of the cells that hold damage."""

    def __init__(self, shape: tuple[int, int], threshold: float) -> None:
        self.damaged = np.zeros(shape, np.uint8)
        self._threshold = threshold
        self._cells: dict[Rect, NDArray[np.uint8]] = {}

    def add(self, rect: Rect, probability: NDArray[np.float32]) -> None:
        """Take the probabilities (h, w, classes) of a rectangle."""
        damaged = probability.max(axis=2) >= self._threshold
        if damaged.any():
            self.damaged[rect.slices()] = damaged
            self._cells[rect] = np.rint(np.clip(probability, 0, 1) * 255).astype(np.uint8)

    def summed(self, labels: NDArray[np.int32], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """For each of ``count`` labels: summed probability of each class (count, classes), and of the likeliest."""
        classes = next(iter(self._cells.values())).shape[2]
        by_class, likeliest = np.zeros((count, classes)), np.zeros(count)
        for rect, values in self._cells.items():
            numbers = labels[rect.slices()]
            where = numbers > 0
            found = values[where] / 255
            np.add.at(by_class, numbers[where], found)
            np.add.at(likeliest, numbers[where], found.max(axis=1))
        return by_class, likeliest


def _detected(job: Job, model: Model, window: int, context: JobContext) -> Marks:
    assert isinstance(job.settings, DetectSettings)
    settings, shape = job.settings, (job.source.shape[0], job.source.shape[1])
    maps, sweeping = _Maps(shape, settings.threshold), context.part(0.0, _SWEPT)
    for rect, probability in sweep(
        job,
        window,
        len(job.card.labels),
        lambda part: model.picture(0, sweeping, picture=to_planes(part)),
        "looking for damage",
        sweeping,
    ):
        maps.add(rect, probability)
    finishing = context.part(_SWEPT, 1.0)
    finishing.progress(0.0, "outlining")
    _, labels, stats, _ = cv2.connectedComponentsWithStats(maps.damaged, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= settings.smallest
    # The first is what is not damaged.
    large[0] = False
    defects = _defects(job, maps, labels, stats, np.flatnonzero(large), finishing) if large.any() else ()
    pieces = tuple(_grown(large, labels, settings.grow, finishing)) if large.any() else ()
    finishing.progress(1.0)
    return Marks(shape, pieces, model.device, defects)


def _defects(
    job: Job,
    maps: _Maps,
    labels: NDArray[np.int32],
    stats: NDArray[np.int32],
    large: NDArray[np.intp],
    context: JobContext,
) -> tuple[Defect, ...]:
    by_class, likeliest = maps.summed(labels, len(stats))
    outlines = _outlines(maps.damaged, labels, set(large.tolist()), context)
    defects = []
    for number in large.tolist():
        context.check()
        left, top, width, height, area = stats[number].tolist()
        kind = job.card.labels[int(by_class[number].argmax())]
        box = Rect(left, top, left + width, top + height)
        defects.append(Defect(kind, float(likeliest[number] / area), box, area, outlines[number]))
    return tuple(defects)


def _outlines(
    damaged: Mask, labels: NDArray[np.int32], wanted: set[int], context: JobContext
) -> dict[int, tuple[tuple[int, int], ...]]:
    """The outer edges of the wanted damages, by label, with as few corners as keep within ``_SIMPLE``."""
    contours, hierarchy = cv2.findContours(damaged, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outlines = {}
    for contour, (_, _, _, parent) in zip(contours, hierarchy[0].tolist(), strict=True):
        x, y = contour[0, 0].tolist()
        # Edges of holes have a parent.
        if parent < 0 and (label := int(labels[y, x])) in wanted:
            context.check()
            corners = cv2.approxPolyDP(contour, _SIMPLE, closed=True)
            outlines[label] = tuple((int(x), int(y)) for x, y in corners[:, 0].tolist())
    return outlines


def _grown(
    large: NDArray[np.bool_], labels: NDArray[np.int32], radius: float, context: JobContext
) -> Iterator[tuple[Rect, Mask]]:
    """The mask of the damages that count, enlarged, cell by cell; empty cells are left out."""
    bounds, reach = Rect.of_shape(labels.shape), math.ceil(radius)
    for cell in bounds.cells():
        context.check()
        rect = Rect.of_cell(cell, TILE) & bounds
        around = rect.grown(reach) & bounds
        mask = np.where(large[labels[around.slices()]], np.uint8(255), np.uint8(0))
        if mask.any():
            mask = masks.grow(mask, radius)[rect.slices(around)].copy()
            if mask.any():
                yield rect, mask
