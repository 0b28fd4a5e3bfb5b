"""Rendering of the canvas: tiles without seams, redrawn parts equal to the whole, caches."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtGui import QColor, QImage, QPainter

from desktop.canvas.paint import PicturePainter
from desktop.canvas.render import CRISP, Frame, ImageCache, picture_pixels, screen_tiles, veil_pixels
from desktop.document.blend import BlendMode
from desktop.document.compose import ComposeCache, Composite
from desktop.document.edits import AddLayer, SetLayer
from desktop.document.targets import REPAIR_MASK, LayerMask
from engine.raster import Rect
from engine.resample import reductions
from engine.tiles import LEVELS, TileMap
from tests.document.test_edits import filled_layer, make_document, paint

ZOOMS = [0.02, 0.11, 0.25, 0.4, 0.5, 0.77, 1.0, 1.3, 1.999, 2.0, 3.3, 8.0, 32.0]


def composite() -> Composite:
    document = make_document(dtype=np.uint8)
    document.attach_levels(document.state.scan, reductions(document.state.scan.base, LEVELS))
    AddLayer("add", filled_layer(document, Rect(40, 30, 290, 200), 4, 140), 0).apply(document)
    return Composite.of(document.state)


SCENE = composite()
HEIGHT, WIDTH, _ = SCENE.shape


@given(st.sampled_from(ZOOMS), st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 200), st.integers(1, 200))
def test_a_part_is_drawn_as_it_is_in_the_whole(zoom: float, x: int, y: int, width: int, height: int) -> None:
    frame = Frame(zoom, WIDTH, HEIGHT)
    bounds = frame.bounds & Rect(0, 0, 1500, 1500)
    part = Rect(x % bounds.width, y % bounds.height, x % bounds.width + width, y % bounds.height + height) & bounds
    whole = picture_pixels(SCENE, frame, bounds, None, None)
    difference = picture_pixels(SCENE, frame, part, None, None).astype(int) - whole[part.slices()]
    # OpenCV interpolates in steps of a 32nd of a pixel; the scene is noise, where that is 8 of 255 levels at most.
    assert np.abs(difference).max() <= (0 if zoom >= CRISP or zoom == 1 else 8)


@pytest.mark.parametrize("zoom", ZOOMS)
def test_screen_tiles_cover_the_picture_once(zoom: float) -> None:
    frame = Frame(zoom, WIDTH, HEIGHT)
    tiles = screen_tiles(frame.bounds, frame)
    assert sum(square.area for _, _, square in tiles) == frame.bounds.area


@given(st.sampled_from(ZOOMS), st.integers(0, 290), st.integers(0, 260), st.integers(1, 100), st.integers(1, 100))
def test_a_change_reaches_no_screen_pixel_outside_what_is_marked(zoom: float, x: int, y: int, w: int, h: int) -> None:
    document = make_document(dtype=np.uint8)
    document.attach_levels(document.state.scan, reductions(document.state.scan.base, LEVELS))
    frame = Frame(zoom, WIDTH, HEIGHT)
    window = frame.bounds & Rect(0, 0, 1200, 1200)
    rect = Rect(x, y, x + w, y + h) & document.bounds
    before = picture_pixels(Composite.of(document.state), frame, window, None, None)
    AddLayer("add", filled_layer(document, rect), 0).apply(document)
    after = picture_pixels(Composite.of(document.state), frame, window, None, None)
    marked = np.zeros(before.shape[:2], bool)
    marked[(frame.to_screen(rect) & window).slices()] = True
    assert np.array_equal(before[~marked], after[~marked])


def test_a_repaint_ends_in_time_and_the_next_continues_it() -> None:
    document = make_document(dtype=np.uint8)
    document.attach_levels(document.state.scan, reductions(document.state.scan.base, LEVELS))
    AddLayer("add", filled_layer(document, document.bounds, 4, 140), 0).apply(document)
    frame = Frame(0.1, WIDTH, HEIGHT)
    photo: Any = SimpleNamespace(document=document, scan_hidden=False, veil_masks=list, edges=None)
    image = QImage(frame.bounds.width, frame.bounds.height, QImage.Format.Format_RGB32)
    painting = PicturePainter()
    repaints = 1
    with QPainter(image) as painter:
        # Time for two steps.
        while not painting.paint(painter, photo, frame, frame.bounds, iter([True, True, False, False]).__next__):
            repaints += 1
    assert repaints > 3
    shown = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.width(), 4)
    assert np.array_equal(shown, picture_pixels(Composite.of(document.state), frame, frame.bounds, None, None))


def test_pixels_at_100_percent_are_the_pictures_own() -> None:
    frame = Frame(1.0, WIDTH, HEIGHT)
    drawn = picture_pixels(SCENE, frame, frame.bounds, None, None)
    assert np.array_equal(drawn[..., 2::-1], SCENE.read(Rect(0, 0, WIDTH, HEIGHT)))
    assert (drawn[..., 3] == 255).all()


def test_the_veil_is_drawn_where_a_mask_is_and_nowhere_else() -> None:
    document = make_document()
    paint(document, REPAIR_MASK, Rect(20, 30, 60, 70), 255).apply(document)
    frame, colour = Frame(1.0, WIDTH, HEIGHT), QColor(255, 0, 0, 128)
    veil = veil_pixels([document.state.mask], frame, Rect(0, 0, 256, 256), colour)
    assert veil is not None
    assert veil[50, 40].tolist() == [0, 0, 128, 128]
    assert not veil[100:, 100:].any()
    empty = TileMap.empty((HEIGHT, WIDTH), np.uint8)
    assert veil_pixels([empty], frame, Rect(0, 0, 256, 256), colour) is None


@pytest.mark.parametrize("level", [0, 1, 3])
def test_cached_composed_tiles_equal_newly_composed_ones(level: int) -> None:
    document = make_document()
    document.attach_levels(document.state.scan, reductions(document.state.scan.base, LEVELS))
    cache = ComposeCache(1 << 30)
    rect = Rect(3, 5, (WIDTH - 1) >> level, (HEIGHT - 1) >> level)
    layer = filled_layer(document, Rect(0, 0, 200, 200), 1, 128)
    AddLayer("add", layer, 0).apply(document)
    for change in (
        {"opacity": 0.5},
        {"blend": BlendMode.MULTIPLY},
        {"visible": False},
        {"opacity": 1.0},
        {"visible": True},
    ):
        SetLayer("set", document.state.layers[0], change).apply(document)
        scene = Composite.of(document.state)
        assert np.array_equal(scene.read(rect, level, cache), scene.read(rect, level))
        paint(document, LayerMask(layer.id), Rect(10, 10, 150, 90), 40).apply(document)
        scene = Composite.of(document.state)
        assert np.array_equal(scene.read(rect, level, cache), scene.read(rect, level))


def test_composed_tiles_are_not_kept_beyond_the_reductions_they_were_made_of() -> None:
    document = make_document()
    cache, rect = ComposeCache(1 << 30), Rect(0, 0, WIDTH // 4, HEIGHT // 4)
    Composite.of(document.state).read(rect, 2, cache)
    document.attach_levels(document.state.scan, reductions(document.state.scan.base, LEVELS))
    scene = Composite.of(document.state)
    assert np.array_equal(scene.read(rect, 2, cache), scene.read(rect, 2))


def test_the_composed_tiles_stay_within_their_memory() -> None:
    cache = ComposeCache(1)
    scene = replace(SCENE)
    assert np.array_equal(scene.read(Rect(0, 0, 290, 200), 0, cache), scene.read(Rect(0, 0, 290, 200)))
    assert len(cache._tiles) == 1


def test_the_image_cache_keeps_to_its_limit_and_forgets_other_zooms() -> None:
    cache = ImageCache(600_000)
    pixels = np.zeros((256, 256, 4), np.uint8)
    for column in range(5):
        cache.put(("after", 1.0, column, 0), pixels.copy(), Rect.of_cell((column, 0)))
    assert cache.get(("after", 1.0, 0, 0)) is None
    assert cache.get(("after", 1.0, 4, 0)) is not None
    cache.put(("after", 2.0, 0, 0), pixels.copy(), Rect.of_cell((0, 0)))
    cache.invalidate("after", Frame(2.0, 1000, 1000), Rect(0, 0, 10, 10))
    assert cache.get(("after", 1.0, 4, 0)) is None
    tile = cache.get(("after", 2.0, 0, 0))
    assert tile is not None
    assert tile.dirty == Rect(0, 0, 21, 21)
    tile.redraw(Rect(0, 0, 5, 5), np.full((5, 5, 4), 9, np.uint8))
    assert tile.image is not None
    assert tile.image.pixel(2, 2) & 0xFF == 9
    cache.clear()
    assert cache.get(("after", 2.0, 0, 0)) is None
