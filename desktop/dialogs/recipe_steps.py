"""The steps of a recipe in its editor: their list, and the model and the settings of the chosen step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from PySide6.QtCore import QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QBrush, QKeySequence, QPalette, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from desktop.panels.task_settings import TaskSetting, list_models, task_settings
from desktop.panels.widgets import ValueSlider, WheelGuard
from desktop.theme import ICON, icon
from engine.errors import EngineError
from engine.recipes import Step
from engine.runtime.cards import ModelCard, Registry
from engine.tasks import TASKS

_TASKS = sorted((task for task in TASKS.values() if task.effort), key=lambda task: task.gives != "findings")
"""The tasks that can be steps; the search first, because heal needs it."""


class RecipeSteps(QWidget):
    """The list of steps with buttons to add, remove and move them, and the controls of the chosen step. GUI thread.

    Args:
        registry: the models.

    Signals:
        changed: the user changed the steps.
    """

    changed = Signal()

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self._registry = registry
        self._steps: list[Step] = []
        self._editable = True
        self.sliders: dict[str, ValueSlider] = {}
        self._make_list()
        self._make_controls()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self.list)
        layout.addLayout(self._buttons())
        layout.addWidget(self._area, 1)

    # -- construction -----------------------------------------------------------------------------------------

    def _make_list(self) -> None:
        self.list = QListWidget()
        self.list.setAccessibleName(self.tr("Steps"))
        self.list.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        self.list.setDefaultDropAction(Qt.DropAction.MoveAction)
        self.list.setWordWrap(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setMinimumHeight(9 * self.fontMetrics().height())
        self.list.setMaximumHeight(14 * self.fontMetrics().height())
        self.list.model().rowsMoved.connect(self._on_dragged)
        self.list.currentRowChanged.connect(self._show_step)
        QShortcut(QKeySequence("Del"), self.list, self.remove_step, context=Qt.ShortcutContext.WidgetShortcut)
        for key, by in (("Alt+Up", -1), ("Alt+Down", 1)):
            move = partial(self.move_step, by)
            QShortcut(QKeySequence(key), self, move, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)

    def _buttons(self) -> QHBoxLayout:
        self.add_button = QPushButton(icon("add"), self.tr("Add Step"))
        menu = QMenu(self.add_button)
        for task in _TASKS:
            menu.addAction(task.verb, partial(self.add_step, task.id))
        self.add_button.setMenu(menu)
        line = QHBoxLayout()
        line.setSpacing(4)
        line.addWidget(self.add_button)
        line.addStretch(1)
        self._tools: dict[str, QToolButton] = {}
        for name, tip, do in (
            ("up", self.tr("Move the step up (Alt+Up)"), partial(self.move_step, -1)),
            ("down", self.tr("Move the step down (Alt+Down)"), partial(self.move_step, 1)),
            ("remove", self.tr("Remove the step (Del)"), self.remove_step),
        ):
            self._tools[name] = button = QToolButton()
            button.setIcon(icon(name))
            button.setIconSize(QSize(ICON, ICON))
            button.setToolTip(tip)
            button.setAccessibleName(tip)
            button.clicked.connect(do)
            line.addWidget(button)
        return line

    def _make_controls(self) -> None:
        self.model = QComboBox()
        self.model.setAccessibleName(self.tr("Model of the step"))
        WheelGuard(self.model)
        self.model.activated.connect(self._on_model)
        self._summary = QLabel()
        self._summary.setWordWrap(True)
        self._summary.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        self._values = QVBoxLayout()
        self._values.setSpacing(4)
        self._reset = QPushButton(self.tr("Use the Defaults"))
        self._reset.setToolTip(self.tr("Set all settings of this step to the defaults of its model"))
        self._reset.clicked.connect(self._on_reset)
        self._controls = QWidget()
        layout = QVBoxLayout(self._controls)
        layout.setContentsMargins(0, 4, 8, 4)
        layout.setSpacing(8)
        form = QFormLayout()
        form.addRow(self.tr("Model"), self.model)
        layout.addLayout(form)
        layout.addWidget(self._summary)
        layout.addLayout(self._values)
        layout.addWidget(self._reset, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addStretch(1)
        self._area = QScrollArea()
        self._area.setWidget(self._controls)
        self._area.setWidgetResizable(True)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._area.setFocusPolicy(Qt.FocusPolicy.NoFocus)

    # -- what is shown ----------------------------------------------------------------------------------------

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps as edited."""
        return tuple(self._steps)

    def show_steps(self, steps: Sequence[Step], *, editable: bool) -> None:
        """Show the steps of a recipe, the first chosen."""
        self._steps, self._editable = list(steps), editable
        self._list_steps(0)

    def set_editable(self, *, editable: bool) -> None:
        """Set whether the steps can be changed."""
        if editable != self._editable:
            self._editable = editable
            self._list_steps(self.list.currentRow())

    def show_problems(self, problems: Mapping[int, str]) -> None:
        """Show sentences about steps, by their index, at these steps."""
        for row, step in enumerate(self._steps):
            item, problem = self.list.item(row), problems.get(row, "")
            words = problem or self._words(step)
            item.setText(f"{row + 1}.  {TASKS[step.task].title}\n{words}")
            item.setToolTip(problem)
            accent = self.palette().color(QPalette.ColorRole.Accent)
            item.setForeground(QBrush(accent) if problem else QBrush())

    def _words(self, step: Step) -> str:
        """The model of a step and what is not as by default, in one line."""
        card = self._card(step)
        title = card.title if card is not None and step.model else step.model
        settings = task_settings(step.task, card) if card is not None else []
        own = [setting.words(step.settings[setting.name]) for setting in settings if setting.name in step.settings]
        return ", ".join([title or self.tr("Default model"), *own])

    def _card(self, step: Step) -> ModelCard | None:
        """The model of a step; None if it is not installed or does another task."""
        try:
            card = self._registry.card(step.model) if step.model else self._registry.default(step.task)
        except EngineError:
            return None
        return card if card.task == step.task else None

    def _list_steps(self, row: int) -> None:
        """Fill the list anew, and choose a row."""
        with QSignalBlocker(self.list):
            self.list.clear()
            for number, step in enumerate(self._steps):
                item = QListWidgetItem(TASKS[step.task].title)
                item.setData(Qt.ItemDataRole.UserRole, number)
                self.list.addItem(item)
            self.list.setCurrentRow(min(row, len(self._steps) - 1))
        movable = (
            QAbstractItemView.DragDropMode.InternalMove if self._editable else QAbstractItemView.DragDropMode.NoDragDrop
        )
        self.list.setDragDropMode(movable)
        self.show_problems({})
        self._show_step()

    def _show_step(self) -> None:
        """Show the controls of the chosen step."""
        row = self.list.currentRow()
        step = self._steps[row] if 0 <= row < len(self._steps) else None
        self.add_button.setEnabled(self._editable)
        for name, able in (("up", row > 0), ("down", row < len(self._steps) - 1), ("remove", True)):
            self._tools[name].setEnabled(self._editable and step is not None and able)
        self._controls.setVisible(step is not None)
        self._controls.setEnabled(self._editable)
        if step is not None:
            self._show_models(step)
            self._show_settings(step)

    def _show_models(self, step: Step) -> None:
        cards = self._registry.cards(step.task)
        with QSignalBlocker(self.model):
            self.model.clear()
            try:
                default = self._registry.default(step.task)
                self.model.addItem(self.tr("Default ({0})").format(default.title), "")
                self.model.insertSeparator(1)
                list_models(self.model, cards, default.id)
            except EngineError:
                list_models(self.model, cards, "")
            if self.model.findData(step.model) < 0:
                self.model.addItem(self.tr("{0} (missing)").format(step.model or self.tr("Default")), step.model)
            self.model.setCurrentIndex(self.model.findData(step.model))
        card = self._card(step)
        self._summary.setText(card.summary if card is not None else "")
        self._summary.setVisible(bool(self._summary.text()))

    def _show_settings(self, step: Step) -> None:
        while (item := self._values.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                # Hidden at once: it is deleted only when control returns to the event loop.
                widget.hide()
                widget.deleteLater()
        self.sliders = {}
        card = self._card(step)
        for setting in task_settings(step.task, card) if card is not None else []:
            slider = setting.slider(step.settings.get(setting.name, setting.default))
            slider.changed.connect(partial(self._on_value, setting))
            self._values.addWidget(slider)
            self.sliders[setting.name] = slider
        self._reset.setEnabled(bool(step.settings))

    # -- changes ----------------------------------------------------------------------------------------------

    def add_step(self, task: str) -> None:
        """Add a step with a task's default model and settings behind the chosen one."""
        if self._editable:
            row = self.list.currentRow() + 1
            self._steps.insert(row, Step(task))
            self._change(row)
            self.list.setFocus()

    def remove_step(self) -> None:
        """Remove the chosen step."""
        row = self.list.currentRow()
        if self._editable and row >= 0:
            del self._steps[row]
            self._change(row)

    def move_step(self, by: int) -> None:
        """Move the chosen step up (-1) or down (1)."""
        row = self.list.currentRow()
        if self._editable and row >= 0 and 0 <= row + by < len(self._steps):
            self._steps.insert(row + by, self._steps.pop(row))
            self._change(row + by)

    def _change(self, row: int) -> None:
        self._list_steps(row)
        self.changed.emit()

    def _on_dragged(self) -> None:
        order = [self.list.item(row).data(Qt.ItemDataRole.UserRole) for row in range(self.list.count())]
        self._steps = [self._steps[number] for number in order]
        for row in range(self.list.count()):
            self.list.item(row).setData(Qt.ItemDataRole.UserRole, row)
        self._show_step()
        self.changed.emit()

    def _replace(self, step: Step) -> None:
        self._steps[self.list.currentRow()] = step
        self.changed.emit()

    def _on_model(self) -> None:
        """Choose a model; settings that it lacks are dropped."""
        step = replace(self._steps[self.list.currentRow()], model=str(self.model.currentData()))
        card = self._card(step)
        known = (
            {setting.name for setting in task_settings(step.task, card)} if card is not None else step.settings.keys()
        )
        kept = {name: value for name, value in step.settings.items() if name in known}
        self._replace(replace(step, settings=kept))
        self._show_step()

    def _on_value(self, setting: TaskSetting, shown: float) -> None:
        """Take over a slider's value; what is as by default is not written into the recipe."""
        step, value = self._steps[self.list.currentRow()], setting.value(shown)
        settings = {**step.settings, setting.name: value}
        if value == setting.default:
            del settings[setting.name]
        self._reset.setEnabled(bool(settings))
        self._replace(replace(step, settings=settings))

    def _on_reset(self) -> None:
        self._replace(replace(self._steps[self.list.currentRow()], settings={}))
        self._show_step()
