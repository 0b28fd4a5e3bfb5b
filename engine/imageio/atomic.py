"""Atomic writing of one file or of two that belong together; deletes the temporary files of killed processes."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from io import BufferedRandom
from pathlib import Path
from typing import BinaryIO

from engine.errors import WriteError
from engine.imageio.targets import HIDDEN, check_plain

if sys.platform != "win32":
    import fcntl

_NAME = re.compile(HIDDEN.format(r"(?:([0-9a-f]{8})-)?[0-9a-f]{16}").replace(".", r"\."))
_STALE_AFTER = 24 * 3600.0
"""Age in seconds from which a temporary file counts as abandoned, where locks cannot decide that."""
_LOCK_TIMEOUT = 2.0
"""Longest time to wait for the lock of a folder, seconds."""
_TRIES = 3
"""Attempts to create a temporary file, in case another process deletes it before it is locked."""

_swept: set[Path] = set()


@dataclass(frozen=True)
class Written:
    """Digest and size of a complete file.

    Attributes:
        sha256: of its contents, hexadecimal.
        size: bytes.
    """

    sha256: str
    size: int


Companion = Callable[[Written], tuple[Path, bytes]]
"""Called with a complete file's digest; returns path and contents of a second file that is put in place with it."""


@contextmanager
def atomic_write(path: Path, *, durable: bool = True, companion: Companion | None = None) -> Iterator[BinaryIO]:
    """Context manager: a file opened for writing (and reading back) that replaces ``path`` when the block succeeds.

    The data is written to a hidden temporary file in the same folder, which then replaces the old file. Symbolic links
    are followed and kept; anything but a regular file is refused. The new file has the permissions of the old one. On
    any error the old file is unchanged and the temporary file is deleted. Temporary files of killed processes are
    deleted at the first write into a folder.

    Args:
        path: the file.
        durable: whether to flush to the disk (fsync), so that even a power cut leaves the old or the new file.
        companion: called after the block; gives a second file. Both are complete before either is put in place, and no
            other process of this program can put its own files in place between them.

    Raises:
        WriteError: ``write.full``, ``write.folder``, ``write.special``, ``write.readonly`` or ``write.failed``;
            ``write.companion`` if only the first of two files could be put in place. Other exceptions of the block are
            passed on.
    """
    path = Path(path)
    check_plain(path)
    try:
        target = Path(os.path.realpath(path))
        sweep(target.parent)
        with _hidden(target) as (file, hidden):
            yield file
            _complete(file, hidden, target, durable=durable)
            if companion is None:
                _replace(file, hidden, target)
            else:
                _replace_both(file, hidden, target, companion, durable=durable)
        if durable:
            sync_folder(target.parent)
    except OSError as error:
        raise _as_write_error(error, path) from error


def atomic_write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file atomically; arguments and errors as for ``atomic_write``."""
    with atomic_write(path, durable=durable) as file:
        file.write(data)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Context manager: a hidden folder that is renamed to the target when the block ends without an error.

    The target must not exist yet. After an error the hidden folder is deleted; what a killed process left is deleted by
    the next ``sweep``.

    Raises:
        OSError: the folder cannot be created or renamed.
    """
    sweep(target.parent)
    hidden, descriptor = _created_folder(target.parent)
    try:
        yield hidden
        hidden.rename(target)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        if descriptor >= 0:
            os.close(descriptor)


def _created_folder(parent: Path) -> tuple[Path, int]:
    """A new hidden folder, locked as long as its descriptor is open; -1 on Windows, which opens no folders."""
    for _ in range(_TRIES):
        path = parent / _hidden_name()
        path.mkdir()
        if sys.platform == "win32":
            return path, -1
        descriptor = os.open(path, os.O_RDONLY)
        _lock(descriptor, wait=True)
        if path.exists():
            break
        # Another process swept it up before it was locked.
        os.close(descriptor)
    return path, descriptor


def _hidden_name() -> str:
    return HIDDEN.format(f"{_machine()}-{secrets.token_hex(8)}")


@contextmanager
def _hidden(target: Path) -> Iterator[tuple[BufferedRandom, Path]]:
    """Context manager: a hidden temporary file beside a target and its path; deleted at the end if it still exists.

    It is locked while it is open, so that other processes know that it is in use.
    """
    descriptor, path = _create_hidden(target.parent)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file, path
    finally:
        with suppress(OSError):
            path.unlink()


def _create_hidden(folder: Path) -> tuple[int, Path]:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    for _ in range(_TRIES):
        path = folder / _hidden_name()
        descriptor = os.open(path, flags, 0o666)
        _lock(descriptor, wait=True)
        if os.fstat(descriptor).st_nlink > 0:
            break
        # Another process deleted it before it was locked.
        os.close(descriptor)
    return descriptor, path


def _complete(file: BufferedRandom, hidden: Path, target: Path, *, durable: bool) -> None:
    file.flush()
    if durable:
        os.fsync(file.fileno())
    if target.exists():
        with suppress(OSError):
            shutil.copymode(target, hidden)


def _replace(file: BufferedRandom, hidden: Path, target: Path) -> None:
    check_plain(target)
    if sys.platform == "win32":
        # Windows cannot rename an open file. Elsewhere it stays open, because closing releases the lock.
        file.close()
    os.replace(hidden, target)


def _replace_both(file: BufferedRandom, hidden: Path, target: Path, companion: Companion, *, durable: bool) -> None:
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    path, contents = companion(Written(digest, file.tell()))
    check_plain(path)
    other = Path(os.path.realpath(path))
    with _hidden(other) as (second, second_hidden):
        second.write(contents)
        _complete(second, second_hidden, other, durable=durable)
        with _folder_lock(target.parent):
            _replace(file, hidden, target)
            try:
                _replace(second, second_hidden, other)
            except (OSError, WriteError) as error:
                # An existing second file belongs to the old first file.
                with suppress(OSError):
                    other.unlink(missing_ok=True)
                raise WriteError(
                    "{file} was written, but {companion} beside it was not.",
                    "write.companion",
                    file=target.name,
                    companion=path.name,
                ) from error


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Context manager: lock a folder against other processes of this program.

    Does not lock where the system or the disk has no locks, or after waiting for ``_LOCK_TIMEOUT``.
    """
    descriptor = -1
    try:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            end = time.monotonic() + _LOCK_TIMEOUT
            while _lock(descriptor, wait=False) is False and time.monotonic() < end:
                time.sleep(0.005)
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> bool | None:
    """Lock an open file or folder until it is closed.

    Returns:
        Whether it is locked now; None where the system or the disk has no locks.
    """
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def sweep(folder: Path) -> None:
    """Delete the temporary files and folders that killed processes left in a folder; searches each folder once.

    Any thread.
    """
    if folder in _swept:
        return
    _swept.add(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            name = _NAME.fullmatch(entry.name)
            if name and not entry.is_symlink():
                with suppress(OSError):
                    _delete_if_dead(Path(entry.path), here=name[1] == _machine())


def _delete_if_dead(hidden: Path, *, here: bool) -> None:
    """Delete a temporary file or folder that no running process is writing.

    That its lock is free proves this only for files made on this computer, because some network disks keep locks for
    each computer separately. Other files, and all files on disks without locks and on Windows, must be old as well
    (Windows also refuses to delete open files).

    Args:
        hidden: the file or folder.
        here: whether it was made on this computer.
    """
    if sys.platform == "win32":
        if time.time() - hidden.stat().st_mtime > _STALE_AFTER:
            _delete(hidden)
        return
    descriptor = os.open(hidden, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        locked = _lock(descriptor, wait=False)
        old = time.time() - os.fstat(descriptor).st_mtime > _STALE_AFTER
        # Delete it while it is locked: a process that has just created it waits for the lock and sees that it is gone.
        if locked is not False and (old or (locked and here)):
            _delete(hidden)
    finally:
        os.close(descriptor)


def _delete(hidden: Path) -> None:
    if hidden.is_dir():
        shutil.rmtree(hidden)
    else:
        hidden.unlink()


@cache
def _machine() -> str:
    """A hash of this computer's name, eight hexadecimal digits."""
    return hashlib.blake2b(platform.node().encode(errors="replace"), digest_size=4).hexdigest()


def sync_folder(folder: Path) -> None:
    """Flush the file names in a folder to the disk (fsync), where the system supports it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _as_write_error(error: OSError, path: Path) -> WriteError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return WriteError(
            "There is not enough room on the disk for {file}. Nothing was changed.", "write.full", file=path.name
        )
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return WriteError(
            "{file} cannot be written: the folder {folder} does not exist.",
            "write.folder",
            file=path.name,
            folder=path.parent,
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return WriteError("{file} cannot be written: the place is read-only.", "write.readonly", file=path.name)
    return WriteError(
        "{file} cannot be written: {reason}.", "write.failed", file=path.name, reason=error.strerror or error
    )
