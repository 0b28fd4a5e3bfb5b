"""What a heal model is shown: parts of a picture with what is lost of them, as they are or from afar."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from engine import masks
from engine.colour import ModelSpace
from engine.errors import SettingsError
from engine.raster import Floats, Mask, MaskSource, PixelSource, Rect, to_float
from engine.tasks.base import Ranged, TaskInput, knob
from engine.tiling import pad_to_window, strips

_STRIP = 64
"""Rows of a reduced picture that are made at a time."""


@dataclass(frozen=True)
class HealSettings(Ranged):
    """How the repair mask is used, pixels; how lively the fill is, and which of several is wanted."""

    grow: float = field(default=0.0, metadata=knob("Grow", "First the mask is enlarged by so much", 0, 100, " px"))
    """The mask is first enlarged by so much."""
    feather: float = field(
        default=0.0, metadata=knob("Feather", "Then the repair fades out over so much around it", 0, 100, " px")
    )
    """Then it fades outwards over so much."""
    texture: float = field(
        default=1.0,
        metadata=knob(
            "Texture",
            "At 0 the fill is the likeliest, and smooth; at 1 it has the grain of what is around it",
            0.0,
            1.0,
        ),
    )
    """Share of the fine detail and grain of the surroundings that is put into the fill."""
    variation: float = field(
        default=0.0,
        metadata=knob(
            "Variation",
            "Another number gives another fill, the same number the same fill",
            0,
            9999,
            whole=True,
            by_card=True,
        ),
    )
    """The seed of models that search for a fill."""

    @property
    def reach(self) -> int:
        """How far outside the repair mask pixels may change."""
        return math.ceil(self.grow) + math.ceil(self.feather)


@dataclass(frozen=True)
class Weights:
    """The repair mask as it is used: grown and feathered, piece by piece."""

    mask: MaskSource
    settings: HealSettings
    soft: bool
    """Of the whole mask, or its parts would be faded in different ways."""

    def read(self, rect: Rect) -> Mask:
        """The weights (h, w) of a rectangle that lies inside."""
        around = rect.grown(self.settings.reach) & Rect.of_shape(self.mask.shape)
        grown = masks.grow(self.mask.read_mask(around), self.settings.grow)
        return masks.feather(grown, self.settings.feather, soft=self.soft)[rect.slices(around)]


@dataclass(frozen=True)
class View:
    """One window as a model is shown it.

    Attributes:
        picture: (h, w, 3) in model space, also where it is lost.
        hole: (h, w), 1 = lost, 0 = known.
        guide: the edges that a restorer wants there, (h, w) in 0..1; None = the model's own.
        guided: (h, w), 1 = the guide is followed where the picture is lost; None = wherever it is lost.
        place: whole numbers that differ from window to window: left, top, and the side of its pixels.
    """

    picture: Floats
    hole: Floats
    guide: Floats | None
    guided: Floats | None
    place: tuple[int, int, int]

    @cached_property
    def known(self) -> Floats:
        """The picture, 0 where it is lost."""
        return np.asarray(self.picture * (1 - self.hole)[..., None], np.float32)


class Scene:
    """A picture, its repair mask and guide, read window by window."""

    def __init__(self, given: TaskInput, weights: Weights) -> None:
        self._source: PixelSource = given.source
        self._guide, self._weights = given.guide, weights
        guided = given.guided if given.guide is not None else None
        self._guided = replace(weights, mask=guided) if guided is not None else None
        self.space = ModelSpace(given.profile, given.source.shape[2])
        self.bounds = Rect.of_shape(given.source.shape)

    def lost(self, inside: Rect) -> Mask:
        """The weights (h, w) of a rectangle inside the picture; every value above 0 is lost to the model."""
        return self._weights.read(inside)

    def picture(self, inside: Rect) -> Floats:
        """The picture (h, w, 3) of a rectangle inside it, in model space."""
        return self.space.to_model(self._source.read(inside))

    def view(self, whole: Rect, lost: Mask) -> View:
        """A window as it is.

        Args:
            whole: the window; what hangs over the edge is reflected.
            lost: the weights of its inside.
        """
        inside = whole & self.bounds
        picture = pad_to_window(self.picture(inside), inside, whole)
        guide = self._guide.read_mask(inside) if self._guide is not None else None
        guided = self._guided.read(inside) if self._guided is not None else None
        return View(
            picture,
            pad_to_window((lost > 0).astype(np.float32), inside, whole),
            None if guide is None else pad_to_window(to_float(guide), inside, whole),
            None if guided is None else pad_to_window((guided > 0).astype(np.float32), inside, whole),
            (whole.left, whole.top, 1),
        )

    def reduced(self, area: Rect, step: int, multiple: int) -> View:
        """A part of the picture in squares of ``step`` px: the mean of what is known of each, lost where too little is.

        The view is rounded up to a multiple, by reflection.

        Raises:
            SettingsError: nothing of it is known.
        """
        sums, counts, guides, places = [], [], [], []
        for rect in strips(area, max(step, _STRIP // step * step)):
            known = (self._weights.read(rect) == 0).astype(np.float32)[..., None]
            values = self.space.to_model(self._source.read(rect)) * known
            sums.append(_squares(values, step).sum(axis=(1, 3)))
            counts.append(_squares(known, step).sum(axis=(1, 3)))
            if self._guide is not None:
                # A line one pixel wide must not vanish.
                guides.append(_highest(to_float(self._guide.read_mask(rect)), step))
            if self._guided is not None:
                places.append(_highest((self._guided.read(rect) > 0).astype(np.float32), step))
        total, count = np.concatenate(sums), np.concatenate(counts)
        lost = (count <= count.max() / 4)[..., 0]
        if lost.all():
            raise SettingsError("Everything is masked: nothing is left to fill it from.", "heal.nothing_known")
        inside = Rect.of_shape(lost.shape)
        whole = Rect(0, 0, -(-inside.width // multiple) * multiple, -(-inside.height // multiple) * multiple)
        return View(
            pad_to_window(total / np.maximum(count, 1), inside, whole),
            pad_to_window(lost.astype(np.float32), inside, whole),
            pad_to_window(np.concatenate(guides), inside, whole) if guides else None,
            pad_to_window(np.concatenate(places), inside, whole) if places else None,
            (area.left, area.top, step),
        )


def _highest(values: Floats, step: int) -> Floats:
    """(h, w) -> the highest value of each square."""
    return np.asarray(_squares(values[..., None], step).max(axis=(1, 3))[..., 0])


def _squares(values: Floats, step: int) -> Floats:
    """(h, w, c) -> (rows, step, columns, step, c), what is missing at the edges 0."""
    height, width = values.shape[:2]
    padded = np.pad(values, ((0, -height % step), (0, -width % step), (0, 0)))
    return padded.reshape(-(-height // step), step, -(-width // step), step, -1)
