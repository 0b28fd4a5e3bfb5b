"""Tone: the network of statistics, the fading that it is trained on, and the families that it is judged by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from engine.train.damage import colours
from engine.train.data.batches import Batches
from engine.train.measure import metrics
from engine.train.measure.tones import FAMILIES, HELD_OUT, fade
from engine.train.nets.restore import THUMBNAIL
from engine.train.nets.tone import ToneStatistics
from engine.train.recipe import read_training_recipe
from engine.train.run import losses
from tests.train.scenes import scene
from tests.train.small import CPU, small, sources


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def decided(seed: int = 0) -> ToneStatistics:
    """A network that makes strong corrections which differ from channel to channel."""
    torch.manual_seed(seed)
    net = ToneStatistics(16).eval()
    last = net.decide[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.normal_(last.weight, std=0.5)
    return net


def pictures(low: float = 0.2, high: float = 0.8) -> Tensor:
    """Four pictures of random colours between two values, (4, 3, THUMBNAIL, THUMBNAIL)."""
    return low + (high - low) * torch.rand(4, 3, THUMBNAIL, THUMBNAIL, generator=generator())


# -- the network ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_colours_are_moved_alike_wherever_they_are() -> None:
    net, photo = decided(), pictures()
    whole = net(photo, photo)
    assert not torch.allclose(whole, photo, atol=0.01)
    assert torch.allclose(net(photo[..., 8:24, 16:40], photo), whole[..., 8:24, 16:40], atol=1e-6)
    # The thumbnail's order does not matter: no scene can be recognised.
    mixed = photo.flatten(2)[:, :, torch.randperm(THUMBNAIL**2, generator=generator())].reshape(photo.shape)
    assert torch.allclose(net(photo, mixed), whole, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("seed", range(4))
def test_prints_in_one_tone_stay_in_one_tone(seed: int) -> None:
    net = decided(seed)
    grey = pictures()[:, :1].expand(-1, 3, -1, -1)
    neutral = net(grey, grey)
    assert float((neutral.amax(dim=1) - neutral.amin(dim=1)).max()) < 1e-5
    sepia = colours.toned(grey, torch.tensor([[0.8, 1.0, 1.3]]).expand(4, 3))
    result = net(sepia, sepia)
    assert bool((result[:, 0] >= result[:, 1] - 1e-5).all())
    assert bool((result[:, 1] >= result[:, 2] - 1e-5).all())
    coloured = net(pictures(), pictures())
    assert float((coloured.amax(dim=1) - coloured.amin(dim=1)).max()) > 0.1


@torch.no_grad()
def test_a_picture_without_tones_is_left_as_it_is() -> None:
    net = decided()
    flat = pictures(0.5, 0.53)
    assert torch.equal(net(flat, flat), flat)


# -- the training -----------------------------------------------------------------------------------------------------


def test_levels_and_light_have_the_values_of_their_formulas() -> None:
    grey = torch.full((1, 3, 2, 2), 0.25)
    black, white, power = (torch.tensor([row]) for row in ([0.1, 0.0, 0.2], [0.9, 1.0, 0.7], [0.5, 1.0, 2.0]))
    changed = colours.levels(grey, black, white, power)
    assert torch.allclose(changed[0, :, 0, 0], torch.tensor([0.5, 0.25, 0.23125]))
    lit = colours.random_light(torch.ones(16, 3, 2, 2), torch.ones(16), generator())
    assert torch.allclose(lit.amax(dim=(1, 2, 3)), torch.tensor(1.0))
    assert 0.54 < float(lit.min()) < 0.75


def test_photographs_are_varied_before_they_fade(folder: Path) -> None:
    def photographs(*more: str) -> Tensor:
        return Batches(small("tone", *more), sources(folder), CPU, validation=False).draw(4).photo

    plain = photographs("damage.look=0", "damage.toned=0")
    assert not torch.allclose(photographs("damage.toned=0"), plain)
    toned = photographs("damage.look=0", "damage.toned=1")
    order = toned.mean(dim=1).flatten(1).argsort(dim=1)
    for channel in toned.unbind(dim=1):
        # In a print of one tone every channel rises with the others.
        assert float(channel.flatten(1).gather(1, order).diff(dim=1).min()) > -1e-4


def test_photographs_are_reduced_when_they_are_loaded(folder: Path) -> None:
    recipe = small("tone", "data.crop=32", "data.short_side=40")
    loaded = Batches(recipe, sources(folder), CPU, validation=False).photographs.whole
    assert set(zip(loaded.heights.tolist(), loaded.widths.tolist(), strict=True)) == {(40, 51)}


def test_the_colour_difference_follows_ciede2000() -> None:
    one, other = pictures(), pictures().flip(3) * 0.3 + pictures() * 0.7
    lab = [rgb2lab(picture.permute(0, 2, 3, 1).numpy()) for picture in (one, other)]
    wanted = float(deltaE_ciede2000(*lab).mean())
    ours = 100 * float(losses.colour_difference(one, other, one[:, :1]))
    assert ours == pytest.approx(wanted, rel=0.1)
    assert 100 * float(losses.colour_difference(one, one, one[:, :1])) == pytest.approx(0.1, abs=0.01)


# -- the families -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", list(FAMILIES))
def test_families_fade_always_alike_and_each_photograph_otherwise(family: str) -> None:
    picture = scene()
    one, again, other = (fade(family, picture, number) for number in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert 1 < metrics.delta_e(one, picture) < 40


def test_the_held_out_families_are_not_trained_on() -> None:
    assert set(HELD_OUT) < set(FAMILIES)
    assert not {"vignette", "mount"} & read_training_recipe("tone").damage.ageing.keys()
