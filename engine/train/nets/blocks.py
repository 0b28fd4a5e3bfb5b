"""Parts that several networks share. Tensors are (B, C, H, W); pictures are RGB in 0..1, masks 1 = lost."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.runtime.cards import Port, TileRules


@dataclass(frozen=True)
class Export:
    """One ONNX file of an exported network.

    Attributes:
        file: its file name.
        module: the network in it; called with the inputs in order.
        inputs, outputs: its tensors, as in the model card.
        multiple: height and width must be multiples of this; 0 = they are fixed, at the card's window.
    """

    file: str
    module: nn.Module
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    multiple: int


class Generator(nn.Module, ABC):
    """A network that is trained and exported.

    Attributes:
        TILE: how pictures are cut into windows for the exported model.
        LABELS: names of the planes of a probability output.
        MAY_LACK: how the names of weights begin that may be random where a training begins from other weights.
    """

    TILE: TileRules
    LABELS: tuple[str, ...] = ()
    MAY_LACK: tuple[str, ...] = ()

    @abstractmethod
    def exports(self) -> list[Export]:
        """The ONNX files it is exported to, in the order in which they run."""


class Mergeable(nn.Module, ABC):
    """A layer with parts that only the training needs."""

    @abstractmethod
    def merge(self) -> None:
        """Change the weights so that the result is the same without these parts, and drop them."""


N = TypeVar("N", bound=nn.Module)


def merged(network: N) -> N:
    """A copy of a network, as it is exported: its layers are merged."""
    plain = copy.deepcopy(network)
    for layer in plain.modules():
        if isinstance(layer, Mergeable):
            layer.merge()
    return plain


PICTURE = Port("picture", "picture")
MASK = Port("mask", "mask", channels=1)
FILLED = Port("filled", "picture")


def tile_rules(
    multiple: int, *, context: int = 64, overlap: int = 32, default: int = 512, minimum: int = 128
) -> TileRules:
    """The usual rules for windows of a network that takes any size."""
    return TileRules(default=default, minimum=minimum, overlap=overlap, context=context, multiple=multiple)


def membrane(picture: Tensor, mask: Tensor, levels: int) -> Tensor:
    """Fill a hole smoothly from its rim: a push-pull pyramid with Jacobi steps of Laplace's equation at every level.

    The pyramid is built from averages of the known pixels (Gortler et al., The Lumigraph, 1996, section 3.4). Then each
    level starts from the next coarser one and takes four Jacobi steps of the membrane equation (Perez et al., Poisson
    image editing, 2003, equation 2).

    Args:
        picture: (B, 3, H, W), with any values under the mask; H and W are multiples of 2**levels.
        mask: (B, 1, H, W), 1 = lost.
        levels: number of halvings; what no level fills gets the mean of the known picture.

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
        # A coarse pixel counts as known as soon as a quarter of it is known.
        trust = (weights[level] * (4.0 if level else 1.0)).clamp(max=1.0)
        fixed = trust * (sums[level] / (weights[level] + 1e-6))
        filled = fixed + (1 - trust) * filled
        for _ in range(4):
            around = functional.conv2d(functional.pad(filled, (1, 1, 1, 1), mode="replicate"), cross, groups=3)
            filled = fixed + (1 - trust) * around
    return known * picture + mask * filled


def gelu(x: Tensor) -> Tensor:
    """The Gaussian error linear unit in its tanh approximation, the usual activation here."""
    return functional.gelu(x, approximate="tanh")


class Residual(nn.Module):
    """x + second(f(first(f(x)))) with two 3 x 3 convolutions and an activation f; the second may be dilated."""

    def __init__(self, width: int, dilation: int = 1, activation: Callable[[Tensor], Tensor] = gelu) -> None:
        super().__init__()
        self.activation = activation
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        nn.init.zeros_(self.second.weight)
        self.second.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        y: Tensor = self.second(self.activation(self.first(self.activation(x))))
        return x + y


class UNet(nn.Module):
    """A U-Net whose first layer works at half resolution, on squares of 2 x 2 pixels unshuffled into channels.

    The weights of the output layer start at zero, so that a network that adds its output to something starts there.

    Args:
        inputs, outputs: numbers of channels.
        widths: channels at 1/2, 1/4, 1/8 and 1/16 of the resolution; multiples of 16, because oneDNN's bf16 gradients
            of dilated convolutions of other widths are not finite on a CPU.
        blocks: residual blocks at each of these, in encoder and decoder together; the deepest are dilated 1, 2, 4, ...
        activation: between the convolutions.
    """

    MULTIPLE = 16
    """Height and width must be multiples of this."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        widths: list[int],
        blocks: list[int],
        activation: Callable[[Tensor], Tensor] = gelu,
    ) -> None:
        super().__init__()
        self.activation = activation

        def residuals(width: int, count: int) -> nn.Sequential:
            return nn.Sequential(*[Residual(width, activation=activation) for _ in range(count)])

        self.head = nn.Conv2d(inputs * 4, widths[0], 3, padding=1)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        self.decoders, self.ups = nn.ModuleList(), nn.ModuleList()
        for level in range(3):
            inner = blocks[level] // 2
            self.encoders.append(residuals(widths[level], inner))
            self.decoders.append(residuals(widths[level], blocks[level] - inner))
            self.downs.append(nn.Conv2d(widths[level], widths[level + 1], 2, stride=2))
            self.ups.append(nn.Conv2d(widths[level + 1], widths[level] * 4, 1))
        self.middle = nn.Sequential(*[Residual(widths[3], 2**i, activation) for i in range(blocks[3])])
        self.tail = nn.Conv2d(widths[0], outputs * 4, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        self.tail.bias = nn.Parameter(torch.zeros(outputs * 4))

    def features(self, x: Tensor) -> Tensor:
        """From (B, inputs, H, W) to (B, outputs, H, W)."""
        x = self.head(functional.pixel_unshuffle(x, 2))
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            skips.append(x)
            x = down(x)
        x = self.middle(x)
        for up, decoder, skip in zip(reversed(self.ups), reversed(self.decoders), reversed(skips), strict=True):
            x = decoder(functional.pixel_shuffle(up(x), 2) + skip)
        return functional.pixel_shuffle(self.tail(self.activation(x)), 2)
