"""The session folder of one open photograph: old undo steps, and the autosaved work that survives a crash."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import shutil
import threading
import tokenize
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desktop.document.edits import Turn, turned, turns_between
from desktop.document.model import BlendMode, Document, Layer
from desktop.document.project import SUFFIX, OpenedFile, Snapshot, read_project
from desktop.document.review import Review, review_from_json, review_json
from desktop.document.tiles import TileMap, compact
from engine import imageio, tables
from engine.errors import ReadError, WriteError
from engine.jobs import JobContext
from engine.record import Repair, ScanFile, file_digest, read_scan

_MANIFEST = "manifest.json"
_TILES = "tiles"
_LARGEST_TILE = 8 << 20
"""Bytes that a tile may unpack to, far more than any has."""


class Session:
    """Tiles by their digest, and a manifest that names them. Files are replaced whole; they survive a killed program.

    Any thread may write; a lock sees to it that tidying up never meets tiles that nobody names yet.

    Args:
        folder: made on the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._latest = 0
        self._held: set[str] = set()
        self._known: dict[int, tuple[NDArray[Any], str]] = {}
        self._digest: tuple[tuple[int, int], str] | None = None

    def put(self, tile: NDArray[Any]) -> str:
        """Keep a tile until the session ends, for an undo step; the same contents are kept once.

        Raises:
            WriteError: the disk does not take it.
        """
        with self._lock:
            key = self._put(tile)
            self._held.add(key)
        return key

    def _put(self, tile: NDArray[Any]) -> str:
        known = self._known.get(id(tile))
        if known is not None:
            return known[1]
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(tile), allow_pickle=False)
        key = hashlib.blake2b(buffer.getvalue(), digest_size=16).hexdigest()
        path = self._tile(key)
        if not path.exists():
            _make_folder(path.parent)
            # Not waited for: what a power cut takes, the digest's reader notices.
            imageio.atomic_write_bytes(path, zlib.compress(buffer.getvalue(), 1), durable=False)
        return key

    def get(self, key: str) -> NDArray[Any]:
        """A tile that was put, read-only.

        Raises:
            ReadError: it is missing or damaged.
        """
        try:
            data = zlib.decompressobj().decompress(self._tile(key).read_bytes(), _LARGEST_TILE)
            # What is not the tile that was put is not looked into.
            sound = io.BytesIO(data if hashlib.blake2b(data, digest_size=16).hexdigest() == key else b"")
            tile: NDArray[Any] = np.lib.format.read_array(sound, allow_pickle=False)
        except (OSError, ValueError, EOFError, MemoryError, zlib.error, tokenize.TokenError) as error:
            raise ReadError("A part of the saved work is missing or damaged.", "session.damaged") from error
        return compact(tile)

    def autosave(self, snapshot: Snapshot, context: JobContext | None = None) -> None:
        """Save a snapshot that belongs to an opened file; until it is complete, the one before stays the valid one.

        An older snapshot than the last one that was saved is left.

        Raises:
            WriteError: the disk does not take it.
            ReadError: the opened file cannot be read.
            Cancelled: the context was cancelled.
        """
        with self._lock:
            if snapshot.opened is not None and snapshot.number >= self._latest:
                self._save(snapshot, snapshot.opened, context or JobContext())
                self._latest = snapshot.number

    def _save(self, snapshot: Snapshot, opened: OpenedFile, context: JobContext) -> None:
        state = snapshot.state
        maps = [tiles for layer in state.layers for tiles in (layer.pixels, layer.mask)] + [state.mask]
        maps += [state.review.damage] if state.review is not None else []
        saved: list[dict[str, str]] = []
        known: dict[int, tuple[NDArray[Any], str]] = {}
        for done, tiles in enumerate(maps):
            context.progress(done / len(maps), "autosave")
            saved.append({})
            for (x, y), tile in tiles.stored.items():
                key = saved[-1][f"{x},{y}"] = self._put(tile)
                known[id(tile)] = tile, key
        manifest = {
            "version": 1,
            "source": str(opened.path),
            "stamp": opened.stamp,
            "sha256": self._digest_of(opened),
            "turns": turns_between(opened.turns, state.turns),
            "mask": saved[2 * len(state.layers)],
            "review": review_json(state.review) | {"damage": saved[-1]} if state.review is not None else None,
            "layers": [
                _layer_json(layer) | {"pixels": saved[2 * i], "mask": saved[2 * i + 1]}
                for i, layer in enumerate(state.layers)
            ],
        }
        _make_folder(self.folder)
        imageio.atomic_write_bytes(self.folder / _MANIFEST, json.dumps(manifest).encode())
        self._known = known
        self._prune({key for part in saved for key in part.values()})

    def forget_work(self) -> None:
        """Forget the autosaved work, but not the undo steps."""
        with self._lock:
            with contextlib.suppress(OSError):
                (self.folder / _MANIFEST).unlink(missing_ok=True)
            self._known = {}
            self._prune(set())

    def remove(self) -> None:
        """Forget everything: the work was saved or given up."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _prune(self, needed: set[str]) -> None:
        """Delete the tiles that neither the manifest nor an undo step needs."""
        for path in (self.folder / _TILES).glob("*.z"):
            if path.stem not in needed and path.stem not in self._held:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _digest_of(self, opened: OpenedFile) -> str:
        """Of the file as it was opened; empty when it is another by now and was never looked at."""
        if opened.stamp is None:
            return ""
        if (self._digest is None or self._digest[0] != opened.stamp) and file_stamp(opened.path) == opened.stamp:
            self._digest = opened.stamp, file_digest(opened.path)
        return self._digest[1] if self._digest is not None and self._digest[0] == opened.stamp else ""

    def _tile(self, key: str) -> Path:
        return self.folder / _TILES / f"{key}.z"


@dataclass(frozen=True)
class Recovered:
    """Autosaved work.

    Attributes:
        document: the scan with the layers and masks as they were saved.
        source: the scan's or project's file.
    """

    document: Document
    source: Path


def autosaved_source(folder: Path) -> Path | None:
    """The photograph that a session folder holds autosaved work for; None when it holds none."""
    try:
        source = tables.parse_json((folder / _MANIFEST).read_bytes())["source"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return Path(source) if source and isinstance(source, str) else None


def recover(folder: Path, context: JobContext | None = None) -> Recovered:
    """Open a photograph with the work that was autosaved for it.

    Raises:
        ReadError: the photograph is gone, changed or of another size, or the saved work is damaged.
        Cancelled: the context was cancelled.
    """
    context = context or JobContext()
    session = Session(folder)
    source = autosaved_source(folder)
    if source is None:
        raise ReadError("There is no autosaved work in this folder.", "session.none")
    try:
        manifest = tables.parse_json((folder / _MANIFEST).read_bytes())
        if not source.is_file():
            raise ReadError(
                f"The work on {source.name} was saved, but the picture is not at {source} any more.", "session.gone"
            )
        stamp = file_stamp(source)
        same = stamp is not None and list(stamp) == manifest["stamp"]
        # A file that was only copied or touched is still the same picture.
        if not same and (not manifest["sha256"] or file_digest(source) != manifest["sha256"]):
            raise ReadError(f"{source} was changed since the work on it was saved.", "session.changed")
        document = open_document(source, context)
        state = document.state
        for name in manifest["turns"]:
            state = turned(state, Turn[name])
        layers = tuple(_layer_from_json(row, state.scan, session) for row in manifest["layers"])
        mask = _filled(TileMap.empty(state.scan.shape[:2], np.uint8), manifest["mask"], session)
        review = _review_from_json(manifest.get("review"), state.scan, session)
        document.restore(dataclasses.replace(state, layers=layers, mask=mask, review=review))
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, OSError) as error:
        raise ReadError("The autosaved work is damaged.", "session.damaged") from error
    return Recovered(document, source)


def open_document(path: Path, context: JobContext | None = None) -> Document:
    """Read a scan or a project file as a document. Any thread.

    Raises:
        ReadError: it cannot be read.
        Cancelled: the context was cancelled.
    """
    stamp = file_stamp(path)
    if path.suffix.lower() == SUFFIX:
        document = open_project(path, context)
    else:
        raster, scan_file = read_scan(path, context)
        document = Document(raster)
        document.scan_file = scan_file
    document.stamp = stamp
    return document


def open_project(path: Path, context: JobContext | None = None) -> Document:
    """Read a project file as a document, whatever its name ends in. Any thread.

    Raises:
        ReadError: it cannot be read.
        Cancelled: the context was cancelled.
    """
    project = read_project(path, context)
    document = Document(project.scan)
    document.scan_file = project.scan_file or ScanFile(path)
    document.own_project = project.own
    state = dataclasses.replace(document.state, layers=project.layers, mask=project.mask, review=project.review)
    document.restore(state)
    return document


def file_stamp(path: Path) -> tuple[int, int] | None:
    """Size and time of change of a file; None when it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"The session folder cannot be written: {error.strerror}.", "session.write") from error


def _layer_json(layer: Layer) -> dict[str, Any]:
    return {
        "id": layer.id,
        "name": layer.name,
        "opacity": layer.opacity,
        "blend": layer.blend.name,
        "visible": layer.visible,
        "made_by": [dataclasses.asdict(repair) for repair in layer.made_by],
    }


def _layer_from_json(row: dict[str, Any], scan: TileMap, session: Session) -> Layer:
    return Layer(
        id=int(row["id"]),
        name=str(row["name"]),
        pixels=_filled(TileMap.empty(scan.shape, scan.dtype, holes=True), row["pixels"], session),
        mask=_filled(TileMap.empty(scan.shape[:2], np.uint8), row["mask"], session),
        opacity=min(1.0, max(0.0, float(row["opacity"]))),
        blend=BlendMode[row["blend"]],
        visible=bool(row["visible"]),
        made_by=tuple(Repair.from_dict(repair) for repair in row["made_by"]),
    )


def _review_from_json(row: dict[str, Any] | None, scan: TileMap, session: Session) -> Review | None:
    if row is None:
        return None
    return review_from_json(row, _filled(TileMap.empty((*scan.shape[:2], 2), np.uint8), row["damage"], session))


def _filled(tiles: TileMap, saved: Mapping[str, str], session: Session) -> TileMap:
    changes: dict[tuple[int, int], NDArray[Any] | None] = {}
    for cell, key in saved.items():
        x, y = (int(part) for part in cell.split(","))
        tile = session.get(key)
        if tile.shape != tiles.tile((x, y)).shape or tile.dtype != tiles.dtype:
            raise ReadError("The autosaved work does not fit the picture.", "session.size")
        changes[x, y] = tile
    return tiles.with_tiles(changes)
