"""Shapes of damage: masks of dust, hairs, scratches, creases, tears, stains and losses, and of a restorer's strokes.

Each kind of mask has a function that draws it from exact parameters (``draw_...``) and one that draws the parameters
from a seeded generator (``random_...``). All of them add to a uint8 (H, W) mask in place, 255 = lost, and never clear a
pixel. Sizes are pixels. Edges are hard; ``engine.train.damage.degrade`` softens them when it composites the damage.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
Points = NDArray[np.float64]
Random = np.random.Generator

_SHIFT = 4
"""Fractional bits of OpenCV's drawing coordinates."""

DAMAGED = 80
"""Value of a texture, of 255, from which a pixel counts as damaged; textures have soft edges."""


def draw_path(mask: Mask, points: Points, widths: NDArray[np.float64]) -> None:
    """Draw a line through points (n, 2) as (x, y), with a width at each point."""
    fixed = np.round(points * (1 << _SHIFT)).astype(int)
    for i in range(len(fixed) - 1):
        thickness = max(1, round(float(widths[i])))
        start, end = fixed[i], fixed[i + 1]
        cv2.line(mask, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), 255, thickness, cv2.LINE_8, _SHIFT)


def draw_blob(mask: Mask, centre: tuple[float, float], radii: NDArray[np.float64]) -> None:
    """Draw a star-shaped spot: radii (n,) at n equal angles around the centre (x, y)."""
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    outline = np.stack([centre[0] + radii * np.cos(angles), centre[1] + radii * np.sin(angles)], axis=1)
    cv2.fillPoly(mask, [np.round(outline * (1 << _SHIFT)).astype(np.int32)], 255, cv2.LINE_8, _SHIFT)


def draw_box(mask: Mask, centre: tuple[float, float], size: tuple[float, float], angle: float) -> None:
    """Draw a filled rectangle, turned by an angle in degrees."""
    corners = cv2.boxPoints((centre, size, angle))
    cv2.fillPoly(mask, [np.round(corners * (1 << _SHIFT)).astype(np.int32)], 255, cv2.LINE_8, _SHIFT)


def draw_border(mask: Mask, depths: NDArray[np.float64], side: int) -> None:
    """Draw a loss along one side (0 top, 1 right, 2 bottom, 3 left), depths (n,) deep at n equal steps along it."""
    turned = np.ascontiguousarray(np.rot90(mask, side))
    along = np.linspace(0, turned.shape[1] - 1, len(depths))
    depth = np.interp(np.arange(turned.shape[1]), along, depths)
    turned[np.arange(turned.shape[0])[:, None] < depth[None, :]] = 255
    mask[...] = np.rot90(turned, -side)


def draw_tear(mask: Mask, points: Points, widths: NDArray[np.float64]) -> None:
    """Draw a gap along points (n, 2) as (x, y), with its width at each point; a width of 0 at an end is a sharp tip."""
    normals = np.gradient(points, axis=0)[:, ::-1] * (1, -1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    offset = normals * widths[:, None] / 2
    outline = np.concatenate([points + offset, (points - offset)[::-1]])
    cv2.fillPoly(mask, [np.round(outline * (1 << _SHIFT)).astype(np.int32)], 255, cv2.LINE_8, _SHIFT)


def draw_stain(mask: Mask, centre: tuple[float, float], radii: NDArray[np.float64], rim: float) -> None:
    """Draw a star-shaped stain as ``draw_blob``, or with ``rim`` > 0 only a rim of that width along its edge."""
    stain = np.zeros_like(mask)
    draw_blob(stain, centre, radii)
    if rim > 0:
        draw_blob(inner := np.zeros_like(mask), centre, np.maximum(radii - rim, 0))
        stain[inner > 0] = 0
    np.maximum(mask, stain, out=mask)


def draw_corner(mask: Mask, corner: int, reach: tuple[float, float], ragged: NDArray[np.float64]) -> None:
    """Draw a missing corner.

    Args:
        mask: mask to draw on.
        corner: 0 top left, then clockwise.
        reach: how far the loss goes along the two sides; for corner 0 (to the right, downward).
        ragged: (n,) how much deeper (below 0: less deep) than a straight line the break is, at n equal steps.
    """
    turned = np.ascontiguousarray(np.rot90(mask, corner))
    along = np.linspace(0, 1, len(ragged))
    across = np.array([reach[1], reach[0]]) / np.hypot(*reach)
    points = np.stack([along * reach[0], (1 - along) * reach[1]], axis=1) + ragged[:, None] * across
    outline = np.concatenate([[(-1.0, -1.0), (-1.0, reach[1])], points, [(reach[0], -1.0)]])
    cv2.fillPoly(turned, [np.round(outline * (1 << _SHIFT)).astype(np.int32)], 255, cv2.LINE_8, _SHIFT)
    mask[...] = np.rot90(turned, -corner)


def random_dust(mask: Mask, random: Random) -> None:
    """Draw a cluster of specks of 1 to 8 px."""
    spread = random.uniform(0.05, 0.5) * max(mask.shape)
    middle = _random_point(mask, random)
    for _ in range(int(random.integers(3, 20))):
        radius = min(4.0, 0.5 + random.exponential(0.9))
        centre = middle + random.normal(0, spread, 2)
        draw_blob(mask, (centre[0], centre[1]), radius * random.uniform(0.5, 1.3, 9))


def random_hair(mask: Mask, random: Random) -> None:
    """Draw a thin curled fibre."""
    length = random.uniform(20, 160)
    points = _random_walk(_random_point(mask, random), length, 3.0, random.normal(0, 0.06), 0.08, random)
    draw_path(mask, points, np.full(len(points), random.uniform(1, 3)))


def random_scratch(mask: Mask, random: Random) -> None:
    """Draw one to six nearly parallel, nearly straight lines of 1 to 6 px, often interrupted."""
    direction = random.uniform(0, np.pi)
    width = 1 + 5 * random.beta(1.1, 2.0)
    for _ in range(int(random.integers(1, 7))):
        length = random.uniform(0.15, 1.4) * max(mask.shape)
        heading = direction + random.normal(0, 0.06)
        points = _random_walk(_random_point(mask, random), length, 8.0, 0.0, 0.015, random, heading)
        widths = np.clip(width * random.uniform(0.7, 1.3) + np.cumsum(random.normal(0, 0.25, len(points))), 1, 6)
        for part in np.split(np.arange(len(points)), np.flatnonzero(random.random(len(points)) < 0.04)):
            draw_path(mask, points[part], widths[part])


def random_crease(mask: Mask, random: Random) -> None:
    """Draw a fold across the picture: a jagged line of 2 to 10 px with flaked-off patches."""
    width = random.uniform(2, 10)
    points = _random_walk(
        _random_point(mask, random), 1.6 * max(mask.shape), 6.0, random.normal(0, 0.003), 0.05, random
    )
    points += random.normal(0, 0.2 * width, points.shape)
    draw_path(mask, points, np.clip(random.normal(width, 0.3 * width, len(points)), 1, 14))
    for point in points[random.random(len(points)) < 0.15]:
        draw_blob(mask, (point[0], point[1]), width * random.uniform(0.4, 1.2, 9))


def random_stroke(mask: Mask, random: Random) -> None:
    """Draw a free stroke of a restorer's brush, 12 to 36 px wide."""
    width = random.uniform(12, 36)
    points = _random_walk(
        _random_point(mask, random), random.uniform(20, 200), 8.0, random.normal(0, 0.05), 0.15, random
    )
    draw_path(mask, points, np.full(len(points), width))


def random_box(mask: Mask, random: Random) -> None:
    """Draw one larger loss: a turned rectangle or a ragged spot, up to half the side of the picture."""
    side = random.uniform(0.1, 0.5) * min(mask.shape)
    centre = _random_point(mask, random)
    if random.random() < 0.5:
        size = (side, side * random.uniform(0.4, 1.0))
        draw_box(mask, (centre[0], centre[1]), size, random.choice([0.0, random.uniform(0, 90)]))
    else:
        draw_blob(mask, (centre[0], centre[1]), side / 2 * random.uniform(0.6, 1.2, 15))


def random_border(mask: Mask, random: Random) -> None:
    """Draw a torn edge, or a missing corner, up to a third of the side deep."""
    deepest = random.uniform(0.04, 0.33) * min(mask.shape)
    depths = deepest * np.clip(np.cumsum(random.normal(0, 0.25, 24)) + random.uniform(0, 1), 0, 1)
    if random.random() < 0.5:
        depths *= np.clip(np.linspace(random.uniform(1, 3), random.uniform(-3, 0), 24), 0, 1)
    side = int(random.integers(4))
    draw_border(mask, depths[::-1] if random.random() < 0.5 else depths, side)


def random_tear(mask: Mask, random: Random) -> None:
    """Draw a jagged rip from a border inwards, 2 to 20 px wide at the border and narrowing to nothing."""
    height, width = mask.shape
    side = int(random.integers(4))
    along = random.uniform(0.05, 0.95)
    start = [(along * width, 0.0), (width, along * height), (along * width, height), (0.0, along * height)][side]
    inward = np.pi / 2 * (1 + side) + random.normal(0, 0.4)
    length = random.uniform(0.15, 0.8) * min(mask.shape)
    points = _random_walk(np.zeros(2), 2 * length, 3.0, random.normal(0, 0.01), 0.12, random, inward)
    points = points[len(points) // 2 :] + start
    points += random.normal(0, 0.8, points.shape)
    widest = random.uniform(2, 20)
    taper = np.linspace(1, 0, len(points)) ** random.uniform(0.5, 1.5)
    widths = widest * taper * random.uniform(0.75, 1.25, len(points))
    # The first point lies inside the picture. The rip begins beyond the border, so that it opens to the border.
    outward = np.array([np.cos(inward), np.sin(inward)]) * -widest
    draw_tear(mask, np.concatenate([[points[0] + outward], points]), np.concatenate([[widest], np.maximum(widths, 1)]))


def random_stain(mask: Mask, random: Random) -> None:
    """Draw a large irregular stain, or every third time only its dried rim, its radius 0.1 to 0.45 of the side."""
    radius = random.uniform(0.1, 0.45) * min(mask.shape)
    radii = radius * _smooth_ring(48, random.uniform(0.05, 0.35), random)
    centre = _random_point(mask, random)
    rim = random.uniform(3, 10) if random.random() < 1 / 3 else 0.0
    draw_stain(mask, (centre[0], centre[1]), radii, rim)


def random_corner(mask: Mask, random: Random) -> None:
    """Draw a corner that is broken or torn off, 0.05 to 0.4 of the side."""
    reach = random.uniform(0.05, 0.4, 2) * min(mask.shape)
    ragged = random.uniform(0.02, 0.12) * float(reach.min()) * np.cumsum(random.normal(0, 1, 16)) / 4
    bow = random.uniform(-0.2, 0.2) * float(reach.min()) * np.sin(np.linspace(0, np.pi, 16))
    draw_corner(mask, int(random.integers(4)), (float(reach[0]), float(reach[1])), ragged + bow)


def random_line(mask: Mask, random: Random) -> None:
    """Draw one to three straight parallel lines of 1 to 3 px across the whole mask, upright or level."""
    size, width = max(mask.shape), random.uniform(1, 3)
    upright, tilt = random.random() < 0.7, random.normal(0, 0.01)
    place = random.uniform(0, size)
    for _ in range(int(random.integers(1, 4))):
        along = np.linspace(0, size, 9)
        across = place + tilt * along + random.normal(0, 0.3, 9)
        points = np.stack([across, along] if upright else [along, across], axis=1)
        draw_path(mask, points, np.full(9, width))
        place += random.uniform(3, 40)


def random_foxing(mask: Mask, random: Random) -> None:
    """Draw a group of round spots with a radius of 1 to 12 px, as of foxed paper."""
    spread = random.uniform(0.1, 0.4) * max(mask.shape)
    middle = _random_point(mask, random)
    for _ in range(int(random.integers(2, 15))):
        centre = middle + random.normal(0, spread, 2)
        draw_blob(mask, (centre[0], centre[1]), min(12.0, 1 + random.exponential(2.5)) * _smooth_ring(16, 0.15, random))


def random_fingerprint(mask: Mask, random: Random) -> None:
    """Draw the ridges of a fingerprint, 3 to 8 px apart, interrupted and fainter towards its edge."""
    period = random.uniform(3, 8)
    half = period * random.uniform(10, 16) * np.array([1.0, random.uniform(1.1, 1.6)])
    centre, turn = _random_point(mask, random), random.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]]
    across = (x - centre[0]) * np.cos(turn) + (y - centre[1]) * np.sin(turn)
    along = (y - centre[1]) * np.cos(turn) - (x - centre[0]) * np.sin(turn)
    # Ridges are arches around a core below the middle, bent by a slow wave.
    bend = 0.8 * period * np.sin(along / (random.uniform(4, 8) * period) + random.uniform(0, 2 * np.pi))
    away = np.hypot(across + bend, random.uniform(0.4, 0.9) * (along - random.uniform(0, 0.6) * half[1]))
    cells = np.maximum(2, np.array(mask.shape) // round(2 * period))
    pressure = cv2.resize(random.uniform(-0.6, 0.9, cells), mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
    inside = 1 - (across / half[0]) ** 2 - (along / half[1]) ** 2
    ridges = np.cos(2 * np.pi * away / period) + np.minimum(pressure, 3 * inside) > random.uniform(0.6, 1.0)
    mask[ridges & (inside > 0)] = 255


MASKS: dict[str, Callable[[Mask, Random], None]] = {
    "dust": random_dust,
    "hair": random_hair,
    "scratch": random_scratch,
    "crease": random_crease,
    "stroke": random_stroke,
    "box": random_box,
    "border": random_border,
    "tear": random_tear,
    "stain": random_stain,
    "corner": random_corner,
    "line": random_line,
    "foxing": random_foxing,
    "fingerprint": random_fingerprint,
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
    "tear": (0.01, 0.1),
    "stain": (0.05, 0.3),
    "corner": (0.01, 0.15),
    "line": (0.01, 0.05),
    "foxing": (0.01, 0.08),
    "fingerprint": (0.02, 0.15),
}
"""Kind of mask -> the least and the largest share of a training crop that it covers, roughly."""


CLASSES = ("dust", "hair", "scratch", "crease", "tear", "stain", "loss")
"""Classes of damage, in the order of the detector's class planes."""

CLASS_OF = {kind: kind if kind in CLASSES else "loss" for kind in MASKS} | {
    "line": "scratch",
    "foxing": "stain",
    "fingerprint": "stain",
}
"""Kind of mask -> class of damage; strokes, boxes, borders and corners are losses."""

LOOK_OF = CLASS_OF | {"fingerprint": "scratch"}
"""Kind of mask -> name of its look in ``degrade.LOOKS``: that of its class, but of fingerprints that of thin ones."""


def draw_mask(kind: str, shape: tuple[int, int], coverage: float, random: Random) -> Mask:
    """Draw a mask of one kind of damage, piece after piece until a share of its area is covered.

    Args:
        kind: a row of ``MASKS``.
        shape: height and width of the mask.
        coverage: least share of the area, 0 to 1.
        random: seeded generator; the same seed draws the same mask.

    Returns:
        (H, W) uint8, 255 = damaged.
    """
    mask = np.zeros(shape, np.uint8)
    for _ in range(2000):
        if np.count_nonzero(mask) >= coverage * mask.size:
            break
        MASKS[kind](mask, random)
    return mask


def _random_point(mask: Mask, random: Random) -> NDArray[np.float64]:
    return random.uniform((0.0, 0.0), (mask.shape[1], mask.shape[0]))


def _random_walk(
    start: NDArray[np.float64],
    length: float,
    step: float,
    bend: float,
    wobble: float,
    random: Random,
    heading: float | None = None,
) -> Points:
    """A path with its middle at ``start``; its heading turns by a constant bend and a random wobble, radians a step."""
    count = max(2, round(length / step))
    heading = random.uniform(0, 2 * np.pi) if heading is None else heading
    headings = heading + np.cumsum(bend + random.normal(0, wobble, count))
    points = np.cumsum(step * np.stack([np.cos(headings), np.sin(headings)], axis=1), axis=0)
    return np.asarray(points - points[count // 2] + start)


def _smooth_ring(count: int, roughness: float, random: Random) -> NDArray[np.float64]:
    """Radii (count,) around 1 of a closed irregular outline: seven harmonics that weaken with order, and fine noise."""
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    ring = np.ones(count) + random.normal(0, 0.1 * roughness, count)
    for order in range(1, 8):
        ring += roughness / order * random.normal() * np.cos(order * angles + random.uniform(0, 2 * np.pi))
    return np.asarray(np.clip(ring, 0.3, 2.0))
