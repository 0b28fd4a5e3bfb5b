"""Recipes as data and as TOML files: reading, checking and writing them."""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine import imageio, tables
from engine.errors import EngineError, ModelError, SettingsError
from engine.recipes.lines import line_of, split_place
from engine.resources import resource
from engine.runtime.cards import Registry
from engine.tasks import TASKS, check_ranges, make_settings

RECIPES = resource("recipes")
_LARGEST = 1 << 20
"""Larger recipe files are refused, bytes."""


@dataclass(frozen=True)
class Step:
    """One task of a recipe.

    Attributes:
        task: ``detect``, ``heal``, ``clean`` or ``tone``.
        model: id of a model; "" = the task's default.
        settings: the task's settings by name; others have the default of the model's card or of the task.
    """

    task: str
    model: str = ""
    settings: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """The tasks to run on a picture, in order.

    Attributes:
        name: for the record; the file's name if the file states none.
        title: name shown to the user.
        steps: the tasks; heal repairs what the detect step before it found.
        summary: one sentence.
        file: the file that it was read from.
        text: contents of that file, for the lines in errors; "" = it was read from none.
    """

    name: str
    title: str
    steps: tuple[Step, ...]
    summary: str = ""
    file: Path = field(default=Path(), compare=False)
    text: str = field(default="", compare=False)

    def does(self, task: str) -> bool:
        """Whether one of its steps is this task."""
        return any(step.task == task for step in self.steps)


@dataclass(frozen=True)
class Problem:
    """What is wrong with a step of a recipe.

    Attributes:
        entry: name of the entry in the step's table, ``settings.grow``; "" = the step as a whole.
        reason: a sentence that begins with a small letter if it begins with the name of a task.
    """

    entry: str
    reason: SettingsError | ModelError


def own_folder() -> Path:
    """The folder of the user's own recipes; it need not exist."""
    import platformdirs

    return Path(platformdirs.user_data_dir("lacuna", appauthor=False)) / "recipes"


def recipe_names() -> list[str]:
    """Names of the recipes that ship, sorted, that is from gentle to strong; then those of the user's own."""
    shipped, own = ([*_stems(folder)] for folder in (RECIPES, own_folder()))
    return [*shipped, *(name for name in own if not is_shipped(name))]


def is_shipped(name: str) -> bool:
    """Whether a recipe of this name comes with the program; no own recipe can have the name."""
    return name.casefold() in _stems(RECIPES)


def _stems(folder: Path) -> list[str]:
    try:
        return sorted(path.stem for path in folder.glob("*.toml") if not path.name.startswith("."))
    except OSError:
        # Not even its parent can be entered, so there are no recipes of one's own.
        return []


def read_recipe(name: str) -> Recipe:
    """Read a recipe that ships or one of the user's own by its name, or a recipe file by its path.

    Args:
        name: a name such as ``standard``, or a path that ends in ``.toml``.

    Raises:
        SettingsError: there is no such recipe, it is not valid TOML, or an entry is unknown or impossible; names it and
            its line.
    """
    path, data = recipe_file(name)
    return replace(parse_recipe(data, path.name), file=path)


def recipe_file(name: str) -> tuple[Path, bytes]:
    """The path and the contents of a recipe's file; argument and errors as for ``read_recipe``."""
    try:
        path = _path_of(name)
        return path, read_recipe_file(path)
    except FileNotFoundError as error:
        known = ", ".join(recipe_names())
        raise SettingsError(
            "There is no recipe {name!r}. Recipes: {known}.", "recipe.none", name=name, known=known
        ) from error


def _path_of(name: str) -> Path:
    if name.endswith(".toml"):
        return Path(name)
    if name not in recipe_names():
        raise FileNotFoundError(name)
    return (RECIPES if is_shipped(name) else own_folder()) / f"{name}.toml"


def read_recipe_file(path: Path) -> bytes:
    """The contents of a recipe file.

    Raises:
        FileNotFoundError: there is no such file.
        SettingsError: it cannot be read.
    """
    try:
        return imageio.read_plain(path, _LARGEST)
    except (NotADirectoryError, ValueError) as error:
        raise FileNotFoundError(str(path)) from error
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SettingsError(
            "The recipe {file} cannot be read: {reason}.", "recipe.read", file=path.name, reason=error.strerror
        ) from error


def parse_recipe(data: bytes, file: str) -> Recipe:
    """The recipe that the contents of a recipe file state.

    Args:
        data: TOML.
        file: name of the file, for errors; without its suffix it is the recipe's name if the contents give none.

    Raises:
        SettingsError: it is not valid TOML, or an entry is unknown or impossible; names it and its line.
    """
    text = data.decode(errors="replace")
    try:
        table = tables.parse_toml(data)
    except ValueError as error:
        said, line = split_place(str(error), text)
        if isinstance(error.__cause__, UnicodeDecodeError):
            line = data.count(b"\n", 0, error.__cause__.start) + 1
        raise _unusable(file, f"{said.rstrip('.')}.", line) from error
    count = len(steps) if isinstance(steps := table.get("steps"), list) else 0
    try:
        recipe = replace(tables.from_table(Recipe, {"name": Path(file).stem, **table}), text=text)
    except tables.EntryError as error:
        raise _unusable(file, f"{error}.", line_of(text, error.entry, count)) from error
    if not recipe.steps:
        raise _unusable(file, "it has no steps.", line_of(text, "steps", count))
    for number in range(count):
        if (problem := step_problem(recipe, number)) is not None:
            raise problem_in_file(recipe, number, problem, file)
    return recipe


def _unusable(file: str, said: object, line: int | None) -> SettingsError:
    place = "line {line}: " if line is not None else ""
    template = "The recipe {file} cannot be used: " + place + "{said}"
    return SettingsError(template, "recipe.damaged", file=file, line=line or 0, said=said)


def step_problem(recipe: Recipe, number: int, registry: Registry | None = None) -> Problem | None:
    """What is wrong with a step of a recipe; None if nothing is.

    Args:
        recipe: the recipe.
        number: index of the step.
        registry: the models with which it must work; None = it is judged without models.
    """
    step = recipe.steps[number]
    known_steps = [task.id for task in TASKS.values() if task.effort]
    if step.task not in known_steps:
        said = "{task} is no step of a recipe; these are: {known}."
        return _problem("task", said, task=reprlib.repr(step.task), known=", ".join(known_steps))
    known = [item.name for item in dataclasses.fields(TASKS[step.task].settings)]
    for name, value in step.settings.items():
        entry = f"settings.{name}"
        if name not in known:
            said = "{task} has no setting {name}; it has {known}."
            return _problem(entry, said, task=step.task, name=reprlib.repr(name), known=", ".join(known))
        try:
            TASKS[step.task].settings(**{name: value})
        except SettingsError as error:
            return Problem(entry, error)
    if step.task == "heal" and all(other.task != "detect" for other in recipe.steps[:number]):
        return _problem("task", "heal needs a step that finds damage (detect) before it, to know where.")
    return model_problem(step, registry) if registry is not None else None


def _problem(entry: str, template: str, **values: object) -> Problem:
    return Problem(entry, SettingsError(template, "recipe.step", **values))


def model_problem(step: Step, registry: Registry) -> Problem | None:
    """Why a step cannot run with its model; None if it can. Its task and its settings exist."""
    try:
        card = registry.card(step.model) if step.model else registry.default(step.task)
        make_settings(step.task, card, {})
    except (SettingsError, ModelError) as error:
        return Problem("model", error)
    for name, value in step.settings.items():
        try:
            check_ranges(card, make_settings(step.task, card, {name: value}))
        except SettingsError as error:
            return Problem(f"settings.{name}", error)
    return None


def problem_in_file(recipe: Recipe, number: int, problem: Problem, file: str = "") -> EngineError:
    """The error about a step of a recipe that was read from a file: names the file and the line, or else the step.

    Args:
        recipe: the recipe; with ``text``.
        number: index of the step.
        problem: what is wrong with it.
        file: name of its file; empty = that of the recipe.
    """
    name = file or recipe.file.name or f"{recipe.name}.toml"
    line = line_of(recipe.text, f"steps[{number}].{problem.entry}", len(recipe.steps))
    place = "step {line}: " if line is None else "line {line}: "
    template = "The recipe {file} cannot be used: " + place + "{said}"
    shown = number + 1 if line is None else line
    return type(problem.reason)(template, problem.reason.code, file=name, line=shown, said=problem.reason)


def recipe_toml(recipe: Recipe, name: str) -> str:
    """A recipe as TOML; reading it gives the same recipe.

    Args:
        recipe: the recipe.
        name: of its file, without suffix. Another name of the recipe is stated in the file.
    """
    table: dict[str, Any] = {"name": recipe.name} if recipe.name not in ("", name) else {}
    table["title"] = recipe.title
    if recipe.summary:
        table["summary"] = recipe.summary
    table["steps"] = tuple(_step_table(step) for step in recipe.steps)
    return tables.to_toml(table)


def _step_table(step: Step) -> Mapping[str, Any]:
    entries = {"task": step.task, "model": step.model, "settings": dict(step.settings)}
    return {key: value for key, value in entries.items() if value}
