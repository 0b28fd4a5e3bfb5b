"""From a scan's file to a result's, with its record: one way for the window and the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine import colour, imageio
from engine.errors import ReadError, SettingsError
from engine.imageio import WriteOptions, Written
from engine.jobs import JobContext
from engine.raster import Pixels, Raster
from engine.record import SUFFIX, Repair, ScanFile, make_record, read_scan, record_bytes, record_path, remove_record


@dataclass(frozen=True)
class Output:
    """How a result is written.

    Attributes:
        path: the file.
        options: depth, quality, compression.
        profile: ``keep``, ``srgb``, or the path of an ICC file.
        record: write the record beside it.
    """

    path: Path
    options: WriteOptions = field(default_factory=WriteOptions)
    profile: str = "keep"
    record: bool = True

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files that are read for it: that of the profile."""
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
    told: Sequence[str] = (),
) -> tuple[str, ...]:
    """Write a result and its record, which says the digest of the file it tells of. Any thread.

    Args:
        result: the picture to write, in the scan's depth and profile.
        output: where and how.
        scan: the pixels before, of the same type; for the share of samples changed.
        source: the scan's file, never written to; its digest, as far as it is known, goes into the record.
        repairs: what was done, for the record.
        command: what wrote it, for the record.
        context: progress and cancellation.
        told: what was said of the repairs, for the record.

    Returns:
        Sentences about what the format could not hold.

    Raises:
        WriteError: the file cannot be written, or it is the scan or the profile itself; nothing is half-written.
        SettingsError: the profile cannot be used.
        Cancelled: the context was cancelled.
    """
    context = context or JobContext()
    check_place(output, [source.path] if source is not None else [])
    converted = _in_profile(result, output.profile)
    if not output.record:
        notices = imageio.write(converted, output.path, output.options, context)
        # One that is there is about the picture that was.
        remove_record(output.path)
        return notices
    # What can fail is done before anything is written.
    known = source.with_digest() if source is not None else None
    record = make_record(command, known, repairs, scan, result.pixels)
    depth = imageio.depth_held(output.path, output.options.depth or result.depth)
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
        return record_path(output.path), record_bytes(record | {"written": facts, "notices": [*told, *notices]})

    return imageio.write(converted, output.path, output.options, context, record_of)


@dataclass(frozen=True)
class Repaired:
    """What was made of a scan.

    Attributes:
        raster: the result.
        repairs: what was done, for the record.
        notices: what is to be said of it.
    """

    raster: Raster
    repairs: Sequence[Repair] = ()
    notices: tuple[str, ...] = ()


def repair_file(
    path: Path,
    output: Output,
    command: str,
    repair: Callable[[Raster, JobContext], Repaired],
    context: JobContext | None = None,
    others: Sequence[Path] = (),
) -> tuple[str, ...]:
    """Open a scan, repair it, and write the result with its record: the one way of all that does so. Any thread.

    Args:
        path: the scan's file, never written to.
        output: where to, and how.
        command: for the record.
        repair: the scan -> what was made of it.
        context: progress and cancellation.
        others: files beside the scan and the profile that must stay as they are.

    Returns:
        Sentences about what there is to know of the scan, the repair and the format.

    Raises:
        ReadError: the scan cannot be read.
        WriteError, SettingsError: see ``write_result``; as far as it can be known, before the work.
        Cancelled: the context was cancelled; nothing was written.
        EngineError: what the repair raises.
    """
    context = context or JobContext()
    check_place(output, [path, *others])
    scan, source = read_scan(path, context.part(0.0, 0.2))
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
        told=made.notices,
    )
    return tuple(dict.fromkeys([*scan.notices, *made.notices, *notices]))


def check_place(output: Output, sources: Iterable[Path]) -> None:
    """Refuse a place that the result or its record cannot or must not be written to, before any work is done for it.

    Args:
        output: where and how.
        sources: files that must stay as they are, beside that of the profile.

    Raises:
        WriteError: see ``imageio.check_target``.
    """
    imageio.check_target(output.path, [*sources, *output.inputs], beside=SUFFIX if output.record else "")


def check_output(output: Output, width: int, height: int) -> None:
    """Refuse what could never be written, before any work is done for it.

    Raises:
        ReadError: the profile cannot be read.
        SettingsError: it is none for RGB pictures.
        WriteError: the format cannot hold pictures of this size.
    """
    imageio.check_size(output.path, width, height)
    _profile(output.profile)


def _profile(profile: str) -> bytes | None:
    """The profile that a result is converted to; None = it keeps its own."""
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


def _in_profile(raster: Raster, profile: str) -> Raster:
    target = _profile(profile)
    if target is None or raster.profile == target:
        return raster
    pixels = colour.convert(raster.pixels, raster.profile, target)
    return Raster(pixels, target, raster.resolution, raster.metadata, raster.notices)
