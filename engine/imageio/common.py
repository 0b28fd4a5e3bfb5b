"""Shared by all formats: header, refusals, size limits, orientation, options for writing."""

from __future__ import annotations

import logging
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

import numpy as np

from engine.errors import SettingsError, Words
from engine.jobs import JobContext
from engine.raster import Metadata, Pixels, Raster, Resolution, contiguous

LIMIT = 2_000_000_000
"""Most pixels a picture may have."""

_LARGEST_GAIN = 2000
"""Most bytes of pixels per byte of file; the best compression of the supported codecs is about 1400 (LZW)."""

_ALLOWANCE = 1 << 20
"""Bytes of pixels that are accepted whatever the size of the file."""

_LOSSY = "The picture is compressed again: its values differ slightly from the original, also outside the repairs."
_REDUCED = "{} holds 8 bits a sample: the picture's 16 bits were reduced, with dithering."

_CODEC_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""Exceptions that codecs raise for damaged data; they document none, and Pillow even raises SyntaxError."""


class Refusal(Exception):  # noqa: N818 - engine.imageio turns it into a ReadError or WriteError with the file's name
    """A file cannot be read or written as a picture.

    Args:
        template: the rest of a sentence that begins with the file's name, without the full stop; see ``Words``.
        code: as in ``EngineError``.
        values: a value for each placeholder of the template.

    Attributes:
        reason: the rest of the sentence.
    """

    def __init__(self, template: str, code: str, **values: object) -> None:
        super().__init__(template, code)
        self.reason = Words(template, **values)
        self.code = code


TIFF_COMPRESSIONS = ("deflate", "lzw", "none")
"""Compressions that TIFF is written with; the default first."""


@dataclass(frozen=True)
class WriteOptions:
    """How a picture is written; each format ignores options that do not apply to it.

    Attributes:
        depth: bits per sample, 8 or 16; None keeps the raster's (float becomes 16). JPEG and WebP always have 8.
        quality: 1..100, for JPEG and lossy WebP.
        lossless: for WebP.
        compression: for TIFF: ``deflate`` (level 1 with horizontal predictor; higher levels take up to ten times as
            long and make 16-bit scans no smaller), ``lzw`` (for old programs; makes 16-bit scans larger) or ``none``.

    Raises:
        SettingsError: a value is out of range.
    """

    depth: int | None = None
    quality: int = 92
    lossless: bool = True
    compression: str = "deflate"

    @classmethod
    def asked(cls, depth: int | None, quality: int | None, compression: str = "deflate") -> WriteOptions:
        """The options that a user asks for; None = the default. A quality makes WebP lossy; raises as the class."""
        if quality is None:
            return cls(depth, compression=compression)
        return cls(depth, quality, lossless=False, compression=compression)

    def __post_init__(self) -> None:
        if self.depth not in (None, 8, 16):
            raise SettingsError("A picture has 8 or 16 bits a sample, not {depth}.", "write.depth", depth=self.depth)
        if not 1 <= self.quality <= 100:
            raise SettingsError(
                "The quality lies between 1 and 100, not at {quality}.", "write.quality", quality=self.quality
            )
        if self.compression not in TIFF_COMPRESSIONS:
            raise SettingsError(
                "TIFF compression is deflate, lzw or none, not {compression}.",
                "write.compression",
                compression=self.compression,
            )


@dataclass
class Header:
    """What a file's header says about its picture.

    Attributes:
        format: ``TIFF``, ``PNG``, ``JPEG``, ``WebP`` or ``BMP``.
        width: columns as stored, before the orientation is applied; height likewise.
        channels: 1 or 3, after palettes are expanded, without alpha.
        depth: 8 or 16, after fewer bits are expanded.
        alpha: whether the decoded picture has an alpha channel in addition.
        compression: its name, shown to the user.
        orientation: EXIF's number, 1..8, still to be applied.
        pages: full-size pictures in the file.
        profile: ICC profile, unchecked.
        refusal: why the picture cannot be opened although its header can be read.
    """

    format: str
    width: int
    height: int
    channels: int
    depth: int
    compression: str
    alpha: bool = False
    orientation: int = 1
    pages: int = 1
    profile: bytes | None = None
    resolution: Resolution | None = None
    metadata: Metadata = field(default_factory=Metadata)
    notices: list[str] = field(default_factory=list)
    refusal: Refusal | None = None

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height after the orientation is applied."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


class Reader(Protocol):
    """A module that reads one file format. Both functions raise Refusal; files may be at any position."""

    def inspect(self, file: BinaryIO, size: int) -> Header:
        """Read the header and metadata of a file of ``size`` bytes, without decoding pixels."""

    def decode(self, file: BinaryIO, size: int, header: Header, context: JobContext, *, alpha: bool) -> Pixels:
        """Decode the upright picture (H, W, channels), a new array; with ``alpha`` also the alpha channel, if any."""


class Writer(Protocol):
    """A module that writes one file format."""

    def encode(self, file: BinaryIO, raster: Raster, options: WriteOptions, context: JobContext) -> list[str]:
        """Write a picture to a file that is open for binary writing; gives sentences about what was lost.

        Raises:
            Refusal: the format cannot hold it.
            Cancelled: the job was called off.
        """


def transparent() -> Refusal:
    """The refusal of a picture whose alpha channel is not opaque everywhere."""
    return Refusal(
        "has transparent parts, and a photograph has none: flatten it onto a background in another program first",
        "read.transparent",
    )


def truncated() -> Refusal:
    """The refusal of a file whose end is missing."""
    return Refusal("is cut short: a part of the picture is missing", "read.truncated")


def damaged() -> Refusal:
    """The refusal of a file that violates its format."""
    return Refusal("is damaged and cannot be read", "read.damaged")


def pages_notice(pages: int) -> str:
    """The notice about a file with more than one picture."""
    return f"The file holds {pages} pictures; only the first is opened, and only it will be in the export."


def loss_notices(raster: Raster, name: str, *, lossy: bool) -> list[str]:
    """Notices about what writing to an 8-bit format changes."""
    notices = [_REDUCED.format(name)] if raster.pixels.dtype != np.uint8 else []
    return [*notices, _LOSSY] if lossy else notices


def load_imagecodecs() -> Any:
    """The module imagecodecs, imported at the first use."""
    import imagecodecs

    silence_log("imagecodecs")
    return imagecodecs


def silence_log(package: str) -> None:
    """Turn off the log messages of a codec package; refusals and notices report what matters in a file."""
    logging.getLogger(package).setLevel(logging.CRITICAL + 1)


@contextmanager
def decoding() -> Iterator[None]:
    """Context manager around calls of codecs: any exception that they raise for bad data becomes a Refusal.

    Raises:
        Refusal: ``read.size`` = out of memory, ``read.failed`` = read error, ``read.damaged`` = anything else.
    """
    try:
        yield
    except MemoryError as error:
        raise Refusal("needs more memory than this computer has free", "read.size") from error
    except OSError as error:
        if error.errno is not None:
            raise Refusal("cannot be read: {reason}", "read.failed", reason=error.strerror) from error
        raise damaged() from error
    except _CODEC_ERRORS as error:
        raise damaged() from error


def check_size(width: int, height: int, bits: int, size: int, gain: int = _LARGEST_GAIN) -> None:
    """Refuse implausible sizes before memory is allocated for them.

    Args:
        width: columns.
        height: rows.
        bits: bits per pixel before compression.
        size: bytes of the file.
        gain: most bytes of pixels per byte of the file.

    Raises:
        Refusal: there are no pixels, too many pixels, or more than a file of this size can hold.
    """
    if width < 1 or height < 1:
        raise Refusal("holds a picture without pixels", "read.damaged")
    if width * height > LIMIT:
        raise Refusal(
            "claims to be {width} × {height} pixels; the limit is {limit} thousand million",
            "read.size",
            width=width,
            height=height,
            limit=LIMIT // 10**9,
        )
    if width * height * bits // 8 > gain * size + _ALLOWANCE:
        raise Refusal(
            "claims to be {width} × {height} pixels, which do not fit into its {size} bytes: it is damaged",
            "read.size",
            width=width,
            height=height,
            size=size,
        )


def upright_view(stored: Pixels, orientation: int) -> Pixels:
    """An upright view of a stored picture (H, W, ...), by EXIF's number; 1 and unknown numbers change nothing."""
    if orientation >= 5:
        stored = stored.swapaxes(0, 1)
    rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(orientation, (1, 1))
    return stored[::rows, ::columns]


def stored_view(upright: Pixels, orientation: int) -> Pixels:
    """The inverse of ``upright_view``: a writable view of an upright picture in the file's stored order."""
    return upright_view(upright, {6: 8, 8: 6}.get(orientation, orientation))


def finish(pixels: Pixels, header: Header, *, alpha: bool) -> Pixels:
    """Convert the output of a codec to the result of ``Format.decode``.

    Raises:
        Refusal: the picture has transparent parts, or is not what the header said.
    """
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    channels = header.channels + (1 if header.alpha else 0)
    if pixels.shape != (header.height, header.width, channels) or pixels.dtype.itemsize * 8 != header.depth:
        raise damaged()
    if header.alpha and not alpha:
        if pixels[..., -1].min() != np.iinfo(pixels.dtype).max:
            raise transparent()
        pixels = pixels[..., :-1]
    return contiguous(upright_view(pixels, header.orientation))


def sensible_resolution(x: float, y: float) -> Resolution | None:
    """A resolution in dots per inch; None if a number is outside 0.1..100,000."""
    if all(math.isfinite(value) and 0.1 <= value <= 100_000 for value in (x, y)):
        return Resolution(float(x), float(y))
    return None
