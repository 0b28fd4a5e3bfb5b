"""The result of a search for damage, and the restorer's decisions about the defects. Part of the document."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.raster import TILE, Rect
from engine.record import Repair
from engine.tiles import Cell, TileDelta, TileMap, compact

Point = tuple[int, int]
"""Column and row of a pixel."""


class Verdict(Enum):
    """What the restorer decided about a defect. The values are written to files."""

    TO_DO = "to-do"
    ACCEPTED = "accepted"
    KEPT = "kept"
    HEALED = "healed"

    @property
    def title(self) -> str:
        """The words in the interface."""
        return {
            Verdict.TO_DO: "to do",
            Verdict.ACCEPTED: "accepted",
            Verdict.KEPT: "kept",
            Verdict.HEALED: "healed",
        }[self]


@dataclass(frozen=True)
class Judgement:
    """A decision about one defect. The defect is identified by one of its pixels, the key of ``Review.judgements``.

    Defects split and merge when the threshold changes. The threshold and the box at the time of the decision say which
    pixels it was about, and so to which defects at another threshold it applies.

    Attributes:
        verdict: the decision.
        box: bounding box of the defect when it was judged.
        threshold: the threshold then, 0..1.
        kind: the class that the restorer gave it; None = the detected one.
    """

    verdict: Verdict
    box: Rect
    threshold: float
    kind: str | None = None


@dataclass(frozen=True)
class Filters:
    """Which damage is listed; the numbers are those of ``engine.tasks.DetectSettings``.

    Attributes:
        without: the classes that are left out.
    """

    threshold: float
    grow: float
    smallest: float
    largest: float
    elongation: float
    widest: float = 100.0
    without: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Review:
    """One search for damage and its review. Immutable; the document replaces it.

    Attributes:
        id: of the search, never reused within the document.
        damage: (h, w, 2) uint8: probability of the likeliest class, 255 = 1, and the index of that class in ``labels``.
        labels: names of the classes.
        filters: which of the damage is listed.
        judgements: pixel of a defect -> decision, in the order they were made; of several about one defect, the latest
            applies.
        search: the search as it is written to records; None for one that an older version made.
        recipe: name of the recipe that is continued once the defects are reviewed; empty for none.
    """

    id: int
    damage: TileMap
    labels: tuple[str, ...]
    filters: Filters
    judgements: Mapping[Point, Judgement] = field(default_factory=lambda: MappingProxyType({}))
    search: Repair | None = None
    recipe: str = ""

    def with_judgements(self, judgements: Mapping[Point, Judgement]) -> Mapping[Point, Judgement]:
        """The judgements with others added as the latest."""
        if not judgements:
            return self.judgements
        result = dict(self.judgements)
        for point, judgement in judgements.items():
            result.pop(point, None)
            result[point] = judgement
        return MappingProxyType(result)

    def positions(self, points: Container[Point]) -> dict[int, tuple[Point, Judgement]]:
        """Position in the order -> point and judgement, of the judgements at some points; first to last."""
        return {place: one for place, one in enumerate(self.judgements.items()) if one[0] in points}

    def without_judgements(
        self, judgements: Container[Point], places: Mapping[int, tuple[Point, Judgement]]
    ) -> Mapping[Point, Judgement]:
        """The judgements as they were before ``with_judgements``.

        Args:
            judgements: the points of the judgements to remove.
            places: what they had replaced, as ``positions`` returned it before.
        """
        if not judgements:
            return self.judgements
        result = [one for one in self.judgements.items() if one[0] not in judgements]
        for place, one in places.items():
            result.insert(place, one)
        return MappingProxyType(dict(result))


def transform_judgements(
    judgements: Mapping[Point, Judgement], move: Callable[[Rect], Rect]
) -> Mapping[Point, Judgement]:
    """The judgements after the picture was rotated or flipped.

    Args:
        judgements: in the coordinates before.
        move: maps a rectangle to where it is afterwards.
    """
    result = {}
    for (x, y), judgement in judgements.items():
        pixel = move(Rect(x, y, x + 1, y + 1))
        result[pixel.left, pixel.top] = dataclasses.replace(judgement, box=move(judgement.box))
    return MappingProxyType(result)


class UndoReview:
    """A review, or none, as an undo step holds it: the tiles of its map are a delta, which can be moved to disk."""

    def __init__(self, review: Review | None) -> None:
        self._without_map, self.deltas = review, list[TileDelta]()
        if review is not None:
            empty = TileMap.empty(review.damage.shape, review.damage.dtype)
            self._without_map = dataclasses.replace(review, damage=empty)
            self.deltas = [TileDelta({cell: (None, tile) for cell, tile in review.damage.stored.items()})]

    @property
    def review(self) -> Review | None:
        """The review; its map is a new object with the same tiles."""
        if self._without_map is None:
            return None
        (tiles,) = self.deltas
        return dataclasses.replace(self._without_map, damage=tiles.apply_to(self._without_map.damage))


def pack_damage(damage: TileMap) -> NDArray[np.uint8]:
    """The stored tiles of a damage map side by side in one picture, so that empty parts take no room in a file.

    Returns:
        (h, w, 2) uint8: tiles sorted by cell, in rows of a nearly square sheet.
    """
    cells = sorted(damage.stored)
    columns = max(1, math.ceil(math.sqrt(len(cells))))
    sheet = np.zeros((TILE * max(1, math.ceil(len(cells) / columns)), TILE * columns, 2), np.uint8)
    for number, cell in enumerate(cells):
        tile = damage.stored[cell]
        place = Rect.of_cell((number % columns, number // columns))
        sheet[place.slices()][: tile.shape[0], : tile.shape[1]] = tile
    return sheet


def unpack_damage(sheet: NDArray[np.uint8], cells: Sequence[Cell], size: tuple[int, int]) -> TileMap:
    """The damage map from the sheet that ``pack_damage`` made.

    Args:
        sheet: (h, w, 2) uint8.
        cells: of the tiles.
        size: height and width of the picture.

    Raises:
        ValueError: sheet, cells and size do not fit together.
    """
    damage = TileMap.empty((*size, 2), np.uint8)
    rows, columns = sheet.shape[0] // TILE, sheet.shape[1] // TILE
    if sheet.shape[2:] != (2,) or sheet.dtype != np.uint8 or rows * columns < len(cells):
        raise ValueError("the map of the damage does not fit")
    tiles: dict[Cell, NDArray[Any] | None] = {}
    for number, cell in enumerate(sorted(cells)):
        place, rect = Rect.of_cell((number % columns, number // columns)), Rect.of_cell(cell) & damage.bounds
        if not rect:
            raise ValueError("damage outside the picture")
        tiles[cell] = compact(sheet[place.slices()][: rect.height, : rect.width])
    return damage.with_tiles(tiles)


def review_json(review: Review) -> dict[str, Any]:
    """A review without its map, as a JSON object."""
    return {
        "id": review.id,
        "labels": list(review.labels),
        "filters": dataclasses.asdict(review.filters) | {"without": sorted(review.filters.without)},
        "judgements": [
            [x, y, list(dataclasses.astuple(one.box)), one.threshold, one.verdict.value, one.kind]
            for (x, y), one in review.judgements.items()
        ],
        "search": dataclasses.asdict(review.search) if review.search is not None else None,
        "recipe": review.recipe,
    }


def review_from_json(row: Mapping[str, Any], damage: TileMap) -> Review:
    """The review of a JSON object that ``review_json`` made, and its map.

    Raises:
        ValueError, LookupError, TypeError: the object is damaged.
    """
    labels = tuple(str(label) for label in row["labels"])
    if any(int(tile[..., 1].max()) >= len(labels) for tile in damage.stored.values()):
        raise ValueError("a class of damage without a name")
    filters = {name: _number(value) for name, value in row["filters"].items() if name != "without"}
    judgements = {}
    for x, y, (left, top, right, bottom), threshold, verdict, kind in row["judgements"]:
        point, box = (int(x), int(y)), Rect(int(left), int(top), int(right), int(bottom))
        if not damage.bounds.contains(box) or not box.contains(Rect(point[0], point[1], point[0] + 1, point[1] + 1)):
            raise ValueError("a defect outside the picture")
        name = str(kind) if kind is not None else None
        # Older files hold ``Verdict.title``.
        judgements[point] = Judgement(Verdict(str(verdict).replace(" ", "-")), box, _number(threshold), name)
    without = frozenset(str(kind) for kind in row["filters"]["without"])
    search = Repair.from_dict(row["search"]) if row.get("search") else None
    return Review(
        int(row["id"]),
        damage,
        labels,
        Filters(**filters, without=without),
        MappingProxyType(judgements),
        search,
        str(row.get("recipe", "")),
    )


def _number(value: object) -> float:
    """A finite number, or ValueError."""
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise ValueError("not a number")
    return number
