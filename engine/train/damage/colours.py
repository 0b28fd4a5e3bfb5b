"""Faded and varied colours that the tone model is trained on; conventions as in ``engine.train.damage.ageing``."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

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
    own = uniform(photo, random, -0.5, 0.5, 3) * (uniform(photo, random, 0.0, 1.0, 1) < 0.75)
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


def random_uneven_fading(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Fade prints towards the paper where light or air reached them: in patches, from an edge or corner, or inside.

    Up to 0.3 everywhere, and up to 0.6 more in places.
    """
    sides = (torch.linspace(-1, 1, side, device=photo.device) for side in photo.shape[2:])
    y, x = torch.meshgrid(*sides, indexing="ij")
    angle = as_planes(uniform(photo, random, 0.0, 2 * math.pi))
    away = (x * angle.cos() + y * angle.sin()) / 2**0.5
    from_edge = (0.5 + 0.5 * away) ** as_planes(uniform(photo, random, 0.6, 2.5))
    inside = torch.sigmoid((as_planes(uniform(photo, random, 0.4, 0.9)) - torch.maximum(x.abs(), y.abs())) * 12)
    coarse = torch.rand((len(photo), 1, 3, 3), generator=random, device=photo.device)
    patches = functional.interpolate(coarse, size=photo.shape[2:], mode="bicubic", align_corners=True)
    kind = as_planes(uniform(photo, random, 0.0, 1.0))
    where = torch.where(kind < 0.4, from_edge, torch.where(kind < 0.55, inside, patches))
    where = torch.lerp(where, patches, as_planes(uniform(photo, random, 0.0, 0.5)))
    least, more = uniform(photo, random, 0.0, 0.3), uniform(photo, random, 0.2, 0.6)
    amount = as_planes(level * least) + as_planes(level * more) * where
    paper = 1 - uniform(photo, random, 0.0, 1.0, 1) * constant((0.14, 0.2, 0.38), photo.device)
    return photo + amount.clamp(0, 0.75) * (as_planes(paper) - photo)
