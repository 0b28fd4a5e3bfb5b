"""About Lacuna: its version, what it is built with, licences and credits."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QFormLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from desktop.crashes import versions
from desktop.panels.widgets import closing_buttons, show_file
from engine import __version__
from engine.resources import build, resource

_WIDTH, _NARROW = 480, 380
"""Of the texts, and of those with a title beside them, logical pixels."""


class AboutWindow(QDialog):
    """Not modal. GUI thread.

    Args:
        parent: the main window.

    Signals:
        models_wanted: the user wants to see the models with their licences and credits.
    """

    models_wanted = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("About Lacuna"))
        made, licences = build(), resource("licences")
        number = self.tr("Lacuna {0}").format(made.version if made is not None else __version__)
        layout = QVBoxLayout(self)
        # As high as the wrapped texts need.
        layout.setSizeConstraint(QVBoxLayout.SizeConstraint.SetFixedSize)
        layout.setSpacing(12)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.addWidget(_text(number, "title"))
        if made is not None and (made.commit or made.date):
            layout.addWidget(_text(self.tr("Built on {0} from {1}").format(made.date or "-", made.commit or "-")))
        layout.addWidget(
            _text(
                self.tr(
                    "Restores photographs: what is masked is filled, everything else stays as it was scanned. Nothing "
                    "leaves this computer."
                )
            )
        )
        facts = QFormLayout()
        facts.setHorizontalSpacing(24)
        facts.setVerticalSpacing(4)
        facts.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        parts = ", ".join(f"{name} {version}" for name, version in versions().items() if name != "Lacuna")
        facts.addRow(self.tr("Built with"), _text(parts, width=_NARROW))
        facts.addRow(self.tr("Licence"), _text(self.tr("Apache License 2.0"), width=_NARROW))
        learnt = self.tr(
            "They learnt from public-domain, CC0 and CC BY photographs. Each has its own licence and credits."
        )
        facts.addRow(self.tr("Models"), _text(learnt, width=_NARROW))
        layout.addLayout(facts)
        self.models = QPushButton(self.tr("Models and Credits…"))
        self.licences = QPushButton(self.tr("Licences…"))
        said = self.tr("Open the folder with the licences of all that is inside: {0}")
        self.licences.setToolTip(said.format(licences))
        layout.addWidget(
            closing_buttons(
                self, [(self.models, self.models_wanted.emit), (self.licences, lambda: show_file(licences))]
            )
        )
        # A checkout has none; each package that was installed for it has its own.
        self.licences.setVisible(licences.is_dir())

    def done(self, result: int) -> None:
        super().done(result)
        self.deleteLater()


def _text(text: str, name: str = "", width: int = _WIDTH) -> QLabel:
    label = QLabel(text)
    label.setObjectName(name)
    label.setWordWrap(True)
    label.setFixedWidth(width)
    label.setMinimumHeight(label.heightForWidth(width))
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
