"""Restoring a file by a recipe; for the command line, and for batches of files."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine import colour
from engine.jobs import JobContext
from engine.output import Output, RepairResult, repair_file
from engine.raster import ArraySource, Pixels, Raster
from engine.recipes import FoundDamage, Recipe, RestoreResult, run_recipe
from engine.record import Repair, record_path
from engine.resample import shrink
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
        found: number of damages by class; None if the recipe has no detection, or the damage was given.
        device: where the last model ran.
        seconds: total time.
        notices: sentences about the scan, about steps that were skipped, and about what the format cannot hold.
        left_out: task -> why it was skipped, a sentence.
        preview: the scan and the result beside each other, small, (h, w, 3) uint8 sRGB; None if none is wanted.
    """

    output: Path
    record: Path | None
    repairs: tuple[Repair, ...]
    found: Mapping[str, int] | None
    device: Device
    seconds: float
    notices: tuple[str, ...]
    left_out: Mapping[str, str]
    preview: NDArray[np.uint8] | None = None


def restore_file(
    path: Path,
    recipe: Recipe,
    output: Output,
    device: Device = Device.AUTO,
    context: JobContext | None = None,
    registry: Registry | None = None,
    preview: int = 0,
    found: FoundDamage | None = None,
    expected: str = "",
) -> RestoredFile:
    """Read a scan, run a recipe on it, and write the result with its record atomically. Any thread.

    Args:
        path: the scan's file, never written to.
        recipe: the recipe; its file is never written to either.
        output: where and how the result is written.
        device: where to run the models.
        context: progress and cancellation.
        registry: the models; None = all installed models that can be run.
        preview: longest side of each of the two pictures in the preview, pixels; 0 = none is made.
        found: damage for the heal steps, see ``run_recipe``.
        expected: digest that the scan's file must have, see ``repair_file``.

    Raises:
        ReadError, WriteError, SettingsError, ModelError, DeviceError, Cancelled: see ``repair_file`` and
            ``run_recipe``; nothing was written.
    """
    start = time.monotonic()
    models = registry if registry is not None else Registry(check=check_card)
    results: list[RestoreResult] = []
    previews: list[NDArray[np.uint8]] = []

    def repair(scan: Raster, context: JobContext) -> RepairResult:
        result = run_recipe(recipe, ArraySource(scan.pixels), scan.profile, models, device, context, found)
        results.append(result)
        raster = scan.with_pixels(result.pixels()) if result.patches else scan
        if preview:
            pictures = [small_picture(picture.pixels, picture.profile, preview) for picture in (scan, raster)]
            previews.append(np.hstack(pictures))
        return RepairResult(raster, result.repairs, result.notices)

    notices = repair_file(path, output, "restore", repair, context, [recipe.file], expected)
    result = results[0]
    return RestoredFile(
        output.path,
        record_path(output.path) if output.record else None,
        result.repairs,
        Counter(defect.kind for defect in result.marks.defects) if result.marks is not None else None,
        result.device,
        time.monotonic() - start,
        notices,
        result.left_out,
        previews[0] if previews else None,
    )


def small_picture(pixels: Pixels, profile: bytes | None, side: int) -> NDArray[np.uint8]:
    """A picture reduced to a longest side, (h, w, 3) uint8 sRGB.

    Args:
        pixels: (h, w, 1 or 3) in the encoding of the profile.
        profile: its ICC profile; None = sRGB, or grey with the sRGB curve.
        side: pixels.
    """
    return colour.to_screen(shrink(pixels, side), profile)
