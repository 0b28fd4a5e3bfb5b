"""Writing results: from a scan's file to a result's file with its record, for the window and the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine import colour, imageio
from engine.errors import ReadError, SettingsError
from engine.imageio import WriteOptions, Written
from engine.jobs import JobContext
from engine.raster import Metadata, Pixels, Raster
from engine.record import (
    SOURCE_TYPES,
    SUFFIX,
    Edited,
    Repair,
    ScanFile,
    make_record,
    read_scan,
    record_bytes,
    record_path,
    remove_record,
    samples_changed,
)


@dataclass(frozen=True)
class Output:
    """How a result is written.

    Attributes:
        path: the file.
        options: depth, quality, compression.
        profile: ``keep``, ``srgb``, or the path of an ICC file to convert to.
        record: whether the record is written beside it.
        facts: further entries of the record, JSON data.
    """

    path: Path
    options: WriteOptions = field(default_factory=WriteOptions)
    profile: str = "keep"
    record: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files that writing reads: that of the profile."""
        return () if self.profile in ("keep", "srgb") else (Path(self.profile),)


def write_result(
    result: Raster,
    output: Output,
    *,
    scan: Pixels,
    source: ScanFile | None,
    repairs: list[Repair],
    command: str,
    context: JobContext | None = None,
    repair_notices: Sequence[str] = (),
    edited: Edited | None = None,
) -> tuple[str, ...]:
    """Write a result and its record, which holds the digest of the written file. Any thread.

    Args:
        result: the picture to write, in the scan's depth and profile.
        output: where and how.
        scan: the pixels before the repairs, of the same type; tells how many samples were changed. If none was, the
            metadata is not told of repairs.
        source: the scan's file, never written to; its digest, if known, goes into the record.
        repairs: the repairs, for the record.
        command: name of the command that writes, for the record.
        context: progress and cancellation.
        repair_notices: what was said of the repairs, for the record.
        edited: where a picture from the window may differ from the scan, for the record; None: only where its repairs
            are.

    Returns:
        Sentences about what the format cannot hold.

    Raises:
        WriteError: the file cannot be written, or it is the scan or the profile itself; no partial file is left.
        SettingsError: the profile cannot be used.
        Cancelled: the context was cancelled.
    """
    context = context or JobContext()
    check_place(output, [source.path] if source is not None else [])
    converted = _convert_to_profile(result, output.profile)
    changed = samples_changed(scan, result.pixels)
    metadata, term, unfit = _with_source_type(result.metadata, repairs if changed else [])
    labelled = replace(converted, metadata=metadata)
    if not output.record:
        notices = imageio.write(labelled, output.path, output.options, context)
        # An existing record describes the replaced picture.
        remove_record(output.path)
        return *unfit, *notices
    # Everything that can fail is done before writing starts.
    known = source.with_digest() if source is not None else None
    record = make_record(command, known, repairs, scan, result.pixels, changed, edited)
    depth = imageio.stored_depth(output.path, output.options.depth or result.depth)
    kept = converted is result and depth == result.depth and imageio.is_lossless(output.path, output.options)

    def record_of(written: Written, notices: tuple[str, ...]) -> tuple[Path, bytes]:
        facts = {
            "file": output.path.name,
            "sha256": written.sha256,
            "bytes": written.size,
            "size": [result.width, result.height],
            "depth": depth,
            "profile": colour.description(converted.profile),
            "samples_kept": kept,
        }
        said = [*repair_notices, *unfit, *notices]
        return record_path(output.path), record_bytes(
            record | dict(output.facts) | {"digital_source_type": term, "written": facts, "notices": said}
        )

    return *unfit, *imageio.write(labelled, output.path, output.options, context, record_of)


def _with_source_type(metadata: Metadata, repairs: Sequence[Repair]) -> tuple[Metadata, str | None, tuple[str, ...]]:
    """State in the metadata what kind of change the repairs made, unless it states a stronger one.

    Returns:
        The metadata, the term for the record (None: nothing was changed by a repair), and notices.
    """
    terms = [SOURCE_TYPES[repair.task] for repair in repairs if repair.task in SOURCE_TYPES]
    if not terms:
        return metadata, None, ()
    term = imageio.strongest(terms)
    try:
        packet = imageio.with_source_type(metadata.xmp or None, term)
        return replace(metadata, xmp=packet), imageio.strongest(imageio.source_types(packet)), ()
    except ValueError:
        said = (
            "The XMP data of the scan is damaged: it is kept as it is, and does not say that the picture was repaired."
        )
        return metadata, term, (said,)


@dataclass(frozen=True)
class RepairResult:
    """The result of repairing a scan.

    Attributes:
        raster: the repaired picture.
        repairs: the repairs, for the record.
        notices: sentences for the user.
    """

    raster: Raster
    repairs: Sequence[Repair] = ()
    notices: tuple[str, ...] = ()


def repair_file(
    path: Path,
    output: Output,
    command: str,
    repair: Callable[[Raster, JobContext], RepairResult],
    context: JobContext | None = None,
    others: Sequence[Path] = (),
    expected: str = "",
) -> tuple[str, ...]:
    """Open a scan, repair it, and write the result with its record. All commands use this function. Any thread.

    Args:
        path: the scan's file, never written to.
        output: where and how the result is written.
        command: name of the command, for the record.
        repair: called with the scan; returns the repaired picture.
        context: progress and cancellation.
        others: further files that must not be overwritten, beside the scan and the profile.
        expected: digest that the scan's file must have; "" = any.

    Returns:
        Sentences for the user about the scan, the repair and the output format.

    Raises:
        ReadError: the scan cannot be read; ``read.changed``: it has not the expected digest.
        WriteError, SettingsError: see ``write_result``; raised before the repair where possible.
        Cancelled: the context was cancelled; nothing was written.
        EngineError: raised by ``repair``.
    """
    context = context or JobContext()
    check_place(output, [path, *others])
    scan, source = read_scan(path, context.part(0.0, 0.2))
    if expected and source.with_digest().sha256 != expected:
        raise ReadError("{file} is not the picture any more that was looked through.", "read.changed", file=path.name)
    check_output(output, scan.width, scan.height)
    made = repair(scan, context.part(0.2, 0.8))
    notices = write_result(
        made.raster,
        output,
        scan=scan.pixels,
        source=source,
        repairs=list(made.repairs),
        command=command,
        context=context.part(0.8, 1.0),
        repair_notices=made.notices,
    )
    return tuple(dict.fromkeys([*scan.notices, *made.notices, *notices]))


def check_place(output: Output, sources: Iterable[Path]) -> None:
    """Refuse a path to which the result or its record cannot or must not be written, before any work is done.

    Args:
        output: where and how the result is written.
        sources: files that must not be overwritten, beside that of the profile.

    Raises:
        WriteError: see ``imageio.check_target``.
    """
    imageio.check_target(output.path, [*sources, *output.inputs], beside=SUFFIX if output.record else "")


def check_output(output: Output, width: int, height: int) -> None:
    """Refuse a profile that cannot be used and a size that the format cannot hold, before any work is done.

    Raises:
        ReadError: the profile cannot be read.
        SettingsError: it is not an RGB profile.
        WriteError: the format cannot hold pictures of this size.
    """
    imageio.check_size(output.path, width, height)
    target_profile(output.profile)


def target_profile(profile: str) -> bytes | None:
    """The profile that a result is converted to; None = the picture keeps its own.

    Args:
        profile: as ``Output.profile``.

    Raises:
        ReadError: the file cannot be read.
        SettingsError: it is not an RGB profile.
    """
    if profile == "keep":
        return None
    if profile == "srgb":
        return colour.srgb()
    try:
        target = imageio.read_plain(Path(profile), colour.LARGEST_PROFILE)
    except OSError as error:
        raise ReadError(
            "The profile {profile} cannot be read: {reason}.", "read.profile", profile=profile, reason=error.strerror
        ) from error
    if not colour.fits(target, 3):
        raise SettingsError("{profile} is not an ICC profile for RGB pictures.", "colour.profile", profile=profile)
    return target


def _convert_to_profile(raster: Raster, profile: str) -> Raster:
    target = target_profile(profile)
    if target is None or raster.profile == target:
        return raster
    pixels = colour.convert(raster.pixels, raster.profile, target)
    return Raster(pixels, target, raster.resolution, raster.metadata, raster.notices)
