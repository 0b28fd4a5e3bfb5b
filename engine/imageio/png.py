"""PNG: pixels with imagecodecs (libpng); profile and metadata are read and written here, by chunks."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

import numpy as np

from engine.errors import ReadError, WriteError
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
    sensible_resolution,
    truncated,
)
from engine.imageio.tags import Tag
from engine.jobs import JobContext
from engine.raster import Metadata, Pixels, Raster, Resolution, contiguous

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LARGEST_SIDE = 1_000_000
"""Most pixels a side that libpng supports."""

_XMP = b"XML:com.adobe.xmp"
_TEXTS = {
    b"Author": Tag.ARTIST,
    b"Copyright": Tag.COPYRIGHT,
    b"Description": Tag.DESCRIPTION,
    b"Software": Tag.SOFTWARE,
    b"Title": Tag.DOCUMENT_NAME,
}
"""PNG keyword -> the EXIF tag with the same meaning."""
_METRE = 0.0254
_LARGEST_TEXT = 1 << 24
_PROFILE_TEXT = b"Raw profile type "
_PROFILES = (b"iptc", b"8bim", b"exif", b"APP1", b"xmp", b"icc", b"icm")
_WANTED = {_XMP, *_TEXTS, *(_PROFILE_TEXT + kind for kind in _PROFILES)}
_PALETTE = 3
_BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), _PALETTE: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Colour type -> allowed bits per sample."""
_VITAL = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
"""Chunks that are needed for decoding the pixels."""
_SRGB_GAMMA = struct.pack(">I", 45455)
_COLOUR_CHUNKS = {b"gAMA", b"cHRM", b"cICP"}


def inspect(file: BinaryIO, size: int) -> Header:
    """As ``Format.inspect``."""
    chunks: dict[bytes, list[bytes]] = {}
    notices: list[str] = []
    for kind, _, _, data in _chunks(file, size, notices):
        chunks.setdefault(kind, []).append(data)
    if len(chunks.get(b"IHDR", [b""])[0]) != 13:
        raise damaged()
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"][0])
    if bits not in _BITS.get(colour, ()):
        raise damaged()
    header = Header(
        format="PNG",
        width=width,
        height=height,
        channels=1 if colour in (0, 4) else 3,
        depth=max(bits, 8),
        compression="Deflate, interlaced" if interlaced else "Deflate",
        alpha=colour in (4, 6) or b"tRNS" in chunks,
        notices=notices,
    )
    check_size(width, height, bits * (1 if colour == _PALETTE else header.channels + header.alpha), size)
    if max(width, height) > LARGEST_SIDE:
        raise Refusal(
            "is {width} × {height} pixels; of PNG at most {side} a side can be read",
            "read.size",
            width=width,
            height=height,
            side=LARGEST_SIDE,
        )
    if colour == 3:
        notices.append("The file's colour palette was expanded to RGB.")
    elif bits < 8:
        notices.append(f"The file has {bits} bit{'s' * (bits > 1)} a sample; it is opened with 8.")
    if len(chunks.get(b"acTL", [b""])[0]) == 8:
        header.pages = max(1, struct.unpack(">I", chunks[b"acTL"][0][:4])[0])
    _describe(header, chunks)
    return header


def decode(file: BinaryIO, size: int, header: Header, context: JobContext, *, alpha: bool) -> Pixels:
    """As ``Format.decode``."""
    imagecodecs = load_imagecodecs()
    context.progress(0, "Reading")
    data = _pixel_chunks(file, size)
    context.check()
    with decoding():
        pixels = imagecodecs.png_decode(data)
    context.progress(0.9, "Reading")
    return finish(pixels, header, alpha=alpha)


def encode(file: BinaryIO, raster: Raster, options: WriteOptions, context: JobContext) -> list[str]:  # noqa: ARG001
    """Write a raster of 8 or 16 bits; returns no notices.

    Raises:
        Refusal: the picture is larger than libpng supports.
    """
    if max(raster.width, raster.height) > LARGEST_SIDE:
        raise Refusal("cannot be written: PNG ends at {side} pixels a side", "write.size", side=LARGEST_SIDE)
    metadata = raster.metadata
    chunks = [_profile_chunk(raster.profile)] if raster.profile else []
    if raster.resolution:
        per_metre = (round(value / _METRE) for value in (raster.resolution.x, raster.resolution.y))
        chunks.append(_chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1)))
    if metadata.exif:
        chunks.append(_chunk(b"eXIf", metadata.exif))
    if metadata.xmp:
        chunks.append(_chunk(b"iTXt", _XMP + bytes(5) + metadata.xmp))
    _, kept = metadata.tags.get(Tag.PHOTOSHOP, (0, b""))
    if kept or metadata.iptc:
        # Photoshop resources under the name "iptc", a convention of ImageMagick that other programs follow.
        text = blocks.to_text_profile("iptc", blocks.join_resources(kept, metadata.iptc, raster.resolution))
        chunks.append(_chunk(b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(text)))
    context.progress(0, "Writing")
    encoded = memoryview(_encode_pixels(raster.pixels))
    context.progress(0.8, "Writing")
    file.write(encoded[:_AFTER_HEADER])
    file.writelines(chunks)
    file.write(encoded[_AFTER_HEADER:])
    return []


_AFTER_HEADER = len(SIGNATURE) + 25
"""Position after the IHDR chunk, at which further chunks are inserted."""


def encode_png(pixels: Pixels, profile: bytes | None = None) -> bytes:
    """Encode pixels as PNG, fast rather than small.

    Args:
        pixels: (H, W, C) uint8 or uint16; 1 = grey, 2 = grey and opacity, 3 = RGB, 4 = RGB and opacity.
        profile: ICC profile to embed.

    Raises:
        WriteError: ``write.size``: it is larger than libpng takes.
    """
    height, width = pixels.shape[:2]
    if max(height, width) > LARGEST_SIDE:
        raise WriteError(
            "A picture of {width} × {height} pixels cannot be written: PNG ends at {side} a side.",
            "write.size",
            width=width,
            height=height,
            side=LARGEST_SIDE,
        )
    encoded = _encode_pixels(pixels)
    if profile is None:
        return encoded
    return encoded[:_AFTER_HEADER] + _profile_chunk(profile) + encoded[_AFTER_HEADER:]


def decode_png(data: bytes, limit: int) -> Pixels:
    """Decode a PNG; palettes and fewer than 8 bits are expanded.

    Args:
        data: the whole file.
        limit: most pixels that are accepted.

    Returns:
        (H, W, C) uint8 or uint16 as for ``encode_png``, a new array.

    Raises:
        ReadError: it is broken (``read.damaged``, ``read.truncated``), or larger than the limit (``read.size``).
    """
    try:
        return _decode_checked(data, limit)
    except Refusal as refusal:
        raise ReadError("A picture inside the file {reason}.", refusal.code, reason=refusal.reason) from refusal


def png_profile(data: bytes) -> bytes | None:
    """The ICC profile of a PNG, or None.

    Args:
        data: the whole file.

    Raises:
        ReadError: it is broken.
    """
    try:
        return inspect(BytesIO(data), len(data)).profile
    except Refusal as refusal:
        raise ReadError("A picture inside the file {reason}.", refusal.code, reason=refusal.reason) from refusal


def _decode_checked(data: bytes, limit: int) -> Pixels:
    if not data.startswith(SIGNATURE):
        raise damaged()
    header = inspect(BytesIO(data), len(data))
    if header.width * header.height > limit:
        raise Refusal(
            "has {width} × {height} pixels, more than expected", "read.size", width=header.width, height=header.height
        )
    return decode(BytesIO(data), len(data), header, JobContext(), alpha=True)


def _encode_pixels(pixels: Pixels) -> bytes:
    imagecodecs = load_imagecodecs()
    # Measured on photographs: 16-bit samples compress best with run lengths and the Paeth filter, 8-bit ones with the
    # default strategy.
    strategy, chosen = (imagecodecs.PNG.STRATEGY.RLE, 64) if pixels.dtype == np.uint16 else (0, 32)
    flat = contiguous(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    # imagecodecs' own estimate of the size misses the filter byte of each row, which matters in narrow pictures. Noise
    # grows by at most 0.3 %.
    raw = flat.nbytes + flat.shape[0]
    room = raw + raw // 64 + 4096
    return bytes(imagecodecs.png_encode(flat, level=1, strategy=strategy, filter=chosen, out=room))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _profile_chunk(profile: bytes) -> bytes:
    return _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))


def _chunks(file: BinaryIO, size: int, notices: list[str]) -> Iterator[tuple[bytes, int, int, bytes]]:
    """Kind, position, end and contents of the chunks up to IEND.

    The contents of pixel data and of very long chunks are empty; damaged metadata chunks are skipped with a notice.

    Raises:
        Refusal: the file ends before IEND, or a chunk that is needed for the pixels is damaged.
    """
    at, kind = len(SIGNATURE), b""
    has_damage = False
    while kind != b"IEND":
        file.seek(at)
        head = file.read(8)
        length = struct.unpack(">I", head[:4])[0] if len(head) == 8 else size
        if at + 12 + length > size:
            raise truncated()
        kind, start, at = head[4:], at, at + 12 + length
        if kind in (b"IDAT", b"fdAT") or length > _LARGEST_TEXT:
            yield kind, start, at, b""
            continue
        data = file.read(length)
        if file.read(4) == struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))):
            yield kind, start, at, data
        elif kind in _VITAL:
            raise damaged()
        elif not has_damage:
            has_damage = True
            notices.append("Some of the file's metadata is damaged and is ignored.")


def _pixel_chunks(file: BinaryIO, size: int) -> bytearray:
    """The file with only the chunks that are needed for the pixels, after checking their checksums.

    libpng does not check the last checksum.

    Raises:
        Refusal: a chunk is damaged.
    """
    picture = bytearray(SIGNATURE)
    for kind, start, stop, _ in _chunks(file, size, []):
        if kind in _VITAL:
            file.seek(start)
            piece = memoryview(file.read(stop - start))
            if len(piece) != stop - start or zlib.crc32(piece[4:-4]) != struct.unpack(">I", piece[-4:])[0]:
                raise damaged()
            picture += piece
    return picture


def _describe(header: Header, chunks: dict[bytes, list[bytes]]) -> None:
    """Fill in the header's profile, resolution and metadata."""
    texts = _texts(chunks)
    profiles = {key[len(_PROFILE_TEXT) :].lower(): _raw_profile(key, text) for key, text in texts.items()}
    if b"iCCP" in chunks:
        header.profile = _inflate(chunks[b"iCCP"][0].partition(b"\0")[2][1:])
    elif profile := profiles.get(b"icc") or profiles.get(b"icm"):
        header.profile = profile
    elif b"sRGB" not in chunks and chunks.keys() & _COLOUR_CHUNKS and chunks.get(b"gAMA") != [_SRGB_GAMMA]:
        header.notices.append("The file describes its colours by gamma and primaries, which are not used.")
    if len(chunks.get(b"pHYs", [b""])[0]) == 9:
        x, y, unit = struct.unpack(">IIB", chunks[b"pHYs"][0])
        header.resolution = sensible_resolution(_per_inch(x), _per_inch(y)) if unit == 1 else None
    kept, iptc = _resources(profiles)
    exif = (chunks.get(b"eXIf") or [profiles.get(b"exif") or profiles.get(b"app1") or b""])[0].removeprefix(b"Exif\0\0")
    xmp = texts.get(_XMP) or profiles.get(b"xmp")
    header.metadata = Metadata(
        exif=_with_texts(exif or None, texts, header.notices),
        xmp=xmp,
        iptc=iptc,
        tags={Tag.PHOTOSHOP: (directories.BYTE, kept)} if kept else {},
    )
    header.resolution = _exact_resolution(header.resolution, header.metadata.exif)


def _resources(profiles: dict[bytes, bytes | None]) -> tuple[bytes | None, bytes | None]:
    """Photoshop resources and IPTC records from the raw profile texts, which store them under several names."""
    data = profiles.get(b"iptc") or profiles.get(b"8bim") or b""
    return (None, data) if data.startswith(b"\x1c") else blocks.split_resources(data)


def _per_inch(per_metre: int) -> float:
    """Dots per inch; an integer if rounding it gives the stored value (300 dpi is stored as 11811 per metre)."""
    exact = per_metre * _METRE
    return float(round(exact)) if round(round(exact) / _METRE) == per_metre else round(exact, 4)


def _exact_resolution(stored: Resolution | None, exif: bytes | None) -> Resolution | None:
    """The EXIF resolution if PNG's differs only by rounding to whole dots per metre, or is absent; else PNG's."""
    parsed = directories.parse(exif) if exif else None
    told = directories.resolution_of(parsed.main) if parsed else None
    if stored and told and abs(stored.x - told.x) < 2 * _METRE and abs(stored.y - told.y) < 2 * _METRE:
        return told
    return stored or told


def _texts(chunks: dict[bytes, list[bytes]]) -> dict[bytes, bytes]:
    """Texts by keyword; empty if broken, or if the keyword is not used, so that those are not decompressed."""
    found: dict[bytes, bytes] = {}
    for kind in (b"tEXt", b"zTXt", b"iTXt"):
        for data in chunks.get(kind, []):
            keyword, _, rest = data.partition(b"\0")
            if not found.get(keyword):
                found[keyword] = _text(kind, rest) if keyword in _WANTED else b""
    return found


def _text(kind: bytes, rest: bytes) -> bytes:
    """The text after a chunk's keyword; empty if broken."""
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        return _inflate(rest[1:])
    match = re.match(rb"([\0\1])\0[^\0]*\0[^\0]*\0", rest)
    body = rest[match.end() :] if match else b""
    return _inflate(body) if match and match.group(1) == b"\1" else body


def _raw_profile(keyword: bytes, text: bytes) -> bytes | None:
    return blocks.from_text_profile(text) if keyword.startswith(_PROFILE_TEXT) else None


def _inflate(data: bytes) -> bytes:
    """Decompress; empty if damaged or longer than ``_LARGEST_TEXT``."""
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, _LARGEST_TEXT)
    except zlib.error:
        return b""
    return text if unpacker.eof else b""


def _with_texts(exif: bytes | None, texts: dict[bytes, bytes], notices: list[str]) -> bytes | None:
    """EXIF with PNG's texts added to the tags with the same meaning; appends a notice about other texts."""
    parsed = directories.parse(exif) if exif else directories.Exif()
    lost = [key for key in texts if key not in _WANTED]
    if lost:
        names = ", ".join(key.decode("latin-1") for key in lost[:5])
        notices.append(f"Text entries of the PNG that have no place in other formats are left out: {names}.")
    added = {_TEXTS[key]: text for key, text in texts.items() if key in _TEXTS and text}
    if parsed is None or not added.keys() - parsed.main.keys():
        return exif
    parsed.main = {**{tag: (directories.ASCII, text + b"\0") for tag, text in added.items()}, **parsed.main}
    return parsed.block()
