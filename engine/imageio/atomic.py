"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from engine.errors import WriteError

WRITABLE: tuple[str, ...] = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".webp")
"""Suffixes of the picture formats that can be written, lower case."""


@contextmanager
def atomic_write(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a file for writing (and reading back) that takes the path's place only when the block ends well.

    The bytes go to a hidden file in the same folder, reach the disk, and then replace what was there; a link is
    followed and stays. The file has the permissions of the one it replaces, else those of any new file. Whatever goes
    wrong, the old file is as it was and the hidden one is gone.

    Args:
        path: the file.
        durable: wait until the disk has it, so that even a power cut leaves the old or the new file.

    Raises:
        WriteError: ``write.full``, ``write.folder``, ``write.readonly`` or ``write.failed``; any other exception of the
            block passes through.
    """
    path = Path(path)
    try:
        target = Path(os.path.realpath(path))
        temporary = target.with_name(f".lacuna-{secrets.token_hex(8)}.tmp")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            if target.exists():
                with suppress(OSError):
                    shutil.copymode(target, temporary)
            os.replace(temporary, target)
        finally:
            with suppress(OSError):
                temporary.unlink()
        if durable:
            sync_folder(target.parent)
    except OSError as error:
        raise _explained(error, path) from error


def atomic_write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file whole or not at all; arguments and errors as of ``atomic_write``."""
    with atomic_write(path, durable=durable) as file:
        file.write(data)


def check_target(target: Path, sources: Iterable[Path], suffixes: tuple[str, ...] = WRITABLE) -> None:
    """Refuse a place that a picture cannot or must not be written to, before any work is done for it.

    Args:
        target: where to write.
        sources: files that must stay as they are; also recognised through links.
        suffixes: file name endings that are accepted.

    Raises:
        WriteError: ``write.suffix``, ``write.name``, ``write.folder``, ``write.readonly`` or ``write.source``.
    """
    if target.suffix.lower() not in suffixes:
        known = ", ".join(suffixes)
        raise WriteError(f"{target.name} does not end in one of {known}, so its format is not known.", "write.suffix")
    try:
        folder = Path(os.path.realpath(target)).parent
        target.exists()
    except (OSError, ValueError) as error:
        raise WriteError(f"{target.name[:80]!r} is no name for a file.", "write.name") from error
    if not folder.is_dir():
        raise WriteError(f"{target.name} cannot be written: the folder {folder} does not exist.", "write.folder")
    if target.is_dir():
        raise WriteError(f"{target.name} cannot be written: there is a folder of that name.", "write.folder")
    for source in sources:
        if same_file(target, source):
            raise WriteError(
                f"{target.name} is the file that was opened. Choose another name: it is kept.", "write.source"
            )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteError(f"{target.name} cannot be written: the folder {folder} is read-only.", "write.readonly")
    if target.exists() and not os.access(target, os.W_OK):
        raise WriteError(f"{target.name} exists and is write-protected.", "write.readonly")


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths are one file, also through links."""
    try:
        return one.samefile(other)
    except OSError:
        # One of them does not exist yet: then only their places can be compared.
        return os.path.realpath(one) == os.path.realpath(other)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names of the files in a folder, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _explained(error: OSError, path: Path) -> WriteError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return WriteError(f"There is not enough room on the disk for {path.name}. Nothing was changed.", "write.full")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return WriteError(f"{path.name} cannot be written: the folder {path.parent} does not exist.", "write.folder")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return WriteError(f"{path.name} cannot be written: the place is read-only.", "write.readonly")
    return WriteError(f"{path.name} cannot be written: {error.strerror or error}.", "write.failed")
