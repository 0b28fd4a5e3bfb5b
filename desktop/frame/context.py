"""What commands work with: the photograph that is shown, and the parts of the window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from desktop.language import sentence_of

if TYPE_CHECKING:
    from desktop.canvas.view import CanvasView
    from desktop.frame.main_window import MainWindow
    from desktop.frame.notifier import MessageStrip
    from desktop.frame.photos import Photos
    from desktop.frame.status import StatusBar
    from desktop.frame.toolbox import Toolbox
    from desktop.panels.layers import LayersPanel
    from desktop.panels.task import TaskPanel
    from desktop.photo.files import Files
    from desktop.photo.workspace import Workspace
    from desktop.settings import SettingsStore
    from desktop.work.threads import Ticket
    from engine.errors import EngineError
    from engine.output import Output
    from engine.runtime.cards import Registry


@dataclass(frozen=True)
class Context:
    """The parts of one window that commands work with. GUI thread.

    Attributes:
        window: the main window.
        store: settings.
        registry: the models.
        files: opening and saving.
        photos: the open photographs.
        tools: the tool in hand and its options.
        task: the Repair panel.
        layers: the Layers panel.
        strip: messages.
        status: the status bar.
        switch: turns a switch of the menus on or off, by its id, and does what it does.
        ask_shortcuts: lets the user change the shortcuts.
        apply_look: shows changed settings of the look.
    """

    window: MainWindow
    store: SettingsStore
    registry: Registry
    files: Files
    photos: Photos
    tools: Toolbox
    task: TaskPanel
    layers: LayersPanel
    strip: MessageStrip
    status: StatusBar
    switch: Callable[[str, bool], None]
    ask_shortcuts: Callable[[], None]
    apply_look: Callable[[], None]

    @property
    def view(self) -> CanvasView | None:
        """The canvas that is shown."""
        return self.photos.view

    @property
    def photo(self) -> Workspace | None:
        """The photograph that is shown."""
        return self.photos.photo

    def say_of(self, photo: Workspace, sentence: str) -> None:
        """Say something about a photograph, with its name when another one is in front."""
        self.strip.say(sentence if photo is self.photo else f"{photo.title}: {sentence}")

    def asked(self, ask: Callable[[], Ticket]) -> Ticket | None:
        """Ask for a task, and say what goes wrong with it; None when it cannot be done."""
        from engine.errors import EngineError

        try:
            ticket = ask()
        except EngineError as error:
            self.strip.say(sentence_of(error))
            return None
        ticket.done.connect(lambda outcome: self.status.show_device(outcome.device.upper()))
        ticket.failed.connect(self._warn)
        return ticket

    def _warn(self, error: EngineError) -> None:
        self.strip.warn(error)

    def folder_of(self, photo: Workspace) -> Path:
        """Where files of a photograph are suggested: beside it, but never among the program's own."""
        from desktop.frame.photos import SAMPLE

        return Path.home() if photo.source == SAMPLE else photo.source.parent

    def may_write(self, path: Path, suffixes: tuple[str, ...], protected: list[Path] | None = None) -> bool:
        """Whether a file can be written; if not, says why.

        Args:
            path: the file.
            suffixes: file name endings that are accepted.
            protected: files that must stay as they are; None = all that are in use.
        """
        from engine import imageio

        kept = self.photos.files_in_use() if protected is None else protected
        return self._passes(lambda: imageio.check_target(path, kept, suffixes))

    def may_export(self, output: Output) -> bool:
        """Whether a picture can be written with its record; if not, says why."""
        from engine.output import check_place

        return self._passes(lambda: check_place(output, self.photos.files_in_use()))

    def _passes(self, check: Callable[[], None]) -> bool:
        from engine.errors import EngineError

        try:
            check()
        except EngineError as error:
            self.strip.warn(error)
            return False
        return True
