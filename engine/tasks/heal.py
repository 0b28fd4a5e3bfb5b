"""Heal: fill what a repair mask covers from its surroundings."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine import masks
from engine.colour import ModelSpace
from engine.errors import ModelError, SettingsError
from engine.jobs import JobContext
from engine.raster import Mask, MaskSource, Rect, from_float
from engine.resample import magnify
from engine.runtime.cards import ModelCard
from engine.runtime.session import Session
from engine.tasks.base import Job, Patch, Piece, run_shrinking
from engine.tiling import Blender, plan_windows, read_padded

_MOST = 100
_NEAR, _FAR = 24, 56
"""Distance from what is known, pixels: up to the first all is filled up close, from the second on from afar."""
_STRIP = 64
"""Rows of a reduced picture that are made at a time."""


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
    weights = _Weights(job.mask, job.settings, masks.is_soft(job.mask))
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
    soft: bool
    """Of the whole mask, or its parts would be faded in different ways."""

    def read(self, rect: Rect) -> Mask:
        around = rect.grown(self.settings.reach) & Rect.of_shape(self.mask.shape)
        grown = masks.grow(self.mask.read_mask(around), self.settings.grow)
        return masks.feather(grown, self.settings.feather, soft=self.soft)[rect.slices(around)]


def _fill(job: Job, weights: _Weights, boxes: list[Rect], session: Session, window: int, context: JobContext) -> Patch:
    tile, bounds = job.card.tile, Rect.of_shape(job.source.shape)
    # Half of a small window at most may go to the surroundings.
    context_px = min(tile.context, window // 4)
    plan = plan_windows(
        boxes, bounds, window=window, context=context_px, overlap=min(tile.overlap, window // 4), multiple=tile.multiple
    )
    space = ModelSpace(job.profile, job.source.shape[2])
    blender, afar = Blender(3), _Afar(job, space, weights, boxes, window)
    for done, (whole, part) in enumerate(plan):
        context.progress(0.95 * done / len(plan), "healing")
        inside = whole & bounds
        lost = weights.read(inside)
        if lost[part.slices(inside)].any():
            picture = _run(job, space, session, whole, inside, lost, context)
            near = picture[inside.slices(whole)]
            near[...] = afar.laid_over(near, inside, lost, session, context)
            blender.add(part, picture[part.slices(whole)], tile.overlap)
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


class _Afar:
    """The middle of large damages, filled from so far away that a whole damage fits into a window.

    Up close the model knows little there, and every window something else.
    """

    def __init__(self, job: Job, space: ModelSpace, weights: _Weights, boxes: list[Rect], window: int) -> None:
        self._job, self._space, self._weights, self._boxes, self._window = job, space, weights, boxes, window
        self._seen: dict[Rect, tuple[np.ndarray, Rect, int]] = {}

    def laid_over(
        self, picture: np.ndarray, inside: Rect, lost: Mask, session: Session, context: JobContext
    ) -> np.ndarray:
        """What was filled up close (h, w, 3), and what was filled from afar where all that is known is far away.

        Raises:
            SettingsError: nothing of the picture is known.
        """
        depth = masks.depth(lost)
        if depth.max() <= _NEAR:
            return picture
        result = picture.copy()
        for box in self._boxes:
            cut = box & inside
            if not cut:
                continue
            share = np.clip((depth[cut.slices(inside)] - _NEAR) / (_FAR - _NEAR), 0, 1)[..., None]
            if share.any():
                if box not in self._seen:
                    self._seen[box] = self._fill(box, session, context)
                filled, area, step = self._seen[box]
                offset = float(area.left - cut.left), float(area.top - cut.top)
                far = magnify(filled, float(step), offset, (cut.width, cut.height), smooth=True)
                part = result[cut.slices(inside)]
                part += share * (far - part)
        return result

    def _fill(self, box: Rect, session: Session, context: JobContext) -> tuple[np.ndarray, Rect, int]:
        """A box and its surroundings filled: (h, w, 3), what it shows, and the side of its pixels."""
        job = self._job
        # The damage takes about a third of the window, its surroundings another.
        step = -(-3 * max(box.width, box.height) // self._window)
        area = box.grown(step * self._window // 6) & Rect.of_shape(job.source.shape)
        picture, lost = _reduced(job, self._space, self._weights, area, step)
        if lost.all():
            raise SettingsError("Everything is masked: nothing is left to fill it from.", "heal.nothing_known")
        inside, multiple = Rect.of_shape(lost.shape), job.card.tile.multiple
        whole = Rect(0, 0, -(-inside.width // multiple) * multiple, -(-inside.height // multiple) * multiple)
        filled = _model(job, session, read_padded(picture, inside, whole), read_padded(lost, inside, whole), context)
        return filled, area, step


def _reduced(
    job: Job, space: ModelSpace, weights: _Weights, area: Rect, step: int
) -> tuple[np.ndarray, NDArray[np.float32]]:
    """A part of the picture in squares of ``step`` px: the mean of what is known of each, and 1 where too little is."""
    rows = [
        Rect(area.left, top, area.right, min(top + _STRIP * step, area.bottom))
        for top in range(area.top, area.bottom, _STRIP * step)
    ]
    sums: list[np.ndarray] = []
    counts: list[np.ndarray] = []
    for rect in rows:
        known = (weights.read(rect) == 0).astype(np.float32)[..., None]
        edge = ((0, -rect.height % step), (0, -rect.width % step), (0, 0))
        for parts, values in ((sums, space.to_model(job.source.read(rect)) * known), (counts, known)):
            squares = np.pad(values, edge).reshape(-(-rect.height // step), step, -(-rect.width // step), step, -1)
            parts.append(squares.sum(axis=(1, 3)))
    total, count = np.concatenate(sums), np.concatenate(counts)
    enough = count > count.max() / 4
    return total / np.maximum(count, 1), (~enough[..., 0]).astype(np.float32)


def _run(
    job: Job, space: ModelSpace, session: Session, whole: Rect, inside: Rect, lost: Mask, context: JobContext
) -> np.ndarray:
    """The model's picture (h, w, 3) of one window, float32 in model space."""
    picture = read_padded(space.to_model(job.source.read(inside)), inside, whole)
    return _model(job, session, picture, read_padded((lost > 0).astype(np.float32), inside, whole), context)


def _model(
    job: Job, session: Session, picture: np.ndarray, hole: NDArray[np.float32], context: JobContext
) -> np.ndarray:
    known = 1 - hole
    inputs = {
        "picture": np.ascontiguousarray((picture * known[..., None]).transpose(2, 0, 1)[None].astype(np.float32)),
        "mask": np.ascontiguousarray((hole if job.card.mask_means == 1 else known)[None, None]),
    }
    return np.asarray(session.run(inputs, context)[0][0].transpose(1, 2, 0))
