"""Regular lines and lettering of a scene, which no detector may take for scratches and hairs.

Photographs are (B, 3, H, W) float32 sRGB in 0..1.
"""

from __future__ import annotations

import functools
import math
import string

import cv2
import numpy as np
import torch
from torch import Generator, Tensor

from engine.train.damage.ageing import as_planes, uniform

_CLOSEST, _FARTHEST = 5.0, 45.0
"""Least and largest distance of two lines, pixels."""
_LETTERINGS = 192
"""Number of pieces of lettering that are drawn once and chosen from."""


def random_grating(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Draw parallel lines at equal distances, a mesh or the joints of bricks, in perspective, over a part of a picture.

    They look like railings, fences, window bars, boards, masonry. Damage never lies that regularly.

    Args:
        photo: (B, 3, H, W).
        level: (B,) opacity, 0..1; from 0.4 on it does not grow.
        random: generator on the device.
    """
    u, v = _plane(photo, random)
    spacing = torch.exp(uniform(photo, random, math.log(_CLOSEST), math.log(_FARTHEST), 2))
    width = (spacing * uniform(photo, random, 0.05, 0.3, 2)).clamp(0.8, 8.0)
    kind = uniform(photo, random, 0.0, 1.0)
    crossed, bricks = as_planes((kind > 0.4).float()), as_planes((kind > 0.7).float())
    rows = _lines(u, spacing[:, 0], width[:, 0])
    # In brickwork the joints of every second row lie in the middle of the bricks above.
    shift = bricks * (torch.floor(u / as_planes(spacing[:, 0])) % 2) * as_planes(spacing[:, 1]) / 2
    cover = torch.maximum(rows, crossed * _lines(v + shift, spacing[:, 1], width[:, 1]))
    return _paint(photo, cover * _region(photo, random), level, random)


def random_lettering(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Write some lines of random letters in one hand or type, turned at random; arguments as ``random_grating``."""
    written = _letterings(photo.shape[2], photo.shape[3], photo.device)
    chosen = torch.randint(len(written), (len(photo),), generator=random, device=photo.device)
    return _paint(photo, written[chosen].float() / 255, level, random)


def _paint(photo: Tensor, cover: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Cover a picture with one nearly grey colour for each picture."""
    grey = uniform(photo, random, 0.0, 1.0, 1)
    colour = (grey + 0.15 * (uniform(photo, random, 0.0, 1.0, 3) - 0.5)).clamp(0, 1)
    opacity = (2.5 * level).clamp_max(1) * uniform(photo, random, 0.5, 1.0)
    return photo + cover * as_planes(opacity) * (as_planes(colour) - photo)


def _plane(photo: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    """Coordinates (B, 1, H, W) on a plane that is turned and seen in perspective, pixels where it is nearest."""
    height, width = photo.shape[2:]
    y = torch.arange(height, device=photo.device, dtype=torch.float32)[:, None] - height / 2
    x = torch.arange(width, device=photo.device, dtype=torch.float32)[None] - width / 2
    tilt = as_planes(uniform(photo, random, 0.0, 1.0) ** 2 * 1.2 / max(height, width))
    towards, turn = (as_planes(uniform(photo, random, 0.0, 2 * math.pi)) for _ in range(2))
    depth = 1 + tilt * (towards.cos() * x + towards.sin() * y)
    return (turn.cos() * x + turn.sin() * y) / depth, (turn.cos() * y - turn.sin() * x) / depth


def _lines(place: Tensor, spacing: Tensor, width: Tensor) -> Tensor:
    """How far lines at multiples of a spacing cover each place (B, 1, H, W), 0..1, with soft edges of a pixel."""
    spacing, width = as_planes(spacing), as_planes(width)
    away = ((place / spacing + 0.5) % 1 - 0.5).abs() * spacing
    return (0.5 + width / 2 - away).clamp(0, 1)


def _region(photo: Tensor, random: Generator) -> Tensor:
    """Where the lines are, (B, 1, H, W) of 0 and 1: on one side of a straight edge that may lie outside the picture."""
    height, width = photo.shape[2:]
    y = torch.arange(height, device=photo.device, dtype=torch.float32)[:, None] / height - 0.5
    x = torch.arange(width, device=photo.device, dtype=torch.float32)[None] / width - 0.5
    turn = as_planes(uniform(photo, random, 0.0, 2 * math.pi))
    edge = as_planes(uniform(photo, random, -0.2, 0.8))
    return (turn.cos() * x + turn.sin() * y < edge).float()


@functools.lru_cache(maxsize=8)
def _letterings(height: int, width: int, device: torch.device) -> Tensor:
    """Lettering (_LETTERINGS, 1, height, width) uint8, 255 = ink, with soft edges."""
    random = np.random.default_rng(_LETTERINGS)
    pages = [_lettering(height, width, random) for _ in range(_LETTERINGS)]
    return torch.from_numpy(np.stack(pages)[:, None]).to(device)


def _lettering(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    # Larger than the picture, so that turned lines reach its corners.
    side = 2 * max(height, width)
    page = np.zeros((side, side), np.uint8)
    font = int(random.integers(8)) | (cv2.FONT_ITALIC if random.random() < 0.3 else 0)
    size = math.exp(random.uniform(math.log(0.35), math.log(2.5)))
    stroke = max(1, round(size * random.uniform(0.8, 2.5)))
    line = round(size * random.uniform(35, 60))
    for row in range(int(random.integers(1, 5))):
        letters = random.choice(list(string.ascii_letters + string.digits + "   .,"), int(random.integers(3, 30)))
        left, bottom = int(side * random.uniform(0.1, 0.5)), side // 2 + (row - 1) * line
        cv2.putText(page, "".join(letters), (left, bottom), font, size, 255, stroke, cv2.LINE_AA)
    # Most writing is level or upright.
    angle = random.choice([0, 0, 90, -90]) + random.normal(0, 4) if random.random() < 0.7 else random.uniform(0, 360)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), angle, 1.0)
    turn[:, 2] -= (side - width) / 2 + random.uniform(-0.3, 0.3) * width, (side - height) / 2
    return np.asarray(cv2.warpAffine(page, turn, (width, height), flags=cv2.INTER_LINEAR))
