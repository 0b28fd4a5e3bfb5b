"""Recipes and enlargements in the window, with handmade models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.dialogs.export import FileDialogs
from desktop.document.edits import AddLayer
from desktop.document.geometry import Turn
from desktop.frame.commands import ACTIONS
from desktop.panels.measured import MeasuredLabel
from desktop.work.base import TaskRequest
from engine import imageio
from engine.jobs import JobContext
from engine.raster import ArraySource, Raster, Rect
from engine.recipes import read_recipe, recipe_names, run_recipe
from engine.review import Verdict
from engine.runtime.cards import SHIPPED, Registry
from engine.runtime.session import Device
from engine.tasks import TaskInput, UpscaleSettings, run_task
from tests import tiny_models
from tests.conftest import noise_raster
from tests.desktop.acting import LEFT, key, open_scan, pick, picture, trigger, trigger_job
from tests.document.test_edits import filled_layer


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A model for every step of a recipe, and one that enlarges twice."""
    shelf = tmp_path / "shelf"
    for make in (tiny_models.darker, tiny_models.toner, tiny_models.enlarger):
        make(shelf)
    tiny_models.finder(shelf, sure=0.99)
    shutil.copytree(SHIPPED / "heal", shelf / "heal")
    return Registry(tmp_path / "models", shelf)


@pytest.fixture
def scratched(tmp_path: Path) -> Path:
    """A scan with a white scratch."""
    pixels = noise_raster().pixels.copy()
    # As thin as what the shipped recipes heal.
    pixels[100:102, 50:200] = 65535
    path = tmp_path / "old.tif"
    imageio.write(noise_raster().with_pixels(pixels), path)
    return path


def test_the_noise_of_the_visible_picture_is_shown_beside_the_settings_of_clean(
    qtbot: QtBot, program: Program, tmp_path: Path
) -> None:
    noise = np.random.default_rng(4).normal(128, 12, (300, 400, 3))
    imageio.write(Raster(np.clip(noise, 0, 255).astype(np.uint8)), tmp_path / "noisy.png")
    workspace, _ = open_scan(qtbot, program, tmp_path / "noisy.png")
    label = program.contents.task.findChild(MeasuredLabel)
    assert label.isHidden(), "there is nothing to say for healing"
    pick(program, "Task", "clean")
    qtbot.waitUntil(lambda: label.text() == "Noise measured in this picture: about 12.")
    assert not label.isHidden()
    trigger_job(program, "heal")
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    # The model halves all values.
    qtbot.waitUntil(lambda: label.text() == "Noise measured in this picture: about 6.")
    trigger(program, "undo")
    qtbot.waitUntil(lambda: label.text() == "Noise measured in this picture: about 12.")
    pick(program, "Task", "heal")
    assert label.isHidden()


def restore(qtbot: QtBot, program: Program, name: str) -> None:
    """Restore by a recipe, and heal all that it finds."""
    workspace = program.contents.photos.photo
    assert workspace is not None
    trigger(program, f"restore_{name}")
    qtbot.waitUntil(lambda: program.contents.strip.button is not None, timeout=60000)
    QTest.mouseClick(program.contents.strip.button, LEFT)
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)


def test_one_key_heals_all_that_a_recipe_found(qtbot: QtBot, program: Program, scratched: Path) -> None:
    workspace, _ = open_scan(qtbot, program, scratched)
    trigger(program, "restore_gentle")
    qtbot.waitUntil(lambda: program.contents.strip.button is not None, timeout=60000)
    assert not workspace.document.state.layers
    key(program, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    qtbot.waitUntil(lambda: not workspace.queue.busy and bool(workspace.document.state.layers), timeout=60000)
    assert not workspace.defects.to_heal


def test_a_recipe_gives_its_layers_in_one_step(
    qtbot: QtBot, program: Program, scratched: Path, registry: Registry
) -> None:
    workspace, _ = open_scan(qtbot, program, scratched)
    before = picture(workspace)
    wanted = run_recipe(read_recipe("standard"), ArraySource(before), None, registry, Device.CPU).pixels()
    restore(qtbot, program, "standard")
    assert [layer.name.split()[0] for layer in workspace.document.state.layers] == ["Repair", "Clean", "Tone"]
    assert [layer.made_by[-1].task for layer in workspace.document.state.layers] == ["heal", "clean", "tone"]
    assert np.array_equal(picture(workspace), wanted)
    assert [workspace.undo.text(step) for step in range(workspace.undo.count())] == ["Find damage", "Restore, Standard"]
    workspace.undo.undo()
    assert not workspace.document.state.layers
    assert np.array_equal(picture(workspace), before)


def test_the_damage_is_shown_before_anything_is_healed_and_what_is_left_alone_stays(
    qtbot: QtBot, program: Program, scratched: Path
) -> None:
    pixels = imageio.read(scratched).pixels.copy()
    pixels[200:202, 50:200] = 65535
    imageio.write(imageio.read(scratched).with_pixels(pixels), scratched)
    workspace, _ = open_scan(qtbot, program, scratched)
    before = picture(workspace)
    trigger(program, "restore_gentle")
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    assert np.array_equal(picture(workspace), before)
    assert len(workspace.defects.items) == 2
    assert program.contents.defects.isVisible()
    trigger(program, "defect_next")
    trigger(program, "defect_accept")
    trigger(program, "defect_keep")
    trigger(program, "defects_heal")
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    after = picture(workspace)
    assert not np.array_equal(after[100:104, 60:190], before[100:104, 60:190])
    assert np.array_equal(after[150:], before[150:])
    assert workspace.undo.undoText() == "Restore, Gentle"
    (layer,) = workspace.document.state.layers
    assert [(repair.task, repair.recipe) for repair in layer.made_by] == [("detect", "gentle"), ("heal", "gentle")]
    assert workspace.defects.counts[Verdict.KEPT] == 1
    # The recipe is finished: healing now does not continue it.
    assert workspace.defects.review is not None
    assert workspace.defects.review.recipe == ""


def test_the_window_records_what_the_command_line_records(
    qtbot: QtBot, program: Program, scratched: Path, registry: Registry, tmp_path: Path
) -> None:
    workspace, _ = open_scan(qtbot, program, scratched)
    result = run_recipe(read_recipe("standard"), ArraySource(picture(workspace)), None, registry, Device.CPU)
    restore(qtbot, program, "standard")
    assert workspace.document.state.repairs() == list(result.repairs)


def test_a_recipe_that_finds_nothing_says_so_and_makes_no_undo_step(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, _ = open_scan(qtbot, program, scan)
    trigger(program, "restore_gentle")
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    assert workspace.undo.count() == 0
    assert "No damage was found" in program.contents.strip.text


def test_tone_that_needs_no_correction_says_so_and_makes_no_layer(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path
) -> None:
    tiny_models.identity(tmp_path / "shelf", "toner", "tone")
    workspace, _ = open_scan(qtbot, program, scan)
    program.contents.context.start_task(lambda: workspace.queue.apply(TaskRequest("tone", "toner", "cpu", {}), None))
    qtbot.waitUntil(lambda: "nothing to correct" in program.contents.strip.text, timeout=60000)
    assert (workspace.undo.count(), len(workspace.document.state.layers)) == (0, 0)


def test_without_damage_a_recipe_continues_without_asking(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, _ = open_scan(qtbot, program, scan)
    trigger(program, "restore_standard")
    qtbot.waitUntil(lambda: len(workspace.document.state.layers) == 2, timeout=60000)
    assert [layer.name.split()[0] for layer in workspace.document.state.layers] == ["Clean", "Tone"]


def test_a_cancelled_recipe_changes_nothing(
    qtbot: QtBot, program: Program, scratched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _ = open_scan(qtbot, program, scratched)
    steps: list[str] = []
    progress = JobContext.progress

    def watched(self: JobContext, share: float, step: str = "") -> None:
        steps.append(step)
        if step == "cleaning":
            self.cancel()
        progress(self, share, step)

    monkeypatch.setattr(JobContext, "progress", watched)
    restore(qtbot, program, "strong")
    assert "healing" in steps
    assert not workspace.document.state.layers
    assert workspace.undo.undoText() == "Find damage"


def test_layers_that_were_made_while_the_picture_turned_are_turned(
    qtbot: QtBot, program: Program, scratched: Path
) -> None:
    workspace, _ = open_scan(qtbot, program, scratched)
    trigger(program, "restore_gentle")
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    trigger(program, "defects_heal")
    workspace.turn(Turn.LEFT)
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    (layer,) = workspace.document.state.layers
    weight = layer.mask.read(layer.mask.bounds)
    assert weight.shape == (400, 300)
    assert np.rot90(weight, -1)[101, 60:190].all()


def test_the_recipes_of_the_menu_are_those_that_ship() -> None:
    assert [
        action.id.removeprefix("restore_") for action in ACTIONS if action.id.startswith("restore_")
    ] == recipe_names()


def test_an_enlargement_is_a_file_of_its_own_that_is_opened(
    qtbot: QtBot, program: Program, scratched: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _ = open_scan(qtbot, program, scratched)
    layer = filled_layer(workspace.document, Rect(20, 30, 250, 200))
    workspace.push(AddLayer("add", layer, 0))
    before, digest = picture(workspace), scratched.read_bytes()
    asked: list[Path] = []

    def save(_cls: type, _parent: object, _title: str, suggestion: Path) -> Path:
        asked.append(suggestion)
        return suggestion

    monkeypatch.setattr(FileDialogs, "save_picture", classmethod(save))
    trigger(program, "enlarge_2")
    target = scratched.with_name("old-x2.tif")
    assert target in program.contents.photos.files_in_use(), "nobody else writes there meanwhile"
    qtbot.waitUntil(lambda: program.contents.photos.photo is not workspace, timeout=60000)
    assert target not in program.contents.files.targets
    large = program.contents.photos.photo
    assert large is not None
    assert asked == [scratched.with_name("old-x2.tif")]
    assert large.title == "old-x2.tif"
    assert picture(large).shape == (600, 800, 3)
    # The visible picture with its layer was enlarged.
    card = registry.card("enlarger2")
    alone = run_task(TaskInput("upscale", ArraySource(before), None, None, UpscaleSettings(), card, Device.CPU))
    assert np.array_equal(picture(large), alone.pixels)
    assert large.document.resolution is not None
    assert large.document.resolution.x == 1200
    assert not large.unsaved
    assert workspace.undo.count() == 1
    assert scratched.read_bytes() == digest
    record = json.loads(scratched.with_name("old-x2.tif.record.json").read_text())
    assert (record["command"], record["written"]["size"]) == ("upscale", [800, 600])
    assert record["repairs"][-1]["settings"] == {"scale": 2}


def test_an_enlargement_never_writes_over_an_open_file_and_a_missing_model_is_said(
    qtbot: QtBot, program: Program, scratched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _ = open_scan(qtbot, program, scratched)
    digest = scratched.read_bytes()
    monkeypatch.setattr(FileDialogs, "save_picture", classmethod(lambda *_: scratched))
    trigger(program, "enlarge_2")
    assert not workspace.queue.busy
    assert "old.tif" in program.contents.strip.text
    trigger(program, "enlarge_4")
    assert not workspace.queue.busy
    assert "No model that enlarges 4 times" in program.contents.strip.text
    assert scratched.read_bytes() == digest
