"""What every task shares: the frozen job, the patch it gives back, and running a model window by window."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from engine.errors import DeviceError
from engine.jobs import JobContext
from engine.raster import Mask, MaskSource, Pixels, PixelSource, Rect, mix
from engine.record import Repair
from engine.runtime.cards import ModelCard
from engine.runtime.session import SESSIONS, Device, OutOfMemory, Session

R = TypeVar("R")


@dataclass(frozen=True)
class Job:
    """One task on one picture: frozen input.

    Attributes:
        task: a row of ``engine.tasks.TASKS``.
        source: the picture; must not change while the job runs.
        profile: its ICC profile; None = sRGB.
        mask: the repair mask, for tasks that want one, of the picture's size.
        settings: the task's settings dataclass.
        card: the model.
        device: where to run it.
    """

    task: str
    source: PixelSource
    profile: bytes | None
    mask: MaskSource | None
    settings: object
    card: ModelCard
    device: Device = Device.AUTO


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

    def repair(self, job: Job) -> Repair:
        """What the record says of it."""
        return Repair(
            job.task,
            job.card.id,
            job.card.version,
            job.card.checksum,
            self.device.value,
            dataclasses.asdict(job.settings),  # type: ignore[call-overload]
            tuple((box.left, box.top, box.right, box.bottom) for box in self.boxes),
        )

    @property
    def changed(self) -> int:
        """Pixels with a weight above 0."""
        return sum(int(np.count_nonzero(piece.weight)) for piece in self.pieces)


def run_shrinking(job: Job, work: Callable[[Session, int], R], context: JobContext) -> R:
    """Run a task's work with the largest window that the memory holds: half of it again and again, then the CPU.

    Args:
        job: names the model and the device.
        work: called with the loaded model and the side of the largest window, pixels; starts afresh each time.
        context: only its cancellation is used here.

    Raises:
        DeviceError: the memory is not enough for the smallest window even on the CPU.
    """
    stage, tile = job.card.stages[0], job.card.tile
    device = job.device
    while True:
        context.check()
        session = SESSIONS.open(job.card, stage, device)
        window = tile.default
        while window >= tile.minimum:
            try:
                return work(session, window)
            except OutOfMemory:
                window = window // 2 // tile.multiple * tile.multiple
        if session.device is Device.CPU:
            raise DeviceError(
                "The computer's memory is not enough for the smallest part of this picture.", "device.memory"
            )
        device = Device.CPU
