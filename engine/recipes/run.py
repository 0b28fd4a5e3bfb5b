"""Running a recipe on a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from engine.errors import SettingsError
from engine.jobs import JobContext
from engine.masks import MAX_DAMAGE_SHARE
from engine.raster import ArrayMask, MaskSource, Pixels, PixelSource, Rect, mix
from engine.recipes.files import Recipe, model_problem, problem_in_file
from engine.record import Repair
from engine.runtime.cards import ModelCard, Registry
from engine.runtime.session import Device
from engine.tasks import TASKS, Marks, Patch, TaskInput, make_settings, run_task
from engine.tasks.clean import LEAST_NOISE, noise_level


@dataclass(frozen=True)
class FoundDamage:
    """Damage that was detected and reviewed by the user before a recipe heals it.

    Attributes:
        mask: repair mask of the picture's size; None = nothing is to be healed.
        repair: the entry in the record about the detection.
    """

    mask: MaskSource | None
    repair: Repair


@dataclass(frozen=True)
class RestoreResult:
    """The result of running a recipe on a picture.

    Attributes:
        source: the picture with all patches applied.
        patches: the patches in order, each with its entry in the record.
        marks: the damage that was found, healed or not; None if the recipe has no detection. Its ``unsure`` damage is
            never healed.
        repairs: all entries for the record.
        notices: sentences about steps that were skipped, and why.
        device: where the last model ran.
        left_out: task -> why it was skipped, a sentence that is among the notices, too.
    """

    source: PixelSource
    patches: tuple[tuple[Repair, Patch], ...]
    marks: Marks | None
    repairs: tuple[Repair, ...]
    notices: tuple[str, ...]
    device: Device
    left_out: Mapping[str, str] = field(default_factory=dict)

    def pixels(self) -> Pixels:
        """The whole picture, (h, w, channels), read-only; samples outside all patches are unchanged."""
        pixels = self.source.read(Rect.of_shape(self.source.shape))
        pixels.flags.writeable = False
        return pixels


def run_recipe(
    recipe: Recipe,
    source: PixelSource,
    profile: bytes | None,
    registry: Registry,
    device: Device = Device.AUTO,
    context: JobContext | None = None,
    found: FoundDamage | None = None,
) -> RestoreResult:
    """Run a recipe on the calling thread.

    Nothing is healed, and a notice says so, when no damage is found or when it covers more of the picture than
    ``MAX_DAMAGE_SHARE``. Clean, if the recipe states no noise level, is left out where hardly any is measured. A notice
    also says which step for the whole picture found nothing to correct.

    Args:
        recipe: the recipe.
        source: the picture; must not change while the recipe runs.
        profile: its ICC profile; None = sRGB.
        registry: the models.
        device: where to run them.
        context: progress over all steps, and cancellation.
        found: damage for the heal steps; the detect steps are then skipped.

    Raises:
        ModelError, SettingsError: a model is missing or does not fit its step; raised before anything is run.
        Cancelled, DeviceError, ModelError: as ``run_task``.
    """
    used, work = context or JobContext(), _RecipeRun(source, profile, device, found)
    chosen = zip(recipe.steps, choose_models(recipe, registry), strict=True)
    steps = [(step, *made) for step, made in chosen if found is None or TASKS[step.task].gives != "findings"]
    for _, card, _ in steps:
        card.verify()
    whole, done = sum(TASKS[step.task].effort for step, _, _ in steps), 0.0
    for step, card, settings in steps:
        following = done + TASKS[step.task].effort / whole
        work.do(step.task, card, settings, used.part(done, following))
        done = following
    used.progress(1.0)
    return work.result(recipe.name)


class _RecipeRun:
    """Runs the steps of a recipe and collects their results."""

    def __init__(self, source: PixelSource, profile: bytes | None, device: Device, found: FoundDamage | None) -> None:
        self._scan, self._profile, self._device, self._found = source, profile, device, found
        self._marks: Marks | None = None
        self._patches: list[tuple[Repair, Patch]] = []
        self._repairs: list[Repair] = [found.repair] if found is not None else []
        self._notices: list[str] = []
        self._left_out: dict[str, str] = {}

    def do(self, task: str, card: ModelCard, settings: Any, context: JobContext) -> None:
        """Run one step."""
        given = TaskInput(task, self._current_picture(), self._profile, None, settings, card, self._device)
        if TASKS[task].gives == "findings":
            findings = run_task(given, context.part(0.0, 0.85))
            self._marks = findings.marks(settings, context.part(0.85, 1.0), leave_unsure=True)
            self._notices += notices_of_unsure(self._marks)
            self._repairs.append(self._marks.repair(given))
            return
        if TASKS[task].wants_mask:
            mask = self._mask()
            if mask is None:
                return
            given = replace(given, mask=mask)
        if (
            task == "clean"
            and not settings.noise_level
            and noise_level(given.source, given.profile, context) < LEAST_NOISE
        ):
            self._leave_out(task, str(left_alone(task)))
            return
        patch = run_task(given, context)
        if not patch.pieces and not TASKS[task].wants_mask:
            self._leave_out(task, str(left_alone(task)))
            return
        self._repairs.append(patch.repair(given))
        self._patches.append((self._repairs[-1], patch))

    def _mask(self) -> MaskSource | None:
        """The repair mask; None, with a notice, when nothing is to be healed."""
        if self._found is not None:
            if self._found.mask is None:
                self._leave_out("heal", "No damage was accepted: nothing was healed.")
            return self._found.mask
        unfit = refusal_to_heal(self._marks)
        if unfit is not None or self._marks is None:
            self._leave_out("heal", str(unfit))
            return None
        return ArrayMask(self._marks.mask())

    def _leave_out(self, task: str, why: str) -> None:
        self._notices.append(why)
        self._left_out[task] = why

    def _current_picture(self) -> PixelSource:
        """The picture with the patches so far."""
        return _PatchedSource(self._scan, [patch for _, patch in self._patches]) if self._patches else self._scan

    def result(self, recipe: str) -> RestoreResult:
        """The result of all steps; the recipe's name is added to each entry for the record."""
        ran = self._patches[-1][1].device if self._patches else self._marks.device if self._marks else self._device
        patches = tuple((replace(repair, recipe=recipe), patch) for repair, patch in self._patches)
        repairs = tuple(replace(repair, recipe=recipe) for repair in self._repairs)
        notices, left_out = tuple(self._notices), dict(self._left_out)
        return RestoreResult(self._current_picture(), patches, self._marks, repairs, notices, ran, left_out)


class _PatchedSource:
    """A ``PixelSource`` of a picture with patches, which are applied when a rectangle is read."""

    def __init__(self, below: PixelSource, patches: Sequence[Patch]) -> None:
        self._below = below
        self._layers = [{next(piece.rect.cells()): piece for piece in patch.pieces} for patch in patches]

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._below.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._below.dtype

    def read(self, rect: Rect) -> Pixels:
        pixels = self._below.read(rect).copy()
        for pieces in self._layers:
            for piece in (pieces[cell] for cell in rect.cells() if cell in pieces):
                shared = piece.rect & rect
                inside, target = shared.slices(piece.rect), pixels[shared.slices(rect)]
                target[...] = mix(target, piece.pixels[inside], piece.weight[inside])
        return pixels


def notices_of_unsure(marks: Marks) -> tuple[str, ...]:
    """A sentence about large areas that are left alone while other damage is healed, if there are any."""
    if not marks.unsure or not marks.pieces:
        return ()
    return (f"{_large_areas(marks)} may be damage too; only a person can tell, so nothing was changed there.",)


def _large_areas(marks: Marks) -> str:
    count = len(marks.unsure)
    return "One large area" if count == 1 else f"{count} large areas"


def left_alone(task: str) -> SettingsError:
    """What is said when a task for whole pictures finds nothing to change."""
    return SettingsError(
        "{title}: nothing to correct could be measured, and the picture was left as it is.",
        "task.left",
        title=TASKS[task].title,
    )


def refusal_to_heal(marks: Marks | None) -> SettingsError | None:
    """Why found damage must not be healed without asking the user; None when it may be."""
    if marks is not None and marks.unsure and not marks.pieces:
        return SettingsError(
            "{what} may be damage, but only a person can tell: nothing was healed. Heal it with a mask of your own.",
            "heal.found",
            what=_large_areas(marks),
        )
    if marks is None or not marks.pieces:
        return SettingsError("No damage was found: nothing was healed.", "heal.found")
    if marks.share <= MAX_DAMAGE_SHARE:
        return None
    return SettingsError(
        "{share} % of the picture count as damaged, which is hardly so: nothing was healed. "
        "Heal it with a mask of your own.",
        "heal.found",
        share=round(100 * marks.share),
    )


def choose_models(recipe: Recipe, registry: Registry) -> list[tuple[ModelCard, Any]]:
    """The model of each step, and the task's settings for it. Files of models are not read.

    Raises:
        ModelError, SettingsError: a model is missing, or a step does not fit its model; names the recipe's file and the
            line, if it was read from one.
    """
    chosen = []
    for number, step in enumerate(recipe.steps):
        problem = model_problem(step, registry)
        if problem is not None:
            raise problem_in_file(recipe, number, problem) if recipe.text else problem.reason
        card = registry.card(step.model) if step.model else registry.default(step.task)
        chosen.append((card, make_settings(step.task, card, step.settings)))
    return chosen
