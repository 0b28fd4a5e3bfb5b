"""Reading BMP with Pillow, which supports its many variants."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import BinaryIO

import numpy as np

from engine.imageio.common import Header, Refusal, check_size, damaged, decoding, finish, sensible_resolution
from engine.jobs import JobContext
from engine.raster import Pixels

_METRE = 0.0254
_MODES = {"1": (1, False), "L": (1, False), "P": (3, False), "RGB": (3, False), "RGBA": (3, True)}


def inspect(file: BinaryIO, size: int) -> Header:
    """As ``Format.inspect``."""
    from PIL.BmpImagePlugin import BmpImageFile

    file.seek(0)
    head = file.read(54)
    if len(head) < 26:
        raise damaged()
    kind = struct.unpack_from("<I", head, 14)[0]
    width, height = struct.unpack_from("<HH", head, 18) if kind == 12 else struct.unpack_from("<ii", head, 18)
    check_size(width, abs(height), 24, size)
    # Not through Image.open, which issues a Python warning for large pictures.
    with decoding():
        mode = BmpImageFile(BytesIO(head + file.read(4096))).mode
    if mode not in _MODES:
        raise Refusal("is a BMP of a kind that Lacuna cannot read", "read.mode")
    channels, alpha = _MODES[mode]
    packed = len(head) >= 34 and kind >= 40 and struct.unpack_from("<I", head, 30)[0] in (1, 2)
    header = Header("BMP", width, abs(height), channels, 8, "run lengths" if packed else "none", alpha=alpha)
    if len(head) >= 46 and kind >= 40:
        x, y = struct.unpack_from("<ii", head, 38)
        header.resolution = sensible_resolution(round(x * _METRE, 2), round(y * _METRE, 2))
    if mode in ("1", "P"):
        header.notices.append("The file's colour palette was expanded.")
    return header


def decode(file: BinaryIO, size: int, header: Header, context: JobContext, *, alpha: bool) -> Pixels:
    """As ``Format.decode``."""
    from PIL.BmpImagePlugin import BmpImageFile

    context.progress(0, "Reading")
    file.seek(0)
    with decoding():
        opened = BmpImageFile(BytesIO(file.read(size)))
        opened.load()
        pixels = np.array(opened.convert("RGB" if opened.mode == "P" else "L") if opened.mode in "1P" else opened)
    context.progress(0.9, "Reading")
    return finish(pixels, header, alpha=alpha)
