"""Photographs on disk: which of them are held out for validation, reading, writing, and conversion to tensors."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import ReadError, SettingsError
from engine.imageio import atomic_write_bytes

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}

OLD_PACKS = ("hist_", "imm_", "tt5_")
"""Beginnings of the file names of old photographs in the data that the models are trained on; many carry damage."""

LossReader = Callable[[Path, np.ndarray], np.ndarray]
"""From a scan's path and its RGB pixels to a mask (H, W) uint8 of what the scan has lost, above 0 = lost."""


def is_validation(name: str) -> bool:
    """Whether a photograph or texture belongs to the validation tenth, decided by a hash of its file name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 10 == 0


def is_in_old_half(name: str) -> bool:
    """Whether a photograph belongs to the half that stands for old prints when there is no folder of old prints."""
    return hashlib.sha256(name.encode()).digest()[8] % 2 == 1


def photograph_paths(folder: Path, *, validation: bool) -> list[Path]:
    """The photographs in a folder and its subfolders, either the validation tenth or all others, sorted by path.

    Raises:
        SettingsError: the folder is missing or holds too few photographs.
    """
    if not folder.is_dir():
        raise SettingsError("The folder of photographs {folder} does not exist.", "train.data", folder=folder)
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if len(paths) < 2:
        raise SettingsError(
            "{folder} holds {count} pictures; one to train on and one to validate are the least.",
            "train.data",
            folder=folder,
            count=len(paths),
        )
    held_out = {p for p in paths if is_validation(p.name)}
    if not held_out or len(held_out) == len(paths):
        # The folder is so small that the hash puts all of it on one side: hold out one photograph.
        held_out = {min(paths, key=lambda p: hashlib.sha256(p.name.encode()).digest())}
    return [p for p in paths if (p in held_out) == validation]


def read_photograph(path: Path) -> np.ndarray:
    """Decode one photograph to RGB uint8 (H, W, 3), taken as sRGB.

    The EXIF orientation is ignored, because training crops are turned at random anyway.

    Raises:
        ReadError: the file cannot be decoded, or has floating-point samples.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.mode.startswith("I"):
                # Pillow's own conversion clips 16-bit grey to white.
                grey = np.clip(np.asarray(picture, np.float32) / 257 + 0.5, 0, 255).astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=2)
            if picture.mode != "F":
                return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ReadError(
            "The picture {path} cannot be read: {reason}.", "train.picture", path=path, reason=error
        ) from error
    raise ReadError(
        "The picture {path} is of floating-point numbers; save it in 8 or 16 bit.", "train.picture", path=path
    )


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write RGB (H, W, 3) or grey (H, W) uint8 atomically, in the format of the file's suffix; JPEG at quality 97.

    Raises:
        WriteError: the file cannot be written.
    """
    blue_first = picture[..., ::-1] if picture.ndim == 3 else picture
    quality = [cv2.IMWRITE_JPEG_QUALITY, 97] if path.suffix.lower() in (".jpg", ".jpeg") else []
    _, coded = cv2.imencode(path.suffix, blue_first, quality)
    atomic_write_bytes(path, coded.tobytes())


def palette_png(picture: np.ndarray) -> bytes:
    """A picture (H, W, 3) as a PNG of 256 colours, which takes a third of the room: for people to look at only."""
    from PIL import Image

    sheet = Image.fromarray(picture)
    palette = sheet.quantize(256, Image.Quantize.MEDIANCUT)
    buffer = io.BytesIO()
    sheet.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def to_tensor(picture: np.ndarray) -> Tensor:
    """Convert (H, W, 3) uint8 to (1, 3, H, W) float32 in 0..1."""
    return torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]


def to_picture(photo: Tensor) -> NDArray[np.uint8]:
    """Convert (3, H, W) on any device to (H, W, 3) uint8; values are clipped to 0..1."""
    return np.ascontiguousarray((photo.float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy())
