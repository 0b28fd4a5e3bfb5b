"""Calibration of a detector: probabilities that say how often pixels are damaged."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import SettingsError
from engine.train.data.batches import Sources
from engine.train.measure.evaluate import film_cases
from engine.train.measure.film import FilmCase, certain_pixels
from engine.train.nets import NETWORKS, build
from engine.train.nets.detect import DamageUNet
from engine.train.recipe import TrainingRecipe

_EVERY = 7
"""Step between the pixels that are used: neighbours tell nothing new."""


def calibrate_weights(recipe: TrainingRecipe, weights: dict[str, Tensor], sources: Sources) -> dict[str, Tensor]:
    """Calibrate the probabilities of a detector; the order of the probabilities does not change.

    Training weights damaged pixels more, shows far more damage than photographs have, and oversamples sound crops that
    look damaged, so that its probabilities differ from frequencies. They are calibrated on held-out photographs with
    damage composited as in the film protocol, but with the textures and frames that the protocol does not use.

    Args:
        recipe: the training recipe of a detector.
        weights: of its network.
        sources: photographs and textures.

    Raises:
        SettingsError: there are no photographs or no textures.
    """
    if sources.textures is None:
        raise SettingsError("A detector is calibrated on scanned damage; name its folder.", "train.calibrate")
    network = build(NETWORKS, recipe.network.name, recipe.network.options)
    assert isinstance(network, DamageUNet), "only detectors are calibrated"
    network.load_state_dict(weights)
    network.eval()
    cases = film_cases(sources.photographs, sources.textures, held_out=False)
    seen = [_logits_and_truth(network, case) for case in cases]
    scale, shift = fit_scale_and_shift(*(torch.cat(parts) for parts in zip(*seen, strict=True)))
    network.scale_logits(scale, shift)
    return network.state_dict()


@torch.no_grad()
def _logits_and_truth(network: DamageUNet, case: FilmCase) -> tuple[Tensor, Tensor]:
    """Logits and truth, 0 or 1, of some of the pixels whose truth is certain."""
    height, width = case.classes.shape
    pad = [(-side) % network.MULTIPLE for side in (width, height)]
    picture = torch.from_numpy(case.given).permute(2, 0, 1)[None].float() / 255
    seen, _ = network.look_twice(functional.pad(picture, (0, pad[0], 0, pad[1]), mode="reflect"))
    logits = seen[0, 0, :height, :width]
    certain = torch.from_numpy(np.flatnonzero(certain_pixels(case))[::_EVERY])
    return logits.flatten()[certain], torch.from_numpy(case.classes > 0).flatten()[certain].float()


def fit_scale_and_shift(logits: Tensor, truth: Tensor) -> tuple[float, float]:
    """The scale (above 0) and shift of logits with the least cross entropy to the truth (Platt scaling, 1999)."""
    parameters = torch.tensor([0.0, 0.0], requires_grad=True)
    optimiser = torch.optim.LBFGS([parameters], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        scaled = parameters[0].exp() * logits + parameters[1]
        loss = functional.binary_cross_entropy_with_logits(scaled, truth)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    scale, shift = parameters.detach().tolist()
    return math.exp(scale), shift
