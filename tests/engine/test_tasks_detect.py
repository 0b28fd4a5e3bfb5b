"""Detection, with a model that takes white for scratches and black for stains."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from engine import masks
from engine.errors import ModelError, SettingsError
from engine.jobs import Cancelled, JobContext
from engine.raster import ArraySource, Pixels, Rect
from engine.runtime.cards import ModelCard, Registry
from engine.runtime.session import Device
from engine.tasks import Defect, DetectSettings, Findings, Marks, TaskInput, pyramid, run_task, sift
from engine.tasks.base import Model
from engine.tasks.findings import SHAPES, kind_by_shape, to_damage_pixels
from tests import tiny_models


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return tiny_models.finder(tmp_path)


def detected(card: ModelCard, pixels: np.ndarray, **settings: float) -> Marks:
    job = TaskInput("detect", ArraySource(pixels), None, None, DetectSettings(**settings), card, Device.CPU)
    marks: Marks = run_task(job).marks(job.settings)
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


def test_threshold_and_smallest_select_defects(card: ModelCard) -> None:
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


def test_a_defect_of_two_classes_gets_the_one_with_the_larger_sum(card: ModelCard) -> None:
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
    job = TaskInput("detect", ArraySource(pixels), None, None, DetectSettings(), card, Device.CPU)
    shares: list[float] = []
    run_task(job, JobContext(lambda share, _: shares.append(share)))
    assert shares == sorted(shares)
    assert shares[-1] == 1
    context = JobContext(lambda share, _: context.cancel() if share > 0.5 else None)
    with pytest.raises(Cancelled):
        run_task(job, context)


def test_unfit_models_and_settings_are_refused_with_a_sentence(tmp_path: Path) -> None:
    for values in ({"threshold": 0}, {"threshold": 1}, {"grow": -1}, {"smallest": 0}):
        with pytest.raises(SettingsError):
            DetectSettings(**values)
    with pytest.raises(ModelError, match="kind that detect can run"):
        detected(tiny_models.identity(tmp_path, "wrong", "detect"), grey())


def test_a_limit_at_its_maximum_means_no_limit() -> None:
    long = Defect("scratch", 0.9, Rect(0, 0, 4, 9000), 12_000, ((0, 0),), elongation=3000.0)
    assert sift([long], DetectSettings()) == (long,)
    assert sift([long], DetectSettings(elongation=999.0)) == ()


# -- scales -------------------------------------------------------------------------------------------------------


def test_large_pictures_are_also_searched_at_reduced_scales() -> None:
    assert pyramid.scales_of((600, 900, 3)) == (1,)
    assert pyramid.scales_of((1399, 3000, 3)) == (1,)
    assert pyramid.scales_of((3000, 4000, 3)) == (1, 2, 4)
    assert pyramid.scales_of((9100, 9000, 1)) == (1, 2, 4, 8)
    assert pyramid.scales_of((90_000, 90_000, 1)) == (1, 2, 4, 8)


def specks(size: int, height: int = 300, width: int = 420) -> np.ndarray:
    """Grey with a bright speck at (200, 100) and another, of 3 px, at (40, 240)."""
    pixels = grey(height, width, dtype=np.uint8)
    pixels[100 : 100 + size, 200 : 200 + size] = 255
    pixels[240:243, 40:43] = 255
    return pixels


def test_damage_four_times_as_large_as_in_training_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = tiny_models.speck_finder(tmp_path)
    assert [defect.box for defect in detected(card, specks(12)).defects] == [Rect(40, 240, 43, 243)]
    monkeypatch.setattr(pyramid, "SHORTEST", 70)
    marks = detected(card, specks(12), grow=0)
    assert marks.scales == (1, 2, 4)
    large, small = marks.defects
    assert (large.kind, small.kind) == ("stain", "dust")
    # Outlines from a reduction by four are accurate to four pixels.
    assert large.box.grown(4).contains(Rect(200, 100, 212, 112))
    assert Rect(196, 96, 216, 116).contains(large.box)
    assert small.box == Rect(40, 240, 43, 243)
    assert not detected(card, np.full((300, 420, 1), 128, np.uint8)).defects


def test_merging_a_reduction_does_not_depend_on_cells_and_edges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyramid, "SHORTEST", 70)
    card = tiny_models.speck_finder(tmp_path)
    # Across a border of cells, and near the edge of a picture whose sides are no multiples of the steps.
    pixels = grey(301, 423, dtype=np.uint8)
    pixels[250:262, 250:262] = 255
    pixels[100:112, 404:416] = 255
    for found, true in zip(
        detected(card, pixels, grow=0).defects, (Rect(404, 100, 416, 112), Rect(250, 250, 262, 262)), strict=True
    ):
        assert found.box.grown(4).contains(true)
        assert true.grown(4).contains(found.box)


@pytest.mark.parametrize("shape", [(1400, 1400), (2801, 2801)])
def test_all_scales_together_are_at_most_half_as_much_work_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]
) -> None:
    """Counted in pixels that the model is shown, in windows of the size that the detector has which ships."""
    rules = Registry(tmp_path / "none").default("detect").tile
    card = dataclasses.replace(tiny_models.finder(tmp_path), tile=rules)
    shown: list[int] = []
    run = Model.picture

    def counted(self: Model, number: int, context: JobContext, **tensors: np.ndarray) -> np.ndarray:
        shown.append(tensors["picture"][0, 0].size)
        return run(self, number, context, **tensors)

    monkeypatch.setattr(Model, "picture", counted)
    work = []
    for shortest in (pyramid.SHORTEST, 10**6):
        monkeypatch.setattr(pyramid, "SHORTEST", shortest)
        shown.clear()
        marks = detected(card, grey(*shape, dtype=np.uint8))
        work.append(sum(shown))
    assert marks.scales == (1,)
    assert work[1] < work[0] <= 1.5 * work[1]


def test_a_reduction_is_read_in_strips_and_is_the_mean_of_squares() -> None:
    pixels = np.random.default_rng(1).integers(0, 65536, (2051, 1030, 3), dtype=np.uint16)
    tallest: list[int] = []

    class Watched(ArraySource):
        def read(self, rect: Rect) -> Pixels:
            tallest.append(rect.height)
            return super().read(rect)

    reduced = pyramid.ReducedSource(Watched(pixels), 4)
    assert reduced.shape == (513, 258, 3)
    made = reduced.read(Rect(3, 0, 258, 513))
    assert max(tallest) <= 512
    means = pixels[:2048, 12:1028].reshape(512, 4, 254, 4, 3).mean(axis=(1, 3))
    assert np.abs(made[:512, :254] - means).max() <= 1
    assert made.dtype == np.uint16
    edge = np.pad(pixels, ((0, 1), (0, 2), (0, 0)), mode="edge")[2048:, 1028:].mean(axis=(0, 1))
    assert np.abs(made[512, 254] - edge).max() <= 1


# -- shapes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "area", "elongation", "width", "diagonal"),
    [
        ("dust", 9, 1.0, 3.0, 4.2),
        ("stain", 900, 1.0, 30.0, 42.0),
        ("scratch", 600, 66.0, 3.0, 200.0),
        ("hair", 600, 66.0, 3.0, 120.0),
        ("stain", 900, 6.0, 25.0, 45.0),
    ],
)
def test_defects_of_a_model_without_classes_are_classified_by_shape(
    kind: str, area: int, elongation: float, width: float, diagonal: float
) -> None:
    assert kind_by_shape(area, elongation, width, diagonal, short=1000) == kind


def test_lines_curls_specks_and_blots_get_different_classes(tmp_path: Path) -> None:
    card = tiny_models.finder(tmp_path)
    plain = dataclasses.replace(card, labels=("scratch", "stain"))
    pixels = grey(400, 500, dtype=np.uint8)
    pixels[20:23, 20:300] = 255
    pixels[60:63, 60:63] = 255
    pixels[100:140, 100:140] = 255
    curl = [(int(x), int(300 + 60 * np.sin(x / 20))) for x in range(200, 400)]
    for (x, y), (_, following) in itertools.pairwise(curl):
        pixels[min(y, following) : max(y, following) + 2, x : x + 2] = 255
    job = TaskInput("detect", ArraySource(pixels), None, None, DetectSettings(), plain, Device.CPU)
    seen = dataclasses.replace(run_task(job), labels=SHAPES)
    defects = seen.marks(DetectSettings()).defects
    assert [defect.kind for defect in defects] == ["scratch", "dust", "stain", "hair"]
    assert [round(defect.width) for defect in defects[:3]] == [3, 3, 39]


def test_the_shape_tells_dust_hairs_and_scratches_apart_and_the_model_all_other_classes() -> None:
    labels = ("dust", "hair", "scratch", "crease", "tear", "stain")
    seen = np.zeros((1000, 1000, len(labels)), np.float32)
    seen[20:23, 20:300, 3] = 0.9
    seen[60:64, 60:64, 2] = 0.9
    seen[100:104, 100:300, 0] = 0.9
    seen[200:210, 100:115, 5] = 0.9
    findings = dataclasses.replace(findings_of(seen.max(axis=2)), labels=labels)
    pieces = tuple((rect, to_damage_pixels(seen[rect.slices()])) for rect, _ in findings.pieces)
    everything = dataclasses.replace(findings, pieces=pieces)
    assert [defect.kind for defect in everything.marks(DetectSettings()).defects] == [
        "crease",
        "dust",
        "scratch",
        "stain",
    ]
    # A model that has not all classes of shapes is believed.
    fewer = dataclasses.replace(everything, labels=("dust", "hair", "scratch", "crease", "tear", "loss"))
    assert [defect.kind for defect in fewer.marks(DetectSettings()).defects] == ["crease", "scratch", "dust", "loss"]


def test_damage_that_is_too_wide_is_left_out_of_the_mask_if_wanted(card: ModelCard) -> None:
    pixels = grey()
    pixels[100:103, 40:380] = 65535
    pixels[200:230, 250:290] = 0
    pixels[20:24, 20:24] = 65535
    everything = detected(card, pixels)
    assert [round(defect.share, 3) for defect in everything.defects] == [0.01, 0.01, 0.097]
    assert everything.mask()[215, 270]
    job = TaskInput("detect", ArraySource(pixels), None, None, DetectSettings(), card, Device.CPU)
    findings: Findings = run_task(job)
    sure = findings.marks(DetectSettings(), leave_unsure=True)
    assert [defect.share < 0.015 for defect in sure.defects] == [True, True]
    assert [round(defect.share, 3) for defect in sure.unsure] == [0.097]
    assert not sure.mask()[215, 270]
    assert sure.mask()[101, 100]
    assert not findings.marks(DetectSettings(widest=100.0), leave_unsure=True).unsure


# -- the edge of a defect -----------------------------------------------------------------------------------------


def findings_of(probability: np.ndarray) -> Findings:
    """Findings from probabilities (H, W) in 0..1."""
    seen = to_damage_pixels(probability[..., None].astype(np.float32))
    bounds = Rect.of_shape(probability.shape)
    pieces = [(Rect.of_cell(cell) & bounds) for cell in bounds.cells()]
    kept = tuple((rect, seen[rect.slices()].copy()) for rect in pieces if seen[rect.slices()].any())
    return Findings(probability.shape, ("damage",), kept, Device.CPU)


def test_an_enlarged_repair_mask_covers_the_faint_edge_of_a_defect_and_no_more() -> None:
    probability = np.zeros((1000, 520))
    # A certain defect across a border of cells that fades out over 2 px, and a faint unconnected spot beside it.
    probability[100:120, 250:262] = 0.95
    for step, value in enumerate((0.3, 0.12)):
        probability[100:120, 249 - step] = probability[100:120, 262 + step] = value
    probability[150:160, 255:265] = 0.2
    probability[:3, 300:] = 0.08
    exact = findings_of(probability).marks(DetectSettings(threshold=0.9, grow=0))
    (defect,) = exact.defects
    assert defect.box == Rect(250, 100, 262, 120)
    assert np.array_equal(exact.mask() > 0, probability >= 0.9)
    grown = findings_of(probability).marks(DetectSettings(threshold=0.9, grow=2)).mask()
    faint = (probability >= 0.1) & (np.arange(1000)[:, None] < 150)
    assert np.array_equal(grown, masks.grow(np.where(faint, np.uint8(255), np.uint8(0)), 2))


def test_a_defect_extends_to_what_is_more_likely_damaged_than_not() -> None:
    probability = np.zeros((40, 60))
    probability[10:20, 10:50] = np.linspace(1, 0, 40)
    for threshold, lowest in ((0.97, 0.5), (0.5, 0.4), (0.3, 0.24)):
        marks = findings_of(probability).marks(DetectSettings(threshold=threshold, grow=0))
        assert np.array_equal(marks.mask() > 0, np.rint(255 * probability) >= round(255 * lowest))


def test_the_edge_of_a_defect_ends_after_some_pixels() -> None:
    probability = np.zeros((60, 400))
    probability[30:33, :] = 0.15
    probability[30:33, 100:110] = 0.95
    mask = findings_of(probability).marks(DetectSettings(threshold=0.9, grow=1)).mask() > 0
    columns = np.flatnonzero(mask.any(axis=0))
    assert (columns[0], columns[-1]) == (100 - 2 - 1, 109 + 2 + 1)
