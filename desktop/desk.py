"""What is asked for on one photograph: who works on which mask, and where the results go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from desktop.defects import FindJob, Found, HealDefects, Item
from desktop.document.model import EDGES
from desktop.document.review import Review
from desktop.document.tiles import TileMap
from desktop.jobs import Lane, Ticket
from desktop.repairs import EdgesJob, Outcome, RepairJob, RepairRequest, TaskJob, cleared
from desktop.restoring import EnlargeJob, RestoreJob
from engine.errors import SettingsError
from engine.output import Output

if TYPE_CHECKING:
    from desktop.workspace import Workspace
    from engine.recipes import Recipe
    from engine.runtime.cards import Registry


@dataclass
class _Asked:
    """A job that waits or runs."""

    job: TaskJob
    step: int
    """Of the undo stack when it was asked for."""


class TaskDesk(QObject):
    """The tasks of one photograph. GUI thread."""

    def __init__(self, workspace: Workspace, registry: Registry) -> None:
        super().__init__(workspace)
        self._workspace, self._registry = workspace, registry
        self._asked: dict[Ticket, _Asked] = {}

    @property
    def busy(self) -> bool:
        """Whether tasks are waiting or running."""
        return bool(self._asked)

    def spots(self) -> list[TileMap]:
        """Masks of spots that wait for their heal."""
        return [asked.job.mask for asked in self._asked.values() if asked.job.spot and asked.job.mask is not None]

    def ask(self, request: RepairRequest, spot: TileMap | None = None) -> Ticket:
        """Queue a task: on the repair mask, on a spot of its own, or on the whole picture, as the task wants.

        Raises:
            SettingsError: nothing is masked that is not being repaired already, or the picture is being worked on.
        """
        from engine.tasks import TASKS

        task, document = TASKS[request.task], self._workspace.document
        if task.gives == "findings":
            job: TaskJob = FindJob(document, request, self._registry)
        else:
            mask = self._masked(spot) if task.wants_mask else None
            job = RepairJob(document, request, mask, registry=self._registry, spot=spot is not None)
        if not task.wants_mask and any(asked.job.task is task for asked in self._asked.values()):
            raise SettingsError(f"“{task.verb}” is under way already.", "task.running")
        return self._submit(job, task.verb)

    def draw_edges(self, request: RepairRequest) -> Ticket:
        """Queue the drawing of the edges that a repair of the repair mask would follow.

        Raises:
            SettingsError: nothing is masked that is not being repaired already.
        """
        job = EdgesJob(self._workspace.document, request, self._registry, self._masked(None))
        return self._submit(job, "Draw edges")

    def heal_defects(self, request: RepairRequest, review: Review, items: Sequence[Item]) -> Ticket:
        """Queue the healing of some defects.

        Args:
            request: of a task that heals.
            review: as they were outlined.
            items: the defects.

        Raises:
            SettingsError: there are none, or some are being healed.
        """
        if any(isinstance(asked.job, HealDefects) for asked in self._asked.values()):
            raise SettingsError("Defects are being healed already.", "task.running")
        if not items:
            raise SettingsError("Accept the defects that are to be healed first.", "repair.empty")
        spared = self._workspace.review.spared(items)
        job = HealDefects(self._workspace.document, request, self._registry, review, items, spared)
        return self._submit(job, "Heal defects")

    def restore(self, recipe: Recipe, device: str) -> Ticket:
        """Queue a recipe on the whole picture.

        Raises:
            SettingsError: one is under way.
        """
        if any(isinstance(asked.job, RestoreJob) for asked in self._asked.values()):
            raise SettingsError("The picture is being restored already.", "task.running")
        return self._submit(RestoreJob(self._workspace.document, recipe, device, self._registry), "Restore")

    def enlarge(self, request: RepairRequest, output: Output) -> Ticket:
        """Queue an enlargement of the whole picture into a file of its own.

        Raises:
            SettingsError: one is under way.
        """
        if any(isinstance(asked.job, EnlargeJob) for asked in self._asked.values()):
            raise SettingsError("The picture is being enlarged already.", "task.running")
        return self._submit(EnlargeJob(self._workspace.document, request, self._registry, output), "Enlarge")

    def call_off(self) -> bool:
        """Cancel the task that was asked for last, if nothing was done since; False when there is no such task."""
        if not self._asked:
            return False
        ticket, asked = list(self._asked.items())[-1]
        if asked.step != self._workspace.undo.index():
            return False
        ticket.cancel()
        return True

    def _submit(self, job: TaskJob, title: str) -> Ticket:
        workspace = self._workspace
        title = f"{title} {workspace.title}"
        ticket = workspace.submit(
            title,
            Lane.COMPUTE,
            lambda: job.freeze(workspace.active),
            # Not while a result that it is to see is held back.
            ready=lambda: workspace.settled,
        )
        self._asked[ticket] = _Asked(job, workspace.undo.index())
        ticket.done.connect(workspace.while_open(lambda outcome: self._finish(ticket, job, outcome)))
        for signal in (ticket.failed, ticket.cancelled, ticket.crashed):
            signal.connect(lambda *_: self._release(ticket))
        return ticket

    def _finish(self, ticket: Ticket, job: TaskJob, outcome: Outcome) -> None:
        workspace = self._workspace
        try:
            edit, chosen = job.edit(outcome)
            if edit is not None:
                if isinstance(outcome.result, Found):
                    workspace.review.adopt(outcome.result.outlines)
                workspace.push(edit)
            if chosen == EDGES:
                workspace.set_target(EDGES)
            elif chosen is not None and workspace.target is None:
                workspace.set_active(chosen)
        finally:
            # Else what it worked on could never be asked for again.
            self._release(ticket)

    def _release(self, ticket: Ticket) -> None:
        asked = self._asked.pop(ticket, None)
        if self._workspace.closed:
            return
        if asked is not None and asked.job.spot and asked.job.mask is not None:
            self._workspace.mask_changed.emit(asked.job.mask.extent())
        self._workspace.autosave()

    def _masked(self, spot: TileMap | None) -> TileMap:
        """A spot, or the repair mask without what jobs are working on.

        Raises:
            SettingsError: it is empty; the sentence says why.
        """
        mask = spot or self._workspace.document.state.mask
        for asked in self._asked.values() if spot is None else ():
            if asked.job.claims and asked.job.mask is not None:
                mask = cleared(mask, asked.job.mask).applied(mask)
        if not any(mask.read(rect).any() for rect in mask.occupied()):
            raise SettingsError(self._why_empty(), "repair.empty")
        return mask

    def _why_empty(self) -> str:
        if any(asked.job.claims for asked in self._asked.values()):
            return "All that is masked is being healed already."
        painted = self._workspace.target_name
        if painted:
            return f"The repair mask is empty: you are painting {painted}. Press Esc to paint the repair mask."
        return "Paint over the damage first."
