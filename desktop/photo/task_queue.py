"""The queued jobs of one photograph: which part of the mask each works on, and how results are applied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from desktop.document.geometry import Geometry
from desktop.document.targets import EDGE_MAP, REPAIR_MASK, EdgeMap
from desktop.photo.defect_list import DefectList
from desktop.photo.editor import Editor
from desktop.work.base import Job, Outcome, Runner, TaskRequest, Urgency
from desktop.work.covered import covering_layer
from desktop.work.edges import DrawEdges
from desktop.work.enlarge import Enlarge
from desktop.work.find import FindDamage, FindResult
from desktop.work.repair import ApplyTask, subtraction_delta
from desktop.work.restore import Restore, heal_defects
from desktop.work.runners import runner_of
from desktop.work.threads import Lane, Ticket, Work
from engine.errors import SettingsError
from engine.output import Output
from engine.tiles import TileMap

if TYPE_CHECKING:
    from engine.recipes import Recipe
    from engine.runtime.cards import Registry


@dataclass(frozen=True)
class _QueuedJob:
    """A waiting or running job.

    Attributes:
        job: the description.
        runner: executes it.
        title: what it does, for the job list.
        step: index of the undo stack when it was queued.
        geometry: how the picture lay then.
    """

    job: Job
    runner: Runner[Any]
    title: str
    step: int
    geometry: Geometry


class TaskQueue(QObject):
    """The queued jobs of one photograph. GUI thread.

    Args:
        editor: of the photograph.
        defects: of the photograph.
        registry: the models.
        name: returns the photograph's name for the job list.

    Signals:
        changed: a job was queued or has ended.
    """

    changed = Signal()

    def __init__(self, editor: Editor, defects: DefectList, registry: Registry, name: Callable[[], str]) -> None:
        super().__init__(editor)
        self._editor, self._defects, self._registry, self._name = editor, defects, registry, name
        self._queued: dict[Ticket, _QueuedJob] = {}

    @property
    def busy(self) -> bool:
        """Whether jobs are waiting or running."""
        return bool(self._queued)

    @property
    def pending(self) -> bool:
        """Whether jobs are waiting or running that will change the picture."""
        return any(queued.job.changes for queued in self._queued.values())

    @property
    def nothing_painted(self) -> bool:
        """Whether the repair mask, which is the paint target, is empty."""
        return self._editor.target == REPAIR_MASK and self._editor.document.state.mask.is_empty()

    def spot_masks(self) -> list[TileMap]:
        """The masks of queued spot heals."""
        masks = [queued.runner.mask for queued in self._queued.values() if _is_spot(queued.job)]
        return [mask for mask in masks if mask is not None]

    # -- asking -----------------------------------------------------------------------------------------------

    def apply(self, request: TaskRequest, spot: TileMap | None = None) -> Ticket:
        """Queue a task that gives pixels, on the repair mask or the whole picture as the task wants.

        Args:
            request: the task.
            spot: a mask to use instead of the repair mask.

        Raises:
            SettingsError: the mask without the parts that are being repaired is empty, or the same task on the whole
                picture is queued already.
        """
        from engine.tasks import TASKS

        task = TASKS[request.task]
        mask = self._free_mask(spot) if task.wants_mask else None
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
            request: a task that gives findings.
            recipe: see ``FindDamage``.

        Raises:
            SettingsError: one is queued already.
        """
        self._refuse_second("“Find damage” is under way already.", lambda job: isinstance(job, FindDamage))
        return self._submit(FindDamage(request=request, recipe=recipe), "Find damage")

    def draw_edges(self, request: TaskRequest) -> Ticket:
        """Queue the drawing of the edges that would guide a repair of the repair mask.

        Raises:
            SettingsError: the repair mask without the parts that are being repaired is empty.
        """
        return self._submit(DrawEdges(request=request, mask=self._free_mask(None)), "Draw edges")

    def heal_defects(self, request: TaskRequest) -> Ticket:
        """Queue the healing of ``DefectList.to_heal``.

        Raises:
            SettingsError: there are none, or a restoration is queued already.
        """
        self._refuse_second("Defects are being healed already.", lambda job: isinstance(job, Restore))
        review, items = self._defects.outlined_review, self._defects.to_heal
        if review is None or not items:
            raise SettingsError("Accept the defects that are to be healed first.", "repair.empty")
        job = heal_defects(request, review, items, self._defects.linked_defects(items))
        return self._submit(job, "Heal defects")

    def restore(self, recipe: Recipe, device: str, *, reviewed: bool) -> Ticket:
        """Queue a recipe on the whole picture.

        Args:
            recipe: its steps.
            device: ``auto``, ``cpu`` or ``cuda``.
            reviewed: it heals ``DefectList.to_heal``; otherwise it searches for damage itself.

        Raises:
            SettingsError: a restoration is queued already.
        """
        self._refuse_second("The picture is being restored already.", lambda job: isinstance(job, Restore))
        review, items = self._defects.outlined_review, self._defects.to_heal
        if not reviewed:
            review, items = None, []
        others = self._defects.linked_defects(items)
        job = Restore(recipe=recipe, device=device, review=review, items=tuple(items), others=tuple(others))
        return self._submit(job, "Restore")

    def enlarge(self, request: TaskRequest, output: Output) -> Ticket:
        """Queue an enlargement of the whole picture into a new file.

        Raises:
            SettingsError: one is queued already.
        """
        self._refuse_second("The picture is being enlarged already.", lambda job: isinstance(job, Enlarge))
        return self._submit(Enlarge(request=request, output=output), "Enlarge")

    def cancel_latest(self) -> bool:
        """Cancel the job that was queued last, if there was no undo step since; False when there is no such job."""
        if not self._queued:
            return False
        ticket, queued = list(self._queued.items())[-1]
        if queued.step != self._editor.undo.index():
            return False
        ticket.cancel()
        return True

    @property
    def can_cancel_latest(self) -> bool:
        """Whether ``cancel_latest`` would cancel a job."""
        return bool(self._queued) and list(self._queued.values())[-1].step == self._editor.undo.index()

    def cancel_all(self) -> None:
        """Cancel all jobs; they are no longer counted, even if they are still running."""
        for ticket in list(self._queued):
            self._release(ticket)
            ticket.cancel()

    def _refuse_second(self, sentence: str, alike: Callable[[Job], bool]) -> None:
        if any(alike(queued.job) for queued in self._queued.values()):
            raise SettingsError(sentence, "task.running")

    def _submit(self, job: Job, title: str) -> Ticket:
        editor = self._editor
        runner = runner_of(job, editor.document, self._registry)
        ticket = editor.submit(
            f"{title} {self._name()}",
            Lane.COMPUTE,
            lambda: runner.freeze(editor.active),
            urgency=job.urgency,
            # Not while a drag holds back a result that its input must include.
            ready=lambda: editor.settled,
        )
        self._queued[ticket] = _QueuedJob(job, runner, title, editor.undo.index(), editor.document.state.geometry)
        self._follow(ticket, lambda outcome: self._on_done(ticket, outcome))
        self.changed.emit()
        return ticket

    def _follow(self, ticket: Ticket, on_done: Callable[[Any], None]) -> None:
        """Connect a job: what is done with its result, and the release of its part of the mask if there is none."""
        ticket.done.connect(self._editor.while_open(on_done))
        for signal in (ticket.failed, ticket.cancelled, ticket.crashed):
            signal.connect(lambda *_: self._release(ticket))

    # -- results ----------------------------------------------------------------------------------------------

    def _on_done(self, ticket: Ticket, outcome: Outcome) -> None:
        editor = self._editor
        if ticket not in self._queued:
            return
        turn = self._queued[ticket].runner.turn(outcome)
        if turn is not None:
            self._turn(ticket, turn, outcome)
            return
        try:
            edit, chosen = self._queued[ticket].runner.edit(outcome)
            if edit is not None:
                if isinstance(outcome.result, FindResult):
                    self._defects.set_outlines(outcome.result.outlines)
                editor.push(edit)
            if isinstance(chosen, EdgeMap):
                editor.set_target(EDGE_MAP)
            elif chosen is not None:
                self._show_layer(chosen, self._queued[ticket])
        finally:
            # In any case: its part of the mask must be free again.
            self._release(ticket)

    def _turn(self, ticket: Ticket, turn: Work, outcome: Outcome) -> None:
        """Have a job rotate or flip a large result, because the picture was meanwhile; then continue with it."""
        editor = self._editor
        turning = editor.submit(f"Turning the result, {self._name()}", Lane.COMPUTE, lambda: turn, urgency=Urgency.HAND)
        # It is the job that can be cancelled now.
        self._queued[turning] = self._queued.pop(ticket)
        self._follow(turning, lambda _: self._on_done(turning, outcome))

    def _show_layer(self, id_: int, queued: _QueuedJob) -> None:
        """Make the layer with a repair active; if other layers hide the repair, offer to do it again above them."""
        editor, state = self._editor, self._editor.document.state
        if editor.target == REPAIR_MASK:
            editor.set_active(id_)
        covering = covering_layer(state, id_, queued.runner.mask)
        if covering is not None:
            sentence = f"The repair is on {state.layer(id_).name}, which {covering.name} hides."
            repeat = partial(self._repeat_on_top, queued, editor.undo.index())
            editor.offered.emit(sentence, "Repair on Top Instead", repeat)

    def _repeat_on_top(self, queued: _QueuedJob, step: int) -> None:
        """Take a repair back and do it again above all layers: there it fits what is seen.

        Args:
            queued: the finished job.
            step: index of the undo stack after it.
        """
        editor = self._editor
        if editor.undo.index() != step or editor.document.state.geometry != queued.geometry:
            editor.message.emit("The picture was changed meanwhile. Choose the top layer and repair it there.")
            return
        editor.undo.undo()
        editor.set_active(editor.document.state.layers[-1].id)
        self._submit(queued.job, queued.title)

    def _release(self, ticket: Ticket) -> None:
        queued = self._queued.pop(ticket, None)
        if queued is None or self._editor.closed:
            return
        mask = queued.runner.mask if _is_spot(queued.job) else None
        if mask is not None:
            self._editor.mask_changed.emit(mask.extent())
        self.changed.emit()

    def _free_mask(self, spot: TileMap | None) -> TileMap:
        """The given spot, or the repair mask without the parts that other jobs claim.

        Raises:
            SettingsError: it is empty; the sentence says why.
        """
        mask = spot or self._editor.document.state.mask
        for queued in self._queued.values() if spot is None else ():
            claimed = queued.runner.mask if queued.job.claims else None
            if claimed is not None:
                mask = subtraction_delta(mask, claimed).apply_to(mask)
        if mask.is_empty():
            raise self._empty_mask_error()
        return mask

    def _empty_mask_error(self) -> SettingsError:
        if any(queued.job.claims for queued in self._queued.values()):
            return SettingsError("All that is masked is being healed already.", "repair.empty")
        editor = self._editor
        if editor.target != REPAIR_MASK:
            painted = editor.target.name(editor.document.state)
            said = "The repair mask is empty: you are painting {painted}. Press Esc to paint the repair mask."
            return SettingsError(said, "repair.empty", painted=painted)
        return SettingsError("Paint over the damage first.", "repair.empty")


def _is_spot(job: Job) -> bool:
    return isinstance(job, ApplyTask) and job.spot
