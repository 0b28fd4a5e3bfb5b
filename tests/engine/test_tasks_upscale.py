"""Enlarging: window by window, without seams, with models whose results are known."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from engine.errors import DeviceError, ModelError, SettingsError
from engine.jobs import Cancelled, JobContext
from engine.raster import ArraySource, Raster, Rect, Resolution, to_float
from engine.runtime.cards import ModelCard, Registry
from engine.runtime.session import SESSIONS, Device, OutOfMemory, Session
from engine.tasks import Enlargement, TaskInput, UpscaleSettings, model_of_scale, run_task
from tests import tiny_models
from tests.conftest import noise_raster

ADOBE = bytes(imagecodecs.cms_profile("adobergb"))


def job(card: ModelCard, pixels: Any, profile: bytes | None = None) -> TaskInput:
    return TaskInput("upscale", ArraySource(pixels), profile, None, UpscaleSettings(), card, Device.CPU)


def whole(card: ModelCard, pixels: np.ndarray) -> np.ndarray:
    """The model's picture in one run, 0..1."""
    values = to_float(pixels)
    planes = np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values
    session = SESSIONS.open(card, card.stages[0], Device.CPU)
    (result,) = session.run({"picture": np.ascontiguousarray(planes.transpose(2, 0, 1)[None])}, JobContext())
    upright = result[0].transpose(1, 2, 0)
    return upright.mean(axis=2, keepdims=True) if values.shape[2] == 1 else upright


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "shape", [(1, 1, 3), (1, 130, 1), (40, 40, 3), (96, 96, 3), (97, 95, 3), (203, 311, 3), (301, 77, 1)]
)
def test_windows_give_what_one_run_gives(tmp_path: Path, scale: int, dtype: type, shape: tuple[int, int, int]) -> None:
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(2).integers(0, top, shape, dtype, endpoint=True)
    card = tiny_models.enlarger(tmp_path, scale)
    result: Enlargement = run_task(job(card, pixels))
    assert result.pixels.dtype == dtype
    assert result.pixels.shape == (scale * shape[0], scale * shape[1], shape[2])
    assert not result.pixels.flags.writeable
    # The only difference, also at seams, is rounding by half a step.
    assert np.abs(result.pixels / top - whole(card, pixels)).max() < 0.51 / top + 1e-5


def test_a_picture_with_another_profile_is_enlarged_in_its_own_primaries(tmp_path: Path) -> None:
    flat = np.full((50, 120, 3), (60000, 500, 30000), np.uint16)
    pixels = run_task(job(tiny_models.enlarger(tmp_path), flat, ADOBE)).pixels
    assert np.abs(pixels[10:-10, 10:-10].astype(int) - flat[0, 0]).max() <= 2


def test_a_model_with_a_multiple_is_shown_windows_of_it(tmp_path: Path) -> None:
    pixels = noise_raster(101, 203).pixels
    card = tiny_models.enlarger(tmp_path)
    odd = dataclasses.replace(card, tile=dataclasses.replace(card.tile, default=96, minimum=32, multiple=32))
    inside = np.abs(run_task(job(odd, pixels)).pixels / 65535 - whole(card, pixels))[:-8, :-8]
    assert inside.max() < 1e-4


def test_memory_depends_on_the_width(tmp_path: Path) -> None:
    rows: list[Rect] = []

    @dataclasses.dataclass(frozen=True)
    class Watched(ArraySource):
        def read(self, rect: Rect) -> np.ndarray:
            rows.append(rect)
            return super().read(rect)

    card = tiny_models.enlarger(tmp_path)
    pixels = noise_raster(500, 150, dtype=np.uint8).pixels
    run_task(dataclasses.replace(job(card, pixels), source=Watched(pixels)))
    assert max(rect.height for rect in rows) <= card.tile.default
    assert [rect.top for rect in rows] == sorted(rect.top for rect in rows)
    # Few windows with little overlap.
    assert sum(rect.area for rect in rows) < 2 * 500 * 150


def test_progress_rises_cancel_stops_and_windows_shrink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, card = noise_raster(200, 200).pixels, tiny_models.enlarger(tmp_path)
    shares: list[float] = []
    before = run_task(job(card, pixels), JobContext(lambda share, _: shares.append(share))).pixels
    assert shares == sorted(shares)
    assert shares[-1] == 1
    context = JobContext(lambda share, _: context.cancel() if share > 0.4 else None)
    with pytest.raises(Cancelled):
        run_task(job(card, pixels), context)
    run = Session.run

    def limited(self: Session, inputs: dict[str, np.ndarray], context: JobContext) -> list[np.ndarray]:
        if max(inputs["picture"].shape[2:]) > 50:
            raise OutOfMemory("too large", "device.memory")
        return run(self, inputs, context)

    monkeypatch.setattr(Session, "run", limited)
    after = run_task(job(card, pixels)).pixels
    assert np.abs(after.astype(int) - before).max() <= 1


def test_the_result_prints_as_large_and_says_what_was_done(tmp_path: Path) -> None:
    scan = noise_raster(20, 30)
    asked = job(tiny_models.enlarger(tmp_path, 4), scan.pixels)
    result: Enlargement = run_task(asked)
    assert result.raster(scan).resolution == Resolution(2400, 2400)
    assert result.raster(scan).pixels is result.pixels
    assert result.raster(Raster(scan.pixels)).resolution is None
    repair = result.repair(asked)
    assert (repair.task, repair.model, repair.settings) == ("upscale", "enlarger4", {"scale": 4})
    assert repair.boxes == ((0, 0, 30, 20),)


@dataclasses.dataclass(frozen=True)
class Vast:
    """A ``PixelSource`` with a size but no pixels."""

    shape: tuple[int, int, int]
    dtype: np.dtype = dataclasses.field(default_factory=lambda: np.dtype(np.uint16))


def test_results_that_are_too_large_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = tiny_models.enlarger(tmp_path, 4)
    for shape in ((17_000, 100, 3), (100, 20_000, 1), (12_000, 12_000, 3)):
        with pytest.raises(SettingsError, match=f"{4 * shape[1]} x {4 * shape[0]} pixels; the most are 65000"):
            run_task(dataclasses.replace(job(card, None), source=Vast(shape)))
    monkeypatch.setattr(importlib.import_module("engine.tasks.upscale"), "_free_memory", lambda: 10**9)
    with pytest.raises(DeviceError, match=r"need 9\.6 GB"):
        run_task(dataclasses.replace(job(card, None), source=Vast((10_000, 10_000, 3))))


def test_an_unfit_model_is_refused_with_a_sentence(tmp_path: Path) -> None:
    pixels = noise_raster(20, 20).pixels
    for card in (tiny_models.identity(tmp_path, "same", "upscale"), tiny_models.finder(tmp_path, "odd", "upscale")):
        with pytest.raises(ModelError, match="kind that upscale can run"):
            run_task(job(card, pixels))
    with pytest.raises(ModelError, match="does not enlarge 4 times"):
        run_task(job(tiny_models.enlarger(tmp_path, 2, says=4), pixels))
    with pytest.raises(SettingsError, match="does not do upscale"):
        run_task(job(tiny_models.darker(tmp_path), pixels))


def test_the_scale_chooses_the_model(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "none", tmp_path)
    with pytest.raises(ModelError, match=r"enlarges 2 times is installed\. Models that enlarge: none"):
        model_of_scale(registry, 2)
    for scale in (2, 4):
        tiny_models.enlarger(tmp_path, scale)
    assert model_of_scale(registry, 4).id == "enlarger4"
    assert model_of_scale(registry, 2).id == "enlarger2"
    tiny_models.enlarger(tmp_path, 2, id_="zeta", default=True)
    assert model_of_scale(registry, 2).id == "zeta"
    with pytest.raises(ModelError, match=r"enlarges 3 times .* enlarger4 \(4 times\)"):
        model_of_scale(registry, 3)
