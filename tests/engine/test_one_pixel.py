"""Pictures that are one pixel wide or high, also mirrored: read, converted, worked on and written as any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from desktop.document.edits import transform_state
from desktop.document.geometry import Transform, Turn
from desktop.document.model import Document
from desktop.document.project import Snapshot, write_project
from desktop.document.project_reader import read_project
from engine import colour, imageio
from engine.errors import WriteError
from engine.imageio.common import upright_view
from engine.raster import ArrayMask, ArraySource, Raster
from engine.runtime.cards import TileRules
from engine.runtime.session import Device
from engine.tasks import TASKS, TaskInput, run_task
from tests import tiny_models

SHAPES = [(1, 1), (1, 2), (7, 1), (1, 300)]
ADOBE = bytes(imagecodecs.cms_profile("adobergb"))


def noise(shape: tuple[int, int], channels: int = 3, dtype: type = np.uint16) -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.random.default_rng(1).integers(0, top, (*shape, channels), endpoint=True).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_read_and_written(tmp_path: Path, shape: tuple[int, int], orientation: int) -> None:
    for channels in (1, 3):
        pixels = noise(shape, channels)
        tag = (274, "H", 1, orientation, True)
        kind = "rgb" if channels == 3 else "minisblack"
        path = tmp_path / "scan.tif"
        tifffile.imwrite(path, pixels.squeeze(2) if channels == 1 else pixels, photometric=kind, extratags=[tag])
        scan = imageio.read(path)
        assert np.array_equal(scan.pixels, upright_view(pixels, orientation))
        mirrored = scan.with_pixels(upright_view(pixels, orientation))
        for name in ("o.tif", "o.png", "o.jpg", "o.webp"):
            imageio.write(mirrored, tmp_path / name)
            assert imageio.read(tmp_path / name).pixels.shape[:2] == scan.pixels.shape[:2]
        assert np.array_equal(imageio.read(tmp_path / "o.tif").pixels, scan.pixels)
        assert np.array_equal(imageio.read(tmp_path / "o.png").pixels, scan.pixels)


@pytest.mark.parametrize("shape", SHAPES)
def test_colours_are_converted(shape: tuple[int, int]) -> None:
    pixels = noise(shape)[::-1, ::-1]
    expected = colour.convert(pixels.copy(), colour.srgb(), ADOBE)
    assert np.array_equal(colour.convert(pixels, colour.srgb(), ADOBE), expected)
    assert colour.to_screen(pixels, ADOBE).shape == pixels.shape


@pytest.mark.parametrize("shape", SHAPES)
def test_a_turned_project_is_saved(tmp_path: Path, shape: tuple[int, int]) -> None:
    for turn in Turn:
        document = Document(Raster(noise(shape)))
        document.restore(transform_state(document.state, Transform.of_turn(turn, document.state.scan.bounds)))
        write_project(Snapshot.of(document), tmp_path / "work.ora")
        state = document.state
        saved = read_project(tmp_path / "work.ora").scan.pixels
        assert np.array_equal(saved, state.scan.read(state.scan.bounds))


def test_what_is_too_long_for_a_png_is_refused_in_words(tmp_path: Path) -> None:
    """A TIFF may be as long as it likes; the pictures inside a project may not."""
    pixels = np.zeros((1, 1_000_001, 3), np.uint8)
    imageio.write(Raster(pixels), tmp_path / "long.tif")
    assert imageio.read(tmp_path / "long.tif").pixels.shape == pixels.shape
    for write, target in (
        (lambda path: write_project(Snapshot.of(Document(Raster(pixels))), path), tmp_path / "work.ora"),
        (lambda path: imageio.write_mask(pixels[..., 0], path), tmp_path / "mask.png"),
    ):
        target.write_bytes(b"old")
        with pytest.raises(WriteError, match="PNG ends at") as caught:
            write(target)
        assert caught.value.code == "write.size"
        assert target.read_bytes() == b"old"


@pytest.mark.parametrize("shape", [*SHAPES, (2, 3), (17, 1)])
def test_every_kind_of_model_works_on_it(tmp_path: Path, shape: tuple[int, int]) -> None:
    made = [tiny_models.smoother, tiny_models.toner, tiny_models.finder, tiny_models.edger, tiny_models.enlarger]
    pixels, mask = noise(shape), np.zeros(shape, np.uint8)
    mask[-1, -1] = 255
    for card in (make(tmp_path) for make in made):
        for tile in (card.tile, TileRules(96, 32, 16, 8), TileRules(2, 2, 1, 2, 2)):
            used = replace(card, tile=replace(tile, scale=card.tile.scale))
            if card.task == "heal" and mask.all():
                continue
            settings = TASKS[card.task].settings()
            job = TaskInput(card.task, ArraySource(pixels), None, ArrayMask(mask), settings, used, Device.CPU)
            assert run_task(job)
