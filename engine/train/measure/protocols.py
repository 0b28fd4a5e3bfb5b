"""Test protocols: the damage that models are scored on, determined by the number of the photograph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Generator, Tensor

from engine.raster import Mask
from engine.train.damage import ageing, degrade
from engine.train.damage.shapes import CLASS_OF, DAMAGED, LOOK_OF, draw_box, draw_mask
from engine.train.data.photographs import to_picture, to_tensor
from engine.train.measure.metrics import Picture
from engine.train.measure.peers import bicubic_resize
from engine.train.measure.tones import FAMILIES, fade

LARGEST = 384
"""Photographs are cropped to their middle of at most this side, pixels, so that a run takes minutes."""

MARKED = {
    "dust": 0.005,
    "hair": 0.01,
    "scratch": 0.02,
    "crease": 0.02,
    "tear": 0.02,
    "stain": 0.06,
    "box": 0.04,
}
"""Kind of mask -> least share of the picture that it covers when detection is scored; one kind for every class."""


@dataclass(frozen=True)
class Case:
    """One photograph with damage.

    Attributes:
        given: the damaged picture, uint8 (H, W, 3).
        original: the photograph.
        mask: uint8 (H, W), 255 = lost (heal) or damaged (detect).
        judged: uint8 (H, W), the part of the mask that is scored, when the original is not known everywhere (scans that
            are damaged already); None = all of the mask.
    """

    given: Picture
    original: Picture
    mask: Mask | None = None
    judged: Mask | None = None


@dataclass(frozen=True)
class Protocol:
    """A kind of test: ``make(photograph, its number)`` always makes the same case."""

    name: str
    make: Callable[[Picture, int], Case]


def crop_middle(picture: Picture) -> Picture:
    """The middle of a picture, at most ``LARGEST`` px a side."""
    height, width = picture.shape[:2]
    top, left = max(0, (height - LARGEST) // 2), max(0, (width - LARGEST) // 2)
    return np.ascontiguousarray(picture[top : top + LARGEST, left : left + LARGEST])


def hole_case(kind: str, coverage: float, picture: Picture, number: int) -> Case:
    """Holes of one kind of mask, which cover at least a share of the picture."""
    return _white_holes(picture, draw_mask(kind, picture.shape[:2], coverage, np.random.default_rng(number)))


def box_case(picture: Picture, number: int) -> Case:
    """One upright square hole of a quarter of the shorter side, wholly inside."""
    mask = np.zeros(picture.shape[:2], np.uint8)
    side = min(mask.shape) // 4
    low, high = np.array([side, side]) / 2, np.array(mask.shape[::-1]) - side / 2
    x, y = np.random.default_rng(number).uniform(low, high)
    draw_box(mask, (float(x), float(y)), (side, side), 0.0)
    return _white_holes(picture, mask)


def add_known_losses(case: Case, lost: Mask) -> Case:
    """A case on a damaged scan: its own losses are to be filled too, but are not scored, as nobody knows the truth."""
    assert case.mask is not None
    mask = np.maximum(case.mask, np.where(lost > 0, np.uint8(255), np.uint8(0)))
    given = np.where(mask[..., None] > 0, np.uint8(255), case.original)
    return Case(given, case.original, mask, np.where(lost > 0, np.uint8(0), case.mask))


def degraded_case(picture: Picture, number: int, change: Callable[[Tensor, Generator], Tensor]) -> Case:
    """A photograph changed by a function of (1, 3, H, W) in 0..1 and of a generator seeded with the number."""
    random = torch.Generator().manual_seed(number)
    return Case(to_picture(change(to_tensor(picture), random)[0]), picture)


def reduced_case(times: int, picture: Picture, _: int) -> Case:
    """A photograph halved, which removes traces of its JPEG coding, as the original; and that reduced by a factor."""
    height, width = (side // 2 // times * times for side in picture.shape[:2])
    large = bicubic_resize(picture, width, height)
    return Case(bicubic_resize(large, width // times, height // times), large)


def occluded_case(picture: Picture, number: int) -> Case:
    """Small flat boxes of 4 to 16 px in random colours over about 4 % of the picture."""
    random = np.random.default_rng(number)
    given = picture.copy()
    height, width = picture.shape[:2]
    for _ in range(max(1, round(0.04 * height * width / 100))):
        tall, wide = random.integers(4, 17, 2)
        top, left = random.integers(height), random.integers(width)
        given[top : top + tall, left : left + wide] = random.integers(0, 256, 3)
    return Case(given, picture)


def drawn_damage_case(kinds: tuple[str, ...], picture: Picture, number: int) -> Case:
    """Drawn damage of some kinds, composited as in training; the kinds cover the shares of ``MARKED``."""
    random = np.random.default_rng(number)
    masks = [draw_mask(kind, picture.shape[:2], MARKED[kind], random) for kind in kinds]
    return _composite_marks(picture, number, masks, [LOOK_OF[kind] for kind in kinds])


def _composite_marks(picture: Picture, number: int, masks: list[Mask], kinds: list[str]) -> Case:
    """A photograph with masks composited as each one's class looks."""
    stack = torch.from_numpy(np.stack(masks)).float()[None] / 255
    looks = torch.tensor([[degrade.LOOK_NUMBER[kind] for kind in kinds]])
    case = degraded_case(picture, number, lambda photo, draws: degrade.add_marks(photo, stack, looks, draws))
    return Case(case.given, picture, np.maximum.reduce(masks))


def mixed_damage_case(picture: Picture, number: int) -> Case:
    """Drawn damage of three kinds that differ from photograph to photograph."""
    kinds = np.random.default_rng(number).choice(list(MARKED), 3, replace=False)
    return drawn_damage_case(tuple(str(kind) for kind in kinds), picture, number)


def scanned_damage_case(textures: dict[str, list[Mask]], picture: Picture, number: int) -> Case:
    """Scanned damage of two classes, composited as in training.

    Args:
        textures: class -> masks of damage, 255 = damaged.
        picture: the photograph.
        number: seed of the choice of textures, their turns and their look.
    """
    random = np.random.default_rng(number)
    kinds = [str(kind) for kind in random.choice(sorted(textures), min(2, len(textures)), replace=False)]
    masks = [_texture_for(textures[kind][random.integers(len(textures[kind]))], picture, random) for kind in kinds]
    return _composite_marks(picture, number, masks, kinds)


def _texture_for(texture: Mask, picture: Picture, random: np.random.Generator) -> Mask:
    """A texture at its own scale, turned and mirrored at random and continued by reflection to the picture's size."""
    turned = np.rot90(texture[:, :: int(random.choice([-1, 1]))], int(random.integers(4)))
    height, width = picture.shape[:2]
    missing = [(0, max(0, height - turned.shape[0])), (0, max(0, width - turned.shape[1]))]
    whole = np.pad(turned, missing, mode="reflect")[:height, :width]
    return np.asarray(np.where(whole >= DAMAGED, 255, 0), np.uint8)


def undamaged_case(picture: Picture, _: int) -> Case:
    """The photograph itself, where nothing should be found."""
    return Case(picture, picture, np.zeros(picture.shape[:2], np.uint8))


def faded_case(family: str, picture: Picture, number: int) -> Case:
    """A photograph faded by a family of ``engine.train.measure.tones``."""
    return Case(fade(family, picture, number), picture)


def sound_case(picture: Picture, _: int) -> Case:
    """The photograph itself, of which nothing should be changed."""
    return Case(picture, picture)


def _add_noise(photo: Tensor, random: Generator) -> Tensor:
    return ageing.gaussian_noise(photo, torch.tensor([25 / 255]), ageing.normal(photo, random, 3))


def _add_grain(photo: Tensor, random: Generator) -> Tensor:
    return ageing.film_grain(photo, torch.tensor([0.1]), torch.tensor([0.8]), ageing.normal(photo, random, 1))


def _fade(photo: Tensor, random: Generator) -> Tensor:
    """Fade the three dyes by different amounts of 20 to 60 % of their density, on cream paper."""
    amounts = ageing.uniform(photo, random, 0.2, 0.6, 3)
    return ageing.fading(photo, amounts, torch.tensor([[0.98, 0.95, 0.88]]))


def _yellow(photo: Tensor, random: Generator) -> Tensor:
    """Multiply by a straw-coloured veil of 50 to 100 %."""
    amount = ageing.uniform(photo, random, 0.5, 1.0)
    return ageing.yellowing(photo, amount, torch.tensor([[0.93, 0.8, 0.5]]))


def _white_holes(picture: Picture, mask: Mask) -> Case:
    return Case(np.where(mask[..., None] > 0, np.uint8(255), picture), picture, mask)


def _degrade_by(change: Callable[[Tensor, Generator], Tensor]) -> Callable[[Picture, int], Case]:
    return partial(degraded_case, change=change)


PROTOCOLS: dict[str, tuple[Protocol, ...]] = {
    "heal": (
        Protocol("scratches", partial(hole_case, "scratch", 0.04)),
        Protocol("strokes", partial(hole_case, "stroke", 0.17)),
        Protocol("boxes", box_case),
    ),
    "clean": (
        Protocol("noise", _degrade_by(_add_noise)),
        Protocol("blur", _degrade_by(lambda photo, _: ageing.defocus_blur(photo, torch.tensor([2.5])))),
        Protocol("jpeg", _degrade_by(lambda photo, _: ageing.jpeg(photo, torch.tensor([15.0])))),
        Protocol(
            "low_resolution",
            _degrade_by(lambda photo, _: ageing.down_up(photo, torch.tensor([2.0]), torch.tensor([1.0]))),
        ),
        Protocol("grain", _degrade_by(_add_grain)),
        Protocol("occlusion", occluded_case),
    ),
    "tone": (
        Protocol("fading", _degrade_by(_fade)),
        Protocol("yellowing", _degrade_by(_yellow)),
        *(Protocol(family, partial(faded_case, family)) for family in FAMILIES),
        Protocol("sound", sound_case),
    ),
    "upscale2": (Protocol("reduced", partial(reduced_case, 2)),),
    "upscale4": (Protocol("reduced", partial(reduced_case, 4)),),
    "detect": (
        *(Protocol(CLASS_OF[kind], partial(drawn_damage_case, (kind,))) for kind in MARKED),
        Protocol("mixed", mixed_damage_case),
        Protocol("undamaged", undamaged_case),
    ),
}
"""Kind of model -> its test protocols.

Heal: scratches of 1-6 px over about 4 %, strokes of 12-36 px over about 17 %, one square hole of a quarter of the side.
Clean: white noise of sigma 25, defocus of 2.5 px, JPEG of quality 15, half the resolution, grain, small flat boxes.
Tone: dyes faded by different amounts, a yellowed print, the families of ``tones``, and sound photographs.
Detect: each class, three kinds together, and no damage.
"""
