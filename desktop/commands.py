"""What the rows of the action table do."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from desktop.canvas.view import CanvasView
from desktop.dialogs.export import ExportDialog, FileDialogs
from desktop.dialogs.questions import Questions
from desktop.dialogs.settings import SettingsDialog, ShortcutsDialog, updated
from desktop.document.edits import MoveLayer, RemoveLayer, Turn
from desktop.document.model import EDGES
from desktop.document.project import SUFFIX
from desktop.document.tiles import TileMap
from desktop.jobs import Ticket
from desktop.notify import show_log
from desktop.repairs import Outcome
from desktop.restore_commands import RestoreCommands
from desktop.review_commands import ReviewCommands
from desktop.workspace import Workspace
from engine import imageio, masks
from engine.errors import EngineError
from engine.raster import Mask
from engine.resources import resource

if TYPE_CHECKING:
    from desktop.window import Window

SAMPLE = resource("samples", "astronaut.tif")
_BRUSH_STEP = 1.15
_DIGIT_SECONDS = 0.6
"""Two digits within this time are one number."""
_HARDNESS_STEP = 0.25

Handler = Callable[..., object]


class Commands:
    """The commands of one window. GUI thread."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._digit = 0, 0.0
        self._review = ReviewCommands(window, self._on_workspace, self._asked, self._say_of)
        self._restore = RestoreCommands(window, self._on_workspace, self._asked, self._say_of, self._own_folder)

    def handlers(self) -> dict[str, Handler]:
        """Id of a row -> what it does."""
        own = {**self._file_handlers(), **self._view_handlers(), **self._mask_handlers(), **self._layer_handlers()}
        return own | self._review.handlers() | self._restore.handlers()

    def _on_workspace(self, do: Callable[[Workspace], object]) -> Handler:
        """A handler for the photograph that is shown; nothing happens while something is being dragged there."""

        def handler(*_: object) -> None:
            workspace = self._window.workspace
            if workspace is not None and not workspace.gesturing:
                do(workspace)

        return handler

    def _file_handlers(self) -> dict[str, Handler]:
        window = self._window
        return {
            "open": self.ask_open,
            "open_sample": self.open_sample,
            "save": self._on_workspace(self.save),
            "save_as": self._on_workspace(lambda workspace: self.save(workspace, ask=True)),
            "export": self._on_workspace(self._ask_export),
            "close": lambda: window.close_tab(window.tabs.currentIndex()),
            "quit": window.shell.close,
            "shortcuts": self._ask_shortcuts,
            "settings": self._ask_settings,
            "log": self._show_log,
            "about": lambda: Questions.about(window.shell),
        }

    def _view_handlers(self) -> dict[str, Handler]:
        window = self._window

        def on_view(do: Callable[[CanvasView], object]) -> Handler:
            return lambda: do(window.view) if window.view is not None else None

        return {
            "fit": on_view(CanvasView.fit),
            "actual": on_view(lambda view: view.zoom_to(1.0)),
            "zoom_in": on_view(lambda view: view.zoom_step(1)),
            "zoom_out": on_view(lambda view: view.zoom_step(-1)),
            "veil": self._show_veil,
            "before": on_view(lambda view: view.hold_before(held=True)),
            "divider": self._show_divider,
            "panels": lambda on: window.shell.hide_panels(hidden=on),
            "full_screen": self._full_screen,
            "escape": self._escape,
            "next_area": self._next_area,
            **{f"tool_{name}": lambda _checked=False, name=name: window.select_tool(name) for name in window.tools},
            **{f"opacity_{n}": lambda _checked=False, n=n: self._set_opacity(n) for n in range(10)},
            "swap": lambda _checked=False: window.options.swap(),
            "smaller": lambda: self._resize_brush(1 / _BRUSH_STEP),
            "larger": lambda: self._resize_brush(_BRUSH_STEP),
            "softer": lambda: self._harden_brush(-_HARDNESS_STEP),
            "harder": lambda: self._harden_brush(_HARDNESS_STEP),
        }

    def _mask_handlers(self) -> dict[str, Handler]:
        window, on_workspace = self._window, self._on_workspace

        def by_amount(label: str, change: Callable[[Mask, float], Mask]) -> Handler:
            def run(workspace: Workspace) -> None:
                amount = window.task.amount
                workspace.filter_mask(window.tr(label), lambda mask: change(mask, amount), amount)

            return on_workspace(run)

        def plain(label: str, change: Callable[[Mask], Mask], reach: float) -> Handler:
            return on_workspace(lambda workspace: workspace.filter_mask(window.tr(label), change, reach))

        def feather(workspace: Workspace) -> None:
            # Decided for the whole mask, or tiles would differ.
            width, soft = window.task.amount, masks.is_soft(workspace.mask())
            label = window.tr("Feather mask")
            workspace.filter_mask(label, lambda mask: masks.feather(mask, width, soft=soft), width)

        return {
            "mask_invert": plain("Invert mask", masks.invert, float("inf")),
            "mask_clear": plain("Clear mask", lambda mask: mask * 0, 0),
            "mask_grow": by_amount("Grow mask", masks.grow),
            "mask_shrink": by_amount("Shrink mask", masks.shrink),
            "mask_feather": on_workspace(feather),
            "mask_load": on_workspace(self._ask_load_mask),
            "mask_save": on_workspace(self._ask_save_mask),
            "edges_draw": on_workspace(self._draw_edges),
            "edges_paint": self._paint_edges,
            "edges_clear": on_workspace(Workspace.clear_edges),
            "heal": on_workspace(self.heal),
            "heal_new": on_workspace(lambda workspace: self.heal(workspace, new_layer=True)),
        }

    def _layer_handlers(self) -> dict[str, Handler]:
        window, on_workspace = self._window, self._on_workspace

        def turn(how: Turn) -> Handler:
            return on_workspace(lambda workspace: workspace.turn(how))

        return {
            "undo": on_workspace(self._undo),
            "redo": on_workspace(lambda workspace: workspace.undo.redo()),
            "rotate_left": turn(Turn.LEFT),
            "rotate_right": turn(Turn.RIGHT),
            "rotate_half": turn(Turn.HALF),
            "flip_horizontal": turn(Turn.FLIP_HORIZONTAL),
            "flip_vertical": turn(Turn.FLIP_VERTICAL),
            "layer_duplicate": on_workspace(Workspace.duplicate_layer),
            "layer_merge": on_workspace(Workspace.merge_down),
            "layer_rename": on_workspace(lambda _: window.layers.rename()),
            "layer_mask": self._paint_layer_mask,
            "layer_up": on_workspace(lambda workspace: self._move_layer(workspace, 1)),
            "layer_down": on_workspace(lambda workspace: self._move_layer(workspace, -1)),
            "layer_delete": on_workspace(self._delete_layer),
        }

    # -- files ------------------------------------------------------------------------------------------------

    def ask_open(self) -> None:
        """Ask for scans and open them."""
        self._window.open_paths(FileDialogs.open_pictures(self._window.shell, self._folder()))

    def open_sample(self) -> None:
        """Open the picture that comes with the program."""
        self._window.open_paths([SAMPLE])

    def save(self, workspace: Workspace, *, ask: bool = False) -> Ticket | None:
        """Save a project, asking where the first time; None when the user cancelled or it cannot be there."""
        window = self._window
        path = workspace.project
        if path is None or ask:
            suggestion = path or self._own_folder(workspace) / workspace.source.with_suffix(SUFFIX).name
            path = FileDialogs.save_project(window.shell, suggestion)
        if path is None:
            return None
        # A project is saved over by itself alone.
        own = [file for file in workspace.files() if file.suffix.lower() == SUFFIX]
        protected = [file for file in window.files_in_use() if file.resolve() not in own]
        return window.files.save(workspace, path) if self._may_write(path, protected, (SUFFIX,)) else None

    def _ask_export(self, workspace: Workspace) -> None:
        window = self._window
        suffix = workspace.source.suffix.lower()
        suffix = suffix if suffix in (".tif", ".tiff", ".png") else ".tif"
        suggestion = self._own_folder(workspace) / f"{workspace.source.stem}-healed{suffix}"
        output = ExportDialog.ask(
            window.shell,
            window.files_in_use(),
            workspace.document.depth,
            suggestion,
            lambda wanted: window.files.measure(workspace, wanted),
        )
        if output is None or not self._may_write(output.path, window.files_in_use(), imageio.WRITABLE):
            return
        if not output.path.exists() or Questions.overwrite(window.shell, output.path):
            window.files.export(workspace, output)

    def _ask_load_mask(self, workspace: Workspace) -> None:
        path = FileDialogs.open_mask(self._window.shell, self._folder())
        if path is not None:
            self._window.files.load_mask(workspace, path)

    def _ask_save_mask(self, workspace: Workspace) -> None:
        suggestion = self._own_folder(workspace) / f"{workspace.source.stem}-mask.png"
        path = FileDialogs.save_mask(self._window.shell, suggestion)
        if path is not None and self._may_write(path, self._window.files_in_use(), (".png",)):
            self._window.files.save_mask(workspace, path)

    def _may_write(self, path: Path, protected: list[Path], suffixes: tuple[str, ...]) -> bool:
        """Whether a file can be written; if not, says why."""
        try:
            imageio.check_target(path, protected, suffixes)
        except EngineError as error:
            self._window.strip.warn(error)
            return False
        return True

    def _own_folder(self, workspace: Workspace) -> Path:
        """Where files of a photograph are suggested: beside it, but never among the program's own."""
        return Path.home() if workspace.source == SAMPLE else workspace.source.parent

    def _folder(self) -> Path:
        """Where file dialogs begin: beside the present photograph, or the latest one."""
        workspace, recent = self._window.workspace, self._window.store.settings.recent
        if workspace is not None:
            return workspace.source.parent
        return Path(recent[0]).parent if recent else Path.home()

    # -- repair -----------------------------------------------------------------------------------------------

    def heal(self, workspace: Workspace, *, new_layer: bool = False, spot: TileMap | None = None) -> None:
        """Do what is chosen in the task panel; a spot of its own is always healed."""
        panel, task = self._window.task, "heal" if spot is not None else ""
        if spot is None and panel.task is not None and panel.task.gives == "picture":
            self._restore.enlarge(workspace, panel.request(new_layer=False))
            return

        def ask() -> Ticket:
            return workspace.desk.ask(panel.request(new_layer=new_layer, task=task), spot)

        ticket = self._asked(ask)
        if ticket is not None:
            ticket.done.connect(workspace.while_open(partial(self._review.found, workspace)))

    def _asked(self, ask: Callable[[], Ticket]) -> Ticket | None:
        """Ask for a task; None when it cannot be done, which is said."""
        window = self._window
        try:
            ticket = ask()
        except EngineError as error:
            window.strip.say(error.sentence)
            return None
        ticket.done.connect(lambda outcome: window.status.show_device(outcome.device.upper()))
        ticket.failed.connect(window.strip.warn)
        return ticket

    def _draw_edges(self, workspace: Workspace) -> None:
        panel = self._window.task
        ticket = self._asked(lambda: workspace.desk.draw_edges(panel.request(new_layer=False)))
        if ticket is not None:
            ticket.done.connect(workspace.while_open(partial(self._on_edges_drawn, workspace)))

    def _on_edges_drawn(self, workspace: Workspace, _outcome: Outcome) -> None:
        window = self._window
        if workspace is window.workspace:
            window.actions_.by_id["veil"].setChecked(True)
        self._say_of(
            workspace,
            window.tr("These edges will be followed. Paint what is missing, erase what is wrong, then press Heal."),
        )

    def _say_of(self, workspace: Workspace, sentence: str) -> None:
        """Say it, with the file's name when another photograph is in front."""
        window = self._window
        window.strip.say(sentence if workspace is window.workspace else f"{workspace.title}: {sentence}")

    def _paint_edges(self, on: bool) -> None:  # noqa: FBT001 - Qt's signal
        workspace = self._window.workspace
        if workspace is not None:
            workspace.set_target(EDGES if on else None)

    def _undo(self, workspace: Workspace) -> None:
        """Call off the task that was asked for last, or else take back the last step."""
        if workspace.desk.call_off():
            self._window.strip.say(self._window.tr("The repair was called off."))
        else:
            workspace.undo.undo()

    def _set_opacity(self, digit: int) -> None:
        """5 is 50 %, 0 is 100 %, and 5 quickly followed by 7 is 57 %."""
        before, since = self._digit
        now = time.monotonic()
        self._digit = digit, now
        if now - since < _DIGIT_SECONDS and (before or digit):
            self._digit = 0, 0.0
            self._window.options.set_opacity((10 * before + digit) / 100)
        else:
            self._window.options.set_opacity((digit or 10) / 10)

    def _resize_brush(self, factor: float) -> None:
        size = self._window.options.size
        step = max(1.0, abs(size * (factor - 1)))
        self._window.options.set_size(size + (step if factor > 1 else -step))

    def _harden_brush(self, step: float) -> None:
        self._window.options.set_hardness(self._window.store.settings.tools.hardness + step)

    # -- layers -----------------------------------------------------------------------------------------------

    def _paint_layer_mask(self, on: bool) -> None:  # noqa: FBT001 - Qt's signal
        workspace = self._window.workspace
        if workspace is not None:
            workspace.set_target(workspace.active.id if on and workspace.active is not None else None)

    def _move_layer(self, workspace: Workspace, step: int) -> None:
        layer, state = workspace.active, workspace.document.state
        if layer is not None and 0 <= state.index(layer.id) + step < len(state.layers):
            workspace.push(MoveLayer(self._window.tr("Move layer"), state, layer.id, state.index(layer.id) + step))

    def _delete_layer(self, workspace: Workspace) -> None:
        layer = workspace.active
        if layer is not None:
            workspace.push(RemoveLayer(self._window.tr("Delete layer"), workspace.document.state, layer.id))

    # -- view and settings ------------------------------------------------------------------------------------

    def _show_veil(self, on: bool) -> None:  # noqa: FBT001 - Qt's signal
        for view in self._window.views():
            view.set_veil(shown=on)

    def _show_divider(self, on: bool) -> None:  # noqa: FBT001 - Qt's signal
        if self._window.view is not None:
            self._window.view.set_divider(shown=on)

    def _full_screen(self, on: bool) -> None:  # noqa: FBT001 - Qt's signal
        shell, full = self._window.shell, Qt.WindowState.WindowFullScreen
        # The rest of the state stays, so that a maximised window is maximised again.
        shell.setWindowState(shell.windowState() | full if on else shell.windowState() & ~full)

    def _escape(self) -> None:
        """Call off what is being dragged; else leave the layer's mask; else the full screen."""
        window = self._window
        full_screen = window.actions_.by_id["full_screen"]
        if window.view is not None and window.view.input.cancel():
            return
        if window.workspace is not None and window.workspace.target is not None:
            window.workspace.set_target(None)
        elif full_screen.isChecked():
            full_screen.setChecked(False)
        if window.view is not None:
            window.view.setFocus()

    def _show_log(self) -> None:
        if not show_log():
            self._window.strip.say(self._window.tr("The system has no program that shows the log."))

    def _next_area(self) -> None:
        """Move the keyboard from picture to options to tools to panels, and round again."""
        window = self._window
        areas: list[QWidget] = [window.shell.options, window.shell.tools, *window.shown_panels()]
        if window.view is not None:
            areas.insert(0, window.view)
        focused = window.shell.focusWidget()
        present = next(
            (i for i, area in enumerate(areas) if focused and (area is focused or area.isAncestorOf(focused))), -1
        )
        for step in range(1, len(areas) + 1):
            area = areas[(present + step) % len(areas)]
            target = area if isinstance(area, CanvasView) else _first_focusable(area)
            if target is not None:
                target.setFocus()
                return

    def _ask_settings(self) -> None:
        look = SettingsDialog.ask(self._window.shell, self._window.store.settings.look)
        if look is not None:
            updated(self._window.store.settings.look, look)
            self._window.store.save()
            self._window.apply_look()

    def _ask_shortcuts(self) -> None:
        window = self._window
        wanted = ShortcutsDialog.ask(window.shell, window.actions_.by_id)
        if wanted is not None:
            window.store.settings.shortcuts = window.actions_.changed_shortcuts(wanted)
            window.actions_.set_shortcuts(window.store.settings.shortcuts)
            window.store.save()


def _first_focusable(area: QWidget) -> QWidget | None:
    children = area.findChildren(QWidget)
    return next(
        (w for w in children if w.isVisible() and w.isEnabled() and w.focusPolicy() & Qt.FocusPolicy.TabFocus), None
    )
