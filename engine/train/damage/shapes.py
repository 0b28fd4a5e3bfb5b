"""Shapes: masks of what dust, hair, scratches, creases, tears, stains and losses cover, and of a restorer's strokes.

Every kind of mask is an exact function of its parameters (``draw_...``) and a wrapper that draws the parameters from a
seeded generator (``random_...``). All work in place on a uint8 (H, W) mask, 255 = lost, and never clear what is already
there. Sizes are pixels. Edges are hard: what softens them is the look of the damage (``engine.train.damage.degrade``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import ReadError, SettingsError
from engine.train.recipe import is_validation

Mask = NDArray[np.uint8]
Points = NDArray[np.float64]
Random = np.random.Generator

_SHIFT = 4
"""Fractional bits of OpenCV's drawing coordinates."""

DAMAGED = 80
"""From this value a texture's pixel counts as damaged: its soft edges are the scanner's."""


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


def draw_tear(mask: Mask, points: Points, widths: NDArray[np.float64]) -> None:
    """A gap along points (n, 2) as (x, y), with its width at each point; its ends are open, so 0 makes a sharp tip."""
    normals = np.gradient(points, axis=0)[:, ::-1] * (1, -1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    offset = normals * widths[:, None] / 2
    outline = np.concatenate([points + offset, (points - offset)[::-1]])
    cv2.fillPoly(mask, [np.round(outline * (1 << _SHIFT)).astype(np.int32)], 255, cv2.LINE_8, _SHIFT)


def draw_stain(mask: Mask, centre: tuple[float, float], radii: NDArray[np.float64], rim: float) -> None:
    """A star-shaped stain as ``draw_blob``, or with ``rim`` > 0 only the tide mark of that width at its edge."""
    stain = np.zeros_like(mask)
    draw_blob(stain, centre, radii)
    if rim > 0:
        draw_blob(inner := np.zeros_like(mask), centre, np.maximum(radii - rim, 0))
        stain[inner > 0] = 0
    np.maximum(mask, stain, out=mask)


def draw_corner(mask: Mask, corner: int, reach: tuple[float, float], ragged: NDArray[np.float64]) -> None:
    """A missing corner (0 top left, then clockwise).

    Args:
        mask: drawn on.
        corner: which.
        reach: how far the loss goes along the two sides, clockwise first for corner 0: (to the right, downward).
        ragged: (n,) how much deeper (or less deep, below 0) the break is than a straight line, at n equal steps.
    """
    turned = np.ascontiguousarray(np.rot90(mask, corner))
    along = np.linspace(0, 1, len(ragged))
    across = np.array([reach[1], reach[0]]) / np.hypot(*reach)
    points = np.stack([along * reach[0], (1 - along) * reach[1]], axis=1) + ragged[:, None] * across
    outline = np.concatenate([[(-1.0, -1.0), (-1.0, reach[1])], points, [(reach[0], -1.0)]])
    cv2.fillPoly(turned, [np.round(outline * (1 << _SHIFT)).astype(np.int32)], 255, cv2.LINE_8, _SHIFT)
    mask[...] = np.rot90(turned, -corner)


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


def random_tear(mask: Mask, random: Random) -> None:
    """A rip from a border inwards, 2 to 20 px wide at the border, jagged, running out to nothing."""
    height, width = mask.shape
    side = int(random.integers(4))
    along = random.uniform(0.05, 0.95)
    start = [(along * width, 0.0), (width, along * height), (along * width, height), (0.0, along * height)][side]
    inward = np.pi / 2 * (1 + side) + random.normal(0, 0.4)
    length = random.uniform(0.15, 0.8) * min(mask.shape)
    points = _walk(np.zeros(2), 2 * length, 3.0, random.normal(0, 0.01), 0.12, random, inward)
    points = points[len(points) // 2 :] + start
    points += random.normal(0, 0.8, points.shape)
    widest = random.uniform(2, 20)
    taper = np.linspace(1, 0, len(points)) ** random.uniform(0.5, 1.5)
    widths = widest * taper * random.uniform(0.75, 1.25, len(points))
    # The walk's first step lies inside: begin beyond the border, so that no bridge is left at the edge.
    outward = np.array([np.cos(inward), np.sin(inward)]) * -widest
    draw_tear(mask, np.concatenate([[points[0] + outward], points]), np.concatenate([[widest], np.maximum(widths, 1)]))


def random_stain(mask: Mask, random: Random) -> None:
    """A large irregular stain, or every third time the tide mark where one dried, 0.1 to 0.45 of the side."""
    radius = random.uniform(0.1, 0.45) * min(mask.shape)
    radii = radius * _smooth_ring(48, random.uniform(0.05, 0.35), random)
    centre = _somewhere(mask, random)
    rim = random.uniform(3, 10) if random.random() < 1 / 3 else 0.0
    draw_stain(mask, (centre[0], centre[1]), radii, rim)


def random_corner(mask: Mask, random: Random) -> None:
    """A corner broken or torn off, 0.05 to 0.4 of the side."""
    reach = random.uniform(0.05, 0.4, 2) * min(mask.shape)
    ragged = random.uniform(0.02, 0.12) * float(reach.min()) * np.cumsum(random.normal(0, 1, 16)) / 4
    bow = random.uniform(-0.2, 0.2) * float(reach.min()) * np.sin(np.linspace(0, np.pi, 16))
    draw_corner(mask, int(random.integers(4)), (float(reach[0]), float(reach[1])), ragged + bow)


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
}
"""Share of a training crop that a kind covers at least and at most, roughly."""


CLASSES = ("dust", "hair", "scratch", "crease", "tear", "stain", "loss")
"""What the detector tells apart, in the order of its planes."""

CLASS_OF = {kind: kind if kind in CLASSES else "loss" for kind in MASKS}
"""Mask kind -> its class; strokes, boxes, borders and corners are losses."""

TEXTURES = {
    "film_scratches": "scratch",
    "film_hair": "hair",
    "film_hair-short": "hair",
    "film_lint": "hair",
    "film_dirt": "dust",
    "film_smut": "stain",
    "film_dots": "stain",
    "film_spots": "dust",
    "film_sprinkles": "dust",
    "film_stain": "stain",
}
"""Folder of damage textures -> class."""


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


def read_textures(folder: Path, *, validation: bool) -> dict[str, list[Mask]]:
    """Read a folder of damage textures: 8-bit grey PNG, 255 = damaged, in subfolders named as in ``TEXTURES``.

    Args:
        folder: of the subfolders.
        validation: those of the tenth that is never trained on, or the others.

    Returns:
        class -> textures (h, w) uint8; only classes that have any.

    Raises:
        SettingsError: the folder holds no such subfolder with pictures.
        ReadError: a picture is damaged.
    """
    found: dict[str, list[Mask]] = {}
    for name, damage in TEXTURES.items():
        paths = sorted(folder.rglob(f"{name}/*.png"))
        parted = [path for path in paths if is_validation(path.name) == validation]
        # A folder so small that the hash does not part it serves both.
        for path in parted or paths:
            texture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
            if texture is None:
                raise ReadError(f"The texture {path} is damaged.", "train.textures")
            found.setdefault(damage, []).append(np.asarray(texture, np.uint8))
    if not found:
        raise SettingsError(f"{folder} holds no damage textures.", "train.textures")
    return found


def texture_mask(texture: Mask, size: int, random: Random) -> Mask:
    """A square piece of a texture at a random scale of 0.5 to 1.5, turn and flip, with hard edges.

    Args:
        texture: (h, w) uint8, 255 = damaged.
        size: side of the piece; what lies beyond the texture is its mirror image.
        random: seeded generator.

    Returns:
        (size, size) uint8 of 0 and 255; empty only where the texture is.
    """
    best = np.zeros((size, size), np.uint8)
    for _ in range(4):
        # Much of a texture is empty: the fullest of a few pieces is taken.
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
    kinds: dict[str, float], count: int, size: int, seed: int, textures: Path | None = None, *, validation: bool = False
) -> NDArray[np.uint8]:
    """Draw the masks of a training: mostly one kind, every third time two.

    Args:
        kinds: row of ``MASKS`` -> how often, relative to the others.
        count: masks.
        size: their side.
        seed: the same seed draws the same masks.
        textures: folder of damage textures; then half of the masks of the classes that it holds come from it.
        validation: of the tenth of the textures that is never trained on.

    Returns:
        (count, size, size) uint8, 255 = lost; none is empty.

    Raises:
        SettingsError: a kind that ``MASKS`` has not, or a folder without textures.
    """
    draw = _Drawer(kinds, size, seed, None if textures is None else read_textures(textures, validation=validation))
    pool = np.zeros((count, size, size), np.uint8)
    for mask in pool:
        for _ in range(2 if draw.random.random() < 1 / 3 else 1):
            kind = draw.kind()
            np.maximum(mask, draw.mask(kind, draw.random.uniform(*COVERAGE[kind])), out=mask)
        if not mask.any():
            mask[size // 2, size // 2] = 255
    return pool


def class_pool(
    kinds: dict[str, float], count: int, size: int, seed: int, textures: Path | None = None, *, validation: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw masks of one kind each, mostly sparse and often finer, for a training that must tell the classes apart.

    The arguments are those of ``mask_pool``.

    Returns:
        Masks (count, size, size) uint8, 255 = damaged, none empty; and the place of the class of each in ``CLASSES``,
        (count,) int64.

    Raises:
        SettingsError: as in ``mask_pool``.
    """
    draw = _Drawer(kinds, size, seed, None if textures is None else read_textures(textures, validation=validation))
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


class _Drawer:
    """Draws masks of kinds by their chances, some from textures."""

    def __init__(self, kinds: dict[str, float], size: int, seed: int, textures: dict[str, list[Mask]] | None) -> None:
        unknown = sorted(set(kinds) - set(MASKS))
        if unknown or not kinds:
            raise SettingsError(f"There is no mask kind {', '.join(unknown) or '(none is named)'}.", "train.masks")
        self._names: Sequence[str] = list(kinds)
        chances = np.array([kinds[name] for name in self._names])
        self._chances = chances / chances.sum()
        self._size = size
        self._textures = textures or {}
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


def _smooth_ring(count: int, roughness: float, random: Random) -> NDArray[np.float64]:
    """Radii (count,) around 1 of a closed outline: a few harmonics that weaken with their order, and fine fraying."""
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    ring = np.ones(count) + random.normal(0, 0.1 * roughness, count)
    for order in range(1, 8):
        ring += roughness / order * random.normal() * np.cos(order * angles + random.uniform(0, 2 * np.pi))
    return np.asarray(np.clip(ring, 0.3, 2.0))
