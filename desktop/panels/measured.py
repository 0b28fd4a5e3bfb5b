"""A sentence about the picture that helps to choose a task's settings, measured by a worker."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QLabel

from desktop.document.compose import Composite
from desktop.photo.workspace import Workspace
from desktop.work.threads import Lane, Ticket, Work
from engine.jobs import JobContext

if TYPE_CHECKING:
    from engine.tasks import Task


class MeasuredLabel(QLabel):
    """Shows what ``Task.measure`` says about the visible picture, and follows its changes. GUI thread."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        self._workspace: Workspace | None = None
        self._task: Task | None = None
        self._ticket: Ticket | None = None
        self.hide()

    def follow(self, workspace: Workspace | None, task: Task | None) -> None:
        """Measure a photograph for a task, and again after each of its undo steps; None = show nothing."""
        if self._workspace is not None:
            self._workspace.undo.indexChanged.disconnect(self._measure)
        if self._ticket is not None:
            self._ticket.cancel()
        wanted = workspace is not None and task is not None and task.measure is not None
        self._workspace, self._task = (workspace, task) if wanted else (None, None)
        self.setVisible(wanted)
        self.setText(self.tr("Measuring the picture…"))
        if self._workspace is not None:
            self._workspace.undo.indexChanged.connect(self._measure)
            self._measure()

    def _measure(self) -> None:
        workspace, task = self._workspace, self._task
        if workspace is None or task is None or task.measure is None:
            return
        if self._ticket is not None:
            self._ticket.cancel()
        document, measure = workspace.document, task.measure

        def prepare() -> Work:
            picture, profile = Composite.of(document.state), document.profile

            def work(context: JobContext) -> str:
                return measure(picture, profile, context)

            return work

        self._ticket = ticket = workspace.submit(self.tr("Measuring the picture"), Lane.IO, prepare, soon=True)
        ticket.done.connect(partial(self._on_measured, ticket))
        ticket.cancelled.connect(partial(self._on_measured, ticket, ""))

    def _on_measured(self, ticket: Ticket, sentence: str) -> None:
        # A newer measurement may be under way.
        if ticket is self._ticket:
            self._ticket = None
            self.setText(sentence)
