"""A small network that enlarges, whose convolutions are wider while it is trained than when it is exported."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.runtime.cards import Port, TileRules
from engine.train.nets.blocks import PICTURE, Export, Generator, Mergeable, merged

_DERIVATIVES = (
    ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0)),
    ((1.0, 2.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0)),
    ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0)),
)
"""Sobel's horizontal and vertical derivative, and the Laplacian."""


class EdgeConv(Mergeable):
    """A 3 x 3 convolution whose kernel is a sum of several while it is trained (structural re-parameterisation).

    The kernel is that of a plain convolution, of a wide 3 x 3 convolution followed by one of 1 x 1, and of 1 x 1
    convolutions followed by derivative filters (Zhang et al., Edge-oriented convolution block, 2021). All of them are
    linear, so their kernels are added before the picture is convolved: training costs as much as without them, but
    descends more steeply. ``merge`` leaves the plain convolution.

    Args:
        inputs, outputs: numbers of channels.
    """

    _BRANCHES = ("wide", "narrow", "mix", "slopes")

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        plain = nn.Conv2d(inputs, outputs, 3)
        assert plain.bias is not None
        self.weight, self.bias = plain.weight, plain.bias
        self.wide = nn.Parameter(nn.Conv2d(inputs, 2 * outputs, 3).weight.detach())
        self.narrow = nn.Parameter(torch.zeros(outputs, 2 * outputs))
        self.mix = nn.Parameter(nn.Conv2d(inputs, 3 * outputs, 1).weight.detach().reshape(3, outputs, inputs))
        self.slopes = nn.Parameter(torch.zeros(3, outputs))
        self.register_buffer("derivatives", torch.tensor(_DERIVATIVES), persistent=False)
        self.merged = False

    def kernel(self) -> Tensor:
        """The kernel of the sum, (outputs, inputs, 3, 3)."""
        if self.merged:
            return self.weight
        wide = torch.einsum("om,mihw->oihw", self.narrow, self.wide)
        edges = torch.einsum("ko,koi,khw->oihw", self.slopes, self.mix, self.derivatives)
        return self.weight + wide + edges

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        return functional.conv2d(x, self.kernel(), self.bias, padding=1)

    @torch.no_grad()
    def merge(self) -> None:
        """Put the whole kernel into the weight, and drop the rest."""
        self.weight = nn.Parameter(self.kernel())
        self.merged = True
        for name in self._BRANCHES:
            delattr(self, name)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *more: Any) -> None:
        """Load weights; where they are those of a merged convolution, the other parts begin without effect."""
        if prefix + "weight" in state_dict and prefix + "wide" not in state_dict and not self.merged:
            for name in self._BRANCHES:
                value = getattr(self, name).detach()
                state_dict[prefix + name] = torch.zeros_like(value) if name in ("narrow", "slopes") else value
        super()._load_from_state_dict(state_dict, prefix, *more)


class EdgeUpscaler(Generator):
    """Enlarges by a whole factor: residual blocks at the small size, pixel shuffle at the end, added to bicubic.

    Args:
        scale: 2 or 4.
        width: number of channels.
        blocks: number of residual blocks, each of two convolutions.
    """

    MULTIPLE = 1

    def __init__(self, scale: int = 4, width: int = 48, blocks: int = 6) -> None:
        super().__init__()
        self.scale = scale
        self.TILE = TileRules(default=512, minimum=64, overlap=4, context=16, multiple=1, scale=scale)
        self.head = EdgeConv(3, width)
        self.first = nn.ModuleList([EdgeConv(width, width) for _ in range(blocks)])
        self.second = nn.ModuleList([EdgeConv(width, width) for _ in range(blocks)])
        self.tail = EdgeConv(width, 3 * scale**2)
        for conv in (*self.second, self.tail):
            # The network begins as bicubic.
            nn.init.zeros_(conv.weight)
            nn.init.zeros_(conv.bias)

    def forward(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 3, scale H, scale W), not clipped."""
        start = x = self.head(picture - 0.5)
        for first, second in zip(self.first, self.second, strict=True):
            x = x + second(functional.relu(first(x)))
        detail = functional.pixel_shuffle(self.tail(start + x), self.scale)
        smooth = functional.interpolate(picture, scale_factor=float(self.scale), mode="bicubic", align_corners=False)
        return smooth + detail

    def exports(self) -> list[Export]:
        """One file, in which every convolution is a plain one."""
        return [Export("model.onnx", merged(self), (PICTURE,), (Port("enlarged", "picture"),), self.MULTIPLE)]
