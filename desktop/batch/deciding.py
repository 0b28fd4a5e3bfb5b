"""What the lanes do about decisions: about whole scans of a batch, and about the defects of one. No Qt here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from desktop.document.geometry import Geometry
from desktop.document.opening import open_document
from engine.errors import EngineError, ReadError, Words
from engine.jobs import JobContext
from engine.review import Review, Verdict, transform_judgements

if TYPE_CHECKING:
    from desktop.document.model import Document, State
    from engine.batch.deciding import Before
    from engine.batch.reviews import Accept
    from engine.batch.rows import Row
    from engine.batch.table import JobTable
    from engine.outlines import Outlines

_PAGE = 200
"""Scans that are read at once."""


@dataclass(frozen=True)
class Decided:
    """What deciding about whole scans did.

    Attributes:
        before: how the scans were that are decided about now.
        failed: those that could not be, by name, and why.
        sentence: what the next run heals.
    """

    before: tuple[Before, ...]
    failed: tuple[tuple[str, EngineError], ...]
    sentence: str


# -- whole scans ------------------------------------------------------------------------------------------------------


def decide_scans(table: Path, ids: Sequence[int], what: Accept, context: JobContext, *, running: bool) -> Decided:
    """Decide about whole scans that were looked through; others of these stay as they are.

    Args:
        table: file of the table.
        ids: rows.
        what: see ``engine.batch.reviews.accept``.
        context: progress and cancellation.
        running: whether a run of this program works on the table.

    Raises:
        ReadError, WriteError: as ``accept_rows`` and ``JobTable``.
        Cancelled: the context was cancelled; what was decided by then stays so.
    """
    from engine.batch.deciding import accept_rows
    from engine.batch.rows import State
    from engine.batch.table import JobTable

    before: list[Before] = []
    failed: list[tuple[str, EngineError]] = []
    with ExitStack() as stack:
        rows = stack.enter_context(JobTable(table))
        if not running:
            stack.enter_context(rows.held())
        for start, page in _pages(rows, ids):
            found = [row for row in page if row.state is State.FOUND]
            part = context.part(start / len(ids), min(1.0, (start + _PAGE) / len(ids)))
            decided, unread = accept_rows(rows, found, what, part)
            before += decided
            failed += [(row.relative, error) for row, error in unread]
        return Decided(tuple(before), tuple(failed), rows.totals().sentence())


def take_back(table: Path, before: Sequence[Before], context: JobContext) -> None:
    """See ``engine.batch.deciding.take_back``."""
    from engine.batch import deciding
    from engine.batch.table import JobTable

    with JobTable(table) as rows:
        deciding.take_back(rows, before, context)


def decide_again(table: Path, ids: Sequence[int]) -> int:
    """See ``engine.batch.deciding.decide_again``."""
    from engine.batch import deciding
    from engine.batch.table import JobTable

    with JobTable(table) as rows:
        return sum(deciding.decide_again(rows, page) for _, page in _pages(rows, ids))


def waiting_scans(table: Path) -> list[int]:
    """See ``JobTable.waiting_ids``."""
    from engine.batch.table import JobTable

    with JobTable(table) as rows:
        return rows.waiting_ids()


def _pages(table: JobTable, ids: Sequence[int]) -> Iterator[tuple[int, list[Row]]]:
    """Some rows at a time, with the place of the first."""
    from engine.batch.views import rows_at

    for start in range(0, len(ids), _PAGE):
        yield start, rows_at(table, ids[start : start + _PAGE])


# -- the defects of one scan ------------------------------------------------------------------------------------------


def open_looked_through(table: Path, row: Row, context: JobContext) -> Document:
    """Read a scan that was looked through as a document, with what was found and judged. Any thread.

    If it is another picture now, or what was found in it cannot be read, it is to be looked through again.

    Raises:
        ReadError: ``review.again``: see above. Others: the scan cannot be read.
        Cancelled: the context was cancelled.
    """
    from engine.batch.reviews import review_path
    from engine.batch.table import JobTable

    with JobTable(table) as rows:
        try:
            return _read_with_review(row.path, review_path(rows.folder, row.path), context)
        except ReadError as error:
            if not error.code.startswith("review."):
                raise
            rows.decide([row.id], False)
            rows.put_back([row.id])
            reasons = {
                "review.other": "{file} was changed since it was looked through.",
                "review.missing": "What was found in {file} is not there any more.",
            }
            reason = reasons.get(error.code, "What was found in {file} cannot be read.")
            raise ReadError(
                "{reason} Nothing is healed by the old decisions. Press Start to look through it again.",
                "review.again",
                reason=Words(reason, file=row.path.name),
            ) from error


def _read_with_review(scan: Path, review: Path, context: JobContext) -> Document:
    """Read a scan with its review; raises ReadError, ``review.other`` if it is not that of this picture."""
    from engine.batch.reviews import read_look

    look, document = read_look(review), open_document(scan, context)
    digest = document.scan_file.with_digest().sha256 if document.scan_file is not None else ""
    if digest != look.source_sha256 or document.state.scan.shape[:2] != look.review.damage.shape[:2]:
        raise ReadError("{file} is another picture.", "review.other", file=scan.name)
    # The recipe goes on with the batch; healing here heals this document only.
    document.restore(replace(document.state, review=replace(look.review, recipe="")))
    document.batch_review = look.review
    return document


def review_to_keep(state: State, opened: Review, geometry: Geometry) -> Review | None:
    """The review of a document as its batch keeps it: of the scan as its file shows it, which nothing is healed of.

    Args:
        state: of the document.
        opened: the review with which it was opened.
        geometry: the orientation in which it was opened.

    Returns:
        The review; None if the document's review is that of another search, or was removed.
    """
    now = state.review
    if now is None or now.id != opened.id:
        return None
    turned, judgements = geometry.transform_from(state.geometry), now.judgements
    if turned:
        judgements = transform_judgements(judgements, turned.rect)
    kept = {
        point: replace(one, verdict=Verdict.ACCEPTED) if one.verdict is Verdict.HEALED else one
        for point, one in judgements.items()
    }
    return replace(opened, filters=now.filters, judgements=MappingProxyType(kept))


def keep_judgements(
    table: Path, id_: int, review: Review, outlines: Outlines | None, *, decided: bool | None = None
) -> bool:
    """Write what was judged about a scan of a batch. Any thread.

    Args:
        table: file of the table.
        id_: its row.
        review: see ``review_to_keep``.
        outlines: of the review; None = they are computed.
        decided: note whether the scan is decided about; None = as it was.

    Returns:
        False if the scan is being worked on: then its new decisions must be noted again afterwards.

    Raises:
        ReadError, WriteError: the review or the table cannot be read or written.
    """
    from engine.batch.reviews import numbers_of, review_path, write_review
    from engine.batch.rows import State
    from engine.batch.table import JobTable
    from engine.batch.views import rows_at

    with JobTable(table) as rows:
        for row in rows_at(rows, [id_]):
            write_review(review_path(rows.folder, row.path), review)
            if row.state is State.RUNNING:
                return False
            rows.note_review(id_, numbers_of(review, outlines))
            if decided or row.decided:
                # A result that exists was made by other decisions.
                rows.decide([id_], True)
    return True
