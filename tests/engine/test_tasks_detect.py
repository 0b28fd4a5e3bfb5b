"""Detection, with a model that takes white for scratches and black for stains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine import masks
from engine.errors import ModelError, SettingsError
from engine.jobs import Cancelled, JobContext
from engine.raster import ArraySource, Rect
from engine.runtime.cards import ModelCard
from engine.runtime.session import Device
from engine.tasks import Defect, DetectSettings, Job, Marks, run_job, sift
from tests import tiny_models


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return tiny_models.finder(tmp_path)


def detected(card: ModelCard, pixels: np.ndarray, **settings: float) -> Marks:
    job = Job("detect", ArraySource(pixels), None, None, DetectSettings(**settings), card, Device.CPU)
    marks: Marks = run_job(job).marks(job.settings)
    for rect, mask in marks.pieces:
        assert len(list(rect.cells())) == 1
        assert mask.any()
        assert mask.shape == (rect.height, rect.width)
    return marks


def grey(height: int = 300, width: int = 420, channels: int = 1, dtype: type = np.uint16) -> np.ndarray:
    return np.full((height, width, channels), np.iinfo(dtype).max // 2, dtype)


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint16), (3, np.uint8)])
def test_a_white_line_and_a_black_spot_are_found_and_named(card: ModelCard, channels: int, dtype: type) -> None:
    pixels = grey(channels=channels, dtype=dtype)
    pixels[100:103, 40:380] = np.iinfo(dtype).max
    pixels[200:230, 250:290] = 0
    marks = detected(card, pixels, grow=0)
    line, spot = marks.defects
    assert (line.kind, line.box, line.area) == ("scratch", Rect(40, 100, 380, 103), 3 * 340)
    assert line.score == pytest.approx(0.9, abs=0.005)
    assert (spot.kind, spot.box) == ("stain", Rect(250, 200, 290, 230))
    assert spot.score == pytest.approx(0.8, abs=0.005)
    assert set(line.outline) == {(40, 100), (379, 100), (379, 102), (40, 102)}
    truth = (pixels[..., 0] != pixels[0, 0, 0]).astype(np.uint8) * 255
    assert np.array_equal(marks.mask(), truth)
    assert marks.device is Device.CPU
    assert np.array_equal(detected(card, pixels, grow=3).mask(), masks.grow(truth, 3))


def test_threshold_and_smallest_choose(card: ModelCard) -> None:
    pixels = grey()
    pixels[10:12, 10:12] = 65535
    pixels[50:60, 50:60] = 0
    pixels[55, 300] = 65535
    assert [defect.kind for defect in detected(card, pixels).defects] == ["scratch", "stain"]
    assert [defect.kind for defect in detected(card, pixels, threshold=0.85).defects] == ["scratch"]
    assert [defect.area for defect in detected(card, pixels, smallest=5).defects] == [100]
    assert len(detected(card, pixels, smallest=1).defects) == 3
    assert not detected(card, pixels, grow=0).mask()[55, 300]


def test_a_defect_over_many_windows_and_cells_is_one_and_nested_ones_are_two(card: ModelCard) -> None:
    pixels = grey(600, 700)
    pixels[20:580, 20:680] = 65535
    pixels[24:576, 24:676] = 32767
    pixels[300:310, 300:310] = 0
    outer, inner = detected(card, pixels).defects
    assert outer.box == Rect(20, 20, 680, 580)
    assert outer.area == 560 * 660 - 552 * 652
    assert inner.kind == "stain"
    assert set(inner.outline) == {(300, 300), (309, 300), (309, 309), (300, 309)}


def test_defects_of_two_classes_take_the_heavier_one(card: ModelCard) -> None:
    pixels = grey()
    pixels[100:110, 100:130] = 65535
    pixels[100:110, 130:140] = 0
    (defect,) = detected(card, pixels).defects
    assert defect.kind == "scratch"
    assert defect.score == pytest.approx(0.9, abs=0.005)


@pytest.mark.parametrize("shape", [(300, 400, 3), (20, 20, 3), (1, 1, 1)])
def test_nothing_found_is_no_error(card: ModelCard, shape: tuple[int, int, int]) -> None:
    marks = detected(card, grey(*shape))
    assert not marks.defects
    assert not marks.pieces
    assert marks.mask().shape == shape[:2]
    assert not marks.mask().any()


def test_all_of_a_tiny_picture_may_be_damaged(card: ModelCard) -> None:
    marks = detected(card, np.full((20, 20, 1), 255, np.uint8))
    assert (marks.mask() == 255).all()
    assert marks.defects[0].box == Rect(0, 0, 20, 20)


def test_progress_rises_and_cancel_stops(card: ModelCard) -> None:
    pixels = grey()
    pixels[100:110, 100:130] = 65535
    job = Job("detect", ArraySource(pixels), None, None, DetectSettings(), card, Device.CPU)
    shares: list[float] = []
    run_job(job, JobContext(lambda share, _: shares.append(share)))
    assert shares == sorted(shares)
    assert shares[-1] == 1
    context = JobContext(lambda share, _: context.cancel() if share > 0.5 else None)
    with pytest.raises(Cancelled):
        run_job(job, context)


def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for values in ({"threshold": 0}, {"threshold": 1}, {"grow": -1}, {"smallest": 0}):
        with pytest.raises(SettingsError):
            DetectSettings(**values)
    with pytest.raises(ModelError, match="kind that detect can run"):
        detected(tiny_models.identity(tmp_path, "wrong", "detect"), grey())


def test_a_limit_at_its_highest_is_none() -> None:
    long = Defect("scratch", 0.9, Rect(0, 0, 4, 9000), 12_000, ((0, 0),), elongation=3000.0)
    assert sift([long], DetectSettings()) == (long,)
    assert sift([long], DetectSettings(elongation=999.0)) == ()
