"""Archives of damaged scans: where each is lost, by masks of its own or by the detector; and made archives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from engine.errors import ReadError, SettingsError

if TYPE_CHECKING:
    from engine.train.data.batches import LostIn


def mask_reader(folder: Path, scans: Path) -> LostIn:
    """The masks of a folder: for a scan ``ROLL/NAME.jpg`` the ``ROLL/NAME.png``, white = lost; without one it is whole.

    Args:
        folder: of masks.
        scans: the folder of the scans, laid out alike.

    Raises:
        SettingsError: no scan has a mask, or (from the function) a mask has another size than its scan.
    """
    masks = {path.relative_to(folder).with_suffix("") for path in folder.rglob("*.png")} if folder.is_dir() else set()
    named = {path.relative_to(scans).with_suffix("") for path in scans.rglob("*")} if scans.is_dir() else set()
    if not masks & named:
        raise SettingsError(f"{folder} holds no mask (NAME.png) for any scan in {scans}.", "train.masks")

    def lost_in(path: Path, picture: np.ndarray) -> np.ndarray:
        name = path.relative_to(scans).with_suffix("")
        if name not in masks:
            return np.zeros(picture.shape[:2], np.uint8)
        file = folder / name.with_name(f"{name.name}.png")
        mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        if mask is None or mask.shape != picture.shape[:2]:
            raise SettingsError(f"The mask {file} cannot be read or has another size.", "train.masks")
        return np.asarray(mask)

    return lost_in


def detector() -> LostIn:
    """Where the installed detection model finds damage, generously: what is learnt from must be sound.

    Raises:
        ModelError: no detection model is installed.
    """
    from engine.raster import ArraySource
    from engine.runtime.cards import Registry
    from engine.tasks import DetectSettings, Findings, Job, run_job

    card = Registry().default("detect")
    settings = DetectSettings(threshold=0.35, grow=2.0)

    def lost_in(path: Path, picture: np.ndarray) -> np.ndarray:
        del path
        findings = run_job(Job("detect", ArraySource(picture), None, None, settings, card))
        assert isinstance(findings, Findings)
        return findings.marks(settings).mask()

    return lost_in


KINDS = ("stain", "tear", "dust", "hair", "scratch", "crease")
"""Damage of a made archive, beside scanned textures: none of it drawn as the default model's masks are."""


def age_archive(photographs: Path, output: Path, textures: Path | None, *, seed: int = 1) -> int:
    """Make an archive of damaged scans to try the unsupervised training on: ``scans/NAME``, ``masks/NAME.png``.

    Args:
        photographs: folder of sound ones, subfolders too; training and validation alike keep their names.
        output: folder to write; scans are at most ``LARGEST`` px a side.
        textures: folder of scanned damage to composite; None: all is drawn.
        seed: the same seed makes the same archive.

    Returns:
        Scans written.

    Raises:
        SettingsError: there are no photographs.
        WriteError: the folder cannot be written.
    """
    import torch

    from engine.train.damage import degrade, shapes
    from engine.train.data.batches import photograph_paths, read_photograph, to_picture, to_tensor, write_picture

    paths = [path for part in (False, True) for path in photograph_paths(photographs, validation=part)]
    scanned = shapes.read_textures(textures, validation=False) if textures else {}
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
        masks = [_damage(str(kind), picture.shape[:2], scanned, random) for kind in kinds]
        classes = torch.tensor([[shapes.CLASSES.index(shapes.CLASS_OF[kind]) for kind in kinds]])
        planes = torch.from_numpy(np.stack(masks))[None].float() / 255
        aged = degrade.mark(to_tensor(picture), planes, classes, torch.Generator().manual_seed(seed + number))
        # Marks fade out over some pixels, and their glow is lost too.
        lost = cv2.dilate(np.max(masks, axis=0), np.ones((5, 5), np.uint8))
        # The same name and kind of file: by its name a photograph stays on its side of the validation tenth.
        write_picture(output / "scans" / path.name, to_picture(aged[0]))
        write_picture(output / "masks" / f"{path.stem}.png", lost)
    return written


LARGEST = 640


def _damage(
    kind: str, shape: tuple[int, int], scanned: dict[str, list[np.ndarray]], random: np.random.Generator
) -> np.ndarray:
    from engine.train.damage import shapes

    if kind in scanned and random.random() < 0.7:
        chosen = scanned[kind][random.integers(len(scanned[kind]))]
        square = shapes.texture_mask(chosen, max(shape), random)
        return square[: shape[0], : shape[1]]
    return shapes.draw_mask(kind, shape, shapes.COVERAGE[kind][1] * random.uniform(0.1, 0.5), random)
