"""The systems beside the two of ``engine.train.run.system``, and the table of all."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.train.data.batches import Batch
from engine.train.nets.prior import LATENT
from engine.train.recipe import Recipe
from engine.train.run import losses
from engine.train.run.system import Made, Pairs, Restore, System, beside, scores


class Enlarge(Restore):
    """Enlarges a picture, told the large one.

    The small one is made as published test sets are: bicubic with a = -0.5, widened by the factor, rounded to 8 bit.
    """

    def make(self, generator: Any, batch: Batch) -> Made:
        """Reduced and enlarged again."""
        size = [side // generator.scale for side in batch.photo.shape[2:]]
        small = functional.interpolate(batch.photo, size=size, mode="bicubic", antialias=True).clamp(0, 1)
        small = (small * 255).round() / 255
        return Made(generator(small).float(), {"small": small})

    def columns(self, batch: Batch, made: Made) -> list[Tensor]:
        """Truth, small, enlarged."""
        shown = functional.interpolate(made.more["small"], size=list(batch.photo.shape[2:]), mode="nearest")
        return [batch.photo, shown, made.output]


class Edges(System):
    """EdgeConnect: edges are completed, then filled; a discriminator for each."""

    JUDGED = (2, 4)
    ENTROPY, RARE = 0.2, 4.0

    def make(self, generator: Any, batch: Batch) -> Made:
        """The fill follows the true edges half of the time, so that it learns to trust a restorer's."""
        true = generator.edges.edges(batch.photo)
        guessed = generator.edges(batch.photo * (1 - batch.mask), batch.mask).float()
        if generator.training:
            told = (torch.arange(len(true), device=true.device) % 2 == 0).float()[:, None, None, None]
            given = told * true + (1 - told) * guessed.detach()
        else:
            given = guessed
        filled = generator.fill(batch.photo * (1 - batch.mask), batch.mask, given).float()
        return Made(filled, {"edges": guessed, "true": true})

    def loss(self, batch: Batch, made: Made) -> Tensor:
        """The recipe's terms for the fill, and for the edges their cross entropy in the mask.

        It is weighted by ``ENTROPY``, and edges count ``RARE`` times as much as what is none. The paper trains them by
        judgement and feature matching alone; cross entropy makes it a matter of minutes.
        """
        guessed = made.more["edges"].clamp(1e-4, 1 - 1e-4)
        true = made.more["true"]
        entropy = -(self.RARE * true * guessed.log() + (1 - true) * (1 - guessed).log()) * batch.mask
        return super().loss(batch, made) + self.ENTROPY * entropy.sum() / batch.mask.sum().clamp_min(1)

    def pairs(self, batch: Batch, made: Made) -> Pairs:
        """Edge maps on the grey picture, and pictures."""
        grey = batch.photo.mean(dim=1, keepdim=True)
        edges = beside(made.more["true"] + 0.5, grey - 0.5), beside(made.more["edges"] + 0.5, grey - 0.5)
        return [edges, *super().pairs(batch, made)]

    def columns(self, batch: Batch, made: Made) -> list[Tensor]:
        """With the true and the completed edges."""
        shown = [edges.expand(-1, 3, -1, -1) for edges in (made.more["true"], made.more["edges"])]
        return [*super().columns(batch, made), *shown]


class Unsupervised(System):
    """Learns from damaged pictures alone, after Bora et al., AmbientGAN, 2018.

    What is lost in the scans is never looked at. The generator is told the truth about what a second mask hides of
    what is known; the discriminator compares scans, with their losses hidden, with fills under the losses of others.
    """

    NEEDS = frozenset({"lost"})

    def make(self, generator: Any, batch: Batch) -> Made:
        """Fill what is lost and what is hidden."""
        hole = torch.maximum(batch.mask, batch.lost)
        return Made(generator(batch.photo * (1 - hole), hole).float(), {"hole": hole})

    def loss(self, batch: Batch, made: Made) -> Tensor:
        """The terms, on known pixels only."""
        return losses.weighted(self.recipe.losses, made.output, batch.photo, batch.mask * (1 - batch.lost))

    def result(self, batch: Batch, made: Made) -> Tensor:
        """Losses and hidden parts filled."""
        hole = made.more["hole"]
        return batch.photo * (1 - hole) + made.output * hole

    def pairs(self, batch: Batch, made: Made) -> Pairs:
        """Scans with their own losses hidden; fills with the losses of another scan hidden."""
        other = batch.lost.roll(1, dims=0)
        real, fake = batch.photo, self.result(batch, made)
        return [
            (
                beside(real * (1 - batch.lost) + 0.5 * batch.lost, batch.lost),
                beside(fake * (1 - other) + 0.5 * other, other),
            )
        ]

    def error(self, batch: Batch, made: Made) -> Tensor:
        """Mean absolute error of what was hidden and is known."""
        return losses.l1_hole(made.output, batch.photo, batch.mask * (1 - batch.lost))

    def indicators(self, batch: Batch, made: Made) -> dict[str, float]:
        """Of what is known."""
        known = batch.mask * (1 - batch.lost)
        return scores(batch.photo * (1 - known) + made.output * known, batch.photo, known)

    def columns(self, batch: Batch, made: Made) -> list[Tensor]:
        """The scan, with all holes, filled."""
        hole = made.more["hole"]
        return [batch.photo, batch.photo * (1 - hole) + hole, self.result(batch, made)]


class Prior(System):
    """DCGAN: pictures from noise; and an encoder from a damaged picture to the noise that makes its like."""

    JUDGED = (3,)

    def make(self, generator: Any, batch: Batch) -> Made:
        """Samples, and pictures made again through the encoder."""
        latent = torch.randn(len(batch.photo), LATENT, device=batch.photo.device)
        samples = generator.generator(latent).float()
        hidden = samples.detach() * (1 - batch.mask), batch.mask
        more = {"latent": latent, "guessed": generator.encoder(*hidden).float()}
        code = generator.encoder(batch.photo * (1 - batch.mask), batch.mask)
        return Made(samples, more | {"again": _held(generator.generator, code).float()})

    def loss(self, batch: Batch, made: Made) -> Tensor:
        """The encoder's: squared error of the noise of samples, and the recipe's terms for photographs."""
        latent = (made.more["guessed"] - made.more["latent"]).square().mean()
        return 0.1 * latent + losses.weighted(self.recipe.losses, made.more["again"], batch.photo, batch.mask)

    def pairs(self, batch: Batch, made: Made) -> Pairs:
        """Photographs and samples."""
        return [(batch.photo - 0.5, made.output - 0.5)]

    def result(self, batch: Batch, made: Made) -> Tensor:
        """Photographs with their masked part made again."""
        return batch.photo * (1 - batch.mask) + made.more["again"] * batch.mask

    def error(self, batch: Batch, made: Made) -> Tensor:
        """How far samples are from photographs in means and spreads of places, as far as that says anything."""
        real, fake = batch.photo, made.output
        return (real.mean(dim=0) - fake.mean(dim=0)).abs().mean() + (real.std(dim=0) - fake.std(dim=0)).abs().mean()

    def indicators(self, batch: Batch, made: Made) -> dict[str, float]:
        """With the collapse indicator: about 1 is fine, near 0 is a generator that draws one picture only."""
        return super().indicators(batch, made) | {"variety": variety(made.output, batch.photo)}

    def columns(self, batch: Batch, made: Made) -> list[Tensor]:
        """Samples, photographs, and photographs made again."""
        hidden = batch.photo * (1 - batch.mask) + batch.mask
        return [
            made.output,
            made.output.roll(8, dims=0),
            made.output.roll(16, dims=0),
            batch.photo,
            hidden,
            made.more["again"],
        ]


class Cycle(System):
    """CycleGAN between old prints and fresh ones; no picture is shown on both sides."""

    JUDGED = (3, 3)
    TERMS: ClassVar[dict[str, losses.Term]] = losses.CYCLES
    NEEDS = frozenset({"old"})
    POOL = 50

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self._pools: list[list[Tensor]] = [[], []]

    def make(self, generator: Any, batch: Batch) -> Made:
        """Old to fresh and back, fresh to old and back, and fresh to fresh, old to old."""
        old, fresh = batch.damaged, batch.photo
        freshened, aged = generator(old, "freshen").float(), generator(fresh, "age").float()
        more = {
            "aged": aged,
            "old_again": generator(freshened, "age").float(),
            "fresh_again": generator(aged, "freshen").float(),
            "same_fresh": generator(fresh, "freshen").float(),
            "same_old": generator(old, "age").float(),
        }
        return Made(freshened, more)

    def loss(self, batch: Batch, made: Made) -> Tensor:
        """Cycle and identity terms, by the weights of the recipe."""
        more, mask, weights = made.more, batch.mask, self.recipe.losses
        cycle = losses.CYCLES["cycle"]
        identity = losses.CYCLES["identity"]
        back = cycle(more["old_again"], batch.damaged, mask) + cycle(more["fresh_again"], batch.photo, mask)
        same = identity(more["same_fresh"], batch.photo, mask) + identity(more["same_old"], batch.damaged, mask)
        return weights.get("cycle", 0.0) * back + weights.get("identity", 0.0) * same

    def pairs(self, batch: Batch, made: Made) -> Pairs:
        """Fresh prints, and old ones."""
        return [(batch.photo - 0.5, made.output - 0.5), (batch.damaged - 0.5, made.more["aged"] - 0.5)]

    def remembered(self, pairs: Pairs) -> Pairs:
        """Half of the made pictures are exchanged for earlier ones (Shrivastava et al., SimGAN, 2017).

        The pool is in no checkpoint: it starts anew when a training is resumed.
        """
        mixed = []
        for pool, (real, fake) in zip(self._pools, pairs, strict=True):
            pictures = list(fake)
            for i, picture in enumerate(pictures):
                if len(pool) < self.POOL:
                    pool.append(picture.clone())
                elif float(torch.rand(())) < 0.5:
                    place = int(torch.randint(self.POOL, ()))
                    pictures[i], pool[place] = pool[place], picture.clone()
            mixed.append((real, torch.stack(pictures)))
        return mixed

    def result(self, batch: Batch, made: Made) -> Tensor:  # noqa: ARG002 - all of it was made
        """Old prints freshened."""
        return made.output

    def error(self, batch: Batch, made: Made) -> Tensor:
        """How far freshened prints are from fresh ones in the means and spreads of their colours."""
        return _tones_apart(made.output, batch.photo)

    def indicators(self, batch: Batch, made: Made) -> dict[str, float]:  # noqa: ARG002 - of what was given
        """The same error of prints left as they are, to compare with."""
        return {"tones_apart_before": float(_tones_apart(batch.damaged, batch.photo))}

    def columns(self, batch: Batch, made: Made) -> list[Tensor]:
        """Old, freshened, fresh, aged."""
        return [batch.damaged, made.output, batch.photo, made.more["aged"]]


class Detect(System):
    """Segmentation of damage into classes."""

    JUDGED = ()
    NEEDS = frozenset({"classes"})

    def make(self, generator: Any, batch: Batch) -> Made:
        """Logits."""
        return Made(generator(batch.damaged).float())

    def loss(self, batch: Batch, made: Made) -> Tensor:
        """Against the class maps."""
        return losses.weighted(self.recipe.losses, made.output, batch.truth, batch.mask)

    def error(self, batch: Batch, made: Made) -> Tensor:
        """1 - F1 of any damage at probability 1/2, pixel by pixel."""
        found, true = made.output.amax(dim=1) > 0, batch.truth.amax(dim=1) > 0
        both = (found & true).sum().float()
        return 1 - 2 * both / (found.sum() + true.sum()).clamp_min(1)

    def indicators(self, batch: Batch, made: Made) -> dict[str, float]:
        """Precision and recall of the same."""
        found, true = made.output.amax(dim=1) > 0, batch.truth.amax(dim=1) > 0
        both = (found & true).sum().float()
        return {"precision": float(both / found.sum().clamp_min(1)), "recall": float(both / true.sum().clamp_min(1))}

    def columns(self, batch: Batch, made: Made) -> list[Tensor]:
        """Damaged, true damage, found damage."""
        shown = [batch.truth.amax(dim=1, keepdim=True), torch.sigmoid(made.output).amax(dim=1, keepdim=True)]
        return [batch.damaged, *[planes.expand(-1, 3, -1, -1) for planes in shown]]


SYSTEMS: dict[str, type[System]] = {
    "fill": System,
    "restore": Restore,
    "enlarge": Enlarge,
    "edges": Edges,
    "unsupervised": Unsupervised,
    "prior": Prior,
    "cycle": Cycle,
    "detect": Detect,
}
"""What a recipe may name as its ``system``."""


def _held(network: nn.Module, *inputs: Tensor) -> Tensor:
    """Run a network as it is used once trained, and learn nothing: neither weights nor statistics of batches.

    The encoder follows the generator, never the other way round.
    """
    held = {name: value.detach() for name, value in (*network.named_parameters(), *network.named_buffers())}
    training = network.training
    network.eval()
    output: Tensor = torch.func.functional_call(network, held, inputs)
    network.train(training)
    return output


def variety(samples: Tensor, photographs: Tensor) -> float:
    """Mean distance of pairs of samples over that of pairs of photographs: near 0, the generator has collapsed."""
    return float(losses.mean_distance(samples) / losses.mean_distance(photographs).clamp_min(1e-6))


def _tones_apart(a: Tensor, b: Tensor) -> Tensor:
    """Distance of two sets of pictures in the mean and the spread of each colour."""
    means = (a.mean(dim=(0, 2, 3)) - b.mean(dim=(0, 2, 3))).abs().mean()
    spreads = (a.std(dim=(2, 3)).mean(dim=0) - b.std(dim=(2, 3)).mean(dim=0)).abs().mean()
    return means + spreads
