"""The repair panel: built from the model's card and the task's settings; no model is named here."""

from __future__ import annotations

import dataclasses

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QGuiApplication
from PySide6.QtWidgets import QComboBox, QFormLayout, QGridLayout, QLabel, QPushButton, QSpinBox, QVBoxLayout, QWidget

from desktop.panels.widgets import ValueSlider, WheelGuard
from desktop.repairs import RepairRequest
from desktop.settings import RepairSettings
from desktop.workspace import Workspace
from engine.runtime.cards import ModelCard, Registry

_TITLE_WIDTH = 56
_DEVICES = {"auto": "Automatic", "cpu": "CPU", "cuda": "CUDA (NVIDIA GPU)"}


class TaskPanel(QWidget):
    """Model, device, settings and the button that starts. The settings it edits are the ones it is given.

    Signals:
        started: the button was pressed; carries whether the result goes on a layer of its own (Alt held).
        changed: a setting is another.
    """

    started = Signal(bool)
    changed = Signal()

    def __init__(self, registry: Registry, settings: RepairSettings, actions: dict[str, QAction]) -> None:
        super().__init__()
        self._registry, self._settings = registry, settings
        self._workspace: Workspace | None = None
        self._cards: list[ModelCard] = []
        self._model = QComboBox()
        self._model.setAccessibleName(self.tr("Model"))
        self._device = QComboBox()
        self._device.setAccessibleName(self.tr("Device"))
        self._device.setToolTip(self.tr("Where the model runs; Automatic takes the GPU when it works"))
        for id_, title in _DEVICES.items():
            self._device.addItem(title, id_)
        self._device.setCurrentIndex(
            max(0, list(_DEVICES).index(settings.device) if settings.device in _DEVICES else 0)
        )
        self._values = QVBoxLayout()
        self._values.setSpacing(4)
        self._absent = QLabel(self.tr("No model for this task is installed."))
        self._absent.setWordWrap(True)
        self._button = QPushButton(self.tr("Heal"))
        self._button.setObjectName("primary")
        self._button.setToolTip(self.tr("Fill what is masked; with Alt, always on a new layer (Ctrl+Return)"))
        self._note = QLabel()
        self._note.setWordWrap(True)
        self._note.hide()
        form = QFormLayout()
        form.setSpacing(8)
        form.addRow(self.tr("Model"), self._model)
        form.addRow(self.tr("Device"), self._device)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 12, 12, 12)
        layout.setSpacing(12)
        layout.addLayout(form)
        layout.addWidget(self._absent)
        layout.addWidget(QLabel(self.tr("The mask is used enlarged and faded by")))
        layout.addLayout(self._values)
        layout.addWidget(self._button)
        layout.addWidget(self._note)
        layout.addWidget(self._mask_tools(actions))
        layout.addStretch(1)
        self._model.activated.connect(self._on_model)
        self._device.activated.connect(self._on_device)
        self._button.clicked.connect(self._on_clicked)
        self.show_workspace(None)

    @property
    def button(self) -> QPushButton:
        """The button that starts the repair."""
        return self._button

    @property
    def models(self) -> list[str]:
        """Ids of the models to choose from; empty until they are read."""
        return [card.id for card in self._cards]

    @property
    def amount(self) -> int:
        """Pixels by which the mask commands grow, shrink and soften."""
        return self._amount.value()

    def load(self) -> None:
        """Read the model cards; later than the window, so that it opens at once."""
        self._cards = self._registry.cards("heal")
        self._model.clear()
        for card in self._cards:
            self._model.addItem(card.title, card.id)
        chosen = [card.id for card in self._cards].index(self._settings.model) if self._known_model() else 0
        self._model.setCurrentIndex(chosen)
        self._show_card()
        problems = self._registry.problems()
        self._note.setText(problems[0].sentence if problems else "")
        self._note.setVisible(bool(problems))
        self.show_workspace(self._workspace)

    def show_workspace(self, workspace: Workspace | None) -> None:
        """Follow a photograph, or none."""
        self._workspace = workspace
        self._button.setEnabled(workspace is not None and bool(self._cards))

    def request(self, *, new_layer: bool) -> RepairRequest:
        """What the panel asks for now."""
        values = {name: value for name, value in self._settings.values.items() if name in self._names()}
        return RepairRequest("heal", str(self._model.currentData()), str(self._device.currentData()), values, new_layer)

    def _known_model(self) -> bool:
        return any(card.id == self._settings.model for card in self._cards)

    def _names(self) -> list[str]:
        from engine.tasks import TASKS

        return [field.name for field in dataclasses.fields(TASKS["heal"].settings)]

    def _show_card(self) -> None:
        from engine.tasks import TASKS

        while (item := self._values.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        defaults = TASKS["heal"].settings()
        for field in dataclasses.fields(TASKS["heal"].settings):
            hints = field.metadata
            slider = ValueSlider(
                hints["title"],
                hints["low"],
                hints["high"],
                unit=" px",
                power=2.0,
                tooltip=hints["tooltip"],
                title_width=_TITLE_WIDTH,
            )
            slider.set_value(self._settings.values.get(field.name, float(getattr(defaults, field.name))))
            slider.changed.connect(lambda value, name=field.name: self._on_value(name, value))
            self._values.addWidget(slider)
        card = self._cards[self._model.currentIndex()] if self._cards else None
        self._model.setToolTip(card.summary if card else "")
        self._absent.setVisible(card is None)

    def _mask_tools(self, actions: dict[str, QAction]) -> QWidget:
        box = QWidget()
        grid = QGridLayout(box)
        grid.setContentsMargins(0, 8, 0, 0)
        grid.setSpacing(4)
        self._amount = QSpinBox()
        self._amount.setRange(1, 100)
        self._amount.setValue(4)
        self._amount.setSuffix(" px")
        WheelGuard(self._amount)
        for combo in (self._model, self._device):
            WheelGuard(combo)
        self._amount.setAccessibleName(self.tr("Amount for grow, shrink and feather"))
        self._amount.setToolTip(self.tr("By how much Grow, Shrink and Feather change the mask"))
        grid.addWidget(QLabel(self.tr("Change the mask by")), 0, 0, 1, 2)
        grid.addWidget(self._amount, 0, 2)
        for place, name in enumerate(("mask_grow", "mask_shrink", "mask_feather", "mask_invert", "mask_clear")):
            button = QPushButton(actions[name].text().rstrip("…"))
            button.setToolTip(actions[name].toolTip())
            button.clicked.connect(actions[name].trigger)
            button.setEnabled(actions[name].isEnabled())
            actions[name].enabledChanged.connect(button.setEnabled)
            grid.addWidget(button, 1 + place // 3, place % 3)
        return box

    def _on_value(self, name: str, value: float) -> None:
        self._settings.values[name] = value
        self.changed.emit()

    def _on_model(self) -> None:
        self._settings.model = str(self._model.currentData())
        self.changed.emit()
        self._show_card()

    def _on_device(self) -> None:
        self._settings.device = str(self._device.currentData())
        self.changed.emit()

    def _on_clicked(self) -> None:
        self.started.emit(bool(QGuiApplication.keyboardModifiers() & Qt.KeyboardModifier.AltModifier))
