"""Healing in the background, and the resulting layers."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.document.targets import REPAIR_MASK, LayerMask
from desktop.work.threads import Lane, Ticket
from engine import imageio
from tests.desktop.acting import (
    LEFT,
    at,
    click_row,
    drag,
    heal,
    hold_tasks,
    key,
    mask,
    open_scan,
    picture,
    trigger,
    two_repairs,
)


def test_heal_makes_a_layer_and_changes_nothing_outside_the_mask(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    before = picture(workspace)
    drag(view, [(150, 150), (260, 170)])
    painted = mask(workspace)
    program.store.settings.repair.of("heal").values["feather"] = 0.0
    heal(qtbot, program, workspace)
    after = picture(workspace)
    assert not np.array_equal(after[painted == 255], before[painted == 255])
    assert np.array_equal(after[painted == 0], before[painted == 0])
    assert not mask(workspace).any()
    (layer,) = workspace.document.state.layers
    assert layer.made_by[0].model == "heal"
    trigger(program, "undo")
    assert np.array_equal(picture(workspace), before)
    assert np.array_equal(mask(workspace), painted)
    trigger(program, "redo")
    assert np.array_equal(picture(workspace), after)


def test_a_second_heal_joins_the_layer_and_alt_makes_a_new_one(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    for points in ([(50, 50), (90, 50)], [(50, 200), (90, 200)]):
        drag(view, points)
        heal(qtbot, program, workspace)
    assert len(workspace.document.state.layers) == 1
    assert len(workspace.document.state.layers[0].made_by) == 2
    drag(view, [(300, 50), (340, 50)])
    with qtbot.waitSignal(workspace.undo.indexChanged, timeout=60000):
        trigger(program, "heal_new")
    qtbot.waitUntil(lambda: not workspace.queue.busy)
    assert len(workspace.document.state.layers) == 2


def test_painting_goes_on_while_jobs_run_and_what_was_painted_stays(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    release = threading.Event()
    program.jobs.submit("busy", Lane.COMPUTE, lambda: lambda _: release.wait(30))
    drag(view, [(50, 50), (90, 50)])
    trigger(program, "heal")
    drag(view, [(50, 200), (90, 200)])
    trigger(program, "heal")
    drag(view, [(300, 200), (340, 200)])
    trigger(program, "undo")
    trigger(program, "redo")
    trigger(program, "zoom_in")
    assert workspace.queue.busy
    assert not workspace.document.state.layers
    release.set()
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    assert len(workspace.document.state.layers[0].made_by) == 2
    assert mask(workspace)[200, 320] == 255
    assert not mask(workspace)[:, :200].any()


def test_a_cancelled_heal_leaves_everything_as_it_was(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(50, 50), (90, 50)])
    tickets = []
    program.jobs.added.connect(tickets.append)
    trigger(program, "heal")
    with qtbot.waitSignal(tickets[0].cancelled):
        tickets[0].cancel()
    assert not workspace.queue.busy
    assert not workspace.document.state.layers
    assert mask(workspace).any()


def test_heal_without_a_mask_says_what_to_do(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, _ = open_scan(qtbot, program, scan)
    QTest.mouseClick(program.contents.task.button, LEFT)
    assert "Paint over the damage" in program.contents.strip.text
    assert workspace.undo.count() == 0


def test_spot_heal_heals_each_stroke_on_release(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    before = picture(workspace)
    key(program, Qt.Key.Key_J)
    with qtbot.waitSignal(workspace.undo.indexChanged, timeout=60000):
        drag(view, [(200, 100), (220, 100)])
    qtbot.waitUntil(lambda: not workspace.queue.busy)
    assert workspace.undo.count() == 1
    assert not mask(workspace).any()
    assert not np.array_equal(picture(workspace)[100, 210], before[100, 210])


@pytest.mark.parametrize("spot", [False, True])
@pytest.mark.parametrize("running", [False, True])
def test_a_repair_turns_with_the_picture(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch, *, spot: bool, running: bool
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    tickets: list[Ticket] = []
    program.jobs.added.connect(tickets.append)

    def ask_for_repair() -> None:
        if spot:
            key(program, Qt.Key.Key_J)
        drag(view, [(50, 50), (180, 60), (260, 180)])
        if not spot:
            trigger(program, "heal")

    with qtbot.waitSignal(workspace.undo.indexChanged, timeout=60000):
        ask_for_repair()
        qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    expected = picture(workspace)
    while workspace.undo.canUndo():
        workspace.undo.undo()
    if running:
        release = hold_tasks(monkeypatch)
    else:
        release = threading.Event()
        program.jobs.submit("busy", Lane.COMPUTE, lambda: lambda _: release.wait(30))
    ask_for_repair()
    ticket = next(ticket for ticket in reversed(tickets) if ticket.title.startswith("Heal"))
    if running:
        qtbot.waitUntil(lambda: ticket.state.name == "RUNNING")
    for id_ in ("rotate_left", "flip_vertical"):
        trigger(program, id_)
        view.grab()
    release.set()
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    assert len(workspace.document.state.layers) == 1
    assert not mask(workspace).any()
    turned = np.rot90(expected)[::-1].astype(int)
    found = picture(workspace)
    before = np.rot90(imageio.read(scan).pixels)[::-1]
    if running:
        assert np.array_equal(found, turned)
    else:
        # Healed as it lies now: much the same, and just there.
        assert np.array_equal((found != before).any(axis=2), (turned != before).any(axis=2))


def test_a_rotated_repair_holds_the_picture_where_its_mask_is_empty(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    gate = hold_tasks(monkeypatch)
    drag(view, [(50, 50), (90, 50)])
    trigger(program, "heal")
    qtbot.waitUntil(lambda: "RUNNING" in [ticket.state.name for ticket in workspace._tickets])
    for id_ in ("rotate_left", "flip_horizontal"):
        trigger(program, id_)
    gate.set()
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    (layer,) = workspace.document.state.layers
    before = np.rot90(imageio.read(scan).pixels)[:, ::-1]
    assert layer.pixels.occupied()
    for rect in layer.pixels.occupied():
        hidden = layer.mask.read(rect) == 0
        assert np.array_equal(layer.pixels.read(rect)[hidden], before[rect.slices()][hidden])


def test_a_repair_waits_for_one_that_a_drag_holds_back(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    release = threading.Event()
    program.jobs.submit("busy", Lane.COMPUTE, lambda: lambda _: release.wait(30))
    tickets: list[Ticket] = []
    program.jobs.added.connect(tickets.append)
    for y in (50, 80):
        drag(view, [(50, y), (90, y)])
        trigger(program, "heal_new")
    first, second = (ticket for ticket in tickets if ticket.title.startswith("Heal"))
    QTest.mousePress(view, LEFT, pos=at(view, 300, 200))
    release.set()
    qtbot.waitUntil(lambda: first.state.name == "DONE", timeout=60000)
    assert second.state.name == "WAITING"
    assert not workspace.document.state.layers
    QTest.mouseRelease(view, LEFT, pos=at(view, 300, 200))
    (layer,) = workspace.document.state.layers
    healed = picture(workspace)
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    assert workspace.document.state.layers[0] is layer
    later = workspace.document.state.layers[1]
    hidden = later.mask.read(later.mask.bounds) == 0
    hidden[256:], hidden[:, 256:] = False, False
    assert np.array_equal(later.pixels.read(later.pixels.bounds)[hidden], healed[hidden]), "it saw the first"


def test_the_mask_of_a_repair_is_free_again_when_its_edit_fails(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(50, 50), (90, 50)])

    def push(_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched, qtbot.captureExceptions() as met:
        patched.setattr(workspace, "push", push)
        trigger(program, "heal")
        qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    assert [kind for kind, *_ in met] == [MemoryError]
    heal(qtbot, program, workspace)
    assert len(workspace.document.state.layers) == 1


def test_painting_on_a_layers_mask_takes_the_repair_away_and_brings_it_back(
    qtbot: QtBot, program: Program, scan: Path
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    before = picture(workspace)
    drag(view, [(150, 150), (260, 150)])
    heal(qtbot, program, workspace)
    healed = picture(workspace)
    panel = program.contents.layers
    program.window.panels["Layers"].raise_()
    row = panel.view.visualRect(panel.model.index(0))
    click_row(panel.view, 0, panel.rows.mask_rect(row).center())
    assert workspace.target == LayerMask(workspace.document.state.layers[0].id)
    key(program, Qt.Key.Key_E)
    program.contents.tools.set_size(60)
    drag(view, [(200, 150), (205, 150)])
    assert np.array_equal(picture(workspace)[150, 202], before[150, 202])
    assert np.array_equal(picture(workspace)[150, 160], healed[150, 160])
    key(program, Qt.Key.Key_B)
    drag(view, [(200, 150), (205, 150)])
    assert np.array_equal(picture(workspace)[150, 202], healed[150, 202])
    key(program, Qt.Key.Key_Escape)
    assert workspace.target == REPAIR_MASK
    click_row(panel.view, 0, panel.rows.mask_rect(row).center())
    assert workspace.target != REPAIR_MASK
    click_row(panel.view, 0, panel.rows.picture_rect(row).center())
    assert workspace.target == REPAIR_MASK
    assert not mask(workspace).any()


def test_eye_opacity_blend_rename_reorder_and_delete(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    before = picture(workspace)
    two_repairs(qtbot, program, workspace, view)
    panel, undo = program.contents.layers, workspace.undo
    row = panel.view.visualRect(panel.model.index(0))
    program.window.panels["Layers"].raise_()
    click_row(panel.view, 0, panel.rows.eye_rect(row).center())
    assert not workspace.document.state.layers[1].visible
    assert np.array_equal(picture(workspace)[:, 190:], before[:, 190:])
    trigger(program, "undo")
    count = undo.count()
    panel._opacity.pressed.emit()
    for value in (90, 60, 30):
        panel._opacity.changed.emit(value)
    panel._opacity.released.emit()
    assert undo.index() == count
    assert workspace.document.state.layers[1].opacity == pytest.approx(0.3)
    panel._blend.setCurrentIndex(3)
    panel._blend.activated.emit(3)
    assert workspace.document.state.layers[1].blend.name == "OVERLAY"
    panel.model.setData(panel.model.index(0), "Crack")
    assert workspace.document.state.layers[1].name == "Crack"
    trigger(program, "layer_down")
    assert [layer.name for layer in workspace.document.state.layers][0] == "Crack"
    trigger(program, "layer_duplicate")
    assert len(workspace.document.state.layers) == 3
    before_merge = picture(workspace)
    trigger(program, "layer_merge")
    assert len(workspace.document.state.layers) == 2
    assert np.array_equal(picture(workspace), before_merge)
    trigger(program, "layer_delete")
    assert len(workspace.document.state.layers) == 1
    while undo.canUndo():
        undo.undo()
    assert np.array_equal(picture(workspace), before)


def test_the_layer_below_a_deleted_one_becomes_active(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    two_repairs(qtbot, program, workspace, view)
    first, second = (layer.id for layer in workspace.document.state.layers)
    assert workspace.active.id == second
    trigger(program, "layer_delete")
    assert workspace.active.id == first
    trigger(program, "undo")
    assert workspace.active.id == second
    workspace.set_active(None)
    panel = program.contents.layers
    assert not panel._opacity.isEnabled()
    assert panel._opacity.value == 100


def test_spot_heal_and_a_layers_mask_exclude_each_other(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 150)])
    heal(qtbot, program, workspace)
    layer = workspace.document.state.layers[0]
    key(program, Qt.Key.Key_J)
    workspace.set_target(LayerMask(layer.id))
    assert program.contents.menus.by_id["tool_brush"].isChecked()
    drag(view, [(150, 150), (260, 150)])
    assert workspace.undo.undoText().startswith("Brush, mask of Repair")
    key(program, Qt.Key.Key_J)
    assert workspace.target == REPAIR_MASK


def test_history_goes_back_with_a_click(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    for y in (50, 100, 150):
        drag(view, [(50, y), (90, y)])
    history = program.contents.history.view
    rect = history.visualRect(history.model().index(1, 0))
    QTest.mouseClick(history.viewport(), LEFT, pos=rect.center())
    assert workspace.undo.index() == 1
    assert mask(workspace)[50, 70] == 255
    assert mask(workspace)[100, 70] == 0
