"""The network that finds faces."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.runtime.cards import Port, TileRules
from engine.train.nets.blocks import PICTURE, Export, Generator, Mergeable, merged


class NormedConv(Mergeable):
    """A convolution with batch normalisation while it is trained, and without it once ``merge`` was called.

    Loaded with the weights of a merged one it is trained on without normalisation, so that its result stays the same.

    Args:
        inputs, outputs: numbers of channels.
        side: of the kernel.
        stride, dilation: of the convolution.
    """

    def __init__(self, inputs: int, outputs: int, side: int = 3, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, side, stride, dilation * (side // 2), dilation)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        self.norm: nn.BatchNorm2d | None = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        y: Tensor = self.conv(x)
        return y if self.norm is None else self.norm(y)

    @torch.no_grad()
    def merge(self) -> None:
        """Put the normalisation by the averages of the training into the convolution, and drop it."""
        if self.norm is not None:
            self.conv = nn.utils.fuse_conv_bn_eval(self.conv.eval(), self.norm.eval())
            self.norm = None

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *more: Any) -> None:
        if prefix + "conv.weight" in state_dict and prefix + "norm.weight" not in state_dict:
            self.norm = None
        super()._load_from_state_dict(state_dict, prefix, *more)


class NormedResidual(nn.Module):
    """x + b(relu(a(x))) with two normed convolutions; the second begins with a gain of 0.3.

    Args:
        width: number of channels.
        dilation: of the first convolution.
    """

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.a = NormedConv(width, width, dilation=dilation)
        self.b = NormedConv(width, width)
        assert self.b.norm is not None
        nn.init.constant_(self.b.norm.weight, 0.3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        changed: Tensor = x + self.b(functional.relu(self.a(x)))
        return changed


class FaceNet(Generator):
    """Gives a heat map of the centres of faces at a quarter of the resolution, and their sizes and offsets there.

    The three maps are those of Zhou et al., Objects as points, 2019. The picture is reduced by 3 x 3 convolutions with
    stride 2 to 1/32. The features come up again by 1 x 1 convolutions and doubling, and are added to those of the way
    down. Batch normalisation makes the training several times as fast (Ioffe and Szegedy, 2015).

    Args:
        widths: channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the resolution; the last a multiple of 16 (see ``UNet``).
        blocks: residual blocks at each of these; the last are dilated 1, 2, ...
        head: channels of the last layer before the maps.
    """

    MULTIPLE = 32
    # The whole picture at once, with long sides of 960, 480, 240 and 120 px: the network knows faces of 12 to 80 px.
    TILE = TileRules(default=960, minimum=96, overlap=0, context=0, multiple=32)

    def __init__(self, widths: list[int] | None = None, blocks: list[int] | None = None, head: int = 32) -> None:
        super().__init__()
        widths, blocks = widths or [16, 32, 48, 72, 96], blocks or [0, 0, 2, 2, 1]
        self.down = nn.ModuleList([NormedConv(a, b, stride=2) for a, b in pairwise([3, *widths])])
        last = len(widths) - 1
        self.enc = nn.ModuleList(
            [
                nn.Sequential(*[NormedResidual(width, 2**i if level == last else 1) for i in range(count)])
                for level, (width, count) in enumerate(zip(widths, blocks, strict=True))
            ]
        )
        self.up = nn.ModuleList([NormedConv(b, a, 1) for a, b in pairwise(widths[1:])])
        self.head = NormedConv(widths[1], head)
        self.maps = nn.Conv2d(head, 5, 1)
        # Centres of faces are rare: start at a probability of 1 in 100.
        with torch.no_grad():
            self.maps.bias[0] = -4.6  # type: ignore[index]

    def forward(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 5, H / 4, W / 4): logits of the heat, sizes, offsets (``engine.tasks.faces.decode``)."""
        x, skips = 4 * (picture - 0.5), []
        for down, blocks in zip(self.down, self.enc, strict=True):
            x = blocks(functional.relu(down(x)))
            skips.append(x)
        for up, skip in zip(reversed(self.up), reversed(skips[1:-1]), strict=True):
            x = functional.relu(skip + functional.interpolate(up(x), scale_factor=2.0, mode="nearest"))
        maps: Tensor = self.maps(functional.relu(self.head(x)))
        return maps

    def exports(self) -> list[Export]:
        """One file with three outputs; it has plain convolutions only."""
        outputs = (
            Port("heat", "heat", channels=1),
            Port("size", "size", channels=2),
            Port("offset", "offset", channels=2),
        )
        return [Export("model.onnx", _Maps(merged(self)), (PICTURE,), outputs, self.MULTIPLE)]


class _Maps(nn.Module):
    """The three maps as separate outputs, the heat as a probability."""

    def __init__(self, network: FaceNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps = self.network(picture)
        return torch.sigmoid(maps[:, :1]), maps[:, 1:3], maps[:, 3:5]
