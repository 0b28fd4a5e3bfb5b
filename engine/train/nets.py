"""Networks, in small tables. Tensors are (B, C, H, W); pictures are RGB in 0..1, masks 1 = lost."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from engine.errors import SettingsError


def membrane(picture: Tensor, mask: Tensor, levels: int) -> Tensor:
    """Fill a hole smoothly from its rim: a push-pull pyramid, relaxed towards Laplace's equation at every level.

    Down the pyramid go averages of the known pixels (Gortler et al., The Lumigraph, 1996, section 3.4); on the way up
    each level starts from the coarser one and takes four Jacobi steps of the membrane equation (Perez et al., Poisson
    image editing, 2003, equation 2).

    Args:
        picture: (B, 3, H, W), anything under the mask; H and W are multiples of 2**levels.
        mask: (B, 1, H, W), 1 = lost.
        levels: halvings; what no level reaches gets the mean of the known picture.

    Returns:
        (B, 3, H, W), equal to the picture wherever the mask is 0.
    """
    known = 1 - mask
    sums, weights = [picture * known], [known]
    for _ in range(levels):
        sums.append(functional.avg_pool2d(sums[-1], 2))
        weights.append(functional.avg_pool2d(weights[-1], 2))
    cross = torch.tensor(
        [[0.0, 0.25, 0.0], [0.25, 0.0, 0.25], [0.0, 0.25, 0.0]], dtype=picture.dtype, device=picture.device
    )
    cross = cross.expand(3, 1, 3, 3)
    mean = sums[-1].mean(dim=(2, 3), keepdim=True) / (weights[-1].mean(dim=(2, 3), keepdim=True) + 1e-6)
    filled = mean.expand_as(sums[-1])
    for level in range(levels, -1, -1):
        if level < levels:
            filled = functional.interpolate(filled, scale_factor=2.0, mode="bilinear", align_corners=False)
        # A coarse cell is trusted as soon as a quarter of it is known.
        trust = (weights[level] * (4.0 if level else 1.0)).clamp(max=1.0)
        fixed = trust * (sums[level] / (weights[level] + 1e-6))
        filled = fixed + (1 - trust) * filled
        for _ in range(4):
            around = functional.conv2d(functional.pad(filled, (1, 1, 1, 1), mode="replicate"), cross, groups=3)
            filled = fixed + (1 - trust) * around
    return known * picture + mask * filled


class Residual(nn.Module):
    """Two 3 x 3 convolutions around a sum; the second may be dilated."""

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        nn.init.zeros_(self.second.weight)
        self.second.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape."""
        y: Tensor = self.second(functional.gelu(self.first(functional.gelu(x)), approximate="tanh"))
        return x + y


class HealUNet(nn.Module):
    """Mask-conditioned generator: a U-Net at half resolution that corrects a membrane filling.

    The output layer starts at zero, so an untrained network is the membrane filling itself and training only climbs.

    Args:
        widths: channels at 1/2, 1/4, 1/8 and 1/16 of the resolution.
        blocks: residual blocks at each of those (encoder and decoder together; the deepest is dilated 1, 2, 4, ...).
    """

    MULTIPLE = 32
    """Height and width must be multiples of this."""

    def __init__(self, widths: list[int] | None = None, blocks: list[int] | None = None) -> None:
        super().__init__()
        widths = widths or [48, 96, 128, 192]
        blocks = blocks or [1, 2, 3, 4]
        self.head = nn.Conv2d(4 * 4, widths[0], 3, padding=1)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        self.decoders, self.ups = nn.ModuleList(), nn.ModuleList()
        for level in range(3):
            inner = blocks[level] // 2
            self.encoders.append(nn.Sequential(*[Residual(widths[level]) for _ in range(inner)]))
            self.decoders.append(nn.Sequential(*[Residual(widths[level]) for _ in range(blocks[level] - inner)]))
            self.downs.append(nn.Conv2d(widths[level], widths[level + 1], 2, stride=2))
            self.ups.append(nn.Conv2d(widths[level + 1], widths[level] * 4, 1))
        self.middle = nn.Sequential(*[Residual(widths[3], 2**i) for i in range(blocks[3])])
        self.tail = nn.Conv2d(widths[0], 3 * 4, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        self.tail.bias = nn.Parameter(torch.zeros(3 * 4))

    def forward(self, picture: Tensor, mask: Tensor) -> Tensor:
        """Fill the lost part.

        Args:
            picture: (B, 3, H, W) in 0..1; what lies under the mask is not looked at.
            mask: (B, 1, H, W), 1 = lost.

        Returns:
            (B, 3, H, W), not clipped; equal to the picture where the mask is 0.
        """
        with torch.autocast(picture.device.type, enabled=False):
            rough = membrane(picture, mask, 5)
        x = self.head(functional.pixel_unshuffle(torch.cat([rough - 0.5, mask], dim=1), 2))
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            skips.append(x)
            x = down(x)
        x = self.middle(x)
        for up, decoder, skip in zip(reversed(self.ups), reversed(self.decoders), reversed(skips), strict=True):
            x = decoder(functional.pixel_shuffle(up(x), 2) + skip)
        correction: Tensor = functional.pixel_shuffle(self.tail(functional.gelu(x, approximate="tanh")), 2)
        return rough + mask * correction


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches of a picture and its mask (Isola et al. 2017; spectral norm: Miyato et al. 2018)."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        sizes = [4, width, width * 2, width * 4]
        layers = [spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)) for a, b in pairwise(sizes)]
        self.layers = nn.ModuleList([*layers, spectral_norm(nn.Conv2d(sizes[-1], 1, 3, padding=1))])

    def forward(self, picture: Tensor, mask: Tensor) -> list[Tensor]:
        """Features of each layer, the judgement (B, 1, H/8, W/8) last; above 0 = real."""
        x = torch.cat([picture - 0.5, mask], dim=1)
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
            x = functional.leaky_relu(x, 0.2)
        return features


NETWORKS: dict[str, Callable[..., nn.Module]] = {"heal_unet": HealUNet}
"""Generators: called with the recipe's ``network.options``."""

DISCRIMINATORS: dict[str, Callable[..., nn.Module]] = {"patch_discriminator": PatchDiscriminator}


def build(table: dict[str, Callable[..., nn.Module]], name: str, options: dict[str, Any] | None = None) -> nn.Module:
    """Make a network from a table.

    Raises:
        SettingsError: no such network, or it does not take these options.
    """
    if name not in table:
        raise SettingsError(f"Unknown network {name!r}. Known: {', '.join(table)}.", "train.setting")
    try:
        return table[name](**(options or {}))
    except (TypeError, IndexError) as error:
        raise SettingsError(f"The network {name} does not take these options: {error}.", "train.setting") from error
