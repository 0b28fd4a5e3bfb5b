"""Detection at several scales: reducing a picture, and merging the maps of its reductions into that of full size."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from engine.raster import Pixels, PixelSource, Rect
from engine.resample import magnify
from engine.tasks.findings import DamagePixels, Findings
from engine.tiling import strips

SHORTEST = 700
"""Least short side of a reduction, pixels. Detectors are trained on pictures of this size, so in the smallest reduction
damage has about the size that it had in training."""
LARGEST_STEP = 8
"""Largest reduction factor."""
_STRIP = 512
"""Rows of the picture that are reduced at a time, to limit memory."""


def scales_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The factors by which a picture is reduced for detection: 1, and for large pictures 2, 4 and 8.

    Args:
        shape: height, width, ... of the picture.
    """
    steps = [1]
    while steps[-1] < LARGEST_STEP and min(shape[:2]) >= 2 * steps[-1] * SHORTEST:
        steps.append(2 * steps[-1])
    return tuple(steps)


def scales_in_words(scales: tuple[int, ...]) -> str:
    """Text such as ``at full size and reduced 2 and 4 times``; empty for full size alone."""
    *most, last = ["full size", *(str(step) for step in scales if step > 1)]
    if not most:
        return ""
    steps = " and ".join(filter(None, [", ".join(most[1:]), last]))
    return f"at full size and reduced {steps} times"


class ReducedSource:
    """A ``PixelSource`` reduced by an integer factor, by the means of squares; computed when a rectangle is read.

    Args:
        source: the picture.
        step: side of the squares, pixels; at the right and lower edge squares are completed with the last pixel.
    """

    def __init__(self, source: PixelSource, step: int) -> None:
        self._source, self._step = source, step
        self._bounds = Rect.of_shape(source.shape)

    @property
    def shape(self) -> tuple[int, int, int]:
        height, width, channels = self._source.shape
        return -(-height // self._step), -(-width // self._step), channels

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._source.dtype

    def read(self, rect: Rect) -> Pixels:
        result = np.empty((rect.height, rect.width, self.shape[2]), self.dtype)
        rows = max(1, _STRIP // self._step)
        for part in strips(rect, rows):
            result[part.slices(rect)] = self._squares(part)
        return result

    def _squares(self, part: Rect) -> Pixels:
        step = self._step
        whole = Rect(part.left * step, part.top * step, part.right * step, part.bottom * step)
        inside = whole & self._bounds
        pixels = self._source.read(inside)
        missing = (0, whole.height - inside.height), (0, whole.width - inside.width), (0, 0)
        if missing[0][1] or missing[1][1]:
            pixels = np.pad(pixels, missing, mode="edge")
        small = cv2.resize(np.ascontiguousarray(pixels), (part.width, part.height), interpolation=cv2.INTER_AREA)
        return np.asarray(small).reshape(part.height, part.width, -1)


def merge_reduced(seen: DamagePixels, rect: Rect, reduced: Findings, step: int) -> DamagePixels:
    """Merge the map of a reduction into that of full size: the higher probability of each pixel, and its class.

    Args:
        seen: the map at full size in a rectangle.
        rect: the rectangle.
        reduced: the detection in the whole reduced picture.
        step: the reduction factor.

    Returns:
        (h, w, 2) uint8, as ``seen``.
    """
    area = Rect(rect.left // step - 1, rect.top // step - 1, -(-rect.right // step) + 1, -(-rect.bottom // step) + 1)
    area &= Rect.of_shape(reduced.shape)
    small = reduced.read(area)
    if not small[..., 0].any():
        return seen
    offset = float(area.left * step - rect.left), float(area.top * step - rect.top)
    size = rect.width, rect.height
    probability = magnify(small[..., 0], float(step), offset, size, smooth=True)
    kind = magnify(small[..., 1], float(step), offset, size, smooth=False)
    surer = probability > seen[..., 0]
    return np.where(surer[..., None], np.stack([probability, kind], axis=2), seen)
