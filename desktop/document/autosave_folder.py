"""The autosave folder of one open photograph: tiles of old undo steps, and unsaved work for recovery after a crash."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
import threading
import tokenize
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desktop.document.geometry import Geometry
from desktop.document.model import Layer, State
from desktop.document.opening import file_stamp
from desktop.document.project import OpenedFile, Snapshot
from engine import imageio
from engine.errors import ReadError, WriteError
from engine.jobs import JobContext
from engine.raster import TILE
from engine.record import file_digest
from engine.review import review_json
from engine.tiles import TileMap, compact

VERSION = 2
"""Version of the manifest. Version 1 listed turns by name and had only pixel layers, without the kind of content."""
MANIFEST = "manifest.json"
_TILES = "tiles"
_KEY = re.compile("[0-9a-f]{32}")
_LARGEST_TILE = 8 * TILE * TILE * 4 + 1024
"""Bytes of the largest tile, four channels of eight bytes, with its header."""


class AutosaveFolder:
    """Tile files named by digest, and a manifest that refers to them. Files are replaced atomically.

    Any thread. A lock keeps the deletion of unused tiles from removing those that are being written.

    Args:
        folder: created on the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._latest = 0
        self._held: set[str] = set()
        self._intact: set[str] = set()
        self._synced: set[str] = set()
        self._known: dict[int, tuple[NDArray[Any], str]] = {}
        self._digest: tuple[tuple[int, int], str] | None = None

    def put(self, tile: NDArray[Any]) -> str:
        """Keep a tile for an undo step until the photograph is closed, and return its key; equal tiles are stored once.

        Raises:
            WriteError: it cannot be written.
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
        key = _key_of(buffer.getvalue())
        # An existing file may be incomplete: it is trusted only after it was read or written by this object.
        if key not in self._intact and not self._is_intact(key):
            path = self._tile(key)
            _make_folder(path.parent)
            self._write(path, zlib.compress(buffer.getvalue(), 1), durable=False)
        self._intact.add(key)
        return key

    def _is_intact(self, key: str) -> bool:
        try:
            self._read(key)
        except (OSError, ValueError, zlib.error):
            return False
        return True

    def get(self, key: str) -> NDArray[Any]:
        """The tile of a key, read-only.

        Raises:
            ReadError: it is missing or damaged.
        """
        try:
            tile: NDArray[Any] = np.lib.format.read_array(io.BytesIO(self._read(key)), allow_pickle=False)
        except (OSError, ValueError, EOFError, MemoryError, zlib.error, tokenize.TokenError) as error:
            raise ReadError("A part of the saved work is missing or damaged.", "autosave.damaged") from error
        return compact(tile)

    def _read(self, key: str) -> bytes:
        """The bytes of a tile.

        Raises:
            OSError, zlib.error: the file cannot be read.
            ValueError: its contents do not match the key, or ``key`` is malformed.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(key)
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(self._tile(key).read_bytes(), _LARGEST_TILE)
        if unpacker.unconsumed_tail or not unpacker.eof or _key_of(data) != key:
            raise ValueError(key)
        self._intact.add(key)
        return data

    def autosave(self, snapshot: Snapshot, context: JobContext | None = None) -> None:
        """Save a snapshot of a photograph that was opened from a file; the last one stays valid until it is complete.

        A snapshot that is older than the last saved one is ignored.

        Raises:
            WriteError: it cannot be written.
            ReadError: the opened file cannot be read.
            Cancelled: the context was cancelled.
        """
        with self._lock:
            if snapshot.opened is not None and snapshot.number >= self._latest:
                self._save(snapshot, snapshot.opened, context or JobContext())
                self._latest = snapshot.number

    def _save(self, snapshot: Snapshot, opened: OpenedFile, context: JobContext) -> None:
        state = snapshot.state
        keys: set[str] = set()
        known: dict[int, tuple[NDArray[Any], str]] = {}

        def put_all(tiles: TileMap) -> dict[str, str]:
            """Store the tiles of a map; ``"x,y"`` -> key."""
            row = {}
            for (x, y), tile in tiles.stored.items():
                context.check()
                key = row[f"{x},{y}"] = self._put(tile)
                known[id(tile)] = tile, key
                keys.add(key)
            return row

        layers = []
        for number, layer in enumerate(state.layers):
            context.progress(number / len(state.layers), "autosave")
            maps = {name: put_all(tiles) for name, tiles in layer.content.maps().items()}
            layers.append(_layer_json(layer) | {"maps": maps, "mask": put_all(layer.mask)})
        review = state.review
        transform = state.geometry.transform_from(opened.geometry or _opened_geometry(state))
        manifest = {
            "version": VERSION,
            "source": str(opened.path),
            "stamp": opened.stamp,
            "sha256": self._digest_of(opened),
            "motion": {"mirrored": transform.mirrored, "quarters": transform.quarters},
            "mask": put_all(state.mask),
            "review": review_json(review) | {"damage": put_all(review.damage)} if review is not None else None,
            "layers": layers,
        }
        _make_folder(self.folder)
        self._sync(keys - self._synced, context)
        self._write(self.folder / MANIFEST, json.dumps(manifest).encode())
        self._known = known
        self._prune(keys)

    def _write(self, path: Path, data: bytes, *, durable: bool = True) -> None:
        try:
            imageio.atomic_write_bytes(path, data, durable=durable)
        except WriteError as error:
            if error.code == "write.full":
                # The name of a tile tells nobody which disk it is.
                raise WriteError(
                    "There is not enough room on the disk with {folder}.", "write.full", folder=self.folder.parent
                ) from error
            raise

    def _sync(self, keys: set[str], context: JobContext) -> None:
        """Sync some tiles to the disk, so that after a power cut no manifest refers to tiles that were lost."""
        try:
            for key in keys:
                context.check()
                # Windows syncs only files that are open for writing.
                with self._tile(key).open("rb+") as file:
                    os.fsync(file.fileno())
                self._synced.add(key)
            if keys:
                imageio.sync_folder(self.folder / _TILES)
        except OSError as error:
            raise WriteError(
                "The autosave folder cannot be written: {reason}.", "autosave.write", reason=error.strerror
            ) from error

    def forget_work(self) -> None:
        """Delete the autosaved work, but not the tiles of undo steps."""
        with self._lock:
            with contextlib.suppress(OSError):
                (self.folder / MANIFEST).unlink(missing_ok=True)
            self._known = {}
            self._prune(set())

    def remove(self) -> None:
        """Delete the folder: the work was saved or discarded."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _prune(self, needed: set[str]) -> None:
        """Delete the tiles that neither the manifest nor an undo step needs."""
        for path in (self.folder / _TILES).glob("*.z"):
            if path.stem not in needed and path.stem not in self._held:
                self._intact.discard(path.stem)
                self._synced.discard(path.stem)
                with contextlib.suppress(OSError):
                    path.unlink()

    def _digest_of(self, opened: OpenedFile) -> str:
        """SHA-256 of the file as it was opened; empty when it was changed before its digest was taken."""
        if opened.stamp is None:
            return ""
        if (self._digest is None or self._digest[0] != opened.stamp) and file_stamp(opened.path) == opened.stamp:
            self._digest = opened.stamp, file_digest(opened.path)
        return self._digest[1] if self._digest is not None and self._digest[0] == opened.stamp else ""

    def _tile(self, key: str) -> Path:
        return self.folder / _TILES / f"{key}.z"


def _key_of(data: bytes) -> str:
    """The key of a tile: the digest of its bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _opened_geometry(state: State) -> Geometry:
    """The orientation with which the document was opened."""
    return Geometry(state.geometry.width, state.geometry.height)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(
            "The autosave folder cannot be written: {reason}.", "autosave.write", reason=error.strerror
        ) from error


def _layer_json(layer: Layer) -> dict[str, Any]:
    return {
        "id": layer.id,
        "name": layer.name,
        "opacity": layer.opacity,
        "blend": layer.blend.name,
        "visible": layer.visible,
        "content": layer.content.settings() | {"kind": layer.content.kind},
        "made_by": [dataclasses.asdict(repair) for repair in layer.made_by],
    }
