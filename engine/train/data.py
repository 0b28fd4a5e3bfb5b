"""Photographs on the device: decoded once, cropped, flipped, turned and reduced there in batches."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import SettingsError
from engine.train.settings import Data

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}


def is_validation(name: str) -> bool:
    """Whether a photograph is of the tenth that is never trained on: by hash of its name, for every recipe alike."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 10 == 0


def photograph_paths(folder: Path, *, validation: bool) -> list[Path]:
    """The photographs below a folder that are (or are not) of the validation tenth, sorted by name.

    Raises:
        SettingsError: the folder is missing or holds no photograph.
    """
    if not folder.is_dir():
        raise SettingsError(f"The folder of photographs {folder} does not exist.", "train.data")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    chosen = [p for p in paths if is_validation(p.name) == validation]
    if not chosen:
        part = "validation" if validation else "training"
        raise SettingsError(f"{folder} holds no photographs for {part} ({len(paths)} pictures in all).", "train.data")
    return chosen


def read_photograph(path: Path) -> np.ndarray:
    """Decode one photograph to RGB uint8 (H, W, 3), sRGB as it stands; crops are turned anyway, so EXIF is ignored."""
    from PIL import Image

    with Image.open(path) as picture:
        if picture.mode.startswith("I"):
            # Pillow would clip 16-bit grey to white.
            grey = np.clip(np.asarray(picture, np.float32) / 257 + 0.5, 0, 255).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=2)
        return np.asarray(picture.convert("RGB"))


@dataclass(frozen=True)
class Photographs:
    """All training photographs in one flat uint8 tensor, with where each begins.

    Attributes:
        pixels: (N, 3) uint8 on the device, row by row, picture after picture.
        starts, heights, widths: (pictures,) int64 on the device.
        chances: (pictures,) float32, how often each is drawn.
        skipped: files that could not be used.
    """

    pixels: Tensor
    starts: Tensor
    heights: Tensor
    widths: Tensor
    chances: Tensor
    skipped: int

    @classmethod
    def load(cls, paths: list[Path], settings: Data, device: torch.device) -> Photographs:
        """Decode photographs; unreadable ones and ones smaller than a crop are skipped and counted.

        Raises:
            SettingsError: none can be used.
        """
        from concurrent.futures import ThreadPoolExecutor

        def decode(path: Path) -> np.ndarray | None:
            try:
                picture = read_photograph(path)
            except (OSError, ValueError, SyntaxError):
                return None
            return picture if min(picture.shape[:2]) >= settings.crop else None

        with ThreadPoolExecutor() as pool:
            decoded = list(pool.map(decode, paths))
        kept = [(path.name, picture) for path, picture in zip(paths, decoded, strict=True) if picture is not None]
        if not kept:
            raise SettingsError(
                f"None of the {len(paths)} photographs is at least {settings.crop} px on its short side and readable.",
                "train.data",
            )
        sizes = np.array([picture.shape[:2] for _, picture in kept], dtype=np.int64)
        areas = sizes.prod(axis=1)
        return cls(
            pixels=torch.from_numpy(np.concatenate([p.reshape(-1, 3) for _, p in kept])).to(device),
            starts=torch.from_numpy(np.concatenate([[0], areas.cumsum()[:-1]])).to(device),
            heights=torch.from_numpy(sizes[:, 0].copy()).to(device),
            widths=torch.from_numpy(sizes[:, 1].copy()).to(device),
            chances=torch.from_numpy(_chances([name for name, _ in kept], settings.share_cap)).to(device),
            skipped=len(paths) - len(kept),
        )

    def crops(self, count: int, settings: Data, random: torch.Generator) -> Tensor:
        """Draw crops, flipped, turned and reduced at random.

        Args:
            count: crops wanted.
            settings: crop size and largest reduction.
            random: generator on the device of the photographs.

        Returns:
            (count, 3, crop, crop) float32 in 0..1.
        """
        device = self.pixels.device

        def uniform(n: int) -> Tensor:
            return torch.rand(n, generator=random, device=device)

        chosen = torch.multinomial(self.chances, count, replacement=True, generator=random)
        heights, widths = self.heights[chosen], self.widths[chosen]
        # One window size a batch keeps the gather rectangular; it varies from batch to batch.
        wanted = settings.crop * float(1 + (settings.zoom_out - 1) * uniform(1) ** 2)
        window = min(int(wanted), int(torch.minimum(heights, widths).min()))
        top = (uniform(count) * (heights - window + 1)).long()
        left = (uniform(count) * (widths - window + 1)).long()
        rows = torch.arange(window, device=device)
        index = (self.starts[chosen] + top * widths + left)[:, None, None] + rows[None, :, None] * widths[:, None, None]
        picture = self.pixels[index + rows[None, None, :]].permute(0, 3, 1, 2).float().div_(255)
        if window != settings.crop:
            size = (settings.crop, settings.crop)
            picture = functional.interpolate(picture, size=size, mode="bilinear", antialias=True)
        return flip_and_turn(picture, random)


def flip_and_turn(batch: Tensor, random: torch.Generator) -> Tensor:
    """One of the eight symmetries of the square for each picture of a (B, C, S, S) batch."""
    choice = torch.randint(8, (len(batch),), generator=random, device=batch.device)
    batch = torch.where((choice & 1).bool()[:, None, None, None], batch.flip(3), batch)
    batch = torch.where((choice & 2).bool()[:, None, None, None], batch.flip(2), batch)
    return torch.where((choice & 4).bool()[:, None, None, None], batch.transpose(2, 3), batch)


def _chances(names: list[str], caps: dict[str, float]) -> np.ndarray:
    """Every photograph alike, but photographs of a capped prefix share at most its cap (look-alike series)."""
    prefix_of = [next((prefix for prefix in caps if name.startswith(prefix)), "") for name in names]
    counts = Counter(prefix_of)
    chances = np.ones(len(names), dtype=np.float32)
    for prefix, cap in caps.items():
        others = len(names) - counts[prefix]
        if counts[prefix] and others:
            # n * w / (n * w + others) = cap
            weight = min(1.0, cap * others / ((1 - cap) * counts[prefix]))
            chances[[p == prefix for p in prefix_of]] = weight
    return chances
