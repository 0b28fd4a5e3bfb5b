"""The context of commands: the photograph that is shown, and the parts of the window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from PySide6.QtWidgets import QWidget

from desktop.language import sentence_of

if TYPE_CHECKING:
    from desktop.canvas.view import CanvasView
    from desktop.crashes import CrashFolder
    from desktop.dialogs.recipes import RecipesWindow
    from desktop.frame.batches import Batches
    from desktop.frame.main_window import MainWindow
    from desktop.frame.photos import Photos
    from desktop.frame.reviewing import Reviewing
    from desktop.frame.status import StatusBar
    from desktop.frame.toolbox import Toolbox
    from desktop.panels.layers import LayersPanel
    from desktop.panels.messages import MessageStrip
    from desktop.panels.task import TaskPanel
    from desktop.photo.files import Files
    from desktop.photo.workspace import Workspace
    from desktop.settings import SettingsStore
    from desktop.work.threads import JobCentre, Ticket
    from engine.errors import EngineError
    from engine.output import Output
    from engine.runtime.cards import Registry

W = TypeVar("W", bound=QWidget)


@dataclass(frozen=True)
class Context:
    """The parts of one window that commands use. GUI thread.

    Attributes:
        window: the main window.
        store: settings.
        registry: the models.
        files: opens and writes files.
        photos: the open photographs.
        batches: the window of batches.
        reviewing: the review of a batch.
        tools: the chosen tool and the tools' settings.
        task: the Repair panel.
        layers: the Layers panel.
        strip: messages.
        status: the status bar.
        switch: checks or unchecks an action by its id, which runs it if that changes it.
        ask_shortcuts: shows the dialog for shortcuts.
        apply_look: applies changed settings of the look.
        jobs: the job centre.
        show_recipes: shows the window in which recipes are edited, and returns it.
        crashes: reports of crashes.
    """

    window: MainWindow
    store: SettingsStore
    registry: Registry
    files: Files
    photos: Photos
    batches: Batches
    reviewing: Reviewing
    tools: Toolbox
    task: TaskPanel
    layers: LayersPanel
    strip: MessageStrip
    status: StatusBar
    switch: Callable[[str, bool], None]
    ask_shortcuts: Callable[[], None]
    apply_look: Callable[[], None]
    jobs: JobCentre
    show_recipes: Callable[[], RecipesWindow]
    crashes: CrashFolder

    @property
    def view(self) -> CanvasView | None:
        """The canvas that is shown."""
        return self.photos.view

    @property
    def photo(self) -> Workspace | None:
        """The photograph that is shown."""
        return self.photos.photo

    def open_window(self, kind: type[W], make: Callable[[], W]) -> W:
        """Bring the window of a kind to the front, or make and show it if there is none."""
        window = next((window for window in self.window.findChildren(kind) if window.isVisible()), None)
        if window is None:
            window = make()
            window.show()
        else:
            window.raise_()
            window.activateWindow()
        return window

    def say_of(self, photo: Workspace, sentence: str) -> None:
        """Show a message about a photograph, with its name if another one is shown."""
        if photo is self.photo:
            self.strip.say(sentence)
        else:
            self.strip.say(f"{photo.title}: {sentence}", keep_offer=True)

    def offer_of(
        self, photo: Workspace, sentence: str, verb: str, do: Callable[[], object], *, passing: bool = False
    ) -> None:
        """Offer something about a photograph; if another one is shown, say so now and offer it later.

        Args:
            photo: the photograph.
            sentence: the message.
            verb: text of the button.
            do: called when it is pressed.
            passing: it goes when the user works on the picture.
        """
        self.strip.offer(sentence, verb, do, photo, passing=passing)
        if photo is not self.photo:
            self.say_of(photo, sentence)

    def start_task(self, ask: Callable[[], Ticket]) -> Ticket | None:
        """Queue a task, and show a message if it is refused or fails.

        Args:
            ask: queues the task; may raise EngineError.

        Returns:
            Its ticket; None when it was refused.
        """
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
        """The folder to suggest for files of a photograph: its own, but the home folder for the sample."""
        from desktop.frame.photos import SAMPLE

        return Path.home() if photo.source == SAMPLE else photo.source.parent

    def may_write(self, path: Path, suffixes: tuple[str, ...], protected: list[Path] | None = None) -> bool:
        """Whether a file can be written; shows a message if not.

        Args:
            path: the file.
            suffixes: accepted suffixes.
            protected: files that must not be overwritten; None = all that are in use.
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
