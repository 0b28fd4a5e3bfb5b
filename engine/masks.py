"""Operations on masks: (H, W) uint8, 255 = repair. Every function returns a new array and does not change its input."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.raster import Mask, MaskSource, Rect

MAX_DAMAGE_SHARE = 0.25
"""Damage found on a larger share of a picture, 0..1, is taken for a false detection."""
_FINE_AREA = 16_000_000
"""Polygons over fewer pixels are drawn with antialiasing."""
_COARSE = 16
"""Side of the squares by which damage is grouped, pixels."""


def grow(mask: Mask, radius: float) -> Mask:
    """Dilate by a disc: every pixel gets the highest value within a radius in pixels."""
    if radius <= 0 or not mask.any():
        return mask.copy()
    if _is_binary(mask):
        return np.where(_distance(mask) <= radius, np.uint8(255), np.uint8(0))
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (x * x + y * y <= radius * radius).astype(np.uint8)
    return np.asarray(cv2.dilate(mask, disc, borderType=cv2.BORDER_CONSTANT, borderValue=0), np.uint8)


def shrink(mask: Mask, radius: float) -> Mask:
    """Erode by a disc of a radius in pixels; pixels outside the picture count as masked."""
    return invert(grow(invert(mask), radius))


def invert(mask: Mask) -> Mask:
    """255 minus the mask."""
    return np.asarray(255 - mask, np.uint8)


def feather(mask: Mask, width: float, *, soft: bool | None = None) -> Mask:
    """Fade a mask outwards: values fall linearly to 0 over a width in pixels; no value becomes lower.

    This is a greyscale dilation by a cone. Distances are Euclidean for a mask of only 0 and 255, and chamfer distances
    (1, sqrt 2) for a soft mask.

    Args:
        mask: (H, W).
        width: of the fade, pixels.
        soft: whether the whole mask has values between 0 and 255, when ``mask`` is a part of it: all parts must use the
            same distance. None = look at ``mask``.
    """
    if width <= 0 or not mask.any():
        return mask.copy()
    fall = 255 / (width + 1)
    if not soft and (soft is not None or _is_binary(mask)):
        return np.asarray(np.rint(np.clip(255 - fall * _distance(mask), 0, 255)), np.uint8)
    straight = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    diagonal = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], np.uint8)
    faded = mask.astype(np.float32)
    for _ in range(int(np.ceil(width))):
        beside = cv2.dilate(faded, straight) - fall
        across = cv2.dilate(faded, diagonal) - fall * np.sqrt(np.float32(2))
        faded = np.maximum(faded, np.maximum(beside, across))
    return np.rint(np.clip(faded, 0, 255)).astype(np.uint8)


def depth(mask: Mask) -> NDArray[np.float32]:
    """Distance of each masked pixel from the nearest unmasked one, (H, W) pixels: 0 outside, inf if all is masked."""
    if mask.all():
        return np.full(mask.shape, np.inf, np.float32)
    return _distance((mask == 0).view(np.uint8))


def is_soft(mask: MaskSource) -> bool:
    """Whether a mask has any value between 0 and 255."""
    return any(not _is_binary(mask.read_mask(rect)) for rect in mask.occupied())


def polygon(points: list[tuple[float, float]], rect: Rect) -> Mask:
    """A mask of the inside of a closed polygon, antialiased with 4 x 4 samples a pixel.

    Args:
        points: corners (x, y) in picture coordinates.
        rect: the part of the picture to draw.

    Returns:
        (rect.height, rect.width).
    """
    # Antialiasing a large outline would take too much time and memory.
    fine = 4 if rect.area < _FINE_AREA else 1
    mask = np.zeros((rect.height, rect.width), np.uint8)
    for top in range(0, rect.height, 256):
        rows = min(256, rect.height - top)
        drawn = np.zeros((rows * fine, rect.width * fine), np.uint8)
        # Integer coordinates are pixel centres in OpenCV, and pixel corners here.
        corners = (np.array(points, np.float64).reshape(-1, 2) - (rect.left, rect.top + top)) * fine - 0.5
        cv2.fillPoly(drawn, [np.rint(corners * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
        mask[top : top + rows] = cv2.resize(drawn, (rect.width, rows), interpolation=cv2.INTER_AREA)
    return mask


def _is_binary(mask: Mask) -> bool:
    """Whether all values are 0 or 255."""
    return bool(((mask == 0) | (mask == 255)).all())


def _distance(mask: Mask) -> NDArray[np.float32]:
    """Euclidean distance of each pixel from the nearest masked one, (H, W) pixels."""
    zeros = (mask == 0).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(zeros, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)


def damage_boxes(mask: MaskSource, margin: int) -> list[Rect]:
    """Bounding boxes of the separate damages of a mask, each enlarged by a margin in pixels, clipped to the picture.

    Damages closer than about 16 px count as one. The time depends on the masked cells, not on the picture's size.
    """
    bounds = Rect.of_shape(mask.shape)
    coarse = np.zeros((-(-bounds.height // _COARSE), -(-bounds.width // _COARSE)), np.uint8)
    for cell in mask.occupied():
        rows, columns = np.nonzero(mask.read_mask(cell))
        coarse[(rows + cell.top) // _COARSE, (columns + cell.left) // _COARSE] = 1
    count, _, stats, _ = cv2.connectedComponentsWithStats(coarse, connectivity=8)
    boxes = []
    for left, top, width, height, _ in stats[1:count].tolist():
        cells = Rect(left * _COARSE, top * _COARSE, (left + width) * _COARSE, (top + height) * _COARSE) & bounds
        boxes.append(_bounding_box(mask.read_mask(cells), cells).grown(margin) & bounds)
    return boxes


def _bounding_box(mask: Mask, rect: Rect) -> Rect:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return Rect(rect.left, rect.top, rect.left, rect.top)
    return Rect(
        rect.left + int(columns[0]),
        rect.top + int(rows[0]),
        rect.left + int(columns[-1]) + 1,
        rect.top + int(rows[-1]) + 1,
    )
