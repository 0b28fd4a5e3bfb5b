"""Checks of output paths before any work is done."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from engine.errors import Words, WriteError
from engine.imageio.formats import WRITABLE
from engine.imageio.plain import special_kind

HIDDEN = ".lacuna-{}.tmp"
"""Names of temporary files, which are renamed when they are complete; see ``atomic_write``."""


def check_target(
    target: Path, sources: Iterable[Path], suffixes: tuple[str, ...] = WRITABLE, *, beside: str = ""
) -> None:
    """Refuse a path to which a file cannot or must not be written.

    Args:
        target: the path.
        sources: files that must not be overwritten; also recognised through links.
        suffixes: accepted suffixes, lower case.
        beside: appended to the name for a second file that is written beside it; empty = there is none.

    Raises:
        WriteError: ``write.suffix``, ``write.name``, ``write.folder``, ``write.special``, ``write.readonly`` or
            ``write.source``.
    """
    if target.suffix.lower() not in suffixes:
        known = ", ".join(suffixes)
        raise WriteError(
            "{file} does not end in one of {known}, so its format is not known.",
            "write.suffix",
            file=target.name,
            known=known,
        )
    folder = _folder(target)
    for name in (target.name, target.name + beside):
        check_plain(target.with_name(name))
    for source in sources:
        if same_file(target, source):
            raise WriteError(
                "{file} is the file that was opened. Choose another name: it is kept.", "write.source", file=target.name
            )
    for place in (folder, target.parent) if beside else (folder,):
        if not os.access(place, os.W_OK | os.X_OK):
            raise WriteError(
                "{file} cannot be written: the folder {place} is read-only.",
                "write.readonly",
                file=target.name,
                place=place,
            )
    _check_names(target, folder, beside)
    if os.path.exists(target) and not os.access(target, os.W_OK):  # noqa: PTH110 - Path.exists may raise
        raise WriteError("{file} exists and is write-protected.", "write.readonly", file=target.name)


def check_plain(target: Path) -> None:
    """Refuse to replace anything but a regular file; links are followed, and the file need not exist.

    Raises:
        WriteError: ``write.folder`` or ``write.special``.
    """
    kind = special_kind(target)
    if kind == "a folder":
        raise WriteError("{file} cannot be written: there is a folder of that name.", "write.folder", file=target.name)
    if kind:
        raise WriteError(
            "{file} cannot be written: it is {kind}, and not a plain file.",
            "write.special",
            file=target.name,
            kind=Words(kind),
        )


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same file, also through links."""
    try:
        return one.samefile(other)
    except OSError:
        # One of them does not exist: only the resolved paths can be compared.
        return os.path.realpath(one) == os.path.realpath(other)
    except ValueError:
        # A path that no file can have.
        return False


def _folder(target: Path) -> Path:
    """The folder of a file, after resolving links.

    Raises:
        WriteError: it does not exist, cannot be examined, or is not a folder.
    """
    try:
        folder = Path(os.path.realpath(target)).parent
        folder.stat()
    except ValueError as error:
        raise WriteError("{file!r} is no name for a file.", "write.name", file=target.name) from error
    except PermissionError as error:
        raise WriteError(
            "{file} cannot be written: the folder {folder} may not be looked into.",
            "write.readonly",
            file=target.name,
            folder=folder,
        ) from error
    except OSError as error:
        raise WriteError(
            "{file} cannot be written: the folder {folder} does not exist.",
            "write.folder",
            file=target.name,
            folder=folder,
        ) from error
    if not folder.is_dir():
        raise WriteError(
            "{file} cannot be written: {folder} is no folder.", "write.folder", file=target.name, folder=folder
        )
    return folder


def _check_names(target: Path, folder: Path, beside: str) -> None:
    """Refuse names that are too long for the disk; tested with lstat, because limits differ between file systems.

    Raises:
        WriteError: ``write.name``.
    """
    record = target.with_name(target.name + beside)
    for path in (Path(os.path.realpath(target)), folder / HIDDEN.format("0" * 24), record):
        try:
            os.lstat(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            said = "{file} cannot be written: the name is too long. Choose a shorter one."
            if path == record and beside:
                said = "{file} cannot be written: the name is too long for the record beside it. Choose a shorter one."
            raise WriteError(said, "write.name", file=target.name) from error
