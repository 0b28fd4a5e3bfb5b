"""The orientation of a picture: rotations by 90 degrees and flips since its scan was opened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.jobs import JobContext
from engine.raster import Rect
from engine.tiles import TileMap

_QUARTERS = 4


class Turn(Enum):
    """A rotation or flip that the restorer can apply. The values are written to files."""

    LEFT = "left"
    RIGHT = "right"
    HALF = "half"
    FLIP_HORIZONTAL = "flip-horizontal"
    FLIP_VERTICAL = "flip-vertical"

    @property
    def title(self) -> str:
        """The words in the interface."""
        return {
            Turn.LEFT: "Rotate left",
            Turn.RIGHT: "Rotate right",
            Turn.HALF: "Rotate by 180°",
            Turn.FLIP_HORIZONTAL: "Flip horizontally",
            Turn.FLIP_VERTICAL: "Flip vertically",
        }[self]


_STEPS = {
    Turn.LEFT: (False, 1),
    Turn.HALF: (False, 2),
    Turn.RIGHT: (False, 3),
    Turn.FLIP_HORIZONTAL: (True, 0),
    Turn.FLIP_VERTICAL: (True, 2),
}
"""Turn -> (whether it is first mirrored left to right, number of quarter turns to the left)."""


@dataclass(frozen=True)
class Transform:
    """Maps arrays, rectangles and tile maps of a picture from one orientation to another.

    Attributes:
        bounds: of the picture before.
        mirrored: it is first mirrored left to right,
        quarters: and then rotated to the left by this many quarter turns, 0..3.
    """

    bounds: Rect
    mirrored: bool = False
    quarters: int = 0

    @classmethod
    def of_turn(cls, turn: Turn, bounds: Rect) -> Transform:
        """The transform of one turn.

        Args:
            turn: what is done.
            bounds: of the picture before.
        """
        mirrored, quarters = _STEPS[turn]
        return cls(bounds, mirrored, quarters)

    def __bool__(self) -> bool:
        """Whether it changes anything."""
        return self.mirrored or self.quarters != 0

    def array(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array (h, w, ...) of the picture or of a part of it, transformed; a view."""
        return np.rot90(array[:, ::-1] if self.mirrored else array, self.quarters)

    def rect(self, rect: Rect) -> Rect:
        """Where a rectangle of the picture is afterwards."""
        width, height = self.bounds.width, self.bounds.height
        if self.mirrored:
            rect = Rect(width - rect.right, rect.top, width - rect.left, rect.bottom)
        for _ in range(self.quarters):
            rect = Rect(rect.top, width - rect.right, rect.bottom, width - rect.left)
            width, height = height, width
        return rect

    def tiles(self, tiles: TileMap, below: TileMap | None = None, context: JobContext | None = None) -> TileMap:
        """A map of the whole picture, transformed; the same object where nothing changes.

        Args:
            tiles: the map.
            below: see ``TileMap.transformed``.
            context: progress and cancellation.

        Raises:
            Cancelled: the context was cancelled.
        """
        return tiles.transformed(self.array, self.rect, below, context) if self else tiles


@dataclass(frozen=True)
class Geometry:
    """The orientation of a picture, relative to its scan as it was opened. A value object.

    Attributes:
        width, height: of the scan as it was opened, pixels.
        mirrored: the scan is first mirrored left to right,
        quarters: and then rotated to the left by this many quarter turns, 0..3.
    """

    width: int
    height: int
    mirrored: bool = False
    quarters: int = 0

    @property
    def bounds(self) -> Rect:
        """Of the picture in this orientation."""
        swapped = self.quarters % 2 == 1
        return Rect(0, 0, *((self.height, self.width) if swapped else (self.width, self.height)))

    def turned(self, turn: Turn) -> Geometry:
        """The orientation after one more turn."""
        return self.transformed(Transform.of_turn(turn, self.bounds))

    def transform_from(self, then: Geometry) -> Transform:
        """The transform from an earlier orientation to this one; both must be relative to the same scan."""
        mirrored = self.mirrored != then.mirrored
        quarters = self.quarters + then.quarters if mirrored else self.quarters - then.quarters
        return Transform(then.bounds, mirrored, quarters % _QUARTERS)

    def transformed(self, transform: Transform) -> Geometry:
        """The orientation after a transform of the picture."""
        # Mirroring a picture that was rotated to the left leaves it rotated to the right.
        before = -self.quarters if transform.mirrored else self.quarters
        return replace(
            self, mirrored=self.mirrored != transform.mirrored, quarters=(before + transform.quarters) % _QUARTERS
        )
