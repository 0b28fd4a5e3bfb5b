"""Loss terms by name: scalars of pictures (B, 3, H, W), float32 RGB in 0..1, and masks (B, 1, H, W), 1 = lost.

Notation of the formulas: x the photograph, y the output of the network, m the mask, D the discriminator (above 0 =
judged real), E the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import SettingsError
from engine.train.damage.ageing import constant

# -- reconstruction: (output, photo, mask) -> scalar ------------------------------------------------------------------


def l1(output: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    """E |y - x|."""
    del mask
    return (output - photo).abs().mean()


def l2(output: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    """E (y - x)^2."""
    del mask
    return (output - photo).square().mean()


def log_l2(output: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    """Mean over pictures of log(2e-4 + mean (y - x)^2), so that a gain of one decibel counts alike for all severities.

    Gains above 37 dB count less and less. With a smaller floor the pictures that need no correction outweigh all
    others, and the network learns to change nothing that has no noise.
    """
    del mask
    return ((output - photo).square().mean(dim=(1, 2, 3)) + 2e-4).log().mean()


def lab(output: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    """Mean Euclidean distance in CIELAB (CIE 15:2018, white D65), over 100: a smooth stand-in for CIEDE2000.

    Values outside 0..1 are compressed to a hundredth of their excess, so that they keep a gradient.
    """
    del mask
    with torch.autocast(output.device.type, enabled=False):
        apart = _lab(output.float()) - _lab(photo.float())
        return (apart.square().sum(dim=1) + 1e-6).sqrt().mean() / 100


def colour_difference(output: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    """Mean colour difference over 100: CIE94 with the weight of lightness of CIEDE2000 (CIE 15:2018).

    It follows CIEDE2000 closely, without its terms for blue and for grey, whose gradients are not smooth. Values
    outside 0..1 are compressed as in ``lab``.
    """
    del mask
    with torch.autocast(output.device.type, enabled=False):
        light, *ab = _lab(output.float()).unbind(dim=1)
        true_light, *true_ab = _lab(photo.float()).unbind(dim=1)
        chroma, true_chroma = (torch.sqrt(a * a + b * b + 1e-4) for a, b in (ab, true_ab))
        hue = (ab[0] - true_ab[0]).square() + (ab[1] - true_ab[1]).square() - (chroma - true_chroma).square()
        apart, mean = ((light + true_light) / 2 - 50).square(), (chroma + true_chroma) / 2
        terms = (
            ((light - true_light) / (1 + 0.015 * apart / (20 + apart).sqrt())).square(),
            ((chroma - true_chroma) / (1 + 0.045 * mean)).square(),
            hue.clamp_min(0) / (1 + 0.015 * mean).square(),
        )
        return (sum(terms, torch.full_like(light, 0.01))).sqrt().mean() / 100


_XYZ = ((0.4339, 0.3762, 0.1899), (0.2126, 0.7152, 0.0722), (0.0178, 0.1096, 0.8726))
"""Matrix from linear sRGB (IEC 61966-2-1) to X, Y and Z relative to white."""


def _lab(picture: Tensor) -> Tensor:
    """L*, a* and b* (B, 3, H, W) of sRGB."""
    inside = picture.clamp(0, 1) + 0.01 * (picture - picture.clamp(0, 1))
    linear = torch.where(inside <= 0.04045, inside / 12.92, ((inside.clamp_min(0.04) + 0.055) / 1.055) ** 2.4)
    xyz = torch.einsum("rc,bchw->brhw", constant(_XYZ, picture.device), linear)
    root = torch.where(xyz > (6 / 29) ** 3, xyz.clamp_min(1e-4) ** (1 / 3), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = root.unbind(dim=1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def l1_hole(output: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    """Mean over pictures of sum |y - x| m / sum m: mean absolute error inside the mask."""
    return _masked_mean((output - photo).abs(), mask).mean()


def l1_valid(output: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    """Mean over pictures of sum |y - x| (1 - m) / sum (1 - m): mean absolute error outside the mask."""
    return _masked_mean((output - photo).abs(), 1 - mask).mean()


def l2_hole(output: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    """Mean over pictures of sum (y - x)^2 m / sum m: mean squared error inside the mask."""
    return _masked_mean((output - photo).square(), mask).mean()


def log_l1_hole(output: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    """Mean over pictures of log(0.01 + sum |y - x| m / sum m): the relative error of each picture counts.

    A decibel gained in a smooth sky counts as much as one in foliage, as it does in a mean of PSNRs.
    """
    return (_masked_mean((output - photo).abs(), mask) + 0.01).log().mean()


def total_variation(output: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    """Mean |difference of neighbours| of the composite y m + x (1 - m) over the mask grown by one pixel.

    The seam lies within the grown mask (Liu et al., Image inpainting for irregular holes, 2018, equation 6).
    """
    fill = photo + (output - photo) * mask
    region = functional.max_pool2d(mask, 3, 1, 1)
    rows = (fill[:, :, 1:] - fill[:, :, :-1]).abs() * region[:, :, 1:] * region[:, :, :-1]
    columns = (fill[:, :, :, 1:] - fill[:, :, :, :-1]).abs() * region[:, :, :, 1:] * region[:, :, :, :-1]
    return (rows.sum() + columns.sum()) / (3 * region.sum()).clamp_min(1)


def _masked_mean(error: Tensor, mask: Tensor) -> Tensor:
    """Mean of an error (B, C, H, W) over the masked samples of each picture, (B,)."""
    return (error * mask).sum(dim=(1, 2, 3)) / (error.shape[1] * mask.sum(dim=(1, 2, 3))).clamp_min(1)


# -- detection: (logits, truth, weight) -> scalar ------------------------------------------------------------------


DAMAGE_WEIGHT, THIN_WEIGHT = 2.0, 4.0
"""Weights of damaged pixels in ``damage_entropy``: in general, and in damage thinner than 5 px. Sound pixels have 1."""


def damage_entropy(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """20 times the weighted mean cross entropy; the factor makes up for the many sound pixels in the mean.

    Args:
        logits: (B, 1 + classes, H, W); the classes are not used.
        truth: (B, 2, H, W), the first plane of 0 and 1.
        weight: (B, 1, H, W) of each pixel, 0 = ignored; ``detection_weight`` gives it.
    """
    damaged = truth[:, :1]
    each = functional.binary_cross_entropy_with_logits(logits[:, :1], damaged, reduction="none")
    return (each * weight * _importance(damaged)).mean() * 20


def _importance(damaged: Tensor) -> Tensor:
    """The weight of each pixel by whether it is sound, damaged, or in thin damage, (B, 1, H, W)."""
    thin = damaged - _opened(damaged, 5)
    return 1 + (DAMAGE_WEIGHT - 1) * damaged + (THIN_WEIGHT - DAMAGE_WEIGHT) * thin


def damage_kind(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Mean cross entropy of the class over the damaged pixels whose class is known, thin damage weighted as above.

    Args:
        logits: (B, 1 + classes, H, W).
        truth: (B, 2, H, W), 1 where it is damaged, and there the number of the class, below 0 = unknown.
        weight: (B, 1, H, W); pixels with the weight 0 are ignored.
    """
    damaged, kinds = truth[:, :1], truth[:, 1].long()
    known = _importance(damaged) * damaged * (weight > 0) * (kinds >= 0)[:, None]
    each = functional.cross_entropy(logits[:, 1:], kinds.clamp_min(0), reduction="none")
    return (each[:, None] * known).sum() / known.sum().clamp_min(1)


def detection_weight(logits: Tensor, truth: Tensor, labelled: Tensor) -> Tensor:
    """Weight of each pixel of a detection, (B, 1, H, W) of 0 to 1.

    Pixels within 2 px of an edge of the truth have half of the weight, because the exact edge of damage is uncertain.
    In photographs that may have damage of their own, pixels outside the truth that the network takes for damage have
    the weight 0.

    Args:
        logits: (B, 1 + classes, H, W).
        truth: (B, 2, H, W), the first plane of 0 and 1.
        labelled: (B,) of truth values, whether a photograph has no damage but that of ``truth``.
    """
    damaged = truth[:, :1]
    grown = functional.max_pool2d(damaged, 5, 1, 2)
    shrunk = -functional.max_pool2d(-damaged, 5, 1, 2)
    uncertain = (logits[:, :1].detach() > UNCERTAIN_LOGIT) & (grown < 0.5) & ~labelled[:, None, None, None]
    return (1 - 0.5 * (grown - shrunk)) * (~uncertain)


UNCERTAIN_LOGIT = -1.4
"""From this logit, a probability of 0.2, a pixel of an unlabelled photograph may be damage of its own."""


def _opened(mask: Tensor, side: int) -> Tensor:
    """Morphological opening with a square: what is narrower than its side vanishes."""
    eroded = -functional.max_pool2d(-mask, side, 1, side // 2)
    return functional.max_pool2d(eroded, side, 1, side // 2)


def damage_dice(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Mean over the pictures with damage of 1 - (2 sum p t + 1) / (sum p + sum t + 1), p the probability, t the truth.

    The Dice coefficient (Dice 1945) as a loss (Milletari et al., V-Net, 2016, but without squares in the denominator).

    Args:
        logits: (B, 1 + classes, H, W); the classes are not used.
        truth: (B, 2, H, W), the first plane of 0 and 1.
        weight: (B, 1, H, W); pixels with the weight 0 are ignored.
    """
    p, t = torch.sigmoid(logits[:, :1]) * (weight > 0), truth[:, :1] * (weight > 0)
    shared, total = (p * t).sum(dim=(1, 2, 3)), (p + t).sum(dim=(1, 2, 3))
    damaged = (t.sum(dim=(1, 2, 3)) > 0).float()
    return ((1 - (2 * shared + 1) / (total + 1)) * damaged).sum() / damaged.sum().clamp_min(1)


Term = Callable[[Tensor, Tensor, Tensor], Tensor]

LOSSES: dict[str, Term] = {
    "l1": l1,
    "l2": l2,
    "log_l2": log_l2,
    "lab": lab,
    "colour_difference": colour_difference,
    "l1_hole": l1_hole,
    "l1_valid": l1_valid,
    "l2_hole": l2_hole,
    "log_l1_hole": log_l1_hole,
    "total_variation": total_variation,
    "damage_entropy": damage_entropy,
    "damage_dice": damage_dice,
    "damage_kind": damage_kind,
}
"""Name -> term that a recipe may name in ``losses``; called with output, truth and mask."""

CYCLES: dict[str, Term] = {"cycle": l1, "identity": l1}
"""Terms of the CycleGAN: |G_age(G_freshen(a)) - a| + |G_freshen(G_age(b)) - b| (Zhu et al., CycleGAN, 2017,
equation 2), and |G_freshen(b) - b| + |G_age(a) - a| (their section 5.2), called with output, truth and mask."""


def face_heat(output: Tensor, truth: Tensor) -> Tensor:
    """The focal loss of Zhou et al., Objects as points, 2019 (equation 1, alpha = 2, beta = 4), for each face.

    Args:
        output: (B, 5, h, w) of ``FaceNet``.
        truth: (B, 7, h, w) of ``faces.truth_planes``.
    """
    logits, heat, counts = output[:, 0], truth[:, 0], truth[:, 6]
    probability = torch.sigmoid(logits).clamp(1e-4, 1 - 1e-4)
    centre = (heat == 1).float()
    found = centre * (1 - probability).square() * probability.log()
    none = (1 - heat) ** 4 * probability.square() * (1 - probability).log() * counts
    return -(found + none).sum() / centre.sum().clamp_min(1)


def face_size(output: Tensor, truth: Tensor) -> Tensor:
    """Mean over the faces of |log size - true log size|, height and width together; arguments as of ``face_heat``."""
    return _face_error(output[:, 1:3], truth[:, 1:3], truth[:, 5:6])


def face_offset(output: Tensor, truth: Tensor) -> Tensor:
    """Mean over the faces of |offset - true offset| in cells, both together; arguments as of ``face_heat``."""
    return _face_error(output[:, 3:5], truth[:, 3:5], truth[:, 5:6])


def _face_error(one: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    return ((one - other).abs() * weight).sum() / weight.sum().clamp_min(1)


FACES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "face_heat": face_heat,
    "face_size": face_size,
    "face_offset": face_offset,
}
"""Name -> term that a recipe of the system ``faces`` may name in ``losses``."""


def weighted_sum(weights: dict[str, float], output: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Sum of the named terms of ``LOSSES``, each times its weight."""
    return torch.stack([weight * LOSSES[name](output, truth, mask) for name, weight in weights.items()]).sum()


def check_losses(weights: dict[str, float], table: Mapping[str, object]) -> None:
    """Check that a system knows all losses of a recipe.

    Raises:
        SettingsError: a loss is not in the table; names it.
    """
    for name in weights:
        if name not in table:
            raise SettingsError(
                "Unknown loss {name!r}. This system knows: {table}.", "train.setting", name=name, table=", ".join(table)
            )


# -- adversarial ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Adversarial:
    """An adversarial loss: what discriminator and generator minimise, given D of real and of generated pictures."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]


def minimax_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-E log s(D(x)) - E log(1 - s(D(y))), s the sigmoid (Goodfellow et al., Generative adversarial nets, 2014)."""
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def minimax_generator(real: Tensor, fake: Tensor) -> Tensor:
    """-E log s(D(y)), the form that does not saturate (the same paper, section 3)."""
    del real
    return functional.softplus(-fake).mean()


def least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E (D(x) - 1)^2 / 2 + E D(y)^2 / 2 (Mao et al., Least squares GAN, 2017)."""
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def least_squares_generator(real: Tensor, fake: Tensor) -> Tensor:
    """E (D(y) - 1)^2 / 2."""
    del real
    return (fake - 1).square().mean() / 2


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E max(0, 1 - D(x)) + E max(0, 1 + D(y)) (Lim and Ye, Geometric GAN, 2017)."""
    return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()


def negative_generator(real: Tensor, fake: Tensor) -> Tensor:
    """-E D(y): the generator's part of the hinge and of the Wasserstein loss."""
    del real
    return -fake.mean()


def relativistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-E log s(D(x) - E D(y)) - E log(1 - s(D(y) - E D(x))).

    The average form of Jolicoeur-Martineau, The relativistic discriminator, 2018.
    """
    return functional.softplus(-(real - fake.mean())).mean() + functional.softplus(fake - real.mean()).mean()


def relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    """The same with x and y exchanged."""
    return relativistic_discriminator(fake, real)


def wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E D(y) - E D(x) (Arjovsky et al., Wasserstein GAN, 2017); needs ``gradient_penalty``."""
    return fake.mean() - real.mean()


ADVERSARIAL: dict[str, Adversarial] = {
    "minimax": Adversarial(minimax_discriminator, minimax_generator),
    "least_squares": Adversarial(least_squares_discriminator, least_squares_generator),
    "hinge": Adversarial(hinge_discriminator, negative_generator),
    "relativistic": Adversarial(relativistic_discriminator, relativistic_generator),
    "wgan_gp": Adversarial(wasserstein_discriminator, negative_generator),
}
"""Name -> adversarial loss that a recipe may name in ``adversary.game``."""


def check_game(name: str) -> None:
    """Check the name of an adversarial loss.

    Raises:
        SettingsError: it is not in ``ADVERSARIAL``; names it.
    """
    if name not in ADVERSARIAL:
        raise SettingsError(
            "Unknown game {name!r}. Known: {adversarial}.",
            "train.setting",
            name=name,
            adversarial=", ".join(ADVERSARIAL),
        )


def feature_matching(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Mean L1 distance of the discriminator's features, without its final scores (Wang et al., pix2pixHD, 2018)."""
    pairs = list(zip(real[:-1], fake[:-1], strict=True))
    return torch.stack([functional.l1_loss(f, r.detach()) for r, f in pairs]).mean()


def style(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Mean L1 distance of Gram matrices of the discriminator's features (Gatys et al., Image style transfer, 2016)."""
    pairs = list(zip(real[:-1], fake[:-1], strict=True))
    return torch.stack([functional.l1_loss(gram(f), gram(r.detach())) for r, f in pairs]).mean()


def gram(features: Tensor) -> Tensor:
    """(B, C, H, W) to F F^T / (H W), (B, C, C)."""
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().flatten(2)
        return flat @ flat.transpose(1, 2) / flat.shape[2]


def r1_penalty(judgement: Tensor, real: Tensor) -> Tensor:
    """E ||grad_x D(x)||^2 / 2 on real pictures (Mescheder et al. 2018). ``real`` must require gradients."""
    (gradient,) = torch.autograd.grad(judgement.sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean() / 2


def gradient_penalty(critic: Callable[[Tensor], list[Tensor]], real: Tensor, fake: Tensor) -> Tensor:
    """E (||grad_z D(z)|| - 1)^2 at random points z between x and y (Gulrajani et al., Improved WGAN, 2017)."""
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = (share * real + (1 - share) * fake).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(between)[-1].float().sum(), between, create_graph=True)
    lengths: Tensor = gradient.flatten(1).norm(dim=1)
    return (lengths - 1).square().mean()


def mean_distance(pictures: Tensor) -> Tensor:
    """Mean root mean square difference of all pairs of pictures; small when a generator makes only few pictures."""
    flat = pictures.flatten(1).float()
    count = len(flat)
    distances: Tensor = torch.cdist(flat, flat)
    mean: Tensor = distances.sum() / (count * (count - 1) * flat.shape[1] ** 0.5)
    return mean
