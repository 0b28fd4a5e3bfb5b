"""The page that is shown without a photograph: three steps, and buttons to open a scan or the sample."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget


class StartPage(QWidget):
    """Shown when no photograph is open.

    Signals:
        open_wanted: the user wants to choose a scan.
        sample_wanted: the user wants to open the sample.
    """

    open_wanted = Signal()
    sample_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("welcome")
        block = QVBoxLayout()
        block.setSpacing(8)
        lines = (
            ("title", self.tr("Lacuna")),
            ("step", self.tr("1   Drop a scan here")),
            ("step", self.tr("2   Paint over the damage")),
            ("step", self.tr("3   Press Heal")),
        )
        for name, text in lines:
            label = QLabel(text)
            label.setObjectName(name)
            block.addWidget(label)
        buttons = QHBoxLayout()
        for text, signal in (
            (self.tr("Open a scan…"), self.open_wanted),
            (self.tr("Open the sample"), self.sample_wanted),
        ):
            button = QPushButton(text)
            button.clicked.connect(signal)
            buttons.addWidget(button)
        block.addSpacing(16)
        block.addLayout(buttons)
        line = QHBoxLayout()
        line.addStretch(1)
        line.addLayout(block)
        line.addStretch(1)
        layout = QVBoxLayout(self)
        layout.addStretch(2)
        layout.addLayout(line)
        layout.addStretch(3)
