"""Results of a detection, stored as a probability map, so that thresholds can be changed without running the model."""

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
"""(h, w, 2) uint8: probability of the most probable class, 255 = 1, and the index of that class; 0, 0 = no damage."""

FLOOR = 0.02
"""Lower probabilities are stored as 0."""
_EXTENT, _LIKELY = 0.8, 0.5
"""A defect extends down to this share of the threshold (hysteresis, Canny 1986), and always to the second probability:
what is more likely damaged than not belongs to it."""
_EDGE = 0.1
"""A repair mask that is enlarged covers the faint edge of a defect first, down to this probability; without it a halo
would remain."""
_SIMPLE = 1.0
"""Largest distance of a simplified outline from the damage's contour, pixels."""

DAMAGE = ("damage",)
"""The labels of a model without classes."""

SHAPES = ("dust", "hair", "scratch", "stain")
"""Classes by shape. They are the labels of findings of a model without classes, all of whose pixels have the first."""

THIN_OR_SMALL = ("dust", "hair", "scratch")
"""Damage of one of these classes gets its class by its shape instead, if the labels hold all of ``SHAPES``: a round
spot is dust to everybody, also where a network has taken it for the remains of a scratch."""

LONG, STRAIGHT, WIDE = 5.0, 0.8, 0.015
"""Limits of the classes by shape, see ``kind_by_shape``."""


class DamageMap(Protocol):
    """The probability map of a picture, read by rectangles, in memory or in a document's tiles."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width, 2."""

    def read(self, rect: Rect) -> DamagePixels:
        """The map in a rectangle inside the picture, (h, w, 2)."""

    def occupied(self) -> list[Rect]:
        """Rectangles, each within one cell of the ``TILE`` grid, that cover all values above 0."""


@dataclass(frozen=True)
class DetectSettings(Ranged):
    """What counts as damage. All settings can be changed after the model ran."""

    threshold: float = field(
        default=0.5,
        metadata=knob("Threshold", "The probability that a damage must reach; lower finds more", 0.05, 0.99),
    )
    """Probability that a damage must reach in at least one pixel, 0..1."""
    grow: float = field(
        default=2.0,
        metadata=knob("Grow", "The mask is enlarged beyond the found damage by this", 0.0, 100.0, " px"),
    )
    """Radius by which the mask is enlarged, pixels; outlines and areas are not. At 0 it is exactly what was found."""
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
            "Damage more times as long as wide is left alone; at most = no limit",
            1.0,
            1000.0,
            " x",
        ),
    )
    """Largest length over width of a damage."""
    widest: float = field(
        default=1.5,
        metadata=knob(
            "Widest",
            "Damage wider than this share of the picture's short side is unsure: it is shown, and healed only if you "
            "accept it; at most = no limit",
            0.1,
            100.0,
            " %",
        ),
    )
    """Largest width at which a damage is healed without being asked, per cent of the picture's short side; at its
    thickest place. Nobody but a person can tell large stains and losses from what the picture shows."""

    def upper_limit(self, name: str) -> float:
        """The value of an upper limit; infinity at its maximum, which means no limit."""
        value, field_ = getattr(self, name), next(item for item in fields(self) if item.name == name)
        return math.inf if value >= field_.metadata["high"] else float(value)


@dataclass(frozen=True)
class Findings:
    """The result of a detection: a ``DamageMap`` with the names of its classes.

    Attributes:
        size: height and width of the picture.
        labels: names of the classes.
        pieces: rectangles, each within one cell of the ``TILE`` grid, and their part of the map.
        device: where the model ran.
        scales: factors by which the picture was reduced for the model; 1 = full size.
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
        """The map in a rectangle inside the picture, (h, w, 2)."""
        return assemble(self._by_cell, rect, np.zeros(2, np.uint8))

    def occupied(self) -> list[Rect]:
        """The rectangles of the pieces."""
        return [rect for rect, _ in self.pieces]

    @cached_property
    def _by_cell(self) -> dict[tuple[int, int], DamagePixels]:
        return {next(rect.cells()): seen for rect, seen in self.pieces}

    def repair(self, given: TaskInput) -> Repair:
        """The entry in the record of the detection, without defects."""
        return Marks(self.size, (), self.device, (), self.scales).repair(given)

    def marks(
        self, settings: DetectSettings, context: JobContext | None = None, *, leave_unsure: bool = False
    ) -> Marks:
        """The defects that the settings select, and their mask.

        Args:
            settings: what counts as damage.
            context: progress and cancellation.
            leave_unsure: leave what is too wide to be healed without being asked (``is_unsure``) out of the mask.

        Raises:
            Cancelled: the context was cancelled.
        """
        used = context or JobContext()
        found = sift(outline_defects(self, self.labels, settings.threshold, used.part(0.0, 0.5)), settings)
        widest = settings.upper_limit("widest") if leave_unsure else math.inf
        defects = tuple(defect for defect in found if not is_unsure(defect, widest))
        unsure = tuple(defect for defect in found if is_unsure(defect, widest))
        pieces = mask_of(self, defects, settings, used.part(0.5, 1.0))
        return Marks(self.size, tuple(pieces), self.device, defects, self.scales, unsure)


def to_damage_pixels(probability: NDArray[np.float32]) -> DamagePixels:
    """Reduce the probabilities of all classes (h, w, classes) in 0..1 to the most probable class."""
    likeliest = probability.max(axis=2)
    kept = likeliest >= FLOOR
    values = np.where(kept, np.rint(np.clip(likeliest, 0, 1) * 255), 0)
    return np.stack([values, np.where(kept, probability.argmax(axis=2), 0)], axis=2).astype(np.uint8)


def outline_defects(
    seen: DamageMap, labels: Sequence[str], threshold: float, context: JobContext | None = None
) -> tuple[Defect, ...]:
    """Find the defects of a picture and outline them, from top to bottom, without limits of size.

    A defect is a set of 8-connected pixels that reaches the threshold somewhere; it ends where the probability falls
    below ``_lowest`` of the threshold.

    Args:
        seen: the probability map.
        labels: names of the classes.
        threshold: 0..1.
        context: progress and cancellation.

    Raises:
        Cancelled: the context was cancelled.
    """
    used = context or JobContext()
    found: list[Defect] = []
    # Cells without values above the lower threshold separate defects, and are left out.
    least = _lowest(threshold)
    islands = _connected_cells([rect for rect in seen.occupied() if seen.read(rect)[..., 0].max() >= least])
    for done, island in enumerate(islands):
        used.progress(done / len(islands), "outlining")
        found += _defects_of(seen, island, labels, threshold, used)
    return tuple(sorted(found, key=lambda defect: (defect.box.top, defect.box.left)))


def sift(
    defects: Iterable[Defect], settings: DetectSettings, kinds: Collection[str] | None = None
) -> tuple[Defect, ...]:
    """Select defects by size, shape and class.

    Args:
        defects: from ``outline_defects`` at the settings' threshold.
        settings: limits of area and elongation.
        kinds: the selected classes; None = all.
    """
    largest, longest = (settings.upper_limit(name) for name in ("largest", "elongation"))
    return tuple(
        defect
        for defect in defects
        if settings.smallest <= defect.area <= largest
        and defect.elongation <= longest
        and (kinds is None or defect.kind in kinds)
    )


def is_unsure(defect: Defect, widest: float) -> bool:
    """Whether a defect is so wide that a person must decide whether it is damage at all.

    Args:
        defect: the defect.
        widest: ``DetectSettings.upper_limit("widest")``, per cent of the picture's short side.
    """
    return 100 * defect.share > widest


def mask_of(
    seen: DamageMap, defects: Iterable[Defect], settings: DetectSettings, context: JobContext | None = None
) -> Iterator[tuple[Rect, Mask]]:
    """The repair mask of some defects, cell by cell of the ``TILE`` grid; empty cells are left out.

    It covers each defect. If ``settings.grow`` is above 0, it also covers its faint edge (pixels connected with it, not
    below ``_EDGE`` and not far away), and is then enlarged by ``settings.grow``.

    Raises:
        Cancelled: the context was cancelled.
    """
    used, bounds = context or JobContext(), Rect.of_shape(seen.shape)
    edge = _edge_reach(seen.shape) if settings.grow > 0 else 0
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
    """The pixels of one defect in its box, (h, w), 255 = damaged.

    Args:
        seen: what a detection saw.
        defect: one that was outline_defects at this threshold.
        threshold: 0..1.
    """
    inside = seen.read(defect.box)[..., 0] >= _lowest(threshold)
    _, labels = cv2.connectedComponents(inside.astype(np.uint8), connectivity=8)
    x, y = defect.outline[0]
    number = labels[y - defect.box.top, x - defect.box.left]
    return np.where((labels == number) & inside, np.uint8(255), np.uint8(0))


def _edge_reach(shape: tuple[int, ...]) -> int:
    """Largest width of the faint edge of a defect, pixels; grows with the resolution of the scan."""
    return max(2, round(min(shape[:2]) / 250))


def _grow_within(mask: Mask, allowed: NDArray[np.bool_], steps: int) -> Mask:
    """Grow a mask by one pixel ``steps`` times, into allowed pixels only (geodesic dilation)."""
    limit = np.maximum(mask, np.where(allowed, np.uint8(255), np.uint8(0)))
    for _ in range(steps):
        grown = np.minimum(cv2.dilate(mask, np.ones((3, 3), np.uint8)), limit)
        if np.array_equal(grown, mask):
            break
        mask = np.asarray(grown, np.uint8)
    return mask


def _probability_around(seen: DamageMap, rect: Rect, bounds: Rect) -> NDArray[np.uint8]:
    """The probability (h, w) uint8 in a rectangle; 0 beyond the picture."""
    inside = rect & bounds
    probability = np.zeros((rect.height, rect.width), np.uint8)
    probability[inside.slices(rect)] = seen.read(inside)[..., 0]
    return probability


def _lowest(threshold: float) -> int:
    """The 8-bit probability down to which a defect extends."""
    return _to_8bit(min(_LIKELY, _EXTENT * threshold))


def _to_8bit(probability: float) -> int:
    """A probability 0..1 as 8 bit, at least 1."""
    return max(1, round(255 * probability))


def _connected_cells(occupied: list[Rect]) -> list[list[Rect]]:
    """Group cells that touch, also at corners: no defect extends from one group to another."""
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
    inside = (values[..., 0] >= _lowest(threshold)).astype(np.uint8)
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
        if kind in THIN_OR_SMALL and set(SHAPES) <= set(labels):
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
    """The class of a damage by its shape, one of ``SHAPES``: for models without classes, and for ``THIN_OR_SMALL``.

    A damage at least ``LONG`` times as long as wide, whose box is long compared with its width, is a scratch if it is
    nearly straight, else a hair. A damage wider than ``WIDE`` of the picture's short side is a stain (losses have the
    same shape). All others are dust.

    Args:
        area: pixels.
        elongation: length over width (``Defect.elongation``).
        width: at its thickest place, pixels.
        diagonal: of its bounding box, pixels.
        short: short side of the picture, pixels.
    """
    if elongation >= LONG and diagonal >= 0.5 * LONG * width:
        return "scratch" if diagonal >= STRAIGHT * math.sqrt(area * elongation) else "hair"
    return "stain" if width > WIDE * short else "dust"


def _widths(inside: NDArray[np.uint8], numbers: NDArray[np.int32], count: int) -> NDArray[np.float32]:
    """For each of ``count`` labels the diameter of its largest inscribed disc, (count,) pixels."""
    away = cv2.distanceTransform(np.pad(inside, 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    widths, where = np.zeros(count, np.float32), inside > 0
    np.maximum.at(widths, numbers[where], away[where])
    # In a line one pixel wide the distance to the outside is 1.
    return np.asarray(2 * widths - 1, np.float32)


def _sum_by_label(
    numbers: NDArray[np.int32], values: DamagePixels, count: int, classes: int
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """For each of ``count`` labels the summed probability of each class (count, classes), and the highest (count,)."""
    probability, kinds = values[:, 0], values[:, 1].astype(np.intp)
    sums = np.bincount(numbers * classes + kinds, probability, minlength=count * classes)
    surest = np.zeros(count, np.uint8)
    np.maximum.at(surest, numbers, probability)
    return np.asarray(sums.reshape(count, classes), np.float64), surest


def _elongation(perimeter: float, area: int) -> float:
    """Length over width of the rectangle with this area and perimeter; the perimeter runs through pixel centres."""
    half = perimeter / 2 + 2
    spread = math.sqrt(max(0.0, half**2 - 4 * area))
    return (half + spread) / max(1e-6, half - spread)
