"""The Jobs panel: waiting and running jobs with their progress and a button to cancel each."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from desktop.theme import icon
from desktop.work.threads import JobCentre, Ticket
from engine.jobs import JobState


class JobsPanel(QScrollArea):
    """Shows the jobs of a job centre until they end."""

    def __init__(self, centre: JobCentre) -> None:
        super().__init__()
        inside = QWidget()
        self.setWidget(inside)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._layout = QVBoxLayout(inside)
        self._layout.setContentsMargins(8, 8, 8, 8)
        self._layout.setSpacing(4)
        self._idle = QLabel(self.tr("No jobs"))
        self._idle.setEnabled(False)
        self._layout.addWidget(self._idle)
        self._layout.addStretch(1)
        self._rows = 0
        centre.added.connect(self._on_added)

    def _on_added(self, ticket: Ticket) -> None:
        self._layout.insertWidget(self._layout.count() - 1, _Row(ticket))
        self._rows += 1
        self._idle.hide()
        ticket.ended.connect(self._on_ended)

    def _on_ended(self) -> None:
        self._rows -= 1
        self._idle.setVisible(self._rows == 0)


class _Row(QWidget):
    """One job."""

    def __init__(self, ticket: Ticket) -> None:
        super().__init__()
        self._ticket = ticket
        self._title = QLabel(ticket.title)
        # Long titles are cut off, so that the button always fits.
        self._title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._bar = QProgressBar()
        self._bar.setRange(0, 1000)
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName(ticket.title)
        cancel = QToolButton()
        cancel.setIcon(icon("cancel"))
        cancel.setAutoRaise(True)
        cancel.setAccessibleName(self.tr("Cancel {0}").format(ticket.title))
        cancel.setToolTip(self.tr("Cancel this job"))
        cancel.clicked.connect(ticket.cancel)
        line = QHBoxLayout()
        line.setSpacing(4)
        line.addWidget(self._bar, 1)
        line.addWidget(cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._title)
        layout.addLayout(line)
        ticket.changed.connect(self._show)
        ticket.ended.connect(self._on_ended)
        self._show()

    def _show(self) -> None:
        waiting = self._ticket.state is JobState.WAITING
        step = self.tr("waiting") if waiting else self._ticket.step
        text = f"{self._ticket.title} - {step}" if step else self._ticket.title
        room = max(self._title.width(), self.width())
        self._title.setText(self._title.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, room))
        self._title.setToolTip(text)
        self._bar.setValue(round(1000 * self._ticket.progress))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._show()

    def _on_ended(self) -> None:
        self.hide()
        self.deleteLater()
