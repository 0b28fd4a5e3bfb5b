"""Creates the contents of the main window - photographs, bars and panels - and connects their signals."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QSize, Qt, QTimer
from PySide6.QtGui import QAction, QColor
from PySide6.QtWidgets import QApplication, QScrollArea, QVBoxLayout, QWidget

from desktop.canvas.view import CanvasView
from desktop.dialogs.settings import ShortcutRow, ShortcutsDialog
from desktop.document.compose import Composite
from desktop.document.targets import EDGE_MAP, REPAIR_MASK
from desktop.frame.batches import Batches
from desktop.frame.checkup import Checkup
from desktop.frame.commands import defects, file, help_, repair
from desktop.frame.context import Context
from desktop.frame.main_window import MainWindow
from desktop.frame.menus import Menus
from desktop.frame.options_bar import OptionsBar
from desktop.frame.photos import Photos
from desktop.frame.recent import Recent
from desktop.frame.reviewing import Reviewing
from desktop.frame.status import StatusBar
from desktop.frame.toolbox import Toolbox
from desktop.panels.defects import DefectsPanel
from desktop.panels.history import HistoryPanel
from desktop.panels.jobs import JobsPanel
from desktop.panels.layers import LayersPanel
from desktop.panels.messages import MessageStrip
from desktop.panels.navigator import Navigator
from desktop.panels.review_bar import ReviewBar
from desktop.panels.task import TaskPanel
from desktop.photo.files import Files
from desktop.settings import SettingsStore
from desktop.theme import ICON, apply_theme, icon, surround
from desktop.work.threads import JobCentre
from engine.raster import Rect
from engine.runtime.cards import Registry

if TYPE_CHECKING:
    from desktop.dialogs.recipes import RecipesWindow
    from desktop.frame.notifier import CrashReporter
    from desktop.work.preview import TakeSample

_LAYER_BUTTONS = ("layer_mask", "layer_up", "layer_down", "layer_duplicate", "layer_merge", "layer_delete")
_SAVE_MS = 1000


class Contents(QObject):
    """The widgets of the main window and their connections. GUI thread.

    Args:
        window: the main window, with empty bars and panels.
        menus: its actions.
        store: settings.
        jobs: the job centre.
        files: opens and writes files.
        registry: the models.
        monitor: returns the screen's ICC profile, or None; called again when the settings change.
        batch_folder: the program's folder for the table of the batch.
        cache: the program's folder for what can be made again.
        crashes: reports of crashes.
    """

    def __init__(
        self,
        window: MainWindow,
        menus: Menus,
        store: SettingsStore,
        jobs: JobCentre,
        files: Files,
        registry: Registry,
        monitor: Callable[[], bytes | None],
        batch_folder: Path,
        cache: Path,
        crashes: CrashReporter,
    ) -> None:
        super().__init__(window)
        self._window, self._store, self._monitor = window, store, monitor
        self._jobs, self._registry = jobs, registry
        self._recipes: RecipesWindow | None = None
        self._own_recipes: list[QAction] = []
        self.menus, self.files = menus, files
        # Before the buttons that show the icons are laid out.
        menus.draw_icons()
        self.strip = MessageStrip()
        self.photos = Photos(window, store, files, self.strip)
        self.review_bar = ReviewBar(menus.by_id)
        self.reviewing = Reviewing(self.photos, files, jobs, self.strip, self.review_bar)
        self.batches = Batches(window, store, jobs, self.photos, self.reviewing, self.strip, batch_folder)
        self.tools = Toolbox(store.settings.tools)
        self.options = OptionsBar(window.options, self.tools, menus.by_id)
        self.status = StatusBar(jobs)
        self.navigator = Navigator()
        self.task = TaskPanel(registry, store.settings.repair, menus.by_id)
        self.layers = LayersPanel([menus.by_id[id_] for id_ in _LAYER_BUTTONS])
        self.history = HistoryPanel()
        self.defects = DefectsPanel(menus.by_id)
        self.context = Context(
            window,
            store,
            registry,
            files,
            self.photos,
            self.batches,
            self.reviewing,
            self.tools,
            self.task,
            self.layers,
            self.strip,
            self.status,
            menus.switch,
            self._ask_shortcuts,
            self._apply_look,
            jobs,
            self._show_recipes,
            crashes.folder,
        )
        self._crashes = crashes
        self.recent = Recent(window.start_page, self.photos, store, jobs, cache / "thumbnails")
        self.checkup = Checkup(self.context, [crashes.folder.folder.parent, cache])
        self._save_soon = QTimer(self)
        self._save_soon.setSingleShot(True)
        self._save_soon.setInterval(_SAVE_MS)
        self._save_soon.timeout.connect(store.save)
        self._build(JobsPanel(jobs))
        self._connect()
        menus.connect_to(self.context)
        self.tools.select("brush")
        self._on_shown()

    def _build(self, jobs: JobsPanel) -> None:
        """Put the widgets into the window."""
        window, actions = self._window, self.menus.by_id
        window.setWindowIcon(icon("lacuna"))
        for action in self.menus.actions:
            if action.group == "tool":
                window.tools.addAction(actions[action.id])
        window.tools.addSeparator()
        for id_ in ("veil", "divider", "fit"):
            window.tools.addAction(actions[id_])
        for bar in (window.tools, window.options):
            bar.setIconSize(QSize(ICON, ICON))
        window.stack.addWidget(_below(self.review_bar, self.photos.tabs))
        self.strip.attach_to(window.stack)
        for action in self.menus.actions:
            if action.on_canvas:
                self.photos.tabs.addAction(actions[action.id])
        window.setStatusBar(self.status)
        contents = {
            "Navigator": self.navigator,
            "Repair": _scroll_area(self.task),
            "Defects": _scroll_area(self.defects),
            "Layers": _scroll_area(self.layers),
            "History": self.history,
            "Jobs": jobs,
        }
        for title, panel in contents.items():
            window.panels[title].setWidget(panel)

    def _connect(self) -> None:
        window, photos = self._window, self.photos
        window.allows_closing = self._allow_closing
        window.dropped.connect(self.batches.drop)
        window.start_page.open_wanted.connect(partial(file.ask_open, self.context))
        window.start_page.sample_wanted.connect(partial(file.open_sample, self.context))
        photos.save = partial(file.save, self.context)
        photos.opened.connect(self._on_opened)
        photos.shown.connect(self._on_shown)
        photos.changed.connect(self._on_changed)
        self.reviewing.shown.connect(self._on_review)
        self.reviewing.changed.connect(self.menus.refresh)
        self.files.said.connect(self.strip.say)
        self.files.failed.connect(self.recent.refresh)
        self.tools.selected.connect(self._on_tool)
        self.tools.changed.connect(self._on_tool_settings)
        self.options.target_left.connect(self._leave_target)
        self.task.started.connect(lambda new: self.menus.by_id["heal_new" if new else "heal"].trigger())
        self.task.changed.connect(self._save_soon.start)
        self.task.chosen.connect(self._on_changed)
        self.menus.recent.aboutToShow.connect(self._fill_recent)
        self.menus.menus["Repair"].aboutToShow.connect(self._list_recipes)
        self.batches.help_wanted.connect(partial(help_.show, self.context, "batches.md"))
        self.batches.try_wanted.connect(lambda path, name: self._show_recipes().preview_file(path, name))

    def begin(self) -> None:
        """Do in the background what need not be done before the window can be used."""
        self.recent.refresh()
        if self._crashes.native:
            self.checkup.tell_crash()
        self.checkup.start()

    # -- photographs ------------------------------------------------------------------------------------------

    def _on_opened(self, view: CanvasView) -> None:
        """Set up the canvas of a new photograph like the others."""
        look, photo = self._store.settings.look, view.workspace
        assert photo is not None
        view.surround = surround(look.surround)
        view.set_veil(QColor(look.veil), shown=self.menus.by_id["veil"].isChecked())
        view.set_monitor(self._monitor())
        view.overlay.set_shown(shown=self.menus.by_id["marks"].isChecked())
        view.set_tool(self.tools.tool)
        view.input.spot_painted.connect(partial(repair.heal_spot, self.context, photo))
        view.input.pressed.connect(self._on_pressed)

    def _on_review(self) -> None:
        """A scan of a batch is reviewed: show its defects in front of the window of the batch."""
        defects.show(self.context)
        self._window.show()
        self._window.raise_()
        self._window.activateWindow()

    def _on_shown(self) -> None:
        view, photo = self.photos.view, self.photos.photo
        self._window.stack.setCurrentIndex(1 if view is not None else 0)
        self.navigator.show_view(view)
        self.status.show_view(view)
        for panel in (self.layers, self.history, self.task, self.defects):
            panel.show_workspace(photo)
        self.strip.show_offer_of(photo)
        if view is not None:
            view.set_tool(self.tools.tool)
        self._on_changed()

    def _on_changed(self) -> None:
        """The enabled actions or the paint target may have changed."""
        photo = self.photos.photo
        target = photo.target if photo is not None else REPAIR_MASK
        if photo is not None:
            # Edges are hidden unless the chosen model uses them.
            photo.show_edges(shown=self.task.draws_edges)
            if target != REPAIR_MASK and self.tools.tool.id == "spot":
                self.tools.select("brush")
        self.menus.refresh()
        self.tools.use_edge_brush(on=target == EDGE_MAP)
        named = photo is not None and target != REPAIR_MASK and target.exists(photo.document.state)
        self.options.show_target(target.name(photo.document.state) if photo is not None and named else "")
        if self.photos.view is not None:
            # Another paint target can have another brush size.
            self.photos.view.refresh_cursor()

    def _on_pressed(self) -> None:
        self.strip.dismiss_read()
        photo = self.photos.photo
        if photo is not None and self.tools.tool.paints and photo.target in (REPAIR_MASK, EDGE_MAP):
            # Show the mask overlay, so that the stroke can be seen.
            self.menus.switch("veil", True)

    # -- tools ------------------------------------------------------------------------------------------------

    def _on_tool(self) -> None:
        tool = self.tools.tool
        # Not with blocked signals: the group would not hear of it, and two tools would look selected.
        self.menus.by_id[f"tool_{tool.id}"].setChecked(True)
        if self.photos.view is not None:
            self.photos.view.set_tool(tool)
        if tool.id == "spot":
            # The spot heal does not use the paint target.
            self._leave_target()

    def _on_tool_settings(self) -> None:
        self._save_soon.start()
        if self.photos.view is not None:
            self.photos.view.refresh_cursor()

    def _leave_target(self) -> None:
        if self.photos.photo is not None:
            self.photos.photo.set_target(REPAIR_MASK)

    # -- settings ---------------------------------------------------------------------------------------------

    def _ask_shortcuts(self) -> None:
        menus, changed = self.menus, self._store.settings.shortcuts
        rows = []
        for action in (action for action in menus.actions if menus.by_id[action.id].isVisible()):
            first = next(iter(action.shortcuts), "")
            text = menus.by_id[action.id].text().replace("&", "").rstrip("…")
            rows.append(ShortcutRow(action.id, text, changed.get(action.id, first), first, action.shortcuts[1:]))
        wanted = ShortcutsDialog.ask(self._window, rows)
        if wanted is not None:
            self._store.settings.shortcuts = menus.changed_shortcuts(wanted)
            menus.set_shortcuts(self._store.settings.shortcuts)
            self._store.save()

    def _apply_look(self) -> None:
        """Apply the settings of the look to the whole window."""
        look, app = self._store.settings.look, QApplication.instance()
        assert isinstance(app, QApplication)
        apply_theme(app, look.theme)
        self.menus.draw_icons()
        self.options.redraw()
        self.photos.redraw()
        for view in self.photos.views():
            view.surround = surround(look.surround)
            view.set_veil(QColor(look.veil))
            view.set_monitor(self._monitor())

    def _fill_recent(self) -> None:
        self.menus.recent.clear()
        for name in self._store.settings.recent:
            self.menus.recent.addAction(name, partial(self.photos.open, [Path(name)]))

    # -- recipes ----------------------------------------------------------------------------------------------

    def _show_recipes(self) -> RecipesWindow:
        """Show the window in which recipes are edited."""
        from desktop.dialogs.recipes import RecipesWindow

        if self._recipes is None:
            device, shown = (lambda: self.task.device), self._sample_shown
            self._recipes = RecipesWindow(self._window, self._registry, self._jobs, device, self._monitor, shown)
        self._recipes.show()
        self._recipes.activateWindow()
        return self._recipes

    def _sample_shown(self, whole: bool) -> tuple[str, TakeSample] | None:  # noqa: FBT001 - a choice in words of its own
        """Title and samples of the photograph that is shown, for a preview."""
        from desktop.work.preview import photo_sample

        view, photo = self.photos.view, self.photos.photo
        if view is None or photo is None:
            return None
        seen = view.viewport.visible_image().toAlignedRect()
        part = Rect(seen.left(), seen.top(), seen.left() + seen.width(), seen.top() + seen.height())
        picture = Composite.of(photo.document.state)
        return photo.title, photo_sample(picture, photo.document.profile, part, whole=whole)

    def _list_recipes(self) -> None:
        """List the user's own recipes in the Repair menu, before the command that edits them."""
        for action in self._own_recipes:
            action.deleteLater()
        self._own_recipes = []
        for name, title in repair.own_recipes().items():
            action = QAction(self.tr("Restore, {0}").format(title.replace("&", "&&")), self)
            action.setEnabled(self.photos.photo is not None)
            action.triggered.connect(partial(repair.restore, self.context, name))
            self._own_recipes.append(action)
        self.menus.menus["Repair"].insertActions(self.menus.by_id["recipes"], self._own_recipes)

    def _allow_closing(self) -> bool:
        """Whether the main window may be closed, after questions about work; see ``Photos.allow_closing``."""
        if self._recipes is not None and not self._recipes.may_leave():
            return False
        if not self.photos.allow_closing():
            return False
        if self._recipes is not None:
            self._recipes.hide()
        return True


def _below(bar: QWidget, widget: QWidget) -> QWidget:
    """A widget below a bar."""
    page = QWidget()
    layout = QVBoxLayout(page)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(0)
    layout.addWidget(bar)
    layout.addWidget(widget, 1)
    return page


def _scroll_area(panel: QWidget) -> QScrollArea:
    """A panel that scrolls vertically and is as wide as it needs to be."""
    area = QScrollArea()
    area.setWidget(panel)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setMinimumWidth(panel.minimumSizeHint().width())
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return area
