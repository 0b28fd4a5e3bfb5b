"""The review when the photograph is saved, rotated or searched again, and results that arrive later."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QListView
from pytestqt.qtbot import QtBot

import desktop.photo.defect_list
import engine.tasks
from desktop.app import Program
from desktop.dialogs.export import FileDialogs
from desktop.document.opening import open_project
from desktop.document.recovery import recover
from desktop.photo.workspace import Workspace
from engine.jobs import JobContext
from engine.outlines import Outlines
from engine.raster import Rect
from engine.review import Review
from tests.desktop.acting import (
    LEFT,
    combo,
    drag,
    hold_tasks,
    key,
    open_scan,
    pick,
    picture,
    trigger,
    trigger_job,
)
from tests.desktop.reviewing import (
    ACCEPTED,
    HEALED,
    KEPT,
    TO_DO,
    counts,
    find,
    heal_found,
    open_and_find,
    slider,
    verdicts,
    wait_for_outlines,
    write_blots,
)


def test_a_project_and_a_session_keep_the_review(
    qtbot: QtBot, program: Program, blots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _ = open_and_find(qtbot, program, blots)
    key(program, Qt.Key.Key_N)
    key(program, Qt.Key.Key_Return)
    key(program, Qt.Key.Key_Delete)
    workspace.save_for_recovery()
    folder = workspace.autosave.folder.folder
    qtbot.waitUntil(lambda: (folder / "manifest.json").is_file() and not workspace.autosave.busy, timeout=10000)
    recovered = recover(folder).document.state.review
    assert recovered.judgements == workspace.document.state.review.judgements
    path = tmp_path / "work.ora"
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: path))
    trigger(program, "save")
    qtbot.waitUntil(lambda: not workspace.unsaved, timeout=10000)
    assert open_project(path).state.review.judgements == recovered.judgements
    before = verdicts(workspace)
    program.contents.photos.close(0)
    with qtbot.waitSignal(program.files.opened, timeout=20000):
        program.contents.photos.open([path])
    again = program.contents.photos.photo
    qtbot.waitUntil(lambda: bool(again.defects.items), timeout=10000)
    assert verdicts(again) == before
    assert program.contents.defects.heal_button.text() == "Heal 1 accepted"
    assert not again.unsaved
    key(program, Qt.Key.Key_N)
    heal_found(qtbot, program, again)
    assert counts(again) == {HEALED: 1, KEPT: 1, TO_DO: 3}


def test_a_turned_picture_keeps_its_review(qtbot: QtBot, program: Program, blots: Path) -> None:
    workspace, _ = open_and_find(qtbot, program, blots)
    key(program, Qt.Key.Key_N)
    key(program, Qt.Key.Key_Return)
    trigger(program, "rotate_left")
    assert not workspace.defects.items, "nothing is shown where it was"
    wait_for_outlines(qtbot, workspace)
    accepted = [item.defect.box for item in workspace.defects.items if item.verdict is ACCEPTED]
    assert accepted == [Rect(20, 572, 28, 580)]
    heal_found(qtbot, program, workspace)
    assert counts(workspace) == {HEALED: 1, TO_DO: 4}
    assert picture(workspace)[376, 24].tolist() != [255, 0, 0]
    trigger(program, "undo")
    trigger(program, "undo")
    wait_for_outlines(qtbot, workspace)
    assert verdicts(workspace)[0] == (20, "dust", ACCEPTED)


@pytest.mark.parametrize("task", ["find", "heal"])
def test_a_result_is_rotated_if_the_picture_is_rotated_meanwhile(
    qtbot: QtBot, program: Program, blots: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    if task == "find":
        workspace, _ = open_scan(qtbot, program, blots)
    else:
        workspace, _ = open_and_find(qtbot, program, blots)
        key(program, Qt.Key.Key_N)
        key(program, Qt.Key.Key_Return)
    gate, ticket = hold_tasks(monkeypatch), trigger_job(program, f"defects_{task}")
    qtbot.waitUntil(lambda: ticket.state.name == "RUNNING")
    trigger(program, "rotate_left")
    gate.set()
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    wait_for_outlines(qtbot, workspace)
    boxes = {item.defect.box: item.verdict for item in workspace.defects.items}
    assert boxes[Rect(20, 572, 28, 580)] is (TO_DO if task == "find" else HEALED)
    assert len(boxes) == 5
    if task == "heal":
        assert picture(workspace)[376, 24].tolist() != [255, 0, 0]


def test_a_waiting_heal_works_on_the_rotated_picture(
    qtbot: QtBot, program: Program, blots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, view = open_and_find(qtbot, program, blots)
    drag(view, [(200, 200), (230, 200)])
    gate, first = hold_tasks(monkeypatch), trigger_job(program, "heal")
    qtbot.waitUntil(lambda: first.state.name == "RUNNING")
    key(program, Qt.Key.Key_N)
    key(program, Qt.Key.Key_Return)
    trigger(program, "defects_heal")
    trigger(program, "defects_heal")
    assert program.contents.strip.text == "Defects are being healed already."
    trigger(program, "flip_horizontal")
    gate.set()
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    wait_for_outlines(qtbot, workspace)
    assert {item.defect.box: item.verdict for item in workspace.defects.items}[Rect(572, 20, 580, 28)] is HEALED
    assert picture(workspace)[24, 376].tolist() != [255, 0, 0]
    assert len(workspace.document.state.layers) == 2


def test_a_defect_judged_again_during_its_heal_counts_as_healed(
    qtbot: QtBot, program: Program, blots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _ = open_and_find(qtbot, program, blots)
    key(program, Qt.Key.Key_N)
    key(program, Qt.Key.Key_Return)
    gate, ticket = hold_tasks(monkeypatch), trigger_job(program, "defects_heal")
    qtbot.waitUntil(lambda: ticket.state.name == "RUNNING")
    # Decision and threshold are changed meanwhile.
    key(program, Qt.Key.Key_P)
    key(program, Qt.Key.Key_Delete)
    slider(program, "threshold")._number.setValue(80)
    wait_for_outlines(qtbot, workspace)
    gate.set()
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    wait_for_outlines(qtbot, workspace)
    assert verdicts(workspace)[0] == (20, "dust", HEALED)
    assert len(workspace.document.state.layers) == 1


def heal_meanwhile(
    qtbot: QtBot, program: Program, monkeypatch: pytest.MonkeyPatch, workspace: Workspace, command: str
) -> None:
    """Trigger a command while the defects are being healed, and wait for the heal."""
    gate, ticket = hold_tasks(monkeypatch), trigger_job(program, "defects_heal")
    qtbot.waitUntil(lambda: ticket.state.name == "RUNNING")
    trigger(program, command)
    gate.set()
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)


def test_a_heal_does_not_judge_the_defects_of_a_later_search(
    qtbot: QtBot, program: Program, blots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _ = open_and_find(qtbot, program, blots)
    heal_meanwhile(qtbot, program, monkeypatch, workspace, "defects_clear")
    assert workspace.document.state.review is None
    assert len(workspace.document.state.layers) == 1
    find(qtbot, program, workspace)
    assert "No damage" in program.contents.strip.text or counts(workspace)[HEALED] == 0


def test_undo_cancels_a_heal(qtbot: QtBot, program: Program, blots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, _ = open_and_find(qtbot, program, blots)
    heal_meanwhile(qtbot, program, monkeypatch, workspace, "undo")
    assert counts(workspace) == {TO_DO: 5}
    assert not workspace.document.state.layers


def test_a_second_search_replaces_the_first(qtbot: QtBot, program: Program, blots: Path) -> None:
    workspace, _ = open_and_find(qtbot, program, blots)
    key(program, Qt.Key.Key_N)
    key(program, Qt.Key.Key_Return)
    slider(program, "smallest")._number.setValue(60)
    find(qtbot, program, workspace)
    assert counts(workspace) == {TO_DO: 4}, "it begins with the filters of the first"
    trigger(program, "undo")
    wait_for_outlines(qtbot, workspace)
    assert counts(workspace) == {ACCEPTED: 1, TO_DO: 3}


def test_a_search_that_finds_nothing_says_so_and_makes_no_undo_step(
    qtbot: QtBot, program: Program, tmp_path: Path
) -> None:
    workspace, _ = open_and_find(qtbot, program, write_blots(tmp_path / "dark.png"))
    assert program.contents.strip.text == "No damage was found."
    assert workspace.undo.count() == 0
    assert workspace.document.state.review is None
    assert program.contents.task.button.text() == "Find damage"


def test_less_certain_damage_is_listed_at_a_lower_threshold(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    workspace, _ = open_and_find(qtbot, program, write_blots(tmp_path / "faint.png", (20, 20, 9, 9, 0, 80)))
    assert program.contents.strip.text == "No damage was found at this threshold. A lower one finds more."
    assert not workspace.document.state.layers
    assert program.contents.defects.isVisible()
    assert not program.contents.menus.by_id["defects_heal"].isEnabled()
    slider(program, "threshold")._number.setValue(25)
    wait_for_outlines(qtbot, workspace)
    assert verdicts(workspace) == [(20, "dust", TO_DO)]


def test_healing_half_of_the_picture_asks_first(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    stripes = [(left, 0, 4, 560, 0, 255) for left in range(0, 440, 8)]
    path = write_blots(tmp_path / "half.png", *stripes)
    workspace, _ = open_and_find(qtbot, program, path)
    assert program.contents.strip.text.endswith("% of the picture counts as damaged; a higher threshold finds less.")
    assert program.contents.strip.button is None
    trigger(program, "defects_heal")
    assert not workspace.queue.busy
    assert "would be healed, which is hardly all damage" in program.contents.strip.text
    strip = program.contents.strip
    assert strip.button is not None
    strip.say("Something else.")
    assert strip.button is None
    trigger(program, "defects_heal")
    with qtbot.waitSignal(workspace.undo.indexChanged, timeout=60000):
        QTest.mouseClick(strip.button, LEFT)
    qtbot.waitUntil(lambda: not workspace.queue.busy)
    assert len(workspace.document.state.layers) == 1
    assert counts(workspace) == {HEALED: len(stripes)}
    assert strip.button is None


def test_a_large_area_is_unsure_and_healed_only_if_it_is_accepted(
    qtbot: QtBot, program: Program, tmp_path: Path
) -> None:
    path = write_blots(tmp_path / "large.png", (20, 20, 6, 6, 0, 255), (300, 100, 90, 90, 0, 255))
    workspace, _ = open_and_find(qtbot, program, path)
    panel, strip = program.contents.defects, program.contents.strip
    assert strip.text == (
        "Found 2 defects: 2 dust; one is large, and healed only if you accept it. "
        "Look through them, or heal the others."
    )
    assert panel._counts.text() == "2 found · 2 to do · 1 large, unsure"
    rows = [panel.model.index(row).data() for row in range(2)]
    assert [("large, unsure" in row, "% sure" in row) for row in rows] == [(False, True), (True, False)]
    assert panel.heal_button.text() == "Heal all 1"
    trigger(program, "defects_accept_all")
    assert verdicts(workspace) == [(20, "dust", ACCEPTED), (300, "dust", TO_DO)]
    trigger(program, "undo")
    heal_found(qtbot, program, workspace)
    assert verdicts(workspace) == [(20, "dust", HEALED), (300, "dust", TO_DO)]
    assert not program.contents.menus.by_id["defects_accept_all"].isEnabled(), "what is left is asked one by one"
    large = workspace.defects.items[1]
    workspace.defects.choose(large)
    trigger(program, "defect_accept")
    heal_found(qtbot, program, workspace)
    assert counts(workspace) == {HEALED: 2}


def test_the_limit_of_what_is_unsure_is_a_filter(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    path = write_blots(tmp_path / "large.png", (20, 20, 6, 6, 0, 255), (300, 100, 90, 90, 0, 255))
    workspace, _ = open_and_find(qtbot, program, path)
    assert [item.unsure for item in workspace.defects.items] == [False, True]
    slider(program, "widest")._number.setValue(100)
    assert [item.unsure for item in workspace.defects.items] == [False, False]
    assert program.contents.defects.heal_button.text() == "Heal all 2"
    slider(program, "widest")._number.setValue(0.5)
    assert [item.unsure for item in workspace.defects.items] == [True, True]
    assert not workspace.defects.to_heal
    assert not program.contents.defects.heal_button.isEnabled()


def test_a_search_in_the_background_is_reported_with_the_photographs_name(
    qtbot: QtBot, program: Program, blots: Path, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _ = open_scan(qtbot, program, blots)
    pick(program, "Task", "detect")
    gate, ticket = hold_tasks(monkeypatch), trigger_job(program, "heal")
    qtbot.waitUntil(lambda: ticket.state.name == "RUNNING")
    open_scan(qtbot, program, scan)
    gate.set()
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    assert len(workspace.defects.items) == 5
    assert program.contents.strip.text.startswith("blots.png: Found 5 defects")
    assert combo(program, "Task").currentData() == "heal", "which task is chosen belongs to the photograph"
    assert not program.contents.defects.model.rowCount()
    program.contents.photos.tabs.setCurrentIndex(0)
    assert combo(program, "Task").currentData() == "detect"
    assert program.contents.defects.model.rowCount() == 5
    program.contents.photos.close(0)
    assert not program.contents.defects.model.rowCount()


def test_outdated_outlines_are_not_shown(
    qtbot: QtBot, program: Program, blots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _ = open_and_find(qtbot, program, blots)
    real, thresholds = desktop.photo.defect_list.outline_defects, []

    def slow(review: Review, context: JobContext) -> Outlines:
        thresholds.append(review.filters.threshold)
        return real(review, context)

    monkeypatch.setattr(desktop.photo.defect_list, "outline_defects", slow)
    for value in (55, 60, 70, 95):
        slider(program, "threshold")._number.setValue(value)
    wait_for_outlines(qtbot, workspace)
    assert thresholds == [0.95], "those in between are left out"
    assert len(workspace.defects.items) == 2
    slider(program, "threshold")._number.setValue(60)
    trigger(program, "defects_clear")
    wait_for_outlines(qtbot, workspace)
    assert not workspace.defects.items


def test_thousands_of_defects_are_listed_and_few_are_drawn(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    dots = [(x, y, 3, 3, 0, 255) for x in range(4, 1000, 14) for y in range(4, 1000, 14)]
    _, view = open_and_find(qtbot, program, write_blots(tmp_path / "dusty.png", *dots, size=(1000, 1000)))
    panel = program.contents.defects
    assert panel.model.rowCount() == len(dots) > 5000
    view.viewport.fit()
    view.grab()
    panel.view.grab()
    assert 0 < len(panel._thumbnails) < 60
    panel.view.scrollToBottom()
    panel.view.grab()
    assert len(panel._thumbnails) < 120
    trigger(program, "defects_accept_all")
    assert panel.heal_button.text() == f"Heal {len(dots):,} accepted"
    assert isinstance(panel.view, QListView)


def test_a_second_search_that_finds_nothing_leaves_all_as_it_is(
    qtbot: QtBot, program: Program, blots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _ = open_and_find(qtbot, program, blots)
    before, search = verdicts(workspace), engine.tasks.run_task
    monkeypatch.setattr(engine.tasks, "run_task", lambda job, context: replace(search(job, context), pieces=()))
    find(qtbot, program, workspace)
    assert "No damage was found" in program.contents.strip.text
    key(program, Qt.Key.Key_N)
    key(program, Qt.Key.Key_Return)
    assert verdicts(workspace) == [(before[0][0], before[0][1], ACCEPTED), *before[1:]]
