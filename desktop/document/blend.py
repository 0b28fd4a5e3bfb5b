"""Blend modes: how a layer's pixels are combined with those below."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from engine.raster import LUMA, Floats, Pixels, maximum, mix

_LUMA = np.array(LUMA, np.float32)
"""Weights of the luminosity of the non-separable modes (ITU-R BT.601, which W3C's section 10 rounds)."""


class BlendMode(Enum):
    """How a layer's pixels are combined with those below. The values are OpenRaster's names."""

    NORMAL = "svg:src-over"
    MULTIPLY = "svg:multiply"
    SCREEN = "svg:screen"
    OVERLAY = "svg:overlay"
    SOFT_LIGHT = "svg:soft-light"
    DARKEN = "svg:darken"
    LIGHTEN = "svg:lighten"
    LUMINOSITY = "svg:luminosity"
    COLOUR = "svg:color"

    @property
    def title(self) -> str:
        """The words in the interface."""
        return self.name.replace("_", " ").capitalize()


def draw(below: Pixels, above: Pixels, mask: NDArray[np.uint8], opacity: float, blend: BlendMode) -> Pixels:
    """Draw one layer over what is below, in the picture's own encoding: b + (B(b, s) - b) mask opacity, rounded.

    Args:
        below: b, (h, w, c).
        above: s, the same shape and sample type.
        mask: (h, w), 255 = shown.
        opacity: 0..1.
        blend: the function B.

    Returns:
        The same shape and type; exactly ``below`` where the mask is 0.
    """
    if blend is BlendMode.NORMAL:
        return mix(below, above, mask, opacity)
    top = np.float32(maximum(below.dtype))
    blended = _BLENDS[blend](below.astype(np.float32) / top, above.astype(np.float32) / top) * top
    return mix(below, blended, mask, opacity)


# Blend functions of backdrop b and source s, (h, w, c) in 0..1 (W3C Compositing and Blending Level 1, sections 9, 10).


def _multiply(b: Floats, s: Floats) -> Floats:
    return b * s


def _screen(b: Floats, s: Floats) -> Floats:
    return b + s - b * s


def _overlay(b: Floats, s: Floats) -> Floats:
    return np.where(b <= 0.5, 2 * b * s, 1 - 2 * (1 - b) * (1 - s))


def _soft_light(b: Floats, s: Floats) -> Floats:
    root = np.where(b <= 0.25, ((16 * b - 12) * b + 4) * b, np.sqrt(b))
    return np.where(s <= 0.5, b - (1 - 2 * s) * b * (1 - b), b + (2 * s - 1) * (root - b))


def _darken(b: Floats, s: Floats) -> Floats:
    return np.minimum(b, s)


def _lighten(b: Floats, s: Floats) -> Floats:
    return np.maximum(b, s)


def _luminosity(b: Floats, s: Floats) -> Floats:
    return _with_luma(b, s)


def _colour(b: Floats, s: Floats) -> Floats:
    return _with_luma(s, b)


def _with_luma(colour: Floats, light: Floats) -> Floats:
    """The colour of one picture with the luminosity of another; of a grey picture only the luminosity remains."""
    if colour.shape[2] == 1:
        return light
    shifted = colour + (_luma(light) - _luma(colour))
    luma = _luma(shifted)
    low, high = shifted.min(axis=2, keepdims=True), shifted.max(axis=2, keepdims=True)
    # Rounding can put a grey pixel just outside the range; its spread, which is divided by, is 0.
    least = np.float32(1e-6)
    shifted = np.where(low < 0, luma + (shifted - luma) * luma / np.maximum(luma - low, least), shifted)
    return np.where(high > 1, luma + (shifted - luma) * (1 - luma) / np.maximum(high - luma, least), shifted)


def _luma(colour: Floats) -> Floats:
    return (colour @ _LUMA)[..., None]


_BLENDS: dict[BlendMode, Callable[[Floats, Floats], Floats]] = {
    BlendMode.MULTIPLY: _multiply,
    BlendMode.SCREEN: _screen,
    BlendMode.OVERLAY: _overlay,
    BlendMode.SOFT_LIGHT: _soft_light,
    BlendMode.DARKEN: _darken,
    BlendMode.LIGHTEN: _lighten,
    BlendMode.LUMINOSITY: _luminosity,
    BlendMode.COLOUR: _colour,
}
