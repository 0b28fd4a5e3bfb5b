"""All systems by name, and those that are not in ``engine.train.run.system``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.train.data.batches import Batch
from engine.train.nets.prior import LATENT
from engine.train.nets.restore import THUMBNAIL
from engine.train.recipe import TrainingRecipe
from engine.train.run import losses
from engine.train.run.system import Outputs, Pairs, Restore, System, critic_input, scores


class Enlarge(Restore):
    """Enlarges a picture, supervised by the large photograph.

    The small picture is made as in published test sets: bicubic with a = -0.5, widened by the factor, rounded to 8 bit.
    """

    def run_generator(self, generator: Any, batch: Batch) -> Outputs:
        """Reduce the photograph and enlarge it with the generator."""
        size = [side // generator.scale for side in batch.photo.shape[2:]]
        small = functional.interpolate(batch.photo, size=size, mode="bicubic", antialias=True).clamp(0, 1)
        small = (small * 255).round() / 255
        return Outputs(generator(small).float(), {"small": small})

    def columns(self, batch: Batch, outputs: Outputs) -> list[Tensor]:
        """Photograph, small, enlarged."""
        shown = functional.interpolate(outputs.more["small"], size=list(batch.photo.shape[2:]), mode="nearest")
        return [batch.photo, shown, outputs.main]


class Tone(Restore):
    """Corrects the tone of a whole picture, supervised by the photograph.

    In training a quarter of the pixels is enough: it has the same statistics, and teaches as much.
    """

    def run_generator(self, generator: Any, batch: Batch) -> Outputs:
        """Correct every other pixel of every other row by their statistics in training, else all pixels."""
        if generator.training:
            few = batch.damaged[:, :, ::2, ::2]
            return Outputs(generator(few, few).float())
        return Outputs(generator(batch.damaged, functional.adaptive_avg_pool2d(batch.damaged, THUMBNAIL)).float())

    def loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        """The recipe's terms on the pixels that were corrected."""
        step = batch.photo.shape[3] // outputs.main.shape[3]
        true, mask = (planes[:, :, ::step, ::step] for planes in (batch.photo, batch.mask))
        return losses.weighted_sum(self.recipe.losses, outputs.main, true, mask)

    def error(self, batch: Batch, outputs: Outputs) -> Tensor:
        """As the loss."""
        return self.loss(batch, outputs)


class Edges(System):
    """EdgeConnect: edges are completed, then colours are filled in; one discriminator for each."""

    CRITIC_CHANNELS = (2, 4)
    ENTROPY, RARE = 0.2, 4.0

    def run_generator(self, generator: Any, batch: Batch) -> Outputs:
        """Complete the edges and fill; in training half of the fills follow the true edges, as from a restorer."""
        true = generator.edges.edges(batch.photo)
        completed = generator.edges(batch.photo * (1 - batch.mask), batch.mask).float()
        if generator.training:
            share = (torch.arange(len(true), device=true.device) % 2 == 0).float()[:, None, None, None]
            given = share * true + (1 - share) * completed.detach()
        else:
            given = completed
        filled = generator.fill(batch.photo * (1 - batch.mask), batch.mask, given).float()
        return Outputs(filled, {"edges": completed, "true": true})

    def loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        """The recipe's terms for the fill, and the cross entropy of the edges inside the mask.

        The cross entropy has the weight ``ENTROPY``, and in it pixels on edges count ``RARE`` times as much as others.
        The paper trains the edges by adversarial loss and feature matching alone, which takes far longer.
        """
        completed = outputs.more["edges"].clamp(1e-4, 1 - 1e-4)
        true = outputs.more["true"]
        entropy = -(self.RARE * true * completed.log() + (1 - true) * (1 - completed).log()) * batch.mask
        return super().loss(batch, outputs) + self.ENTROPY * entropy.sum() / batch.mask.sum().clamp_min(1)

    def pairs(self, batch: Batch, outputs: Outputs) -> Pairs:
        """Edge maps with the grey picture as a further channel, and filled pictures."""
        grey = batch.photo.mean(dim=1, keepdim=True)
        edges = (
            critic_input(outputs.more["true"] + 0.5, grey - 0.5),
            critic_input(outputs.more["edges"] + 0.5, grey - 0.5),
        )
        return [edges, *super().pairs(batch, outputs)]

    def columns(self, batch: Batch, outputs: Outputs) -> list[Tensor]:
        """As the base class, and the true and the completed edges."""
        shown = [edges.expand(-1, 3, -1, -1) for edges in (outputs.more["true"], outputs.more["edges"])]
        return [*super().columns(batch, outputs), *shown]


class Unsupervised(System):
    """Learns to fill from damaged scans alone, after Bora et al., AmbientGAN, 2018.

    The lost parts of the scans are never used. The generator is supervised where a second mask hides known pixels. The
    discriminator compares scans with their losses hidden with filled scans in which the losses of other scans are
    hidden.
    """

    NEEDS = frozenset({"lost"})

    def run_generator(self, generator: Any, batch: Batch) -> Outputs:
        """Fill the lost and the hidden pixels."""
        hole = torch.maximum(batch.mask, batch.lost)
        return Outputs(generator(batch.photo * (1 - hole), hole).float(), {"hole": hole})

    def loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        """The recipe's terms on hidden pixels that are known."""
        return losses.weighted_sum(self.recipe.losses, outputs.main, batch.photo, batch.mask * (1 - batch.lost))

    def result(self, batch: Batch, outputs: Outputs) -> Tensor:
        """The scans with lost and hidden pixels filled."""
        hole = outputs.more["hole"]
        return batch.photo * (1 - hole) + outputs.main * hole

    def pairs(self, batch: Batch, outputs: Outputs) -> Pairs:
        """Scans with their own losses hidden; filled scans with the losses of another scan hidden."""
        other = batch.lost.roll(1, dims=0)
        real, fake = batch.photo, self.result(batch, outputs)
        return [
            (
                critic_input(real * (1 - batch.lost) + 0.5 * batch.lost, batch.lost),
                critic_input(fake * (1 - other) + 0.5 * other, other),
            )
        ]

    def error(self, batch: Batch, outputs: Outputs) -> Tensor:
        """Mean absolute error on hidden pixels that are known."""
        return losses.l1_hole(outputs.main, batch.photo, batch.mask * (1 - batch.lost))

    def indicators(self, batch: Batch, outputs: Outputs) -> dict[str, float]:
        """Scores on hidden pixels that are known."""
        known = batch.mask * (1 - batch.lost)
        return scores(batch.photo * (1 - known) + outputs.main * known, batch.photo, known)

    def columns(self, batch: Batch, outputs: Outputs) -> list[Tensor]:
        """The scan, the scan with all holes, the filled scan."""
        hole = outputs.more["hole"]
        return [batch.photo, batch.photo * (1 - hole) + hole, self.result(batch, outputs)]


class Prior(System):
    """DCGAN: a generator of pictures from latents, and an encoder from damaged pictures to latents."""

    CRITIC_CHANNELS = (3,)

    def run_generator(self, generator: Any, batch: Batch) -> Outputs:
        """Samples, and reconstructions of photographs through encoder and generator."""
        latent = torch.randn(len(batch.photo), LATENT, device=batch.photo.device)
        samples = generator.generator(latent).float()
        hidden = samples.detach() * (1 - batch.mask), batch.mask
        more = {"latent": latent, "estimated": generator.encoder(*hidden).float()}
        code = generator.encoder(batch.photo * (1 - batch.mask), batch.mask)
        return Outputs(samples, more | {"again": _run_frozen(generator.generator, code).float()})

    def loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        """The encoder's loss: squared error of the latents of samples, and the recipe's terms for photographs."""
        latent = (outputs.more["estimated"] - outputs.more["latent"]).square().mean()
        return 0.1 * latent + losses.weighted_sum(self.recipe.losses, outputs.more["again"], batch.photo, batch.mask)

    def pairs(self, batch: Batch, outputs: Outputs) -> Pairs:
        """Photographs and samples."""
        return [(batch.photo - 0.5, outputs.main - 0.5)]

    def result(self, batch: Batch, outputs: Outputs) -> Tensor:
        """Photographs with their masked part replaced by the reconstruction."""
        return batch.photo * (1 - batch.mask) + outputs.more["again"] * batch.mask

    def error(self, batch: Batch, outputs: Outputs) -> Tensor:
        """Distance of samples from photographs in the mean and standard deviation of each pixel; a coarse indicator."""
        real, fake = batch.photo, outputs.main
        return (real.mean(dim=0) - fake.mean(dim=0)).abs().mean() + (real.std(dim=0) - fake.std(dim=0)).abs().mean()

    def indicators(self, batch: Batch, outputs: Outputs) -> dict[str, float]:
        """As the base class, and ``variety``: about 1 is good, near 0 all samples are alike (mode collapse)."""
        return super().indicators(batch, outputs) | {"variety": sample_variety(outputs.main, batch.photo)}

    def columns(self, batch: Batch, outputs: Outputs) -> list[Tensor]:
        """Samples, photographs, masked photographs, and their reconstructions."""
        hidden = batch.photo * (1 - batch.mask) + batch.mask
        return [
            outputs.main,
            outputs.main.roll(8, dims=0),
            outputs.main.roll(16, dims=0),
            batch.photo,
            hidden,
            outputs.more["again"],
        ]


class Cycle(System):
    """CycleGAN between old and fresh prints; no picture is in both sets."""

    CRITIC_CHANNELS = (3, 3)
    TERMS: ClassVar[Mapping[str, object]] = losses.CYCLES
    NEEDS = frozenset({"old"})
    POOL = 50

    def __init__(self, recipe: TrainingRecipe) -> None:
        super().__init__(recipe)
        self._pools: list[list[Tensor]] = [[], []]

    def run_generator(self, generator: Any, batch: Batch) -> Outputs:
        """Run old to fresh and back, fresh to old and back, and the identities fresh to fresh and old to old."""
        old, fresh = batch.damaged, batch.photo
        freshened, aged = generator(old, "freshen").float(), generator(fresh, "age").float()
        more = {
            "aged": aged,
            "old_again": generator(freshened, "age").float(),
            "fresh_again": generator(aged, "freshen").float(),
            "same_fresh": generator(fresh, "freshen").float(),
            "same_old": generator(old, "age").float(),
        }
        return Outputs(freshened, more)

    def loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        """Cycle and identity terms with the weights of the recipe."""
        more, mask, weights = outputs.more, batch.mask, self.recipe.losses
        cycle = losses.CYCLES["cycle"]
        identity = losses.CYCLES["identity"]
        back = cycle(more["old_again"], batch.damaged, mask) + cycle(more["fresh_again"], batch.photo, mask)
        same = identity(more["same_fresh"], batch.photo, mask) + identity(more["same_old"], batch.damaged, mask)
        return weights.get("cycle", 0.0) * back + weights.get("identity", 0.0) * same

    def pairs(self, batch: Batch, outputs: Outputs) -> Pairs:
        """Fresh and freshened prints; old and aged prints."""
        return [(batch.photo - 0.5, outputs.main - 0.5), (batch.damaged - 0.5, outputs.more["aged"] - 0.5)]

    def critic_pairs(self, pairs: Pairs) -> Pairs:
        """Exchange half of the generated pictures for earlier ones (Shrivastava et al., SimGAN, 2017).

        The pool of earlier pictures is not part of a checkpoint: it is empty when a training is resumed.
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

    def result(self, batch: Batch, outputs: Outputs) -> Tensor:  # noqa: ARG002 - the whole picture is generated
        """The freshened prints."""
        return outputs.main

    def error(self, batch: Batch, outputs: Outputs) -> Tensor:
        """Distance of freshened from fresh prints in the means and standard deviations of their colours."""
        return _tone_distance(outputs.main, batch.photo)

    def indicators(self, batch: Batch, outputs: Outputs) -> dict[str, float]:  # noqa: ARG002 - does not depend on the outputs
        """The same distance for the old prints as they are, for comparison."""
        return {"tones_apart_before": float(_tone_distance(batch.damaged, batch.photo))}

    def columns(self, batch: Batch, outputs: Outputs) -> list[Tensor]:
        """Old, freshened, fresh, aged."""
        return [batch.damaged, outputs.main, batch.photo, outputs.more["aged"]]


class Detect(System):
    """Finds damage: a probability for each pixel, and its class."""

    CRITIC_CHANNELS = ()
    NEEDS = frozenset({"damage"})

    def run_generator(self, generator: Any, batch: Batch) -> Outputs:
        """Logits of the damaged pictures."""
        return Outputs(generator(batch.damaged).float())

    def loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        """The recipe's terms, weighted by ``losses.detection_weight``."""
        weight = losses.detection_weight(outputs.main, batch.truth, batch.labelled)
        return losses.weighted_sum(self.recipe.losses, outputs.main, batch.truth, weight)

    def error(self, batch: Batch, outputs: Outputs) -> Tensor:
        """1 - F1 at the probability 1/2, by pixels."""
        found, true = outputs.main[:, :1] > 0, batch.truth[:, :1] > 0
        both = (found & true).sum().float()
        return 1 - 2 * both / (found.sum() + true.sum()).clamp_min(1)

    def indicators(self, batch: Batch, outputs: Outputs) -> dict[str, float]:
        """Precision and recall at the probability 1/2, and the share of damage whose class is right, by pixels."""
        found, true = outputs.main[:, :1] > 0, batch.truth[:, :1] > 0
        both = (found & true).sum().float()
        kinds = batch.truth[:, 1]
        known = true[:, 0] & (kinds >= 0)
        right = known & (outputs.main[:, 1:].argmax(dim=1) == kinds)
        return {
            "precision": float(both / found.sum().clamp_min(1)),
            "recall": float(both / true.sum().clamp_min(1)),
            "right class": float(right.sum() / known.sum().clamp_min(1)),
        }

    def columns(self, batch: Batch, outputs: Outputs) -> list[Tensor]:
        """The damaged picture, true damage, probability of damage."""
        shown = [batch.truth[:, :1], torch.sigmoid(outputs.main[:, :1])]
        return [batch.damaged, *[planes.expand(-1, 3, -1, -1) for planes in shown]]


class Faces(System):
    """Finds faces: a heat map of their centres, sizes and offsets."""

    CRITIC_CHANNELS = ()
    TERMS: ClassVar[Mapping[str, object]] = losses.FACES
    NEEDS = frozenset({"faces"})

    def run_generator(self, generator: Any, batch: Batch) -> Outputs:
        """The maps of the damaged pictures, with logits of the heat."""
        return Outputs(generator(batch.damaged).float())

    def loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        """The recipe's terms."""
        weights = self.recipe.losses
        terms = [weight * losses.FACES[name](outputs.main, batch.truth) for name, weight in weights.items()]
        return torch.stack(terms).sum()

    def error(self, batch: Batch, outputs: Outputs) -> Tensor:
        """1 - F1 at the probability 1/2, by peaks of the heat map."""
        right, found, hit, true = self._peaks(batch, outputs)
        return 1 - (right + hit) / (found + true).clamp_min(1)

    def indicators(self, batch: Batch, outputs: Outputs) -> dict[str, float]:
        """Precision and recall at the probability 1/2, by peaks, and the errors of size and offset."""
        right, found, hit, true = self._peaks(batch, outputs)
        return {
            "precision": float(right / found.clamp_min(1)),
            "recall": float(hit / true.clamp_min(1)),
            "size": float(losses.face_size(outputs.main, batch.truth)),
            "offset": float(losses.face_offset(outputs.main, batch.truth)),
        }

    def columns(self, batch: Batch, outputs: Outputs) -> list[Tensor]:
        """The damaged picture, the true heat, the found heat."""
        heats = [batch.truth[:, :1] * batch.truth[:, 6:], torch.sigmoid(outputs.main[:, :1])]
        size = list(batch.damaged.shape[2:])
        return [batch.damaged, *[functional.interpolate(heat, size=size).expand(-1, 3, -1, -1) for heat in heats]]

    @staticmethod
    def _peaks(batch: Batch, outputs: Outputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Numbers of peaks near a true centre, of peaks that count, of centres with a peak, and of centres."""
        heat, true, counts = outputs.main[:, :1], batch.truth[:, :1], batch.truth[:, 6:]
        peaks = ((heat > 0) & (heat == functional.max_pool2d(heat, 3, 1, 1))).float()
        centres = (true == 1).float()
        right = peaks * (true > 0.3)
        hits = centres * functional.max_pool2d(peaks, 5, 1, 2)
        return right.sum(), (peaks * counts).sum(), hits.sum(), centres.sum()


SYSTEMS: dict[str, type[System]] = {
    "fill": System,
    "restore": Restore,
    "tone": Tone,
    "enlarge": Enlarge,
    "edges": Edges,
    "unsupervised": Unsupervised,
    "prior": Prior,
    "cycle": Cycle,
    "detect": Detect,
    "faces": Faces,
}
"""Name -> system that a recipe may name as its ``system``."""


def _run_frozen(network: nn.Module, *inputs: Tensor) -> Tensor:
    """Run a network in evaluation mode without gradients for its weights and without changing its batch statistics.

    Gradients reach the inputs only: the encoder is trained to match the generator, and the generator is not changed.
    """
    held = {name: value.detach() for name, value in (*network.named_parameters(), *network.named_buffers())}
    training = network.training
    network.eval()
    output: Tensor = torch.func.functional_call(network, held, inputs)
    network.train(training)
    return output


def sample_variety(samples: Tensor, photographs: Tensor) -> float:
    """Mean distance of pairs of samples over that of pairs of photographs; near 0 at mode collapse."""
    return float(losses.mean_distance(samples) / losses.mean_distance(photographs).clamp_min(1e-6))


def _tone_distance(a: Tensor, b: Tensor) -> Tensor:
    """Distance of two sets of pictures in the mean and the standard deviation of each channel."""
    means = (a.mean(dim=(0, 2, 3)) - b.mean(dim=(0, 2, 3))).abs().mean()
    spreads = (a.std(dim=(2, 3)).mean(dim=0) - b.std(dim=(2, 3)).mean(dim=0)).abs().mean()
    return means + spreads
