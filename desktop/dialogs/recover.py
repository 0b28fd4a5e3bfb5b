"""Autosaved work that a start which ended badly left behind: open it, keep it for later, or forget it."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QLabel, QListWidget, QListWidgetItem, QVBoxLayout, QWidget


class Recovery(Enum):
    """What becomes of autosaved work."""

    OPEN = "open"
    LATER = "later"
    FORGET = "forget"


class RecoverDialog(QDialog):
    """A list to tick, and three answers; closing it keeps everything for later."""

    def __init__(self, parent: QWidget | None, abandoned: dict[Path, Path]) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Autosaved work"))
        self._answer = Recovery.LATER
        text = QLabel(self.tr("Lacuna was not closed properly. Work on these pictures was autosaved:"))
        text.setWordWrap(True)
        self._list = QListWidget()
        self._list.setMinimumWidth(460)
        for folder, source in abandoned.items():
            item = QListWidgetItem(str(source))
            item.setData(Qt.ItemDataRole.UserRole, folder)
            item.setCheckState(Qt.CheckState.Checked)
            self._list.addItem(item)
        buttons = QDialogButtonBox()
        roles = QDialogButtonBox.ButtonRole
        self.open_button = buttons.addButton(self.tr("Open ticked"), roles.AcceptRole)
        self.later_button = buttons.addButton(self.tr("Later"), roles.RejectRole)
        self.forget_button = buttons.addButton(self.tr("Forget ticked"), roles.DestructiveRole)
        self.open_button.setDefault(True)
        layout = QVBoxLayout(self)
        for widget in (text, self._list, buttons):
            layout.addWidget(widget)
        self.open_button.clicked.connect(lambda: self._finish(Recovery.OPEN))
        self.forget_button.clicked.connect(lambda: self._finish(Recovery.FORGET))
        self.later_button.clicked.connect(self.reject)

    @classmethod
    def ask(cls, parent: QWidget | None, abandoned: dict[Path, Path]) -> dict[Path, Recovery]:
        """Ask what becomes of the work in session folders.

        Args:
            parent: for the dialog.
            abandoned: session folder -> photograph.

        Returns:
            Session folder -> answer.
        """
        dialog = cls(parent, abandoned)
        dialog.exec()
        dialog.deleteLater()
        return dialog.answers()

    def answers(self) -> dict[Path, Recovery]:
        """Session folder -> what was chosen; what is not ticked stays for later."""
        answers = {}
        for row in range(self._list.count()):
            item = self._list.item(row)
            ticked = item.checkState() == Qt.CheckState.Checked
            answers[item.data(Qt.ItemDataRole.UserRole)] = self._answer if ticked else Recovery.LATER
        return answers

    def _finish(self, answer: Recovery) -> None:
        self._answer = answer
        self.accept()
