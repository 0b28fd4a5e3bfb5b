"""Training a detector, and the protocol by which detectors are scored."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from engine.errors import ModelError, SettingsError
from engine.runtime.cards import Training
from engine.train.__main__ import main
from engine.train.damage import degrade
from engine.train.damage.shapes import CLASSES
from engine.train.data.batches import Batches, MarkPool, Sources
from engine.train.data.crops import Photographs
from engine.train.data.textures import read_frames
from engine.train.measure import film, peers
from engine.train.nets.detect import DamageUNet
from engine.train.recipe import Data, TrainingRecipe
from engine.train.run import calibrate, losses
from engine.train.run.export import export_model, read_arrays, read_weights
from engine.train.run.negatives import Negatives
from engine.train.run.trainer import Trainer
from tests.train.small import CPU, small


@pytest.fixture(scope="module")
def textures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A texture of hair and of stain, and three frames of which the last two are held out."""
    folder = tmp_path_factory.mktemp("textures")
    texture = np.zeros((200, 200), np.uint8)
    cv2.line(texture, (20, 20), (180, 170), 255, 5)
    blob = cv2.circle(np.zeros((200, 200), np.uint8), (100, 100), 60, 255, -1)
    for name, picture in (("film_hair", texture), ("film_stain", blob)):
        (folder / name).mkdir()
        cv2.imwrite(str(folder / name / "1.png"), picture)
    (folder / "damage_frames").mkdir()
    for number in range(1, 4):
        frame = np.zeros((900, 1300), np.uint8)
        frame[number * 100 : number * 100 + 30, 200:1000] = 5
        cv2.imwrite(str(folder / "damage_frames" / f"frame-{number}.png"), frame)
    return folder


def batches(recipe: TrainingRecipe, folder: Path, textures: Path | None = None) -> Batches:
    given = Sources(folder / "scans", textures=textures)
    return Batches(recipe, given, CPU, validation=False, needs=frozenset({"damage"}))


# -- weights to begin from ----------------------------------------------------------------------------------------


def test_a_training_begins_from_a_file_of_arrays_and_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    recipe = small("detect")
    arrays = {
        name: value.numpy() for name, value in Trainer(recipe, tmp_path, CPU).system.generator.state_dict().items()
    }
    arrays["out.bias"] = np.full(4, 3.0)
    np.savez(tmp_path / "w.npz", **{name: value.astype(np.float16) for name, value in arrays.items()})
    trainer = Trainer(recipe, tmp_path, CPU)
    trainer.start_from(read_arrays(tmp_path / "w.npz"))
    assert float(trainer.system.generator.state_dict()["out.bias"][0]) == 3
    del arrays["down.0.bias"]
    np.savez(tmp_path / "part.npz", **arrays)
    with pytest.raises(SettingsError, match=r"do not fit .*down\.0\.bias"):
        trainer.start_from(read_arrays(tmp_path / "part.npz"))
    np.savez(tmp_path / "object.npz", a=np.array([{}], dtype=object))
    np.savez(tmp_path / "words.npz", a=np.array(["x"]))
    np.savez(tmp_path / "none.npz")
    (tmp_path / "torn.npz").write_bytes((tmp_path / "w.npz").read_bytes()[:900])
    for name in ("object", "words", "none", "torn", "missing"):
        with pytest.raises(ModelError, match=name):
            read_arrays(tmp_path / f"{name}.npz")


def test_the_network_has_the_parameters_of_the_trial_that_it_may_begin_from() -> None:
    network = DamageUNet()
    parameters = dict(network.named_parameters())
    classes = sum(value.numel() for name, value in parameters.items() if name.startswith("kinds."))
    assert sum(value.numel() for value in parameters.values()) - classes == 1_975_420
    assert parameters["enc.3.2.a.weight"].shape == (128, 128, 3, 3)
    assert parameters["up.1.weight"].shape == (224, 96, 1, 1)
    assert network.enc[3][2].a.dilation == (4, 4)
    assert network(torch.rand(1, 3, 32, 48)).shape == (1, 1 + len(CLASSES), 32, 48)


def test_a_training_begins_from_an_export_with_another_wrapper_and_without_classes(tmp_path: Path) -> None:
    recipe = small("detect")
    trainer = Trainer(recipe, tmp_path, CPU)
    # All different: the exporter stores equal weights once.
    random = torch.Generator().manual_seed(1)
    weights = {
        name: value + 0.01 * torch.randn(value.shape, generator=random)
        for name, value in trainer.system.generator.state_dict().items()
    }
    export_model(recipe, weights, tmp_path / "detect", Training("detect", "", "", 0, 0, 0))
    model = onnx.load(tmp_path / "detect" / "model.onnx")
    for tensor in model.graph.initializer:
        tensor.name = tensor.name.replace("network.", "0.")
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [name.replace("network.", "0.") for name in names]
    onnx.save(model, tmp_path / "detect" / "model.onnx")
    read = read_weights(recipe, tmp_path / "detect")
    assert read.keys() == weights.keys()
    read = {name: value for name, value in read.items() if not name.startswith("kinds.")}
    other = Trainer(recipe, tmp_path / "other", CPU)
    other.start_from(read)
    assert torch.allclose(other.system.generator.inp.weight, weights["inp.weight"], atol=1e-3)
    # Without classes it can be trained on, but not exported.
    with pytest.raises(RuntimeError, match="kinds"):
        export_model(recipe, read, tmp_path / "none", Training("detect", "", "", 0, 0, 0))


def test_exported_planes_are_the_probability_of_damage_in_the_likeliest_class_from_two_views() -> None:
    network = DamageUNet([16, 16, 16, 16], [1, 1, 1, 1]).eval()
    torch.nn.init.normal_(network.kinds.weight)
    picture = torch.rand(2, 3, 32, 48)
    planes = network.exports()[0].module(picture)
    assert planes.shape == (2, len(CLASSES), 32, 48)
    here, turned = network(picture), network(torch.rot90(picture, 2, (2, 3))).rot90(2, (2, 3))
    both = (here + turned) / 2
    assert torch.allclose(planes.amax(dim=1), torch.sigmoid(both[:, 0]), atol=1e-6)
    assert torch.equal(planes.argmax(dim=1), both[:, 1:].argmax(dim=1))
    again = network.exports()[0].module(torch.rot90(picture, 2, (2, 3)))
    assert torch.allclose(again.rot90(2, (2, 3)), planes, atol=1e-6)
    assert not torch.allclose(here, turned, atol=1e-3)


# -- batches ------------------------------------------------------------------------------------------------------


def test_the_truth_is_where_marks_can_be_seen_and_a_fifth_of_the_crops_has_none(folder: Path, textures: Path) -> None:
    recipe = small("detect", "damage.ageing={}", "data.zoom_in=1.0")
    batch = batches(recipe, folder, textures).draw(60)
    assert batch.truth.shape == (60, 2, 64, 64)
    damaged, kinds = batch.truth[:, :1], batch.truth[:, 1:]
    changed = (batch.damaged - batch.photo).abs().amax(dim=1, keepdim=True)
    assert (changed[damaged > 0] > 0.04).float().mean() > 0.95
    assert (changed[damaged == 0] > 0.2).float().mean() < 0.01
    sound = (damaged.sum(dim=(1, 2, 3)) == 0).sum()
    assert 4 <= int(sound) <= 24
    assert torch.equal(batch.damaged[0], batch.photo[0]) == (not damaged[0].any())
    # Parts of frames hold several classes; of all other marks the class is known.
    numbers = {int(value) for value in kinds[damaged > 0].unique()}
    assert -1 in numbers
    assert {CLASSES.index("hair"), CLASSES.index("stain")} <= numbers <= {-1, *range(len(CLASSES))}
    assert not kinds[damaged == 0].any()


def test_where_marks_cross_the_class_is_that_of_the_last_one() -> None:
    masks = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    masks[0, 0, 4:12], masks[1, 0, 4:12, 4:12] = 255, 255
    looks = torch.full((2,), degrade.LOOK_NUMBER["loss"])
    pool = MarkPool(masks, looks, torch.tensor([CLASSES.index("tear"), -1]))
    choices, random = torch.Generator().manual_seed(3), torch.Generator().manual_seed(4)
    _, truth = pool.add_to(torch.full((40, 3, 16, 16), 0.4), choices, random)
    assert truth.shape == (40, 2, 16, 16)
    crossed = [one for one in truth if len(one[1, one[0] > 0].unique()) == 2]
    assert crossed
    assert all(set(one[1].unique().tolist()) == {-1.0, 0.0, float(CLASSES.index("tear"))} for one in crossed)


def test_crops_are_enlarged_as_well_as_reduced(folder: Path) -> None:
    paths = sorted((folder / "scans").iterdir())[:4]
    settings = Data(crop=32, zoom_out=2.0, zoom_in=2.0)
    loaded = Photographs.load(paths, settings, CPU)
    steps = []
    for seed in range(40):
        crops, _ = loaded.draw_crops(2, settings, torch.Generator().manual_seed(seed))
        assert crops.shape == (2, 4, 32, 32)
        steps.append(float((crops[:, :3, 1:] - crops[:, :3, :-1]).abs().mean()))
    assert max(steps) > 1.8 * min(steps)


def test_photographs_with_damage_of_their_own_are_neither_negatives_nor_sound(folder: Path) -> None:
    drawn = batches(small("detect", 'data.unlabelled=["photo_0", "photo_1"]'), folder)
    names, labelled = drawn.photographs.names, drawn.draw(40).labelled
    assert 0 < int(labelled.sum()) < 40
    weights = drawn.photographs.weights * torch.tensor([not name.startswith(("photo_0", "photo_1")) for name in names])
    assert 0 < int((weights > 0).sum()) < len(names)
    seen: list[torch.Tensor] = []
    crops = Photographs.draw_crops

    def spy(photographs: Photographs, *given: object) -> object:
        seen.append(photographs.weights)
        return crops(photographs, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Photographs, "draw_crops", spy)
        assert drawn.draw_sound(3)[0].shape == (3, 3, 64, 64)
    assert torch.equal(seen[0], weights)
    with pytest.raises(SettingsError, match="hard negatives need others"):
        batches(small("detect", 'data.unlabelled=["photo_"]'), folder)


def test_hard_negatives_are_the_sound_crops_with_the_most_false_damage(folder: Path) -> None:
    recipe = small("detect", "negatives={share=0.5,candidates=12,kept=3,pool=5,every=1}", "damage.ageing={}")
    drawn = batches(recipe, folder)
    negatives = Negatives(recipe, drawn)
    batch = drawn.draw(4)
    assert negatives.add_to(batch) is batch
    brightness: list[float] = []

    def detector(pictures: torch.Tensor) -> torch.Tensor:
        brightness.extend(pictures.mean(dim=(1, 2, 3)).tolist())
        return 20 * pictures.mean(dim=1, keepdim=True) - 10

    negatives.search(detector)
    mixed = negatives.add_to(batch)
    assert not mixed.truth[:2].any()
    assert mixed.labelled[:2].all()
    assert torch.equal(mixed.damaged[2:], batch.damaged[2:])
    brightest = sorted(brightness)[-3:]
    for picture in mixed.damaged[:2]:
        assert min(abs(float(picture.mean()) - value) for value in brightest) < 0.01
    negatives.search(detector)
    negatives.search(detector)
    assert negatives._pool is not None
    assert len(negatives._pool) == 5


def test_photographs_with_false_damage_are_searched_more_often(folder: Path) -> None:
    recipe = small("detect", "negatives={share=0.5,candidates=24,kept=3,pool=5,every=1}", "damage.ageing={}")
    drawn = batches(recipe, folder)
    negatives, counts = Negatives(recipe, drawn), torch.zeros(len(drawn.photographs.names))
    draw = drawn.draw_sound

    def only_first_looks_damaged(pictures: torch.Tensor) -> torch.Tensor:
        part, chosen[:] = chosen[: len(pictures)], chosen[len(pictures) :]
        looks = torch.tensor([10.0 if number == 0 else -10.0 for number in part])
        return looks[:, None, None, None].expand(len(pictures), 1, *pictures.shape[2:])

    def spy(count: int, weights: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        crops, numbers = draw(count, weights)
        chosen.extend(numbers.tolist())
        counts.index_add_(0, numbers, torch.ones(count))
        return crops, numbers

    chosen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawn, "draw_sound", spy)
        for _ in range(12):
            negatives.search(only_first_looks_damaged)
    assert counts[0] > 2 * counts[1:].max()
    assert counts[1:].sum() > 0


# -- losses -------------------------------------------------------------------------------------------------------


def test_edges_count_half_and_unlabelled_photographs_are_not_learnt_as_sound() -> None:
    truth = torch.zeros(2, 1, 20, 20)
    truth[:, :, 5:15, 5:15] = 1
    logits = torch.full((2, 1, 20, 20), -5.0)
    logits[:, :, 0, 0] = 3.0
    weight = losses.detection_weight(logits, truth, torch.tensor([True, False]))
    assert weight[0, 0, 10, 10] == 1
    assert weight[0, 0, 5, 10] == weight[0, 0, 4, 10] == 0.5
    assert weight[0, 0, 0, 0] == 1
    assert weight[1, 0, 0, 0] == 0
    assert weight[1, 0, 1, 1] == 1


def test_terms_of_detection_have_the_values_of_their_formulas() -> None:
    truth, weight = torch.zeros(2, 1, 16, 16), torch.ones(2, 1, 16, 16)
    truth[0, :, :8] = 1
    truth[0, :, 12, 3] = 1
    nothing = torch.zeros(2, 1, 16, 16)
    sums = 2 * 128 + 4 * 1 + (256 - 129) + 256
    assert float(losses.damage_entropy(nothing, truth, weight)) == pytest.approx(20 * np.log(2) * sums / 512, rel=1e-4)
    sure = 30 * (2 * truth - 1)
    assert float(losses.damage_entropy(sure, truth, weight)) == pytest.approx(0, abs=1e-6)
    assert float(losses.damage_dice(sure, truth, weight)) == pytest.approx(0, abs=1e-4)
    # Only the picture with damage counts.
    assert float(losses.damage_dice(-sure, truth, weight)) == pytest.approx(1 - 1 / (127 + 129 + 1), rel=1e-3)
    weight[0, :, 12, 3] = 0
    ignored = sure.clone()
    ignored[0, :, 12, 3] *= -1
    assert float(losses.damage_dice(ignored, truth, weight)) == pytest.approx(0, abs=1e-4)


def test_the_class_is_learnt_only_where_damage_is_and_its_class_is_known() -> None:
    truth, weight = torch.zeros(1, 2, 16, 16), torch.ones(1, 1, 16, 16)
    truth[0, 0, :8], truth[0, 1, :8] = 1, 2
    truth[0, 0, 12, 3], truth[0, 1, 12, 3] = 1, -1
    output = torch.zeros(1, 1 + len(CLASSES), 16, 16)
    assert float(losses.damage_kind(output, truth, weight)) == pytest.approx(np.log(len(CLASSES)), rel=1e-4)
    output[:, 1 + 2, :8] = 30
    assert float(losses.damage_kind(output, truth, weight)) == pytest.approx(0, abs=1e-6)
    output[:, 1 + 2, 0] = -30
    assert float(losses.damage_kind(output, truth, weight)) > 1
    weight[..., 0, :] = 0
    assert float(losses.damage_kind(output, truth, weight)) == pytest.approx(0, abs=1e-6)
    assert float(losses.damage_kind(output, torch.zeros_like(truth), weight)) == 0


def test_calibrated_probabilities_are_frequencies_and_keep_their_order() -> None:
    random = torch.Generator().manual_seed(1)
    true = torch.linspace(-6, 2, 40_000)
    truth = (torch.rand(40_000, generator=random) < torch.sigmoid(true)).float()
    scale, shift = calibrate.fit_scale_and_shift(2.5 * true + 3, truth)
    assert scale == pytest.approx(1 / 2.5, rel=0.1)
    assert shift == pytest.approx(-3 / 2.5, abs=0.15)
    network = DamageUNet([16, 16, 16, 16], [1, 1, 1, 1])
    picture = torch.rand(1, 3, 32, 32, generator=random)
    before, kinds = network.look_twice(picture)
    network.scale_logits(0.4, -1.2)
    after, same = network.look_twice(picture)
    assert torch.allclose(after, 0.4 * before - 1.2, atol=1e-5)
    assert torch.equal(kinds, same)


def test_export_calibrates_a_detector_on_held_out_crops_and_nothing_else(
    folder: Path, textures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    trainer = Trainer(small("detect"), tmp_path / "run", CPU)
    trainer.start_from(trainer.system.generator.state_dict() | {"out.bias": torch.full((4,), 9.0)})
    trainer.save_step()
    words = ["export", str(tmp_path / "run"), "-o", str(tmp_path / "detect")]
    assert main([*words, "--data", str(folder / "scans"), "--textures", str(textures)]) == 0
    weights = read_weights(trainer.recipe, tmp_path / "detect")
    assert float(weights["out.bias"].mean()) < 0
    other = Trainer(small("autoencoder"), tmp_path / "other", CPU)
    other.run.mkdir()
    other.save_step()
    capsys.readouterr()
    words = ["export", str(other.run), "-o", str(tmp_path / "out"), "--data", str(folder / "scans")]
    assert main(words) == 1
    assert "Only detectors" in capsys.readouterr().err


# -- the protocol -------------------------------------------------------------------------------------------------


def cases(textures: Path) -> list[film.FilmCase]:
    from engine.train.data.textures import read_textures

    held_out, frames = read_textures(textures, validation=True), read_frames(textures, validation=True)
    picture = np.full((150, 200, 3), (90, 120, 150), np.uint8)
    return [film.film_case(held_out, frames, picture, number) for number in range(6)]


def test_frames_are_held_out_by_name(textures: Path) -> None:
    assert len(read_frames(textures, validation=True)) == 2
    (frame,) = read_frames(textures, validation=False)
    assert frame[110, 500] == 5
    assert read_frames(textures / "film_hair", validation=True) == []


def test_held_out_damage_covers_a_twentieth_and_the_truth_is_what_can_be_seen(textures: Path) -> None:
    made = cases(textures)
    for number, case in enumerate(made):
        changed = np.abs(case.given.astype(int) - case.original).max(axis=2)
        true = case.classes > 0
        assert np.percentile(changed[true], 2) > 8
        assert changed[~true].mean() < 12
        assert 0.02 < true.mean() < 0.35
        assert (case.original[..., 0] == case.original[..., 2]).all() == (number % 2 == 1)
    assert {int(value) for case in made for value in np.unique(case.classes)} >= {0, 1, 2, 4}
    again = cases(textures)
    assert all(np.array_equal(a.given, b.given) for a, b in zip(made, again, strict=True))


def test_scores_of_detectors_whose_answers_are_known(textures: Path) -> None:
    made = cases(textures)
    truth = {case.given.tobytes(): (case.classes > 0).astype(np.uint8) for case in made}

    def perfect(picture: np.ndarray) -> dict[float, np.ndarray]:
        nothing = np.zeros(picture.shape[:2], np.uint8)
        return {0.5: truth.get(picture.tobytes(), nothing), 0.9: nothing}

    scores = film.film_scores(made, perfect)
    assert scores[0.5]["precision"] == scores[0.5]["recall"] == scores[0.5]["f1"] == scores[0.5]["thin"] == 1
    assert scores[0.5]["flagged"] == scores[0.9]["f1"] == scores[0.9]["thin"] == 0
    everything = film.film_scores(made, lambda picture: {0.5: np.ones(picture.shape[:2], np.uint8)})[0.5]
    assert everything["recall"] == everything["flagged"] == everything["recall_hair"] == 1
    assert everything["precision"] < 0.6


def test_the_median_residue_finds_spots_on_a_plain_ground_and_is_less_sensitive_in_texture() -> None:
    picture = np.full((120, 120, 3), 128, np.uint8)
    picture[20:23, 20:40] = 250
    picture[80, 80] = 250
    found = peers.median_residue(picture)
    assert (found[20:23, 21:39] == 255).all()
    assert found[80, 80] == 0
    assert np.count_nonzero(found) < 100
    texture = np.random.default_rng(0).normal(128, 40, (120, 120, 1)).clip(0, 255).astype(np.uint8).repeat(3, axis=2)
    assert np.mean(peers.median_residue(texture) > 0) < 0.02
