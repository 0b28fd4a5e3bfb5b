"""Restoring a file by a recipe with ``restore_file``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine import cli, imageio
from engine.errors import EngineError, WriteError
from engine.jobs import Cancelled, JobContext
from engine.output import Output
from engine.recipes import Recipe, read_recipe
from engine.record import record_matches
from engine.restore import restore_file
from engine.runtime.cards import Registry
from engine.runtime.session import Device
from tests import tiny_models
from tests.conftest import noise_raster

RECIPE = """
title = "Mine"
[[steps]]
task = "detect"
[[steps]]
task = "heal"
[[steps]]
task = "clean"
"""


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    for make in (tiny_models.finder, tiny_models.darker):
        make(tmp_path / "shelf")
    tiny_models.masker(tmp_path / "shelf", 1)
    return Registry(tmp_path / "none", tmp_path / "shelf")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    plain = noise_raster()
    pixels = plain.pixels.copy()
    pixels[100:104, 50:200] = 65535
    imageio.write(plain.with_pixels(pixels), tmp_path / "in.tif")
    imageio.write(plain, tmp_path / "plain.tif")
    (tmp_path / "mine.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def recipe(folder: Path) -> Recipe:
    return read_recipe(str(folder / "mine.toml"))


def test_the_result_lists_found_damage_and_repairs(folder: Path, recipe: Recipe, registry: Registry) -> None:
    shares: list[float] = []
    out = Output(folder / "out.tif")
    done = restore_file(
        folder / "in.tif", recipe, out, Device.CPU, JobContext(lambda share, _: shares.append(share)), registry
    )
    assert (done.output, done.record) == (out.path, folder / "out.tif.record.json")
    assert done.found == {"scratch": 1}
    assert [repair.task for repair in done.repairs] == ["detect", "heal", "clean"]
    assert done.device is Device.CPU
    assert done.seconds > 0
    assert done.notices == ()
    assert shares == sorted(shares)
    assert shares[-1] == 1
    record = json.loads(done.record.read_text())
    assert (record["command"], record["recipe"]) == ("restore", "mine")
    assert [repair["task"] for repair in record["repairs"]] == ["detect", "heal", "clean"]
    assert record_matches(out.path)
    before, after = imageio.read(folder / "in.tif").pixels, imageio.read(out.path).pixels
    assert np.abs(after[0].astype(int) - before[0] / 2).max() <= 1


def test_the_command_line_writes_the_same(
    folder: Path, recipe: Recipe, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_file(folder / "in.tif", recipe, Output(folder / "a.tif"), Device.CPU, registry=registry)
    monkeypatch.setattr(Registry.__init__, "__defaults__", (folder / "none", folder / "shelf"))
    assert cli.main(["restore", "in.tif", "-o", "b.tif", "--recipe", "mine.toml", "--device", "cpu"]) == 0
    assert (folder / "a.tif").read_bytes() == (folder / "b.tif").read_bytes()
    records = [json.loads((folder / f"{name}.tif.record.json").read_text()) for name in "ab"]
    for record in records:
        del record["written"]["file"]
    assert records[0] == records[1]


def test_a_notice_says_that_no_damage_was_found(folder: Path, recipe: Recipe, registry: Registry) -> None:
    out = Output(folder / "out.png", record=False)
    done = restore_file(folder / "plain.tif", recipe, out, Device.CPU, registry=registry)
    assert done.found == {}
    assert done.record is None
    assert "No damage was found" in done.notices[0]
    only = Recipe("one", "One", recipe.steps[2:])
    assert restore_file(folder / "plain.tif", only, out, Device.CPU, registry=registry).found is None


def test_nothing_is_written_on_failure_or_cancellation(folder: Path, recipe: Recipe, registry: Registry) -> None:
    before = sorted(path.name for path in folder.iterdir())

    def fail(source: str, target: str, context: JobContext | None = None, **more: str) -> type[BaseException]:
        with pytest.raises((EngineError, Cancelled)) as caught:
            restore_file(folder / source, recipe, Output(folder / target, **more), Device.CPU, context, registry)
        return caught.type

    def call_off(share: float, _: str) -> None:
        if share > 0.5:
            late.cancel()

    late = JobContext(call_off)
    assert fail("in.tif", "out.tif", late) is Cancelled
    assert fail("none.tif", "out.tif").__name__ == "ReadError"
    assert fail("in.tif", "in.tif") is WriteError
    assert fail("in.tif", "out.gif") is WriteError
    assert fail("in.tif", "out.tif", profile=str(folder / "none.icc")).__name__ == "ReadError"
    assert sorted(path.name for path in folder.iterdir()) == before


def test_the_recipe_s_own_file_is_never_the_output(folder: Path, recipe: Recipe, registry: Registry) -> None:
    (folder / "link.tif").symlink_to(folder / "mine.toml")
    with pytest.raises(WriteError, match="kept"):
        restore_file(folder / "in.tif", recipe, Output(folder / "link.tif"), Device.CPU, registry=registry)
    assert (folder / "mine.toml").read_text() == RECIPE


def test_the_installed_models_are_used_when_no_registry_is_given(
    folder: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, registry: Registry
) -> None:
    """All but those that can never run."""
    (folder / "shelf" / "clean").mkdir()
    tiny_models.save(folder / "shelf", "clean", "clean", *tiny_models.finder(folder / "other").stages)
    monkeypatch.setattr(Registry.__init__, "__defaults__", (folder / "none", folder / "shelf"))
    done = restore_file(folder / "in.tif", recipe, Output(folder / "out.tif"), Device.CPU)
    assert done.repairs[-1].model == "darker"
