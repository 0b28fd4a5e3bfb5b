"""What a detection saw, kept so that thresholds, sizes and classes can be chosen afterwards without the model."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from engine import masks
from engine.jobs import JobContext
from engine.raster import TILE, Mask, Rect, assemble
from engine.record import Repair
from engine.runtime.session import Device
from engine.tasks.base import Defect, Marks, Ranged, TaskInput, knob

DamagePixels = NDArray[np.uint8]
"""(h, w, 2): the probability of the likeliest class, 255 = certain, and which class that is; 0, 0 = nothing seen."""

FLOOR = 0.02
"""What is less probable is not kept."""
_EXTENT = 0.5
"""A defect reaches as far as this share of the threshold (hysteresis, Canny 1986)."""
_EDGE = 0.05
"""A repair mask also covers the edge of a defect, down to this probability: there the damage is faint, but left alone
it would be seen as a halo."""
_SIMPLE = 1.0
"""How far an outline may stray from the damage's edge, pixels."""

DAMAGE = ("damage",)
"""The labels of a model that says only that something is damage."""

SHAPES = ("dust", "hair", "scratch", "stain")
"""Classes that are told apart by shape. Findings with exactly these labels are of a model that knows no classes."""

LONG, STRAIGHT, WIDE = 5.0, 0.8, 0.015
"""Rules for the classes by shape, see ``kind_by_shape``."""


class DamageMap(Protocol):
    """What a detection saw of a picture, wherever it is kept."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width, 2."""

    def read(self, rect: Rect) -> DamagePixels:
        """What was seen in a rectangle that lies inside."""

    def occupied(self) -> list[Rect]:
        """Rectangles, each within one cell of the ``TILE`` grid, outside which nothing was seen."""


@dataclass(frozen=True)
class DetectSettings(Ranged):
    """What counts as damage. All of it can be changed after the model ran."""

    threshold: float = field(
        default=0.5,
        metadata=knob("Threshold", "How sure a damage must be at its surest place; lower finds more", 0.05, 0.99),
    )
    """Least probability at the surest pixel of a damage."""
    grow: float = field(
        default=2.0,
        metadata=knob("Grow", "The mask reaches so far beyond the damage that was found", 0.0, 100.0, " px"),
    )
    """The mask is larger than the damage by so many pixels; outlines and areas are not."""
    smallest: float = field(
        default=4.0, metadata=knob("Smallest", "Damage of fewer pixels is left alone", 1.0, 10_000.0, " px")
    )
    """Least area of a damage, pixels."""
    largest: float = field(
        default=1e8,
        metadata=knob("Largest", "Damage of more pixels is left alone; at most = no limit", 1.0, 1e8, " px"),
    )
    """Largest area of a damage, pixels."""
    elongation: float = field(
        default=1000.0,
        metadata=knob(
            "Longest",
            "Damage so many times as long as wide is left alone; at most = no limit",
            1.0,
            1000.0,
            " x",
        ),
    )
    """Length over width of a damage, at most."""
    widest: float = field(
        default=100.0,
        metadata=knob(
            "Widest",
            "Damage wider than so much of the picture's short side is left alone; at most = no limit",
            0.1,
            100.0,
            " %",
        ),
    )
    """Width of a damage at its thickest place, at most, per cent of the picture's short side."""

    def most(self, name: str) -> float:
        """An upper limit; the highest that can be set means none."""
        value, field_ = getattr(self, name), next(item for item in fields(self) if item.name == name)
        return math.inf if value >= field_.metadata["high"] else float(value)


@dataclass(frozen=True)
class Findings:
    """What one detection gives: a ``DamageMap`` with the names of its classes.

    Attributes:
        size: height and width of the picture.
        labels: names of the classes.
        pieces: rectangles and what was seen there; each lies within one cell of the ``TILE`` grid.
        device: where the model really ran.
        scales: the steps by which the picture was reduced when it was looked at; 1 = its own scale.
    """

    size: tuple[int, int]
    labels: tuple[str, ...]
    pieces: tuple[tuple[Rect, DamagePixels], ...]
    device: Device
    scales: tuple[int, ...] = (1,)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, 2."""
        return (*self.size, 2)

    def read(self, rect: Rect) -> DamagePixels:
        """What was seen in a rectangle that lies inside."""
        return assemble(self._by_cell, rect, np.zeros(2, np.uint8))

    def occupied(self) -> list[Rect]:
        """The rectangles of the pieces."""
        return [rect for rect, _ in self.pieces]

    @cached_property
    def _by_cell(self) -> dict[tuple[int, int], DamagePixels]:
        return {next(rect.cells()): seen for rect, seen in self.pieces}

    def repair(self, given: TaskInput) -> Repair:
        """What the record says of the search alone."""
        return Marks(self.size, (), self.device, (), self.scales).repair(given)

    def marks(self, settings: DetectSettings, context: JobContext | None = None) -> Marks:
        """The damage that counts by some settings, and its mask."""
        used = context or JobContext()
        defects = sift(outline_defects(self, self.labels, settings.threshold, used.part(0.0, 0.5)), settings)
        pieces = mask_of(self, defects, settings, used.part(0.5, 1.0))
        return Marks(self.size, tuple(pieces), self.device, defects, self.scales)


def to_damage_pixels(probability: NDArray[np.float32]) -> DamagePixels:
    """From probabilities (h, w, classes) of 0..1 to what is kept of them."""
    likeliest = probability.max(axis=2)
    kept = likeliest >= FLOOR
    values = np.where(kept, np.rint(np.clip(likeliest, 0, 1) * 255), 0)
    return np.stack([values, np.where(kept, probability.argmax(axis=2), 0)], axis=2).astype(np.uint8)


def outline_defects(
    seen: DamageMap, labels: Sequence[str], threshold: float, context: JobContext | None = None
) -> tuple[Defect, ...]:
    """The defects of a picture in reading order, whatever their size.

    Pixels that touch, also at corners, are one defect; it must reach the threshold somewhere and ends where the
    probability falls below half of it.

    Args:
        seen: what a detection saw.
        labels: names of the classes.
        threshold: 0..1.
        context: progress and cancellation.
    """
    used = context or JobContext()
    found: list[Defect] = []
    # A cell of faint values parts what lies on its two sides.
    least = _to_8bit(_EXTENT * threshold)
    islands = _connected_cells([rect for rect in seen.occupied() if seen.read(rect)[..., 0].max() >= least])
    for done, island in enumerate(islands):
        used.progress(done / len(islands), "outlining")
        found += _defects_of(seen, island, labels, threshold, used)
    return tuple(sorted(found, key=lambda defect: (defect.box.top, defect.box.left)))


def sift(
    defects: Iterable[Defect], settings: DetectSettings, kinds: Collection[str] | None = None
) -> tuple[Defect, ...]:
    """The defects whose size, shape and class count.

    Args:
        defects: as ``outline_defects`` gives them at the settings' threshold.
        settings: limits of area, elongation and width.
        kinds: the classes that count; None = all.
    """
    largest, longest, widest = (settings.most(name) for name in ("largest", "elongation", "widest"))
    return tuple(
        defect
        for defect in defects
        if settings.smallest <= defect.area <= largest
        and defect.elongation <= longest
        and 100 * defect.share <= widest
        and (kinds is None or defect.kind in kinds)
    )


def mask_of(
    seen: DamageMap, defects: Iterable[Defect], settings: DetectSettings, context: JobContext | None = None
) -> Iterator[tuple[Rect, Mask]]:
    """The repair mask of some defects, cell by cell; empty cells are left out.

    It covers each defect, its soft edge (pixels that are connected with it and at least as probable as ``_EDGE``, some
    pixels far), and what the settings say beyond that.
    """
    used, bounds, edge = context or JobContext(), Rect.of_shape(seen.shape), _edge_reach(seen.shape)
    reach = edge + math.ceil(settings.grow)
    cells: dict[tuple[int, int], Mask] = {}
    for defect in defects:
        used.check()
        pixels = pixels_of(seen, defect, settings.threshold)
        for cell in defect.box.cells():
            square = Rect.of_cell(cell)
            shared = defect.box & square
            target = cells.setdefault(cell, np.zeros((TILE, TILE), np.uint8))[shared.slices(square)]
            np.maximum(target, pixels[shared.slices(defect.box)], out=target)
    near = {other for cell in cells for other in Rect.of_cell(cell).grown(reach).cells()}
    for cell in sorted(near, key=lambda cell: (cell[1], cell[0])):
        used.check()
        rect = Rect.of_cell(cell) & bounds
        if not rect:
            continue
        around = rect.grown(reach)
        found = assemble(cells, around, np.zeros((), np.uint8))
        covered = _grow_within(found, _probability_around(seen, around, bounds) >= _to_8bit(_EDGE), edge)
        grown = masks.grow(covered, settings.grow)[rect.slices(around)].copy()
        if grown.any():
            yield rect, grown


def pixels_of(seen: DamageMap, defect: Defect, threshold: float) -> Mask:
    """The pixels of one defect within its box, (h, w), 255 = damaged.

    Args:
        seen: what a detection saw.
        defect: one that was outline_defects at this threshold.
        threshold: 0..1.
    """
    inside = seen.read(defect.box)[..., 0] >= _to_8bit(_EXTENT * threshold)
    _, labels = cv2.connectedComponents(inside.astype(np.uint8), connectivity=8)
    x, y = defect.outline[0]
    number = labels[y - defect.box.top, x - defect.box.left]
    return np.where((labels == number) & inside, np.uint8(255), np.uint8(0))


def _edge_reach(shape: tuple[int, ...]) -> int:
    """How far the soft edge of a defect may reach, pixels: farther in large scans, whose pixels show less."""
    return max(8, round(min(shape[:2]) / 250))


def _grow_within(mask: Mask, allowed: NDArray[np.bool_], steps: int) -> Mask:
    """Grow a mask by one pixel so many times, into allowed pixels only."""
    limit = np.maximum(mask, np.where(allowed, np.uint8(255), np.uint8(0)))
    for _ in range(steps):
        grown = np.minimum(cv2.dilate(mask, np.ones((3, 3), np.uint8)), limit)
        if np.array_equal(grown, mask):
            break
        mask = np.asarray(grown, np.uint8)
    return mask


def _probability_around(seen: DamageMap, rect: Rect, bounds: Rect) -> NDArray[np.uint8]:
    """The probability (h, w) in a rectangle that may reach beyond the picture, where it is 0."""
    inside = rect & bounds
    probability = np.zeros((rect.height, rect.width), np.uint8)
    probability[inside.slices(rect)] = seen.read(inside)[..., 0]
    return probability


def _to_8bit(probability: float) -> int:
    """The same as 8 bit."""
    return max(1, round(255 * probability))


def _connected_cells(occupied: list[Rect]) -> list[list[Rect]]:
    """Cells that touch, also at corners, together: no damage reaches from one island to another."""
    by_cell = {next(rect.cells()): rect for rect in occupied}
    islands = []
    while by_cell:
        cell, rect = by_cell.popitem()
        island, edge = [rect], [cell]
        while edge:
            column, row = edge.pop()
            for near in ((column + dx, row + dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
                if near in by_cell:
                    island.append(by_cell.pop(near))
                    edge.append(near)
        islands.append(island)
    return islands


def _defects_of(
    seen: DamageMap, island: list[Rect], labels: Sequence[str], threshold: float, context: JobContext
) -> Iterator[Defect]:
    whole = Rect(
        min(r.left for r in island),
        min(r.top for r in island),
        max(r.right for r in island),
        max(r.bottom for r in island),
    )
    values = np.zeros((whole.height, whole.width, 2), np.uint8)
    for rect in island:
        context.check()
        values[rect.slices(whole)] = seen.read(rect)
    inside = (values[..., 0] >= _to_8bit(_EXTENT * threshold)).astype(np.uint8)
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    where = inside > 0
    by_class, surest = _sum_by_label(numbers[where], values[where], count, len(labels))
    widths, short = _widths(inside, numbers, count), min(seen.shape[:2])
    contours, hierarchy = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for contour, (_, _, _, parent) in zip(contours, hierarchy[0].tolist() if contours else (), strict=True):
        x, y = contour[0, 0].tolist()
        number = int(numbers[y, x])
        # Edges of holes have a parent.
        if parent >= 0 or surest[number] < _to_8bit(threshold):
            continue
        context.check()
        left, top, width, height, area = stats[number].tolist()
        corners = cv2.approxPolyDP(contour, _SIMPLE, closed=True)[:, 0] + (whole.left, whole.top)
        elongation, thickest = _elongation(cv2.arcLength(contour, closed=True), area), float(widths[number])
        kind = labels[int(by_class[number].argmax())]
        if tuple(labels) == SHAPES:
            kind = kind_by_shape(area, elongation, thickest, math.hypot(width, height), short)
        yield Defect(
            kind,
            float(surest[number]) / 255,
            Rect(left, top, left + width, top + height).moved(whole.left, whole.top),
            area,
            tuple((int(x), int(y)) for x, y in corners.tolist()),
            elongation,
            thickest,
            thickest / short,
        )


def kind_by_shape(area: int, elongation: float, width: float, diagonal: float, short: int) -> str:
    """The class of a damage by its shape, one of ``SHAPES``: a simple rule for models that know no classes.

    A damage that is at least ``LONG`` times as long as wide, and not as ragged as a blot, is a scratch where it is
    nearly straight, else a hair. One that is wider than ``WIDE`` of the picture's short side is a stain; a loss has
    the same shape. All others are dust.

    Args:
        area: of the damage, pixels.
        elongation: length over width (``Defect.elongation``).
        width: at its thickest place, pixels.
        diagonal: of the box around it, pixels.
        short: short side of the picture, pixels.
    """
    if elongation >= LONG and diagonal >= 0.5 * LONG * width:
        return "scratch" if diagonal >= STRAIGHT * math.sqrt(area * elongation) else "hair"
    return "stain" if width > WIDE * short else "dust"


def _widths(inside: NDArray[np.uint8], numbers: NDArray[np.int32], count: int) -> NDArray[np.float32]:
    """For each of ``count`` labels the diameter of the largest disc that fits into it, pixels."""
    away = cv2.distanceTransform(np.pad(inside, 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    widths, where = np.zeros(count, np.float32), inside > 0
    np.maximum.at(widths, numbers[where], away[where])
    # A line of one pixel is one pixel away from what is outside.
    return np.asarray(2 * widths - 1, np.float32)


def _sum_by_label(
    numbers: NDArray[np.int32], values: DamagePixels, count: int, classes: int
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """For each of ``count`` labels: the summed probability of each class (count, classes), and the largest."""
    probability, kinds = values[:, 0], values[:, 1].astype(np.intp)
    sums = np.bincount(numbers * classes + kinds, probability, minlength=count * classes)
    surest = np.zeros(count, np.uint8)
    np.maximum.at(surest, numbers, probability)
    return np.asarray(sums.reshape(count, classes), np.float64), surest


def _elongation(perimeter: float, area: int) -> float:
    """Length over width of the rectangle of an area and of a perimeter through the centres of the outermost pixels."""
    half = perimeter / 2 + 2
    spread = math.sqrt(max(0.0, half**2 - 4 * area))
    return (half + spread) / max(1e-6, half - spread)
