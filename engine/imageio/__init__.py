"""Reading and writing picture files: TIFF, PNG, JPEG, WebP and BMP, with profile and metadata.

Reading gives a ``Raster`` in the file's own depth and colours, upright, with its ICC profile, resolution, EXIF, XMP and
IPTC. Writing stores exactly the raster's samples (in lossless formats), profile and metadata; notices say what a format
cannot hold. Writing needs only the raster: the scan's file may be gone by then. Codecs are imported at the first
picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from engine import colour
from engine.errors import ReadError, Words, WriteError
from engine.imageio import blocks, directories, tiff
from engine.imageio.atomic import Written, atomic_folder, atomic_write, atomic_write_bytes, sweep, sync_folder
from engine.imageio.common import (
    TIFF_COMPRESSIONS,
    Header,
    Reader,
    Refusal,
    WriteOptions,
    pages_notice,
    sensible_resolution,
)
from engine.imageio.depth import to_depth
from engine.imageio.digest import FileDigest
from engine.imageio.formats import FORMATS, READABLE, WRITABLE, format_of
from engine.imageio.plain import open_plain, read_plain, special_kind
from engine.imageio.png import decode_png, encode_png, png_profile
from engine.imageio.tags import Tag
from engine.imageio.targets import check_target, same_file
from engine.imageio.xmp import COMPOSITE, ENHANCED, source_types, strongest, with_source_type
from engine.jobs import JobContext
from engine.raster import Mask, Metadata, Raster, Resolution, contiguous

__all__ = [
    "COMPOSITE",
    "ENHANCED",
    "FORMATS",
    "READABLE",
    "TIFF_COMPRESSIONS",
    "WRITABLE",
    "FileDigest",
    "Probe",
    "WriteOptions",
    "Written",
    "atomic_folder",
    "atomic_write",
    "atomic_write_bytes",
    "check_size",
    "check_target",
    "decode_png",
    "encode_png",
    "format_of",
    "is_lossless",
    "open_plain",
    "png_profile",
    "probe",
    "read",
    "read_hashed",
    "read_mask",
    "read_plain",
    "same_file",
    "sensible_resolution",
    "source_types",
    "stored_depth",
    "strongest",
    "sweep",
    "sync_folder",
    "to_depth",
    "with_source_type",
    "write",
    "write_mask",
]

_AS_IT_IS = WriteOptions()


@dataclass(frozen=True)
class Probe:
    """What the header of a picture file says, without decoding the pixels.

    Attributes:
        format: ``TIFF``, ``PNG``, ``JPEG``, ``WebP`` or ``BMP``.
        width: columns of the upright picture; height likewise.
        channels: 1 = grey, 3 = RGB, as it would be opened.
        depth: 8 or 16 bits a sample, as it would be opened.
        profile: ICC profile; None where there is none or it is damaged.
        resolution: dots per inch.
        metadata: the standards present, such as ``exif``.
        compression: for a person, such as ``LZW``.
        pages: full-size pictures in the file.
        notices: sentences about contents that would be dropped.
        refusal: why it cannot be opened, as a sentence; None if the header shows no reason.
    """

    format: str
    width: int
    height: int
    channels: int
    depth: int
    profile: bytes | None
    resolution: Resolution | None
    metadata: tuple[str, ...]
    compression: str
    pages: int
    notices: tuple[str, ...]
    refusal: str | None


def is_lossless(target: Path | str, options: WriteOptions = _AS_IT_IS) -> bool:
    """Whether the format of a path or suffix stores samples exactly (WebP only those of 8 bits)."""
    row = format_of(target)
    return row is not None and (options.lossless if row.lossless == "choice" else row.lossless)


def stored_depth(target: Path | str, depth: int) -> int:
    """Bits per sample that a picture of this depth has when written in the format of a path or suffix."""
    row = format_of(target)
    return min(depth, row.depth if row is not None else 8)


def check_size(path: Path, width: int, height: int) -> None:
    """Refuse a picture that is too large for the format of a path, before any work is done.

    Raises:
        WriteError: ``write.size``.
    """
    row = format_of(path)
    most = row.largest if row is not None else None
    if most is not None and max(width, height) > most:
        kind = path.suffix.lower()
        raise WriteError(
            "{file} would have {width} x {height} pixels, and a {kind} file ends at {most} a side.",
            "write.size",
            file=path.name,
            width=width,
            height=height,
            kind=kind,
            most=most,
        )


def read(path: Path, context: JobContext | None = None) -> Raster:
    """Read a picture: 8 or 16 bits, grey or RGB, upright.

    The format is recognised by the file's contents. An opaque alpha channel, extra channels, further pages and broken
    profiles are dropped with a notice; embedded thumbnails, which show the unrepaired picture, are dropped without.
    Memory: a TIFF needs about that of the pixels, other formats also that of the file, and that of a second picture if
    it must be rotated. Any thread.

    Raises:
        ReadError: ``read.missing``, ``read.folder``, ``read.special``, ``read.denied``, ``read.empty``,
            ``read.format``, ``read.truncated``, ``read.damaged``, ``read.size``, ``read.mode``, ``read.transparent``,
            ``read.compression`` or ``read.failed``.
        Cancelled: the job was cancelled.
    """
    with _open_picture(Path(path)) as (file, size):
        return _read_raster(file, size, Path(path), context or JobContext())


def read_hashed(path: Path, context: JobContext | None = None) -> tuple[Raster, FileDigest]:
    """Read a picture as ``read`` does, and start computing the digest of the bytes that it was decoded from."""
    with _open_picture(Path(path)) as (file, size):
        digest = FileDigest(file)
        raster = _read_raster(file, size, Path(path), context or JobContext())
        digest.start(file)
    return raster, digest


def _read_raster(file: BinaryIO, size: int, path: Path, context: JobContext) -> Raster:
    context.progress(0, "Reading")
    module, header = _inspect(file, size)
    _raise_refusal(header)
    pixels = module.decode(file, size, header, context, alpha=False)
    if header.alpha:
        header.notices.append("The file has an opacity channel, which hides nothing; it is left out.")
    _check_header(header, path)
    raster = Raster(
        pixels=pixels,
        profile=header.profile,
        resolution=header.resolution,
        metadata=_upright_metadata(header),
        notices=tuple(header.notices),
    )
    context.progress(1, "Reading")
    return raster


def probe(path: Path) -> Probe:
    """Read the header of a picture file. Any thread.

    Raises:
        ReadError: as ``read``, for faults in the header. Pictures of a known but unsupported kind raise nothing; they
            have a ``refusal``.
    """
    path = Path(path)
    with _open_picture(path) as (file, size):
        _, header = _inspect(file, size)
    _check_header(header, path)
    width, height = header.upright_size
    return Probe(
        format=header.format,
        width=width,
        height=height,
        channels=header.channels,
        depth=header.depth,
        profile=header.profile,
        resolution=header.resolution,
        metadata=tuple(header.metadata.names()),
        compression=header.compression,
        pages=header.pages,
        notices=tuple(header.notices),
        refusal=Words("{file} {reason}.", file=path.name, reason=header.refusal.reason).text()
        if header.refusal
        else None,
    )


def write(
    raster: Raster,
    path: Path,
    options: WriteOptions = _AS_IT_IS,
    context: JobContext | None = None,
    companion: Callable[[Written, tuple[str, ...]], tuple[Path, bytes]] | None = None,
) -> tuple[str, ...]:
    """Write a picture atomically, in the format of the path's suffix. Any thread.

    Args:
        raster: the picture.
        path: the file.
        options: depth, quality, compression.
        context: progress and cancellation.
        companion: called with the complete file's digest and the returned sentences; returns path and contents of a
            second file that is written together with the first, see ``atomic_write``.

    Returns:
        Sentences about what the format cannot hold.

    Raises:
        WriteError: ``write.suffix``, ``write.size``, ``write.memory``, or as ``atomic_write``; an existing file is
            unchanged.
        Cancelled: the job was cancelled; an existing file is unchanged.
    """
    context, path = context or JobContext(), Path(path)
    row = format_of(path)
    if row is None or row.writer is None:
        known = ", ".join(WRITABLE)
        raise WriteError(
            "{file} does not end in one of {known}, so its format is not known.",
            "write.suffix",
            file=path.name,
            known=known,
        )
    context.progress(0, "Writing")
    depth = options.depth or min(raster.depth, 16)
    ready = replace(
        raster,
        pixels=contiguous(to_depth(raster.pixels, depth)),
        resolution=sensible_resolution(raster.resolution.x, raster.resolution.y) if raster.resolution else None,
        metadata=_metadata_to_write(raster),
    )
    notices: tuple[str, ...] = ()
    second = None if companion is None else (lambda written: companion(written, notices))
    try:
        with atomic_write(path, companion=second) as file:
            notices = (*row.writer.encode(file, ready, options, context), *_lost_tags_notice(raster, path))
            context.progress(1, "Writing")
    except Refusal as refusal:
        raise WriteError("{file} {reason}.", refusal.code, file=path.name, reason=refusal.reason) from refusal
    except MemoryError as error:
        raise WriteError("There is not enough free memory to write {file}.", "write.memory", file=path.name) from error
    return notices


def read_mask(path: Path, context: JobContext | None = None) -> Mask:
    """Read a mask: (H, W) uint8, 255 = repair. Any thread.

    The mask is the grey value, reduced to 8 bits with rounding, or the largest channel of RGB. If the picture has
    transparent parts and its visible parts have only one colour, the alpha channel is the mask; otherwise the mask is
    multiplied by alpha.

    Raises:
        ReadError: as ``read``.
        Cancelled: the job was called off.
    """
    context = context or JobContext()
    with _open_picture(Path(path)) as (file, size):
        module, header = _inspect(file, size)
        _raise_refusal(header)
        pixels = module.decode(file, size, header, context.part(0.0, 0.9), alpha=True)
    context.progress(0.9, "Reading")
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    values: Mask = pixels[..., : header.channels].max(axis=2)
    if pixels.shape[2] == header.channels:
        return np.ascontiguousarray(values)
    opacity: Mask = pixels[..., -1]
    seen = pixels[..., :-1][opacity > 0]
    if opacity.min() < 255 and (seen.size == 0 or (seen == seen[0]).all()):
        return np.ascontiguousarray(opacity)
    return np.asarray((values.astype(np.uint16) * opacity + 127) // 255, np.uint8)


def write_mask(mask: Mask, path: Path) -> None:
    """Write a mask as an 8-bit grey PNG, atomically. Any thread.

    Raises:
        WriteError: as ``atomic_write``; ``write.size``: it is larger than a PNG can be.
    """
    atomic_write_bytes(Path(path), encode_png(mask[..., None]))


@contextmanager
def _open_picture(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file and give its size in bytes; a ``Refusal`` or OSError inside the block becomes a ReadError.

    Raises:
        ReadError: it cannot be opened, or was refused.
    """
    try:
        if path.is_dir():
            raise ReadError("{file} is a folder, not a picture.", "read.folder", file=path.name or path)
        if kind := special_kind(path):
            raise ReadError(
                "{file} is {kind}, not a picture file.", "read.special", file=path.name or path, kind=Words(kind)
            )
        with open_plain(path) as file:
            yield file, file.seek(0, 2)
    except Refusal as refusal:
        raise ReadError("{file} {reason}.", refusal.code, file=path.name, reason=refusal.reason) from refusal
    except FileNotFoundError as error:
        raise ReadError(
            "{file} does not exist in {folder}.", "read.missing", file=path.name, folder=path.absolute().parent
        ) from error
    except PermissionError as error:
        raise ReadError("{file} may not be read: permission is missing.", "read.denied", file=path.name) from error
    except OSError as error:
        raise ReadError(
            "{file} cannot be read: {reason}.", "read.failed", file=path.name, reason=error.strerror or error
        ) from error


def _inspect(file: BinaryIO, size: int) -> tuple[Reader, Header]:
    """Recognise the format by the file's first bytes; its module, and the header."""
    file.seek(0)
    head = file.read(64)
    if not head:
        raise Refusal("is empty", "read.empty")
    row = next((row for row in FORMATS if row.fits(head)), None)
    if row is None:
        if head.startswith(b"PK") and b"image/openraster" in head:
            raise Refusal("is a project; lacuna flatten makes a picture of it", "read.project")
        known = ", ".join(row.name for row in FORMATS)
        raise Refusal("is not a picture that Lacuna can open ({formats})", "read.format", formats=known)
    header = row.reader.inspect(file, size)
    if header.orientation == 1 and header.metadata.exif and row.reader is not tiff:
        header.orientation = directories.orientation(header.metadata.exif)
    if not 1 <= header.orientation <= 8:
        header.orientation = 1
    return row.reader, header


def _raise_refusal(header: Header) -> None:
    if header.refusal is not None:
        raise header.refusal


def _check_header(header: Header, path: Path) -> None:
    """Drop a broken profile or broken EXIF from the header, and complete the notices."""
    if header.profile is not None and not colour.fits(header.profile, header.channels):
        header.profile = None
        header.notices.append("The colour profile of the file is damaged or of another kind and is ignored.")
    exif = header.metadata.exif
    if exif and directories.parse(exif) is None:
        header.metadata = replace(header.metadata, exif=None)
        header.notices.append("The EXIF data of the file is damaged and is ignored.")
    if header.pages > 1:
        header.notices.append(pages_notice(header.pages))
    row = format_of(path)
    if row is None or row.name != header.format:
        header.notices.append(f"The file is a {header.format}, although it is called {path.name}.")


def _upright_metadata(header: Header) -> Metadata:
    """The header's metadata with EXIF and XMP changed to upright orientation."""
    metadata, (width, height) = header.metadata, header.upright_size
    exif = directories.normalise_exif(metadata.exif, width, height, None) if metadata.exif else None
    return replace(metadata, exif=exif, xmp=blocks.upright_xmp(metadata.xmp) if metadata.xmp else None)


def _metadata_to_write(raster: Raster) -> Metadata:
    """The raster's metadata with its size and resolution written into EXIF."""
    exif = raster.metadata.exif
    if exif is None or directories.parse(exif) is None:
        return replace(raster.metadata, exif=None)
    return replace(
        raster.metadata, exif=directories.normalise_exif(exif, raster.width, raster.height, raster.resolution)
    )


def _lost_tags_notice(raster: Raster, path: Path) -> list[str]:
    """A notice about TIFF tags that a format other than TIFF cannot hold."""
    others = [tag for tag in raster.metadata.tags if tag != Tag.PHOTOSHOP]
    if not others or path.suffix.lower() in (".tif", ".tiff"):
        return []
    names = ", ".join(map(str, others[:5]))
    return [f"{len(others)} further entries of the scan (TIFF tags {names}) have a place in a TIFF only: left out."]
