"""Checks whether pictures are as their records say, and whether they are their scans outside of the repairs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine import imageio
from engine.errors import EngineError, ReadError, Words
from engine.jobs import JobContext
from engine.raster import Pixels, Raster, Rect
from engine.record import LOCAL, REPORT_FOLDER, SOURCE_TYPES, SUFFIX, Repair, file_digest, read_record, read_scan
from engine.tiling import strips

_ROWS = 256
"""Rows that are compared at a time."""


@dataclass(frozen=True)
class Misfit:
    """Something that is not as a record says.

    Attributes:
        path: the picture, or a record without one, or a folder that cannot be read.
        reason: a sentence, without the path.
    """

    path: Path
    reason: Words | EngineError


@dataclass(frozen=True)
class Verification:
    """The result of ``verify``.

    Attributes:
        pictures: number of pictures that were looked at, with those that have no record.
        unrecorded: pictures without a record.
        misfits: everything else that does not fit.
        uncompared: number of pictures whose samples cannot be compared with those of their scans, because the format,
            depth or profile of the picture changed all samples.
    """

    pictures: int
    unrecorded: tuple[Path, ...]
    misfits: tuple[Misfit, ...]
    uncompared: int

    @property
    def fits(self) -> bool:
        """Whether there are pictures, and all are as their records say."""
        return bool(self.pictures) and not self.unrecorded and not self.misfits


def verify(target: Path, source: Path | None = None, context: JobContext | None = None) -> Verification:
    """Check pictures against their records and their scans. Reads files only. Any thread.

    Of each picture: whether it has a record, and whether its bytes are those that the record was written for. With a
    source also: whether the bytes of the scan are those that were repaired; whether as many samples differ as the
    record says; and, when only parts of the picture were repaired, whether every sample outside of them is the scan's.

    Args:
        target: a picture, or a folder, which is walked to the bottom; links to folders are not followed.
        source: the scan, or a folder of scans in the same subfolders; the records have the names of the scans.
        context: progress and cancellation.

    Raises:
        ReadError: ``read.missing``: the target or the source does not exist.
        Cancelled: the context was cancelled.
    """
    used = context or JobContext()
    for path in (target, source):
        if path is not None and not os.path.lexists(path):
            raise ReadError(
                "{file} does not exist in {folder}.", "read.missing", file=path.name, folder=path.absolute().parent
            )
    misfits: list[Misfit] = []
    pictures = _walk(target, misfits) if target.is_dir() else [target]
    unrecorded, uncompared = [], 0
    for done, picture in enumerate(pictures):
        part = used.part(done / len(pictures), (done + 1) / len(pictures))
        part.progress(0.0, picture.name)
        try:
            record = _Told.of(picture)
            scan = _scan_of(picture, record, target, source) if source is not None else None
            found, compared = _check(picture, record, scan, part)
            misfits += [Misfit(picture, reason) for reason in found]
            uncompared += not compared
        except EngineError as error:
            if error.code == "record.missing":
                unrecorded.append(picture)
            else:
                misfits.append(Misfit(picture, error))
    return Verification(len(pictures), tuple(unrecorded), tuple(misfits), uncompared)


def _walk(folder: Path, misfits: list[Misfit]) -> list[Path]:
    """The pictures below a folder, sorted; appends folders that cannot be read and records without a picture."""

    def locked(error: OSError) -> None:
        said = "The folder cannot be read: {reason}."
        misfits.append(Misfit(Path(error.filename), Words(said, reason=error.strerror or error)))

    pictures = []
    for place, folders, files in os.walk(folder, onerror=locked):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != REPORT_FOLDER)
        known = set(files)
        for name in sorted(name for name in files if not name.startswith(".")):
            if name.lower().endswith(imageio.READABLE):
                pictures.append(Path(place, name))
            elif name.endswith(SUFFIX) and name.removesuffix(SUFFIX) not in known:
                misfits.append(Misfit(Path(place, name), Words("The picture of this record is missing.")))
    return pictures


@dataclass(frozen=True)
class _Told:
    """What a record says that can be checked.

    Attributes:
        sha256: digest of the picture.
        scan: file name of the scan; empty if unknown.
        scan_sha256: its digest; empty if unknown.
        kept: whether the picture's file has the samples of the repaired picture as they are.
        changed: number of samples that differ between scan and picture.
        areas: rectangles of the picture outside of which no sample differs; None = anywhere.
        mirrored, quarters: how the scan was turned, as ``record.Edited``.
    """

    sha256: str
    scan: str
    scan_sha256: str
    kept: bool
    changed: int
    areas: tuple[Rect, ...] | None
    mirrored: bool
    quarters: int

    @classmethod
    def of(cls, picture: Path) -> _Told:
        """Read the record of a picture; raises ReadError as ``read_record``, also when entries are missing."""
        record = read_record(picture)
        try:
            written, source, turned = record["written"], record["source"] or {}, record.get("turned") or {}
            return cls(
                str(written["sha256"]),
                str(source.get("file") or ""),
                str(source.get("sha256") or ""),
                written.get("samples_kept") is True,
                int(record["samples_changed"]),
                _areas(record),
                bool(turned.get("mirrored")),
                int(turned.get("quarters", 0)),
            )
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError, ReadError) as error:
            said = "The record of {file} is damaged: an entry is missing or impossible."
            raise ReadError(said, "record.damaged", file=picture.name) from error


def _areas(record: dict[str, Any]) -> tuple[Rect, ...] | None:
    """Where the record allows changes; None = anywhere, because a repair was of the whole picture."""
    repairs = [Repair.from_dict(table) for table in record["repairs"]]
    if any(repair.task not in LOCAL for repair in repairs):
        return None
    if "areas" in record:
        return tuple(Rect(*map(int, area)) for area in record["areas"])
    return tuple(Rect(*box) for repair in repairs if repair.task in SOURCE_TYPES for box in repair.boxes)


def _scan_of(picture: Path, told: _Told, target: Path, source: Path) -> Path:
    """The scan of a picture: the source itself, or the file in its folder that the record names.

    Raises:
        ReadError: the record names none, or the file does not exist.
    """
    if not source.is_dir():
        return source
    if not told.scan:
        raise ReadError("The record does not say which scan the picture was made of.", "verify.scan")
    folder = source / picture.parent.relative_to(target) if target.is_dir() else source
    # A record from elsewhere may name a path.
    scan = folder / Path(told.scan).name
    # Path.is_file raises for names that no file can have.
    if not os.path.isfile(scan):  # noqa: PTH113
        raise ReadError("Its scan {scan} is not in {folder}.", "verify.scan", scan=scan.name, folder=folder)
    return scan


def _check(picture: Path, told: _Told, scan: Path | None, context: JobContext) -> tuple[list[Words], bool]:
    """What does not fit of one picture, and whether its samples could be compared if there is a scan."""
    other = Words("It is not the file that its record was written for: its SHA-256 differs.")
    if scan is None:
        return ([other] if file_digest(picture) != told.sha256 else []), True
    result, file = read_scan(picture, context.part(0.0, 0.4))
    found = [other] if file.with_digest().sha256 != told.sha256 else []
    before, file = read_scan(scan, context.part(0.4, 0.8))
    if not told.scan_sha256:
        found.append(Words("The record does not say of which bytes the scan consisted."))
    elif file.with_digest().sha256 != told.scan_sha256:
        said = "{scan} is not the scan that was repaired: its SHA-256 differs from the one in the record."
        return [*found, Words(said, scan=scan.name)], True
    if told.kept:
        found += _differences(before, result, told, context.part(0.8, 1.0))
    return found, told.kept


def _differences(scan: Raster, result: Raster, told: _Told, context: JobContext) -> Iterator[Words]:
    """What differs between a scan and its picture, other than the record says."""
    before = np.rot90(scan.pixels[:, ::-1] if told.mirrored else scan.pixels, told.quarters)
    after = _without_repeats(result.pixels, scan.channels)
    if before.dtype != after.dtype:
        said = "It has {own} bits a sample and its scan {bits}, but its record says that samples were kept."
        yield Words(said, own=result.depth, bits=scan.depth)
        return
    changed, outside, first = after.size, 0, (0, 0)
    if before.shape == after.shape:
        changed, outside, first = _count(before, after, told.areas, context)
    elif told.areas is not None:
        yield Words("It has another size than its scan, but its record tells of no enlarging.")
    if outside:
        said = "{count} samples outside of the repaired places differ from the scan, the first at {x}, {y}."
        yield Words(said, count=outside, x=first[0], y=first[1])
    if changed != told.changed:
        said = "{count} samples differ from the scan, and its record says {told}."
        yield Words(said, count=changed, told=told.changed)


def _without_repeats(pixels: Pixels, channels: int) -> Pixels:
    """One channel of a grey picture in a format that has only RGB; other pictures unchanged."""
    if channels == 1 and all(np.array_equal(pixels[..., 0], pixels[..., plane]) for plane in range(pixels.shape[2])):
        return pixels[..., :1]
    return pixels


def _count(
    before: Pixels, after: Pixels, areas: tuple[Rect, ...] | None, context: JobContext
) -> tuple[int, int, tuple[int, int]]:
    """Samples that differ, those of them outside of all areas, and (x, y) of the first one of these."""
    bounds, changed, outside, first = Rect.of_shape(before.shape), 0, 0, (0, 0)
    for strip in strips(bounds, _ROWS):
        context.progress(strip.top / bounds.height, "comparing")
        differs = before[strip.slices()] != after[strip.slices()]
        changed += int(np.count_nonzero(differs))
        if areas is None:
            continue
        for area in areas:
            if shared := area & strip:
                differs[shared.slices(strip)] = False
        beyond = int(np.count_nonzero(differs))
        if beyond and not outside:
            y, x, _ = (int(values[0]) for values in np.nonzero(differs))
            first = strip.left + x, strip.top + y
        outside += beyond
    return changed, outside, first
