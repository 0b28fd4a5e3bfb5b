"""Deciding about whole scans of a batch at once, and taking that back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from engine.batch.reviews import Accept, accept, numbers_of, read_review, review_path, write_review
from engine.batch.rows import ReviewNumbers, Row, State
from engine.batch.table import JobTable
from engine.batch.views import rows_at
from engine.errors import EngineError, ReadError
from engine.jobs import JobContext
from engine.outlines import outline_defects
from engine.review import Judgement, Point


@dataclass(frozen=True)
class Before:
    """What was decided about a scan before all of it was decided about at once."""

    id: int
    judgements: Mapping[Point, Judgement]
    numbers: ReviewNumbers
    decided: bool


def accept_rows(
    table: JobTable, rows: Iterable[Row], what: Accept, context: JobContext | None = None
) -> tuple[list[Before], list[tuple[Row, EngineError]]]:
    """Decide about scans that were looked through, one after another.

    Args:
        table: their table, of this thread; no other process works on it.
        rows: the scans.
        what: see ``accept``.
        context: progress and cancellation; what was decided by then stays so.

    Returns:
        How the scans that are decided about now were before, and those that could not be decided about, and why.

    Raises:
        WriteError: a review or the table cannot be written.
        Cancelled: the context was cancelled.
    """
    used, given, folder = context or JobContext(), list(rows), table.folder
    before, failed = list[Before](), list[tuple[Row, EngineError]]()
    for done, row in enumerate(given):
        used.progress(done / len(given), row.relative)
        path = review_path(folder, row.path)
        try:
            review = read_review(path)
        except ReadError as error:
            failed.append((row, error))
            continue
        before.append(Before(row.id, review.judgements, row.numbers, row.decided))
        outlines = outline_defects(review)
        review = accept(review, what, outlines)
        write_review(path, review)
        table.note_review(row.id, numbers_of(review, outlines))
        table.decide([row.id], True)
    return before, failed


def take_back(table: JobTable, before: Sequence[Before], context: JobContext) -> None:
    """Restore what was decided about scans before; those that were healed meanwhile stay as they are.

    Raises:
        ReadError, WriteError: a review or the table cannot be read or written.
        Cancelled: the context was cancelled; what was taken back by then stays so.
    """
    folder = table.folder
    for number, one in enumerate(before):
        context.progress(number / len(before), "")
        for row in rows_at(table, [one.id]):
            if row.state in (State.FOUND, State.PENDING):
                path = review_path(folder, row.path)
                write_review(path, replace(read_review(path), judgements=one.judgements))
                table.note_review(one.id, one.numbers)
                table.decide([one.id], one.decided)


def decide_again(table: JobTable, rows: Iterable[Row]) -> int:
    """Let scans wait for decisions again, also those that were healed by decisions; what was judged stays.

    Returns:
        Number of those that wait again.
    """
    undecided = [row.id for row in rows if row.decided and row.state is not State.RUNNING]
    table.decide(undecided, False)
    return len(undecided)
