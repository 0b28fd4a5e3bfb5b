"""Locates the program's own files: models, recipes, icons, themes, samples. Nothing else computes these paths."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LARGEST = 1 << 20
"""A larger description of the build is not read, bytes."""


@dataclass(frozen=True)
class Build:
    """What the build of an installation wrote about itself.

    Attributes:
        version: of the program.
        commit: from which it was built.
        date: when.
        releases: http(s) address of the page with all releases; empty = there is none.
    """

    version: str
    commit: str
    date: str
    releases: str


def resource(*parts: str) -> Path:
    """The path of a file or folder that ships with the program; it need not exist.

    The root is ``resources`` in a checkout, ``engine/_resources`` in an installed package, and in a frozen program
    ``resources`` in the folder it was unpacked to, or beside the executable.

    Args:
        parts: path below the root, for example ``"models", "heal"``.
    """
    return _root().joinpath(*parts)


def build() -> Build | None:
    """What ``build.json`` says; None without one, as in a checkout, or where it cannot be used."""
    try:
        with resource("build.json").open("rb") as file:
            table = json.loads(file.read(_LARGEST))
    except (OSError, ValueError, RecursionError):
        return None
    return _build_of(table)


def _build_of(table: Any) -> Build | None:
    if not isinstance(table, dict):
        return None
    texts = [table.get(name, "") for name in ("version", "commit", "date", "releases")]
    if not all(isinstance(text, str) for text in texts) or not texts[0]:
        return None
    version, commit, date, releases = texts
    web = releases.startswith(("https://", "http://")) and releases.isprintable() and " " not in releases
    return Build(version, commit, date, releases if web else "")


def is_frozen() -> bool:
    """Whether this is a program of its own (PyInstaller's), and no package of a Python that is installed."""
    return bool(getattr(sys, "frozen", False))


def package_version(*names: str) -> str:
    """The version of the first of these packages that is installed; empty if none is."""
    # It takes a noticeable part of a command's start.
    from importlib import metadata

    for name in names:
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return ""


def import_folder() -> Path:
    """The folder from which this program was imported; not of a frozen program."""
    return Path(__file__).resolve().parents[1]


def _root() -> Path:
    if is_frozen():
        return Path(getattr(sys, "_MEIPASS", Path(sys.executable).parent)) / "resources"
    here = Path(__file__).resolve().parent
    installed = here / "_resources"
    return installed if installed.is_dir() else here.parent / "resources"
