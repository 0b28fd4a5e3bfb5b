"""Small pictures of recent files, kept in the program's cache, so that the files need not be read to show them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from desktop.document.compose import Composite
from desktop.document.model import State
from desktop.work.preview import photo_sample
from engine.errors import EngineError
from engine.imageio import atomic_write_bytes, encode_png, read_plain
from engine.jobs import JobContext
from engine.raster import Rect

_SIDE = 480
"""Longest side, pixels: sharp on the start page at 300 % scaling."""
_LARGEST = 4 << 20
"""A larger file is none of ours, bytes."""
_SUFFIX = ".png"


class Thumbnails:
    """The folder of the small pictures. Any thread.

    Args:
        folder: made when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path_of(self, name: str) -> Path:
        """Where the picture of a file is; it need not exist.

        Args:
            name: path of the file, as in the list of recent files.
        """
        return self._folder / (hashlib.sha256(os.fsencode(name)).hexdigest()[:32] + _SUFFIX)

    def read(self, name: str) -> bytes:
        """The picture of a file as PNG, sRGB; empty if there is none."""
        try:
            return read_plain(self.path_of(name), _LARGEST)
        except OSError:
            return b""

    def make(self, name: str, state: State, profile: bytes | None) -> Callable[[JobContext], None]:
        """The work that makes the picture of a file. Where it cannot be written there is none.

        Args:
            name: path of the file.
            state: its document's.
            profile: its ICC profile.
        """

        def work(context: JobContext) -> None:
            from engine.restore import small_picture

            take = photo_sample(Composite.of(state), profile, Rect(0, 0, 0, 0), whole=True)
            pixels = small_picture(take(_SIDE, _SIDE, context).pixels, profile, _SIDE)
            with suppress(OSError, EngineError):
                self._folder.mkdir(parents=True, exist_ok=True)
                atomic_write_bytes(self.path_of(name), encode_png(pixels), durable=False)

        return work

    def keep_only(self, names: Iterable[str]) -> None:
        """Delete the pictures of all other files."""
        kept = {self.path_of(name) for name in names}
        # OSError: a folder above may not be read.
        with suppress(OSError):
            for path in self._folder.glob(f"*{_SUFFIX}"):
                if path not in kept:
                    path.unlink()
