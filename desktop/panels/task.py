"""The Repair panel. It is built from the settings of the task and the model card, without knowing any model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QAction, QGuiApplication, QPalette
from PySide6.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from desktop.language import sentence_of
from desktop.panels.measured import MeasuredLabel
from desktop.panels.sheet import SheetButton
from desktop.panels.task_settings import list_models, task_settings
from desktop.panels.widgets import WheelGuard
from desktop.photo.workspace import Workspace
from desktop.settings import RepairSettings
from desktop.work.base import TaskRequest
from engine.errors import ModelError
from engine.runtime.cards import ModelCard, Registry

if TYPE_CHECKING:
    from engine.tasks import Task

_FIRST = "heal"
"""The task that is chosen for a new photograph."""
_DEVICES = {"auto": "Automatic", "cpu": "CPU", "cuda": "CUDA (NVIDIA GPU)"}


class TaskPanel(QWidget):
    """Task, model, device, settings, and the button that starts the task. GUI thread.

    The chosen task is kept with the photograph, everything else in the program's settings.

    Args:
        registry: the models.
        settings: changed in place.
        actions: the window's actions by id.

    Signals:
        started: the button was pressed; carries whether Alt was held, which puts the result on a new layer.
        changed: a setting was changed.
        chosen: another task or model was chosen.
    """

    started = Signal(bool)
    changed = Signal()
    chosen = Signal()

    def __init__(self, registry: Registry, settings: RepairSettings, actions: dict[str, QAction]) -> None:
        super().__init__()
        self._registry, self._settings, self._actions = registry, settings, actions
        self._workspace: Workspace | None = None
        self._cards: dict[str, list[ModelCard]] = {}
        self._defaults: dict[str, str] = {}
        self._refused: dict[str, ModelError] = {}
        self._make_fields()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 12, 12, 12)
        layout.setSpacing(12)
        form = QFormLayout()
        form.setSpacing(8)
        for title, field in ((self.tr("Task"), self._task), (self.tr("Model"), self._model)):
            form.addRow(title, field)
        form.addRow(self.tr("Device"), self._device)
        layout.addLayout(form)
        # Above everything that depends on the model, so that its position never changes.
        layout.addWidget(self._button)
        for label in (self._summary, self._absent, self._note):
            layout.addWidget(label)
        layout.addLayout(self._model_values)
        layout.addWidget(self._measured)
        layout.addWidget(self._mask_use)
        layout.addLayout(self._values)
        for widget in (self._edges, self._mask_tools(), self._sheet_title, self._sheet):
            layout.addWidget(widget)
        layout.addStretch(1)
        self._task.activated.connect(self._on_task)
        self._model.activated.connect(self._on_model)
        self._device.activated.connect(self._on_device)
        self._button.clicked.connect(self._on_clicked)
        actions["heal"].changed.connect(self._show_words)
        self.show_workspace(None)

    def _make_fields(self) -> None:
        self._task, self._model, self._device = QComboBox(), QComboBox(), QComboBox()
        self._task.setAccessibleName(self.tr("Task"))
        self._task.setToolTip(self.tr("What is to be done"))
        self._model.setAccessibleName(self.tr("Model"))
        self._model.setPlaceholderText(self.tr("Choose a model"))
        self._device.setAccessibleName(self.tr("Device"))
        self._device.setToolTip(self.tr("Where the model runs; Automatic takes the GPU when it works"))
        for combo in (self._task, self._model, self._device):
            WheelGuard(combo)
        for id_, title in _DEVICES.items():
            self._device.addItem(title, id_)
        known = list(_DEVICES)
        self._device.setCurrentIndex(known.index(self._settings.device) if self._settings.device in known else 0)
        self._summary, self._absent, self._note = QLabel(), QLabel(), QLabel()
        for label in (self._summary, self._absent, self._note):
            label.setWordWrap(True)
            label.hide()
        self._summary.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._summary.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        self._absent.setText(self.tr("No model is installed."))
        self._sheet_title = QLabel(self.tr("What this model has learnt to draw"))
        self._sheet = SheetButton()
        self._measured = MeasuredLabel()
        self._mask_use = QLabel(self.tr("The mask is used enlarged and faded by"))
        self._model_values, self._values = QVBoxLayout(), QVBoxLayout()
        for values in (self._model_values, self._values):
            values.setSpacing(4)
        self._edges = self._edge_buttons()
        self._button = QPushButton(self.tr("Heal"))
        self._button.setObjectName("primary")

    @property
    def button(self) -> QPushButton:
        """The button that starts the task."""
        return self._button

    @property
    def models(self) -> list[str]:
        """Ids of the models of the chosen task; empty until ``load``."""
        return [card.id for card in self._cards.get(self._chosen, [])]

    @property
    def _chosen(self) -> str:
        """Id of the chosen task."""
        wanted = self._workspace.task if self._workspace is not None else ""
        known = [id_ for id_ in (wanted, _FIRST) if id_ in self._cards]
        return next(iter((*known, *self._cards)), _FIRST)

    @property
    def task(self) -> Task | None:
        """The chosen task; None where no model is installed."""
        from engine.tasks import TASKS

        return TASKS[self._chosen] if self.models else None

    @property
    def device(self) -> str:
        """The chosen device: ``auto``, ``cpu`` or ``cuda``."""
        return str(self._device.currentData())

    @property
    def draws_edges(self) -> bool:
        """Whether the chosen model is guided by edges, which can be drawn and painted."""
        from engine.tasks import wants_edges

        return self.task is not None and wants_edges(self._card(self._chosen))

    @property
    def amount(self) -> int:
        """Pixels by which the mask commands grow, shrink and feather."""
        return self._amount.value()

    def load(self) -> None:
        """Read the model cards. Called after the window was shown."""
        from engine.tasks import TASKS

        cards = self._registry.cards()
        self._cards = {id_: [card for card in cards if card.task == id_] for id_ in TASKS if TASKS[id_].repairs}
        self._cards = {id_: found for id_, found in self._cards.items() if found}
        self._defaults, self._refused = {}, {}
        for id_ in TASKS:
            try:
                self._defaults[id_] = self._registry.default(id_).id
            except ModelError as error:
                self._refused[id_] = error
        self._task.clear()
        for id_ in self._cards:
            self._task.addItem(TASKS[id_].verb, id_)
        problems = [*self._registry.problems(), *(card.lost for card in cards if card.lost is not None)]
        self._note.setText(sentence_of(problems[0]) if problems else "")
        self._note.setVisible(bool(problems))
        self._absent.setVisible(not self._cards)
        self.show_workspace(self._workspace)

    def choose(self, task: str) -> None:
        """Choose a task for the photograph, if there is a model for it."""
        if self._workspace is not None and task in self._cards and task != self._chosen:
            self._workspace.task = task
            self._show_task()

    def show_workspace(self, workspace: Workspace | None) -> None:
        """Show the choices for a photograph, or none."""
        self._workspace = workspace
        for widget in (self._task, self._button):
            widget.setEnabled(workspace is not None and bool(self._cards))
        self._show_task()

    def request(self, *, new_layer: bool, task: str = "") -> TaskRequest:
        """A request with the choices in the panel.

        Args:
            new_layer: see ``TaskRequest``.
            task: id of a task; empty = the chosen one. For another task, its last choices are used.

        Raises:
            ModelError: there is no model for the task.
        """
        id_ = task or self._chosen
        if not self._ready(id_):
            raise self._refused[id_]
        card, values = self._card(id_), self._settings.of(id_).values
        wanted = {
            setting.name: setting.clamp(values.get(setting.name, setting.default))
            for setting in task_settings(id_, card)
        }
        return TaskRequest(id_, card.id, self.device, wanted, new_layer)

    def _ready(self, task: str) -> bool:
        """Whether a task has its own model, or another was chosen for it."""
        cards = self._cards.get(task, [])
        return task not in self._refused or self._settings.of(task).model in {card.id for card in cards}

    def _card(self, task: str) -> ModelCard:
        """The model that was chosen for a task, or its default; ModelError if there is none."""
        cards = {card.id: card for card in self._cards.get(task, [])}
        if not cards:
            raise self._refused.get(task) or ModelError("No model for {task} is installed.", "model.none", task=task)
        # Without its default model a task shows the first, and uses it only when it is chosen.
        wanted = (self._settings.of(task).model, self._defaults.get(task, ""), *cards)
        return next(cards[id_] for id_ in wanted if id_ in cards)

    def _show_task(self) -> None:
        """Show the chosen task and its models."""
        task = self.task
        with QSignalBlocker(self._task), QSignalBlocker(self._model):
            self._task.setCurrentIndex(self._task.findData(self._chosen))
            self._model.clear()
            if task is not None:
                list_models(self._model, self._cards[task.id], self._defaults.get(task.id, ""))
                chosen = self._model.findData(self._card(task.id).id)
                self._model.setCurrentIndex(chosen if self._ready(task.id) else -1)
        self._show_card()

    def _show_card(self) -> None:
        """Show the chosen model and its settings."""
        for values in (self._model_values, self._values):
            while (item := values.takeAt(0)) is not None:
                if (widget := item.widget()) is not None:
                    widget.deleteLater()
        task = self.task
        card = self._card(task.id) if task is not None and self._ready(task.id) else None
        self._summary.setText(card.summary if card is not None else "")
        self._summary.setVisible(bool(self._summary.text()))
        self._model.setToolTip(self._summary.text())
        self._sheet.show_file(card.folder / card.sheet if card is not None and card.sheet else None, _title(card))
        self._sheet_title.setVisible(not self._sheet.isHidden())
        self._mask_use.setVisible(task is not None and task.wants_mask)
        # The settings of a search are its filters, which are in the Defects panel.
        filters = task is not None and task.gives == "findings"
        for setting in task_settings(task.id, card) if task is not None and card is not None and not filters else []:
            slider = setting.slider(
                setting.clamp(self._settings.of(self._chosen).values.get(setting.name, setting.default))
            )
            slider.changed.connect(lambda value, setting=setting: self._on_value(setting.name, setting.value(value)))
            (self._model_values if setting.of_model else self._values).addWidget(slider)
        self._measured.follow(self._workspace, task)
        self._edges.setVisible(self.draws_edges)
        self.chosen.emit()

    def _show_words(self) -> None:
        self._button.setText(self._actions["heal"].text())
        self._button.setToolTip(self._actions["heal"].toolTip())

    def _edge_buttons(self) -> QWidget:
        box = QWidget()
        row = QHBoxLayout(box)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        draw, action = QPushButton(self._actions["edges_draw"].text()), self._actions["edges_draw"]
        draw.setToolTip(action.toolTip())
        draw.clicked.connect(action.trigger)
        draw.setEnabled(action.isEnabled())
        action.enabledChanged.connect(draw.setEnabled)
        row.addWidget(draw, 1)
        for id_ in ("edges_paint", "edges_clear"):
            button = QToolButton()
            button.setDefaultAction(self._actions[id_])
            row.addWidget(button)
        return box

    def _mask_tools(self) -> QWidget:
        box = QWidget()
        grid = QGridLayout(box)
        grid.setContentsMargins(0, 8, 0, 0)
        grid.setSpacing(4)
        self._amount = QSpinBox()
        self._amount.setRange(1, 100)
        self._amount.setValue(4)
        self._amount.setSuffix(" px")
        WheelGuard(self._amount)
        self._amount.setAccessibleName(self.tr("Amount for grow, shrink and feather"))
        self._amount.setToolTip(self.tr("By how much Grow, Shrink and Feather change the mask"))
        grid.addWidget(QLabel(self.tr("Change the mask by")), 0, 0, 1, 2)
        grid.addWidget(self._amount, 0, 2)
        for place, name in enumerate(("mask_grow", "mask_shrink", "mask_feather", "mask_invert", "mask_clear")):
            action = self._actions[name]
            button = QPushButton(action.text().rstrip("…"))
            button.setToolTip(action.toolTip())
            button.clicked.connect(action.trigger)
            button.setEnabled(action.isEnabled())
            action.enabledChanged.connect(button.setEnabled)
            grid.addWidget(button, 1 + place // 3, place % 3)
        return box

    def _on_value(self, name: str, value: float) -> None:
        self._settings.of(self._chosen).values[name] = value
        self.changed.emit()

    def _on_task(self) -> None:
        self.choose(str(self._task.currentData()))

    def _on_model(self) -> None:
        self._settings.of(self._chosen).model = str(self._model.currentData())
        self.changed.emit()
        self._show_card()

    def _on_device(self) -> None:
        self._settings.device = str(self._device.currentData())
        self.changed.emit()

    def _on_clicked(self) -> None:
        task, alt = self.task, QGuiApplication.keyboardModifiers() & Qt.KeyboardModifier.AltModifier
        self.started.emit(bool(alt) and task is not None and task.wants_mask)


def _title(card: ModelCard | None) -> str:
    return card.title if card is not None else ""
