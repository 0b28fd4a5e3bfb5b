"""Opens a photograph with the unsaved work that was autosaved for it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desktop.document.autosave_folder import MANIFEST, VERSION, AutosaveFolder
from desktop.document.blend import BlendMode
from desktop.document.content import PixelContent, content_from
from desktop.document.edits import transform_state
from desktop.document.geometry import Transform, Turn
from desktop.document.model import Document, Layer, State
from desktop.document.opening import file_stamp, open_document
from engine import tables
from engine.errors import ReadError
from engine.jobs import JobContext
from engine.record import Repair, file_digest
from engine.review import Review, review_from_json
from engine.tiles import TileMap


@dataclass(frozen=True)
class Recovered:
    """A photograph with its autosaved work.

    Attributes:
        document: the scan with the autosaved layers and masks.
        source: the file of the scan or project on which the work is based.
    """

    document: Document
    source: Path


def autosaved_source(folder: Path) -> Path | None:
    """The file of the photograph whose unsaved work is in an autosave folder; None when there is no work in it."""
    try:
        source = tables.parse_json((folder / MANIFEST).read_bytes())["source"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return Path(source) if source and isinstance(source, str) else None


def holds_work(folder: Path) -> bool:
    """Whether an autosave folder holds unsaved work, readable or not."""
    return os.path.lexists(folder / MANIFEST)


def recover(folder: Path, context: JobContext | None = None) -> Recovered:
    """Open a photograph with the work that was autosaved for it.

    Missing or damaged tiles are left out, and a notice says how many.

    Raises:
        ReadError: the photograph is missing, changed or of another size, or the saved work is damaged or was saved by a
            newer version of Lacuna.
        Cancelled: the context was cancelled.
    """
    context = context or JobContext()
    source = autosaved_source(folder)
    if source is None:
        raise ReadError("There is no autosaved work in this folder.", "autosave.none")
    try:
        manifest = tables.parse_json((folder / MANIFEST).read_bytes())
        if manifest["version"] > VERSION:
            raise ReadError(
                "The work on {file} was autosaved by a newer version of Lacuna, which can open it. It is kept.",
                "autosave.newer",
                file=source.name,
            )
        _check_source(source, manifest)
        document = open_document(source, context)
        tiles = _Tiles(AutosaveFolder(folder))
        state = transform_state(document.state, _transform(manifest, document.state), context)
        layers = tuple(_layer_from_json(row, state.scan, tiles) for row in manifest["layers"])
        mask = tiles.fill(TileMap.empty(state.scan.shape[:2], np.uint8), manifest["mask"])
        review = _review_from_json(manifest.get("review"), state.scan, tiles)
        document.restore(dataclasses.replace(state, layers=layers, mask=mask, review=review))
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, OSError) as error:
        raise ReadError("The autosaved work is damaged.", "autosave.damaged") from error
    if tiles.lost:
        document.notices = (
            *document.notices,
            f"{tiles.lost} of the autosaved parts are damaged; there the work is missing.",
        )
    return Recovered(document, source)


def _check_source(source: Path, manifest: dict[str, Any]) -> None:
    """Refuse a photograph that is not the one for which the work was done."""
    if not os.path.isfile(source):  # noqa: PTH113 - never raises
        raise ReadError(
            "The work on {file} was saved, but the picture is not at {source} any more.",
            "autosave.gone",
            file=source.name,
            source=source,
        )
    stamp = file_stamp(source)
    same = stamp is not None and list(stamp) == manifest["stamp"]
    # A copied or touched file has another stamp but the same digest.
    if not same and (not manifest["sha256"] or file_digest(source) != manifest["sha256"]):
        raise ReadError("{source} was changed since the work on it was saved.", "autosave.changed", source=source)


def _transform(manifest: dict[str, Any], state: State) -> Transform:
    """The transform from the orientation in the file to the one in which the work was saved."""
    geometry = state.geometry
    if manifest["version"] == 1:
        for name in manifest["turns"]:
            geometry = geometry.turned(Turn[name])
        return geometry.transform_from(state.geometry)
    row = manifest["motion"]
    return Transform(state.scan.bounds, bool(row["mirrored"]), int(row["quarters"]) % 4)


def _layer_from_json(row: dict[str, Any], scan: TileMap, tiles: _Tiles) -> Layer:
    # Version 1 had only pixel layers.
    settings = dict(row.get("content", {"kind": PixelContent.kind}))
    kind = str(settings.pop("kind"))
    saved = row["maps"] if "maps" in row else {"pixels": row["pixels"]}
    maps = {
        str(name): tiles.fill(TileMap.empty(scan.shape, scan.dtype, holes=True), cells) for name, cells in saved.items()
    }
    return Layer(
        id=int(row["id"]),
        name=str(row["name"]),
        content=content_from(kind, settings, maps),
        mask=tiles.fill(TileMap.empty(scan.shape[:2], np.uint8), row["mask"]),
        opacity=min(1.0, max(0.0, float(row["opacity"]))),
        blend=BlendMode[row["blend"]],
        visible=bool(row["visible"]),
        made_by=tuple(Repair.from_dict(repair) for repair in row["made_by"]),
    )


def _review_from_json(row: dict[str, Any] | None, scan: TileMap, tiles: _Tiles) -> Review | None:
    if row is None:
        return None
    return review_from_json(row, tiles.fill(TileMap.empty((*scan.shape[:2], 2), np.uint8), row["damage"]))


class _Tiles:
    """Reads the tiles of a manifest.

    Attributes:
        lost: number of tiles that could not be read so far.
    """

    def __init__(self, folder: AutosaveFolder) -> None:
        self._folder = folder
        self.lost = 0

    def fill(self, tiles: TileMap, saved: Mapping[str, str]) -> TileMap:
        """A map with the saved tiles, ``"x,y"`` -> key.

        Raises:
            ReadError: a tile can be read but has another size or type than the map.
        """
        changes: dict[tuple[int, int], NDArray[Any] | None] = {}
        for cell, key in saved.items():
            x, y = (int(part) for part in cell.split(","))
            try:
                tile = self._folder.get(key)
            except ReadError:
                self.lost += 1
                continue
            if tile.shape != tiles.tile((x, y)).shape or tile.dtype != tiles.dtype:
                raise ReadError("The autosaved work does not fit the picture.", "autosave.size")
            changes[x, y] = tile
        return tiles.with_tiles(changes)
