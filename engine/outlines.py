"""The defects of a search: their outlines at a threshold, and the decisions about each. No Qt here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.jobs import JobContext
from engine.raster import TILE, Rect
from engine.review import Filters, Judgement, Point, Review, Verdict
from engine.tiles import Cell, TileDelta, TileMap, compact

if TYPE_CHECKING:
    from engine.record import Repair
    from engine.tasks import Defect, DetectSettings, Findings


class Order(Enum):
    """The order in which defects are listed."""

    READING = "reading"
    SIZE = "size"
    SCORE = "score"

    @property
    def title(self) -> str:
        """The words in the interface."""
        return {
            Order.READING: "Reading order",
            Order.SIZE: "Largest first",
            Order.SCORE: "Surest first",
        }[self]


@dataclass(frozen=True)
class JudgedDefect:
    """A defect with the decision about it.

    Attributes:
        defect: as it was outlined.
        verdict: the decision.
        kind: its class: the restorer's, otherwise the detected one.
        unsure: whether it is so wide that it is healed only once the restorer accepted it.
    """

    defect: Defect
    verdict: Verdict
    kind: str
    unsure: bool = False

    @property
    def point(self) -> Point:
        """The pixel that identifies it: the first of its outline."""
        return self.defect.outline[0]

    @property
    def undecided(self) -> bool:
        """Whether it is unsure, and the restorer has not decided about it."""
        return self.unsure and self.verdict is Verdict.TO_DO


@dataclass(frozen=True)
class Outlines:
    """The defects of a damage map at one threshold.

    Attributes:
        damage, threshold: what was outlined.
        items: the defects in reading order, of any size, with nothing decided.
        rows: identifying pixel -> index in ``items``.
        about: point of a judgement made at another threshold -> indices of further defects to which it applies.
        known: the judgements for which ``about`` was computed. It is not valid for judgements that were replaced since.
    """

    damage: TileMap
    threshold: float
    items: tuple[JudgedDefect, ...]
    rows: Mapping[Point, int]
    about: Mapping[Point, tuple[int, ...]]
    known: Mapping[Point, Judgement]

    def belongs_to(self, review: Review) -> bool:
        """Whether these are outlines of the review's search, in the same orientation."""
        mine, its = self.damage.stored, review.damage.stored
        if self.damage is review.damage:
            return True
        same_cells = self.damage.shape == review.damage.shape and mine.keys() == its.keys()
        return same_cells and all(tile is its[cell] for cell, tile in mine.items())

    def is_up_to_date(self, review: Review) -> bool:
        """Whether search, threshold and judgements of a review are those that were outlined."""
        # A new judgement at the identifying pixel of a defect, at this threshold or a higher one, applies only to it.
        known = all(
            self.known.get(point) is one or (point in self.rows and one.threshold >= self.threshold)
            for point, one in review.judgements.items()
        )
        return self.belongs_to(review) and self.threshold == review.filters.threshold and known

    def others(self, point: Point, judgement: Judgement | None) -> tuple[int, ...]:
        """Indices of the defects to which a judgement applies, besides the one identified by its point."""
        return self.about.get(point, ()) if judgement is not None and self.known.get(point) is judgement else ()


def review_of(findings: Findings, settings: DetectSettings, search: Repair, id_: int, recipe: str = "") -> Review:
    """The review of a search, with nothing decided.

    Args:
        findings: what the search saw.
        settings: of the search; they are the filters to begin with.
        search: its entry in the record.
        id_: of the review.
        recipe: see ``Review.recipe``.
    """
    damage = TileMap.empty(findings.shape, np.uint8)
    edit = damage.edit()
    for rect, seen in findings.pieces:
        edit.write(rect, seen)
    filters = Filters(**{field.name: getattr(settings, field.name) for field in fields(settings)})
    return Review(id_, edit.commit().apply_to(damage), findings.labels, filters, search=search, recipe=recipe)


def outline_defects(review: Review, context: JobContext | None = None) -> Outlines:
    """Outline the defects of a review, and assign its judgements to them. Any thread; may take long.

    Raises:
        Cancelled: the context was cancelled.
    """
    from engine import tasks

    context, threshold = context or JobContext(), detect_settings(review.filters).threshold
    found = tasks.outline_defects(review.damage, review.labels, threshold, context.part(0.0, 0.8))
    defects = sorted(found, key=_reading_order)
    items = tuple(JudgedDefect(defect, Verdict.TO_DO, defect.kind) for defect in defects)
    rows = {item.point: row for row, item in enumerate(items)}
    about = _judged_rows(review, defects, threshold, context.part(0.8, 1.0))
    return Outlines(review.damage, review.filters.threshold, items, rows, about, review.judgements)


def judged_defects(outlines: Outlines, review: Review) -> list[JudgedDefect]:
    """All defects with the decisions about them; of several judgements about one, the latest applies."""
    from engine.tasks import is_unsure

    widest = detect_settings(review.filters).upper_limit("widest")
    items = [replace(item, unsure=True) if is_unsure(item.defect, widest) else item for item in outlines.items]
    for point, judgement in review.judgements.items():
        own = outlines.rows.get(point)
        for row in (*outlines.others(point, judgement), *(() if own is None else (own,))):
            item = items[row]
            items[row] = replace(item, verdict=judgement.verdict, kind=judgement.kind or item.defect.kind)
    return items


def matching_rows(outlines: Outlines, filters: Filters) -> list[int]:
    """Indices in ``outlines.items`` of the defects whose size and shape are within the filters' limits."""
    from engine.tasks import sift

    matching = sift((item.defect for item in outlines.items), detect_settings(filters))
    return [outlines.rows[defect.outline[0]] for defect in matching]


def listed_defects(outlines: Outlines, review: Review) -> list[JudgedDefect]:
    """The defects that the review's filters list, in reading order, with the decisions about them."""
    items = judged_defects(outlines, review)
    listed = [items[row] for row in matching_rows(outlines, review.filters)]
    return [item for item in listed if item.kind not in review.filters.without]


def sorted_defects(items: list[JudgedDefect], order: Order) -> list[JudgedDefect]:
    """Defects in another order; they are given in reading order."""
    if order is Order.SIZE:
        return sorted(items, key=lambda item: -item.defect.area)
    return sorted(items, key=lambda item: -item.defect.score) if order is Order.SCORE else items


def defects_to_heal(items: Iterable[JudgedDefect]) -> list[JudgedDefect]:
    """The accepted defects; as long as nothing is decided, all that are not unsure."""
    items = list(items)
    if all(item.verdict is Verdict.TO_DO for item in items):
        return [item for item in items if not item.unsure]
    return [item for item in items if item.verdict is Verdict.ACCEPTED]


def judgements_of(items: Iterable[JudgedDefect], threshold: float) -> dict[Point, Judgement]:
    """Judgements with the verdicts and classes of some defects, by their points.

    Args:
        items: the defects.
        threshold: at which they were outlined.
    """
    return {
        item.point: Judgement(
            item.verdict, item.defect.box, threshold, item.kind if item.kind != item.defect.kind else None
        )
        for item in items
    }


def linked_defects(outlines: Outlines, review: Review, items: Sequence[JudgedDefect]) -> list[JudgedDefect]:
    """Further defects to which the judgements of some defects apply, with their current decisions.

    A judgement that was made at a lower threshold can apply to several of the defects listed now. If it is replaced by
    one about a single defect, the others must be judged again as they were, or they lose their verdict.
    """
    now, own = judged_defects(outlines, review), {outlines.rows[item.point] for item in items}
    rows = {row for item in items for row in outlines.others(item.point, review.judgements.get(item.point))}
    return [now[row] for row in sorted(rows - own)]


def covered_share(items: Iterable[JudgedDefect], grow: float, bounds: Rect) -> float:
    """Estimated share of a picture that some defects cover once they are enlarged, 0..1.

    Args:
        items: the defects.
        grow: by how much they are enlarged, pixels.
        bounds: of the picture.
    """
    total = 0.0
    for item in items:
        area, long = item.defect.area, item.defect.elongation
        width, length = math.sqrt(area / long), math.sqrt(area * long)
        total += (width + 2 * grow) * (length + 2 * grow)
    return min(1.0, total / bounds.area)


def detect_settings(filters: Filters) -> DetectSettings:
    """The engine's settings for filters, clamped to their ranges."""
    from engine.tasks import DetectSettings

    hints = {field.name: field.metadata for field in fields(DetectSettings)}
    return DetectSettings(
        **{name: min(hint["high"], max(hint["low"], getattr(filters, name))) for name, hint in hints.items()}
    )


def defect_mask(review: Review, defects: Iterable[Defect], context: JobContext | None = None) -> TileMap:
    """The repair mask (h, w) of some defects, enlarged by ``Filters.grow``. Any thread.

    Args:
        review: with the threshold at which the defects were outlined.
        defects: of this review.
        context: progress and cancellation.

    Raises:
        Cancelled: the context was cancelled.
    """
    from engine.tasks import mask_of

    made = mask_of(review.damage, defects, detect_settings(review.filters), context)
    tiles: dict[Cell, NDArray[Any] | None] = {next(rect.cells()): compact(part) for rect, part in made}
    return TileMap.empty(review.damage.shape[:2], np.uint8).with_tiles(tiles)


def union_delta(mask: TileMap, other: TileMap) -> TileDelta:
    """The change from one mask to the union with another."""
    edit = mask.edit()
    for rect in other.occupied():
        edit.write(rect, np.maximum(mask.read(rect), other.read(rect)))
    return edit.commit()


def _judged_rows(
    review: Review, defects: Sequence[Defect], threshold: float, context: JobContext
) -> dict[Point, tuple[int, ...]]:
    """Point of a judgement -> indices of the defects to which it applies, besides the one identified by the point.

    A defect at a higher threshold than the judgement's is a part of the judged one; one at a lower threshold contains
    it.
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
    """Whether a defect contains a pixel of its box."""
    from engine.tasks import pixels_of

    pixels = pixels_of(damage, defect, threshold)
    return bool(pixels[point[1] - defect.box.top, point[0] - defect.box.left])


def _reading_order(defect: Defect) -> tuple[int, int, int]:
    """Sort key for reading order, in lines of the height of a tile."""
    return defect.box.top // TILE, defect.box.left, defect.box.top
