"""Runs a recipe: a layer for each of its repairs, in one undo step. Healing defects is a recipe with one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from desktop.document.edits import AddLayer, Compound, Edit, UpdateReview
from desktop.document.model import Document, Layer
from desktop.work.base import Job, NextActive, Outcome, TaskRequest, Urgency
from desktop.work.repair import PatchRunner
from engine.jobs import JobContext
from engine.outlines import JudgedDefect, defect_mask, judgements_of
from engine.record import Repair
from engine.review import Judgement, Point, Review, Verdict, transform_judgements

if TYPE_CHECKING:
    from engine.recipes import Recipe, RestoreResult
    from engine.runtime.cards import Registry
    from engine.tasks import Patch


@dataclass(frozen=True, kw_only=True)
class Restore(Job):
    """Runs a recipe on the visible picture; the damage that it heals was found and reviewed before.

    Attributes:
        recipe: its steps.
        device: ``auto``, ``cpu`` or ``cuda``.
        review: with the threshold at which the defects were outlined; None: the recipe searches for damage itself.
        items: the defects to heal.
        others: ``outlines.linked_defects`` of these; their decisions are kept.
    """

    recipe: Recipe
    device: str
    review: Review | None = None
    items: tuple[JudgedDefect, ...] = ()
    others: tuple[JudgedDefect, ...] = ()

    @property
    def urgency(self) -> Urgency:
        """That of a repair if the recipe only heals."""
        only_heals = all(step.task == "heal" for step in self.recipe.steps)
        return Urgency.REPAIR if only_heals else Urgency.WHOLE_PICTURE


def heal_defects(
    request: TaskRequest, review: Review, items: Sequence[JudgedDefect], others: Sequence[JudgedDefect]
) -> Restore:
    """The job that heals some defects with one model.

    Args:
        request: the heal task with its model and settings.
        review: see ``Restore``.
        items: see ``Restore``.
        others: see ``Restore``.
    """
    from engine.recipes import Recipe, Step

    recipe = Recipe("", "Heal defects", (Step(request.task, request.model, dict(request.settings)),))
    return Restore(recipe=recipe, device=request.device, review=review, items=tuple(items), others=tuple(others))


def is_reviewed(recipe: Recipe) -> bool:
    """Whether a person looks through the damage that a recipe finds, before it goes on.

    Only if its first step finds all damage that it heals: then the search can be made alone, on the same picture.
    """
    searches = [step.task for step in recipe.steps].count("detect")
    return searches == 1 and recipe.steps[0].task == "detect" and recipe.does("heal")


class RestoreRunner(PatchRunner[Restore]):
    """Executes ``Restore``."""

    def __init__(self, job: Restore, document: Document, registry: Registry) -> None:
        super().__init__(job, document, registry, TaskRequest("heal", "", job.device, {}))

    def freeze(self, active: Layer | None) -> Callable[[JobContext], Outcome]:
        """Freeze the whole visible picture, as the search did; the mask of the defects is computed by the work."""
        from engine.recipes import FoundDamage, run_recipe
        from engine.runtime.session import Device

        del active
        job, state, registry, profile = self._job, self._document.state, self._registry, self._document.profile
        self._frozen_geometry = state.geometry
        source, transform = self._read_below(len(state.layers)), state.geometry.transform_from(self._asked_geometry)

        def work(context: JobContext) -> Outcome:
            found, review = None, job.review
            if review is not None and review.search is not None:
                defects = [item.defect for item in job.items]
                mask = transform.tiles(defect_mask(review, defects, context.part(0.0, 0.1)))
                boxes = tuple((b.left, b.top, b.right, b.bottom) for b in (defect.box for defect in defects))
                found = FoundDamage(mask if defects else None, replace(review.search, boxes=boxes))
            result = run_recipe(
                job.recipe, source, profile, registry, Device(job.device), context.part(0.1, 1.0), found
            )
            return Outcome(result, result.device.value, result.repairs)

        return work

    def _patches(self, outcome: Outcome) -> Sequence[Patch]:
        return [patch for _, patch in outcome.result.patches]

    def edit(self, outcome: Outcome) -> tuple[Edit | None, NextActive]:
        """Insert the new layers above those that were read and mark the defects as healed. The repair mask stays."""
        from engine.tasks import TASKS

        place, result = self._insert_index(), outcome.result
        recipe, state = self._job.recipe, self._document.state
        label = f"Restore, {recipe.title}" if recipe.name else recipe.title
        steps: list[Edit] = []
        chosen = None
        for number, (repairs, patch) in enumerate(_patches_with_repairs(result)):
            task = TASKS[repairs[-1].task]
            layer = self._layer(task.layer, patch)
            steps.append(AddLayer(label, replace(layer, made_by=repairs), place + number))
            chosen = layer.id
        # If the search was replaced meanwhile, the layers are added but nothing is marked as healed.
        review = self._job.review
        if review is not None and state.review is not None and state.review.id == review.id:
            kept = {
                p: one for p, one in self._judgements_now(self._job.others).items() if p not in state.review.judgements
            }
            healed = self._judgements_now([replace(item, verdict=Verdict.HEALED) for item in self._job.items])
            steps.append(UpdateReview(label, state.review, judgements=kept | healed, recipe=""))
        return (Compound(label, steps) if steps else None), chosen

    def _judgements_now(self, items: Sequence[JudgedDefect]) -> dict[Point, Judgement]:
        """Judgements of some defects, in the current orientation of the picture."""
        review = self._job.review
        assert review is not None
        transform = self._document.state.geometry.transform_from(self._asked_geometry)
        return dict(transform_judgements(judgements_of(items, review.filters.threshold), transform.rect))


def _patches_with_repairs(result: RestoreResult) -> list[tuple[tuple[Repair, ...], Patch]]:
    """The patches of a recipe, each with the repairs to record for it: a heal step also records the search."""
    from engine.tasks import TASKS

    search = tuple(repair for repair in result.repairs if TASKS[repair.task].gives == "findings")
    return [
        ((*search, repair) if TASKS[repair.task].wants_mask else (repair,), patch) for repair, patch in result.patches
    ]
