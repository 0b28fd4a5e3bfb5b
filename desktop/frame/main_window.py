"""The main window as it is first shown: bars, empty panels and the start page.

It imports nothing heavy, so that it is shown quickly. What needs NumPy, models or codecs is added afterwards by
``desktop.frame.contents``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QByteArray, QSize, Qt, Signal
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QPaintEvent, QShowEvent
from PySide6.QtWidgets import QDockWidget, QMainWindow, QMenu, QStackedWidget, QToolBar, QWidget

from desktop.frame.start_page import StartPage
from desktop.settings import SettingsStore

_PANELS = ("Navigator", "Repair", "Defects", "Layers", "History", "Jobs")

_LOW = 480
"""Screens of fewer logical pixels in height, for example Full HD at 300 %, have room for one panel, so all are tabs."""


class MainWindow(QMainWindow):
    """The main window without its contents. GUI thread.

    Attributes:
        stack: the start page, and later the photographs.
        options, tools: the tool bars, empty at first.
        panels: title -> dock, empty at first.
        allows_closing: called before the window closes; may ask the user. False keeps it open.

    Signals:
        dropped: files were dropped on the window; carries their paths.
        closed: the window was closed.
        painted: it was painted for the first time.
    """

    dropped = Signal(object)
    closed = Signal()
    painted = Signal()

    def __init__(self, store: SettingsStore) -> None:
        super().__init__()
        self.setWindowTitle("Lacuna")
        self.setAcceptDrops(True)
        self._store = store
        self._seen = False
        self._hidden_state = QByteArray()
        self.allows_closing: Callable[[], bool] = lambda: True
        self.options = self._bar(self.tr("Options"), "options", Qt.ToolBarArea.TopToolBarArea)
        self.options.setMinimumHeight(44)
        self.tools = self._bar(self.tr("Tools"), "tools", Qt.ToolBarArea.LeftToolBarArea)
        self.tools.setMinimumWidth(44)
        self.start_page = StartPage(store.settings.recent)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.start_page)
        self.setCentralWidget(self.stack)
        self.panels = {title: self._panel(title) for title in _PANELS}
        self._arrange()

    def _bar(self, title: str, name: str, area: Qt.ToolBarArea) -> QToolBar:
        bar = QToolBar(title)
        bar.setObjectName(name)
        bar.setMovable(False)
        bar.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        self.addToolBar(area, bar)
        return bar

    def _panel(self, title: str) -> QDockWidget:
        dock = QDockWidget(self.tr(title), self)
        dock.setObjectName(title.lower())
        dock.setFeatures(QDockWidget.DockWidgetFeature.DockWidgetMovable)
        dock.setMinimumWidth(280)
        self.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
        return dock

    def _arrange(self) -> None:
        """Restore the saved geometry and panels, or set the defaults."""
        room = self.screen().availableSize()
        low = room.height() < _LOW
        self._stack_panels(low=low)
        geometry, arrangement = self._store.geometry()
        if geometry.isEmpty() or not self.restoreGeometry(geometry):
            self.resize(QSize(1480, 940).boundedTo(room * 0.95))
        self._arranged = low or self.restoreState(arrangement)

    def _stack_panels(self, *, low: bool) -> None:
        """Put panels on others, as tabs; on a low screen all of them."""
        columns = ("Repair", "Defects", "Layers"), ("History", "Jobs")
        for below, *above in (("Repair", *_PANELS[2:], "Navigator"),) if low else columns:
            for title in above:
                self.tabifyDockWidget(self.panels[below], self.panels[title])
            self.panels[below].raise_()

    def _size_panels(self) -> None:
        column = [self.panels[title] for title in ("Navigator", "Repair", "History")]
        self.resizeDocks(column, [150, 460, 150], Qt.Orientation.Vertical)
        self.resizeDocks(column[:1], [300], Qt.Orientation.Horizontal)

    def reset_panels(self) -> None:
        """Put all panels where they are at the first start, and show them."""
        self._hidden_state = QByteArray()
        for panel in self.panels.values():
            self.removeDockWidget(panel)
            self.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, panel)
        for widget in (*self.panels.values(), self.options, self.tools):
            widget.show()
        self._stack_panels(low=self.screen().availableSize().height() < _LOW)
        self._size_panels()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if not self._arranged:
            # Qt applies sizes of docks only after the window was laid out.
            self._arranged = True
            self._size_panels()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._seen:
            self._seen = True
            self.painted.emit()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        self.dropped.emit([Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()])
        event.acceptProposedAction()

    def shown_panels(self) -> list[QWidget]:
        """The panels that are visible now."""
        panels = [dock.widget() for dock in self.panels.values()]
        return [panel for panel in panels if panel.isVisible() and not panel.visibleRegion().isEmpty()]

    def hide_panels(self, *, hidden: bool) -> None:
        """Hide all panels and tool bars, or restore them exactly as they were."""
        if hidden:
            self._hidden_state = self.saveState()
            for widget in (*self.panels.values(), self.options, self.tools):
                widget.hide()
        elif not self._hidden_state.isEmpty():
            self.restoreState(self._hidden_state)
            self._hidden_state = QByteArray()

    def createPopupMenu(self) -> QMenu | None:
        # Qt's context menu could hide panels, and there would be no command to show them again.
        return None

    def closeEvent(self, event: QCloseEvent) -> None:
        if not self.allows_closing():
            event.ignore()
            return
        # The saved state has visible panels.
        self.hide_panels(hidden=False)
        self._store.save_geometry(self.saveGeometry(), self.saveState())
        self._store.save()
        event.accept()
        self.closed.emit()
