"""The edge map: drawn, painted, used under its mask, rotated, and removed with its mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.document.targets import EDGE_MAP, REPAIR_MASK
from desktop.photo.workspace import Workspace
from desktop.work.threads import Lane
from engine.jobs import JobContext
from engine.runtime.cards import Registry
from tests.desktop import tiny
from tests.desktop.acting import (
    drag,
    heal,
    hold_tasks,
    key,
    mask,
    open_scan,
    pick,
    picture,
    pixel_at,
    trigger,
    trigger_job,
)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Only the tiny models."""
    tiny.add_all(tmp_path / "models")
    return Registry(user_folder=tmp_path / "models", shipped=tmp_path / "none")


def edges(workspace: Workspace) -> np.ndarray:
    tiles = workspace.document.state.edges
    assert tiles is not None
    return tiles.read(tiles.bounds)


def guided(workspace: Workspace) -> np.ndarray:
    """The mask for which the edges were drawn."""
    tiles = workspace.document.state.guided
    assert tiles is not None
    return tiles.read(tiles.bounds)


def draw_edges(qtbot: QtBot, program: Program, workspace: Workspace) -> None:
    pick(program, "Model", "along_edges")
    trigger(program, "edges_draw")
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)


def test_edges_are_drawn_painted_used_and_removed_by_a_heal(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    program.store.settings.repair.of("heal").values |= {"feather": 0.0, "texture": 0.0}
    assert not program.contents.menus.by_id["edges_draw"].isEnabled()
    program.contents.tools.set_size(24)
    drag(view, [(100, 150), (300, 150)])
    painted = mask(workspace)
    draw_edges(qtbot, program, workspace)
    assert workspace.target == EDGE_MAP
    assert np.array_equal(edges(workspace) == 255, painted > 0)
    # Shown over the picture, in another colour than the mask.
    shown = pixel_at(view, 200, 150)
    assert shown[2] > 200
    assert shown[0] < 100
    assert program.contents.tools.brush.size == 2
    assert program.contents.options._target.text().startswith("Edges")
    drag(view, [(150, 40), (250, 40)])
    assert workspace.undo.undoText() == "Brush, edges"
    assert edges(workspace)[40, 200] == 255
    assert not mask(workspace)[40].any()
    key(program, Qt.Key.Key_E)
    program.contents.tools.set_size(60)
    drag(view, [(120, 150), (125, 150)])
    assert not edges(workspace)[150, 120]
    trigger(program, "undo")
    assert edges(workspace)[150, 120] == 255
    trigger(program, "redo")
    with qtbot.waitSignal(workspace.undo.indexChanged, timeout=60000):
        trigger(program, "heal")
    qtbot.waitUntil(lambda: not workspace.queue.busy)
    healed = picture(workspace)
    assert (healed[150, 200] == 65535).all()
    assert (healed[150, 120] == 0).all()
    assert workspace.document.state.edges is None
    assert workspace.target == REPAIR_MASK
    assert workspace.active is not None
    assert not mask(workspace).any()
    trigger(program, "undo")
    assert edges(workspace)[150, 200] == 255
    assert not edges(workspace)[150, 120]
    assert np.array_equal(mask(workspace), painted)


def test_the_brush_for_edges_has_a_size_of_its_own(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    program.contents.tools.set_size(30)
    drag(view, [(100, 150), (200, 150)])
    draw_edges(qtbot, program, workspace)
    trigger(program, "larger")
    assert program.contents.tools.brush.size == 3
    assert view.input.cursor.diameter == 3
    key(program, Qt.Key.Key_Escape)
    assert workspace.target == REPAIR_MASK
    assert program.contents.tools.brush.size == view.input.cursor.diameter == 30
    trigger(program, "edges_paint")
    assert workspace.target == EDGE_MAP
    assert program.contents.tools.brush.size == 3
    key(program, Qt.Key.Key_J)
    assert workspace.target == REPAIR_MASK
    tools = program.store.settings.tools
    assert [tools.brush(name).size for name in ("brush", "edges", "spot")] == [30, 3, 24]


def test_edges_are_cleared_and_rotated_and_do_not_count_as_unsaved_work(
    qtbot: QtBot, program: Program, scan: Path
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(100, 150), (200, 180)])
    workspace.undo.setClean()
    draw_edges(qtbot, program, workspace)
    drawn = edges(workspace)
    assert not workspace.unsaved, "no file keeps edges"
    assert not program.window.windowTitle().startswith("scan.tif*")
    trigger(program, "edges_clear")
    assert workspace.document.state.edges is None
    assert workspace.target == REPAIR_MASK
    assert not program.contents.menus.by_id["edges_clear"].isEnabled()
    trigger(program, "undo")
    assert np.array_equal(edges(workspace), drawn)
    trigger(program, "rotate_left")
    assert np.array_equal(edges(workspace), np.rot90(drawn))
    assert workspace.unsaved
    assert program.window.windowTitle().startswith("scan.tif*")
    trigger(program, "undo")
    assert np.array_equal(edges(workspace), drawn)
    drag(view, [(50, 50), (60, 50)])
    key(program, Qt.Key.Key_Escape)
    drag(view, [(50, 50), (60, 50)])
    assert workspace.unsaved


def test_edges_are_rotated_if_the_picture_is_rotated_meanwhile(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    program.store.settings.repair.of("heal").values |= {"feather": 0.0, "texture": 0.0}
    drag(view, [(100, 150), (200, 180)])
    painted = mask(workspace)
    pick(program, "Model", "along_edges")
    gate, ticket = hold_tasks(monkeypatch, "draw_edges"), trigger_job(program, "edges_draw")
    qtbot.waitUntil(lambda: ticket.state.name == "RUNNING")
    trigger(program, "rotate_right")
    gate.set()
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    assert np.array_equal(edges(workspace) > 0, np.rot90(painted, 3) > 0)
    assert np.array_equal(guided(workspace), np.rot90(painted, 3))


def test_edges_do_not_guide_the_repair_of_damage_painted_later(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    program.store.settings.repair.of("heal").values |= {"feather": 0.0, "texture": 0.0}
    drag(view, [(100, 150), (200, 150)])
    first = mask(workspace)
    draw_edges(qtbot, program, workspace)
    trigger(program, "mask_clear")
    key(program, Qt.Key.Key_Escape)
    drag(view, [(100, 50), (200, 50)])
    for turn in ("rotate_left", "rotate_left"):
        trigger(program, turn)
    assert np.array_equal(guided(workspace), first[::-1, ::-1])
    with qtbot.waitSignal(workspace.undo.indexChanged, timeout=60000):
        trigger(program, "heal")
    qtbot.waitUntil(lambda: not workspace.queue.busy)
    healed = picture(workspace)[::-1, ::-1]
    assert (healed[150, 150] == 0).all(), "no edges were wanted there"
    assert (healed[50, 150] == 65535).all()


def test_edges_are_removed_when_any_model_heals_their_mask(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(100, 150), (200, 150)])
    painted = mask(workspace)
    draw_edges(qtbot, program, workspace)
    drawn = edges(workspace)
    assert np.array_equal(guided(workspace), painted)
    pick(program, "Model", "heal")
    key(program, Qt.Key.Key_Escape)
    heal(qtbot, program, workspace)
    assert workspace.document.state.edges is workspace.document.state.guided is None
    trigger(program, "undo")
    assert np.array_equal(edges(workspace), drawn)
    assert np.array_equal(guided(workspace), painted)
    # Healing other damage does not remove them.
    trigger(program, "mask_clear")
    drag(view, [(100, 50), (200, 50)])
    heal(qtbot, program, workspace)
    assert np.array_equal(edges(workspace), drawn)
    pick(program, "Model", "along_edges")
    trigger(program, "edges_clear")
    assert workspace.document.state.edges is workspace.document.state.guided is None


def test_edges_are_shown_only_with_a_model_that_uses_them(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(100, 150), (200, 150)])
    draw_edges(qtbot, program, workspace)
    shown, drawn = pixel_at(view, 150, 150), edges(workspace)
    assert shown[2] > 200
    actions, box = program.contents.menus.by_id, program.contents.task._edges
    for name, other in (("Model", "heal"), ("Task", "clean")):
        assert workspace.target == EDGE_MAP
        assert not box.isHidden()
        pick(program, name, other)
        assert pixel_at(view, 150, 150)[2] < 200
        assert workspace.target == REPAIR_MASK
        assert box.isHidden()
        assert not actions["edges_paint"].isEnabled()
        assert not actions["edges_clear"].isEnabled()
        workspace.set_target(EDGE_MAP)
        assert workspace.target == REPAIR_MASK, "what is hidden is not painted"
        if name == "Task":
            pick(program, "Task", "heal")
        pick(program, "Model", "along_edges")
        assert np.array_equal(pixel_at(view, 150, 150), shown)
        assert np.array_equal(edges(workspace), drawn)
        trigger(program, "edges_paint")


def test_an_edge_map_without_edges_still_guides_the_repair(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(100, 150), (200, 150)])
    draw_edges(qtbot, program, workspace)
    trigger(program, "mask_clear")
    assert not edges(workspace).any()
    assert workspace.target == EDGE_MAP
    trigger(program, "rotate_half")
    assert not edges(workspace).any()
    with qtbot.waitSignal(workspace.undo.indexChanged, timeout=60000):
        trigger(program, "heal")
    qtbot.waitUntil(lambda: not workspace.queue.busy)
    assert (picture(workspace)[149, 250] == 0).all()
    assert workspace.document.state.edges is None


def test_drawing_edges_needs_a_mask_and_can_be_cancelled(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    pick(program, "Model", "along_edges")
    trigger(program, "edges_draw")
    assert "Paint over the damage" in program.contents.strip.text
    drag(view, [(100, 150), (200, 150)])
    before: list[JobContext] = []
    program.jobs.submit("before", Lane.COMPUTE, lambda: before.append)
    trigger(program, "edges_draw")
    trigger(program, "undo")
    assert "was cancelled" in program.contents.strip.text
    qtbot.waitUntil(lambda: bool(before) and not workspace.queue.busy)
    assert workspace.document.state.edges is None
    assert mask(workspace).any()
