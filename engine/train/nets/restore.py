"""Networks that work on the whole picture: clean, tone, detect."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.runtime.cards import Port, TileRules
from engine.train.damage.shapes import CLASSES
from engine.train.nets.blocks import PICTURE, Export, Generator, Residual, UNet, tiles

RESTORED = Port("restored", "picture")

THUMBNAIL = 64
"""Side of the thumbnail by which tone is judged, pixels."""


class Autoencoder(Generator):
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


class CleanUNet(UNet):
    """Noise, grain, JPEG and slight blur; told how strong the white noise is, or not.

    The noise level as a plane beside the picture is that of Zhang, Zuo, Zhang, FFDNet, 2018. Rectified linear units, as
    the runtime folds them into the convolutions: a sixth less time on a CPU.
    """

    # With less context tiles differ from the whole picture.
    TILE = tiles(16, default=1536, context=128)

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
    """Enlarges by a whole factor: residual blocks at the small size, pixels unfolded at the end, added to bicubic.

    After Lim et al., Enhanced deep residual networks, 2017, and the sub-pixel layer of Shi et al., 2016.

    Args:
        scale: 2 or 4.
        width: channels.
        blocks: residual blocks.
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


class DetectUNet(UNet):
    """Segmentation of damage at full resolution, a probability for each class."""

    # The dilated blocks look far: with less context tiles differ from the whole picture.
    TILE = tiles(16, default=2048, context=256)

    def __init__(self, widths: list[int] | None = None, blocks: list[int] | None = None) -> None:
        super().__init__(3, len(CLASSES), widths or [32, 48, 64, 64], blocks or [2, 2, 3, 4], functional.relu)
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


class ToneNet(Generator):
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

    def __init__(self, width: int = 24, size: int = THUMBNAIL) -> None:
        super().__init__()
        self.size = size
        self.look = _look(width)
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
        """A picture reduced by averaging areas."""
        return functional.adaptive_avg_pool2d(picture, self.size)

    def exports(self) -> list[Export]:
        """One file."""
        thumbnail = Port("thumbnail", "thumbnail", size=self.size)
        return [Export("model.onnx", self, (PICTURE, thumbnail), (RESTORED,), self.MULTIPLE)]


class ToneCurves(Generator):
    """Colours of a whole picture moved by a curve for each channel and a polynomial, so that geometry cannot move.

    The curve gain x + offset, to a power, undoes a loss of density (which is a power of what is let through) and a
    veil; the quadratic polynomial of ``ToneNet`` behind it undoes what mixes the channels. Gain and offset begin as
    some share of what stretches each channel to its full range. A small network and the sorted values of the thumbnail
    decide.

    Args:
        width: channels of the first layer.
        hidden: units of the layers that decide.
    """

    MULTIPLE = 1
    TILE = tiles(1, context=0, overlap=0)
    RANKS = 17
    """Values of each channel, evenly spaced by rank from the darkest to the lightest, that are looked at."""

    def __init__(self, width: int = 24, hidden: int = 192) -> None:
        super().__init__()
        self.look = _look(width)
        last = nn.Linear(hidden, 12 + 30)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        layers = [nn.Linear(8 * width + 6 * self.RANKS, hidden), nn.GELU(approximate="tanh")]
        layers += [nn.Linear(hidden, hidden), nn.GELU(approximate="tanh")]
        self.decide = nn.Sequential(*layers, last)

    def forward(self, picture: Tensor, thumbnail: Tensor) -> Tensor:
        """(B, 3, H, W) and the whole picture reduced to (B, 3, size, size), to (B, 3, H, W), not clipped."""
        ranked = thumbnail.flatten(2).sort(dim=2).values
        places = torch.linspace(0, ranked.shape[2] - 1, self.RANKS, device=ranked.device).round().long()
        values = ranked[:, :, places].flatten(1)
        # Fading is a loss of density, and the darkest tones say most about it.
        density = values.clamp_min(1 / 255).log() / 5
        features = [_mean_and_spread(self.look(thumbnail - 0.5)), values - 0.5, density]
        moves = self.decide(torch.cat(features, dim=1)).float()
        with torch.autocast(picture.device.type, enabled=False):
            low, high = ranked[:, :, self._rank(ranked, 0.005)], ranked[:, :, self._rank(ranked, 0.995)]
            stretch, share = 1 / (high - low).float().clamp_min(0.1), torch.sigmoid(moves[:, 9:12] - 1)
            gain, power = torch.exp(moves[:, 0:3] + share * stretch.log()), torch.exp(moves[:, 6:9])
            offset = moves[:, 3:6] - share * low.float() * stretch
            lit = picture.float() * gain[:, :, None, None] + offset[:, :, None, None]
            curved: Tensor = lit.clamp(1e-3, 2.0) ** power[:, :, None, None]
            return curved + _polynomial(curved - 0.5, moves[:, 12:].reshape(-1, 3, 10))

    @staticmethod
    def _rank(ranked: Tensor, share: float) -> int:
        """The place of the value above which so much of a channel lies."""
        return round(share * (ranked.shape[2] - 1))

    def exports(self) -> list[Export]:
        """One file."""
        thumbnail = Port("thumbnail", "thumbnail", size=THUMBNAIL)
        return [Export("model.onnx", self, (PICTURE, thumbnail), (RESTORED,), self.MULTIPLE)]


def _look(width: int) -> nn.Sequential:
    """Four convolutions that halve the size each."""
    layers: list[nn.Module] = []
    for a, b in pairwise([3, width, 2 * width, 3 * width, 4 * width]):
        layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GELU(approximate="tanh")]
    return nn.Sequential(*layers)


def _mean_and_spread(seen: Tensor) -> Tensor:
    """Of every channel (B, C, H, W) over the whole of it, (B, 2 C)."""
    flat = seen.flatten(2)
    mean = flat.mean(dim=2)
    spread = ((flat - mean[:, :, None]).square().mean(dim=2) + 1e-6).sqrt()
    return torch.cat([mean, spread], dim=1)


def _polynomial(x: Tensor, coefficients: Tensor) -> Tensor:
    """Quadratic in the channels of (B, 3, H, W), by (B, 3, 10)."""
    red, green, blue = x[:, :1], x[:, 1:2], x[:, 2:]
    terms = torch.cat([torch.ones_like(red), x, x * x, red * green, red * blue, green * blue], dim=1)
    return torch.einsum("boc,bchw->bohw", coefficients, terms)


class ToneCycle(Generator):
    """The two generators of a CycleGAN for tone: old prints to fresh ones, and back."""

    MULTIPLE = 1
    TILE = ToneNet.TILE

    def __init__(self, width: int = 24, size: int = THUMBNAIL) -> None:
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
