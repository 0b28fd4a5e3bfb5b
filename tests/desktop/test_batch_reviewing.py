"""The review of a batch in the window: look, decide by keys or about whole pictures, heal, report."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

import engine.batch
from desktop.app import Program
from desktop.batch.model import CHIPS_ROLE, Column
from desktop.batch.window import BatchWindow
from desktop.photo.workspace import Workspace
from desktop.settings import SettingsStore
from engine import imageio
from engine.batch.reviews import numbers_of, read_review, review_path, write_review
from engine.batch.rows import State
from engine.batch.table import JobTable
from engine.batch.work import Job
from engine.raster import Raster
from engine.record import read_record
from engine.review import Verdict
from tests.conftest import noise_raster
from tests.desktop.acting import key, open_scan, trigger
from tests.desktop.test_batch_window import counted, drop_on, press, shown
from tests.engine.test_batch_review import Here, damaged, mine, opened, pixels, ran

LONG = 60_000
ACCEPTED, KEPT, TO_DO = Verdict.ACCEPTED, Verdict.KEPT, Verdict.TO_DO
__all__ = ["mine"]


class Worker(Here):
    """Works in this process."""

    def hold(self, *, on: bool) -> None:
        pass


@pytest.fixture
def window(program: Program, mine: Path) -> BatchWindow:
    """The window of batches, with a recipe that finds white and black, paints white, and smooths."""
    program.store.settings.batch.recipe = str(mine)
    return program.contents.batches.window


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """Two scans with a scratch, a speck and a large stain, and one without damage."""
    box = tmp_path / "box"
    box.mkdir()
    imageio.write(Raster(damaged()), box / "a.tif")
    imageio.write(Raster(np.ascontiguousarray(damaged()[:, ::-1])), box / "b.tif")
    imageio.write(noise_raster(200, 300, dtype=np.uint8), box / "c.tif")
    return box


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Scans are worked on in this process; all but a.tif only while the event is set."""
    gate = threading.Event()
    gate.set()

    class Gated(Worker):
        def start(self, job: Job) -> None:
            assert job.path.endswith("a.tif") or gate.wait(60)
            super().start(job)

    monkeypatch.setattr(engine.batch, "WorkerProcess", lambda _, on_event: Gated(on_event))
    return gate


@pytest.fixture
def next_week(qtbot: QtBot, program: Program, tmp_path: Path) -> Iterator[Callable[[], Program]]:
    """Starts the program again, whose scans are worked on in this process."""
    started: list[Program] = []

    def start() -> Program:
        later = Program(tmp_path / "state", SettingsStore(tmp_path / "settings.ini"), program.registry)
        started.append(later)
        later.start([])
        qtbot.waitUntil(lambda: later.ready, timeout=LONG)
        return later

    yield start
    for later in started:
        later.window.close()
        later.stop()
        later.window.deleteLater()


def look_through(qtbot: QtBot, program: Program, window: BatchWindow, box: Path) -> None:
    """Drop a folder, and have it looked through."""
    drop_on(program.window, box)
    qtbot.waitUntil(counted(window, pending=3), timeout=LONG)
    press(window, "Look first, I decide")
    press(window, "Start")
    qtbot.waitUntil(counted(window, found=3), timeout=LONG)


def reviewed(qtbot: QtBot, program: Program, name: str) -> Workspace:
    """The scan that is reviewed, once its defects are listed."""

    def is_there() -> bool:
        photo, reviewing = program.contents.photos.photo, program.contents.reviewing
        return photo is not None and photo.title == name and reviewing.is_shown and reviewing.ready

    qtbot.waitUntil(is_there, timeout=LONG)
    photo = program.contents.photos.photo
    assert photo is not None
    return photo


def bar_button(program: Program, text: str) -> None:
    button = next(one for one in program.contents.review_bar.findChildren(QPushButton) if one.text() == text)
    assert button.isEnabled(), text
    button.click()


def verdicts(photo: Workspace) -> list[Verdict]:
    return [item.verdict for item in sorted(photo.defects.items, key=lambda item: item.defect.box.top)]


def test_drop_look_review_next_week_heal_report(
    qtbot: QtBot,
    program: Program,
    window: BatchWindow,
    box: Path,
    mine: Path,
    tmp_path: Path,
    next_week: Callable[[], Program],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "box restored"
    look_through(qtbot, program, window, box)
    assert program.contents.strip.text == "The batch has ended: 3 to review. 3 pictures wait for you, 6 defects."
    assert window.decision_bar.text == "3 pictures wait for you, 6 defects"
    assert shown(window, Column.STATE) == ["to review"] * 3
    assert shown(window, Column.FOUND) == ["scratch 2, stain 1", "scratch 2, stain 1", "no damage"]
    assert window.model.index(0, Column.TOLD).data(CHIPS_ROLE) == ("unsure",)
    assert not list(out.glob("*.*")), "nothing is healed before it was decided"

    # The first scan, by keys: accept, keep, take that back, keep again, accept.
    window.table.selectRow(0)
    window.table.activated.emit(window.model.index(0, 0))
    photo = reviewed(qtbot, program, "a.tif")
    bar = program.contents.review_bar
    assert bar.text == "Review 1 of 3: a.tif, 0 of 3 decided"
    assert program.contents.defects.isVisible()
    assert photo.defects.row == 0
    assert photo.defects.current is not None
    for pressed in (Qt.Key.Key_Return, Qt.Key.Key_Delete):
        key(program, pressed)
    key(program, Qt.Key.Key_P)
    key(program, Qt.Key.Key_Backspace)
    kept = photo.defects.current.point
    assert [item.verdict for item in photo.defects.selected] == [TO_DO]
    key(program, Qt.Key.Key_Delete)
    key(program, Qt.Key.Key_Return)
    assert bar.text == "Review 1 of 3: a.tif, 3 of 3 decided"
    assert not photo.unsaved
    assert program.contents.photos.tabs.tabText(0) == "a.tif"
    assert not program.store.settings.recent
    imageio.write(noise_raster(40, 60), tmp_path / "other.png")
    open_scan(qtbot, program, tmp_path / "other.png")
    assert bar.text == ""
    tabs = program.contents.photos.tabs
    tabs.setCurrentIndex(0)
    bar_button(program, "Done, Next")

    # The second in the same tab; the program ends in the middle of it.
    photo = reviewed(qtbot, program, "b.tif")
    assert [tabs.tabText(number) for number in range(tabs.count())] == ["b.tif", "other.png"]
    assert bar.text == "Review 2 of 3: b.tif, 0 of 3 decided"
    key(program, Qt.Key.Key_Return)
    first = photo.defects.items[0].point
    program.window.close()
    assert not program.ready

    # Next week.
    program = next_week()
    monkeypatch.setattr(engine.batch, "WorkerProcess", lambda _, on_event: Worker(on_event))
    trigger(program, "batch")
    window = program.contents.batches.window
    qtbot.waitUntil(counted(window, found=3), timeout=LONG)
    assert shown(window, Column.STATE) == ["decided", "to review", "to review"]
    assert shown(window, Column.TOLD) == ["To heal: 2 of 3", "1 of 3 decided", ""]
    press(window, "Review All")
    photo = reviewed(qtbot, program, "b.tif")
    bar = program.contents.review_bar
    assert bar.text == "Review 1 of 2: b.tif, 1 of 3 decided"
    assert photo.document.state.review is not None
    assert photo.document.state.review.judgements[first].verdict is ACCEPTED
    bar_button(program, "Accept What Is Certain")
    bar_button(program, "Keep the Rest")
    decided = verdicts(photo)
    assert decided == [ACCEPTED, ACCEPTED, KEPT], "the stain is unsure"
    key(program, Qt.Key.Key_N, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    reviewed(qtbot, program, "c.tif")
    assert bar.text == "Review 2 of 2: c.tif, no defects"
    bar_button(program, "Previous")
    photo = reviewed(qtbot, program, "b.tif")
    assert verdicts(photo) == decided
    bar_button(program, "Done, Next")
    reviewed(qtbot, program, "c.tif")
    bar_button(program, "Done, Next")
    qtbot.waitUntil(lambda: window.strip.text == "All pictures are decided.", timeout=LONG)
    assert program.contents.photos.tabs.count() == 0
    qtbot.waitUntil(lambda: window.decision_bar.text.startswith("No picture waits for you"), timeout=LONG)
    assert "Heal 4 defects in 2 files; 1 file has none." in window.run_bar.text
    assert window.run_bar.start.text() == "Heal Decided"
    press(window, "Start")
    qtbot.waitUntil(counted(window, done=3), timeout=LONG)
    report = json.loads((out / "lacuna-report" / "report.json").read_text(encoding="utf-8"))
    assert report["counts"] == {"done": 3, "up_to_date": 0, "failed": 0, "pending": 0, "ignored": 0}
    assert [row["steps"] for row in report["files"]] == [["detect", "heal", "clean"]] * 2 + [["detect", "clean"]]
    # What the command line makes of the same decisions.
    other = tmp_path / "other"
    ran(box, other, mine, review=True)
    with opened(box, other, mine, review=True) as batch:
        for row in batch.table.rows():
            review = read_review(review_path(out, row.path))
            write_review(review_path(other, row.path), review)
            batch.table.decide([row.id], True)
        assert review.judgements == {}
    assert read_review(review_path(out, (box / "a.tif").resolve())).judgements[kept].verdict is KEPT
    for name, row in ran(box, other, mine).items():
        assert np.array_equal(pixels(out / name), pixels(other / row.output)), name
        one, two = (read_record(folder / name) for folder in (out, other))
        assert one["repairs"] == two["repairs"]
        assert one["batch"] == two["batch"]


def test_whole_pictures_are_decided_and_taken_back(
    qtbot: QtBot, program: Program, window: BatchWindow, box: Path, gate: threading.Event
) -> None:
    drop_on(program.window, box)
    qtbot.waitUntil(counted(window, pending=3), timeout=LONG)
    press(window, "Look first, I decide")
    gate.clear()
    press(window, "Start")

    # The first scan is reviewed while the others are still looked through; only some classes are healed.
    qtbot.waitUntil(lambda: window.keeper.counts[State.FOUND] == 1, timeout=LONG)
    press(window, "Review All")
    reviewed(qtbot, program, "a.tif")
    program.contents.defects._kinds["stain"].setChecked(False)
    bar_button(program, "Accept What Is Certain")
    bar_button(program, "Done, Next")
    so_far = "All pictures that were looked through so far are decided."
    qtbot.waitUntil(lambda: window.strip.text == so_far, timeout=LONG)
    assert window.keeper.running
    gate.set()
    qtbot.waitUntil(counted(window, found=3), timeout=LONG)
    assert shown(window, Column.STATE) == ["decided", "to review", "to review"]
    assert shown(window, Column.TOLD)[0] == "To heal: 2 of 2"
    path = review_path(window.keeper.folder, (box / "a.tif").resolve())
    review = read_review(path)
    assert review.filters.without == {"stain"}
    write_review(path, replace(review, filters=replace(review.filters, without=frozenset()), judgements={}))
    with JobTable(window.keeper.path) as table:
        (row,) = (row for row in table.rows() if row.relative == "a.tif")
        table.note_review(row.id, numbers_of(read_review(path)))
    window.table.selectRow(0)
    press(window, "Decide Again")
    qtbot.waitUntil(lambda: window.keeper.waiting == (3, 6), timeout=LONG)

    # All of them at once.
    window.table.selectAll()
    assert window.decision_bar.text == "3 pictures wait for you, 6 defects  ·  3 selected: 6 defects, 2 unsure"

    def decided(name: str, sentence: str) -> None:
        with qtbot.waitSignal(window.keeper.decided, timeout=LONG) as told:
            press(window, name)
        assert told.args[0] == f"3 pictures are decided. {sentence}"
        qtbot.waitUntil(lambda: window.run_bar.text.endswith(sentence) and not window.keeper.busy, timeout=LONG)

    decided("Accept Certain", "Heal 4 defects in 2 files; 1 file has none.")
    assert shown(window, Column.STATE) == ["decided"] * 3
    assert window.run_bar.start.text() == "Heal Decided"
    strip = window.strip
    assert [button.text() for button in strip.buttons] == ["Take Back"]
    strip.buttons[0].click()
    waiting = "3 pictures wait for you, 6 defects"
    qtbot.waitUntil(lambda: window.decision_bar.text.startswith(waiting), timeout=LONG)
    assert shown(window, Column.TOLD) == [""] * 3, "nothing is judged, as before"
    decided("Accept All", "Heal 6 defects in 2 files; 1 file has none.")
    decided("Keep All", "Nothing is to be healed: 3 files have none.")

    # The filter shows what is decided, and what waits again.
    window.table.selectRow(0)
    press(window, "Decide Again")
    qtbot.waitUntil(lambda: shown(window, Column.STATE)[0] == "to review", timeout=LONG)
    assert shown(window, Column.TOLD)[0] == "3 of 3 decided", "what was judged stays"
    states = window._filter
    for title, names in (("Decided (2)", ["b.tif", "c.tif"]), ("Waits for review (1)", ["a.tif"])):
        qtbot.waitUntil(partial(lambda title: states.findText(title) > 0, title), timeout=LONG)
        states.setCurrentText(title)
        states.activated.emit(states.currentIndex())
        qtbot.waitUntil(partial(_shows, window, names), timeout=LONG)

    # A scan that is healed can be decided about again; its result stays until it is healed once more.
    states.setCurrentIndex(0)
    states.activated.emit(0)
    qtbot.waitUntil(partial(_shows, window, ["a.tif", "b.tif", "c.tif"]), timeout=LONG)
    press(window, "Start")
    qtbot.waitUntil(counted(window, found=1, done=2), timeout=LONG)
    window.table.selectRow(1)
    press(window, "Decide Again")
    qtbot.waitUntil(counted(window, found=2, done=1), timeout=LONG)
    assert window.run_bar.start.isEnabled() is False


def _shows(window: BatchWindow, names: list[str]) -> bool:
    return shown(window, Column.SCAN) == names


@pytest.mark.usefixtures("gate")
def test_a_scan_that_changed_is_looked_through_again(
    qtbot: QtBot, program: Program, window: BatchWindow, box: Path
) -> None:
    look_through(qtbot, program, window, box)
    imageio.write(Raster(damaged()[::-1]), box / "a.tif")
    with qtbot.waitSignal(program.files.failed, timeout=LONG):
        press(window, "Review All")
    said = "a.tif was changed since it was looked through. Nothing is healed by the old decisions."
    for strip in (program.contents.strip, window.strip):
        assert strip.text.startswith(f"{said} Press Start to look through it again.")
    qtbot.waitUntil(counted(window, found=2, pending=1), timeout=LONG)
    press(window, "Start")
    qtbot.waitUntil(counted(window, found=3), timeout=LONG)

    # Turned, healed and painted: the judgements are those of the scan, and the picture has unsaved work of its own.
    press(window, "Review All")
    photo = reviewed(qtbot, program, "a.tif")
    path = review_path(window.keeper.folder, (box / "a.tif").resolve())
    trigger(program, "flip_vertical")
    qtbot.waitUntil(lambda: program.contents.reviewing.ready, timeout=LONG)
    for pressed in (Qt.Key.Key_N, Qt.Key.Key_Return):
        key(program, pressed)
    assert photo.unsaved
    trigger(program, "review_end")
    qtbot.waitUntil(lambda: bool(read_review(path).judgements), timeout=LONG)
    ((point, judgement),) = read_review(path).judgements.items()
    assert judgement.verdict is ACCEPTED
    assert damaged()[::-1][point[1], point[0]].min() == 255, "the scratch, where it is in the scan"
    assert photo.document.batch_review is None
    assert program.contents.photos.photo is photo, "it is a photograph like others now"
    assert window.isVisible()
