"""Searches a picture for damage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from desktop.document.compose import Composite
from desktop.document.edits import Edit, ReplaceReview, transform_review
from desktop.document.model import Document, Layer
from desktop.work.base import Job, NextActive, Outcome, TaskRequest, TaskRunner
from engine.jobs import JobContext
from engine.masks import MAX_DAMAGE_SHARE
from engine.outlines import Outlines, covered_share, detect_settings, matching_rows, outline_defects, review_of
from engine.review import Review

if TYPE_CHECKING:
    from engine.runtime.cards import Registry
    from engine.tasks import Findings


@dataclass(frozen=True, kw_only=True)
class FindDamage(Job):
    """Searches for damage; the findings replace those of an earlier search.

    Attributes:
        request: a task that gives findings.
        recipe: name of the recipe whose first step this is; its other steps follow after the review. Empty for a
            search without a recipe.
    """

    request: TaskRequest
    recipe: str = ""
    changes = False


@dataclass(frozen=True)
class FindResult:
    """The result of a search.

    Attributes:
        review: with nothing decided.
        outlines: of the defects.
        any_damage: whether anything is above the lowest threshold that can be set.
        scales: at which the picture was searched, in words; empty if only at its own scale.
    """

    review: Review
    outlines: Outlines
    any_damage: bool
    scales: str


class FindRunner(TaskRunner[FindDamage]):
    """Executes ``FindDamage``."""

    def __init__(self, job: FindDamage, document: Document, registry: Registry) -> None:
        super().__init__(job, document, registry, job.request)

    def freeze(self, active: Layer | None) -> Callable[[JobContext], Outcome]:
        """Freeze the whole visible picture, whatever layer is active."""
        from engine.tasks import DetectSettings, run_task, scales_in_words

        del active
        job, id_ = self._task_input(Composite.of(self._document.state)), self._document.new_id()
        settings, recipe = job.settings, self._job.recipe
        assert isinstance(settings, DetectSettings)

        def work(context: JobContext) -> Outcome:
            findings: Findings = run_task(job, context.part(0.0, 0.9))
            review = review_of(findings, settings, findings.repair(job), id_, recipe)
            # The lowest threshold that can be set.
            lowest = round(255 * fields(settings)[0].metadata["low"])
            seen = any(tile[..., 0].max() >= lowest for tile in review.damage.stored.values())
            outlines = outline_defects(review, context.part(0.9, 1.0))
            return Outcome(FindResult(review, outlines, seen, scales_in_words(findings.scales)), findings.device.value)

        return work

    def edit(self, outcome: Outcome) -> tuple[Edit | None, NextActive]:
        """Replace the review; no edit if there is nothing to show, so that an earlier search is kept."""
        found: FindResult = outcome.result
        if not found.any_damage:
            return None, None
        review = transform_review(found.review, self._transform())
        return ReplaceReview(self._task.verb + self._model_suffix, self._document.state, review), None


def found_sentence(outcome: Outcome) -> str:
    """A message about what a search found; empty for the outcome of another job."""
    from engine.tasks import is_unsure

    found = outcome.result
    if not isinstance(found, FindResult):
        return ""
    looked = f" (looked {found.scales})" if found.scales else ""
    if not found.any_damage:
        return f"No damage was found{looked}."
    filters = found.review.filters
    items = [found.outlines.items[row] for row in matching_rows(found.outlines, filters)]
    if not items:
        return f"No damage was found{looked} at this threshold. A lower one finds more."
    kinds = Counter(item.kind for item in items).most_common()
    listed = ", ".join(f"{count} {_plural(kind) if count > 1 else kind}" for kind, count in kinds)
    what = f"{len(items)} {'defects' if len(items) > 1 else 'defect'}{looked}: {listed}"
    widest = detect_settings(filters).upper_limit("widest")
    sure = [item for item in items if not is_unsure(item.defect, widest)]
    if not sure:
        return f"Found {what}. Such large areas may be no damage at all: accept what is to be healed."
    share = covered_share(sure, filters.grow, found.review.damage.bounds)
    if share > MAX_DAMAGE_SHARE:
        return f"Found {what}. {round(share * 100)} % of the picture counts as damaged; a higher threshold finds less."
    if unsure := len(items) - len(sure):
        large, them = ("one is", "it") if unsure == 1 else (f"{unsure} are", "them")
        return (
            f"Found {what}; {large} large, and healed only if you accept {them}. Look through them, or heal the others."
        )
    return f"Found {what}. Look through them, or heal them all."


def _plural(kind: str) -> str:
    """The plural of a class; dust has none."""
    if kind == "dust":
        return kind
    return kind + ("es" if kind.endswith(("s", "x", "ch", "sh")) else "s")
