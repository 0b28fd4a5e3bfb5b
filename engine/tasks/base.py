"""Shared by all tasks: their input, their results (patches and marks), and running the stages of a model."""

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
    """Metadata of a setting's dataclass field: how the task panel shows it, and the range that ``Ranged`` checks.

    Args:
        title: name in the panel.
        tooltip: one sentence of explanation.
        low: least value; a model's card may raise it.
        high: largest value; a model's card may lower it.
        unit: shown after the number.
        whole: whether only whole numbers are allowed.
        by_card: whether only models whose card declares it have this setting.
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
    """Base class of a task's settings; each field has a ``knob``.

    Raises:
        SettingsError: a value is out of its range; names the setting.
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
    """The input of one task on one picture. Immutable.

    Attributes:
        task: a row of ``engine.tasks.TASKS``.
        source: the picture; must not change while the task runs.
        profile: its ICC profile; None = sRGB.
        mask: the repair mask, of the picture's size; for tasks that need one.
        settings: the task's settings dataclass.
        card: the model.
        device: where to run it.
        guide: edge map edited by the user, 255 = edge, of the picture's size; for heal models that take edges.
        guided: mask of where the guide is used, grown like the repair mask; None = wherever the picture is lost.
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
        """The entry in the record, after the task ran.

        Args:
            device: where the model ran.
            boxes: the damages.
        """
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
    """A rectangle of a patch: pixels (h, w, channels) in the picture's encoding and their weights (h, w); read-only."""

    rect: Rect
    pixels: Pixels
    weight: Mask

    def __post_init__(self) -> None:
        self.pixels.flags.writeable = False
        self.weight.flags.writeable = False


@dataclass(frozen=True)
class Patch:
    """Repaired pixels and the weights for blending them over the picture.

    Attributes:
        pieces: do not overlap; each lies within one cell of the ``engine.raster.TILE`` grid.
        device: where the model ran.
        boxes: the damages, for the record.
    """

    pieces: tuple[Piece, ...]
    device: Device
    boxes: tuple[Rect, ...]

    def apply_to(self, pixels: Pixels) -> Pixels:
        """A copy of a picture with the patch blended over it; unchanged where the weight is 0. Read-only."""
        result = pixels.copy()
        for piece in self.pieces:
            target = result[piece.rect.slices()]
            target[...] = mix(target, piece.pixels, piece.weight)
        result.flags.writeable = False
        return result

    def repair(self, given: TaskInput) -> Repair:
        """The entry in the record."""
        return given.repair(self.device, self.boxes)

    @property
    def changed(self) -> int:
        """Pixels with a weight above 0."""
        return sum(int(np.count_nonzero(piece.weight)) for piece in self.pieces)


@dataclass(frozen=True)
class Defect:
    """One damage that was found.

    Attributes:
        kind: its class: the label with the largest summed probability, or one by shape (``findings.THIN_OR_SMALL``).
        score: highest probability of its pixels, 0..1.
        box: bounding box.
        area: pixels.
        outline: corners (x, y) of its outer contour, at the centres of its outermost pixels; the first is one of its
            pixels.
        elongation: length over width of the rectangle with its area and its perimeter; at least 1.
        width: at its thickest place, pixels.
        share: width over the short side of the picture, 0..1.
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
    """Marked places in a picture: a repair mask that was found, or an edge map that was drawn.

    Attributes:
        shape: height and width of the picture.
        pieces: rectangles with their uint8 (h, w), 255 = marked; each lies within one cell of the
            ``engine.raster.TILE`` grid; empty cells are absent.
        device: where the model ran.
        defects: the damages that a detection found, row by row.
        scales: the reductions of the picture that the detection ran on (``Findings.scales``).
        unsure: further damages that it found, which are not in the mask because a person must look at them first.
    """

    shape: tuple[int, int]
    pieces: tuple[tuple[Rect, Mask], ...]
    device: Device
    defects: tuple[Defect, ...] = ()
    scales: tuple[int, ...] = (1,)
    unsure: tuple[Defect, ...] = ()

    def __post_init__(self) -> None:
        for _, mask in self.pieces:
            mask.flags.writeable = False

    def mask(self) -> Mask:
        """The mask of the whole picture, (h, w) uint8."""
        whole = np.zeros(self.shape, np.uint8)
        for rect, mask in self.pieces:
            whole[rect.slices()] = mask
        return whole

    @property
    def share(self) -> float:
        """Share of the picture that the defects cover, 0..1; the mask may cover more."""
        return sum(defect.area for defect in self.defects) / (self.shape[0] * self.shape[1])

    def repair(self, given: TaskInput) -> Repair:
        """The entry in the record, with the boxes of the defects."""
        repair = given.repair(self.device, tuple(defect.box for defect in self.defects))
        return dataclasses.replace(repair, settings=repair.settings | {"scales": list(self.scales)})


class Model:
    """The loaded model of a task: all its stages on one device."""

    def __init__(self, given: TaskInput, device: Device) -> None:
        self._job, self._card = given, given.card
        self._sessions: list[Session] = [SESSIONS.open(given.card, stage, device) for stage in given.card.stages]

    @property
    def device(self) -> Device:
        """Where it runs: CUDA only if every stage does."""
        return next((session.device for session in self._sessions if session.device is Device.CPU), Device.CUDA)

    @property
    def providers(self) -> tuple[str, ...]:
        """The providers of all stages, see ``Session.providers``, each once."""
        return tuple(dict.fromkeys(name for session in self._sessions for name in session.providers))

    @property
    def on_cpu_alone(self) -> bool:
        """Whether all stages run on the CPU."""
        return all(session.device is Device.CPU for session in self._sessions)

    def run(self, stage: int, context: JobContext, **tensors: Floats) -> list[np.ndarray]:
        """Run one stage. Inputs for the card's settings are added from the task's settings.

        Args:
            stage: its index in the card.
            context: cancels the run.
            tensors: inputs by role, as for ``Session.run``; the mask is 1 where the picture is lost, and inverted here
                if the card's ``mask_means`` is 0.

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
        """Run a stage whose first output has the window's size, and return that output as (h, w, channels).

        Raises:
            ModelError: it has another size.
            Cancelled, OutOfMemory, ModelError: see ``run``.
        """
        size = tensors["picture"].shape[2:]
        output = self.run(stage, context, **tensors)[0]
        planes = self._card.stages[stage].outputs[0].channels
        if output.ndim != 4 or output.shape[2:] != size or output.shape[1] != planes:
            raise ModelError(
                "The model {model} was given {width} x {height} px, and its output has another size, "
                "or not the {planes} planes that its card says.",
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
    """Check the settings of a task's input; raises as ``check_ranges``."""
    check_ranges(given.card, given.settings)


def check_ranges(card: ModelCard, settings: object) -> None:
    """Check a task's settings against the ranges of a model's card.

    Raises:
        SettingsError: a value is out of range; names the setting and its range.
    """
    for setting in card.settings:
        value = getattr(settings, setting.name, setting.default)
        if not setting.low <= value <= setting.high:
            raise SettingsError(
                "{setting} of the model {model} goes from {low:g} to {high:g}.",
                "task.setting",
                setting=setting.title,
                model=card.id,
                low=setting.low,
                high=setting.high,
            )


def run_shrinking(given: TaskInput, work: Callable[[Model, int], R], context: JobContext) -> R:
    """Run a task; when memory runs out, try again with windows of half the side, and at last on the CPU.

    Args:
        given: names the model and the device.
        work: called with the loaded model and the side of the largest window, pixels; each call starts from scratch.
        context: only its cancellation is used here.

    Returns:
        The result of ``work``.

    Raises:
        Cancelled: the job was cancelled.
        DeviceError: the memory is not enough for the smallest window even on the CPU.
        EngineError: any other error of ``work``.
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
