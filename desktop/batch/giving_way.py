"""Interactive work goes first: tells when the editor computes, so that a batch can be held meanwhile."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from desktop.work.threads import JobCentre, Lane, Ticket


class EditorWatch(QObject):
    """Watches the jobs of the editor that run models. GUI thread.

    Args:
        jobs: the job centre.

    Attributes:
        busy: whether such a job waits or runs.

    Signals:
        changed: ``busy`` changed.
    """

    changed = Signal()

    def __init__(self, jobs: JobCentre) -> None:
        super().__init__()
        self._tickets: set[Ticket] = set()
        jobs.added.connect(self._on_added)

    @property
    def busy(self) -> bool:
        return bool(self._tickets)

    def _on_added(self, ticket: Ticket) -> None:
        if ticket.lane is not Lane.COMPUTE:
            return
        self._tickets.add(ticket)
        ticket.ended.connect(lambda: self._on_ended(ticket))
        if len(self._tickets) == 1:
            self.changed.emit()

    def _on_ended(self, ticket: Ticket) -> None:
        self._tickets.discard(ticket)
        if not self._tickets:
            self.changed.emit()
