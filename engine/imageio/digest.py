"""The SHA-256 of a file whose pixels were read: of those very bytes, whatever is at its path by now."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import BinaryIO

_BLOCK = 8 << 20
"""Bytes that are read at a time: each time the thread competes with others for Python's lock."""


class FileDigest:
    """The digest of an open file, computed on a thread of its own, so that nobody waits for it to see the picture.

    Make it before the file is read, start it afterwards: the same open file is read once more, even if it was replaced
    at its path meanwhile. A file that was written to meanwhile has no digest.

    Args:
        file: open for binary reading; may be closed after ``start``.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._before = _stamp(file.fileno())
        self._value = ""
        self._thread: threading.Thread | None = None

    def start(self, file: BinaryIO) -> None:
        """Begin, once the file was read."""
        descriptor = os.dup(file.fileno())
        self._thread = threading.Thread(target=self._work, args=(descriptor,), name="digest", daemon=True)
        self._thread.start()

    def value(self) -> str:
        """The digest, hexadecimal, when it is complete; empty when it could not be had. Any thread."""
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
            # The disk is gone: then there is no digest.
            return


def _stamp(descriptor: int) -> tuple[int, int]:
    """Size and time of the last change of the contents."""
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns
