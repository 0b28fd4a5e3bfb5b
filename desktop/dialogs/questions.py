"""Message boxes with questions."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TypeVar

from PySide6.QtWidgets import QInputDialog, QLineEdit, QMessageBox, QWidget


class Closing(Enum):
    """What to do with unsaved work."""

    SAVE = "save"
    DISCARD = "discard"
    CANCEL = "cancel"


class Waiting(Enum):
    """What to do with repairs that wait or run when their photograph is closed."""

    FINISH = "finish"
    DISCARD = "discard"
    CANCEL = "cancel"


class Conflict(Enum):
    """What to do with a project that somebody else changed since it was read."""

    SAVE_AS = "save as"
    OVERWRITE = "overwrite"
    OPEN_THEIRS = "open theirs"
    CANCEL = "cancel"


class Removal(Enum):
    """The answer to whether something is to be deleted."""

    DELETE = "delete"


class Questions:
    """One class method for each question. Tests replace them."""

    @classmethod
    def waiting(cls, parent: QWidget, name: str) -> Waiting:
        """Ask what to do with waiting and running repairs of a photograph that is being closed."""
        text = parent.tr("Repairs of {0} are still under way. Finish them before closing?").format(name)
        answers = {
            Waiting.FINISH: (parent.tr("Finish, Then Close"), QMessageBox.ButtonRole.AcceptRole),
            Waiting.DISCARD: (parent.tr("Discard Them"), QMessageBox.ButtonRole.DestructiveRole),
        }
        return _choose(parent, text, answers, Waiting.FINISH) or Waiting.CANCEL

    @classmethod
    def changed_elsewhere(cls, parent: QWidget, name: str) -> Conflict:
        """Ask what to do with a project file that another program changed since it was read."""
        text = parent.tr("{0} was changed by another program since it was opened here.").format(name)
        answers = {
            Conflict.SAVE_AS: (parent.tr("Save Mine As…"), QMessageBox.ButtonRole.AcceptRole),
            Conflict.OPEN_THEIRS: (parent.tr("Open Theirs Beside"), QMessageBox.ButtonRole.ActionRole),
            Conflict.OVERWRITE: (parent.tr("Overwrite Theirs"), QMessageBox.ButtonRole.DestructiveRole),
        }
        return _choose(parent, text, answers, Conflict.SAVE_AS) or Conflict.CANCEL

    @classmethod
    def forget(cls, parent: QWidget, names: list[str], days: int) -> bool:
        """Ask whether to put autosaved work into the trash.

        Args:
            parent: of the dialog.
            names: of the photographs.
            days: how long it is kept.
        """
        buttons = QMessageBox.StandardButton
        text = parent.tr("Put the autosaved work on {0} into the trash? It is kept there for {1} days.")
        return _ask(parent, text.format(", ".join(names), days), buttons.Yes | buttons.No, buttons.No) == buttons.Yes

    @classmethod
    def unsaved(cls, parent: QWidget, name: str) -> Closing:
        """Ask what to do with unsaved work on a photograph that is being closed."""
        buttons = QMessageBox.StandardButton
        text = parent.tr("Save the work on {0} as a project before closing?").format(name)
        answer = _ask(parent, text, buttons.Save | buttons.Discard | buttons.Cancel, buttons.Save)
        return {buttons.Save: Closing.SAVE, buttons.Discard: Closing.DISCARD}.get(answer, Closing.CANCEL)

    @classmethod
    def unsaved_recipe(cls, parent: QWidget, title: str) -> Closing:
        """Ask what to do with a recipe that was changed and is left."""
        buttons = QMessageBox.StandardButton
        text = parent.tr("Save the changes of the recipe “{0}”?").format(title)
        answer = _ask(parent, text, buttons.Save | buttons.Discard | buttons.Cancel, buttons.Save)
        return {buttons.Save: Closing.SAVE, buttons.Discard: Closing.DISCARD}.get(answer, Closing.CANCEL)

    @classmethod
    def delete_recipe(cls, parent: QWidget, title: str) -> bool:
        """Ask whether to delete a recipe's file."""
        text = parent.tr("Delete the recipe “{0}”? This cannot be undone.").format(title)
        answers = {Removal.DELETE: (parent.tr("Delete"), QMessageBox.ButtonRole.DestructiveRole)}
        return _choose(parent, text, answers, None) is Removal.DELETE

    @classmethod
    def recipe_title(cls, parent: QWidget, suggestion: str) -> str:
        """Ask for the title of a new recipe; empty when cancelled."""
        title, accepted = QInputDialog.getText(
            parent, parent.tr("Save Recipe As"), parent.tr("Title"), QLineEdit.EchoMode.Normal, suggestion
        )
        return title.strip() if accepted else ""

    @classmethod
    def overwrite(cls, parent: QWidget, path: Path) -> bool:
        """Ask whether to replace an existing file."""
        buttons = QMessageBox.StandardButton
        text = parent.tr("Replace the existing {0}?").format(path.name)
        return _ask(parent, text, buttons.Yes | buttons.No, buttons.No) == buttons.Yes


def _ask(
    parent: QWidget, text: str, buttons: QMessageBox.StandardButton, default: QMessageBox.StandardButton
) -> QMessageBox.StandardButton:
    """Ask a question with standard buttons, without an icon."""
    box = QMessageBox(QMessageBox.Icon.NoIcon, "Lacuna", text, buttons, parent)
    box.setDefaultButton(default)
    answer = QMessageBox.StandardButton(box.exec())
    box.deleteLater()
    return answer


A = TypeVar("A", bound=Enum)


def _choose(
    parent: QWidget, text: str, answers: Mapping[A, tuple[str, QMessageBox.ButtonRole]], default: A | None
) -> A | None:
    """Ask a question with own buttons and Cancel; None when it was cancelled.

    Args:
        parent: of the dialog.
        text: the question.
        answers: answer -> text and role of its button.
        default: the answer of the default button; None = Cancel.
    """
    box = QMessageBox(QMessageBox.Icon.NoIcon, "Lacuna", text, QMessageBox.StandardButton.Cancel, parent)
    buttons = {answer: box.addButton(words, role) for answer, (words, role) in answers.items()}
    if default is None:
        box.setDefaultButton(QMessageBox.StandardButton.Cancel)
    else:
        box.setDefaultButton(buttons[default])
    box.exec()
    clicked = box.clickedButton()
    box.deleteLater()
    return next((answer for answer, button in buttons.items() if button is clicked), None)
