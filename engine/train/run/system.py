"""The systems: what each makes of a batch, what it is told about it, and what its discriminators judge.

A system is its generator, its discriminators and four small functions; steps, schedules, averages and checkpoints are
the loop's (``engine.train.run.loop``). In a training on several devices the loop runs ``forward`` through torch's
DistributedDataParallel, so that all of a step's work on parameters happens in there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.train.data.batches import Batch, to_picture
from engine.train.nets import DISCRIMINATORS, NETWORKS, build
from engine.train.nets.restore import THUMBNAIL
from engine.train.recipe import Recipe
from engine.train.run import losses

Pairs = list[tuple[Tensor, Tensor]]
"""For each discriminator the planes of something real and of something made, (B, C, H, W) each."""


@dataclass(frozen=True)
class Made:
    """What a generator made of a batch.

    Attributes:
        output: (B, C, H, W) float32, what the task wants.
        more: whatever else the system's own functions need.
    """

    output: Tensor
    more: dict[str, Tensor] = field(default_factory=dict)


class System(nn.Module):
    """Fills what a mask covers, told the truth: the base of all others.

    Args:
        recipe: names the networks, the losses and the game.
    """

    JUDGED: tuple[int, ...] = (4,)
    """Channels of what each discriminator judges."""
    TERMS: ClassVar[dict[str, losses.Term]] = losses.LOSSES
    """The losses that its recipe may name."""
    NEEDS: frozenset[str] = frozenset()
    """What it needs of the data beyond photographs and masks: ``classes``, ``old``, ``lost``."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        losses.check_losses(recipe.losses, self.TERMS)
        losses.check_game(recipe.adversary.game)
        self.recipe = recipe
        self.generator = build(NETWORKS, recipe.network.name, recipe.network.options)
        critic = recipe.adversary.network
        self.critics = nn.ModuleList(
            [build(DISCRIMINATORS, critic, {"channels": planes}) for planes in self.JUDGED]
            if recipe.adversary.plays
            else []
        )

    # -- what a system says of itself ---------------------------------------------------------------------------------

    def make(self, generator: Any, batch: Batch) -> Made:
        """Run a generator (the trained one or its average) on a batch."""
        return Made(generator(batch.photo * (1 - batch.mask), batch.mask).float())

    def loss(self, batch: Batch, made: Made) -> Tensor:
        """What the generator is told beside the judgements."""
        return losses.weighted(self.recipe.losses, made.output, batch.photo, batch.mask)

    def pairs(self, batch: Batch, made: Made) -> Pairs:
        """What is judged."""
        return [(beside(batch.photo, batch.mask), beside(self.result(batch, made), batch.mask))]

    def remembered(self, pairs: Pairs) -> Pairs:
        """What the discriminators learn from, given what was just judged."""
        return pairs

    def result(self, batch: Batch, made: Made) -> Tensor:
        """The repaired pictures (B, 3, H, W)."""
        return batch.photo * (1 - batch.mask) + made.output * batch.mask

    def error(self, batch: Batch, made: Made) -> Tensor:
        """A scalar that falls as the system gets better, on pictures never trained on."""
        return losses.l1_hole(made.output, batch.photo, batch.mask)

    def indicators(self, batch: Batch, made: Made) -> dict[str, float]:
        """Further scores of validation pictures, for the log."""
        return scores(self.result(batch, made), batch.photo, batch.mask)

    def columns(self, batch: Batch, made: Made) -> list[Tensor]:
        """The columns of a sample sheet, (B, 3, H, W) each."""
        return [batch.photo, batch.photo * (1 - batch.mask) + batch.mask, self.result(batch, made)]

    # -- one step -----------------------------------------------------------------------------------------------------

    def forward(self, batch: Batch, judged: Pairs | None, *, playing: bool, penalised: bool) -> dict[str, Any]:
        """The generator's loss, or, given what was judged, the discriminators'.

        Args:
            batch: what was drawn.
            judged: None for the generator's turn; else the pairs that it gave.
            playing: whether the discriminators have set in.
            penalised: whether this step counts R1, for all the steps without it.
        """
        if judged is not None:
            return self._discriminators_turn(judged, penalised=penalised)
        made = self.make(self.generator, batch)
        loss = self.loss(batch, made)
        if not (playing and self.critics):
            return {"loss": loss, "reconstruction": loss.detach(), "pairs": []}
        pairs = self.pairs(batch, made)
        game, adversary = losses.ADVERSARIAL[self.recipe.adversary.game], self.recipe.adversary
        told = {"reconstruction": loss.detach()}
        self.critics.requires_grad_(False)
        for number, (critic, (real, fake)) in enumerate(zip(self.critics, pairs, strict=True)):
            seen_fake, seen_real = critic(fake), critic(real)
            adversarial = game.generator(seen_real[-1].float(), seen_fake[-1].float())
            told[f"adversarial_{number}"] = adversarial.detach()
            loss = loss + adversary.weight * adversarial
            if adversary.matching:
                loss = loss + adversary.matching * losses.feature_matching(seen_real, seen_fake).float()
            if adversary.style:
                loss = loss + adversary.style * losses.style(seen_real, seen_fake).float()
        self.critics.requires_grad_(True)
        return told | {"loss": loss, "pairs": [(real.detach(), fake.detach()) for real, fake in pairs]}

    def _discriminators_turn(self, pairs: Pairs, *, penalised: bool) -> dict[str, Any]:
        adversary = self.recipe.adversary
        total = torch.zeros((), device=pairs[0][0].device)
        told: dict[str, Any] = {}
        for number, (critic, (real, fake)) in enumerate(zip(self.critics, self.remembered(pairs), strict=True)):
            known = real.float().requires_grad_(True)
            on_real, on_fake = critic(known)[-1].float(), critic(fake)[-1].float()
            total = total + losses.ADVERSARIAL[adversary.game].discriminator(on_real, on_fake)
            if penalised and adversary.r1 > 0:
                # Lazy regularisation: weighted for the steps that go without.
                total = total + R1_EVERY * adversary.r1 * losses.r1_penalty(on_real, known)
            if adversary.gradient_penalty > 0:
                total = total + adversary.gradient_penalty * losses.gradient_penalty(critic, known, fake.float())
            told |= {f"d_real_{number}": on_real.detach().mean(), f"d_fake_{number}": on_fake.detach().mean()}
        return told | {"loss": total, "discriminator": total.detach()}


R1_EVERY = 16
"""Steps from one R1 penalty to the next."""


class Restore(System):
    """Restores a damaged picture as a whole, told the truth."""

    JUDGED = (6,)

    def make(self, generator: Any, batch: Batch) -> Made:
        """The network is told the level of the damage if it asks for a strength, or the noise if it asks for that."""
        inputs: dict[str, Tensor] = {
            "picture": batch.damaged,
            "strength": batch.level,
            "noise_level": 255 * batch.noise,
            "thumbnail": functional.adaptive_avg_pool2d(batch.damaged, THUMBNAIL),
        }
        roles = [port.role for port in generator.exports()[0].inputs]
        return Made(generator(*[inputs[role] for role in roles]).float())

    def result(self, batch: Batch, made: Made) -> Tensor:  # noqa: ARG002 - all of it was made
        """The whole output."""
        return made.output

    def pairs(self, batch: Batch, made: Made) -> Pairs:
        """Pictures beside the damaged ones."""
        return [(beside(batch.photo, batch.damaged - 0.5), beside(made.output, batch.damaged - 0.5))]

    def indicators(self, batch: Batch, made: Made) -> dict[str, float]:
        """Of the whole pictures."""
        return scores(made.output, batch.photo, torch.zeros_like(batch.mask))

    def error(self, batch: Batch, made: Made) -> Tensor:
        """Mean absolute error."""
        return losses.l1(made.output, batch.photo, batch.mask)

    def columns(self, batch: Batch, made: Made) -> list[Tensor]:
        """Truth, damaged, restored."""
        return [batch.photo, batch.damaged, made.output]


def beside(picture: Tensor, more: Tensor) -> Tensor:
    """Planes for a discriminator: a picture around 0 and something beside it."""
    return torch.cat([picture - 0.5, more], dim=1)


def scores(result: Tensor, photo: Tensor, mask: Tensor) -> dict[str, float]:
    """PSNR, SSIM and MS-SSIM of the first pictures, whole and in the holes."""
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
