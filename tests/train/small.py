"""Shipped recipes with tiny networks, and photographs to train them on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from engine.train.data.batches import Sources
from engine.train.data.boxes import write_boxes
from engine.train.recipe import TrainingRecipe, read_training_recipe

CPU = torch.device("cpu")
SMALL = {
    "autoencoder": "{width=16,latent=8,blocks=1}",
    "context_encoder": "{widths=[16,16,16,16],side=64}",
    "partial_convolution": "{widths=[16,16,16]}",
    "edgeconnect": "{widths=[16,16,16,16],blocks=[1,1,1,1]}",
    "heal": "{widths=[16,16,16,16],blocks=[1,1,1,1]}",
    "unsupervised": "{widths=[16,16,16,16],blocks=[1,1,1,1]}",
    "dcgan": "{widths=[16,16,16,16],encoder=[16,16,16,16]}",
    "cyclegan": "{width=8,size=32}",
    "enhance": "{widths=[16,16,16,16],blocks=[1,1,1,1]}",
    "clean": "{widths=[16,16,16,16],blocks=[1,1,1,1]}",
    "tone": "{hidden=16}",
    "upscale2": "{scale=2,width=16,blocks=1}",
    "upscale4": "{scale=4,width=16,blocks=1}",
    "detect": "{widths=[16,16,16,16],blocks=[1,1,1,1]}",
    "faces": "{widths=[8,16,16,16,16],blocks=[0,0,1,1,1],head=16}",
}


def small(name: str, *more: str) -> TrainingRecipe:
    """A shipped recipe with a tiny network and its discriminators active from the first step."""
    settings = ["data.crop=64", "data.batch=4", "damage.pool=6", "schedule.validation_crops=4", "adversary.start=0.0"]
    return read_training_recipe(name, [*settings, f"network.options={SMALL[name]}", *more])


def make_photographs(root: Path) -> None:
    """Small photographs, enough for a validation tenth of two halves, masks for them, and a table of faces."""
    random = np.random.default_rng(0)
    (root / "scans").mkdir()
    (root / "masks").mkdir()
    y, x = np.mgrid[0:70, 0:90] / 90
    for number in range(90):
        a, b, c = random.uniform(-1, 1, (3, 3))
        wave = 127 + 100 * np.sin(9 * (x[..., None] * a + y[..., None] * b) + c)
        cv2.imwrite(str(root / "scans" / f"photo_{number:02d}.png"), wave.astype(np.uint8))
        mask = np.zeros((70, 90), np.uint8)
        cv2.line(mask, (5, number % 60), (85, 60 - number % 60), 255, 2)
        cv2.imwrite(str(root / "masks" / f"photo_{number:02d}.png"), mask)
    # Every other photograph has a face.
    boxes = {f"photo_{n:02d}.png": np.array([(20, 10, 50, 50, 0.9)][: n % 2]).reshape(-1, 5) for n in range(90)}
    write_boxes(root / "faces.tsv", boxes)


def sources(root: Path) -> Sources:
    """The folders of these photographs and masks."""
    return Sources(root / "scans", masks=root / "masks", faces=root / "faces.tsv")
