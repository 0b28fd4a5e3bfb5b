"""A row of a batch, large: the scan and its result with a divider between them, and what was done."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from desktop.batch.model import BatchModel
from desktop.batch.pictures import Pictures
from desktop.batch.words import details_of, found_in_words, told_in_words
from desktop.panels.pictures import DividedPicture
from engine.batch.rows import Row


class Preview(QWidget):
    """The row under the mouse, or else the current one. GUI thread.

    Args:
        model: says the states of rows.
        pictures: makes the pictures.
    """

    def __init__(self, model: BatchModel, pictures: Pictures) -> None:
        super().__init__()
        self._model, self._pictures = model, pictures
        self._row: Row | None = None
        self.picture = DividedPicture(self.tr("The scan left of a divider, and its result right of it"), enlarges=True)
        self._name, self._told = QLabel(), QLabel()
        for label in (self._name, self._told):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._name.setObjectName("previewName")
        self._told.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self._told.setMinimumHeight(7 * self.fontMetrics().height())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self.picture, 1)
        layout.addWidget(self._name)
        layout.addWidget(self._told)
        pictures.made.connect(self._on_made)
        self.show_row(None)

    @property
    def text(self) -> str:
        """What is said about the row."""
        return self._told.text()

    def show_row(self, row: Row | None) -> None:
        """Show a row, or nothing."""
        self._row = row
        pair = self._pictures.pair(row) if row is not None else None
        self.picture.show_images(*([image for image in (pair.before, pair.after) if image] if pair is not None else []))
        self._name.setText(row.relative if row is not None else "")
        nothing = self.tr("Point at a scan to see it here, before and after.")
        self._told.setText(self._words(row) if row is not None else nothing)
        self._told.setForegroundRole(QPalette.ColorRole.PlaceholderText if row is None else QPalette.ColorRole.Text)

    def _words(self, row: Row) -> str:
        found = found_in_words(row)
        lines = [
            self._model.state_text(row),
            self.tr("Found: {0}").format(found) if found else "",
            told_in_words(row),
            details_of(row),
        ]
        return "\n".join(dict.fromkeys(line for line in lines if line))

    def _on_made(self, id_: int) -> None:
        if self._row is not None and self._row.id == id_:
            self.show_row(self._row)
