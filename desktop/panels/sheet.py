"""The sample sheet of a model: small in the Repair panel, large in its own window."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QIcon, QKeyEvent, QMouseEvent, QPixmap
from PySide6.QtWidgets import QLabel, QToolButton, QWidget

_SMALL = QSize(224, 120)
_SHARE_OF_SCREEN = 0.8


class SheetButton(QToolButton):
    """A button with the sample sheet of a model; a click shows it large. Hidden when there is none."""

    def __init__(self) -> None:
        super().__init__()
        self._picture = QPixmap()
        self._title = ""
        self._large: _Large | None = None
        self.setIconSize(_SMALL)
        self.setToolTip(self.tr("What this model has learnt to draw; click to see it large"))
        self.setAccessibleName(self.tr("What this model has learnt to draw"))
        self.clicked.connect(self._show_large)
        self.hide()

    @property
    def large(self) -> QWidget | None:
        """The window with the large picture, while it is open."""
        return self._large if self._large is not None and self._large.isVisible() else None

    def show_file(self, path: Path | None, title: str) -> None:
        """Show a sheet.

        Args:
            path: a PNG; the button is hidden for None or a file that cannot be read.
            title: of the model.
        """
        self._picture = QPixmap(str(path)) if path is not None and path.is_file() else QPixmap()
        self._title = title
        self.setIcon(QIcon(self._picture))
        # Not higher than the picture.
        self.setIconSize(self._picture.size().scaled(_SMALL, Qt.AspectRatioMode.KeepAspectRatio))
        self.setVisible(not self._picture.isNull())
        if self._large is not None:
            self._large.close()

    def _show_large(self) -> None:
        if self._large is None:
            self._large = _Large(self.window())
        room = self.screen().availableSize() * _SHARE_OF_SCREEN
        size = self._picture.size().boundedTo(self._picture.size().scaled(room, Qt.AspectRatioMode.KeepAspectRatio))
        ways = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        self._large.setPixmap(self._picture.scaled(size, *ways))
        self._large.setWindowTitle(self._title)
        self._large.setFixedSize(size)
        self._large.show()


class _Large(QLabel):
    """The window with the large sheet. Not modal; Esc or a click closes it."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Tool)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.ShortcutOverride:
            # This window handles Esc itself; other shortcuts work as in the main window.
            event.setAccepted(event.key() == Qt.Key.Key_Escape)
            return event.isAccepted()
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.close()
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        event.accept()
        self.close()
