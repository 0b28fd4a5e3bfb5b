"""Tasks and models chosen in the Repair panel, and tasks on the whole picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

import desktop.work.repair
from desktop.app import Program
from desktop.panels.sheet import SheetButton
from desktop.panels.widgets import ValueSlider
from desktop.photo.workspace import Workspace
from desktop.settings import SettingsStore
from engine.runtime.cards import Registry
from tests.desktop import tiny
from tests.desktop.acting import (
    LEFT,
    combo,
    drag,
    heal,
    hold_tasks,
    key,
    mask,
    open_scan,
    pick,
    picture,
    trigger,
    trigger_job,
    two_repairs,
)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Only the tiny models."""
    tiny.add_all(tmp_path / "models")
    return Registry(user_folder=tmp_path / "models", shipped=tmp_path / "none")


def sliders(program: Program) -> dict[str, ValueSlider]:
    panel = program.contents.task
    items = [
        values.itemAt(i).widget() for values in (panel._model_values, panel._values) for i in range(values.count())
    ]
    return {slider._number.accessibleName(): slider for slider in items if isinstance(slider, ValueSlider)}


def run(qtbot: QtBot, program: Program, workspace: Workspace) -> None:
    """Press the panel's button and wait until it is done."""
    QTest.mouseClick(program.contents.task.button, LEFT)
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)


def test_tasks_and_models_are_chosen_and_the_command_says_what_it_does(
    qtbot: QtBot, program: Program, scan: Path
) -> None:
    open_scan(qtbot, program, scan)
    tasks, models = combo(program, "Task"), combo(program, "Model")
    assert [tasks.itemText(i) for i in range(tasks.count())] == ["Heal", "Clean", "Find damage"]
    assert models.currentData() == "heal"
    assert set(sliders(program)) == {"Grow", "Feather", "Texture"}
    pick(program, "Task", "clean")
    assert [models.itemData(i) for i in range(models.count())] == ["clean", None, "darken"], "a line between"
    tips = [models.itemData(i, Qt.ItemDataRole.ToolTipRole) for i in range(models.count())]
    assert tips == ["", None, "Makes everything darker."]
    assert models.currentData() == "clean"
    action = program.contents.menus.by_id["heal"]
    assert program.contents.task.button.text() == action.text() == "Clean"
    assert action.toolTip().endswith("(Ctrl+Return)")
    assert program.contents.task.button.toolTip() == action.toolTip()
    assert not program.contents.menus.by_id["heal_new"].isEnabled()
    assert sliders(program)["Strength"].value == 100
    pick(program, "Model", "darken")
    assert sliders(program)["Strength"].value == 50, "the card's default"
    pick(program, "Task", "heal")
    assert program.contents.task.button.text() == "Heal"
    assert program.contents.menus.by_id["heal_new"].isEnabled()
    assert [models.itemData(i) for i in range(models.count())] == ["heal", None, "along_edges"]


def test_the_button_stays_where_it_is(qtbot: QtBot, program: Program, scan: Path) -> None:
    open_scan(qtbot, program, scan)
    panel = program.contents.task
    places = []
    for task, model in (("heal", "heal"), ("heal", "along_edges"), ("clean", "darken"), ("detect", "detect")):
        pick(program, "Task", task)
        pick(program, "Model", model)
        qtbot.waitUntil(lambda: panel.layout() is not None and panel.layout().activate() is False)
        places.append(panel.button.geometry().topLeft().toTuple())
    assert len(set(places)) == 1
    (sheet,) = panel.findChildren(SheetButton)
    pick(program, "Task", "clean")
    qtbot.waitUntil(lambda: sheet.y() > panel.button.y())


@pytest.mark.qt_log_ignore("This plugin does not support raise")  # Qt's offscreen screen says so of windows in front
def test_the_sheet_of_a_model_is_shown_small_and_large(qtbot: QtBot, program: Program, scan: Path) -> None:
    open_scan(qtbot, program, scan)
    (button,) = program.contents.task.findChildren(SheetButton)
    pick(program, "Task", "clean")
    assert button.isHidden()
    pick(program, "Model", "darken")
    assert not button.isHidden()
    QTest.mouseClick(button, LEFT)
    large = button.large
    assert large is not None
    assert not large.isModal()
    assert (large.width(), large.height()) == (64, 48)
    QTest.keyClick(large, Qt.Key.Key_Escape)
    assert button.large is None
    pick(program, "Model", "clean")
    assert button.isHidden()


def test_clean_makes_a_layer_of_the_whole_picture_and_leaves_the_mask(
    qtbot: QtBot, program: Program, scan: Path
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    before = picture(workspace).astype(int)
    drag(view, [(50, 50), (90, 50)])
    painted = mask(workspace)
    pick(program, "Task", "clean")
    with qtbot.waitSignal(workspace.undo.indexChanged, timeout=60000):
        key(program, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: not workspace.queue.busy)
    (layer,) = workspace.document.state.layers
    assert layer.name == f"Clean {layer.id}"
    assert workspace.active.id == layer.id
    assert layer.opacity == 1
    assert (layer.mask.read(layer.mask.bounds) == 255).all()
    assert np.abs(picture(workspace) - (65535 - before)).max() <= 2
    assert np.array_equal(mask(workspace), painted)
    assert layer.made_by[0].task == "clean"
    # Again: it reads the layer below and makes a second one.
    run(qtbot, program, workspace)
    assert len(workspace.document.state.layers) == 2
    assert np.abs(picture(workspace).astype(int) - before).max() <= 4
    for _ in range(2):
        trigger(program, "undo")
    assert not workspace.document.state.layers
    assert np.array_equal(picture(workspace), before)


def test_a_heal_is_not_added_to_the_layer_of_a_cleaned_picture(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    pick(program, "Task", "clean")
    run(qtbot, program, workspace)
    pick(program, "Task", "heal")
    drag(view, [(50, 50), (90, 50)])
    heal(qtbot, program, workspace)
    cleaned, repaired = workspace.document.state.layers
    assert len(cleaned.made_by) == len(repaired.made_by) == 1
    assert repaired.name.startswith("Repair")
    assert repaired.mask.read(repaired.mask.bounds)[50, 70] == 255
    assert not repaired.mask.read(repaired.mask.bounds)[200:].any()


def test_a_strength_goes_into_the_model(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, _ = open_scan(qtbot, program, scan)
    before = picture(workspace)
    pick(program, "Task", "clean")
    pick(program, "Model", "darken")
    sliders(program)["Strength"]._number.setValue(100)
    run(qtbot, program, workspace)
    assert picture(workspace).max() == 0
    (layer,) = workspace.document.state.layers
    assert layer.name == f"Clean {layer.id}, darken"
    assert workspace.undo.undoText() == "Clean, darken"
    tip = program.contents.layers.model.index(0).data(Qt.ItemDataRole.ToolTipRole)
    assert tip == f"{layer.name}, 100 %, Normal\nMade with darken"
    trigger(program, "undo")
    assert np.array_equal(picture(workspace), before)
    assert program.store.settings.repair.of("clean").values == {"strength": 1.0}


@pytest.mark.parametrize("large", [False, True])
def test_a_cleaned_picture_is_rotated_if_the_picture_is_rotated_meanwhile(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch, *, large: bool
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    titles: list[str] = []
    program.jobs.added.connect(lambda ticket: titles.append(ticket.title))
    if large:
        monkeypatch.setattr(desktop.work.repair, "AT_ONCE", 0)
    before = picture(workspace).astype(int)
    pick(program, "Task", "clean")
    gate, ticket = hold_tasks(monkeypatch), trigger_job(program, "heal")
    qtbot.waitUntil(lambda: ticket.state.name == "RUNNING")
    trigger(program, "rotate_left")
    view.grab()
    gate.set()
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    assert np.abs(picture(workspace) - (65535 - np.rot90(before))).max() <= 2
    assert ("Turning the result, scan.tif" in titles) == large, "a large one does not hold the window"


@pytest.mark.parametrize("gone", [False, True])
def test_the_layer_of_a_whole_picture_is_inserted_above_the_layers_that_were_read(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch, *, gone: bool
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    two_repairs(qtbot, program, workspace, view)
    lower, upper = (layer.id for layer in workspace.document.state.layers)
    workspace.set_active(lower)
    pick(program, "Task", "clean")
    gate, ticket = hold_tasks(monkeypatch), trigger_job(program, "heal")
    qtbot.waitUntil(lambda: ticket.state.name == "RUNNING")
    if gone:
        trigger(program, "layer_delete")
    workspace.set_active(upper)
    gate.set()
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    cleaned = next(layer.id for layer in workspace.document.state.layers if layer.name.startswith("Clean"))
    expected = [cleaned, upper] if gone else [lower, cleaned, upper]
    assert [layer.id for layer in workspace.document.state.layers] == expected


def test_a_second_press_does_not_clean_twice(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, _ = open_scan(qtbot, program, scan)
    pick(program, "Task", "clean")
    for _ in range(2):
        QTest.mouseClick(program.contents.task.button, LEFT)
    assert "under way" in program.contents.strip.text
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    assert len(workspace.document.state.layers) == 1


def test_spot_heal_heals_whatever_task_is_chosen(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    pick(program, "Task", "clean")
    key(program, Qt.Key.Key_J)
    with qtbot.waitSignal(workspace.undo.indexChanged, timeout=60000):
        drag(view, [(200, 100), (220, 100)])
    qtbot.waitUntil(lambda: not workspace.queue.busy)
    (layer,) = workspace.document.state.layers
    assert layer.made_by[0].model == "heal"
    assert combo(program, "Task").currentData() == "clean"


def test_task_model_and_values_are_remembered(qtbot: QtBot, program: Program, scan: Path, tmp_path: Path) -> None:
    open_scan(qtbot, program, scan)
    sliders(program)["Feather"]._number.setValue(5)
    pick(program, "Model", "along_edges")
    pick(program, "Task", "clean")
    pick(program, "Model", "darken")
    sliders(program)["Strength"]._number.setValue(70)
    program.store.save()
    again = SettingsStore(tmp_path / "settings.ini").settings.repair
    assert again.of("clean").model == "darken"
    assert again.of("clean").values == {"strength": pytest.approx(0.7)}
    assert again.of("heal").model == "along_edges"
    assert again.of("heal").values["feather"] == 5
    request = program.contents.task.request(new_layer=False)
    assert (request.task, request.model, request.settings) == ("clean", "darken", {"strength": pytest.approx(0.7)})
    spot = program.contents.task.request(new_layer=False, task="heal")
    assert (spot.model, spot.settings) == ("along_edges", {"grow": 0, "feather": 5, "texture": 1})


def test_settings_of_one_task_only_are_read(tmp_path: Path) -> None:
    before = {"repair": {"model": "heal", "device": "cpu", "values": {"grow": 3.0, "feather": 7.0}}}
    store = QSettings(str(tmp_path / "old.ini"), QSettings.Format.IniFormat)
    store.setValue("settings", json.dumps(before))
    store.sync()
    repair = SettingsStore(tmp_path / "old.ini").settings.repair
    assert repair.device == "cpu"
    assert repair.of("heal").model == "heal"
    assert repair.of("heal").values == {"grow": 3.0, "feather": 7.0}
