"""The help: pages that ship with the program, in a window of their own."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QImage, QKeySequence, QTextDocument
from PySide6.QtWidgets import QHBoxLayout, QTextBrowser, QToolButton, QVBoxLayout, QWidget

from desktop.panels.widgets import size_window
from engine.resources import resource

FIRST = "start.md"
_SIZE = (860, 760)
_WIDEST = 770
"""Of a picture on a page, logical pixels; larger ones are shown reduced."""


class _Pages(QTextBrowser):
    """Shows pictures reduced to the width of the page, which the pages themselves cannot say."""

    def loadResource(self, type_: int, name: QUrl | str) -> Any:
        loaded = super().loadResource(type_, name)
        if type_ != int(QTextDocument.ResourceType.ImageResource.value):
            return loaded
        image = QImage(str(resource("help", QUrl(name).fileName())))
        if image.width() > _WIDEST:
            scale = self.devicePixelRatioF()
            image = image.scaledToWidth(round(_WIDEST * scale), Qt.TransformationMode.SmoothTransformation)
            image.setDevicePixelRatio(scale)
        return image


class HelpWindow(QWidget):
    """Pages of ``resources/help``, which lead to each other. Not modal. GUI thread.

    Args:
        owner: the main window, over which it stays and with which it closes.
    """

    def __init__(self, owner: QWidget) -> None:
        super().__init__(owner, Qt.WindowType.Window)
        self.setWindowTitle(self.tr("Help"))
        size_window(self, *_SIZE)
        self.pages = _Pages()
        self.pages.setAccessibleName(self.tr("Help page"))
        self.pages.setSearchPaths([str(resource("help"))])
        self.pages.document().setDocumentMargin(24)
        self.pages.zoomIn(1)
        bar = QHBoxLayout()
        for name, keys, tip, do, can in (
            (
                "←",
                QKeySequence.StandardKey.Back,
                self.tr("Back to the page before"),
                self.pages.backward,
                self.pages.backwardAvailable,
            ),
            (
                "→",
                QKeySequence.StandardKey.Forward,
                self.tr("Forward again"),
                self.pages.forward,
                self.pages.forwardAvailable,
            ),
        ):
            button = QToolButton()
            button.setText(name)
            button.setShortcut(QKeySequence(keys))
            button.setToolTip(f"{tip} ({button.shortcut().toString(QKeySequence.SequenceFormat.NativeText)})")
            button.setAccessibleName(tip)
            button.setEnabled(False)
            button.clicked.connect(do)
            can.connect(button.setEnabled)
            bar.addWidget(button)
        bar.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(8)
        layout.addLayout(bar)
        layout.addWidget(self.pages, 1)
        self.show_page(FIRST)

    def show_page(self, name: str) -> None:
        """Show a page, by the name of its file."""
        self.pages.setSource(QUrl(name))
