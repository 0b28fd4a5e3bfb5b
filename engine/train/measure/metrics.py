"""Scores of a restored picture against its original.

Pictures are uint8 (H, W, 3) sRGB, masks uint8 (H, W), above 0 = inside. Pictures may be smaller than the window of a
score. Scores of brightness use the luma of ITU-R BT.601.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.raster import LUMA, Floats, Mask

Picture = NDArray[np.uint8]

MOST_DB = 100.0
"""PSNR of equal pictures, dB."""

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales of MS-SSIM, finest first (Wang, Simoncelli, Bovik 2003)."""

_WINDOW, _SIGMA = 11, 1.5
"""Side and standard deviation of the Gaussian window of SSIM, pixels."""
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr(a: Picture, b: Picture, where: Mask | None = None) -> float:
    """PSNR, 10 log10(255^2 / mean squared error), over all samples or over those inside a mask; dB, at most 100."""
    if where is not None:
        a, b = a[where > 0], b[where > 0]
    error = float(np.mean((a.astype(np.float64) - b) ** 2)) if a.size else 0.0
    return min(MOST_DB, 10 * math.log10(255**2 / max(error, 1e-9)))


def luma_psnr(a: Picture, b: Picture, rim: int) -> float:
    """PSNR of the BT.601 luma in 16..235, dB, without a margin of ``rim`` pixels: the usual score of enlargements."""
    weights = np.array([65.481, 128.553, 24.966]) / 255
    error = ((a.astype(np.float64) - b) @ weights)[rim:-rim, rim:-rim]
    return min(MOST_DB, 10 * math.log10(255**2 / max(float(np.mean(error**2)), 1e-9)))


def ssim(a: Picture, b: Picture, where: Mask | None = None) -> float:
    """Structural similarity of the luma, -1 to 1 (Wang, Bovik, Sheikh, Simoncelli 2004).

    Args:
        a: a picture.
        b: another of the same shape.
        where: mask over which the mean is taken; None = all windows that lie wholly inside the picture.
    """
    similarity, _ = _similarity(luma(a), luma(b))
    return float(_inner(similarity).mean()) if where is None else float(similarity[where > 0].mean())


def ms_ssim(a: Picture, b: Picture) -> float:
    """Multi-scale structural similarity of the luma, 0 to 1 (Wang, Simoncelli, Bovik 2003).

    prod_j mean(cs_j)^w_j over the scales, the coarsest with the whole SSIM instead of its contrast-structure term cs.
    Pictures with a side below 176 px, whose fifth scale would be smaller than the window, have fewer scales, whose
    weights are enlarged to the sum of 1.
    """
    x, y = luma(a), luma(b)
    scales = max(1, min(len(SCALE_WEIGHTS), 1 + int(math.log2(max(1.0, min(x.shape) / _WINDOW)))))
    weights = np.array(SCALE_WEIGHTS[:scales]) / sum(SCALE_WEIGHTS[:scales])
    product = 1.0
    for scale, weight in enumerate(weights):
        similarity, contrast = _similarity(x, y)
        term = similarity if scale == scales - 1 else contrast
        product *= max(0.0, float(_inner(term).mean())) ** weight
        x, y = _halve(x), _halve(y)
    return product


def high_frequency_ratio(filled: Picture, original: Picture, mask: Mask) -> float:
    """Energy of the fine detail in a fill over that of the original; below 1 = blurred, above 1 = noisy.

    The energy is the mean square of the Laplacian of the luma inside the mask. The outermost pixels of the mask, whose
    Laplacian depends on the surroundings, do not count unless there are no others. The square of one grey level is
    added to both energies, so that the ratio is defined where the original is flat.
    """
    inner = cv2.erode((mask > 0).astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0)
    where = inner > 0 if inner.any() else mask > 0
    energies = [np.mean(cv2.Laplacian(luma(picture), cv2.CV_32F)[where] ** 2) for picture in (filled, original)]
    return float((energies[0] + 1) / (energies[1] + 1))


def delta_e(a: Picture, b: Picture) -> float:
    """Mean colour difference CIEDE2000 (2 degree observer, D65); about 1 is just visible."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    return float(deltaE_ciede2000(rgb2lab(a), rgb2lab(b)).mean())


def structure(a: Picture, b: Picture) -> float:
    """How well a tone correction preserves the structure of a picture; 1 = it only applied an increasing tone curve.

    The SSIM of the lumas after histogram matching of ``b`` to ``a`` over the whole picture.

    Args:
        a: the picture before, uint8 (H, W, 3).
        b: the picture after.
    """
    from skimage.exposure import match_histograms

    before = luma(a)
    after = np.asarray(match_histograms(luma(b), before), np.float32)
    return float(_inner(_similarity(before, after)[0]).mean())


def detection_scores(found: Mask, true: Mask, tolerance: int = 2) -> tuple[float, float, float]:
    """Precision, recall and F1 of a found mask, by pixels.

    A found pixel is correct when a damaged pixel lies within the tolerance; a damaged pixel is found when a found pixel
    lies within the tolerance.

    Args:
        found: (H, W), above 0 = found.
        true: (H, W), above 0 = damaged.
        tolerance: distance in pixels.

    Returns:
        Precision, recall and F1, each 0 to 1; all 1 when nothing is damaged and nothing was found, 0 when only one of
        the two is empty.
    """
    claimed, damaged = found > 0, true > 0
    if not claimed.any() and not damaged.any():
        return 1.0, 1.0, 1.0
    precision = _share(claimed, damaged, tolerance)
    recall = _share(damaged, claimed, tolerance)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)


def count_objects(found: Mask, true: Mask, tolerance: int = 2) -> tuple[int, int, int]:
    """Numbers of damaged places that were found, of those that were missed, and of places that were wrongly flagged.

    A place is a set of 8-connected pixels. A damaged place is found when half of its pixels have a found pixel within
    the tolerance; a found place is wrong when less than half of its pixels have a damaged pixel within it.

    Args:
        found: (H, W), above 0 = found.
        true: (H, W), above 0 = damaged.
        tolerance: distance in pixels.
    """
    hits, damaged = _half_covered(true > 0, near(found > 0, tolerance))
    right, claimed = _half_covered(found > 0, near(true > 0, tolerance))
    return hits, damaged - hits, claimed - right


def _half_covered(mask: NDArray[np.bool_], by: NDArray[np.bool_]) -> tuple[int, int]:
    """How many connected parts of a mask are covered by half, and how many there are."""
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    inside = np.bincount(numbers[mask & by], minlength=count)[1:]
    return int((2 * inside >= stats[1:, cv2.CC_STAT_AREA]).sum()), count - 1


def near(mask: NDArray[np.bool_], distance: float) -> NDArray[np.bool_]:
    """The pixels from which a pixel of a mask lies within a distance, pixels."""
    if not mask.any():
        return np.zeros_like(mask)
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away <= distance + 1e-3)


def luma(picture: Picture) -> Floats:
    """Luma of ITU-R BT.601, (H, W) float32 in 0..255."""
    return np.asarray(picture.astype(np.float32) @ np.array(LUMA, np.float32))


def _similarity(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Maps (H, W) of SSIM and of its contrast-structure term."""
    # Double precision, because the variances are differences of large numbers.
    a, b = x.astype(np.float64), y.astype(np.float64)

    def local(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(values, (_WINDOW, _WINDOW), _SIGMA, borderType=cv2.BORDER_REFLECT))

    mean_a, mean_b = local(a), local(b)
    variances = local(a * a) - mean_a**2 + local(b * b) - mean_b**2
    contrast = (2 * (local(a * b) - mean_a * mean_b) + _C2) / (variances + _C2)
    brightness = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return np.asarray(contrast * brightness, np.float32), np.asarray(contrast, np.float32)


def _inner(values: Floats) -> Floats:
    """Crop the rim whose windows reach beyond the border, unless nothing else is left."""
    rim = _WINDOW // 2
    return values[rim:-rim, rim:-rim] if min(values.shape) > 2 * rim else values


def _halve(values: Floats) -> Floats:
    """Halve by the means of squares of two by two; an odd last row or column is left out."""
    height, width = values.shape[0] // 2, values.shape[1] // 2
    if not height or not width:
        return values
    squares = values[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
    return np.asarray(squares.mean(axis=(1, 3)), np.float32)


def _share(of: NDArray[np.bool_], others: NDArray[np.bool_], tolerance: int) -> float:
    """Share of the pixels of a mask that have a pixel of another mask within the tolerance."""
    return float(near(others, tolerance)[of].mean()) if of.any() else 0.0
