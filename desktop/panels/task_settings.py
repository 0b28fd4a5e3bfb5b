"""Controls for the settings of a task and the choice of its model, as panels and dialogs show them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import QComboBox

from desktop.panels.widgets import ValueSlider
from engine.runtime.cards import ModelCard

_TITLE_WIDTH = 56
_POWERS = {"smallest": 3.0, "largest": 4.0, "elongation": 2.0, "widest": 4.0}
"""Powers of sliders whose small values matter most; for others see ``TaskSetting.slider``."""
_BOUNDLESS = {"largest": 1e6, "elongation": 100.0}
"""Maximum of a slider, at which it means no limit."""


@dataclass(frozen=True)
class TaskSetting:
    """A setting of a task, with the range and default that it has with one model.

    Attributes:
        of_model: whether the setting exists only if the model card declares it.
    """

    name: str
    kind: type
    title: str
    tooltip: str
    low: float
    high: float
    default: float
    unit: str
    of_model: bool

    @property
    def _scale(self) -> float:
        """Factor of the displayed value: 100 for shares, which are shown in per cent, otherwise 1."""
        return 100.0 if self.kind is float and not self.unit and self.low >= 0 and self.high <= 1 else 1.0

    def clamp(self, value: float) -> Any:
        """A value clamped to the range, converted to the type of the setting."""
        return self.kind(min(self.high, max(self.low, value)))

    def shown(self, value: float) -> float:
        """What a slider of ``slider`` shows for a value."""
        return value * self._scale

    def value(self, shown: float) -> float:
        """The value that a slider of ``slider`` shows; inverse of ``shown``."""
        if self.name in _BOUNDLESS and shown >= _BOUNDLESS[self.name]:
            return self.high
        return shown / self._scale

    def words(self, value: float) -> str:
        """Title and value, as shown beside a slider."""
        return f"{self.title} {self.shown(value):.4g}{self._unit}"

    @property
    def _unit(self) -> str:
        return " %" if self._scale > 1 else self.unit

    def slider(self, value: float) -> ValueSlider:
        """A slider that shows a value."""
        slider = ValueSlider(
            self.title,
            self.shown(self.low),
            self.shown(_BOUNDLESS.get(self.name, self.high)),
            unit=self._unit,
            decimals=1 if 0 < self.shown(self.low) < 1 else 0,
            power=_POWERS.get(self.name, 2.0 if self.unit else 1.0),
            tooltip=self.tooltip,
            title_width=_TITLE_WIDTH,
            boundless=self.name in _BOUNDLESS,
        )
        slider.set_value(self.shown(value))
        return slider


def task_settings(task: str, card: ModelCard | None = None) -> list[TaskSetting]:
    """The settings of a task. The card of a model may narrow ranges, and add settings that other models lack.

    Args:
        task: a key of ``engine.tasks.TASKS``.
        card: the model; None = the settings that all models have.
    """
    from engine.tasks import TASKS

    of_card = {setting.name: setting for setting in card.settings} if card is not None else {}
    settings = []
    for field in dataclasses.fields(TASKS[task].settings):
        hints, own = field.metadata, of_card.get(field.name)
        if hints["by_card"] and own is None:
            continue
        default: Any = field.default
        settings.append(
            TaskSetting(
                field.name,
                type(default),
                hints["title"],
                hints["tooltip"],
                own.low if own else hints["low"],
                own.high if own else hints["high"],
                own.default if own else default,
                hints["unit"],
                hints["by_card"],
            )
        )
    return settings


def list_models(combo: QComboBox, cards: Sequence[ModelCard], default: str) -> None:
    """Add the models of a task to a list: the default first, then the others, then the studies under a heading.

    Args:
        combo: the list; the data of an entry is the model's id.
        cards: of the models.
        default: id of the task's default model.
    """
    ordered = sorted(cards, key=lambda card: (card.study, card.id != default))
    for number, card in enumerate(ordered):
        if card.study and not (number and ordered[number - 1].study):
            _add_heading(combo, combo.tr("Studies"))
        elif number == 1:
            combo.insertSeparator(combo.count())
        combo.addItem(card.title, card.id)
        combo.setItemData(combo.count() - 1, card.summary, Qt.ItemDataRole.ToolTipRole)


def _add_heading(combo: QComboBox, text: str) -> None:
    """Add a heading, which cannot be chosen, to a list."""
    if combo.count():
        combo.insertSeparator(combo.count())
    combo.addItem(text)
    items = combo.model()
    if isinstance(items, QStandardItemModel):
        items.item(combo.count() - 1).setEnabled(False)
