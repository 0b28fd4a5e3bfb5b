"""Photographs and masks on the device: decoded once; cropped, flipped, turned, reduced and damaged there in batches."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import ReadError, SettingsError
from engine.train import degrade, shapes
from engine.train.settings import Data, Recipe

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}


def is_validation(name: str) -> bool:
    """Whether a photograph is of the tenth that is never trained on: by hash of its name, for every recipe alike."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 10 == 0


def photograph_paths(folder: Path, *, validation: bool) -> list[Path]:
    """The photographs below a folder that are (or are not) of the validation tenth, sorted by name.

    Raises:
        SettingsError: the folder is missing or holds too few photographs.
    """
    if not folder.is_dir():
        raise SettingsError(f"The folder of photographs {folder} does not exist.", "train.data")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if len(paths) < 2:
        raise SettingsError(
            f"{folder} holds {len(paths)} pictures; one to train on and one to validate are the least.", "train.data"
        )
    held_out = [p for p in paths if is_validation(p.name)]
    if not held_out or len(held_out) == len(paths):
        # A folder so small that the hash does not part it.
        held_out = [min(paths, key=lambda p: hashlib.sha256(p.name.encode()).digest())]
    return [p for p in paths if (p in held_out) == validation]


def read_photograph(path: Path) -> np.ndarray:
    """Decode one photograph to RGB uint8 (H, W, 3), sRGB as it stands; crops are turned anyway, so EXIF is ignored.

    Raises:
        ReadError: it cannot be read as a picture of whole numbers.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.mode.startswith("I"):
                # Pillow would clip 16-bit grey to white.
                grey = np.clip(np.asarray(picture, np.float32) / 257 + 0.5, 0, 255).astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=2)
            if picture.mode != "F":
                return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ReadError(f"The picture {path} cannot be read: {error}.", "train.picture") from error
    raise ReadError(f"The picture {path} is of floating-point numbers; save it in 8 or 16 bit.", "train.picture")


@dataclass(frozen=True)
class Sources:
    """Where the pictures of a training are.

    Attributes:
        photographs: a folder, subfolders too.
        masks: for a system that learns from damaged scans: folder with the mask of each, ``NAME.png``, white = lost.
        old: for a system between old and fresh prints: folder of old ones; None: half of the photographs are aged.
        textures: folder of scanned damage to composite; None: all damage is drawn.
    """

    photographs: Path
    masks: Path | None = None
    old: Path | None = None
    textures: Path | None = None


@dataclass(frozen=True)
class Batch:
    """What one step sees; float32 on the device, pictures in 0..1, sRGB.

    Attributes:
        photo: (B, 3, S, S).
        mask: (B, 1, S, S), 1 = to be filled.
        damaged: (B, 3, S, S) the photograph aged, or, for a system between two sides, another picture that is old.
        level: (B,) how much it was aged, 0..1.
        truth: (B, classes, S, S) of 0 and 1, where damage of each class is; no planes unless it was asked for.
        lost: (B, 1, S, S), 1 = lost in the photograph itself.
    """

    photo: Tensor
    mask: Tensor
    damaged: Tensor
    level: Tensor
    truth: Tensor
    lost: Tensor

    def part(self, rows: slice) -> Batch:
        """Some of the pictures."""
        return Batch(**{name: value[rows] for name, value in vars(self).items()})

    def to(self, device: torch.device | str) -> Batch:
        """On another device."""
        return Batch(**{name: value.to(device) for name, value in vars(self).items()})


LostIn = Callable[[Path, np.ndarray], np.ndarray]
"""From a scan's path and its RGB pixels to its mask (H, W) uint8, above 0 = lost."""


@dataclass(frozen=True)
class Photographs:
    """All training photographs in one flat uint8 tensor, with where each begins.

    Attributes:
        pixels: (N, 3) uint8 on the device, row by row, picture after picture.
        starts, heights, widths: (pictures,) int64; these and the chances stay with the CPU, where a draw waits for
            nothing.
        chances: (pictures,) float32, how often each is drawn.
        skipped: files that could not be used.
        lost: (N,) uint8 beside the pixels, above 0 = lost; None where nothing is.
    """

    pixels: Tensor
    starts: Tensor
    heights: Tensor
    widths: Tensor
    chances: Tensor
    skipped: int
    lost: Tensor | None = None

    @classmethod
    def load(
        cls, paths: list[Path], settings: Data, device: torch.device, lost_in: LostIn | None = None
    ) -> Photographs:
        """Decode photographs; unreadable ones and ones smaller than a crop are skipped and counted.

        Raises:
            SettingsError: none can be used.
        """
        from concurrent.futures import ThreadPoolExecutor

        def decode(path: Path) -> np.ndarray | None:
            try:
                picture = read_photograph(path)
            except ReadError:
                return None
            return picture if min(picture.shape[:2]) >= settings.crop else None

        with ThreadPoolExecutor() as pool:
            decoded = list(pool.map(decode, paths))
        kept = [(path, picture) for path, picture in zip(paths, decoded, strict=True) if picture is not None]
        if not kept:
            raise SettingsError(
                f"None of the {len(paths)} photographs is at least {settings.crop} px on its short side and readable.",
                "train.data",
            )
        sizes = np.array([picture.shape[:2] for _, picture in kept], dtype=np.int64)
        areas = sizes.prod(axis=1)
        lost = None
        if lost_in is not None:
            lost = torch.from_numpy(np.concatenate([lost_in(*one).reshape(-1) for one in kept])).to(device)
        return cls(
            pixels=torch.from_numpy(np.concatenate([p.reshape(-1, 3) for _, p in kept])).to(device),
            starts=torch.from_numpy(np.concatenate([[0], areas.cumsum()[:-1]])),
            heights=torch.from_numpy(sizes[:, 0].copy()),
            widths=torch.from_numpy(sizes[:, 1].copy()),
            chances=torch.from_numpy(_chances([path.name for path, _ in kept], settings.share_cap)),
            skipped=len(paths) - len(kept),
            lost=lost,
        )

    def crops(self, count: int, settings: Data, random: torch.Generator) -> Tensor:
        """Draw crops, flipped, turned and reduced at random.

        Args:
            count: crops wanted.
            settings: crop size and largest reduction.
            random: generator on the CPU.

        Returns:
            (count, 4, crop, crop) float32 in 0..1: RGB, and 1 where the photograph itself is lost.
        """
        device = self.pixels.device

        def uniform(n: int) -> Tensor:
            return torch.rand(n, generator=random)

        chosen = torch.multinomial(self.chances, count, replacement=True, generator=random)
        heights, widths = self.heights[chosen], self.widths[chosen]
        # One window size a batch keeps the gather rectangular; it varies from batch to batch.
        wanted = settings.crop * float(1 + (settings.zoom_out - 1) * uniform(1) ** 2)
        window = min(int(wanted), int(torch.minimum(heights, widths).min()))
        top = (uniform(count) * (heights - window + 1)).long()
        left = (uniform(count) * (widths - window + 1)).long()
        rows = torch.arange(window, device=device)
        first, step = (self.starts[chosen] + top * widths + left).to(device), widths.to(device)
        index = first[:, None, None] + rows[None, :, None] * step[:, None, None]
        index = index + rows[None, None, :]
        picture = self.pixels[index].permute(0, 3, 1, 2).float().div_(255)
        lost = torch.zeros_like(picture[:, :1]) if self.lost is None else (self.lost[index] > 0).float()[:, None]
        if window != settings.crop:
            size = (settings.crop, settings.crop)
            picture = functional.interpolate(picture, size=size, mode="bilinear", antialias=True)
            # A pixel that any lost one went into is lost: the reduction reaches that far on each side.
            reach = math.ceil(window / settings.crop)
            lost = functional.max_pool2d(lost, 2 * reach + 1, stride=1, padding=reach)
            lost = functional.adaptive_max_pool2d(lost, size)
        return flip_and_turn(torch.cat([picture, lost], dim=1), random)


class Batches:
    """Photographs and masks on the device, and the batches drawn from them.

    Args:
        recipe: how they are drawn and damaged.
        sources: where they are.
        device: where they are kept.
        validation: of the tenth that is never trained on.
        needs: see ``systems.System.NEEDS``.
        seed: of all draws.
    """

    def __init__(
        self,
        recipe: Recipe,
        sources: Sources,
        device: torch.device,
        *,
        validation: bool,
        needs: frozenset[str] = frozenset(),
        seed: int | None = None,
    ) -> None:
        degrade.check_degradations(recipe.damage.ageing)
        self._recipe, self._needs = recipe, needs
        paths = photograph_paths(sources.photographs, validation=validation)
        old: list[Path] = []
        if "old" in needs:
            old = photograph_paths(sources.old, validation=validation) if sources.old else [p for p in paths if _odd(p)]
            paths = paths if sources.old else [p for p in paths if not _odd(p)]
            if not (old and paths):
                raise SettingsError(
                    f"{sources.photographs} holds too few photographs to part them into old and fresh ones.",
                    "train.data",
                )
        lost_in = _lost_in(sources) if "lost" in needs else None
        self.photographs = Photographs.load(paths, recipe.data, device, lost_in)
        self._old = Photographs.load(old, recipe.data, device) if old else None
        # Real old prints are aged enough.
        self._ages = bool(recipe.damage.ageing) and not (old and sources.old)
        seed = recipe.schedule.seed if seed is None else seed
        seed += 1_000_003 if validation else 0
        count = min(recipe.damage.pool, recipe.schedule.validation_crops) if validation else recipe.damage.pool
        kinds, size = recipe.damage.kinds, recipe.data.crop
        if "classes" in needs:
            masks, classes = shapes.class_pool(kinds, count, size, seed, sources.textures)
            self._classes = torch.from_numpy(classes).to(device)
        else:
            masks = shapes.mask_pool(kinds, count, size, seed, sources.textures)
        self._masks = torch.from_numpy(masks).to(device)[:, None]
        self._choices = torch.Generator().manual_seed(seed)
        self._random = torch.Generator(device).manual_seed(seed)

    def draw(self, count: int) -> Batch:
        """A batch of so many pictures, channels last."""
        random, damage = self._random, self._recipe.damage
        drawn = self.photographs.crops(count, self._recipe.data, self._choices)
        photo, lost = drawn[:, :3], drawn[:, 3:]
        level = damage.strongest * torch.rand(count, generator=random, device=photo.device)
        truth = photo[:, :0]
        mask = self._mask(count)
        damaged = photo if self._old is None else self._old.crops(count, self._recipe.data, self._choices)[:, :3]
        if "classes" in self._needs:
            damaged, truth = self._marked(damaged)
        if self._ages:
            # Marks are on the print; optics, grain and the file come after.
            damaged = degrade.degrade(damaged, damage.ageing, level, random)
        layout = torch.channels_last
        return Batch(
            photo.contiguous(memory_format=layout), mask, damaged.contiguous(memory_format=layout), level, truth, lost
        )

    def seed(self, seed: int) -> None:
        """Start the draws of a resumed run from another place."""
        self._choices.manual_seed(seed)
        self._random.manual_seed(seed)

    def _mask(self, count: int) -> Tensor:
        chosen = torch.randint(len(self._masks), (count,), generator=self._choices).to(self._masks.device)
        return flip_and_turn(self._masks[chosen], self._choices).float().div_(255)

    def _marked(self, picture: Tensor, most: int = 3) -> tuple[Tensor, Tensor]:
        """Pictures with up to so many kinds of damage, every fourth with none, and where each class is."""
        count, device = len(picture), picture.device
        chosen = torch.randint(len(self._masks), (count, most), generator=self._choices).to(device)
        masks = self._masks[chosen.flatten()].float().div_(255)
        masks = flip_and_turn(masks, self._choices).reshape(count, most, *picture.shape[2:])
        kinds = torch.randint(0, most + 1, (count, 1), generator=self._choices).to(device)
        masks = masks * (torch.arange(most, device=device) < kinds)[:, :, None, None]
        classes = self._classes[chosen]
        truth = torch.zeros(count, len(shapes.CLASSES), *picture.shape[2:], device=device)
        truth.scatter_reduce_(1, classes[:, :, None, None].expand_as(masks), masks, "amax")
        return degrade.mark(picture, masks, classes, self._random), (truth > 0.5).float()


def _odd(path: Path) -> bool:
    """One half of all photographs, by hash of the name."""
    return hashlib.sha256(path.name.encode()).digest()[8] % 2 == 1


def _lost_in(sources: Sources) -> LostIn:
    """The masks of a folder, or what the detector finds."""
    from engine.train.archive import detector, mask_reader

    return detector() if sources.masks is None else mask_reader(sources.masks, sources.photographs)


def flip_and_turn(batch: Tensor, random: torch.Generator) -> Tensor:
    """One of the eight symmetries of the square for each picture of a (B, C, S, S) batch; random is on the CPU."""
    choice = torch.randint(8, (len(batch),), generator=random).to(batch.device)
    batch = torch.where((choice & 1).bool()[:, None, None, None], batch.flip(3), batch)
    batch = torch.where((choice & 2).bool()[:, None, None, None], batch.flip(2), batch)
    return torch.where((choice & 4).bool()[:, None, None, None], batch.transpose(2, 3), batch)


def _chances(names: list[str], caps: dict[str, float]) -> np.ndarray:
    """Every photograph alike, but photographs of a capped prefix share at most its cap (look-alike series)."""
    prefix_of = np.array([next((prefix for prefix in caps if name.startswith(prefix)), "") for name in names])
    counts = Counter(prefix_of.tolist())
    chances = np.ones(len(names), dtype=np.float32)
    over = {prefix for prefix, cap in caps.items() if counts[prefix] > cap * len(names)}
    free = len(names) - sum(counts[prefix] for prefix in over)
    if not free:
        return chances
    for prefix in over:
        # n w = cap T, where the whole T is what is free and all that is capped.
        whole = free / (1 - sum(caps[other] for other in over))
        chances[prefix_of == prefix] = caps[prefix] * whole / counts[prefix]
    return chances
