"""The Repair menu: run the task of the panel, restore by a recipe, enlarge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from desktop.frame.actions import Action, always
from desktop.frame.commands import defects
from desktop.language import sentence_of

if TYPE_CHECKING:
    from desktop.frame.context import Context
    from desktop.photo.workspace import Workspace
    from desktop.work.base import Outcome, TaskRequest
    from engine.jobs import JobContext
    from engine.third_party import Scan
    from engine.tiles import TileMap

_SUFFIXES = (".tif", ".tiff", ".png")
"""Suffixes of scans that the suggested name of an enlargement keeps."""


def start(context: Context, *, new_layer: bool = False) -> None:
    """Run the task that is chosen in the Repair panel; ``new_layer``: put its result on a new layer."""
    photo, panel = context.photo, context.task
    if photo is None:
        return
    gives = panel.task.gives if panel.task is not None else "patch"
    if gives == "picture":
        enlarge(context, photo, panel.request(new_layer=False))
    elif gives == "findings":
        defects.find(context)
    elif panel.task is not None and panel.task.wants_mask and photo.queue.nothing_painted:
        sentence = context.window.tr("Paint over the damage first, or let it be found.")
        find = partial(defects.find, context)
        context.offer_of(photo, sentence, context.window.tr("Find Damage"), find, passing=True)
    else:
        context.start_task(lambda: photo.queue.apply(panel.request(new_layer=new_layer)))


def heal_spot(context: Context, photo: Workspace, spot: TileMap) -> None:
    """Heal one stroke of the spot heal."""
    context.start_task(lambda: photo.queue.apply(context.task.request(new_layer=False, task="heal"), spot))


def enlarge(context: Context, photo: Workspace, request: TaskRequest) -> None:
    """Ask for a file, write the enlarged picture to it, and open it; the photograph is not changed."""
    from desktop.dialogs.export import FileDialogs
    from desktop.dialogs.questions import Questions
    from engine.errors import EngineError
    from engine.output import Output

    try:
        scale = context.registry.card(request.model).tile.scale
    except EngineError as error:
        context.strip.warn(error)
        return
    suffix = photo.source.suffix.lower()
    suffix = suffix if suffix in _SUFFIXES else ".tif"
    suggestion = context.folder_of(photo) / f"{photo.source.stem}-x{scale}{suffix}"
    path = FileDialogs.save_picture(context.window, context.window.tr("Enlarge into"), suggestion)
    output = Output(path) if path is not None else None
    if output is None or not context.may_export(output):
        return
    if output.path.exists() and not Questions.overwrite(context.window, output.path):
        return
    ticket = context.start_task(lambda: photo.queue.enlarge(replace(request, settings={}), output))
    if ticket is not None:
        context.files.reserve(output.path, ticket)
        ticket.done.connect(partial(_on_enlarged, context))


def _on_enlarged(context: Context, outcome: Outcome) -> None:
    context.photos.open([outcome.result.path])
    for notice in outcome.result.notices:
        context.strip.say(notice)


def _enlarge_by(scale: int) -> Callable[[Context], object]:
    """The command that enlarges by a factor."""

    def run(context: Context) -> None:
        from desktop.work.base import TaskRequest
        from engine.errors import EngineError
        from engine.tasks import model_of_scale

        try:
            card = model_of_scale(context.registry, scale)
        except EngineError as error:
            context.strip.say(sentence_of(error))
            return
        if context.photo is not None:
            enlarge(context, context.photo, TaskRequest("upscale", card.id, context.task.device, {}))

    return run


def restore(context: Context, name: str) -> None:
    """Restore by a recipe.

    One whose damage is reviewed finds and shows it, and heals after a confirmation; any other runs at once.
    """
    from desktop.work.base import TaskRequest
    from desktop.work.restore import is_reviewed
    from engine.errors import EngineError
    from engine.recipes import choose_models, read_recipe

    photo = context.photo
    if photo is None:
        return
    try:
        recipe = read_recipe(name)
        card, _ = choose_models(recipe, context.registry)[0]
    except EngineError as error:
        context.strip.warn(error)
        return
    if not is_reviewed(recipe):
        defects.restore(context, photo, recipe)
        return
    request = TaskRequest("detect", card.id, context.task.device, dict(recipe.steps[0].settings))
    ticket = context.start_task(lambda: photo.queue.find(request, name))
    if ticket is not None:
        ticket.done.connect(photo.while_open(partial(_on_found_for_recipe, context, photo, name)))


def _restore_by(name: str) -> Callable[[Context], object]:
    """The command that restores by a recipe that ships."""
    return lambda context: restore(context, name)


def own_recipes() -> dict[str, str]:
    """The user's own recipes: name -> title; those that cannot be read have their name."""
    from engine.errors import EngineError
    from engine.recipes import is_shipped, read_recipe, recipe_names

    titles = {}
    for name in recipe_names():
        if not is_shipped(name):
            try:
                titles[name] = read_recipe(name).title
            except EngineError:
                # Choosing it says why.
                titles[name] = name
    return titles


def _on_found_for_recipe(context: Context, photo: Workspace, name: str, outcome: Outcome) -> None:
    """Show what a recipe would heal and offer to continue; if there is nothing to heal, continue at once."""
    from desktop.work.find import found_sentence

    if photo.defects.to_heal and outcome.result.any_damage:
        if photo is context.photo:
            defects.show(context)
        verb = context.window.tr("Heal All and Continue")
        context.offer_of(photo, found_sentence(outcome), verb, partial(defects.heal, context, photo))
    else:
        context.say_of(photo, found_sentence(outcome))
        defects.continue_recipe(context, photo, name)


def show_models(context: Context) -> None:
    """Show the window with all models."""
    from desktop.dialogs.models import ModelsWindow

    def make() -> ModelsWindow:
        pick, device = partial(_pick_scan, context), context.task
        window = ModelsWindow(context.window, context.jobs, context.registry, pick, lambda: device.device)
        window.changed.connect(context.task.load)
        return window

    context.open_window(ModelsWindow, make)


def _pick_scan(context: Context) -> tuple[str, Callable[[JobContext], Scan]]:
    """The name of the picture on which a model is tried, and what reads it: the photograph, else the sample."""
    from desktop.document.compose import Composite
    from desktop.frame.photos import SAMPLE
    from engine import imageio
    from engine.raster import ArraySource
    from engine.third_party import Scan

    photo, view = context.photo, context.view
    if photo is None or view is None:

        def read(job: JobContext) -> Scan:
            raster = imageio.read(SAMPLE, job.part(0.0, 0.1))
            return Scan(ArraySource(raster.pixels), raster.profile, None, (raster.width / 2, raster.height / 2))

        return context.window.tr("the Sample"), read
    state, seen = photo.document.state, view.viewport.visible_image().center()
    scan = Scan(Composite.of(state), photo.document.profile, state.mask, (seen.x(), seen.y()))
    return photo.title, lambda _: scan


def _words(context: Context) -> tuple[str, str]:
    """Text and tooltip of the command: those of the chosen task."""
    task = context.task.task
    return (task.verb, task.tip) if task is not None else ("Heal", "Fill what is masked")


def _wants_mask(context: Context) -> bool:
    task = context.task.task
    return context.photo is not None and task is not None and task.wants_mask


ACTIONS = (
    Action(
        id="heal",
        menu="Repair",
        text="Heal",
        run=start,
        words=_words,
        shortcuts=("Ctrl+Return",),
        tip="Fill what is masked",
        icon="heal",
    ),
    Action(
        id="heal_new",
        menu="Repair",
        text="Heal on a New Layer",
        run=partial(start, new_layer=True),
        enabled=_wants_mask,
        shortcuts=("Ctrl+Alt+Return",),
    ),
    Action(
        id="restore_gentle",
        menu="Repair",
        text="Restore, Gentle",
        run=_restore_by("gentle"),
        tip="Find damage that is certain, show it, and heal it when you say so; touch nothing else",
        separator=True,
    ),
    Action(
        id="restore_standard",
        menu="Repair",
        text="Restore, Standard",
        run=_restore_by("standard"),
        tip="Find damage and show it; then heal it, take off some noise, bring back some tone",
    ),
    Action(
        id="restore_strong",
        menu="Repair",
        text="Restore, Strong",
        run=_restore_by("strong"),
        tip="Find faint damage too, and show it; then heal it, clean and correct the tone fully",
    ),
    Action(
        id="recipes",
        menu="Repair",
        text="Edit Recipes…",
        run=lambda context: context.show_recipes(),
        enabled=always,
        tip="Make recipes of your own, try them on the picture, and change them",
    ),
    Action(
        id="enlarge_2",
        menu="Repair",
        text="Enlarge x2…",
        run=_enlarge_by(2),
        tip="Make a picture twice as wide and as high",
        separator=True,
    ),
    Action(
        id="enlarge_4",
        menu="Repair",
        text="Enlarge x4…",
        run=_enlarge_by(4),
        tip="Make a picture four times as wide and as high",
    ),
    Action(
        id="models",
        menu="Repair",
        text="Models…",
        run=show_models,
        enabled=always,
        tip="What the models are, where they come from and how good they are; add others",
        separator=True,
    ),
)
