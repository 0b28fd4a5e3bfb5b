"""Filling with a generator of whole pictures: searching its codes for the picture that fits what is known.

Semantic inpainting after Yeh et al., "Semantic Image Inpainting with Deep Generative Models" (CVPR 2017), but without
gradients: the codes are search_fill with the separable CMA evolution strategy of Ros and Hansen, "A Simple Modification
in CMA-ES Achieving Linear Time and Space Complexity" (PPSN 2008), from an encoder's guess.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from engine import masks
from engine.errors import ModelError
from engine.jobs import JobContext
from engine.raster import Floats
from engine.tasks.view import View

_BATCH = 32
"""Codes tried at a time (lambda)."""
_LEAST_ROUNDS, _MOST_ROUNDS = 8, 24
_ROUNDS_PER_PIXEL = 4
"""By how deep a hole is: thin damage is closed by the tone of its rims, whatever is found."""
_STEP = 0.4
"""First spread of the search; the codes themselves have spread 1."""
_ASTRAY = 0.6
"""How far from the encoder's guess other variations than 0 start."""
_RIM = 6.0
"""Distance from the hole over which what is known loses its weight by a factor e, pixels."""
_FLOOR = 0.05
"""The weight that it keeps."""
_PRIOR = 0.05
"""Price of a code farther out than the codes the generator learned from: by |z|^2 / n - 1."""


def search_fill(
    generate: Callable[[Floats], Floats], start: Floats, view: View, seed: int, context: JobContext
) -> Floats:
    """The generator's picture that fits the known part of a window best, its tone fitted to the surroundings.

    The same seed gives the same picture.

    Args:
        generate: codes (n, size) -> pictures (n, h, w, 3) in 0..1, h and w being the window's.
        start: the first guess, (size,); codes are drawn from a normal distribution of mean 0 and spread 1.
        view: the window.
        seed: chooses among the pictures that fit.
        context: progress, and cancellation between batches and within them.

    Returns:
        (h, w, 3) float32.

    Raises:
        ModelError: the generator's pictures have another size than the window.
        Cancelled: the job was called off.
    """
    weight = _rim_weight(view.hole)
    random = np.random.default_rng([seed, *view.place])
    first = start.astype(np.float64)
    if seed:
        first += _ASTRAY * random.standard_normal(first.size)

    def cost_of(codes: Floats) -> tuple[np.ndarray, Floats]:
        """Price of each code, and the pictures: mean |G(z) - x| over what is known + the price of strange codes."""
        pictures = generate(codes)
        if pictures.shape[1:] != view.picture.shape:
            raise ModelError("The model's pictures are of another size than its card's windows.", "model.output")
        misfit = (np.abs(pictures - view.known).mean(axis=3) * weight).sum(axis=(1, 2))
        strange = np.maximum(0, (codes**2).mean(axis=1) - 1)
        return misfit + _PRIOR * strange, pictures

    if not weight.any():
        # Nothing to compare with: the damage fills the window, which is then seen from afar.
        return np.asarray(cost_of(first[None].astype(np.float32))[1][0], np.float32)
    deep = float(masks.depth((view.hole > 0).view(np.uint8)).max())
    rounds = round(min(max(_ROUNDS_PER_PIXEL * deep, _LEAST_ROUNDS), _MOST_ROUNDS))
    best = _evolve(cost_of, first, rounds, random, context)
    return best + _membrane(view.known - best, view.hole > 0)


def _rim_weight(hole: Floats) -> Floats:
    """Weights (h, w) of what is known, of sum 1: most at the rim of the hole; all 0 where nothing is known."""
    known = (hole == 0).astype(np.uint8)
    distance = cv2.distanceTransform(known, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    weight = known * (np.exp(-distance / _RIM) + _FLOOR)
    return np.asarray(weight / max(float(weight.sum()), 1e-9), np.float32)


def _evolve(
    cost_of: Callable[[Floats], tuple[np.ndarray, Floats]],
    mean: np.ndarray,
    rounds: int,
    random: np.random.Generator,
    context: JobContext,
) -> Floats:
    """The best picture that a separable CMA evolution strategy meets; the start is among those tried.

    Step size, evolution paths and learning rates are those of Ros and Hansen (2008), section 2.
    """
    n, parents = mean.size, _BATCH // 2
    shares = math.log(parents + 0.5) - np.log(np.arange(1, parents + 1))
    shares /= shares.sum()
    mass = 1 / (shares**2).sum()
    c_step, c_path = (mass + 2) / (n + mass + 5), (4 + mass / n) / (n + 4 + 2 * mass / n)
    damping = 1 + c_step + 2 * max(0.0, math.sqrt((mass - 1) / (n + 1)) - 1)
    faster = (n + 2) / 3
    c_one = min(1.0, faster * 2 / ((n + 1.3) ** 2 + mass))
    c_mass = min(1 - c_one, faster * 2 * (mass - 2 + 1 / mass) / ((n + 2) ** 2 + mass))
    length = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n))
    step, spread = _STEP, np.ones(n)
    step_path, path = np.zeros(n), np.zeros(n)
    found, price = np.zeros(0, np.float32), math.inf
    for done in range(rounds):
        context.progress(done / rounds, "searching")
        moves = random.standard_normal((_BATCH, n))
        if not done:
            moves[0] = 0
        moves *= np.sqrt(spread)
        prices, pictures = cost_of((mean + step * moves).astype(np.float32))
        order = np.argsort(prices, kind="stable")
        if prices[order[0]] < price:
            found, price = pictures[order[0]].astype(np.float32), float(prices[order[0]])
        chosen = moves[order[:parents]]
        move = shares @ chosen
        mean = mean + step * move
        step_path = (1 - c_step) * step_path + math.sqrt(c_step * (2 - c_step) * mass) * move / np.sqrt(spread)
        path = (1 - c_path) * path + math.sqrt(c_path * (2 - c_path) * mass) * move
        spread = (1 - c_one - c_mass) * spread + c_one * path**2 + c_mass * (shares @ chosen**2)
        step *= math.exp(min(1.0, c_step / damping * (np.linalg.norm(step_path) / length - 1)))
    return found


def _membrane(difference: Floats, hole: np.ndarray) -> Floats:
    """A difference known outside a hole, continued into it as a thin membrane is: smooth, and equal to it at the rim.

    That solves Laplace's equation inside, as Poisson blending does (Perez, Gangnet and Blake 2003): by repeated
    averaging, from coarse to fine, what is known being put back each time.

    Args:
        difference: (h, w, 3).
        hole: (h, w) bool; values of the difference inside do not matter.

    Returns:
        (h, w, 3); 0 everywhere where nothing is known.
    """
    known = (~hole).astype(np.float32)[..., None]
    if not known.any():
        return np.zeros_like(difference)
    field = difference * known
    # The first guess reaches everywhere: the mean of what is known, the nearer the more.
    size = float(max(hole.shape))
    reach = cv2.GaussianBlur(known[..., 0], (0, 0), size / 8)[..., None] + 1e-6
    mean = field.sum(axis=(0, 1)) / known.sum()
    guess = (cv2.GaussianBlur(field, (0, 0), size / 8) + 1e-6 * mean) / reach
    field = np.where(hole[..., None], guess, difference)
    for sigma in (size / 8, size / 16, size / 32, 1.5, 0.8):
        for _ in range(12):
            blurred = cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
            field = np.where(hole[..., None], blurred, difference)
    return np.asarray(field, np.float32)
