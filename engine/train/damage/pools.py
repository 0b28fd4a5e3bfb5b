"""Pools of masks, drawn once before a training: drawn shapes, and pieces of scanned textures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import SettingsError
from engine.train.damage.shapes import CLASS_OF, CLASSES, COVERAGE, DAMAGED, MASKS, Mask, Random, draw_mask

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


def class_pool(
    kinds: dict[str, float], count: int, size: int, seed: int, textures: Textures | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw masks for a training that detects damage: one kind a mask, mostly sparse, often finer than in a hole.

    The arguments are those of ``mask_pool``.

    Returns:
        Masks (count, size, size) uint8, 255 = damaged, none empty; and for each the index of its class in ``CLASSES``,
        (count,) int64.

    Raises:
        SettingsError: as ``mask_pool``.
    """
    draw = _MaskDrawer(kinds, size, seed, textures)
    pool = np.zeros((count, size, size), np.uint8)
    classes = np.zeros(count, np.int64)
    for number, mask in enumerate(pool):
        kind = draw.kind()
        classes[number] = CLASSES.index(CLASS_OF[kind])
        for _ in range(8):
            mask[...] = draw.mask(kind, COVERAGE[kind][1] * draw.random.random() ** 3, draw.random.uniform(1, 2.5))
            if mask.any():
                break
        else:
            mask[size // 2, size // 2] = 255
    return pool, classes


class _MaskDrawer:
    """Draws masks of random kinds, some of them from textures."""

    def __init__(self, kinds: dict[str, float], size: int, seed: int, textures: Textures | None) -> None:
        unknown = sorted(set(kinds) - set(MASKS))
        if unknown or not kinds:
            raise SettingsError(f"There is no mask kind {', '.join(unknown) or '(none is named)'}.", "train.masks")
        self._names: Sequence[str] = list(kinds)
        chances = np.array([kinds[name] for name in self._names])
        self._chances = chances / chances.sum()
        self._size = size
        self._textures: Textures = textures or {}
        self.random = np.random.default_rng(seed)

    def kind(self) -> str:
        return self._names[self.random.choice(len(self._names), p=self._chances)]

    def mask(self, kind: str, coverage: float, finer: float = 1.0) -> Mask:
        textures = self._textures.get(kind)
        if textures and self.random.random() < 0.5:
            return texture_mask(textures[self.random.integers(len(textures))], self._size, self.random)
        side = round(self._size * finer)
        drawn = draw_mask(kind, (side, side), coverage, self.random)
        if side == self._size:
            return drawn
        reduced = cv2.resize(drawn, (self._size, self._size), interpolation=cv2.INTER_AREA)
        return np.asarray(np.where(reduced >= DAMAGED, 255, 0), np.uint8)
