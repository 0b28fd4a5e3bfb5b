"""Detection protocol: held-out scanned damage composited on photographs otherwise than in training.

Textures of several classes and parts of whole film frames are composited until about a twentieth of a picture is
covered. Scores are taken over all pictures together: precision, recall and F1 by pixels with a tolerance of 2 px, the
share of thin objects that are found, the recall of each class, and the share of the same pictures that is flagged when
they are undamaged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.raster import ArraySource, Floats, Mask, Rect
from engine.runtime.cards import ModelCard
from engine.runtime.session import Device
from engine.tasks import DetectSettings, Findings, TaskInput, run_task
from engine.train.damage.pools import THIN_CLASSES
from engine.train.measure.metrics import Picture, luma, near

CLASSES = ("scratch", "hair", "dust", "stain", "frame")
"""What is composited: textures of four classes, and parts of frames, whose marks belong to the first three classes."""

COVERED, MOST_PIECES = 0.05, 80
"""Share of a picture that is covered at least, and the number of pieces after which nothing more is added."""

BALANCED = 0.15
"""Threshold at which the shipped detector misses about as much as it wrongly flags."""
THRESHOLDS = (BALANCED, 0.3, 0.5, 0.7, 0.8, 0.9, 0.97)
"""Thresholds of the curve."""

FRAME_LABELS = {1: "dust", 2: "dust", 3: "hair", 4: "hair", 5: "scratch"}
"""Label in a frame -> class."""

_OPAQUE, _VISIBLE = 0.2, 18
"""Damage counts as true where its opacity is above the first and it changes the picture by more than the second, grey
levels, so that a person can see it."""

Detector = Callable[[Picture], Mapping[float, Mask]]
"""From a picture to the found masks (H, W), above 0 = damage, by threshold; methods without one use the key 0.5."""


@dataclass(frozen=True)
class FilmCase:
    """A photograph with scanned damage.

    Attributes:
        given: the damaged picture, uint8 (H, W, 3).
        original: the photograph, in every other case turned grey.
        classes: uint8 (H, W), 0 = sound, else 1 + the number in ``CLASSES`` of the class of the damage.
    """

    given: Picture
    original: Picture
    classes: Mask


def film_case(textures: Mapping[str, list[Mask]], frames: list[Mask], picture: Picture, number: int) -> FilmCase:
    """Composite held-out damage on a photograph.

    Args:
        textures: damage class -> textures (h, w) uint8, 255 = damaged; soft edges are kept.
        frames: label maps of film frames (``FRAME_LABELS``).
        picture: the photograph, uint8 (H, W, 3).
        number: seed; photographs with an odd number become grey.
    """
    random = np.random.default_rng(number)
    if number % 2:
        picture = np.repeat(np.rint(luma(picture)).astype(np.uint8)[..., None], 3, axis=2)
    damaged, classes = composite_film(textures, frames, picture, random)
    noisy = damaged + random.normal(0, 3, damaged.shape)
    return FilmCase(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), picture, classes)


def composite_film(
    textures: Mapping[str, list[Mask]], frames: list[Mask], picture: Picture, random: np.random.Generator
) -> tuple[Floats, Mask]:
    """Composite pieces until they cover ``COVERED`` of a picture.

    Returns:
        The damaged picture (H, W, 3), 0..255; and the classes of its damage, see ``FilmCase``.
    """
    names = [name for name in CLASSES if textures.get(name) or (name == "frame" and frames)]
    damaged, shape = picture.astype(np.float32), picture.shape[:2]
    classes, covered = np.zeros(shape, np.uint8), np.zeros(shape, np.bool_)
    for _ in range(MOST_PIECES):
        if covered.mean() >= COVERED:
            break
        name = names[random.integers(len(names))]
        if name == "frame":
            piece, name = _frame_piece(frames[random.integers(len(frames))], random)
        else:
            piece = textures[name][random.integers(len(textures[name]))]
        opacity = np.asarray(random.uniform(0.55, 1) * _place_piece(piece, shape, random), np.float32)
        before = damaged
        damaged = before + opacity[..., None] * (_near_white_or_black(random) - before)
        seen = (opacity > _OPAQUE) & (np.abs(damaged - before).max(axis=2) > _VISIBLE)
        covered |= opacity > _OPAQUE
        classes[seen] = 1 + CLASSES.index(name)
    return damaged, classes


def _place_piece(piece: Mask, shape: tuple[int, int], random: np.random.Generator) -> Floats:
    """A piece resized to 0.15 to 0.5 of the short side, turned, and somewhere in a picture: (H, W) in 0..1."""
    side = round(random.uniform(0.15, 0.5) * min(shape))
    small = cv2.resize(piece, (side, side), interpolation=cv2.INTER_AREA)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), random.uniform(0, 360), 1.0)
    turn[:, 2] += random.uniform(0, 1, 2) * (shape[1], shape[0]) - side / 2
    placed = cv2.warpAffine(small, turn, shape[::-1], flags=cv2.INTER_LINEAR)
    return np.asarray(placed / np.float32(255), np.float32)


def _frame_piece(frame: Mask, random: np.random.Generator) -> tuple[Mask, str]:
    """A square part of a frame around a random mark, 255 = damaged, and the class of that mark."""
    rows, columns = np.nonzero(frame)
    chosen = random.integers(len(rows))
    side = int(random.integers(300, 1200))
    top = int(np.clip(rows[chosen] - side // 2, 0, max(0, frame.shape[0] - side)))
    left = int(np.clip(columns[chosen] - side // 2, 0, max(0, frame.shape[1] - side)))
    part = frame[top : top + side, left : left + side]
    name = FRAME_LABELS[int(frame[rows[chosen], columns[chosen]])]
    return np.where(part > 0, np.uint8(255), np.uint8(0)), name


def _near_white_or_black(random: np.random.Generator) -> Floats:
    """Nearly white or nearly black with a slight tint, 0..255."""
    base = random.uniform(225, 255) if random.random() < 0.5 else random.uniform(0, 35)
    return np.asarray(np.clip(base + random.uniform(-12, 12, 3), 0, 255), np.float32)


# -- scores -------------------------------------------------------------------------------------------------------


@dataclass
class Counts:
    """Counts of one detector at one threshold over all pictures; see ``scores`` for their meaning."""

    right: int = 0
    claimed: int = 0
    found: int = 0
    true: int = 0
    thin_found: int = 0
    thin: int = 0
    flagged: int = 0
    sound: int = 0
    found_of: dict[str, int] = field(default_factory=dict)
    true_of: dict[str, int] = field(default_factory=dict)

    def add(self, case: FilmCase, mask: Mask, on_sound: Mask) -> None:
        """Count one picture.

        Args:
            case: the damaged picture.
            mask: what was found in it, (H, W), above 0 = damage.
            on_sound: what was found in the undamaged original.
        """
        claimed, true = mask > 0, case.classes > 0
        near_true, near_found = near(true, 2), near(claimed, 2)
        self.right += int((claimed & near_true).sum())
        self.claimed += int(claimed.sum())
        self.found += int((true & near_found).sum())
        self.true += int(true.sum())
        self.flagged += int((on_sound > 0).sum())
        self.sound += on_sound.size
        for number, name in enumerate(CLASSES[:-1], 1):
            of_class = case.classes == number
            self.found_of[name] = self.found_of.get(name, 0) + int((of_class & near_found).sum())
            self.true_of[name] = self.true_of.get(name, 0) + int(of_class.sum())
        thin = np.isin(case.classes, [1 + CLASSES.index(name) for name in THIN_CLASSES])
        count, objects, stats, _ = cv2.connectedComponentsWithStats(thin.astype(np.uint8), connectivity=8)
        hits = np.bincount(objects[near_found], minlength=count)
        areas = stats[:, cv2.CC_STAT_AREA]
        large = np.flatnonzero(areas >= _SMALLEST_OBJECT)[1:]
        self.thin += len(large)
        self.thin_found += int((hits[large] >= 0.5 * areas[large]).sum())

    def scores(self) -> dict[str, float]:
        """Precision, recall, f1, thin (share of thin objects found by half), flagged, and recall_CLASS."""
        precision, recall = self.right / max(1, self.claimed), self.found / max(1, self.true)
        return {
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / max(1e-9, precision + recall),
            "thin": self.thin_found / max(1, self.thin),
            "flagged": self.flagged / max(1, self.sound),
        } | {f"recall_{name}": self.found_of[name] / max(1, count) for name, count in self.true_of.items()}


_SMALLEST_OBJECT = 8
"""Thin objects of fewer pixels are not counted."""


def film_scores(cases: Sequence[FilmCase], detect: Detector) -> dict[float, dict[str, float]]:
    """Score a detector: threshold -> scores (``Counts.scores``) over all cases together."""
    counts: dict[float, Counts] = {}
    for case in cases:
        found, on_sound = detect(case.given), detect(case.original)
        for threshold, mask in found.items():
            counts.setdefault(threshold, Counts()).add(case, mask, on_sound[threshold])
    return {threshold: count.scores() for threshold, count in counts.items()}


def model_detector(card: ModelCard, device: Device, thresholds: Sequence[float] = THRESHOLDS) -> Detector:
    """A detector that runs a model through its task once and gives its mask at each threshold, not enlarged."""

    def detect(picture: Picture) -> dict[float, Mask]:
        findings = model_findings(card, device, picture)
        return {t: findings.marks(DetectSettings(threshold=t, grow=0)).mask() for t in thresholds}

    return detect


def model_findings(card: ModelCard, device: Device, picture: Picture) -> Findings:
    """Run a detection model on a picture."""
    findings = run_task(TaskInput("detect", ArraySource(picture), None, None, DetectSettings(), card, device))
    assert isinstance(findings, Findings)
    return findings


def certain_pixels(case: FilmCase) -> NDArray[np.bool_]:
    """The pixels that are not within 2 px of an edge of the damage, where nobody could say what is damaged."""
    true = case.classes > 0
    return np.asarray(~(near(true, 2) & near(~true, 2)))


def reliability(cases: Sequence[FilmCase], card: ModelCard, device: Device, bins: int = 10) -> NDArray[np.float64]:
    """Reliability diagram of a model: how often pixels of a given probability are really damaged.

    Args:
        cases: the pictures; pixels within 2 px of an edge of the damage are left out.
        card: the model.
        device: where it runs.
        bins: equal ranges of the probability.

    Returns:
        (bins, 3): mean probability, share of damaged pixels, number of pixels.
    """
    sums = np.zeros((bins, 3))
    for case in cases:
        findings = model_findings(card, device, case.given)
        values = findings.read(Rect.of_shape(case.given.shape))[..., 0] / 255
        true, certain = case.classes > 0, certain_pixels(case)
        place = np.minimum((values[certain] * bins).astype(int), bins - 1)
        for column, weights in enumerate((values[certain], true[certain], np.ones(len(place)))):
            sums[:, column] += np.bincount(place, weights, minlength=bins)
    sums[:, :2] /= np.maximum(1, sums[:, 2:])
    return sums
