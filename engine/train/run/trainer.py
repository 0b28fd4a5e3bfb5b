"""One training run: networks, optimisers, averaged weights, validation and checkpoints."""

from __future__ import annotations

import contextlib
import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from engine.errors import EngineError, ReadError, SettingsError
from engine.train.data.batches import Batch
from engine.train.data.photographs import to_picture, write_picture
from engine.train.nets import Generator
from engine.train.recipe import Schedule, TrainingRecipe, recipe_from_dict
from engine.train.run.parallel import process_count
from engine.train.run.system import R1_EVERY, System
from engine.train.run.systems import SYSTEMS

KEPT_CHECKPOINTS = 2
"""Number of step checkpoints kept in a run folder."""


class Trainer:
    """The state of a training run, which its checkpoints hold, and the steps that change it.

    The run folder holds ``recipe.json``, ``log.jsonl``, TensorBoard scalars, ``samples-*.png`` and the checkpoints
    ``step-*.pt`` (the last two) and ``best.pt``.

    Attributes:
        step, seen, elapsed, best: steps done, pictures seen, seconds of training, smallest validation error.

    Args:
        recipe: the training recipe.
        run: the run folder.
        device: device of this process. Under ``torchrun`` each device has a process, see ``process_group``.

    Raises:
        SettingsError: the recipe names an unknown system, network, loss or adversarial loss, or an impossible crop.
    """

    def __init__(self, recipe: TrainingRecipe, run: Path, device: torch.device) -> None:
        torch.manual_seed(recipe.schedule.seed)
        self.recipe, self.run, self.device = recipe, run, device
        self.step, self.seen, self.elapsed, self.best = 0, 0, 0.0, math.inf
        if recipe.system not in SYSTEMS:
            raise SettingsError(
                "Unknown system {system!r}. Known: {systems}.",
                "train.setting",
                system=recipe.system,
                systems=", ".join(SYSTEMS),
            )
        self.system: System = SYSTEMS[recipe.system](recipe).to(device)
        _check_crop(recipe, self.system.generator)
        self.system.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = torch.optim.swa_utils.AveragedModel(
            self.system.generator, multi_avg_fn=self._average, use_buffers=True
        )
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
            # Generator and discriminators take turns: in every step some parameters are unused.
            self._wrapped = nn.parallel.DistributedDataParallel(
                self.system, find_unused_parameters=True, broadcast_buffers=False
            )

    # -- one step ---------------------------------------------------------------------------------------------

    def train_step(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Update the generator, and the discriminators once they take part; returns scalars to log."""
        schedule, adversary = self.recipe.schedule, self.recipe.adversary
        rate = learning_rate(schedule, progress, self.step)
        _set_rate(self._g_optimiser, rate)
        playing = self._d_optimiser is not None and progress >= adversary.start
        self.system.train()
        turn = self._forward(batch, None, playing=playing)
        norm = self._update(self._g_optimiser, self.system.generator, turn["loss"])
        self.average.update_parameters(self.system.generator)
        scalars = {"gradient_norm": norm, "learning_rate": torch.tensor(rate)}
        if turn["pairs"] and self._d_optimiser is not None:
            critics_turn = self._forward(batch, turn["pairs"], playing=True)
            scalars["discriminator_norm"] = self._update(self._d_optimiser, self.system.critics, critics_turn["loss"])
            turn = critics_turn | turn
        self.step += 1
        self.seen += len(batch.photo) * process_count()
        return scalars | {name: value.detach() for name, value in turn.items() if name != "pairs"}

    def _forward(self, batch: Batch, pairs: Any, *, playing: bool) -> dict[str, Any]:
        with torch.autocast(self.device.type, torch.bfloat16):
            turn: dict[str, Any] = self._wrapped(
                batch, pairs, playing=playing, penalised=pairs is not None and self.step % R1_EVERY == 0
            )
        return turn

    def _average(self, averages: Any, weights: Any, _: object) -> None:
        """Update the exponential moving average of the weights, and of the statistics of normalisation.

        The decay after n steps is at most (1 + n) / (10 + n), as in TensorFlow's ExponentialMovingAverage; with a fixed
        decay the average of a short training would still contain its first weights.
        """
        if not averages[0].is_floating_point():
            # Numbers of batches; torch calls this for each type of numbers separately.
            torch._foreach_copy_(averages, weights)
            return
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
        """Score the averaged weights on fixed validation crops.

        Args:
            held_out: crops that are never trained on.
            sheet: file for a sheet of samples; None = none is written.

        Returns:
            The system's error, mean over the crops, and its indicators on the first crops.
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
                    outputs = self.system.run_generator(generator, part)
                total += len(part.photo) * float(self.system.error(part, outputs))
                if start == 0:
                    indicators = self.system.indicators(part, outputs)
                    if sheet is not None:
                        write_sheet(sheet, self.system.columns(part, outputs))
        generator.train()
        return total / len(held_out.photo), indicators

    # -- checkpoints ------------------------------------------------------------------------------------------

    def save(self, name: str) -> None:
        """Write a checkpoint atomically; when that fails, the earlier checkpoints are unchanged."""
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
            raise EngineError(
                "The checkpoint {name} could not be saved: {reason}.", "train.save", name=name, reason=error
            ) from error

    def save_step(self) -> None:
        """Write the checkpoint of this step and delete all but the last two."""
        self.save(f"step-{self.step:08d}.pt")
        for old in sorted(self.run.glob("step-*.pt"))[:-KEPT_CHECKPOINTS]:
            old.unlink()

    def resume(self) -> bool:
        """Load the newest checkpoint of the run folder; False when there is none.

        Raises:
            ReadError: no checkpoint of the folder can be read, or it belongs to another recipe.
        """
        if not any(self.run.glob("step-*.pt")):
            return False
        state = newest_checkpoint(self.run, self.device)
        try:
            self._restore(state)
        except (RuntimeError, KeyError, ValueError) as error:
            # torch raises RuntimeError for weights of another shape.
            raise ReadError(
                "The checkpoints in {run} are of another recipe.", "train.checkpoint", run=self.run
            ) from error
        return True

    def _restore(self, state: dict[str, Any]) -> None:
        other = recipe_from_dict(json.loads(state["recipe"]))
        ours = self.recipe
        if (other.name, other.network, other.losses) != (ours.name, ours.network, ours.losses):
            raise ReadError("{run} holds a training of another recipe.", "train.recipe", run=self.run)
        self.system.generator.load_state_dict(state["generator"])
        self.average.load_state_dict(state["average"])
        self._g_optimiser.load_state_dict(state["g_optimiser"])
        if self._d_optimiser is not None and "critics" in state:
            self.system.critics.load_state_dict(state["critics"])
            self._d_optimiser.load_state_dict(state["d_optimiser"])
        self.step, self.seen = state["step"], state["seen"]
        self.elapsed, self.best = state["elapsed"], state["best"]

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Begin with given weights, by the names of the network's parameters, instead of random ones.

        Raises:
            SettingsError: they do not fit the network.
        """
        needed = {name for name, _ in self.system.generator.named_parameters()}
        try:
            missing, unexpected = self.system.generator.load_state_dict(weights, strict=False)
            self.average.module.load_state_dict(self.system.generator.state_dict())
        except RuntimeError as error:
            raise SettingsError(
                "The model's weights do not fit the recipe's network: {reason}.", "train.start", reason=error
            ) from error
        optional = self.system.generator.MAY_LACK
        missing = [name for name in missing if name in needed and not name.startswith(optional)]
        if unexpected or missing:
            # An exporter may have merged weights into others; a part of the weights is no use as a beginning.
            named = ", ".join([*unexpected, *missing][:3])
            raise SettingsError(
                "The model's weights do not fit the recipe's network: {named}.", "train.start", named=named
            )


def newest_checkpoint(run: Path, device: torch.device) -> dict[str, Any]:
    """The newest checkpoint of a run folder that can be read; damaged ones are passed over.

    Raises:
        ReadError: there is none.
    """
    for path in sorted(run.glob("step-*.pt"), reverse=True):
        with contextlib.suppress(ReadError):
            return read_checkpoint(path, device)
    raise ReadError("{run} holds no checkpoint, or damaged ones only.", "train.checkpoint", run=run)


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Load a checkpoint of tensors and plain values; torch refuses to unpickle anything else.

    Raises:
        ReadError: it is damaged, or not a checkpoint of this program.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        # torch raises exceptions of many kinds for a damaged file.
        raise ReadError("The checkpoint {file} is damaged.", "train.checkpoint", file=path.name) from error
    if not isinstance(state, dict) or "recipe" not in state:
        raise ReadError("The checkpoint {file} is none of this program.", "train.checkpoint", file=path.name)
    return state


def machine_name(device: torch.device) -> str:
    """Name of the GPU, or the number of CPU threads, and the number of processes, for the card."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return name if process_count() == 1 else f"{process_count()} x {name}"


def learning_rate(schedule: Schedule, progress: float, steps: int) -> float:
    """Learning rate: linear warm-up over steps, and a cosine from the full rate to the floor over the progress 0..1."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    rate = schedule.floor + (schedule.learning_rate - schedule.floor) * cosine
    return float(rate * min(1.0, (steps + 1) / max(1, schedule.warm_up)))


def write_sheet(path: Path, columns: list[Tensor], rows: int = 8) -> None:
    """Write a PNG whose columns are batches of pictures (B, 3, H, W) in 0..1."""
    lines = torch.cat([column[:rows].float() for column in columns], dim=3)
    write_picture(path, to_picture(torch.cat(list(lines), dim=1)))


def _adamw(network: nn.Module, rate: float, betas: tuple[float, float], decay: float) -> torch.optim.Optimizer:
    """AdamW with weight decay for weights, not for biases."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    biases = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], rate, betas=betas, fused=True)


def _check_crop(recipe: TrainingRecipe, generator: Generator) -> None:
    """Check that the network takes crops of the recipe's size.

    Raises:
        SettingsError: it does not; says which sizes it takes.
    """
    crop, multiple, fixed = recipe.data.crop, generator.exports()[0].multiple, generator.TILE.default
    if multiple and crop % multiple:
        raise SettingsError(
            "data.crop = {crop}: the network takes multiples of {multiple}.",
            "train.setting",
            crop=crop,
            multiple=multiple,
        )
    if not multiple and crop != fixed:
        raise SettingsError(
            "data.crop = {crop}: the network takes pictures of {fixed} px.", "train.setting", crop=crop, fixed=fixed
        )


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
