"""The dialogs for settings and shortcuts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QIcon, QKeySequence, QPixmap
from PySide6.QtWidgets import (
    QColorDialog,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QKeySequenceEdit,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from desktop.panels.widgets import ValueSlider, size_window
from desktop.settings import Look


class SettingsDialog(QDialog):
    """Theme, grey around the picture, colour of the mask overlay, and the screen's profile."""

    def __init__(self, parent: QWidget | None, look: Look) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Settings"))
        self._veil = QColor(look.veil)
        self._theme = QComboBox()
        for name, title in (
            ("dark", self.tr("Dark")),
            ("light", self.tr("Light")),
            ("system", self.tr("As the system")),
        ):
            self._theme.addItem(title, name)
        self._theme.setCurrentIndex(self._theme.findData(look.theme))
        self._surround = ValueSlider("", 0, 100, unit=" %", tooltip=self.tr("Grey around the picture"))
        self._surround.set_value(look.surround * 100)
        self._colour = QPushButton()
        self._monitor = QLineEdit(look.monitor)
        self._monitor.setMinimumWidth(320)
        self._monitor.setPlaceholderText(self.tr("the system's, else sRGB"))
        browse = QPushButton(self.tr("Browse…"))
        line = QHBoxLayout()
        line.addWidget(self._monitor, 1)
        line.addWidget(browse)
        form = QFormLayout()
        form.addRow(self.tr("Theme"), self._theme)
        form.addRow(self.tr("Grey around the picture"), self._surround)
        form.addRow(self.tr("Mask colour"), self._colour)
        form.addRow(self.tr("Monitor profile"), line)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(buttons)
        self._colour.clicked.connect(self._on_colour)
        browse.clicked.connect(self._on_browse)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self._show_colour()

    @classmethod
    def ask(cls, parent: QWidget | None, look: Look) -> Look | None:
        """Show the dialog with a look; returns the new one, None when cancelled."""
        dialog = cls(parent, look)
        accepted = dialog.exec() == QDialog.DialogCode.Accepted
        dialog.deleteLater()
        return dialog.look() if accepted else None

    def look(self) -> Look:
        """The current choices."""
        return Look(
            theme=str(self._theme.currentData()),
            surround=self._surround.value / 100,
            veil=self._veil.name(QColor.NameFormat.HexArgb),
            monitor=self._monitor.text().strip(),
        )

    def _on_colour(self) -> None:
        options = QColorDialog.ColorDialogOption.ShowAlphaChannel
        chosen = QColorDialog.getColor(self._veil, self, self.tr("Mask colour"), options)
        if chosen.isValid():
            self._veil = chosen
            self._show_colour()

    def _show_colour(self) -> None:
        swatch = QPixmap(32, 16)
        swatch.fill(QColor(self._veil.red(), self._veil.green(), self._veil.blue()))
        self._colour.setIcon(QIcon(swatch))
        self._colour.setIconSize(swatch.size())
        self._colour.setText(self.tr("{0}, {1} %").format(self._veil.name(), round(100 * self._veil.alphaF())))

    def _on_browse(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, self.tr("Monitor profile"), "", "ICC (*.icc *.icm)")
        if name:
            self._monitor.setText(name)


@dataclass(frozen=True)
class ShortcutRow:
    """One command in the list.

    Attributes:
        id: of the action.
        text: its name.
        key: its first shortcut, in portable text.
        first: the default of that.
        more: further shortcuts, which cannot be changed.
    """

    id: str
    text: str
    key: str
    first: str
    more: tuple[str, ...] = ()


class ShortcutsDialog(QDialog):
    """A searchable list in which shortcuts can be changed."""

    def __init__(self, parent: QWidget | None, rows: Sequence[ShortcutRow]) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Shortcuts"))
        size_window(self, 520, 600)
        self._rows = rows
        self._search = QLineEdit()
        self._search.setPlaceholderText(self.tr("Search"))
        self._search.setClearButtonEnabled(True)
        self._table = QTableWidget(len(rows), 2)
        self._table.setHorizontalHeaderLabels([self.tr("Command"), self.tr("Shortcut")])
        self._table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self._table.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.Fixed)
        self._table.setColumnWidth(1, 180)
        self._table.verticalHeader().hide()
        self._edits: dict[str, QKeySequenceEdit] = {}
        for place, row in enumerate(rows):
            also = self.tr(" (also {0})").format(", ".join(row.more)) if row.more else ""
            item = QTableWidgetItem(row.text + also)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled)
            edit = QKeySequenceEdit(QKeySequence(row.key))
            edit.setClearButtonEnabled(True)
            edit.setMaximumSequenceLength(1)
            edit.keySequenceChanged.connect(self._check)
            self._edits[row.id] = edit
            self._table.setItem(place, 0, item)
            self._table.setCellWidget(place, 1, edit)
        self._note = QLabel()
        self._note.setWordWrap(True)
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        defaults = self._buttons.addButton(self.tr("Defaults"), QDialogButtonBox.ButtonRole.ResetRole)
        defaults.clicked.connect(self._on_defaults)
        layout = QVBoxLayout(self)
        for widget in (self._search, self._table, self._note, self._buttons):
            layout.addWidget(widget)
        self._search.textChanged.connect(self._on_search)
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        self._check()

    @classmethod
    def ask(cls, parent: QWidget | None, rows: Sequence[ShortcutRow]) -> dict[str, str] | None:
        """Show the dialog; returns id -> first shortcut in portable text, None when cancelled."""
        dialog = cls(parent, rows)
        accepted = dialog.exec() == QDialog.DialogCode.Accepted
        dialog.deleteLater()
        return dialog.shortcuts() if accepted else None

    def shortcuts(self) -> dict[str, str]:
        """The current choices, id -> first shortcut in portable text."""
        return {id_: _portable_text(edit.keySequence()) for id_, edit in self._edits.items()}

    def _check(self) -> None:
        """Show which keys are used by two commands, and disable OK then: Qt would run neither command."""
        wanted, users = self.shortcuts(), dict[str, list[str]]()
        for row in self._rows:
            keys = {wanted[row.id], *(_portable_text(QKeySequence(key)) for key in row.more)} - {""}
            for key in keys:
                users.setdefault(key, []).append(row.text)
        twice = [f"{key} ({', '.join(names)})" for key, names in sorted(users.items()) if len(names) > 1]
        self._note.setText(self.tr("Used twice: {0}").format("; ".join(twice)) if twice else "")
        self._buttons.button(QDialogButtonBox.StandardButton.Ok).setEnabled(not twice)

    def _on_defaults(self) -> None:
        for row in self._rows:
            self._edits[row.id].setKeySequence(QKeySequence(row.first))

    def _on_search(self, text: str) -> None:
        for row in range(self._table.rowCount()):
            item = self._table.item(row, 0)
            self._table.setRowHidden(row, item is None or text.lower() not in item.text().lower())


def _portable_text(key: QKeySequence) -> str:
    return key.toString(QKeySequence.SequenceFormat.PortableText)


def copy_look(look: Look, other: Look) -> None:
    """Copy all values of ``other`` to ``look``."""
    for field in dataclasses.fields(Look):
        setattr(look, field.name, getattr(other, field.name))
