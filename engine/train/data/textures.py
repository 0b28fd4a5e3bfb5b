"""Scanned damage on disk: textures of dust, hairs, scratches and stains."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from engine.errors import ReadError, SettingsError
from engine.train.damage.shapes import Mask
from engine.train.data.photographs import is_validation

TEXTURES = {
    "film_scratches": "scratch",
    "film_hair": "hair",
    "film_hair-short": "hair",
    "film_lint": "hair",
    "film_dirt": "dust",
    "film_smut": "stain",
    "film_dots": "stain",
    "film_spots": "dust",
    "film_sprinkles": "dust",
    "film_stain": "stain",
}
"""Name of a folder of damage textures -> damage class."""


HELD_OUT_FRAMES = 2
"""The last frames by name are never trained on."""


def read_frames(folder: Path, *, validation: bool) -> list[Mask]:
    """Read whole damaged film frames: label maps in a subfolder ``damage_frames``, above 0 = damaged.

    Args:
        folder: the folder that holds the subfolder.
        validation: read the last ``HELD_OUT_FRAMES`` (True) or all others (False).

    Returns:
        Frames (h, w) uint8 with the labels as they are; empty when there are none.

    Raises:
        ReadError: a frame cannot be decoded.
    """
    paths = sorted(folder.rglob("damage_frames/*.png"))
    return [_read_grey(path) for path in (paths[-HELD_OUT_FRAMES:] if validation else paths[:-HELD_OUT_FRAMES])]


def read_textures(folder: Path, *, validation: bool) -> dict[str, list[Mask]]:
    """Read a folder of damage textures: 8-bit grey PNG, 255 = damaged, in subfolders named as in ``TEXTURES``.

    Args:
        folder: the folder that holds the subfolders.
        validation: read the tenth that is never trained on (True) or all others (False).

    Returns:
        Damage class -> textures (h, w) uint8; classes without textures are absent.

    Raises:
        SettingsError: the folder holds no such subfolder with pictures.
        ReadError: a picture cannot be decoded.
    """
    found: dict[str, list[Mask]] = {}
    for name, damage in TEXTURES.items():
        paths = sorted(folder.rglob(f"{name}/*.png"))
        chosen = [path for path in paths if is_validation(path.name) == validation]
        # The folder is so small that the hash puts all of it on one side: both sides use all of it.
        for path in chosen or paths:
            found.setdefault(damage, []).append(_read_grey(path))
    if not found:
        raise SettingsError("{folder} holds no damage textures.", "train.textures", folder=folder)
    return found


def _read_grey(path: Path) -> Mask:
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise ReadError("The texture {path} is damaged.", "train.textures", path=path)
    return np.asarray(picture, np.uint8)
