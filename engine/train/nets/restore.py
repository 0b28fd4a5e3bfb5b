"""Networks that work on the whole picture: clean, tone, detect."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.runtime.cards import Port
from engine.train.nets.blocks import PICTURE, Export, Residual, UNet, tiles
from engine.train.shapes import CLASSES

RESTORED = Port("restored", "picture")


class Autoencoder(nn.Module):
    """Encoder, latent, decoder without a way around the latent.

    After Vincent et al., Extracting and composing robust features with denoising autoencoders, 2008.

    Args:
        width: channels inside, at a quarter of the resolution.
        latent: channels of the latent at a quarter of the resolution; 48 would hold a picture as it is.
        blocks: dilated residual blocks before and behind the latent.
    """

    MULTIPLE = 4
    TILE = tiles(4, context=32)

    def __init__(self, width: int = 48, latent: int = 24, blocks: int = 4) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4), nn.Conv2d(48, width, 3, padding=1), *[Residual(width, 2**i) for i in range(blocks)]
        )
        self.squeeze = nn.Conv2d(width, latent, 1)
        self.decoder = nn.Sequential(
            nn.Conv2d(latent, width, 3, padding=1),
            *[Residual(width, 2**i) for i in reversed(range(blocks))],
            nn.Conv2d(width, 48, 3, padding=1),
            nn.PixelShuffle(4),
        )

    def forward(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 3, H, W), not clipped."""
        restored: Tensor = self.decoder(self.squeeze(self.encoder(picture - 0.5))).float() + 0.5
        return restored

    def exports(self) -> list[Export]:
        """One file."""
        return [Export("model.onnx", self, (PICTURE,), (RESTORED,), self.MULTIPLE)]


class EnhanceUNet(UNet):
    """One generator for noise, grain, blur, JPEG, low resolution and lost tone, told how strong the damage is."""

    TILE = tiles(16)

    def __init__(self, widths: list[int] | None = None, blocks: list[int] | None = None) -> None:
        super().__init__(4, 3, widths or [32, 48, 64, 64], blocks or [2, 2, 1, 2])

    def forward(self, picture: Tensor, strength: Tensor) -> Tensor:
        """(B, 3, H, W) and a strength (B,) in 0..1 to (B, 3, H, W), not clipped."""
        plane = strength.to(picture.dtype)[:, None, None, None].expand(-1, 1, *picture.shape[2:])
        return picture + self.features(torch.cat([picture - 0.5, plane], dim=1))

    def exports(self) -> list[Export]:
        """One file."""
        strength = Port("strength", "strength", channels=1, layout="N")
        return [Export("model.onnx", self, (PICTURE, strength), (RESTORED,), self.MULTIPLE)]


class DetectUNet(UNet):
    """Segmentation of damage at full resolution, a probability for each class."""

    TILE = tiles(16)

    def __init__(self, widths: list[int] | None = None, blocks: list[int] | None = None) -> None:
        super().__init__(3, len(CLASSES), widths or [32, 48, 64, 64], blocks or [2, 2, 1, 2])
        # Damage is rare: start at one pixel in fifty.
        self.tail.bias = nn.Parameter(torch.full((4 * len(CLASSES),), -4.0))

    def forward(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W) to logits (B, classes, H, W)."""
        return self.features(picture - 0.5)

    def exports(self) -> list[Export]:
        """One file that gives probabilities."""
        probability = Port("probability", "probability", channels=len(CLASSES))
        module = nn.Sequential(self, nn.Sigmoid())
        return [Export("model.onnx", module, (PICTURE,), (probability,), self.MULTIPLE)]


class ToneNet(nn.Module):
    """Colours of a whole picture moved by one polynomial, so that geometry cannot move.

    A small network sees the picture reduced to a thumbnail and gives the 3 x 10 coefficients of a quadratic polynomial
    of R, G and B (as in colour correction: Finlayson et al., Color correction using root-polynomial regression, 2015,
    with plain terms), added to the identity.

    Args:
        width: channels of the first layer.
        size: side of the thumbnail, pixels.
    """

    MULTIPLE = 1
    TILE = tiles(1, context=0, overlap=0)

    def __init__(self, width: int = 24, size: int = 64) -> None:
        super().__init__()
        self.size = size
        sizes = [3, width, 2 * width, 3 * width, 4 * width]
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GELU(approximate="tanh")]
        self.look = nn.Sequential(*layers)
        last = nn.Linear(64, 30)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.decide = nn.Sequential(nn.Linear(8 * width, 64), nn.GELU(approximate="tanh"), last)

    def forward(self, picture: Tensor, thumbnail: Tensor) -> Tensor:
        """(B, 3, H, W) and the whole picture reduced to (B, 3, size, size), to (B, 3, H, W), not clipped."""
        seen = self.look(thumbnail - 0.5).flatten(2)
        # Mean and spread of what was seen, over the whole thumbnail.
        mean = seen.mean(dim=2)
        spread = ((seen - mean[:, :, None]).square().mean(dim=2) + 1e-6).sqrt()
        moves = self.decide(torch.cat([mean, spread], dim=1)).float().reshape(-1, 3, 10)
        x = picture - 0.5
        red, green, blue = x[:, :1], x[:, 1:2], x[:, 2:]
        terms = torch.cat([torch.ones_like(red), x, x * x, red * green, red * blue, green * blue], dim=1)
        with torch.autocast(picture.device.type, enabled=False):
            return picture + torch.einsum("boc,bchw->bohw", moves, terms)

    def thumbnail(self, picture: Tensor) -> Tensor:
        """A picture reduced by averaging areas."""
        return functional.adaptive_avg_pool2d(picture, self.size)

    def exports(self) -> list[Export]:
        """One file."""
        thumbnail = Port("thumbnail", "thumbnail", size=self.size)
        return [Export("model.onnx", self, (PICTURE, thumbnail), (RESTORED,), self.MULTIPLE)]


class ToneCycle(nn.Module):
    """The two generators of a CycleGAN for tone: old prints to fresh ones, and back."""

    MULTIPLE = 1
    TILE = ToneNet.TILE

    def __init__(self, width: int = 24, size: int = 64) -> None:
        super().__init__()
        self.freshen = ToneNet(width, size)
        self.age = ToneNet(width, size)

    def forward(self, picture: Tensor, way: str) -> Tensor:
        """(B, 3, H, W) to (B, 3, H, W) with tones of the other side; ``way`` is ``freshen`` or ``age``."""
        net = self.freshen if way == "freshen" else self.age
        moved: Tensor = net(picture, net.thumbnail(picture))
        return moved

    def exports(self) -> list[Export]:
        """Only the way from old to fresh."""
        return self.freshen.exports()
