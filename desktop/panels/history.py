"""The History panel: the names of all undo steps; a click undoes or redoes up to a step."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem, QUndoView, QVBoxLayout, QWidget

from desktop.photo.workspace import Workspace


class HistoryPanel(QWidget):
    """Shows the undo stack of one photograph; undone steps are faint."""

    def __init__(self) -> None:
        super().__init__()
        self.view = QUndoView()
        self.view.setItemDelegate(_Steps(self.view))
        # Otherwise each new step would measure the heights of all rows.
        self.view.setUniformItemSizes(True)
        self.view.setAccessibleName(self.tr("History"))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addWidget(self.view)

    def show_workspace(self, workspace: Workspace | None) -> None:
        """Show the history of a photograph, or none."""
        recovered = workspace is not None and workspace.recovered
        self.view.setEmptyLabel(self.tr("As recovered") if recovered else self.tr("As opened"))
        self.view.setStack(workspace.undo if workspace is not None else None)  # type: ignore[arg-type]
        self.view.scrollTo(self.view.currentIndex())


class _Steps(QStyledItemDelegate):
    """Draws undone steps in the colour of disabled text."""

    def __init__(self, view: QUndoView) -> None:
        super().__init__(view)
        self._view = view

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> None:
        super().initStyleOption(option, index)
        if index.row() > self._view.currentIndex().row():
            faint = option.palette.color(QPalette.ColorGroup.Disabled, QPalette.ColorRole.Text)
            option.palette.setColor(QPalette.ColorRole.Text, faint)
