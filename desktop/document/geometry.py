"""How a picture lies: mirrored and turned from how its scan was opened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desktop.document.tiles import TileMap
from engine.jobs import JobContext
from engine.raster import Rect

_QUARTERS = 4


class Turn(Enum):
    """One step by which a restorer turns the picture. The values are names for files."""

    LEFT = "left"
    RIGHT = "right"
    HALF = "half"
    FLIP_HORIZONTAL = "flip-horizontal"
    FLIP_VERTICAL = "flip-vertical"

    @property
    def title(self) -> str:
        """For a person."""
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
"""Each turn as (mirrored left to right first, then quarter turns to the left)."""


@dataclass(frozen=True)
class Transform:
    """Moves everything that belongs to a picture from how the picture lay at one time to how it lies at another.

    Attributes:
        bounds: the picture before.
        mirrored: it is first mirrored left to right,
        quarters: and then turned to the left by so many quarter turns, 0 to 3.
    """

    bounds: Rect
    mirrored: bool = False
    quarters: int = 0

    @classmethod
    def of_turn(cls, turn: Turn, bounds: Rect) -> Transform:
        """One turn of a picture."""
        mirrored, quarters = _STEPS[turn]
        return cls(bounds, mirrored, quarters)

    def __bool__(self) -> bool:
        """Whether anything moves."""
        return self.mirrored or self.quarters != 0

    def array(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array (h, w, ...) of the whole picture or of a part of it, moved; a view."""
        return np.rot90(array[:, ::-1] if self.mirrored else array, self.quarters)

    def rect(self, rect: Rect) -> Rect:
        """Where a rectangle comes to lie."""
        width, height = self.bounds.width, self.bounds.height
        if self.mirrored:
            rect = Rect(width - rect.right, rect.top, width - rect.left, rect.bottom)
        for _ in range(self.quarters):
            rect = Rect(rect.top, width - rect.right, rect.bottom, width - rect.left)
            width, height = height, width
        return rect

    def tiles(self, tiles: TileMap, below: TileMap | None = None, context: JobContext | None = None) -> TileMap:
        """A map of the whole picture, moved; the map itself where nothing moves.

        Args:
            tiles: the map.
            below: of the moved picture; fills what holes leave of a tile that comes to lie across two.
            context: progress and cancellation.

        Raises:
            Cancelled: the context was cancelled.
        """
        return tiles.transformed(self.array, self.rect, below, context) if self else tiles


@dataclass(frozen=True)
class Geometry:
    """How the picture lies, counted from its scan as it was opened. A value: two that are equal lie alike.

    Attributes:
        width, height: of the scan as it was opened, pixels.
        mirrored: the scan is first mirrored left to right,
        quarters: and then turned to the left by so many quarter turns, 0 to 3.
    """

    width: int
    height: int
    mirrored: bool = False
    quarters: int = 0

    @property
    def bounds(self) -> Rect:
        """The picture as it lies."""
        on_its_side = self.quarters % 2 == 1
        return Rect(0, 0, *((self.height, self.width) if on_its_side else (self.width, self.height)))

    def turned(self, turn: Turn) -> Geometry:
        """After one turn more."""
        return self.transformed(Transform.of_turn(turn, self.bounds))

    def transform_from(self, then: Geometry) -> Transform:
        """What leads from how the picture lay then to how it lies now. Both are counted from the same scan."""
        mirrored = self.mirrored != then.mirrored
        quarters = self.quarters + then.quarters if mirrored else self.quarters - then.quarters
        return Transform(then.bounds, mirrored, quarters % _QUARTERS)

    def transformed(self, transform: Transform) -> Geometry:
        """After a transform of the picture as it lies."""
        # Mirroring a picture that was turned to the left leaves it turned to the right.
        before = -self.quarters if transform.mirrored else self.quarters
        return replace(
            self, mirrored=self.mirrored != transform.mirrored, quarters=(before + transform.quarters) % _QUARTERS
        )
