"""The user's own recipes: TOML files in the user's data folder. The recipes that ship are never changed."""

from __future__ import annotations

import re
from pathlib import Path

from engine import imageio
from engine.errors import SettingsError, WriteError
from engine.recipes.files import (
    Recipe,
    is_shipped,
    own_folder,
    parse_recipe,
    read_recipe_file,
    recipe_names,
    recipe_toml,
)

_LONGEST = 60
"""Of the names that are made of titles, characters."""


def free_name(title: str) -> str:
    """A name for a new recipe that no other recipe has: the title in small letters, digits and hyphens."""
    stem = re.sub(r"[\W_]+", "-", title.casefold()).strip("-")[:_LONGEST].rstrip("-") or "recipe"
    taken = {name.casefold() for name in recipe_names()}
    names = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


def save_recipe(recipe: Recipe, name: str, known: bytes | None) -> bytes:
    """Write one of the user's own recipes, atomically.

    Args:
        recipe: the recipe; its steps may name models that are not installed.
        name: of its file, without suffix.
        known: what the file held when it was read or last written; None = there was no file.

    Returns:
        The contents of the file.

    Raises:
        SettingsError: the recipe cannot be used, or a recipe of this name comes with the program.
        WriteError: ``recipe.changed``: the file holds something else than what is known; or it cannot be written.
    """
    if is_shipped(name):
        raise SettingsError("The recipe {name} comes with Lacuna and stays as it is.", "recipe.shipped", name=name)
    path, data = own_folder() / f"{name}.toml", recipe_toml(recipe, name).encode()
    parse_recipe(data, path.name)
    if _contents(path) not in (known, data):
        raise WriteError(
            "{file} was changed by another program meanwhile. Nothing was written.", "recipe.changed", file=path.name
        )
    _write(path, data)
    return data


def import_recipe(path: Path) -> str:
    """Copy a recipe file to the user's own recipes, with its comments; returns the name it got.

    Raises:
        SettingsError: it cannot be read or used; names the line.
        WriteError: it cannot be written.
    """
    try:
        data = read_recipe_file(path)
    except FileNotFoundError as error:
        raise SettingsError("There is no recipe file {file}.", "recipe.none", file=path.name) from error
    parse_recipe(data, path.name)
    name = free_name(path.stem)
    _write(own_folder() / f"{name}.toml", data)
    return name


def delete_recipe(name: str) -> None:
    """Delete one of the user's own recipes.

    Raises:
        SettingsError: it comes with the program.
        WriteError: it cannot be deleted.
    """
    if is_shipped(name):
        raise SettingsError("The recipe {name} comes with Lacuna and stays as it is.", "recipe.shipped", name=name)
    path = own_folder() / f"{name}.toml"
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        said = "{file} cannot be deleted: {reason}."
        raise WriteError(said, "recipe.delete", file=path.name, reason=error.strerror or error) from error


def _contents(path: Path) -> bytes | None:
    try:
        return read_recipe_file(path)
    except FileNotFoundError:
        return None


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        said = "The folder {folder} cannot be made: {reason}."
        raise WriteError(said, "write.folder", folder=path.parent, reason=error.strerror or error) from error
    imageio.atomic_write_bytes(path, data)
