"""Batches: random crops of photographs with masks and damage, drawn on the training device."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.errors import SettingsError
from engine.train.damage import ageing, colours, degrade, pools
from engine.train.damage.shapes import CLASSES
from engine.train.data.archives import detection_loss_reader, mask_reader
from engine.train.data.crops import Photographs, flip_and_turn
from engine.train.data.photographs import LossReader, is_in_old_half, photograph_paths
from engine.train.data.textures import read_frames, read_textures
from engine.train.recipe import TrainingRecipe

NOISE_GIVEN_SHARE = 0.75
"""Share of the pictures with white noise whose noise level the network is given, so that it works with and without."""

OPAQUE = 0.2
"""A mark counts as damage only where its mask is above this, of 0..1."""

VISIBLE_CHANGE = 0.05
"""A mark counts as damage only where it changes some channel by more than this, of 0..1."""

MOST_MARKS = 6
"""Largest number of marks in a damaged crop; most have few."""

SOUND_SHARE = 0.2
"""Share of the crops that get no mark."""


@dataclass(frozen=True)
class Sources:
    """The folders that a training reads.

    Attributes:
        photographs: photographs, in subfolders too.
        masks: for a system that learns from damaged scans: the mask of each scan, ``NAME.png``, white = lost.
        old: for a system that learns from unpaired old and fresh prints: the old prints; None = half of the
            photographs are aged and serve as old prints.
        textures: scanned damage to composite; None = all damage is drawn.
        faces: for a system that finds faces: the table of their boxes in the photographs (``boxes.read_boxes``).
    """

    photographs: Path
    masks: Path | None = None
    old: Path | None = None
    textures: Path | None = None
    faces: Path | None = None


@dataclass(frozen=True)
class Batch:
    """The data of one training step: float32 on the device, pictures sRGB in 0..1.

    Attributes:
        photo: (B, 3, S, S) the sound photographs.
        mask: (B, 1, S, S), 1 = to be filled.
        damaged: (B, 3, S, S) the photographs with damage, or, for unpaired systems, other pictures that are old.
        level: (B,) severity of the ageing, 0..1.
        noise: (B,) standard deviation of the white noise in ``damaged``, 0..1; 0 = none, or kept from the network.
        truth: (B, 2, S, S), 1 where a mark can be seen and else 0, and the number in ``shapes.CLASSES`` of the class of
            the last mark, -1 = unknown; without planes unless needed. Of faces the planes of ``faces.truth_planes``.
        labelled: (B,) of truth values, whether the photograph has no damage but that of ``truth``.
        lost: (B, 1, S, S), 1 where the photograph itself has lost its content.
    """

    photo: Tensor
    mask: Tensor
    damaged: Tensor
    level: Tensor
    noise: Tensor
    truth: Tensor
    labelled: Tensor
    lost: Tensor

    def part(self, rows: slice) -> Batch:
        """A batch of some of the pictures."""
        return Batch(**{name: value[rows] for name, value in vars(self).items()})


@dataclass(frozen=True)
class MarkPool:
    """Marks that are composited on pictures.

    Attributes:
        masks: (N, 1, S, S) uint8 on the device, the opacity of each mark, 255 = opaque.
        looks: (N,) number of the look of each (``degrade.LOOK_NUMBER``).
        kinds: (N,) number in ``shapes.CLASSES`` of the class of each, -1 = of several classes.
    """

    masks: Tensor
    looks: Tensor
    kinds: Tensor

    @classmethod
    def draw(
        cls, recipe: TrainingRecipe, sources: Sources, device: torch.device, seed: int, *, validation: bool
    ) -> MarkPool:
        """Draw the pool of a recipe.

        Raises:
            SettingsError: a kind of mask is unknown, or the folder of textures holds none.
        """
        textures = frames = None
        if sources.textures:
            textures = read_textures(sources.textures, validation=validation)
            frames = read_frames(sources.textures, validation=validation)
        count, size = _pool_size(recipe, validation=validation), recipe.data.crop
        masks, looks, kinds = pools.mark_pool(recipe.damage.kinds, count, size, seed, textures, frames)
        look_numbers = torch.tensor([degrade.LOOK_NUMBER[look] for look in looks], device=device)
        class_numbers = torch.tensor([CLASSES.index(kind) if kind else -1 for kind in kinds], device=device)
        return cls(torch.from_numpy(masks).to(device)[:, None], look_numbers, class_numbers)

    def add_to(self, picture: Tensor, choices: torch.Generator, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Composite marks on pictures.

        Args:
            picture: (B, 3, S, S).
            choices: generator on the CPU.
            random: generator on the device.

        Returns:
            Pictures with 0 to ``MOST_MARKS`` marks, and their truth (B, 2, S, S), see ``Batch``.
        """
        count, device = len(picture), picture.device
        marks = 1 + (MOST_MARKS * torch.rand(count, generator=choices) ** 2).long()
        marks = marks * (torch.rand(count, generator=choices) >= SOUND_SHARE)
        truth, damaged = torch.zeros_like(picture[:, :2]), picture.clone()
        for number in range(int(marks.max())):
            rows = torch.nonzero(marks > number)[:, 0].to(device)
            chosen = torch.randint(len(self.masks), (len(rows),), generator=choices).to(device)
            mask = flip_and_turn(self.masks[chosen].float().div_(255), choices)
            before = damaged[rows]
            after = degrade.composite_marks(before, mask, self.looks[chosen][:, None], random)
            visible = (after - before).abs().amax(dim=1, keepdim=True) > VISIBLE_CHANGE
            seen = ((mask > OPAQUE) & visible).float()
            kinds = ageing.as_planes(self.kinds[chosen].float()).expand_as(seen)
            truth[rows] = torch.where(seen > 0, torch.cat([seen, kinds], dim=1), truth[rows])
            damaged[rows] = after
        return damaged, truth


class Batches:
    """Draws batches from photographs and masks that are kept on the device.

    Args:
        recipe: how crops are drawn and damaged.
        sources: the folders to read.
        device: where photographs and masks are kept.
        validation: use the validation tenth (True) or all other photographs (False).
        needs: what the system needs beyond photographs and masks, see ``engine.train.run.system.System.NEEDS``.

    Raises:
        SettingsError: there are too few photographs, or a degradation or kind of mask is unknown.
    """

    def __init__(
        self,
        recipe: TrainingRecipe,
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
            if sources.old:
                old = photograph_paths(sources.old, validation=validation)
            else:
                old = [path for path in paths if is_in_old_half(path.name)]
                paths = [path for path in paths if not is_in_old_half(path.name)]
            if not (old and paths):
                raise SettingsError(
                    "{photographs} holds too few photographs to split them into old and fresh ones.",
                    "train.data",
                    photographs=sources.photographs,
                )
        read_lost = _loss_reader(sources) if "lost" in needs else None
        self.photographs = Photographs.load(paths, recipe.data, device, read_lost)
        names, prefixes = self.photographs.names, recipe.data.unlabelled
        self._labelled = torch.tensor([not name.startswith(prefixes) for name in names])
        if recipe.negatives.share and not self._labelled.any():
            raise SettingsError(
                "All photographs may have damage of their own (data.unlabelled); hard negatives need others.",
                "train.data",
            )
        self._old = Photographs.load(old, recipe.data, device) if old else None
        # Real old prints need no more ageing.
        self._ages = bool(recipe.damage.ageing) and not (old and sources.old)
        seed = recipe.schedule.seed + (1_000_003 if validation else 0)
        if "damage" in needs:
            self._marks = MarkPool.draw(recipe, sources, device, seed, validation=validation)
            self._masks = self._marks.masks
        else:
            textures = read_textures(sources.textures, validation=validation) if sources.textures else None
            masks = pools.mask_pool(
                recipe.damage.kinds, _pool_size(recipe, validation=validation), recipe.data.crop, seed, textures
            )
            self._masks = torch.from_numpy(masks).to(device)[:, None]
        self._choices = torch.Generator().manual_seed(seed)
        self._random = torch.Generator(device).manual_seed(seed)

    def draw(self, count: int) -> Batch:
        """Draw a batch of ``count`` pictures, channels last in memory."""
        random, damage = self._random, self._recipe.damage
        drawn, chosen = self.photographs.draw_crops(count, self._recipe.data, self._choices)
        photo, lost = self._varied(drawn[:, :3]), drawn[:, 3:]
        level = ageing.uniform(photo, random, damage.weakest, damage.strongest)
        truth = photo[:, :0]
        mask = self._draw_masks(count)
        damaged = photo
        if self._old is not None:
            damaged = self._old.draw_crops(count, self._recipe.data, self._choices)[0][:, :3]
        ageing_after = damage.ageing
        if "damage" in self._needs:
            ageing_before, ageing_after = degrade.before_and_after_marks(damage.ageing)
            damaged, _ = degrade.degrade(damaged, ageing_before, level, random)
            damaged, truth = self._marks.add_to(damaged, self._choices, random)
        noise = torch.zeros_like(level)
        if self._ages:
            damaged, rows = degrade.degrade(damaged, ageing_after, level, random, damage.alone)
            if "gaussian_noise" in rows:
                told = rows["gaussian_noise"] & (
                    torch.rand(count, generator=random, device=photo.device) < NOISE_GIVEN_SHARE
                )
                noise = told * ageing.NOISIEST * level
        layout = torch.channels_last
        return Batch(
            photo=photo.contiguous(memory_format=layout),
            mask=mask,
            damaged=damaged.contiguous(memory_format=layout),
            level=level,
            noise=noise,
            truth=truth,
            labelled=self._labelled[chosen].to(photo.device),
            lost=lost,
        )

    def _varied(self, photo: Tensor) -> Tensor:
        """Photographs with the looks that the recipe asks for: they are what is to be restored."""
        damage = self._recipe.damage
        if damage.look:
            photo = colours.random_look(photo, damage.look, self._random)
        if damage.toned:
            single = ageing.uniform(photo, self._random, 0.0, 1.0) < damage.toned
            photo = torch.where(ageing.as_planes(single), colours.random_toned(photo, self._random), photo)
        return photo

    def seed(self, seed: int) -> None:
        """Seed the random draws anew, so that a resumed run does not repeat what was drawn before."""
        self._choices.manual_seed(seed)
        self._random.manual_seed(seed)

    def _draw_masks(self, count: int) -> Tensor:
        chosen = torch.randint(len(self._masks), (count,), generator=self._choices).to(self._masks.device)
        return flip_and_turn(self._masks[chosen], self._choices).float().div_(255)

    def draw_sound(self, count: int, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Draw crops without damage, aged like damaged ones, from labelled photographs only.

        Args:
            count: number of crops.
            weights: how often each photograph is drawn, (photographs,), relative to the others; None = all alike.

        Returns:
            (count, 3, S, S); and the number of the photograph of each crop, (count,) int64 on the CPU.
        """
        settings, random = self._recipe.damage, self._random
        weights = self.photographs.weights if weights is None else self.photographs.weights * weights
        photographs = dataclasses.replace(self.photographs, weights=weights * self._labelled)
        drawn, chosen = photographs.draw_crops(count, self._recipe.data, self._choices)
        photo = drawn[:, :3]
        level = ageing.uniform(photo, random, settings.weakest, settings.strongest)
        for ageing_ in degrade.before_and_after_marks(settings.ageing):
            photo, _ = degrade.degrade(photo, ageing_, level, random, settings.alone)
        return photo.contiguous(memory_format=torch.channels_last), chosen


def _pool_size(recipe: TrainingRecipe, *, validation: bool) -> int:
    """Number of masks; few for the crops of the validation."""
    return min(recipe.damage.pool, recipe.schedule.validation_crops) if validation else recipe.damage.pool


def _loss_reader(sources: Sources) -> LossReader:
    """The masks of the folder of masks, or, without one, those that the detection model makes."""
    return detection_loss_reader() if sources.masks is None else mask_reader(sources.masks, sources.photographs)
