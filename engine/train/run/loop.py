"""The one training loop: schedule by time, averaged weights, validation, checkpoints, resume, one device or several."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from engine.errors import DeviceError, EngineError, ReadError, SettingsError
from engine.imageio import atomic_write_bytes
from engine.train.data.batches import Batch, Batches, Sources, to_picture, write_picture
from engine.train.nets import Generator
from engine.train.recipe import Recipe, recipe_from_dict
from engine.train.run.parallel import agreed, processes, rank
from engine.train.run.system import R1_EVERY, System
from engine.train.run.systems import SYSTEMS

KEPT_CHECKPOINTS = 2
KEPT_SHEETS = 12
TIMED_STEPS = 24
"""Steps at the start of a call after which the share of time that goes into data is told."""


@dataclass(frozen=True)
class Budget:
    """How long a training is and how much of it this call does.

    Attributes:
        minutes: length of the whole schedule; the learning rate is at its floor when it ends.
        slice_minutes: stop this call after so long, with a checkpoint, to be resumed. None: go to the end.
    """

    minutes: float
    slice_minutes: float | None = None

    def __post_init__(self) -> None:
        for minutes in (self.minutes, self.slice_minutes):
            if minutes is not None and not 0 < minutes < math.inf:
                raise SettingsError(f"Impossible training time: {minutes} minutes.", "train.setting")


class Trainer:
    """One run: everything that a checkpoint holds, and the steps that change it.

    A run folder holds ``recipe.json``, ``log.jsonl``, TensorBoard scalars, ``samples-*.png`` and the checkpoints
    ``step-*.pt`` (last two) and ``best.pt``.

    Attributes:
        step, seen, elapsed, best: steps done, pictures seen, seconds of training, smallest validation error.

    Args:
        recipe: what is trained.
        run: the run folder.
        device: of this process. Under ``torchrun`` there is a process a device, joined by ``joined_processes``.
    """

    def __init__(self, recipe: Recipe, run: Path, device: torch.device) -> None:
        torch.manual_seed(recipe.schedule.seed)
        self.recipe, self.run, self.device = recipe, run, device
        self.step, self.seen, self.elapsed, self.best = 0, 0, 0.0, math.inf
        if recipe.system not in SYSTEMS:
            raise SettingsError(f"Unknown system {recipe.system!r}. Known: {', '.join(SYSTEMS)}.", "train.setting")
        self.system: System = SYSTEMS[recipe.system](recipe).to(device)
        _check_crop(recipe, self.system.generator)
        self.system.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = torch.optim.swa_utils.AveragedModel(self.system.generator, multi_avg_fn=self._average)
        schedule, adversary = recipe.schedule, recipe.adversary
        self._g_optimiser = _adamw(
            self.system.generator, schedule.learning_rate, (schedule.beta1, 0.99), schedule.weight_decay
        )
        self._d_optimiser = (
            _adamw(self.system.critics, adversary.learning_rate, (adversary.beta1, 0.99), 0.0)
            if len(self.system.critics)
            else None
        )
        self._wrapped: nn.Module = self.system
        if distributed.is_initialized():
            # Generator and discriminators take turns: in every step some parameters have no part.
            self._wrapped = nn.parallel.DistributedDataParallel(
                self.system, find_unused_parameters=True, broadcast_buffers=False
            )

    # -- one step ---------------------------------------------------------------------------------------------

    def train_step(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """One update of the generator, and of the discriminators once they have set in; scalars to log."""
        schedule, adversary = self.recipe.schedule, self.recipe.adversary
        rate = learning_rate(schedule, progress, self.step)
        _set_rate(self._g_optimiser, rate)
        playing = self._d_optimiser is not None and progress >= adversary.start
        self.system.train()
        told = self._turn(batch, None, playing=playing)
        norm = self._update(self._g_optimiser, self.system.generator, told["loss"])
        self.average.update_parameters(self.system.generator)
        scalars = {"gradient_norm": norm, "learning_rate": torch.tensor(rate)}
        if told["pairs"] and self._d_optimiser is not None:
            judged = self._turn(batch, told["pairs"], playing=True)
            scalars["discriminator_norm"] = self._update(self._d_optimiser, self.system.critics, judged["loss"])
            told = judged | told
        self.step += 1
        self.seen += len(batch.photo) * processes()
        return scalars | {name: value.detach() for name, value in told.items() if name != "pairs"}

    def _turn(self, batch: Batch, judged: Any, *, playing: bool) -> dict[str, Any]:
        with torch.autocast(self.device.type, torch.bfloat16):
            told: dict[str, Any] = self._wrapped(
                batch, judged, playing=playing, penalised=judged is not None and self.step % R1_EVERY == 0
            )
        return told

    def _average(self, averages: Any, weights: Any, _: object) -> None:
        """An exponential moving average that forgets quickly at first, or short trainings would export their beginning.

        The decay after n steps is at most (1 + n) / (10 + n), as in TensorFlow's ExponentialMovingAverage.
        """
        decay = min(self.recipe.schedule.averaging, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(averages, weights, 1 - decay)

    def _update(self, optimiser: torch.optim.Optimizer, network: nn.Module, loss: Tensor) -> Tensor:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(network.parameters(), self.recipe.schedule.clip)
        optimiser.step()
        return norm.detach()

    # -- validation -------------------------------------------------------------------------------------------

    @torch.no_grad()
    def validate(self, held_out: Batch, sheet: Path | None = None) -> tuple[float, dict[str, float]]:
        """Score the averaged weights on fixed crops.

        Args:
            held_out: crops that are never trained on.
            sheet: where to write a sheet of samples, if anywhere.

        Returns:
            The system's error, mean over the crops, and its further indicators, of the first crops.
        """
        generator = self.average.module
        generator.eval()
        total = 0.0
        indicators: dict[str, float] = {}
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.recipe.schedule.seed)
            for start in range(0, len(held_out.photo), 32):
                part = held_out.part(slice(start, start + 32))
                with torch.autocast(self.device.type, torch.bfloat16):
                    made = self.system.make(generator, part)
                total += len(part.photo) * float(self.system.error(part, made))
                if start == 0:
                    indicators = self.system.indicators(part, made)
                    if sheet is not None:
                        write_sheet(sheet, self.system.columns(part, made))
        generator.train()
        return total / len(held_out.photo), indicators

    # -- checkpoints ------------------------------------------------------------------------------------------

    def save(self, name: str) -> None:
        """Write a checkpoint atomically; on failure the earlier ones are as they were."""
        state: dict[str, Any] = {
            "recipe": json.dumps(self.recipe.as_dict()),
            "machine": machine_name(self.device),
            "step": self.step,
            "seen": self.seen,
            "elapsed": self.elapsed,
            "best": self.best,
            "generator": self.system.generator.state_dict(),
            "average": self.average.state_dict(),
            "g_optimiser": self._g_optimiser.state_dict(),
        }
        if self._d_optimiser is not None:
            state["critics"] = self.system.critics.state_dict()
            state["d_optimiser"] = self._d_optimiser.state_dict()
        partial = self.run / f".{name}.partial"
        try:
            torch.save(state, partial)
            os.replace(partial, self.run / name)
        except (OSError, RuntimeError) as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise EngineError(f"The checkpoint {name} could not be saved: {error}.", "train.save") from error

    def save_step(self) -> None:
        """Write the checkpoint of this step and drop all but the last two."""
        self.save(f"step-{self.step:08d}.pt")
        for old in sorted(self.run.glob("step-*.pt"))[:-KEPT_CHECKPOINTS]:
            old.unlink()

    def resume(self) -> bool:
        """Go on from the newest checkpoint of the run folder; False when there is none.

        Raises:
            ReadError: no checkpoint of the folder can be read, or it is of another recipe.
        """
        if not any(self.run.glob("step-*.pt")):
            return False
        state = newest_checkpoint(self.run, self.device)
        try:
            self._restore(state)
        except (RuntimeError, KeyError, ValueError) as error:
            # RuntimeError is torch's word for weights of another shape.
            raise ReadError(f"The checkpoints in {self.run} are of another recipe.", "train.checkpoint") from error
        return True

    def _restore(self, state: dict[str, Any]) -> None:
        other = recipe_from_dict(json.loads(state["recipe"]))
        ours = self.recipe
        if (other.name, other.network, other.losses) != (ours.name, ours.network, ours.losses):
            raise ReadError(f"{self.run} holds a training of another recipe.", "train.recipe")
        self.system.generator.load_state_dict(state["generator"])
        self.average.load_state_dict(state["average"])
        self._g_optimiser.load_state_dict(state["g_optimiser"])
        if self._d_optimiser is not None and "critics" in state:
            self.system.critics.load_state_dict(state["critics"])
            self._d_optimiser.load_state_dict(state["d_optimiser"])
        self.step, self.seen = state["step"], state["seen"]
        self.elapsed, self.best = state["elapsed"], state["best"]

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Begin with the weights of an exported model instead of random ones.

        Raises:
            SettingsError: they belong to another network.
        """
        missing = [name for name, _ in self.system.generator.named_parameters() if name not in weights]
        try:
            _, unexpected = self.system.generator.load_state_dict(weights, strict=False)
            self.average.module.load_state_dict(weights, strict=False)
        except RuntimeError as error:
            raise SettingsError(
                f"The model's weights do not fit the recipe's network: {error}.", "train.start"
            ) from error
        if unexpected or missing:
            # An exporter may have folded weights into others; half of a network is no beginning.
            named = ", ".join([*unexpected, *missing][:3])
            raise SettingsError(f"The model's weights do not fit the recipe's network: {named}.", "train.start")


def newest_checkpoint(run: Path, device: torch.device) -> dict[str, Any]:
    """The newest checkpoint of a run folder that can be read: a torn one falls back to the one before.

    Raises:
        ReadError: there is none.
    """
    for path in sorted(run.glob("step-*.pt"), reverse=True):
        with contextlib.suppress(ReadError):
            return read_checkpoint(path, device)
    raise ReadError(f"{run} holds no checkpoint, or damaged ones only.", "train.checkpoint")


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Load a checkpoint; nothing but tensors and plain values is ever unpickled.

    Raises:
        ReadError: it is damaged, or holds anything else.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        # torch's reader meets a torn file with whatever exception comes first.
        raise ReadError(f"The checkpoint {path.name} is damaged.", "train.checkpoint") from error
    if not isinstance(state, dict) or "recipe" not in state:
        raise ReadError(f"The checkpoint {path.name} is none of this program.", "train.checkpoint")
    return state


def machine_name(device: torch.device) -> str:
    """What trains: the GPU's name, or the number of CPU threads; and how many processes of it."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return name if processes() == 1 else f"{processes()} x {name}"


def learning_rate(schedule: Any, progress: float, steps: int) -> float:
    """Linear warm-up over steps, then a cosine from the full rate to the floor over the schedule's progress 0..1."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    rate = schedule.floor + (schedule.learning_rate - schedule.floor) * cosine
    return float(rate * min(1.0, (steps + 1) / max(1, schedule.warm_up)))


def fit(trainer: Trainer, sources: Sources, budget: Budget, *, say: Any = print) -> None:
    """Train until the budget ends (or its slice), validating and saving on the way.

    When a GPU's memory is not enough, the batch is halved once, and that is said.

    Args:
        trainer: new, resumed or started from a model.
        sources: photographs and what goes with them.
        budget: minutes of the schedule, and of this call.
        say: called with lines for a person.

    Raises:
        SettingsError: no photographs to train on.
        EngineError: the loss became NaN (the last good checkpoint stays), or a checkpoint could not be saved.
        DeviceError: the memory is not enough for half a batch; or for a whole one of several processes.
    """
    recipe, device = trainer.recipe, trainer.device
    if rank() > 0:
        say = _say_nothing
    needs = trainer.system.NEEDS
    batches = Batches(recipe, sources, device, validation=False, needs=needs)
    held_out = Batches(recipe, sources, device, validation=True, needs=needs).draw(recipe.schedule.validation_crops)
    # Other draws than the other processes', and than before a resume.
    seed = recipe.schedule.seed + trainer.step + 7919 * rank()
    batches.seed(seed)
    torch.manual_seed(seed)
    trainer.run.mkdir(parents=True, exist_ok=True)
    if rank() == 0:
        atomic_write_bytes(trainer.run / "recipe.json", json.dumps(recipe.as_dict(), indent=1).encode())
    photographs = batches.photographs
    say(f"{len(photographs)} photographs on {device}, {photographs.skipped} skipped; from step {trainer.step}")
    # Two batches before the first step: what cannot be validated is known now, and not when the first interval ends.
    trainer.validate(held_out.part(slice(0, 64)))
    with _scalar_log(trainer.run) as log:
        _Course(trainer, batches, held_out, budget, log, say).run()


class _Course:
    """One call's way through the schedule."""

    def __init__(self, trainer: Trainer, batches: Batches, held_out: Batch, budget: Budget, log: Any, say: Any) -> None:
        self._trainer, self._batches, self._held_out = trainer, batches, held_out
        self._budget, self._log, self._say = budget, log, say
        self._count = trainer.recipe.data.batch
        self._seen, self._steps, self._drawing, self._stepping = 0, 0, 0.0, 0.0
        self._begun = agreed(time.monotonic(), trainer.device)

    def run(self) -> None:
        trainer, budget = self._trainer, self._budget
        every = trainer.recipe.schedule.validate_every
        last, before, since_validation = self._begun, trainer.elapsed, 0.0
        scalars: dict[str, Tensor] = {}
        while trainer.elapsed < 60 * budget.minutes:
            scalars = self._step(trainer.elapsed / (60 * budget.minutes))
            now = agreed(time.monotonic(), trainer.device)
            trainer.elapsed += max(0.0, now - last)
            since_validation += max(0.0, now - last)
            last = now
            sliced = budget.slice_minutes is not None and now - self._begun >= 60 * budget.slice_minutes
            if since_validation >= every or sliced:
                self._validate_and_save(scalars)
                since_validation, last = 0.0, agreed(time.monotonic(), trainer.device)
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
                batch = self._batches.draw(self._count)
                drawn = self._clock(waits=timed)
                scalars = self._trainer.train_step(batch, progress)
                done = self._clock(waits=timed)
            except torch.OutOfMemoryError as error:
                if self._count < max(2, self._trainer.recipe.data.batch) or processes() > 1:
                    raise DeviceError("The memory is not enough; set a smaller data.batch.", "device.memory") from error
            if scalars is None:
                # Out here, as the exception holds on to what the step had in memory.
                self._halve()
        if timed and self._steps >= 4:
            # The first steps load kernels.
            self._drawing += drawn - start
            self._stepping += done - start
        self._steps += 1
        if self._steps == TIMED_STEPS:
            self._say(f"data and damage take {100 * self._drawing / self._stepping:.0f} % of a step")
        self._seen += self._count * processes()
        return scalars

    def _halve(self) -> None:
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
                f"The training diverged at step {trainer.step}; the last good checkpoint stands.", "train.nan"
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
        speed = self._seen / max(1e-9, time.monotonic() - self._begun)
        row |= indicators | {"validation": error, "images_per_second": speed, "minutes": trainer.elapsed / 60}
        row["data_share"] = self._drawing / max(1e-9, self._stepping)
        self._log(trainer.step, row)
        words = "  ".join(f"{name} {value:.3f}" for name, value in indicators.items())
        self._say(f"step {trainer.step}  {row['minutes']:.1f} min  {speed:.0f} images/s  error {error:.5f}  {words}")


def _say_nothing(_: str) -> None:
    """Only one of several processes speaks."""


@contextlib.contextmanager
def _scalar_log(run: Path) -> Iterator[Any]:
    """A function that writes a row of scalars to ``log.jsonl`` and to TensorBoard."""
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


def write_sheet(path: Path, columns: list[Tensor], rows: int = 8) -> None:
    """A PNG whose columns are batches of pictures (B, 3, H, W) in 0..1."""
    lines = torch.cat([column[:rows].float() for column in columns], dim=3)
    write_picture(path, to_picture(torch.cat(list(lines), dim=1)))


def _adamw(network: nn.Module, rate: float, betas: tuple[float, float], decay: float) -> torch.optim.Optimizer:
    """AdamW that decays weights but not biases."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    biases = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], rate, betas=betas, fused=True)


def _check_crop(recipe: Recipe, generator: Generator) -> None:
    """Refuse crops that the network cannot take.

    Raises:
        SettingsError: says which it can.
    """
    crop, multiple, fixed = recipe.data.crop, generator.exports()[0].multiple, generator.TILE.default
    if multiple and crop % multiple:
        raise SettingsError(f"data.crop = {crop}: the network takes multiples of {multiple}.", "train.setting")
    if not multiple and crop != fixed:
        raise SettingsError(f"data.crop = {crop}: the network takes pictures of {fixed} px.", "train.setting")


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
