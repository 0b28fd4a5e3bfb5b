"""Degradations of a whole photograph: tone, optics, noise and grain, print and file.

Each degradation has a function with exact parameters and a function ``random_...(photo, level, random)`` that draws the
parameters for a severity ``level`` (B,): 0 changes next to nothing, 1 is strong. Photographs are (B, 3, H, W) float32
sRGB in 0..1 on any device; parameters are tensors on that device with one value (B,) or colour (B, 3) a picture. The
functions work on the whole batch and never wait for the device. Results may lie outside 0..1;
``engine.train.damage.degrade`` clips them.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from engine.raster import LUMA
from engine.train.luma import luma

_FLOOR = 1 / 255
"""Least value whose logarithm is taken, so that black has a finite density."""


def uniform(like: Tensor, random: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Random values between low and high, (B, *shape), on the device of a batch of B pictures."""
    return low + (high - low) * torch.rand((len(like), *shape), generator=random, device=like.device)


def normal(like: Tensor, random: Generator, channels: int) -> Tensor:
    """Standard normal noise (B, channels, H, W) for a batch (B, ., H, W)."""
    shape = (len(like), channels, *like.shape[2:])
    return torch.randn(shape, generator=random, device=like.device)


def as_planes(value: Tensor) -> Tensor:
    """Values (B,) or colours (B, C) reshaped to (B, C, 1, 1), which broadcasts over (B, C, H, W)."""
    return value.reshape(len(value), -1, 1, 1)


@functools.cache
def constant(values: tuple[object, ...], device: torch.device) -> Tensor:
    """Fixed numbers as a float32 tensor, cached on its device, because every copy to a GPU waits for it."""
    return torch.tensor(values, dtype=torch.float32, device=device)


# -- tone ---------------------------------------------------------------------------------------------------------


def fading(photo: Tensor, amounts: Tensor, paper: Tensor) -> Tensor:
    """Fade: each channel loses the share a of its density and moves towards the paper, R' = R^(1-a) paper^a.

    Args:
        photo: (B, 3, H, W).
        amounts: (B, 3) of R, G and B, 0 = no fading, 1 = nothing but paper.
        paper: (B, 3) colour of the paper.
    """
    amounts = as_planes(amounts)
    density = photo.clamp_min(_FLOOR).log() * (1 - amounts) + as_planes(paper).clamp_min(_FLOOR).log() * amounts
    return density.exp()


def random_fading(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Fade a silver print by up to 0.65 of its density, on white or cream paper."""
    paper = 1 - uniform(photo, random, 0.0, 1.0, 1) * constant((0.06, 0.12, 0.28), photo.device)
    return fading(photo, (0.65 * level)[:, None].expand(-1, 3), paper)


def random_dye_fading(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Fade the dyes of a colour print by different amounts.

    Half of the pictures fade as real prints mostly do: cyan most and magenta least, so that they turn red, or sometimes
    magenta or yellow, on white paper. The other half have random amounts for each dye, on white or cream paper.
    """
    dyes = constant(((0.75, 0.15, 0.35), (0.8, 0.05, 0.45), (0.6, 0.45, 0.1)), photo.device)
    chosen = torch.randint(len(dyes), (len(photo),), generator=random, device=photo.device)
    usual = dyes[chosen] * uniform(photo, random, 0.7, 1.1, 3)
    paper = 1 - uniform(photo, random, 0.0, 1.0, 1) * constant((0.04, 0.08, 0.2), photo.device)
    free = (uniform(photo, random, 0.0, 1.0) < 0.5)[:, None]
    amounts = torch.where(free, uniform(photo, random, 0.0, 0.8, 3), usual) * level[:, None]
    return fading(photo, amounts, torch.where(free, paper, torch.ones_like(paper)))


def monochrome(photo: Tensor, amount: Tensor) -> Tensor:
    """Move colours towards their luma; ``amount`` (B,) 0 = unchanged, 1 = black-and-white."""
    return photo + as_planes(amount) * (luma(photo) - photo)


def random_monochrome(photo: Tensor, level: Tensor, random: Generator) -> Tensor:  # noqa: ARG001 - has no random parameter
    """Make a picture black-and-white; some colour is left only at the lowest levels."""
    return monochrome(photo, 1 - (1 - level) ** 16)


def yellowing(photo: Tensor, amount: Tensor, tint: Tensor) -> Tensor:
    """Multiply a picture by a colour ``tint`` (B, 3); ``amount`` (B,) 0 = unchanged, 1 = fully."""
    return photo * (1 - as_planes(amount) * (1 - as_planes(tint)))


def random_yellowing(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Yellow a picture, from straw to tobacco; half of the pictures also become monochrome, as most such prints are."""
    low, high = constant((0.84, 0.68, 0.36), photo.device), constant((0.97, 0.9, 0.62), photo.device)
    tint = torch.lerp(low, high, uniform(photo, random, 0.0, 1.0, 1))
    grey = level * (uniform(photo, random, 0.0, 1.0) < 0.5)
    return yellowing(monochrome(photo, grey), level, tint)


def colour_cast(photo: Tensor, gains: Tensor) -> Tensor:
    """Multiply each channel by its gain (B, 3)."""
    return photo * as_planes(gains)


def random_colour_cast(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Add a colour cast of a random hue, up to 45 % between channels."""
    angle = uniform(photo, random, 0.0, 2 * math.pi, 1)
    hue = torch.cos(angle + constant((0.0, 2 * math.pi / 3, 4 * math.pi / 3), photo.device))
    return colour_cast(photo, torch.exp(0.22 * level[:, None] * hue))


def contrast_loss(photo: Tensor, amount: Tensor, middle: Tensor) -> Tensor:
    """Move all tones towards a grey ``middle`` (B,); ``amount`` (B,) 0 = unchanged, 1 = flat."""
    return photo + as_planes(amount) * (as_planes(middle) - photo)


def random_contrast_loss(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Reduce the contrast by up to 0.7, around a dark to light grey."""
    return contrast_loss(photo, 0.7 * level, uniform(photo, random, 0.3, 0.75))


def overexposure(photo: Tensor, gain: Tensor) -> Tensor:
    """Multiply by a gain (B,) and clip: light parts become pure white."""
    return (photo * as_planes(gain)).clamp(0, 1)


def random_overexposure(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Overexpose a picture by a factor of up to 2.5, more or less evenly distributed."""
    return overexposure(photo, 1 + 1.5 * level * uniform(photo, random, 0.3, 1.0))


def vignette(photo: Tensor, amount: Tensor, centre: Tensor, colour: Tensor) -> Tensor:
    """Mix a picture with a colour, by the square of the distance from a centre.

    Args:
        photo: (B, 3, H, W).
        amount: (B,) share of the colour half a diagonal away from the centre, 0..1.
        centre: (B, 2) as (x, y), -1..1 across the picture.
        colour: (B, 3) black for a lens, the paper's colour for faded edges.
    """
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, photo.shape[2], device=photo.device),
        torch.linspace(-1, 1, photo.shape[3], device=photo.device),
        indexing="ij",
    )
    centre = centre[:, :, None, None]
    distance = ((x - centre[:, 0]) ** 2 + (y - centre[:, 1]) ** 2)[:, None] / 2
    return photo + (as_planes(amount) * distance).clamp(0, 1) * (as_planes(colour) - photo)


def random_vignette(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Darken the corners, or every fourth time fade them."""
    dark = (uniform(photo, random, 0.0, 1.0, 1) < 0.75).float()
    colour = (1 - dark) * constant((0.93, 0.88, 0.78), photo.device)
    return vignette(photo, 0.8 * level, uniform(photo, random, -0.25, 0.25, 2), colour.expand(-1, 3))


def mount(photo: Tensor, angle: Tensor, place: Tensor, margin: Tensor, paper: Tensor, ground: Tensor) -> Tensor:
    """End the print along a straight line: beyond it lie its paper margin and the scanner's bed in a thin shadow.

    Args:
        photo: (B, 3, H, W).
        angle: (B,) direction in which the bed lies, radians from the x axis.
        place: (B,) distance from the middle of the picture to the end of the print in that direction, pixels.
        margin: (B,) width of the paper margin, pixels; 0 = none.
        paper: (B, 3) colour of the margin.
        ground: (B, 3) colour of the bed.
    """
    height, width = photo.shape[2:]
    y = torch.arange(height, device=photo.device)[None, :, None] - height / 2
    x = torch.arange(width, device=photo.device)[None, None, :] - width / 2
    turned = angle[:, None, None]
    beyond = (x * turned.cos() + y * turned.sin() - place[:, None, None])[:, None]
    off = beyond - as_planes(margin)
    photo = photo + (beyond + 0.5).clamp(0, 1) * (as_planes(paper) - photo)
    bed = as_planes(ground) * (1 - 0.5 * torch.exp(-off.clamp_min(0) / 3))
    return photo + (off + 0.5).clamp(0, 1) * (bed - photo)


def random_mount(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Show one edge of the print, or a corner, turned by a few degrees at most, on a white, black or grey bed."""
    side = min(photo.shape[2:])
    angle = torch.randint(4, (len(photo),), generator=random, device=photo.device) * math.pi / 2
    paper = 1 - uniform(photo, random, 0.0, 1.0, 1) * constant((0.15, 0.2, 0.35), photo.device)
    beds = constant(((1.0, 1.0, 1.0), (0.04, 0.04, 0.04), (0.6, 0.6, 0.58)), photo.device)
    bed = beds[torch.randint(3, (len(photo),), generator=random, device=photo.device)]
    margin = (uniform(photo, random, -0.1, 0.1) * side).clamp_min(0)
    for second in (0.0, 0.4):
        # The second edge lies outside the crop in two of five pictures; else the two edges make a corner.
        seen = (uniform(photo, random, 0.0, 1.0) >= second).float()
        reach = (2.5 * level).clamp_max(1) * uniform(photo, random, 0.1, 0.9) * seen
        tilt = uniform(photo, random, -0.05, 0.05)
        photo = mount(photo, angle + tilt, side * (0.55 - 0.55 * reach), margin, paper, bed)
        angle = angle + math.pi / 2
    return photo


# -- optics -------------------------------------------------------------------------------------------------------


def blur(photo: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each picture with its own kernel; beyond the border the picture is continued by its last pixel.

    Args:
        photo: (B, C, H, W).
        kernels: (B, k, k), k odd, sum not 0; each is divided by its sum.
    """
    height, width = photo.shape[2:]
    reach = kernels.shape[1] // 2
    kernels = kernels / kernels.sum(dim=(1, 2), keepdim=True)
    # A convolution with a group for every picture is far slower than Fourier transforms for kernels of this size.
    padded = functional.pad(photo, (reach, reach, reach, reach), mode="replicate")
    size = (padded.shape[2], padded.shape[3])
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernels, s=size)[:, None]
    whole: Tensor = torch.fft.irfft2(spectrum, s=size)
    return whole[:, :, 2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width]


def gaussian_blur(photo: Tensor, sigma: Tensor, reach: int = 12) -> Tensor:
    """Blur with a Gaussian of ``sigma`` (B,) pixels, cut off at ``reach`` pixels."""
    return blur(photo, _gaussians(sigma, reach))


def random_gaussian_blur(photo: Tensor, level: Tensor, random: Generator) -> Tensor:  # noqa: ARG001 - has no random parameter
    """Blur with a Gaussian of up to 3 px."""
    return gaussian_blur(photo, 3 * level)


def defocus_blur(photo: Tensor, radius: Tensor) -> Tensor:
    """Blur with a uniform disc, ``radius`` (B,) pixels up to 8."""
    _, _, distance = _offsets(9, radius)
    return blur(photo, (as_planes(radius)[:, 0] + 0.5 - distance).clamp(0, 1))


def random_defocus_blur(photo: Tensor, level: Tensor, random: Generator) -> Tensor:  # noqa: ARG001 - has no random parameter
    """Blur with a disc of a radius of up to 5 px."""
    return defocus_blur(photo, 5 * level)


def motion_blur(photo: Tensor, length: Tensor, angle: Tensor) -> Tensor:
    """Blur along a line, ``length`` (B,) pixels up to 31, ``angle`` (B,) radians from the x axis."""
    x, y, _ = _offsets(16, length)
    cosine, sine = as_planes(angle.cos())[:, 0], as_planes(angle.sin())[:, 0]
    along, across = (x * cosine + y * sine).abs(), (y * cosine - x * sine).abs()
    return blur(photo, (as_planes(length)[:, 0] / 2 + 0.5 - along).clamp(0, 1) * (1 - across).clamp_min(0))


def random_motion_blur(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Blur along a line of up to 15 px in a random direction."""
    return motion_blur(photo, 15 * level, uniform(photo, random, 0.0, math.pi))


def down_up(photo: Tensor, factor: Tensor, sharpness: Tensor) -> Tensor:
    """Reduce by a factor and enlarge again by bicubic interpolation (Keys 1981, a = -0.75 as usual).

    Args:
        photo: (B, 3, H, W).
        factor: (B,) 1 or more; the reduced side is rounded to whole pixels.
        sharpness: (B,) filter of the reduction, 0 = area averages, 1 = bicubic, between them a mixture.
    """
    rows = _resampling(photo.shape[2], factor, sharpness)[:, None]
    columns = _resampling(photo.shape[3], factor, sharpness)[:, None]
    return rows @ photo @ columns.transpose(2, 3)


def random_down_up(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Reduce by a factor of up to four and enlarge again."""
    return down_up(photo, 1 + 3 * level, uniform(photo, random, 0.0, 1.0))


def _offsets(reach: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distances from the middle of a kernel along x, along y, and Euclidean, each broadcastable to (1, n, n)."""
    steps = torch.arange(-reach, reach + 1, device=like.device, dtype=torch.float32)
    x, y = steps[None, None, :], steps[None, :, None]
    return x, y, torch.hypot(x, y)


def _gaussians(sigma: Tensor, reach: int) -> Tensor:
    _, _, distance = _offsets(reach, sigma)
    return torch.exp(-0.5 * (distance / sigma.clamp_min(1e-3)[:, None, None]) ** 2)


def _resampling(size: int, factor: Tensor, sharpness: Tensor) -> Tensor:
    """Matrices (B, size, size) that reduce and enlarge a line of ``size`` pixels."""
    count = (size / factor).round().clamp(1, size)[:, None, None]
    scale = size / count
    fine = torch.arange(size, device=factor.device, dtype=torch.float32)
    small = fine[None, :, None]
    area = (torch.minimum((small + 1) * scale, fine + 1) - torch.maximum(small * scale, fine)).clamp_min(0)
    cubic = _cubic((fine + 0.5) / scale - 0.5 - small)
    kept = (small < count).float()
    area, cubic = area * kept, cubic * kept
    down = torch.lerp(_normalise_rows(area), _normalise_rows(cubic), sharpness[:, None, None])
    return _normalise_rows(cubic.transpose(1, 2)) @ down


def _normalise_rows(weights: Tensor) -> Tensor:
    """Scale weights so that each row sums to 1; rows of zeros stay zero."""
    total = weights.sum(dim=2, keepdim=True)
    return weights / torch.where(total.abs() < 1e-6, torch.ones_like(total), total)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic convolution kernel, a = -0.75."""
    d, a = distance.abs(), -0.75
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))


# -- noise and grain ----------------------------------------------------------------------------------------------


NOISIEST = 0.2
"""Standard deviation of white noise at level 1."""


def gaussian_noise(photo: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
    """Add ``sigma`` (B,) times standard normal noise (B, 3, H, W) or (B, 1, H, W)."""
    return photo + as_planes(sigma) * noise


def random_gaussian_noise(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Add white noise of a standard deviation up to ``NOISIEST``."""
    return gaussian_noise(photo, NOISIEST * level, normal(photo, random, 3))


def poisson_noise(photo: Tensor, photons: Tensor, random: Generator) -> Tensor:
    """Replace each value by a Poisson count over ``photons`` (B,), the mean count of white."""
    photons = as_planes(photons)
    return torch.poisson(photo.clamp_min(0) * photons, generator=random) / photons


def random_poisson_noise(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Add shot noise of a standard deviation up to 0.2 in white, which is that of 25 photons."""
    return poisson_noise(photo, (0.2 * level).clamp_min(1e-3) ** -2, random)


def film_grain(photo: Tensor, sigma: Tensor, size: Tensor, noise: Tensor) -> Tensor:
    """Add silver grain: correlated, the same in all channels, strongest in middle tones.

    Args:
        photo: (B, 3, H, W).
        sigma: (B,) standard deviation in a grey of luma 0.5; a quarter of it in black and in white.
        size: (B,) standard deviation of the Gaussian that correlates the grain, pixels up to 3.
        noise: (B, 1, H, W) standard normal.
    """
    kernels = _gaussians(size, 9)
    kernels = kernels / kernels.sum(dim=(1, 2), keepdim=True)
    # White noise convolved with a kernel k has the variance sum(k^2).
    grain = blur(noise, kernels) / as_planes(kernels.square().sum(dim=(1, 2)).sqrt())
    light = luma(photo).clamp(0, 1)
    return photo + as_planes(sigma) * (0.25 + 3 * light * (1 - light)) * grain


def random_film_grain(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Add grain of a standard deviation up to 0.16 and a size of 0.4 to 1.2 px."""
    return film_grain(photo, 0.16 * level, uniform(photo, random, 0.4, 1.2), normal(photo, random, 1))


# -- print and file -----------------------------------------------------------------------------------------------

SCREENS = (math.radians(15), math.radians(75), 0.0, math.radians(45))
"""Usual angles of the cyan, magenta, yellow and black screens, radians."""


def halftone(photo: Tensor, pitch: Tensor, angle: Tensor, grey: Tensor, strength: Tensor) -> Tensor:
    """Print in dots whose area follows the amount of ink: cyan, magenta, yellow and black, or black alone.

    Args:
        photo: (B, 3, H, W).
        pitch: (B,) distance of the dots, pixels.
        angle: (B,) angle by which all screens are turned, radians.
        grey: (B,) 1 = black ink alone, 0 = four inks.
        strength: (B,) 0 = the photograph, 1 = the print, between them a mixture, as of a coarse scan.
    """
    ink = 1 - photo.clamp(0, 1)
    black = torch.where(as_planes(grey) > 0.5, 1 - luma(photo).clamp(0, 1), ink.amin(dim=1, keepdim=True))
    colours = torch.where(as_planes(grey) > 0.5, torch.zeros_like(ink), (ink - black) / (1 - black).clamp_min(_FLOOR))
    dots = _screen_dots(torch.cat([colours, black], dim=1), pitch, angle)
    return photo + as_planes(strength) * ((1 - dots[:, :3]) * (1 - dots[:, 3:]) - photo)


def random_halftone(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Print as in a newspaper or a book: screens of 2.5 to 7 px at a random angle, half of them grey."""
    pitch, angle = uniform(photo, random, 2.5, 7.0), uniform(photo, random, 0.0, math.pi / 2)
    grey = (uniform(photo, random, 0.0, 1.0) < 0.5).float()
    return halftone(photo, pitch, angle, grey, (1.25 * level).clamp_max(1))


def _screen_dots(inks: Tensor, pitch: Tensor, angle: Tensor) -> Tensor:
    """Turn amounts of ink (B, 4, H, W) into dots (B, 4, H, W)."""
    turned = angle[:, None] + constant(SCREENS, inks.device)
    cosine, sine = as_planes(turned.cos()), as_planes(turned.sin())
    y = torch.arange(inks.shape[2], device=inks.device, dtype=torch.float32)[:, None]
    x = torch.arange(inks.shape[3], device=inks.device, dtype=torch.float32)[None, :]
    u, v = (x * cosine + y * sine) / as_planes(pitch), (y * cosine - x * sine) / as_planes(pitch)
    # The mean of two triangle waves, mapped to an even distribution: a dot then covers the share of its ink.
    mean = (u - u.round()).abs() + (v - v.round()).abs()
    threshold = torch.where(mean < 0.5, 2 * mean**2, 1 - 2 * (1 - mean) ** 2)
    # The edge of a dot is a ramp around the threshold. Near no ink and full ink it is moved, or specks would remain.
    slope = as_planes(pitch) / 3
    middle = 0.5 + (inks * slope).clamp_max(0.5) - ((1 - inks) * slope).clamp_max(0.5)
    return ((inks - threshold) * slope + middle).clamp(0, 1)


_LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *([(99,) * 8] * 4),
)
"""Quantisation tables of ITU-T T.81, annex K."""


def jpeg(photo: Tensor, quality: Tensor) -> Tensor:
    """Code and decode as baseline JPEG with 4:2:0 chroma; ``quality`` (B,) 1..100 as in libjpeg."""
    height, width = photo.shape[2:]
    padded = functional.pad(photo.clamp(0, 1), (0, -width % 16, 0, -height % 16), mode="replicate") * 255
    light = luma(padded)
    blue = (padded[:, 2:] - light) / (2 - 2 * LUMA[2])
    red = (padded[:, :1] - light) / (2 - 2 * LUMA[0])
    chroma = functional.avg_pool2d(torch.cat([blue, red], dim=1), 2)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    light = _quantise(light - 128, _LUMA_TABLE, scale) + 128
    chroma = functional.interpolate(_quantise(chroma, _CHROMA_TABLE, scale), scale_factor=2, mode="bilinear")
    blue, red = chroma[:, :1] * (2 - 2 * LUMA[2]), chroma[:, 1:] * (2 - 2 * LUMA[0])
    green = -(LUMA[2] * blue + LUMA[0] * red) / LUMA[1]
    coded = (light + torch.cat([red, green, blue], dim=1)).round().clamp(0, 255) / 255
    return coded[:, :, :height, :width]


def random_jpeg(photo: Tensor, level: Tensor, random: Generator) -> Tensor:
    """Code as JPEG of quality 95 down to 5, falling with the square root of the level, so that most are coarse.

    The blocks begin anywhere, as in the middle of a scan.
    """
    height, width = photo.shape[2:]
    first = torch.randint(16, (len(photo), 2), generator=random, device=photo.device)
    y = torch.arange(height + 16, device=photo.device)[None] - first[:, :1]
    x = torch.arange(width + 16, device=photo.device)[None] - first[:, 1:]
    shifted = _take(photo, y.clamp(0, height - 1), x.clamp(0, width - 1))
    return _take(
        jpeg(shifted, 95 - 90 * level**0.5),
        *(first[:, i, None] + torch.arange(n, device=photo.device) for i, n in enumerate((height, width))),
    )


def _take(photo: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Some rows (B, h) and columns (B, w) of each picture."""
    size = photo.shape[:2]
    photo = photo.gather(2, rows[:, None, :, None].expand(*size, -1, photo.shape[3]))
    return photo.gather(3, columns[:, None, None, :].expand(*size, photo.shape[2], -1))


def _quantise(plane: Tensor, table: tuple[tuple[int, ...], ...], scale: Tensor) -> Tensor:
    """Round the 8 x 8 cosine transform to multiples of a table that is scaled by per cent (B,)."""
    steps = ((constant(table, plane.device) * scale[:, None, None] + 50) / 100).floor().clamp(1, 255)
    steps = steps[:, None, None, :, None, :]
    size, height, width = plane.shape[:2], plane.shape[2], plane.shape[3]
    blocks = plane.reshape(*size, height // 8, 8, width // 8, 8)
    cosines = _cosines(plane.device)
    coefficients = torch.einsum("ux,bchxwy,vy->bchuwv", cosines, blocks, cosines)
    coefficients = (coefficients / steps).round() * steps
    return torch.einsum("ux,bchuwv,vy->bchxwy", cosines, coefficients, cosines).reshape(plane.shape)


@functools.cache
def _cosines(device: torch.device) -> Tensor:
    """The orthonormal 8-point DCT-II as a matrix (frequency, position)."""
    places, frequencies = torch.arange(8.0, device=device), torch.arange(8.0, device=device)[:, None]
    rows = torch.cos(math.pi / 8 * (places + 0.5) * frequencies) / 2
    rows[0] /= math.sqrt(2)
    return rows
