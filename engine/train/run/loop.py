"""The training loop: a schedule by time, with validation, checkpoints and a log."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.errors import DeviceError, EngineError, SettingsError
from engine.imageio import atomic_write_bytes
from engine.train.data.batches import Batch, Batches, Sources
from engine.train.data.faces import FaceBatches
from engine.train.recipe import TrainingRecipe
from engine.train.run.negatives import Negatives
from engine.train.run.parallel import process_count, rank, shared_clock
from engine.train.run.trainer import Trainer

KEPT_SHEETS = 12
"""Number of sample sheets kept in a run folder."""
TIMED_STEPS = 24
"""Number of first steps whose time is measured, to report the share of it that goes into data."""


@dataclass(frozen=True)
class Budget:
    """Length of a training, and of the part of it that this call does.

    Attributes:
        minutes: length of the whole schedule; at its end the learning rate is at its floor.
        slice_minutes: length of this call, which ends with a checkpoint to resume from; None = until the end.

    Raises:
        SettingsError: a length is not a positive finite number.
    """

    minutes: float
    slice_minutes: float | None = None

    def __post_init__(self) -> None:
        for minutes in (self.minutes, self.slice_minutes):
            if minutes is not None and not 0 < minutes < math.inf:
                raise SettingsError("Impossible training time: {minutes} minutes.", "train.setting", minutes=minutes)


def fit(trainer: Trainer, sources: Sources, budget: Budget, *, say: Any = print) -> None:
    """Train until the budget or its slice ends, and validate and save in between.

    When the memory is not enough, the batch is halved once, with a message.

    Args:
        trainer: a new or resumed trainer, or one with the weights of a model.
        sources: the folders to read.
        budget: minutes of the schedule and of this call.
        say: called with messages for a person.

    Raises:
        SettingsError: there are no photographs to train on.
        EngineError: the loss is not finite (the last checkpoint stays), or a checkpoint could not be saved.
        DeviceError: the memory is not enough for half a batch, or with several processes for a whole batch.
    """
    recipe, device = trainer.recipe, trainer.device
    if rank() > 0:
        say = _say_nothing
    needs = trainer.system.NEEDS
    batches = open_batches(recipe, sources, device, validation=False, needs=needs)
    held_out = open_batches(recipe, sources, device, validation=True, needs=needs).draw(
        recipe.schedule.validation_crops
    )
    # Different draws for each process, and after each resume.
    seed = recipe.schedule.seed + trainer.step + 7919 * rank()
    batches.seed(seed)
    torch.manual_seed(seed)
    trainer.run.mkdir(parents=True, exist_ok=True)
    if rank() == 0:
        atomic_write_bytes(trainer.run / "recipe.json", json.dumps(recipe.as_dict(), indent=1).encode())
    photographs = batches.photographs
    say(f"{len(photographs)} photographs on {device}, {photographs.skipped} skipped; from step {trainer.step}")
    # Validate before the first step, so that a fault in the validation shows now and not after the first interval.
    trainer.validate(held_out.part(slice(0, 64)))
    with _scalar_log(trainer.run) as log:
        _Loop(trainer, batches, held_out, budget, log, say).run()


def open_batches(
    recipe: TrainingRecipe, sources: Sources, device: torch.device, *, validation: bool, needs: frozenset[str]
) -> Batches | FaceBatches:
    """The batches of a system: of ``Batches``, or, if it needs ``faces``, of ``FaceBatches``; raises as these."""
    if "faces" in needs:
        return FaceBatches(recipe, sources, device, validation=validation)
    return Batches(recipe, sources, device, validation=validation, needs=needs)


class _Loop:
    """The steps of one call of ``fit``."""

    def __init__(
        self,
        trainer: Trainer,
        batches: Batches | FaceBatches,
        held_out: Batch,
        budget: Budget,
        log: Any,
        say: Any,
    ) -> None:
        self._trainer, self._batches, self._held_out = trainer, batches, held_out
        self._budget, self._log, self._say = budget, log, say
        self._count = trainer.recipe.data.batch
        self._seen, self._steps, self._data_seconds, self._step_seconds = 0, 0, 0.0, 0.0
        self._negatives: Negatives | FaceBatches | None = None
        if trainer.recipe.negatives.share:
            self._negatives = batches if isinstance(batches, FaceBatches) else Negatives(trainer.recipe, batches)
        self._started = shared_clock(time.monotonic(), trainer.device)

    def run(self) -> None:
        trainer, budget = self._trainer, self._budget
        every = trainer.recipe.schedule.validate_every
        last, before, since_validation = self._started, trainer.elapsed, 0.0
        scalars: dict[str, Tensor] = {}
        while trainer.elapsed < 60 * budget.minutes:
            scalars = self._step(trainer.elapsed / (60 * budget.minutes))
            now = shared_clock(time.monotonic(), trainer.device)
            trainer.elapsed += max(0.0, now - last)
            since_validation += max(0.0, now - last)
            last = now
            sliced = budget.slice_minutes is not None and now - self._started >= 60 * budget.slice_minutes
            if since_validation >= every or sliced:
                self._validate_and_save(scalars)
                since_validation, last = 0.0, shared_clock(time.monotonic(), trainer.device)
            if sliced:
                return
        if trainer.elapsed > before:
            self._validate_and_save(scalars)

    def _step(self, progress: float) -> dict[str, Tensor]:
        timed = self._steps < TIMED_STEPS
        scalars: dict[str, Tensor] | None = None
        while scalars is None:
            try:
                start = self._clock(waits=timed)
                batch = self._draw()
                drawn = self._clock(waits=timed)
                scalars = self._trainer.train_step(batch, progress)
                done = self._clock(waits=timed)
            except torch.OutOfMemoryError as error:
                if self._count < max(2, self._trainer.recipe.data.batch) or process_count() > 1:
                    raise DeviceError("The memory is not enough; set a smaller data.batch.", "device.memory") from error
            if scalars is None:
                # Not in the except block: there the exception still holds the memory of the step.
                self._halve_batch()
        if timed and self._steps >= 4:
            # The first steps are slower, as they load kernels.
            self._data_seconds += drawn - start
            self._step_seconds += done - start
        self._steps += 1
        if self._steps == TIMED_STEPS:
            self._say(f"data and damage take {100 * self._data_seconds / self._step_seconds:.0f} % of a step")
        self._seen += self._count * process_count()
        return scalars

    def _draw(self) -> Batch:
        batch = self._batches.draw(self._count)
        if self._negatives and self._trainer.step % self._trainer.recipe.negatives.every == 0:
            self._negatives.search(self._trainer.system.generator)
        # Batches of faces have theirs in them already.
        return self._negatives.add_to(batch) if isinstance(self._negatives, Negatives) else batch

    def _halve_batch(self) -> None:
        self._trainer.system.zero_grad(set_to_none=True)
        if self._trainer.device.type == "cuda":
            torch.cuda.empty_cache()
        self._count = max(1, self._count // 2)
        self._say(f"The memory was not enough: going on with batches of {self._count}.")

    def _clock(self, *, waits: bool) -> float:
        if waits and self._trainer.device.type == "cuda":
            torch.cuda.synchronize()
        return time.monotonic()

    def _validate_and_save(self, scalars: dict[str, Tensor]) -> None:
        trainer = self._trainer
        row = {name: float(value) for name, value in scalars.items()}
        if not all(math.isfinite(value) for value in row.values()):
            raise EngineError(
                "The training diverged at step {step}; the last good checkpoint stands.", "train.nan", step=trainer.step
            )
        if rank() > 0:
            return
        sheet = trainer.run / f"samples-{trainer.step:08d}.png"
        error, indicators = trainer.validate(self._held_out, sheet)
        improved = error < trainer.best
        trainer.best = min(trainer.best, error)
        trainer.save_step()
        if improved:
            trainer.save("best.pt")
        for old in sorted(trainer.run.glob("samples-*.png"))[:-KEPT_SHEETS]:
            old.unlink()
        speed = self._seen / max(1e-9, time.monotonic() - self._started)
        row |= indicators | {"validation": error, "images_per_second": speed, "minutes": trainer.elapsed / 60}
        row["data_share"] = self._data_seconds / max(1e-9, self._step_seconds)
        self._log(trainer.step, row)
        words = "  ".join(f"{name} {value:.3f}" for name, value in indicators.items())
        self._say(f"step {trainer.step}  {row['minutes']:.1f} min  {speed:.0f} images/s  error {error:.5f}  {words}")


def _say_nothing(_: str) -> None:
    """Used instead of ``say`` by all processes but the first."""


@contextlib.contextmanager
def _scalar_log(run: Path) -> Iterator[Any]:
    """Give a function that writes a row of scalars to ``log.jsonl`` and to TensorBoard."""
    if rank() > 0:
        yield lambda _step, _row: None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run)) as board, (run / "log.jsonl").open("a", encoding="utf-8") as lines:

        def log(step: int, row: dict[str, float]) -> None:
            lines.write(json.dumps({"step": step} | row) + "\n")
            lines.flush()
            for name, value in row.items():
                board.add_scalar(name, value, step)

        yield log
