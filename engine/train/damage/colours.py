"""Faded and varied colours that the tone model is trained on; conventions as in ``engine.train.damage.ageing``."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from engine.train.damage.ageing import as_planes, colour_cast, constant, monochrome, uniform, yellowing
from engine.train.luma import luma


def levels(photo: Tensor, black: Tensor, white: Tensor, power: Tensor) -> Tensor:
    """Give each channel another black, white and gamma: black + (white - black) photo^power, parameters (B, 3)."""
    curved = photo.clamp_min(1e-4) ** as_planes(power)
    return as_planes(black) + as_planes(white - black) * curved


def random_levels(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Lift the blacks, lower the whites and change the gammas, for all channels alike or for each; any may be left."""

    def drawn(most: float, chance: float) -> Tensor:
        common = (uniform(photo, random, 0.0, 1.0, 1) < 0.4).float()
        amount = torch.lerp(uniform(photo, random, 0.0, 1.0, 3), uniform(photo, random, 0.0, 1.0, 1), common)
        amount = amount * torch.where(uniform(photo, random, 0.0, 1.0, 1) < 0.3, uniform(photo, random, 0.0, 1.0, 1), 1)
        return most * level[:, None] * amount * (uniform(photo, random, 0.0, 1.0, 1) < chance)

    black, white = drawn(0.38, 0.5), 1 - drawn(0.5, 0.85)
    own = uniform(photo, random, -0.5, 0.5, 3) * (uniform(photo, random, 0.0, 1.0, 1) < 0.5)
    common = uniform(photo, random, -0.5, 0.5, 1) * uniform(photo, random, 0.0, 1.0, 1)
    return levels(photo, black, white, (level[:, None] * (common + own)).exp())


def random_light(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Change the colour of the light: every channel but one loses up to 45 %, and nothing is clipped."""
    gains = (0.3 * level[:, None] * uniform(photo, random, -1.0, 1.0, 3)).exp()
    return colour_cast(photo, gains / gains.amax(dim=1, keepdim=True))


def random_desaturation(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Take away up to 0.85 of the colour."""
    return monochrome(photo, 0.85 * level * uniform(photo, random, 0.5, 1.0))


def toned(photo: Tensor, tone: Tensor) -> Tensor:
    """Make a print in one tone: the luma raised to a power (B, 3) for each channel; 1 = neutral, less is lighter."""
    return luma(photo).clamp_min(1e-4) ** as_planes(tone)


def random_toned(photo: Tensor, random: Generator) -> Tensor:
    """Make a black-and-white print, or every third time one in a tone from warm black to sepia."""
    strength = uniform(photo, random, 0.2, 1.0, 1) * (uniform(photo, random, 0.0, 1.0, 1) < 0.33)
    return toned(photo, (strength * constant((-0.22, 0.0, 0.29), photo.device)).exp())


def random_look(photo: Tensor, amount: float, random: Generator) -> Tensor:
    """Vary gamma, saturation and brightness of sound pictures as those of sound pictures vary; amount 1 = fully."""
    power = (amount * uniform(photo, random, -0.25, 0.25, 1)).exp()
    photo = monochrome(photo.clamp_min(1e-4) ** as_planes(power), amount * uniform(photo, random, -0.35, 0.35))
    return (photo * as_planes(1 + amount * uniform(photo, random, -0.08, 0.08))).clamp(0, 1)


def random_staining(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Yellow a picture and keep its colours, from straw to tobacco."""
    low, high = constant((0.84, 0.68, 0.36), photo.device), constant((0.98, 0.92, 0.7), photo.device)
    return yellowing(photo, level, torch.lerp(low, high, uniform(photo, random, 0.0, 1.0, 3)))
