"""Recipes run on pictures; restore and upscale on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine import cli, imageio
from engine.errors import ModelError, SettingsError
from engine.jobs import Cancelled, JobContext
from engine.raster import ArraySource, Raster
from engine.recipes import Recipe, RestoreResult, Step, read_recipe, run_recipe
from engine.runtime.cards import SHIPPED, Registry
from engine.runtime.session import Device
from tests import tiny_models
from tests.conftest import noise_raster


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder with a model of known results for every task, and the shipped heal model."""
    shelf = tmp_path / "shelf"
    for make in (tiny_models.cleaner, tiny_models.toner):
        make(shelf)
    tiny_models.finder(shelf, sure=0.99)
    tiny_models.save(shelf, "darker", "clean", *tiny_models.darker(shelf).stages, default=True)
    for scale in (2, 4):
        tiny_models.enlarger(shelf, scale)
    shutil.copytree(SHIPPED / "heal", shelf / "heal")
    return shelf


@pytest.fixture
def folder(tmp_path: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scan with a white scratch, one without, and one that is nearly all white."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.setattr(Registry.__init__, "__defaults__", (shelf / "none", shelf))
    monkeypatch.chdir(folder)
    plain = noise_raster()
    imageio.write(plain, folder / "plain.tif")
    imageio.write(plain.with_pixels(scratched()), folder / "in.tif")
    white = plain.pixels.copy()
    white[:200] = 65535
    imageio.write(Raster(white), folder / "white.tif")
    return folder


def scratched(dtype: type = np.uint16, channels: int = 3) -> np.ndarray:
    pixels = noise_raster(dtype=dtype, channels=channels).pixels.copy()
    # As thin as what the shipped recipes heal.
    pixels[100:102, 50:200] = np.iinfo(dtype).max
    return pixels


def recipe_file(folder: Path, text: str, name: str = "mine.toml") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def step(task: str, **settings: float) -> str:
    values = ", ".join(f"{name} = {value}" for name, value in settings.items())
    return f'[[steps]]\ntask = "{task}"\nsettings = {{ {values} }}\n'


HEAD = 'title = "Mine"\n'


def made(shelf: Path, name: str, pixels: np.ndarray, context: JobContext | None = None) -> RestoreResult:
    registry = Registry(shelf / "none", shelf)
    return run_recipe(read_recipe(name), ArraySource(pixels), None, registry, Device.CPU, context)


# -- running --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_step_sees_what_the_one_before_made(shelf: Path, tmp_path: Path, dtype: type, channels: int) -> None:
    pixels = scratched(dtype, channels)
    text = HEAD + step("detect", grow=1) + step("heal", texture=0) + step("clean", strength=0.5)
    gentle = made(shelf, recipe_file(tmp_path, text.partition('[[steps]]\ntask = "clean"')[0]), pixels)
    result = made(shelf, recipe_file(tmp_path, text), pixels)
    assert result.marks is not None
    marked = result.marks.mask() > 0
    assert marked[100:102, 50:200].all()
    healed = gentle.pixels()
    assert np.array_equal(healed[~marked], pixels[~marked])
    assert (healed[100:102, 50:200] != pixels[100:102, 50:200]).mean() > 0.99
    # The healed picture, and no longer the scratch, was darkened by a quarter.
    assert np.abs(result.pixels() - healed * 0.75).max() <= 1
    assert [repair.task for repair, _ in result.patches] == ["heal", "clean"]
    assert [repair.task for repair in result.repairs] == ["detect", "heal", "clean"]
    assert result.notices == ()
    assert result.device is Device.CPU


def test_applying_the_patches_one_by_one_gives_the_same_picture(shelf: Path) -> None:
    pixels = scratched()
    result = made(shelf, "standard", pixels)
    laid = pixels
    for _, patch in result.patches:
        laid = patch.apply_to(laid)
    assert np.array_equal(laid, result.pixels())


def test_a_step_names_its_model(shelf: Path, tmp_path: Path) -> None:
    text = HEAD + '[[steps]]\ntask = "clean"\nmodel = "cleaner"\nsettings = { noise_level = 51 }'
    pixels = np.full((30, 40, 3), 40_000, np.uint16)
    assert (made(shelf, recipe_file(tmp_path, text), pixels).pixels() == 40_000 - 65535 // 5).all()
    for change, error, said in (
        (("cleaner", "none"), ModelError, "line 4: There is no model 'none'"),
        (("cleaner", "finder"), SettingsError, "line 4: The model finder does not do clean, but detect"),
        (("cleaner", "darker"), SettingsError, "line 5: The model darker has no noise level"),
        (("51", "70"), SettingsError, "line 5: Noise level of the model cleaner goes from 0 to 60"),
    ):
        with pytest.raises(error, match=f"The recipe mine.toml cannot be used: {said}"):
            made(shelf, recipe_file(tmp_path, text.replace(*change)), pixels)


def test_nothing_is_healed_when_nothing_or_nearly_everything_is_damaged(shelf: Path, tmp_path: Path) -> None:
    plain = noise_raster().pixels
    result = made(shelf, "gentle", plain)
    assert result.notices == ("No damage was found: nothing was healed.",)
    assert np.array_equal(result.pixels(), plain)
    assert [repair.task for repair in result.repairs] == ["detect"]
    white = plain.copy()
    white[:100] = 65535
    for limits, said in (
        ({}, "One large area may be damage"),
        ({"widest": 100}, "33 % of the picture count as damaged"),
    ):
        own = HEAD + step("detect", threshold=0.5, **limits) + step("heal", feather=0)
        result = made(shelf, recipe_file(tmp_path, own), white)
        (notice,) = result.notices
        assert notice.startswith(said)
        assert np.array_equal(result.pixels(), white)
        assert result.marks is not None


def test_large_areas_are_left_alone_while_small_damage_is_healed(shelf: Path, tmp_path: Path) -> None:
    pixels = scratched()
    pixels[200:260, 300:380] = 65535
    result = made(shelf, recipe_file(tmp_path, HEAD + step("detect", threshold=0.5) + step("heal", feather=0)), pixels)
    (notice,) = result.notices
    assert notice.startswith("One large area may be damage too")
    changed = (result.pixels() != pixels).any(axis=2)
    assert changed[:150].any()
    assert not changed[190:].any()
    (found, _) = result.repairs
    assert all(bottom < 190 for _, _, _, bottom in found.boxes)


def test_a_tone_that_needs_no_correction_is_left_and_said(shelf: Path, tmp_path: Path) -> None:
    tiny_models.identity(shelf, "same", "tone")
    text = HEAD + '[[steps]]\ntask = "tone"\nmodel = "same"\n'
    pixels = noise_raster().pixels
    result = made(shelf, recipe_file(tmp_path, text), pixels)
    assert (result.patches, result.repairs) == ((), ())
    assert result.notices == ("Tone: nothing to correct could be measured, and the picture was left as it is.",)
    assert np.array_equal(result.pixels(), pixels)


def graded(low: int, high: int, *tone: float) -> np.ndarray:
    """Grey patches of many levels between two, each channel raised to a power."""
    coarse = np.random.default_rng(3).uniform(0, 1, (12, 16)).astype(np.float32)
    grey = np.clip(cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_LINEAR), 0, 1)[..., None]
    return np.asarray(np.rint(low + (high - low) * grey ** np.array(tone or (1, 1, 1))), np.uint8)


@pytest.mark.parametrize("name", ["standard", "strong"])
@pytest.mark.parametrize(
    "pixels", [np.full((240, 320, 3), (180, 160, 120), np.uint8), graded(0, 255), graded(126, 130)]
)
def test_the_shipped_tone_leaves_what_has_not_measurably_faded(name: str, pixels: np.ndarray, tmp_path: Path) -> None:
    """A card in one colour, a print that has all tones, and one that has none."""
    step_ = next(step for step in read_recipe(name).steps if step.task == "tone")
    recipe = Recipe("mine", "Mine", (step_,))
    result = run_recipe(recipe, ArraySource(pixels), None, Registry(tmp_path / "none"), Device.CPU)
    assert result.patches == ()
    assert "left as it is" in result.notices[0]


def test_the_shipped_tone_keeps_prints_in_one_tone(tmp_path: Path) -> None:
    """Faded black-and-white comes out neutral; in faded sepia no shadow turns blue and no light green."""
    recipe = Recipe("mine", "Mine", (Step("tone"),))
    for pixels in (graded(90, 190), graded(80, 200, 0.8, 1.0, 1.3)):
        result = run_recipe(recipe, ArraySource(pixels), None, Registry(tmp_path / "none"), Device.CPU).pixels()
        red, green, blue = (result[..., i].astype(int) for i in range(3))
        assert np.ptp(green) > np.ptp(pixels[..., 1].astype(int))
        if (pixels[..., 0] == pixels[..., 2]).all():
            assert np.array_equal(red, green)
            assert np.array_equal(green, blue)
        else:
            assert (red >= green).all()
            assert (green >= blue).all()


def test_progress_rises_over_all_steps_and_cancel_stops(shelf: Path) -> None:
    shares: list[float] = []
    made(shelf, "standard", scratched(), JobContext(lambda share, _: shares.append(share)))
    assert shares == sorted(shares)
    assert shares[-1] == 1
    context = JobContext(lambda share, _: context.cancel() if share > 0.6 else None)
    with pytest.raises(Cancelled):
        made(shelf, "standard", scratched(), context)


def test_a_missing_model_is_an_error_before_anything_is_run(shelf: Path) -> None:
    shutil.rmtree(shelf / "toner")
    shares: list[float] = []
    with pytest.raises(ModelError, match="No model for tone is installed"):
        made(shelf, "standard", scratched(), JobContext(lambda share, _: shares.append(share)))
    shutil.copytree(SHIPPED / "tone", shelf / "tone")
    next((shelf / "darker").glob("*.onnx")).unlink()
    with pytest.raises(ModelError, match="lacks its file"):
        made(shelf, "standard", scratched(), JobContext(lambda share, _: shares.append(share)))
    assert not shares


# -- restore on the command line ------------------------------------------------------------------------------------


def run(*words: str) -> int:
    return cli.main([*words, "--device", "cpu"])


def test_gentle_changes_nothing_outside_the_damage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("restore", "in.tif", "-o", "out.tif", "--recipe", "gentle") == 0
    assert capsys.readouterr() == ("", "")
    scan, result = imageio.read(folder / "in.tif"), imageio.read(folder / "out.tif")
    changed = (scan.pixels != result.pixels).any(axis=2)
    assert changed[100:102, 50:200].mean() > 0.99
    # Two pixels of grow and two of feather.
    assert not changed[:96].any()
    assert not changed[106:].any()
    assert result.resolution == scan.resolution
    record = json.loads((folder / "out.tif.record.json").read_text())
    assert (record["command"], record["recipe"]) == ("restore", "gentle")
    assert [(repair["task"], repair["model"]) for repair in record["repairs"]] == [
        ("detect", "finder"),
        ("heal", "heal"),
    ]
    assert record["repairs"][0]["settings"]["threshold"] == 0.97
    assert record["samples_changed"] == int((scan.pixels != result.pixels).sum())


def test_standard_is_the_default_and_lists_every_repair(folder: Path) -> None:
    assert run("restore", "in.tif", "-o", "out.png") == 0
    record = json.loads((folder / "out.png.record.json").read_text())
    assert record["recipe"] == "standard"
    assert [repair["task"] for repair in record["repairs"]] == ["detect", "heal", "clean", "tone"]
    assert record["repairs"][2]["settings"] == {"strength": 0.3, "noise_level": 0.0}


def test_damage_that_was_not_healed_is_reported_and_recorded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = recipe_file(folder, HEAD + step("detect", threshold=0.5, widest=100) + step("heal", feather=0))
    for scan, said in (("plain.tif", "No damage was found"), ("white.tif", "67 % of the picture")):
        assert run("restore", scan, "-o", "out.tif", "--recipe", own) == 0
        assert said in capsys.readouterr().err
        assert np.array_equal(imageio.read(folder / "out.tif").pixels, imageio.read(folder / scan).pixels)
        record = json.loads((folder / "out.tif.record.json").read_text())
        assert record["samples_changed"] == 0
        assert said in record["notices"][0]


def test_the_recipe_file_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = recipe_file(folder, HEAD + step("clean", strength=0.5))
    assert run("restore", "in.tif", "-o", "out.tif", "--recipe", "mine.toml") == 0
    assert json.loads((folder / "out.tif.record.json").read_text())["recipe"] == "mine"
    assert np.abs(imageio.read(folder / "out.tif").pixels - scratched() * 0.75).max() <= 1
    before = Path(own).read_bytes()
    assert run("restore", "in.tif", "-o", "mine.toml", "--recipe", "mine.toml") == 1
    assert capsys.readouterr().err
    assert Path(own).read_bytes() == before


# -- upscale and clean on the command line --------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_an_enlarged_file_prints_as_large_as_the_scan(folder: Path, suffix: str) -> None:
    out = f"out{suffix}"
    assert run("upscale", "in.tif", "-o", out, "--scale", "4") == 0
    scan, result = imageio.read(folder / "in.tif"), imageio.read(folder / out)
    assert (result.width, result.height) == (1600, 1200)
    assert result.resolution is not None
    assert result.resolution.x == pytest.approx(4 * 600, rel=1e-3)
    assert result.depth == (8 if suffix == ".jpg" else scan.depth)
    record = json.loads((folder / f"{out}.record.json").read_text())
    assert (record["command"], record["size"], record["written"]["size"]) == ("upscale", [400, 300], [1600, 1200])
    assert record["share_changed"] == 1
    (repair,) = record["repairs"]
    assert (repair["task"], repair["model"], repair["settings"]) == ("upscale", "enlarger4", {"scale": 4})


def test_twice_is_the_default_and_a_model_brings_its_scale(folder: Path) -> None:
    for words, width in (((), 800), (("--model", "enlarger4"), 1600)):
        assert run("upscale", "in.tif", "-o", "out.tif", *words) == 0
        assert imageio.probe(folder / "out.tif").width == width


def test_a_noise_level_goes_into_a_model_that_has_it(folder: Path) -> None:
    words = ["clean", "in.tif", "-o", "out.tif", "--model", "cleaner", "--noise-level"]
    scan = imageio.read(folder / "in.tif").pixels.astype(float)
    for level, strength, taken in (("25.5", "1", 0.1), ("25.5", "0.5", 0.05), ("0", "1", 0)):
        assert run(*words, level, "--strength", strength) == 0
        wanted = np.clip(scan - 65535 * taken, 0, None)
        inside = scan > 65535 * 0.1
        assert np.abs(imageio.read(folder / "out.tif").pixels - wanted)[inside].max() <= 1
        record = json.loads((folder / "out.tif.record.json").read_text())
        settings = [repair["settings"] for repair in record["repairs"]]
        # Without noise this model changes nothing, which is no repair.
        wanted_settings = {"strength": float(strength), "noise_level": float(level)}
        assert settings == ([wanted_settings] if taken else [])
        assert any("left as it is" in notice for notice in record["notices"]) == (not taken)


UPSCALE, CLEAN = ["upscale", "in.tif", "-o", "out.tif"], ["clean", "in.tif", "-o", "out.tif"]
RESTORE = ["restore", "in.tif", "-o", "out.tif"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*UPSCALE, "--model", "enlarger2", "--scale", "4"], "enlarger2 enlarges 2 times, not 4"),
        ([*UPSCALE, "--model", "darker"], "does not do upscale, but clean"),
        ([*UPSCALE, "--model", "none"], "no model 'none'"),
        (["upscale", "long.tif", "-o", "out.webp", "--scale", "4"], "20000 x 4 pixels, and a .webp file ends at 16383"),
        (["upscale", "in.tif", "-o", "in.tif"], "in.tif"),
        ([*CLEAN, "--noise-level", "25"], "darker has no noise level to choose"),
        ([*CLEAN, "--noise-level", "76", "--model", "cleaner"], "Noise level goes from 0 to 75"),
        ([*CLEAN, "--noise-level", "70", "--model", "cleaner"], "cleaner goes from 0 to 60"),
        ([*RESTORE, "--recipe", "none"], "Recipes: gentle, standard, strong"),
        ([*RESTORE, "--recipe", "bad.toml"], "unknown entry colour"),
        (["restore", "none.tif", "-o", "out.tif"], "none.tif"),
        (["restore", "in.tif", "-o", "in.tif"], "in.tif"),
        (["restore", "in.tif", "-o", "nowhere/out.tif"], "nowhere"),
    ],
)
def test_impossible_commands_fail_with_a_sentence_and_write_nothing(
    folder: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe_file(folder, HEAD + "colour = 1", "bad.toml")
    imageio.write(Raster(np.zeros((1, 5000, 1), np.uint8)), folder / "long.tif")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert run(*words) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_scale_without_a_model_is_an_error(folder: Path, shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(shelf / "enlarger4")
    assert run(*UPSCALE, "--scale", "4") == 1
    assert "No model that enlarges 4 times is installed. Models that enlarge: enlarger2 (2 times)." in (
        capsys.readouterr().err
    )
    assert not (folder / "out.tif").exists()


@pytest.mark.parametrize(
    "words", [[*UPSCALE, "--scale", "3"], ["upscale", "in.tif"], ["restore"], ["tone", "in.tif", "--noise-level", "3"]]
)
def test_usage_errors_exit_with_2(folder: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        run(*words)
    assert raised.value.code == 2
    assert not (folder / "out.tif").exists()


@pytest.mark.parametrize(
    ("command", "words"),
    [("upscale", ["--scale {2,4}", "--model"]), ("restore", ["--recipe", "gentle"]), ("clean", ["--noise-level"])],
)
def test_the_help_lists_the_options(command: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        cli.main([command, "--help"])
    assert raised.value.code == 0
    text = capsys.readouterr().out
    assert all(word in text for word in words)


def test_a_picture_without_noise_is_not_cleaned(shelf: Path) -> None:
    smooth = np.repeat(np.linspace(60, 180, 300).astype(np.uint8)[:, None, None], 300, axis=1).repeat(3, axis=2)
    noisy = np.clip(smooth + np.random.default_rng(1).normal(0, 5, smooth.shape), 0, 255).astype(np.uint8)
    assert made(shelf, "standard", smooth).left_out["clean"].startswith("Clean: nothing to correct could be measured")
    assert "clean" not in made(shelf, "standard", noisy).left_out
