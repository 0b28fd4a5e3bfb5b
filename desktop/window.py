"""The main window: menus, tool bars, one canvas a photograph, docks, status bar, and what the commands do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QCloseEvent, QColor, QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import (
    QApplication,
    QDockWidget,
    QMainWindow,
    QStackedWidget,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from desktop.actions import ROWS, Actions, When
from desktop.canvas.view import CanvasView
from desktop.commands import SAMPLE, Commands
from desktop.dialogs.questions import Closing, Questions
from desktop.document.tiles import TileMap
from desktop.files import Files
from desktop.jobs import JobCentre
from desktop.notify import MessageStrip
from desktop.options import OptionsBar
from desktop.panels.history import HistoryPanel
from desktop.panels.jobs import JobsPanel
from desktop.panels.layers import LayersPanel
from desktop.panels.navigator import Navigator
from desktop.panels.task import TaskPanel
from desktop.settings import SettingsStore
from desktop.status import StatusBar
from desktop.theme import apply_theme, icon, surround
from desktop.tools.base import Tool
from desktop.tools.brush import BrushTool, EraserTool, SpotHealTool
from desktop.tools.navigate import HandTool, ZoomTool
from desktop.tools.select import LassoTool, RectangleTool
from desktop.welcome import Welcome
from desktop.workspace import Workspace
from engine.runtime.cards import Registry


class Window(QMainWindow):
    """The program's window. GUI thread.

    Args:
        store: settings.
        jobs: the job centre.
        files: opening and saving.
        registry: the models.
        monitor: gives the screen's ICC profile, or None; asked when the settings change.

    Signals:
        closed: all photographs are closed and the window goes.
    """

    closed = Signal()

    def __init__(
        self,
        store: SettingsStore,
        jobs: JobCentre,
        files: Files,
        registry: Registry,
        monitor: Callable[[], bytes | None],
    ) -> None:
        super().__init__()
        self.setWindowTitle("Lacuna")
        self.setWindowIcon(icon("lacuna"))
        self.setAcceptDrops(True)
        self.store, self.files, self._monitor = store, files, monitor
        self._closing = False
        self.tools: dict[str, Tool] = {
            "brush": BrushTool(),
            "eraser": EraserTool(),
            "rectangle": RectangleTool(),
            "lasso": LassoTool(),
            "spot": SpotHealTool(),
            "hand": HandTool(),
            "zoom": ZoomTool(),
        }
        self._tool = self.tools["brush"]
        self.commands = Commands(self)
        self.actions_ = Actions(self, self.commands.handlers(), store.settings.shortcuts)
        self.strip = MessageStrip()
        self.tabs = QTabWidget()
        self.options = OptionsBar(store.settings.tools, self.actions_.by_id)
        self.status = StatusBar(jobs)
        self._build(jobs, registry)
        self._connect()
        self.apply_look()
        self.actions_.by_id["veil"].setChecked(True)
        self.select_tool("brush")
        self._on_tab()
        geometry, panels = store.geometry()
        if geometry.isEmpty() or not self.restoreGeometry(geometry):
            self.resize(1480, 940)
        self.restoreState(panels)

    # -- building ---------------------------------------------------------------------------------------------

    def _build(self, jobs: JobCentre, registry: Registry) -> None:
        actions = self.actions_.by_id
        self.options.setObjectName("options")
        self.addToolBar(Qt.ToolBarArea.TopToolBarArea, self.options)
        palette = self.palette_bar = self.addToolBar(self.tr("Tools"))
        palette.setObjectName("tools")
        palette.setOrientation(Qt.Orientation.Vertical)
        self.addToolBar(Qt.ToolBarArea.LeftToolBarArea, palette)
        for bar in (self.options, palette):
            bar.setMovable(False)
            bar.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        for row in ROWS:
            if row.group == "tool":
                palette.addAction(actions[row.id])
        palette.addSeparator()
        for id_ in ("veil", "divider", "fit"):
            palette.addAction(actions[id_])

        self.tabs.setDocumentMode(True)
        self.tabs.setTabsClosable(True)
        self.tabs.setMovable(True)
        self.tabs.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._welcome = Welcome()
        self._stack = QStackedWidget()
        self._stack.addWidget(self._welcome)
        self._stack.addWidget(self.tabs)
        middle = QWidget()
        layout = QVBoxLayout(middle)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._stack, 1)
        layout.addWidget(self.strip)
        self.setCentralWidget(middle)
        self.setStatusBar(self.status)

        self.navigator = Navigator()
        self.task = TaskPanel(registry, self.store.settings.repair, actions)
        below = ("layer_mask", "layer_up", "layer_down", "layer_duplicate", "layer_merge", "layer_delete")
        self.layers = LayersPanel([actions[id_] for id_ in below])
        self.history = HistoryPanel()
        docks = [
            self._dock(self.tr("Navigator"), "navigator", self.navigator),
            self._dock(self.tr("Repair"), "repair", self.task),
            self._dock(self.tr("Layers"), "layers", self.layers),
            self._dock(self.tr("History"), "history", self.history),
            self._dock(self.tr("Jobs"), "jobs", JobsPanel(jobs)),
        ]
        self.tabifyDockWidget(docks[1], docks[2])
        self.tabifyDockWidget(docks[3], docks[4])
        docks[1].raise_()
        docks[3].raise_()
        self.resizeDocks([docks[0], docks[1], docks[3]], [170, 420, 240], Qt.Orientation.Vertical)
        self.resizeDocks([docks[0]], [300], Qt.Orientation.Horizontal)

    def _dock(self, title: str, name: str, widget: QWidget) -> QDockWidget:
        dock = QDockWidget(title, self)
        dock.setObjectName(name)
        dock.setWidget(widget)
        dock.setFeatures(QDockWidget.DockWidgetFeature.DockWidgetMovable)
        self.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
        return dock

    def _connect(self) -> None:
        self.tabs.currentChanged.connect(self._on_tab)
        self.tabs.tabCloseRequested.connect(self.close_tab)
        self.files.opened.connect(self._on_opened)
        self.files.failed.connect(self.strip.warn)
        self.files.said.connect(self.strip.say)
        self.task.started.connect(lambda new_layer: self.commands.heal(new_layer=new_layer))
        self.options.changed.connect(self._on_tool_settings)
        self.options.target_left.connect(self._leave_target)
        self._welcome.open_wanted.connect(self.commands.ask_open)
        self._welcome.sample_wanted.connect(self.commands.open_sample)
        self._recent = self.actions_.menus["File"].addMenu(self.tr("Open Recent"))
        self._recent.aboutToShow.connect(self._fill_recent)

    # -- photographs ------------------------------------------------------------------------------------------

    @property
    def view(self) -> CanvasView | None:
        """The canvas that is shown."""
        widget = self.tabs.currentWidget()
        return widget if isinstance(widget, CanvasView) else None

    @property
    def workspace(self) -> Workspace | None:
        """The photograph that is shown."""
        return self.view.workspace if self.view is not None else None

    def views(self) -> list[CanvasView]:
        """All canvases."""
        widgets = [self.tabs.widget(i) for i in range(self.tabs.count())]
        return [widget for widget in widgets if isinstance(widget, CanvasView)]

    def open_paths(self, paths: list[Path]) -> None:
        """Open files; one that is open already is shown."""
        for path in paths:
            open_already = [
                view
                for view in self.views()
                if view.workspace and path in (view.workspace.source, view.workspace.project)
            ]
            if open_already:
                self.tabs.setCurrentWidget(open_already[0])
            else:
                self.files.open(path)

    def _on_opened(self, workspace: Workspace) -> None:
        view = CanvasView(self.store.settings.tools)
        view.surround = surround(self.store.settings.look.surround)
        view.set_veil(QColor(self.store.settings.look.veil), shown=self.actions_.by_id["veil"].isChecked())
        view.set_monitor(self._monitor())
        view.set_tool(self._tool)
        view.spot_painted.connect(self._on_spot_painted)
        view.panels_toggled.connect(self._toggle_panels)
        view.show_workspace(workspace)
        workspace.setParent(view)
        workspace.modified.connect(self._show_titles)
        workspace.layers_changed.connect(self._show_state)
        workspace.undo.canUndoChanged.connect(self._show_state)
        workspace.undo.canRedoChanged.connect(self._show_state)
        workspace.message.connect(self.strip.warn)
        self.tabs.setCurrentIndex(self.tabs.addTab(view, workspace.title))
        if workspace.source != SAMPLE:
            self.store.remember_file(workspace.source)
        self._show_titles()
        view.setFocus()

    def close_tab(self, index: int) -> None:
        """Close a photograph; unsaved work is asked for, and saved before it goes."""
        view = self.tabs.widget(index)
        if not isinstance(view, CanvasView) or view.workspace is None:
            return
        workspace = view.workspace
        if workspace.unsaved:
            self.tabs.setCurrentIndex(index)
            answer = Questions.unsaved(self, workspace.title)
            if answer is Closing.CANCEL:
                self._closing = False
                return
            if answer is Closing.SAVE:
                ticket = self.commands.save()
                if ticket is None:
                    self._closing = False
                    return
                ticket.done.connect(lambda: self._remove(view))
                ticket.ended.connect(self._on_save_ended)
                return
        self._remove(view)

    def _on_save_ended(self) -> None:
        # Saved: the window may go on closing. Not saved: the tab is still there, and so is the window.
        if self._closing and not any(view.workspace and view.workspace.unsaved for view in self.views()):
            self.close()
        self._closing = False

    def _remove(self, view: CanvasView) -> None:
        workspace = view.workspace
        index = self.tabs.indexOf(view)
        if index < 0 or workspace is None:
            return
        self.tabs.removeTab(index)
        view.show_workspace(None)
        self.files.close(workspace)
        view.deleteLater()

    def _on_tab(self) -> None:
        view, workspace = self.view, self.workspace
        self._stack.setCurrentIndex(1 if view is not None else 0)
        self.navigator.show_view(view)
        self.status.show_view(view)
        for panel in (self.layers, self.history, self.task):
            panel.show_workspace(workspace)
        if view is not None:
            view.set_tool(self._tool)
            with QSignalBlocker(self.actions_.by_id["divider"]):
                self.actions_.by_id["divider"].setChecked(view.divider)
        self._show_state()

    # -- state of the commands --------------------------------------------------------------------------------

    def select_tool(self, name: str) -> None:
        """Take a tool in hand."""
        self._tool = self.tools[name]
        self.actions_.by_id[f"tool_{name}"].setChecked(True)
        if self.view is not None:
            self.view.set_tool(self._tool)

    def _show_state(self) -> None:
        """Enable what can be done now, and name what the brush paints."""
        workspace = self.workspace
        conditions = []
        target = None
        if workspace is not None:
            layer, layers = workspace.active, workspace.document.state.layers
            conditions.append(When.DOCUMENT)
            conditions += [When.LAYER] if layer is not None else []
            conditions += [When.LOWER_LAYER] if layer is not None and layers[0].id != layer.id else []
            conditions += [When.UNDO] if workspace.undo.canUndo() else []
            conditions += [When.REDO] if workspace.undo.canRedo() else []
            target = next((la for la in layers if la.id == workspace.target), None)
        self.actions_.enable(conditions)
        self.options.show_target(target.name if target is not None else "")
        with QSignalBlocker(self.actions_.by_id["layer_mask"]):
            self.actions_.by_id["layer_mask"].setChecked(target is not None)

    def _show_titles(self) -> None:
        for index, view in enumerate(self.views()):
            if view.workspace is not None:
                mark = "*" if view.workspace.unsaved else ""
                self.tabs.setTabText(index, view.workspace.title + mark)
                self.tabs.setTabToolTip(index, str(view.workspace.project or view.workspace.source))

    def apply_look(self) -> None:
        """Show the settings of the look."""
        look = self.store.settings.look
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        apply_theme(app, look.theme)
        self.actions_.refresh_icons()
        for view in self.views():
            view.surround = surround(look.surround)
            view.set_veil(QColor(look.veil))
            view.set_monitor(self._monitor())

    def shown_panels(self) -> list[QWidget]:
        """The panels that can be seen now."""
        panels = [self.navigator, self.task, self.layers, self.history]
        return [panel for panel in panels if panel.isVisible() and not panel.visibleRegion().isEmpty()]

    def _toggle_panels(self) -> None:
        """Hide all panels, or bring them back."""
        docks = self.findChildren(QDockWidget)
        bars = [self.options, self.palette_bar]
        show = not any(widget.isVisible() for widget in [*docks, *bars])
        for widget in [*docks, *bars]:
            widget.setVisible(show)

    # -- slots ------------------------------------------------------------------------------------------------

    def _on_tool_settings(self) -> None:
        if self.view is not None:
            self.view.refresh_cursor()

    def _on_spot_painted(self, mask: TileMap) -> None:
        self.commands.heal(spot=mask)

    def _leave_target(self) -> None:
        if self.workspace is not None:
            self.workspace.set_target(None)

    def _fill_recent(self) -> None:
        self._recent.clear()
        for name in self.store.settings.recent:
            self._recent.addAction(name, partial(self.open_paths, [Path(name)]))

    # -- events -----------------------------------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        self.open_paths([Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()])
        event.acceptProposedAction()

    def closeEvent(self, event: QCloseEvent) -> None:
        self._closing = True
        for view in reversed(self.views()):
            self.close_tab(self.tabs.indexOf(view))
            if not self._closing:
                break
        if self.tabs.count():
            # Cancelled, or a project is being saved: then ``_on_save_ended`` closes.
            event.ignore()
            return
        self.store.save_geometry(self.saveGeometry(), self.saveState())
        self.store.save()
        event.accept()
        self.closed.emit()
