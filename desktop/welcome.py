"""The empty canvas: three lines, and the sample one click away."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget


class Welcome(QWidget):
    """Shown when no photograph is open.

    Signals:
        open_wanted: a scan is to be chosen.
        sample_wanted: the sample is to be opened.
    """

    open_wanted = Signal()
    sample_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("welcome")
        layout = QVBoxLayout(self)
        layout.addStretch(2)
        lines = (
            ("title", self.tr("Lacuna")),
            ("step", self.tr("1   Drop a scan here")),
            ("step", self.tr("2   Paint over the damage")),
            ("step", self.tr("3   Press Heal")),
        )
        for name, text in lines:
            label = QLabel(text)
            label.setObjectName(name)
            label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            layout.addWidget(label)
            layout.addSpacing(8)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        for text, signal in (
            (self.tr("Open a scan…"), self.open_wanted),
            (self.tr("Open the sample"), self.sample_wanted),
        ):
            button = QPushButton(text)
            button.clicked.connect(signal)
            buttons.addWidget(button)
        buttons.addStretch(1)
        layout.addSpacing(16)
        layout.addLayout(buttons)
        layout.addStretch(3)
