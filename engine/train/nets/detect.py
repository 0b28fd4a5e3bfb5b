"""The network that finds damage."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.runtime.cards import Port
from engine.train.damage.shapes import CLASSES
from engine.train.nets.blocks import PICTURE, Export, Generator, tile_rules


class GainedResidual(nn.Module):
    """x + g b(relu(a(x))) with two 3 x 3 convolutions a and b and a learnt gain g for each channel.

    Args:
        width: number of channels.
        dilation: of the first convolution.
    """

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.a = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.b = nn.Conv2d(width, width, 3, padding=1)
        self.g = nn.Parameter(torch.full((1, width, 1, 1), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        changed: Tensor = x + self.g * self.b(functional.relu(self.a(x)))
        return changed


class DamageUNet(Generator):
    """Gives the probability of damage of any kind at full resolution, and at half of it which class is likely.

    A U-Net whose first layer works at half resolution, on squares of 2 x 2 pixels unshuffled into channels. It goes
    down by 2 x 2 convolutions with stride 2 and up by 1 x 1 convolutions with pixel shuffle, and adds the skipped
    features.

    Args:
        widths: channels at 1/2, 1/4, 1/8 and 1/16 of the resolution; the last a multiple of 16 (see ``UNet``).
        blocks: residual blocks at each of these on the way down, and, but for the last, on the way up; the last are
            dilated 1, 2, 4, ...
    """

    MULTIPLE = 16
    LABELS = CLASSES
    MAY_LACK = ("kinds.",)
    # With less context the result of a window differs from that of the whole picture.
    TILE = tile_rules(16, default=2048, context=256)

    def __init__(self, widths: list[int] | None = None, blocks: list[int] | None = None) -> None:
        super().__init__()
        widths, blocks = widths or [32, 56, 96, 128], blocks or [1, 2, 2, 3]

        def residuals(level: int) -> nn.Sequential:
            deepest = level == len(widths) - 1
            return nn.Sequential(*[GainedResidual(widths[level], 2**i if deepest else 1) for i in range(blocks[level])])

        self.inp = nn.Conv2d(12, widths[0], 3, padding=1)
        self.enc = nn.ModuleList([residuals(level) for level in range(len(widths))])
        self.down = nn.ModuleList([nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths)])
        self.up = nn.ModuleList([nn.Conv2d(b, 4 * a, 1) for a, b in pairwise(widths)])
        self.dec = nn.ModuleList([residuals(level) for level in range(len(widths) - 1)])
        self.out = nn.Conv2d(widths[0], 4, 3, padding=1)
        self.kinds = nn.Conv2d(widths[0], len(CLASSES), 3, padding=1)
        # Damage is rare: start at a probability of 1 in 50.
        nn.init.constant_(self.out.bias, -4.0)  # type: ignore[arg-type]

    def forward(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 1 + classes, H, W): the logit of any damage, and logits of its class."""
        logit, kinds = self._parts(picture)
        return torch.cat([logit, _doubled(kinds)], dim=1)

    def _parts(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """The logit of any damage, (B, 1, H, W), and those of its class, (B, classes, H / 2, W / 2)."""
        x = self.inp(functional.pixel_unshuffle(picture - 0.5, 2))
        skips = []
        for blocks, down in zip(self.enc, self.down, strict=False):
            x = blocks(x)
            skips.append(x)
            x = down(x)
        x = self.enc[-1](x)
        for up, blocks, skip in zip(reversed(self.up), reversed(self.dec), reversed(skips), strict=True):
            x = blocks(functional.pixel_shuffle(up(x), 2) + skip)
        return functional.pixel_shuffle(self.out(x), 2), self.kinds(x)

    def look_twice(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of the results for a picture and for the picture turned by 180 degrees.

        What both views agree on is right more often, so that less sound is taken for damage when as much is found.

        Returns:
            The logit of any damage, (B, 1, H, W), and those of its class, (B, classes, H / 2, W / 2).
        """
        pairs = zip(self._parts(picture), self._parts(picture.flip(2, 3)), strict=True)
        logit, kinds = ((here + turned.flip(2, 3)) / 2 for here, turned in pairs)
        return logit, kinds

    @torch.no_grad()
    def scale_logits(self, scale: float, shift: float) -> None:
        """Change the weights so that the logit of any damage is scaled and then shifted."""
        self.out.weight *= scale
        assert self.out.bias is not None
        self.out.bias.mul_(scale).add_(shift)

    def exports(self) -> list[Export]:
        """One file with a plane for each class."""
        probability = Port("probability", "probability", channels=len(CLASSES))
        return [Export("model.onnx", _Planes(self), (PICTURE,), (probability,), self.MULTIPLE)]


def _doubled(planes: Tensor) -> Tensor:
    return functional.interpolate(planes, scale_factor=2.0, mode="nearest")


class _Planes(nn.Module):
    """A plane for each class. The likeliest class has the probability of any damage, others proportionally less.

    So the largest value of a pixel is the calibrated probability, and its plane tells the class.
    """

    def __init__(self, network: DamageUNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> Tensor:
        logit, kinds = self.network.look_twice(picture)
        return torch.sigmoid(logit) * _doubled(torch.exp(kinds - kinds.amax(dim=1, keepdim=True)))
