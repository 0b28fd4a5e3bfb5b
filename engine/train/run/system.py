"""Systems: how a generator is run on a batch, its loss, and what its discriminators judge.

A system has a generator, discriminators and a few small functions. Steps, schedules, averaged weights and checkpoints
belong to ``engine.train.run.trainer``. With several devices the trainer calls ``forward`` through torch's
DistributedDataParallel, therefore all work on parameters of a step happens in ``forward``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.train.data.batches import Batch
from engine.train.data.photographs import to_picture
from engine.train.nets import DISCRIMINATORS, NETWORKS, build
from engine.train.nets.restore import THUMBNAIL
from engine.train.recipe import TrainingRecipe
from engine.train.run import losses

Pairs = list[tuple[Tensor, Tensor]]
"""For each discriminator a real and a generated input, (B, C, H, W) each."""


@dataclass(frozen=True)
class Outputs:
    """Output of a generator for a batch.

    Attributes:
        main: (B, C, H, W) float32, the result that the task needs.
        more: further tensors for the system's own functions.
    """

    main: Tensor
    more: dict[str, Tensor] = field(default_factory=dict)


class System(nn.Module):
    """Fills the masked part of a picture, supervised by the photograph. The base class of all systems.

    Args:
        recipe: names the networks, the losses and the adversarial loss.
    """

    CRITIC_CHANNELS: tuple[int, ...] = (4,)
    """Number of channels of each discriminator's input."""
    TERMS: ClassVar[Mapping[str, object]] = losses.LOSSES
    """The losses that a recipe of this system may name."""
    NEEDS: frozenset[str] = frozenset()
    """What batches must contain beyond photographs and masks: ``damage``, ``old``, ``lost``, ``faces``."""

    def __init__(self, recipe: TrainingRecipe) -> None:
        super().__init__()
        losses.check_losses(recipe.losses, self.TERMS)
        losses.check_game(recipe.adversary.game)
        self.recipe = recipe
        self.generator = build(NETWORKS, recipe.network.name, recipe.network.options)
        critic = recipe.adversary.network
        self.critics = nn.ModuleList(
            [build(DISCRIMINATORS, critic, {"channels": planes}) for planes in self.CRITIC_CHANNELS]
            if recipe.adversary.enabled
            else []
        )

    # -- what differs from system to system ---------------------------------------------------------------------------

    def run_generator(self, generator: Any, batch: Batch) -> Outputs:
        """Run a generator, the trained one or the one with averaged weights, on a batch."""
        return Outputs(generator(batch.photo * (1 - batch.mask), batch.mask).float())

    def loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        """The generator's loss without its adversarial part."""
        return losses.weighted_sum(self.recipe.losses, outputs.main, batch.photo, batch.mask)

    def pairs(self, batch: Batch, outputs: Outputs) -> Pairs:
        """The inputs of the discriminators."""
        return [(critic_input(batch.photo, batch.mask), critic_input(self.result(batch, outputs), batch.mask))]

    def critic_pairs(self, pairs: Pairs) -> Pairs:
        """The inputs that the discriminators learn from, given those of the generator's turn."""
        return pairs

    def result(self, batch: Batch, outputs: Outputs) -> Tensor:
        """The repaired pictures (B, 3, H, W)."""
        return batch.photo * (1 - batch.mask) + outputs.main * batch.mask

    def error(self, batch: Batch, outputs: Outputs) -> Tensor:
        """Validation error: a scalar that falls as the system gets better."""
        return losses.l1_hole(outputs.main, batch.photo, batch.mask)

    def indicators(self, batch: Batch, outputs: Outputs) -> dict[str, float]:
        """Further validation scores for the log."""
        return scores(self.result(batch, outputs), batch.photo, batch.mask)

    def columns(self, batch: Batch, outputs: Outputs) -> list[Tensor]:
        """The columns of a sample sheet, each (B, 3, H, W)."""
        return [batch.photo, batch.photo * (1 - batch.mask) + batch.mask, self.result(batch, outputs)]

    # -- one step -----------------------------------------------------------------------------------------------------

    def forward(self, batch: Batch, pairs: Pairs | None, *, playing: bool, penalised: bool) -> dict[str, Any]:
        """The loss of the generator, or, when pairs are given, of the discriminators.

        Args:
            batch: the data.
            pairs: None for the generator's turn; else the pairs that the generator's turn returned.
            playing: whether the discriminators take part yet.
            penalised: whether this step has the R1 penalty.

        Returns:
            ``loss`` and scalars to log; from the generator's turn also ``pairs``.
        """
        if pairs is not None:
            return self._discriminators_turn(pairs, penalised=penalised)
        outputs = self.run_generator(self.generator, batch)
        loss = self.loss(batch, outputs)
        if not (playing and self.critics):
            return {"loss": loss, "reconstruction": loss.detach(), "pairs": []}
        pairs = self.pairs(batch, outputs)
        game, adversary = losses.ADVERSARIAL[self.recipe.adversary.game], self.recipe.adversary
        scalars = {"reconstruction": loss.detach()}
        self.critics.requires_grad_(False)
        for number, (critic, (real, fake)) in enumerate(zip(self.critics, pairs, strict=True)):
            seen_fake, seen_real = critic(fake), critic(real)
            adversarial = game.generator(seen_real[-1].float(), seen_fake[-1].float())
            scalars[f"adversarial_{number}"] = adversarial.detach()
            loss = loss + adversary.weight * adversarial
            if adversary.matching:
                loss = loss + adversary.matching * losses.feature_matching(seen_real, seen_fake).float()
            if adversary.style:
                loss = loss + adversary.style * losses.style(seen_real, seen_fake).float()
        self.critics.requires_grad_(True)
        return scalars | {"loss": loss, "pairs": [(real.detach(), fake.detach()) for real, fake in pairs]}

    def _discriminators_turn(self, pairs: Pairs, *, penalised: bool) -> dict[str, Any]:
        adversary = self.recipe.adversary
        total = torch.zeros((), device=pairs[0][0].device)
        scalars: dict[str, Any] = {}
        for number, (critic, (real, fake)) in enumerate(zip(self.critics, self.critic_pairs(pairs), strict=True)):
            known = real.float().requires_grad_(True)
            on_real, on_fake = critic(known)[-1].float(), critic(fake)[-1].float()
            total = total + losses.ADVERSARIAL[adversary.game].discriminator(on_real, on_fake)
            if penalised and adversary.r1 > 0:
                # Lazy regularisation (StyleGAN2): weighted by the number of steps from one penalty to the next.
                total = total + R1_EVERY * adversary.r1 * losses.r1_penalty(on_real, known)
            if adversary.gradient_penalty > 0:
                total = total + adversary.gradient_penalty * losses.gradient_penalty(critic, known, fake.float())
            scalars |= {f"d_real_{number}": on_real.detach().mean(), f"d_fake_{number}": on_fake.detach().mean()}
        return scalars | {"loss": total, "discriminator": total.detach()}


R1_EVERY = 16
"""Steps from one R1 penalty to the next."""


class Restore(System):
    """Restores a whole damaged picture, supervised by the photograph."""

    CRITIC_CHANNELS = (6,)

    def run_generator(self, generator: Any, batch: Batch) -> Outputs:
        """Run a generator with those of picture, strength, noise level and thumbnail that are inputs of it."""
        inputs: dict[str, Tensor] = {
            "picture": batch.damaged,
            "strength": batch.level,
            "noise_level": 255 * batch.noise,
            "thumbnail": functional.adaptive_avg_pool2d(batch.damaged, THUMBNAIL),
        }
        roles = [port.role for port in generator.exports()[0].inputs]
        return Outputs(generator(*[inputs[role] for role in roles]).float())

    def result(self, batch: Batch, outputs: Outputs) -> Tensor:  # noqa: ARG002 - the whole picture is generated
        """The output itself."""
        return outputs.main

    def pairs(self, batch: Batch, outputs: Outputs) -> Pairs:
        """Restored pictures, with the damaged ones as further channels."""
        return [(critic_input(batch.photo, batch.damaged - 0.5), critic_input(outputs.main, batch.damaged - 0.5))]

    def indicators(self, batch: Batch, outputs: Outputs) -> dict[str, float]:
        """Scores of the whole pictures."""
        return scores(outputs.main, batch.photo, torch.zeros_like(batch.mask))

    def error(self, batch: Batch, outputs: Outputs) -> Tensor:
        """Mean absolute error."""
        return losses.l1(outputs.main, batch.photo, batch.mask)

    def columns(self, batch: Batch, outputs: Outputs) -> list[Tensor]:
        """Photograph, damaged, restored."""
        return [batch.photo, batch.damaged, outputs.main]


def critic_input(picture: Tensor, more: Tensor) -> Tensor:
    """Input of a discriminator: a picture minus 0.5, and further channels."""
    return torch.cat([picture - 0.5, more], dim=1)


def scores(result: Tensor, photo: Tensor, mask: Tensor) -> dict[str, float]:
    """PSNR, SSIM and MS-SSIM of the first 16 pictures, whole and inside the mask."""
    from engine.train.measure import metrics

    rows: dict[str, list[float]] = {}
    for i in range(min(16, len(photo))):
        a, b = to_picture(result[i]), to_picture(photo[i])
        hole = (mask[i, 0] > 0).byte().cpu().numpy()
        row = {"psnr": metrics.psnr(a, b), "ssim": metrics.ssim(a, b), "ms_ssim": metrics.ms_ssim(a, b)}
        if hole.any():
            row |= {"hole_psnr": metrics.psnr(a, b, hole), "hole_ssim": metrics.ssim(a, b, hole)}
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in rows.items()}
