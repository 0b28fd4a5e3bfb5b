"""Damage on photographs, in batches on their device: marks of every class, and the table of all that spoils a picture.

Photographs are (B, 3, H, W) float32 sRGB of 0..1, masks (B, 1, H, W) float32 of 0..1; call nothing here under autocast,
whose half precision would be seen. Shapes are drawn once by ``engine.train.damage.shapes`` and kept on the device; tone,
optics, noise and print are in ``engine.train.damage.ageing``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from engine.errors import SettingsError
from engine.train.damage import ageing, shapes
from engine.train.damage.ageing import constant, gaussian_blur, luma, planes, uniform

POOL = 32
"""Shapes of each kind that the random wrappers choose from (and mirror)."""

Look = Callable[[Tensor, Tensor, Tensor, Generator], Tensor]


def composite(photo: Tensor, mask: Tensor, colour: Tensor, softness: Tensor, strength: Tensor) -> Tensor:
    """Lay damage of one colour over each photograph.

    Args:
        photo: (B, 3, H, W).
        mask: (B, 1, H, W), 1 = all of it.
        colour: (B, 3) of the damage, or (B, 3, H, W).
        softness: (B,) standard deviation by which the mask is blurred, pixels up to 4.
        strength: (B,) opacity 0..1.
    """
    cover = gaussian_blur(mask, softness).clamp(0, 1) * planes(strength)
    colour = colour if colour.ndim == 4 else planes(colour)
    return photo + cover * (colour - photo)


def relief(photo: Tensor, mask: Tensor, softness: Tensor, angle: Tensor, strength: Tensor) -> Tensor:
    """Light from one side on a raised (or sunken) mask: one flank brighter, the other darker.

    Args:
        photo: (B, 3, H, W).
        mask: (B, 1, H, W), 1 = top of the ridge.
        softness: (B,) standard deviation of its flanks, pixels up to 4.
        angle: (B,) of the light, radians from the x axis.
        strength: (B,) added where the slope is 1 a pixel.
    """
    ridge = functional.pad(gaussian_blur(mask, softness), (1, 1, 1, 1), mode="replicate")
    across = (ridge[:, :, 1:-1, 2:] - ridge[:, :, 1:-1, :-2]) / 2
    down = (ridge[:, :, 2:, 1:-1] - ridge[:, :, :-2, 1:-1]) / 2
    return photo + planes(strength) * (planes(angle.cos()) * across + planes(angle.sin()) * down)


def veil(photo: Tensor, mask: Tensor, tint: Tensor, softness: Tensor, rim: Tensor, strength: Tensor) -> Tensor:
    """A translucent stain that multiplies the picture, more so at its rim, where it dried last.

    Args:
        photo: (B, 3, H, W).
        mask: (B, 1, H, W), 1 = all of it.
        tint: (B, 3) what it leaves of white.
        softness: (B,) standard deviation by which its edge is blurred, pixels up to 4.
        rim: (B,) how much more the edge takes, in parts of the whole.
        strength: (B,) 0 = none, 1 = all of the tint.
    """
    soft = gaussian_blur(mask, softness).clamp(0, 1)
    cover = (soft + planes(rim) * 4 * soft * (1 - soft)) * planes(strength)
    return photo * (1 - cover.clamp(0, 1.2) * (1 - planes(tint)))


# -- what the classes look like -----------------------------------------------------------------------------------


def speck(photo: Tensor, mask: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """Dust and hairs: nearly white or nearly black, softened by the scanner, some faint."""
    return _thin(photo, mask * (0.7 + 0.3 * clouds(photo, random, 24)), strength, random)


def scratch(photo: Tensor, mask: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """Scratches: as specks, but broken where the emulsion held."""
    held = planes(uniform(photo, random, 0.0, 0.8)) * clouds(photo, random, 4)
    return _thin(photo, mask * (1 - held), strength, random)


def _thin(photo: Tensor, cover: Tensor, strength: Tensor, random: Generator) -> Tensor:
    # On a print most damage shows; white on white would teach the detector to see nothing.
    below = (luma(photo) * cover).sum(dim=(1, 2, 3)) / cover.sum(dim=(1, 2, 3)).clamp_min(1)
    light = (uniform(photo, random, 0.0, 1.0) < 1.3 - below)[:, None]
    pale = constant((1.0, 0.98, 0.94), photo.device) * uniform(photo, random, 0.78, 1.0, 1)
    dark = constant((1.0, 0.9, 0.82), photo.device) * uniform(photo, random, 0.0, 0.25, 1)
    opacity = strength * (1 - 0.6 * uniform(photo, random, 0.0, 1.0) ** 3)
    return composite(photo, cover, torch.where(light, pale, dark), uniform(photo, random, 0.35, 0.9), opacity)


def crease(photo: Tensor, mask: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """A fold: one flank catches the light, the other lies in shadow, and on the ridge the emulsion flaked off."""
    flanks = uniform(photo, random, 0.8, 1.8)
    light = strength * uniform(photo, random, 1.2, 4.0)
    photo = relief(photo, mask, flanks, uniform(photo, random, 0.0, 2 * math.pi), light)
    paper = constant((0.96, 0.93, 0.86), photo.device) * uniform(photo, random, 0.85, 1.0, 1)
    worn = strength * uniform(photo, random, 0.1, 0.5)
    photo = composite(photo, mask, paper, uniform(photo, random, 0.6, 1.2), worn)
    bare = mask * (clouds(photo, random, 6) > planes(uniform(photo, random, 0.3, 0.75))).float()
    return composite(photo, bare, paper, uniform(photo, random, 0.4, 0.8), strength * uniform(photo, random, 0.6, 1.0))


def tear(photo: Tensor, mask: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """A rip: the paper's fibres, white, and a dark rim where the edge throws its shadow."""
    shadow = gaussian_blur(mask, uniform(photo, random, 0.8, 2.0)) * planes(strength * uniform(photo, random, 0.2, 0.8))
    paper = constant((0.98, 0.96, 0.92), photo.device) * uniform(photo, random, 0.9, 1.0, 1)
    fibres = planes(paper) * (0.92 + 0.08 * clouds(photo, random, 3))
    return composite(photo * (1 - 0.8 * shadow), mask, fibres, uniform(photo, random, 0.35, 0.8), strength)


def stain(photo: Tensor, mask: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """A dried liquid or mould: a cloudy brown or grey veil, often with a darker rim; every fifth bleaches instead."""
    brown, grey = constant((0.68, 0.48, 0.26), photo.device), constant((0.5, 0.5, 0.48), photo.device)
    tint = torch.lerp(brown, grey, uniform(photo, random, 0.0, 1.0, 1) ** 2)
    cloudy = mask * (0.5 + 0.5 * clouds(photo, random, 20))
    softness, strength = uniform(photo, random, 0.8, 3.5), strength * uniform(photo, random, 0.4, 1.0)
    darker = veil(photo, cloudy, tint, softness, uniform(photo, random, 0.0, 1.0), strength)
    paler = composite(
        photo, cloudy, constant((0.95, 0.93, 0.88), photo.device).expand(len(photo), 3), softness, strength
    )
    return torch.where(planes(uniform(photo, random, 0.0, 1.0)) < 0.2, paler, darker)


def loss(photo: Tensor, mask: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """Nothing left of the picture: flat paper, black or grey with a slight texture and a thin edge."""
    chosen = torch.randint(3, (len(photo),), generator=random, device=photo.device)
    bare = constant(((0.95, 0.91, 0.83), (0.06, 0.06, 0.06), (0.55, 0.53, 0.5)), photo.device)[chosen]
    bare = bare * uniform(photo, random, 0.8, 1.05, 1)
    texture = 0.06 * (clouds(photo, random, 40) - 0.5) + 0.012 * ageing.normal(photo, random, 1)
    edge = gaussian_blur(mask, uniform(photo, random, 0.8, 1.5)) * planes(strength * uniform(photo, random, 0.0, 0.5))
    return composite(photo * (1 - edge), mask, planes(bare) + texture, uniform(photo, random, 0.2, 0.7), strength)


LOOKS: dict[str, Look] = {
    "stain": stain,
    "loss": loss,
    "crease": crease,
    "tear": tear,
    "scratch": scratch,
    "hair": speck,
    "dust": speck,
}
"""Class -> how it is laid over a photograph (photo, mask, strength (B,), random); in this order, dust uppermost."""


@torch.no_grad()
def mark(photo: Tensor, masks: Tensor, classes: Tensor, random: Generator) -> Tensor:
    """Damage photographs by masks as their classes look: colour, opacity, softness vary; grain comes on top.

    Args:
        photo: (B, 3, H, W).
        masks: (B, K, H, W), 1 = damaged, as from ``shapes.class_pool``.
        classes: (B, K) whole numbers, places in ``shapes.CLASSES``.
        random: generator on the device.

    Returns:
        (B, 3, H, W) in 0..1.
    """
    strength = torch.ones(len(photo), device=photo.device)
    for name, look in LOOKS.items():
        of_class = classes == shapes.CLASSES.index(name)
        mask = (masks * of_class[:, :, None, None]).amax(dim=1, keepdim=True)
        if photo.is_cuda:
            # Asking a GPU which pictures have it would wait for it longer than the work takes.
            photo = look(photo, mask, strength, random).clamp(0, 1)
            continue
        rows = mask.flatten(1).any(dim=1)
        if rows.any():
            photo = photo.index_put((rows,), look(photo[rows], mask[rows], strength[rows], random).clamp(0, 1))
    return ageing.random_film_grain(photo, 0.2 * uniform(photo, random, 0.0, 1.0), random).clamp(0, 1)


def clouds(photo: Tensor, random: Generator, cell: int) -> Tensor:
    """Smooth random values (B, 1, H, W) of 0..1 that change over about ``cell`` pixels."""
    coarse = [max(2, side // cell + 1) for side in photo.shape[2:]]
    values = torch.rand((len(photo), 1, *coarse), generator=random, device=photo.device)
    return functional.interpolate(values, size=photo.shape[2:], mode="bicubic", align_corners=True).clamp(0, 1)


# -- shapes on the device -----------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def _pool(kinds: tuple[str, ...], height: int, width: int, device: torch.device) -> Tensor:
    """Masks (POOL, 1, height, width) of kinds by turns, the emptier first, float32 0 and 1."""
    random = np.random.default_rng(POOL)
    drawn = []
    for number in range(POOL):
        kind = kinds[number % len(kinds)]
        coverage = 0.6 * shapes.COVERAGE[kind][1] * (number + 1) / POOL
        drawn.append(shapes.draw_mask(kind, (height, width), coverage, random))
    drawn.sort(key=np.count_nonzero)
    return torch.from_numpy(np.stack(drawn)[:, None]).to(device).float().div_(255)


def _shapes(photo: Tensor, level: Tensor, random: Generator, kinds: tuple[str, ...]) -> Tensor:
    """A mask (B, 1, H, W) for each picture, the fuller the higher its level, mirrored at random."""
    pool = _pool(kinds, photo.shape[2], photo.shape[3], photo.device)
    place = level.clamp(0, 1) * uniform(photo, random, 0.7, 1.0) * (POOL - 1)
    mask = pool[place.round().long()]
    flips = planes(torch.randint(4, (len(photo),), generator=random, device=photo.device))
    mask = torch.where((flips & 1).bool(), mask.flip(3), mask)
    return torch.where((flips & 2).bool(), mask.flip(2), mask)


def _drawn(look: Look, *kinds: str) -> Callable[[Tensor, Tensor, Generator], Tensor]:
    """A random wrapper: more of the kinds, and more opaque, as the level rises."""

    def random_marks(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
        return look(photo, _shapes(photo, level, random, kinds), (5 * level).clamp(0, 1), random)

    return random_marks


def occlude(photo: Tensor, mask: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """Flat boxes of any colour, as denoising autoencoders are taught with."""
    none = torch.zeros_like(strength)
    return composite(photo, mask, uniform(photo, random, 0.0, 1.0, 3), none, strength)


# -- the table ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Degradation:
    """A row of ``DEGRADATIONS``.

    Attributes:
        name: of the row.
        random: (photo, level (B,), generator) -> photo of the same shape, perhaps beyond 0..1.
        order: rows are applied by rising order: print, marks on it, optics, noise, press and file.
    """

    name: str
    random: Callable[[Tensor, Tensor, Generator], Tensor]
    order: int

    @torch.no_grad()
    def apply(self, photo: Tensor, level: Tensor, random: Generator) -> Tensor:
        """Degrade a whole batch.

        Args:
            photo: (B, 3, H, W).
            level: (B,) severity, 0..1.
            random: generator on the device; the same state gives the same result.

        Returns:
            (B, 3, H, W) in 0..1.
        """
        return self.random(photo, level, random).clamp(0, 1)


MARKS = 1
"""The order of marks on a print."""

_ROWS = (
    Degradation("monochrome", ageing.random_monochrome, 0),
    Degradation("vignette", ageing.random_vignette, 0),
    Degradation("fading", ageing.random_fading, 0),
    Degradation("dye_fading", ageing.random_dye_fading, 0),
    Degradation("contrast_loss", ageing.random_contrast_loss, 0),
    Degradation("colour_cast", ageing.random_colour_cast, 0),
    Degradation("yellowing", ageing.random_yellowing, 0),
    Degradation("mount", ageing.random_mount, 0),
    Degradation("stains", _drawn(stain, "stain"), MARKS),
    Degradation("losses", _drawn(loss, "border", "corner", "box"), MARKS),
    Degradation("creases", _drawn(crease, "crease"), MARKS),
    Degradation("tears", _drawn(tear, "tear"), MARKS),
    Degradation("scratches", _drawn(scratch, "scratch"), MARKS),
    Degradation("hair", _drawn(speck, "hair"), MARKS),
    Degradation("dust", _drawn(speck, "dust"), MARKS),
    Degradation("occlusion", _drawn(occlude, "box"), MARKS),
    Degradation("motion_blur", ageing.random_motion_blur, 2),
    Degradation("defocus_blur", ageing.random_defocus_blur, 2),
    Degradation("gaussian_blur", ageing.random_gaussian_blur, 2),
    Degradation("down_up", ageing.random_down_up, 2),
    Degradation("film_grain", ageing.random_film_grain, 3),
    Degradation("poisson_noise", ageing.random_poisson_noise, 3),
    Degradation("gaussian_noise", ageing.random_gaussian_noise, 3),
    Degradation("halftone", ageing.random_halftone, 4),
    Degradation("jpeg", ageing.random_jpeg, 5),
)

DEGRADATIONS: dict[str, Degradation] = {row.name: row for row in sorted(_ROWS, key=lambda row: row.order)}
"""All that may happen to a photograph, in the order in which it does."""


def check_degradations(chances: Mapping[str, float]) -> None:
    """Check a recipe's table of chances.

    Raises:
        SettingsError: a name that is not in ``DEGRADATIONS``, or a chance outside 0..1.
    """
    for name, chance in chances.items():
        if name not in DEGRADATIONS:
            known = ", ".join(DEGRADATIONS)
            raise SettingsError(f"There is no degradation {name}; there are {known}.", "train.degradation")
        if not 0 <= chance <= 1:
            raise SettingsError(f"The chance of {name} must be 0 to 1, not {chance}.", "train.degradation")


def before_and_after_marks(chances: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Part a table of chances in what happens to a print before it is damaged, and what the optics and the scan add.

    Half of the black-and-white pictures are so because the scan is: on the others stains keep their colour.
    """
    before = {name: chance for name, chance in chances.items() if DEGRADATIONS[name].order < MARKS}
    after = {name: chance for name, chance in chances.items() if DEGRADATIONS[name].order >= MARKS}
    if "monochrome" in before:
        before["monochrome"] = after["monochrome"] = before["monochrome"] / 2
    return before, after


@torch.no_grad()
def degrade(
    photo: Tensor, chances: Mapping[str, float], level: Tensor, random: Generator, alone: float = 0.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Degrade each photograph of a batch by a random choice of rows, in physical order.

    Args:
        photo: (B, 3, H, W).
        chances: name -> chance 0..1 that a picture gets that row.
        level: (B,) severity, 0..1, of every row.
        random: generator on the device; the same state gives the same result.
        alone: share of the pictures that keep only one of the rows chosen for them, any as likely as the others.

    Returns:
        (B, 3, H, W) in 0..1, never the same memory as ``photo``; and for each row of ``chances`` (B,), which pictures
        got it.

    Raises:
        SettingsError: as ``check_degradations``.
    """
    check_degradations(chances)
    photo = photo.clamp(0, 1)
    names = [name for name in DEGRADATIONS if chances.get(name, 0) > 0]
    chosen = _chosen(photo, [chances[name] for name in names], alone, random)
    for name, got in zip(names, chosen, strict=True):
        row = DEGRADATIONS[name]
        if photo.is_cuda:
            # Asking a GPU which pictures were chosen would wait for it: all are done, the chosen are kept.
            photo = torch.where(planes(got), row.apply(photo, level, random), photo)
        elif got.any():
            photo[got] = row.apply(photo[got], level[got], random)
    return photo, dict(zip(names, chosen, strict=True))


def _chosen(photo: Tensor, chances: list[float], alone: float, random: Generator) -> list[Tensor]:
    """Which pictures get each row, (B,) of truth values a row."""
    if not chances:
        return []
    draws = uniform(photo, random, 0.0, 1.0, len(chances))
    rows = draws < constant(tuple(chances), photo.device)
    # Of those that hit, the one that lies lowest within its chance.
    lowest = (draws / constant(tuple(chances), photo.device)).argmin(dim=1, keepdim=True)
    only = rows & (torch.arange(len(chances), device=photo.device) == lowest)
    single = (uniform(photo, random, 0.0, 1.0) < alone)[:, None]
    return list(torch.where(single, only, rows).unbind(dim=1))
