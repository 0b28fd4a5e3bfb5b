"""Reading TIFF: pixels with tifffile, segment by segment into the upright picture; metadata from the directories."""

from __future__ import annotations

import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from engine.imageio import blocks
from engine.imageio.common import (
    Header,
    Refusal,
    check_size,
    damaged,
    decoding,
    silence_log,
    stored_view,
    transparent,
    truncated,
)
from engine.imageio.directories import (
    BYTE,
    BrokenDirectory,
    Entry,
    Structure,
    Tags,
    number,
    numbers,
    read_exif,
    resolution_of,
)
from engine.imageio.plain import open_plain
from engine.imageio.tags import (
    OLD_REDUCED,
    OPACITY,
    REDUCED,
    TRANSPARENCY_MASK,
    Compression,
    Photometric,
    SampleFormat,
    Tag,
)
from engine.jobs import JobContext
from engine.raster import Metadata, Pixels

DESCRIPTIVE = {
    *(Tag.DOCUMENT_NAME, Tag.DESCRIPTION, Tag.MAKE, Tag.MODEL, Tag.X_RESOLUTION, Tag.Y_RESOLUTION, Tag.PAGE_NAME),
    *(Tag.RESOLUTION_UNIT, Tag.SOFTWARE, Tag.DATE, Tag.ARTIST, Tag.HOST, Tag.WHITE_POINT, Tag.PRIMARIES),
    *(Tag.RATING, Tag.RATING_PERCENT, Tag.COPYRIGHT, Tag.WINDOWS_TITLE, Tag.WINDOWS_COMMENT, Tag.WINDOWS_AUTHOR),
    *(Tag.WINDOWS_KEYWORDS, Tag.WINDOWS_SUBJECT, Tag.PRINT_MATCHING),
}
"""Tags of a main directory that EXIF blocks may have too: they are kept in every format."""
STRUCTURAL = {
    *range(Tag.SUBFILE_TYPE, Tag.COMPRESSION + 1),
    *range(Tag.PHOTOMETRIC, Tag.FILL_ORDER + 1),
    *(Tag.STRIP_OFFSETS, Tag.ORIENTATION),
    *range(Tag.SAMPLES, Tag.LARGEST_SAMPLE + 1),
    *(Tag.PLANAR, Tag.PAGE_NUMBER, Tag.PREDICTOR),
    *range(Tag.FREE_OFFSETS, Tag.FAX4_OPTIONS + 1),
    *(Tag.PALETTE, Tag.HALFTONE_HINTS),
    *range(Tag.TILE_WIDTH, Tag.CLEAN_FAX + 1),
    Tag.SUB_DIRECTORIES,
    *range(Tag.INK_SET, Tag.JPEG_TABLES + 1),
    *range(Tag.JPEG_PROCESS, Tag.JPEG_AC_TABLES + 1),
    *range(Tag.YCBCR_COEFFICIENTS, Tag.BLACK_AND_WHITE + 1),
    *range(Tag.MATTEING, Tag.TILE_DEPTH + 1),
    *(Tag.CFA_PATTERN_SIZE, Tag.CFA_PATTERN, Tag.IMAGE_LAYER, Tag.RAW_SCALE),
    *(Tag.XMP, Tag.IPTC, Tag.PHOTOSHOP, Tag.EXIF, Tag.PROFILE, Tag.GPS, Tag.LAYERS),
}
"""Tags that describe how the pixels are stored, or that are handled separately."""

COMPRESSIONS: dict[int, str] = {
    Compression.NONE: "none",
    Compression.CCITT: "CCITT",
    Compression.FAX3: "CCITT fax 3",
    Compression.FAX4: "CCITT fax 4",
    Compression.LZW: "LZW",
    Compression.OLD_JPEG: "old JPEG",
    Compression.JPEG: "JPEG",
    Compression.DEFLATE: "Deflate",
    Compression.PACKBITS: "PackBits",
    Compression.OLD_DEFLATE: "Deflate",
    Compression.JPEG_2000: "JPEG 2000",
    Compression.LZMA: "LZMA",
    Compression.ZSTANDARD: "Zstandard",
    Compression.WEBP: "WebP",
    Compression.LERC: "LERC",
    Compression.JPEG_XL: "JPEG XL",
}
"""The compressions that are read, with their names for a person; the self-test tries each."""
_JPEG = (Compression.OLD_JPEG, Compression.JPEG, Compression.LOSSY_RAW_JPEG, Compression.OLD_JPEG_2)
_PACKS_LITTLE = (
    *(Compression.NONE, Compression.LZW, Compression.DEFLATE, Compression.OLD_DEFLATE, Compression.PACKBITS),
    *_JPEG,
)
"""Compressions whose ratio does not exceed the default limit of ``check_size``."""
_LAB = "is in Lab colour: convert it to RGB first"
_RAW = "is a camera raw file: develop it to a 16-bit TIFF first"
_LIGHT = "holds floating-point light values: convert it to 16-bit RGB first"
_REFUSED: dict[int, str] = {
    Photometric.MASK: "is a transparency mask, not a picture",
    Photometric.CMYK: "is in CMYK, the colours of printing inks: convert it to RGB first",
    **dict.fromkeys((Photometric.CIELAB, Photometric.ICCLAB, Photometric.ITULAB), _LAB),
    **dict.fromkeys((Photometric.RAW, Photometric.LINEAR_RAW), _RAW),
    **dict.fromkeys((Photometric.LOG_LUMINANCE, Photometric.LOG_LUV), _LIGHT),
}
_DEPTHS: dict[int, set[int]] = {
    Photometric.WHITE_IS_ZERO: {1, 2, 4, 8, 16},
    Photometric.BLACK_IS_ZERO: {1, 2, 4, 8, 16},
    Photometric.RGB: {8, 16},
    Photometric.YCBCR: {8, 16},
    Photometric.PALETTE: {1, 2, 4, 8},
}
"""Photometric interpretation -> supported bits per sample."""
_COMPLEX = "holds complex numbers: convert it to 16 bits a sample first"
_NUMBERS: dict[float, str] = {
    SampleFormat.SIGNED: "holds negative numbers: convert it to 16 bits a sample first",
    SampleFormat.FLOAT: "holds floating-point numbers: convert it to 16 bits a sample first",
    SampleFormat.COMPLEX_SIGNED: _COMPLEX,
    SampleFormat.COMPLEX_FLOAT: _COMPLEX,
}
_MOST_ENTRIES = 200_000
"""Most directory entries that are read, of all pages: a small file may have very many overlapping directories."""
_ROWS = 1 << 24
"""Bytes that are read at a time: small compared with a picture, and frequent enough for progress and cancelling."""


@dataclass
class TiffHeader(Header):
    """A TIFF's header.

    Attributes:
        page: index of the first full-size page.
        bits: bits per sample as stored.
        samples: samples per pixel as stored.
        alpha_plane: index of alpha among the samples; -1 = there is none.
        palette: (entries, 3) uint8.
        inverted: whether white is stored as zero.
    """

    page: int = 0
    bits: int = 8
    samples: int = 1
    alpha_plane: int = -1
    palette: NDArray[np.uint8] | None = None
    inverted: bool = False


def inspect(file: BinaryIO, size: int) -> TiffHeader:
    """As ``Format.inspect``."""
    try:
        structure = Structure(file, size)
        page, pages, entries = _first_page(structure)
    except BrokenDirectory:
        raise damaged() from None
    wanted = STRUCTURAL - {Tag.LAYERS, Tag.EXIF, Tag.GPS}
    layout = structure.tags({tag: entry for tag, entry in entries.items() if tag in wanted})
    photometric, compression = number(layout, Tag.PHOTOMETRIC, 1), number(layout, Tag.COMPRESSION, 1)
    bits, samples = number(layout, Tag.BITS, 1), number(layout, Tag.SAMPLES, 1)
    channels = 3 if photometric in (Photometric.RGB, Photometric.PALETTE, Photometric.YCBCR) else 1
    header = TiffHeader(
        format="TIFF",
        width=number(layout, Tag.WIDTH, 0),
        height=number(layout, Tag.HEIGHT, 0),
        channels=channels,
        depth=16 if bits > 8 else 8,
        compression=COMPRESSIONS.get(compression, f"number {compression}"),
        orientation=number(layout, Tag.ORIENTATION, 1),
        pages=pages,
        page=page,
        bits=bits,
        samples=samples,
        inverted=photometric == Photometric.WHITE_IS_ZERO,
        refusal=_refusal(layout, entries, photometric, compression),
    )
    gain = {} if compression in _PACKS_LITTLE else {"gain": 100_000}
    check_size(header.width, header.height, samples * bits, size, **gain)
    if header.refusal is None:
        _extra_samples(header, layout)
        _expansion(header, layout)
    _describe(header, structure, entries)
    return header


def decode(file: BinaryIO, size: int, header: Header, context: JobContext, *, alpha: bool) -> Pixels:
    """As ``Format.decode``. Needs the memory of the pixels, about 16 MB, and that of a decompressed segment."""
    import tifffile

    assert isinstance(header, TiffHeader)
    silence_log("tifffile")
    file.seek(0)
    with decoding(), tifffile.TiffFile(file, is_ndpi=False, is_lsm=False, is_scanimage=False) as opened:
        page = opened.pages[header.page]
        _check_page(page, header, size, tifffile)
        builder = _PictureBuilder(header, alpha=alpha)
        work = _read_rows(page, file, builder) if _is_plain(page, size) else _read_segments(page, builder)
        with closing(work):
            for share in work:
                context.progress(share, "Reading")
    return builder.pixels


class _PictureBuilder:
    """The picture in the making: stores blocks of samples, expanded and upright, in the output array. Any thread."""

    def __init__(self, header: TiffHeader, *, alpha: bool) -> None:
        self.header = header
        self.keep_alpha = header.alpha and alpha
        width, height = header.upright_size
        channels = header.channels + (1 if self.keep_alpha else 0)
        self.pixels: Pixels = np.empty((height, width, channels), np.uint16 if header.depth == 16 else np.uint8)
        self.stored = stored_view(self.pixels, header.orientation)

    def put(self, block: NDArray[Any], top: int, left: int, plane: int) -> None:
        """Store a block (rows, columns, planes).

        Args:
            block: samples as stored; parts beyond the picture are cut off.
            top: its first row in the stored picture.
            left: its first column.
            plane: index of its first plane among the samples.
        """
        target = self.stored[top : top + block.shape[0], left : left + block.shape[1]]
        block = block[: target.shape[0], : target.shape[1]]
        header = self.header
        if header.palette is not None:
            target[:] = header.palette[np.minimum(block[..., 0], len(header.palette) - 1)]
            return
        planes = block.shape[2]
        colours = min(header.channels - plane, planes)
        if colours > 0:
            self._colour(block[..., :colours], target[..., plane : plane + colours])
        if header.alpha and 0 <= header.alpha_plane - plane < planes:
            self._opacity(block[..., header.alpha_plane - plane], target)

    def _colour(self, part: NDArray[Any], target: Pixels) -> None:
        if self.header.bits < 8:
            np.multiply(part, 255 // ((1 << self.header.bits) - 1), out=target, casting="unsafe")
        else:
            target[:] = part
        if self.header.inverted:
            np.invert(target, out=target)

    def _opacity(self, part: NDArray[Any], target: Pixels) -> None:
        if self.keep_alpha:
            target[..., -1] = part
        elif part.min() != np.iinfo(target.dtype).max:
            raise transparent()


def _first_page(structure: Structure) -> tuple[int, int, dict[int, Entry]]:
    """Index of the first full-size page, number of full-size pages, and the entries of the first.

    Raises:
        BrokenDirectory: the first directory cannot be read.
        Refusal: there is no full-size page, or the first directory is beyond the end of the file.
    """
    if structure.first >= structure.size:
        raise truncated()
    offset, seen, looked = structure.first, set[int](), 0
    full: list[int] = []
    chosen: dict[int, Entry] = {}
    while offset and offset not in seen and looked < _MOST_ENTRIES:
        try:
            entries, pointer = structure.directory(offset)
        except BrokenDirectory:
            if not seen:
                raise
            break
        kinds = (Tag.SUBFILE_TYPE, Tag.OLD_SUBFILE_TYPE)
        kind = structure.tags({tag: entries[tag] for tag in kinds if tag in entries})
        partial = number(kind, Tag.SUBFILE_TYPE, 0) & (REDUCED | TRANSPARENCY_MASK)
        if not partial and number(kind, Tag.OLD_SUBFILE_TYPE, 1) != OLD_REDUCED:
            chosen = chosen or entries
            full.append(len(seen))
        seen.add(offset)
        looked += (pointer - offset) // 12
        offset = structure.following(pointer)
    if not full:
        raise Refusal(
            "holds only small previews where the picture should be, as camera raw files do: develop it to TIFF first",
            "read.mode",
        )
    return full[0], len(full), chosen


def _refusal(layout: Tags, entries: dict[int, Entry], photometric: int, compression: int) -> Refusal | None:
    """Why this kind of picture is not supported; None if it is."""
    bits = set(numbers(layout, Tag.BITS)) or {1}
    kinds = set(numbers(layout, Tag.SAMPLE_FORMAT)) - {SampleFormat.UNSIGNED, SampleFormat.UNKNOWN}
    paletted = photometric == Photometric.PALETTE
    reason, values = "", dict[str, object]()
    if Tag.RAW_VERSION in entries:
        reason = _RAW
    elif photometric in _REFUSED:
        reason = _REFUSED[photometric]
    elif photometric not in _DEPTHS or (photometric == Photometric.YCBCR and compression not in _JPEG):
        reason = "has colours of a kind that Lacuna cannot read (number {number}): convert it to RGB first"
        values["number"] = photometric
    elif kinds:
        reason = _NUMBERS.get(kinds.pop(), "holds numbers of an unknown kind: convert it to 16 bits a sample first")
    elif not bits <= _DEPTHS[photometric]:
        reason = "has {bits:.0f} bits a sample: convert it to 8 or 16 bits first"
        values["bits"] = max(bits)
    elif len(bits) > 1:
        reason = "has channels with different numbers of bits: convert it to 8 or 16 bits first"
    elif number(layout, Tag.IMAGE_DEPTH, 1) > 1 or (paletted and number(layout, Tag.SAMPLES, 1) != 1):
        reason = "is not a flat picture of one colour a pixel"
    return Refusal(reason, "read.mode", **values) if reason else None


def _extra_samples(header: TiffHeader, layout: Tags) -> None:
    base = 1 if number(layout, Tag.PHOTOMETRIC, 1) == Photometric.PALETTE else header.channels
    if header.samples < base:
        raise damaged()
    kinds = numbers(layout, Tag.EXTRA_SAMPLES)[: max(header.samples - base, 0)]
    opacity = [i for i, kind in enumerate(kinds) if kind in OPACITY]
    header.alpha = bool(opacity)
    header.alpha_plane = base + opacity[0] if opacity else -1
    others = header.samples - base - len(opacity[:1])
    if others > 0:
        header.notices.append(
            f"The file has {others} further channel{'s' * (others > 1)} (infrared, for example); only the picture"
            " itself is opened, and they will not be in the export."
        )


def _expansion(header: TiffHeader, layout: Tags) -> None:
    """Prepare the expansion of palettes, of fewer than 8 bits, and of inverted samples, with notices."""
    if number(layout, Tag.PHOTOMETRIC, 1) == Photometric.PALETTE:
        entries = numbers(layout, Tag.PALETTE)
        if len(entries) != 3 << header.bits or not all(0 <= entry <= 65535 for entry in entries):
            raise damaged()
        # Some programs write 8-bit entries although the standard says 16.
        table = np.array(entries, np.int64) >> (8 if max(entries) > 255 else 0)
        header.palette = np.ascontiguousarray(table.reshape(3, -1).T.astype(np.uint8))
        header.notices.append("The file's colour palette was expanded to RGB.")
    elif header.bits < 8:
        header.notices.append(f"The file has {header.bits} bit{'s' * (header.bits > 1)} a sample; it is opened with 8.")
    if header.inverted:
        header.notices.append("The file stores white as zero; its values were inverted, so that zero is black.")


def _describe(header: TiffHeader, structure: Structure, entries: dict[int, Entry]) -> None:
    """Fill in the header's profile, resolution and metadata."""

    def raw(tag: int) -> bytes | None:
        return structure.raw(entries[tag]) or None if tag in entries else None

    kept, iptc = blocks.split_resources(raw(Tag.PHOTOSHOP) or b"")
    direct = raw(Tag.IPTC)
    if direct and not direct.startswith(b"\x1c"):
        # IPTC stored as 32-bit numbers in the other byte order.
        direct = structure.data(entries[Tag.IPTC])
    wanted = DESCRIPTIVE | {Tag.EXIF, Tag.GPS}
    exif = read_exif(structure, {tag: entry for tag, entry in entries.items() if tag in wanted})
    tags = structure.tags(entries, STRUCTURAL | DESCRIPTIVE)
    if kept:
        tags[Tag.PHOTOSHOP] = (BYTE, kept)
    header.profile = raw(Tag.PROFILE)
    header.resolution = resolution_of(exif.main)
    block = exif.block() if exif.is_informative else None
    header.metadata = Metadata(
        exif=block, xmp=raw(Tag.XMP), iptc=iptc or (blocks.records(direct) if direct else None), tags=tags
    )
    if structure.has_damage:
        header.notices.append("Some of the file's metadata is damaged or missing and is ignored.")
    if Tag.LAYERS in entries:
        header.notices.append("The file holds Photoshop layers; only the flattened picture is opened and exported.")


def _check_page(page: Any, header: TiffHeader, size: int, tifffile: Any) -> None:
    """Refuse a page that tifffile interprets differently, or whose segments are not all inside the file."""
    if page.compression != Compression.NONE and page.compression not in tifffile.TIFF.DECOMPRESSORS:
        raise Refusal(
            "is compressed in a way that Lacuna cannot read ({compression})",
            "read.compression",
            compression=header.compression,
        )
    same = (page.imagewidth, page.imagelength, page.samplesperpixel) == (header.width, header.height, header.samples)
    if not same or page.imagedepth != 1 or page.bitspersample != header.bits:
        raise damaged()
    if page.is_tiled:
        area = page.tilewidth * page.tilelength
        if area < 1 or area > 4 * header.width * header.height + (1 << 22) or page.tiledepth != 1:
            raise damaged()
    count = int(np.prod(page.chunked))
    if len(page.dataoffsets) < count or len(page.databytecounts) < count:
        raise truncated()
    for offset, length in zip(page.dataoffsets[:count], page.databytecounts[:count], strict=True):
        if offset < 1 or length < 1 or offset + length > size:
            raise truncated()


def _is_plain(page: Any, size: int) -> bool:
    """Whether the samples are stored uncompressed and contiguous."""
    plain = page.is_contiguous and page.fillorder == 1 and page.predictor == 1 and not page.is_subsampled
    if plain and page.dataoffsets[0] + page.nbytes > size:
        raise truncated()
    return bool(plain)


def _read_rows(page: Any, file: BinaryIO, builder: _PictureBuilder) -> Generator[float, None, None]:
    """Read uncompressed samples in blocks of rows; yields the share done."""
    planes, _, height, width, samples = page.shaped
    dtype = np.dtype(page.parent.byteorder + ("u2" if builder.header.bits == 16 else "u1"))
    step = max(1, _ROWS // (width * samples * dtype.itemsize))
    header = builder.header
    if planes == 1 and samples == header.channels and builder.stored.flags.c_contiguous and header.palette is None:
        yield from _read_in_place(page, file, builder, dtype, step)
        return
    file.seek(page.dataoffsets[0])
    buffer = np.empty((min(step, height), width, samples), dtype)
    for plane in range(planes):
        for top in range(0, height, step):
            rows = min(step, height - top)
            _fill(file, buffer[:rows])
            builder.put(buffer[:rows], top, 0, plane)
            yield (plane + (top + rows) / height) / planes


def _read_in_place(
    page: Any, file: BinaryIO, builder: _PictureBuilder, dtype: np.dtype[Any], step: int
) -> Generator[float, None, None]:
    """Read blocks of rows directly into the output array, on two threads; yields the share done.

    A buffer would double the cost: touching fresh memory takes as long as reading.
    """
    start, row = page.dataoffsets[0], builder.stored[0].nbytes

    def read(top: int) -> None:
        block = builder.stored[top : top + step]
        with open_plain(Path(file.name)) as own:
            if not os.path.sameopenfile(own.fileno(), file.fileno()):
                raise Refusal("was replaced while it was being read", "read.replaced")
            own.seek(start + top * row)
            _fill(own, block)
        if not dtype.isnative:
            block.byteswap(inplace=True)
        if builder.header.inverted:
            np.invert(block, out=block)

    tops = range(0, len(builder.stored), step)
    with ThreadPoolExecutor(2, "read") as pool:
        try:
            for done, _ in enumerate(pool.map(read, tops), 1):
                yield done / len(tops)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _fill(file: BinaryIO, block: NDArray[Any]) -> None:
    if file.readinto(block.reshape(-1).view(np.uint8)) != block.nbytes:  # type: ignore[attr-defined]
        raise truncated()


def _read_segments(page: Any, builder: _PictureBuilder) -> Generator[float, None, None]:
    """Decompress strips or tiles on all cores; yields the share done."""

    def put(decoded: tuple[Any, tuple[int, ...], tuple[int, ...]]) -> None:
        segment, (plane, _, top, left, _), _ = decoded
        if segment is None:
            raise truncated()
        builder.put(segment[0], top, left, plane)

    count = int(np.prod(page.chunked))
    workers = min(os.cpu_count() or 1, count, 16)
    with closing(page.segments(func=put, maxworkers=workers, sort=True, buffersize=_ROWS)) as segments:
        for done, _ in enumerate(segments, 1):
            yield done / count
