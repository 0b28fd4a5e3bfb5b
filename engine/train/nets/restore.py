"""Networks that restore whole pictures: clean, tone, enlarging."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.runtime.cards import Port, TileRules
from engine.train.nets.blocks import PICTURE, Export, Generator, Residual, UNet, tile_rules

RESTORED = Port("restored", "picture")

THUMBNAIL = 64
"""Side of the thumbnail that the tone networks see, pixels."""


class Autoencoder(Generator):
    """Encoder, latent, decoder, without skip connections.

    After Vincent et al., Extracting and composing robust features with denoising autoencoders, 2008.

    Args:
        width: channels inside, at a quarter of the resolution.
        latent: channels of the latent at a quarter of the resolution; 48 could hold the picture unchanged.
        blocks: dilated residual blocks before and after the latent.
    """

    MULTIPLE = 4
    TILE = tile_rules(4, context=32)

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


class EnhanceUNet(UNet, Generator):
    """One network for noise, grain, blur, JPEG, low resolution and faded tone; the severity is an input."""

    TILE = tile_rules(16)

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


class CleanUNet(UNet, Generator):
    """Removes noise, grain, JPEG artefacts and slight blur; the noise level is an input, 0 = unknown.

    The noise level is a channel beside the picture, as in Zhang, Zuo, Zhang, FFDNet, 2018. The activations are
    rectified linear units, which the runtime fuses with the convolutions: a sixth less time on a CPU.
    """

    # With less context the result of a window differs from that of the whole picture.
    TILE = tile_rules(16, default=1536, context=128)

    def __init__(self, widths: list[int] | None = None, blocks: list[int] | None = None) -> None:
        super().__init__(4, 3, widths or [64, 96, 96, 112], blocks or [4, 4, 3, 2], functional.relu)

    def forward(self, picture: Tensor, noise_level: Tensor) -> Tensor:
        """(B, 3, H, W) and standard deviations (B,) of white noise on 0..255, 0 = unknown, to (B, 3, H, W)."""
        plane = (noise_level.to(picture.dtype) / 50)[:, None, None, None].expand(-1, 1, *picture.shape[2:])
        return picture + self.features(torch.cat([picture - 0.5, plane], dim=1))

    def exports(self) -> list[Export]:
        """One file."""
        level = Port("noise_level", "noise_level", channels=1, high=255.0, layout="N")
        return [Export("model.onnx", self, (PICTURE, level), (RESTORED,), self.MULTIPLE)]


class Upscaler(Generator):
    """Enlarges by a whole factor: residual blocks at the small size, pixel shuffle at the end, added to bicubic.

    After Lim et al., Enhanced deep residual networks, 2017, and the sub-pixel layer of Shi et al., 2016.

    Args:
        scale: 2 or 4.
        width: number of channels.
        blocks: number of residual blocks.
    """

    MULTIPLE = 1

    def __init__(self, scale: int = 2, width: int = 64, blocks: int = 6) -> None:
        super().__init__()
        self.scale = scale
        self.TILE = TileRules(default=512, minimum=64, overlap=4, context=16, multiple=1, scale=scale)
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*[Residual(width) for _ in range(blocks)])
        self.tail = nn.Conv2d(width, 3 * scale**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        self.tail.bias = nn.Parameter(torch.zeros(3 * scale**2))

    def forward(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 3, scale H, scale W), not clipped."""
        first = self.head(picture - 0.5)
        detail = functional.pixel_shuffle(self.tail(first + self.body(first)), self.scale)
        smooth = functional.interpolate(picture, scale_factor=float(self.scale), mode="bicubic", align_corners=False)
        return smooth + detail

    def exports(self) -> list[Export]:
        """One file."""
        return [Export("model.onnx", self, (PICTURE,), (Port("enlarged", "picture"),), self.MULTIPLE)]


class ToneNet(Generator):
    """Changes the colours of a whole picture by one polynomial, so that its geometry cannot change.

    A small network sees a thumbnail and gives the 3 x 10 coefficients of a quadratic polynomial of R, G and B, which is
    added to the picture (as in colour correction: Finlayson et al., Color correction using root-polynomial regression,
    2015, but with plain terms).

    Args:
        width: channels of the first layer.
        size: side of the thumbnail, pixels.
    """

    MULTIPLE = 1
    TILE = tile_rules(1, context=0, overlap=0)

    def __init__(self, width: int = 24, size: int = THUMBNAIL) -> None:
        super().__init__()
        self.size = size
        self.look = _thumbnail_encoder(width)
        last = nn.Linear(64, 30)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.decide = nn.Sequential(nn.Linear(8 * width, 64), nn.GELU(approximate="tanh"), last)

    def forward(self, picture: Tensor, thumbnail: Tensor) -> Tensor:
        """(B, 3, H, W) and the whole picture reduced to (B, 3, size, size), to (B, 3, H, W), not clipped."""
        moves = self.decide(_mean_and_spread(self.look(thumbnail - 0.5))).float().reshape(-1, 3, 10)
        with torch.autocast(picture.device.type, enabled=False):
            return picture + _polynomial(picture - 0.5, moves)

    def thumbnail(self, picture: Tensor) -> Tensor:
        """A picture reduced by area averages."""
        return functional.adaptive_avg_pool2d(picture, self.size)

    def exports(self) -> list[Export]:
        """One file."""
        thumbnail = Port("thumbnail", "thumbnail", size=self.size)
        return [Export("model.onnx", self, (PICTURE, thumbnail), (RESTORED,), self.MULTIPLE)]


def _thumbnail_encoder(width: int) -> nn.Sequential:
    """Four convolutions, each with stride 2."""
    layers: list[nn.Module] = []
    for a, b in pairwise([3, width, 2 * width, 3 * width, 4 * width]):
        layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GELU(approximate="tanh")]
    return nn.Sequential(*layers)


def _mean_and_spread(seen: Tensor) -> Tensor:
    """Mean and standard deviation of every channel of (B, C, H, W), as (B, 2 C)."""
    flat = seen.flatten(2)
    mean = flat.mean(dim=2)
    spread = ((flat - mean[:, :, None]).square().mean(dim=2) + 1e-6).sqrt()
    return torch.cat([mean, spread], dim=1)


def _polynomial(x: Tensor, coefficients: Tensor) -> Tensor:
    """The quadratic polynomial of the channels of x (B, 3, H, W) with coefficients (B, 3, 10), as (B, 3, H, W)."""
    red, green, blue = x[:, :1], x[:, 1:2], x[:, 2:]
    terms = torch.cat([torch.ones_like(red), x, x * x, red * green, red * blue, green * blue], dim=1)
    return torch.einsum("boc,bchw->bohw", coefficients, terms)


class ToneCycle(Generator):
    """The two generators of a CycleGAN for tone: from old prints to fresh ones, and back."""

    MULTIPLE = 1
    TILE = ToneNet.TILE

    def __init__(self, width: int = 24, size: int = THUMBNAIL) -> None:
        super().__init__()
        self.freshen = ToneNet(width, size)
        self.age = ToneNet(width, size)

    def forward(self, picture: Tensor, way: str) -> Tensor:
        """(B, 3, H, W) to (B, 3, H, W) with the tones of the other kind; ``way`` is ``freshen`` or ``age``."""
        net = self.freshen if way == "freshen" else self.age
        moved: Tensor = net(picture, net.thumbnail(picture))
        return moved

    def exports(self) -> list[Export]:
        """Only the generator from old to fresh."""
        return self.freshen.exports()
