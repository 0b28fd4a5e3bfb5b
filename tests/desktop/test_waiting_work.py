"""Waiting and running repairs count as unsaved work, are cancelled by undo, and can be finished before closing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.canvas.view import CanvasView
from desktop.dialogs.export import FileDialogs
from desktop.dialogs.questions import Closing, Questions, Waiting
from desktop.document.compose import Composite, flatten
from desktop.document.edits import AddLayer
from desktop.document.opening import open_project
from desktop.photo.workspace import Workspace
from desktop.work.threads import Lane
from engine.raster import Rect
from tests.desktop.acting import LEFT, drag, heal, hold_tasks, key, open_scan, picture, trigger
from tests.document.test_edits import filled_layer


def open_with_spot(qtbot: QtBot, program: Program, scan: Path) -> tuple[Workspace, CanvasView]:
    """Open a scan and paint a spot heal, which ``hold_tasks`` keeps from ending."""
    workspace, view = open_scan(qtbot, program, scan)
    key(program, Qt.Key.Key_J)
    drag(view, [(200, 100), (220, 100)])
    assert workspace.queue.busy
    return workspace, view


def test_a_spot_that_waits_counts_as_unsaved_and_undo_takes_it_back(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = hold_tasks(monkeypatch)
    workspace, _ = open_with_spot(qtbot, program, scan)
    assert workspace.unsaved
    assert program.window.windowTitle().startswith("scan.tif*")
    assert program.contents.menus.by_id["undo"].isEnabled()
    trigger(program, "undo")
    gate.set()
    qtbot.waitUntil(lambda: not workspace.queue.busy)
    assert not workspace.unsaved
    assert not program.window.windowTitle().startswith("scan.tif*")
    assert not workspace.document.state.layers


def test_closing_finishes_waiting_work_and_then_saves_it(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, project = hold_tasks(monkeypatch), tmp_path / "work.ora"
    workspace, view = open_with_spot(qtbot, program, scan)
    drag(view, [(60, 200), (80, 200)])
    monkeypatch.setattr(Questions, "waiting", classmethod(lambda *_: Waiting.FINISH))
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: Closing.SAVE))
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: project))
    trigger(program, "close")
    assert program.contents.photos.tabs.count() == 1, "it is still being repaired"
    gate.set()
    qtbot.waitUntil(lambda: program.contents.photos.tabs.count() == 0, timeout=30000)
    saved = open_project(project)
    assert saved.state.layers
    healed, before = flatten(Composite.of(saved.state)), workspace.document.state.scan
    scan_pixels = before.read(before.bounds)
    for rect in (Rect(202, 98, 218, 102), Rect(62, 198, 78, 202)):
        assert not np.array_equal(healed[rect.slices()], scan_pixels[rect.slices()])


def test_the_window_closes_when_waiting_work_is_done(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = hold_tasks(monkeypatch)
    workspace, _ = open_with_spot(qtbot, program, scan)
    asked: list[int] = []

    def unsaved(*_: object) -> Closing:
        asked.append(len(workspace.document.state.layers))
        return Closing.DISCARD

    monkeypatch.setattr(Questions, "waiting", classmethod(lambda *_: Waiting.FINISH))
    monkeypatch.setattr(Questions, "unsaved", classmethod(unsaved))
    program.window.close()
    assert program.window.isVisible()
    assert "when the repairs are done" in program.contents.strip.text
    gate.set()
    qtbot.waitUntil(lambda: not program.window.isVisible(), timeout=30000)
    assert asked == [1], "what was finished is asked for as any other work"


@pytest.mark.parametrize("answer", [Waiting.DISCARD, Waiting.CANCEL])
def test_waiting_work_is_discarded_or_the_photograph_stays_open(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch, answer: Waiting
) -> None:
    gate = hold_tasks(monkeypatch)
    workspace, _ = open_with_spot(qtbot, program, scan)
    monkeypatch.setattr(Questions, "waiting", classmethod(lambda *_: answer))
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: pytest.fail("nothing was done")))
    trigger(program, "close")
    assert program.contents.photos.tabs.count() == (1 if answer is Waiting.CANCEL else 0)
    gate.set()
    if answer is Waiting.CANCEL:
        qtbot.waitUntil(lambda: not workspace.queue.busy)
        assert len(workspace.document.state.layers) == 1
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: Closing.DISCARD))


def test_a_search_that_runs_is_no_unsaved_work(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = hold_tasks(monkeypatch)
    workspace, _ = open_scan(qtbot, program, scan)
    trigger(program, "defects_find")
    assert workspace.queue.busy
    assert not workspace.unsaved
    gate.set()
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=30000)


@pytest.mark.parametrize("opacity", [1.0, 0.95])
def test_a_repair_hidden_by_a_layer_is_reported_and_done_again_on_top(
    qtbot: QtBot, program: Program, scan: Path, opacity: float
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(60, 100), (110, 100)])
    heal(qtbot, program, workspace)
    (lower,) = workspace.document.state.layers
    cover = replace(filled_layer(workspace.document, Rect(0, 0, 400, 300)), opacity=opacity)
    workspace.push(AddLayer("add", cover, 1))
    workspace.set_active(lower.id)
    before = picture(workspace)
    drag(view, [(200, 200), (250, 200)])
    heal(qtbot, program, workspace)
    assert f"which {cover.name} hides" in program.contents.strip.text
    button = program.contents.strip.button
    assert button is not None
    with qtbot.waitSignal(workspace.queue.changed):
        QTest.mouseClick(button, LEFT)
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    layers = workspace.document.state.layers
    assert [layer.id for layer in layers[:2]] == [lower.id, cover.id]
    assert np.array_equal(layers[0].mask.read(lower.mask.bounds), lower.mask.read(lower.mask.bounds)), "taken back"
    changed = (picture(workspace) != before).any(axis=2)
    assert changed[200, 200:250].any()
    assert not changed[:180].any()
    assert not workspace.document.state.mask.read(Rect(190, 190, 260, 210)).any()


def test_a_hidden_repair_is_not_repeated_on_another_picture(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(60, 100), (110, 100)])
    heal(qtbot, program, workspace)
    (lower,) = workspace.document.state.layers
    workspace.push(AddLayer("add", filled_layer(workspace.document, Rect(0, 0, 400, 300)), 1))
    workspace.set_active(lower.id)
    drag(view, [(200, 200), (250, 200)])
    heal(qtbot, program, workspace)
    drag(view, [(300, 200), (320, 200)])
    before, button = workspace.document.state, program.contents.strip.button
    assert button is not None
    QTest.mouseClick(button, LEFT)
    assert workspace.document.state is before
    assert "changed meanwhile" in program.contents.strip.text


def test_an_offer_is_shown_with_its_own_photograph(qtbot: QtBot, program: Program, scan: Path, tmp_path: Path) -> None:
    first, _ = open_scan(qtbot, program, scan)
    other = tmp_path / "other.tif"
    other.write_bytes(scan.read_bytes())
    second, _ = open_scan(qtbot, program, other)
    photos, strip, pressed = program.contents.photos, program.contents.strip, []
    program.contents.context.offer_of(first, "About the first.", "Do", lambda: pressed.append(1))
    assert strip.button is None
    assert strip.text == "scan.tif: About the first."
    program.contents.context.offer_of(second, "About the second.", "Do", lambda: pressed.append(2))
    program.contents.context.say_of(first, "More about the first.")
    assert strip.text.endswith("About the second.")
    photos.tabs.setCurrentIndex(0)
    assert strip.text.endswith("About the first.")
    QTest.mouseClick(strip.button, LEFT)
    assert (pressed, strip.button) == ([1], None)
    photos.tabs.setCurrentIndex(1)
    assert strip.button is not None
    trigger(program, "close")
    assert strip.button is None


def test_one_tool_looks_selected(qtbot: QtBot, program: Program, scan: Path) -> None:
    open_scan(qtbot, program, scan)
    for id_ in ("eraser", "zoom", "brush", "spot"):
        program.contents.tools.select(id_)
        actions = program.menus.by_id.items()
        shown = [name for name, action in actions if name.startswith("tool_") and action.isChecked()]
        assert shown == [f"tool_{id_}"]


def test_a_spot_that_several_layers_hide_is_said_whatever_else_its_layer_shows(
    qtbot: QtBot, program: Program, scan: Path
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    program.contents.tools.set_size(40)
    for y in (40, 90, 250):
        drag(view, [(30, y), (370, y)])
    heal(qtbot, program, workspace)
    (lower,) = workspace.document.state.layers
    for number, rect in enumerate((Rect(180, 140, 200, 180), Rect(200, 140, 225, 180))):
        workspace.push(AddLayer("add", filled_layer(workspace.document, rect, number), number + 1))
    program.contents.tools.set_size(10)
    key(program, Qt.Key.Key_J)
    for x, hidden in ((300, False), (200, True)):
        workspace.set_active(lower.id)
        program.contents.strip._clear()
        with qtbot.waitSignal(workspace.undo.indexChanged, timeout=60000):
            drag(view, [(x - 10, 160), (x + 10, 160)])
        qtbot.waitUntil(lambda: not workspace.queue.busy)
        assert len(workspace.document.state.layers) == 3
        assert (program.contents.strip.button is not None) == hidden


def test_autosave_does_not_wait_for_an_export(qtbot: QtBot, program: Program, scan: Path) -> None:
    import threading

    workspace, view = open_scan(qtbot, program, scan)
    gate = threading.Event()
    slow = program.jobs.submit("Exporting", Lane.IO, lambda: lambda _: gate.wait(30))
    drag(view, [(60, 100), (110, 100)])
    workspace.save_for_recovery()
    folder = workspace.autosave.folder.folder
    qtbot.waitUntil(lambda: (folder / "manifest.json").is_file() and not workspace.autosave.busy, timeout=10000)
    assert not slow.state.ended
    gate.set()
    qtbot.waitUntil(lambda: slow.state.ended)
