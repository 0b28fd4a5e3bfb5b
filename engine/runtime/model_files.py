"""The files of models: digests, and what is missing of those that ship."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from engine.errors import ModelError
from engine.imageio import open_plain
from engine.jobs import JobContext

LIST = "shipped.txt"
"""The file beside the program's own models that names them, one a line: without it nobody would miss a folder."""
_BLOCK = 1 << 20
"""Bytes of a file that are read at a time; cancelling a verification waits for one of them at most."""


def stamp(path: Path) -> tuple[int, int]:
    """Modification time and size of a file, in which a change shows.

    Raises:
        OSError: there is no such file.
    """
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def digest(path: Path, context: JobContext) -> str:
    """SHA-256 of a file, read anew.

    Raises:
        OSError: it cannot be read.
        Cancelled: the context was cancelled.
    """
    found = hashlib.sha256()
    with open_plain(path) as file:
        while block := file.read(_BLOCK):
            context.check()
            found.update(block)
    return found.hexdigest()


@cache
def cached_digest(path: Path, _modified: int, _size: int) -> str:
    """``digest``, kept for a ``stamp``."""
    return digest(path, JobContext())


def missing_models(place: Path) -> dict[str, ModelError]:
    """The models that ship in a folder and whose own folders are gone: id -> an error that says so."""
    try:
        names = (place / LIST).read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return {}
    said = "The model {model} is missing in {folder}. Install Lacuna again."
    return {
        name: ModelError(said, "model.gone", model=name, folder=place)
        for name in names
        if not (place / name / "card.toml").is_file()
    }


def missing_file(model: str, paths: list[Path]) -> ModelError | None:
    """An error that names the first file of a model that is missing; None: all are there."""
    for path in paths:
        try:
            stamp(path)
        except OSError:
            return ModelError("The model {model} lacks its file {part}.", "model.missing", model=model, part=path.name)
    return None
