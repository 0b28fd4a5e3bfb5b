"""Archives of damaged scans: masks of what each scan has lost, and archives made by damaging photographs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from engine.errors import ReadError, SettingsError
from engine.train.damage import degrade, shapes
from engine.train.damage.pools import Textures, texture_mask
from engine.train.data.photographs import (
    LossReader,
    photograph_paths,
    read_photograph,
    to_picture,
    to_tensor,
    write_picture,
)
from engine.train.data.textures import read_textures

KINDS = ("stain", "tear", "dust", "hair", "scratch", "crease")
"""Kinds of damage of a made archive; each is drawn otherwise than the masks that the heal model is trained with."""

LARGEST = 640
"""Longest side of the scans of a made archive, pixels."""


def mask_reader(folder: Path, scans: Path) -> LossReader:
    """A function that reads the mask of lost content of a scan from a folder of masks.

    The mask of the scan ``ROLL/NAME.jpg`` is ``ROLL/NAME.png``, white = lost. A scan without a mask has lost nothing.

    Args:
        folder: the masks.
        scans: the scans, in the same subfolders.

    Raises:
        SettingsError: no scan has a mask, or (when the function is called) a mask has another size than its scan.
    """
    masks = {path.relative_to(folder).with_suffix("") for path in folder.rglob("*.png")} if folder.is_dir() else set()
    named = {path.relative_to(scans).with_suffix("") for path in scans.rglob("*")} if scans.is_dir() else set()
    if not masks & named:
        raise SettingsError(
            "{folder} holds no mask (NAME.png) for any scan in {scans}.", "train.masks", folder=folder, scans=scans
        )

    def read_lost(path: Path, picture: np.ndarray) -> np.ndarray:
        name = path.relative_to(scans).with_suffix("")
        if name not in masks:
            return np.zeros(picture.shape[:2], np.uint8)
        file = folder / name.with_name(f"{name.name}.png")
        mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        if mask is None or mask.shape != picture.shape[:2]:
            raise SettingsError("The mask {file} cannot be read or has another size.", "train.masks", file=file)
        return np.asarray(mask)

    return read_lost


def detection_loss_reader() -> LossReader:
    """A function that finds the lost content of a scan with the installed detection model.

    The threshold is low and the masks are enlarged, because training treats everything outside of them as sound.

    Raises:
        ModelError: no detection model is installed.
    """
    from engine.raster import ArraySource
    from engine.runtime.cards import Registry
    from engine.tasks import DetectSettings, Findings, TaskInput, run_task

    card = Registry().default("detect")
    settings = DetectSettings(threshold=0.35, grow=2.0)

    def find_lost(path: Path, picture: np.ndarray) -> np.ndarray:
        del path
        findings = run_task(TaskInput("detect", ArraySource(picture), None, None, settings, card))
        assert isinstance(findings, Findings)
        return findings.marks(settings).mask()

    return find_lost


def age_archive(photographs: Path, output: Path, textures: Path | None, *, seed: int = 1) -> int:
    """Make an archive of damaged scans, to try the unsupervised training on: ``scans/NAME``, ``masks/NAME.png``.

    Each scan keeps the name of its photograph, so that it stays in the validation tenth or out of it.

    Args:
        photographs: folder of sound photographs, subfolders too.
        output: folder to write; scans are at most ``LARGEST`` px a side.
        textures: folder of scanned damage to composite; None = all damage is drawn.
        seed: the same seed makes the same archive.

    Returns:
        The number of scans written.

    Raises:
        SettingsError: there are no photographs.
        WriteError: the folder cannot be written.
    """
    paths = [path for part in (False, True) for path in photograph_paths(photographs, validation=part)]
    scanned = read_textures(textures, validation=False) if textures else {}
    (output / "scans").mkdir(parents=True, exist_ok=True)
    (output / "masks").mkdir(exist_ok=True)
    written = 0
    for number, path in enumerate(paths):
        try:
            picture = read_photograph(path)
        except ReadError:
            continue
        written += 1
        scale = min(1.0, LARGEST / max(picture.shape[:2]))
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        random = np.random.default_rng((seed, number))
        kinds = random.choice(KINDS, 3, replace=False)
        masks = [_damage_mask(str(kind), picture.shape[:2], scanned, random) for kind in kinds]
        looks = torch.tensor([[degrade.LOOK_NUMBER[shapes.LOOK_OF[kind]] for kind in kinds]])
        planes = torch.from_numpy(np.stack(masks))[None].float() / 255
        aged = degrade.add_marks(to_tensor(picture), planes, looks, torch.Generator().manual_seed(seed + number))
        # Marks have soft edges of some pixels, where the photograph is lost too.
        lost = cv2.dilate(np.max(masks, axis=0), np.ones((5, 5), np.uint8))
        write_picture(output / "scans" / path.name, to_picture(aged[0]))
        write_picture(output / "masks" / f"{path.stem}.png", lost)
    return written


def _damage_mask(kind: str, shape: tuple[int, int], scanned: Textures, random: np.random.Generator) -> np.ndarray:
    """A mask of one kind of damage, (H, W) uint8; seven in ten from scanned textures where there are some."""
    if kind in scanned and random.random() < 0.7:
        square = texture_mask(scanned[kind][random.integers(len(scanned[kind]))], max(shape), random)
        return square[: shape[0], : shape[1]]
    return shapes.draw_mask(kind, shape, shapes.COVERAGE[kind][1] * random.uniform(0.1, 0.5), random)
