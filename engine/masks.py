"""Arithmetic of masks: (H, W) uint8, 255 = repair. Every function gives a new array and leaves its input alone."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.raster import Mask, MaskSource, Rect

MAX_DAMAGE_SHARE = 0.25
"""Share of a picture that is hardly all damage."""
_FINE_AREA = 16_000_000
_COARSE = 16
"""Side of the squares in which damage is grouped, pixels."""


def grow(mask: Mask, radius: float) -> Mask:
    """Dilate by a disc: every pixel takes the highest value within a radius in pixels."""
    if radius <= 0 or not mask.any():
        return mask.copy()
    if _is_binary(mask):
        return np.where(_distance(mask) <= radius, np.uint8(255), np.uint8(0))
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (x * x + y * y <= radius * radius).astype(np.uint8)
    return np.asarray(cv2.dilate(mask, disc, borderType=cv2.BORDER_CONSTANT, borderValue=0), np.uint8)


def shrink(mask: Mask, radius: float) -> Mask:
    """Erode by a disc of a radius in pixels; what lies outside the picture counts as masked."""
    return invert(grow(invert(mask), radius))


def invert(mask: Mask) -> Mask:
    """Swap what is masked and what is not."""
    return np.asarray(255 - mask, np.uint8)


def feather(mask: Mask, width: float, *, soft: bool | None = None) -> Mask:
    """Fade outwards: full value stays where it is, and falls to 0 over a width in pixels outside of it.

    This is the dilation by a cone, so a soft mask keeps its shape and never jumps. Distances are Euclidean for a mask
    of 0 and 255, and chamfer distances (1, sqrt 2) for a soft one. A part of a mask is told whether the whole is soft.
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
    """How far inside each masked pixel lies, in pixels; infinite where nothing is unmasked, 0 outside."""
    if mask.all():
        return np.full(mask.shape, np.inf, np.float32)
    return _distance((mask == 0).view(np.uint8))


def is_soft(mask: MaskSource) -> bool:
    """Whether a whole mask holds anything between 0 and 255."""
    return any(not _is_binary(mask.read_mask(rect)) for rect in mask.occupied())


def polygon(points: list[tuple[float, float]], rect: Rect) -> Mask:
    """The inside of a closed polygon, the edge smooth to an eighth of a pixel.

    Args:
        points: corners (x, y) in picture coordinates.
        rect: the part of the picture wanted.

    Returns:
        (rect.height, rect.width).
    """
    # Large outlines are not drawn for their sixteenths of a pixel.
    fine = 4 if rect.area < _FINE_AREA else 1
    mask = np.zeros((rect.height, rect.width), np.uint8)
    for top in range(0, rect.height, 256):
        rows = min(256, rect.height - top)
        drawn = np.zeros((rows * fine, rect.width * fine), np.uint8)
        # OpenCV's whole numbers are centres of pixels, ours are corners.
        corners = (np.array(points, np.float64).reshape(-1, 2) - (rect.left, rect.top + top)) * fine - 0.5
        cv2.fillPoly(drawn, [np.rint(corners * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
        mask[top : top + rows] = cv2.resize(drawn, (rect.width, rows), interpolation=cv2.INTER_AREA)
    return mask


def _is_binary(mask: Mask) -> bool:
    """Whether it holds nothing between 0 and 255."""
    return bool(((mask == 0) | (mask == 255)).all())


def _distance(mask: Mask) -> NDArray[np.float32]:
    """Distance of each pixel from the nearest masked one, pixels."""
    zeros = (mask == 0).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(zeros, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)


def damage_boxes(mask: MaskSource, margin: int) -> list[Rect]:
    """Tight boxes around the separate damages of a mask, each larger by a margin, inside the picture.

    Damages closer than about 16 px count as one. The work follows the masked cells, not the size of the picture.
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
