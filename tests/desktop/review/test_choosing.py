"""Selecting defects: in the list and on the picture, one or several."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from desktop.app import Program
from tests.desktop.acting import (
    LEFT,
    drag,
    key,
    trigger,
)
from tests.desktop.reviewing import (
    ACCEPTED,
    KEPT,
    TO_DO,
    counts,
    current_left,
    middle,
    open_and_find,
    slider,
    verdicts,
    wait_for_outlines,
    write_blots,
)


def test_several_are_decided_in_one_step(qtbot: QtBot, program: Program, blots: Path) -> None:
    workspace, view = open_and_find(qtbot, program, blots)
    list_, steps = program.contents.defects.view, workspace.undo.count()

    def click(row: int, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        list_.scrollTo(list_.model().index(row))
        QTest.mouseClick(list_.viewport(), LEFT, modifier, list_.visualRect(list_.model().index(row)).center())

    click(0)
    seen = middle(view)
    click(2, Qt.KeyboardModifier.ShiftModifier)
    assert workspace.defects.selected_rows == [0, 1, 2]
    assert middle(view) == seen, "with several the picture stays"
    click(1, Qt.KeyboardModifier.ControlModifier)
    click(3, Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.ControlModifier)
    click(0, Qt.KeyboardModifier.ControlModifier)
    chosen = workspace.defects.selected_rows
    assert len(chosen) > 1
    program.contents.defects._kind.setCurrentText("hair")
    program.contents.defects._kind.activated.emit(program.contents.defects._kind.currentIndex())
    assert {workspace.defects.items[row].kind for row in chosen} == {"hair"}
    assert workspace.defects.selected_rows == chosen
    QTest.keyClick(list_, Qt.Key.Key_Delete)
    assert {row for row, (_, _, verdict) in enumerate(verdicts(workspace)) if verdict is KEPT} == set(chosen)
    assert workspace.undo.count() == steps + 2
    assert len(workspace.defects.selected_rows) == 1, "and goes on to the next"
    trigger(program, "undo")
    assert counts(workspace)[KEPT] == 0


def test_a_click_with_the_hand_selects_without_scrolling(qtbot: QtBot, program: Program, blots: Path) -> None:
    workspace, view = open_and_find(qtbot, program, blots)
    key(program, Qt.Key.Key_H)
    zoom, seen = view.viewport.zoom, middle(view)
    drag(view, [(100, 122)])
    assert current_left(workspace) == 60
    assert (view.viewport.zoom, middle(view)) == (zoom, seen)
    assert program.contents.defects.view.currentIndex().row() == 1
    drag(view, [(200, 200)])
    assert current_left(workspace) == 60, "nothing is there"
    drag(view, [(24, 24), (64, 64)])
    assert current_left(workspace) == 60, "that was a drag"
    key(program, Qt.Key.Key_B)
    steps = workspace.undo.count()
    QTest.keyPress(view, Qt.Key.Key_Space)
    drag(view, [(24, 24)])
    QTest.keyRelease(view, Qt.Key.Key_Space)
    assert current_left(workspace) == 20
    assert workspace.undo.count() == steps
    trigger(program, "marks")
    key(program, Qt.Key.Key_H)
    drag(view, [(100, 122)])
    assert current_left(workspace) == 20, "what is hidden cannot be meant"


def test_shift_extends_the_selection_from_the_current_defect(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    dots = [(10 + (i % 10) * 30, 10 + (i // 10) * 30, 8, 8, 0, 255) for i in range(30)]
    workspace, _ = open_and_find(qtbot, program, write_blots(tmp_path / "dots.png", *dots))
    list_ = program.contents.defects.view
    list_.setFocus()
    QTest.mouseClick(list_.viewport(), LEFT, pos=list_.visualRect(list_.model().index(0)).center())
    for _ in range(5):
        QTest.keyClick(list_, Qt.Key.Key_Return)
    QTest.keyClick(list_, Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    assert workspace.defects.selected_rows == [5, 6]
    QTest.keyClick(list_, Qt.Key.Key_Delete)
    assert counts(workspace) == {ACCEPTED: 5, KEPT: 2, TO_DO: 23}
    list_.clearSelection()
    assert program.contents.defects._selected_rows() == workspace.defects.selected_rows == [7]
    bar = list_.verticalScrollBar()
    bar.setValue(bar.maximum())
    trigger(program, "defects_accept_all")
    assert bar.value() == bar.maximum(), "nobody went anywhere"


def test_a_near_defect_becomes_current_when_the_current_one_is_no_longer_listed(
    qtbot: QtBot, program: Program, blots: Path
) -> None:
    workspace, _ = open_and_find(qtbot, program, blots)
    for _ in range(3):
        key(program, Qt.Key.Key_N)
    assert current_left(workspace) == 260
    slider(program, "threshold")._number.setValue(80)
    wait_for_outlines(qtbot, workspace)
    assert current_left(workspace) == 260, "what became of it"
    program.contents.defects._kinds["hair"].click()
    assert current_left(workspace) == 60, "what took its place at the end of the list"
    assert program.contents.menus.by_id["defect_accept"].isEnabled()


def test_the_hand_selects_the_defect_under_the_pointer(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    path = write_blots(tmp_path / "near.png", (100, 100, 60, 6, 1, 255), (165, 100, 3, 3, 0, 255))
    workspace, view = open_and_find(qtbot, program, path)
    key(program, Qt.Key.Key_H)
    view.viewport.zoom_to(0.25)
    drag(view, [(148, 103)])
    assert current_left(workspace) == 100
    drag(view, [(172, 101)])
    assert current_left(workspace) == 165
    view.viewport.zoom_to(1.0)
    view.set_divider(shown=True)
    view.grab()
    assert view.viewport.to_image(view.rect().center().toPointF())[0] > 170
    drag(view, [(130, 103)])
    assert current_left(workspace) == 165, "left of the divider the scan is as it was"
