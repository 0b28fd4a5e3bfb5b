"""The dialog for autosaved work after a crash: open it, keep it for later, or put it into the trash."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QLabel, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from desktop.dialogs.questions import Questions
from desktop.photo.files import TRASH_DAYS

_MARGIN = 6
"""Space above and below the text of a row, pixels."""


class Recovery(Enum):
    """What to do with autosaved work; FORGET puts it into the trash."""

    OPEN = "open"
    LATER = "later"
    FORGET = "forget"


class RecoverDialog(QDialog):
    """A list with check boxes and three buttons; closing the dialog means later.

    Args:
        parent: of the dialog.
        abandoned: autosave folder -> file of the photograph.
        forgotten: the same for work in the trash, which is not checked at first.
    """

    def __init__(
        self, parent: QWidget | None, abandoned: dict[Path, Path], forgotten: dict[Path, Path] | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Autosaved work"))
        self._answer, self._abandoned = Recovery.LATER, abandoned
        text = QLabel(self.tr("Lacuna was not closed properly. Work on these pictures was autosaved:"))
        if forgotten:
            text.setText(self.tr("There is autosaved work on these pictures:"))
        text.setWordWrap(True)
        self._list = QListWidget()
        self._list.setMinimumWidth(460)
        for folder, source in abandoned.items():
            self._add(folder, str(source), ticked=True)
        for folder, source in (forgotten or {}).items():
            self._add(folder, self.tr("{0} (in the trash)").format(source), ticked=False)
        buttons = QDialogButtonBox()
        roles = QDialogButtonBox.ButtonRole
        self.open_button = buttons.addButton(self.tr("Open ticked"), roles.AcceptRole)
        self.later_button = buttons.addButton(self.tr("Later"), roles.RejectRole)
        self.later_button.setToolTip(self.tr("It waits in File > Recover Work"))
        self.forget_button = buttons.addButton(self.tr("Forget ticked…"), roles.ResetRole)
        self.forget_button.setToolTip(self.tr("Put what is ticked into the trash, where it is kept for some weeks"))
        self.open_button.setDefault(True)
        layout = QVBoxLayout(self)
        for widget in (text, self._list, buttons):
            layout.addWidget(widget)
        self.open_button.clicked.connect(lambda: self._finish(Recovery.OPEN))
        self.forget_button.clicked.connect(self._on_forget)
        self._list.itemChanged.connect(self._on_check)
        self._on_check()
        self.later_button.clicked.connect(self.reject)

    def _add(self, folder: Path, text: str, *, ticked: bool) -> None:
        item = QListWidgetItem(text)
        # Rows would otherwise grow when the first box is clicked, and another one be under the pointer.
        item.setSizeHint(QSize(0, self.fontMetrics().height() + 2 * _MARGIN))
        item.setData(Qt.ItemDataRole.UserRole, folder)
        item.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)
        self._list.addItem(item)

    @classmethod
    def ask(
        cls, parent: QWidget | None, abandoned: dict[Path, Path], forgotten: dict[Path, Path] | None = None
    ) -> dict[Path, Recovery]:
        """Show the dialog; see the class for the arguments.

        Returns:
            Autosave folder -> answer.
        """
        dialog = cls(parent, abandoned, forgotten)
        dialog.exec()
        dialog.deleteLater()
        return dialog.answers()

    def answers(self) -> dict[Path, Recovery]:
        """Autosave folder -> answer; LATER for what is not checked."""
        answers = {}
        for row in range(self._list.count()):
            item = self._list.item(row)
            ticked = item.checkState() == Qt.CheckState.Checked
            answers[item.data(Qt.ItemDataRole.UserRole)] = self._answer if ticked else Recovery.LATER
        return answers

    def _checked(self) -> list[QListWidgetItem]:
        items = (self._list.item(row) for row in range(self._list.count()))
        return [item for item in items if item.checkState() == Qt.CheckState.Checked]

    def _on_check(self) -> None:
        """Work that is in the trash already cannot be put there, and there must be something to do."""
        checked = [item.data(Qt.ItemDataRole.UserRole) for item in self._checked()]
        self.open_button.setEnabled(bool(checked))
        self.forget_button.setEnabled(any(folder in self._abandoned for folder in checked))

    def _on_forget(self) -> None:
        folders = [item.data(Qt.ItemDataRole.UserRole) for item in self._checked()]
        names = [self._abandoned[folder].name for folder in folders if folder in self._abandoned]
        # After a no the dialog stays open.
        if Questions.forget(self, names, TRASH_DAYS):
            self._finish(Recovery.FORGET)

    def _finish(self, answer: Recovery) -> None:
        self._answer = answer
        self.accept()
