"""The record written beside each exported picture: what was changed, where, by which model and settings."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine import __version__, tables
from engine.errors import ReadError
from engine.imageio import COMPOSITE, ENHANCED, FileDigest, open_plain, read_hashed, read_plain
from engine.jobs import JobContext
from engine.raster import Pixels, Raster, Rect
from engine.resources import package_version

SUFFIX = ".record.json"
REPORT_FOLDER = "lacuna-report"
"""Folder below the results of a batch that holds its table, its report and small pictures without records."""
_LARGEST = 256 << 20
"""Larger records are refused, bytes; a record lists every damage that was healed."""
SOURCE_TYPES = {"heal": COMPOSITE, "clean": ENHANCED, "tone": ENHANCED, "upscale": ENHANCED}
"""The kind of change that each task makes to a picture, as a digital source type; the others change nothing."""
LOCAL = frozenset({"heal", "detect", "faces"})
"""Tasks that change no sample outside of the boxes of their repair."""


@dataclass(frozen=True)
class ScanFile:
    """The file that a picture was read from.

    Attributes:
        path: its path at that time; the file may have been replaced or deleted since.
        sha256: digest of the bytes from which the picture was decoded; empty if unknown.
        pending: the digest while it is being computed; see ``with_digest``.
    """

    path: Path
    sha256: str = ""
    pending: FileDigest | None = field(default=None, compare=False)

    def with_digest(self) -> ScanFile:
        """Wait for the digest and return a copy that has it, or has none if it could not be computed. Any thread."""
        if self.sha256 or self.pending is None:
            return self
        return ScanFile(self.path, self.pending.value())


def read_scan(path: Path, context: JobContext | None = None) -> tuple[Raster, ScanFile]:
    """Read a scan, together with its file's identity for the record. Raises as ``imageio.read``. Any thread."""
    raster, digest = read_hashed(path, context)
    return raster, ScanFile(path, pending=digest)


@dataclass(frozen=True)
class Repair:
    """One repair of a picture, as an entry of the record.

    Attributes:
        task: name of the task.
        model, version, checksum: id, version and SHA-256 of the model.
        device: where the model ran.
        settings: the task's settings.
        boxes: the repaired damages, (left, top, right, bottom) in pixels of the picture at that time, with all pixels
            around them over which the repair was enlarged or faded out. No other pixels were changed by a local repair.
        recipe: name of the recipe that it was a step of; empty for none.
    """

    task: str
    model: str
    version: str
    checksum: str
    device: str
    settings: dict[str, Any] = field(default_factory=dict)
    boxes: tuple[tuple[int, int, int, int], ...] = ()
    recipe: str = ""

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> Repair:
        """The inverse of ``dataclasses.asdict``, also after a round trip through JSON.

        Raises:
            ReadError: entries are missing or of the wrong type.
        """
        try:
            boxes = tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in table.get("boxes", ()))
            words = {name: str(table[name]) for name in ("task", "model", "version", "checksum", "device")}
            recipe = str(table.get("recipe", ""))
            return cls(**words, settings=dict(table.get("settings", {})), boxes=boxes, recipe=recipe)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise ReadError("The record of a repair in this file is damaged.", "record.damaged") from error


@dataclass(frozen=True)
class Edited:
    """Where a picture that was edited by hand may differ from its scan.

    Attributes:
        areas: rectangles of the picture; outside of them it is the scan.
        mirrored: the scan was first mirrored left to right,
        quarters: and then rotated to the left by this many quarter turns, 0..3.
    """

    areas: tuple[Rect, ...]
    mirrored: bool = False
    quarters: int = 0

    def facts(self) -> dict[str, Any]:
        """The entries of the record, as JSON data."""
        boxes = [[area.left, area.top, area.right, area.bottom] for area in self.areas]
        return {"areas": boxes, "turned": {"mirrored": self.mirrored, "quarters": self.quarters}}


def samples_changed(scan: Pixels, result: Pixels) -> int:
    """Number of samples that differ between a picture before and after; all of them if its shape differs."""
    if scan is result:
        return 0
    return result.size if scan.shape != result.shape else int(np.count_nonzero(scan != result))


def make_record(
    command: str,
    source: ScanFile | None,
    repairs: list[Repair],
    scan: Pixels,
    result: Pixels,
    changed: int,
    edited: Edited | None = None,
) -> dict[str, Any]:
    """The record of an export, as JSON data.

    Args:
        command: name of the command, for example ``heal`` or ``export``.
        source: the scan's file with its digest; None if it is unknown.
        repairs: in the order in which they were made.
        scan: the picture before, (h, w, c).
        result: the picture after, of the same sample type.
        changed: ``samples_changed`` of both.
        edited: where a picture from the window may differ; None: only where its repairs are.
    """
    recipes = dict.fromkeys(repair.recipe for repair in repairs if repair.recipe)
    return {
        "program": f"lacuna {__version__}",
        "command": command,
        "source": {"file": source.path.name, "sha256": source.sha256 or None} if source is not None else None,
        "size": [int(scan.shape[1]), int(scan.shape[0])],
        "samples_changed": changed,
        "share_changed": changed / result.size,
        **({"recipe": ", ".join(recipes)} if recipes else {}),
        "repairs": [dataclasses.asdict(repair) for repair in repairs],
        **(edited.facts() if edited is not None else {}),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "onnxruntime": package_version("onnxruntime-gpu", "onnxruntime"),
        },
    }


def record_path(target: Path) -> Path:
    """Path of a picture's record: ``NAME.EXT.record.json`` beside it."""
    return target.with_name(target.name + SUFFIX)


def record_bytes(record: dict[str, Any]) -> bytes:
    """The contents of a record's file."""
    # File names may hold bytes that are not valid UTF-8.
    return (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode(errors="backslashreplace")


def record_matches(target: Path) -> bool | None:
    """Whether the record beside a picture has this picture's digest; None if it has no digest or cannot be read.

    Raises:
        ReadError: the picture cannot be read.
    """
    try:
        told = read_record(target)["written"]["sha256"]
    except (ReadError, LookupError, TypeError):
        return None
    return bool(file_digest(target) == told)


def read_record(target: Path) -> dict[str, Any]:
    """The record beside a picture, as JSON data; which entries it has is not checked.

    Raises:
        ReadError: ``record.missing``, ``record.read`` or ``record.damaged``.
    """
    path = record_path(target)
    try:
        record = tables.parse_json(read_plain(path, _LARGEST))
    except FileNotFoundError as error:
        raise ReadError("{file} has no record beside it.", "record.missing", file=target.name) from error
    except OSError as error:
        said = "The record of {file} cannot be read: {reason}."
        raise ReadError(said, "record.read", file=target.name, reason=error.strerror or error) from error
    except ValueError as error:
        said = "The record of {file} is damaged: {reason}."
        raise ReadError(said, "record.damaged", file=target.name, reason=error) from error
    if not isinstance(record, dict):
        raise ReadError("The record of {file} is damaged: it is no table.", "record.damaged", file=target.name)
    return record


def remove_record(target: Path) -> None:
    """Delete the record beside a picture, if there is one and it can be deleted."""
    with contextlib.suppress(OSError):
        record_path(target).unlink(missing_ok=True)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises:
        ReadError: it cannot be read.
    """
    try:
        with open_plain(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ReadError(
            "{file} cannot be read: {reason}.", "read.failed", file=path.name, reason=error.strerror
        ) from error
