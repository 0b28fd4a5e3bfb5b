"""Short questions: unsaved work, an existing file, about."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from PySide6.QtWidgets import QMessageBox, QWidget

from engine import __version__


class Closing(Enum):
    """What to do with unsaved work."""

    SAVE = "save"
    DISCARD = "discard"
    CANCEL = "cancel"


class Questions:
    """One class method a question. Tests replace them."""

    @classmethod
    def unsaved(cls, parent: QWidget, name: str) -> Closing:
        """Ask what becomes of unsaved work."""
        buttons = QMessageBox.StandardButton
        text = parent.tr("Save the work on {0} as a project before closing?").format(name)
        answer = _ask(parent, text, buttons.Save | buttons.Discard | buttons.Cancel, buttons.Save)
        return {buttons.Save: Closing.SAVE, buttons.Discard: Closing.DISCARD}.get(answer, Closing.CANCEL)

    @classmethod
    def overwrite(cls, parent: QWidget, path: Path) -> bool:
        """Ask whether an existing file is replaced."""
        buttons = QMessageBox.StandardButton
        text = parent.tr("Replace the existing {0}?").format(path.name)
        return _ask(parent, text, buttons.Yes | buttons.No, buttons.No) == buttons.Yes

    @classmethod
    def about(cls, parent: QWidget) -> None:
        """Say what this is."""
        QMessageBox.about(
            parent,
            parent.tr("About Lacuna"),
            parent.tr(
                "Lacuna {0}\n\nRestores photographs: what is masked is filled, everything else stays as it was "
                "scanned. Nothing leaves this computer.\n\nApache License 2.0"
            ).format(__version__),
        )


def _ask(
    parent: QWidget, text: str, buttons: QMessageBox.StandardButton, default: QMessageBox.StandardButton
) -> QMessageBox.StandardButton:
    """A question without the blue sign of the system's."""
    box = QMessageBox(QMessageBox.Icon.NoIcon, "Lacuna", text, buttons, parent)
    box.setDefaultButton(default)
    answer = QMessageBox.StandardButton(box.exec())
    box.deleteLater()
    return answer
