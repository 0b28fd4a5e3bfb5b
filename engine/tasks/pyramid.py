"""Looking at a picture at several scales: reductions of it, and what was seen in them brought back to full size."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from engine.raster import Pixels, PixelSource, Rect
from engine.resample import magnify
from engine.tasks.findings import DamagePixels, Findings
from engine.tiling import strips

SHORTEST = 700
"""A picture is reduced only as long as its short side stays at least so long, pixels. Detectors are trained on
pictures of this size, so damage in the smallest reduction is about as large as what they were taught."""
LARGEST_STEP = 8
"""The strongest reduction."""
_STRIP = 512
"""Rows of the picture that are reduced at a time, so that memory follows the width of a window."""


def scales_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The steps by which a picture is reduced when it is searched: 1, and 2, 4 and 8 for large pictures.

    Args:
        shape: height, width, ... of the picture.
    """
    steps = [1]
    while steps[-1] < LARGEST_STEP and min(shape[:2]) >= 2 * steps[-1] * SHORTEST:
        steps.append(2 * steps[-1])
    return tuple(steps)


def scales_in_words(scales: tuple[int, ...]) -> str:
    """For instance ``at full size and reduced 2 and 4 times``; empty where only the full size was looked at."""
    *most, last = ["full size", *(str(step) for step in scales if step > 1)]
    if not most:
        return ""
    steps = " and ".join(filter(None, [", ".join(most[1:]), last]))
    return f"at full size and reduced {steps} times"


class Reduced:
    """A picture reduced by a whole step, by means of squares; computed where it is read.

    Args:
        source: the picture.
        step: side of the squares, pixels; the last row and column of squares may hang over the edge of the picture.
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
    """The surer of what was seen at full size and in a reduction, pixel by pixel.

    Args:
        seen: what was seen in a rectangle of the picture.
        rect: the rectangle.
        reduced: what was seen in the whole picture reduced.
        step: by how much it was reduced.

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
