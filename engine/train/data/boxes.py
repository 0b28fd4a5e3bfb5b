"""Boxes of faces beside photographs, in a table: labels to train on and to score against."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import SettingsError
from engine.imageio import atomic_write_bytes

Boxes = NDArray[np.float64]
"""(n, 5): left, top, right, bottom in pixels of the photograph, and the score, 0..1."""

COLUMNS = ("file", "x", "y", "width", "height", "score")


def write_boxes(path: Path, boxes: Mapping[str, Boxes]) -> None:
    """Write a tab-separated table with the columns ``COLUMNS``; of a photograph without faces it has the name only.

    Args:
        path: the file to write.
        boxes: file name of each photograph -> its boxes.

    Raises:
        WriteError: it cannot be written.
    """
    lines = ["\t".join(COLUMNS)]
    for name in sorted(boxes):
        rows = [
            f"{name}\t{left:.1f}\t{top:.1f}\t{right - left:.1f}\t{bottom - top:.1f}\t{score:.3f}"
            for left, top, right, bottom, score in boxes[name]
        ]
        lines += rows or [name]
    atomic_write_bytes(path, ("\n".join(lines) + "\n").encode())


def read_boxes(path: Path) -> dict[str, Boxes]:
    """Read a table of ``write_boxes``: file name of each photograph -> its boxes, none for one without faces.

    Raises:
        SettingsError: the file cannot be read, or a line is not of this form; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("The table of faces {file} cannot be read.", "train.faces", file=path) from error
    rows: dict[str, list[tuple[float, ...]]] = {}
    for number, line in enumerate(lines[1:], 2):
        name, *words = line.rstrip("\t").split("\t")
        try:
            values = tuple(map(float, words))
        except ValueError:
            values = (math.nan,)
        if (
            not name
            or len(values) not in (0, 5)
            or not all(map(math.isfinite, values))
            or (values and min(values[2:4]) <= 0)
        ):
            raise SettingsError(
                "Line {number} of the table of faces {file} is not a file name, alone or with x, y, width, height and "
                "score.",
                "train.faces",
                number=number,
                file=path,
            )
        rows.setdefault(name, [])
        if values:
            x, y, width, height, score = values
            rows[name].append((x, y, x + width, y + height, score))
    return {name: np.array(found, np.float64).reshape(-1, 5) for name, found in rows.items()}
