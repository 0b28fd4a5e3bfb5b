"""The defects of one photograph: list and order, current and selected defects, and decisions about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from PySide6.QtCore import QObject, Signal

from desktop.document.edits import Compound, Paint, ReplaceReview, UpdateReview
from desktop.document.targets import REPAIR_MASK
from desktop.language import sentence_of
from desktop.photo.editor import Editor
from desktop.work.base import Urgency
from desktop.work.threads import Lane, Ticket, Work
from engine.errors import EngineError
from engine.jobs import JobContext
from engine.outlines import (
    JudgedDefect,
    Order,
    Outlines,
    covered_share,
    defect_mask,
    defects_to_heal,
    judged_defects,
    judgements_of,
    linked_defects,
    matching_rows,
    outline_defects,
    sorted_defects,
    union_delta,
)
from engine.raster import Rect
from engine.review import Filters, Point, Review, Verdict
from engine.tiles import TileMap


class DefectList(QObject):
    """The listed defects of one photograph. GUI thread; a worker outlines them.

    Attributes:
        items: the defects that pass the filters, in the listed order.
        to_heal: those of them that would be healed now.
        counts: their numbers by verdict.
        kinds: the numbers of defects by class, also of classes that are filtered out.

    Signals:
        changed: one of these attributes or the review changed.
        selection_changed: other defects were selected.
        reveal_requested: the view should show a defect; carries its JudgedDefect.
    """

    changed = Signal()
    selection_changed = Signal()
    reveal_requested = Signal(object)

    def __init__(self, editor: Editor) -> None:
        super().__init__(editor)
        self._editor = editor
        editor.review_changed.connect(self.refresh)
        self._outlines: Outlines | None = None
        self._ticket: Ticket | None = None
        self._current: Point | None = None
        self._chosen: frozenset[Point] = frozenset()
        self._place: tuple[Rect, int] | None = None
        self._rows: dict[Point, int] = {}
        self._matching: tuple[Outlines, Filters, list[int]] | None = None
        self.order = Order.READING
        self.items: list[JudgedDefect] = []
        self.to_heal: list[JudgedDefect] = []
        self.counts: Counter[Verdict] = Counter()
        self.kinds: Counter[str] = Counter()

    @property
    def review(self) -> Review | None:
        """The document's review; None without one."""
        return self._editor.document.state.review

    @property
    def outlining(self) -> bool:
        """Whether a job to outline the defects is waiting or running."""
        return self._ticket is not None

    @property
    def outlines(self) -> Outlines | None:
        """The outlines of the review as it is now; None while they are made."""
        review, outlines = self.review, self._outlines
        return outlines if review is not None and outlines is not None and outlines.is_up_to_date(review) else None

    # -- following the document -------------------------------------------------------------------------------

    def set_outlines(self, outlines: Outlines) -> None:
        """Use outlines that were computed with a search. Called before the document gets its review."""
        self._outlines, self._place = outlines, None

    def refresh(self) -> None:
        """List the defects of the document's current review; outlines them if necessary."""
        review = self.review
        if self._editor.closed:
            return
        if review is None or (self._outlines is not None and not self._outlines.belongs_to(review)):
            self._outlines = self._place = None
        if review is not None and (self._outlines is None or not self._outlines.is_up_to_date(review)):
            self._outline()
        self._rebuild()

    def _outline(self) -> None:
        """Queue a job that outlines the defects, unless one is queued; later changes are handled when it is done."""
        if self._ticket is not None:
            return

        def prepare() -> Work:
            review = self.review

            def work(context: JobContext) -> Outlines | None:
                return outline_defects(review, context) if review is not None else None

            return work

        self._ticket = self._editor.submit("Outlining the defects", Lane.IO, prepare, soon=True)
        self._ticket.done.connect(self._on_outlined)
        # A cancelled job is started again if the list is out of date.
        self._ticket.cancelled.connect(lambda: self._on_outlined(None))
        self._ticket.failed.connect(self._on_failed)
        self._ticket.crashed.connect(lambda _: self._on_failed(None))

    def _on_outlined(self, outlines: Outlines | None) -> None:
        self._ticket = None
        if outlines is not None:
            self._outlines = outlines
        self.refresh()

    def _on_failed(self, error: EngineError | None) -> None:
        self._ticket = None
        if error is not None and not self._editor.closed:
            self._editor.message.emit(f"The defects could not be outlined. {sentence_of(error)}")

    def _rebuild(self) -> None:
        """Compute the list again."""
        review, outlines = self.review, self._outlines
        of_all_kinds: list[JudgedDefect] = []
        without: frozenset[str] = frozenset()
        if review is not None and outlines is not None:
            items, without = judged_defects(outlines, review), review.filters.without
            of_all_kinds = [items[row] for row in self._matching_rows(outlines, review.filters)]
        self.items = sorted_defects([item for item in of_all_kinds if item.kind not in without], self.order)
        self.to_heal = defects_to_heal(self.items)
        self.counts = Counter(item.verdict for item in self.items)
        self.kinds = Counter(item.kind for item in of_all_kinds)
        self._rows = {item.point: row for row, item in enumerate(self.items)}
        self._keep_place()
        self.changed.emit()

    def _keep_place(self) -> None:
        """If the current defect is no longer listed, choose one that overlaps it, or the one at its row."""
        if not self.items or self._place is None:
            return
        box, row = self._place
        left = self.selected_rows
        if self._current not in self._rows and left:
            self._current = self.items[left[0]].point
        elif self._current not in self._rows:
            near = [item for item in self.items if item.defect.box & box]
            alike = max(near, key=lambda item: _overlap(item.defect.box, box), default=None)
            self._current = (alike or self.items[min(row, len(self.items) - 1)]).point
            self._chosen = frozenset((self._current,))
        self._remember_place()

    def _remember_place(self) -> None:
        item, row = self.current, self.row
        self._place = (item.defect.box, row) if item is not None and row is not None else None

    def _matching_rows(self, outlines: Outlines, filters: Filters) -> list[int]:
        """Indices of the defects that pass the filters; cached until the filters change."""
        key = outlines, replace(filters, without=frozenset(), threshold=outlines.threshold)
        if self._matching is None or self._matching[0] is not key[0] or self._matching[1] != key[1]:
            self._matching = *key, matching_rows(*key)
        return self._matching[2]

    def set_order(self, order: Order) -> None:
        """List the defects in another order."""
        self.order = order
        self._rebuild()

    # -- going through them -----------------------------------------------------------------------------------

    @property
    def current(self) -> JudgedDefect | None:
        """The current defect; None without one."""
        row = self.row
        return self.items[row] if row is not None else None

    @property
    def row(self) -> int | None:
        """Its index in ``items``."""
        return self._rows.get(self._current) if self._current is not None else None

    @property
    def selected_rows(self) -> list[int]:
        """Indices in ``items`` of the selected defects, to which decisions apply."""
        return sorted(self._rows[point] for point in self._chosen if point in self._rows)

    def is_selected(self, item: JudgedDefect) -> bool:
        """Whether a defect is selected."""
        return item.point in self._chosen

    @property
    def selected(self) -> list[JudgedDefect]:
        """The selected defects, in the order of the list."""
        return [self.items[row] for row in self.selected_rows]

    def choose(self, item: JudgedDefect, *, go: bool = True) -> None:
        """Make a defect the current and only selected one; ``go``: also show it in the view."""
        self.select([item], item)
        if go:
            self.reveal_requested.emit(item)

    def select(self, items: Iterable[JudgedDefect], current: JudgedDefect) -> None:
        """Select several defects, one of which becomes the current one."""
        self._current, self._chosen = current.point, frozenset(item.point for item in items)
        self._remember_place()
        self.selection_changed.emit()

    def step(self, by: int) -> bool:
        """Go to the next (1) or previous (-1) defect that is not healed, with wrap-around; False when there is none."""
        return self._go(by, lambda item: item.verdict is not Verdict.HEALED)

    def go_to_first(self) -> bool:
        """Go to the first defect that is to do, or else to the first; False when there is none."""
        to_do = self._go(1, lambda item: item.verdict is Verdict.TO_DO, -1)
        return to_do or self._go(1, lambda _: True, -1)

    def _go(self, by: int, wanted: Callable[[JudgedDefect], bool], start: int | None = None) -> bool:
        count, start = len(self.items), self.row if start is None else start
        start = start if start is not None else (-1 if by > 0 else count)
        for distance in range(1, count + 1):
            item = self.items[(start + by * distance) % count]
            if wanted(item):
                self.choose(item)
                return True
        return False

    # -- deciding ---------------------------------------------------------------------------------------------

    def judge(self, verdict: Verdict, label: str) -> bool:
        """Decide about the selected defects and go to the next that is to do; False when there is none left."""
        items = self.selected
        others = [replace(item, verdict=verdict) for item in items if item.verdict is not verdict]
        self._judge(others, label if len(others) < 2 else f"{label} ({len(others)})")
        last = self._rows.get(items[-1].point) if items else None
        return self._go(1, lambda other: other.verdict is Verdict.TO_DO, last)

    @property
    def acceptable(self) -> list[JudgedDefect]:
        """The defects that can be accepted all at once: those to do that are not unsure."""
        return [item for item in self.items if item.verdict is Verdict.TO_DO and not item.unsure]

    def accept_all(self) -> None:
        """Accept the ``acceptable`` defects."""
        accepted = [replace(item, verdict=Verdict.ACCEPTED) for item in self.acceptable]
        self._judge(accepted, "Accept all defects")

    def keep_rest(self) -> None:
        """Keep as they are all defects that are to do."""
        kept = [replace(item, verdict=Verdict.KEPT) for item in self.items if item.verdict is Verdict.TO_DO]
        self._judge(kept, "Keep the rest as it is")

    @property
    def reopenable(self) -> list[JudgedDefect]:
        """The selected defects whose decision can be taken back; a healed one is taken back by undo."""
        return [item for item in self.selected if item.verdict in (Verdict.ACCEPTED, Verdict.KEPT)]

    def reopen(self) -> None:
        """Take back the decisions about the ``reopenable`` defects, which stay selected."""
        items = [replace(item, verdict=Verdict.TO_DO) for item in self.reopenable]
        label = "To do again"
        self._judge(items, label if len(items) < 2 else f"{label} ({len(items)})")

    def set_kind(self, kind: str) -> None:
        """Give the selected defects another class."""
        others = [replace(item, kind=kind) for item in self.selected if item.kind != kind]
        self._judge(others, f"Change class to {kind}")

    def _judge(self, items: list[JudgedDefect], label: str) -> None:
        review, outlines = self.review, self._outlines
        if items and review is not None and outlines is not None:
            decided = judgements_of([*self.linked_defects(items), *items], outlines.threshold)
            self._editor.push(UpdateReview(label, review, judgements=decided))

    def linked_defects(self, items: Sequence[JudgedDefect]) -> list[JudgedDefect]:
        """See ``outlines.linked_defects``."""
        review, outlines = self.review, self._outlines
        return linked_defects(outlines, review, items) if review is not None and outlines is not None else []

    def filter(self, filters: Filters, gesture: int = 0) -> None:
        """Change the filters; see ``UpdateReview`` for the gesture."""
        review = self.review
        if review is not None and filters != review.filters:
            self._editor.push(UpdateReview("Filter defects", review, filters=filters, gesture=gesture))

    def clear(self) -> None:
        """Remove the review with all decisions; repairs stay."""
        if self.review is not None:
            self._editor.push(ReplaceReview("Clear defects", self._editor.document.state, None))

    # -- healing ----------------------------------------------------------------------------------------------

    @property
    def outlined_review(self) -> Review | None:
        """The review with the threshold at which the listed defects were outlined; None until they are."""
        review, outlines = self.review, self._outlines
        if review is None or outlines is None:
            return None
        return replace(review, filters=replace(review.filters, threshold=outlines.threshold))

    @property
    def heal_share(self) -> float:
        """Estimated share of the picture that would be healed, 0..1."""
        review = self.review
        return covered_share(self.to_heal, review.filters.grow, self._editor.document.bounds) if review else 0.0

    def repaint(self) -> Ticket | None:
        """Add the selected defects to the repair mask, to be edited with the brush, and judge them as kept.

        Returns:
            The job; None when nothing is selected.
        """
        items, review, outlines = self.selected, self.outlined_review, self._outlines
        if not items or review is None or outlines is None:
            return None
        editor, label = self._editor, "Repaint defect"

        def work(context: JobContext) -> TileMap:
            return defect_mask(review, [item.defect for item in items], context)

        def apply(mask: TileMap) -> None:
            state, now = editor.document.state, self.review
            if now is None or now.damage is not review.damage:
                editor.message.emit("The defects changed meanwhile; please try again.")
                return
            kept = [replace(item, verdict=Verdict.KEPT) for item in items]
            decided = judgements_of([*linked_defects(outlines, now, items), *kept], outlines.threshold)
            painted = Paint(label, REPAIR_MASK, union_delta(state.mask, mask))
            editor.push(Compound(label, [painted, UpdateReview(label, now, judgements=decided)]))

        ticket = editor.submit(label, Lane.COMPUTE, lambda: work, urgency=Urgency.HAND)
        ticket.done.connect(editor.while_open(apply))
        return ticket


def _overlap(one: Rect, other: Rect) -> float:
    """Intersection over union of two rectangles, 0..1."""
    both = (one & other).area
    return both / (one.area + other.area - both)
