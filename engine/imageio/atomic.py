"""Writing files whole or not at all, two that belong together too, and sweeping up after killed processes."""

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
_OLD = 24 * 3600.0
"""Seconds after its last change at which a hidden file is nobody's, where no lock can tell."""
_PATIENCE = 2.0
"""Seconds that two files which belong together wait for another process's two."""
_TRIES = 3

_swept: set[Path] = set()


@dataclass(frozen=True)
class Written:
    """What a complete file is known by.

    Attributes:
        sha256: of its contents, hexadecimal.
        size: bytes.
    """

    sha256: str
    size: int


Companion = Callable[[Written], tuple[Path, bytes]]
"""Told of a complete file, gives the path and the contents of a second one that takes its place together with it."""


@contextmanager
def atomic_write(path: Path, *, durable: bool = True, companion: Companion | None = None) -> Iterator[BinaryIO]:
    """Open a file for writing (and reading back) that takes the path's place only when the block ends well.

    The bytes go to a hidden file in the same folder, reach the disk, and then replace what was there; a link is
    followed and stays, and anything but a plain file is refused. The file has the permissions of the one it replaces,
    else those of any new file. Whatever goes wrong, the old file is as it was and the hidden one is gone. What a killed
    process left in the folder goes at the first write there.

    Args:
        path: the file.
        durable: wait until the disk has it, so that even a power cut leaves the old or the new file.
        companion: called once the block has ended; the second file is complete before either takes its place, and no
            other process of this program puts one of its own in between.

    Raises:
        WriteError: ``write.full``, ``write.folder``, ``write.special``, ``write.readonly`` or ``write.failed``;
            ``write.companion`` when only the first of two files could be put in place; any other exception of the block
            passes through.
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
        raise _explained(error, path) from error


def atomic_write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file whole or not at all; arguments and errors as of ``atomic_write``."""
    with atomic_write(path, durable=durable) as file:
        file.write(data)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A hidden folder that becomes the target, which must not exist yet, only when the block ends well.

    Whatever goes wrong, it is gone; what a killed process left goes with the next ``sweep`` of the place.

    Raises:
        OSError: it cannot be made, or not be put in place.
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
    """A hidden file beside a target, which is gone at the end, and its path.

    It is locked as long as it is open: that is how others know that somebody is writing it.
    """
    descriptor, path = _created(target.parent)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file, path
    finally:
        with suppress(OSError):
            path.unlink()


def _created(folder: Path) -> tuple[int, Path]:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    for _ in range(_TRIES):
        path = folder / _hidden_name()
        descriptor = os.open(path, flags, 0o666)
        _lock(descriptor, wait=True)
        if os.fstat(descriptor).st_nlink > 0:
            break
        # Another process swept it up before it was locked.
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
        # Windows moves no open file. Elsewhere it stays open, since closing gives up the lock.
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
        with _alone_in(target.parent):
            _replace(file, hidden, target)
            try:
                _replace(second, second_hidden, other)
            except (OSError, WriteError) as error:
                # One that is there tells of the file that was.
                with suppress(OSError):
                    other.unlink(missing_ok=True)
                raise WriteError(
                    "{file} was written, but {companion} beside it was not.",
                    "write.companion",
                    file=target.name,
                    companion=path.name,
                ) from error


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """While inside, no other process of this program is: as far as the system locks folders, and for a while only."""
    descriptor = -1
    try:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            end = time.monotonic() + _PATIENCE
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
    """Delete the hidden files and folders that killed processes left in a folder; looks once into each. Any thread."""
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
    """Delete a hidden file or folder that no living process is writing.

    A lock that can be had proves that only for files of this computer: some network disks lock for each computer apart.
    Other files, and those on disks without locks and on Windows, must be old (Windows also deletes no open file).

    Args:
        hidden: the file or folder.
        here: whether it was made on this computer.
    """
    if sys.platform == "win32":
        if time.time() - hidden.stat().st_mtime > _OLD:
            _delete(hidden)
        return
    descriptor = os.open(hidden, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        locked = _lock(descriptor, wait=False)
        old = time.time() - os.fstat(descriptor).st_mtime > _OLD
        # Deleted while it is locked: whoever made it a moment ago waits for the lock and then sees that it is gone.
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
    """This computer's name, as eight hexadecimal digits."""
    return hashlib.blake2b(platform.node().encode(errors="replace"), digest_size=4).hexdigest()


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
