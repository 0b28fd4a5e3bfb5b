"""Keeps what is judged about a scan of a batch while it is open in the editor, so that nothing of it is lost."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal

from desktop.batch.decided import DecidedList
from desktop.batch.deciding import keep_judgements, review_to_keep
from desktop.batch.words import words
from desktop.document.model import State
from desktop.language import sentence_of
from desktop.photo.workspace import Workspace
from desktop.work.threads import JobCentre, Lane, Ticket
from engine.batch.rows import Row
from engine.errors import EngineError
from engine.jobs import JobState
from engine.outlines import Outlines
from engine.review import Review

IDLE_MS = 1000
"""Time from a judgement to its writing."""


class Judging(QObject):
    """Writes what is judged about an open scan of a batch, soon after it was judged. GUI thread.

    Args:
        photo: the scan, opened with its ``Document.batch_review``.
        scans: the list of the batch.
        row: the scan's row.
        jobs: the job centre.

    Attributes:
        photo, row: as given.

    Signals:
        written: what was judged is on the disk.
        failed: it could not be written; carries a sentence.
    """

    written = Signal()
    failed = Signal(str)

    def __init__(self, photo: Workspace, scans: DecidedList, row: Row, jobs: JobCentre) -> None:
        super().__init__()
        self.photo, self.row = photo, row
        self._scans, self._jobs = scans, jobs
        opened = photo.document.batch_review
        assert opened is not None
        self._opened, self._geometry = opened, photo.document.state.geometry
        self._written: Review | None = photo.document.state.review
        self._last: State | None = None
        self._writing: Ticket | None = None
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(IDLE_MS)
        self._soon.timeout.connect(self.write)
        photo.review_changed.connect(self._on_judged)

    @property
    def review(self) -> Review | None:
        """What the batch keeps, see ``review_to_keep``; None if the photograph has another search now, or none."""
        return review_to_keep(self._state, self._opened, self._geometry)

    @property
    def _state(self) -> State:
        return self._last or self.photo.document.state

    @property
    def unwritten(self) -> bool:
        """Whether something was judged that is not on the disk yet."""
        writing = self._writing is not None and self._writing.state is not JobState.DONE
        return writing or self._state.review is not self._written

    def _on_judged(self) -> None:
        if self.unwritten:
            self._soon.start()

    def write(self, *, decided: bool = False) -> Ticket | None:
        """Start writing what was judged, if anything was.

        Args:
            decided: note that the scan is decided about; then something is always written.

        Returns:
            The job; None if there is nothing to write, or the photograph has another search now.
        """
        self._soon.stop()
        review = self.review
        if review is None or not (decided or self.unwritten):
            return None
        before, self._written = self._written, self._state.review
        table, id_, outlines = self._scans.path, self.row.id, self._outlines()
        ticket = self._jobs.submit(
            words("Saving the review"),
            Lane.IO,
            lambda: lambda _: keep_judgements(table, id_, review, outlines, decided=decided),
            shown=False,
        )
        self._writing = ticket
        ticket.done.connect(self._on_written)
        ticket.failed.connect(lambda error: self._on_failed(error, before))
        return ticket

    def end(self) -> None:
        """The review of this scan ends: write what was judged; what is judged from now on is not the batch's."""
        self.photo.review_changed.disconnect(self._on_judged)
        self._last = self.photo.document.state
        self.write()

    def write_at_once(self) -> None:
        """Write what is not on the disk yet, synchronously, because the program is about to end.

        Raises:
            EngineError: it cannot be written.
        """
        self._soon.stop()
        review = self.review
        if review is not None and self.unwritten:
            keep_judgements(self._scans.path, self.row.id, review, self._outlines())
            self._written, self._writing = self._state.review, None

    def _outlines(self) -> Outlines | None:
        """The outlines of what is written, if they are known."""
        same = self._state is self.photo.document.state and self._state.geometry == self._geometry
        return self.photo.defects.outlines if same and not self.photo.closed else None

    def _on_written(self, noted: bool) -> None:  # noqa: FBT001 - Qt's signal
        self._scans.judged(self.row.id)
        if not noted:
            # It is being healed by what was decided before.
            self._written = None
            self._soon.start()
        self.written.emit()

    def _on_failed(self, error: EngineError, before: Review | None) -> None:
        self._written = before
        self.failed.emit(sentence_of(error))
