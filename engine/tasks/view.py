"""The input of heal models: windows of a picture with the mask of lost pixels, at full or reduced scale."""

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
    """How the repair mask is grown and feathered, pixels, how much texture the fill gets, and which fill is chosen."""

    grow: float = field(default=0.0, metadata=knob("Grow", "The mask is first enlarged by this", 0, 100, " px"))
    """Radius by which the mask is enlarged first, pixels."""
    feather: float = field(
        default=0.0,
        metadata=knob("Feather", "Then the repair fades out over this width around it", 0, 100, " px"),
    )
    """Width over which it then fades outwards, pixels."""
    texture: float = field(
        default=1.0,
        metadata=knob(
            "Texture",
            "At 0 the fill is smooth; at 1 it has the grain of its surroundings",
            0.0,
            1.0,
        ),
    )
    """Share of the surroundings' fine detail and grain that is added to the fill."""
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
        """Largest distance from the repair mask at which pixels may change, pixels."""
        return math.ceil(self.grow) + math.ceil(self.feather)


@dataclass(frozen=True)
class Weights:
    """The repair mask, grown and feathered when a rectangle of it is read."""

    mask: MaskSource
    settings: HealSettings
    soft: bool
    """Whether the whole mask is soft; see ``masks.feather``."""

    def read(self, rect: Rect) -> Mask:
        """The weights (h, w) of a rectangle inside the picture."""
        around = rect.grown(self.settings.reach) & Rect.of_shape(self.mask.shape)
        grown = masks.grow(self.mask.read_mask(around), self.settings.grow)
        return masks.feather(grown, self.settings.feather, soft=self.soft)[rect.slices(around)]


@dataclass(frozen=True)
class View:
    """One window, as input of a model.

    Attributes:
        picture: (h, w, 3) in model space, with its values also in the hole.
        hole: (h, w), 1 = lost, 0 = known.
        guide: edges given by the user, (h, w) in 0..1; None = the model draws them.
        guided: (h, w), 1 = the guide is used here in the hole; None = in all of the hole.
        place: left and top in the picture and the reduction factor; differs between windows, for random seeds.
    """

    picture: Floats
    hole: Floats
    guide: Floats | None
    guided: Floats | None
    place: tuple[int, int, int]

    @cached_property
    def known(self) -> Floats:
        """The picture, 0 in the hole."""
        return np.asarray(self.picture * (1 - self.hole)[..., None], np.float32)


class Scene:
    """A picture with its repair mask and guide, read window by window."""

    def __init__(self, given: TaskInput, weights: Weights) -> None:
        self._source: PixelSource = given.source
        self._guide, self._weights = given.guide, weights
        guided = given.guided if given.guide is not None else None
        self._guided = replace(weights, mask=guided) if guided is not None else None
        self.space = ModelSpace(given.profile, given.source.shape[2])
        self.bounds = Rect.of_shape(given.source.shape)

    def lost(self, inside: Rect) -> Mask:
        """The weights (h, w) of a rectangle inside the picture; pixels above 0 are lost."""
        return self._weights.read(inside)

    def picture(self, inside: Rect) -> Floats:
        """The pixels (h, w, 3) of a rectangle inside the picture, in model space."""
        return self.space.to_model(self._source.read(inside))

    def view(self, whole: Rect, lost: Mask) -> View:
        """A window at full scale.

        Args:
            whole: the window; beyond the edge of the picture it is filled by reflection.
            lost: the weights of its part inside the picture.
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
        """An area reduced by ``step``: the mean of the known pixels of each square; lost where few pixels are known.

        Args:
            area: the area, inside the picture.
            step: side of the squares, pixels.
            multiple: sides of the view are rounded up to multiples of this, by reflection.

        Raises:
            SettingsError: no pixel of the area is known.
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
    """The highest value of each square of ``step`` px, (h, w) -> (rows, columns)."""
    return np.asarray(_squares(values[..., None], step).max(axis=(1, 3))[..., 0])


def _squares(values: Floats, step: int) -> Floats:
    """Split into squares, (h, w, c) -> (rows, step, columns, step, c), padded with 0 at the right and lower edge."""
    height, width = values.shape[:2]
    padded = np.pad(values, ((0, -height % step), (0, -width % step), (0, 0)))
    return padded.reshape(-(-height // step), step, -(-width // step), step, -1)
