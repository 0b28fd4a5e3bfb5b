"""Training with tiny networks and pictures: settings, damage, the loop, export, and running the exported model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.errors import EngineError, ModelError, ReadError, SettingsError
from engine.runtime.cards import Registry, Training
from engine.runtime.session import Device
from engine.train.__main__ import main
from engine.train.damage import pools, shapes
from engine.train.data.batches import Sources
from engine.train.data.crops import Photographs, flip_and_turn
from engine.train.data.photographs import is_validation, photograph_paths
from engine.train.measure import evaluate
from engine.train.nets import DISCRIMINATORS, NETWORKS, build
from engine.train.nets.blocks import membrane
from engine.train.nets.inpaint import HealUNet
from engine.train.recipe import Data, TrainingRecipe, read_training_recipe, recipe_from_dict, training_recipe_names
from engine.train.run import export, losses
from engine.train.run.loop import Budget, fit
from engine.train.run.systems import SYSTEMS
from engine.train.run.trainer import Trainer, learning_rate, read_checkpoint
from tests.train.small import small

CPU = torch.device("cpu")
TINY = [
    "data.crop=32",
    "data.batch=4",
    "damage.pool=8",
    "schedule.validation_crops=4",
    "schedule.warm_up=2",
    "schedule.validate_every=0.2",
    "network.options={widths=[8,8,8,8],blocks=[1,1,1,1]}",
]
EXPORTED = [*TINY[:-1], "network.options={widths=[8,8,8,8],side=32}"]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty small photographs of smooth gradients, some of them for validation, and some rubbish."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:60, 0:80] / 80
    for number in range(60):
        a, b, c = random.uniform(-1, 1, (3, 3))
        wave = np.sin(6 * (x[..., None] * a + y[..., None] * b) + c)
        Image.fromarray((127 + 100 * wave).astype(np.uint8)).save(folder / f"photo_{number:02d}.png")
    (folder / "notes.txt").write_text("no photograph")
    (folder / "broken_1.jpg").write_bytes(b"\xff\xd8 rubbish")
    Image.new("RGB", (10, 10)).save(folder / "small_1.png")
    return folder


def tiny(*more: str) -> TrainingRecipe:
    return read_training_recipe("heal", [*TINY, *more])


def trained(run: Path, photographs: Path, *more: str, minutes: float = 0.02) -> Trainer:
    trainer = Trainer(tiny(*more), run, CPU)
    fit(trainer, Sources(photographs), Budget(minutes), say=lambda _: None)
    return trainer


# -- settings -----------------------------------------------------------------------------------------------------


def test_the_shipped_recipes_are_read() -> None:
    assert "heal" in training_recipe_names()
    for name in training_recipe_names():
        recipe = read_training_recipe(name)
        assert recipe_from_dict(recipe.as_dict()) == recipe
        losses.check_losses(recipe.losses, SYSTEMS[recipe.system].TERMS)
        assert set(recipe.damage.kinds) <= set(shapes.MASKS)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("data.crpo=64", "data.crpo"),
        ("data.crop=33", "data.crop"),
        ("data.crop=big", "data.crop"),
        ("schedule.floor=1.0", "schedule.floor"),
        ("losses={}", "losses"),
        ("nothing", "nothing"),
        ("data.crop.size=3", "data.crop.size"),
        ("adversary.start=2.0", "adversary.start"),
        ("damage.kinds={}", "damage.kinds"),
    ],
)
def test_unknown_and_impossible_settings_are_named(override: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read_training_recipe("heal", [override])


def test_a_missing_or_invalid_recipe_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="heal"):
        read_training_recipe("hael")
    (tmp_path / "r.toml").write_text("= 3")
    with pytest.raises(SettingsError, match="TOML"):
        read_training_recipe(str(tmp_path / "r.toml"))
    (tmp_path / "r.toml").write_text('title = "x"\nsummary = "y"\nlosses = { l1_hole = 1 }')
    with pytest.raises(SettingsError, match="task"):
        read_training_recipe(str(tmp_path / "r.toml"))


def test_unknown_networks_losses_and_options_are_named() -> None:
    with pytest.raises(SettingsError, match="nonet"):
        build(NETWORKS, "nonet")
    with pytest.raises(SettingsError, match="depth"):
        build(NETWORKS, "heal_unet", {"depth": 3})
    with pytest.raises(SettingsError, match="l3"):
        losses.check_losses({"l3": 1.0}, losses.LOSSES)


# -- data and damage ----------------------------------------------------------------------------------------------


def test_the_validation_tenth_is_fixed_and_apart(photographs: Path) -> None:
    train = photograph_paths(photographs, validation=False)
    held_out = photograph_paths(photographs, validation=True)
    assert not set(train) & set(held_out)
    assert 2 <= len(held_out) <= 14
    names = [f"{number}.jpg" for number in range(5000)]
    assert 0.08 < np.mean([is_validation(name) for name in names]) < 0.12


def test_what_cannot_be_used_is_skipped_and_counted(photographs: Path) -> None:
    paths = [photographs / "photo_00.png", photographs / "broken_1.jpg", photographs / "small_1.png"]
    loaded = Photographs.load(paths, Data(crop=32), CPU)
    assert loaded.skipped == 2
    assert len(loaded) == 1
    with pytest.raises(SettingsError, match="None of the 2"):
        Photographs.load(paths[1:], Data(crop=32), CPU)


def test_a_folder_without_photographs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        photograph_paths(tmp_path / "none", validation=False)
    with pytest.raises(SettingsError, match="holds 0 pictures"):
        photograph_paths(tmp_path, validation=False)


def test_crops_are_pieces_of_the_photographs(photographs: Path) -> None:
    settings = Data(crop=32, zoom_out=1.0)
    path = photographs / "photo_03.png"
    loaded = Photographs.load([path], settings, CPU)
    crops, chosen = loaded.draw_crops(6, settings, torch.Generator().manual_seed(1))
    assert chosen.tolist() == [0] * 6
    assert crops.shape == (6, 4, 32, 32)
    assert not crops[:, 3].any()
    photo = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1).float() / 255
    windows = photo.unfold(1, 32, 1).unfold(2, 32, 1).permute(1, 2, 0, 3, 4).reshape(-1, 3, 32, 32)
    for crop in crops[:, :3]:
        views = [crop, crop.flip(2), crop.flip(1), crop.flip(1, 2)]
        views += [view.transpose(1, 2) for view in views]
        assert min(float((windows - view).abs().amax(dim=(1, 2, 3)).min()) for view in views) < 1e-6
    again, _ = loaded.draw_crops(6, settings, torch.Generator().manual_seed(1))
    assert torch.equal(crops, again)


def test_a_series_of_similar_photographs_is_drawn_no_more_than_its_share(photographs: Path) -> None:
    paths = [photographs / f"photo_{number:02d}.png" for number in range(20)]
    loaded = Photographs.load(paths, Data(crop=32, share_cap={"photo_0": 0.1}), CPU)
    chances = loaded.weights / loaded.weights.sum()
    assert float(chances[:10].sum()) == pytest.approx(0.1)


def test_flips_and_turns_reach_all_eight_symmetries() -> None:
    square = torch.arange(9.0).reshape(1, 1, 3, 3).expand(400, 1, 3, 3)
    turned = flip_and_turn(square, torch.Generator().manual_seed(0))
    assert len({tuple(view.flatten().tolist()) for view in turned}) == 8


@pytest.mark.parametrize("kind", list(shapes.MASKS))
def test_damage_is_seeded_covers_about_what_is_asked_and_only_adds(kind: str) -> None:
    def draw(seed: int) -> np.ndarray:
        return shapes.draw_mask(kind, (200, 240), 0.05, np.random.default_rng(seed))

    assert np.array_equal(draw(3), draw(3))
    assert not np.array_equal(draw(3), draw(4))
    shares = [(draw(seed) > 0).mean() for seed in range(20)]
    assert min(shares) >= 0.05
    assert np.mean(shares) < 0.35
    mask = draw(1)
    before = mask.copy()
    shapes.MASKS[kind](mask, np.random.default_rng(9))
    assert (mask >= before).all()
    assert set(np.unique(mask)) <= {0, 255}


def test_the_mask_pool_holds_no_empty_mask() -> None:
    pool = pools.mask_pool({"dust": 1.0, "box": 1.0}, 50, 64, 7)
    assert pool.shape == (50, 64, 64)
    assert pool.any(axis=(1, 2)).all()
    assert np.array_equal(pool, pools.mask_pool({"dust": 1.0, "box": 1.0}, 50, 64, 7))


# -- networks and losses ------------------------------------------------------------------------------------------


@given(st.integers(0, 1000))
def test_the_membrane_keeps_what_is_known_and_stays_within_its_range(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    picture = torch.rand(2, 3, 64, 96, generator=random)
    mask = (torch.rand(2, 1, 64, 96, generator=random) < 0.6).float()
    filled = membrane(picture, mask, 5)
    assert torch.equal(filled * (1 - mask), picture * (1 - mask))
    assert filled.min() >= -1e-3
    assert filled.max() <= 1 + 1e-3


def test_the_membrane_continues_a_ramp() -> None:
    ramp = torch.linspace(0, 1, 128).reshape(1, 1, 1, 128).expand(1, 3, 128, 128)
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., 50:70] = 1
    assert float(((membrane(ramp, mask, 5) - ramp).abs() * mask).max()) < 0.04


def test_the_network_begins_as_the_membrane_and_never_sees_under_the_mask() -> None:
    network = HealUNet([8, 8, 8, 8], [1, 1, 1, 1])
    picture, mask = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    mask[..., 20:30, 10:50] = 1
    with torch.no_grad():
        assert torch.equal(network(picture, mask), membrane(picture, mask, 5))
        torch.nn.init.normal_(network.tail.weight)
        hidden = picture * (1 - mask) + mask * torch.rand(1, 3, 64, 64)
        assert torch.equal(network(picture, mask), network(hidden, mask))


def test_the_heal_network_is_within_its_budget() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    recipe = read_training_recipe("heal")
    network = build(NETWORKS, recipe.network.name, recipe.network.options)
    assert sum(p.numel() for p in network.parameters()) <= 4_000_000
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(1, 3, 256, 256), torch.zeros(1, 1, 256, 256))
    assert counter.get_total_flops() / 2 / (256 * 256 / 1e6) <= 60e9


def test_losses_have_the_values_of_their_formulas() -> None:
    photo, output = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    mask = torch.zeros(2, 1, 4, 4)
    mask[0, :, :2], mask[1, :, :1] = 1, 1
    output[0, :, :2], output[1, :, :1], output[:, :, 3] = 0.2, 0.4, 0.1
    assert float(losses.l1_hole(output, photo, mask)) == pytest.approx(0.3)
    assert float(losses.l2_hole(output, photo, mask)) == pytest.approx((0.04 + 0.16) / 2)
    assert float(losses.l1_valid(output, photo, mask)) == pytest.approx((0.1 / 2 + 0.1 / 3) / 2)
    assert float(losses.log_l1_hole(output, photo, mask)) == pytest.approx((np.log(0.21) + np.log(0.41)) / 2)
    assert float(losses.hinge_discriminator(torch.tensor([2.0]), torch.tensor([0.5]))) == pytest.approx(1.5)
    assert float(losses.negative_generator(torch.zeros(1), torch.tensor([0.5]))) == -0.5
    assert float(losses.feature_matching([photo, mask], [photo + 0.5, mask])) == pytest.approx(0.5)
    real = torch.ones(2, 3, 4, 4, requires_grad=True)
    assert float(losses.r1_penalty((real * 2).sum(dim=(1, 2, 3)), real).detach()) == pytest.approx(48 * 4 / 2)


# -- the loop -----------------------------------------------------------------------------------------------------


def test_the_learning_rate_warms_up_and_ends_at_its_floor() -> None:
    schedule = tiny("schedule.warm_up=10").schedule
    assert learning_rate(schedule, 0.0, 0) == pytest.approx(schedule.learning_rate / 10)
    assert learning_rate(schedule, 0.0, 100) == pytest.approx(schedule.learning_rate)
    assert learning_rate(schedule, 1.0, 100) == pytest.approx(schedule.floor)
    assert learning_rate(schedule, 3.0, 100) == pytest.approx(schedule.floor)


def test_training_leaves_a_complete_run_folder_and_learns(tmp_path: Path, photographs: Path) -> None:
    trainer = trained(tmp_path, photographs, "schedule.averaging=0.5", minutes=0.06)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"recipe.json", "log.jsonl", "best.pt"} <= names
    assert any(name.startswith("samples-") for name in names)
    assert 1 <= len(list(tmp_path.glob("step-*.pt"))) <= 2
    assert any(name.startswith("events.out.tfevents") for name in names)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["validation"] <= rows[0]["validation"] * 1.05
    assert rows[-1]["images_per_second"] > 0
    assert rows[-1]["learning_rate"] < rows[0]["learning_rate"]
    assert trainer.elapsed >= 0.06 * 60
    assert recipe_from_dict(json.loads((tmp_path / "recipe.json").read_text())) == trainer.recipe


def test_a_slice_stops_early_and_resuming_goes_on_exactly(tmp_path: Path, photographs: Path) -> None:
    first = Trainer(tiny(), tmp_path, CPU)
    fit(first, Sources(photographs), Budget(10.0, slice_minutes=0.01), say=lambda _: None)
    assert first.elapsed < 60
    second = Trainer(tiny(), tmp_path, CPU)
    assert second.resume()
    assert (second.step, second.elapsed, second.best) == (first.step, first.elapsed, first.best)
    for one, other in zip(first.system.parameters(), second.system.parameters(), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(first.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(one, other)
    fit(second, Sources(photographs), Budget(10.0, slice_minutes=0.01), say=lambda _: None)
    assert second.step > first.step


def test_a_damaged_checkpoint_falls_back_to_the_previous_one(tmp_path: Path) -> None:
    saved = Trainer(tiny(), tmp_path, CPU)
    for step in (3, 7):
        saved.step = step
        saved.save_step()
    checkpoints = sorted(tmp_path.glob("step-*.pt"))
    checkpoints[-1].write_bytes(checkpoints[-1].read_bytes()[:1000])
    trainer = Trainer(tiny(), tmp_path, CPU)
    assert trainer.resume()
    assert trainer.step == 3
    checkpoints[0].write_bytes(b"rubbish")
    with pytest.raises(ReadError, match="damaged"):
        Trainer(tiny(), tmp_path, CPU).resume()


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path, photographs: Path) -> None:
    trained(tmp_path, photographs)
    other = Trainer(tiny("network.options={widths=[8,16,8,8],blocks=[1,1,1,1]}"), tmp_path, CPU)
    with pytest.raises(ReadError, match="another recipe"):
        other.resume()
    assert not Trainer(tiny(), tmp_path / "empty", CPU).resume()


def test_checkpoints_are_read_without_unpickling_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (print, ("executed",))

    path = tmp_path / "step-00000001.pt"
    torch.save({"generator": Evil()}, path)
    with pytest.raises(ReadError):
        read_checkpoint(path, CPU)


def test_a_failed_save_keeps_the_old_checkpoint(
    tmp_path: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trained(tmp_path, photographs)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.pt")}

    def full(_state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(EngineError, match="could not be saved"):
        trainer.save_step()
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.pt")} == before
    assert not list(tmp_path.glob(".*partial"))


def test_a_loss_that_is_not_a_number_stops_the_training(
    tmp_path: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(losses.LOSSES, "l1_hole", lambda output, photo, mask: (output * float("nan")).mean())
    with pytest.raises(EngineError, match="diverged"):
        trained(tmp_path, photographs)
    assert not list(tmp_path.glob("*.pt"))


def test_the_discriminators_start_late_and_are_logged_and_resumed(tmp_path: Path, photographs: Path) -> None:
    settings = ["adversary.weight=0.01", "adversary.matching=1.0", "adversary.start=0.0", "schedule.warm_up=1"]
    trainer = trained(tmp_path, photographs, *settings)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {"discriminator", "d_real_0", "d_fake_0"} <= rows[-1].keys()
    again = Trainer(tiny(*settings), tmp_path, CPU)
    assert again.resume()
    assert len(trainer.system.critics) == 1
    for one, other in zip(trainer.system.critics.parameters(), again.system.critics.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_discriminator_judges_patches() -> None:
    network = build(DISCRIMINATORS, "patch_discriminator", {"widths": (8, 16, 32)})
    features = network(torch.rand(2, 4, 64, 64))
    assert features[-1].shape == (2, 1, 8, 8)


# -- export and evaluation ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Path:
    """A tiny trained model of the network that is exported fastest, through the command line."""
    run = tmp_path_factory.mktemp("run")
    words = [
        "fit",
        "context_encoder",
        "--data",
        str(photographs),
        "--run-dir",
        str(run),
        "--minutes",
        "0.02",
        "--device",
        "cpu",
    ]
    for override in EXPORTED:
        words += ["--set", override]
    assert main(words) == 0
    return run


def test_fit_ends_with_an_export_that_runs_through_the_task(exported: Path, tmp_path: Path) -> None:
    registry = Registry(user_folder=tmp_path / "none", shipped=exported)
    card = registry.default("heal")
    card.verify()
    assert card.training.pictures_seen > 0
    assert card.training.minutes > 0
    fill = evaluate.model_as_peer(card, Device.CPU)
    picture = np.random.default_rng(0).integers(0, 255, (45, 61, 3), np.uint8)
    mask = np.zeros((45, 61), np.uint8)
    mask[10:14, 5:50] = 255
    filled = fill(picture, mask)
    assert np.array_equal(filled[mask == 0], picture[mask == 0])


def test_weights_are_stored_as_half_and_come_back_under_their_names(exported: Path) -> None:
    import onnx

    recipe = read_training_recipe("context_encoder", EXPORTED)
    model = onnx.load(str(exported / "context_encoder" / "model.onnx"))
    kinds = {t.data_type for t in model.graph.initializer if t.name.endswith(export.HALF)}
    assert kinds == {onnx.TensorProto.FLOAT16}
    weights = export.read_weights(recipe, exported / "context_encoder")
    network = build(NETWORKS, recipe.network.name, recipe.network.options)
    assert weights.keys() == network.state_dict().keys()
    trainer = Trainer(recipe, exported / "again", CPU)
    trainer.start_from(weights)
    with pytest.raises(SettingsError, match="do not fit"):
        Trainer(read_training_recipe("heal", ["damage.pool=1"]), exported / "again", CPU).start_from(weights)


def test_an_export_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "parity", lambda *_: 0.01)
    recipe = small("autoencoder")
    network = build(NETWORKS, recipe.network.name, recipe.network.options)
    with pytest.raises(ModelError, match="differ"):
        export.export_model(recipe, network.state_dict(), tmp_path / "m", Training())
    assert not list((tmp_path / "m").iterdir())


def test_evaluate_scores_the_model_and_its_peers(
    exported: Path, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "evaluate",
        str(exported / "context_encoder"),
        "--data",
        str(photographs),
        "--most",
        "2",
        "--write",
        "--device",
        "cpu",
    ]
    assert main(words) == 0
    printed = capsys.readouterr().out
    for name in ("model", "telea", "navier_stokes", "scratches", "strokes"):
        assert name in printed
    card = Registry(user_folder=exported / "none", shipped=exported).default("heal")
    assert set(card.scores) == {
        f"{protocol}_{name}"
        for protocol in ("scratches", "strokes", "boxes")
        for name in ("hole_psnr", "navier_stokes")
    }
    assert json.loads((exported / "context_encoder" / "scores.json").read_text())["strokes"]["model"]["psnr"] > 0


def test_the_command_line_says_what_is_wrong(
    tmp_path: Path, exported: Path, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, said in (
        (["fit", "none", "--data", str(photographs)], "no recipe"),
        (["fit", "heal", "--data", str(tmp_path / "none"), "--run-dir", str(tmp_path / "r")], "does not exist"),
        (["fit", "heal", "--data", str(photographs), "--run-dir", str(exported), "--device", "cpu"], "already holds"),
        (["export", str(tmp_path), "-o", str(tmp_path / "m")], "no checkpoint"),
        (["evaluate", str(tmp_path), "--data", str(photographs)], "card"),
    ):
        assert main(words) == 1
        assert said in capsys.readouterr().err
    assert main(["list"]) == 0
    assert "heal" in capsys.readouterr().out
