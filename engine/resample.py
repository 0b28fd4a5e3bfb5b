"""Reducing and enlarging pictures of any sample type, (h, w) or (h, w, c)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.jobs import JobContext
from engine.raster import contiguous

_STRIP = 1024
"""Rows reduced between two checks of the cancel flag."""


def halve(picture: NDArray[Any]) -> NDArray[Any]:
    """Halve a picture by means of 2 x 2 pixels, to size ceil(n / 2); an odd last row or column is repeated."""
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        padding = [(0, height % 2), (0, width % 2)] + [(0, 0)] * (picture.ndim - 2)
        picture = np.pad(picture, padding, mode="edge")
        height, width = picture.shape[:2]
    reduced = cv2.resize(np.ascontiguousarray(picture), (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(reduced).reshape(height // 2, width // 2, *picture.shape[2:])


def shrink(picture: NDArray[Any], side: int) -> NDArray[Any]:
    """Reduce a picture by area averages so that its longer side has at most so many pixels, (h, w) or (h, w, c)."""
    scale = min(1.0, side / max(picture.shape[:2]))
    height, width = (max(1, round(scale * length)) for length in picture.shape[:2])
    reduced = cv2.resize(contiguous(picture), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(reduced).reshape(height, width, *picture.shape[2:])


def reductions(picture: NDArray[Any], levels: int, context: JobContext | None = None) -> tuple[NDArray[Any], ...]:
    """An image pyramid: the picture reduced by 2, 4, ... 2**levels with ``halve``; read-only.

    Raises:
        Cancelled: the context was cancelled.
    """
    context = context or JobContext()
    made: list[NDArray[Any]] = []
    for level in range(levels):
        height, width = picture.shape[:2]
        reduced = np.empty((-(-height // 2), -(-width // 2), *picture.shape[2:]), picture.dtype)
        for top in range(0, height, _STRIP):
            context.progress((level + top / height) / levels, "preparing the view")
            reduced[top // 2 : (top + _STRIP) // 2] = halve(picture[top : top + _STRIP])
        reduced.flags.writeable = False
        made.append(reduced)
        picture = reduced
    return tuple(made)


def magnify(
    picture: NDArray[Any], scale: float, offset: tuple[float, float], size: tuple[int, int], *, smooth: bool
) -> NDArray[Any]:
    """Resample a part of a picture.

    Args:
        picture: the part, with some pixels of margin.
        scale: pixels of the result per pixel of the picture; at least 0.5.
        offset: (x, y) position of the picture's top left corner in the result, pixels of the result.
        size: width and height of the result.
        smooth: bilinear interpolation; otherwise nearest neighbour.

    Returns:
        (height, width) or (height, width, c) of the same sample type; outside the picture its border is repeated.
    """
    # Integer coordinates are pixel centres in OpenCV, and pixel corners here.
    matrix = np.array([[scale, 0, offset[0] + scale / 2 - 0.5], [0, scale, offset[1] + scale / 2 - 0.5]], np.float64)
    result = cv2.warpAffine(
        np.ascontiguousarray(picture),
        matrix,
        size,
        flags=cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(result).reshape(size[1], size[0], *picture.shape[2:])
