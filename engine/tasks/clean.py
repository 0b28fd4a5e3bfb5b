"""Clean: remove noise, grain, blur and compression artefacts from a whole picture."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from engine.colour import ModelSpace
from engine.jobs import JobContext
from engine.raster import Floats, PixelSource, Rect
from engine.tasks.base import Patch, TaskInput, knob
from engine.tasks.whole import WholeSettings, restore

LEAST_NOISE = 1.0
"""Less is hardly any noise: standard deviation on a scale of 255."""
_CELLS = 64
"""Largest number of cells in which the noise is measured."""
_SQUARE = 32
"""Side of the squares in each of which it is estimated, pixels."""
_CALMEST = 0.15
"""Detail of the picture only adds to an estimate, so the one is taken that this share of the squares is below."""
_CLIPPED = 0.05
"""Squares whose mean is as near to black or white are left out: there noise is cut off."""


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


def noise_in_words(source: PixelSource, profile: bytes | None, context: JobContext) -> str:
    """A sentence about the measured noise of a picture; raises Cancelled."""
    level = noise_level(source, profile, context)
    if level < LEAST_NOISE:
        return "Hardly any noise is measured in this picture."
    return f"Noise measured in this picture: about {level:.0f}."


def noise_level(source: PixelSource, profile: bytes | None, context: JobContext) -> float:
    """Estimate the standard deviation of a picture's noise, on a scale of 255 in model space.

    The noise must be white; correlated grain and JPEG give lower values. In each of many squares it is estimated from
    the response to a mask that ignores linear gradients (Immerkaer, Fast noise variance estimation, 1996), and of the
    estimates one of the lowest is taken.

    Args:
        source: the picture.
        profile: its ICC profile; None = sRGB.
        context: cancellation.

    Raises:
        Cancelled: the context was cancelled.
    """
    space, whole = ModelSpace(profile, source.shape[2]), Rect.of_shape(source.shape)
    cells = [Rect.of_cell(cell) & whole for cell in whole.cells()]
    found, calm = [], []
    for cell in cells[:: -(-len(cells) // _CELLS)]:
        context.check()
        levels, means = _square_levels(space.to_model(source.read(cell)))
        found.append(levels)
        calm.append((means > _CLIPPED) & (means < 1 - _CLIPPED))
    levels, inside = np.concatenate(found), np.concatenate(calm)
    levels = levels[inside] if inside.any() else levels
    return float(255 * np.quantile(levels, _CALMEST)) if levels.size else 0.0


def _square_levels(picture: Floats) -> tuple[Floats, Floats]:
    """Noise and mean of each whole square of a picture (h, w, 3), averaged over the channels; (squares,) each."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(picture, cv2.CV_32F, kernel)).mean(axis=2) * (np.sqrt(np.pi / 2) / 6)
    height, width = (max(1, side // _SQUARE) for side in picture.shape[:2])
    side = min(_SQUARE, *picture.shape[:2])

    def means(values: Floats) -> Floats:
        squares = values[: height * side, : width * side].reshape(height, side, width, side)
        return np.asarray(squares.mean(axis=(1, 3)).ravel(), np.float32)

    return means(np.asarray(response, np.float32)), means(np.asarray(picture.mean(axis=2), np.float32))
