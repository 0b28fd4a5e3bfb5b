"""The contact sheet of the damage: every degradation, every kind of mask and every class, each with its name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.train.damage import shapes
from engine.train.damage.degrade import DEGRADATIONS, mark
from engine.train.data.batches import to_picture, to_tensor, write_picture

Picture = NDArray[np.uint8]

LEVELS = (0.3, 1.0)
"""Severities at which each degradation is shown, side by side."""

COLUMNS = 4
"""Pairs of pictures in a line of the sheet."""

_LABEL, _GAP = 22, 6


def contact_sheet(photo: Picture, path: Path, size: int = 192, seed: int = 0) -> None:
    """Write a PNG that shows all damage there is on one photograph, at one pixel a pixel.

    Args:
        photo: (H, W, 3) uint8 sRGB; reduced and cut to a square.
        path: of the PNG.
        size: side of each picture on it.
        seed: the same seed gives the same sheet.

    Raises:
        WriteError: the file cannot be written.
    """
    square = _square(photo, size)
    random = torch.Generator().manual_seed(seed)
    cells = [(name, _levels(name, square, random)) for name in DEGRADATIONS]
    for kind in shapes.MASKS:
        drawn = shapes.draw_mask(kind, (size, size), 0.03, np.random.default_rng(seed))
        marked = _marked(square, drawn, shapes.CLASS_OF[kind], random)
        cells.append((f"mask {kind}, as {shapes.CLASS_OF[kind]}", np.hstack([_rgb(drawn), marked])))
    sheet = _arranged([_labelled(name, pictures) for name, pictures in cells])
    write_picture(path, sheet)


def _levels(name: str, square: Tensor, random: torch.Generator) -> Picture:
    """A degradation at each of ``LEVELS``, side by side."""
    photos = square.expand(len(LEVELS), -1, -1, -1)
    return np.hstack([to_picture(p) for p in DEGRADATIONS[name].apply(photos, torch.tensor(LEVELS), random)])


def _marked(square: Tensor, mask: Picture, of_class: str, random: torch.Generator) -> Picture:
    masks = torch.from_numpy(mask)[None, None].float() / 255
    return to_picture(mark(square, masks, torch.tensor([[shapes.CLASSES.index(of_class)]]), random)[0])


def _square(photo: Picture, size: int) -> Tensor:
    """The middle of a picture, its short side reduced (or enlarged) to a size: (1, 3, size, size) float32."""
    scale = size / min(photo.shape[:2])
    width, height = (max(size, round(side * scale)) for side in photo.shape[1::-1])
    small = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    top, left = (height - size) // 2, (width - size) // 2
    cut = np.ascontiguousarray(small[top : top + size, left : left + size])
    return to_tensor(cut)


def _rgb(mask: Picture) -> Picture:
    return np.repeat(mask[..., None], 3, axis=2)


def _labelled(name: str, pictures: Picture) -> Picture:
    cell = np.full((pictures.shape[0] + _LABEL, pictures.shape[1], 3), 255, np.uint8)
    cell[: pictures.shape[0]] = pictures
    place = (2, cell.shape[0] - 7)
    cv2.putText(cell, name.replace("_", " "), place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return cell


def _arranged(cells: list[Picture]) -> Picture:
    """Cells of one size in lines of ``COLUMNS``, on white."""
    spaced = [np.pad(cell, ((_GAP, 0), (_GAP, 0), (0, 0)), constant_values=255) for cell in cells]
    spaced += [np.full_like(spaced[0], 255)] * (-len(spaced) % COLUMNS)
    lines = [np.hstack(spaced[start : start + COLUMNS]) for start in range(0, len(spaced), COLUMNS)]
    return np.pad(np.vstack(lines), ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255)
