"""Tile maps: edits, deltas, reductions and storage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.raster import Rect
from engine.resample import halve, reductions
from engine.tiles import TileMap

SHAPE = (300, 530)


def rects(height: int = SHAPE[0], width: int = SHAPE[1]) -> st.SearchStrategy[Rect]:
    return st.builds(
        lambda x, y, w, h: Rect(x, y, min(width, x + w), min(height, y + h)),
        st.integers(0, width - 1),
        st.integers(0, height - 1),
        st.integers(1, 300),
        st.integers(1, 300),
    )


def noise(shape: tuple[int, ...], dtype: type = np.uint16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def test_a_map_over_an_array_copies_nothing_and_cannot_be_written() -> None:
    array = noise((300, 530, 3))
    tiles = TileMap.of_array(array)
    assert np.shares_memory(tiles.read(tiles.bounds), array)
    assert tiles.nbytes == 0
    with pytest.raises(ValueError, match="read-only"):
        tiles.tile((1, 0))[0, 0] = 0


@given(st.lists(st.tuples(rects(), st.integers(0, 255)), min_size=1, max_size=8))
def test_edits_are_exact_and_reverting_them_restores_the_first_picture(steps: list[tuple[Rect, int]]) -> None:
    first = noise(SHAPE, np.uint8)
    tiles, expected, deltas = TileMap.of_array(first), first.copy(), []
    for rect, value in steps:
        edit = tiles.edit()
        edit.change(rect, lambda view, _, value=value: view.fill(value))
        expected[rect.slices()] = value
        assert np.array_equal(edit.preview().read(tiles.bounds), expected)
        delta = edit.commit()
        tiles = delta.apply_to(tiles)
        deltas.append(delta)
        assert np.array_equal(tiles.read(tiles.bounds), expected)
    for delta in reversed(deltas):
        tiles = delta.remove_from(tiles)
    assert np.array_equal(tiles.read(tiles.bounds), first)
    assert not tiles.stored


def test_views_that_leak_from_an_edit_do_not_reach_what_it_published() -> None:
    leaked = []
    edit = TileMap.empty((64, 64), np.uint8).edit()
    edit.change(Rect(0, 0, 64, 64), lambda view, _: leaked.append(view))
    edit.change(Rect(3, 4, 9, 9), lambda view, _: view.fill(7))
    tiles = edit.commit().apply_to(edit.source)
    leaked[0][...] = 99
    assert tiles.read(tiles.bounds).max() == 7


def test_uniform_tiles_cost_nothing() -> None:
    edit = TileMap.empty((1024, 1024), np.uint8).edit()
    edit.change(Rect(0, 0, 1024, 1024), lambda view, _: view.fill(255))
    delta = edit.commit()
    tiles = delta.apply_to(edit.source)
    assert delta.nbytes == tiles.nbytes == 0
    assert (tiles.read(tiles.bounds) == 255).all()
    assert len(tiles.occupied()) == 16


def test_a_map_with_holes_keeps_a_written_tile_of_zeros() -> None:
    for holes in (False, True):
        edit = TileMap.empty((64, 64), np.uint8, holes=holes).edit()
        edit.write(Rect(0, 0, 64, 64), np.zeros((64, 64), np.uint8))
        assert bool(edit.commit().apply_to(edit.source).stored) is holes


@given(rects(), st.integers(1, 4))
def test_levels_are_the_reductions_of_the_edited_picture(rect: Rect, level: int) -> None:
    first = noise((300, 530, 3))
    tiles = TileMap.of_array(first)
    tiles = tiles.with_levels(reductions(first, 6))
    edit = tiles.edit()
    edit.change(rect, lambda view, _: view.fill(1000))
    edited = edit.commit().apply_to(tiles)
    expected = edited.read(edited.bounds)
    for _ in range(level):
        expected = halve(expected)
    whole = Rect.of_shape(expected.shape)
    assert np.array_equal(edited.read(whole, level), expected)
    assert np.array_equal(edit.source.read(whole, level), reductions(first, level)[-1])


def test_reductions_are_made_in_steps_and_kept() -> None:
    edit = TileMap.empty((1300, 1600), np.uint8).edit()
    edit.write(Rect(0, 0, 1600, 1300), noise((1300, 1600), np.uint8))
    tiles = edit.commit().apply_to(edit.source)
    whole, calls = tiles.bounds_at(2), 0
    while not tiles.prepare(whole, 2, iter([True, True, False]).__next__):
        calls += 1
    # 4 x 3 tiles of the first reduction and 2 x 2 of the second, two at a time.
    assert calls == 16 // 2 - 1
    assert tiles.prepare(whole, 2, lambda: False)
    again = TileMap.empty((1300, 1600), np.uint8).with_tiles(dict(tiles.stored))
    assert np.array_equal(tiles.read(whole, 2), again.read(whole, 2))


def test_without_reductions_a_level_shows_sampled_pixels() -> None:
    ramp = np.arange(512, dtype=np.uint16)[None, :].repeat(64, axis=0)
    shown = TileMap.of_array(ramp).read(Rect(0, 0, 64, 8), 3)
    assert np.array_equal(shown[0], np.arange(64) * 8 + 4)


@pytest.mark.parametrize("shape", [(5, 7), (4, 4), (1, 1), (2, 3, 3), (5, 5, 1)])
def test_halve_means_pairs_and_keeps_odd_edges(shape: tuple[int, ...]) -> None:
    picture = noise(shape)
    padded = np.pad(picture, [(0, n % 2) for n in shape[:2]] + [(0, 0)] * (len(shape) - 2), mode="edge").astype(float)
    mean = (padded[0::2, 0::2] + padded[1::2, 0::2] + padded[0::2, 1::2] + padded[1::2, 1::2]) / 4
    assert np.abs(halve(picture) - mean).max() <= 0.5


class MemoryStore:
    """A tile store in memory."""

    def __init__(self) -> None:
        self.tiles: dict[str, np.ndarray] = {}

    def put(self, tile: np.ndarray) -> str:
        key = str(hash((tile.shape, tile.tobytes())))
        self.tiles[key] = tile.copy()
        return key

    def get(self, key: str) -> np.ndarray:
        return self.tiles[key]


def test_a_released_delta_still_works() -> None:
    tiles = TileMap.of_array(noise(SHAPE, np.uint8))
    edit = tiles.edit()
    edit.write(Rect(10, 10, 290, 200), noise((190, 280), np.uint8, seed=5))
    delta = edit.commit()
    wanted = delta.apply_to(tiles).read(tiles.bounds)
    assert delta.nbytes > 0
    store = MemoryStore()
    delta.release(store, delta.copy_to(store))
    assert delta.nbytes == 0
    assert np.array_equal(delta.apply_to(tiles).read(tiles.bounds), wanted)
    assert np.array_equal(delta.remove_from(delta.apply_to(tiles)).read(tiles.bounds), tiles.read(tiles.bounds))
