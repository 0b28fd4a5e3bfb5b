"""Rectangles, sample types, jobs and tables."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import tables
from engine.errors import EngineError, ModelError, ReadError, Words
from engine.jobs import Cancelled, JobContext, JobState
from engine.raster import ArrayMask, ArraySource, Raster, Rect, from_float, to_float, to_grey
from engine.resample import magnify

small = st.integers(-600, 600)
rects = st.builds(Rect, small, small, small, small)


@given(rects, rects)
def test_intersection_and_union(a: Rect, b: Rect) -> None:
    points = [(x, y) for x in range(-600, 600, 97) for y in range(-600, 600, 89)]

    def inside(rect: Rect, x: int, y: int) -> bool:
        return rect.left <= x < rect.right and rect.top <= y < rect.bottom

    for x, y in points:
        assert inside(a & b, x, y) == (inside(a, x, y) and inside(b, x, y))
        if inside(a, x, y) or inside(b, x, y):
            assert inside(a | b, x, y)
    if a and b:
        assert (a | b).contains(a)
        assert (a | b).contains(b)


@given(st.integers(0, 900), st.integers(0, 900), st.integers(0, 700), st.integers(0, 700))
def test_cells_cover_a_rectangle_once(left: int, top: int, width: int, height: int) -> None:
    rect = Rect(left, top, left + width, top + height)
    cells = list(rect.cells())
    assert len(cells) == len(set(cells))
    assert sum((Rect.of_cell(cell) & rect).area for cell in cells) == rect.area


def test_slices_and_moves() -> None:
    array = np.arange(100).reshape(10, 10)
    rect = Rect(2, 3, 5, 9)
    assert array[rect.slices()].shape == (6, 3)
    assert np.array_equal(array[1:, 1:][rect.slices(Rect(1, 1, 10, 10))], array[rect.slices()])
    assert rect.moved(1, -1) == Rect(3, 2, 6, 8)
    assert rect.grown(2) == Rect(0, 1, 7, 11)
    assert not rect.grown(-2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_go_to_float_and_back_exactly(dtype: type) -> None:
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(-1, 1, 1)
    assert np.array_equal(from_float(to_float(values), values.dtype), values)


def test_from_float_clips_and_rounds() -> None:
    values = np.array([[[-1.0], [0.5], [2.0]]], np.float32)
    assert from_float(values, np.dtype(np.uint8)).ravel().tolist() == [0, 128, 255]
    assert from_float(values, np.dtype(np.float32)).ravel().tolist() == [0.0, 0.5, 1.0]
    assert to_grey(np.array([[[0.0, 0.3, 0.6]]], np.float32)).item() == pytest.approx(0.3)


def test_a_raster_cannot_be_written() -> None:
    raster = Raster(np.zeros((4, 5, 3), np.uint16))
    with pytest.raises(ValueError, match="read-only"):
        raster.pixels[0, 0] = 1
    assert (raster.width, raster.height, raster.channels, raster.depth) == (5, 4, 3, 16)
    source = ArraySource(np.zeros((4, 5, 3), np.uint16))
    with pytest.raises(ValueError, match="read-only"):
        source.read(Rect(0, 0, 2, 2))[0, 0] = 1


def test_an_array_mask_names_its_occupied_cells() -> None:
    mask = np.zeros((600, 700), np.uint8)
    mask[599, 699] = 1
    assert ArrayMask(mask).occupied() == [Rect(512, 512, 700, 600)]


def test_progress_of_parts_fills_the_whole() -> None:
    seen: list[tuple[float, str]] = []
    context = JobContext(lambda share, step: seen.append((share, step)))
    context.part(0.0, 0.5).progress(0.5, "a")
    context.part(0.5, 1.0).part(0.5, 1.0).progress(1.0, "b")
    assert seen == [(0.25, "a"), (1.0, "b")]


def test_cancel_reaches_parts_and_calls_stop() -> None:
    context = JobContext()
    part = context.part(0, 1)
    stopped = threading.Event()
    with pytest.raises(Cancelled), part.on_cancel(stopped.set):  # noqa: PT012 - the end of the block raises
        context.cancel()
        assert stopped.is_set()
    with pytest.raises(Cancelled):
        part.check()
    with pytest.raises(Cancelled), part.on_cancel(stopped.set):
        pytest.fail("a cancelled context lets nobody in")
    assert context.cancelled
    assert [state for state in JobState if state.ended] == [JobState.DONE, JobState.FAILED, JobState.CANCELLED]


@dataclass(frozen=True)
class Inner:
    size: int
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    share: float = 1.0
    parts: tuple[Inner, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    on: bool = False


def test_tables_go_to_toml_and_back() -> None:
    outer = Outer('a "b"', Inner(3, ("x", "y", "z", "ü")), 0.5, (Inner(1), Inner(2, ("q",))), {"psnr": 24.5}, on=True)
    assert tables.from_table(Outer, tomllib.loads(tables.to_toml(dataclasses.asdict(outer)))) == outer


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"name": "a"}, "inner is missing"),
        ({"name": "a", "inner": {"size": 1}, "nmae": 2}, "nmae"),
        ({"name": "a", "inner": {"size": "big"}}, "inner.size"),
        ({"name": "a", "inner": {"size": True}}, "inner.size"),
        ({"name": "a", "inner": {"size": 1, "words": "no"}}, "inner.words"),
        ({"name": "a", "inner": {"size": 1}, "parts": [{"size": 1, "weight": 2}]}, "parts[0].weight"),
        ({"name": "a", "inner": {"size": 1}, "scores": {"psnr": "high"}}, "scores.psnr"),
        ({"name": "a", "inner": 3}, "inner"),
    ],
)
def test_a_wrong_entry_is_named(table: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named.replace("[", r"\[").replace(".", r"\.")):
        tables.from_table(Outer, table)


def test_the_sentence_of_an_error_is_made_where_it_is_shown() -> None:
    why = ReadError("{file} is {kind}.", "read.kind", file=Path("a{b}.tif"), kind=Words("a pipe"))
    error = ModelError("{model} failed after {seconds:.1f} s. {reason}", "model.run", model="m", seconds=2, reason=why)
    assert str(error) == "m failed after 2.0 s. a{b}.tif is a pipe."
    german = {
        "{file} is {kind}.": "{file} ist {kind}.",
        "a pipe": "eine Pipe",
        "{model} failed after {seconds:.1f} s. {reason}": "Nach {seconds:.1f} s: {reason} ({model})",
    }
    assert error.text(german.__getitem__) == "Nach 2.0 s: a{b}.tif ist eine Pipe. (m)"
    assert str(EngineError("100 % of {{it}}", "x")) == "100 % of {it}"


def test_magnifying_by_whole_numbers_repeats_pixels() -> None:
    picture = np.random.default_rng(1).integers(0, 65535, (6, 7, 3), np.uint16)
    large = magnify(picture, 4.0, (0.0, 0.0), (28, 24), smooth=False)
    assert np.array_equal(large, picture.repeat(4, axis=0).repeat(4, axis=1))
    shifted = magnify(picture, 4.0, (-8.0, -4.0), (16, 16), smooth=False)
    assert np.array_equal(shifted, large[4:20, 8:24])


def test_the_command_line_imports_neither_qt_nor_torch_nor_onnxruntime() -> None:
    heavy = ("PySide6", "torch", "onnxruntime", "onnx", "tifffile", "imagecodecs", "PIL")
    code = f"import sys, engine.cli; print([m for m in {heavy} if m in sys.modules])"
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
