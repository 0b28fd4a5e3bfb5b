"""The commands that run models, with models whose results are known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from engine import cli, imageio
from engine.raster import Raster
from engine.runtime.cards import SHIPPED, ModelCard, Registry
from engine.tasks import pyramid
from tests import tiny_models
from tests.conftest import noise_raster


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scan with a white scratch, a mask of it, and a shelf of tiny models (and the heal that ships)."""
    shelf, folder = tmp_path / "shelf", tmp_path / "work"
    folder.mkdir()
    for make in (tiny_models.darker, tiny_models.dimmer, tiny_models.toner, tiny_models.finder):
        make(shelf)
    for make in (tiny_models.edger, tiny_models.prior):
        make(shelf)
    shutil.copytree(SHIPPED / "heal", shelf / "heal")
    monkeypatch.setattr(Registry.__init__, "__defaults__", (shelf / "none", shelf))
    monkeypatch.chdir(folder)
    pixels = noise_raster().pixels.copy()
    pixels[100:104, 50:200] = 65535
    imageio.write(Raster(pixels), folder / "in.tif")
    imageio.write_mask(((pixels == 65535).all(axis=2) * 255).astype(np.uint8), folder / "mask.png")
    return folder


def run(*words: str) -> int:
    return cli.main([*words, "--device", "cpu"])


def test_detect_writes_a_mask_and_a_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("detect", "in.tif", "-o", "found.png", "--json", "found.json", "--grow", "0") == 0
    assert capsys.readouterr().out == "scratch 1\n"
    assert np.array_equal(imageio.read_mask(folder / "found.png"), imageio.read_mask(folder / "mask.png"))
    listed = json.loads((folder / "found.json").read_text())
    assert listed["size"] == [400, 300]
    assert (listed["model"], listed["device"], listed["settings"]["grow"]) == ("finder", "cpu", 0)
    (defect,) = listed["defects"]
    assert (defect["kind"], defect["box"], defect["area"]) == ("scratch", [50, 100, 200, 104], 600)
    assert [50, 100] in defect["outline"]
    assert sorted(path.name for path in folder.iterdir()) == ["found.json", "found.png", "in.tif", "mask.png"]
    assert run("detect", "in.tif", "-o", "none.png", "--threshold", "0.95") == 0
    assert capsys.readouterr().out == "no damage found\n"
    assert listed["settings"]["scales"] == [1]
    assert not imageio.read_mask(folder / "none.png").any()


def test_detect_says_at_which_scales_it_looked(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyramid, "SHORTEST", 70)
    assert run("detect", "in.tif", "-o", "found.png", "--json", "found.json", "--widest", "0.5") == 0
    assert capsys.readouterr().out == "no damage found (looked at full size and reduced 2 and 4 times)\n"
    assert json.loads((folder / "found.json").read_text())["settings"]["scales"] == [1, 2, 4]


def test_heal_finds_the_damage_by_itself(folder: Path) -> None:
    assert run("heal", "in.tif", "-o", "out.tif", "--auto") == 0
    scan, result = imageio.read(folder / "in.tif").pixels, imageio.read(folder / "out.tif").pixels
    changed = (scan != result).any(axis=2)
    assert changed[100:104, 50:200].mean() > 0.99
    assert not changed[:98].any()
    assert not changed[106:].any()
    found, healed = json.loads((folder / "out.tif.record.json").read_text())["repairs"]
    assert (found["task"], found["boxes"]) == ("detect", [[50, 100, 200, 104]])
    assert (healed["task"], healed["model"]) == ("heal", "heal")


def test_a_large_area_is_found_but_not_healed_unasked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = imageio.read(folder / "in.tif").pixels.copy()
    pixels[200:260, 300:380] = 65535
    imageio.write(Raster(pixels), folder / "large.tif")
    assert run("detect", "large.tif", "-o", "all.png") == 0
    assert run("detect", "large.tif", "-o", "thin.png", "--widest", "1.5") == 0
    everything, thin = (imageio.read_mask(folder / name) for name in ("all.png", "thin.png"))
    assert everything[230, 340]
    assert not thin[180:].any()
    assert np.array_equal(thin[:180], everything[:180])
    assert run("heal", "large.tif", "-o", "out.tif", "--auto") == 0
    assert "One large area may be damage too" in capsys.readouterr().err
    changed = (imageio.read(folder / "out.tif").pixels != pixels).any(axis=2)
    assert changed[:180].any()
    assert not changed[180:].any()
    pixels = pixels.copy()
    pixels[100:104, 50:200] = 20000
    imageio.write(Raster(pixels), folder / "only.tif")
    assert run("heal", "only.tif", "-o", "none.tif", "--auto") == 1
    assert "nothing was healed" in capsys.readouterr().err
    assert not (folder / "none.tif").exists()


def test_clean_and_tone_write_new_pictures_with_records(folder: Path) -> None:
    scan = imageio.read(folder / "in.tif").pixels
    for words, wanted in (
        (["clean", "in.tif", "-o", "out.tif"], scan * 0.5),
        (["clean", "in.tif", "-o", "out.tif", "--strength", "0.5"], scan * 0.75),
        (["clean", "in.tif", "-o", "out.tif", "--model", "dimmer"], scan * 0.25),
        (["tone", "in.tif", "-o", "out.tif"], np.broadcast_to(scan.mean(axis=(0, 1)), scan.shape)),
    ):
        assert run(*words) == 0
        assert np.abs(imageio.read(folder / "out.tif").pixels - wanted).max() < 3
        record = json.loads((folder / "out.tif.record.json").read_text())
        assert record["command"] == record["repairs"][0]["task"] == words[0]
        assert record["repairs"][0]["boxes"] == [[0, 0, 400, 300]]


def test_a_picture_that_tone_leaves_as_it_is_is_written_and_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_models.identity(folder.parent / "shelf", "same", "tone")
    assert run("tone", "in.tif", "-o", "out.tif", "--model", "same") == 0
    assert "Tone: nothing to correct could be measured" in capsys.readouterr().err
    assert np.array_equal(imageio.read(folder / "out.tif").pixels, imageio.read(folder / "in.tif").pixels)
    record = json.loads((folder / "out.tif.record.json").read_text())
    assert (record["repairs"], record["samples_changed"]) == ([], 0)
    assert "left as it is" in record["notices"][0]


def test_edges_are_saved_and_followed(folder: Path) -> None:
    heal = ["heal", "in.tif", "--mask", "mask.png", "--texture", "0", "--model", "edger"]
    assert run(*heal, "-o", "a.tif", "--save-edges", "edges.png") == 0
    drawn = imageio.read_mask(folder / "edges.png").copy()
    assert not drawn[100:104, 50:200].any()
    drawn[101] = 255
    imageio.write_mask(drawn, folder / "mine.png")
    assert run(*heal, "-o", "b.tif", "--edges", "mine.png") == 0
    assert (imageio.read(folder / "b.tif").pixels[101, 50:200] == 65535).all()
    assert (imageio.read(folder / "a.tif").pixels[101, 50:200] == 0).all()


def test_a_variation_is_chosen(folder: Path) -> None:
    for variation in ("1", "2"):
        words = ["heal", "in.tif", "--mask", "mask.png", "--model", "prior", "--variation", variation]
        assert run(*words, "-o", f"{variation}.tif") == 0
        assert json.loads((folder / f"{variation}.tif.record.json").read_text())["repairs"][0]["settings"] == {
            "grow": 0.0,
            "feather": 0.0,
            "texture": 1.0,
            "variation": float(variation),
        }
    assert (folder / "1.tif").read_bytes() != (folder / "2.tif").read_bytes()


HEAL = ["heal", "in.tif", "-o", "out.tif", "--mask", "mask.png"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*HEAL, "--edges", "mask.png"], "heal does not work along edges"),
        ([*HEAL, "--save-edges", "edges.png"], "heal does not work along edges"),
        ([*HEAL, "--variation", "3"], "heal has no variation"),
        ([*HEAL, "--model", "prior", "--variation", "1000"], "from 0 to 99"),
        ([*HEAL, "--model", "edger", "--edges", "small.png"], "edge map is 8 x 9 px"),
        ([*HEAL, "--model", "edger", "--edges", "none.png"], "none.png"),
        ([*HEAL, "--model", "edger", "--save-edges", "mask.png"], "mask.png"),
        ([*HEAL, "--model", "edger", "--save-edges", "edges.tif"], ".png"),
        ([*HEAL, "--model", "finder"], "does not do heal, but detect"),
        (["heal", "plain.tif", "-o", "out.tif", "--auto"], "No damage was found"),
        (["heal", "in.tif", "-o", "in.tif", "--auto"], "in.tif"),
        (["detect", "in.tif", "-o", "out.tif"], ".png"),
        (["detect", "in.tif", "-o", "out.png", "--json", "out.png"], ".json"),
        (["detect", "in.tif", "-o", "out.png", "--json", "nowhere/out.json"], "nowhere"),
        (["detect", "in.tif", "-o", "out.png", "--threshold", "2"], "Threshold"),
        (["detect", "in.tif", "-o", "out.png", "--model", "darker"], "does not do detect, but clean"),
        (["detect", "none.tif", "-o", "out.png"], "none.tif"),
        (["clean", "in.tif", "-o", "out.tif", "--strength", "2"], "Strength"),
        (["clean", "in.tif", "-o", "in.tif"], "in.tif"),
        (["tone", "in.tif", "-o", "out.tif", "--model", "darker"], "does not do tone, but clean"),
        (["tone", "in.tif", "-o", "out.xyz"], "xyz"),
    ],
)
def test_impossible_commands_fail_with_a_sentence_and_write_nothing(
    folder: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    imageio.write_mask(np.full((9, 8), 255, np.uint8), folder / "small.png")
    imageio.write(noise_raster(), folder / "plain.tif")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert run(*words) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("words", [["heal", "in.tif", "-o", "out.tif"], [*HEAL, "--auto"], ["detect", "in.tif"]])
def test_heal_wants_a_mask_or_auto_and_not_both(folder: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        run(*words)
    assert raised.value.code == 2
    assert not (folder / "out.tif").exists()


def test_the_list_of_models_shows_a_few_scores(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {f"score_{i}": i / 2 for i in range(7)}
    card: ModelCard = tiny_models.identity(tmp_path / "shelf", "plenty")
    tiny_models.save(tmp_path / "shelf", "plenty", "clean", *card.stages, scores=scores)
    assert cli.main(["models", "list"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("plenty"))
    assert line.endswith("score_0 0, score_1 0.5, score_2 1 and 4 more")
    assert folder.is_dir()


def test_the_default_model_is_that_of_the_task_s_name_then_that_with_default(tmp_path: Path, folder: Path) -> None:
    shelf = tmp_path / "shelf"
    assert Registry().default("clean").id == "darker"
    card = tiny_models.identity(shelf, "zeta")
    tiny_models.save(shelf, "zeta", "clean", *card.stages, default=True)
    assert Registry().default("clean").id == "zeta"
    tiny_models.identity(shelf, "clean")
    assert Registry().default("clean").id == "clean"
    assert folder.is_dir()


def test_the_sample_sheet_of_an_added_model_is_copied(tmp_path: Path) -> None:
    card = tiny_models.prior(tmp_path)
    (card.folder / "samples.png").write_bytes(b"a picture")
    tiny_models.save(tmp_path, "prior", "heal", *card.stages, sheet="samples.png")
    added = Registry(tmp_path / "mine", tmp_path / "none").add(card.folder / "card.toml")
    assert (added.folder / added.sheet).read_bytes() == b"a picture"
