"""The parts of the window around the picture: what they promise about room, groups and what belongs to what."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QToolButton, QWidget
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.work.threads import Lane
from engine.jobs import JobContext
from tests.desktop.acting import LEFT, combo, open_scan, pick, trigger


def test_the_zoom_can_be_typed(qtbot: QtBot, program: Program, scan: Path) -> None:
    _, view = open_scan(qtbot, program, scan)
    field = program.contents.status._zoom
    for typed, zoom, shown in (("250", 2.5, "250 %"), ("33,3 %", 0.333, "33.3 %"), ("9999999", 32, "3200 %")):
        QTest.mouseClick(field, LEFT)
        qtbot.waitUntil(lambda: field.hasFocus() and field.hasSelectedText())
        QTest.keyClicks(field, typed)
        assert field.text() == typed, "it is shown as it is typed"
        QTest.keyClick(field, Qt.Key.Key_Return)
        assert view.viewport.zoom == pytest.approx(zoom)
        assert field.text() == shown
        assert view.hasFocus()


@pytest.mark.parametrize("typed", ["large", "-5", "0", "nan", "inf", ""])
def test_a_zoom_that_is_none_changes_nothing(qtbot: QtBot, program: Program, scan: Path, typed: str) -> None:
    _, view = open_scan(qtbot, program, scan)
    field = program.contents.status._zoom
    field.setFocus()
    field.selectAll()
    QTest.keyClick(field, Qt.Key.Key_Delete)
    QTest.keyClicks(field, typed)
    QTest.keyClick(field, Qt.Key.Key_Return)
    assert view.viewport.zoom == 1.0
    assert field.text() == "100 %"


def test_a_zoom_half_typed_is_left_with_escape(qtbot: QtBot, program: Program, scan: Path) -> None:
    _, view = open_scan(qtbot, program, scan)
    field = program.contents.status._zoom
    field.setFocus()
    field.selectAll()
    QTest.keyClicks(field, "40")
    view.viewport.scroll_by(1, 1)
    assert field.text() == "40", "the picture moves and what is typed stays"
    QTest.keyClick(field, Qt.Key.Key_Escape)
    assert field.text() == "100 %"
    assert view.viewport.zoom == 1.0


def test_the_button_that_cancels_a_job_is_seen_whole_in_a_narrow_panel(qtbot: QtBot, program: Program) -> None:
    dock = program.window.panels["Jobs"]
    dock.raise_()
    program.window.resizeDocks([dock], [dock.minimumSizeHint().width()], Qt.Orientation.Horizontal)
    gate = threading.Event()

    def wait(context: JobContext) -> None:
        context.progress(0.5, "a step that is told with very many words " * 5)
        gate.wait(60)
        context.check()

    ticket = program.jobs.submit("A title that is much longer than any panel is wide " * 5, Lane.IO, lambda: wait)
    panel = dock.widget()
    qtbot.waitUntil(lambda: ticket.progress == 0.5 and panel.isVisible())
    button = next(b for b in panel.findChildren(QToolButton) if b.accessibleName().startswith("Cancel A title"))
    qtbot.waitUntil(button.isVisible)
    room = panel.viewport()
    assert panel.width() < 400
    qtbot.waitUntil(lambda: room.rect().contains(QRect(button.mapTo(room, QPoint(0, 0)), button.size())))
    assert button.visibleRegion().boundingRect() == button.rect()
    with qtbot.waitSignal(ticket.cancelled):
        QTest.mouseClick(button, LEFT)
        gate.set()


def test_a_message_lies_over_the_canvas_which_keeps_its_size(qtbot: QtBot, program: Program, scan: Path) -> None:
    _, view = open_scan(qtbot, program, scan)
    strip = program.contents.strip
    place, shown = view.mapTo(program.window, QPoint(0, 0)), view.viewport.visible_image()
    size, whole = view.size(), program.window.size()
    for number in range(4):
        strip.warn(f"Something went wrong, and it takes very many words to say what it was. {number} " * 4)
        qtbot.waitUntil(strip.isVisible)
        QTest.qWait(0)
        assert (view.size(), program.window.size()) == (size, whole)
        assert view.mapTo(program.window, QPoint(0, 0)) == place
        assert view.viewport.visible_image() == shown
    over = QRect(strip.mapTo(program.window, QPoint(0, 0)), strip.size())
    canvas = QRect(place, size)
    assert over.intersects(canvas)
    assert over.bottom() == canvas.bottom()
    assert over.height() < canvas.height() / 2
    below = program.window.childAt(over.center())
    assert below is strip or strip.isAncestorOf(below), "it is in front"


def test_studies_stand_under_a_heading_of_their_own(qtbot: QtBot, program: Program, scan: Path) -> None:
    open_scan(qtbot, program, scan)
    models = combo(program, "Model")
    for task, daily in (("heal", ["heal"]), ("clean", ["clean"]), ("tone", ["tone"])):
        pick(program, "Task", task)
        rows = [(models.itemText(i), models.itemData(i)) for i in range(models.count())]
        heading = [text for text, _ in rows].index("Studies")
        studies = {card.id for card in program.registry.cards(task) if card.study}
        assert [id_ for _, id_ in rows[:heading] if id_ is not None] == daily
        assert studies
        assert {id_ for _, id_ in rows[heading + 1 :]} == studies
        assert not models.model().flags(models.model().index(heading, 0)) & Qt.ItemFlag.ItemIsEnabled


def test_the_task_belongs_to_the_photograph(qtbot: QtBot, program: Program, scan: Path, other: Path) -> None:
    first, view = open_scan(qtbot, program, scan)
    pick(program, "Task", "clean")
    second, _ = open_scan(qtbot, program, other)
    assert combo(program, "Task").currentData() == "heal", "another photograph begins anew"
    pick(program, "Task", "detect")
    program.contents.photos.tabs.setCurrentWidget(view)
    assert combo(program, "Task").currentData() == "clean"
    assert program.contents.task.request(new_layer=False).task == "clean"
    assert (first.task, second.task) == ("clean", "detect")


def test_a_small_window_shows_what_matters_whole(qtbot: QtBot, program: Program, scan: Path) -> None:
    _, view = open_scan(qtbot, program, scan)
    assert program.window.minimumSizeHint().height() <= 600
    options, status = program.contents.options, program.contents.status
    for width, all_of_it in ((2000, True), (900, False)):
        program.window.resize(width, 600)
        QTest.mouseMove(view, view.rect().center())
        qtbot.waitUntil(lambda width=width: program.window.width() == width and status.width() == width)
        assert options._pen_size.isVisible() == all_of_it
        row = [child for child in options._row.children() if isinstance(child, QWidget) and child.isVisible()]
        assert all(child.width() >= child.minimumSizeHint().width() for child in row)
        facts = [child for child in status.children() if isinstance(child, QWidget) and child.isVisible()]
        facts.sort(key=lambda child: child.x())
        assert all(one.geometry().right() < other.x() for one, other in itertools.pairwise(facts))
        labels = [fact for fact in facts if isinstance(fact, QLabel)]
        assert [label.text() for label in labels if label.width() < label.sizeHint().width()] == []


def test_heal_without_a_mask_offers_to_find_the_damage(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, _ = open_scan(qtbot, program, scan)
    trigger(program, "heal")
    button = program.contents.strip.button
    assert button is not None
    with qtbot.waitSignal(workspace.queue.changed):
        QTest.mouseClick(button, LEFT)
    assert not workspace.queue.pending, "a search changes nothing"
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=30000)
    assert "damage" in program.contents.strip.text


def test_panels_can_be_put_back(qtbot: QtBot, program: Program) -> None:
    window = program.window

    def places() -> dict[str, tuple[int, int, bool]]:
        return {name: (dock.y(), dock.height(), dock.isVisible()) for name, dock in window.panels.items()}

    # The sizes of the first start are set after the window was laid out.
    trigger(program, "reset_panels")
    qtbot.waitUntil(lambda: window.panels["Repair"].height() > window.panels["History"].height())
    before = places()
    window.resizeDocks([window.panels["Repair"], window.panels["History"]], [150, 600], Qt.Orientation.Vertical)
    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, window.panels["Layers"])
    program.menus.switch("panels", True)
    qtbot.waitUntil(lambda: not window.panels["Repair"].isVisible())
    trigger(program, "reset_panels")
    qtbot.waitUntil(lambda: places() == before)
    assert window.dockWidgetArea(window.panels["Layers"]) == Qt.DockWidgetArea.RightDockWidgetArea
    assert not program.menus.by_id["panels"].isChecked()
