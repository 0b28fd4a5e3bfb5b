"""The classical ways of restoring a picture, which every trained system is scored beside, and their usual settings.

A peer takes a uint8 (H, W, 3) sRGB picture and, for healing, a uint8 (H, W) repair mask, and gives back a picture of
the same shape, or for detection a uint8 (H, W) mask (255 = damage).
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
    return np.asarray(cv2.inpaint(picture, _wanted(mask), 3, cv2.INPAINT_TELEA), np.uint8)


def navier_stokes(picture: Picture, mask: Mask | None) -> Picture:
    """Fluid dynamics (Bertalmio, Bertozzi, Sapiro 2001), radius 3 px."""
    return np.asarray(cv2.inpaint(picture, _wanted(mask), 3, cv2.INPAINT_NS), np.uint8)


def frequency_selective(picture: Picture, mask: Mask | None) -> Picture:
    """Frequency selective reconstruction, the fast variant (Genser et al. 2018): the best of the classical ways here.

    Only where OpenCV has its contributed modules.
    """
    filled = np.zeros_like(picture)
    known = np.where(_wanted(mask) > 0, np.uint8(0), np.uint8(255))
    cv2.xphoto.inpaint(np.ascontiguousarray(picture), known, filled, cv2.xphoto.INPAINT_FSR_FAST)
    return filled


def biharmonic(picture: Picture, mask: Mask | None) -> Picture:
    """The smoothest surface through the surroundings (Damelin, Hoang 2018), each connected piece by itself."""
    from skimage.restoration import inpaint_biharmonic

    filled = inpaint_biharmonic(picture, _wanted(mask) > 0, split_into_regions=True, channel_axis=2)
    return _picture(filled * 255)


def non_local_means(picture: Picture, _: Mask | None = None) -> Picture:
    """Means of alike patches (Buades, Coll, Morel 2005), 1.2 times as strong as the noise that is measured."""
    strength = 1.2 * noise_level(picture)
    turned = np.ascontiguousarray(picture[..., ::-1])
    return np.asarray(cv2.fastNlMeansDenoisingColored(turned, None, strength, strength, 7, 21)[..., ::-1], np.uint8)


def bicubic(picture: Picture, _: Mask | None = None) -> Picture:
    """Reduced to two thirds by areas and enlarged again by cubic interpolation: a mild smoothing."""
    height, width = picture.shape[:2]
    small = (max(1, round(width / 1.5)), max(1, round(height / 1.5)))
    reduced = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(reduced, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def enlarged(picture: Picture, times: int) -> Picture:
    """Bicubic interpolation, a = -0.5."""
    return resized(picture, times * picture.shape[1], times * picture.shape[0])


def unsharp_mask(picture: Picture, _: Mask | None = None) -> Picture:
    """The picture plus 0.7 of what a blur of 1.5 px takes away."""
    blurred = np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.5), np.float32)
    return _picture(picture + 0.7 * (picture - blurred))


def auto_levels(picture: Picture, _: Mask | None = None) -> Picture:
    """Each channel stretched so that half a per cent is black and half a per cent white."""
    low, high = np.percentile(picture, (0.5, 99.5), axis=(0, 1))
    return _picture((picture - low) * 255 / np.maximum(high - low, 1))


def grey_world(picture: Picture, _: Mask | None = None) -> Picture:
    """Channels scaled so that their means are equal (Buchsbaum 1980)."""
    means = picture.mean(axis=(0, 1))
    return _picture(picture * (means.mean() / np.maximum(means, 1)))


def untouched(picture: Picture, _: Mask | None = None) -> Picture:
    """The picture as it came: what a restoration must at least beat."""
    return picture


def top_hat(picture: Picture, _: Mask | None = None) -> Mask:
    """What is brighter or darker than all of its surroundings of 9 px: the larger of top hat and bottom hat.

    Thresholded at three times its median over the picture, and at 40 grey levels at least, which served thin damage
    best of all settings that were tried; specks below 4 px do not count.
    """
    grey = np.clip(np.rint(luma(picture)), 0, 255).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    hats = [cv2.morphologyEx(grey, kind, disc) for kind in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)]
    response = np.maximum(*hats)
    found = response > max(40.0, 3 * float(np.median(response)))
    _, parts, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= 4
    return np.where(found & large[parts], np.uint8(255), np.uint8(0))


PEERS: dict[str, dict[str, Peer]] = {
    "heal": {"telea": telea, "navier_stokes": navier_stokes, "biharmonic": biharmonic},
    "clean": {
        "non_local_means": non_local_means,
        "bicubic": bicubic,
        "unsharp_mask": unsharp_mask,
        "untouched": untouched,
    },
    "tone": {"auto_levels": auto_levels, "grey_world": grey_world, "untouched": untouched},
    "upscale2": {"bicubic": lambda picture, _: enlarged(picture, 2)},
    "upscale4": {"bicubic": lambda picture, _: enlarged(picture, 4)},
    "detect": {"top_hat": top_hat},
}
"""Task -> name -> peer."""


def noise_level(picture: Picture) -> float:
    """Standard deviation of white noise in the luma, grey levels (Immerkaer 1996)."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    residual = np.abs(cv2.filter2D(luma(picture), cv2.CV_32F, kernel))
    return float(np.sqrt(np.pi / 2) * residual.mean() / 6)


def _wanted(mask: Mask | None) -> Mask:
    assert mask is not None, "healing wants a mask"
    return mask


def resized(picture: Picture, width: int, height: int) -> Picture:
    """Bicubic, a = -0.5, widened by the factor where it reduces: as published test sets are made."""
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def _picture(values: NDArray[np.floating]) -> Picture:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
