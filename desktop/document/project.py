"""Writes project files: OpenRaster, which other programs show the same way and Lacuna reads back without loss.

Besides the standard parts, ``lacuna/`` holds what OpenRaster has no place for: the repair mask, the search for damage
and its review, the records, profile and metadata. A layer's PNG has the mask as alpha channel and keeps the pixels
under alpha 0, so nothing is stored twice.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np
from numpy.typing import NDArray

from desktop.document.blend import BlendMode
from desktop.document.compose import Composite, flatten
from desktop.document.geometry import Geometry
from desktop.document.model import Document, Layer, State
from engine import colour, imageio
from engine.errors import WriteError
from engine.jobs import JobContext
from engine.raster import Metadata, Pixels, Rect, Resolution
from engine.record import ScanFile
from engine.review import Review, pack_damage, review_json

SUFFIX = ".ora"
VERSION = 2
"""Version of the parts under ``lacuna/``. A program must not overwrite a file of a newer version than its own.
Version 1 had only pixel layers, without the kind of their content."""
OWN, MASK, DAMAGE = "lacuna/document.json", "lacuna/mask.png", "lacuna/damage.png"
_MIMETYPE = b"image/openraster"


@dataclass(frozen=True)
class OpenedFile:
    """The file, scan or project, that was opened. Autosaved work is recovered on top of it.

    Attributes:
        path: of the file.
        stamp: ``opening.file_stamp`` when it was opened or last overwritten.
        geometry: orientation of the picture in it; None = as the document was opened.
    """

    path: Path
    stamp: tuple[int, int] | None
    geometry: Geometry | None = None


@dataclass(frozen=True)
class Snapshot:
    """All that is saved of a document. Immutable; any thread.

    Attributes:
        state: the layers and masks.
        profile, resolution, metadata: of the scan.
        scan: the scan's file, for the record.
        opened: the file on which autosaved work is based.
        number: counts the snapshots of one photograph, so that an older one never replaces a newer one.
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
        """A snapshot of a document. On the thread that owns the document.

        Args:
            document: what is saved.
            opened: see the class.
            number: see the class.
        """
        return cls(
            document.state,
            document.profile,
            document.resolution,
            document.metadata,
            document.scan_file,
            opened,
            number,
        )


def write_project(snapshot: Snapshot, path: Path, context: JobContext | None = None) -> None:
    """Write an OpenRaster file, atomically. Any thread.

    Raises:
        WriteError: it cannot be written; what was there is still there.
        Cancelled: the context was cancelled.
    """
    try:
        _write(snapshot, path, context or JobContext())
    except MemoryError as error:
        raise WriteError("There is not enough free memory to write {file}.", "write.memory", file=path.name) from error


def _write(snapshot: Snapshot, path: Path, context: JobContext) -> None:
    state = snapshot.state
    # Some programs ask for the profile of an untagged picture or assume linear values, and some cannot read grey: so
    # every PNG is RGB with a profile. The scan's own profile is stored under ``lacuna/``.
    profile = colour.for_rgb(snapshot.profile)
    imageio.check_target(path, [], (SUFFIX,))
    with imageio.atomic_write(path) as partial, zipfile.ZipFile(partial, "w", allowZip64=True) as archive:
        archive.writestr(zipfile.ZipInfo("mimetype"), _MIMETYPE, zipfile.ZIP_STORED)
        stack = _stack_xml(snapshot)
        archive.writestr("stack.xml", stack)
        context.progress(0.0, "saving the scan")
        _write_png(archive, "data/scan.png", state.scan.read(state.scan.bounds), profile)
        for number, layer in enumerate(state.layers):
            context.progress(0.5 + 0.1 * number / len(state.layers), f"saving {layer.name}")
            _write_png(archive, _png_name(layer), _with_alpha(layer), profile)
        context.progress(0.6, "saving the merged picture")
        composite = Composite.of(state)
        _write_png(archive, "mergedimage.png", flatten(composite), profile)
        _write_png(archive, "Thumbnails/thumbnail.png", _thumbnail(composite, snapshot.profile), None)
        context.progress(0.95, "saving the masks")
        mask = np.ascontiguousarray(state.mask.read(state.mask.bounds))
        archive.writestr(MASK, imageio.encode_png(mask[..., None]), zipfile.ZIP_STORED)
        for layer in (layer for layer in state.layers if not layer.has_pixels):
            # A pixel layer's mask is the alpha channel of its PNG.
            alone = np.ascontiguousarray(layer.mask.read(layer.mask.bounds))
            archive.writestr(layer_mask_name(layer.id), imageio.encode_png(alone[..., None]), zipfile.ZIP_STORED)
        if state.review is not None:
            archive.writestr(DAMAGE, imageio.encode_png(pack_damage(state.review.damage)), zipfile.ZIP_STORED)
        parts = {
            "profile.icc": snapshot.profile,
            **{name: getattr(snapshot.metadata, name) for name in ("exif", "xmp", "iptc")},
        }
        for name, data in parts.items():
            if data is not None:
                archive.writestr(f"lacuna/{name}", data, zipfile.ZIP_DEFLATED)
        scan = snapshot.scan.with_digest() if snapshot.scan is not None else None
        own = json.dumps(_own_json(snapshot, scan, stack), indent=1, allow_nan=False)
        archive.writestr(OWN, own, zipfile.ZIP_DEFLATED)
        context.progress(1.0)


def layer_mask_name(id_: int) -> str:
    """Name in the archive of the mask of a layer without pixels."""
    return f"lacuna/mask{id_}.png"


def _write_png(archive: zipfile.ZipFile, name: str, pixels: Pixels, profile: bytes | None) -> None:
    """Add a picture of 1 to 4 channels to the archive, as an RGB or RGBA PNG."""
    channels = {1: [0, 0, 0], 2: [0, 0, 0, 1]}.get(pixels.shape[2])
    wide = np.take(pixels, channels, axis=2) if channels else np.ascontiguousarray(pixels)
    archive.writestr(name, imageio.encode_png(wide, profile), zipfile.ZIP_STORED)


def _png_name(layer: Layer) -> str:
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
                "src": _png_name(layer),
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
    """The rectangle of the layer's PNG; one pixel for an empty layer, because a PNG cannot be empty."""
    return (layer.pixels.extent() if layer.has_pixels else Rect(0, 0, 0, 0)) or Rect(0, 0, 1, 1)


def _with_alpha(layer: Layer) -> Pixels:
    """The pixels of a layer's extent with the mask as straight alpha, (h, w, c + 1); 0 where it has no pixels."""
    extent = _extent(layer)
    if not layer.has_pixels:
        return np.zeros((extent.height, extent.width, 4), np.uint8)
    channels, dtype = layer.pixels.shape[2], layer.pixels.dtype
    scale = 257 if dtype == np.uint16 else 1
    result = np.zeros((extent.height, extent.width, channels + 1), dtype)
    for cell, tile in layer.pixels.stored.items():
        rect = Rect.of_cell(cell) & layer.pixels.bounds
        view = result[rect.slices(extent)]
        view[..., :channels] = tile
        view[..., channels] = layer.mask.read(rect).astype(dtype) * scale
    return result


def _thumbnail(composite: Composite, profile: bytes | None) -> NDArray[np.uint8]:
    height, width, _ = composite.shape
    level = next((k for k in range(7) if max(width, height) >> k <= 512), 6)
    small = composite.read(composite.scan.bounds_at(level), level)
    step = -(-max(small.shape[:2]) // 256)
    return colour.to_screen(np.ascontiguousarray(small[::step, ::step]), profile)


def _own_json(snapshot: Snapshot, scan: ScanFile | None, stack: bytes) -> dict[str, Any]:
    state, resolution = snapshot.state, snapshot.resolution
    layers = [
        {
            "id": layer.id,
            "name": layer.name,
            "src": _png_name(layer),
            "x": _extent(layer).left,
            "y": _extent(layer).top,
            "opacity": layer.opacity,
            "blend": layer.blend.name,
            "visible": layer.visible,
            "content": layer.content.settings() | {"kind": layer.content.kind},
            "cells": sorted(layer.pixels.stored) if layer.has_pixels else [],
            "made_by": [dataclasses.asdict(repair) for repair in layer.made_by],
        }
        for layer in state.layers
    ]
    return {
        "version": VERSION,
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
