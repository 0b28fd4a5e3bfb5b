"""Test protocol of tone: eight families of fading, drawn by code and ranges of their own, not by those of the training.

Each family changes a sound photograph, uint8 (H, W, 3) sRGB, by random parameters; a random generator that is seeded by
the family and the number of the photograph makes a case the same each time. Two of the families, ``HELD_OUT``, have no
counterpart in the training of the tone model.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from engine.train.measure.metrics import Picture

Values = NDArray[np.float64]
Family = Callable[[Values, Generator], Values]
"""From sRGB (H, W, 3) in 0..1 and a random generator to the faded picture; the result may lie outside of 0..1."""

_ABSORPTION = np.array([[0.86, 0.11, 0.03], [0.16, 0.72, 0.12], [0.06, 0.20, 0.74]])
"""Share of cyan, magenta and yellow dye (columns) in the densities to red, green and blue light (rows)."""

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Weights of linear sRGB in the luminance (IEC 61966-2-1)."""


def _to_linear(picture: Values) -> Values:
    return np.where(picture <= 0.04045, picture / 12.92, ((np.maximum(picture, 0) + 0.055) / 1.055) ** 2.4)


def _from_linear(light: Values) -> Values:
    light = np.clip(light, 0, 1)
    return np.asarray(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))


def _towards_grey(picture: Values, kept: float) -> Values:
    grey = picture.mean(axis=2, keepdims=True)
    return np.asarray(grey + kept * (picture - grey))


def _channels(picture: Values, random: Generator) -> Values:
    """Take away 10 to 60 % of the colour, then give each channel a gamma, a lift of its black and a lower white."""
    dull = np.clip(_towards_grey(picture, random.uniform(0.4, 0.9)), 0, 1)
    black, white = random.uniform(0.0, 0.28, 3), random.uniform(0.71, 1.0, 3)
    return np.asarray(black + (white - black) * dull ** np.exp(random.uniform(-0.33, 0.33, 3)))


def _dyes(picture: Values, random: Generator) -> Values:
    """Fade the three dyes of a colour print in linear light, which absorb in all channels, and stain it."""
    density = -np.log10(np.maximum(_to_linear(picture), 10**-2.2))
    kept = 1 - random.permutation([random.uniform(0.3, 0.65), random.uniform(0.1, 0.4), random.uniform(0.0, 0.2)])
    dyes = density @ np.linalg.inv(_ABSORPTION).T * kept
    stain = np.array([0.0, random.uniform(0.0, 0.06), random.uniform(0.02, 0.2)])
    return _from_linear(10 ** -(dyes @ _ABSORPTION.T + stain))


def _yellowing(picture: Values, random: Generator) -> Values:
    """Lay a yellow filter over a picture in linear light, and lift its darkest parts a little."""
    deep = random.uniform(0.15, 0.75)
    tint = 10 ** -(deep * np.array([random.uniform(0.0, 0.12), random.uniform(0.2, 0.4), 1.0]))
    return _from_linear(tint * (_to_linear(picture) * (1 - 0.03 * deep) + 0.03 * deep))


def _cast(picture: Values, random: Generator) -> Values:
    """Change the colour of the light, as of a lamp or of a wrong filter, and keep the brightness of a white."""
    gains = np.exp(random.uniform(-0.55, 0.55, 3))
    return _from_linear(_to_linear(picture) * gains / np.maximum(gains @ _LUMINANCE, 0.9 * gains.max()))


def _desaturation(picture: Values, random: Generator) -> Values:
    """Take away 30 to 75 % of the colour."""
    return _towards_grey(picture, random.uniform(0.25, 0.7))


def _contrast(picture: Values, random: Generator) -> Values:
    """Leave 35 to 75 % of the contrast, around a level between dark and light that is slightly tinted."""
    middle = random.uniform(0.25, 0.8) + random.uniform(-0.04, 0.04, 3)
    return np.asarray(middle + random.uniform(0.35, 0.75) * (picture - middle))


def _uneven(picture: Values, random: Generator) -> Values:
    """Fade from one side and in a few large clouds towards the colour of paper, on top of an even fading."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    angle = random.uniform(0, 2 * np.pi)
    slope = (x - x.mean()) * np.cos(angle) + (y - y.mean()) * np.sin(angle) + 0.5
    coarse = random.uniform(0, 1, (4, 4)).astype(np.float32)
    clouds = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    amount = random.uniform(0.1, 0.25) + random.uniform(0.2, 0.4) * (0.6 * slope + 0.4 * clouds)
    paper = np.array([random.uniform(0.85, 1.0), random.uniform(0.78, 0.92), random.uniform(0.6, 0.85)])
    return np.asarray(picture + np.clip(amount, 0, 0.7)[..., None] * (paper - picture))


def _crossover(picture: Values, random: Generator) -> Values:
    """Tint shadows and highlights in opposite colours, as in films whose layers aged apart, and flatten a little."""
    tint = random.uniform(-1, 1, 3)
    tint -= tint @ _LUMINANCE
    tint *= random.uniform(0.06, 0.2) / np.abs(tint).max()
    luma = picture @ _LUMINANCE
    apart = picture + tint * (1 - 2 * luma)[..., None]
    black = random.uniform(0.0, 0.1)
    return np.asarray(black + (random.uniform(0.85, 0.98) - black) * np.clip(apart, 0, 1))


FAMILIES: dict[str, Family] = {
    "channels": _channels,
    "dyes": _dyes,
    "yellow_filter": _yellowing,
    "cast": _cast,
    "desaturation": _desaturation,
    "contrast": _contrast,
    "uneven": _uneven,
    "crossover": _crossover,
}
"""Name -> family of fading; ``channels`` is the one whose limit is published from outside."""

HELD_OUT = ("dyes", "crossover")
"""Families that the training of the tone model does not contain: dyes that absorb in all channels, and tints of shadows
and highlights in opposite colours."""


def fade(family: str, picture: Picture, number: int) -> Picture:
    """Fade a photograph.

    Args:
        family: a row of ``FAMILIES``.
        picture: the sound photograph, uint8 (H, W, 3).
        number: number of the photograph; seeds the parameters.

    Returns:
        The faded photograph, uint8 of the same shape.
    """
    random = np.random.default_rng([list(FAMILIES).index(family), number])
    faded = FAMILIES[family](picture / 255, random)
    return np.asarray(np.clip(np.rint(faded * 255), 0, 255), np.uint8)
