"""A contact sheet of all damage: every degradation and every kind of mask, each with its name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.train.damage import shapes
from engine.train.damage.degrade import DEGRADATIONS, LOOK_NUMBER, add_marks
from engine.train.data.photographs import to_picture, to_tensor, write_picture

Picture = NDArray[np.uint8]

LEVELS = (0.3, 1.0)
"""Severities at which each degradation is shown."""

COLUMNS = 4
"""Number of pairs of pictures in a row of the sheet."""

_LABEL, _GAP = 22, 6


def contact_sheet(photo: Picture, path: Path, size: int = 192, seed: int = 0) -> None:
    """Write a PNG that shows every kind of damage on one photograph.

    Args:
        photo: (H, W, 3) uint8 sRGB; reduced and cropped to a square.
        path: file to write.
        size: side of each picture, pixels.
        seed: the same seed gives the same sheet.

    Raises:
        WriteError: the file cannot be written.
    """
    square = _crop_square(photo, size)
    random = torch.Generator().manual_seed(seed)
    cells = [(name, _degrade_at_levels(name, square, random)) for name in DEGRADATIONS]
    for kind in shapes.MASKS:
        drawn = shapes.draw_mask(kind, (size, size), 0.03, np.random.default_rng(seed))
        damaged = _add_damage(square, drawn, shapes.LOOK_OF[kind], random)
        cells.append((f"mask {kind}, as {shapes.LOOK_OF[kind]}", np.hstack([_to_rgb(drawn), damaged])))
    sheet = _arrange_cells([_add_label(name, pictures) for name, pictures in cells])
    write_picture(path, sheet)


def _degrade_at_levels(name: str, square: Tensor, random: torch.Generator) -> Picture:
    """The photograph with a degradation at each of ``LEVELS``, side by side."""
    photos = square.expand(len(LEVELS), -1, -1, -1)
    return np.hstack([to_picture(p) for p in DEGRADATIONS[name].apply(photos, torch.tensor(LEVELS), random)])


def _add_damage(square: Tensor, mask: Picture, of_class: str, random: torch.Generator) -> Picture:
    masks = torch.from_numpy(mask)[None, None].float() / 255
    return to_picture(add_marks(square, masks, torch.tensor([[LOOK_NUMBER[of_class]]]), random)[0])


def _crop_square(photo: Picture, size: int) -> Tensor:
    """The middle square of a picture after resizing its short side, (1, 3, size, size) float32."""
    scale = size / min(photo.shape[:2])
    width, height = (max(size, round(side * scale)) for side in photo.shape[1::-1])
    small = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    top, left = (height - size) // 2, (width - size) // 2
    cut = np.ascontiguousarray(small[top : top + size, left : left + size])
    return to_tensor(cut)


def _to_rgb(mask: Picture) -> Picture:
    return np.repeat(mask[..., None], 3, axis=2)


def _add_label(name: str, pictures: Picture) -> Picture:
    cell = np.full((pictures.shape[0] + _LABEL, pictures.shape[1], 3), 255, np.uint8)
    cell[: pictures.shape[0]] = pictures
    place = (2, cell.shape[0] - 7)
    cv2.putText(cell, name.replace("_", " "), place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return cell


def _arrange_cells(cells: list[Picture]) -> Picture:
    """Arrange cells of one size in rows of ``COLUMNS`` on white."""
    spaced = [np.pad(cell, ((_GAP, 0), (_GAP, 0), (0, 0)), constant_values=255) for cell in cells]
    spaced += [np.full_like(spaced[0], 255)] * (-len(spaced) % COLUMNS)
    lines = [np.hstack(spaced[start : start + COLUMNS]) for start in range(0, len(spaced), COLUMNS)]
    return np.pad(np.vstack(lines), ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255)
