"""Peers: classical methods with their usual settings, which the trained models are compared with.

A peer takes a uint8 (H, W, 3) sRGB picture and, for healing, a uint8 (H, W) repair mask. It returns a picture of the
same shape, or for detection a uint8 (H, W) mask, 255 = damage.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.raster import Mask
from engine.train.measure.metrics import Picture, luma

Peer = Callable[[Picture, Mask | None], NDArray[np.uint8]]


def telea(picture: Picture, mask: Mask | None) -> Picture:
    """Fast marching (Telea 2004), radius 3 px."""
    return np.asarray(cv2.inpaint(picture, _required_mask(mask), 3, cv2.INPAINT_TELEA), np.uint8)


def navier_stokes(picture: Picture, mask: Mask | None) -> Picture:
    """Fluid dynamics (Bertalmio, Bertozzi, Sapiro 2001), radius 3 px."""
    return np.asarray(cv2.inpaint(picture, _required_mask(mask), 3, cv2.INPAINT_NS), np.uint8)


def frequency_selective(picture: Picture, mask: Mask | None) -> Picture:
    """Frequency selective reconstruction, the fast variant (Genser et al. 2018), the best classical method here.

    Needs the contributed modules of OpenCV.
    """
    filled = np.zeros_like(picture)
    known = np.where(_required_mask(mask) > 0, np.uint8(0), np.uint8(255))
    cv2.xphoto.inpaint(np.ascontiguousarray(picture), known, filled, cv2.xphoto.INPAINT_FSR_FAST)
    return filled


def biharmonic(picture: Picture, mask: Mask | None) -> Picture:
    """Biharmonic surfaces (Damelin, Hoang 2018), each connected part of the mask by itself."""
    from skimage.restoration import inpaint_biharmonic

    filled = inpaint_biharmonic(picture, _required_mask(mask) > 0, split_into_regions=True, channel_axis=2)
    return _to_bytes(filled * 255)


def non_local_means(picture: Picture, _: Mask | None = None) -> Picture:
    """Non-local means (Buades, Coll, Morel 2005) with a strength of 1.2 times the measured noise level."""
    strength = 1.2 * noise_level(picture)
    blue_first = np.ascontiguousarray(picture[..., ::-1])
    return np.asarray(cv2.fastNlMeansDenoisingColored(blue_first, None, strength, strength, 7, 21)[..., ::-1], np.uint8)


def bicubic(picture: Picture, _: Mask | None = None) -> Picture:
    """Reduction to two thirds by area averages and cubic enlargement: a mild smoothing."""
    height, width = picture.shape[:2]
    small = (max(1, round(width / 1.5)), max(1, round(height / 1.5)))
    reduced = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(reduced, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def bicubic_enlarge(picture: Picture, times: int) -> Picture:
    """Enlarge by bicubic interpolation, a = -0.5."""
    return bicubic_resize(picture, times * picture.shape[1], times * picture.shape[0])


def unsharp_mask(picture: Picture, _: Mask | None = None) -> Picture:
    """The picture plus 0.7 times its difference to a blur of 1.5 px."""
    blurred = np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.5), np.float32)
    return _to_bytes(picture + 0.7 * (picture - blurred))


def auto_levels(picture: Picture, _: Mask | None = None) -> Picture:
    """Each channel stretched so that half a per cent of it is black and half a per cent white."""
    low, high = np.percentile(picture, (0.5, 99.5), axis=(0, 1))
    return _to_bytes((picture - low) * 255 / np.maximum(high - low, 1))


def grey_world(picture: Picture, _: Mask | None = None) -> Picture:
    """Channels scaled so that their means are equal (Buchsbaum 1980)."""
    means = picture.mean(axis=(0, 1))
    return _to_bytes(picture * (means.mean() / np.maximum(means, 1)))


def untouched(picture: Picture, _: Mask | None = None) -> Picture:
    """The unchanged picture."""
    return picture


def top_hat(picture: Picture, _: Mask | None = None) -> Mask:
    """The larger of top hat and bottom hat of a disc of 9 px, thresholded.

    The threshold is three times its median over the picture, at least 40 grey levels, which was the best setting tried
    for thin damage. Connected parts below 4 px are dropped.
    """
    grey = np.clip(np.rint(luma(picture)), 0, 255).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    hats = [cv2.morphologyEx(grey, kind, disc) for kind in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)]
    response = np.maximum(*hats)
    found = response > max(40.0, 3 * float(np.median(response)))
    _, parts, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= 4
    return np.where(found & large[parts], np.uint8(255), np.uint8(0))


def median_residue(picture: Picture, _: Mask | None = None) -> Mask:
    """Difference from a median of 15 px, thresholded relative to the local mean difference, with hysteresis.

    The difference is compared with its mean over 41 px, which is larger in texture: seeds exceed six times that mean,
    and at least 30 grey levels; they grow to where the difference is half of that. Parts below 4 px are dropped.
    """
    grey = np.clip(np.rint(luma(picture)), 0, 255).astype(np.uint8)
    residue = cv2.absdiff(grey, cv2.medianBlur(grey, 15)).astype(np.float32)
    threshold = np.maximum(30.0, 6 * cv2.blur(residue, (41, 41)))
    seeds, body = residue > threshold, residue > threshold / 2
    count, parts, stats, _ = cv2.connectedComponentsWithStats(body.astype(np.uint8), connectivity=8)
    seeded = np.bincount(parts[seeds], minlength=count) > 0
    kept = seeded & (stats[:, cv2.CC_STAT_AREA] >= 4)
    return np.where(body & kept[parts], np.uint8(255), np.uint8(0))


PEERS: dict[str, dict[str, Peer]] = {
    "heal": {"telea": telea, "navier_stokes": navier_stokes, "biharmonic": biharmonic},
    "clean": {
        "non_local_means": non_local_means,
        "bicubic": bicubic,
        "unsharp_mask": unsharp_mask,
        "untouched": untouched,
    },
    "tone": {"auto_levels": auto_levels, "grey_world": grey_world, "untouched": untouched},
    "upscale2": {"bicubic": lambda picture, _: bicubic_enlarge(picture, 2)},
    "upscale4": {"bicubic": lambda picture, _: bicubic_enlarge(picture, 4)},
    "detect": {"top_hat": top_hat, "median_residue": median_residue},
    "faces": {},
}
"""Kind of model -> name -> peer."""


def noise_level(picture: Picture) -> float:
    """Standard deviation of white noise in the luma, grey levels (Immerkaer 1996)."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    residual = np.abs(cv2.filter2D(luma(picture), cv2.CV_32F, kernel))
    return float(np.sqrt(np.pi / 2) * residual.mean() / 6)


def _required_mask(mask: Mask | None) -> Mask:
    assert mask is not None, "healing needs a mask"
    return mask


def bicubic_resize(picture: Picture, width: int, height: int) -> Picture:
    """Bicubic resizing, a = -0.5, widened by the factor when it reduces, as in published test sets."""
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def _to_bytes(values: NDArray[np.floating]) -> Picture:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
