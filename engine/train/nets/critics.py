"""Discriminators."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches of a picture (Isola et al. 2017; spectral norm: Miyato et al. 2018).

    Args:
        channels: channels of its input.
        widths: channels of the layers; each layer halves the resolution.
    """

    def __init__(self, channels: int = 4, widths: tuple[int, ...] = (48, 96, 192)) -> None:
        super().__init__()
        layers = [spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)) for a, b in pairwise((channels, *widths))]
        self.layers = nn.ModuleList([*layers, spectral_norm(self._last_layer(widths[-1]))])

    def _last_layer(self, width: int) -> nn.Conv2d:
        return nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, planes: Tensor) -> list[Tensor]:
        """The features of each layer, and last the scores (B, 1, h, w), above 0 = real."""
        x = planes
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
            x = functional.leaky_relu(x, 0.2)
        return features


class PictureDiscriminator(PatchDiscriminator):
    """Judges whole pictures of 64 px (Radford et al., DCGAN, 2015), with spectral norm in place of batch norm."""

    def __init__(self, channels: int = 3, widths: tuple[int, ...] = (32, 64, 96, 128)) -> None:
        super().__init__(channels, widths)

    def _last_layer(self, width: int) -> nn.Conv2d:
        return nn.Conv2d(width, 1, 4)


class ToneDiscriminator(PatchDiscriminator):
    """Judges the colours of a picture at half its size, where a patch shows more of the picture."""

    def forward(self, planes: Tensor) -> list[Tensor]:
        """As ``PatchDiscriminator``."""
        return super().forward(functional.avg_pool2d(planes, 2))
