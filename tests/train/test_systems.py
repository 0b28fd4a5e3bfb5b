"""Every system, tiny: trained for some steps, exported, compared with torch, and run through its task."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from engine.raster import ArrayMask, ArraySource
from engine.runtime.cards import ModelCard, Registry, read_card
from engine.runtime.session import Device
from engine.tasks import TASKS, DetectSettings, TaskInput, run_task
from engine.train.__main__ import main
from engine.train.data.batches import Batch, Batches
from engine.train.measure import metrics
from engine.train.nets.inpaint import EdgeMap, PartialConv, PartialUNet
from engine.train.nets.restore import ToneNet
from engine.train.recipe import TrainingRecipe, read_training_recipe, training_recipe_names
from engine.train.run import losses, systems
from engine.train.run.loop import Budget, fit, open_batches
from engine.train.run.trainer import Trainer
from tests.train.small import CPU, SMALL, small, sources


def drawn(recipe: TrainingRecipe, root: Path, *, needs: frozenset[str] = frozenset()) -> Batch:
    return open_batches(recipe, sources(root), CPU, validation=False, needs=needs).draw(recipe.data.batch)


def result_of(card: ModelCard, picture: np.ndarray) -> np.ndarray:
    """Run a model's task on a picture, with a stroke as mask if it needs one."""
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[20:26, 10:50] = 255
    task = TASKS[card.task]
    wanted = ArrayMask(mask) if task.wants_mask else None
    done = run_task(TaskInput(card.task, ArraySource(picture), None, wanted, task.settings(), card, Device.CPU))
    if task.gives == "picture":
        assert done.pixels.shape == (done.scale * picture.shape[0], done.scale * picture.shape[1], picture.shape[2])
        return np.asarray(done.pixels[:: done.scale, :: done.scale])
    if task.gives == "findings":
        return np.asarray(done.marks(DetectSettings()).mask())
    if task.gives == "faces":
        return np.zeros(done.shape)
    changed = np.asarray(done.apply_to(picture))
    if task.wants_mask:
        assert np.array_equal(changed[mask == 0], picture[mask == 0])
    return changed


def test_the_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(training_recipe_names()) == set(SMALL)
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} == set(SMALL)


def test_a_recipe_of_a_study_exports_a_study() -> None:
    """As those that ship are: trained again, it does not come to stand among the models for daily work."""
    shipped = {card.id: card.study for card in Registry(Path("none")).cards()}
    assert sum(shipped.values()) == 8
    assert {name: read_training_recipe(name).study for name in training_recipe_names()} == shipped


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_system_trains_exports_with_parity_and_runs_through_its_task(
    name: str, tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", name, "--data", str(folder / "scans"), "--masks", str(folder / "masks"), "--device", "cpu"]
    words += ["--faces", str(folder / "faces.tsv"), "--run-dir", str(tmp_path), "--minutes", "0.01"]
    for setting in ("data.crop=64", "data.batch=4", "damage.pool=6", "schedule.validation_crops=4"):
        words += ["--set", setting]
    words += ["--set", "adversary.start=0.0", "--set", f"network.options={SMALL[name]}"]
    assert main(words) == 0, capsys.readouterr().err
    card = read_card(tmp_path / name / "card.toml")
    card.verify()
    assert card.task == read_training_recipe(name).task
    assert card.study == read_training_recipe(name).study
    assert card.training.pictures_seen > 0
    assert bool(card.sheet) == (name == "dcgan")
    assert not card.sheet or cv2.imread(str(card.folder / card.sheet)).shape == (512, 512, 3)
    random = np.random.default_rng(1)
    for shape in ((57, 83, 3), (130, 71, 1)):
        picture = random.integers(0, 65535, shape, np.uint16)
        result = result_of(card, picture)
        assert result.shape[:2] == shape[:2]
        if name == "cyclegan" and shape[2] == 3:
            assert metrics.structure(*((x // 257).astype(np.uint8) for x in (picture, result))) >= 0.95


@pytest.mark.parametrize("name", sorted(SMALL.keys() - {"cyclegan", "dcgan"}))
def test_a_system_learns_on_one_batch(name: str, tmp_path: Path, folder: Path) -> None:
    recipe = small(name, "schedule.warm_up=1", "schedule.learning_rate=2e-3", "adversary.weight=0", "adversary.style=0")
    recipe = dataclasses.replace(recipe, adversary=dataclasses.replace(recipe.adversary, matching=0.0))
    trainer = Trainer(recipe, tmp_path, CPU)
    batch = drawn(recipe, folder, needs=trainer.system.NEEDS)
    told = [float(trainer.train_step(batch, 0.0)["reconstruction"]) for _ in range(40)]
    assert np.mean(told[-3:]) < np.mean(told[:3])


def test_the_cycle_brings_the_tones_of_old_prints_to_those_of_fresh_ones(tmp_path: Path, folder: Path) -> None:
    settings = ["schedule.warm_up=1", "schedule.learning_rate=4e-3", "schedule.averaging=0.5"]
    recipe = small("cyclegan", *settings, "adversary.learning_rate=1e-3", "losses={cycle=1.0,identity=0.3}")
    trainer = Trainer(recipe, tmp_path, CPU)
    batches = Batches(recipe, sources(folder), CPU, validation=False, needs=trainer.system.NEEDS)
    held_out = batches.draw(32)
    before, _ = trainer.validate(held_out)
    for _ in range(80):
        trainer.train_step(batches.draw(8), 0.0)
    after, indicators = trainer.validate(held_out)
    assert indicators["tones_apart_before"] == pytest.approx(before, rel=0.02)
    assert after < 0.8 * before


# -- what must be true of single systems --------------------------------------------------------------------------


def test_partial_convolution_is_its_formula_and_its_mask_update_is_exact() -> None:
    torch.manual_seed(0)
    layer = PartialConv([2, 1], 3, 3, 2)
    pictures = [torch.rand(1, 2, 8, 10), torch.rand(1, 1, 8, 10)]
    valid = [(torch.rand(1, 1, 8, 10) < 0.3).float() for _ in range(2)]
    y, known = layer(pictures, valid)
    weight = layer.convolution.weight.detach().numpy()
    x = np.concatenate([(p * v)[0].numpy() for p, v in zip(pictures, valid, strict=True)])
    v = np.concatenate([valid[0][0].numpy().repeat(2, 0), valid[1][0].numpy()])
    x, v = (np.pad(a, ((0, 0), (1, 1), (1, 1))) for a in (x, v))
    for row in range(4):
        for column in range(5):
            window = np.s_[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            count = v[window].sum()
            assert float(known[0, 0, row, column]) == (count > 0)
            wanted = (weight * x[window]).sum(axis=(1, 2, 3)) * 27 / max(count, 1) * (count > 0)
            assert y[0, :, row, column].detach().numpy() == pytest.approx(wanted, abs=1e-5)


def test_partial_convolution_never_sees_what_is_hidden() -> None:
    torch.manual_seed(0)
    network = PartialUNet([16, 16, 16]).eval()
    picture, mask = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    mask[..., 16:40, 8:60] = 1
    other = picture * (1 - mask) + mask * torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(picture, mask), network(other, mask))


def test_the_edge_map_finds_thin_edges_where_they_are() -> None:
    picture = torch.zeros(1, 3, 32, 32)
    picture[..., 16:] = 1
    edges = EdgeMap()(picture)[0, 0]
    assert edges[:, 15:17].sum() == 32
    assert edges.sum() == 32
    assert not EdgeMap()(torch.full((1, 3, 32, 32), 0.4)).any()


def test_edges_that_a_restorer_draws_steer_the_fill(tmp_path: Path, folder: Path) -> None:
    recipe = small("edgeconnect")
    trainer = Trainer(recipe, tmp_path, CPU)
    batch = drawn(recipe, folder)
    for _ in range(3):
        trainer.train_step(batch, 0.0)
    fill = trainer.system.generator.fill
    with torch.no_grad():
        hidden = batch.photo * (1 - batch.mask)
        none, all_ = (fill(hidden, batch.mask, torch.full_like(batch.mask, value)) for value in (0.0, 1.0))
    assert float(((none - all_).abs() * batch.mask).max()) > 1e-4


def test_the_unsupervised_system_never_sees_what_is_lost(tmp_path: Path, folder: Path) -> None:
    recipe = small("unsupervised")
    batch = drawn(recipe, folder, needs=frozenset({"lost"}))
    assert batch.lost.any()
    spoilt = dataclasses.replace(
        batch, photo=batch.photo * (1 - batch.lost) + batch.lost * torch.rand_like(batch.photo)
    )
    told = []
    for seen in (batch, spoilt):
        system = Trainer(recipe, tmp_path, CPU).system
        with torch.no_grad():
            made = system.run_generator(system.generator, seen)
            real, _ = system.pairs(seen, made)[0]
            told.append((float(system.loss(seen, made)), float(system.error(seen, made)), real.sum().item()))
    assert told[0] == told[1]


def test_tone_moves_colours_and_no_geometry() -> None:
    torch.manual_seed(0)
    net = ToneNet(8, 32)
    torch.nn.init.normal_(net.decide[2].weight, std=0.05)
    picture = torch.rand(1, 3, 40, 48)
    thumbnail = net.thumbnail(picture)
    with torch.no_grad():
        whole = net(picture, thumbnail)
        part = net(picture[..., 8:24, 16:40], thumbnail)
        shuffled = net(picture.flip(3), thumbnail)
    assert not torch.allclose(whole, picture, atol=1e-3)
    assert torch.allclose(whole[..., 8:24, 16:40], part, atol=1e-6)
    assert torch.allclose(whole.flip(3), shuffled, atol=1e-6)


def test_variety_is_low_for_a_collapsed_generator() -> None:
    random = torch.Generator().manual_seed(0)
    photographs = torch.rand(32, 3, 16, 16, generator=random)
    fine = torch.rand(32, 3, 16, 16, generator=random)
    collapsed = photographs[:1].expand(32, -1, -1, -1) + 0.01 * torch.rand(32, 3, 16, 16, generator=random)
    assert systems.sample_variety(fine, photographs) == pytest.approx(1.0, abs=0.05)
    assert systems.sample_variety(collapsed, photographs) < 0.05


def test_the_encoder_of_the_prior_is_trained_without_changing_its_generator(tmp_path: Path, folder: Path) -> None:
    trainer = Trainer(small("dcgan", "adversary.weight=0"), tmp_path, CPU)
    batch = drawn(trainer.recipe, folder)
    nets = trainer.system.generator
    before = {name: value.detach().clone() for name, value in nets.named_parameters()}
    for _ in range(3):
        trainer.train_step(batch, 0.0)
    for name, value in nets.named_parameters():
        assert torch.equal(value, before[name]) == name.startswith("generator."), name
    # The batch statistics are those of the samples only.
    assert {int(norm.num_batches_tracked) for norm in nets.generator.norms} == {3}


def test_the_prior_logs_its_variety(tmp_path: Path, folder: Path) -> None:
    trainer = Trainer(small("dcgan"), tmp_path, CPU)
    fit(trainer, sources(folder), Budget(0.005), say=lambda _: None)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert 0 <= rows[-1]["variety"] < 10


def test_the_image_pool_returns_earlier_pictures(tmp_path: Path) -> None:
    system = Trainer(small("cyclegan"), tmp_path, CPU).system
    seen: set[float] = set()
    for step in range(40):
        fake = torch.full((4, 3, 2, 2), float(step))
        pairs = system.critic_pairs([(fake, fake), (fake, fake)])
        seen |= {step - float(picture.mean()) for picture in pairs[0][1]}
    assert 0.0 in seen
    assert max(seen) > 5


# -- losses -------------------------------------------------------------------------------------------------------


def test_adversarial_losses_have_the_values_of_their_formulas() -> None:
    real, fake = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -1.0])

    def log_sigmoid(values: torch.Tensor) -> float:
        return float(torch.log(torch.sigmoid(values)).mean())

    wanted = {
        "minimax": (-log_sigmoid(real) - log_sigmoid(-fake), -log_sigmoid(fake)),
        "least_squares": ((0 + 1) / 4 + (0.25 + 1) / 4, (0.25 + 4) / 4),
        "hinge": (0 + (1.5 + 0) / 2, 0.25),
        "relativistic": (
            -log_sigmoid(real - fake.mean()) - log_sigmoid(-(fake - real.mean())),
            -log_sigmoid(fake - real.mean()) - log_sigmoid(-(real - fake.mean())),
        ),
        "wgan_gp": (-0.25 - 1.5, 0.25),
    }
    assert wanted.keys() == losses.ADVERSARIAL.keys()
    for name, (discriminator, generator) in wanted.items():
        game = losses.ADVERSARIAL[name]
        assert float(game.discriminator(real, fake)) == pytest.approx(discriminator), name
        assert float(game.generator(real, fake)) == pytest.approx(generator), name


def test_terms_have_the_values_of_their_formulas() -> None:
    photo, mask = torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)
    mask[..., 1:3, 1:3] = 1
    assert float(losses.l1(photo + 0.5, photo, mask)) == pytest.approx(0.5)
    assert float(losses.l2(photo + 0.5, photo, mask)) == pytest.approx(0.25)
    # Eight sides of the square of ones in a field of 16 pixels.
    assert float(losses.total_variation(photo + 1, photo, mask)) == pytest.approx(3 * 8 / (3 * 16))
    assert float(losses.log_l2(photo + 0.1, photo, mask)) == pytest.approx(np.log(0.0102))
    one, other = torch.rand(2, 1, 3, 6, 6)
    colours = [rgb2lab(x[0].permute(1, 2, 0).numpy()) for x in (one, other)]
    apart = np.linalg.norm(colours[0] - colours[1], axis=2).mean() / 100
    assert float(losses.lab(one, other, mask)) == pytest.approx(apart, rel=1e-3)
    features = torch.rand(1, 3, 4, 5)
    flat = features[0].reshape(3, 20).numpy()
    assert losses.gram(features)[0].numpy() == pytest.approx(flat @ flat.T / 20, rel=1e-5)
    assert float(losses.style([features, photo], [features, photo])) == 0
    critic = [torch.nn.Conv2d(3, 1, 1, bias=False)]
    torch.nn.init.constant_(critic[0].weight, 0.5)
    penalty = losses.gradient_penalty(lambda x: [critic[0](x)], photo, photo + 1)
    assert float(penalty.detach()) == pytest.approx((0.5 * np.sqrt(48) - 1) ** 2, rel=1e-5)


def test_colours_outside_0_to_1_have_a_gradient() -> None:
    beyond = torch.tensor([[[[-0.5, 1.5]]] * 3]).reshape(1, 3, 1, 2).requires_grad_()
    losses.lab(beyond, torch.full((1, 3, 1, 2), 0.5), torch.zeros(1, 1, 1, 2)).backward()
    assert beyond.grad is not None
    assert (beyond.grad[..., 0] < 0).all()
    assert (beyond.grad[..., 1] > 0).all()


@pytest.mark.parametrize("game", sorted(losses.ADVERSARIAL))
def test_every_adversarial_loss_trains(game: str, tmp_path: Path, folder: Path) -> None:
    more = [f"adversary.game={game}", "adversary.weight=0.1", "adversary.style=0.1", "adversary.gradient_penalty=1.0"]
    recipe = small("partial_convolution", *more)
    trainer = Trainer(recipe, tmp_path, CPU)
    batch = drawn(recipe, folder)
    before = [p.detach().clone() for p in trainer.system.critics.parameters()]
    told = trainer.train_step(batch, 0.0)
    assert all(torch.isfinite(value).all() for value in told.values())
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.system.critics.parameters(), strict=True))
