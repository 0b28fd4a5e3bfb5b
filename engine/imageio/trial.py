"""Writes and reads a small picture in every format and compression: the self-test of an installation.

The codecs are loaded only when a file needs them, so that an installation which lacks one shows it only then.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from engine import imageio
from engine.errors import EngineError
from engine.imageio import tiff, tiffwrite
from engine.imageio.common import WriteOptions, silence_log
from engine.imageio.formats import FORMATS, FileFormat
from engine.imageio.tags import Compression
from engine.raster import Pixels, Raster

_SIDE = 48
_LOSS = 8
"""Largest mean difference, of 255, that a format which loses may show on the smooth test picture."""
_BILEVEL: dict[int, str] = {Compression.CCITT: "tiff_ccitt", Compression.FAX3: "group3", Compression.FAX4: "group4"}
"""Compressions of black and white TIFF, and their names in Pillow, which writes them."""
_EIGHT = (Compression.JPEG, Compression.WEBP)
"""Compressions of TIFF that hold 8 bits a sample."""
_UNTRIED = (Compression.OLD_JPEG, Compression.OLD_DEFLATE)
"""Compressions that no library here writes; their readers are those of JPEG and Deflate."""


def try_formats(folder: Path) -> Iterator[tuple[str, str]]:
    """Write and read each kind of file in a folder.

    Yields:
        The name of a kind, such as ``TIFF LZW``, and why it failed; "" if every sample came back, or nearly every one
        from a format that loses.
    """
    # Both say in a log or a warning what the reader says in its own words.
    silence_log("tifffile")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, attempt in _attempts(folder):
            try:
                attempt()
            except EngineError as error:
                yield name, error.text()
            except Exception as error:  # noqa: BLE001 - whatever a missing or broken codec raises is the answer
                yield name, f"{type(error).__name__}: {error}"
            else:
                yield name, ""


def _attempts(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    for row in FORMATS:
        if row.reader is tiff:
            yield from _tiffs(row, folder)
        elif row.writer is not None:
            yield row.name, partial(_own, row, WriteOptions(lossless=False), folder)
            if row.lossless == "choice":
                yield f"{row.name} lossless", partial(_own, row, WriteOptions(), folder)
    yield "BMP", partial(_bmp, folder)


def _tiffs(row: FileFormat, folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    own = {code: word for word, code in tiffwrite.COMPRESSIONS.items()}
    for code, name in tiff.COMPRESSIONS.items():
        if code in own:
            yield f"TIFF {name}", partial(_own, row, WriteOptions(compression=own[code]), folder)
        elif code in _BILEVEL:
            yield f"TIFF {name}", partial(_bilevel, _BILEVEL[code], folder)
        elif code not in _UNTRIED:
            yield f"TIFF {name}", partial(_foreign, code, folder)


def _picture(depth: int, channels: int) -> Pixels:
    """A smooth picture."""
    y, x = np.mgrid[:_SIDE, :_SIDE]
    planes = [x * (2 + channel) + y for channel in range(channels)]
    eight = np.stack(planes, axis=2).astype(np.uint8)
    return eight if depth == 8 else eight.astype(np.uint16) * 257 + np.uint16(1)


def _own(row: FileFormat, options: WriteOptions, folder: Path) -> None:
    """Write with Lacuna itself, in each depth, RGB and grey."""
    loses = row.lossless is False or (row.lossless == "choice" and not options.lossless)
    for depth in (8, 16) if row.depth == 16 else (8,):
        for channels in (1, 3):
            pixels, path = _picture(depth, channels), folder / f"trial{row.suffixes[0]}"
            imageio.write(Raster(pixels), path, options)
            _compare(path, pixels, loses=loses)


def _foreign(compression: int, folder: Path) -> None:
    import tifffile

    path = folder / "trial.tif"
    for depth in (8,) if compression in _EIGHT else (8, 16):
        pixels = _picture(depth, 3)
        tifffile.imwrite(path, pixels, photometric="rgb", compression=int(compression))
        _compare(path, pixels, loses=compression == Compression.JPEG)


def _bilevel(compression: str, folder: Path) -> None:
    from PIL import Image

    path, black = folder / "trial.tif", _picture(8, 1)[..., 0] < 100
    Image.fromarray(black).save(path, compression=compression)
    _compare(path, (black * np.uint8(255))[..., None])


def _bmp(folder: Path) -> None:
    from PIL import Image

    path, pixels, data = folder / "trial.bmp", _picture(8, 3), BytesIO()
    Image.fromarray(pixels).save(data, "BMP")
    path.write_bytes(data.getvalue())
    _compare(path, pixels)


def _compare(path: Path, pixels: Pixels, *, loses: bool = False) -> None:
    back: Any = imageio.read(path).pixels
    path.unlink()
    # WebP knows no grey, and gives it back as RGB.
    if back.shape[:2] != pixels.shape[:2] or back.shape[2] < pixels.shape[2] or back.dtype != pixels.dtype:
        raise ValueError(f"{back.dtype} of {back.shape} came back for {pixels.dtype} of {pixels.shape}")
    off = float(np.abs(back.astype(np.float64) - pixels).mean())
    if off > (_LOSS if loses else 0):
        raise ValueError(f"the samples that came back differ by {off:.1f} in the mean")
