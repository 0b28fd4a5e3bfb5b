"""The tasks (kinds of repair). Each is a settings dataclass, a pure function and a row in ``TASKS``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from engine.errors import EngineError, ModelError, SettingsError
from engine.jobs import JobContext
from engine.raster import ArrayMask, ArraySource, PixelSource
from engine.runtime.cards import ModelCard
from engine.runtime.session import Device
from engine.tasks.base import Defect, Marks, Patch, Piece, TaskInput, check_ranges
from engine.tasks.clean import CleanSettings, clean, noise_in_words
from engine.tasks.detect import check_detector, detect
from engine.tasks.faces import Face, Faces, FaceSettings, check_face_finder, find_faces
from engine.tasks.fillers import check_filler, wants_edges
from engine.tasks.findings import (
    DamageMap,
    DetectSettings,
    Findings,
    is_unsure,
    mask_of,
    outline_defects,
    pixels_of,
    sift,
)
from engine.tasks.heal import HealSettings, draw_edges, heal
from engine.tasks.pyramid import scales_in_words
from engine.tasks.tone import ToneSettings, tone
from engine.tasks.upscale import Enlargement, UpscaleSettings, check_enlarger, model_of_scale, upscale
from engine.tasks.whole import check_restorer


@dataclass(frozen=True)
class Task:
    """One kind of repair.

    Attributes:
        id: its name in cards, recipes and on the command line.
        title: its name in the window.
        verb: text of the button that starts it.
        tip: tooltip of that button.
        layer: name of the layer that it makes; empty if it makes none.
        settings: dataclass of its settings; the fields carry titles and ranges for the task panel (``knob``).
        wants_mask: whether it needs a repair mask.
        gives: type of the result: ``patch`` = ``Patch``, ``findings`` = ``Findings``, ``picture`` = ``Enlargement``,
            ``faces`` = ``Faces``.
        effort: relative time that it takes as a step of a recipe; 0 = it cannot be a step.
        run: runs the task.
        check: raises a ModelError for a model that the task cannot run.
        measure: gives a sentence about a picture that helps to choose the settings; None = there is nothing to say.
    """

    id: str
    title: str
    verb: str
    tip: str
    layer: str
    settings: type
    wants_mask: bool
    gives: Literal["patch", "findings", "picture", "faces"]
    effort: float
    run: Callable[[TaskInput, JobContext], Any]
    check: Callable[[ModelCard], None]
    measure: Callable[[PixelSource, bytes | None, JobContext], str] | None = None

    @property
    def repairs(self) -> bool:
        """Whether a person starts it to repair a scan; faces are looked for only to help other steps."""
        return self.gives != "faces"


_TRIAL = 64
"""Side of the picture that a model is tested on, pixels, if its smallest window is not larger."""

_HEAL = Task(
    id="heal",
    title="Heal",
    verb="Heal",
    tip="Fill what is masked; with Alt, always on a new layer",
    layer="Repair",
    settings=HealSettings,
    wants_mask=True,
    gives="patch",
    effort=3.0,
    run=heal,
    check=check_filler,
)
_CLEAN = Task(
    id="clean",
    title="Clean",
    verb="Clean",
    tip="Clean in the whole picture, on a layer of its own",
    layer="Clean",
    settings=CleanSettings,
    wants_mask=False,
    gives="patch",
    effort=3.0,
    run=clean,
    check=check_restorer,
    measure=noise_in_words,
)
_TONE = Task(
    id="tone",
    title="Tone",
    verb="Correct tone",
    tip="Correct tone in the whole picture, on a layer of its own",
    layer="Tone",
    settings=ToneSettings,
    wants_mask=False,
    gives="patch",
    effort=2.0,
    run=tone,
    check=check_restorer,
)
_DETECT = Task(
    id="detect",
    title="Find damage",
    verb="Find damage",
    tip="Look for damage in the whole picture",
    layer="",
    settings=DetectSettings,
    wants_mask=False,
    gives="findings",
    effort=2.0,
    run=detect,
    check=check_detector,
)
_UPSCALE = Task(
    id="upscale",
    title="Enlarge",
    verb="Enlarge",
    tip="Make a larger picture and open it",
    layer="",
    settings=UpscaleSettings,
    wants_mask=False,
    gives="picture",
    effort=0.0,
    run=upscale,
    check=check_enlarger,
)
_FACES = Task(
    id="faces",
    title="Find faces",
    verb="Find faces",
    tip="Look for faces in the whole picture",
    layer="",
    settings=FaceSettings,
    wants_mask=False,
    gives="faces",
    effort=0.0,
    run=find_faces,
    check=check_face_finder,
)
TASKS: dict[str, Task] = {task.id: task for task in (_HEAL, _CLEAN, _TONE, _DETECT, _UPSCALE, _FACES)}


def run_task(given: TaskInput, context: JobContext | None = None) -> Any:
    """Run one task on the calling thread.

    Returns:
        A ``Patch``, ``Findings``, ``Enlargement`` or ``Faces``, as the task's row in ``TASKS`` says.

    Raises:
        Cancelled: the context was cancelled.
        EngineError: the task cannot be done; the sentence says why.
    """
    _check_task(given.task, given.card)
    return TASKS[given.task].run(given, context or JobContext())


def make_settings(task: str, card: ModelCard, values: Mapping[str, float | None]) -> Any:
    """A task's settings for a model: the given values, else the card's defaults, else the task's defaults.

    Args:
        task: a row of ``TASKS``.
        card: the model. Its ranges are checked later, by the task.
        values: settings by name; None = not given.

    Raises:
        SettingsError: the model is for another task, a value is out of the task's range, or the model lacks a setting.
    """
    _check_task(task, card)
    defaults = {setting.name: setting.default for setting in card.settings}
    wanted = {name: value for name, value in values.items() if value is not None}
    used = {}
    for field in dataclasses.fields(TASKS[task].settings):
        if field.name in wanted and field.metadata["by_card"] and field.name not in defaults:
            title = str(field.metadata["title"]).lower()
            raise SettingsError(
                "The model {model} has no {title} to choose.", "task.setting", model=card.id, title=title
            )
        if field.name in wanted or field.name in defaults:
            used[field.name] = wanted.get(field.name, defaults.get(field.name))
    return TASKS[task].settings(**used)


def check_card(card: ModelCard) -> None:
    """Refuse a model whose card shows that it can never run: an unknown task, or an unfit kind or settings.

    Raises:
        ModelError: ``model.task``, ``model.kind`` or ``model.settings``; says what is wrong.
    """
    if card.task not in TASKS:
        known = ", ".join(TASKS)
        raise ModelError(
            "The model {model} does {task!r}, which is none of {known}.",
            "model.task",
            model=card.id,
            task=card.task,
            known=known,
        )
    TASKS[card.task].check(card)
    try:
        make_settings(card.task, card, {})
    except SettingsError as error:
        said = "The settings of the model {model} do not fit. {reason}"
        raise ModelError(said, "model.settings", model=card.id, reason=error) from error


def try_model(card: ModelCard, context: JobContext | None = None) -> None:
    """Run a model once on a small picture on the CPU, to find faults of its files before it is installed.

    Raises:
        ModelError: it can never run, or the run failed; says why.
        Cancelled: the context was cancelled.
    """
    check_card(card)
    side = max(_TRIAL, card.tile.minimum)
    ramp = np.linspace(0, 255, side, dtype=np.uint8)
    picture = np.stack([*np.meshgrid(ramp, ramp), np.full((side, side), 128, np.uint8)], axis=2)
    mask = np.zeros((side, side), np.uint8)
    mask[side // 3 : side // 2, side // 3 : side // 2] = 255
    settings = make_settings(card.task, card, {})
    run_trial(TaskInput(card.task, ArraySource(picture), None, ArrayMask(mask), settings, card, Device.CPU), context)


def run_trial(given: TaskInput, context: JobContext | None = None) -> Any:
    """Run a task to find out whether its model works; returns what ``run_task`` does.

    Raises:
        ModelError: the run failed; says why.
        Cancelled: the context was cancelled.
    """
    try:
        return run_task(given, context)
    except EngineError as error:
        said = "The model {model} was tried and does not work. {reason}"
        raise ModelError(said, "model.trial", model=given.card.id, reason=error) from error


def _check_task(task: str, card: ModelCard) -> None:
    if card.task != task:
        raise SettingsError(
            "The model {model} does not do {task}, but {able}.", "task.model", model=card.id, task=task, able=card.task
        )


__all__ = [
    "TASKS",
    "CleanSettings",
    "DamageMap",
    "Defect",
    "DetectSettings",
    "Enlargement",
    "Face",
    "FaceSettings",
    "Faces",
    "Findings",
    "HealSettings",
    "Marks",
    "Patch",
    "Piece",
    "Task",
    "TaskInput",
    "ToneSettings",
    "UpscaleSettings",
    "check_card",
    "check_ranges",
    "draw_edges",
    "is_unsure",
    "make_settings",
    "mask_of",
    "model_of_scale",
    "outline_defects",
    "pixels_of",
    "run_task",
    "run_trial",
    "scales_in_words",
    "sift",
    "try_model",
    "wants_edges",
]
