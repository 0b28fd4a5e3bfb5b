"""The work on one scan of a batch, in whatever process it is done."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine import imageio
from engine.batch.plan import Plan
from engine.batch.rows import Outcome, State
from engine.errors import EngineError, ReadError, WriteError
from engine.imageio import WriteOptions
from engine.jobs import JobContext
from engine.raster import Raster
from engine.record import REPORT_FOLDER, file_digest, read_record, record_matches
from engine.restore import RestoredFile, restore_file
from engine.runtime.cards import Registry
from engine.runtime.session import Device
from engine.tasks import check_card

KEPT = "batch.kept"
"""Code of an outcome: the result that exists is kept, so this scan's needs another name."""

PREVIEW = 256
"""Longest side of the pictures before and after that the report shows, pixels."""


def preview_path(folder: Path, output: str) -> Path:
    """The small picture of a scan before and after its work, beside each other.

    Args:
        folder: the output folder.
        output: path of the result below it.
    """
    name = hashlib.sha256(os.fsencode(output)).hexdigest()[:16]
    return folder / REPORT_FOLDER / "pictures" / name[:2] / f"{name}.jpg"


@dataclass(frozen=True)
class Job:
    """What is to be done with one scan. Plain data, which is sent to other processes.

    Attributes:
        id: its row in the table.
        path: the scan.
        folder: the output folder.
        output: path of the result below it.
        plan: what to do.
        fingerprint: of the plan.
    """

    id: int
    path: str
    folder: str
    output: str
    plan: dict[str, Any]
    fingerprint: str


class Restorer:
    """Does the work on scans, one after another. It keeps the registry; the loaded models are the process's own.

    Args:
        registry: the models; None = all installed models that can be run.
    """

    def __init__(self, registry: Registry | None = None) -> None:
        self._registry = registry if registry is not None else Registry(check=check_card)

    def do(self, job: Job, context: JobContext | None = None) -> Outcome:
        """Restore one scan and write its result, unless a result that is the same exists.

        Raises:
            Cancelled: the context was cancelled; nothing was written.
        """
        start, path = time.monotonic(), Path(job.path)
        size = modified = 0
        try:
            status = path.stat()
            size, modified = status.st_size, status.st_mtime_ns
            outcome = self._restore(job, context or JobContext())
        except OSError as error:
            said = f"It cannot be read: {error.strerror or error}."
            outcome = Outcome(State.FAILED, said, "read.failed")
        except EngineError as error:
            outcome = Outcome(State.FAILED, error.text(), error.code)
        except MemoryError:
            outcome = Outcome(State.FAILED, "The memory is not enough for it.", "device.memory")
        return outcome.timed(time.monotonic() - start, size, modified)

    def _restore(self, job: Job, context: JobContext) -> Outcome:
        plan, path, target = Plan.from_dict(job.plan), Path(job.path), Path(job.folder, job.output)
        if os.path.lexists(target) and plan.exists != "replace":
            known = _same_result(job, target)
            if known is not None:
                return known
            if plan.exists == "keep":
                # The table gives it another name, which no other scan has.
                return Outcome(State.FAILED, f"{job.output} exists, and is kept.", KEPT)
            if not record_matches(target):
                raise WriteError(
                    "{file} exists and is not as this program wrote it. Choose to keep both or to replace it.",
                    "batch.exists",
                    file=job.output,
                )
        _make_folder(target.parent, Path(job.folder))
        output = plan.output(target, {"batch": {"fingerprint": job.fingerprint}})
        done = restore_file(path, plan.made_recipe(), output, Device(plan.device), context, self._registry, PREVIEW)
        if done.preview is not None:
            # The result is written; a report without its picture is no reason to fail.
            with suppress(EngineError):
                place = preview_path(Path(job.folder), job.output)
                _make_folder(place.parent, Path(job.folder))
                imageio.write(Raster(np.ascontiguousarray(done.preview)), place, WriteOptions(quality=85))
        return _outcome(target, done)


def _same_result(job: Job, target: Path) -> Outcome | None:
    """The outcome for a result that exists and is what would be made again; None if it is not."""
    try:
        record = read_record(target)
        same = record["batch"]["fingerprint"] == job.fingerprint and record["source"]["sha256"]
    except (ReadError, LookupError, TypeError):
        return None
    digest = file_digest(Path(job.path))
    if same != digest or not record_matches(target):
        return None
    status = target.stat()
    return Outcome(
        State.UP_TO_DATE,
        source_sha256=digest,
        output_sha256=str(record["written"]["sha256"]),
        output_size=status.st_size,
        output_modified=status.st_mtime_ns,
    )


def _outcome(target: Path, done: RestoredFile) -> Outcome:
    record, status = read_record(target), target.stat()
    return Outcome(
        State.DONE,
        device=done.device.value,
        steps=tuple(repair.task for repair in done.repairs),
        left_out=dict(done.left_out),
        found=dict(done.found or {}),
        notices=done.notices,
        source_sha256=str(record["source"]["sha256"] or ""),
        output_sha256=str(record["written"]["sha256"]),
        output_size=status.st_size,
        output_modified=status.st_mtime_ns,
    )


def _make_folder(folder: Path, below: Path) -> None:
    """Make a folder below the output folder; never that one, which may be on a disk that is gone for a while."""
    try:
        if not below.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise WriteError(
            "The folder {folder} cannot be made: {reason}.",
            "write.full" if full else "write.folder",
            folder=folder,
            reason=error.strerror or error,
        ) from error
