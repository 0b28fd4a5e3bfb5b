"""The lower edge of the window of batches: start, pause, cancel, and how far the run is."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from desktop.batch.keeper import BatchKeeper, Phase
from desktop.batch.words import counts_in_words
from desktop.theme import icon
from engine.batch.rows import State

_ENDED = (State.DONE, State.UP_TO_DATE, State.FAILED)


class RunBar(QWidget):
    """Buttons for the run, and how far it is. GUI thread.

    Args:
        keeper: the batch.

    Signals:
        report_wanted: the report is to be shown.
    """

    report_wanted = Signal()

    def __init__(self, keeper: BatchKeeper) -> None:
        super().__init__()
        self._keeper = keeper
        self._make_buttons()
        self._bar = QProgressBar()
        self._bar.setRange(0, 1000)
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName(self.tr("Progress of the batch"))
        self._words = QLabel()
        self._words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._words.setAccessibleName(self.tr("Progress of the batch in words"))
        self._lay_out()
        keeper.changed.connect(self.refresh)
        self.refresh()

    @property
    def text(self) -> str:
        """How far the run is, in words."""
        return self._words.text()

    def _make_buttons(self) -> None:
        keeper = self._keeper
        self.start = _button(self.tr("Start"), self.tr("Restore every scan that is waiting"))
        self.start.setObjectName("primary")
        self.start.clicked.connect(keeper.start)
        self.after = _button(
            self.tr("Pause after this picture"),
            self.tr("Finish the pictures that are being worked on, and stop then"),
            "pause-after",
        )
        self.after.clicked.connect(keeper.pause_after)
        self.cancel = _button(
            self.tr("Cancel"),
            self.tr("Break off; the pictures that are being worked on wait again, and nothing that is done is lost"),
            "cancel",
        )
        self.cancel.clicked.connect(keeper.cancel)
        self.report = _button(self.tr("Report"), self.tr("Write the report as it stands now, and open its page"))
        self.report.clicked.connect(self.report_wanted)

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addWidget(self._words, 1)
        for widget in (self.report, self.cancel, self.after, self.start):
            buttons.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 8, 12, 12)
        layout.setSpacing(8)
        layout.addWidget(self._bar)
        layout.addLayout(buttons)

    def refresh(self) -> None:
        """Show the state of the run."""
        keeper, phase = self._keeper, self._keeper.phase
        counts = keeper.counts
        pending, ended = counts.get(State.PENDING, 0), sum(counts.get(state, 0) for state in _ENDED)
        working = phase is not Phase.IDLE
        self.start.setVisible(not working)
        self.start.setEnabled(pending > 0 and not keeper.busy)
        self.start.setText(self.tr("Resume") if ended and pending else self.tr("Start"))
        for button in (self.after, self.cancel):
            button.setVisible(working)
        self.after.setEnabled(phase is Phase.RUNNING)
        self.cancel.setEnabled(working and phase is not Phase.CANCELLING)
        self.report.setEnabled(bool(keeper.total))
        self._bar.setValue(round(1000 * ended / keeper.total) if keeper.total else 0)
        self._words.setText(self._sentence(phase))

    def _sentence(self, phase: Phase) -> str:
        keeper = self._keeper
        if not keeper.total:
            return ""
        parts = {
            Phase.PAUSING: [self.tr("pausing after the pictures that are being worked on")],
            Phase.CANCELLING: [self.tr("cancelling")],
        }.get(phase, [])
        return " · ".join([*parts, counts_in_words(keeper.counts)])


def _button(text: str, tip: str, picture: str = "") -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setAccessibleName(text)
    if picture:
        button.setIcon(icon(picture))
    return button
