"""From a search for damage to defects that are judged, filtered and healed. Knows no Qt."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from desktop.document.compose import Composite
from desktop.document.edits import (
    Compound,
    Edit,
    PutReview,
    SetReview,
    Turn,
    turned_review,
    turned_tiles,
    turns_between,
)
from desktop.document.model import Document, Layer
from desktop.document.review import Filters, Judgement, Point, Review, Verdict, placed
from desktop.document.tiles import Cell, TileMap, TilePatch, compact
from desktop.repairs import Outcome, RepairJob, RepairRequest, TaskJob
from engine.jobs import JobContext
from engine.masks import TOO_MUCH
from engine.raster import TILE, Rect

if TYPE_CHECKING:
    from engine.runtime.cards import Registry
    from engine.tasks import Defect, DetectSettings, Findings


class Order(Enum):
    """How defects are listed."""

    READING = "reading order"
    SIZE = "largest first"
    SCORE = "surest first"


@dataclass(frozen=True)
class Item:
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
    items: tuple[Item, ...]
    rows: Mapping[Point, int]
    about: Mapping[Point, tuple[int, ...]]
    known: Mapping[Point, Judgement]

    def shows(self, review: Review) -> bool:
        """Whether it is the same search, lying as it lay."""
        mine, its = self.damage.stored, review.damage.stored
        if self.damage is review.damage:
            return True
        same_cells = self.damage.shape == review.damage.shape and mine.keys() == its.keys()
        return same_cells and all(tile is its[cell] for cell, tile in mine.items())

    def answers(self, review: Review) -> bool:
        """Whether it is all that there is to know of a review."""
        # One that was made at no lower threshold, of a defect's own pixel, is about that defect alone.
        known = all(
            self.known.get(point) is one or (point in self.rows and one.threshold >= self.threshold)
            for point, one in review.judgements.items()
        )
        return self.shows(review) and self.threshold == review.filters.threshold and known

    def others(self, point: Point, judgement: Judgement | None) -> tuple[int, ...]:
        """Places of the defects that a judgement is about beside the one whose pixel it is at."""
        return self.about.get(point, ()) if judgement is not None and self.known.get(point) is judgement else ()


def outlines_of(review: Review, context: JobContext | None = None) -> Outlines:
    """Outline the damage and find out which judgements are about which defect. Any thread; may take long.

    Raises:
        Cancelled: the context was cancelled.
    """
    from engine.tasks import outlined

    context, threshold = context or JobContext(), settings_of(review.filters).threshold
    found = outlined(review.damage, review.labels, threshold, context.part(0.0, 0.8))
    defects = sorted(found, key=_reading)
    items = tuple(Item(defect, Verdict.TO_DO, defect.kind) for defect in defects)
    rows = {item.point: row for row, item in enumerate(items)}
    about = _about(review, defects, threshold, context.part(0.8, 1.0))
    return Outlines(review.damage, review.filters.threshold, items, rows, about, review.judgements)


def items_of(outlines: Outlines, review: Review) -> list[Item]:
    """The defects with what was decided about them; of several judgements about one the latest holds."""
    items = list(outlines.items)
    for point, judgement in review.judgements.items():
        own = outlines.rows.get(point)
        for row in (*outlines.others(point, judgement), *(() if own is None else (own,))):
            defect = items[row].defect
            items[row] = Item(defect, judgement.verdict, judgement.kind or defect.kind)
    return items


def sized(outlines: Outlines, filters: Filters) -> list[int]:
    """The places of the defects whose size and shape count."""
    from engine.tasks import sift

    counting = sift((item.defect for item in outlines.items), settings_of(filters))
    return [outlines.rows[defect.outline[0]] for defect in counting]


def arranged(items: list[Item], order: Order) -> list[Item]:
    """In another order than the reading order that they come in."""
    if order is Order.SIZE:
        return sorted(items, key=lambda item: -item.defect.area)
    return sorted(items, key=lambda item: -item.defect.score) if order is Order.SCORE else items


def to_heal(items: Iterable[Item]) -> list[Item]:
    """The accepted ones; as long as nothing was decided, all."""
    items = list(items)
    untouched = all(item.verdict is Verdict.TO_DO for item in items)
    return items if untouched else [item for item in items if item.verdict is Verdict.ACCEPTED]


def judged(items: Iterable[Item], threshold: float) -> dict[Point, Judgement]:
    """What some defects, which were outlined at a threshold, have as verdict and class, as judgements about them."""
    return {
        item.point: Judgement(
            item.verdict, item.defect.box, threshold, item.kind if item.kind != item.defect.kind else None
        )
        for item in items
    }


def spared(outlines: Outlines, review: Review, items: Sequence[Item]) -> list[Item]:
    """Other defects that the judgements at the pixels of some defects are about, too, as they are now.

    Whoever replaces these judgements has to say of the others what they said of them.
    """
    now, own = items_of(outlines, review), {outlines.rows[item.point] for item in items}
    rows = {row for item in items for row in outlines.others(item.point, review.judgements.get(item.point))}
    return [now[row] for row in sorted(rows - own)]


def share_of(items: Iterable[Item], grow: float, bounds: Rect) -> float:
    """About how much of a picture some defects cover once they are enlarged, 0..1."""
    total = 0.0
    for item in items:
        area, long = item.defect.area, item.defect.elongation
        width, length = math.sqrt(area / long), math.sqrt(area * long)
        total += (width + 2 * grow) * (length + 2 * grow)
    return min(1.0, total / bounds.area)


def settings_of(filters: Filters) -> DetectSettings:
    """The engine's settings for filters; what is out of range is brought into it."""
    from engine.tasks import DetectSettings

    hints = {field.name: field.metadata for field in fields(DetectSettings)}
    return DetectSettings(
        **{name: min(hint["high"], max(hint["low"], getattr(filters, name))) for name, hint in hints.items()}
    )


def mask_tiles(review: Review, defects: Iterable[Defect], context: JobContext | None = None) -> TileMap:
    """The repair mask of some defects, which were outlined at the review's threshold, enlarged as it says."""
    from engine.tasks import mask_of

    made = mask_of(review.damage, defects, settings_of(review.filters), context)
    tiles: dict[Cell, NDArray[Any] | None] = {next(rect.cells()): compact(part) for rect, part in made}
    return TileMap.empty(review.damage.shape[:2], np.uint8).with_tiles(tiles)


def joined(mask: TileMap, other: TileMap) -> TilePatch:
    """What makes both of two masks out of the first."""
    edit = mask.edit()
    for rect in other.occupied():
        edit.write(rect, np.maximum(mask.read(rect), other.read(rect)))
    return edit.commit()


# -- searching ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What a search gives.

    Attributes:
        review: of it, with nothing decided.
        outlines: of it.
        any: whether some threshold shows something.
    """

    review: Review
    outlines: Outlines
    any: bool


class FindJob(TaskJob):
    """A task that gives findings: they replace those of the search before."""

    def freeze(self, active: Layer | None) -> Callable[[JobContext], Outcome]:
        """The whole visible picture is looked at, whatever layer is chosen."""
        from engine.tasks import run_job

        del active
        job, id_ = self._job(Composite.of(self._document.state)), self._document.new_id()
        settings = job.settings
        filters = Filters(**{field.name: getattr(settings, field.name) for field in fields(settings)})  # type: ignore[arg-type]

        def work(context: JobContext) -> Outcome:
            findings: Findings = run_job(job, context.part(0.0, 0.9))
            review = Review(id_, _damage(findings), findings.labels, filters)
            # A threshold cannot be lower than what may be set.
            lowest = round(255 * fields(settings)[0].metadata["low"])  # type: ignore[arg-type]
            seen = any(tile[..., 0].max() >= lowest for tile in review.damage.stored.values())
            outlines = outlines_of(review, context.part(0.9, 1.0))
            return Outcome(Found(review, outlines, seen), findings.device.value)

        return work

    def edit(self, outcome: Outcome) -> tuple[Edit | None, int | None]:
        """No step where nothing can be shown; the search before stays then."""
        found: Found = outcome.result
        if not found.any:
            return None, None
        review, state = found.review, self._document.state
        for name in turns_between(self._frozen, state.turns):
            review = turned_review(review, Turn[name])
        return PutReview(self.task.verb + self._with, state, review), None


def found_sentence(outcome: Outcome) -> str:
    """What a search found, for the restorer; empty for another task."""
    found = outcome.result
    if not isinstance(found, Found):
        return ""
    if not found.any:
        return "No damage was found."
    filters = found.review.filters
    items = [found.outlines.items[row] for row in sized(found.outlines, filters)]
    if not items:
        return "No damage was found at this threshold. A lower one finds more."
    kinds = Counter(item.kind for item in items).most_common()
    listed = ", ".join(f"{count} {_plural(kind) if count > 1 else kind}" for kind, count in kinds)
    what = f"{len(items)} {'defects' if len(items) > 1 else 'defect'}: {listed}"
    share = share_of(items, filters.grow, found.review.damage.bounds)
    if share > TOO_MUCH:
        return f"Found {what}. {round(share * 100)} % of the picture counts as damaged; a higher threshold finds less."
    return f"Found {what}. Look through them, or heal them all."


def _plural(kind: str) -> str:
    """Dust is not counted."""
    if kind == "dust":
        return kind
    return kind + ("es" if kind.endswith(("s", "x", "ch", "sh")) else "s")


def _damage(findings: Findings) -> TileMap:
    damage = TileMap.empty(findings.shape, np.uint8)
    edit = damage.edit()
    for rect, seen in findings.pieces:
        edit.write(rect, seen)
    return edit.commit().applied(damage)


# -- healing ------------------------------------------------------------------------------------------------------


class HealDefects(RepairJob):
    """Some defects healed together, on one new layer above all; in the same step they count as healed.

    Args:
        document, request, registry: see ``TaskJob``.
        review: as the defects were outlined.
        items: the defects.
        spared: see ``spared``; of those that nobody decides about meanwhile it is written down.
    """

    def __init__(
        self,
        document: Document,
        request: RepairRequest,
        registry: Registry,
        review: Review,
        items: Sequence[Item],
        spared: Sequence[Item],
    ) -> None:
        super().__init__(document, replace(request, new_layer=True), None, registry=registry)
        self._review, self._items, self._spared, self._asked = review, items, spared, document.state.turns

    def freeze(self, active: Layer | None) -> Callable[[JobContext], Outcome]:
        """All that is visible is read, as the search did; the mask is made by the worker, too."""
        from engine.tasks import run_job

        del active
        job, review, defects = self._prepared(None), self._review, [item.defect for item in self._items]
        turns = [Turn[name] for name in turns_between(self._asked, self._frozen)]

        def work(context: JobContext) -> Outcome:
            mask = mask_tiles(review, defects, context.part(0.0, 0.1))
            for turn in turns:
                mask = turned_tiles(mask, turn)
            masked = replace(job, mask=mask)
            patch = run_job(masked, context.part(0.1, 1.0))
            return Outcome(patch, patch.device.value, patch.repair(masked))

        return work

    def edit(self, outcome: Outcome) -> tuple[Edit | None, int | None]:
        """When another search was made meanwhile, the layer comes all the same."""
        edit, chosen = super().edit(outcome)
        state, label = self._document.state, "Heal defects" + self._with
        assert edit is not None
        steps = [edit]
        if state.review is not None and state.review.id == self._review.id:
            before = {p: one for p, one in self._now(self._spared).items() if p not in state.review.judgements}
            healed = self._now([replace(item, verdict=Verdict.HEALED) for item in self._items])
            steps.append(SetReview(label, state.review, judgements=before | healed))
        return Compound(label, steps), chosen

    def _now(self, items: Sequence[Item]) -> dict[Point, Judgement]:
        """Judgements as they are about the picture as it lies now."""
        result: Mapping[Point, Judgement] = judged(items, self._review.filters.threshold)
        bounds = self._review.damage.bounds
        for turn in (Turn[name] for name in turns_between(self._asked, self._document.state.turns)):
            result = placed(result, _placing(turn, bounds))
            bounds = turn.rect(bounds, bounds)
        return dict(result)


def _placing(turn: Turn, bounds: Rect) -> Callable[[Rect], Rect]:
    return lambda rect: turn.rect(rect, bounds)


# -- judgements at another threshold ------------------------------------------------------------------------------


def _about(
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
            rows = [row for row in np.flatnonzero(near).tolist() if _holds(damage, defects[row], threshold, (x, y))]
        else:
            continue
        about[x, y] = tuple(rows)
    return about


def _holds(damage: TileMap, defect: Defect, threshold: float, point: Point) -> bool:
    from engine.tasks import pixels_of

    pixels = pixels_of(damage, defect, threshold)
    return bool(pixels[point[1] - defect.box.top, point[0] - defect.box.left])


def _reading(defect: Defect) -> tuple[int, int, int]:
    """Line by line as a page is read, not pixel row by pixel row."""
    return defect.box.top // TILE, defect.box.left, defect.box.top
