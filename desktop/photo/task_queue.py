"""The tasks that were asked for on one photograph: who works on which mask, and where the results go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from desktop.document.targets import EDGE_MAP, REPAIR_MASK, EdgeMap
from desktop.document.tiles import TileMap
from desktop.photo.defect_list import DefectList
from desktop.photo.editor import Editor
from desktop.work.base import Job, Outcome, Runner, TaskRequest
from desktop.work.covered import covering_layer
from desktop.work.edges import DrawEdges
from desktop.work.enlarge import Enlarge
from desktop.work.find import FindDamage, Found
from desktop.work.repair import ApplyTask, without
from desktop.work.restore import Restore, heal_defects
from desktop.work.runners import runner_of
from desktop.work.threads import Lane, Ticket
from engine.errors import SettingsError
from engine.output import Output

if TYPE_CHECKING:
    from engine.recipes import Recipe
    from engine.runtime.cards import Registry


@dataclass(frozen=True)
class _Asked:
    """A job that waits or runs.

    Attributes:
        step: index of the undo stack when it was asked for.
    """

    job: Job
    runner: Runner[Any]
    step: int


class TaskQueue(QObject):
    """The tasks of one photograph. GUI thread.

    Args:
        editor: the photograph.
        defects: of it.
        registry: the models.
        name: gives the photograph's name for the job list.

    Signals:
        changed: a task was asked for, or is over.
    """

    changed = Signal()

    def __init__(self, editor: Editor, defects: DefectList, registry: Registry, name: Callable[[], str]) -> None:
        super().__init__(editor)
        self._editor, self._defects, self._registry, self._name = editor, defects, registry, name
        self._asked: dict[Ticket, _Asked] = {}

    @property
    def busy(self) -> bool:
        """Whether tasks are waiting or running."""
        return bool(self._asked)

    @property
    def pending(self) -> bool:
        """Whether tasks are waiting or running that will change the picture."""
        return any(asked.job.changes for asked in self._asked.values())

    def spots(self) -> list[TileMap]:
        """Masks of spots that wait for their heal."""
        masks = [asked.runner.mask for asked in self._asked.values() if _is_spot(asked.job)]
        return [mask for mask in masks if mask is not None]

    # -- asking -----------------------------------------------------------------------------------------------

    def apply(self, request: TaskRequest, spot: TileMap | None = None) -> Ticket:
        """Queue a task that gives pixels: on the repair mask, on a spot of its own, or on the whole picture.

        Raises:
            SettingsError: nothing is masked that is not being repaired already, or the picture is being worked on.
        """
        from engine.tasks import TASKS

        task = TASKS[request.task]
        mask = self._masked(spot) if task.wants_mask else None
        if mask is None:
            self._refuse_second(
                f"“{task.verb}” is under way already.",
                lambda job: isinstance(job, ApplyTask) and job.request.task == request.task,
            )
        claims = mask is not None and spot is None
        job = ApplyTask(request=request, mask=mask, claims=claims, spot=spot is not None)
        return self._submit(job, task.verb)

    def find(self, request: TaskRequest, recipe: str = "") -> Ticket:
        """Queue a search for damage.

        Args:
            request: of a task that gives findings.
            recipe: see ``FindDamage``.

        Raises:
            SettingsError: one is under way.
        """
        self._refuse_second("“Find damage” is under way already.", lambda job: isinstance(job, FindDamage))
        return self._submit(FindDamage(request=request, recipe=recipe), "Find damage")

    def draw_edges(self, request: TaskRequest) -> Ticket:
        """Queue the drawing of the edges that a repair of the repair mask would follow.

        Raises:
            SettingsError: nothing is masked that is not being repaired already.
        """
        return self._submit(DrawEdges(request=request, mask=self._masked(None)), "Draw edges")

    def heal_defects(self, request: TaskRequest) -> Ticket:
        """Queue the healing of the defects that are to be healed now.

        Raises:
            SettingsError: there are none, or some are being healed.
        """
        self._refuse_second("Defects are being healed already.", lambda job: isinstance(job, Restore))
        review, items = self._defects.outlined, self._defects.to_heal
        if review is None or not items:
            raise SettingsError("Accept the defects that are to be healed first.", "repair.empty")
        job = heal_defects(request, review, items, self._defects.others_judged_with(items))
        return self._submit(job, "Heal defects")

    def restore(self, recipe: Recipe, device: str) -> Ticket:
        """Queue a recipe on the whole picture, which heals the defects that are to be healed now.

        Raises:
            SettingsError: one is under way.
        """
        self._refuse_second("The picture is being restored already.", lambda job: isinstance(job, Restore))
        review, items = self._defects.outlined, self._defects.to_heal
        others = self._defects.others_judged_with(items)
        job = Restore(recipe=recipe, device=device, review=review, items=tuple(items), others=tuple(others))
        return self._submit(job, "Restore")

    def enlarge(self, request: TaskRequest, output: Output) -> Ticket:
        """Queue an enlargement of the whole picture into a file of its own.

        Raises:
            SettingsError: one is under way.
        """
        self._refuse_second("The picture is being enlarged already.", lambda job: isinstance(job, Enlarge))
        return self._submit(Enlarge(request=request, output=output), "Enlarge")

    def call_off(self) -> bool:
        """Cancel the task that was asked for last, if nothing was done since; False when there is no such task."""
        if not self._asked:
            return False
        ticket, asked = list(self._asked.items())[-1]
        if asked.step != self._editor.undo.index():
            return False
        ticket.cancel()
        return True

    @property
    def can_call_off(self) -> bool:
        """Whether there is a task to call off."""
        return bool(self._asked) and list(self._asked.values())[-1].step == self._editor.undo.index()

    def cancel_all(self) -> None:
        """Cancel every task; none of them counts any more, even while it is still ending."""
        for ticket in list(self._asked):
            self._release(ticket)
            ticket.cancel()

    def _refuse_second(self, sentence: str, alike: Callable[[Job], bool]) -> None:
        if any(alike(asked.job) for asked in self._asked.values()):
            raise SettingsError(sentence, "task.running")

    def _submit(self, job: Job, title: str) -> Ticket:
        editor = self._editor
        runner = runner_of(job, editor.document, self._registry)
        ticket = editor.submit(
            f"{title} {self._name()}",
            Lane.COMPUTE,
            lambda: runner.freeze(editor.active),
            urgency=job.urgency,
            # Not while a result that it is to see is held back.
            ready=lambda: editor.settled,
        )
        self._asked[ticket] = _Asked(job, runner, editor.undo.index())
        ticket.done.connect(editor.while_open(lambda outcome: self._finish(ticket, outcome)))
        for signal in (ticket.failed, ticket.cancelled, ticket.crashed):
            signal.connect(lambda *_: self._release(ticket))
        self.changed.emit()
        return ticket

    # -- results ----------------------------------------------------------------------------------------------

    def _finish(self, ticket: Ticket, outcome: Outcome) -> None:
        editor = self._editor
        if ticket not in self._asked:
            return
        try:
            edit, chosen = self._asked[ticket].runner.edit(outcome)
            if edit is not None:
                if isinstance(outcome.result, Found):
                    self._defects.adopt(outcome.result.outlines)
                editor.push(edit)
            if isinstance(chosen, EdgeMap):
                editor.set_target(EDGE_MAP)
            elif chosen is not None:
                self._show_layer(chosen, self._asked[ticket].runner.mask)
        finally:
            # Else what it worked on could never be asked for again.
            self._release(ticket)

    def _show_layer(self, id_: int, where: TileMap | None) -> None:
        """Go on with a layer that something was repaired on; say so if other layers hide what was repaired."""
        editor, state = self._editor, self._editor.document.state
        if editor.target == REPAIR_MASK:
            editor.set_active(id_)
        covering = covering_layer(state, id_, where)
        if covering is not None:
            sentence = f"The repair is on {state.layer(id_).name}, which {covering.name} hides."
            editor.offered.emit(sentence, "Move It to the Top", lambda: editor.move_layer(id_, len(state.layers) - 1))

    def _release(self, ticket: Ticket) -> None:
        asked = self._asked.pop(ticket, None)
        if asked is None or self._editor.closed:
            return
        mask = asked.runner.mask if _is_spot(asked.job) else None
        if mask is not None:
            self._editor.mask_changed.emit(mask.extent())
        self.changed.emit()

    def _masked(self, spot: TileMap | None) -> TileMap:
        """A spot, or the repair mask without what jobs are working on.

        Raises:
            SettingsError: it is empty; the sentence says why.
        """
        mask = spot or self._editor.document.state.mask
        for asked in self._asked.values() if spot is None else ():
            claimed = asked.runner.mask if asked.job.claims else None
            if claimed is not None:
                mask = without(mask, claimed).applied(mask)
        if mask.is_empty():
            raise self._why_empty()
        return mask

    def _why_empty(self) -> SettingsError:
        if any(asked.job.claims for asked in self._asked.values()):
            return SettingsError("All that is masked is being healed already.", "repair.empty")
        editor = self._editor
        if editor.target != REPAIR_MASK:
            painted = editor.target.name(editor.document.state)
            said = "The repair mask is empty: you are painting {painted}. Press Esc to paint the repair mask."
            return SettingsError(said, "repair.empty", painted=painted)
        return SettingsError("Paint over the damage first.", "repair.empty")


def _is_spot(job: Job) -> bool:
    return isinstance(job, ApplyTask) and job.spot
