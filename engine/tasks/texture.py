"""Texture synthesis: adds to a smooth fill the fine detail and grain of similar places nearby.

A network trained for a small mean error fills smoothly. Fine detail is added block by block: the low frequencies of
each block of the fill are compared with those of known blocks nearby, and the high frequencies of the most similar one
are copied (after Hertzmann et al., Image analogies, 2001, with blocks instead of pixels).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.raster import Floats, Rect

REACH = 64
"""Largest distance from a block of pixels that are compared or copied, pixels."""
_BLOCK, _CONTEXT, _STEP = 8, 4, 4
"""Side of the blocks, width of the margin that is compared too, and distance of the compared points, pixels."""
_BLUR = 1.6
"""Standard deviation of the blur that separates low from high frequencies, pixels."""
_AROUND, _FAR_AROUND = 12, 48
"""Radii around a block in which the energy of the known detail is averaged, pixels."""
_LIVELIER = 1.6
"""Largest energy of copied detail, relative to that average."""
_TRIED = 40
"""Number of candidate places for each block."""
_HIDDEN = 4.0
"""Cost of a candidate whose pixels are all lost, or outside; differences between blocks are at most about 1."""


def detail(picture: Floats, lost: NDArray[np.bool_], area: Rect, wanted: Rect) -> Floats:
    """The fine detail to add to the lost part of a picture. It is the same for a pixel whichever area is given.

    Args:
        picture: (h, w, 3) of the area, in 0..1; filled where it is lost.
        lost: (h, w), which pixels of the area are lost.
        area: place of the area in the whole picture.
        wanted: the part to compute; the area must extend ``REACH`` px beyond it, except at the edge of the picture.

    Returns:
        (h, w, 3) of ``wanted``, to be added to it; 0 where nothing is lost.
    """
    result = np.zeros((wanted.height, wanted.width, 3), np.float32)
    blocks = _blocks(lost, area, wanted)
    if not len(blocks):
        return result
    smooth = cv2.GaussianBlur(picture, (0, 0), _BLUR, borderType=cv2.BORDER_REFLECT)
    fine = np.where(lost[..., None], np.float32(0), picture - smooth)
    offsets = _best_offsets(blocks, smooth, lost, area)
    gains = _gains(blocks, blocks + offsets, fine, lost, area)
    inside = np.arange(_BLOCK)
    rows = (blocks[:, 1, None] + inside)[:, :, None].repeat(_BLOCK, axis=2)
    columns = (blocks[:, 0, None] + inside)[:, None, :].repeat(_BLOCK, axis=1)
    here = (columns >= wanted.left) & (columns < wanted.right) & (rows >= wanted.top) & (rows < wanted.bottom)
    source = (
        np.clip(rows + offsets[:, 1, None, None] - area.top, 0, area.height - 1),
        np.clip(columns + offsets[:, 0, None, None] - area.left, 0, area.width - 1),
    )
    result[rows[here] - wanted.top, columns[here] - wanted.left] = (gains[:, None, None, None] * fine[source])[here]
    result[~lost[wanted.slices(area)]] = 0
    return result


def _blocks(lost: NDArray[np.bool_], area: Rect, wanted: Rect) -> NDArray[np.intp]:
    """Left and top, (n, 2), of the blocks with lost pixels in ``wanted``; blocks form a grid on the whole picture."""
    grid = Rect(wanted.left // _BLOCK, wanted.top // _BLOCK, -(-wanted.right // _BLOCK), -(-wanted.bottom // _BLOCK))
    whole = Rect(grid.left * _BLOCK, grid.top * _BLOCK, grid.right * _BLOCK, grid.bottom * _BLOCK)
    shown = np.zeros((whole.height, whole.width), bool)
    shown[wanted.slices(whole)] = lost[wanted.slices(area)]
    rows, columns = np.nonzero(shown.reshape(grid.height, _BLOCK, grid.width, _BLOCK).any(axis=(1, 3)))
    return np.stack([columns + grid.left, rows + grid.top], axis=1) * _BLOCK


def _best_offsets(blocks: NDArray[np.intp], smooth: Floats, lost: NDArray[np.bool_], area: Rect) -> NDArray[np.intp]:
    """For each block the offset of the candidate with the least cost, (n, 2) as (x, y)."""
    tried = _candidates(blocks)
    points = np.arange(-_CONTEXT, _BLOCK + _CONTEXT + 1, _STEP)
    own = _sample(smooth, blocks[:, None], points, area)
    there = blocks[:, None] + tried
    other = _sample(smooth, there, points, area)
    difference = np.sqrt(np.square(other - own).mean(axis=(2, 3)))
    # Candidates beyond the edge of the picture cost as much as lost ones.
    outside = (there[..., 0] < area.left) | (there[..., 0] + _BLOCK > area.right)
    outside |= (there[..., 1] < area.top) | (there[..., 1] + _BLOCK > area.bottom)
    hidden = cv2.boxFilter(lost.astype(np.float32), -1, (_BLOCK, _BLOCK), anchor=(0, 0), borderType=cv2.BORDER_REFLECT)
    x, y = _clip_to_area(there, area)
    cost = difference + _HIDDEN * np.maximum(hidden[y, x], outside)
    return np.asarray(tried[np.arange(len(blocks)), cost.argmin(axis=1)])


def _gains(
    blocks: NDArray[np.intp], sources: NDArray[np.intp], fine: Floats, lost: NDArray[np.bool_], area: Rect
) -> Floats:
    """A factor in 0..1 for each block's detail, (n,), which limits its energy to that of the block's surroundings."""
    energy = np.square(fine).mean(axis=2)
    brought = cv2.boxFilter(energy, -1, (_BLOCK, _BLOCK), anchor=(0, 0), borderType=cv2.BORDER_REFLECT)
    known = np.where(lost, np.float32(0), np.float32(1))
    sums, counts = np.zeros_like(energy), np.full_like(energy, 1e-6)
    for around, share in ((_AROUND, 1.0), (_FAR_AROUND, 0.02)):
        # The far average has a small weight, so that it counts only where no pixel nearby is known.
        wide = (2 * around + 1, 2 * around + 1)
        sums += share * cv2.boxFilter(energy, -1, wide, borderType=cv2.BORDER_REFLECT)
        counts += share * cv2.boxFilter(known, -1, wide, borderType=cv2.BORDER_REFLECT)
    u, v = _clip_to_area(blocks + _BLOCK // 2, area)
    x, y = _clip_to_area(sources, area)
    ratio = _LIVELIER * (sums / counts)[v, u] / np.maximum(brought[y, x], 1e-8)
    return np.asarray(np.sqrt(np.clip(ratio, 0.0, 1.0)), np.float32)


def _candidates(blocks: NDArray[np.intp]) -> NDArray[np.intp]:
    """Random offsets to try for each block, (n, _TRIED, 2), more of them near it; the block's position is the seed."""
    numbers = (blocks[:, :1].astype(np.uint64) << np.uint64(32)) + blocks[:, 1:].astype(np.uint64)
    numbers = np.asarray(numbers * np.uint64(_TRIED) + np.arange(_TRIED, dtype=np.uint64), np.uint64)
    angle = 2 * np.pi * _hash(numbers, 1)
    far = _BLOCK + (REACH - 2 * _BLOCK - _CONTEXT) * _hash(numbers, 2)
    offsets = np.stack([np.cos(angle) * far, np.sin(angle) * far], axis=2)
    return np.asarray(np.rint(offsets), np.intp)


def _hash(numbers: NDArray[np.uint64], salt: int) -> NDArray[np.float64]:
    """Hash integers to uniformly distributed values in 0..1 (the finaliser of SplitMix64, Steele et al. 2014)."""
    z = numbers + np.uint64(salt * 0x9E3779B97F4A7C15 % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) / 2.0**64


def _sample(smooth: Floats, places: NDArray[np.intp], points: NDArray[np.intp], area: Rect) -> Floats:
    """Values at a square grid of points at each of the places (n, k, 2): (n, k, points squared, 3)."""
    x, y = _clip_to_area(places[..., None, :] + np.stack(np.meshgrid(points, points), axis=2).reshape(-1, 2), area)
    return np.asarray(smooth[y, x])


def _clip_to_area(places: NDArray[np.intp], area: Rect) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Columns and rows of places in an area, clipped to it."""
    return (
        np.clip(places[..., 0] - area.left, 0, area.width - 1),
        np.clip(places[..., 1] - area.top, 0, area.height - 1),
    )
