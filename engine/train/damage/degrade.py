"""Damage composited on photographs in batches, and the table of all degradations.

Photographs are (B, 3, H, W) float32 sRGB in 0..1, masks (B, 1, H, W) float32 in 0..1. Nothing here may be called under
autocast, whose half precision would be visible in the pictures. ``engine.train.damage.shapes`` draws the masks;
``engine.train.damage.ageing`` has what changes a picture as a whole.
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
from engine.train.damage import ageing, colours, scene, shapes
from engine.train.damage.ageing import as_planes, constant, gaussian_blur, uniform
from engine.train.luma import luma

POOL = 32
"""Number of masks for each combination of kinds that the degradations choose from and mirror."""

Look = Callable[[Tensor, Tensor, Tensor, Generator], Tensor]


def composite(photo: Tensor, mask: Tensor, colour: Tensor, softness: Tensor, strength: Tensor) -> Tensor:
    """Composite damage of one colour over each photograph.

    Args:
        photo: (B, 3, H, W).
        mask: (B, 1, H, W), 1 = fully covered.
        colour: colour of the damage, (B, 3) or (B, 3, H, W).
        softness: (B,) standard deviation by which the mask is blurred, pixels up to 4.
        strength: (B,) opacity 0..1.
    """
    cover = gaussian_blur(mask, softness).clamp(0, 1) * as_planes(strength)
    colour = colour if colour.ndim == 4 else as_planes(colour)
    return photo + cover * (colour - photo)


def relief(photo: Tensor, mask: Tensor, softness: Tensor, angle: Tensor, strength: Tensor) -> Tensor:
    """Shade a raised (or sunken) mask that is lit from one side: one flank brighter, the other darker.

    Args:
        photo: (B, 3, H, W).
        mask: (B, 1, H, W), 1 = top of the ridge.
        softness: (B,) standard deviation of its flanks, pixels up to 4.
        angle: (B,) direction of the light, radians from the x axis.
        strength: (B,) value added where the slope is 1 a pixel.
    """
    ridge = functional.pad(gaussian_blur(mask, softness), (1, 1, 1, 1), mode="replicate")
    across = (ridge[:, :, 1:-1, 2:] - ridge[:, :, 1:-1, :-2]) / 2
    down = (ridge[:, :, 2:, 1:-1] - ridge[:, :, :-2, 1:-1]) / 2
    return photo + as_planes(strength) * (as_planes(angle.cos()) * across + as_planes(angle.sin()) * down)


def veil(photo: Tensor, mask: Tensor, tint: Tensor, softness: Tensor, rim: Tensor, strength: Tensor) -> Tensor:
    """Multiply the picture by a translucent stain that is stronger at its rim, where a liquid dries last.

    Args:
        photo: (B, 3, H, W).
        mask: (B, 1, H, W), 1 = fully covered.
        tint: (B, 3) colour of white under the stain.
        softness: (B,) standard deviation by which its edge is blurred, pixels up to 4.
        rim: (B,) how much stronger the rim is, 0 = not at all.
        strength: (B,) 0 = no stain, 1 = the full tint.
    """
    soft = gaussian_blur(mask, softness).clamp(0, 1)
    cover = (soft + as_planes(rim) * 4 * soft * (1 - soft)) * as_planes(strength)
    return photo * (1 - cover.clamp(0, 1.2) * (1 - as_planes(tint)))


# -- the appearance of each class -----------------------------------------------------------------------------------


def speck(photo: Tensor, mask: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """Dust and hairs: nearly white or nearly black, with soft edges, some faint."""
    return _thin_mark(photo, mask * (0.7 + 0.3 * clouds(photo, random, 24)), strength, random)


def scratch(photo: Tensor, mask: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """Scratches: as specks, but fainter or interrupted where the emulsion stayed."""
    kept = as_planes(uniform(photo, random, 0.0, 0.8)) * clouds(photo, random, 4)
    return _thin_mark(photo, mask * (1 - kept), strength, random)


def _thin_mark(photo: Tensor, cover: Tensor, strength: Tensor, random: Generator) -> Tensor:
    light = _lighter_than_ground(photo, cover, random)
    pale = constant((1.0, 0.98, 0.94), photo.device) * uniform(photo, random, 0.78, 1.0, 1)
    dark = constant((1.0, 0.9, 0.82), photo.device) * uniform(photo, random, 0.0, 0.25, 1)
    opacity = strength * (1 - 0.6 * uniform(photo, random, 0.0, 1.0) ** 3)
    return composite(photo, cover, torch.where(light, pale, dark), uniform(photo, random, 0.35, 0.9), opacity)


def film(photo: Tensor, mask: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """Scanned damage, whose mask has soft edges: nearly white or black, slightly tinted, of an opacity of 0.3 to 1."""
    light = _lighter_than_ground(photo, mask, random)
    tint = uniform(photo, random, 0.0, 1.0, 3) ** 2
    pale = 1 - uniform(photo, random, 0.0, 0.2, 1) - 0.12 * tint
    dark = uniform(photo, random, 0.0, 0.15, 1) + 0.12 * tint
    opacity = strength * (1 - 0.7 * uniform(photo, random, 0.0, 1.0) ** 2)
    return photo + mask * as_planes(opacity) * (as_planes(torch.where(light, pale, dark)) - photo)


def _lighter_than_ground(photo: Tensor, cover: Tensor, random: Generator) -> Tensor:
    """Whether a mark is light, (B, 1): more often it is light on dark ground and dark on light, so that it can be seen.

    On ground of a middle grey both are as likely: dust and scratches are light in prints from damaged negatives, dark
    in slides and on prints.
    """
    below = (luma(photo) * cover).sum(dim=(1, 2, 3)) / cover.sum(dim=(1, 2, 3)).clamp_min(1)
    return (uniform(photo, random, 0.0, 1.0) < 0.85 - 0.7 * below)[:, None]


def crease(photo: Tensor, mask: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """A fold: one flank is lit, the other in shadow, and on the ridge the emulsion has flaked off in places."""
    flanks = uniform(photo, random, 0.8, 1.8)
    light = strength * uniform(photo, random, 1.2, 4.0)
    photo = relief(photo, mask, flanks, uniform(photo, random, 0.0, 2 * math.pi), light)
    paper = constant((0.96, 0.93, 0.86), photo.device) * uniform(photo, random, 0.85, 1.0, 1)
    worn = strength * uniform(photo, random, 0.1, 0.5)
    photo = composite(photo, mask, paper, uniform(photo, random, 0.6, 1.2), worn)
    bare = mask * (clouds(photo, random, 6) > as_planes(uniform(photo, random, 0.3, 0.75))).float()
    return composite(photo, bare, paper, uniform(photo, random, 0.4, 0.8), strength * uniform(photo, random, 0.6, 1.0))


def tear(photo: Tensor, mask: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """A rip: white paper fibres, and a dark shadow along its edge."""
    shadow = gaussian_blur(mask, uniform(photo, random, 0.8, 2.0)) * as_planes(
        strength * uniform(photo, random, 0.2, 0.8)
    )
    paper = constant((0.98, 0.96, 0.92), photo.device) * uniform(photo, random, 0.9, 1.0, 1)
    fibres = as_planes(paper) * (0.92 + 0.08 * clouds(photo, random, 3))
    return composite(photo * (1 - 0.8 * shadow), mask, fibres, uniform(photo, random, 0.35, 0.8), strength)


def stain(photo: Tensor, mask: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """A dried liquid or mould: a cloudy brown or grey veil, often with a darker rim; every fifth is pale instead."""
    brown, grey = constant((0.68, 0.48, 0.26), photo.device), constant((0.5, 0.5, 0.48), photo.device)
    tint = torch.lerp(brown, grey, uniform(photo, random, 0.0, 1.0, 1) ** 2)
    cloudy = mask * (0.5 + 0.5 * clouds(photo, random, 20))
    softness, strength = uniform(photo, random, 0.8, 3.5), strength * uniform(photo, random, 0.4, 1.0)
    darker = veil(photo, cloudy, tint, softness, uniform(photo, random, 0.0, 1.0), strength)
    paler = composite(
        photo, cloudy, constant((0.95, 0.93, 0.88), photo.device).expand(len(photo), 3), softness, strength
    )
    return torch.where(as_planes(uniform(photo, random, 0.0, 1.0)) < 0.2, paler, darker)


def loss(photo: Tensor, mask: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """A loss: paper, black or grey with a slight texture, and a thin shadow along its edge."""
    chosen = torch.randint(3, (len(photo),), generator=random, device=photo.device)
    bare = constant(((0.95, 0.91, 0.83), (0.06, 0.06, 0.06), (0.55, 0.53, 0.5)), photo.device)[chosen]
    bare = bare * uniform(photo, random, 0.8, 1.05, 1)
    texture = 0.06 * (clouds(photo, random, 40) - 0.5) + 0.012 * ageing.normal(photo, random, 1)
    edge = gaussian_blur(mask, uniform(photo, random, 0.8, 1.5)) * as_planes(
        strength * uniform(photo, random, 0.0, 0.5)
    )
    return composite(photo * (1 - edge), mask, as_planes(bare) + texture, uniform(photo, random, 0.2, 0.7), strength)


LOOKS: dict[str, Look] = {
    "stain": stain,
    "loss": loss,
    "crease": crease,
    "tear": tear,
    "scratch": scratch,
    "hair": speck,
    "dust": speck,
    "film": film,
}
"""Look -> function (photo, mask, strength (B,), random) that composites it, in the order of compositing.

Each class of damage has a look, and scanned damage with soft edges has the look ``film``.
"""

LOOK_NUMBER = {name: number for number, name in enumerate(LOOKS)}
"""Look -> its number in ``composite_marks``."""


@torch.no_grad()
def add_marks(photo: Tensor, masks: Tensor, looks: Tensor, random: Generator) -> Tensor:
    """Composite damage as ``composite_marks``, and add grain on top.

    Returns:
        (B, 3, H, W) in 0..1.
    """
    photo = composite_marks(photo, masks, looks, random)
    return ageing.random_film_grain(photo, 0.2 * uniform(photo, random, 0.0, 1.0), random).clamp(0, 1)


@torch.no_grad()
def composite_marks(photo: Tensor, masks: Tensor, looks: Tensor, random: Generator) -> Tensor:
    """Composite damage with random colour, opacity and softness; masks of one look share them in a picture.

    Args:
        photo: (B, 3, H, W).
        masks: (B, K, H, W), 1 = damaged.
        looks: (B, K) number of each mask's look (``LOOK_NUMBER``).
        random: generator on the device.

    Returns:
        (B, 3, H, W) in 0..1, never the memory of ``photo``.
    """
    photo, strength = photo.clone(), torch.ones(len(photo), device=photo.device)
    for name, look in LOOKS.items():
        has_look = looks == LOOK_NUMBER[name]
        if photo.is_cuda:
            # To ask a GPU which pictures have this look would take longer than to process all of them.
            mask = (masks * has_look[:, :, None, None]).amax(dim=1, keepdim=True)
            photo = look(photo, mask, strength, random).clamp(0, 1)
            continue
        rows = has_look.any(dim=1)
        if rows.any():
            mask = (masks[rows] * has_look[rows][:, :, None, None]).amax(dim=1, keepdim=True)
            photo[rows] = look(photo[rows], mask, strength[rows], random).clamp(0, 1)
    return photo


def clouds(photo: Tensor, random: Generator, cell: int) -> Tensor:
    """Smooth random values (B, 1, H, W) in 0..1 that vary over about ``cell`` pixels."""
    coarse = [max(2, side // cell + 1) for side in photo.shape[2:]]
    values = torch.rand((len(photo), 1, *coarse), generator=random, device=photo.device)
    return functional.interpolate(values, size=photo.shape[2:], mode="bicubic", align_corners=True).clamp(0, 1)


# -- masks on the device -----------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def _mask_pool(kinds: tuple[str, ...], height: int, width: int, device: torch.device) -> Tensor:
    """Masks (POOL, 1, height, width) of some kinds by turns, float32 of 0 and 1, sorted by the area they cover."""
    random = np.random.default_rng(POOL)
    drawn = []
    for number in range(POOL):
        kind = kinds[number % len(kinds)]
        coverage = 0.6 * shapes.COVERAGE[kind][1] * (number + 1) / POOL
        drawn.append(shapes.draw_mask(kind, (height, width), coverage, random))
    drawn.sort(key=np.count_nonzero)
    return torch.from_numpy(np.stack(drawn)[:, None]).to(device).float().div_(255)


def _choose_masks(photo: Tensor, level: Tensor, random: Generator, kinds: tuple[str, ...]) -> Tensor:
    """A mask (B, 1, H, W) for each picture, mirrored at random; it covers more at a higher level."""
    pool = _mask_pool(kinds, photo.shape[2], photo.shape[3], photo.device)
    place = level.clamp(0, 1) * uniform(photo, random, 0.7, 1.0) * (POOL - 1)
    mask = pool[place.round().long()]
    flips = as_planes(torch.randint(4, (len(photo),), generator=random, device=photo.device))
    mask = torch.where((flips & 1).bool(), mask.flip(3), mask)
    return torch.where((flips & 2).bool(), mask.flip(2), mask)


def _marks_of(look: Look, *kinds: str) -> Callable[[Tensor, Tensor, Generator], Tensor]:
    """A degradation that composites marks of some kinds: more of them, and more opaque, at a higher level."""

    def random_marks(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
        return look(photo, _choose_masks(photo, level, random, kinds), (5 * level).clamp(0, 1), random)

    return random_marks


def occlude(photo: Tensor, mask: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """Composite flat boxes of random colours, as they are usual in training denoising autoencoders."""
    none = torch.zeros_like(strength)
    return composite(photo, mask, uniform(photo, random, 0.0, 1.0, 3), none, strength)


# -- the table ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Degradation:
    """A row of ``DEGRADATIONS``.

    Attributes:
        name: name of the row.
        random: (photo, level (B,), generator) -> photo of the same shape; values may lie outside 0..1.
        order: rows are applied by rising order: print, marks on the print, optics, noise, printing and file.
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
"""The ``order`` of marks on a print."""

_ROWS = (
    Degradation("grating", scene.random_grating, 0),
    Degradation("lettering", scene.random_lettering, 0),
    Degradation("monochrome", ageing.random_monochrome, 0),
    Degradation("overexposure", ageing.random_overexposure, 0),
    Degradation("vignette", ageing.random_vignette, 0),
    Degradation("fading", ageing.random_fading, 0),
    Degradation("dye_fading", ageing.random_dye_fading, 0),
    Degradation("desaturation", colours.random_desaturation, 0),
    Degradation("levels", colours.random_levels, 0),
    Degradation("contrast_loss", ageing.random_contrast_loss, 0),
    Degradation("colour_cast", ageing.random_colour_cast, 0),
    Degradation("yellowing", ageing.random_yellowing, 0),
    Degradation("light", colours.random_light, 0),
    Degradation("staining", colours.random_staining, 0),
    Degradation("uneven_fading", colours.random_uneven_fading, 0),
    Degradation("mount", ageing.random_mount, 0),
    Degradation("stains", _marks_of(stain, "stain"), MARKS),
    Degradation("losses", _marks_of(loss, "border", "corner", "box"), MARKS),
    Degradation("creases", _marks_of(crease, "crease"), MARKS),
    Degradation("tears", _marks_of(tear, "tear"), MARKS),
    Degradation("scratches", _marks_of(scratch, "scratch"), MARKS),
    Degradation("hair", _marks_of(speck, "hair"), MARKS),
    Degradation("dust", _marks_of(speck, "dust"), MARKS),
    Degradation("occlusion", _marks_of(occlude, "box"), MARKS),
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
"""All degradations by name, in the order in which they are applied."""


def check_degradations(chances: Mapping[str, float]) -> None:
    """Check a recipe's table of chances.

    Raises:
        SettingsError: a name is not a row of ``DEGRADATIONS``, or a chance lies outside 0..1.
    """
    for name, chance in chances.items():
        if name not in DEGRADATIONS:
            known = ", ".join(DEGRADATIONS)
            raise SettingsError(
                "There is no degradation {name}; there are {known}.", "train.degradation", name=name, known=known
            )
        if not 0 <= chance <= 1:
            raise SettingsError(
                "The chance of {name} must be 0 to 1, not {chance}.", "train.degradation", name=name, chance=chance
            )


_ONLY_BEFORE = ("grating", "lettering", "mount")
"""Degradations that a print has before it is damaged."""


def before_and_after_marks(chances: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Split a table of chances into degradations before a print is damaged, and those after.

    Each is in both with half of its chance: grain, blur or fading may be older than the damage, or come from the scan.
    The lines and letters of a scene and the scanner's bed, on which dust lies too, are only in the first.
    """
    before = {name: chance if name in _ONLY_BEFORE else chance / 2 for name, chance in chances.items()}
    after = {name: chance for name, chance in before.items() if name not in _ONLY_BEFORE}
    return before, after


@torch.no_grad()
def degrade(
    photo: Tensor, chances: Mapping[str, float], level: Tensor, random: Generator, alone: float = 0.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Degrade each photograph of a batch by randomly chosen rows of ``DEGRADATIONS``, in their order.

    Args:
        photo: (B, 3, H, W).
        chances: name of a row -> chance 0..1 that a picture gets it.
        level: (B,) severity of all rows, 0..1.
        random: generator on the device; the same state gives the same result.
        alone: share of the pictures that keep only one of the rows chosen for them.

    Returns:
        The degraded photographs (B, 3, H, W) in 0..1, never the memory of ``photo``; and for each row of ``chances``
        (B,) truth values, which pictures got it.

    Raises:
        SettingsError: as ``check_degradations``.
    """
    check_degradations(chances)
    photo = photo.clamp(0, 1)
    names = [name for name in DEGRADATIONS if chances.get(name, 0) > 0]
    chosen = _choose_rows(photo, [chances[name] for name in names], alone, random)
    for name, got in zip(names, chosen, strict=True):
        row = DEGRADATIONS[name]
        if photo.is_cuda:
            # To ask a GPU which pictures were chosen would wait for it: all are processed, the chosen ones are kept.
            photo = torch.where(as_planes(got), row.apply(photo, level, random), photo)
        elif got.any():
            photo[got] = row.apply(photo[got], level[got], random)
    return photo, dict(zip(names, chosen, strict=True))


def _choose_rows(photo: Tensor, chances: list[float], alone: float, random: Generator) -> list[Tensor]:
    """For each row (B,) truth values, which pictures get it."""
    if not chances:
        return []
    draws = uniform(photo, random, 0.0, 1.0, len(chances))
    rows = draws < constant(tuple(chances), photo.device)
    # Of the rows that a picture gets, the one whose draw lies lowest relative to its chance: all are equally likely.
    lowest = (draws / constant(tuple(chances), photo.device)).argmin(dim=1, keepdim=True)
    only = rows & (torch.arange(len(chances), device=photo.device) == lowest)
    single = (uniform(photo, random, 0.0, 1.0) < alone)[:, None]
    return list(torch.where(single, only, rows).unbind(dim=1))
