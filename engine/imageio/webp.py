"""WebP: pixels with imagecodecs (libwebp); profile and metadata are read and written here, by RIFF chunks."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from engine.imageio import directories
from engine.imageio.common import (
    Header,
    Refusal,
    WriteOptions,
    check_size,
    damaged,
    decoding,
    finish,
    load_imagecodecs,
    loss_notices,
    truncated,
)
from engine.imageio.depth import to_depth
from engine.imageio.tags import Tag
from engine.jobs import JobContext
from engine.raster import Metadata, Pixels, Raster

LARGEST_SIDE = 16_383
"""Most pixels a side that the format supports."""

_ALPHA, _PROFILE, _EXIF, _XMP = 0x10, 0x20, 0x08, 0x04
_METHOD = 4
"""libwebp's method, 0..6."""
_EFFORT = 20.0
"""libwebp's effort for lossless pictures, 0..100; more takes up to six times as long for one per cent less size."""
_LARGEST_CHUNK = 1 << 26
_KNOWN = (b"VP8X", b"VP8 ", b"VP8L", b"ICCP", b"EXIF", b"XMP ")


def inspect(file: BinaryIO, size: int) -> Header:
    """As ``Format.inspect``."""
    chunks: dict[bytes, bytes] = {}
    frames = 0
    for kind, data in _chunks(file, size):
        chunks.setdefault(kind, data)
        frames += kind == b"ANMF"
    width, height, alpha = _size_and_alpha(chunks)
    if max(width, height) > LARGEST_SIDE:
        raise Refusal(
            "claims to be {width} × {height} pixels, more than a WebP can hold", "read.size", width=width, height=height
        )
    # Flat colours compress without limit, but the largest side is small enough for any computer.
    check_size(width, height, 32, size, gain=1 << 40)
    lossless = b"VP8L" in chunks
    exif = chunks.get(b"EXIF", b"").removeprefix(b"Exif\0\0") or None
    parsed = directories.parse(exif) if exif else None
    return Header(
        format="WebP",
        width=width,
        height=height,
        channels=3,
        depth=8,
        alpha=alpha,
        compression="WebP, lossless" if lossless else "WebP",
        pages=max(1, frames),
        profile=chunks.get(b"ICCP"),
        resolution=directories.resolution_of(parsed.main) if parsed else None,
        metadata=Metadata(exif=exif, xmp=chunks.get(b"XMP ") or None),
    )


def decode(file: BinaryIO, size: int, header: Header, context: JobContext, *, alpha: bool) -> Pixels:
    """As ``Format.decode``."""
    imagecodecs = load_imagecodecs()
    context.progress(0, "Reading")
    file.seek(0)
    with decoding():
        pixels = imagecodecs.webp_decode(file.read(size), index=0, hasalpha=header.alpha)
    context.progress(0.9, "Reading")
    return finish(pixels, header, alpha=alpha)


def encode(file: BinaryIO, raster: Raster, options: WriteOptions, context: JobContext) -> list[str]:
    """Write a raster, reduced to 8 bits and as RGB; returns the notices.

    Raises:
        Refusal: the picture is larger than the format allows.
    """
    imagecodecs = load_imagecodecs()
    if max(raster.width, raster.height) > LARGEST_SIDE:
        raise Refusal("cannot be written: WebP ends at {side} pixels a side", "write.size", side=LARGEST_SIDE)
    notices = loss_notices(raster, "WebP", lossy=not options.lossless)
    pixels = to_depth(raster.pixels, 8)
    colour = np.repeat(pixels, 3, axis=2) if raster.channels == 1 else pixels
    context.progress(0.1, "Writing")
    level = _EFFORT if options.lossless else float(options.quality)
    encoded = imagecodecs.webp_encode(colour, level, lossless=options.lossless, method=_METHOD)
    context.progress(0.9, "Writing")
    _, picture = next(_picture_chunks(bytes(encoded)))
    profile, exif, xmp = _embedded_metadata(raster, notices)
    flags = (_PROFILE if profile else 0) | (_EXIF if exif else 0) | (_XMP if xmp else 0)
    sides = (raster.width - 1).to_bytes(3, "little") + (raster.height - 1).to_bytes(3, "little")
    parts = [_chunk(b"VP8X", struct.pack("<I", flags) + sides)] if flags else []
    parts += [_chunk(b"ICCP", profile)] if profile else []
    parts.append(picture)
    parts += [_chunk(kind, data) for kind, data in ((b"EXIF", exif), (b"XMP ", xmp)) if data]
    file.write(b"RIFF" + struct.pack("<I", 4 + sum(map(len, parts))) + b"WEBP")
    file.writelines(parts)
    return notices


def _embedded_metadata(raster: Raster, notices: list[str]) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Profile, EXIF and XMP to embed; appends notices about what cannot be embedded."""
    profile, metadata = raster.profile, raster.metadata
    if profile and raster.channels == 1:
        notices.append("WebP has no grey pictures: the grey colour profile is left out.")
        profile = None
    if metadata.iptc or Tag.PHOTOSHOP in metadata.tags:
        notices.append("WebP has no place for IPTC and Photoshop data: they are left out.")
    exif = directories.with_resolution(metadata.exif, raster.resolution) if raster.resolution else metadata.exif
    return profile, exif, metadata.xmp


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _picture_chunks(encoded: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks with the pixels, with their headers, in the codec's output."""
    at = 12
    while at + 8 <= len(encoded):
        kind, length = encoded[at : at + 4], struct.unpack_from("<I", encoded, at + 4)[0]
        end = at + 8 + (length + 1) // 2 * 2
        if kind in (b"VP8 ", b"VP8L"):
            yield kind, encoded[at:end].ljust(end - at, b"\0")
        at = end


def _chunks(file: BinaryIO, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Kind and contents of the chunks; of the pixels only the first bytes.

    Raises:
        Refusal: the file is truncated.
    """
    file.seek(4)
    end = 8 + struct.unpack("<I", file.read(4).ljust(4, b"\0"))[0]
    if end > size:
        raise truncated()
    at = 12
    while at + 8 <= end:
        file.seek(at)
        head = file.read(8)
        kind, length = head[:4], struct.unpack("<I", head[4:])[0]
        if at + 8 + length > end:
            raise truncated()
        wanted = 16 if kind in (b"VP8 ", b"VP8L") else min(length, _LARGEST_CHUNK)
        yield kind, file.read(wanted) if kind in _KNOWN else b""
        at += 8 + length + length % 2


def _size_and_alpha(chunks: dict[bytes, bytes]) -> tuple[int, int, bool]:
    """Width, height, and whether there is an alpha channel."""
    extended, lossy, lossless = (chunks.get(kind, b"") for kind in (b"VP8X", b"VP8 ", b"VP8L"))
    if len(extended) >= 10:
        width, height = (1 + int.from_bytes(extended[at : at + 3], "little") for at in (4, 7))
        return width, height, bool(extended[0] & _ALPHA)
    if len(lossy) >= 10:
        width, height = struct.unpack_from("<HH", lossy, 6)
        return width & 0x3FFF, height & 0x3FFF, False
    if len(lossless) >= 5:
        bits = struct.unpack_from("<I", lossless, 1)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1)
    raise damaged()
