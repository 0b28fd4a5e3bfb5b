"""Scores of models that find faces, against the boxes of a teacher."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import ReadError, SettingsError
from engine.raster import ArraySource, Rect
from engine.runtime.cards import ModelCard, Registry
from engine.runtime.session import Device
from engine.tasks import FaceSettings, TaskInput, make_settings, run_task
from engine.tasks.faces import overlaps
from engine.train.data.boxes import Boxes, read_boxes
from engine.train.data.faces import CERTAIN
from engine.train.data.photographs import read_photograph
from engine.train.measure.metrics import Picture

SIDE, LEAST = 960, 20
"""A face counts if its box has at least ``LEAST`` px on both sides when the picture's long side is ``SIDE`` px."""

SAME = 0.4
"""Two boxes are of the same face if they share at least this part of their common area."""

THRESHOLDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97)
"""Thresholds of the curve."""

FRAME = (80, 220, 255)
"""Colour of the boxes in pictures for people, RGB."""


@dataclass(frozen=True)
class FaceCase:
    """A picture and its boxes by the teacher, (n, 5), of any score."""

    name: str
    picture: Picture
    boxes: Boxes

    @property
    def faces(self) -> Boxes:
        """The boxes that must be found."""
        sides = (self.boxes[:, 2:4] - self.boxes[:, :2]).min(axis=1) * SIDE / max(self.picture.shape[:2])
        return np.asarray(self.boxes[(self.boxes[:, 4] >= CERTAIN) & (sides >= LEAST)])

    @property
    def faceless(self) -> bool:
        """Whether the teacher sees no face of any size."""
        return not (self.boxes[:, 4] >= CERTAIN).any()


def face_cases(paths: Sequence[Path], table: Path) -> list[FaceCase]:
    """The photographs that can be read and are in a table of boxes.

    Raises:
        SettingsError: there is none, or the table cannot be read.
    """
    boxes, cases = read_boxes(table), []
    for path in paths:
        if path.name in boxes:
            try:
                cases.append(FaceCase(path.name, read_photograph(path), boxes[path.name]))
            except ReadError:
                continue
    if not cases:
        raise SettingsError("The table of faces {file} is about none of the photographs.", "train.faces", file=table)
    return cases


Finder = Callable[[Picture], Boxes]
"""From a picture to the boxes (n, 5) that are found in it, the surest first."""


def model_finder(card: ModelCard, device: Device, settings: FaceSettings) -> Finder:
    """A finder that runs a model through its task."""
    return lambda picture: run_task(
        TaskInput("faces", ArraySource(picture), None, None, settings, card, device)
    ).boxes()


def faces_in(picture: Picture, device: Device) -> list[Rect]:
    """The faces that the installed model finds in a picture, the surest first; none without a model."""
    cards = Registry().cards("faces")
    if not cards:
        return []
    boxes = model_finder(cards[0], device, make_settings("faces", cards[0], {}))(picture)
    return [Rect(*np.rint(box[:4]).astype(int).tolist()) for box in boxes]


def pairs_of(found: Boxes, true: Boxes) -> list[tuple[int, int]]:
    """Pairs (found, true) of boxes of one face: each found box, the surest first, takes the nearest free true one."""
    shared, pairs = overlaps(found, true), []
    for number in range(len(found) if len(true) else 0):
        best = int(shared[number].argmax())
        if shared[number, best] >= SAME:
            pairs.append((number, best))
            shared[:, best] = 0
    return pairs


def face_scores(
    find: Finder, cases: Sequence[FaceCase], thresholds: Sequence[float] = THRESHOLDS
) -> dict[float, dict[str, float]]:
    """Scores of a finder at several thresholds.

    Args:
        find: finds boxes down to the lowest threshold.
        cases: the pictures.
        thresholds: scores that boxes must reach.

    Returns:
        threshold -> ``recall``, the share of all faces that is found; ``wrong``, boxes for each picture without a face;
        ``extra``, boxes that the teacher does not have at any score, for each picture with a face; ``faces``,
        ``faceless`` and ``pictures``, the numbers of these; ``scan_seconds`` for a picture, ``seconds`` per megapixel.
    """
    found, taken = [], []
    for case in cases:
        start = time.perf_counter()
        found.append(find(case.picture))
        taken.append(time.perf_counter() - start)
    faces, faceless = sum(len(case.faces) for case in cases), sum(case.faceless for case in cases)
    counts = {"faces": float(faces), "faceless": float(faceless), "pictures": float(len(cases))}
    rows = {}
    for threshold in thresholds:
        hits = wrong = extra = 0
        for case, all_boxes in zip(cases, found, strict=True):
            boxes = all_boxes[all_boxes[:, 4] >= threshold]
            hits += len(pairs_of(boxes, case.faces))
            wrong += len(boxes) * case.faceless
            extra += (len(boxes) - len(pairs_of(boxes, case.boxes))) * (not case.faceless)
        rows[threshold] = {
            "recall": hits / max(1, faces),
            "wrong": wrong / max(1, faceless),
            "extra": extra / max(1, len(cases) - faceless),
            **counts,
            # The first picture also loads the model.
            "scan_seconds": float(np.median(taken)),
            "seconds": sum(taken) / sum(case.picture[..., 0].size / 1e6 for case in cases),
        }
    return rows
