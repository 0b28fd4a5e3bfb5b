"""The review of defects, from the search to the healed layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLineEdit
from pytestqt.qtbot import QtBot

from desktop.app import Program
from engine.outlines import Order, judged_defects, outline_defects
from engine.review import Verdict
from tests.desktop.acting import (
    LEFT,
    combo,
    drag,
    heal,
    key,
    mask,
    open_scan,
    pick,
    picture,
    pixel_at,
    trigger,
)
from tests.desktop.reviewing import (
    ACCEPTED,
    BLOTS,
    HEALED,
    KEPT,
    TO_DO,
    button,
    counts,
    current_left,
    find,
    heal_found,
    middle,
    open_and_find,
    slider,
    verdicts,
    wait_for_outlines,
    write_blots,
)


def test_from_the_search_to_the_healed_layer(qtbot: QtBot, program: Program, blots: Path) -> None:
    workspace, view = open_scan(qtbot, program, blots)
    before, panel = picture(workspace), program.contents.defects
    for id_ in ("defect_next", "defect_accept", "defect_keep", "defects_heal", "marks"):
        assert not program.contents.menus.by_id[id_].isEnabled(), id_
    program.window.panels["Defects"].raise_()
    QTest.mouseClick(button(program, "Find damage"), LEFT)
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    assert (
        program.contents.strip.text
        == "Found 5 defects: 2 dust, 2 scratches, 1 hair. Look through them, or heal them all."
    )
    assert not mask(workspace).any(), "it is reviewed, not painted"
    assert not workspace.document.state.layers
    assert workspace.undo.undoText() == "Find damage"
    assert panel.isVisible()
    # Reading order: first the upper row of tiles, from left to right.
    assert [left for left, _, _ in verdicts(workspace)] == [20, 60, 260, 330, 330]
    assert panel.heal_button.text() == "Heal all 5"
    # With keys only.
    view.viewport.zoom_to(0.3)
    view.setFocus()
    key(program, Qt.Key.Key_N)
    assert current_left(workspace) == 20
    assert view.viewport.zoom == 4.0
    assert middle(view) == pytest.approx((24, 24), abs=1)
    key(program, Qt.Key.Key_Return)
    assert current_left(workspace) == 60
    key(program, Qt.Key.Key_Delete)
    assert current_left(workspace) == 260
    key(program, Qt.Key.Key_Enter)
    assert current_left(workspace) == 330
    key(program, Qt.Key.Key_P)
    assert current_left(workspace) == 260
    assert panel.view.currentIndex().row() == 2
    assert counts(workspace) == {ACCEPTED: 2, KEPT: 1, TO_DO: 2}
    assert panel._counts.text() == "5 found · 2 accepted · 1 kept · 2 to do"
    assert panel.heal_button.text() == "Heal 2 accepted"
    heal_found(qtbot, program, workspace)
    (layer,) = workspace.document.state.layers
    assert layer.name == f"Repair {layer.id}"
    assert [repair.task for repair in layer.made_by] == ["detect", "heal"]
    assert workspace.active is layer
    assert counts(workspace) == {HEALED: 2, KEPT: 1, TO_DO: 2}
    assert panel.heal_button.text() == "Heal accepted", "the rest is not healed by a second press"
    assert not panel.heal_button.isEnabled()
    assert program.contents.strip.text == "Healed 2 defects on a layer of their own."
    healed = (picture(workspace) != before).any(axis=2)
    assert healed[20:28, 20:28].all()
    assert healed[100:108, 260:300].all()
    assert not healed[110:, :250].any(), "the scratch is kept"
    assert not healed[:, 320:].any(), "the rest is to do"
    trigger(program, "undo")
    assert not workspace.document.state.layers
    assert counts(workspace) == {ACCEPTED: 2, KEPT: 1, TO_DO: 2}
    trigger(program, "redo")
    assert counts(workspace) == {HEALED: 2, KEPT: 1, TO_DO: 2}
    for _ in range(5):
        trigger(program, "undo")
    assert workspace.document.state.review is None
    assert not panel.model.rowCount()
    assert np.array_equal(picture(workspace), before)


def test_as_long_as_nothing_is_decided_all_are_healed(qtbot: QtBot, program: Program, blots: Path) -> None:
    workspace, view = open_and_find(qtbot, program, blots)
    drag(view, [(200, 200), (220, 200)])
    painted = mask(workspace)
    heal_found(qtbot, program, workspace)
    assert counts(workspace) == {HEALED: 5}
    assert len(workspace.document.state.layers) == 1
    assert np.array_equal(mask(workspace), painted), "the repair mask is another matter"
    for id_ in ("defect_next", "defects_heal", "defects_accept_all"):
        assert not program.contents.menus.by_id[id_].isEnabled(), id_
    # A lower threshold.
    slider(program, "threshold")._number.setValue(30)
    wait_for_outlines(qtbot, workspace)
    assert counts(workspace) == {HEALED: 5}
    heal(qtbot, program, workspace)
    assert len(workspace.document.state.layers) == 1, "the mask joins the layer"


def test_accepting_all_is_one_step_and_does_not_change_kept_defects(
    qtbot: QtBot, program: Program, blots: Path
) -> None:
    workspace, _ = open_and_find(qtbot, program, blots)
    steps = workspace.undo.count()
    trigger(program, "defect_next")
    QTest.mouseClick(button(program, "Keep as is"), LEFT)
    QTest.mouseClick(button(program, "Accept all"), LEFT)
    assert counts(workspace) == {KEPT: 1, ACCEPTED: 4}
    assert not button(program, "Accept all").isEnabled()
    assert workspace.undo.count() == steps + 2
    QTest.mouseClick(button(program, "Accept"), LEFT)
    assert workspace.undo.count() == steps + 2, "it is accepted already"
    assert "All defects are decided" in program.contents.strip.text


def test_a_click_on_a_row_shows_its_defect(qtbot: QtBot, program: Program, blots: Path) -> None:
    workspace, view = open_and_find(qtbot, program, blots)
    list_ = program.contents.defects.view
    QTest.mouseClick(list_.viewport(), LEFT, pos=list_.visualRect(list_.model().index(1)).center())
    assert current_left(workspace) == 60
    assert middle(view) == pytest.approx((105, 122), abs=1)
    # The shortcuts Return and Delete work in the panel too.
    QTest.keyClick(list_, Qt.Key.Key_Return)
    assert verdicts(workspace)[1] == (60, "scratch", ACCEPTED)
    assert "scratch" in list_.model().index(1).data()
    assert "accepted" in list_.model().index(1).data()


def test_a_large_defect_is_shown_completely(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    path = write_blots(tmp_path / "long.png", (10, 10, 2900, 6, 1, 255), size=(100, 3000))
    workspace, view = open_and_find(qtbot, program, path)
    key(program, Qt.Key.Key_N)
    assert view.viewport.zoom < 1
    assert view.viewport.visible_image().contains(10, 10)
    assert view.viewport.visible_image().contains(2909, 15)
    view.viewport.zoom_to(8.0)
    assert current_left(workspace) == 10


def test_shortcuts_do_not_take_keys_from_fields(qtbot: QtBot, program: Program, blots: Path) -> None:
    workspace, view = open_and_find(qtbot, program, blots)
    key(program, Qt.Key.Key_N)
    field = slider(program, "threshold")._number
    field.setFocus()
    qtbot.waitUntil(field.hasFocus)
    field.selectAll()
    QTest.keyClicks(field, "60")
    QTest.keyClick(field, Qt.Key.Key_Delete)
    assert counts(workspace)[KEPT] == 0
    QTest.keyClick(field, Qt.Key.Key_Return)
    wait_for_outlines(qtbot, workspace)
    assert counts(workspace)[ACCEPTED] == 0
    assert workspace.document.state.review.filters.threshold == pytest.approx(0.6)
    # Return in the name field of a layer ends editing and does not accept a defect.
    heal_found(qtbot, program, workspace)
    program.window.panels["Layers"].raise_()
    layers = program.contents.layers.view
    qtbot.waitUntil(layers.isVisible)
    layers.setFocus()
    trigger(program, "layer_rename")
    (editor,) = layers.findChildren(QLineEdit)
    QTest.keyClicks(editor, "nap")
    QTest.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: workspace.document.state.layers[0].name == "nap")
    assert not counts(workspace)[ACCEPTED]
    view.setFocus()


def test_filters_do_not_run_the_model(
    qtbot: QtBot, program: Program, blots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _ = open_and_find(qtbot, program, blots)
    runs: list[object] = []
    monkeypatch.setattr("engine.tasks.run_task", lambda *job: runs.append(job))
    panel, desk = program.contents.defects, workspace.defects
    boxes = {box.text(): box for box in panel._kinds.values()}
    assert list(boxes) == ["dust 2", "scratch 2", "hair 1"]
    boxes["dust 2"].click()
    assert [kind for _, kind, _ in verdicts(workspace)] == ["scratch", "hair", "scratch"]
    assert boxes["dust 2"].text() == "dust 2", "it is still said what is left out"
    trigger(program, "undo")
    assert len(desk.items) == 5
    assert boxes["dust 2"].isChecked()
    slider(program, "smallest")._number.setValue(60)
    assert len(desk.items) == 4
    slider(program, "largest")._number.setValue(100)
    assert [left for left, _, _ in verdicts(workspace)] == [20, 330]
    assert panel.heal_button.text() == "Heal all 2"
    largest = slider(program, "largest")._number
    largest.setValue(largest.maximum())
    assert largest.text() == "∞ px"
    assert desk.review.filters.largest == 1e8
    slider(program, "elongation")._number.setValue(4)
    assert [left for left, _, _ in verdicts(workspace)] == [20, 330]
    for _ in range(4):
        trigger(program, "undo")
    assert len(desk.items) == 5
    slider(program, "threshold")._number.setValue(95)
    wait_for_outlines(qtbot, workspace)
    assert [left for left, _, _ in verdicts(workspace)] == [20, 60]
    assert not runs
    assert program.contents.task.request(new_layer=False, task="detect").settings["threshold"] == 0.5


def test_the_threshold_belongs_to_the_photograph(qtbot: QtBot, program: Program, blots: Path, tmp_path: Path) -> None:
    workspace, _ = open_and_find(qtbot, program, blots)
    slider(program, "threshold")._number.setValue(95)
    wait_for_outlines(qtbot, workspace)
    assert len(workspace.defects.items) == 2
    other, _ = open_and_find(qtbot, program, write_blots(tmp_path / "other.png", *BLOTS))
    assert len(other.defects.items) == 5, "another photograph begins with the task's own threshold"
    program.contents.photos.tabs.setCurrentIndex(0)
    trigger(program, "defects_find")
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    assert len(workspace.defects.items) == 2, "the same one is searched again as it was"


def test_a_dragged_slider_is_one_step_and_the_latest_threshold_wins(
    qtbot: QtBot, program: Program, blots: Path
) -> None:
    workspace, _ = open_and_find(qtbot, program, blots)
    steps, moved = workspace.undo.count(), slider(program, "threshold")._slider
    moved.sliderPressed.emit()
    for position in range(500, 1000, 20):
        moved.setValue(position)
    moved.sliderReleased.emit()
    assert workspace.undo.count() == steps + 1
    wait_for_outlines(qtbot, workspace)
    assert len(workspace.defects.items) == 2
    assert workspace.defects._outlines.threshold == workspace.document.state.review.filters.threshold
    trigger(program, "undo")
    wait_for_outlines(qtbot, workspace)
    assert len(workspace.defects.items) == 5
    assert slider(program, "threshold").value == 50


def test_decisions_are_kept_at_another_threshold(qtbot: QtBot, program: Program, blots: Path) -> None:
    workspace, _ = open_and_find(qtbot, program, blots)
    for _ in range(3):
        key(program, Qt.Key.Key_N)
    assert current_left(workspace) == 260
    key(program, Qt.Key.Key_Return)
    slider(program, "threshold")._number.setValue(80)
    wait_for_outlines(qtbot, workspace)
    hairs = [(left, verdict) for left, kind, verdict in verdicts(workspace) if kind == "hair"]
    assert hairs == [(260, ACCEPTED), (292, ACCEPTED)], "both ends of what was accepted"
    trigger(program, "undo")
    wait_for_outlines(qtbot, workspace)
    assert (260, "hair", ACCEPTED) in verdicts(workspace)
    assert len(workspace.defects.items) == 5


def test_a_part_of_a_judged_defect_can_be_judged_separately(qtbot: QtBot, program: Program, blots: Path) -> None:
    workspace, view = open_and_find(qtbot, program, blots)
    for _ in range(3):
        key(program, Qt.Key.Key_N)
    key(program, Qt.Key.Key_Return)
    slider(program, "threshold")._number.setValue(80)
    wait_for_outlines(qtbot, workspace)

    def hairs() -> list[Verdict]:
        return [verdict for _, kind, verdict in verdicts(workspace) if kind == "hair"]

    def afresh() -> list[Verdict]:
        review = workspace.defects.review
        return [item.verdict for item in judged_defects(outline_defects(review), review) if item.kind == "hair"]

    workspace.defects.choose(next(item for item in workspace.defects.items if item.kind == "hair"))
    view.setFocus()
    key(program, Qt.Key.Key_Delete)
    assert hairs() == afresh() == [KEPT, ACCEPTED]
    slider(program, "threshold")._number.setValue(85)
    wait_for_outlines(qtbot, workspace)
    trigger(program, "undo")
    wait_for_outlines(qtbot, workspace)
    assert hairs() == [KEPT, ACCEPTED]
    trigger(program, "undo")
    wait_for_outlines(qtbot, workspace)
    assert hairs() == afresh() == [ACCEPTED, ACCEPTED]


def test_another_class_is_one_step_and_counts(qtbot: QtBot, program: Program, blots: Path) -> None:
    workspace, _ = open_and_find(qtbot, program, blots)
    chooser = program.contents.defects._kind
    assert not chooser.isEnabled()
    key(program, Qt.Key.Key_N)
    assert chooser.currentText() == "dust"
    chooser.setCurrentText("hair")
    chooser.activated.emit(chooser.currentIndex())
    assert verdicts(workspace)[0] == (20, "hair", TO_DO)
    assert workspace.defects.kinds == {"dust": 1, "scratch": 2, "hair": 2}
    key(program, Qt.Key.Key_Return)
    assert verdicts(workspace)[0] == (20, "hair", ACCEPTED), "the class stays"
    for _ in range(2):
        trigger(program, "undo")
    assert verdicts(workspace)[0] == (20, "dust", TO_DO)


def test_other_orders(qtbot: QtBot, program: Program, blots: Path) -> None:
    workspace, _ = open_and_find(qtbot, program, blots)
    chooser = program.contents.defects._order
    for order, expected in ((Order.SIZE, [60, 260, 20, 330, 330]), (Order.SCORE, [20, 60, 260, 330, 330])):
        row = chooser.findData(order)
        chooser.setCurrentIndex(row)
        chooser.activated.emit(row)
        assert [left for left, _, _ in verdicts(workspace)] == expected
    key(program, Qt.Key.Key_N)
    assert current_left(workspace) == 20


def test_repaint_hands_a_defect_to_the_brush(qtbot: QtBot, program: Program, blots: Path) -> None:
    workspace, view = open_and_find(qtbot, program, blots)
    program.contents.tools.select("hand")
    pick(program, "Task", "clean")
    view.viewport.zoom_to(0.2)
    key(program, Qt.Key.Key_N)
    steps = workspace.undo.count()
    with qtbot.waitSignal(workspace.undo.indexChanged):
        QTest.mouseClick(button(program, "Repaint"), LEFT)
    painted = mask(workspace)
    assert painted[18:30, 20:28].all(), "the defect and two pixels around it"
    assert not painted[:, 31:].any()
    assert verdicts(workspace)[0] == (20, "dust", KEPT)
    assert workspace.undo.count() == steps + 1
    assert program.contents.menus.by_id["tool_brush"].isChecked()
    assert combo(program, "Task").currentData() == "heal"
    assert view.viewport.zoom == 4.0, "a small defect is seen well, with what is around it"
    trigger(program, "undo")
    assert not mask(workspace).any()
    assert verdicts(workspace)[0] == (20, "dust", TO_DO)
    trigger(program, "redo")
    heal(qtbot, program, workspace)
    assert not mask(workspace).any()


def test_outlines_are_drawn_and_hidden(qtbot: QtBot, program: Program, blots: Path) -> None:
    workspace, view = open_scan(qtbot, program, blots)
    view.viewport.zoom_to(1.0)
    view.viewport.centre_on(200, 150)
    view.setFocus()
    plain = pixel_at(view, 60, 122)
    find(qtbot, program, workspace)

    def coloured(x: int, y: int) -> bool:
        red, green, blue = (int(part) for part in pixel_at(view, x, y))
        return red > green + 40 and red > blue + 40 and not np.array_equal(pixel_at(view, x, y), plain)

    assert coloured(60, 122), "the scratch's edge in the accent"
    drawn = pixel_at(view, 100, 121)
    QTest.keyClick(view, Qt.Key.Key_Q, Qt.KeyboardModifier.ShiftModifier)
    assert np.array_equal(pixel_at(view, 60, 122), plain)
    key(program, Qt.Key.Key_N)
    assert program.contents.menus.by_id["marks"].isChecked()
    trigger(program, "defects_accept_all")
    view.viewport.zoom_to(1.0)
    view.viewport.centre_on(200, 150)
    assert not np.array_equal(pixel_at(view, 100, 121), drawn), "accepted ones are filled"
    view.hold_before(held=True)
    assert np.array_equal(pixel_at(view, 60, 122), plain)
    view.hold_before(held=False)
    view.set_divider(shown=True)
    divider = view.viewport.to_image(view.rect().center().toPointF())[0]
    assert divider > 100
    assert np.array_equal(pixel_at(view, 60, 122), plain), "the scan, left of the divider"
    view.set_divider(shown=False)
    trigger(program, "defects_clear")
    assert np.array_equal(pixel_at(view, 60, 122), plain)
    assert workspace.document.state.review is None
    trigger(program, "undo")
    wait_for_outlines(qtbot, workspace)
    assert counts(workspace) == {ACCEPTED: 5}


def test_a_small_defect_is_zoomed_to_as_far_as_its_surroundings_are_seen(
    qtbot: QtBot, program: Program, tmp_path: Path
) -> None:
    path = write_blots(tmp_path / "small.png", (200, 140, 5, 4, 0, 255), (330, 20, 90, 90, 1, 255), size=(300, 500))
    _, view = open_and_find(qtbot, program, path)
    view.viewport.zoom_to(1.0)
    key(program, Qt.Key.Key_N)
    if middle(view)[0] > 300:
        key(program, Qt.Key.Key_N)
    assert middle(view) == pytest.approx((202.5, 142), abs=1)
    # Nearer, its surroundings could not be seen, and they tell what it is.
    assert view.viewport.zoom / view.viewport.ratio == 4.0
