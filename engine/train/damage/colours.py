"""Faded and varied colours that the tone model is trained on; conventions as in ``engine.train.damage.ageing``."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from engine.train.damage.ageing import as_planes, constant, monochrome, uniform, yellowing
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
        amount = amount * torch.where(uniform(photo, random, 0.0, 1.0, 1) < 0.5, uniform(photo, random, 0.0, 1.0, 1), 1)
        return most * level[:, None] * amount * (uniform(photo, random, 0.0, 1.0, 1) < chance)

    black, white = drawn(0.4, 0.55), 1 - drawn(0.5, 0.85)
    own = uniform(photo, random, -0.5, 0.5, 3) * (uniform(photo, random, 0.0, 1.0, 1) < 0.5)
    common = uniform(photo, random, -0.5, 0.5, 1) * uniform(photo, random, 0.0, 1.0, 1)
    return levels(photo, black, white, (level[:, None] * (common + own)).exp())


def print_dyes(photo: Tensor, kept: Tensor, absorption: Tensor, stain: Tensor) -> Tensor:
    """Fade dyes whose densities add up in linear light, where each dye absorbs in all three channels.

    Args:
        photo: (B, 3, H, W).
        kept: (B, 3) share of the cyan, magenta and yellow dye that is left.
        absorption: (B, 3, 3) densities to red, green and blue (rows) of one unit of each dye (columns).
        stain: (B, 3) densities that the paper has gained.
    """
    light = torch.where(photo <= 0.04045, photo / 12.92, ((photo.clamp_min(0.04) + 0.055) / 1.055) ** 2.4)
    density = -light.clamp_min(1 / 160).log10()
    # The dyes that give these densities, faded, and the densities of what is left.
    left = absorption @ (kept[:, :, None] * torch.linalg.inv(absorption))
    density = torch.einsum("boc,bchw->bohw", left, density) + as_planes(stain)
    light = (10**-density).clamp(0, 1)
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp_min(0.003) ** (1 / 2.4) - 0.055)


def random_print_dyes(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Fade each dye by up to 0.85, with a tenth to a half of its absorption in other channels, on yellowing paper."""
    others = uniform(photo, random, 0.05, 0.25, 3, 3) * (1 - torch.eye(3, device=photo.device))
    absorption = others + torch.diag_embed(1 - others.sum(dim=2))
    amounts = level[:, None] * uniform(photo, random, 0.0, 0.85, 3)
    tint = constant((0.05, 0.35, 1.0), photo.device) * uniform(photo, random, 0.6, 1.4, 3)
    return print_dyes(photo, 1 - amounts, absorption, 0.3 * level[:, None] * uniform(photo, random, 0.0, 1.0, 1) * tint)


def random_desaturation(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Take away up to 0.85 of the colour."""
    return monochrome(photo, 0.85 * level * uniform(photo, random, 0.5, 1.0))


def toned(photo: Tensor, tone: Tensor) -> Tensor:
    """Make a print in one tone: the luma raised to a power (B, 3) for each channel; 1 = neutral, less is lighter."""
    return luma(photo).clamp_min(1e-4) ** as_planes(tone)


def random_toned(photo: Tensor, random: Generator) -> Tensor:
    """Make a black-and-white print, or in three of five pictures one in a tone from warm black to sepia."""
    strength = uniform(photo, random, 0.2, 1.0, 1) * (uniform(photo, random, 0.0, 1.0, 1) < 0.6)
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
