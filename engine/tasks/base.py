"""What every task shares: its frozen input, the patch or the marks it gives back, and running a model's stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from engine.errors import DeviceError, ModelError, SettingsError
from engine.jobs import JobContext
from engine.raster import Floats, Mask, MaskSource, Pixels, PixelSource, Rect, mix
from engine.record import Repair
from engine.runtime.cards import ModelCard
from engine.runtime.session import SESSIONS, Device, OutOfMemory, Session

R = TypeVar("R")


def knob(
    title: str, tooltip: str, low: float, high: float, unit: str = "", *, whole: bool = False, by_card: bool = False
) -> dict[str, Any]:
    """Metadata of a setting's field: how the task panel shows it, and what ``Ranged`` lets through.

    Args:
        title: for the restorer.
        tooltip: one sentence more.
        low: of its range, included; a model's card may narrow it.
        high: the same.
        unit: behind the number.
        whole: no fractions.
        by_card: only models whose card names it have it.
    """
    return {
        "title": title,
        "tooltip": tooltip,
        "low": low,
        "high": high,
        "unit": unit,
        "whole": whole,
        "by_card": by_card,
    }


@dataclass(frozen=True)
class Ranged:
    """Settings of a task, each field with a ``knob``.

    Raises:
        SettingsError: a value is out of its range; named.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            hints, value = field.metadata, getattr(self, field.name)
            if not hints["low"] <= value <= hints["high"]:
                raise SettingsError(
                    "{setting} goes from {low:g} to {high:g}{unit}.",
                    "task.range",
                    setting=hints["title"],
                    low=hints["low"],
                    high=hints["high"],
                    unit=hints["unit"],
                )
            if hints["whole"] and value != round(value):
                raise SettingsError("{setting} is a whole number.", "task.range", setting=hints["title"])


@dataclass(frozen=True)
class TaskInput:
    """One task on one picture: frozen input.

    Attributes:
        task: a row of ``engine.tasks.TASKS``.
        source: the picture; must not change while the task runs.
        profile: its ICC profile; None = sRGB.
        mask: the repair mask, for tasks that want one, of the picture's size.
        settings: the task's settings dataclass.
        card: the model.
        device: where to run it.
        guide: the edge map that a restorer edited, 255 = edge, of the picture's size; for heal models that follow one.
        guided: where the guide is followed, grown as the mask is; None = wherever the picture is lost.
    """

    task: str
    source: PixelSource
    profile: bytes | None
    mask: MaskSource | None
    settings: object
    card: ModelCard
    device: Device = Device.AUTO
    guide: MaskSource | None = None
    guided: MaskSource | None = None

    def repair(self, device: Device, boxes: tuple[Rect, ...]) -> Repair:
        """What the record says of it, once it ran on a device for some boxes."""
        return Repair(
            self.task,
            self.card.id,
            self.card.version,
            self.card.checksum,
            device.value,
            dataclasses.asdict(self.settings) | ({"guided": 1.0} if self.guide is not None else {}),  # type: ignore[call-overload]
            tuple((box.left, box.top, box.right, box.bottom) for box in boxes),
        )


@dataclass(frozen=True)
class Piece:
    """A part of a patch, read-only: pixels (h, w, channels) in the picture's own encoding and their weight (h, w)."""

    rect: Rect
    pixels: Pixels
    weight: Mask

    def __post_init__(self) -> None:
        self.pixels.flags.writeable = False
        self.weight.flags.writeable = False


@dataclass(frozen=True)
class Patch:
    """Repaired pixels and the mask they were made for.

    Attributes:
        pieces: do not overlap; each lies within one cell of the ``engine.raster.TILE`` grid.
        device: where the model really ran.
        boxes: the damages, for the record.
    """

    pieces: tuple[Piece, ...]
    device: Device
    boxes: tuple[Rect, ...]

    def apply_to(self, pixels: Pixels) -> Pixels:
        """A copy of a picture with the patch on top; where the weight is 0 it is the picture bit for bit."""
        result = pixels.copy()
        for piece in self.pieces:
            target = result[piece.rect.slices()]
            target[...] = mix(target, piece.pixels, piece.weight)
        result.flags.writeable = False
        return result

    def repair(self, given: TaskInput) -> Repair:
        """What the record says of it."""
        return given.repair(self.device, self.boxes)

    @property
    def changed(self) -> int:
        """Pixels with a weight above 0."""
        return sum(int(np.count_nonzero(piece.weight)) for piece in self.pieces)


@dataclass(frozen=True)
class Defect:
    """One damage.

    Attributes:
        kind: the class with the largest summed probability in it, one of the card's labels.
        score: probability at its surest pixel, 0..1.
        box: tight around it.
        area: pixels.
        outline: corners (x, y) of its outer edge, centres of its outermost pixels; the first is one of its pixels.
        elongation: length over width of the rectangle that has its area and its perimeter; 1 and more.
        width: at its thickest place, pixels.
        share: its width over the short side of the picture, 0..1.
    """

    kind: str
    score: float
    box: Rect
    area: int
    outline: tuple[tuple[int, int], ...]
    elongation: float = 1.0
    width: float = 1.0
    share: float = 0.0


@dataclass(frozen=True)
class Marks:
    """Places in a picture: a repair mask that was found, or an edge map that was drawn.

    Attributes:
        shape: height and width of the picture.
        pieces: rectangles with their uint8 (h, w), 255 = marked; each lies within one cell of the
            ``engine.raster.TILE`` grid, and cells without any mark are absent.
        device: where the model really ran.
        defects: the damages that a detection found, in reading order.
        scales: the scales at which a detection looked at the picture (``Findings.scales``).
    """

    shape: tuple[int, int]
    pieces: tuple[tuple[Rect, Mask], ...]
    device: Device
    defects: tuple[Defect, ...] = ()
    scales: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        for _, mask in self.pieces:
            mask.flags.writeable = False

    def mask(self) -> Mask:
        """All of it, (h, w) uint8."""
        whole = np.zeros(self.shape, np.uint8)
        for rect, mask in self.pieces:
            whole[rect.slices()] = mask
        return whole

    @property
    def share(self) -> float:
        """How much of the picture the defects cover, 0..1; the mask may reach farther."""
        return sum(defect.area for defect in self.defects) / (self.shape[0] * self.shape[1])

    def repair(self, given: TaskInput) -> Repair:
        """What the record says of it; the boxes are those of the defects."""
        repair = given.repair(self.device, tuple(defect.box for defect in self.defects))
        return dataclasses.replace(repair, settings=repair.settings | {"scales": list(self.scales)})


class Model:
    """The model that a task is given, loaded: all its stages on one device."""

    def __init__(self, given: TaskInput, device: Device) -> None:
        self._job, self._card = given, given.card
        self._sessions: list[Session] = [SESSIONS.open(given.card, stage, device) for stage in given.card.stages]

    @property
    def device(self) -> Device:
        """Where it really runs: CUDA only if every stage does."""
        return next((session.device for session in self._sessions if session.device is Device.CPU), Device.CUDA)

    @property
    def on_cpu_alone(self) -> bool:
        """Whether no stage runs anywhere else."""
        return all(session.device is Device.CPU for session in self._sessions)

    def run(self, stage: int, context: JobContext, **tensors: Floats) -> list[np.ndarray]:
        """Run one stage; the card's settings are added as the task was given them.

        Args:
            stage: its place in the card.
            context: cancels the run.
            tensors: by role, as ``Session.run`` takes them; the mask is 1 where the picture is lost, whatever the
                card's is.

        Returns:
            The stage's outputs in the card's order.

        Raises:
            Cancelled, OutOfMemory, ModelError: see ``Session.run``.
        """
        if "mask" in tensors and self._card.mask_means == 0:
            tensors["mask"] = 1 - tensors["mask"]
        for setting in self._card.settings:
            value = getattr(self._job.settings, setting.name, setting.default)
            tensors[setting.name] = np.full(1, value, np.float32)
        return self._sessions[stage].run(tensors, context)

    def picture(self, stage: int, context: JobContext, **tensors: Floats) -> Floats:
        """Run a stage whose first output has the window's size, and give that output as (h, w, channels).

        Raises:
            ModelError: it has another size; or see ``run``.
        """
        size = tensors["picture"].shape[2:]
        output = self.run(stage, context, **tensors)[0]
        planes = self._card.stages[stage].outputs[0].channels
        if output.ndim != 4 or output.shape[2:] != size or output.shape[1] != planes:
            raise ModelError(
                "The model {model} was given {width} x {height} px and gave something of another size, "
                "or not of {planes} planes as its card says.",
                "model.output",
                model=self._card.id,
                width=size[1],
                height=size[0],
                planes=planes,
            )
        return from_planes(output)


def to_planes(values: Floats) -> Floats:
    """(h, w, channels) or (h, w) -> (1, channels, h, w), as models take it."""
    stacked = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
    return np.ascontiguousarray(stacked[None], np.float32)


def from_planes(tensor: np.ndarray) -> Floats:
    """(1, channels, h, w) -> (h, w, channels)."""
    return np.asarray(tensor[0].transpose(1, 2, 0), np.float32)


def check_settings(given: TaskInput) -> None:
    """Refuse a value outside the range that the model's card gives it.

    Raises:
        SettingsError: names the setting and its range.
    """
    for setting in given.card.settings:
        value = getattr(given.settings, setting.name, setting.default)
        if not setting.low <= value <= setting.high:
            raise SettingsError(
                "{setting} of the model {model} goes from {low:g} to {high:g}.",
                "task.setting",
                setting=setting.title,
                model=given.card.id,
                low=setting.low,
                high=setting.high,
            )


def run_shrinking(given: TaskInput, work: Callable[[Model, int], R], context: JobContext) -> R:
    """Run a task's work with the largest window that the memory holds: half of it again and again, then the CPU.

    Args:
        given: names the model and the device.
        work: called with the loaded model and the side of the largest window, pixels; starts afresh each time.
        context: only its cancellation is used here.

    Raises:
        DeviceError: the memory is not enough for the smallest window even on the CPU.
    """
    tile, device = given.card.tile, given.device
    while True:
        context.check()
        model = Model(given, device)
        window = tile.default
        while window >= tile.minimum:
            try:
                return work(model, window)
            except (OutOfMemory, MemoryError):
                window = window // 2 // tile.multiple * tile.multiple
        if model.on_cpu_alone:
            raise DeviceError(
                "The computer's memory is not enough for the smallest part of this picture.", "device.memory"
            )
        device = Device.CPU
