"""The network that enlarges: convolutions that are merged when it is exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.errors import SettingsError
from engine.train.nets import NETWORKS, build
from engine.train.nets.cost import gigamacs
from engine.train.nets.enlarge import EdgeConv, EdgeUpscaler
from engine.train.recipe import read_training_recipe
from engine.train.run.export import count_parameters, read_weights
from engine.train.run.trainer import Trainer
from tests.train.small import CPU, small


def trained(conv: EdgeConv, seed: int = 0) -> EdgeConv:
    """Give all parts of a convolution weights, as a training does."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in conv.parameters():
            value.copy_(0.1 * torch.randn(value.shape, generator=random))
    return conv


def train_all(network: torch.nn.Module) -> None:
    for seed, module in enumerate(network.modules()):
        if isinstance(module, EdgeConv):
            trained(module, seed)


def test_the_merged_kernel_is_the_sum_of_its_parts() -> None:
    conv = trained(EdgeConv(5, 4))
    x = torch.rand(2, 5, 9, 11, generator=torch.Generator().manual_seed(1))
    functional = torch.nn.functional
    plain = functional.conv2d(x, conv.weight, conv.bias, padding=1)
    wide = functional.conv2d(functional.conv2d(x, conv.wide, padding=1), conv.narrow[:, :, None, None])
    edges = torch.zeros_like(plain)
    for slopes, mix, filter_ in zip(conv.slopes, conv.mix, conv.derivatives, strict=True):
        mixed = functional.conv2d(x, mix[:, :, None, None])
        same = filter_.expand(4, 1, 3, 3)
        edges = edges + slopes[:, None, None] * functional.conv2d(mixed, same, padding=1, groups=4)
    expected = plain + wide + edges
    assert torch.allclose(conv(x), expected, atol=1e-5)
    conv.merge()
    assert torch.allclose(conv(x), expected, atol=1e-5)
    assert {name for name, _ in conv.named_parameters()} == {"weight", "bias"}


def test_a_network_begins_as_bicubic_and_exports_plain_convolutions() -> None:
    network = EdgeUpscaler(4, 16, 2).eval()
    picture = torch.rand(1, 3, 12, 10, generator=torch.Generator().manual_seed(1))
    smooth = torch.nn.functional.interpolate(picture, scale_factor=4.0, mode="bicubic", align_corners=False)
    assert torch.allclose(network(picture), smooth)
    train_all(network)
    (export,) = network.exports()
    assert torch.allclose(export.module(picture), network(picture), atol=1e-4)
    assert len(list(export.module.parameters())) == 2 * (2 + 2 * 2)


def test_the_recipe_stays_within_its_budget() -> None:
    recipe = read_training_recipe("upscale4")
    network = build(NETWORKS, recipe.network.name, recipe.network.options)
    assert count_parameters(recipe) < 280_000
    assert gigamacs(network, 256) * 256**2 / 1e6 < 18.5


def test_a_training_goes_on_from_an_exported_model(tmp_path: Path) -> None:
    from engine.runtime.cards import Training
    from engine.train.run.export import export_model

    recipe = small("upscale4")
    trainer = Trainer(recipe, tmp_path / "run", CPU)
    train_all(trainer.system.generator)
    training = Training(recipe="upscale4", data="", machine="", minutes=1, pictures_seen=1, parameters=1)
    weights = trainer.system.generator.state_dict()
    export_model(recipe, weights, tmp_path / "upscale4", training)
    again = Trainer(recipe, tmp_path / "again", CPU)
    exported = read_weights(recipe, tmp_path / "upscale4")
    again.start_from(exported)
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before, after = trainer.system.generator(picture), again.system.generator(picture)
        averaged = again.average.module(picture)
    assert torch.allclose(before, after, atol=0.01)
    assert torch.equal(after, averaged)
    with pytest.raises(SettingsError, match="do not fit"):
        again.start_from({name: value for name, value in exported.items() if "tail" not in name})
