"""The work on one scan of a batch, in whatever process it is done."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from engine import imageio
from engine.batch.folders import make_folder
from engine.batch.look import look_through
from engine.batch.plan import Plan
from engine.batch.reviews import Look, accept, accepted_damage, numbers_of, read_look, review_path, write_look
from engine.batch.rows import Outcome, State
from engine.errors import EngineError, ReadError, WriteError
from engine.imageio import WriteOptions
from engine.jobs import JobContext
from engine.output import Output, RepairResult, repair_file
from engine.raster import Raster, Rect
from engine.record import REPORT_FOLDER, file_digest, read_record, read_scan, record_matches
from engine.restore import restore_file
from engine.runtime.cards import Registry
from engine.runtime.session import Device
from engine.tasks import check_card

KEPT = "batch.kept"
"""Code of an outcome: the result that exists is kept, so this scan's needs another name."""

Want = Literal["restore", "look", "heal"]
"""What is to be done with a scan, see ``Job``."""

_CHANGED = (
    "The scan is not the picture any more that was looked through. "
    "It was looked through again, and waits for new decisions."
)
_OTHER = (
    "The recipe looks for damage in another way than when this scan was looked through. "
    "It was looked through again, and waits for new decisions."
)
_UNREADABLE = "The review of this scan could not be read. It was looked through again, and waits for new decisions."

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
        want: ``restore`` it by the recipe; ``look`` through it and write its review, with ``Plan.detect_only`` also a
            mask; or ``heal`` what a person accepted in its review, and restore it by the other steps.
    """

    id: int
    path: str
    folder: str
    output: str
    plan: dict[str, Any]
    fingerprint: str
    want: Want = "restore"


class Restorer:
    """Does the work on scans, one after another. It keeps the registry; the loaded models are the process's own.

    Args:
        registry: the models; None = all installed models that can be run.
    """

    def __init__(self, registry: Registry | None = None) -> None:
        self._registry = registry if registry is not None else Registry(check=check_card)

    def do(self, job: Job, context: JobContext | None = None) -> Outcome:
        """Do what is wanted with one scan, unless what would come of it exists.

        Raises:
            Cancelled: the context was cancelled; nothing was written.
        """
        start, path = time.monotonic(), Path(job.path)
        size = modified = 0
        try:
            status = path.stat()
            size, modified = status.st_size, status.st_mtime_ns
            outcome = self._work(job, context or JobContext())
        except OSError as error:
            said = f"It cannot be read: {error.strerror or error}."
            outcome = Outcome(State.FAILED, said, "read.failed")
        except EngineError as error:
            outcome = Outcome(State.FAILED, error.text(), error.code)
        except MemoryError:
            outcome = Outcome(State.FAILED, "The memory is not enough for it.", "device.memory")
        return outcome.timed(time.monotonic() - start, size, modified)

    def _work(self, job: Job, context: JobContext) -> Outcome:
        plan = Plan.from_dict(job.plan)
        if job.want == "look":
            return self._mask(job, plan, context) if plan.detect_only else self._look(job, plan, context)
        if job.want == "restore":
            return self._restore(job, plan, None, context)
        try:
            look = read_look(review_path(Path(job.folder), Path(job.path)))
            if look.search == plan.search_id(self._registry):
                return self._restore(job, plan, look, context)
            why = _OTHER
        except ReadError as error:
            # Decisions are never laid over another picture.
            changed = error.code == "read.changed"
            if not changed and not (plan.review and error.code.startswith("review.")):
                raise
            why = _CHANGED if changed else _UNREADABLE
        return self._look(job, plan, context, why)

    def _restore(self, job: Job, plan: Plan, look: Look | None, context: JobContext) -> Outcome:
        """Write the result; by the decisions of a person, if there are any.

        Raises:
            ReadError: ``read.changed``: the scan is not the one that was looked through.
        """
        target, facts = Path(job.folder, job.output), {"fingerprint": job.fingerprint}
        if look is not None:
            facts["decisions"] = look.decisions
        if (known := _existing(job, plan, target, facts)) is not None:
            return known
        make_folder(target.parent, below=Path(job.folder))
        done = restore_file(
            Path(job.path),
            plan.made_recipe(),
            plan.output(target, {"batch": facts}),
            Device(plan.device),
            context.part(0.05, 1.0),
            self._registry,
            PREVIEW,
            accepted_damage(look.review, context.part(0.0, 0.05)) if look is not None else None,
            look.source_sha256 if look is not None else "",
        )
        if done.preview is not None:
            # The result is written; a report without its picture is no reason to fail.
            with suppress(EngineError):
                place = preview_path(Path(job.folder), job.output)
                make_folder(place.parent, below=Path(job.folder))
                imageio.write(Raster(np.ascontiguousarray(done.preview)), place, WriteOptions(quality=85))
        outcome = replace(
            _written(target),
            device="" if done.device is Device.AUTO else done.device.value,
            steps=tuple(repair.task for repair in done.repairs),
            left_out=dict(done.left_out),
            found=dict(done.found or {}),
            notices=done.notices,
        )
        return outcome if look is None else replace(outcome, found=dict(look.found), chips=look.chips)

    def _look(self, job: Job, plan: Plan, context: JobContext, why: str = "") -> Outcome:
        """Look through a scan, unless that was done, and write its review.

        Args:
            job: what is to be done.
            plan: that of the job.
            context: progress and cancellation.
            why: a sentence, if it had been looked through before.
        """
        place = review_path(Path(job.folder), Path(job.path))
        look, device = _known_look(place, job, plan.search_id(self._registry)), ""
        if look is None:
            scan, file = read_scan(Path(job.path), context.part(0.0, 0.1))
            look, ran = look_through(scan, plan, self._registry, context.part(0.1, 1.0))
            look, device = _with_digest(look, file.with_digest().sha256), ran.value
            make_folder(place.parent, below=Path(job.folder))
            write_look(place, look)
        notices, digest = ((why,) if why else ()), look.source_sha256
        return Outcome(State.FOUND, device=device, notices=notices, source_sha256=digest, **_facts_of(look))

    def _mask(self, job: Job, plan: Plan, context: JobContext) -> Outcome:
        """Look through a scan, and write the mask of what the recipe would heal, and the review."""
        target, place = Path(job.folder, job.output), review_path(Path(job.folder), Path(job.path))
        known = _known_look(place, job, plan.search_id(self._registry))
        facts, looks, device = {"fingerprint": job.fingerprint}, [known] if known is not None else [], ""
        existing = _existing(job, plan, target, facts)
        if existing is not None and (known is not None or existing.code == KEPT):
            return existing if known is None else replace(existing, **_facts_of(known))

        def mask(scan: Raster, context: JobContext) -> RepairResult:
            nonlocal device
            if not looks:
                look, ran = look_through(scan, plan, self._registry, context)
                looks.append(look)
                device = ran.value
            damage = accepted_damage(accept(replace(looks[0].review, judgements={}), "certain"))
            shape = scan.pixels.shape[:2]
            drawn = damage.mask.read_mask(Rect.of_shape(shape)) if damage.mask else np.zeros(shape, np.uint8)
            return RepairResult(Raster(np.ascontiguousarray(drawn)[..., None], None, scan.resolution), [damage.repair])

        make_folder(target.parent, below=Path(job.folder))
        output, expected = Output(target, facts={"batch": facts}), known.source_sha256 if known is not None else ""
        notices = repair_file(Path(job.path), output, "detect", mask, context, expected=expected)
        outcome = _written(target)
        look = _with_digest(looks[0], outcome.source_sha256)
        make_folder(place.parent, below=Path(job.folder))
        write_look(place, look)
        return replace(outcome, device=device, notices=notices, **_facts_of(look))


def _existing(job: Job, plan: Plan, target: Path, facts: dict[str, str]) -> Outcome | None:
    """What is said if a result exists already; None if it is to be made.

    Args:
        job: what is to be done.
        plan: that of the job.
        target: the result.
        facts: of the batch, as a record of the same result has them.

    Raises:
        WriteError: a file exists there that is not as a batch wrote it, and the plan does not say to replace it.
    """
    if not os.path.lexists(target) or plan.exists == "replace":
        return None
    known = _same_result(job, target, facts)
    if known is not None:
        return known
    if plan.exists == "keep":
        # The table gives it another name, which no other scan has.
        return Outcome(State.FAILED, f"{job.output} exists, and is kept.", KEPT)
    if not _is_of_batch(target):
        raise WriteError(
            "{file} exists and is not as a batch wrote it. Choose to keep both or to replace it.",
            "batch.exists",
            file=job.output,
        )
    return None


def _is_of_batch(target: Path) -> bool:
    """Whether a result is as a batch wrote it: not one that a person made with another command, or changed since."""
    try:
        known = "batch" in read_record(target)
    except ReadError:
        return False
    return known and bool(record_matches(target))


def _same_result(job: Job, target: Path, facts: dict[str, str]) -> Outcome | None:
    """The outcome for a result that exists and is what would be made again; None if it is not."""
    try:
        record = read_record(target)
        same = record["batch"] == facts and record["source"]["sha256"]
    except (ReadError, LookupError, TypeError):
        return None
    if same != file_digest(Path(job.path)) or not record_matches(target):
        return None
    return replace(_written(target), state=State.UP_TO_DATE)


def _written(target: Path) -> Outcome:
    """What the record of a result says of it."""
    record, status = read_record(target), target.stat()
    return Outcome(
        State.DONE,
        source_sha256=str(record["source"]["sha256"] or ""),
        output_sha256=str(record["written"]["sha256"]),
        output_size=status.st_size,
        output_modified=status.st_mtime_ns,
    )


def _known_look(place: Path, job: Job, search: str) -> Look | None:
    """What is known of a scan that was looked through by the same search, and is as it was then; None = nothing."""
    try:
        look = read_look(place)
    except ReadError:
        return None
    same = look.search == search and look.source_sha256 and look.source_sha256 == file_digest(Path(job.path))
    return look if same else None


def _with_digest(look: Look, digest: str) -> Look:
    """What was found, as that of a file; raises ReadError if its digest is not known."""
    if not digest:
        raise ReadError("The scan was changed while it was read.", "read.changed")
    return replace(look, source_sha256=digest)


def _facts_of(look: Look) -> dict[str, Any]:
    """What an outcome says of a scan that was looked through."""
    numbers = dataclasses.asdict(numbers_of(look.review))
    return {"found": dict(look.found), "chips": look.chips, "review": numbers}
