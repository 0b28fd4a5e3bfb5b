"""The defects of a search: their outlines at a threshold, and what was decided about each. Knows no Qt."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from desktop.document.review import Filters, Judgement, Point, Review, Verdict
from desktop.document.tiles import Cell, TileDelta, TileMap, compact
from engine.jobs import JobContext
from engine.raster import TILE, Rect

if TYPE_CHECKING:
    from engine.tasks import Defect, DetectSettings


class Order(Enum):
    """How defects are listed."""

    READING = "reading"
    SIZE = "size"
    SCORE = "score"

    @property
    def title(self) -> str:
        """For a person."""
        return {
            Order.READING: "Reading order",
            Order.SIZE: "Largest first",
            Order.SCORE: "Surest first",
        }[self]


@dataclass(frozen=True)
class JudgedDefect:
    """A defect with what was decided about it."""

    defect: Defect
    verdict: Verdict
    kind: str

    @property
    def point(self) -> Point:
        """One of its pixels, by which it is known."""
        return self.defect.outline[0]


@dataclass(frozen=True)
class Outlines:
    """The defects of a map at one threshold.

    Attributes:
        damage, threshold: what was outlined.
        items: the defects in reading order, whatever their size, with nothing decided.
        rows: their places by their pixels.
        about: a judgement that was made at another threshold -> places of the defects it is about, too.
        known: the judgements that were looked at; what is said above of one that was replaced since does not hold.
    """

    damage: TileMap
    threshold: float
    items: tuple[JudgedDefect, ...]
    rows: Mapping[Point, int]
    about: Mapping[Point, tuple[int, ...]]
    known: Mapping[Point, Judgement]

    def belongs_to(self, review: Review) -> bool:
        """Whether these are outlines of the review's search, and the picture lies as it did."""
        mine, its = self.damage.stored, review.damage.stored
        if self.damage is review.damage:
            return True
        same_cells = self.damage.shape == review.damage.shape and mine.keys() == its.keys()
        return same_cells and all(tile is its[cell] for cell, tile in mine.items())

    def is_up_to_date(self, review: Review) -> bool:
        """Whether outlining the review anew would give the same: its search, its threshold, its judgements."""
        # One that was made at no lower threshold, of a defect's own pixel, is about that defect alone.
        known = all(
            self.known.get(point) is one or (point in self.rows and one.threshold >= self.threshold)
            for point, one in review.judgements.items()
        )
        return self.belongs_to(review) and self.threshold == review.filters.threshold and known

    def others(self, point: Point, judgement: Judgement | None) -> tuple[int, ...]:
        """Places of the defects that a judgement is about beside the one whose pixel it is at."""
        return self.about.get(point, ()) if judgement is not None and self.known.get(point) is judgement else ()


def outline_defects(review: Review, context: JobContext | None = None) -> Outlines:
    """Outline the damage and find out which judgements are about which defect. Any thread; may take long.

    Raises:
        Cancelled: the context was cancelled.
    """
    from engine.tasks import outlined

    context, threshold = context or JobContext(), detect_settings(review.filters).threshold
    found = outlined(review.damage, review.labels, threshold, context.part(0.0, 0.8))
    defects = sorted(found, key=_reading_order)
    items = tuple(JudgedDefect(defect, Verdict.TO_DO, defect.kind) for defect in defects)
    rows = {item.point: row for row, item in enumerate(items)}
    about = _judged_rows(review, defects, threshold, context.part(0.8, 1.0))
    return Outlines(review.damage, review.filters.threshold, items, rows, about, review.judgements)


def judged_defects(outlines: Outlines, review: Review) -> list[JudgedDefect]:
    """The defects with what was decided about them; of several judgements about one the latest holds."""
    items = list(outlines.items)
    for point, judgement in review.judgements.items():
        own = outlines.rows.get(point)
        for row in (*outlines.others(point, judgement), *(() if own is None else (own,))):
            defect = items[row].defect
            items[row] = JudgedDefect(defect, judgement.verdict, judgement.kind or defect.kind)
    return items


def matching_rows(outlines: Outlines, filters: Filters) -> list[int]:
    """The places of the defects whose size and shape are within the filters' limits."""
    from engine.tasks import sift

    matching = sift((item.defect for item in outlines.items), detect_settings(filters))
    return [outlines.rows[defect.outline[0]] for defect in matching]


def sorted_defects(items: list[JudgedDefect], order: Order) -> list[JudgedDefect]:
    """Defects, which come in reading order, in another order."""
    if order is Order.SIZE:
        return sorted(items, key=lambda item: -item.defect.area)
    return sorted(items, key=lambda item: -item.defect.score) if order is Order.SCORE else items


def defects_to_heal(items: Iterable[JudgedDefect]) -> list[JudgedDefect]:
    """The accepted ones; as long as nothing was decided, all."""
    items = list(items)
    untouched = all(item.verdict is Verdict.TO_DO for item in items)
    return items if untouched else [item for item in items if item.verdict is Verdict.ACCEPTED]


def judgements_of(items: Iterable[JudgedDefect], threshold: float) -> dict[Point, Judgement]:
    """The verdicts and classes of some defects, which were outlined at a threshold, as judgements about them."""
    return {
        item.point: Judgement(
            item.verdict, item.defect.box, threshold, item.kind if item.kind != item.defect.kind else None
        )
        for item in items
    }


def linked_defects(outlines: Outlines, review: Review, items: Sequence[JudgedDefect]) -> list[JudgedDefect]:
    """Further defects that the judgements of some defects are about, with what is decided about them now.

    A judgement that was made at a lower threshold can be about several of today's defects. Whoever replaces it by one
    about a single defect must judge the others as they were, or they would lose their verdict.
    """
    now, own = judged_defects(outlines, review), {outlines.rows[item.point] for item in items}
    rows = {row for item in items for row in outlines.others(item.point, review.judgements.get(item.point))}
    return [now[row] for row in sorted(rows - own)]


def covered_share(items: Iterable[JudgedDefect], grow: float, bounds: Rect) -> float:
    """About how much of a picture some defects cover once they are enlarged, 0..1."""
    total = 0.0
    for item in items:
        area, long = item.defect.area, item.defect.elongation
        width, length = math.sqrt(area / long), math.sqrt(area * long)
        total += (width + 2 * grow) * (length + 2 * grow)
    return min(1.0, total / bounds.area)


def detect_settings(filters: Filters) -> DetectSettings:
    """The engine's settings for filters; what is out of range is brought into it."""
    from engine.tasks import DetectSettings

    hints = {field.name: field.metadata for field in fields(DetectSettings)}
    return DetectSettings(
        **{name: min(hint["high"], max(hint["low"], getattr(filters, name))) for name, hint in hints.items()}
    )


def defect_mask(review: Review, defects: Iterable[Defect], context: JobContext | None = None) -> TileMap:
    """The repair mask of some defects, which were outlined at the review's threshold, enlarged as it says."""
    from engine.tasks import mask_of

    made = mask_of(review.damage, defects, detect_settings(review.filters), context)
    tiles: dict[Cell, NDArray[Any] | None] = {next(rect.cells()): compact(part) for rect, part in made}
    return TileMap.empty(review.damage.shape[:2], np.uint8).with_tiles(tiles)


def union_delta(mask: TileMap, other: TileMap) -> TileDelta:
    """What changes the first of two masks into both together."""
    edit = mask.edit()
    for rect in other.occupied():
        edit.write(rect, np.maximum(mask.read(rect), other.read(rect)))
    return edit.commit()


def _judged_rows(
    review: Review, defects: Sequence[Defect], threshold: float, context: JobContext
) -> dict[Point, tuple[int, ...]]:
    """Judgements -> places of the defects that they are about, but for the defect whose own pixel it is.

    A defect at a higher threshold is a part of the one that was judged; one at a lower threshold holds it.
    """
    from engine.tasks import Defect, pixels_of

    damage, own = review.damage, {defect.outline[0] for defect in defects}
    boxes = np.array([astuple(defect.box) for defect in defects], np.int64).reshape(-1, 4)
    points = np.array([defect.outline[0] for defect in defects], np.int64).reshape(-1, 2)
    about = {}
    for (x, y), judgement in review.judgements.items():
        context.check()
        box = judgement.box
        if judgement.threshold < threshold:
            whole = pixels_of(damage, Defect("", 0.0, box, 0, ((x, y),)), judgement.threshold)
            near = (points >= (box.left, box.top)).all(axis=1) & (points < (box.right, box.bottom)).all(axis=1)
            rows = [
                row
                for row in np.flatnonzero(near).tolist()
                if whole[points[row, 1] - box.top, points[row, 0] - box.left]
            ]
        elif (x, y) not in own:
            near = (boxes[:, :2] <= (x, y)).all(axis=1) & (boxes[:, 2:] > (x, y)).all(axis=1)
            rows = [row for row in np.flatnonzero(near).tolist() if _contains(damage, defects[row], threshold, (x, y))]
        else:
            continue
        about[x, y] = tuple(rows)
    return about


def _contains(damage: TileMap, defect: Defect, threshold: float, point: Point) -> bool:
    from engine.tasks import pixels_of

    pixels = pixels_of(damage, defect, threshold)
    return bool(pixels[point[1] - defect.box.top, point[0] - defect.box.left])


def _reading_order(defect: Defect) -> tuple[int, int, int]:
    """Line by line as a page is read, not pixel row by pixel row."""
    return defect.box.top // TILE, defect.box.left, defect.box.top
