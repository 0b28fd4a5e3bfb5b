"""Runs a recipe on a part of a picture, or on a reduced one, to show what it would do, and changes nothing. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from desktop.document.compose import Composite
from engine import colour, imageio
from engine.jobs import JobContext
from engine.raster import ArraySource, Pixels, Rect
from engine.resample import shrink
from engine.tiles import LEVELS

if TYPE_CHECKING:
    from engine.recipes import Recipe
    from engine.runtime.cards import Registry


@dataclass(frozen=True)
class Sample:
    """The pixels on which a recipe is tried, (h, w, channels), and their ICC profile."""

    pixels: Pixels
    profile: bytes | None


TakeSample = Callable[[int, int, JobContext], Sample]
"""Takes a sample of at most so many columns and rows; called on an engine thread."""


@dataclass(frozen=True)
class Preview:
    """A sample before and after a recipe.

    Attributes:
        before, after: (h, w, 3) uint8 for the screen.
        notices: sentences about what was left out.
        healed: number of damages that were found and healed; None if the recipe does not heal.
    """

    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    notices: tuple[str, ...]
    healed: int | None


def photo_sample(picture: Composite, profile: bytes | None, seen: Rect, *, whole: bool) -> TakeSample:
    """Samples of an open photograph.

    Args:
        picture: what is visible.
        profile: its ICC profile.
        seen: the part in view; the sample is the middle of it, at 100 %.
        whole: take the whole picture instead, reduced.
    """
    height, width, _ = picture.shape

    def take(columns: int, rows: int, _: JobContext) -> Sample:
        if not whole:
            return Sample(picture.read(_middle(seen, Rect(0, 0, width, height), columns, rows)), profile)
        factor = max(width / columns, height / rows)
        level = next((level for level in range(LEVELS) if factor < 1 << (level + 1)), LEVELS)
        pixels = picture.read(Rect(0, 0, -(-width >> level), -(-height >> level)), level)
        return Sample(_reduced(pixels, columns, rows), profile)

    return take


def file_sample(path: Path, *, whole: bool) -> TakeSample:
    """Samples of a picture file: its middle at 100 %, or the whole picture, reduced; raises ReadError when taken."""

    def take(columns: int, rows: int, context: JobContext) -> Sample:
        scan = imageio.read(path, context)
        bounds = Rect(0, 0, scan.width, scan.height)
        part = scan.pixels[_middle(bounds, bounds, columns, rows).slices()]
        return Sample(_reduced(scan.pixels, columns, rows) if whole else part, scan.profile)

    return take


def preview(
    recipe: Recipe,
    take: TakeSample,
    size: tuple[int, int],
    registry: Registry,
    device: str,
    monitor: bytes | None,
    context: JobContext,
) -> Preview:
    """Run a recipe on a sample. Engine thread.

    Args:
        recipe: the recipe.
        take: takes the sample.
        size: its largest width and height, pixels.
        registry: the models.
        device: ``auto``, ``cpu`` or ``cuda``.
        monitor: the screen's ICC profile; None is sRGB.
        context: progress and cancellation.

    Raises:
        EngineError, Cancelled: as ``run_recipe``.
    """
    from engine.recipes import run_recipe
    from engine.runtime.session import Device

    sample = take(*size, context.part(0.0, 0.1))
    source = ArraySource(sample.pixels)
    result = run_recipe(recipe, source, sample.profile, registry, Device(device), context.part(0.1, 1.0))
    before, after = (
        np.ascontiguousarray(colour.to_screen(pixels, sample.profile, monitor))
        for pixels in (sample.pixels, result.pixels())
    )
    healed = None
    if recipe.does("heal"):
        healed = len(result.marks.defects) if result.marks is not None and "heal" not in result.left_out else 0
    return Preview(before, after, result.notices, healed)


def _middle(seen: Rect, bounds: Rect, columns: int, rows: int) -> Rect:
    """A rectangle of at most this size around the middle of another, inside of bounds."""
    width, height = min(columns, bounds.width), min(rows, bounds.height)
    left = min(max((seen.left + seen.right - width) // 2, 0), bounds.width - width)
    top = min(max((seen.top + seen.bottom - height) // 2, 0), bounds.height - height)
    return Rect(left, top, left + width, top + height)


def _reduced(pixels: Pixels, columns: int, rows: int) -> Pixels:
    height, width = pixels.shape[:2]
    scale = min(1.0, columns / width, rows / height)
    return shrink(pixels, max(1, int(scale * max(height, width))))
