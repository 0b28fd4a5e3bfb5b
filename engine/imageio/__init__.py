"""Photographs from and to files: TIFF, PNG, JPEG, WebP and BMP, with everything that travels along.

Reading gives a ``Raster`` in the file's own depth and colours, upright, with ICC profile, resolution, EXIF, XMP and
IPTC as they are. Writing gives a file with exactly the raster's samples (in the lossless formats) and all of that
again; what a format cannot hold is said. Everything is written from the raster alone: the scan may be gone by then.
Nothing heavy is imported before the first picture.
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
from engine.imageio import blocks, bmp, directories, jpeg, png, tiff, tiffwrite, webp
from engine.imageio.atomic import Written, atomic_folder, atomic_write, atomic_write_bytes, sweep, sync_folder
from engine.imageio.common import Format, Header, Refusal, WriteOptions, pages_notice
from engine.imageio.common import resolution as sensible_resolution
from engine.imageio.depth import to_depth
from engine.imageio.digest import FileDigest
from engine.imageio.plain import open_plain, read_plain, special
from engine.imageio.png import decode_png, encode_png, png_profile
from engine.imageio.tags import Tag
from engine.imageio.targets import WRITABLE, check_target, same_file
from engine.jobs import JobContext
from engine.raster import Mask, Metadata, Raster, Resolution, contiguous

__all__ = [
    "READABLE",
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
    "depth_held",
    "encode_png",
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
    "sweep",
    "sync_folder",
    "to_depth",
    "write",
    "write_mask",
]

READABLE: tuple[str, ...] = (*WRITABLE, ".bmp")
"""Suffixes of the picture formats that can be read, lower case. Reading itself goes by contents."""

_AS_IT_IS = WriteOptions()
_DEEP = (".tif", ".tiff", ".png")
"""Formats that hold 16 bits a sample."""
_FORMATS: dict[str, tuple[Format, tuple[str, ...]]] = {
    "TIFF": (tiff, (".tif", ".tiff")),
    "PNG": (png, (".png",)),
    "JPEG": (jpeg, (".jpg", ".jpeg")),
    "WebP": (webp, (".webp",)),
    "BMP": (bmp, (".bmp",)),
}
_TIFF_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ENCODERS = {".tif": tiffwrite, ".tiff": tiffwrite, ".png": png, ".jpg": jpeg, ".jpeg": jpeg, ".webp": webp}


@dataclass(frozen=True)
class Probe:
    """What a picture file holds, without its pixels having been unpacked.

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
        notices: sentences about what would not be taken along.
        refusal: why it cannot be opened, as a sentence; None when it can, as far as the header tells.
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
    """Whether every sample survives being written to a path or suffix (bits beyond 8 do not survive WebP)."""
    return _suffix(target) in _DEEP or (_suffix(target) == ".webp" and options.lossless)


def depth_held(target: Path | str, depth: int) -> int:
    """Bits of so many a sample that the format of a path or suffix holds."""
    return depth if _suffix(target) in _DEEP else min(depth, 8)


def check_size(path: Path, width: int, height: int) -> None:
    """Refuse a picture that is too large for the format of a path, before any work is done for it.

    Raises:
        WriteError: ``write.size``.
    """
    most = getattr(_ENCODERS.get(path.suffix.lower()), "LARGEST_SIDE", None)
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


def _suffix(target: Path | str) -> str:
    return Path(target).suffix.lower() or str(target).lower()


def read(path: Path, context: JobContext | None = None) -> Raster:
    """Open a picture: 8 or 16 bits, grey or RGB, upright, with own memory.

    The contents decide what format it is. Opacity that hides nothing, further channels, further pages and broken
    profiles are left out and told of in the raster's notices; thumbnails inside the file, which show the unrepaired
    picture, go silently. A TIFF takes the pixels' memory about once, the other formats also that of the file, and that
    of a second picture when they must be turned. Any thread.

    Raises:
        ReadError: ``read.missing``, ``read.folder``, ``read.special``, ``read.denied``, ``read.empty``,
            ``read.format``, ``read.truncated``, ``read.damaged``, ``read.size``, ``read.mode``, ``read.transparent``,
            ``read.compression`` or ``read.failed``.
        Cancelled: the job was called off.
    """
    with _opened(Path(path)) as (file, size):
        return _raster(file, size, Path(path), context or JobContext())


def read_hashed(path: Path, context: JobContext | None = None) -> tuple[Raster, FileDigest]:
    """Open a picture, as ``read`` does, and the digest of the bytes that it was made of, which is complete later."""
    with _opened(Path(path)) as (file, size):
        digest = FileDigest(file)
        raster = _raster(file, size, Path(path), context or JobContext())
        digest.start(file)
    return raster, digest


def _raster(file: BinaryIO, size: int, path: Path, context: JobContext) -> Raster:
    context.progress(0, "Reading")
    module, header = _inspected(file, size)
    _accept(header)
    pixels = module.decode(file, size, header, context, alpha=False)
    if header.alpha:
        header.notices.append("The file has an opacity channel, which hides nothing; it is left out.")
    _tell_more(header, path)
    raster = Raster(
        pixels=pixels,
        profile=header.profile,
        resolution=header.resolution,
        metadata=_upright(header),
        notices=tuple(header.notices),
    )
    context.progress(1, "Reading")
    return raster


def probe(path: Path) -> Probe:
    """Look into a picture file without unpacking its pixels. Any thread.

    Raises:
        ReadError: as ``read``, as far as the header tells; kinds of pictures that are known but not taken are
            described, with the ``refusal``.
    """
    path = Path(path)
    with _opened(path) as (file, size):
        _, header = _inspected(file, size)
    _tell_more(header, path)
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
    """Write a picture, whole or not at all, in the format that the suffix names. Any thread.

    Args:
        raster: the picture.
        path: where to.
        options: depth, quality, compression.
        context: progress and cancellation.
        companion: told of the complete file and of what is returned, gives the path and the contents of a second file;
            see ``atomic_write``.

    Returns:
        Sentences about what the format could not hold.

    Raises:
        WriteError: ``write.suffix``, ``write.size``, or as ``atomic_write``; what was there before is still there.
        Cancelled: the job was called off; likewise.
    """
    context, path = context or JobContext(), Path(path)
    encoder = _ENCODERS.get(path.suffix.lower())
    if encoder is None:
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
        metadata=_written(raster),
    )
    notices: tuple[str, ...] = ()
    second = None if companion is None else (lambda written: companion(written, notices))
    try:
        with atomic_write(path, companion=second) as file:
            notices = (*encoder.encode(file, ready, options, context), *_homeless(raster, path))
            context.progress(1, "Writing")
    except Refusal as refusal:
        raise WriteError("{file} {reason}.", refusal.code, file=path.name, reason=refusal.reason) from refusal
    except MemoryError as error:
        raise WriteError("There is not enough free memory to write {file}.", "write.memory", file=path.name) from error
    return notices


def read_mask(path: Path, context: JobContext | None = None) -> Mask:
    """Open a mask: (H, W) uint8, 255 = repair. Any thread.

    Grey is taken as it is (65535 becomes 255, others are rounded), and of RGB the largest channel. Where a picture has
    opacity and one colour wherever it can be seen, the opacity is the mask; else what is transparent is not masked.

    Raises:
        ReadError: as ``read``.
        Cancelled: the job was called off.
    """
    context = context or JobContext()
    with _opened(Path(path)) as (file, size):
        module, header = _inspected(file, size)
        _accept(header)
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
    """Write a mask as an 8-bit grey PNG, whole or not at all. Any thread.

    Raises:
        WriteError: as ``atomic_write``; ``write.size``: it is larger than a PNG can be.
    """
    atomic_write_bytes(Path(path), encode_png(mask[..., None]))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """The file and its size in bytes; refusals inside become sentences with its name.

    Raises:
        ReadError: it cannot be opened, or was refused.
    """
    try:
        if path.is_dir():
            raise ReadError("{file} is a folder, not a picture.", "read.folder", file=path.name or path)
        if kind := special(path):
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


def _inspected(file: BinaryIO, size: int) -> tuple[Format, Header]:
    """The module for a file's contents, and the header."""
    file.seek(0)
    head = file.read(64)
    if not head:
        raise Refusal("is empty", "read.empty")
    kinds = {
        "TIFF": head.startswith(_TIFF_BEGINNINGS),
        "PNG": head.startswith(png.SIGNATURE),
        "JPEG": head.startswith(b"\xff\xd8\xff"),
        "WebP": head[:4] == b"RIFF" and head[8:12] == b"WEBP",
        "BMP": head.startswith(b"BM"),
    }
    name = next((name for name, fits in kinds.items() if fits), None)
    if name is None:
        if head.startswith(b"PK") and b"image/openraster" in head:
            raise Refusal("is a project; lacuna flatten makes a picture of it", "read.project")
        raise Refusal("is not a picture that Lacuna can open ({formats})", "read.format", formats=", ".join(_FORMATS))
    module = _FORMATS[name][0]
    header = module.inspect(file, size)
    if header.orientation == 1 and header.metadata.exif and name != "TIFF":
        header.orientation = directories.orientation(header.metadata.exif)
    if not 1 <= header.orientation <= 8:
        header.orientation = 1
    return module, header


def _accept(header: Header) -> None:
    if header.refusal is not None:
        raise header.refusal


def _tell_more(header: Header, path: Path) -> None:
    """Check what travels along, and complete the notices."""
    if header.profile is not None and not colour.fits(header.profile, header.channels):
        header.profile = None
        header.notices.append("The colour profile of the file is damaged or of another kind and is ignored.")
    exif = header.metadata.exif
    if exif and directories.parse(exif) is None:
        header.metadata = replace(header.metadata, exif=None)
        header.notices.append("The EXIF data of the file is damaged and is ignored.")
    if header.pages > 1:
        header.notices.append(pages_notice(header.pages))
    if path.suffix.lower() not in _FORMATS[header.format][1]:
        header.notices.append(f"The file is a {header.format}, although it is called {path.name}.")


def _upright(header: Header) -> Metadata:
    """Metadata that says that the picture is upright, as it now is."""
    metadata, (width, height) = header.metadata, header.upright_size
    exif = directories.normal(metadata.exif, width, height, None) if metadata.exif else None
    return replace(metadata, exif=exif, xmp=blocks.upright_xmp(metadata.xmp) if metadata.xmp else None)


def _written(raster: Raster) -> Metadata:
    """Metadata that says the raster's own size and resolution."""
    exif = raster.metadata.exif
    if exif is None or directories.parse(exif) is None:
        return replace(raster.metadata, exif=None)
    return replace(raster.metadata, exif=directories.normal(exif, raster.width, raster.height, raster.resolution))


def _homeless(raster: Raster, path: Path) -> list[str]:
    """Tells of TIFF tags that only a TIFF can hold."""
    others = [tag for tag in raster.metadata.tags if tag != Tag.PHOTOSHOP]
    if not others or path.suffix.lower() in (".tif", ".tiff"):
        return []
    names = ", ".join(map(str, others[:5]))
    return [f"{len(others)} further entries of the scan (TIFF tags {names}) have a place in a TIFF only: left out."]
