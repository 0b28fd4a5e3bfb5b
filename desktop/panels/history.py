"""The history: every undo step by name; a click goes back or forward to it."""

from __future__ import annotations

from PySide6.QtWidgets import QUndoView, QVBoxLayout, QWidget

from desktop.workspace import Workspace


class HistoryPanel(QWidget):
    """Shows the undo stack of one photograph."""

    def __init__(self) -> None:
        super().__init__()
        self.view = QUndoView()
        self.view.setEmptyLabel(self.tr("As opened"))
        self.view.setAccessibleName(self.tr("History"))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addWidget(self.view)

    def show_workspace(self, workspace: Workspace | None) -> None:
        """Follow a photograph, or none."""
        self.view.setStack(workspace.undo if workspace is not None else None)  # type: ignore[arg-type]
