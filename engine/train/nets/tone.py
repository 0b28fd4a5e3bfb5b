"""The network that corrects the tone of whole pictures from statistics of their colours."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from engine.raster import LUMA
from engine.runtime.cards import Port
from engine.train.nets.blocks import PICTURE, Export, Generator, tile_rules
from engine.train.nets.restore import RESTORED, THUMBNAIL


class Statistics(NamedTuple):
    """What the network knows of a picture.

    Attributes:
        features: (B, F), all statistics, each of the order of 1.
        low, high: (B, 3), the quantiles of half a per cent and of 99.5 % of each channel.
        colours: (B,) mean deviation of the colours of pixels of the same luma; 0 in a single-toned print.
    """

    features: Tensor
    low: Tensor
    high: Tensor
    colours: Tensor


class ToneStatistics(Generator):
    """Corrects tone by statistics of a thumbnail, so that neither geometry nor the content of a scene can be learnt.

    A thumbnail that shows the scene lets a network recognise photographs that it was trained on; quantiles, mean
    colours by luma and correlations do not. From them a perceptron estimates how far each channel is stretched and its
    gamma, the contrast, a matrix that unmixes the dyes, the saturation, and the share of all that in the result. The
    share can be exactly 0. In single-toned prints all channels are treated alike: neutral pictures stay neutral.

    Args:
        hidden: units of the two hidden layers.
        dropout: share of the units that are left out in training.
    """

    MULTIPLE = 1
    TILE = tile_rules(1, context=0, overlap=0)
    RANKS = 19
    """Number of quantiles of each channel, from the darkest to the lightest value."""
    BINS = 8
    """Number of groups of pixels of similar luma whose mean colours are looked at."""
    SINGLE_TONED, COLOURED = 0.01, 0.02
    """Up to the first value of ``Statistics.colours`` all channels are treated alike, from the second on freely."""
    FLAT, FULL = 0.04, 0.08
    """Up to the first range of values a picture has no tones that could be measured; from the second on it has."""

    def __init__(self, hidden: int = 128, dropout: float = 0.1) -> None:
        super().__init__()
        count = 9 * self.RANKS + 11 + 4 * self.BINS
        layers: list[nn.Module] = []
        for inputs in (count, hidden):
            layers += [nn.Linear(inputs, hidden), nn.GELU(approximate="tanh"), nn.Dropout(dropout)]
        last = nn.Linear(hidden, 18)
        nn.init.normal_(last.weight, 0, 0.01)
        nn.init.zeros_(last.bias)
        with torch.no_grad():
            # To begin with, most of the stretch and nearly all of the correction.
            last.bias[:6] = 1.0
            last.bias[11] = 2.0
        self.decide = nn.Sequential(*layers, last)

    def forward(self, picture: Tensor, thumbnail: Tensor) -> Tensor:
        """(B, 3, H, W) and the whole picture reduced to (B, 3, size, size), to (B, 3, H, W), not clipped."""
        with torch.autocast(picture.device.type, enabled=False):
            seen = self.statistics(thumbnail.float())
            moves = self.decide(seen.features)
            corrected = self._correct(picture.float(), moves, seen)
            share = (1.1 * torch.sigmoid(moves[:, 11]) - 0.05).clamp(0, 1)
            span = (seen.high - seen.low).amax(dim=1)
            share = share * ((span - self.FLAT) / (self.FULL - self.FLAT)).clamp(0, 1)
            return picture + _planes(share[:, None]) * (corrected - picture)

    def statistics(self, thumbnail: Tensor) -> Statistics:
        """The statistics of pictures (B, 3, h, w), whose number of pixels is a multiple of 64."""
        pixels = thumbnail.flatten(2)
        ranked = pixels.sort(dim=2).values
        last = ranked.shape[2] - 1
        low, high = ranked[:, :, round(0.005 * last)], ranked[:, :, round(0.995 * last)]
        span = (high - low).clamp_min(0.02)[:, :, None]
        places = torch.linspace(0, last, self.RANKS, device=ranked.device).round().long()
        values = ranked[:, :, places]
        full = ((values - low[:, :, None]) / span).clamp(0, 1)
        stretched = ((pixels - low[:, :, None]) / span).clamp(0, 1)
        mean = stretched.mean(dim=2)
        apart = stretched - mean[:, :, None]
        spread = (apart.square().mean(dim=2) + 1e-5).sqrt()
        pairs = ((0, 1), (0, 2), (1, 2))
        alike = torch.stack(
            [(apart[:, i] * apart[:, j]).mean(dim=1) / (spread[:, i] * spread[:, j]) for i, j in pairs], dim=1
        )
        means, deviations, colours = self._colours_by_luma(stretched)
        features = [
            values.flatten(1) - 0.5,
            # Fading is a loss of density, which shows most in the darkest tones.
            values.clamp_min(1 / 255).log().flatten(1) / 5 + 0.3,
            full.flatten(1) - 0.5,
            spread - 0.25,
            mean - 0.5,
            alike - 0.9,
            5 * _mean_chroma(pixels) - 0.3,
            5 * _mean_chroma(stretched) - 0.3,
            8 * means,
            10 * deviations - 0.5,
        ]
        return Statistics(torch.cat(features, dim=1), low, high, colours)

    def _colours_by_luma(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """R - Y and B - Y of pixels (B, 3, N): means and deviations (B, 2 BINS) by luma, and ``Statistics.colours``."""
        order = _luma(pixels).argsort(dim=2).expand(-1, 3, -1)
        ordered = pixels.gather(2, order)
        hues = ordered[:, ::2] - _luma(ordered)
        coarse, fine = (hues.reshape(hues.shape[0], 2, bins, -1) for bins in (self.BINS, 64))
        deviations = (coarse - coarse.mean(dim=3, keepdim=True)).abs().mean(dim=3)
        colours = (fine - fine.mean(dim=3, keepdim=True)).abs().mean(dim=(1, 2, 3))
        return coarse.mean(dim=3).flatten(1), deviations.flatten(1), colours

    def _correct(self, picture: Tensor, moves: Tensor, seen: Statistics) -> Tensor:
        """The picture with all corrections in full."""
        freedom = (seen.colours - self.SINGLE_TONED) / (self.COLOURED - self.SINGLE_TONED)
        freedom = freedom.clamp(0, 1)[:, None]
        black = _joined(torch.sigmoid(moves[:, 0:3]) * seen.low, freedom)
        white = _joined(1 - torch.sigmoid(moves[:, 3:6]) * (1 - seen.high), freedom)
        power = _joined(0.7 * torch.tanh(moves[:, 6:9]), freedom).exp()
        tone = (picture - _planes(black)) / _planes((white - black).clamp_min(0.05))
        tone = tone.clamp(1e-4, 1.2) ** _planes(power)
        inside = tone.clamp(0, 1)
        bend = 0.6 * torch.tanh(moves[:, 9:10])
        tone = tone + _planes(bend) * inside * (1 - inside) * (2 * inside - 1)
        luma = _luma(tone)
        # Down to none: a print in one tone that has yellowed was black-and-white.
        saturation = (1 + torch.tanh(moves[:, 10:11])) ** 1.5
        return luma + _planes(saturation) * _unmix(tone - luma, 0.3 * freedom * torch.tanh(moves[:, 12:18]))

    def exports(self) -> list[Export]:
        """One file."""
        thumbnail = Port("thumbnail", "thumbnail", size=THUMBNAIL)
        return [Export("model.onnx", self, (PICTURE, thumbnail), (RESTORED,), self.MULTIPLE)]


def _planes(values: Tensor) -> Tensor:
    """(B, C) to (B, C, 1, 1)."""
    return values[:, :, None, None]


def _luma(pixels: Tensor) -> Tensor:
    """The luma (B, 1, ...) of pixels (B, 3, ...)."""
    red, green, blue = pixels[:, :1], pixels[:, 1:2], pixels[:, 2:]
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def _mean_chroma(pixels: Tensor) -> Tensor:
    """Mean distance (B, 1) of the channels of pixels (B, 3, N) from their luma."""
    return (pixels - _luma(pixels)).abs().mean(dim=(1, 2))[:, None]


def _joined(values: Tensor, freedom: Tensor) -> Tensor:
    """Values (B, 3) of the channels; with a freedom (B, 1) of 0 all have their mean, with 1 each has its own."""
    mean = values.mean(dim=1, keepdim=True)
    return mean + freedom * (values - mean)


def _unmix(colours: Tensor, shares: Tensor) -> Tensor:
    """Add to each channel of (B, 3, H, W) shares (B, 6) of its differences to the two others; grey stays grey."""
    red, green, blue = colours[:, :1], colours[:, 1:2], colours[:, 2:]
    a, b, c, d, e, f = (_planes(shares[:, i : i + 1]) for i in range(6))
    return torch.cat(
        [
            red + a * (green - red) + b * (blue - red),
            green + c * (red - green) + d * (blue - green),
            blue + e * (red - blue) + f * (green - blue),
        ],
        dim=1,
    )
