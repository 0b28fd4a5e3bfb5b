"""The kinds of heal models, recognised by the roles of their tensors, and how each kind fills one window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.errors import ModelError
from engine.jobs import JobContext
from engine.raster import LUMA, Floats
from engine.runtime.cards import ModelCard
from engine.tasks.base import Model, to_planes
from engine.tasks.kinds import Signature, check_kind, signature
from engine.tasks.prior import search_fill
from engine.tasks.view import View

_LUMA = np.array(LUMA, np.float32)
_NEUTRAL = 0.012
"""Root mean square deviation of the colours from one tone, of full scale, up to which it counts as noise."""

PLAIN: Signature = (("mask picture", "picture"),)
"""One stage."""
EDGES: Signature = (("mask picture", "edges"), ("edges mask picture", "picture"))
"""The first stage completes the edges, the second fills along them (EdgeConnect, Nazeri et al. 2019)."""
PRIOR: Signature = (("mask picture", "latent"), ("latent", "picture"))
"""A generator of whole pictures whose latent code is searched for the picture that fits (Yeh et al. 2017)."""


def wants_edges(card: ModelCard) -> bool:
    """Whether a heal model draws edges before it fills, so that the user can edit them."""
    return signature(card) == EDGES


def check_filler(card: ModelCard) -> None:
    """Refuse a model that heal cannot run; raises as ``check_kind``."""
    prior = signature(card) == PRIOR
    check_kind(card, (PLAIN, EDGES, PRIOR), ("variation",) if prior else ())
    tile = card.tile
    if prior and not tile.multiple == tile.minimum == tile.default:
        raise ModelError(
            "The model {model} makes pictures of one fixed size: its windows must have this size (tile).",
            "model.kind",
            model=card.id,
        )


def fill(card: ModelCard, model: Model, view: View, seed: int, context: JobContext) -> Floats:
    """Fill a window.

    Args:
        card: the model's card, which tells its kind.
        model: the loaded model.
        view: the window.
        seed: chooses among the fills of a model that has several.
        context: progress and cancellation.

    Returns:
        (h, w, 3) in model space; meaningful only in the hole.
    """
    return _match_single_tone(_FILLERS[signature(card)](model, view, seed, context), view)


def _match_single_tone(filled: Floats, view: View) -> Floats:
    """Make a fill monochrome if the known pixels of the window are: a grey picture saved as RGB, or toned paper."""
    known = view.picture[view.hole == 0]
    if not len(known):
        return filled
    tones = known - (known @ _LUMA)[:, None]
    tone = tones.mean(axis=0)
    if np.sqrt(np.mean((tones - tone) ** 2)) > _NEUTRAL:
        return filled
    toned: Floats = (filled @ _LUMA)[..., None] + tone
    return toned


def edges(model: Model, view: View, context: JobContext) -> Floats:
    """The edges of a window as completed by the first stage, (h, w) in 0..1."""
    return model.picture(0, context, **_model_inputs(view))[..., 0]


def _fill_plain(model: Model, view: View, _seed: int, context: JobContext) -> Floats:
    return model.picture(0, context, **_model_inputs(view))


def _fill_along_edges(model: Model, view: View, _seed: int, context: JobContext) -> Floats:
    drawn = edges(model, view, context)
    if view.guide is not None:
        followed = view.hole if view.guided is None else view.hole * view.guided
        drawn = np.where(followed > 0, view.guide, drawn)
    return model.picture(1, context, **_model_inputs(view), edges=to_planes(drawn))


def _fill_by_search(model: Model, view: View, seed: int, context: JobContext) -> Floats:
    start = model.run(0, context, **_model_inputs(view))[0]

    def generate(codes: Floats) -> Floats:
        pictures: Floats = model.run(1, context, latent=codes)[0]
        return pictures.transpose(0, 2, 3, 1)

    return search_fill(generate, start[0], view, seed, context)


def _model_inputs(view: View) -> dict[str, Floats]:
    return {"picture": to_planes(view.known), "mask": to_planes(view.hole)}


_FILLERS: dict[Signature, Callable[[Model, View, int, JobContext], Floats]] = {
    PLAIN: _fill_plain,
    EDGES: _fill_along_edges,
    PRIOR: _fill_by_search,
}
