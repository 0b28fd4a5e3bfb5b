"""Faces: where the faces of a picture are. Nothing is repaired; other steps are more careful there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.colour import ModelSpace
from engine.errors import ModelError
from engine.jobs import JobContext
from engine.raster import Floats, PixelSource, Rect
from engine.resample import halve
from engine.runtime.cards import ModelCard
from engine.runtime.session import Device
from engine.tasks.base import Model, Ranged, TaskInput, check_settings, knob, run_shrinking, to_planes
from engine.tasks.kinds import Signature, check_kind
from engine.tasks.pyramid import ReducedSource

CENTRES: Signature = (("picture", "heat offset size"),)
"""The model gives maps at a quarter of the resolution, as ``decode`` reads them."""

CELL = 4
"""Side of the squares of the picture that have one value in a map, pixels."""
ENLARGED = 2.0
"""A picture smaller than the model's window is enlarged to it, but at most this many times."""
SHARED, AGREEING = 0.3, 0.5
"""Of two boxes that share more of their common area than the first, only the surer one is kept; views that share more
than the second have found the same face."""
DOUBTFUL = 0.15
"""Least score of a face in one view. It may become surer by others."""
_MOST = 200
"""Largest number of boxes of a view; of more, only the surest."""
_LARGEST_LOGARITHM = 10.0
"""Logarithms of sizes are limited to this, so that no size is infinite."""


@dataclass(frozen=True)
class FaceSettings(Ranged):
    """How sure a face must be."""

    threshold: float = field(
        default=0.82, metadata=knob("Certainty", "Faces less sure than this are left out", 0.05, 0.99)
    )
    """Least score of a face, 0..1."""


@dataclass(frozen=True)
class Face:
    """The box of one face, pixels of the picture, inside it.

    Attributes:
        x, y: its left and its upper edge.
        width, height: its size.
        score: how sure it is, 0..1.
    """

    x: float
    y: float
    width: float
    height: float
    score: float


@dataclass(frozen=True)
class Faces:
    """The faces of a picture.

    Attributes:
        shape: height and width of the picture.
        faces: the surest first.
        device: where the model ran.
    """

    shape: tuple[int, int]
    faces: tuple[Face, ...]
    device: Device

    def boxes(self) -> NDArray[np.float64]:
        """Left, top, right and bottom of each face, and its score, (n, 5)."""
        rows = [(face.x, face.y, face.x + face.width, face.y + face.height, face.score) for face in self.faces]
        return np.array(rows, np.float64).reshape(-1, 5)


def check_face_finder(card: ModelCard) -> None:
    """Refuse a model that this task cannot run; raises as ``check_kind``."""
    check_kind(card, (CENTRES,), ("threshold",))


def find_faces(given: TaskInput, context: JobContext) -> Faces:
    """Find the faces in a picture of any size. Finding none is no error.

    The whole picture is seen at once, resized so that its long side is that of the model's largest window, and then
    reduced again and again by the root of 2, as long as it is not smaller than the smallest window. So a small network
    is enough: it has to know faces of a few sizes only, and sees most faces several times.

    Raises:
        ModelError: the model is of another kind, or its maps have another size than a quarter of the picture's.
        SettingsError: a setting is outside the model's range.
        Cancelled, DeviceError, ModelError: see ``Session.run``.
    """
    assert isinstance(given.settings, FaceSettings)
    check_face_finder(given.card)
    check_settings(given)
    threshold = given.settings.threshold
    return run_shrinking(given, lambda model, window: _find(given, threshold, model, window, context), context)


def _find(given: TaskInput, threshold: float, model: Model, window: int, context: JobContext) -> Faces:
    word, (height, width) = "looking for faces", given.source.shape[:2]
    context.progress(0.0, word)
    whole = fit_into(given.source, ModelSpace(given.profile, given.source.shape[2]), window)
    following, views = [whole, _resized(whole, 0.5**0.5)], []
    for number in range(1 + int(2 * math.log2(window / given.card.tile.minimum))):
        context.progress(0.5, word)
        seen = following[number % 2]
        following[number % 2] = halve(seen)
        boxes, scores = decode(*_maps(given.card, model, seen, context), min(threshold, DOUBTFUL))
        views.append((boxes * (2 * [width / seen.shape[1], height / seen.shape[0]]), scores))
    boxes, scores = unite(views)
    boxes[:, 0::2], boxes[:, 1::2] = boxes[:, 0::2].clip(0, width), boxes[:, 1::2].clip(0, height)
    found = [
        Face(float(left), float(top), float(right - left), float(bottom - top), float(score))
        for (left, top, right, bottom), score in zip(boxes, scores, strict=True)
        if score >= threshold and right > left and bottom > top
    ]
    context.progress(1.0)
    return Faces((height, width), tuple(found), model.device)


def fit_into(source: PixelSource, space: ModelSpace, side: int) -> Floats:
    """A whole picture, resized so that its long side is ``side``; a very small one is enlarged ``ENLARGED`` times.

    Args:
        source: the picture; a large one is read in strips.
        space: its model space.
        side: wanted long side, pixels.

    Returns:
        (h, w, 3) float32 in model space.
    """
    height, width = source.shape[:2]
    step = max(height, width) // side
    if step > 1:
        source = ReducedSource(source, step)
    picture = space.to_model(source.read(Rect.of_shape(source.shape)))
    return _resized(picture, min(side / max(height, width), ENLARGED) * width / picture.shape[1])


def _resized(picture: Floats, scale: float) -> Floats:
    """A picture (h, w, 3) ``scale`` times as large, at least one pixel on each side."""
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    if size == (picture.shape[1], picture.shape[0]):
        return picture
    filter_ = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size, interpolation=filter_), np.float32).reshape(size[1], size[0], 3)


def _maps(card: ModelCard, model: Model, seen: Floats, context: JobContext) -> tuple[Floats, Floats, Floats]:
    """Run the model on a picture (h, w, 3) of any size: heat, size and offset, each (planes, rows, columns).

    Raises:
        ModelError: a map has another size than a quarter of the picture's.
    """
    missing = [(0, -side % card.tile.multiple) for side in seen.shape[:2]]
    # A mirrored border, as it is used elsewhere, would show mirrored faces.
    picture = np.pad(seen, [*missing, (0, 0)], mode="edge")
    outputs = model.run(0, context, picture=to_planes(picture))
    wanted = picture.shape[0] // CELL, picture.shape[1] // CELL
    if any(output.shape[2:] != wanted for output in outputs):
        raise ModelError(
            "The model {model} was given {width} x {height} px, and its maps are not a quarter as large.",
            "model.output",
            model=card.id,
            width=picture.shape[1],
            height=picture.shape[0],
        )
    by_role = {port.role: output[0] for port, output in zip(card.stages[0].outputs, outputs, strict=True)}
    return by_role["heat"], by_role["size"], by_role["offset"]


Scored = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Boxes (n, 4), left, top, right, bottom, and their scores (n,), the surest first."""


def decode(heat: Floats, size: Floats, offset: Floats, threshold: float) -> Scored:
    """The boxes that are the peaks of a heat map (Zhou et al., Objects as points, 2019), without doubles.

    Args:
        heat: (1, h, w) probability that a face has its centre in a cell.
        size: (2, h, w) natural logarithms of height and width, cells.
        offset: (2, h, w) from the middle of the cell to the centre of the face, down and to the right, cells.
        threshold: least probability, 0..1.

    Returns:
        Boxes in pixels of the model's picture, and their probabilities.
    """
    highest = cv2.dilate(heat[0], np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero((heat[0] >= threshold) & (heat[0] == highest))
    surest = np.argsort(-heat[0, rows, columns], kind="stable")[:_MOST]
    rows, columns = rows[surest], columns[surest]
    middle = np.stack([columns + 0.5 + offset[1, rows, columns], rows + 0.5 + offset[0, rows, columns]], axis=1)
    logarithms = size[::-1, rows, columns].T.astype(np.float64)
    half = np.exp(logarithms.clip(-_LARGEST_LOGARITHM, _LARGEST_LOGARITHM)) / 2
    boxes = CELL * np.concatenate([middle - half, middle + half], axis=1)
    return _without_doubles(boxes, heat[0, rows, columns].clip(0, 1).astype(np.float64), overlaps(boxes, boxes))


def unite(views: Sequence[Scored]) -> Scored:
    """The faces of several views of one picture, without doubles; those that several views agree on become surer.

    The score of a face is the probability that not all views are wrong, as if each were wrong by itself: 1 minus the
    product of 1 minus the score in each view. In it only boxes of nearly the same place and size count.

    Args:
        views: boxes of each view in the same pixels, and their scores 0..1.
    """
    boxes = np.concatenate([np.zeros((0, 4)), *(boxes for boxes, _ in views)])
    shared, wrong, first = overlaps(boxes, boxes), np.ones(len(boxes)), 0
    for _, scores in views:
        if len(scores):
            agreeing = shared[:, first : first + len(scores)] > AGREEING
            wrong *= 1 - (agreeing * scores).max(axis=1)
            first += len(scores)
    surest = np.argsort(wrong, kind="stable")
    return _without_doubles(boxes[surest], 1 - wrong[surest], shared[np.ix_(surest, surest)])


def _without_doubles(boxes: NDArray[np.float64], scores: NDArray[np.float64], shared: NDArray[np.float64]) -> Scored:
    """Non-maximum suppression: of two boxes that share more than ``SHARED``, only the first is kept."""
    kept: list[int] = []
    for number in range(len(boxes)):
        if not kept or shared[number, kept].max() <= SHARED:
            kept.append(number)
    return boxes[kept], scores[kept]


def overlaps(some: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of boxes (n, 4) with others (m, 4), as (n, m); left, top, right, bottom each."""
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum(some[:, None, 2:4], others[None, :, 2:4])
    both = (high - low).clip(0).prod(axis=2)
    own, other = ((boxes[:, 2:4] - boxes[:, :2]).prod(axis=1) for boxes in (some, others))
    return np.asarray(both / np.maximum(own[:, None] + other[None] - both, 1e-9), np.float64)
