"""Upscale: a picture of two or four times the size."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.colour import ModelSpace
from engine.errors import DeviceError, ModelError, SettingsError, Words
from engine.jobs import JobContext
from engine.raster import Pixels, Raster, Rect, Resolution, from_float
from engine.record import Repair
from engine.runtime.cards import ModelCard, Registry
from engine.runtime.session import Device
from engine.tasks.base import Model, Ranged, TaskInput, check_settings, from_planes, run_shrinking, to_planes
from engine.tasks.kinds import check_kind
from engine.tasks.whole import AT_ONCE
from engine.tiling import Stitcher, pad_to_window, plan_sweep

LONGEST = 65_000
"""Most pixels a side: the limit of JPEG, and of many programs, is little above it."""
_MOST = 2_000_000_000
"""Most pixels in total: larger pictures could not be opened again."""


@dataclass(frozen=True)
class UpscaleSettings(Ranged):
    """There are no settings: the scale is fixed by the model."""


@dataclass(frozen=True)
class Enlargement:
    """The result of an enlargement: a picture of its own, not a patch on the scan.

    Attributes:
        pixels: (scale h, scale w, channels), read-only, in the scan's own encoding and sample type.
        scale: its sides over those of the scan.
        device: where the model ran.
    """

    pixels: Pixels
    scale: int
    device: Device

    def __post_init__(self) -> None:
        self.pixels.flags.writeable = False

    def raster(self, scan: Raster) -> Raster:
        """The new picture with the scan's profile and metadata; its resolution is scaled so that it prints as large."""
        dots = scan.resolution
        more = Resolution(dots.x * self.scale, dots.y * self.scale) if dots is not None else None
        return dataclasses.replace(scan, pixels=self.pixels, resolution=more)

    def repair(self, given: TaskInput) -> Repair:
        """The entry in the record, with a box around the whole scan."""
        made = given.repair(self.device, (Rect.of_shape(given.source.shape),))
        return dataclasses.replace(made, settings={**made.settings, "scale": self.scale})


def model_of_scale(registry: Registry, scale: int) -> ModelCard:
    """The model for a scale when none is named: of several the one whose card has ``default``.

    Raises:
        ModelError: there is none for this scale.
    """
    cards = registry.cards("upscale")
    fitting = [card for card in cards if card.tile.scale == scale]
    if not fitting:
        known = ", ".join(f"{card.id} ({card.tile.scale} times)" for card in cards) or "none"
        raise ModelError(
            "No model that enlarges {scale} times is installed. Models that enlarge: {known}.",
            "model.none",
            scale=scale,
            known=known,
        )
    return min(fitting, key=lambda card: not card.default)


def check_enlarger(card: ModelCard) -> None:
    """Refuse a model that upscale cannot run; raises as ``check_kind``."""
    check_kind(card, (AT_ONCE,), enlarges=True)


def upscale(given: TaskInput, context: JobContext) -> Enlargement:
    """Enlarge a whole picture. Apart from the result, memory depends on the width of the picture, not on its area.

    Raises:
        ModelError: the model is of another kind.
        SettingsError: the result would be too large to be written; a setting is outside the model's range.
        DeviceError: the computer's memory is not enough for the result.
        Cancelled, DeviceError, ModelError: see ``Session.run``.
    """
    assert isinstance(given.settings, UpscaleSettings)
    check_enlarger(given.card)
    check_settings(given)
    pixels = _allocate(given)
    device = run_shrinking(given, lambda model, window: _enlarge(given, pixels, model, window, context), context)
    return Enlargement(pixels, given.card.tile.scale, device)


def _allocate(given: TaskInput) -> Pixels:
    """An uninitialised array for the result.

    Raises:
        SettingsError: it would be too large to be written.
        DeviceError: the memory is not enough.
    """
    height, width, channels = given.source.shape
    scale = given.card.tile.scale
    shape, dtype = (scale * height, scale * width, channels), given.source.dtype
    said = "Enlarged {scale} times the picture would have {width} x {height} pixels"
    what = Words(said, scale=scale, width=shape[1], height=shape[0])
    if max(shape) > LONGEST or shape[0] * shape[1] > _MOST:
        raise SettingsError(
            "{what}; the most are {side} a side and {most} thousand million altogether.",
            "upscale.size",
            what=what,
            side=LONGEST,
            most=_MOST // 10**9,
        )
    wanted, free = shape[0] * shape[1] * channels * dtype.itemsize, _free_memory()
    refusal = DeviceError(
        "{what}, which need {wanted:.1f} GB: this computer does not have that much free memory.",
        "upscale.memory",
        what=what,
        wanted=wanted / 1000000000.0,
    )
    if free is not None and wanted > free:
        raise refusal
    try:
        return np.empty(shape, dtype)
    except MemoryError as error:
        raise refusal from error


def _free_memory() -> int | None:
    """Bytes of available memory; None where the system does not report it."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def _enlarge(given: TaskInput, pixels: Pixels, model: Model, window: int, context: JobContext) -> Device:
    """Fill the array of the result, window by window; returns where the model ran."""
    space, bounds, tile = (
        ModelSpace(given.profile, given.source.shape[2]),
        Rect.of_shape(given.source.shape),
        given.card.tile,
    )
    plan = plan_sweep(
        bounds,
        window=window,
        context=min(tile.context, window // 4),
        # The card's overlap is measured in pixels of the result.
        overlap=-(-min(tile.overlap, window // 4) // tile.scale),
        multiple=tile.multiple,
    )
    stitcher = Stitcher([_scale_rect(part, tile.scale) for _, part in plan])
    for number, (whole, part) in enumerate(plan):
        context.progress(number / len(plan), "enlarging")
        inside = whole & bounds
        shown = pad_to_window(space.to_model(given.source.read(inside)), inside, whole)
        planes = model.run(0, context, picture=to_planes(shown))[0]
        if planes.shape != (1, 3, tile.scale * whole.height, tile.scale * whole.width):
            raise ModelError(
                "The model {model} does not enlarge {scale} times, as its card says.",
                "model.output",
                model=given.card.id,
                scale=tile.scale,
            )
        kept = _scale_rect(part, tile.scale).slices(_scale_rect(whole, tile.scale))
        rect, values = stitcher.join(number, from_planes(planes)[kept])
        pixels[rect.slices()] = from_float(space.from_model(values), pixels.dtype)
    context.progress(1.0)
    return model.device


def _scale_rect(rect: Rect, scale: int) -> Rect:
    return Rect(scale * rect.left, scale * rect.top, scale * rect.right, scale * rect.bottom)
