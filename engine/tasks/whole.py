"""Running a model over a whole picture in overlapping windows, and the tasks that replace the whole picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from engine.colour import ModelSpace
from engine.jobs import JobContext
from engine.raster import TILE, Floats, PixelSource, Rect, from_float, to_float, to_grey
from engine.runtime.cards import ModelCard
from engine.tasks.base import (
    Model,
    Patch,
    Piece,
    Ranged,
    TaskInput,
    check_settings,
    knob,
    run_shrinking,
    to_planes,
)
from engine.tasks.kinds import Signature, check_kind
from engine.tiling import Blender, pad_to_window, plan_sweep, strips

AT_ONCE: Signature = (("picture", "picture"),)
"""The model gets only the window."""
BY_THUMBNAIL: Signature = (("picture thumbnail", "picture"),)
"""The model also gets the whole picture, reduced, so that all windows are treated alike."""

_FULL = np.full((TILE, TILE), 255, np.uint8)
"""Weights of a cell that is replaced completely; one array for all cells."""
_FULL.flags.writeable = False
_STRIP = 64
"""Rows of a picture that are reduced at a time."""
_INVISIBLE = 1 / 510
"""A change by less than half a grey level of 8 bits, in model space, is none."""
_NEUTRAL = 1e-4
"""Windows whose channels differ by less are black-and-white, and stay so."""
_FADING = 0.1
"""Below this strength the output of a model with a strength input is also mixed with the scan, down to 0."""


@dataclass(frozen=True)
class WholeSettings(Ranged):
    """How far a whole picture is changed."""

    strength: float = field(
        default=1.0,
        metadata=knob("Strength", "At 0 the picture is unchanged; at 1 the model's result is used in full", 0.0, 1.0),
    )
    """0 = unchanged, 1 = fully; a model's card may set another default."""


def check_restorer(card: ModelCard) -> None:
    """Refuse a model that clean and tone cannot run; raises as ``check_kind``."""
    check_kind(card, (AT_ONCE, BY_THUMBNAIL))


def restore(given: TaskInput, strength: float, word: str, context: JobContext) -> Patch:
    """Run a model over a whole picture.

    Args:
        given: its model takes the picture, and possibly a thumbnail, and outputs a picture.
        strength: 0..1; input of a model that has this setting, else the share by which the output is mixed with the
            scan. At 0 the scan is unchanged.
        word: name of the step, for the progress.
        context: progress and cancellation.

    Returns:
        A patch that covers the whole picture; without pieces if the model changes it nowhere.

    Raises:
        ModelError: the model is of another kind.
        SettingsError: a setting is outside the model's range.
        Cancelled, DeviceError, ModelError: see ``Session.run``.
    """
    check_restorer(given.card)
    check_settings(given)
    share = strength
    if any(setting.name == "strength" for setting in given.card.settings):
        # The strength is an input of the model, but even at 0 a network does not reproduce a picture exactly.
        share = min(1.0, strength / _FADING)
    return run_shrinking(given, lambda model, window: _restore(given, share, word, model, window, context), context)


def sweep(
    given: TaskInput, window: int, channels: int, run: Callable[[Floats], Floats], word: str, context: JobContext
) -> Iterator[tuple[Rect, Floats]]:
    """Run a function over a whole picture in overlapping windows, and blend the overlaps.

    Memory depends on the width of the picture, not on its area: a cell is yielded when no later window touches it.

    Args:
        given: the picture, and the card with the rules for windows.
        window: side of the largest window, pixels.
        channels: channels of the result.
        run: a window (h, w, 3) in model space -> (h, w, channels).
        word: name of the step, for the progress.
        context: progress and cancellation.

    Yields:
        Each cell of the ``TILE`` grid, clipped to the picture, row by row, and its blended values (h, w, channels).
    """
    space, bounds, tile = (
        ModelSpace(given.profile, given.source.shape[2]),
        Rect.of_shape(given.source.shape),
        given.card.tile,
    )
    plan = plan_sweep(
        bounds,
        window=window,
        context=min(tile.context, window // 4),
        overlap=min(tile.overlap, window // 4),
        multiple=tile.multiple,
    )
    blender = Blender(channels)
    for done, (whole, part) in enumerate(plan):
        context.progress(done / len(plan), word)
        inside = whole & bounds
        picture = pad_to_window(space.to_model(given.source.read(inside)), inside, whole)
        blender.add(part, run(picture)[part.slices(whole)], tile.overlap)
        following = plan[done + 1][1].top if done + 1 < len(plan) else None
        if following == part.top:
            continue
        for cell in blender.cells():
            if following is None or (cell[1] + 1) * TILE <= following:
                rect = Rect.of_cell(cell) & bounds
                yield rect, blender.take(cell)[: rect.height, : rect.width]


def thumbnail(source: PixelSource, space: ModelSpace, size: int, context: JobContext) -> Floats:
    """The whole picture resized to a square by area averages, ignoring its aspect ratio; read in strips.

    Args:
        source: the picture.
        space: its model space, in which the averages are taken.
        size: side of the result, pixels.
        context: cancellation.

    Returns:
        (size, size, 3) float32 in model space.
    """
    height, width = source.shape[:2]
    across = _area_weights(width, size, 0, width)
    result = np.zeros((size, size, 3), np.float32)
    for strip in strips(Rect(0, 0, width, height), _STRIP):
        context.check()
        rows = space.to_model(source.read(strip))
        result += np.tensordot(_area_weights(height, size, strip.top, strip.bottom), across @ rows, axes=(1, 0))
    return result


def _area_weights(length: int, size: int, first: int, last: int) -> Floats:
    """Weights (size, last - first) of the pixels first..last-1 in the averages of ``size`` sections of an axis.

    Over the whole axis of ``length`` pixels the weights of a section add up to 1.
    """
    edges = np.arange(size + 1) * length / size
    pixels = np.arange(first, last)
    shared = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.maximum(shared, 0) * size / length, np.float32)


def _restore(given: TaskInput, share: float, word: str, model: Model, window: int, context: JobContext) -> Patch:
    space, source = ModelSpace(given.profile, given.source.shape[2]), given.source
    port = next((port for port in given.card.stages[0].inputs if port.role == "thumbnail"), None)
    more = {"thumbnail": to_planes(thumbnail(source, space, port.size, context))} if port else {}
    pieces, furthest = [], 0.0

    def run(part: Floats) -> Floats:
        nonlocal furthest
        result = model.picture(0, context, picture=to_planes(part), **more)
        if float(np.ptp(part, axis=2).max()) < _NEUTRAL:
            # A network hardly ever gives three equal channels; a tint in a black-and-white print would be seen.
            result = np.repeat(to_grey(result), 3, axis=2)
        # Not compared after the conversion back, which alone may change the last bit and colours outside of sRGB.
        furthest = max(furthest, share * float(np.abs(result - part).max()))
        return result

    for rect, values in sweep(given, window, 3, run, word, context):
        own, result = source.read(rect), space.from_model(values)
        if share < 1:
            before = to_float(own)
            result = before + np.float32(share) * (result - before)
        pieces.append(Piece(rect, from_float(result, own.dtype), _FULL[: rect.height, : rect.width]))
    context.progress(1.0)
    if furthest < _INVISIBLE:
        return Patch((), model.device, ())
    return Patch(tuple(pieces), model.device, (Rect.of_shape(source.shape),))
