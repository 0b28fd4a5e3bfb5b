"""The window with the reports of crashes, which can be read before they are sent anywhere by hand."""

from __future__ import annotations

import contextlib
from pathlib import Path

from PySide6.QtCore import QDateTime, QLocale, Qt
from PySide6.QtGui import QFontDatabase, QGuiApplication
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPlainTextEdit,
    QPushButton,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from desktop.crashes import CrashFolder, read_report
from desktop.panels.widgets import closing_buttons, show_file, size_window

_PATH = Qt.ItemDataRole.UserRole


class CrashesWindow(QDialog):
    """A list of the reports, and the text of the chosen one. Not modal. GUI thread.

    Args:
        parent: the main window.
        crashes: the reports.
    """

    def __init__(self, parent: QWidget, crashes: CrashFolder) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Crash Reports"))
        size_window(self, 900, 600)
        self._crashes = crashes
        self._note = QLabel()
        self._note.setWordWrap(True)
        self._list = QListWidget()
        self._list.setAccessibleName(self.tr("Crash reports"))
        self._text = QPlainTextEdit()
        self._text.setReadOnly(True)
        self._text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self._text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self._text.setAccessibleName(self.tr("Text of the report"))
        splitter = QSplitter()
        splitter.addWidget(self._list)
        splitter.addWidget(self._text)
        splitter.setStretchFactor(1, 1)
        splitter.setSizes([220, 680])
        splitter.setChildrenCollapsible(False)
        layout = QVBoxLayout(self)
        layout.setSpacing(8)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.addWidget(self._note)
        layout.addWidget(splitter, 1)
        layout.addWidget(self._make_buttons())
        self._list.currentItemChanged.connect(self._on_chosen)
        self.fill()

    def _make_buttons(self) -> QDialogButtonBox:
        self.copy = QPushButton(self.tr("Copy"))
        self.show_folder = QPushButton(self.tr("Show in Folder"))
        self.delete = QPushButton(self.tr("Delete"))
        return closing_buttons(
            self,
            [(self.copy, self._on_copy), (self.show_folder, self._on_show), (self.delete, self._on_delete)],
        )

    def done(self, result: int) -> None:
        super().done(result)
        self.deleteLater()

    def fill(self) -> None:
        """List the reports that are there now, and show the latest."""
        row = max(0, self._list.currentRow())
        self._list.clear()
        for report in self._crashes.reports():
            when = QDateTime.fromSecsSinceEpoch(int(report.when))
            item = QListWidgetItem(QLocale().toString(when, QLocale.FormatType.ShortFormat))
            item.setData(_PATH, report.path)
            item.setToolTip(report.path.name)
            self._list.addItem(item)
        if self._list.count():
            kept = self.tr("These reports stay on this computer. Lacuna sends them nowhere.")
            more = self.tr("If you want to report a crash, read the text, then copy it or attach its file yourself.")
            self._note.setText(f"{kept} {more}")
            self._list.setCurrentRow(min(row, self._list.count() - 1))
        else:
            none = self.tr("There are no reports: nothing has crashed.")
            self._note.setText(f"{none} {self.tr('If something does, its report stays on this computer.')}")
        self._on_chosen()

    @property
    def _chosen(self) -> Path | None:
        item = self._list.currentItem()
        return Path(item.data(_PATH)) if item is not None else None

    def _on_chosen(self) -> None:
        path = self._chosen
        self._text.setPlainText(read_report(path) if path is not None else "")
        for button in (self.copy, self.show_folder, self.delete):
            button.setEnabled(path is not None)

    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self._text.toPlainText())

    def _on_show(self) -> None:
        show_file(self._crashes.folder)

    def _on_delete(self) -> None:
        path = self._chosen
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink()
            self.fill()
