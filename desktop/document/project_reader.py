"""Reads OpenRaster files: those of Lacuna without loss, those of other programs as far as they are supported."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import lzma
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import numpy as np

from desktop.document.blend import BlendMode
from desktop.document.content import PixelContent, content_from
from desktop.document.model import Layer
from desktop.document.project import DAMAGE, MASK, OWN, VERSION, layer_mask_name
from engine import colour, imageio, tables
from engine.errors import ReadError
from engine.jobs import JobContext
from engine.raster import TILE, Mask, Metadata, Pixels, Raster, Rect
from engine.record import Repair, ScanFile
from engine.review import Review, review_from_json, unpack_damage
from engine.tiles import TileMap

LARGEST = 2_000_000_000
"""Pixels of the largest picture that is read."""
_MOST_UNPACKED = 4 * LARGEST
"""Pixels that all pictures of one file may have in total."""
_LARGEST_TEXT = 64 << 20
_KNOWN = {"version", "stack", "scan", "tags", "grey", "resolution", "layers", "review"}
"""The known keys of ``lacuna/document.json``."""


@dataclass(frozen=True)
class Project:
    """What a project file holds.

    Attributes:
        scan: the bottom layer with profile, resolution, metadata and notices.
        layers: above it, bottom first.
        mask: the repair mask.
        scan_file: the scan's file; None for files of other programs.
        own: nothing of the file is lost when it is overwritten.
        newer: a newer version of Lacuna wrote it, so it must not be overwritten.
        review: the latest search for damage; None without one.
    """

    scan: Raster
    layers: tuple[Layer, ...]
    mask: TileMap
    scan_file: ScanFile | None = None
    own: bool = False
    newer: bool = False
    review: Review | None = None


def read_project(path: Path, context: JobContext | None = None) -> Project:
    """Read an OpenRaster file, of Lacuna or of another program. Any thread.

    Of a file that a newer version of Lacuna wrote only the standard OpenRaster parts are read, and a notice says so.

    Raises:
        ReadError: it is missing, damaged or hostile: paths outside the archive, decompression bombs, impossible sizes.
        Cancelled: the context was cancelled.
    """
    context = context or JobContext()
    if not path.is_file():
        raise ReadError("The file {file} does not exist.", "read.missing", file=path.name)
    try:
        with zipfile.ZipFile(path) as file:
            archive = _Archive(file)
            archive.check_names(path)
            stack = archive.text("stack.xml")
            own = _own_part(archive)
            context.progress(0.0, "reading the layers")
            # Checked first: a newer version may describe its layers differently.
            if own is not None and _version(own) > VERSION:
                return _read_newer(archive, stack, path, context)
            if own is None or own.get("stack") != hashlib.sha256(stack).hexdigest():
                # Another program changed the layers since.
                return _read_foreign(archive, stack, path, context)
            return _read_own(archive, own, path, context)
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        OSError,
        EOFError,
        RuntimeError,
        struct.error,
    ) as error:
        raise ReadError("{file} is not a complete OpenRaster file.", "project.damaged", file=path.name) from error
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, MemoryError) as error:
        # What a damaged description can raise.
        raise ReadError(
            "{file} is a damaged OpenRaster file: {reason}.", "project.damaged", file=path.name, reason=error
        ) from error


class _Archive:
    """The parts of a project file, with limits on what is unpacked. Methods raise KeyError where a part is missing."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self._unpacked = 0
        self.names = frozenset(file.namelist())

    def check_names(self, path: Path) -> None:
        """Refuse an archive with absolute paths or paths that contain ``..``."""
        for name in self.names:
            parts = name.replace("\\", "/").split("/")
            if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
                raise ReadError(
                    "{file} holds a path that leaves the archive and is not opened.", "project.hostile", file=path.name
                )

    def text(self, name: str) -> bytes:
        """The bytes of a small part; ReadError if it is too large."""
        if self._file.getinfo(name).file_size > _LARGEST_TEXT:
            raise ReadError("{name} in the project file is impossibly large.", "project.hostile", name=name)
        return self._file.read(name)

    def own(self, name: str) -> bytes | None:
        """A small part under ``lacuna/``; None where there is none."""
        return self.text(f"lacuna/{name}") if f"lacuna/{name}" in self.names else None

    def picture(self, name: str, largest: int = LARGEST) -> Pixels:
        """Decode a PNG of at most ``largest`` pixels; its size is checked before anything is unpacked."""
        entry = self._file.getinfo(name)
        with self._file.open(entry) as file:
            width, height = struct.unpack(">16xII", file.read(24))
        self._unpacked += width * height
        too_large = entry.file_size > 8 * width * height + (1 << 20) or self._unpacked > _MOST_UNPACKED
        if not 0 < width * height <= largest or too_large:
            raise ReadError("{name} in the project file is impossibly large.", "project.hostile", name=name)
        return imageio.decode_png(self._file.read(entry), largest)

    def profile(self, name: str) -> bytes | None:
        """The colour profile of a PNG."""
        return imageio.png_profile(self._file.read(name))


# -- Lacuna's own -------------------------------------------------------------------------------------------------


def _own_part(archive: _Archive) -> dict[str, Any] | None:
    """The content of ``lacuna/document.json``; None if there is none."""
    own = tables.parse_json(archive.text(OWN)) if OWN in archive.names else None
    return own if isinstance(own, dict) else None


def _version(own: dict[str, Any]) -> int:
    version = own["version"]
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError("its version is no number")
    return version


def _read_own(archive: _Archive, own: dict[str, Any], path: Path, context: JobContext) -> Project:
    scan = _own_scan(archive, own)
    if len({int(row["id"]) for row in own["layers"]}) < len(own["layers"]):
        raise ReadError("Two layers of the project file have the same number.", "project.layer")
    if len({row["src"] for row in own["layers"]}) < len(own["layers"]):
        raise ReadError("Two layers of the project file share one picture.", "project.layer")
    layers = []
    for number, row in enumerate(own["layers"]):
        context.progress(0.3 + 0.6 * number / len(own["layers"]), "reading the layers")
        layers.append(_own_layer(archive, row, scan.pixels))
    mask = TileMap.empty(scan.pixels.shape[:2], np.uint8)
    mask = _fill(mask, archive.picture(MASK, scan.width * scan.height)[..., 0])
    origin = own.get("scan")
    scan_file = ScanFile(Path(str(origin["path"])), str(origin["sha256"])) if origin else None
    review = _read_review(archive, own["review"], mask) if own.get("review") else None
    unknown = sorted(own.keys() - _KNOWN)
    if unknown:
        lost = (
            f"{path.name} holds parts that this version of Lacuna does not know ({', '.join(unknown)}). "
            "They are lost when it is saved over."
        )
        scan = dataclasses.replace(scan, notices=(*scan.notices, lost))
    return Project(scan, tuple(layers), mask, scan_file, own=not unknown, review=review)


def _own_scan(archive: _Archive, own: dict[str, Any]) -> Raster:
    grey, dots, notices = bool(own.get("grey")), own.get("resolution"), list[str]()
    pixels = archive.picture("data/scan.png")
    if pixels.shape[2] != 3:
        raise ReadError("The scan in the project file is not an RGB picture.", "project.scan")
    tags = {int(number): (int(kind), base64.b64decode(data)) for number, (kind, data) in own.get("tags", {}).items()}
    return Raster(
        pixels[..., :1].copy() if grey else pixels,
        _usable_profile(archive.own("profile.icc"), 1 if grey else 3, notices),
        imageio.sensible_resolution(float(dots[0]), float(dots[1])) if dots else None,
        Metadata(exif=archive.own("exif"), xmp=archive.own("xmp"), iptc=archive.own("iptc"), tags=tags),
        tuple(notices),
    )


def _usable_profile(profile: bytes | None, channels: int, notices: list[str]) -> bytes | None:
    """The profile, or None and a notice if it is damaged or not for this number of channels: repaints would fail."""
    if profile is None or colour.fits(profile, channels):
        return profile
    notices.append("The colour profile in the project file is damaged or of another kind and is ignored.")
    return None


def _own_layer(archive: _Archive, row: dict[str, Any], scan: Pixels) -> Layer:
    # Version 1 had only pixel layers.
    settings = dict(row.get("content", {"kind": PixelContent.kind}))
    kind, area = str(settings.pop("kind")), scan.shape[0] * scan.shape[1]
    pixels = TileMap.empty(scan.shape, scan.dtype, holes=True)
    mask = TileMap.empty(scan.shape[:2], np.uint8)
    layer = Layer(
        id=int(row["id"]),
        name=str(row["name"]),
        content=content_from(kind, settings, {"pixels": pixels} if kind == PixelContent.kind else {}),
        mask=mask,
        opacity=min(1.0, max(0.0, float(row["opacity"]))),
        blend=BlendMode[row["blend"]],
        visible=bool(row["visible"]),
        made_by=tuple(Repair.from_dict(repair) for repair in row["made_by"]),
    )
    if not layer.has_pixels:
        values = archive.picture(layer_mask_name(layer.id), area)[..., 0]
        return dataclasses.replace(layer, mask=_fill(mask, values))
    cells = [(int(x), int(y)) for x, y in row["cells"]]
    png = archive.picture(row["src"], area)
    grey = scan.shape[2] == 1
    return _with_pixels(layer, png[..., [0, -1]] if grey else png, int(row["x"]), int(row["y"]), cells)


def _read_review(archive: _Archive, row: dict[str, Any], mask: TileMap) -> Review:
    cells = [(int(x), int(y)) for x, y in row["cells"]]
    # The sheet is nearly square, so it has at most one row of empty tiles.
    sheet = archive.picture(DAMAGE, 2 * TILE**2 * max(1, len(cells)))
    height, width = mask.shape
    return review_from_json(row, unpack_damage(sheet, cells, (height, width)))


def _with_pixels(layer: Layer, png: Pixels, x: int, y: int, cells: list[tuple[int, int]]) -> Layer:
    """A layer with the given cells filled from a straight-alpha picture at (x, y)."""
    channels, dtype = layer.pixels.shape[2], layer.pixels.dtype
    if png.shape[2] != channels + 1 or png.dtype != dtype:
        raise ReadError("The layer {layer!r} is of another kind than the scan.", "project.layer", layer=layer.name)
    extent = Rect(x, y, x + png.shape[1], y + png.shape[0])
    pixels, mask = layer.pixels.edit(), layer.mask.edit()
    for cell in cells:
        rect = Rect.of_cell(cell) & layer.pixels.bounds & extent
        if rect:
            part = png[rect.slices(extent)]
            pixels.write(rect, part[..., :channels])
            mask.write(rect, (part[..., channels] >> (8 if dtype == np.uint16 else 0)).astype(np.uint8))
    return layer.with_pixels(pixels.commit().apply_to(layer.pixels), mask.commit().apply_to(layer.mask))


def _fill(tiles: TileMap, array: Mask) -> TileMap:
    """An empty map filled with an array of its size; ReadError for another size."""
    if array.shape != tiles.shape:
        raise ReadError("A mask in the project file is of another size than the scan.", "project.mask")
    edit = tiles.edit()
    rows, columns = np.flatnonzero(array.any(axis=1)), np.flatnonzero(array.any(axis=0))
    if len(rows):
        rect = Rect(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        edit.write(rect, array[rect.slices()])
    return edit.commit().apply_to(tiles)


# -- other programs' ----------------------------------------------------------------------------------------------


def _read_newer(archive: _Archive, stack: bytes, path: Path, context: JobContext) -> Project:
    """Read a file of a newer version of Lacuna as other programs do: only the standard parts."""
    project = _read_foreign(archive, stack, path, context)
    said = (
        f"{path.name} was saved by a newer version of Lacuna. Its layers are shown as far as this version knows them; "
        "masks and defects are left out, and it cannot be saved over. Save your work under another name."
    )
    scan = dataclasses.replace(project.scan, notices=(said, *project.scan.notices))
    return dataclasses.replace(project, scan=scan, newer=True)


def _read_foreign(archive: _Archive, stack: bytes, path: Path, context: JobContext) -> Project:
    """Read another program's file.

    Its lowest layer becomes the scan if it covers the picture and is opaque; otherwise the merged picture becomes the
    scan, without layers.
    """
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        image = fromstring(stack, forbid_dtd=True)
    except (ParseError, DefusedXmlException) as error:
        raise ReadError("The layer list of {file} is damaged or hostile.", "project.xml", file=path.name) from error
    width, height = int(image.get("w", "0")), int(image.get("h", "0"))
    if width < 1 or height < 1 or width * height > LARGEST:
        raise ReadError(
            "{file} claims to be {width} x {height} px, which cannot be.",
            "project.size",
            file=path.name,
            width=width,
            height=height,
        )
    rows = list(image.iter("layer"))
    notices: list[str] = []
    flat = len(list(image.iter("stack"))) == 1 and bool(rows) and _is_plain(rows[-1])
    # Otherwise a small file could have any number of layers made of one large picture.
    flat = flat and len({row.get("src", "") for row in rows}) == len(rows)
    bottom = archive.picture(rows[-1].get("src", ""), width * height) if flat else np.zeros((0, 0, 3), np.uint8)
    opaque = bottom.shape[2] in (1, 3) or bool((bottom[..., -1] == np.iinfo(bottom.dtype).max).all())
    name = rows[-1].get("src", "") if rows else ""
    if not flat or not opaque or bottom.shape[:2] != (height, width):
        notices.append(
            "The layers of this file are arranged in a way Lacuna does not know; the merged picture was opened."
        )
        name, rows = "mergedimage.png", []
        bottom = archive.picture(name, width * height)
    colours = bottom.shape[2] - (bottom.shape[2] in (2, 4))
    profile = _usable_profile(archive.profile(name), colours, notices)
    pixels = np.ascontiguousarray(bottom[..., :colours])
    layers = []
    for number, row in enumerate(reversed(rows[:-1])):
        context.progress(0.3 + 0.6 * number / len(rows), "reading the layers")
        layers.append(_foreign_layer(archive, row, number + 1, pixels, notices))
    scan = Raster(pixels, profile, notices=tuple(notices))
    return Project(scan, tuple(layers), TileMap.empty(pixels.shape[:2], np.uint8))


def _is_plain(row: Element) -> bool:
    """Whether a layer is at the origin, visible, opaque and in normal blend mode."""
    return (
        row.get("x", "0") == row.get("y", "0") == "0"
        and row.get("visibility", "visible") == "visible"
        and float(row.get("opacity", "1")) == 1.0
        and row.get("composite-op", BlendMode.NORMAL.value) == BlendMode.NORMAL.value
    )


def _foreign_layer(archive: _Archive, row: Element, id_: int, scan: Pixels, notices: list[str]) -> Layer:
    png = archive.picture(row.get("src", ""), 4 * scan.shape[0] * scan.shape[1])
    dtype = scan.dtype
    if png.dtype != dtype:
        png = imageio.to_depth(png, dtype.itemsize * 8)
    if png.shape[2] in (1, 3):
        png = np.concatenate([png, np.full_like(png[..., :1], np.iinfo(dtype).max)], axis=2)
    if png.shape[2] == 2 and scan.shape[2] == 3:
        png = png[..., [0, 0, 0, 1]]
    try:
        blend = BlendMode(row.get("composite-op", "svg:src-over"))
    except ValueError:
        blend = BlendMode.NORMAL
        notices.append(
            f"The blend mode of the layer {row.get('name', id_)!r} is not known here; it is shown as normal."
        )
    layer = Layer(
        id=id_,
        name=row.get("name", f"Layer {id_}"),
        content=PixelContent(TileMap.empty(scan.shape, dtype, holes=True)),
        mask=TileMap.empty(scan.shape[:2], np.uint8),
        opacity=min(1.0, max(0.0, float(row.get("opacity", "1")))),
        blend=blend,
        visible=row.get("visibility", "visible") == "visible",
    )
    x, y = int(row.get("x", "0")), int(row.get("y", "0"))
    rect = Rect(x, y, x + png.shape[1], y + png.shape[0]) & Rect.of_shape(scan.shape)
    return _with_pixels(layer, png, x, y, list(rect.cells()))
