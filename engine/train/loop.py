"""The one training loop: schedule by time, averaged weights, validation, checkpoints, resume."""

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

import numpy as np
import torch
from torch import Tensor, nn

from engine.errors import EngineError, ReadError, SettingsError
from engine.train import losses
from engine.train.data import Photographs, flip_and_turn, photograph_paths
from engine.train.degrade import mask_pool
from engine.train.nets import DISCRIMINATORS, NETWORKS, build
from engine.train.settings import Recipe, recipe_from_dict

KEPT_CHECKPOINTS = 2


@dataclass(frozen=True)
class Budget:
    """How long a training is and how much of it this call does.

    Attributes:
        minutes: length of the whole schedule; the learning rate is at its floor when it ends.
        slice_minutes: stop this call after so long, with a checkpoint, to be resumed. None: go to the end.
    """

    minutes: float
    slice_minutes: float | None = None


class Batches:
    """Photographs and masks on the device, and the batches drawn from them."""

    def __init__(self, recipe: Recipe, folder: Path, device: torch.device, *, validation: bool) -> None:
        self._data = recipe.data
        self.photographs = Photographs.load(photograph_paths(folder, validation=validation), recipe.data, device)
        seed = recipe.schedule.seed + (1_000_003 if validation else 0)
        count = min(recipe.damage.pool, recipe.schedule.validation_crops) if validation else recipe.damage.pool
        masks = mask_pool(recipe.damage.kinds, count, recipe.data.crop, seed)
        self._masks = torch.from_numpy(masks).to(device)[:, None]
        self._random = torch.Generator(device).manual_seed(seed)

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Photographs (count, 3, S, S) in 0..1 and masks (count, 1, S, S) of 0 and 1, float32, channels last."""
        photo = self.photographs.crops(count, self._data, self._random)
        chosen = torch.randint(len(self._masks), (count,), generator=self._random, device=photo.device)
        mask = flip_and_turn(self._masks[chosen], self._random).float().div_(255)
        return photo.contiguous(memory_format=torch.channels_last), mask

    def seed(self, seed: int) -> None:
        """Start the draws of a resumed run from another place."""
        self._random.manual_seed(seed)


class Trainer:
    """One run: everything that a checkpoint holds, and the steps that change it.

    A run folder holds ``recipe.json``, ``log.jsonl``, TensorBoard scalars, ``samples-*.png`` and the checkpoints
    ``step-*.pt`` (last two) and ``best.pt``.
    """

    def __init__(self, recipe: Recipe, run: Path, device: torch.device) -> None:
        losses.check_losses(recipe.losses)
        torch.manual_seed(recipe.schedule.seed)
        self.recipe, self.run, self.device = recipe, run, device
        self.generator = build(NETWORKS, recipe.network.name, recipe.network.options).to(device)
        self.generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = torch.optim.swa_utils.AveragedModel(
            self.generator,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(  # type: ignore[no-untyped-call]
                recipe.schedule.averaging
            ),
        )
        self._g_optimiser = _adamw(self.generator, recipe.schedule.learning_rate, recipe.schedule.weight_decay)
        self.discriminator: nn.Module | None = None
        if recipe.adversary.weight > 0:
            self.discriminator = build(DISCRIMINATORS, recipe.adversary.network).to(device)
            self._d_optimiser = torch.optim.AdamW(
                self.discriminator.parameters(), recipe.adversary.learning_rate, betas=(0.0, 0.99), fused=True
            )
        self.step, self.elapsed, self.best = 0, 0.0, math.inf

    # -- one step ---------------------------------------------------------------------------------------------

    def train_step(self, photo: Tensor, mask: Tensor, progress: float) -> dict[str, Tensor]:
        """One update of the generator, and of the discriminator once it has set in; scalars to log."""
        schedule, adversary = self.recipe.schedule, self.recipe.adversary
        rate = learning_rate(schedule, progress, self.step)
        _set_rate(self._g_optimiser, rate)
        with self._autocast():
            output = self.generator(photo * (1 - mask), mask)
        output = output.float()
        loss = losses.reconstruction(self.recipe.losses, output, photo, mask)
        scalars = {"loss": loss.detach()}
        if self.discriminator is not None and progress >= adversary.start:
            fill = photo * (1 - mask) + output * mask
            scalars |= self._discriminator_step(photo, fill.detach(), mask)
            loss = loss + self._adversarial_loss(photo, fill, mask)
        self._g_optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.generator.parameters(), schedule.clip)
        self._g_optimiser.step()
        self.average.update_parameters(self.generator)
        self.step += 1
        return scalars | {"gradient_norm": norm.detach(), "learning_rate": torch.tensor(rate)}

    def _adversarial_loss(self, photo: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
        assert self.discriminator is not None
        adversary = self.recipe.adversary
        self.discriminator.requires_grad_(False)
        with self._autocast():
            fake, real = self.discriminator(fill, mask), self.discriminator(photo, mask)
        self.discriminator.requires_grad_(True)
        matching = losses.feature_matching(real, fake)
        return adversary.weight * losses.hinge_generator(fake[-1].float()) + adversary.matching * matching.float()

    def _discriminator_step(self, photo: Tensor, fill: Tensor, mask: Tensor) -> dict[str, Tensor]:
        assert self.discriminator is not None
        real_photo = photo.detach().requires_grad_(True)
        with self._autocast():
            real, fake = self.discriminator(real_photo, mask)[-1], self.discriminator(fill, mask)[-1]
        loss = losses.hinge_discriminator(real.float(), fake.float())
        if self.step % 16 == 0 and self.recipe.adversary.r1 > 0:
            # Lazy regularisation: every 16th step, weighted accordingly.
            judgement = self.discriminator(real_photo, mask)[-1]
            loss = loss + 16 * self.recipe.adversary.r1 * losses.r1_penalty(judgement, real_photo)
        self._d_optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._d_optimiser.step()
        return {"discriminator": loss.detach(), "d_real": real.detach().mean(), "d_fake": fake.detach().mean()}

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16)

    # -- validation -------------------------------------------------------------------------------------------

    @torch.no_grad()
    def validate(self, photo: Tensor, mask: Tensor) -> tuple[float, Tensor]:
        """Mean absolute error in the holes of fixed crops by the averaged weights, and their fills (on the CPU)."""
        fills, errors = [], []
        for start in range(0, len(photo), 16):
            part = slice(start, start + 16)
            with self._autocast():
                output = self.average(photo[part] * (1 - mask[part]), mask[part]).float()
            errors.append(losses.l1_hole(output, photo[part], mask[part]))
            fills.append((photo[part] * (1 - mask[part]) + output * mask[part]).cpu())
        return float(torch.stack(errors).mean()), torch.cat(fills)

    # -- checkpoints ------------------------------------------------------------------------------------------

    def save(self, name: str) -> None:
        """Write a checkpoint atomically; on failure the earlier ones are as they were."""
        state: dict[str, Any] = {
            "recipe": json.dumps(self.recipe.as_dict()),
            "machine": machine_name(self.device),
            "step": self.step,
            "elapsed": self.elapsed,
            "best": self.best,
            "generator": self.generator.state_dict(),
            "average": self.average.state_dict(),
            "g_optimiser": self._g_optimiser.state_dict(),
        }
        if self.discriminator is not None:
            state["discriminator"] = self.discriminator.state_dict()
            state["d_optimiser"] = self._d_optimiser.state_dict()
        partial = self.run / f".{name}.partial"
        try:
            torch.save(state, partial)
            os.replace(partial, self.run / name)
        except (OSError, RuntimeError) as error:
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
        found = sorted(self.run.glob("step-*.pt"), reverse=True)
        for path in found:
            # RuntimeError is torch's word for weights of another shape.
            with contextlib.suppress(ReadError, RuntimeError, KeyError, ValueError):
                self._restore(read_checkpoint(path, self.device))
                return True
        if found:
            raise ReadError(f"The checkpoints in {self.run} are damaged or of another recipe.", "train.checkpoint")
        return False

    def _restore(self, state: dict[str, Any]) -> None:
        other = recipe_from_dict(json.loads(state["recipe"]))
        if (other.name, other.network, other.losses) != (self.recipe.name, self.recipe.network, self.recipe.losses):
            raise ReadError(f"{self.run} holds a training of another recipe.", "train.recipe")
        self.generator.load_state_dict(state["generator"])
        self.average.load_state_dict(state["average"])
        self._g_optimiser.load_state_dict(state["g_optimiser"])
        if self.discriminator is not None and "discriminator" in state:
            self.discriminator.load_state_dict(state["discriminator"])
            self._d_optimiser.load_state_dict(state["d_optimiser"])
        self.step, self.elapsed, self.best = state["step"], state["elapsed"], state["best"]

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Begin with the weights of an exported model instead of random ones.

        Raises:
            SettingsError: they belong to another network.
        """
        try:
            self.generator.load_state_dict(weights)
            self.average.module.load_state_dict(weights)
        except RuntimeError as error:
            raise SettingsError(
                f"The model's weights do not fit the recipe's network: {error}.", "train.start"
            ) from error


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
    return state


def machine_name(device: torch.device) -> str:
    """What trains: the GPU's name, or the number of CPU threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def learning_rate(schedule: Any, progress: float, steps: int) -> float:
    """Linear warm-up over steps, then a cosine from the full rate to the floor over the schedule's progress 0..1."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    rate = schedule.floor + (schedule.learning_rate - schedule.floor) * cosine
    return float(rate * min(1.0, (steps + 1) / max(1, schedule.warm_up)))


def fit(trainer: Trainer, folder: Path, budget: Budget, *, say: Any = print) -> None:
    """Train until the budget ends (or its slice), validating and saving on the way.

    Args:
        trainer: new, resumed or started from a model.
        folder: photographs.
        budget: minutes of the schedule, and of this call.
        say: called with lines for a person.

    Raises:
        SettingsError: no photographs to train on.
        EngineError: the loss became NaN (the last good checkpoint stays), or a checkpoint could not be saved.
    """
    recipe, device = trainer.recipe, trainer.device
    trainer.run.mkdir(parents=True, exist_ok=True)
    (trainer.run / "recipe.json").write_text(json.dumps(recipe.as_dict(), indent=1), encoding="utf-8")
    batches = Batches(recipe, folder, device, validation=False)
    held_out = Batches(recipe, folder, device, validation=True).draw(recipe.schedule.validation_crops)
    batches.seed(recipe.schedule.seed + trainer.step)
    photographs = batches.photographs
    say(f"{len(photographs.starts)} photographs on {device}, {photographs.skipped} skipped; from step {trainer.step}")
    trainer.validate(held_out[0][:32], held_out[1][:32])

    with _scalar_log(trainer.run) as log:
        begun = last = time.monotonic()
        before = trainer.elapsed
        since_validation, seen, scalars = 0.0, 0, dict[str, Tensor]()
        while trainer.elapsed < 60 * budget.minutes:
            progress = trainer.elapsed / (60 * budget.minutes)
            scalars = trainer.train_step(*batches.draw(recipe.data.batch), progress)
            seen += recipe.data.batch
            now = time.monotonic()
            trainer.elapsed += now - last
            since_validation += now - last
            last = now
            sliced = budget.slice_minutes is not None and now - begun >= 60 * budget.slice_minutes
            if since_validation >= recipe.schedule.validate_every or sliced:
                _validate_and_save(trainer, held_out, scalars, seen / (now - begun), log, say)
                since_validation, last = 0.0, time.monotonic()
            if sliced:
                return
        if trainer.elapsed > before:
            _validate_and_save(trainer, held_out, scalars, seen / max(1e-9, time.monotonic() - begun), log, say)


def _validate_and_save(
    trainer: Trainer, held_out: tuple[Tensor, Tensor], scalars: dict[str, Tensor], speed: float, log: Any, say: Any
) -> None:
    row = {name: float(value) for name, value in scalars.items()}
    if not all(math.isfinite(value) for value in row.values()):
        raise EngineError(
            f"The training diverged at step {trainer.step}; the last good checkpoint stands.", "train.nan"
        )
    error, fills = trainer.validate(*held_out)
    row |= {"validation": error, "images_per_second": speed, "minutes": trainer.elapsed / 60}
    log(trainer.step, row)
    say(f"step {trainer.step}  {row['minutes']:.1f} min  {speed:.0f} images/s  hole L1 {error:.5f}")
    write_sheet(trainer.run / "samples-latest.png", held_out[0], held_out[1], fills)
    improved = error < trainer.best
    trainer.best = min(trainer.best, error)
    trainer.save_step()
    if improved:
        trainer.save("best.pt")


@contextlib.contextmanager
def _scalar_log(run: Path) -> Iterator[Any]:
    """A function that writes a row of scalars to ``log.jsonl`` and to TensorBoard."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run)) as board, (run / "log.jsonl").open("a", encoding="utf-8") as lines:

        def log(step: int, row: dict[str, float]) -> None:
            lines.write(json.dumps({"step": step} | row) + "\n")
            lines.flush()
            for name, value in row.items():
                board.add_scalar(name, value, step)

        yield log


def write_sheet(path: Path, photo: Tensor, mask: Tensor, fill: Tensor, rows: int = 8) -> None:
    """A PNG with rows of photograph, damaged photograph and fill."""
    from PIL import Image

    photo, mask, fill = photo[:rows].cpu(), mask[:rows].cpu(), fill[:rows].cpu()
    columns = torch.cat([photo, photo * (1 - mask) + mask, fill], dim=3).permute(0, 2, 3, 1)
    sheet = columns.reshape(-1, columns.shape[2], 3).clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
    Image.fromarray(np.ascontiguousarray(sheet)).save(path)


def _adamw(network: nn.Module, rate: float, decay: float) -> torch.optim.Optimizer:
    """AdamW that decays weights but not biases."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    biases = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, rate, betas=(0.9, 0.99), fused=True)


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
