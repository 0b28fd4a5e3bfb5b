"""The lower edge of the window of batches: start, pause, cancel, and how far the run is."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
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
from desktop.language import sentence_of
from desktop.panels.widgets import WheelGuard
from desktop.theme import icon
from engine.batch.pace import duration
from engine.batch.rows import State

_ENDED = (State.DONE, State.UP_TO_DATE, State.FAILED, State.FOUND)
_HELD = (Phase.HOLDING, Phase.HELD)


class RunBar(QWidget):
    """Buttons for the run, and how far it is. GUI thread.

    Args:
        keeper: the batch.
        leaves_core: whether a core is left to other programs.

    Signals:
        report_wanted: the report is to be shown.
    """

    report_wanted = Signal()

    def __init__(self, keeper: BatchKeeper, *, leaves_core: bool) -> None:
        super().__init__()
        self._keeper = keeper
        self._make_buttons()
        self._make_choices(leaves_core=leaves_core)
        self._bar = QProgressBar()
        self._bar.setRange(0, 1000)
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName(self.tr("Progress of the batch"))
        self._words = QLabel()
        self._words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._lay_out()
        keeper.changed.connect(self.refresh)
        self.refresh()

    @property
    def text(self) -> str:
        """How far the run is, in words."""
        return self._words.text()

    def _make_buttons(self) -> None:
        keeper = self._keeper
        self.start = _button(self.tr("Start"), self.tr("Restore every scan that is waiting"), keeper.resume)
        self.start.setObjectName("primary")
        self.after = _button(
            self.tr("Pause after this picture"),
            self.tr("Finish the pictures that are being worked on, and stop then"),
            keeper.pause_after,
            "pause-after",
        )
        self.now = _button(
            self.tr("Pause now"),
            self.tr("Stop in the middle of the pictures that are being worked on, and go on there later"),
            keeper.pause_now,
            "pause",
        )
        self.cancel = _button(
            self.tr("Cancel"),
            self.tr("Break off; the pictures that are being worked on wait again, and nothing that is done is lost"),
            keeper.cancel,
            "cancel",
        )
        self.retry = _button(
            self.tr("Retry failed"), self.tr("Do the scans that failed once more"), lambda: keeper.retry(None)
        )
        self.report = _button(
            self.tr("Report"), self.tr("Write the report as it stands now, and open its page"), self.report_wanted.emit
        )

    def _make_choices(self, *, leaves_core: bool) -> None:
        self._cores = QComboBox()
        self._cores.addItem(self.tr("Leave me a core"), True)
        self._cores.addItem(self.tr("Whole machine"), False)
        self._cores.setCurrentIndex(self._cores.findData(leaves_core))
        self._cores.setAccessibleName(self.tr("How much of the computer is used"))
        self._cores.setToolTip(self.tr("How much of the computer is used; it can be changed while the batch runs"))
        self._cores.activated.connect(lambda: self._keeper.leave_core(on=self._cores.currentData()))
        WheelGuard(self._cores)
        self.watch = QCheckBox(self.tr("Watch the folders"))
        self.watch.setAccessibleName(self.watch.text())
        self.watch.setToolTip(
            self.tr("Go on with what comes into the folders; possible after a run with these settings")
        )
        self.watch.clicked.connect(lambda on: self._keeper.watch(on=on))
        self.look_first = QCheckBox(self.tr("Look first, I decide"))
        self.look_first.setAccessibleName(self.look_first.text())
        self.look_first.setToolTip(
            self.tr("Find the damage in all scans first; nothing is healed before you have decided about it")
        )
        self.look_first.clicked.connect(lambda on: self._keeper.look_first(on=on))

    def _lay_out(self) -> None:
        line = QHBoxLayout()
        line.setSpacing(8)
        line.addWidget(self._cores)
        line.addWidget(self.watch)
        line.addWidget(self.report)
        line.addStretch(1)
        for widget in self.in_order()[3:]:
            line.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 8, 12, 12)
        layout.setSpacing(8)
        layout.addWidget(self._words)
        layout.addWidget(self._bar)
        layout.addLayout(line)

    def in_order(self) -> tuple[QWidget, ...]:
        """What can have the keyboard focus, in the order in which it is seen."""
        choices = (self._cores, self.watch, self.report)
        return (*choices, self.retry, self.cancel, self.after, self.now, self.look_first, self.start)

    def refresh(self) -> None:
        """Show the state of the run."""
        keeper, phase, counts = self._keeper, self._keeper.phase, self._keeper.counts
        ended = sum(counts.get(state, 0) for state in _ENDED)
        pending, decided, _ = keeper.undone
        idle, failed = phase is Phase.IDLE, counts.get(State.FAILED, 0)
        self.start.setVisible(idle or phase in _HELD)
        self.start.setEnabled(phase in _HELD or (pending + decided > 0 and not keeper.busy))
        self.start.setText(self._start_text(phase, pending, decided, ended))
        self.look_first.setVisible(idle)
        with QSignalBlocker(self.look_first):
            self.look_first.setChecked(keeper.looks_first)
        self.after.setVisible(not idle and phase not in _HELD)
        self.after.setEnabled(phase is Phase.RUNNING)
        self.now.setVisible(not idle and phase not in _HELD)
        self.now.setEnabled(phase in (Phase.RUNNING, Phase.PAUSING))
        self.cancel.setVisible(not idle)
        self.cancel.setEnabled(phase is not Phase.CANCELLING)
        self.retry.setVisible(failed > 0)
        self.retry.setText(self.tr("Retry failed ({0:,})").format(failed))
        self.report.setEnabled(bool(keeper.total))
        with QSignalBlocker(self.watch):
            self.watch.setChecked(keeper.watching)
        self.watch.setEnabled(keeper.watching or (keeper.can_watch and phase not in (Phase.CANCELLING, Phase.PAUSING)))
        self._bar.setValue(round(1000 * ended / keeper.total) if keeper.total else 0)
        self._words.setText(self._sentence(phase))

    def _start_text(self, phase: Phase, pending: int, decided: int, ended: int) -> str:
        if phase in _HELD:
            return self.tr("Resume")
        if decided and not pending:
            return self.tr("Heal Decided")
        return self.tr("Resume") if ended and pending else self.tr("Start")

    def _sentence(self, phase: Phase) -> str:
        keeper = self._keeper
        if not keeper.total:
            return self.tr("Nothing to do yet")
        said = {
            Phase.PAUSING: self.tr("Pausing after the pictures that are being worked on"),
            Phase.HOLDING: self.tr("Pausing"),
            Phase.HELD: self.tr("Paused in the middle of the pictures that are being worked on"),
            Phase.CANCELLING: self.tr("Cancelling"),
            Phase.WATCHING: self.tr("Watching the folders"),
        }.get(phase, self.tr("The editor goes first") if keeper.giving_way else "")
        if phase is Phase.IDLE and keeper.paused:
            said = self.tr("Paused")
        parts = [said, counts_in_words(keeper.counts, keeper.undone[2])]
        if keeper.totals is not None and phase is Phase.IDLE:
            parts.append(keeper.totals.sentence())
        left = keeper.seconds_left
        if left and phase in (Phase.RUNNING, Phase.PAUSING):
            parts.append(self.tr("about {0} left").format(sentence_of(duration(left))))
        return "  ·  ".join(part for part in parts if part)


def _button(text: str, tip: str, run: Callable[[], object], picture: str = "") -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setAccessibleName(text)
    button.clicked.connect(lambda _on: run())
    if picture:
        button.setIcon(icon(picture))
    return button
