"""Writing TIFF: strips compressed on all cores, then one directory with profile and metadata.

tifffile cannot write EXIF and GPS directories, and adding them afterwards would copy the whole file. Therefore the
container, which is simple, is written here; imagecodecs compresses.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, BinaryIO

import numpy as np

from engine.imageio import blocks, directories, tiff
from engine.imageio.common import WriteOptions, load_imagecodecs
from engine.imageio.directories import (
    BYTE,
    LONG,
    LONG8,
    SHORT,
    UNDEFINED,
    Exif,
    Tags,
    pack,
    parse,
    resolution_tags,
)
from engine.imageio.tags import CHUNKY, HORIZONTAL, UPRIGHT, Compression, Photometric, Tag
from engine.jobs import JobContext
from engine.raster import Pixels, Raster, contiguous

Packed = bytes | memoryview

CLASSIC_LIMIT = (1 << 32) - (1 << 24)
"""Bytes of pixels and metadata beyond which BigTIFF is written, with a reserve, as compression may enlarge noise."""

COMPRESSIONS: dict[str, int] = {"deflate": Compression.DEFLATE, "lzw": Compression.LZW, "none": Compression.NONE}
"""Compressions that are written, by the words of ``WriteOptions``."""
_STRIP = 1 << 19
"""Bytes of pixels per strip: small enough for viewers that show a part, large enough for the codec."""


def encode(file: BinaryIO, raster: Raster, options: WriteOptions, context: JobContext) -> list[str]:
    """Write a raster of 8 or 16 bits as a TIFF with one page, as BigTIFF if it is too large; returns no notices."""
    raster_bytes = raster.pixels.nbytes
    exif = (parse(raster.metadata.exif) if raster.metadata.exif else None) or Exif()
    main = _descriptive_tags(raster, exif)
    big = raster_bytes * 1.01 + sum(len(data) for _, data in main.values()) > CLASSIC_LIMIT
    file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else struct.pack("<2sHI", b"II", 42, 0))
    rows = max(1, _STRIP // max(1, raster_bytes // raster.height))
    offsets: list[int] = []
    counts: list[int] = []
    with closing(_pack_strips(raster.pixels, rows, _strip_packer(options.compression))) as strips:
        for strip in strips:
            offsets.append(file.tell())
            counts.append(file.write(strip))
            context.progress(len(offsets) * rows / raster.height, "Writing")
    main.update(_layout_tags(raster, rows, options.compression))
    main.update({Tag.STRIP_OFFSETS: _long_values(offsets, big=big), Tag.STRIP_SIZES: _long_values(counts, big=big)})
    file.write(b"\0" * (file.tell() % 2))
    position = file.tell()
    file.write(pack((main, exif.below()), position, big=big))
    file.seek(8 if big else 4)
    file.write(struct.pack("<Q" if big else "<I", position))
    return []


def _strip_packer(compression: str) -> Callable[[Pixels], Packed]:
    """A function that compresses a strip (rows, W, C)."""
    imagecodecs = load_imagecodecs()

    def deflate(strip: Pixels) -> Packed:
        return bytes(imagecodecs.deflate_encode(_differences(strip), 1))

    def lzw(strip: Pixels) -> Packed:
        return bytes(imagecodecs.lzw_encode(_differences(strip)))

    return {"deflate": deflate, "lzw": lzw, "none": _bytes}[compression]


def _differences(strip: Pixels) -> Any:
    """Apply the horizontal predictor: differences of neighbouring samples."""
    return _bytes(np.asarray(load_imagecodecs().delta_encode(strip, axis=-2)))


def _bytes(strip: Pixels) -> Packed:
    return strip.reshape(-1).view(np.uint8).data


def _pack_strips(pixels: Pixels, rows: int, packer: Callable[[Pixels], Packed]) -> Generator[Packed, None, None]:
    """Compress strips on all cores and yield them in order; only a few are in memory at a time."""
    little = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    workers = min(os.cpu_count() or 1, 16)
    waiting: deque[Future[Packed]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for top in range(0, len(little), rows):
            waiting.append(pool.submit(packer, contiguous(little[top : top + rows])))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _layout_tags(raster: Raster, rows: int, compression: str) -> Tags:
    """The tags that describe how the pixels are stored."""
    bits, channels = raster.depth, raster.channels
    colours = Photometric.RGB if channels == 3 else Photometric.BLACK_IS_ZERO
    tags: Tags = {
        Tag.WIDTH: (LONG, struct.pack("<I", raster.width)),
        Tag.HEIGHT: (LONG, struct.pack("<I", raster.height)),
        Tag.BITS: (SHORT, struct.pack("<H", bits) * channels),
        Tag.COMPRESSION: (SHORT, struct.pack("<H", COMPRESSIONS[compression])),
        Tag.PHOTOMETRIC: (SHORT, struct.pack("<H", colours)),
        Tag.ORIENTATION: (SHORT, struct.pack("<H", UPRIGHT)),
        Tag.SAMPLES: (SHORT, struct.pack("<H", channels)),
        Tag.ROWS_PER_STRIP: (LONG, struct.pack("<I", min(rows, raster.height))),
        Tag.PLANAR: (SHORT, struct.pack("<H", CHUNKY)),
    }
    if compression != "none":
        tags[Tag.PREDICTOR] = (SHORT, struct.pack("<H", HORIZONTAL))
    return tags


def _long_values(values: list[int], *, big: bool) -> tuple[int, bytes]:
    return (LONG8 if big else LONG), np.array(values, "<u8" if big else "<u4").tobytes()


def _descriptive_tags(raster: Raster, exif: Exif) -> Tags:
    """The tags with profile, resolution and metadata."""
    metadata = raster.metadata
    every = {**directories.valid_tags(metadata.tags), **exif.main}
    tags = {tag: value for tag, value in every.items() if tag not in tiff.STRUCTURAL}
    curve = tags.get(Tag.TRANSFER)
    if curve and len(curve[1]) // 2 not in (1 << raster.depth, 3 << raster.depth):
        # A transfer curve has an entry for each sample value, so one for another depth does not fit.
        del tags[Tag.TRANSFER]
    if raster.resolution:
        tags.update(resolution_tags(raster.resolution))
    _, kept = metadata.tags.get(Tag.PHOTOSHOP, (BYTE, b""))
    if kept:
        tags[Tag.PHOTOSHOP] = (BYTE, blocks.join_resources(kept, metadata.iptc, raster.resolution))
    standards = {
        Tag.XMP: (BYTE, metadata.xmp),
        # As 32-bit numbers, because libtiff expects that.
        Tag.IPTC: (LONG, metadata.iptc and metadata.iptc + bytes(-len(metadata.iptc) % 4)),
        Tag.PROFILE: (UNDEFINED, raster.profile),
    }
    tags.update({tag: (kind, data) for tag, (kind, data) in standards.items() if data})
    return tags
