"""Pools of masks, drawn once before a training: drawn shapes, and pieces of scanned textures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import SettingsError
from engine.train.damage.shapes import CLASS_OF, COVERAGE, DAMAGED, LOOK_OF, MASKS, Mask, Random, draw_mask

Textures = Mapping[str, list[Mask]]
"""Damage class -> textures (h, w) uint8, 255 = damaged."""


def texture_mask(texture: Mask, size: int, random: Random) -> Mask:
    """A square piece of a texture at a random scale of 0.5 to 1.5, turned and flipped at random, with hard edges.

    Args:
        texture: (h, w) uint8, 255 = damaged.
        size: side of the piece; beyond its edges the texture is continued as its mirror image.
        random: seeded generator.

    Returns:
        (size, size) uint8 of 0 and 255; may be empty where the texture is sparse.
    """
    best = np.zeros((size, size), np.uint8)
    for _ in range(4):
        # Most of a texture is empty, so the fullest of four pieces is taken.
        scale = random.uniform(0.5, 1.5)
        angle = random.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
        if random.random() < 0.5:
            turn[:, 0] *= -1
        middle = random.uniform(0, 1, 2) * (texture.shape[1], texture.shape[0])
        back = np.concatenate([turn, (middle - turn @ np.full(2, size / 2))[:, None]], axis=1)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        piece = cv2.warpAffine(texture, back, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        piece = np.asarray(np.where(piece >= DAMAGED, 255, 0), np.uint8)
        if np.count_nonzero(piece) > np.count_nonzero(best):
            best = piece
    return best


def mask_pool(
    kinds: dict[str, float], count: int, size: int, seed: int, textures: Textures | None = None
) -> NDArray[np.uint8]:
    """Draw masks for a training that fills holes: most are of one kind, every third mask of two.

    Args:
        kinds: row of ``MASKS`` -> how often, relative to the others.
        count: number of masks.
        size: side of the masks, pixels.
        seed: the same seed draws the same masks.
        textures: scanned damage; half of the masks of the classes that it holds are pieces of it.

    Returns:
        (count, size, size) uint8, 255 = lost; no mask is empty.

    Raises:
        SettingsError: a kind is not a row of ``MASKS``.
    """
    draw = _MaskDrawer(kinds, size, seed, textures)
    pool = np.zeros((count, size, size), np.uint8)
    for mask in pool:
        for _ in range(2 if draw.random.random() < 1 / 3 else 1):
            kind = draw.kind()
            np.maximum(mask, draw.mask(kind, draw.random.uniform(*COVERAGE[kind])), out=mask)
        if not mask.any():
            mask[size // 2, size // 2] = 255
    return pool


def mark_pool(
    kinds: dict[str, float],
    count: int,
    size: int,
    seed: int,
    textures: Textures | None = None,
    frames: list[Mask] | None = None,
) -> tuple[NDArray[np.uint8], list[str], list[str]]:
    """Draw soft masks of single marks, for a training that detects damage.

    With textures, half of the masks are whole textures of 50 to 400 px somewhere in the mask; with frames, an eighth is
    parts of frames. The others are drawn shapes, mostly sparse and often finer than the masks of holes.

    Args:
        kinds: row of ``MASKS`` -> how often it is drawn, relative to the others.
        count: number of masks.
        size: side of the masks, pixels.
        seed: the same seed draws the same masks.
        textures: scanned damage.
        frames: label maps of damaged film frames, above 0 = damaged.

    Returns:
        Masks (count, size, size) uint8, the opacity of the damage, 255 = opaque, none empty; the look of each, a name
        of ``degrade.LOOKS``; and the class of each, one of ``CLASSES``, or nothing for parts of frames, which hold
        several.

    Raises:
        SettingsError: a kind is not a row of ``MASKS``.
    """
    draw = _MaskDrawer(kinds, size, seed)
    random = draw.random
    pool, looks, classes = np.zeros((count, size, size), np.uint8), list[str](), list[str]()
    for mask in pool:
        choice, look, class_ = random.random(), "film", ""
        while not (mask >= DAMAGED).any():
            if frames and choice < 1 / 8:
                mask[...] = frame_part(frames[random.integers(len(frames))], size, random)
            elif textures and choice < 5 / 8:
                class_ = _choose_class(textures, random)
                of_class = textures[class_]
                mask[...] = place_texture(of_class[random.integers(len(of_class))], size, random)
            else:
                kind = draw.kind()
                mask[...] = draw.soft_mask(kind, 0.8 * COVERAGE[kind][1] * random.random() ** 4, random.uniform(1, 2.5))
                look, class_ = LOOK_OF[kind], CLASS_OF[kind]
        looks.append(look)
        classes.append(class_)
    return pool, looks, classes


THIN_CLASSES = ("hair", "scratch")
"""Classes of thin damage, which is the hardest to find and is drawn more often."""


def _choose_class(textures: Textures, random: Random) -> str:
    """A class of textures, thin ones twice as often as others."""
    names = sorted(textures)
    weights = np.array([2.0 if name in THIN_CLASSES else 1.0 for name in names])
    return str(random.choice(names, p=weights / weights.sum()))


def place_texture(texture: Mask, size: int, random: Random, sides: tuple[float, float] = (50, 400)) -> Mask:
    """A whole texture, resized, turned and mirrored at random, somewhere in a mask; its soft edges stay soft.

    Args:
        texture: (h, w) uint8, 255 = damaged.
        size: side of the mask.
        random: seeded generator.
        sides: least and largest side of the resized texture, pixels.

    Returns:
        (size, size) uint8. May be empty, as textures are sparse and may reach beyond the mask.
    """
    side = np.exp(random.uniform(*np.log(sides)))
    small = cv2.resize(texture, (round(side), round(side)), interpolation=cv2.INTER_AREA)
    centre = random.uniform(0, size, 2)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), random.uniform(0, 360), 1.0)
    turn[:, 2] += centre - side / 2
    placed = cv2.warpAffine(small, turn, (size, size), flags=cv2.INTER_LINEAR)
    return np.asarray(placed[:, :: random.choice([-1, 1])])


def frame_part(frame: Mask, size: int, random: Random) -> Mask:
    """A part of a film frame, reduced by a random factor of 1 to 7, turned and mirrored, with soft edges.

    Args:
        frame: label map, above 0 = damaged.
        size: side of the part after the reduction.
        random: seeded generator.

    Returns:
        (size, size) uint8, 255 = damaged; may be empty, as frames have sound parts.
    """
    side = min(round(size * np.exp(random.uniform(0, np.log(7)))), *frame.shape)
    top, left = (int(random.integers(length - side + 1)) for length in frame.shape)
    part = np.where(frame[top : top + side, left : left + side] > 0, np.uint8(255), np.uint8(0))
    small = cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA)
    turned = np.rot90(small, int(random.integers(4)))
    return np.asarray(turned[:, :: random.choice([-1, 1])])


class _MaskDrawer:
    """Draws masks of random kinds, some of them from textures."""

    def __init__(self, kinds: dict[str, float], size: int, seed: int, textures: Textures | None = None) -> None:
        unknown = sorted(set(kinds) - set(MASKS))
        if unknown or not kinds:
            raise SettingsError(
                "There is no mask kind {unknown}.", "train.masks", unknown=", ".join(unknown) or "(none is named)"
            )
        self._names: Sequence[str] = list(kinds)
        chances = np.array([kinds[name] for name in self._names])
        self._chances = chances / chances.sum()
        self._size = size
        self._textures: Textures = textures or {}
        self.random = np.random.default_rng(seed)

    def kind(self) -> str:
        return self._names[self.random.choice(len(self._names), p=self._chances)]

    def mask(self, kind: str, coverage: float) -> Mask:
        textures = self._textures.get(kind)
        if textures and self.random.random() < 0.5:
            return texture_mask(textures[self.random.integers(len(textures))], self._size, self.random)
        return draw_mask(kind, (self._size, self._size), coverage, self.random)

    def soft_mask(self, kind: str, coverage: float, finer: float) -> Mask:
        """A mask that is drawn at ``finer`` times its size and reduced, so that its edges are soft."""
        side = round(self._size * finer)
        drawn = draw_mask(kind, (side, side), coverage, self.random)
        return np.asarray(cv2.resize(drawn, (self._size, self._size), interpolation=cv2.INTER_AREA))
