"""Heal: fill what a repair mask covers from its surroundings."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from engine import masks
from engine.colour import ModelSpace
from engine.errors import ModelError, SettingsError
from engine.jobs import JobContext
from engine.raster import Mask, MaskSource, Rect, from_float
from engine.runtime.cards import ModelCard
from engine.runtime.session import Session
from engine.tasks.base import Job, Patch, Piece, run_shrinking
from engine.tiling import Blender, plan_windows, read_padded

_MOST = 100


def _px(title: str, tooltip: str) -> dict[str, object]:
    """How the task panel shows a setting in pixels."""
    return {"title": title, "tooltip": tooltip, "low": 0, "high": _MOST}


@dataclass(frozen=True)
class HealSettings:
    """How the repair mask is used; pixels.

    Raises:
        SettingsError: a value is out of range.
    """

    grow: float = field(default=0.0, metadata=_px("Grow", "First the mask is enlarged by so much"))
    """The mask is first enlarged by so much."""
    feather: float = field(default=0.0, metadata=_px("Feather", "Then the repair fades out over so much around it"))
    """Then it fades outwards over so much."""

    def __post_init__(self) -> None:
        if not (0 <= self.grow <= _MOST and 0 <= self.feather <= _MOST):
            raise SettingsError(f"Grow and feather go from 0 to {_MOST} px.", "heal.settings")

    @property
    def reach(self) -> int:
        """How far outside the repair mask pixels may change."""
        return int(np.ceil(self.grow)) + int(np.ceil(self.feather))


def heal(job: Job, context: JobContext) -> Patch:
    """Fill the masked parts of a picture.

    Every value of the mask above 0, once it is grown and feathered, is lost to the model; the value itself is the
    weight with which the fill replaces the picture. Outside of it the pieces carry the picture's own pixels.

    Raises:
        SettingsError: the mask is empty, absent or of another size than the picture.
        Cancelled, DeviceError, ModelError: see ``Session.run``.
    """
    assert isinstance(job.settings, HealSettings)
    if job.mask is None:
        raise SettingsError("Healing wants a repair mask.", "heal.mask")
    if job.mask.shape[:2] != job.source.shape[:2]:
        (h, w), (mh, mw) = job.source.shape[:2], job.mask.shape[:2]
        raise SettingsError(f"The mask is {mw} x {mh} px, but the picture is {w} x {h} px.", "heal.mask_size")
    _check_card(job.card)
    weights = _Weights(job.mask, job.settings)
    boxes = masks.damage_boxes(job.mask, weights.settings.reach)
    if not boxes:
        raise SettingsError("The repair mask is empty: there is nothing to heal.", "heal.empty")
    return run_shrinking(job, lambda session, window: _fill(job, weights, boxes, session, window, context), context)


def _check_card(card: ModelCard) -> None:
    """Refuse a model that wants what is not done here, rather than to heal wrongly with it."""
    ports = [port for stage in card.stages for port in (*stage.inputs, *stage.outputs)]
    fits = (
        len(card.stages) == 1
        and sorted(port.role for port in card.stages[0].inputs) == ["mask", "picture"]
        and [port.role for port in card.stages[0].outputs] == ["picture"]
        and all(port.layout == "NCHW" and (port.low, port.high) == (0.0, 1.0) for port in ports)
        and all(port.colour_space == "sRGB" and port.channels == 3 for port in ports if port.role == "picture")
        and card.tile.scale == 1
        and not card.settings
    )
    if not fits:
        raise ModelError(
            f"The model {card.id} is not of the kind that heal can run: one picture (NCHW, 0 to 1) and one mask in, "
            "one picture of the same size out.",
            "model.kind",
        )


@dataclass(frozen=True)
class _Weights:
    """The repair mask as it is used: grown and feathered, piece by piece."""

    mask: MaskSource
    settings: HealSettings

    def read(self, rect: Rect) -> Mask:
        around = rect.grown(self.settings.reach) & Rect.of_shape(self.mask.shape)
        grown = masks.grow(self.mask.read_mask(around), self.settings.grow)
        return masks.feather(grown, self.settings.feather)[rect.slices(around)]


def _fill(job: Job, weights: _Weights, boxes: list[Rect], session: Session, window: int, context: JobContext) -> Patch:
    tile, bounds = job.card.tile, Rect.of_shape(job.source.shape)
    # Half of a small window at most may go to the surroundings.
    context_px = min(tile.context, window // 4)
    plan = plan_windows(
        boxes, bounds, window=window, context=context_px, overlap=min(tile.overlap, window // 4), multiple=tile.multiple
    )
    space = ModelSpace(job.profile, job.source.shape[2])
    blender = Blender(3)
    for done, (whole, part) in enumerate(plan):
        context.progress(0.95 * done / len(plan), "healing")
        inside = whole & bounds
        lost = weights.read(inside)
        if lost[part.slices(inside)].any():
            blender.add(part, _run(job, space, session, whole, inside, lost, context)[part.slices(whole)], tile.overlap)
    pieces = []
    cells = blender.cells()
    for done, cell in enumerate(cells):
        context.progress(0.95 + 0.05 * done / len(cells), "finishing")
        rect = Rect.of_cell(cell) & bounds
        weight = weights.read(rect)
        if weight.any():
            own = job.source.read(rect)
            fill = from_float(space.from_model(blender.take(cell)[: rect.height, : rect.width]), own.dtype)
            pieces.append(Piece(rect, np.where(weight[..., None] > 0, fill, own), weight.copy()))
    context.progress(1.0)
    return Patch(tuple(pieces), session.device, tuple(boxes))


def _run(
    job: Job, space: ModelSpace, session: Session, whole: Rect, inside: Rect, lost: Mask, context: JobContext
) -> np.ndarray:
    """The model's picture (h, w, 3) of one window, float32 in model space."""
    picture = read_padded(space.to_model(job.source.read(inside)), inside, whole)
    hole = read_padded((lost > 0).astype(np.float32), inside, whole)
    known = 1 - hole
    inputs = {
        "picture": np.ascontiguousarray((picture * known[..., None]).transpose(2, 0, 1)[None]),
        "mask": np.ascontiguousarray((hole if job.card.mask_means == 1 else known)[None, None]),
    }
    return np.asarray(session.run(inputs, context)[0][0].transpose(1, 2, 0))
