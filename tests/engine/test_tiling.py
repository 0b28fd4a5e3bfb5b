"""Windows, reflection and blending; masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import masks
from engine.raster import ArrayMask, Rect
from engine.tiling import Blender, Stitcher, pad_to_window, plan_sweep, plan_windows

RULES = {"window": 256, "context": 48, "overlap": 32, "multiple": 32}


@given(
    st.integers(20, 1500),
    st.integers(20, 1500),
    st.lists(
        st.tuples(st.integers(0, 1400), st.integers(0, 1400), st.integers(1, 900), st.integers(1, 900)), max_size=12
    ),
)
def test_windows_cover_the_boxes_and_obey_the_rules(
    width: int, height: int, places: list[tuple[int, int, int, int]]
) -> None:
    bounds = Rect(0, 0, width, height)
    boxes = [Rect(x, y, x + w, y + h) & bounds for x, y, w, h in places]
    plan = plan_windows(boxes, bounds, **RULES)
    covered = np.zeros((height, width), bool)
    for window, part in plan:
        assert window.contains(part)
        assert bounds.contains(part)
        assert window.width % 32 == window.height % 32 == 0
        assert window.width <= RULES["window"] + 32
        assert window.height <= RULES["window"] + 32
        # Windows are aligned to the network's coarsest grid.
        assert window.left % 32 == window.top % 32 == 0
        assert 0 <= window.left <= window.right < width + 32
        assert 0 <= window.top <= window.bottom < height + 32
        covered[part.slices()] = True
    for box in boxes:
        if box:
            assert covered[box.slices()].all()


def test_cost_depends_on_the_damage_and_not_on_the_picture() -> None:
    boxes = [Rect(100, 100, 110, 400)]
    small = plan_windows(boxes, Rect(0, 0, 1000, 1000), **RULES)
    large = plan_windows(boxes, Rect(0, 0, 20000, 20000), **RULES)
    assert small == large


def test_specks_near_each_other_share_a_window() -> None:
    boxes = [Rect(x, y, x + 4, y + 4) for x in range(100, 180, 20) for y in range(100, 180, 20)]
    assert len(plan_windows(boxes, Rect(0, 0, 2000, 2000), **RULES)) == 1


@given(st.integers(1, 40), st.integers(1, 40), *[st.integers(0, 60)] * 4)
def test_reflection_is_numpys(height: int, width: int, top: int, bottom: int, left: int, right: int) -> None:
    array = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    inside = Rect(0, 0, width, height)
    padded = pad_to_window(array, inside, Rect(-left, -top, width + right, height + bottom))
    mode = "reflect" if height > 1 and width > 1 else "symmetric"
    if mode == "reflect":
        assert np.array_equal(padded, np.pad(array, ((top, bottom), (left, right), (0, 0)), mode="reflect"))
    assert np.array_equal(padded[top : top + height, left : left + width], array)


def test_blending_equal_values_gives_them_back() -> None:
    blender = Blender(2)
    for part in (Rect(200, 200, 300, 400), Rect(250, 210, 700, 390), Rect(270, 300, 280, 310)):
        blender.add(part, np.full((part.height, part.width, 2), 0.25, np.float32), 32)
    total = np.zeros((1024, 1024))
    for cell in blender.cells():
        square = Rect.of_cell(cell)
        total[square.slices()] = blender.take(cell)[..., 1]
    assert total[200:400, 200:300] == pytest.approx(0.25)
    assert total[210:390, 250:700] == pytest.approx(0.25)
    assert total[:200].max() == total[410:].max() == 0
    assert not blender.cells()


def test_blending_fades_from_one_part_to_the_next() -> None:
    blender = Blender(1)
    blender.add(Rect(0, 0, 100, 20), np.zeros((20, 100, 1), np.float32), 20)
    blender.add(Rect(60, 0, 160, 20), np.ones((20, 100, 1), np.float32), 20)
    row = blender.take((0, 0))[10, :160, 0]
    assert row[:60].max() == 0
    assert row[100:].min() == 1
    assert (np.diff(row) >= -1e-6).all()
    assert np.diff(row).max() < 0.1


# -- masks --------------------------------------------------------------------------------------------------------


def dot(size: int = 61) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    mask[size // 2, size // 2] = 255
    return mask


@pytest.mark.parametrize("radius", [1, 2.5, 10])
def test_growing_a_dot_makes_a_disc(radius: float) -> None:
    y, x = np.mgrid[-30:31, -30:31]
    disc = np.hypot(x, y) <= radius
    assert np.array_equal(masks.grow(dot(), radius) == 255, disc)
    soft = dot() // 2
    assert np.array_equal(masks.grow(soft, radius), np.where(disc, 127, 0))


def test_shrinking_undoes_growing_of_a_disc() -> None:
    disc = masks.grow(dot(), 12)
    back = masks.shrink(masks.grow(disc, 5), 5)
    assert (back >= disc).all()
    assert (back != disc).sum() < 40
    assert not masks.shrink(dot(), 1).any()


def test_feather_fades_outwards_only() -> None:
    mask = masks.grow(dot(), 5)
    faded = masks.feather(mask, 8)
    assert (faded[mask == 255] == 255).all()
    row = faded[30, 35:].astype(int)
    assert (np.diff(row) <= 0).all()
    assert row[0] == 255
    assert row[-1] == 0
    assert not faded[30, 30 + 5 + 9 + 1 :].any()
    assert np.array_equal(masks.feather(mask, 0), mask)


def test_feathering_a_soft_mask_keeps_its_shape() -> None:
    soft = np.tile(np.linspace(0, 255, 100).astype(np.uint8), (20, 1))
    faded = masks.feather(soft, 4)
    assert (faded >= soft).all()
    assert faded.max() == 255
    assert not masks.feather(np.zeros((9, 9), np.uint8), 4).any()


def test_a_polygon_is_filled_in_picture_coordinates() -> None:
    square = [(10.0, 20.0), (30.0, 20.0), (30.0, 40.0), (10.0, 40.0)]
    mask = masks.polygon(square, Rect(5, 15, 35, 45))
    inside = np.zeros((30, 30), bool)
    inside[5:25, 5:25] = True
    assert (mask[inside] >= 250).all()
    assert mask[~inside].max() <= 128
    assert abs(mask.sum() / 255 - 400) < 20
    half = masks.polygon([(0, 0), (9.5, 0), (9.5, 700), (0, 700)], Rect(0, 0, 20, 700))
    assert half[:, 9].astype(float) == pytest.approx(128, abs=64)


def test_damage_boxes_are_tight_and_separate() -> None:
    mask = np.zeros((1000, 1200), np.uint8)
    mask[100:110, 300:420] = 255
    mask[800, 900] = 1
    assert sorted(masks.damage_boxes(ArrayMask(mask), 0)) == [Rect(300, 100, 420, 110), Rect(900, 800, 901, 801)]
    assert sorted(masks.damage_boxes(ArrayMask(mask), 5))[1] == Rect(895, 795, 906, 806)
    assert masks.damage_boxes(ArrayMask(np.zeros((10, 10), np.uint8)), 3) == []


sweeps = st.tuples(
    st.integers(1, 700), st.integers(1, 700), st.sampled_from([1, 4, 16, 64]), st.integers(1, 12), st.integers(0, 64)
)


@given(sweeps)
def test_a_sweep_covers_the_picture_with_few_windows(rules: tuple[int, int, int, int, int]) -> None:
    width, height, multiple, times, context = rules
    window = multiple * max(times, -(-8 // multiple))
    context, overlap = min(context, window // 4), min(16, window // 4)
    bounds, covered = Rect(0, 0, width, height), np.zeros((height, width), bool)
    plan = plan_sweep(bounds, window=window, context=context, overlap=overlap, multiple=multiple)
    if max(width, height) <= window:
        assert len(plan) == 1
    for whole, part in plan:
        assert whole.width % multiple == whole.height % multiple == 0
        assert max(whole.width, whole.height) <= window
        assert bounds.contains(part)
        assert whole.contains(part)
        # There is context on every side except at the edge of the picture.
        for near, far, edge in (
            (whole.left, part.left, 0),
            (whole.top, part.top, 0),
            (part.right, whole.right, width),
            (part.bottom, whole.bottom, height),
        ):
            assert far - near >= context or edge in (near, far)
        covered[part.slices()] = True
    assert covered.all()


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 7))
def test_stitching_returns_every_pixel_once_and_cross_fades(width: int, height: int, overlap: int) -> None:
    bounds = Rect(0, 0, width, height)
    plan = [part for _, part in plan_sweep(bounds, window=30, context=5, overlap=overlap, multiple=1)]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    truth = np.stack([x, y, x * y], axis=2)
    for shift in (0, 1):
        # Equal parts are joined exactly; where parts differ by 1, the result is between them.
        stitcher, result, times = Stitcher(plan), np.zeros_like(truth), np.zeros((height, width), int)
        for number, part in enumerate(plan):
            rect, values = stitcher.join(number, truth[part.slices()] + np.float32(shift * (number % 2)))
            result[rect.slices()] = values
            times[rect.slices()] += 1
        assert (times == 1).all()
        assert (result - truth).min() > -1e-3
        assert (result - truth).max() < shift + 1e-3
