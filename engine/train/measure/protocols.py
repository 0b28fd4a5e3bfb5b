"""The damage that models are scored on: the same for every model, drawn from the number of the photograph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Generator, Tensor

from engine.raster import Mask
from engine.train.damage import ageing, degrade
from engine.train.damage.shapes import CLASS_OF, CLASSES, DAMAGED, draw_box, draw_mask
from engine.train.data.batches import to_picture, to_tensor
from engine.train.measure.metrics import Picture
from engine.train.measure.peers import resized

LARGEST = 384
"""Photographs are cut to their middle of at most this side, pixels, so that a run takes minutes."""

MARKED = {
    "dust": 0.005,
    "hair": 0.01,
    "scratch": 0.02,
    "crease": 0.02,
    "tear": 0.02,
    "stain": 0.06,
    "box": 0.04,
}
"""Kind of mask -> share of the picture that it covers at least where detection is scored; one for every class."""


@dataclass(frozen=True)
class Case:
    """One photograph with one kind of damage.

    Attributes:
        given: the damaged picture, uint8 (H, W, 3).
        original: the photograph.
        mask: uint8 (H, W), 255 = what is lost (heal) or damaged (detect).
        judged: uint8 (H, W), the part of the mask whose original is known, where that is not all of it (scans that are
            damaged already).
    """

    given: Picture
    original: Picture
    mask: Mask | None = None
    judged: Mask | None = None


@dataclass(frozen=True)
class Protocol:
    """One kind of damage: ``make(photograph, its number)`` gives the same case every time."""

    name: str
    make: Callable[[Picture, int], Case]


def middle(picture: Picture) -> Picture:
    """The middle of a picture, at most ``LARGEST`` px a side."""
    height, width = picture.shape[:2]
    top, left = max(0, (height - LARGEST) // 2), max(0, (width - LARGEST) // 2)
    return np.ascontiguousarray(picture[top : top + LARGEST, left : left + LARGEST])


def hole(kind: str, coverage: float, picture: Picture, number: int) -> Case:
    """White where a mask of one kind lies, drawn until it covers a share of the picture."""
    return _holed(picture, draw_mask(kind, picture.shape[:2], coverage, np.random.default_rng(number)))


def box(picture: Picture, number: int) -> Case:
    """One upright square hole of a quarter of the shorter side, wholly inside."""
    mask = np.zeros(picture.shape[:2], np.uint8)
    side = min(mask.shape) // 4
    low, high = np.array([side, side]) / 2, np.array(mask.shape[::-1]) - side / 2
    x, y = np.random.default_rng(number).uniform(low, high)
    draw_box(mask, (float(x), float(y)), (side, side), 0.0)
    return _holed(picture, mask)


def beside(case: Case, lost: Mask) -> Case:
    """A hole in a scan that has lost something already: both are to be filled, but only the hole can be judged."""
    assert case.mask is not None
    mask = np.maximum(case.mask, np.where(lost > 0, np.uint8(255), np.uint8(0)))
    given = np.where(mask[..., None] > 0, np.uint8(255), case.original)
    return Case(given, case.original, mask, np.where(lost > 0, np.uint8(0), case.mask))


def spoil(picture: Picture, number: int, change: Callable[[Tensor, Generator], Tensor]) -> Case:
    """A case made by a function of the photograph (1, 3, H, W) in 0..1 and of a generator seeded by the number."""
    random = torch.Generator().manual_seed(number)
    return Case(to_picture(change(to_tensor(picture), random)[0]), picture)


def reduced(times: int, picture: Picture, _: int) -> Case:
    """A photograph without the traces of its own coding (half its size), and that reduced so many times."""
    height, width = (side // 2 // times * times for side in picture.shape[:2])
    large = resized(picture, width, height)
    return Case(resized(large, width // times, height // times), large)


def boxes(picture: Picture, number: int) -> Case:
    """Small flat boxes of 4 to 16 px in random colours, over about 4 % of the picture."""
    random = np.random.default_rng(number)
    given = picture.copy()
    height, width = picture.shape[:2]
    for _ in range(max(1, round(0.04 * height * width / 100))):
        tall, wide = random.integers(4, 17, 2)
        top, left = random.integers(height), random.integers(width)
        given[top : top + tall, left : left + wide] = random.integers(0, 256, 3)
    return Case(given, picture)


def marked(kinds: tuple[str, ...], picture: Picture, number: int) -> Case:
    """Damage of some kinds as a scan shows it, each over a few per cent of the picture."""
    random = np.random.default_rng(number)
    masks = [draw_mask(kind, picture.shape[:2], MARKED[kind], random) for kind in kinds]
    return _laid_on(picture, number, masks, [CLASS_OF[kind] for kind in kinds])


def _laid_on(picture: Picture, number: int, masks: list[Mask], kinds: list[str]) -> Case:
    """Masks of classes laid over a photograph as each class looks."""
    stack = torch.from_numpy(np.stack(masks)).float()[None] / 255
    classes = torch.tensor([[CLASSES.index(kind) for kind in kinds]])
    case = spoil(picture, number, lambda photo, draws: degrade.mark(photo, stack, classes, draws))
    return Case(case.given, picture, np.maximum.reduce(masks))


def mixed(picture: Picture, number: int) -> Case:
    """Damage of three kinds that differ from photograph to photograph."""
    kinds = np.random.default_rng(number).choice(list(MARKED), 3, replace=False)
    return marked(tuple(str(kind) for kind in kinds), picture, number)


def composited(textures: dict[str, list[Mask]], picture: Picture, number: int) -> Case:
    """Scanned damage of two classes laid over a photograph as a scan shows it.

    Args:
        textures: class -> masks of damage, 255 = damaged.
        picture: the photograph.
        number: chooses textures, their turns, and how they look.
    """
    random = np.random.default_rng(number)
    kinds = [str(kind) for kind in random.choice(sorted(textures), min(2, len(textures)), replace=False)]
    masks = [_fitted(textures[kind][random.integers(len(textures[kind]))], picture, random) for kind in kinds]
    return _laid_on(picture, number, masks, kinds)


def _fitted(texture: Mask, picture: Picture, random: np.random.Generator) -> Mask:
    """A texture at its own scale, turned, mirrored and continued over the whole of a picture."""
    turned = np.rot90(texture[:, :: int(random.choice([-1, 1]))], int(random.integers(4)))
    height, width = picture.shape[:2]
    missing = [(0, max(0, height - turned.shape[0])), (0, max(0, width - turned.shape[1]))]
    whole = np.pad(turned, missing, mode="reflect")[:height, :width]
    return np.asarray(np.where(whole >= DAMAGED, 255, 0), np.uint8)


def undamaged(picture: Picture, _: int) -> Case:
    """The photograph itself: nothing should be found."""
    return Case(picture, picture, np.zeros(picture.shape[:2], np.uint8))


def _noise(photo: Tensor, random: Generator) -> Tensor:
    return ageing.gaussian_noise(photo, torch.tensor([25 / 255]), ageing.normal(photo, random, 3))


def _grain(photo: Tensor, random: Generator) -> Tensor:
    return ageing.film_grain(photo, torch.tensor([0.1]), torch.tensor([0.8]), ageing.normal(photo, random, 1))


def _fading(photo: Tensor, random: Generator) -> Tensor:
    """Dyes that lost 20 to 60 % of their density, each of the three for itself, over cream paper."""
    amounts = ageing.uniform(photo, random, 0.2, 0.6, 3)
    return ageing.fading(photo, amounts, torch.tensor([[0.98, 0.95, 0.88]]))


def _yellowing(photo: Tensor, random: Generator) -> Tensor:
    """A straw-coloured veil of 50 to 100 %."""
    amount = ageing.uniform(photo, random, 0.5, 1.0)
    return ageing.yellowing(photo, amount, torch.tensor([[0.93, 0.8, 0.5]]))


def _holed(picture: Picture, mask: Mask) -> Case:
    return Case(np.where(mask[..., None] > 0, np.uint8(255), picture), picture, mask)


def _spoiled(change: Callable[[Tensor, Generator], Tensor]) -> Callable[[Picture, int], Case]:
    return partial(spoil, change=change)


PROTOCOLS: dict[str, tuple[Protocol, ...]] = {
    "heal": (
        Protocol("scratches", partial(hole, "scratch", 0.04)),
        Protocol("strokes", partial(hole, "stroke", 0.17)),
        Protocol("boxes", box),
    ),
    "clean": (
        Protocol("noise", _spoiled(_noise)),
        Protocol("blur", _spoiled(lambda photo, _: ageing.defocus_blur(photo, torch.tensor([2.5])))),
        Protocol("jpeg", _spoiled(lambda photo, _: ageing.jpeg(photo, torch.tensor([15.0])))),
        Protocol(
            "low_resolution", _spoiled(lambda photo, _: ageing.down_up(photo, torch.tensor([2.0]), torch.tensor([1.0])))
        ),
        Protocol("grain", _spoiled(_grain)),
        Protocol("occlusion", boxes),
    ),
    "tone": (Protocol("fading", _spoiled(_fading)), Protocol("yellowing", _spoiled(_yellowing))),
    "upscale2": (Protocol("reduced", partial(reduced, 2)),),
    "upscale4": (Protocol("reduced", partial(reduced, 4)),),
    "detect": (
        *(Protocol(CLASS_OF[kind], partial(marked, (kind,))) for kind in MARKED),
        Protocol("mixed", mixed),
        Protocol("undamaged", undamaged),
    ),
}
"""Task -> what its models are scored on.

Heal: scratches of 1-6 px over about 4 %, strokes of 12-36 px over about 17 %, one square hole of a quarter of the side.
Clean: white noise of sigma 25, defocus of 2.5 px, JPEG of quality 15, half the resolution, grain, small flat boxes.
Tone: dyes that faded unlike, a yellowed print. Detect: each class, three kinds together, and nothing at all.
"""
