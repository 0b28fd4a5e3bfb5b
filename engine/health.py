"""What is wrong with this installation, as far as that can be seen in less than a second without running a model."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ModelError, Words
from engine.jobs import JobContext
from engine.resources import is_frozen
from engine.runtime.cards import Registry
from engine.runtime.driver import Driver, nvidia_driver
from engine.runtime.session import Library, library, missing_cuda_file

LEAST_FREE = 256_000_000
"""Bytes; with less free space programs begin to fail."""


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Attributes:
        key: the same for the same problem at each start.
        words: a whole sentence.
    """

    key: str
    words: Words


def problems(
    registry: Registry, folders: Sequence[Path], context: JobContext | None = None, *, use_card: bool = True
) -> list[Problem]:
    """What is wrong: models, folders, free space, and a graphics card that is not used. Any thread.

    Reads every model once, unless this process has done so since they changed.

    Args:
        registry: the models.
        folders: in which the program writes; they need not exist yet.
        context: cancels it, between two models.
        use_card: whether a graphics card is to be used.

    Raises:
        Cancelled: the context was cancelled.
    """
    context = context or JobContext()
    found = [*_models(registry, context), *places(folders)]
    context.check()
    # Loading onnxruntime takes longer than all the rest, so only where there is something to ask it.
    driver = nvidia_driver() if use_card else None
    unused = unused_card(library(), driver, missing_cuda_file()) if driver is not None and driver.cards else None
    if unused is not None:
        found.append(Problem(f"card {unused.reason.template}", unused.reason))
    return found


def _models(registry: Registry, context: JobContext) -> list[Problem]:
    """Models that are damaged or were deleted; several as one problem."""
    wrong: dict[str, ModelError] = {}
    for entry in registry.entries():
        context.check()
        try:
            if entry.card is not None:
                entry.card.verify()
        except ModelError as error:
            wrong[entry.id] = error
        if entry.problem is not None:
            wrong[entry.id or str(entry.folder)] = entry.problem
    if not wrong:
        return []
    key = "models " + " ".join(sorted(wrong))
    if len(wrong) > 1:
        return [Problem(key, Words("These models are missing or damaged: {models}.", models=", ".join(sorted(wrong))))]
    return [Problem(key, *(error.words for error in wrong.values()))]


def places(folders: Sequence[Path]) -> Iterator[Problem]:
    """Folders that cannot be written, and disks that are nearly full."""
    closed = [str(folder) for folder in dict.fromkeys(folders) if not _may_write(folder)]
    if closed:
        said = "Nothing can be written in {folders}, where Lacuna keeps its files."
        yield Problem("folders " + " ".join(closed), Words(said, folders=", ".join(closed)))
    for folder in dict.fromkeys([_temporary(), *folders]):
        with suppress(OSError):
            free = shutil.disk_usage(_nearest(folder)).free
            if free < LEAST_FREE:
                said = "There is nearly no free space in {folder}: {size:.0f} MB."
                yield Problem("space", Words(said, folder=folder, size=free / 1e6))
                return


def _temporary() -> Path:
    """The system's folder for temporary files. ``tempfile.gettempdir`` would write there, and pass over a full one."""
    named = (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return Path(next(filter(None, named), "/tmp"))  # noqa: S108 - nothing is written there


def _may_write(folder: Path) -> bool:
    """Whether files can be made in a folder, or if it does not exist, whether it can be made."""
    try:
        if folder.is_dir():
            with tempfile.TemporaryFile(dir=folder):
                return True
        return os.access(_nearest(folder), os.W_OK)
    except OSError:
        return False


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next((place for place in (folder, *folder.parents) if place.is_dir()), folder)


@dataclass(frozen=True)
class UnusedCard:
    """Why the models do not run on a graphics card that is there, and what to do about it; whole sentences."""

    reason: Words
    remedy: Words


def unused_card(found: Library, driver: Driver, missing: str) -> UnusedCard | None:
    """Why the models will not run on a graphics card that is there; None if nothing speaks against it.

    Args:
        found: the installed onnxruntime.
        driver: of NVIDIA's graphics cards.
        missing: a file that onnxruntime needs for CUDA and does not find; empty = none.
    """
    if not found.has_cuda:
        reason = Words("There is a graphics card, but the installed {package} cannot use it.", package=found.package)
        if is_frozen():
            said = "This program is built for the processor alone. Lacuna for Python (pip) can use the card."
            return UnusedCard(reason, Words(said))
        said = (
            "The installed {package} cannot use it. Remove it (pip uninstall {package}), and install the one that can "
            '(pip install "onnxruntime-gpu[cuda,cudnn]").'
        )
        return UnusedCard(reason, Words(said, package=found.package))
    if major(driver.cuda) < major(found.cuda):
        said = "There is a graphics card, but its driver {version} is too old for CUDA {needed}."
        reason = Words(said, version=driver.version, needed=found.cuda)
        said = "The driver {version} runs CUDA up to {own}, and CUDA {needed} is needed: install a newer driver."
        return UnusedCard(reason, Words(said, version=driver.version, own=driver.cuda, needed=found.cuda))
    if missing:
        said = "There is a graphics card, but NVIDIA's library {file} to use it is not installed."
        reason = Words(said, file=missing)
        said = (
            "NVIDIA's libraries are not installed ({file} is not found). Install them: make run CUDA=1 in the folder "
            'of the sources, or pip install "onnxruntime-gpu[cuda,cudnn]".'
        )
        return UnusedCard(reason, Words(said, file=missing))
    return None


def major(version: str) -> int:
    """The first number of a version; 0 if there is none."""
    first = version.partition(".")[0]
    return int(first) if first.isdecimal() else 0
