"""Small widgets that several panels use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, QSignalBlocker, QSize, Qt, QTimer, QUrl, Signal
from PySide6.QtGui import QAction, QDesktopServices, QFocusEvent, QKeyEvent, QValidator
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QSlider,
    QWidget,
)

from desktop.photo.editor import Editor
from desktop.work.threads import Ticket
from engine.jobs import JobState

_STEPS = 1000
_INFINITE = "∞"
_ENDING = (Qt.Key.Key_Return, Qt.Key.Key_Enter)


class WheelGuard(QObject):
    """Event filter: the wheel changes a widget's value only if it has the focus, so that panels can be scrolled."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return super().eventFilter(watched, event)


class Drags:
    """Counts the drags of a panel's sliders. Each is one gesture on a photograph, and one undo step."""

    def __init__(self) -> None:
        self.number = 0
        """Number of the current drag; 0 = none, for example when a value is typed."""
        self._begun = 0
        self._workspace: Editor | None = None

    def begin(self, workspace: Editor | None) -> None:
        """A slider was pressed: begin a gesture on a photograph."""
        if workspace is not None:
            self._begun += 1
            self.number = self._begun
            self._workspace = workspace
            workspace.begin_gesture()

    def end(self) -> None:
        """The slider was released: end the gesture on the photograph on which it began."""
        self.number = 0
        workspace, self._workspace = self._workspace, None
        if workspace is not None:
            workspace.end_gesture()


class NumberField(QDoubleSpinBox):
    """A number field that is selected when it gets the focus, and gives up the focus on Return and Esc.

    Args:
        boundless: the maximum means no limit and is shown as infinity.
    """

    def __init__(self, *, boundless: bool = False) -> None:
        super().__init__()
        self._boundless = boundless
        self.setKeyboardTracking(False)
        WheelGuard(self)
        self.lineEdit().installEventFilter(self)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        # Later, because the click that gave the focus still sets the text cursor.
        QTimer.singleShot(0, self, self.selectAll)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.ShortcutOverride and event.key() in _ENDING:
            # Return must not trigger a shortcut of the window.
            event.accept()
            return True
        return super().event(event)

    def textFromValue(self, value: float) -> str:
        return _INFINITE if self._boundless and value >= self.maximum() else super().textFromValue(value)

    def valueFromText(self, text: str) -> float:
        return self.maximum() if _INFINITE in text else super().valueFromText(text)

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        if self._boundless and _INFINITE in text:
            return QValidator.State.Acceptable, text, position
        return super().validate(text, position)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.MouseButtonDblClick:
            # Also for a double click on the unit, which would select only that.
            self.selectAll()
            return True
        return super().eventFilter(watched, event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        super().keyPressEvent(event)
        if event.key() in (*_ENDING, Qt.Key.Key_Escape):
            self.clearFocus()


class ValueSlider(QWidget):
    """A title, a slider and a number field for the same value.

    Signals:
        changed: the user changed the value, also during a drag; carries it.
        pressed, released: a drag of the slider begins and ends.
    """

    changed = Signal(float)
    pressed = Signal()
    released = Signal()

    def __init__(
        self,
        title: str,
        low: float,
        high: float,
        *,
        unit: str = "",
        decimals: int = 0,
        power: float = 1.0,
        tooltip: str = "",
        title_width: int = 0,
        boundless: bool = False,
    ) -> None:
        """Create the slider.

        Args:
            title: shown before it.
            low: minimum.
            high: maximum.
            unit: shown after the number.
            decimals: of the number.
            power: above 1, small values take up more of the slider.
            tooltip: of slider and number; the title if empty.
            title_width: minimum width of the title, logical pixels.
            boundless: see ``NumberField``.
        """
        super().__init__()
        self._low, self._high, self._power = low, high, power
        label = QLabel(title)
        label.setMinimumWidth(title_width)
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._slider.setRange(0, _STEPS)
        self._slider.setMinimumWidth(28)
        WheelGuard(self._slider)
        self._number = NumberField(boundless=boundless)
        self._number.setRange(low, high)
        self._number.setDecimals(decimals)
        self._number.setSuffix(unit)
        self._number.setMaximumWidth(84)
        label.setBuddy(self._number)
        for widget in (self._slider, self._number):
            widget.setAccessibleName(title)
            widget.setToolTip(tooltip or title)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(label)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._number)
        self._slider.valueChanged.connect(self._on_slider)
        self._slider.sliderPressed.connect(self.pressed)
        self._slider.sliderReleased.connect(self.released)
        self._number.valueChanged.connect(self._on_number)

    @property
    def value(self) -> float:
        """The value."""
        return self._number.value()

    def set_value(self, value: float) -> None:
        """Show a value, without emitting ``changed``."""
        with QSignalBlocker(self._number), QSignalBlocker(self._slider):
            self._number.setValue(value)
            self._slider.setValue(self._position(value))

    def _position(self, value: float) -> int:
        share = (value - self._low) / (self._high - self._low)
        return round(_STEPS * float(max(0.0, share) ** (1 / self._power)))

    def _on_slider(self, position: int) -> None:
        share = (position / _STEPS) ** self._power
        with QSignalBlocker(self._number):
            self._number.setValue(self._low + (self._high - self._low) * share)
        self.changed.emit(self._number.value())

    def _on_number(self, value: float) -> None:
        with QSignalBlocker(self._slider):
            self._slider.setValue(self._position(value))
        self.changed.emit(value)


def size_window(window: QWidget, width: int, height: int) -> None:
    """Give a window its first size, logical px, or less where the screen is smaller."""
    window.resize(QSize(width, height).boundedTo(window.screen().availableSize() * 0.95))


def show_file(path: Path) -> bool:
    """Show a file or folder in the system's program for it; False when there is none."""
    return QDesktopServices.openUrl(QUrl.fromLocalFile(str(path)))


def closing_buttons(dialog: QDialog, actions: Sequence[tuple[QPushButton, Callable[[], object]]]) -> QDialogButtonBox:
    """The row of buttons below a dialog: what can be done, none of it by Enter, and Close.

    Args:
        dialog: the dialog.
        actions: buttons, and what they do.
    """
    box = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
    for button, do in actions:
        button.setAutoDefault(False)
        button.clicked.connect(lambda _=False, do=do: do())
        box.addButton(button, QDialogButtonBox.ButtonRole.ActionRole)
    box.rejected.connect(dialog.reject)
    return box


def action_button(action: QAction, text: str = "") -> QPushButton:
    """A button that does what an action does, and can be pressed when that can.

    Args:
        action: its tooltip is the button's.
        text: another text than the action's, usually a shorter one.
    """
    button = QPushButton(text or action.text())

    def follow() -> None:
        button.setEnabled(action.isEnabled())
        button.setToolTip(action.toolTip())

    button.setAccessibleName(action.text())
    button.clicked.connect(action.trigger)
    action.changed.connect(follow)
    follow()
    return button


class JobBar(QWidget):
    """How far one job is, and a button that cancels it; keeps its place, and is empty, while there is no job."""

    def __init__(self) -> None:
        super().__init__()
        self._ticket: Ticket | None = None
        self._step = QLabel()
        self._step.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._bar = QProgressBar()
        self._bar.setRange(0, 1000)
        self._bar.setTextVisible(False)
        self.cancel = QPushButton(self.tr("Cancel"))
        self.cancel.setAutoDefault(False)
        self.cancel.clicked.connect(self.stop)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self._step, 1)
        layout.addWidget(self._bar, 1)
        layout.addWidget(self.cancel)
        policy = self.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.setSizePolicy(policy)
        self.hide()

    @property
    def busy(self) -> bool:
        """Whether the job has not ended yet."""
        return self._ticket is not None

    def follow(self, ticket: Ticket) -> None:
        """Show a job until it ends, or another one."""
        self._ticket = ticket
        self._bar.setAccessibleName(ticket.title)
        self.cancel.setEnabled(True)
        ticket.changed.connect(self._show)
        ticket.ended.connect(self._on_ended)
        self.show()
        self._show()

    def stop(self) -> None:
        """Cancel the job, if there is one."""
        if self._ticket is not None:
            self.cancel.setEnabled(False)
            self._ticket.cancel()

    def _show(self) -> None:
        ticket = self._ticket
        if ticket is None:
            return
        step = self.tr("waiting for other jobs") if ticket.state is JobState.WAITING else ticket.step
        said = step if self.cancel.isEnabled() else self.tr("cancelling")
        self._step.setText(f"{ticket.title}: {said}" if said else ticket.title)
        self._bar.setValue(round(1000 * ticket.progress))

    def _on_ended(self) -> None:
        # Not if it is another job that has ended, which was followed before.
        if self._ticket is not None and self._ticket.state.ended:
            self._ticket = None
            self.hide()
