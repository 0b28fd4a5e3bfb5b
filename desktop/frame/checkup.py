"""Says once what is wrong with this installation, and what became of the last start if it crashed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from desktop.frame.commands import help_
from desktop.language import sentence_of
from desktop.settings import SaidProblems
from desktop.work.threads import Lane, Work
from engine import __version__

if TYPE_CHECKING:
    from desktop.frame.context import Context
    from engine.health import Problem


class Checkup(QObject):
    """Looks for problems in the background, and speaks only if it finds some. GUI thread.

    Args:
        context: of the window.
        folders: in which the program writes.
    """

    def __init__(self, context: Context, folders: Sequence[Path]) -> None:
        super().__init__(context.window)
        self._context, self._folders = context, tuple(folders)
        # The first picture is not kept waiting.
        for signal in (context.files.opened, context.files.failed, context.files.crashed):
            signal.connect(context.jobs.recheck)

    def start(self) -> None:
        """Look, as soon as no file is being opened."""
        context, folders = self._context, self._folders
        use_card = context.store.settings.repair.device != "cpu"

        def prepare() -> Work:
            from engine.health import problems

            return lambda job: problems(context.registry, folders, job, use_card=use_card)

        ticket = context.jobs.submit(
            self.tr("Looking at this computer"),
            Lane.BACKGROUND,
            prepare,
            ready=lambda: not context.files.opening,
            shown=False,
        )
        ticket.done.connect(self._on_found)

    def tell_crash(self) -> None:
        """Say that the last start ended with a crash that has a report."""
        context = self._context
        sentence = self.tr("Lacuna crashed the last time. A report of it stays on this computer.")
        context.strip.announce(sentence, self.tr("Show Report"), partial(help_.show_crashes, context))

    def _on_found(self, found: list[Problem]) -> None:
        store = self._context.store
        said = store.settings.said
        # What is mended and comes back is said again.
        keys = [problem.key for problem in found]
        known = [key for key in said.problems if key in keys and said.version == __version__]
        store.settings.said = SaidProblems(__version__, tuple(known))
        new = [problem for problem in found if problem.key not in known]
        if not new:
            return
        # Mostly one; there are four kinds.
        sentence = " ".join(sentence_of(problem.words) for problem in new)
        do = partial(help_.check_computer, self._context)
        self._context.strip.announce(sentence, self.tr("Check This Computer"), do, partial(self._on_read, keys))

    def _on_read(self, keys: list[str]) -> None:
        """The user closed the message, or pressed its button."""
        store = self._context.store
        store.settings.said = SaidProblems(__version__, tuple(keys))
        store.save()
