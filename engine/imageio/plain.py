"""Plain files: the only ones that are read or replaced. A pipe would block, a device would be replaced by a file."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def special_kind(path: Path) -> str:
    """What a path leads to, through links, where that is no plain file: ``a device``, for instance.

    Returns:
        Empty where there is a plain file, nothing at all, or nothing that can be looked at.
    """
    try:
        return _kind(path.stat().st_mode)
    except OSError as error:
        return "a link that leads in a circle" if error.errno == errno.ELOOP else ""
    except ValueError:
        return ""


def open_plain(path: Path) -> BufferedReader:
    """Open a plain file for reading. Never waits for anybody to write, as opening a pipe does.

    Raises:
        OSError: it cannot be opened, or is no plain file.
    """
    # Looked at before, since opening a device may do something, and after, since it may have been replaced meanwhile.
    _refuse(special_kind(path), path)
    # tifffile wants the name to be text.
    file = open(str(path), "rb", opener=_open_at_once)  # noqa: SIM115
    try:
        _refuse(_kind(os.fstat(file.fileno()).st_mode), path)
    except OSError:
        file.close()
        raise
    return file


def read_plain(path: Path, most: int) -> bytes:
    """The contents of a plain file of at most so many bytes.

    Raises:
        OSError: it cannot be read, is no plain file, or is larger.
    """
    with open_plain(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes", str(path))
    return data


def _open_at_once(name: str, flags: int) -> int:
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _refuse(kind: str, path: Path) -> None:
    if kind:
        raise OSError(errno.EINVAL, f"it is {kind}, not a plain file", str(path))


def _kind(mode: int) -> str:
    return next((word for fits, word in _KINDS if fits(mode)), "")
