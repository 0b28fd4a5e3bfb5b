"""Calibration of a detector: probabilities that say how often pixels are damaged."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from engine.train.data.batches import Batches, Sources
from engine.train.nets import NETWORKS, build
from engine.train.nets.detect import DamageUNet
from engine.train.recipe import TrainingRecipe

CROPS = 256
"""Held-out crops that a detector is calibrated on."""


def calibrate_weights(recipe: TrainingRecipe, weights: dict[str, Tensor], sources: Sources) -> dict[str, Tensor]:
    """Calibrate the probabilities of a detector on held-out crops; the order of the probabilities does not change.

    Training weights damaged pixels more and oversamples sound crops that look damaged, so that its probabilities differ
    from frequencies.

    Args:
        recipe: the training recipe of a detector.
        weights: of its network.
        sources: photographs and textures; only what is held out of training is used.

    Raises:
        SettingsError: there are no photographs, or the network has no logits to calibrate.
    """
    network = build(NETWORKS, recipe.network.name, recipe.network.options)
    assert isinstance(network, DamageUNet), "only detectors are calibrated"
    network.load_state_dict(weights)
    network.eval()
    held_out = Batches(recipe, sources, torch.device("cpu"), validation=True, needs=frozenset({"damage"})).draw(CROPS)
    with torch.no_grad():
        logits = torch.cat([network(part) for part in torch.split(held_out.damaged, 8)])
    known = held_out.labelled[:, None, None, None].expand_as(logits)
    scale, shift = fit_scale_and_shift(logits[known], held_out.truth[known])
    network.scale_logits(scale, shift)
    return network.state_dict()


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
