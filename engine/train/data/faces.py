"""Batches for finding faces: crops of photographs with labelled faces at many sizes, damaged and aged afterwards."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import ReadError, SettingsError
from engine.tasks.faces import CELL
from engine.train.damage import degrade
from engine.train.data.batches import Batch, MarkPool, Sources
from engine.train.data.boxes import Boxes, read_boxes
from engine.train.data.photographs import photograph_paths, read_photograph
from engine.train.recipe import TrainingRecipe

CERTAIN = 0.5
"""Boxes with at least this score are faces; less sure ones are neither, and are left out of the losses."""

SMALLEST, LARGEST = 12.0, 72.0
"""Sizes of the faces that most pieces are drawn around, pixels. Larger ones are found in a reduced picture."""

LARGER_SHARE = 0.15
"""Share of the pieces that are drawn around a larger face: its eyes or its ears are no small faces."""

LEAST, MOST = 10.0, 80.0
"""Smaller faces, and the centres of larger ones, are neither found nor missed, pixels."""

SEEN = 0.6
"""Share of a face that a crop must show; one that shows less, but some of it, counts as neither."""

MOST_ZOOM = 2.0
"""A photograph is enlarged at most so much."""

PIECES = (128, 256)
"""Sides of the pieces that a crop is put together from: small faces do not fill a large crop."""

SPLIT_SHARE = 0.75
"""Share of the squares of the largest pieces that are put together from smaller ones."""

MARKED_SHARE = 0.5
"""Share of the crops that are damaged."""

FRESH_SHARE, KEPT = 1 / 4, 64
"""Share of the crops of a batch that are new; the others are drawn from the last ``KEPT`` ones, mirrored at random.

On a CPU it takes longer to draw and age a crop than to train on it (Choi et al., Faster neural network training with
data echoing, 2019)."""

FACELESS_SHARE = 0.4
"""Share of the pieces that are not drawn around a face."""

PLANES = 7
"""Planes of the truth: heat, logarithms of height and width, offset down and right, weights of these four and of the
heat."""


@dataclass(frozen=True)
class FacePhotographs:
    """Photographs and the boxes of their faces.

    Attributes:
        pictures: (H, W, 3) uint8 each.
        boxes: of each picture, (n, 5).
        skipped: number of photographs that could not be read or are not in the table of boxes.
    """

    pictures: list[NDArray[np.uint8]]
    boxes: list[Boxes]
    skipped: int

    def __len__(self) -> int:
        return len(self.pictures)

    @classmethod
    def load(cls, paths: Sequence[Path], boxes: dict[str, Boxes]) -> FacePhotographs:
        """Decode photographs in several threads.

        Raises:
            SettingsError: none of them can be used.
        """

        def decode(path: Path) -> NDArray[np.uint8] | None:
            try:
                return read_photograph(path) if path.name in boxes else None
            except ReadError:
                return None

        with ThreadPoolExecutor() as pool:
            decoded = list(pool.map(decode, paths))
        kept = [
            (picture, boxes[path.name]) for path, picture in zip(paths, decoded, strict=True) if picture is not None
        ]
        if not kept:
            raise SettingsError(
                "None of the {count} photographs is in the table of faces and readable.",
                "train.faces",
                count=len(paths),
            )
        return cls([picture for picture, _ in kept], [own for _, own in kept], len(paths) - len(kept))


@dataclass(frozen=True)
class _Place:
    """A place in a photograph around which a piece is cut.

    Attributes:
        photograph: its number.
        x, y: the place in it, pixels of the photograph.
        zoom: pixels of the piece for a pixel of the photograph.
        size: size that is kept inside the piece if possible, pixels of the piece.
    """

    photograph: int
    x: float
    y: float
    zoom: float
    size: float


class FaceBatches:
    """Draws batches of crops with faces.

    Args:
        recipe: how crops are damaged.
        sources: the photographs, the table of their faces, and scanned damage.
        device: where the batches are put, and damaged.
        validation: use the validation tenth (True) or all other photographs (False).

    Raises:
        SettingsError: there is no table of faces, or there are too few photographs.
    """

    def __init__(self, recipe: TrainingRecipe, sources: Sources, device: torch.device, *, validation: bool) -> None:
        degrade.check_degradations(recipe.damage.ageing)
        if sources.faces is None:
            raise SettingsError(
                "To learn faces, their boxes are needed (--faces TABLE; label-faces makes one).", "train.faces"
            )
        paths = photograph_paths(sources.photographs, validation=validation)
        self.photographs = FacePhotographs.load(paths, read_boxes(sources.faces))
        self._recipe, self._device = recipe, device
        certain = [int((boxes[:, 4] >= CERTAIN).sum()) for boxes in self.photographs.boxes]
        self._with = np.flatnonzero(certain)
        self._without = np.flatnonzero(np.array(certain) == 0)
        # A group is drawn more often than a portrait, but not as often as it has faces.
        weights = np.sqrt(np.array(certain, np.float64)[self._with])
        self._weights = weights / weights.sum() if len(weights) else weights
        seed = recipe.schedule.seed + (1_000_003 if validation else 0)
        self._marks = MarkPool.draw(recipe, sources, device, seed, validation=validation)
        self._hard: list[_Place] = []
        self._choices, self._random = torch.Generator(), torch.Generator(device)
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Seed the random draws anew."""
        self._numbers = np.random.default_rng(seed)
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._choices.manual_seed(seed)
        self._random.manual_seed(seed)

    def draw(self, count: int) -> Batch:
        """Draw a batch of ``count`` crops whose ``truth`` are the planes of ``truth_planes``, (count, PLANES, ., .)."""
        fresh = count if len(self._kept) < count else max(1, round(FRESH_SHARE * count))
        crops = self._draw_fresh(fresh)
        if fresh < count:
            chosen = self._numbers.choice(len(self._kept), count - fresh, replace=False)
            again = [self._kept[number] for number in chosen]
            crops += [_mirrored(*crop) if self._numbers.random() < 0.5 else crop for crop in again]
        self._kept = [*self._kept, *crops[:fresh]][-KEPT:]
        picture = torch.stack([picture for picture, _ in crops])
        damaged = picture.float().div_(255).contiguous(memory_format=torch.channels_last)
        nothing = torch.zeros_like(damaged[:, :1])
        return Batch(
            photo=damaged,
            mask=nothing,
            damaged=damaged,
            level=nothing[:, 0, 0, 0],
            noise=nothing[:, 0, 0, 0],
            truth=torch.stack([planes for _, planes in crops]),
            labelled=torch.ones(count, dtype=torch.bool, device=self._device),
            lost=nothing,
        )

    def _draw_fresh(self, count: int) -> list[tuple[Tensor, Tensor]]:
        """New crops: aged pictures (3, S, S) uint8, and their truth."""
        drawn = [self._crop(self._recipe.data.crop) for _ in range(count)]
        photo = torch.from_numpy(np.stack([picture for picture, _ in drawn])).to(self._device)
        photo = photo.permute(0, 3, 1, 2).float().div_(255)
        damage, random = self._recipe.damage, self._random
        level = damage.strongest * torch.rand(count, generator=random, device=self._device)
        before, after = degrade.before_and_after_marks(damage.ageing)
        photo, _ = degrade.degrade(photo, before, level, random)
        marked = torch.nonzero(torch.rand(count, generator=self._choices) < MARKED_SHARE)[:, 0].to(self._device)
        if len(marked):
            photo[marked], _ = self._marks.add_to(photo[marked], self._choices, random)
        photo, _ = degrade.degrade(photo, after, level, random)
        aged = (photo * 255).round_().byte()
        return [(one, torch.from_numpy(planes).to(self._device)) for one, (_, planes) in zip(aged, drawn, strict=True)]

    def _crop(self, side: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """A crop (side, side, 3), of one photograph or put together from pieces of several, and its truth."""
        least, most = PIECES
        if side < 2 * least or (side <= most and self._numbers.random() >= SPLIT_SHARE):
            picture, boxes = self._piece(side)
            return picture, truth_planes(boxes, side)
        (a, b), (c, d) = [[self._crop(side // 2) for _ in range(2)] for _ in range(2)]
        picture = np.block([[[a[0]], [b[0]]], [[c[0]], [d[0]]]])
        planes = np.block([[a[1], b[1]], [c[1], d[1]]])
        return picture, planes

    def _piece(self, side: int) -> tuple[NDArray[np.uint8], Boxes]:
        """A square of one photograph, resized, perhaps mirrored, and the boxes in it."""
        numbers = self._numbers
        if len(self._with) and not (len(self._without) and numbers.random() < FACELESS_SHARE):
            place = self._face()
        elif self._hard and numbers.random() < self._recipe.negatives.share:
            place = self._hard[numbers.integers(len(self._hard))]
        else:
            place = self._anywhere()
        margin = min(0.5, 0.4 * place.size / side)
        piece, boxes = self._cut(place, numbers.uniform(margin, 1 - margin, 2) * side, side)
        if numbers.random() < 0.5:
            piece, boxes = piece[:, ::-1], boxes.copy()
            boxes[:, [0, 2]] = side - boxes[:, [2, 0]]
        return piece, boxes

    def _face(self) -> _Place:
        """A face, at a size that the network shall know."""
        numbers = self._numbers
        chosen = int(numbers.choice(self._with, p=self._weights))
        boxes = self.photographs.boxes[chosen]
        faces = boxes[boxes[:, 4] >= CERTAIN]
        left, top, right, bottom, _ = faces[numbers.integers(len(faces))]
        low, high = (LARGEST, 3 * LARGEST) if numbers.random() < LARGER_SHARE else (SMALLEST, LARGEST)
        size = low * (high / low) ** numbers.random()
        zoom = min(MOST_ZOOM, size / max(right - left, bottom - top))
        return _Place(chosen, (left + right) / 2, (top + bottom) / 2, zoom, size)

    def _anywhere(self) -> _Place:
        """A place in a photograph without a face."""
        numbers = self._numbers
        chosen = int(numbers.choice(self._without))
        height, width = self.photographs.pictures[chosen].shape[:2]
        zoom = 0.4 * (MOST_ZOOM / 0.4) ** numbers.random()
        return _Place(chosen, numbers.random() * width, numbers.random() * height, zoom, LARGEST)

    def _cut(self, place: _Place, at: NDArray[np.float64], side: int) -> tuple[NDArray[np.uint8], Boxes]:
        """The square of a photograph in which a place comes to lie ``at`` (x, y), and the boxes in it."""
        return cut(
            self.photographs.pictures[place.photograph],
            self.photographs.boxes[place.photograph],
            (place.x - at[0] / place.zoom, place.y - at[1] / place.zoom),
            place.zoom,
            side,
            int(self._numbers.integers(256)),
        )

    @torch.no_grad()
    def search(self, generator: Any) -> None:
        """Run a network on random pieces of photographs without a face, and remember where it is surest of one.

        A share of the pieces that are not drawn around a face is drawn around these places later (``HardNegatives``).
        They are forgotten when a run is resumed. In photographs with faces the surest places are faces that the
        teacher missed, or parts of those that it found; so nothing is learnt from them.
        """
        if not len(self._without):
            return
        settings, side = self._recipe.negatives, max(PIECES)
        places = [self._anywhere() for _ in range(settings.candidates)]
        drawn = [self._cut(place, np.full(2, side / 2), side) for place in places]
        counts = np.stack([truth_planes(boxes, side)[6] for _, boxes in drawn])
        pictures = torch.from_numpy(np.stack([piece for piece, _ in drawn])).to(self._device)
        generator.eval()
        with torch.autocast(self._device.type, torch.bfloat16):
            parts = torch.split(pictures.permute(0, 3, 1, 2).float().div_(255), 8)
            maps = torch.cat([generator(part.contiguous(memory_format=torch.channels_last)) for part in parts])
        generator.train()
        heat = torch.sigmoid(maps[:, 0].float()).cpu().numpy() * counts
        highest = heat.reshape(len(places), -1).argmax(axis=1)
        errors = heat.reshape(len(places), -1).max(axis=1)
        for number in np.argsort(errors)[-settings.kept :]:
            row, column = divmod(int(highest[number]), heat.shape[2])
            place, half = places[number], side / 2
            x, y = ((CELL * (cell + 0.5) - half) / place.zoom for cell in (column, row))
            self._hard.append(dataclasses.replace(place, x=place.x + x, y=place.y + y))
        self._hard = self._hard[-settings.pool :]


def _mirrored(picture: Tensor, planes: Tensor) -> tuple[Tensor, Tensor]:
    """A crop and its truth, left and right exchanged."""
    planes = planes.flip(2)
    planes[4] = -planes[4]
    return picture.flip(2), planes


def cut(
    picture: NDArray[np.uint8], boxes: Boxes, corner: tuple[float, float], zoom: float, side: int, ground: int
) -> tuple[NDArray[np.uint8], Boxes]:
    """Cut a square out of a picture and resize it.

    Args:
        picture: (H, W, 3).
        boxes: of the picture, (n, 5).
        corner: left and top of the square, pixels of the picture; the square may reach beyond it.
        zoom: pixels of the result for a pixel of the picture.
        side: of the result, pixels.
        ground: grey value beyond the picture.

    Returns:
        (side, side, 3), and all boxes in pixels of it.
    """
    left, top = (math.floor(place) for place in corner)
    reach = math.ceil(side / zoom)
    inner = picture[max(0, top) : max(0, top + reach), max(0, left) : max(0, left + reach)]
    result = np.full((side, side, 3), ground, np.uint8)
    moved = boxes.copy()
    moved[:, :4] = (boxes[:, :4] - np.array([left, top, left, top])) * zoom
    size = [max(1, round(length * zoom)) for length in inner.shape[:2]]
    if inner.size:
        filter_ = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
        small = np.asarray(cv2.resize(np.ascontiguousarray(inner), (size[1], size[0]), interpolation=filter_))
        at = round(max(0, -top) * zoom), round(max(0, -left) * zoom)
        part = small[: max(0, side - at[0]), : max(0, side - at[1])]
        result[at[0] : at[0] + part.shape[0], at[1] : at[1] + part.shape[1]] = part
    return result, moved


def truth_planes(boxes: Boxes, side: int) -> NDArray[np.float32]:
    """What the network should answer for a square picture, and how much each cell counts.

    The heat of a face is a Gaussian around its centre whose deviation is about that of Zhou et al., Objects as points,
    2019, and exactly 1 in the cell of the centre. Size and offset count in the inner cells of the Gaussian, for each
    face with a sum of 1.

    Args:
        boxes: (n, 5) in pixels of the picture, some perhaps outside of it.
        side: of the picture, pixels.

    Returns:
        (PLANES, side / CELL, side / CELL) float32.
    """
    count = side // CELL
    planes = np.zeros((PLANES, count, count), np.float32)
    planes[6] = 1
    y, x = np.mgrid[0:count, 0:count] + 0.5
    # The smallest last: where faces touch, the cells belong to the smaller one.
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for left, top, right, bottom, score in boxes[np.argsort(-areas, kind="stable")]:
        shown = (min(right, side) - max(left, 0)) * (min(bottom, side) - max(top, 0))
        if right <= 0 or bottom <= 0 or left >= side or top >= side:
            continue
        width, height = (right - left) / CELL, (bottom - top) / CELL
        middle = (left + right) / 2 / CELL, (top + bottom) / 2 / CELL
        centre = math.floor(middle[1]), math.floor(middle[0])
        whole = shown >= SEEN * (right - left) * (bottom - top) and min(centre) >= 0 and max(centre) < count
        if score < CERTAIN or min(width, height) * CELL < LEAST or not whole:
            inside = (abs(x - middle[0]) < width / 2) & (abs(y - middle[1]) < height / 2)
            planes[6][inside & (planes[0] < 1)] = 0
            continue
        sigma = (0.28 * math.sqrt(width * height) + 1) / 6
        heat = np.exp(-((x - centre[1] - 0.5) ** 2 + (y - centre[0] - 0.5) ** 2) / (2 * sigma**2))
        if width * height * CELL**2 > MOST**2:
            planes[6][(heat > 0.1) & (planes[0] < 1)] = 0
            continue
        planes[6][heat > 0.3] = 1
        planes[0] = np.maximum(planes[0], heat)
        core = heat > 0.6
        planes[1:5, core] = np.stack(
            [
                np.full(int(core.sum()), math.log(height)),
                np.full(int(core.sum()), math.log(width)),
                middle[1] - y[core],
                middle[0] - x[core],
            ]
        )
        planes[5][core] = heat[core] / heat[core].sum()
    return planes
