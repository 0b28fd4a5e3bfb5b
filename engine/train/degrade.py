"""Damage: masks of what dust, hair, scratches, creases, strokes, boxes and tears cover, and what ages a photograph.

Every kind of mask is an exact function of its parameters (``draw_...``) and a wrapper that draws the parameters from a
seeded generator (``random_...``). All work in place on a uint8 (H, W) mask, 255 = lost, and never clear what is already
there. Sizes are pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
Floats = NDArray[np.float32]
Points = NDArray[np.float64]
Random = np.random.Generator

_SHIFT = 4
"""Fractional bits of OpenCV's drawing coordinates."""


def draw_path(mask: Mask, points: Points, widths: NDArray[np.float64]) -> None:
    """A line through points (n, 2) as (x, y), with a width at each point."""
    fixed = np.round(points * (1 << _SHIFT)).astype(int)
    for i in range(len(fixed) - 1):
        thickness = max(1, round(float(widths[i])))
        start, end = fixed[i], fixed[i + 1]
        cv2.line(mask, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), 255, thickness, cv2.LINE_8, _SHIFT)


def draw_blob(mask: Mask, centre: tuple[float, float], radii: NDArray[np.float64]) -> None:
    """A star-shaped spot: radii (n,) at n equal angles around the centre (x, y)."""
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    outline = np.stack([centre[0] + radii * np.cos(angles), centre[1] + radii * np.sin(angles)], axis=1)
    cv2.fillPoly(mask, [np.round(outline * (1 << _SHIFT)).astype(np.int32)], 255, cv2.LINE_8, _SHIFT)


def draw_box(mask: Mask, centre: tuple[float, float], size: tuple[float, float], angle: float) -> None:
    """A filled rectangle turned by an angle in degrees."""
    corners = cv2.boxPoints((centre, size, angle))
    cv2.fillPoly(mask, [np.round(corners * (1 << _SHIFT)).astype(np.int32)], 255, cv2.LINE_8, _SHIFT)


def draw_border(mask: Mask, depths: NDArray[np.float64], side: int) -> None:
    """A loss along one side (0 top, 1 right, 2 bottom, 3 left), depths (n,) deep at n equal steps along it."""
    turned = np.ascontiguousarray(np.rot90(mask, side))
    along = np.linspace(0, turned.shape[1] - 1, len(depths))
    depth = np.interp(np.arange(turned.shape[1]), along, depths)
    turned[np.arange(turned.shape[0])[:, None] < depth[None, :]] = 255
    mask[...] = np.rot90(turned, -side)


def random_dust(mask: Mask, random: Random) -> None:
    """A cluster of specks of 1 to 8 px."""
    spread = random.uniform(0.05, 0.5) * max(mask.shape)
    middle = _somewhere(mask, random)
    for _ in range(int(random.integers(3, 20))):
        radius = min(4.0, 0.5 + random.exponential(0.9))
        centre = middle + random.normal(0, spread, 2)
        draw_blob(mask, (centre[0], centre[1]), radius * random.uniform(0.5, 1.3, 9))


def random_hair(mask: Mask, random: Random) -> None:
    """A thin fibre that curls."""
    length = random.uniform(20, 160)
    points = _walk(_somewhere(mask, random), length, 3.0, random.normal(0, 0.06), 0.08, random)
    draw_path(mask, points, np.full(len(points), random.uniform(1, 3)))


def random_scratch(mask: Mask, random: Random) -> None:
    """One to six nearly parallel, nearly straight lines of 1 to 6 px, often broken."""
    direction = random.uniform(0, np.pi)
    width = 1 + 5 * random.beta(1.1, 2.0)
    for _ in range(int(random.integers(1, 7))):
        length = random.uniform(0.15, 1.4) * max(mask.shape)
        heading = direction + random.normal(0, 0.06)
        points = _walk(_somewhere(mask, random), length, 8.0, 0.0, 0.015, random, heading)
        widths = np.clip(width * random.uniform(0.7, 1.3) + np.cumsum(random.normal(0, 0.25, len(points))), 1, 6)
        for part in np.split(np.arange(len(points)), np.flatnonzero(random.random(len(points)) < 0.04)):
            draw_path(mask, points[part], widths[part])


def random_crease(mask: Mask, random: Random) -> None:
    """A fold across the picture: a jagged line of 2 to 10 px whose emulsion flaked off in places."""
    width = random.uniform(2, 10)
    points = _walk(_somewhere(mask, random), 1.6 * max(mask.shape), 6.0, random.normal(0, 0.003), 0.05, random)
    points += random.normal(0, 0.2 * width, points.shape)
    draw_path(mask, points, np.clip(random.normal(width, 0.3 * width, len(points)), 1, 14))
    for point in points[random.random(len(points)) < 0.15]:
        draw_blob(mask, (point[0], point[1]), width * random.uniform(0.4, 1.2, 9))


def random_stroke(mask: Mask, random: Random) -> None:
    """A free stroke of a restorer's brush, 12 to 36 px wide."""
    width = random.uniform(12, 36)
    points = _walk(_somewhere(mask, random), random.uniform(20, 200), 8.0, random.normal(0, 0.05), 0.15, random)
    draw_path(mask, points, np.full(len(points), width))


def random_box(mask: Mask, random: Random) -> None:
    """One larger loss: a turned rectangle or a ragged spot, up to half the side of the picture."""
    side = random.uniform(0.1, 0.5) * min(mask.shape)
    centre = _somewhere(mask, random)
    if random.random() < 0.5:
        size = (side, side * random.uniform(0.4, 1.0))
        draw_box(mask, (centre[0], centre[1]), size, random.choice([0.0, random.uniform(0, 90)]))
    else:
        draw_blob(mask, (centre[0], centre[1]), side / 2 * random.uniform(0.6, 1.2, 15))


def random_border(mask: Mask, random: Random) -> None:
    """A torn edge, or a missing corner, up to a third of the side deep."""
    deepest = random.uniform(0.04, 0.33) * min(mask.shape)
    depths = deepest * np.clip(np.cumsum(random.normal(0, 0.25, 24)) + random.uniform(0, 1), 0, 1)
    if random.random() < 0.5:
        depths *= np.clip(np.linspace(random.uniform(1, 3), random.uniform(-3, 0), 24), 0, 1)
    side = int(random.integers(4))
    draw_border(mask, depths[::-1] if random.random() < 0.5 else depths, side)


MASKS: dict[str, Callable[[Mask, Random], None]] = {
    "dust": random_dust,
    "hair": random_hair,
    "scratch": random_scratch,
    "crease": random_crease,
    "stroke": random_stroke,
    "box": random_box,
    "border": random_border,
}
"""Mask kind -> function that adds one more piece of that damage to a mask."""

COVERAGE = {
    "dust": (0.01, 0.08),
    "hair": (0.02, 0.1),
    "scratch": (0.03, 0.18),
    "crease": (0.04, 0.15),
    "stroke": (0.08, 0.3),
    "box": (0.04, 0.3),
    "border": (0.03, 0.3),
}
"""Share of a training crop that a kind covers at least and at most, roughly."""


def draw_mask(kind: str, shape: tuple[int, int], coverage: float, random: Random) -> Mask:
    """Add pieces of one kind until they cover at least a share of the mask.

    Args:
        kind: a row of ``MASKS``.
        shape: height and width of the mask.
        coverage: share of the area, 0 to 1.
        random: seeded generator; the same seed draws the same mask.
    """
    mask = np.zeros(shape, np.uint8)
    for _ in range(2000):
        if np.count_nonzero(mask) >= coverage * mask.size:
            break
        MASKS[kind](mask, random)
    return mask


def mask_pool(kinds: dict[str, float], count: int, size: int, seed: int) -> NDArray[np.uint8]:
    """Draw the masks of a training: mostly one kind, every third time two.

    Returns:
        (count, size, size) uint8, 255 = lost; none is empty.
    """
    random = np.random.default_rng(seed)
    names = list(kinds)
    chances = np.array([kinds[name] for name in names])
    chances = chances / chances.sum()
    pool = np.zeros((count, size, size), np.uint8)
    for mask in pool:
        for _ in range(2 if random.random() < 1 / 3 else 1):
            kind = names[random.choice(len(names), p=chances)]
            np.maximum(mask, draw_mask(kind, (size, size), random.uniform(*COVERAGE[kind]), random), out=mask)
        if not mask.any():
            mask[size // 2, size // 2] = 255
    return pool


def composite(
    photo: Floats, mask: Mask, colour: tuple[float, float, float], softness: float, strength: float
) -> Floats:
    """Lay damage of one colour over a photograph.

    Args:
        photo: (H, W, 3) float32 sRGB in 0..1.
        mask: where the damage is, 255 = all of it.
        colour: of the damage, sRGB.
        softness: standard deviation in pixels by which its edge is blurred.
        strength: 0..1.
    """
    cover = mask.astype(np.float32) / 255
    if softness > 0:
        cover = np.asarray(cv2.GaussianBlur(cover, (0, 0), softness), np.float32)
    cover = (cover * np.float32(strength))[..., None]
    return np.asarray(photo + (np.array(colour, np.float32) - photo) * cover, np.float32)


def fade(photo: Floats, amount: float, paper: tuple[float, float, float] = (0.93, 0.87, 0.74)) -> Floats:
    """Fading and yellowing: blacks lift, whites take on the colour of the paper.

    Args:
        photo: (H, W, 3) float32 sRGB in 0..1.
        amount: 0 = none, 1 = nothing but paper.
        paper: its colour, sRGB.
    """
    tinted = photo * (1 - amount * (1 - np.array(paper, np.float32)))
    return np.asarray(tinted + amount * 0.35 * (np.array(paper, np.float32) - tinted), np.float32)


def grain(photo: Floats, sigma: float, size: float, random: Random) -> Floats:
    """Film grain: Gaussian noise of a standard deviation, alike in all channels, correlated over a size in pixels."""
    noise = random.normal(0, 1, photo.shape[:2]).astype(np.float32)
    if size > 0:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), size), np.float32)
        noise /= noise.std()
    return np.asarray(photo + np.float32(sigma) * noise[..., None], np.float32)


def _somewhere(mask: Mask, random: Random) -> NDArray[np.float64]:
    return random.uniform((0.0, 0.0), (mask.shape[1], mask.shape[0]))


def _walk(
    start: NDArray[np.float64],
    length: float,
    step: float,
    bend: float,
    wobble: float,
    random: Random,
    heading: float | None = None,
) -> Points:
    """A path with ``start`` in its middle: a constant bend plus a random wobble of the heading, radians a step."""
    count = max(2, round(length / step))
    heading = random.uniform(0, 2 * np.pi) if heading is None else heading
    headings = heading + np.cumsum(bend + random.normal(0, wobble, count))
    points = np.cumsum(step * np.stack([np.cos(headings), np.sin(headings)], axis=1), axis=0)
    return np.asarray(points - points[count // 2] + start)
