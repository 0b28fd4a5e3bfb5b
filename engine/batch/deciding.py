"""Deciding about whole scans of a batch at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from engine.batch.reviews import Accept, accept, numbers_of, read_review, review_path, write_review
from engine.batch.rows import Row
from engine.batch.table import JobTable
from engine.errors import EngineError, ReadError
from engine.jobs import JobContext
from engine.outlines import outline_defects


def accept_rows(
    table: JobTable, folder: Path, rows: Iterable[Row], what: Accept, context: JobContext | None = None
) -> list[tuple[Row, EngineError]]:
    """Decide about scans that were looked through, one after another.

    Args:
        table: their table, held by this process; of this thread.
        folder: the output folder.
        rows: the scans.
        what: see ``accept``.
        context: progress and cancellation; what was decided by then stays so.

    Returns:
        The scans that could not be decided about, and why.

    Raises:
        WriteError: a review or the table cannot be written.
        Cancelled: the context was cancelled.
    """
    used, failed, given = context or JobContext(), list[tuple[Row, EngineError]](), list(rows)
    for done, row in enumerate(given):
        used.progress(done / len(given), row.relative)
        path = review_path(folder, row.path)
        try:
            review = read_review(path)
        except ReadError as error:
            failed.append((row, error))
            continue
        outlines = outline_defects(review)
        review = accept(review, what, outlines)
        write_review(path, review)
        table.note_review(row.id, numbers_of(review, outlines))
        table.decide([row.id], True)
    return failed
