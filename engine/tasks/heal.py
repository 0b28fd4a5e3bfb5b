"""Heal: fill what a repair mask covers from its surroundings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from engine import masks
from engine.errors import SettingsError, Words
from engine.jobs import JobContext
from engine.raster import Floats, Mask, Rect, from_float
from engine.tasks import fillers, texture
from engine.tasks.afar import Afar
from engine.tasks.base import Marks, Model, Patch, Piece, TaskInput, check_settings, run_shrinking
from engine.tasks.view import HealSettings, Scene, Weights
from engine.tiling import Blender, plan_windows

__all__ = ["HealSettings", "draw_edges", "heal"]


def heal(given: TaskInput, context: JobContext) -> Patch:
    """Fill the masked parts of a picture.

    Every value of the mask above 0, once it is grown and feathered, is lost to the model; the value itself is the
    weight with which the fill replaces the picture. Outside of it the pieces carry the picture's own pixels. A model
    that works in two stages follows the given guide, where there is one, instead of the edges it would draw itself.

    Raises:
        SettingsError: the mask is empty, absent or of another size than the picture, or so is the guide; a guide for a
            model that follows none.
        ModelError: heal cannot run this kind of model.
        Cancelled, DeviceError, ModelError: see ``Session.run``.
    """
    weights, boxes = _prepare(given)
    return run_shrinking(given, lambda model, window: _fill(given, weights, boxes, model, window, context), context)


def draw_edges(given: TaskInput, context: JobContext | None = None) -> Marks:
    """The edges along which a two-stage heal model would fill, and those around, for a restorer to change.

    Args:
        given: as for heal; its guide does not matter.
        context: progress and cancellation.

    Returns:
        255 = edge, within the windows around the repair mask; the result of a restorer's changes is a guide for heal.

    Raises:
        SettingsError, ModelError, Cancelled, DeviceError: as ``heal``; and for a model that draws no edges.
    """
    weights, boxes = _prepare(given)
    _check_draws_edges(given)
    used = context or JobContext()
    return run_shrinking(given, lambda model, window: _edges(given, weights, boxes, model, window, used), used)


def _prepare(given: TaskInput) -> tuple[Weights, list[Rect]]:
    """The weights of the repair mask and the boxes of its damages, when all that is given can be used."""
    assert isinstance(given.settings, HealSettings)
    if given.mask is None:
        raise SettingsError("Healing wants a repair mask.", "heal.mask")
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
        Share of the work done before and after it, window, its inside of the picture, the part that is kept, and the
        weights of the inside.
    """
    tile = given.card.tile
    # Half of a small window at most may go to the surroundings.
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
    # What is seen from afar is made in between and moves no bar.
    still = context.part(0.0, 0.0)
    afar = Afar(
        scene, boxes, window, given.card.tile.multiple, lambda view: fillers.fill(given.card, model, view, seed, still)
    )
    for before, after, whole, inside, part, lost in _windows(given, scene, boxes, window):
        context.progress(before, "healing")
        still = context.part(after, after)
        step = context.part(before, after)
        picture = fillers.fill(given.card, model, scene.view(whole, lost), seed, step)
        near = picture[inside.slices(whole)]
        near[...] = afar.blend_into(near, inside, lost)
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
    """What the fill of a rectangle lacks of the detail around it, (h, w, 3) in model space."""
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
        # What a window knows least is at its edge, and its neighbour knows it better.
        blender.add(inside, drawn[inside.slices(whole)][..., None], given.card.tile.context)
    pieces = []
    for cell in blender.cells():
        rect = Rect.of_cell(cell) & scene.bounds
        drawn = blender.take(cell)[: rect.height, : rect.width, 0]
        if (drawn >= 0.5).any():
            pieces.append((rect, np.where(drawn >= 0.5, np.uint8(255), np.uint8(0))))
    context.progress(1.0)
    return Marks((scene.bounds.height, scene.bounds.width), tuple(pieces), model.device)
