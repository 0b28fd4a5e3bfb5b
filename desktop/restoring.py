"""Recipes and enlargements of a photograph: from what is wanted to layers in one step, or to a file. Knows no Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from desktop.document.compose import Composite
from desktop.document.edits import AddLayer, Compound, Edit
from desktop.document.model import Document, Layer
from desktop.document.project import Snapshot
from desktop.repairs import Outcome, RepairJob, RepairRequest, TaskJob, laid
from engine import imageio
from engine.jobs import JobContext
from engine.output import Output, write_result
from engine.raster import Raster

if TYPE_CHECKING:
    from engine.recipes import Recipe, RestoreResult
    from engine.runtime.cards import Registry


class RestoreJob(RepairJob):
    """A recipe on all that is visible: a layer for each of its repairs, all in one step.

    Args:
        document, registry: see ``TaskJob``.
        recipe: what to do.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    def __init__(self, document: Document, recipe: Recipe, device: str, registry: Registry) -> None:
        super().__init__(document, RepairRequest("heal", "", device, {}), None, registry=registry)
        self._recipe = recipe

    def freeze(self, active: Layer | None) -> Callable[[JobContext], Outcome]:
        """All layers are read, whichever is chosen."""
        from engine.recipes import run_recipe
        from engine.runtime.session import Device

        del active
        state, profile, device = self._document.state, self._document.profile, Device(self._request.device)
        self._frozen, self._below = state.turns, tuple(layer.id for layer in state.layers)
        source = self._source = Composite.of(state)

        def work(context: JobContext) -> Outcome:
            result = run_recipe(self._recipe, source, profile, self._registry, device, context)
            return Outcome(result, result.device.value)

        return work

    def edit(self, outcome: Outcome) -> tuple[Edit | None, int | None]:
        """The layers lie above those that were read; the repair mask stays as it is."""
        from engine.tasks import TASKS

        document, label, place = self._document, f"Restore, {self._recipe.title}", self._place()
        result: RestoreResult = outcome.result
        steps: list[Edit] = []
        chosen = None
        for number, (repair, patch) in enumerate(result.patches):
            layer, task = document.new_layer(""), TASKS[repair.task]
            pixels, mask = laid(document, layer, self._turned_pieces(patch))
            layer = replace(
                layer,
                name=f"{'Repair' if task.wants_mask else task.title} {layer.id}",
                pixels=pixels.applied(layer.pixels),
                mask=mask.applied(layer.mask),
                made_by=(repair,),
            )
            steps.append(AddLayer(label, layer, place + number))
            chosen = layer.id
        return (Compound(label, steps) if steps else None), chosen


@dataclass(frozen=True)
class Written:
    """A file that was written, and what is to be said of it."""

    path: Path
    notices: tuple[str, ...]


class EnlargeJob(TaskJob):
    """All that is visible, enlarged into a file of its own with its record; the photograph stays as it is.

    Args:
        document, request, registry: see ``TaskJob``.
        output: where to.
    """

    def __init__(self, document: Document, request: RepairRequest, registry: Registry, output: Output) -> None:
        super().__init__(document, request, registry)
        self._output = output

    def freeze(self, active: Layer | None) -> Callable[[JobContext], Outcome]:
        """All layers are read, whichever is chosen."""
        from engine.tasks import run_job

        del active
        snapshot, output = Snapshot.of(self._document), self._output
        job = self._job(Composite.of(snapshot.state))
        done = [repair for layer in snapshot.state.layers if layer.visible for repair in layer.made_by]
        height, width = (job.card.tile.scale * side for side in job.source.shape[:2])
        imageio.check_size(output.path, width, height)

        def work(context: JobContext) -> Outcome:
            enlarged = run_job(job, context.part(0.0, 0.85))
            before = snapshot.state.scan.read(snapshot.state.scan.bounds)
            scan = Raster(before, snapshot.profile, snapshot.resolution, snapshot.metadata)
            repair = enlarged.repair(job)
            notices = write_result(
                enlarged.raster(scan),
                output,
                scan=before,
                source=snapshot.scan,
                repairs=[*done, repair],
                command="upscale",
                context=context.part(0.85, 1.0),
            )
            return Outcome(Written(output.path, notices), enlarged.device.value, repair)

        return work

    def edit(self, outcome: Outcome) -> tuple[Edit | None, int | None]:
        """Nothing changes here."""
        del outcome
        return None, None
