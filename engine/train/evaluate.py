"""Scores on the validation tenth, through ``engine.tasks`` with the exported file, beside the classical peers."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.imageio import atomic_write_bytes
from engine.raster import ArrayMask, ArraySource, Mask
from engine.runtime.cards import ModelCard, write_card
from engine.runtime.session import Device
from engine.tasks import HealSettings, Job, run_job
from engine.train.data import photograph_paths, read_photograph
from engine.train.degrade import draw_mask

Picture = NDArray[np.uint8]
Filler = Callable[[Picture, Mask], Picture]


@dataclass(frozen=True)
class Protocol:
    """One kind of damage that is scored."""

    name: str
    kind: str
    coverage: float


PROTOCOLS = (Protocol("scratches", "scratch", 0.04), Protocol("strokes", "stroke", 0.17))
"""Scratches of 1-6 px covering about 4 %, strokes of 12-36 px covering about 17 %."""

LARGEST = 384
"""Photographs are cut to their middle of at most this side, pixels, so that a run takes minutes."""


def peers() -> dict[str, Filler]:
    """The classical fillings that OpenCV carries, at their usual radius of 3 px."""
    return {
        "telea": lambda picture, mask: np.asarray(cv2.inpaint(picture, mask, 3, cv2.INPAINT_TELEA), np.uint8),
        "navier_stokes": lambda picture, mask: np.asarray(cv2.inpaint(picture, mask, 3, cv2.INPAINT_NS), np.uint8),
    }


def model_filler(card: ModelCard, device: Device) -> Filler:
    """Heal through the task, as the window and the command line do."""

    def fill(picture: Picture, mask: Mask) -> Picture:
        job = Job("heal", ArraySource(picture), None, ArrayMask(mask), HealSettings(), card, device)
        return run_job(job).apply_to(picture)

    return fill


def evaluate_heal(
    card: ModelCard, folder: Path, *, device: Device = Device.AUTO, most: int | None = None
) -> dict[str, dict[str, dict[str, float]]]:
    """Score a heal model and the classical peers.

    Args:
        card: the exported model.
        folder: photographs; only the validation tenth is used.
        device: where the model runs.
        most: use only so many photographs.

    Returns:
        protocol -> filler -> {"psnr": mean hole PSNR in dB, "seconds": per megapixel}.
    """
    fillers = {"model": model_filler(card, device)} | peers()
    paths = photograph_paths(folder, validation=True)[:most]
    table: dict[str, dict[str, dict[str, float]]] = {}
    for protocol in PROTOCOLS:
        scores: dict[str, list[float]] = {name: [] for name in fillers}
        seconds = dict.fromkeys(fillers, 0.0)
        megapixels = 0.0
        for index, path in enumerate(paths):
            picture = middle(read_photograph(path))
            mask = draw_mask(protocol.kind, picture.shape[:2], protocol.coverage, np.random.default_rng(index))
            megapixels += mask.size / 1e6
            damaged = np.where(mask[..., None] > 0, np.uint8(255), picture)
            for name, fill in fillers.items():
                start = time.perf_counter()
                filled = fill(damaged, mask)
                seconds[name] += time.perf_counter() - start
                scores[name].append(hole_psnr(filled, picture, mask))
        table[protocol.name] = {
            name: {"psnr": float(np.mean(scores[name])), "seconds": seconds[name] / megapixels} for name in fillers
        }
    return table


def write_scores(card: ModelCard, table: dict[str, dict[str, dict[str, float]]]) -> ModelCard:
    """Put a score table into the card and, whole, into ``scores.json`` beside it."""
    scores = {
        f"{protocol}_{'hole_psnr' if name == 'model' else name}": round(row["psnr"], 2)
        for protocol, rows in table.items()
        for name, row in rows.items()
    }
    scored = dataclasses.replace(card, scores=scores)
    write_card(scored, card.folder)
    atomic_write_bytes(card.folder / "scores.json", (json.dumps(table, indent=1) + "\n").encode())
    return scored


def hole_psnr(filled: Picture, original: Picture, mask: Mask) -> float:
    """10 log10(255^2 / mean squared error over the masked samples), dB; at most 100."""
    hole = mask > 0
    error = np.mean((filled[hole].astype(np.float64) - original[hole]) ** 2)
    return min(100.0, 10 * math.log10(255**2 / max(float(error), 1e-9)))


def middle(picture: Picture) -> Picture:
    """The middle of a picture, at most ``LARGEST`` px a side."""
    height, width = picture.shape[:2]
    top, left = max(0, (height - LARGEST) // 2), max(0, (width - LARGEST) // 2)
    return np.ascontiguousarray(picture[top : top + LARGEST, left : left + LARGEST])
