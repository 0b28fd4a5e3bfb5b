"""The project file: OpenRaster that other programs open with the same picture, and Lacuna without loss.

Beside the standard parts, ``lacuna/`` holds what OpenRaster has no place for: the repair mask, the search for damage
and its review, the records, profile and metadata. A layer's PNG carries its mask as alpha; the pixels under alpha 0 are
still there, so nothing is stored twice.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import lzma
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, SubElement, indent, tostring

import numpy as np
from numpy.typing import NDArray

from desktop.document.compose import Composite, flatten
from desktop.document.model import BlendMode, Document, Layer, State
from desktop.document.review import Review, damage_of, review_from_json, review_json, sheet_of
from desktop.document.tiles import TileMap
from engine import colour, imageio
from engine.errors import ReadError
from engine.jobs import JobContext
from engine.raster import TILE, Mask, Metadata, Pixels, Raster, Rect, Resolution
from engine.record import Repair, ScanFile

SUFFIX = ".ora"
LARGEST = 2_000_000_000
"""Pixels of the largest picture that is read."""
_LARGEST_TEXT = 64 << 20
_LONGEST = 100
"""Letters of a file's own words that are repeated in a sentence."""
_MIMETYPE = b"image/openraster"
_OWN = "lacuna/document.json"
_DAMAGE = "lacuna/damage.png"


@dataclass(frozen=True)
class OpenedFile:
    """The file that was opened, which may be a project; autosaved work is laid over it again.

    Attributes:
        path: where it is.
        stamp: see ``session.file_stamp``, when it was opened or last saved over.
        turns: how the picture lay in it, in words of ``State.turns``.
    """

    path: Path
    stamp: tuple[int, int] | None
    turns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """All that is saved of a document.

    Attributes:
        state: the layers and masks.
        profile, resolution, metadata: the scan's.
        scan: the scan's file, for the record.
        opened: what autosaved work is laid over.
        number: snapshots of one photograph are counted.
    """

    state: State
    profile: bytes | None
    resolution: Resolution | None
    metadata: Metadata
    scan: ScanFile | None = None
    opened: OpenedFile | None = None
    number: int = 0

    @classmethod
    def of(cls, document: Document, opened: OpenedFile | None = None, number: int = 0) -> Snapshot:
        """The present state of a document. GUI thread, or whoever owns the document."""
        return cls(
            document.state,
            document.profile,
            document.resolution,
            document.metadata,
            document.scan_file,
            opened,
            number,
        )


@dataclass(frozen=True)
class Project:
    """What a project file holds.

    Attributes:
        scan: the bottom layer with profile, resolution, metadata and notices.
        layers: above it, bottom first.
        mask: the repair mask.
        scan_file: where the scan came from; None in other programs' files.
        own: nothing of the file is lost when it is saved over.
        review: the latest search for damage; None without one.
    """

    scan: Raster
    layers: tuple[Layer, ...]
    mask: TileMap
    scan_file: ScanFile | None = None
    own: bool = False
    review: Review | None = None


def write_project(snapshot: Snapshot, path: Path, context: JobContext | None = None) -> None:
    """Write an OpenRaster file, atomically. Any thread.

    Raises:
        WriteError: it cannot be written; what was there is still there.
        Cancelled: the context was cancelled.
    """
    context = context or JobContext()
    state = snapshot.state
    # Others ask for the profile of an untagged picture or take it for linear, and some know no grey: every PNG is RGB
    # with a profile. What the scan really has stands beside.
    profile = colour.for_rgb(snapshot.profile)
    imageio.check_target(path, [], (SUFFIX,))
    with imageio.atomic_write(path) as partial, zipfile.ZipFile(partial, "w", allowZip64=True) as archive:
        archive.writestr(zipfile.ZipInfo("mimetype"), _MIMETYPE, zipfile.ZIP_STORED)
        stack = _stack_xml(snapshot)
        archive.writestr("stack.xml", stack)
        context.progress(0.0, "saving the scan")
        _put(archive, "data/scan.png", state.scan.read(state.scan.bounds), profile)
        for number, layer in enumerate(state.layers):
            context.progress(0.5 + 0.1 * number / len(state.layers), f"saving {layer.name}")
            _put(archive, _source_of(layer), _with_alpha(layer), profile)
        context.progress(0.6, "saving the merged picture")
        composite = Composite.of(state)
        _put(archive, "mergedimage.png", flatten(composite), profile)
        _put(archive, "Thumbnails/thumbnail.png", _thumbnail(composite, snapshot.profile), None)
        context.progress(0.95, "saving the masks")
        mask = np.ascontiguousarray(state.mask.read(state.mask.bounds))
        archive.writestr("lacuna/mask.png", imageio.encode_png(mask[..., None]), zipfile.ZIP_STORED)
        if state.review is not None:
            archive.writestr(_DAMAGE, imageio.encode_png(sheet_of(state.review.damage)), zipfile.ZIP_STORED)
        parts = {
            "profile.icc": snapshot.profile,
            **{name: getattr(snapshot.metadata, name) for name in ("exif", "xmp", "iptc")},
        }
        for name, data in parts.items():
            if data is not None:
                archive.writestr(f"lacuna/{name}", data, zipfile.ZIP_DEFLATED)
        scan = snapshot.scan.with_digest() if snapshot.scan is not None else None
        own = json.dumps(_own_json(snapshot, scan, stack), indent=1, allow_nan=False)
        archive.writestr(_OWN, own, zipfile.ZIP_DEFLATED)
        context.progress(1.0)


def read_project(path: Path, context: JobContext | None = None) -> Project:
    """Read an OpenRaster file, of Lacuna or of another program. Any thread.

    Raises:
        ReadError: missing, broken or hostile: paths that leave the archive, bombs, impossible sizes.
        Cancelled: the context was cancelled.
    """
    context = context or JobContext()
    if not path.is_file():
        raise ReadError(f"The file {path.name} does not exist.", "read.missing")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_names(archive, path)
            stack = _text(archive, "stack.xml")
            own = _own_part(archive, stack)
            context.progress(0.0, "reading the layers")
            if own is not None:
                return _read_own(archive, own, context)
            return _read_foreign(archive, stack, path, context)
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        OSError,
        EOFError,
        RuntimeError,
        struct.error,
    ) as error:
        raise ReadError(f"{path.name} is not a complete OpenRaster file.", "project.damaged") from error
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, MemoryError) as error:
        # Whatever a damaged description leads to.
        said = f"{path.name} is a damaged OpenRaster file: {str(error)[:_LONGEST]}."
        raise ReadError(said, "project.damaged") from error


# -- writing ------------------------------------------------------------------------------------------------------


def _put(archive: zipfile.ZipFile, name: str, pixels: Pixels, profile: bytes | None) -> None:
    """A picture of 1 to 4 channels as an RGB or RGBA PNG."""
    channels = {1: [0, 0, 0], 2: [0, 0, 0, 1]}.get(pixels.shape[2])
    wide = np.take(pixels, channels, axis=2) if channels else np.ascontiguousarray(pixels)
    archive.writestr(name, imageio.encode_png(wide, profile), zipfile.ZIP_STORED)


def _source_of(layer: Layer) -> str:
    return f"data/layer{layer.id}.png"


def _stack_xml(snapshot: Snapshot) -> bytes:
    state = snapshot.state
    image = Element("image", version="0.0.5", w=str(state.scan.shape[1]), h=str(state.scan.shape[0]))
    if snapshot.resolution is not None:
        image.set("xres", str(round(snapshot.resolution.x)))
        image.set("yres", str(round(snapshot.resolution.y)))
    stack = SubElement(image, "stack")
    for layer in reversed(state.layers):
        extent = _extent(layer)
        SubElement(
            stack,
            "layer",
            {
                "name": layer.name,
                "src": _source_of(layer),
                "x": str(extent.left),
                "y": str(extent.top),
                "opacity": repr(layer.opacity),
                "visibility": "visible" if layer.visible else "hidden",
                "composite-op": layer.blend.value,
            },
        )
    attributes = {"name": "Scan", "src": "data/scan.png", "x": "0", "y": "0", "opacity": "1.0"}
    SubElement(stack, "layer", {**attributes, "visibility": "visible", "composite-op": BlendMode.NORMAL.value})
    indent(image)
    return bytes(tostring(image, encoding="utf-8", xml_declaration=True))


def _extent(layer: Layer) -> Rect:
    """What the layer's PNG covers; an empty layer is one pixel, since a PNG cannot be empty."""
    return layer.pixels.extent() or Rect(0, 0, 1, 1)


def _with_alpha(layer: Layer) -> Pixels:
    """Straight-alpha pixels of a layer's extent: the mask as alpha, 0 where the layer has no pixels."""
    extent, channels = _extent(layer), layer.pixels.shape[2]
    scale = 257 if layer.pixels.dtype == np.uint16 else 1
    result = np.zeros((extent.height, extent.width, channels + 1), layer.pixels.dtype)
    for cell, tile in layer.pixels.stored.items():
        rect = Rect.of_cell(cell) & layer.pixels.bounds
        view = result[rect.slices(extent)]
        view[..., :channels] = tile
        view[..., channels] = layer.mask.read(rect).astype(layer.pixels.dtype) * scale
    return result


def _thumbnail(composite: Composite, profile: bytes | None) -> NDArray[np.uint8]:
    height, width, _ = composite.shape
    level = next((k for k in range(7) if max(width, height) >> k <= 512), 6)
    small = composite.read(Rect(0, 0, -(-width >> level), -(-height >> level)), level)
    step = -(-max(small.shape[:2]) // 256)
    return colour.to_screen(np.ascontiguousarray(small[::step, ::step]), profile)


def _own_json(snapshot: Snapshot, scan: ScanFile | None, stack: bytes) -> dict[str, Any]:
    state, resolution = snapshot.state, snapshot.resolution
    layers = [
        {
            "id": layer.id,
            "name": layer.name,
            "src": _source_of(layer),
            "x": _extent(layer).left,
            "y": _extent(layer).top,
            "opacity": layer.opacity,
            "blend": layer.blend.name,
            "visible": layer.visible,
            "cells": sorted(layer.pixels.stored),
            "made_by": [dataclasses.asdict(repair) for repair in layer.made_by],
        }
        for layer in state.layers
    ]
    return {
        "version": 1,
        "stack": hashlib.sha256(stack).hexdigest(),
        "scan": {"path": str(scan.path), "sha256": scan.sha256} if scan is not None else None,
        "tags": {
            str(number): [kind, base64.b64encode(data).decode()]
            for number, (kind, data) in snapshot.metadata.tags.items()
        },
        "grey": state.scan.shape[2] == 1,
        "resolution": [resolution.x, resolution.y] if resolution else None,
        "layers": layers,
        "review": _review_row(state.review) if state.review is not None else None,
    }


def _review_row(review: Review) -> dict[str, Any]:
    return review_json(review) | {"cells": sorted(review.damage.stored)}


# -- reading ------------------------------------------------------------------------------------------------------


def _check_names(archive: zipfile.ZipFile, path: Path) -> None:
    for entry in archive.infolist():
        parts = entry.filename.replace("\\", "/").split("/")
        if entry.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
            raise ReadError(f"{path.name} holds a path that leaves the archive and is not opened.", "project.hostile")


def _text(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _LARGEST_TEXT:
        raise ReadError(f"{name[:_LONGEST]} in the project file is impossibly large.", "project.hostile")
    return archive.read(name)


def _png(archive: zipfile.ZipFile, name: str, largest: int = LARGEST) -> Pixels:
    """A picture of the archive of at most so many pixels; its size is checked before anything is unpacked."""
    entry = archive.getinfo(name)
    with archive.open(entry) as file:
        width, height = struct.unpack(">16xII", file.read(24))
    if not 0 < width * height <= largest or entry.file_size > 8 * width * height + (1 << 20):
        raise ReadError(f"{name[:_LONGEST]} in the project file is impossibly large.", "project.hostile")
    return imageio.decode_png(archive.read(entry), largest)


def _own_part(archive: zipfile.ZipFile, stack: bytes) -> dict[str, Any] | None:
    """Lacuna's own description, if there is one and no other program changed the layers since."""
    if _OWN not in archive.namelist():
        return None
    own = json.loads(_text(archive, _OWN))
    if not isinstance(own, dict) or own.get("stack") != hashlib.sha256(stack).hexdigest():
        return None
    return own


def _read_own(archive: zipfile.ZipFile, own: dict[str, Any], context: JobContext) -> Project:
    def part(name: str) -> bytes | None:
        return _text(archive, f"lacuna/{name}") if f"lacuna/{name}" in archive.namelist() else None

    notices: list[str] = []
    dots, grey = own.get("resolution"), bool(own.get("grey"))
    pixels = _png(archive, "data/scan.png")
    if pixels.shape[2] != 3:
        raise ReadError("The scan in the project file is not an RGB picture.", "project.scan")
    scan = Raster(
        pixels[..., :1].copy() if grey else pixels,
        _usable(part("profile.icc"), 1 if grey else 3, notices),
        imageio.sensible_resolution(float(dots[0]), float(dots[1])) if dots else None,
        Metadata(exif=part("exif"), xmp=part("xmp"), iptc=part("iptc"), tags=_tags(own.get("tags", {}))),
    )
    area = scan.width * scan.height
    if len({int(row["id"]) for row in own["layers"]}) < len(own["layers"]):
        raise ReadError("Two layers of the project file have the same number.", "project.layer")
    layers = []
    for number, row in enumerate(own["layers"]):
        context.progress(0.3 + 0.6 * number / len(own["layers"]), "reading the layers")
        layer = Layer(
            id=int(row["id"]),
            name=str(row["name"]),
            pixels=TileMap.empty(scan.pixels.shape, scan.pixels.dtype, holes=True),
            mask=TileMap.empty(scan.pixels.shape[:2], np.uint8),
            opacity=min(1.0, max(0.0, float(row["opacity"]))),
            blend=BlendMode[row["blend"]],
            visible=bool(row["visible"]),
            made_by=tuple(Repair.from_dict(repair) for repair in row["made_by"]),
        )
        cells = [(int(x), int(y)) for x, y in row["cells"]]
        png = _png(archive, row["src"], area)
        layers.append(_with_pixels(layer, png[..., [0, -1]] if grey else png, int(row["x"]), int(row["y"]), cells))
    mask = TileMap.empty(scan.pixels.shape[:2], np.uint8)
    mask = _filled(mask, _png(archive, "lacuna/mask.png", area)[..., 0])
    origin = own.get("scan")
    scan_file = ScanFile(Path(str(origin["path"])), str(origin["sha256"])) if origin else None
    review = _read_review(archive, own["review"], mask) if own.get("review") else None
    scan = dataclasses.replace(scan, notices=tuple(notices))
    return Project(scan, tuple(layers), mask, scan_file, own=True, review=review)


def _usable(profile: bytes | None, channels: int, notices: list[str]) -> bytes | None:
    """A profile if it can be used; one of another picture's kind, or a broken one, would fail at every repaint."""
    if profile is None or colour.fits(profile, channels):
        return profile
    notices.append("The colour profile in the project file is damaged or of another kind and is ignored.")
    return None


def _read_review(archive: zipfile.ZipFile, row: dict[str, Any], mask: TileMap) -> Review:
    cells = [(int(x), int(y)) for x, y in row["cells"]]
    # The sheet is nearly square: at most a row of tiles more than it holds.
    sheet = _png(archive, _DAMAGE, 2 * TILE**2 * max(1, len(cells)))
    height, width = mask.shape
    return review_from_json(row, damage_of(sheet, cells, (height, width)))


def _tags(table: dict[str, Any]) -> dict[int, tuple[int, Any]]:
    return {int(number): (int(kind), base64.b64decode(data)) for number, (kind, data) in table.items()}


def _with_pixels(layer: Layer, png: Pixels, x: int, y: int, cells: list[tuple[int, int]]) -> Layer:
    """A layer with the given cells filled from a straight-alpha picture at (x, y)."""
    channels, dtype = layer.pixels.shape[2], layer.pixels.dtype
    if png.shape[2] != channels + 1 or png.dtype != dtype:
        raise ReadError(f"The layer {layer.name[:_LONGEST]!r} is of another kind than the scan.", "project.layer")
    extent = Rect(x, y, x + png.shape[1], y + png.shape[0])
    pixels, mask = layer.pixels.edit(), layer.mask.edit()
    for cell in cells:
        rect = Rect.of_cell(cell) & layer.pixels.bounds & extent
        if rect:
            part = png[rect.slices(extent)]
            pixels.write(rect, part[..., :channels])
            mask.write(rect, (part[..., channels] >> (8 if dtype == np.uint16 else 0)).astype(np.uint8))
    return dataclasses.replace(
        layer, pixels=pixels.commit().applied(layer.pixels), mask=mask.commit().applied(layer.mask)
    )


def _filled(tiles: TileMap, array: Mask) -> TileMap:
    if array.shape != tiles.shape:
        raise ReadError("The repair mask in the project file is of another size than the scan.", "project.mask")
    edit = tiles.edit()
    rows, columns = np.flatnonzero(array.any(axis=1)), np.flatnonzero(array.any(axis=0))
    if len(rows):
        rect = Rect(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        edit.write(rect, array[rect.slices()])
    return edit.commit().applied(tiles)


def _read_foreign(archive: zipfile.ZipFile, stack: bytes, path: Path, context: JobContext) -> Project:
    """Another program's file: its lowest layer is the scan if it is whole, else the merged picture stands alone."""
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        image = fromstring(stack, forbid_dtd=True)
    except (ParseError, DefusedXmlException) as error:
        raise ReadError(f"The layer list of {path.name} is damaged or hostile.", "project.xml") from error
    width, height = int(image.get("w", "0")), int(image.get("h", "0"))
    if width < 1 or height < 1 or width * height > LARGEST:
        raise ReadError(f"{path.name} claims to be {width} x {height} px, which cannot be.", "project.size")
    rows = list(image.iter("layer"))
    notices: list[str] = []
    flat = len(list(image.iter("stack"))) == 1 and bool(rows) and _covers(rows[-1])
    bottom = _png(archive, rows[-1].get("src", ""), width * height) if flat else np.zeros((0, 0, 3), np.uint8)
    opaque = bottom.shape[2] in (1, 3) or bool((bottom[..., -1] == np.iinfo(bottom.dtype).max).all())
    name = rows[-1].get("src", "") if rows else ""
    if not flat or not opaque or bottom.shape[:2] != (height, width):
        notices.append(
            "The layers of this file are arranged in a way Lacuna does not know; the merged picture was opened."
        )
        name, rows = "mergedimage.png", []
        bottom = _png(archive, name, width * height)
    colours = bottom.shape[2] - (bottom.shape[2] in (2, 4))
    profile = _usable(imageio.png_profile(archive.read(name)), colours, notices)
    pixels = np.ascontiguousarray(bottom[..., :colours])
    layers = []
    for number, row in enumerate(reversed(rows[:-1])):
        context.progress(0.3 + 0.6 * number / len(rows), "reading the layers")
        layers.append(_foreign_layer(archive, row, number + 1, pixels, notices))
    scan = Raster(pixels, profile, notices=tuple(notices))
    return Project(scan, tuple(layers), TileMap.empty(pixels.shape[:2], np.uint8))


def _covers(row: Element) -> bool:
    """Whether a layer is shown whole: in place, visible, opaque and normal."""
    return (
        row.get("x", "0") == row.get("y", "0") == "0"
        and row.get("visibility", "visible") == "visible"
        and float(row.get("opacity", "1")) == 1.0
        and row.get("composite-op", BlendMode.NORMAL.value) == BlendMode.NORMAL.value
    )


def _foreign_layer(archive: zipfile.ZipFile, row: Element, id_: int, scan: Pixels, notices: list[str]) -> Layer:
    png = _png(archive, row.get("src", ""), 4 * scan.shape[0] * scan.shape[1])
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
        pixels=TileMap.empty(scan.shape, dtype, holes=True),
        mask=TileMap.empty(scan.shape[:2], np.uint8),
        opacity=min(1.0, max(0.0, float(row.get("opacity", "1")))),
        blend=blend,
        visible=row.get("visibility", "visible") == "visible",
    )
    x, y = int(row.get("x", "0")), int(row.get("y", "0"))
    rect = Rect(x, y, x + png.shape[1], y + png.shape[0]) & Rect.of_shape(scan.shape)
    return _with_pixels(layer, png, x, y, list(rect.cells()))
