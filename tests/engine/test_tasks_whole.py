"""Clean and tone: whole pictures, window by window, with models whose results are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest

from engine.colour import ModelSpace
from engine.errors import ModelError, SettingsError
from engine.jobs import Cancelled, JobContext
from engine.raster import TILE, ArraySource
from engine.runtime.cards import ModelCard
from engine.runtime.session import Device
from engine.tasks import CleanSettings, Patch, TaskInput, ToneSettings, make_settings, run_task, whole
from engine.tasks.clean import noise_in_words, noise_level
from engine.tasks.whole import sweep, thumbnail
from tests import tiny_models
from tests.conftest import noise_raster
from tests.engine.test_heal import out_of_memory_above

ADOBE = bytes(imagecodecs.cms_profile("adobergb"))


def restored(card: ModelCard, pixels: np.ndarray, strength: float = 1.0, profile: bytes | None = None) -> np.ndarray:
    settings = {"clean": CleanSettings, "tone": ToneSettings}[card.task](strength)
    patch: Patch = run_task(TaskInput(card.task, ArraySource(pixels), profile, None, settings, card, Device.CPU))
    assert patch.changed == (pixels.shape[0] * pixels.shape[1] if patch.pieces else 0)
    for piece in patch.pieces:
        assert len(list(piece.rect.cells())) == 1
    return patch.apply_to(pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(300, 400, 3), (20, 20, 3), (1, 5, 1), (700, 33, 1)])
def test_a_model_that_changes_nothing_changes_no_bit(
    tmp_path: Path, dtype: type, shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "_INVISIBLE", -1.0)
    pixels = np.random.default_rng(2).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    assert np.array_equal(restored(tiny_models.identity(tmp_path), pixels), pixels)


def test_windows_leave_no_seams(tmp_path: Path) -> None:
    pixels = noise_raster(300, 420).pixels
    result = restored(tiny_models.smoother(tmp_path), pixels)
    padded = cv2.blur(pixels.astype(np.float64), (5, 5), borderType=cv2.BORDER_CONSTANT)
    assert np.abs(result - padded)[2:-2, 2:-2].max() <= 1


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
def test_strength_mixes_with_the_scan(tmp_path: Path, strength: float) -> None:
    pixels = noise_raster(120, 130, channels=1).pixels
    result = restored(tiny_models.darker(tmp_path), pixels, strength)
    assert np.abs(result - pixels * (1 - strength / 2)).max() <= 1
    if not strength:
        assert np.array_equal(result, pixels)


def test_strength_goes_into_a_model_that_has_it(tmp_path: Path) -> None:
    pixels, card = noise_raster(60, 70, dtype=np.uint8).pixels, tiny_models.dimmer(tmp_path)
    assert np.abs(restored(card, pixels, 0.5).astype(float) - pixels * 0.5).max() <= 0.51
    assert make_settings("clean", card, {}) == CleanSettings(0.25)
    assert make_settings("clean", card, {"strength": 0.7}) == CleanSettings(0.7)
    assert make_settings("clean", tiny_models.darker(tmp_path), {"strength": None}) == CleanSettings(1.0)


def test_all_windows_are_shown_the_same_thumbnail(tmp_path: Path) -> None:
    pixels = noise_raster(330, 410).pixels
    result = restored(tiny_models.toner(tmp_path), pixels)
    assert (result == result[0, 0]).all()
    assert np.abs(result[0, 0] - pixels.mean(axis=(0, 1))).max() <= 2


@pytest.mark.parametrize("shape", [(128, 192, 3), (133, 171, 3), (7, 300, 3), (3, 2, 3)])
def test_a_thumbnail_averages_areas(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(4).random(shape, np.float32)
    small = thumbnail(ArraySource(pixels), ModelSpace(None, 3), 16, JobContext())
    assert small.shape == (16, 16, 3)
    assert small.mean(axis=(0, 1)) == pytest.approx(pixels.mean(axis=(0, 1)), abs=1e-4)
    if shape[0] > 16:
        wanted = cv2.resize(pixels, (16, 16), interpolation=cv2.INTER_AREA)
        assert np.abs(small - wanted).max() < 1e-4
    # When the thumbnail is larger than the picture, the first pixel fills the first sections.
    if shape[0] == 3:
        assert small[0, 0] == pytest.approx(pixels[0, 0], abs=1e-5)


def test_wide_gamut_profiles_are_restored_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "_INVISIBLE", -1.0)
    pixels = noise_raster(50, 60).pixels
    result = restored(tiny_models.identity(tmp_path), pixels, profile=ADOBE)
    assert np.abs(result.astype(int) - pixels).max() <= 2


def test_a_picture_that_a_model_leaves_as_it_is_gets_no_patch(tmp_path: Path) -> None:
    """Not even colours outside of sRGB, in which models work, are touched then."""
    pixels = noise_raster(50, 60).pixels
    for card, strength in ((tiny_models.identity(tmp_path, task="tone"), 1.0), (tiny_models.darker(tmp_path), 0.0)):
        settings = {"clean": CleanSettings, "tone": ToneSettings}[card.task](strength)
        patch = run_task(TaskInput(card.task, ArraySource(pixels), ADOBE, None, settings, card, Device.CPU))
        assert (patch.pieces, patch.boxes) == ((), ())
        assert np.array_equal(patch.apply_to(pixels), pixels)


def test_finished_cells_are_yielded_at_once(tmp_path: Path) -> None:
    pixels = np.zeros((5 * TILE, 100, 3), np.uint8)
    job = TaskInput(
        "clean", ArraySource(pixels), None, None, CleanSettings(), tiny_models.identity(tmp_path), Device.CPU
    )
    seen: list[int] = []

    def look(picture: np.ndarray) -> np.ndarray:
        seen.append(len(left))
        return picture

    left = []
    for rect, values in sweep(job, 96, 3, look, "", JobContext()):
        assert values.shape == (rect.height, rect.width, 3)
        left.append(rect)
    assert seen[-1] == 4
    assert [rect.top for rect in left] == [TILE * i for i in range(5)]


def test_progress_rises_cancel_stops_and_windows_shrink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise_raster(200, 200).pixels
    job = TaskInput(
        "clean", ArraySource(pixels), None, None, CleanSettings(), tiny_models.identity(tmp_path), Device.CPU
    )
    shares: list[float] = []
    run_task(job, JobContext(lambda share, _: shares.append(share)))
    assert shares == sorted(shares)
    assert shares[-1] == 1
    context = JobContext()
    context.cancel()
    with pytest.raises(Cancelled):
        run_task(job, context)

    from engine.runtime.session import Session

    limited = out_of_memory_above(50, Session.run)
    monkeypatch.setattr(
        Session, "run", lambda self, inputs, context: limited(self, {**inputs, "mask": inputs["picture"]}, context)
    )
    assert np.array_equal(run_task(job).apply_to(pixels), pixels)


@pytest.mark.parametrize("profile", [None, ADOBE])
def test_a_black_and_white_print_stays_so(tmp_path: Path, profile: bytes | None) -> None:
    card, grey = tiny_models.tinter(tmp_path), np.repeat(noise_raster(channels=1).pixels, 3, axis=2)
    result = restored(card, grey, profile=profile).astype(int)
    assert np.ptp(result, axis=2).max() <= 1
    assert np.abs(result - grey).max() < 40
    coloured = noise_raster().pixels
    changed = restored(card, coloured).astype(float) / np.maximum(coloured, 1)
    assert changed.mean(axis=(0, 1)) == pytest.approx([1.2, 1.0, 0.8], abs=0.02)


@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 3), (np.uint16, 3), (np.uint16, 1)])
def test_noise_is_measured_beside_the_picture(dtype: type, channels: int) -> None:
    random, (y, x) = np.random.default_rng(3), np.mgrid[0:500, 0:700]
    clean = 0.5 + 0.25 * np.sin(x / 40) * np.cos(y / 30) + 0.1 * (x > 350) + 0.05 * np.sin(x * y / 900) * (y > 250)
    for sigma in (0.0, 4.0, 15.0, 25.0):
        noisy = clean[..., None] + random.normal(0, sigma / 255, (*clean.shape, channels))
        pixels = (np.clip(noisy, 0, 1) * np.iinfo(dtype).max).astype(dtype)
        assert noise_level(ArraySource(pixels), None, JobContext()) == pytest.approx(sigma, rel=0.12, abs=0.7)
        said = noise_in_words(ArraySource(pixels), None, JobContext())
        assert said.startswith("Noise measured" if sigma else "Hardly any")


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 90, 1), (20, 700, 3)])
def test_noise_is_measured_in_the_smallest_pictures(shape: tuple[int, int, int]) -> None:
    for value in (0, 128, 255):
        assert noise_level(ArraySource(np.full(shape, value, np.uint8)), None, JobContext()) == 0


def test_measuring_noise_can_be_cancelled() -> None:
    context = JobContext()
    context.cancel()
    with pytest.raises(Cancelled):
        noise_level(ArraySource(noise_raster().pixels), None, context)


def test_unfit_models_and_settings_are_refused_with_a_sentence(tmp_path: Path) -> None:
    pixels = noise_raster(40, 40).pixels
    for card, settings in (
        (tiny_models.finder(tmp_path, "wrong", "clean"), CleanSettings()),
        (tiny_models.finder(tmp_path, "worse", "tone"), ToneSettings()),
    ):
        with pytest.raises(ModelError, match=f"kind that {card.task} can run"):
            run_task(TaskInput(card.task, ArraySource(pixels), None, None, settings, card, Device.CPU))
    with pytest.raises(SettingsError, match="does not do tone"):
        run_task(TaskInput("tone", ArraySource(pixels), None, None, ToneSettings(), tiny_models.identity(tmp_path)))
    for kind in (CleanSettings, ToneSettings):
        with pytest.raises(SettingsError, match="Strength"):
            kind(1.5)
