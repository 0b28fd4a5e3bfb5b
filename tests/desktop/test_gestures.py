"""Results and commands that arrive while a stroke is dragged, or a photograph is saved or closed."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.dialogs.export import ExportDialog, FileDialogs
from desktop.dialogs.questions import Closing, Questions
from desktop.document.geometry import Turn
from desktop.document.targets import LayerMask
from desktop.work.threads import Lane, Ticket
from engine.errors import WriteError
from engine.jobs import JobContext
from engine.output import Output
from tests.desktop.acting import LEFT, at, drag, heal, key, mask, open_scan, picture, screenshot, trigger, two_repairs


class Gate:
    """Keeps a lane busy until it is opened."""

    def __init__(self, program: Program, lane: Lane) -> None:
        self._event = threading.Event()

        def work(_: JobContext) -> None:
            self._event.wait(30)

        program.jobs.submit("gate", lane, lambda: work)

    def open(self) -> None:
        self._event.set()


def full_disk(*_: object) -> None:
    raise WriteError("There is not enough room on the disk.", "write.full")


@pytest.fixture
def tickets(program: Program) -> list[Ticket]:
    """The tickets of all jobs that are queued during the test."""
    queued: list[Ticket] = []
    program.jobs.added.connect(queued.append)
    return queued


def last(tickets: list[Ticket], word: str) -> Ticket:
    return next(ticket for ticket in reversed(tickets) if ticket.title.startswith(word))


def test_a_heal_that_ends_during_a_stroke_is_applied_after_it(
    qtbot: QtBot, program: Program, scan: Path, tickets: list[Ticket]
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(50, 50), (90, 50)])
    trigger(program, "heal")
    QTest.mousePress(view, LEFT, pos=at(view, 50, 200))
    QTest.mouseMove(view, at(view, 70, 200))
    with qtbot.waitSignal(last(tickets, "Heal").ended, timeout=60000):
        pass
    assert not workspace.document.state.layers
    QTest.mouseMove(view, at(view, 90, 200))
    QTest.mouseRelease(view, LEFT, pos=at(view, 90, 200))
    assert len(workspace.document.state.layers) == 1
    painted = mask(workspace)
    assert painted[200, 55] == painted[200, 88] == 255
    assert not painted[:100].any()
    assert [workspace.undo.text(i) for i in range(3)] == ["Brush", "Brush", "Heal"]
    trigger(program, "undo")
    assert mask(workspace)[50, 70] == mask(workspace)[200, 70] == 255
    assert workspace.document.shown is workspace.document.state


def test_a_heal_that_ends_while_its_layers_mask_is_painted_keeps_both(
    qtbot: QtBot, program: Program, scan: Path, tickets: list[Ticket]
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(50, 50), (90, 50)])
    heal(qtbot, program, workspace)
    drag(view, [(50, 200), (90, 200)])
    trigger(program, "heal")
    (layer,) = workspace.document.state.layers
    workspace.set_target(LayerMask(layer.id))
    key(program, Qt.Key.Key_E)
    QTest.mousePress(view, LEFT, pos=at(view, 70, 50))
    QTest.mouseMove(view, at(view, 75, 50))
    with qtbot.waitSignal(last(tickets, "Heal").ended, timeout=60000):
        pass
    QTest.mouseRelease(view, LEFT, pos=at(view, 75, 50))
    (layer,) = workspace.document.state.layers
    weights = layer.mask.read(layer.mask.bounds)
    assert weights[50, 72] == 0
    assert weights[50, 52] == weights[200, 70] == 255
    assert len(layer.made_by) == 2


def test_commands_do_nothing_during_a_stroke(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(50, 50), (90, 50)])
    QTest.mousePress(view, LEFT, pos=at(view, 50, 200))
    QTest.mouseMove(view, at(view, 70, 200))
    for id_ in ("undo", "rotate_left", "mask_invert", "heal"):
        trigger(program, id_)
    assert workspace.document.state.mask.shape == (300, 400)
    assert workspace.undo.count() == workspace.undo.index() == 1
    assert not workspace.queue.busy
    QTest.mouseRelease(view, LEFT, pos=at(view, 70, 200))
    assert workspace.undo.count() == 2
    assert mask(workspace)[200, 60] == mask(workspace)[50, 60] == 255


def test_two_quick_clicks_are_two_dabs(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    key(program, Qt.Key.Key_5)
    QTest.mouseClick(view, LEFT, pos=at(view, 100, 100))
    # Qt sends the second press as a double click.
    QTest.mouseDClick(view, LEFT, pos=at(view, 100, 100))
    QTest.mouseRelease(view, LEFT, pos=at(view, 100, 100))
    assert workspace.undo.count() == 2
    assert mask(workspace)[100, 100] == 192


def test_ctrl_z_right_after_heal_cancels_it(qtbot: QtBot, program: Program, scan: Path, tickets: list[Ticket]) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(50, 50), (90, 50)])
    gate = Gate(program, Lane.COMPUTE)
    trigger(program, "heal")
    with qtbot.waitSignal(last(tickets, "Heal").cancelled):
        trigger(program, "undo")
    gate.open()
    assert mask(workspace).any()
    assert not workspace.queue.busy
    trigger(program, "undo")
    assert not mask(workspace).any()


def test_undo_while_a_heal_waits_undoes_the_step_made_since(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(50, 50), (90, 50)])
    gate = Gate(program, Lane.COMPUTE)
    trigger(program, "heal")
    drag(view, [(50, 200), (90, 200)])
    trigger(program, "undo")
    assert workspace.queue.busy
    assert not mask(workspace)[200].any()
    gate.open()
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    assert len(workspace.document.state.layers) == 1


def test_closing_waits_for_an_export(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_scan(qtbot, program, scan)
    gate = Gate(program, Lane.IO)
    monkeypatch.setattr(ExportDialog, "ask", classmethod(lambda *_: Output(tmp_path / "out.tif")))
    trigger(program, "export")
    program.window.close()
    assert program.window.isVisible()
    assert "written" in program.contents.strip.text
    with qtbot.waitSignal(program.window.closed, timeout=20000):
        gate.open()
    assert (tmp_path / "out.tif").is_file()


def test_changes_made_while_saving_to_close_lead_to_another_question(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(50, 50), (90, 50)])
    gate, project = Gate(program, Lane.IO), tmp_path / "work.ora"
    answers = [Closing.SAVE, Closing.CANCEL, Closing.SAVE]
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: answers.pop(0)))
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: project))
    program.window.close()
    drag(view, [(50, 200), (90, 200)])
    gate.open()
    qtbot.waitUntil(lambda: len(answers) == 1, timeout=20000)
    assert program.contents.photos.tabs.count() == 1
    assert workspace.unsaved
    with qtbot.waitSignal(program.window.closed, timeout=20000):
        program.window.close()
    assert not answers


def test_a_failed_save_keeps_the_photograph_open(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(50, 50), (90, 50)])
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: Closing.SAVE))
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: tmp_path / "work.ora"))
    monkeypatch.setattr("desktop.photo.files.write_project", full_disk)
    with qtbot.waitSignal(program.files.failed):
        program.window.close()
    assert program.window.isVisible()
    assert workspace.unsaved
    assert program.contents.photos.tabs.count() == 1


def test_a_failed_export_keeps_the_window_that_waits_to_close(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, view = open_scan(qtbot, program, scan)
    drag(view, [(50, 50), (90, 50)])
    gate = Gate(program, Lane.IO)
    monkeypatch.setattr(ExportDialog, "ask", classmethod(lambda *_: Output(tmp_path / "out.tif")))
    monkeypatch.setattr("desktop.photo.files.export", full_disk)
    trigger(program, "export")
    program.window.close()
    with qtbot.waitSignal(program.files.written, timeout=20000):
        gate.open()
    assert "not enough room" in program.contents.strip.text
    assert program.window.isVisible()
    assert program.contents.photos.tabs.count() == 1
    # It does not close either when another file is written later.
    monkeypatch.setattr(FileDialogs, "save_mask", classmethod(lambda *_: tmp_path / "mask.png"))
    with qtbot.waitSignal(program.files.written):
        trigger(program, "mask_save")
    assert program.window.isVisible()


def test_quitting_with_two_photographs_asks_about_both_before_closing_any(
    qtbot: QtBot, program: Program, scan: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (scan, other):
        _, view = open_scan(qtbot, program, path)
        drag(view, [(50, 50), (90, 50)])
    answers = [Closing.DISCARD, Closing.CANCEL]
    asked: list[str] = []

    def ask(_cls: type, _parent: object, name: str) -> Closing:
        asked.append(name)
        return answers.pop(0)

    monkeypatch.setattr(Questions, "unsaved", classmethod(ask))
    program.window.close()
    assert asked == ["other.tif", "scan.tif"]
    assert program.contents.photos.tabs.count() == 2
    answers[:] = [Closing.SAVE, Closing.DISCARD]
    saved: list[Path] = []

    def where(_cls: type, _parent: object, suggestion: Path) -> Path:
        saved.append(suggestion)
        return tmp_path / suggestion.name

    monkeypatch.setattr(FileDialogs, "save_project", classmethod(where))
    with qtbot.waitSignal(program.window.closed, timeout=20000):
        program.window.close()
    assert len(asked) == 4
    assert [path.name for path in saved] == ["other.ora"]
    assert (tmp_path / "other.ora").is_file()


def test_the_window_closes_if_a_save_ends_while_the_next_question_is_open(
    qtbot: QtBot, program: Program, scan: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (scan, other):
        _, view = open_scan(qtbot, program, path)
        drag(view, [(50, 50), (90, 50)])
    asked: list[str] = []

    def ask(_cls: type, _parent: object, name: str) -> Closing:
        asked.append(name)
        if len(asked) == 1:
            return Closing.SAVE
        qtbot.waitUntil(lambda: not program.files.writing)
        return Closing.DISCARD

    monkeypatch.setattr(Questions, "unsaved", classmethod(ask))
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: tmp_path / "work.ora"))
    with qtbot.waitSignal(program.window.closed, timeout=20000):
        program.window.close()
    assert asked == ["other.tif", "scan.tif"]


def test_work_that_appears_during_a_question_is_asked_about_too(
    qtbot: QtBot, program: Program, scan: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = open_scan(qtbot, program, scan)
    _, view = open_scan(qtbot, program, other)
    drag(view, [(50, 50), (90, 50)])
    asked: list[str] = []

    def ask(_cls: type, _parent: object, name: str) -> Closing:
        asked.append(name)
        if len(asked) == 1:
            first.turn(Turn.LEFT)
            return Closing.DISCARD
        return Closing.CANCEL

    monkeypatch.setattr(Questions, "unsaved", classmethod(ask))
    program.window.close()
    assert asked == ["other.tif", "scan.tif"]
    assert program.contents.photos.tabs.count() == 2


def test_closing_a_tab_during_a_stroke_closes_no_other_tab(
    qtbot: QtBot, program: Program, scan: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, view = open_scan(qtbot, program, scan)
    drag(view, [(50, 50), (90, 50)])
    kept, _ = open_scan(qtbot, program, other)
    program.contents.photos.tabs.setCurrentIndex(0)
    answers = [Closing.SAVE, Closing.DISCARD, Closing.DISCARD]
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: answers.pop(0)))
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: tmp_path / "work.ora"))
    program.contents.photos.close(0)
    QTest.mousePress(view, LEFT, pos=at(view, 50, 200))
    with qtbot.waitSignal(program.files.written, timeout=20000):
        pass
    program.contents.photos.close(0)
    assert program.contents.photos.tabs.count() == 1
    assert program.contents.photos.photo is kept


def test_two_photographs_are_not_saved_to_one_name(
    qtbot: QtBot, program: Program, scan: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_scan(qtbot, program, scan)
    open_scan(qtbot, program, other)
    gate = Gate(program, Lane.IO)
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: tmp_path / "work.ora"))
    trigger(program, "save")
    program.contents.photos.tabs.setCurrentIndex(0)
    trigger(program, "save")
    assert "Choose another name" in program.contents.strip.text
    program.contents.photos.open([tmp_path / "work.ora"])
    assert "being written" in program.contents.strip.text
    with qtbot.waitSignal(program.files.written, timeout=20000):
        gate.open()


def test_a_file_that_opens_during_a_stroke_waits_in_its_tab(
    qtbot: QtBot, program: Program, scan: Path, other: Path
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    program.contents.photos.open([other])
    QTest.mousePress(view, LEFT, pos=at(view, 50, 200))
    with qtbot.waitSignal(program.files.opened, timeout=20000):
        pass
    QTest.mouseMove(view, at(view, 90, 200))
    QTest.mouseRelease(view, LEFT, pos=at(view, 90, 200))
    assert program.contents.photos.photo is workspace
    assert mask(workspace)[200, 70] == 255
    # Changing the tab cancels a stroke.
    QTest.mousePress(view, LEFT, pos=at(view, 50, 100))
    program.contents.photos.tabs.setCurrentIndex(1)
    assert workspace.document.shown is workspace.document.state
    assert not workspace.gesturing


def test_a_slider_that_is_dragged_belongs_to_its_photograph(
    qtbot: QtBot, program: Program, scan: Path, other: Path
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(50, 50), (90, 50)])
    heal(qtbot, program, workspace)
    program.contents.layers._opacity.pressed.emit()
    open_scan(qtbot, program, other)
    program.contents.photos.tabs.setCurrentIndex(1)
    program.contents.layers._opacity.released.emit()
    assert not workspace.gesturing


def test_an_undo_step_that_cannot_be_read_leaves_the_document_unchanged(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("desktop.photo.autosave.UNDO_BYTES", 0)
    workspace, view = open_scan(qtbot, program, scan)
    two_repairs(qtbot, program, workspace, view)
    trigger(program, "layer_merge")
    steps = [workspace.undo.command(i) for i in range(workspace.undo.count())]
    qtbot.waitUntil(lambda: not any(delta.nbytes for step in steps for delta in step.edit.deltas()))
    tiles, elsewhere = workspace.autosave.folder.folder / "tiles", scan.with_name("elsewhere")
    tiles.rename(elsewhere)
    before, count, state = picture(workspace), workspace.undo.index(), workspace.document.state
    workspace.undo.setIndex(1)
    assert "cannot be undone" in program.contents.strip.text
    qtbot.waitUntil(lambda: workspace.undo.index() == count)
    assert workspace.document.state.layers is state.layers
    assert np.array_equal(picture(workspace), before)
    elsewhere.rename(tiles)
    workspace.undo.setIndex(0)
    assert not workspace.document.state.layers
    workspace.undo.setIndex(count)
    assert np.array_equal(picture(workspace), before)


def test_closing_while_undo_steps_are_moved_to_disk_does_not_crash(
    qtbot: QtBot, program: Program, scan: Path, tickets: list[Ticket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("desktop.photo.autosave.UNDO_BYTES", 0)
    _, view = open_scan(qtbot, program, scan)
    crashes: list[object] = []
    program.jobs.crashed.connect(crashes.append)
    drag(view, [(50, 50), (90, 50)])
    ticket = last(tickets, "Moving")
    qtbot.waitUntil(lambda: ticket.state.name != "WAITING")
    trigger(program, "close")
    qtbot.waitUntil(lambda: all(t.state.name not in ("WAITING", "RUNNING") for t in tickets))
    assert not crashes


def test_a_closed_photograph_frees_its_memory(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(50, 50), (90, 50)])
    heal(qtbot, program, workspace)
    trigger(program, "fit")
    view.grab()
    monkeypatch.setattr(ExportDialog, "exec", lambda _: 0)
    trigger(program, "export")
    pixels = weakref.ref(workspace.document.state.scan.base)
    trigger(program, "close")
    del workspace, view

    def gone() -> bool:
        gc.collect()
        return pixels() is None

    qtbot.waitUntil(gone)


def test_closing_a_photograph_cancels_its_heal(
    qtbot: QtBot, program: Program, scan: Path, tickets: list[Ticket]
) -> None:
    _, view = open_scan(qtbot, program, scan)
    drag(view, [(50, 50), (90, 50)])
    gate = Gate(program, Lane.COMPUTE)
    trigger(program, "heal")
    trigger(program, "close")
    ticket = last(tickets, "Heal")
    assert program.contents.photos.tabs.count() == 0
    gate.open()
    qtbot.waitUntil(lambda: all(t.state.name not in ("WAITING", "RUNNING") for t in tickets))
    assert ticket.state.name == "CANCELLED"
    assert not program.contents.strip.text


def test_turning_twice_is_the_same_picture_upside_down(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    heal(qtbot, program, workspace)
    view.viewport.zoom_to(0.5)
    before = picture(workspace)
    trigger(program, "rotate_half")
    view.grab()
    qtbot.waitUntil(lambda: bool(workspace.document.state.scan.levels))
    assert np.array_equal(picture(workspace), before[::-1, ::-1])
    shown = screenshot(view)
    view.show_workspace(workspace)
    view.viewport.zoom_to(0.5)
    assert np.array_equal(screenshot(view), shown)


def test_a_stroke_whose_release_is_lost_ends_at_its_last_position(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    QTest.mousePress(view, LEFT, pos=at(view, 50, 100))
    QTest.mouseMove(view, at(view, 90, 100))
    place = QPointF(at(view, 300, 100))
    nothing = Qt.MouseButton.NoButton
    moved = QMouseEvent(QEvent.Type.MouseMove, place, place, nothing, nothing, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(view, moved)
    assert workspace.undo.count() == 1
    assert mask(workspace)[100, 80] == 255
    assert mask(workspace)[100, 280] == 0
    assert not workspace.gesturing


def test_an_unfinished_stroke_counts_as_work_when_the_window_closes(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: Closing.CANCEL))
    QTest.mousePress(view, LEFT, pos=at(view, 50, 100))
    QTest.mouseMove(view, at(view, 90, 100))
    program.window.close()
    assert program.window.isVisible()
    assert mask(workspace)[100, 70] == 255


def test_painting_shows_a_veil_that_was_hidden(qtbot: QtBot, program: Program, scan: Path) -> None:
    _, view = open_scan(qtbot, program, scan)
    trigger(program, "veil")
    drag(view, [(50, 50), (90, 50)])
    assert program.contents.menus.by_id["veil"].isChecked()
