"""The picture formats: a new one is a module beside this file, and a row in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.imageio import bmp, jpeg, png, tiff, tiffwrite, webp
from engine.imageio.common import Reader, Writer


@dataclass(frozen=True)
class FileFormat:
    """One picture format.

    Attributes:
        name: for a person.
        suffixes: endings of its file names, lower case; the usual one first.
        fits: whether the first bytes of a file, up to 64, are of this format.
        reader: the module that reads it.
        writer: the module that writes it; None: it is only read.
        depth: the most bits a sample that it holds.
        lossless: whether it keeps samples of that depth as they are; ``choice``: ``WriteOptions.lossless`` decides.
        largest: the most pixels a side; None: no limit of the format's own.
    """

    name: str
    suffixes: tuple[str, ...]
    fits: Callable[[bytes], bool]
    reader: Reader
    writer: Writer | None
    depth: int
    lossless: bool | Literal["choice"] = True
    largest: int | None = None


FORMATS = (
    FileFormat(
        name="TIFF",
        suffixes=(".tif", ".tiff"),
        fits=lambda head: head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
        reader=tiff,
        writer=tiffwrite,
        depth=16,
    ),
    FileFormat(
        name="PNG",
        suffixes=(".png",),
        fits=lambda head: head.startswith(png.SIGNATURE),
        reader=png,
        writer=png,
        depth=16,
        largest=png.LARGEST_SIDE,
    ),
    FileFormat(
        name="JPEG",
        suffixes=(".jpg", ".jpeg"),
        fits=lambda head: head.startswith(b"\xff\xd8\xff"),
        reader=jpeg,
        writer=jpeg,
        depth=8,
        lossless=False,
        largest=jpeg.LARGEST_SIDE,
    ),
    FileFormat(
        name="WebP",
        suffixes=(".webp",),
        fits=lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP",
        reader=webp,
        writer=webp,
        depth=8,
        lossless="choice",
        largest=webp.LARGEST_SIDE,
    ),
    FileFormat(
        name="BMP",
        suffixes=(".bmp",),
        fits=lambda head: head.startswith(b"BM"),
        reader=bmp,
        writer=None,
        depth=8,
    ),
)

READABLE: tuple[str, ...] = tuple(suffix for row in FORMATS for suffix in row.suffixes)
"""Suffixes of the picture formats that can be read, lower case. Reading itself goes by contents."""

WRITABLE: tuple[str, ...] = tuple(suffix for row in FORMATS if row.writer is not None for suffix in row.suffixes)
"""Suffixes of the picture formats that can be written, lower case."""


def format_of(path: Path | str) -> FileFormat | None:
    """The format that the suffix of a path names, or a suffix alone; None where there is no such format."""
    suffix = Path(path).suffix.lower() or str(path).lower()
    return next((row for row in FORMATS if suffix in row.suffixes), None)
