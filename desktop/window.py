"""The contents of the main window: one canvas a photograph, tool bars, panels and status bar."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QSignalBlocker, QSize, Qt, QTimer
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication, QScrollArea, QTabBar, QTabWidget, QToolButton, QWidget

from desktop.actions import ROWS, When
from desktop.canvas.view import CanvasView
from desktop.commands import SAMPLE, Commands
from desktop.dialogs.questions import Closing, Questions
from desktop.document.model import EDGES, State
from desktop.document.review import Verdict
from desktop.document.tiles import TileMap
from desktop.files import Files
from desktop.jobs import JobCentre
from desktop.notify import MessageStrip
from desktop.options import OptionsBar
from desktop.panels.defects import DefectsPanel
from desktop.panels.history import HistoryPanel
from desktop.panels.jobs import JobsPanel
from desktop.panels.layers import LayersPanel
from desktop.panels.navigator import Navigator
from desktop.panels.task import TaskPanel
from desktop.review import ReviewDesk
from desktop.settings import SettingsStore
from desktop.shell import Shell
from desktop.status import StatusBar
from desktop.theme import ICON, apply_theme, icon, surround
from desktop.tools.base import Tool
from desktop.tools.brush import BrushTool, EraserTool, SpotHealTool
from desktop.tools.navigate import HandTool, ZoomTool
from desktop.tools.select import LassoTool, RectangleTool
from desktop.workspace import Workspace
from engine.errors import EngineError
from engine.runtime.cards import Registry


class Window(QObject):
    """What is in the shell, and what happens in it. GUI thread.

    Args:
        shell: the main window, with menus and empty panels.
        store: settings.
        jobs: the job centre.
        files: opening and saving.
        registry: the models.
        monitor: gives the screen's ICC profile, or None; asked when the settings change.
    """

    def __init__(
        self,
        shell: Shell,
        store: SettingsStore,
        jobs: JobCentre,
        files: Files,
        registry: Registry,
        monitor: Callable[[], bytes | None],
    ) -> None:
        super().__init__(shell)
        self.shell, self.store, self.files, self._monitor = shell, store, files, monitor
        self.registry = registry
        self._closing = self._asking = False
        self._given_up: dict[CanvasView, State] = {}
        self._saving: set[CanvasView] = set()
        self._last: CanvasView | None = None
        self._save_soon = QTimer(self)
        self._save_soon.setSingleShot(True)
        self._save_soon.setInterval(1000)
        self._save_soon.timeout.connect(store.save)
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
        self.actions_ = shell.actions_
        # Before the buttons that show them are laid out.
        self.actions_.draw_icons()
        self.strip = MessageStrip()
        self.tabs = QTabWidget()
        self.options = OptionsBar(shell.options, store.settings.tools, self.actions_.by_id)
        self.status = StatusBar(jobs)
        self.navigator = Navigator()
        self.task = TaskPanel(registry, store.settings.repair, self.actions_.by_id)
        below = ("layer_mask", "layer_up", "layer_down", "layer_duplicate", "layer_merge", "layer_delete")
        self.layers = LayersPanel([self.actions_.by_id[id_] for id_ in below])
        self.history = HistoryPanel()
        self.defects = DefectsPanel(store.settings.repair, self.actions_.by_id)
        self.commands = Commands(self)
        self._furnish(jobs)
        self._connect()
        for id_ in ("veil", "marks"):
            self.actions_.by_id[id_].setChecked(True)
        self.select_tool("brush")
        self._on_tab()

    def _furnish(self, jobs: JobCentre) -> None:
        """Put everything into the shell."""
        shell, actions = self.shell, self.actions_.by_id
        shell.setWindowIcon(icon("lacuna"))
        for row in ROWS:
            if row.group == "tool":
                shell.tools.addAction(actions[row.id])
        shell.tools.addSeparator()
        for id_ in ("veil", "divider", "fit"):
            shell.tools.addAction(actions[id_])
        for bar in (shell.tools, shell.options):
            bar.setIconSize(QSize(ICON, ICON))
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setDrawBase(False)
        self.tabs.setMovable(True)
        self.tabs.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        shell.stack.addWidget(self.tabs)
        self.strip.lie_over(shell.stack)
        for id_ in ("panels", "defect_accept", "defect_keep"):
            self.tabs.addAction(actions[id_])
        shell.setStatusBar(self.status)
        contents = {
            "Navigator": self.navigator,
            "Repair": self.task,
            "Defects": self.defects,
            "Layers": self.layers,
            "History": self.history,
            "Jobs": JobsPanel(jobs),
        }
        for title, panel in contents.items():
            shell.panels[title].setWidget(_scrolling(panel) if panel is self.task else panel)
        shell.allows_closing = self._allows_closing

    def _connect(self) -> None:
        self.actions_.connect(self.commands.handlers())
        self.shell.dropped.connect(self.open_paths)
        self.tabs.currentChanged.connect(self._on_tab)
        self.files.opened.connect(self._on_opened)
        self.files.failed.connect(self._on_failed)
        self.files.said.connect(self.strip.say)
        self.files.crashed.connect(self._stay)
        self.files.written.connect(self._on_written)
        self.task.started.connect(lambda new: self.actions_.by_id["heal_new" if new else "heal"].trigger())
        self.options.changed.connect(self._on_tool_settings)
        self.task.changed.connect(self._save_soon.start)
        self.defects.changed.connect(self._save_soon.start)
        self.task.chosen.connect(self._on_task_chosen)
        self.options.target_left.connect(self._leave_target)
        self.shell.welcome.open_wanted.connect(self.commands.ask_open)
        self.shell.welcome.sample_wanted.connect(self.commands.open_sample)
        self.actions_.recent.aboutToShow.connect(self._fill_recent)

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

    def files_in_use(self) -> list[Path]:
        """Files of all open photographs, and the scans their projects came from: nothing is written over these."""
        open_ = [view.workspace for view in self.views() if view.workspace is not None]
        scans = [workspace.document.scan_file for workspace in open_]
        files = [path for workspace in open_ for path in workspace.files()]
        return [*files, *(scan.path for scan in scans if scan), *self.files.targets]

    def views(self) -> list[CanvasView]:
        """All canvases."""
        widgets = [self.tabs.widget(i) for i in range(self.tabs.count())]
        return [widget for widget in widgets if isinstance(widget, CanvasView)]

    def open_paths(self, paths: list[Path]) -> None:
        """Open files; one that is open already is shown, and one that is being opened is not opened twice."""
        self._stay()
        for path in dict.fromkeys(path.resolve() for path in paths):
            known = [view for view in self.views() if view.workspace and path in view.workspace.files()]
            if known:
                self.tabs.setCurrentWidget(known[0])
            elif path in self.files.targets:
                self.strip.say(self.tr("{0} is being written; open it after that.").format(path.name))
            elif path not in self.files.opening:
                self.files.open(path)

    def _on_opened(self, workspace: Workspace) -> None:
        view = CanvasView(self.store.settings.tools)
        view.surround = surround(self.store.settings.look.surround)
        view.set_veil(QColor(self.store.settings.look.veil), shown=self.actions_.by_id["veil"].isChecked())
        view.set_monitor(self._monitor())
        view.marks.set_shown(shown=self.actions_.by_id["marks"].isChecked())
        view.set_tool(self._tool)
        view.spot_painted.connect(partial(self._on_spot_painted, workspace))
        view.pressed.connect(self._on_pressed)
        view.show_workspace(workspace)
        workspace.setParent(view)
        workspace.modified.connect(self._show_titles)
        for signal in (workspace.layers_changed, workspace.review.changed, workspace.review.chosen):
            signal.connect(self._show_state)
        workspace.undo.canUndoChanged.connect(self._show_state)
        workspace.undo.canRedoChanged.connect(self._show_state)
        workspace.message.connect(self.strip.warn)
        index = self.tabs.addTab(view, workspace.title)
        self.tabs.tabBar().setTabButton(index, QTabBar.ButtonPosition.RightSide, self._close_button(view))
        if self.workspace is None or not self.workspace.gesturing:
            self.tabs.setCurrentIndex(index)
            view.setFocus()
        if workspace.source != SAMPLE:
            self.store.remember_file(workspace.source)
        workspace.modified.connect(self._remember_project)
        self._show_titles()

    def _close_button(self, view: CanvasView) -> QToolButton:
        button = QToolButton()
        button.setIcon(icon("cancel"))
        button.setIconSize(QSize(12, 12))
        button.setAutoRaise(True)
        button.setToolTip(self.tr("Close this photograph"))
        button.setAccessibleName(button.toolTip())
        button.clicked.connect(lambda: self.close_tab(self.tabs.indexOf(view)))
        return button

    def close_tab(self, index: int) -> None:
        """Close a photograph; unsaved work is asked for, and saved before it goes."""
        view = self.tabs.widget(index)
        if not isinstance(view, CanvasView) or view in self._saving:
            return
        self._stay()
        view.input.finish()
        if not self._open_question(view) or (self._ask(view) and not self._open_question(view)):
            self._remove(view)

    def _open_question(self, view: CanvasView) -> bool:
        """Whether a photograph holds work that is neither saved nor given up."""
        workspace = view.workspace
        if workspace is None or not workspace.unsaved:
            return False
        given_up = self._given_up.get(view)
        return given_up is None or not workspace.document.state.same_work(given_up)

    def _ask(self, view: CanvasView) -> bool:
        """Ask what becomes of unsaved work; False when the user wants to go on with it. Saving goes on afterwards."""
        workspace = view.workspace
        assert workspace is not None
        self.tabs.setCurrentWidget(view)
        self._asking = True
        answer = Questions.unsaved(self.shell, workspace.title)
        self._asking = False
        if answer is Closing.DISCARD:
            self._given_up[view] = workspace.document.state
            return True
        ticket = self.commands.save(workspace) if answer is Closing.SAVE else None
        if ticket is None:
            return False
        self._saving.add(view)
        ticket.ended.connect(lambda: self._saving.discard(view))
        ticket.done.connect(workspace.while_open(lambda _: self._on_saved_to_close(view)))
        ticket.cancelled.connect(self._stay)
        return True

    def _on_saved_to_close(self, view: CanvasView) -> None:
        # What was painted while it was being saved is asked for again. The whole window closes when all is written.
        self._saving.discard(view)
        if not self._closing:
            self.close_tab(self.tabs.indexOf(view))

    def _stay(self) -> None:
        """The window is not to be closed, whatever was answered."""
        self._closing = False
        self._given_up.clear()

    def _remove(self, view: CanvasView) -> None:
        # What waited for the end of a drag happens now, and may take the tab away itself.
        view.input.cancel()
        workspace, index = view.workspace, self.tabs.indexOf(view)
        if index < 0 or workspace is None:
            return
        self._given_up.pop(view, None)
        self._last = None if self._last is view else self._last
        self.tabs.removeTab(index)
        view.show_workspace(None)
        self.files.close(workspace)
        view.deleteLater()
        # Signals and slots tie Python objects in circles; hundreds of megabytes hang on these.
        QTimer.singleShot(0, self, gc.collect)

    def _on_tab(self) -> None:
        view, workspace = self.view, self.workspace
        if self._last is not None and self._last is not view:
            # All canvases share the tools.
            self._last.input.cancel()
        self._last = view
        self.shell.stack.setCurrentIndex(1 if view is not None else 0)
        self.navigator.show_view(view)
        self.status.show_view(view)
        for panel in (self.layers, self.history, self.task, self.defects):
            panel.show_workspace(workspace)
        if view is not None:
            view.set_tool(self._tool)
            with QSignalBlocker(self.actions_.by_id["divider"]):
                self.actions_.by_id["divider"].setChecked(view.divider)
        self._show_state()
        self._show_titles()

    # -- state of the commands --------------------------------------------------------------------------------

    def select_tool(self, name: str) -> None:
        """Take a tool in hand."""
        self._tool = self.tools[name]
        self.actions_.by_id[f"tool_{name}"].setChecked(True)
        if self.view is not None:
            self.view.set_tool(self._tool)
        if name == "spot" and self.workspace is not None:
            # It heals the picture, and never paints a layer's mask.
            self.workspace.set_target(None)

    def _show_state(self) -> None:
        """Enable what can be done now, and name what the brush paints."""
        workspace = self.workspace
        conditions = [When.ALWAYS]
        target = None
        if workspace is not None:
            # What no model that is chosen would follow is out of the way.
            workspace.show_edges(shown=self.task.draws_edges)
            layer, layers = workspace.active, workspace.document.state.layers
            conditions.append(When.DOCUMENT)
            conditions += [When.LAYER] if layer is not None else []
            conditions += [When.LOWER_LAYER] if layer is not None and layers[0].id != layer.id else []
            conditions += [When.UPPER_LAYER] if layer is not None and layers[-1].id != layer.id else []
            conditions += [When.UNDO] if workspace.undo.canUndo() else []
            conditions += [When.REDO] if workspace.undo.canRedo() else []
            task = self.task.task
            conditions += [When.MASKED_TASK] if task is not None and task.wants_mask else []
            conditions += [When.EDGE_MODEL] if self.task.draws_edges else []
            conditions += [When.EDGES] if workspace.edges is not None else []
            conditions += _of_review(workspace.review)
            target = workspace.target
            if target is not None and self._tool is self.tools["spot"]:
                self.select_tool("brush")
        self.actions_.enable(conditions)
        self.options.show_target(
            workspace.target_name if workspace is not None else "", edges=workspace is not None and target == EDGES
        )
        for id_, on in (("layer_mask", target not in (None, EDGES)), ("edges_paint", target == EDGES)):
            with QSignalBlocker(self.actions_.by_id[id_]):
                self.actions_.by_id[id_].setChecked(on)
        if self.view is not None:
            # The brush may be of another size for what is painted now.
            self.view.refresh_cursor()

    def _show_titles(self) -> None:
        for index in range(self.tabs.count()):
            view = self.tabs.widget(index)
            if isinstance(view, CanvasView) and view.workspace is not None:
                mark = "*" if view.workspace.unsaved else ""
                self.tabs.setTabText(index, view.workspace.title + mark)
                self.tabs.setTabToolTip(index, str(view.workspace.project or view.workspace.source))
        workspace = self.workspace
        name = f"{workspace.title}{'*' if workspace.unsaved else ''} - Lacuna" if workspace is not None else "Lacuna"
        self.shell.setWindowTitle(name)

    def apply_look(self) -> None:
        """Show the settings of the look."""
        look = self.store.settings.look
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        apply_theme(app, look.theme)
        self.actions_.draw_icons()
        self.options.redraw()
        for view in self.views():
            button = self.tabs.tabBar().tabButton(self.tabs.indexOf(view), QTabBar.ButtonPosition.RightSide)
            if isinstance(button, QToolButton):
                button.setIcon(icon("cancel"))
            view.surround = surround(look.surround)
            view.set_veil(QColor(look.veil))
            view.set_monitor(self._monitor())

    def shown_panels(self) -> list[QWidget]:
        """The panels that can be seen now."""
        panels = [self.navigator, self.task, self.defects, self.layers, self.history]
        return [panel for panel in panels if panel.isVisible() and not panel.visibleRegion().isEmpty()]

    # -- slots ------------------------------------------------------------------------------------------------

    def _on_task_chosen(self) -> None:
        """The command that starts it says what it does."""
        task = self.task.task
        if task is not None:
            self.actions_.rename("heal", task.verb, self.task.tip)
        self._show_state()

    def _on_tool_settings(self) -> None:
        self._save_soon.start()
        if self.view is not None:
            self.view.refresh_cursor()

    def _remember_project(self) -> None:
        workspace = self.workspace
        if workspace is not None and workspace.project is not None and not workspace.unsaved:
            self.store.remember_file(workspace.project)

    def _on_spot_painted(self, workspace: Workspace, mask: TileMap) -> None:
        self.commands.heal(spot=mask, workspace=workspace)

    def _on_pressed(self) -> None:
        self.strip.seen()
        painting = [self.tools[name] for name in ("brush", "eraser", "rectangle", "lasso")]
        view, workspace = self.view, self.workspace
        paints = view is not None and view.input.tool in painting
        if paints and workspace is not None and workspace.target in (None, EDGES):
            # What is painted is seen.
            self.actions_.by_id["veil"].setChecked(True)

    def _on_failed(self, error: EngineError) -> None:
        self._stay()
        self.strip.warn(error)

    def _leave_target(self) -> None:
        if self.workspace is not None:
            self.workspace.set_target(None)

    def _fill_recent(self) -> None:
        self.actions_.recent.clear()
        for name in self.store.settings.recent:
            self.actions_.recent.addAction(name, partial(self.open_paths, [Path(name)]))

    def _allows_closing(self) -> bool:
        """Close all photographs, asking for unsaved work; False when something is to be written first, or stays."""
        self._closing = True
        for view in self.views():
            view.input.finish()
        # Again and again, since work may appear while a question is open.
        while questions := [v for v in reversed(self.views()) if v not in self._saving and self._open_question(v)]:
            if not self._ask(questions[0]):
                self._stay()
                return False
        if self.files.writing:
            self.strip.say(self.tr("Lacuna closes when the file is written."))
            return False
        for view in self.views():
            self._remove(view)
        return True

    def _on_written(self) -> None:
        if self._closing:
            QTimer.singleShot(0, self, self._close_after_writing)

    def _close_after_writing(self) -> None:
        workspace, dialog = self.workspace, QApplication.activeModalWidget()
        if workspace is not None and workspace.gesturing:
            workspace.while_open(self._close_after_writing)()
        elif dialog is not None and not self._asking:
            # The user has begun something else.
            self._stay()
        elif self._closing and not self.files.writing and not self._asking:
            self.shell.close()


def _of_review(desk: ReviewDesk) -> list[When]:
    """What can be done with the defects."""
    conditions = {
        When.REVIEW: desk.review is not None,
        When.DEFECTS: desk.counts.total() > desk.counts[Verdict.HEALED],
        When.DEFECT: bool(desk.selected_rows),
        When.TO_DO: desk.counts[Verdict.TO_DO] > 0,
        When.HEALABLE: bool(desk.to_heal),
    }
    return [condition for condition, holds in conditions.items() if holds]


def _scrolling(panel: QWidget) -> QScrollArea:
    """A panel that scrolls when the window is low, and takes the width it needs."""
    area = QScrollArea()
    area.setWidget(panel)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setMinimumWidth(panel.minimumSizeHint().width())
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return area
