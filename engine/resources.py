"""Where the program's own files are: models, recipes, icons, themes, samples. The only place that knows."""

from __future__ import annotations

import sys
from pathlib import Path


def resource(*parts: str) -> Path:
    """A file or folder that ships with the program.

    It lies in ``resources`` at the top of a checkout, in ``engine/_resources`` of an installed package, and in
    ``resources`` of a frozen program: where it was unpacked, or beside the executable.

    Args:
        parts: its place in there, ``"models", "heal"`` for instance.
    """
    return _root().joinpath(*parts)


def _root() -> Path:
    if getattr(sys, "frozen", False):
        return Path(getattr(sys, "_MEIPASS", Path(sys.executable).parent)) / "resources"
    here = Path(__file__).resolve().parent
    installed = here / "_resources"
    return installed if installed.is_dir() else here.parent / "resources"
