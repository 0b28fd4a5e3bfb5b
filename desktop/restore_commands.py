"""What the commands do that follow a recipe or make a larger picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from desktop.dialogs.export import FileDialogs
from desktop.dialogs.questions import Questions
from desktop.jobs import Ticket
from desktop.repairs import Outcome, RepairRequest
from desktop.restoring import Written
from desktop.workspace import Workspace
from engine import imageio
from engine.errors import EngineError
from engine.output import Output

if TYPE_CHECKING:
    from desktop.window import Window

Handler = Callable[..., object]
RECIPES = ("gentle", "standard", "strong")
SCALES = (2, 4)


class RestoreCommands:
    """The commands of one window that restore by a recipe and enlarge. GUI thread.

    Args:
        window: whose.
        on_workspace: makes a handler of what is to be done with the photograph that is shown.
        asked: queues a task and says what goes wrong with it; None when it cannot be done.
        say: says something about a photograph.
        folder: where files of a photograph are suggested.
    """

    def __init__(
        self,
        window: Window,
        on_workspace: Callable[[Callable[[Workspace], object]], Handler],
        asked: Callable[[Callable[[], Ticket]], Ticket | None],
        say: Callable[[Workspace, str], None],
        folder: Callable[[Workspace], Path],
    ) -> None:
        self._window, self._on_workspace, self._asked, self._say = window, on_workspace, asked, say
        self._folder = folder

    def handlers(self) -> dict[str, Handler]:
        """Id of a row -> what it does."""
        restore = {f"restore_{name}": self._on_workspace(partial(self._restore, name)) for name in RECIPES}
        return restore | {f"enlarge_{n}": self._on_workspace(partial(self._enlarge_by, n)) for n in SCALES}

    def _restore(self, name: str, workspace: Workspace) -> None:
        from engine.recipes import read_recipe

        device = self._window.task.device
        ticket = self._asked(lambda: workspace.desk.restore(read_recipe(name), device))
        if ticket is not None:
            ticket.done.connect(workspace.while_open(partial(self._restored, workspace)))

    def _restored(self, workspace: Workspace, outcome: Outcome) -> None:
        if outcome.result.notices:
            self._say(workspace, " ".join(outcome.result.notices))

    def _enlarge_by(self, scale: int, workspace: Workspace) -> None:
        from engine.tasks import model_of_scale

        try:
            card = model_of_scale(self._window.registry, scale)
        except EngineError as error:
            self._window.strip.say(error.sentence)
            return
        self.enlarge(workspace, RepairRequest("upscale", card.id, self._window.task.device, {}))

    def enlarge(self, workspace: Workspace, request: RepairRequest) -> None:
        """Ask where to, make a larger picture there, and open it; the photograph is not touched."""
        window, source = self._window, workspace.source
        try:
            scale = window.registry.card(request.model).tile.scale
            suffix = source.suffix.lower() if source.suffix.lower() in (".tif", ".tiff", ".png") else ".tif"
            suggestion = self._folder(workspace) / f"{source.stem}-x{scale}{suffix}"
            path = FileDialogs.save_picture(window.shell, window.tr("Enlarge into"), suggestion)
            if path is None:
                return
            imageio.check_target(path, window.files_in_use(), imageio.WRITABLE)
        except EngineError as error:
            window.strip.warn(error)
            return
        if path.exists() and not Questions.overwrite(window.shell, path):
            return
        ticket = self._asked(lambda: workspace.desk.enlarge(replace(request, settings={}), Output(path)))
        if ticket is not None:
            window.files.reserve(path, ticket)
            ticket.done.connect(self._enlarged)

    def _enlarged(self, outcome: Outcome) -> None:
        written: Written = outcome.result
        self._window.open_paths([written.path])
        for notice in written.notices:
            self._window.strip.say(notice)
