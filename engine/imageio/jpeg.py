"""JPEG: pixels with imagecodecs (libjpeg-turbo); profile and metadata are read and written here, by segments."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from engine.imageio import blocks, directories
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
    sensible_resolution,
    truncated,
)
from engine.imageio.depth import to_depth
from engine.imageio.tags import Tag
from engine.jobs import JobContext
from engine.raster import Metadata, Pixels, Raster, Resolution

LARGEST_SIDE = 65_500
"""Most pixels a side that libjpeg supports."""

_EXIF, _XMP, _MORE_XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
_ICC, _PHOTOSHOP, _JFIF = b"ICC_PROFILE\0", b"Photoshop 3.0\0", b"JFIF\0"
_APP0, _APP1, _APP2, _APP13, _COMMENT, _START_OF_SCAN, _END = 0xE0, 0xE1, 0xE2, 0xED, 0xFE, 0xDA, 0xD9
_FRAMES = {0xC0: "JPEG", 0xC1: "JPEG", 0xC2: "JPEG, progressive", 0xC3: "JPEG, lossless", 0xC9: "JPEG", 0xCA: "JPEG"}
_ROOM = 65_533
"""Most bytes of data in a segment, without its marker and length."""
_LARGEST_HEAD = 1 << 28
_FINE = 90
"""From this quality on chroma is not subsampled."""
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)

Segments = list[tuple[int, bytes]]


def inspect(file: BinaryIO, size: int) -> Header:
    """As ``Format.inspect``."""
    segments = _segments(file, size)
    frame = next(((marker, data) for marker, data in segments if marker in _FRAMES), None)
    if frame is None or len(frame[1]) < 6:
        raise damaged()
    bits, height, width, components = struct.unpack(">BHHB", frame[1][:6])
    header = Header(
        format="JPEG",
        width=width,
        height=height,
        channels=1 if components == 1 else 3,
        depth=8,
        compression=_FRAMES[frame[0]],
    )
    if components == 4:
        header.refusal = Refusal("is in CMYK, the colours of printing inks: convert it to RGB first", "read.mode")
    elif components not in (1, 3) or bits != 8:
        header.refusal = Refusal(
            "has {components} channels of {bits} bits, which no photograph has",
            "read.mode",
            components=components,
            bits=bits,
        )
    check_size(width, height, 8 * components, size)
    _describe(header, segments)
    return header


def decode(file: BinaryIO, size: int, header: Header, context: JobContext, *, alpha: bool) -> Pixels:
    """As ``Format.decode``. Checks first that the file is complete, because libjpeg fills missing parts with grey."""
    imagecodecs = load_imagecodecs()
    context.progress(0, "Reading")
    file.seek(0)
    data = file.read(size)
    _check_end(data)
    with decoding():
        pixels = imagecodecs.jpeg8_decode(data)
    context.progress(0.9, "Reading")
    return finish(pixels, header, alpha=alpha)


def encode(file: BinaryIO, raster: Raster, options: WriteOptions, context: JobContext) -> list[str]:
    """Write a raster, reduced to 8 bits; returns the notices.

    Raises:
        Refusal: the picture is larger than the format allows.
    """
    imagecodecs = load_imagecodecs()
    if max(raster.width, raster.height) > LARGEST_SIDE:
        raise Refusal("cannot be written: JPEG ends at {side} pixels a side", "write.size", side=LARGEST_SIDE)
    notices = loss_notices(raster, "JPEG", lossy=True)
    pixels = to_depth(raster.pixels, 8)
    context.progress(0.1, "Writing")
    encoded = imagecodecs.jpeg8_encode(
        pixels[..., 0] if raster.channels == 1 else pixels,
        options.quality,
        subsampling="444" if options.quality >= _FINE else "420",
    )
    context.progress(0.9, "Writing")
    file.write(b"\xff\xd8")
    described = _metadata_segments(raster, notices)
    file.writelines(struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data for marker, data in described)
    file.write(memoryview(encoded)[_after_jfif(encoded) :])
    return notices


def _segments(file: BinaryIO, size: int) -> Segments:
    """The segments up to the first scan, as (marker, data without marker and length).

    Raises:
        Refusal: the file is truncated or damaged before the first scan.
    """
    segments: Segments = []
    at, total = 2, 0
    while total < _LARGEST_HEAD:
        file.seek(at)
        head = file.read(4)
        if len(head) < 4:
            raise truncated()
        if head[0] != 0xFF:
            raise damaged()
        if head[1] == 0xFF or head[1] == 0x01 or 0xD0 <= head[1] <= 0xD8:
            # Fill bytes, and markers without a length.
            at += 1 if head[1] == 0xFF else 2
            continue
        length = struct.unpack(">H", head[2:])[0]
        if head[1] == _START_OF_SCAN:
            return segments
        if length < 2:
            raise damaged()
        if at + 2 + length > size:
            raise truncated()
        segments.append((head[1], file.read(length - 2)))
        at += 2 + length
        total += length
    raise damaged()


def _check_end(data: bytes) -> None:
    """Refuse a file whose scans are not followed by the end marker."""
    at = 2
    while at + 4 <= len(data):
        marker = data[at + 1] if data[at] == 0xFF else 0
        if marker == _END:
            return
        if marker in (0xFF, 0x01) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0:
            break
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
        if marker == _START_OF_SCAN:
            following = _MARKER.search(data, at)
            at = following.start() if following else len(data)
    if data[at : at + 2] != b"\xff\xd9":
        raise truncated()


def _describe(header: Header, segments: Segments) -> None:
    """Fill in the header's profile, resolution and metadata."""

    def after(wanted: int, prefix: bytes) -> Iterator[bytes]:
        return (data[len(prefix) :] for marker, data in segments if marker == wanted and data.startswith(prefix))

    exif = next(after(_APP1, _EXIF), None)
    parsed = directories.parse(exif) if exif else None
    kept, iptc = blocks.split_resources(b"".join(after(_APP13, _PHOTOSHOP)))
    header.profile = _profile(list(after(_APP2, _ICC)))
    header.metadata = Metadata(
        exif=exif,
        xmp=_xmp(next(after(_APP1, _XMP), None), list(after(_APP1, _MORE_XMP)), header.notices),
        iptc=iptc,
        tags={Tag.PHOTOSHOP: (directories.BYTE, kept)} if kept else {},
    )
    told = directories.resolution_of(parsed.main) if parsed else None
    header.resolution = _resolution(next(after(_APP0, _JFIF), b""), told)
    if any(marker == _COMMENT for marker, _ in segments):
        header.notices.append("The comment in the JPEG has no place in other formats and is left out.")


def _resolution(jfif: bytes, told: Resolution | None) -> Resolution | None:
    """The JFIF density, or the EXIF resolution if JFIF has none or differs only by rounding."""
    inch = {1: 1.0, 2: 2.54}.get(jfif[2]) if len(jfif) >= 7 else None
    x, y = struct.unpack_from(">HH", jfif, 3) if inch else (0, 0)
    stored = sensible_resolution(round(x * inch, 4), round(y * inch, 4)) if inch else None
    if stored and told and abs(stored.x - told.x) < 1 and abs(stored.y - told.y) < 1:
        return told
    return stored or told


def _profile(parts: list[bytes]) -> bytes | None:
    """Join the numbered parts of an ICC profile; empty, which is refused later, if a part is missing."""
    if not parts:
        return None
    numbered = {part[0]: part[2:] for part in parts if len(part) > 2}
    whole = sorted(numbered) == list(range(1, len(numbered) + 1)) and all(part[1:2] == parts[0][1:2] for part in parts)
    complete = whole and parts[0][1:2] == bytes([len(numbered)])
    return b"".join(numbered[i] for i in sorted(numbered)) if complete else b""


def _xmp(packet: bytes | None, parts: list[bytes], notices: list[str]) -> bytes | None:
    """The XMP packet, merged with its extension, which is stored in several parts."""
    name = blocks.extension_id(packet) if packet else None
    if packet is None or name is None:
        return packet
    own = [part for part in parts if len(part) > 40 and part[:32].upper() == name]
    pieces = {struct.unpack_from(">I", part, 36)[0]: part[40:] for part in own}
    extension = b"".join(pieces[offset] for offset in sorted(pieces))
    merged = blocks.merge_xmp(packet, extension)
    # The identifier is the MD5 of the extension.
    if merged is None or hashlib.md5(extension, usedforsecurity=False).hexdigest().upper().encode() != name:
        notices.append("A part of the file's XMP is damaged and is left out.")
        return packet
    return merged


def _metadata_segments(raster: Raster, notices: list[str]) -> Segments:
    """The segments with profile, resolution and metadata; appends notices about what does not fit."""
    metadata, dpi = raster.metadata, raster.resolution
    exif = metadata.exif
    segments: Segments = []
    if dpi:
        whole = max(1, min(65_535, round(dpi.x))), max(1, min(65_535, round(dpi.y)))
        segments.append((_APP0, _JFIF + struct.pack(">HBHHBB", 0x0102, 1, *whole, 0, 0)))
        if not directories.nearly_equal(dpi, replace(dpi, x=whole[0], y=whole[1])):
            exif = directories.with_resolution(exif, dpi)
    else:
        segments.append((_APP0, _JFIF + struct.pack(">HBHHBB", 0x0102, 0, 1, 1, 0, 0)))
    if exif and len(_EXIF) + len(exif) <= _ROOM:
        segments.append((_APP1, _EXIF + exif))
    elif exif:
        notices.append("The EXIF data is too long for a JPEG and is left out.")
    if metadata.xmp:
        segments += _xmp_segments(metadata.xmp)
    _, kept = metadata.tags.get(Tag.PHOTOSHOP, (0, b""))
    if kept or metadata.iptc:
        resources = blocks.join_resources(kept, metadata.iptc, dpi)
        segments += [(_APP13, _PHOTOSHOP + part) for part in _parts(resources, _ROOM - len(_PHOTOSHOP))]
    if raster.profile:
        parts = _parts(raster.profile, _ROOM - len(_ICC) - 2)
        if len(parts) <= 255:
            segments += [(_APP2, _ICC + bytes((i, len(parts))) + part) for i, part in enumerate(parts, 1)]
        else:
            notices.append("The colour profile is too long for a JPEG and is left out.")
    return segments


def _xmp_segments(packet: bytes) -> Segments:
    if len(_XMP) + len(packet) <= _ROOM:
        return [(_APP1, _XMP + packet)]
    name = hashlib.md5(packet, usedforsecurity=False).hexdigest().upper().encode()
    segments: Segments = [(_APP1, _XMP + blocks.pointer_packet(name))]
    at = 0
    for part in _parts(packet, _ROOM - len(_MORE_XMP) - 40):
        segments.append((_APP1, _MORE_XMP + name + struct.pack(">II", len(packet), at) + part))
        at += len(part)
    return segments


def _parts(data: bytes, room: int) -> list[bytes]:
    return [data[at : at + room] for at in range(0, len(data), room)]


def _after_jfif(encoded: bytes | bytearray) -> int:
    """The end of the codec's own JFIF segment, which is replaced by one with the resolution."""
    if encoded[2:4] != bytes((0xFF, _APP0)):
        return 2
    return 4 + int(struct.unpack_from(">H", encoded, 4)[0])
