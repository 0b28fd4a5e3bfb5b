"""Restoring a file by a recipe; for the command line, and for batches of files."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.jobs import JobContext
from engine.output import Output, RepairResult, repair_file
from engine.raster import ArraySource, Raster
from engine.recipes import Recipe, RestoreResult, run_recipe
from engine.record import Repair, record_path
from engine.runtime.cards import Registry
from engine.runtime.session import Device
from engine.tasks import check_card


@dataclass(frozen=True)
class RestoredFile:
    """The result of ``restore_file``.

    Attributes:
        output: the file that was written.
        record: the record beside it; None if none was written.
        repairs: the repairs, in order.
        found: number of damages by class; None if the recipe has no detection.
        device: where the last model ran.
        seconds: total time.
        notices: sentences about the scan, about steps that were skipped, and about what the format cannot hold.
    """

    output: Path
    record: Path | None
    repairs: tuple[Repair, ...]
    found: Mapping[str, int] | None
    device: Device
    seconds: float
    notices: tuple[str, ...]


def restore_file(
    path: Path,
    recipe: Recipe,
    output: Output,
    device: Device = Device.AUTO,
    context: JobContext | None = None,
    registry: Registry | None = None,
) -> RestoredFile:
    """Read a scan, run a recipe on it, and write the result with its record atomically. Any thread.

    Args:
        path: the scan's file, never written to.
        recipe: the recipe; its file is never written to either.
        output: where and how the result is written.
        device: where to run the models.
        context: progress and cancellation.
        registry: the models; None = all installed models that can be run.

    Raises:
        ReadError, WriteError, SettingsError, ModelError, DeviceError, Cancelled: see ``repair_file`` and
            ``run_recipe``; nothing was written.
    """
    start = time.monotonic()
    models = registry if registry is not None else Registry(check=check_card)
    results: list[RestoreResult] = []

    def repair(scan: Raster, context: JobContext) -> RepairResult:
        result = run_recipe(recipe, ArraySource(scan.pixels), scan.profile, models, device, context)
        results.append(result)
        raster = scan.with_pixels(result.pixels()) if result.patches else scan
        return RepairResult(raster, result.repairs, result.notices)

    notices = repair_file(path, output, "restore", repair, context, [recipe.file])
    result = results[0]
    return RestoredFile(
        output.path,
        record_path(output.path) if output.record else None,
        result.repairs,
        Counter(defect.kind for defect in result.marks.defects) if result.marks is not None else None,
        result.device,
        time.monotonic() - start,
        notices,
    )
