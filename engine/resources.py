"""Locates the program's own files: models, recipes, icons, themes, samples. Nothing else computes these paths."""

from __future__ import annotations

import sys
from pathlib import Path


def resource(*parts: str) -> Path:
    """The path of a file or folder that ships with the program; it need not exist.

    The root is ``resources`` in a checkout, ``engine/_resources`` in an installed package, and in a frozen program
    ``resources`` in the folder it was unpacked to, or beside the executable.

    Args:
        parts: path below the root, for example ``"models", "heal"``.
    """
    return _root().joinpath(*parts)


def import_folder() -> Path:
    """The folder from which this program was imported; not of a frozen program."""
    return Path(__file__).resolve().parents[1]


def _root() -> Path:
    if getattr(sys, "frozen", False):
        return Path(getattr(sys, "_MEIPASS", Path(sys.executable).parent)) / "resources"
    here = Path(__file__).resolve().parent
    installed = here / "_resources"
    return installed if installed.is_dir() else here.parent / "resources"
