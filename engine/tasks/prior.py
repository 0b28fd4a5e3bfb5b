"""Filling with a generative model: a search for the latent code whose picture matches the known pixels.

Semantic inpainting after Yeh et al., "Semantic Image Inpainting with Deep Generative Models" (CVPR 2017), but without
gradients: the search uses the separable CMA evolution strategy of Ros and Hansen, "A Simple Modification in CMA-ES
Achieving Linear Time and Space Complexity" (PPSN 2008), and starts from an encoder's estimate.
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
"""Codes tried in a round (the population size, lambda)."""
_LEAST_ROUNDS, _MOST_ROUNDS = 8, 24
_ROUNDS_PER_PIXEL = 4
"""Rounds for each pixel of a hole's depth: in thin damage the tone correction from its rim decides the result."""
_STEP = 0.4
"""Initial step size of the search; the codes have standard deviation 1."""
_ASTRAY = 0.6
"""Standard deviation of the random start, around the encoder's estimate, of variations other than 0."""
_RIM = 6.0
"""Distance from the hole over which the weight of known pixels falls by a factor e, pixels."""
_FLOOR = 0.05
"""Weight of known pixels far from the hole, relative to those at its rim."""
_PRIOR = 0.05
"""Cost of codes that are less probable than those of the training: this times |z|^2 / n - 1, where that is above 0."""


def search_fill(
    generate: Callable[[Floats], Floats], start: Floats, view: View, seed: int, context: JobContext
) -> Floats:
    """Search the generator's picture that matches the known part of a window best, and match its tone at the rim.

    The same seed gives the same picture.

    Args:
        generate: codes (n, size) -> pictures (n, h, w, 3) in 0..1, h and w being the window's.
        start: the first estimate, (size,); the generator's codes are standard normal.
        view: the window.
        seed: chooses among the pictures that match; 0 starts from the estimate itself.
        context: progress, and cancellation between rounds and within them.

    Returns:
        (h, w, 3) float32 in model space.

    Raises:
        ModelError: the generator's pictures have another size than the window.
        Cancelled: the job was cancelled.
    """
    weight = _rim_weight(view.hole)
    random = np.random.default_rng([seed, *view.place])
    first = start.astype(np.float64)
    if seed:
        first += _ASTRAY * random.standard_normal(first.size)

    def cost_of(codes: Floats) -> tuple[np.ndarray, Floats]:
        """Cost of each code, and its picture: weighted mean |G(z) - x| over known pixels + cost of improbable codes."""
        pictures = generate(codes)
        if pictures.shape[1:] != view.picture.shape:
            raise ModelError("The model's pictures are of another size than its card's windows.", "model.output")
        misfit = (np.abs(pictures - view.known).mean(axis=3) * weight).sum(axis=(1, 2))
        improbable = np.maximum(0, (codes**2).mean(axis=1) - 1)
        return misfit + _PRIOR * improbable, pictures

    if not weight.any():
        # Nothing to compare with: the damage fills the window, and the coarse fill replaces this one.
        return np.asarray(cost_of(first[None].astype(np.float32))[1][0], np.float32)
    deep = float(masks.depth((view.hole > 0).view(np.uint8)).max())
    rounds = round(min(max(_ROUNDS_PER_PIXEL * deep, _LEAST_ROUNDS), _MOST_ROUNDS))
    best = _evolve(cost_of, first, rounds, random, context)
    return best + _membrane(view.known - best, view.hole > 0)


def _rim_weight(hole: Floats) -> Floats:
    """Weights (h, w) of the known pixels, with sum 1, highest at the rim of the hole; all 0 if nothing is known."""
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
    """The best picture (h, w, 3) found by a separable CMA evolution strategy; ``mean`` itself is tried too.

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
    """Interpolate a difference smoothly into a hole (membrane interpolation).

    Solves Laplace's equation in the hole with the values at its rim as boundary, as Poisson blending does (Perez,
    Gangnet and Blake 2003): by repeated blurs, from wide to narrow, that restore the known values each time.

    Args:
        difference: (h, w, 3); its values in the hole are not used.
        hole: (h, w) bool.

    Returns:
        (h, w, 3), unchanged outside the hole; all 0 if nothing is known.
    """
    known = (~hole).astype(np.float32)[..., None]
    if not known.any():
        return np.zeros_like(difference)
    field = difference * known
    # Start from a wide blur of the known values, which reaches every pixel of the hole.
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
