"""Heal: inpainting of the areas that a repair mask covers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from engine import masks
from engine.errors import SettingsError, Words
from engine.jobs import JobContext
from engine.raster import Floats, Mask, Rect, from_float
from engine.tasks import fillers, texture
from engine.tasks.afar import CoarseFill
from engine.tasks.base import Marks, Model, Patch, Piece, TaskInput, check_settings, run_shrinking
from engine.tasks.view import HealSettings, Scene, Weights
from engine.tiling import Blender, plan_windows

__all__ = ["HealSettings", "draw_edges", "heal"]


def heal(given: TaskInput, context: JobContext) -> Patch:
    """Fill the masked parts of a picture.

    The mask is grown and feathered first. Where it is above 0 the model does not see the picture; its value is the
    weight with which the fill is blended over the picture. Where it is 0 the pieces have the picture's own pixels. A
    two-stage model uses the given guide, if there is one, instead of the edges that it would draw.

    Raises:
        SettingsError: the mask is missing, empty or of another size than the picture, the guide is of another size, or
            there is a guide for a model that uses none.
        ModelError: heal cannot run this kind of model.
        Cancelled, DeviceError, ModelError: see ``Session.run``.
    """
    weights, boxes = _prepare(given)
    return run_shrinking(given, lambda model, window: _fill(given, weights, boxes, model, window, context), context)


def draw_edges(given: TaskInput, context: JobContext | None = None) -> Marks:
    """Draw the edges along which a two-stage heal model would fill; a user can edit them and pass them as a guide.

    Args:
        given: as for heal; its guide is not used.
        context: progress and cancellation.

    Returns:
        255 = edge, in the windows around the repair mask, also outside the mask.

    Raises:
        SettingsError, ModelError, Cancelled, DeviceError: as ``heal``; and for a model that draws no edges.
    """
    weights, boxes = _prepare(given)
    _check_draws_edges(given)
    used = context or JobContext()
    return run_shrinking(given, lambda model, window: _edges(given, weights, boxes, model, window, used), used)


def _prepare(given: TaskInput) -> tuple[Weights, list[Rect]]:
    """Check the input; the weights of the repair mask and the boxes of its damages."""
    assert isinstance(given.settings, HealSettings)
    if given.mask is None:
        raise SettingsError("Healing needs a repair mask.", "heal.mask")
    fillers.check_filler(given.card)
    check_settings(given)
    (h, w), guide = given.source.shape[:2], given.guide
    maps = (Words("mask"), given.mask), (Words("edge map"), guide), (Words("edge map's mask"), given.guided)
    for name, map_ in maps:
        if map_ is not None and map_.shape[:2] != (h, w):
            raise SettingsError(
                "The {name} is {own_width} x {own_height} px, but the picture is {width} x {height} px.",
                "heal.mask_size",
                name=name,
                own_width=map_.shape[1],
                own_height=map_.shape[0],
                width=w,
                height=h,
            )
    if guide is not None:
        _check_draws_edges(given)
    weights = Weights(given.mask, given.settings, masks.is_soft(given.mask))
    boxes = masks.damage_boxes(given.mask, given.settings.reach)
    if not boxes:
        raise SettingsError("The repair mask is empty: there is nothing to heal.", "heal.empty")
    return weights, boxes


def _check_draws_edges(given: TaskInput) -> None:
    if not fillers.wants_edges(given.card):
        raise SettingsError("The model {model} does not work along edges.", "heal.edges", model=given.card.id)


def _windows(
    given: TaskInput, scene: Scene, boxes: list[Rect], window: int
) -> Iterator[tuple[float, float, Rect, Rect, Rect, Mask]]:
    """The windows that have something to fill.

    Yields:
        Progress before and after the window, the window, its part inside the picture, the part that is kept, and the
        weights (h, w) of the part inside the picture.
    """
    tile = given.card.tile
    # In small windows at least half of the side is left for the damage.
    plan = plan_windows(
        boxes,
        scene.bounds,
        window=window,
        context=min(tile.context, window // 4),
        overlap=min(tile.overlap, window // 4),
        multiple=tile.multiple,
    )
    for done, (whole, part) in enumerate(plan):
        inside = whole & scene.bounds
        lost = scene.lost(inside)
        if lost[part.slices(inside)].any():
            yield 0.95 * done / len(plan), 0.95 * (done + 1) / len(plan), whole, inside, part, lost


def _fill(
    given: TaskInput, weights: Weights, boxes: list[Rect], model: Model, window: int, context: JobContext
) -> Patch:
    assert isinstance(given.settings, HealSettings)
    scene, seed, blender = Scene(given, weights), round(given.settings.variation), Blender(3)
    # The coarse fills are computed on demand inside the loop; they must not move the progress bar.
    still = context.part(0.0, 0.0)
    coarse = CoarseFill(
        scene, boxes, window, given.card.tile.multiple, lambda view: fillers.fill(given.card, model, view, seed, still)
    )
    for before, after, whole, inside, part, lost in _windows(given, scene, boxes, window):
        context.progress(before, "healing")
        still = context.part(after, after)
        step = context.part(before, after)
        picture = fillers.fill(given.card, model, scene.view(whole, lost), seed, step)
        fine = picture[inside.slices(whole)]
        fine[...] = coarse.apply_to(fine, inside, lost)
        blender.add(part, picture[part.slices(whole)], given.card.tile.overlap)
    pieces = []
    cells = blender.cells()
    for done, cell in enumerate(cells):
        context.progress(0.95 + 0.05 * done / len(cells), "finishing")
        rect = Rect.of_cell(cell) & scene.bounds
        if cell[1] > cells[done - 1][1]:
            blender.free_above(rect.top - texture.REACH)
        weight = scene.lost(rect)
        if weight.any():
            own = given.source.read(rect)
            filled = blender.read(rect)
            if given.settings.texture > 0:
                filled += np.float32(given.settings.texture) * _detail(scene, blender, rect)
            fill = from_float(scene.space.from_model(filled), own.dtype)
            pieces.append(Piece(rect, np.where(weight[..., None] > 0, fill, own), weight.copy()))
    context.progress(1.0)
    return Patch(tuple(pieces), model.device, tuple(boxes))


def _detail(scene: Scene, blender: Blender, rect: Rect) -> Floats:
    """Fine detail to add to the fill of a rectangle, (h, w, 3) in model space; see ``texture.detail``."""
    area = rect.grown(texture.REACH) & scene.bounds
    lost = scene.lost(area) > 0
    return texture.detail(np.where(lost[..., None], blender.read(area), scene.picture(area)), lost, area, rect)


def _edges(
    given: TaskInput, weights: Weights, boxes: list[Rect], model: Model, window: int, context: JobContext
) -> Marks:
    scene, blender = Scene(given, weights), Blender(1)
    for before, _, whole, inside, _, lost in _windows(given, scene, boxes, window):
        context.progress(before, "drawing edges")
        drawn = fillers.edges(model, scene.view(whole, lost), context)
        # Edges are least reliable at the border of a window, which is inside a neighbouring one.
        blender.add(inside, drawn[inside.slices(whole)][..., None], given.card.tile.context)
    pieces = []
    for cell in blender.cells():
        rect = Rect.of_cell(cell) & scene.bounds
        drawn = blender.take(cell)[: rect.height, : rect.width, 0]
        if (drawn >= 0.5).any():
            pieces.append((rect, np.where(drawn >= 0.5, np.uint8(255), np.uint8(0))))
    context.progress(1.0)
    return Marks((scene.bounds.height, scene.bounds.width), tuple(pieces), model.device)
