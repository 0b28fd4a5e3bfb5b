"""The folders of a batch: those that are given, and those that results are written into."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from engine.errors import SettingsError, WriteError
from engine.record import REPORT_FOLDER


def report_folder(output: Path) -> Path:
    """Where the table and the report of a batch are, below its output folder."""
    return output / REPORT_FOLDER


def make_folder(folder: Path, *, below: Path | None = None) -> None:
    """Make a folder, with those above it, if it does not exist.

    Args:
        folder: the folder.
        below: a folder above it that must exist, as it may be on a disk that is gone for a while; None = none.

    Raises:
        WriteError: it cannot be made; ``write.full`` if the disk is full.
    """
    try:
        if below is not None and not below.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise WriteError(
            "The folder {folder} cannot be made: {reason}.",
            "write.full" if full else "write.folder",
            folder=error.filename or folder,
            reason=error.strerror or error,
        ) from error


def is_same_folder(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same folder; not if one cannot be reached."""
    return identity_of(one) is not None and identity_of(one) == identity_of(other)


def identity_of(folder: Path) -> tuple[int, int] | None:
    """Device and number of a folder; None if it does not exist."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def given_paths(inputs: Sequence[Path]) -> list[Path]:
    """Whole paths of what was given; the name of a folder given as ``..`` is that of the folder it leads to."""
    return [Path(os.path.realpath(path)) if ".." in path.parts else path.absolute() for path in inputs]


def common_folder(inputs: Sequence[Path]) -> Path:
    """The folder that is above all scans of some files and folders. Raises SettingsError if there is none."""
    try:
        given = given_paths(inputs)
        return Path(os.path.commonpath([path if os.path.isdir(path) else path.parent for path in given]))  # noqa: PTH112
    except ValueError as error:
        raise SettingsError(
            "The scans are on different drives, so their results cannot be kept beside them in one batch.",
            "batch.folder",
        ) from error


def check_below(inputs: Sequence[Path], folder: Path) -> None:
    """Refuse scans that are not below the folder of a batch that keeps results beside its scans.

    Raises:
        SettingsError: says so.
    """
    if not common_folder(inputs).is_relative_to(folder.absolute()):
        raise SettingsError(
            "Not all scans are below {folder}, so their results cannot be kept beside them in one batch.",
            "batch.folder",
            folder=folder,
        )


def folder_names(folders: Sequence[Path]) -> dict[Path, str]:
    """What stands before the paths below each folder: nothing for a single one, else its name, each different."""
    different = list(dict.fromkeys(folders))
    if len(different) < 2:
        return dict.fromkeys(different, "")
    names: dict[Path, str] = {}
    for folder in different:
        names[folder] = free_folder_name(folder, names.values())
    return names


def free_folder_name(folder: Path, taken: Iterable[str]) -> str:
    """The name of a folder, with a number if another one has it."""
    others, name, number = set(taken), folder.name or "root", 1
    while name in others:
        number += 1
        name = f"{folder.name} ({number})"
    return name
