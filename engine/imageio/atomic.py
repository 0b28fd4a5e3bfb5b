"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from engine.errors import WriteError
from engine.imageio.targets import HIDDEN, check_plain


@contextmanager
def atomic_write(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a file for writing (and reading back) that takes the path's place only when the block ends well.

    The bytes go to a hidden file in the same folder, reach the disk, and then replace what was there; a link is
    followed and stays, and anything but a plain file is refused. The file has the permissions of the one it replaces,
    else those of any new file. Whatever goes wrong, the old file is as it was and the hidden one is gone.

    Args:
        path: the file.
        durable: wait until the disk has it, so that even a power cut leaves the old or the new file.

    Raises:
        WriteError: ``write.full``, ``write.folder``, ``write.special``, ``write.readonly`` or ``write.failed``; any
            other exception of the block passes through.
    """
    path = Path(path)
    check_plain(path)
    try:
        target = Path(os.path.realpath(path))
        temporary = target.with_name(HIDDEN.format(secrets.token_hex(8)))
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
            check_plain(target)
            os.replace(temporary, target)
        finally:
            with suppress(OSError):
                temporary.unlink()
        if durable:
            _settle(target.parent)
    except OSError as error:
        raise _explained(error, path) from error


def atomic_write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file whole or not at all; arguments and errors as of ``atomic_write``."""
    with atomic_write(path, durable=durable) as file:
        file.write(data)


def _settle(folder: Path) -> None:
    """Bring the folder's own entry to the disk, where the system can."""
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
