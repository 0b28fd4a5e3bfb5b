"""Photographs and masks on the device: decoded once; cropped, flipped, turned, reduced and damaged there in batches."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.errors import ReadError, SettingsError
from engine.imageio import atomic_write_bytes
from engine.train.damage import ageing, degrade, shapes
from engine.train.recipe import Data, Recipe, is_validation

TOLD = 0.75
"""Share of the pictures with white noise whose amount the network is told, so that it works with and without."""

VISIBLE = 0.03
"""A mark that changes no channel by more counts as no damage."""

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}


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
    held_out = {p for p in paths if is_validation(p.name)}
    if not held_out or len(held_out) == len(paths):
        # A folder so small that the hash does not part it.
        held_out = {min(paths, key=lambda p: hashlib.sha256(p.name.encode()).digest())}
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


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write RGB (H, W, 3) or grey (H, W) uint8 in the format of the file's suffix, JPEG at quality 97; atomically.

    Raises:
        WriteError: the file cannot be written.
    """
    turned = picture[..., ::-1] if picture.ndim == 3 else picture
    quality = [cv2.IMWRITE_JPEG_QUALITY, 97] if path.suffix.lower() in (".jpg", ".jpeg") else []
    _, coded = cv2.imencode(path.suffix, turned, quality)
    atomic_write_bytes(path, coded.tobytes())


def to_tensor(picture: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 to (1, 3, H, W) float32 in 0..1."""
    return torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]


def to_picture(photo: Tensor) -> NDArray[np.uint8]:
    """(3, H, W) of any device, clipped to 0..1, to (H, W, 3) uint8."""
    return np.ascontiguousarray((photo.float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy())


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
        noise: (B,) standard deviation of the white noise in the aged picture, 0..1; 0 = none, or not told.
        truth: (B, classes, S, S) of 0 and 1, where damage of each class is; no planes unless it was asked for.
        lost: (B, 1, S, S), 1 = lost in the photograph itself.
    """

    photo: Tensor
    mask: Tensor
    damaged: Tensor
    level: Tensor
    noise: Tensor
    truth: Tensor
    lost: Tensor

    def part(self, rows: slice) -> Batch:
        """Some of the pictures."""
        return Batch(**{name: value[rows] for name, value in vars(self).items()})


LostIn = Callable[[Path, np.ndarray], np.ndarray]
"""From a scan's path and its RGB pixels to its mask (H, W) uint8, above 0 = lost."""


@dataclass(frozen=True)
class Store:
    """Pictures in one flat uint8 tensor, with where each begins.

    Attributes:
        pixels: (N, 3) uint8 on the device, row by row, picture after picture.
        lost: (N,) uint8 beside the pixels, above 0 = lost; None where nothing is.
        starts, heights, widths: (pictures,) int64; these stay with the CPU, where a draw waits for nothing.
    """

    pixels: Tensor
    lost: Tensor | None
    starts: Tensor
    heights: Tensor
    widths: Tensor

    @classmethod
    def of(cls, pictures: list[np.ndarray], lost: list[np.ndarray] | None, device: torch.device) -> Store:
        """Put pictures (H, W, 3) uint8, and masks of what each has lost, on a device."""
        sizes = np.array([picture.shape[:2] for picture in pictures], dtype=np.int64)
        ends = sizes.prod(axis=1).cumsum()
        return cls(
            torch.from_numpy(np.concatenate([picture.reshape(-1, 3) for picture in pictures])).to(device),
            None if lost is None else torch.from_numpy(np.concatenate([m.reshape(-1) for m in lost])).to(device),
            torch.from_numpy(np.concatenate([[0], ends[:-1]])),
            torch.from_numpy(sizes[:, 0].copy()),
            torch.from_numpy(sizes[:, 1].copy()),
        )

    def windows(self, chosen: Tensor, side: int, random: torch.Generator) -> Tensor:
        """A square somewhere in each of some pictures.

        Args:
            chosen: (B,) places of pictures that are at least so large.
            side: of the squares, pixels.
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
        whole: as they are.
        halved: at half the size, for crops that are reduced by two or more; None where there are none such.
        chances: (pictures,) float32, how often each is drawn.
        skipped: files that could not be used.
    """

    whole: Store
    halved: Store | None
    chances: Tensor
    skipped: int

    def __len__(self) -> int:
        return len(self.chances)

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
        pictures = [picture for _, picture in kept]
        lost = None if lost_in is None else [lost_in(*one) for one in kept]
        halved = None
        if settings.zoom_out > 2:
            halved = Store.of([_half(p) for p in pictures], None if lost is None else [_any(m) for m in lost], device)
        return cls(
            Store.of(pictures, lost, device),
            halved,
            torch.from_numpy(_chances([path.name for path, _ in kept], settings.share_cap)),
            len(paths) - len(kept),
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
        chosen = torch.multinomial(self.chances, count, replacement=True, generator=random)
        # One window size a batch keeps the gather rectangular; it varies from batch to batch.
        wanted = settings.crop * float(1 + (settings.zoom_out - 1) * torch.rand((), generator=random) ** 2)
        smallest = torch.minimum(self.whole.heights[chosen], self.whole.widths[chosen])
        window, store = min(int(wanted), int(smallest.min())), self.whole
        if self.halved is not None and window >= 2 * settings.crop:
            window, store = window // 2, self.halved
        drawn = store.windows(chosen, window, random)
        if window != settings.crop:
            size = (settings.crop, settings.crop)
            picture = functional.interpolate(drawn[:, :3], size=size, mode="bilinear", antialias=True)
            lost = drawn[:, 3:, : size[0], : size[1]]
            if store.lost is not None:
                # A pixel that any lost one went into is lost: the reduction reaches that far on each side.
                reach = math.ceil(window / settings.crop)
                spread = functional.max_pool2d(drawn[:, 3:], 2 * reach + 1, stride=1, padding=reach)
                lost = functional.adaptive_max_pool2d(spread, size)
            drawn = torch.cat([picture, lost], dim=1)
        return flip_and_turn(drawn, random)


def _half(picture: np.ndarray) -> np.ndarray:
    """Means of squares of four pixels; an odd last row or column is left out."""
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    even = np.ascontiguousarray(picture[: 2 * height, : 2 * width])
    return np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA))


def _any(mask: np.ndarray) -> np.ndarray:
    """The largest of each square of four pixels."""
    height, width = mask.shape[0] // 2, mask.shape[1] // 2
    return np.asarray(mask[: 2 * height, : 2 * width].reshape(height, 2, width, 2).max(axis=(1, 3)))


class Batches:
    """Photographs and masks on the device, and the batches drawn from them.

    Args:
        recipe: how they are drawn and damaged.
        sources: where they are.
        device: where they are kept.
        validation: of the tenth that is never trained on.
        needs: see ``systems.System.NEEDS``.
    """

    def __init__(
        self,
        recipe: Recipe,
        sources: Sources,
        device: torch.device,
        *,
        validation: bool,
        needs: frozenset[str] = frozenset(),
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
        seed = recipe.schedule.seed + (1_000_003 if validation else 0)
        count = min(recipe.damage.pool, recipe.schedule.validation_crops) if validation else recipe.damage.pool
        kinds, size = recipe.damage.kinds, recipe.data.crop
        if "classes" in needs:
            masks, classes = shapes.class_pool(kinds, count, size, seed, sources.textures, validation=validation)
            self._classes = torch.from_numpy(classes).to(device)
        else:
            masks = shapes.mask_pool(kinds, count, size, seed, sources.textures, validation=validation)
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
        ageing_after = damage.ageing
        if "classes" in self._needs:
            printed, ageing_after = degrade.before_and_after_marks(damage.ageing)
            damaged, _ = degrade.degrade(damaged, printed, level, random)
            damaged, truth = self._marked(damaged)
        noise = torch.zeros_like(level)
        if self._ages:
            damaged, rows = degrade.degrade(damaged, ageing_after, level, random, damage.alone)
            if "gaussian_noise" in rows:
                told = rows["gaussian_noise"] & (torch.rand(count, generator=random, device=photo.device) < TOLD)
                noise = told * ageing.NOISIEST * level
        layout = torch.channels_last
        return Batch(
            photo=photo.contiguous(memory_format=layout),
            mask=mask,
            damaged=damaged.contiguous(memory_format=layout),
            level=level,
            noise=noise,
            truth=truth,
            lost=lost,
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
        damaged = degrade.mark(picture, masks, classes, self._random)
        # White on white is no damage that anybody could find.
        seen = (damaged - picture).abs().amax(dim=1, keepdim=True) > VISIBLE
        return damaged, ((truth > 0.5) & seen).float()


def _odd(path: Path) -> bool:
    """One half of all photographs, by hash of the name."""
    return hashlib.sha256(path.name.encode()).digest()[8] % 2 == 1


def _lost_in(sources: Sources) -> LostIn:
    """The masks of a folder, or what the detector finds."""
    from engine.train.data.archives import detector, mask_reader

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
