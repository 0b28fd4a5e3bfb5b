"""Loss terms. Pictures are (B, 3, H, W) float32 RGB in 0..1, masks (B, 1, H, W) with 1 = lost; terms are scalars.

Notation of the formulas: x the photograph, y the network's output, m the mask, D the discriminator.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import SettingsError


def l1_hole(output: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    """Mean over pictures of sum |y - x| m / sum m: mean absolute error inside the mask, every picture alike."""
    return _inside((output - photo).abs(), mask).mean()


def l1_valid(output: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    """Mean over pictures of sum |y - x| (1 - m) / sum (1 - m): mean absolute error outside the mask."""
    return _inside((output - photo).abs(), 1 - mask).mean()


def l2_hole(output: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    """Mean over pictures of sum (y - x)^2 m / sum m: mean squared error inside the mask."""
    return _inside((output - photo).square(), mask).mean()


def log_l1_hole(output: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    """Mean over pictures of log(0.01 + sum |y - x| m / sum m): what counts is the relative error of each picture.

    A decibel gained in a smooth sky weighs as much as one in foliage, as it does in a mean of PSNRs and to the eye.
    """
    return (_inside((output - photo).abs(), mask) + 0.01).log().mean()


def _inside(error: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, 3, H, W) over the masked samples of each picture, (B,)."""
    return (error * mask).sum(dim=(1, 2, 3)) / (3 * mask.sum(dim=(1, 2, 3))).clamp_min(1)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "l1_hole": l1_hole,
    "l1_valid": l1_valid,
    "l2_hole": l2_hole,
    "log_l1_hole": log_l1_hole,
}
"""Reconstruction terms a recipe may name in ``losses``; the adversarial ones have settings of their own."""


def reconstruction(weights: dict[str, float], output: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    """Weighted sum of the named terms."""
    terms = [weight * LOSSES[name](output, photo, mask) for name, weight in weights.items()]
    return torch.stack(terms).sum()


def check_losses(weights: dict[str, float]) -> None:
    """Refuse a loss that is not in the table.

    Raises:
        SettingsError: naming it.
    """
    for name in weights:
        if name not in LOSSES:
            raise SettingsError(f"Unknown loss {name!r}. Known: {', '.join(LOSSES)}.", "train.setting")


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E max(0, 1 - D(x)) + E max(0, 1 + D(y)) (Lim and Ye, Geometric GAN, 2017)."""
    return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """-E D(y)."""
    return -fake.mean()


def feature_matching(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Mean L1 distance of the discriminator's features, the judgement left out (Wang et al., pix2pixHD, 2018)."""
    pairs = list(zip(real[:-1], fake[:-1], strict=True))
    return torch.stack([functional.l1_loss(f, r.detach()) for r, f in pairs]).mean()


def r1_penalty(judgement: Tensor, real: Tensor) -> Tensor:
    """E ||grad_x D(x)||^2 / 2 on real pictures (Mescheder et al. 2018). ``real`` must require gradients."""
    (gradient,) = torch.autograd.grad(judgement.sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean() / 2
