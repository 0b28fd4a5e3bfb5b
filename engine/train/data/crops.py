"""Photographs in memory on the training device, and square crops drawn from them at random."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import ReadError, SettingsError
from engine.train.data.photographs import LossReader, read_photograph
from engine.train.recipe import Data


@dataclass(frozen=True)
class Store:
    """Pictures of different sizes in one flat uint8 tensor, and the place where each begins.

    Attributes:
        pixels: (N, 3) uint8 on the device, row by row, picture after picture.
        lost: (N,) uint8, above 0 where the pixel of the same index is lost; None when no picture has losses.
        starts, heights, widths: (pictures,) int64, kept on the CPU so that drawing never waits for a GPU.
    """

    pixels: Tensor
    lost: Tensor | None
    starts: Tensor
    heights: Tensor
    widths: Tensor

    @classmethod
    def of(cls, pictures: list[np.ndarray], lost: list[np.ndarray] | None, device: torch.device) -> Store:
        """Copy pictures (H, W, 3) uint8, and a mask of what each has lost, to a device."""
        sizes = np.array([picture.shape[:2] for picture in pictures], dtype=np.int64)
        ends = sizes.prod(axis=1).cumsum()
        return cls(
            torch.from_numpy(np.concatenate([picture.reshape(-1, 3) for picture in pictures])).to(device),
            None if lost is None else torch.from_numpy(np.concatenate([m.reshape(-1) for m in lost])).to(device),
            torch.from_numpy(np.concatenate([[0], ends[:-1]])),
            torch.from_numpy(sizes[:, 0].copy()),
            torch.from_numpy(sizes[:, 1].copy()),
        )

    def cut_squares(self, chosen: Tensor, side: int, random: torch.Generator) -> Tensor:
        """Cut one square at a random place out of each chosen picture.

        Args:
            chosen: (B,) indices of pictures whose sides are at least ``side``.
            side: side of the squares, pixels.
            random: generator on the CPU.

        Returns:
            (B, 4, side, side) float32: RGB in 0..1, and 1 where lost.
        """
        device, widths = self.pixels.device, self.widths[chosen]
        top = (torch.rand(len(chosen), generator=random) * (self.heights[chosen] - side + 1)).long()
        left = (torch.rand(len(chosen), generator=random) * (widths - side + 1)).long()
        rows = torch.arange(side, device=device)
        first, step = (self.starts[chosen] + top * widths + left).to(device), widths.to(device)
        index = (first[:, None] + rows * step[:, None])[:, :, None] + rows
        picture = self.pixels[index].permute(0, 3, 1, 2).float().div_(255)
        lost = torch.zeros_like(picture[:, :1]) if self.lost is None else (self.lost[index] > 0).float()[:, None]
        return torch.cat([picture, lost], dim=1)


@dataclass(frozen=True)
class Photographs:
    """All photographs of a training.

    Attributes:
        whole: the photographs in their own size.
        halved: the same at half the size, for crops that are reduced by two or more; None when no crop is.
        names: file name of each photograph.
        weights: (pictures,) float32, how often each photograph is drawn relative to the others.
        skipped: number of files that could not be used.
    """

    whole: Store
    halved: Store | None
    names: tuple[str, ...]
    weights: Tensor
    skipped: int

    def __len__(self) -> int:
        return len(self.weights)

    @classmethod
    def load(
        cls, paths: list[Path], settings: Data, device: torch.device, read_lost: LossReader | None = None
    ) -> Photographs:
        """Decode photographs in several threads.

        Files that cannot be read, and photographs smaller than a crop, are skipped and counted.

        Args:
            paths: the files.
            settings: crop size, largest reduction and the caps on series of photographs.
            device: where the pixels are kept.
            read_lost: gives the mask of what a photograph has lost; None when nothing is.

        Raises:
            SettingsError: no photograph can be used.
        """
        from concurrent.futures import ThreadPoolExecutor

        def decode(path: Path) -> np.ndarray | None:
            try:
                picture = read_photograph(path)
            except ReadError:
                return None
            picture = _reduce_to(picture, settings.short_side) if settings.short_side else picture
            return picture if min(picture.shape[:2]) >= settings.crop else None

        with ThreadPoolExecutor() as pool:
            decoded = list(pool.map(decode, paths))
        kept = [(path, picture) for path, picture in zip(paths, decoded, strict=True) if picture is not None]
        if not kept:
            raise SettingsError(
                "None of the {count} photographs is at least {crop} px on its short side and readable.",
                "train.data",
                count=len(paths),
                crop=settings.crop,
            )
        pictures = [picture for _, picture in kept]
        lost = None if read_lost is None else [read_lost(*one) for one in kept]
        halved = None
        if settings.zoom_out > 2:
            halved_lost = None if lost is None else [_halve_mask(mask) for mask in lost]
            halved = Store.of([_halve_picture(picture) for picture in pictures], halved_lost, device)
        names = tuple(path.name for path, _ in kept)
        weights = torch.from_numpy(draw_weights(names, settings.share_cap))
        return cls(Store.of(pictures, lost, device), halved, names, weights, len(paths) - len(kept))

    def draw_crops(self, count: int, settings: Data, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw crops from random photographs, reduced, flipped and turned at random.

        Args:
            count: number of crops.
            settings: crop size and largest reduction.
            random: generator on the CPU.

        Returns:
            (count, 4, crop, crop) float32 in 0..1: RGB, and 1 where the photograph itself is lost; and the index of the
            photograph of each crop, (count,) int64 on the CPU.
        """
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=random)
        # All windows of a batch have one size, so that one gather cuts them; the size differs from batch to batch.
        wanted = settings.crop * _window_scale(settings, random)
        smallest = torch.minimum(self.whole.heights[chosen], self.whole.widths[chosen])
        window, store = min(int(wanted), int(smallest.min())), self.whole
        if self.halved is not None and window >= 2 * settings.crop:
            window, store = window // 2, self.halved
        drawn = store.cut_squares(chosen, window, random)
        if window != settings.crop:
            size = (settings.crop, settings.crop)
            if window < settings.crop:
                picture = functional.interpolate(drawn[:, :3], size=size, mode="bicubic").clamp_(0, 1)
            else:
                picture = functional.interpolate(drawn[:, :3], size=size, mode="bilinear", antialias=True)
            lost = torch.zeros_like(picture[:, :1])
            if store.lost is not None:
                # A reduced pixel is lost if any lost pixel went into it; the filter reaches that far on each side.
                reach = math.ceil(window / settings.crop)
                spread = functional.max_pool2d(drawn[:, 3:], 2 * reach + 1, stride=1, padding=reach)
                lost = functional.adaptive_max_pool2d(spread, size)
            drawn = torch.cat([picture, lost], dim=1)
        return flip_and_turn(drawn, random), chosen


def _window_scale(settings: Data, random: torch.Generator) -> float:
    """Side of a window over that of a crop: mostly a little above 1, at most ``zoom_out``, at least 1 / ``zoom_in``."""
    if settings.zoom_in > 1 and torch.rand((), generator=random) < 0.5:
        return float(settings.zoom_in ** -torch.rand((), generator=random))
    return float(1 + (settings.zoom_out - 1) * torch.rand((), generator=random) ** 2)


def _reduce_to(picture: np.ndarray, short_side: int) -> np.ndarray:
    """Reduce a picture by area averages to a short side; smaller ones are unchanged."""
    height, width = picture.shape[:2]
    times = min(height, width) / short_side
    if times <= 1:
        return picture
    size = (max(short_side, round(width / times)), max(short_side, round(height / times)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def _halve_picture(picture: np.ndarray) -> np.ndarray:
    """Halve a picture by the means of squares of four pixels; an odd last row or column is left out."""
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    even = np.ascontiguousarray(picture[: 2 * height, : 2 * width])
    return np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA))


def _halve_mask(mask: np.ndarray) -> np.ndarray:
    """Halve a mask by the largest value of each square of four pixels."""
    height, width = mask.shape[0] // 2, mask.shape[1] // 2
    return np.asarray(mask[: 2 * height, : 2 * width].reshape(height, 2, width, 2).max(axis=(1, 3)))


def flip_and_turn(batch: Tensor, random: torch.Generator) -> Tensor:
    """Apply one of the eight symmetries of the square to each picture of a (B, C, S, S) batch.

    Args:
        batch: pictures or masks.
        random: generator on the CPU.
    """
    choice = torch.randint(8, (len(batch),), generator=random).to(batch.device)
    batch = torch.where((choice & 1).bool()[:, None, None, None], batch.flip(3), batch)
    batch = torch.where((choice & 2).bool()[:, None, None, None], batch.flip(2), batch)
    return torch.where((choice & 4).bool()[:, None, None, None], batch.transpose(2, 3), batch)


def draw_weights(names: Sequence[str], caps: dict[str, float]) -> np.ndarray:
    """How often each photograph is drawn: all alike, except for series of similar photographs.

    Args:
        names: file names.
        caps: prefix of a series' file names -> the largest share of all draws that the series may have.

    Returns:
        (names,) float32, relative to each other.
    """
    prefix_of = np.array([next((prefix for prefix in caps if name.startswith(prefix)), "") for name in names])
    counts = Counter(prefix_of.tolist())
    weights = np.ones(len(names), dtype=np.float32)
    over = {prefix for prefix, cap in caps.items() if counts[prefix] > cap * len(names)}
    free = len(names) - sum(counts[prefix] for prefix in over)
    if not free:
        return weights
    for prefix in over:
        # With T the sum of all weights, the n photographs of a prefix have the weight w: n w = cap T.
        whole = free / (1 - sum(caps[other] for other in over))
        weights[prefix_of == prefix] = caps[prefix] * whole / counts[prefix]
    return weights
