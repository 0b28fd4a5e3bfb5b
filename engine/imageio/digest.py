"""The SHA-256 of a file from which a picture was read, even if the file was replaced at its path since."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import BinaryIO

_BLOCK = 8 << 20
"""Bytes that are read at a time; large, because each read competes with other threads for the GIL."""


class FileDigest:
    """The digest of an open file, computed on its own thread, so that the picture is shown without waiting for it.

    Create it before the picture is decoded and start it afterwards: it reads the same open file again, even if another
    file is at its path by then. A file that was modified in between gets no digest.

    Args:
        file: open for binary reading; may be closed after ``start``.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._before = _stamp(file.fileno())
        self._value = ""
        self._thread: threading.Thread | None = None

    def start(self, file: BinaryIO) -> None:
        """Start computing, after the picture was decoded."""
        descriptor = os.dup(file.fileno())
        self._thread = threading.Thread(target=self._work, args=(descriptor,), name="digest", daemon=True)
        self._thread.start()

    def value(self) -> str:
        """Wait for the digest, hexadecimal; empty if it could not be computed. Any thread."""
        if self._thread is not None:
            self._thread.join()
        return self._value

    def _work(self, descriptor: int) -> None:
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(_BLOCK))
        try:
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                file.seek(0)
                while count := file.readinto(buffer):
                    digest.update(buffer[:count])
                if _stamp(descriptor) == self._before:
                    self._value = digest.hexdigest()
        except OSError:
            # For example a disk that was removed: there is no digest.
            return


def _stamp(descriptor: int) -> tuple[int, int]:
    """Size and modification time, which tell whether a file was modified."""
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns
