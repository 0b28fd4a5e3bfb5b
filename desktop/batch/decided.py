"""The decisions about scans that were looked through: about whole ones, and which wait for more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import Signal

from desktop.batch.deciding import Decided, decide_again, decide_scans, take_back, waiting_scans
from desktop.batch.listing import BatchList, ignoring_context
from desktop.batch.words import words
from desktop.language import sentence_of
from desktop.work.base import Urgency
from desktop.work.threads import Ticket
from engine.batch.deciding import Before
from engine.batch.reviews import Accept, Totals
from engine.batch.rows import State
from engine.errors import EngineError

_MOST_FAILED = 3
"""Scans that are named of those that could not be decided about."""


class DecidedList(BatchList):
    """The list of a batch whose scans are decided about. GUI thread. Arguments as ``BatchList``.

    Signals:
        decided: whole scans were decided about; carries a sentence, and the function that takes that back.
    """

    decided = Signal(str, object)

    @property
    def path(self) -> Path:
        """The file of the table."""
        return self._path

    @property
    def looks_first(self) -> bool:
        """Whether scans are looked through first, and wait for decisions."""
        return self._settings.review

    def look_first(self, *, on: bool) -> None:
        """Have scans looked through first, or restored at once."""
        self._settings.review = on
        self.settings_changed()

    @property
    def waiting(self) -> tuple[int, int]:
        """The number of scans that wait for decisions, and of the defects found in them."""
        return self.snapshot.waiting if self.snapshot is not None else (0, 0)

    @property
    def totals(self) -> Totals | None:
        """What the next run heals, because it is decided; None = nothing is."""
        return self.snapshot.decided if self.snapshot is not None else None

    @property
    def undone(self) -> tuple[int, int, int]:
        """Numbers of scans: neither looked through nor done; decided; decided of those that are not pending."""
        totals, pending = self.totals, self.counts.get(State.PENDING, 0)
        decided = totals.files + totals.without if totals is not None else 0
        found = max(0, self.counts.get(State.FOUND, 0) - self.waiting[0])
        return max(0, pending - max(0, decided - found)), decided, found

    def decide(self, ids: Sequence[int], what: Accept) -> None:
        """Decide about whole scans; ``decided`` says what that means."""
        running = self.running
        ticket = self._submit(lambda context: decide_scans(self._path, ids, what, context, running=running))
        # The run must not begin meanwhile.
        self._listings.append(ticket)
        ticket.changed.connect(lambda: self._on_deciding(ticket))
        ticket.done.connect(self._on_decided)
        ticket.ended.connect(lambda: self._on_listing_ended(ticket))
        self.changed.emit()

    def _on_deciding(self, ticket: Ticket) -> None:
        if ticket in self._listings and ticket.step:
            self.listing.emit(words("Deciding: {0} %").format(round(100 * ticket.progress)))

    def _on_decided(self, decided: Decided) -> None:
        for name, error in decided.failed[:_MOST_FAILED]:
            self.failed.emit(EngineError("{file}: {reason}", error.code, file=name, reason=sentence_of(error)))
        count = len(decided.before)
        if not count:
            self.said.emit(words("None of the selected pictures waits for review."))
            return
        done = words("One picture is decided.") if count == 1 else words("{0:,} pictures are decided.").format(count)
        self.decided.emit(f"{done} {decided.sentence}", partial(self._take_back, decided.before))

    def _take_back(self, before: Sequence[Before]) -> None:
        ticket = self._submit(partial(take_back, self._path, before))
        ticket.ended.connect(self._on_rows_changed)

    def decide_again(self, ids: Sequence[int]) -> None:
        """Let scans wait for decisions again; what was judged stays."""
        ticket = self._submit(partial(ignoring_context, decide_again, self._path, ids), Urgency.REPAIR)
        ticket.done.connect(self._on_undecided)
        ticket.ended.connect(self._on_rows_changed)

    def _on_undecided(self, count: int) -> None:
        one = words("One picture waits for your decisions again.")
        more = words("{0:,} pictures wait for your decisions again.").format(count)
        self.said.emit(words("None of the selected pictures is decided.") if not count else one if count == 1 else more)

    def ask_waiting(self, done: Callable[[list[int]], object]) -> Ticket:
        """Ask for the scans that wait for decisions; ``done`` gets their numbers in the order of the work."""
        ticket = self._submit(partial(ignoring_context, waiting_scans, self._path), Urgency.REPAIR)
        ticket.done.connect(done)
        return ticket

    def judged(self, id_: int) -> None:
        """What was judged about a scan was written."""
        self.touched.emit([id_], self._shares)
        self.refresh()
