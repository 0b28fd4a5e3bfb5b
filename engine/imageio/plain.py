"""Regular files (here called plain): only these are read or replaced.

Reading a pipe would block, and an atomic write would replace a device by a file.
"""

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
    """The kind of what a path leads to, through links, if that is not a regular file; for example ``a device``.

    Returns:
        Empty for a regular file, for a path that does not exist, and for one that cannot be examined.
    """
    try:
        return _kind(path.stat().st_mode)
    except OSError as error:
        return "a link that leads in a circle" if error.errno == errno.ELOOP else ""
    except ValueError:
        return ""


def open_plain(path: Path) -> BufferedReader:
    """Open a regular file for reading. Never blocks, as opening a pipe would.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    # Checked before opening, which may have effects on a device, and after, because the file may have been replaced.
    _refuse(special_kind(path), path)
    # tifffile requires the file's name to be a string.
    file = open(str(path), "rb", opener=_open_at_once)  # noqa: SIM115
    try:
        _refuse(_kind(os.fstat(file.fileno()).st_mode), path)
    except OSError:
        file.close()
        raise
    return file


def read_plain(path: Path, most: int) -> bytes:
    """The contents of a regular file of at most ``most`` bytes.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger.
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
