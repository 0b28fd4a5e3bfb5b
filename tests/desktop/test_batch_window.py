"""The window of batches, used like a restorer: drops, a run in real worker processes, pauses, and the table."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QComboBox, QLineEdit, QWidget
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.batch.keeper import BatchKeeper, Phase
from desktop.batch.model import PAGE, BatchModel, Column
from desktop.batch.pictures import Pictures
from desktop.batch.table import BatchTable
from desktop.batch.window import BatchWindow
from desktop.work.threads import Lane
from engine.batch import watch as watching
from engine.batch.rows import Row, State
from engine.batch.table import JobTable
from tests import tiny_models
from tests.conftest import write_scan
from tests.desktop.acting import LEFT, trigger

LONG = 60_000
RECIPE = 'title = "Mine"\n[[steps]]\ntask = "clean"\nmodel = "{model}"\n'


@pytest.fixture
def window(program: Program, tmp_path: Path, shelf: Path) -> BatchWindow:
    """The window of batches, with a recipe of one tiny model."""
    tiny_models.smoother(shelf)
    recipe = tmp_path / "mine.toml"
    recipe.write_text(RECIPE.format(model="smoother"), encoding="utf-8")
    program.store.settings.batch.recipe = str(recipe)
    return program.contents.batches.window


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A folder with three scans, two of which differ in nothing but the suffix, and one in a folder further down."""
    box = tmp_path / "box"
    (box / "may").mkdir(parents=True)
    for number, name in enumerate(("a.tif", "b.png", "b.tif", "may/d.tif")):
        write_scan(box / name, number)
    return box


def drop_on(widget: QWidget, *paths: Path) -> None:
    """Drop files on a widget as a file manager does."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    copy, keys = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(20, 20), copy, data, LEFT, keys)
    QApplication.sendEvent(widget, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(widget, QDropEvent(QPointF(20, 20), copy, data, LEFT, keys))


def find(window: QWidget, kind: type, name: str) -> QWidget:
    return next(one for one in window.findChildren(kind) if one.accessibleName() == name)


def press(window: QWidget, name: str) -> None:
    button = find(window, QAbstractButton, name)
    assert button.isEnabled(), name
    assert button.isVisible(), name
    QTest.mouseClick(button, LEFT, pos=QPoint(8, button.height() // 2))


def choose(window: QWidget, name: str, data: object) -> None:
    combo = find(window, QComboBox, name)
    combo.setCurrentIndex(combo.findData(data))
    combo.activated.emit(combo.currentIndex())


def shown(window: BatchWindow, column: Column) -> list[str]:
    return [window.model.index(row, column).data() for row in range(window.model.rowCount())]


def counted(window: BatchWindow, **counts: int) -> Callable[[], bool]:
    def holds() -> bool:
        keeper = window.keeper
        known = {state.value: count for state, count in keeper.counts.items() if count}
        return known == counts and keeper.phase is Phase.IDLE and not keeper.busy

    return holds


def test_a_dropped_folder_becomes_a_batch_and_ends_with_a_report(
    qtbot: QtBot, program: Program, window: BatchWindow, box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (box / "Thumbs.db").write_bytes(b"")
    (box / "broken.tif").write_bytes(b"II*\0 and nothing more")
    out = tmp_path / "box restored"
    with qtbot.waitSignal(window.keeper.said, timeout=LONG) as said:
        drop_on(program.window, box)
    assert said.args == ["Added 5 scans. Left out: 1 hidden or of the system."]
    qtbot.waitUntil(counted(window, pending=5), timeout=LONG)
    assert window.isVisible()
    assert program.store.settings.batch.folder == str(out)
    assert shown(window, Column.SCAN) == ["a.tif", "b.png", "b.tif", "broken.tif", "may/d.tif"]
    assert not out.exists(), "nothing is written before the start"

    # Two scans that would get one name are marked before the run, and another template names all anew.
    choose(window, "Format", ".tif")
    told = ["a.tif", "b.tif", "≠ b-tif.tif", "broken.tif", "may/d.tif"]
    qtbot.waitUntil(lambda: shown(window, Column.RESULT) == told, timeout=LONG)
    names = find(window, QLineEdit, "Names of the results")
    names.selectAll()
    QTest.keyClicks(names, "{nam}")
    assert "{nam} is not known" in window.options._example.text()
    names.selectAll()
    QTest.keyClicks(names, "{name}-{n:00}")
    assert "a.tif → a-01.tif" in window.options._example.text()
    wanted = ["a-01.tif", "b-02.tif", "b-03.tif", "broken-04.tif", "may/d-05.tif"]
    qtbot.waitUntil(lambda: shown(window, Column.RESULT) == wanted and not window.keeper.busy, timeout=LONG)

    # While the editor computes, nothing is worked on.
    gate = threading.Event()
    program.jobs.submit("Heal", Lane.COMPUTE, lambda: lambda _: gate.wait(60))
    press(window, "Start")
    qtbot.waitUntil(lambda: window.keeper._feed._paused, timeout=LONG)
    assert not (out / "a-01.tif").exists()
    with qtbot.waitSignal(window.keeper.ended, timeout=LONG) as ended:
        gate.set()
    assert ended.args == ["The batch has ended: 4 done, 1 failed."]
    qtbot.waitUntil(counted(window, done=4, failed=1), timeout=LONG)
    assert program.contents.strip.text == "The batch has ended: 4 done, 1 failed."
    assert [path.relative_to(out).as_posix() for path in sorted(out.rglob("*.tif"))] == [
        "a-01.tif",
        "b-02.tif",
        "b-03.tif",
        "may/d-05.tif",
    ]
    report = json.loads((out / "lacuna-report" / "report.json").read_text(encoding="utf-8"))
    assert report["counts"] == {"done": 4, "up_to_date": 0, "failed": 1, "pending": 0, "ignored": 1}
    states, told = shown(window, Column.STATE), shown(window, Column.TOLD)
    assert states == ["done", "done", "done", "failed", "done"]
    assert told[0] == "Clean"
    assert told[3].startswith("broken.tif is")

    # Before and after are seen large, and a double click opens the result in the editor.
    window.table.selectRow(0)
    qtbot.waitUntil(lambda: len(window.preview.picture.images) == 2, timeout=LONG)
    with qtbot.waitSignal(program.files.opened, timeout=LONG) as opened:
        window.table.activated.emit(window.model.index(0, 0))
    assert opened.args[0].source == out / "a-01.tif"

    # After a run with these settings its folder can be watched.
    monkeypatch.setattr(watching, "watch", partial(watching.watch, poll=0.05))
    press(window, "Watch the folders")
    qtbot.waitUntil(lambda: window.keeper.phase is Phase.WATCHING, timeout=LONG)
    # So is one that is dropped meanwhile.
    (tmp_path / "more").mkdir()
    drop_on(window, tmp_path / "more")
    qtbot.waitUntil(lambda: not window.keeper.busy, timeout=LONG)
    for folder, name in ((box, "new.tif"), (tmp_path / "more", "late.tif")):
        write_scan(tmp_path / name, 9)
        os.utime(tmp_path / name, (1, 1))
        (tmp_path / name).rename(folder / name)
    for name in ("new", "more/late"):
        qtbot.waitUntil(lambda name=name: bool(list(out.glob(f"{name}-*.tif.record.json"))), timeout=LONG)
    qtbot.waitUntil(lambda: window.keeper.phase is Phase.WATCHING, timeout=LONG)
    press(window, "Watch the folders")
    qtbot.waitUntil(counted(window, done=6, failed=1), timeout=LONG)


def test_a_few_pictures_ask_and_one_is_opened(qtbot: QtBot, program: Program, window: BatchWindow, box: Path) -> None:
    with qtbot.waitSignal(program.files.opened, timeout=LONG):
        drop_on(program.window, box / "a.tif")
    strip = program.contents.strip
    drop_on(program.window, box / "b.tif", box / "b.png")
    assert [button.text() for button in strip.buttons] == ["Open here", "Add to batch"]
    QTest.mouseClick(strip.buttons[1], LEFT)
    qtbot.waitUntil(counted(window, pending=2), timeout=LONG)
    assert not strip.buttons
    drop_on(program.window, box / "b.tif", box / "b.png")
    with qtbot.waitSignals([program.files.opened] * 2, timeout=LONG):
        QTest.mouseClick(strip.buttons[0], LEFT)
    assert window.model.rowCount() == 2
    window.close()
    trigger(program, "batch")
    assert window.isVisible()
    # A result is never written over a file that is open.
    made = box / "restored" / "b.tif"
    made.parent.mkdir()
    made.write_bytes((box / "a.tif").read_bytes())
    with qtbot.waitSignal(program.files.opened, timeout=LONG):
        drop_on(program.window, made)
    before = made.read_bytes()
    press(window, "Start")
    qtbot.waitUntil(counted(window, done=1, failed=1), timeout=LONG)
    (place,) = [row for row, state in enumerate(shown(window, Column.STATE)) if state == "failed"]
    assert shown(window, Column.RESULT)[place] == "b.tif"
    assert shown(window, Column.TOLD)[place] == "b.tif is open, and would be written over. Close it first, then retry."
    assert made.read_bytes() == before


def test_a_run_is_paused_cancelled_and_retried(
    qtbot: QtBot, program: Program, window: BatchWindow, tmp_path: Path
) -> None:
    box = tmp_path / "box"
    box.mkdir()
    for number in range(8):
        write_scan(box / f"{number}.tif", number, 120)
    (box / "7.tif").write_bytes(b"no picture")
    window.show()
    drop_on(window, box)
    qtbot.waitUntil(counted(window, pending=8), timeout=LONG)
    table, keeper = window.table, window.keeper

    def do(row: int, text: str) -> None:
        table.selectRow(row)
        next(action for action in table.actions() if action.text() == text).trigger()

    do(7, "Move First")
    qtbot.waitUntil(lambda: shown(window, Column.SCAN)[0] == "7.tif", timeout=LONG)
    do(5, "Cancel")
    do(6, "Remove from the List")
    qtbot.waitUntil(counted(window, pending=6, cancelled=1), timeout=LONG)
    assert shown(window, Column.STATE)[5] == "cancelled"

    # Without a folder nothing is written, least of all where the program happened to be started.
    folder = find(window, QLineEdit, "Folder of the results")
    before = folder.text()
    for text in ("", before):
        folder.setText(text)
        folder.editingFinished.emit()
        qtbot.waitUntil(lambda: not keeper.busy and not keeper._name_timer.isActive(), timeout=LONG)
        if not text:
            press(window, "Start")
            assert "Choose the folder of the results first." in window.strip.text
            assert keeper.phase is Phase.IDLE
    press(window, "Start")
    press(window, "Pause now")
    qtbot.waitUntil(lambda: keeper.phase is Phase.HELD, timeout=LONG)
    assert keeper.counts[State.PENDING] + keeper.counts[State.RUNNING] == 6
    press(window, "Start")
    qtbot.waitUntil(lambda: bool(keeper._shares), timeout=LONG)
    press(window, "Pause after this picture")
    assert window.run_bar.text.startswith("Pausing after the pictures")
    qtbot.waitUntil(lambda: keeper.phase is Phase.IDLE, timeout=LONG)
    qtbot.waitUntil(lambda: keeper.counts[State.FAILED] == 1 and not keeper.counts[State.RUNNING], timeout=LONG)
    assert keeper.counts[State.PENDING]
    assert window.run_bar.start.text() == "Resume"

    # Another program with the same table sees the same list.
    other = BatchKeeper(program.jobs, program.store.settings.batch, keeper._path.parent, list)
    qtbot.waitUntil(lambda: other.snapshot is not None, timeout=LONG)
    assert other.counts == keeper.counts
    other.stop()

    do(shown(window, Column.STATE).index("cancelled"), "Retry")
    qtbot.waitUntil(lambda: not keeper.counts[State.CANCELLED], timeout=LONG)
    write_scan(box / "7.tif", 7)
    press(window, "Retry failed")
    qtbot.waitUntil(counted(window, done=7), timeout=LONG)


def test_closing_the_program_breaks_the_run_off_and_keeps_the_list(
    qtbot: QtBot, program: Program, window: BatchWindow, box: Path, tmp_path: Path, shelf: Path
) -> None:
    tiny_models.endless(shelf, "never")
    Path(program.store.settings.batch.recipe).write_text(RECIPE.format(model="never"), encoding="utf-8")
    drop_on(program.window, box)
    qtbot.waitUntil(counted(window, pending=4), timeout=LONG)
    press(window, "Start")
    qtbot.waitUntil(lambda: bool(window.keeper._shares), timeout=LONG)
    # What is dropped meanwhile waits in the list, and what is worked on is not disturbed.
    write_scan(tmp_path / "more.tif", 5)
    drop_on(window, tmp_path / "more.tif", box)
    qtbot.waitUntil(lambda: window.keeper.total == 5 and not window.keeper.busy, timeout=LONG)
    assert window.keeper.counts[State.RUNNING]
    path = window.keeper._path
    program.window.close()
    assert not program.ready
    with JobTable(path) as table:
        assert table.counts()[State.PENDING] == 5
    assert not (tmp_path / "box restored" / "lacuna-report" / "report.json").exists()


def test_a_list_that_cannot_be_read_is_put_aside(
    qtbot: QtBot, program: Program, tmp_path: Path, box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "state" / "batch" / "batch.sqlite"
    table.parent.mkdir()
    # Of a newer version, which was killed: what it wrote last is not in the database yet.
    with closing(sqlite3.connect(tmp_path / "newer.sqlite")) as newer:
        newer.execute("PRAGMA journal_mode=WAL")
        newer.executescript("PRAGMA application_id=0x4C61634A; PRAGMA user_version=99; CREATE TABLE last (n)")
        for ending in ("", "-wal"):
            shutil.copy(f"{tmp_path / 'newer.sqlite'}{ending}", f"{table}{ending}")
    window = program.contents.batches.window
    window.bring()
    qtbot.waitUntil(lambda: bool(window.strip.buttons), timeout=LONG)
    assert "cannot be used" in window.strip.text
    QTest.mouseClick(window.strip.buttons[0], LEFT)
    with closing(sqlite3.connect(table.with_name("batch-1.sqlite"))) as kept:
        assert kept.execute("SELECT count(*) FROM last").fetchone() == (0,)
    # A template that cannot be used is no reason to lose what is dropped.
    window.options._names.setText("{nam}")
    window.options._names.textEdited.emit("{nam}")
    drop_on(window, box)
    qtbot.waitUntil(counted(window, pending=4), timeout=LONG)
    assert shown(window, Column.RESULT)[0] == "a.tif"
    # The recipe is tried on a scan of the list, in the window of recipes.
    program.store.settings.batch.recipe = "standard"
    window.table.selectRow(1)
    window.try_recipe.trigger()
    recipes = program.contents.context.show_recipes()
    qtbot.waitUntil(lambda: len(recipes.preview.picture.images) == 2, timeout=LONG)
    assert recipes.recipe.name == "standard"
    assert recipes.isVisible()


def test_ten_thousand_rows_are_read_by_pages(qtbot: QtBot, program: Program) -> None:
    asked: list[int] = []

    def read(ids: list[int]) -> list[Row]:
        asked.append(len(ids))
        return [
            Row(
                id_,
                Path(f"/none/{id_}.tif"),
                f"{id_}.tif",
                Path("/none"),
                f"{id_}.tif",
                "",
                False,
                1,
                1,
                State.PENDING,
                None,
            )
            for id_ in ids
        ]

    model = BatchModel(read, Pictures(program.jobs))
    table = BatchTable(model)
    qtbot.addWidget(table)
    table.resize(900, 600)
    table.show()
    table.show_ids(np.arange(1, 10_001))
    table.selectRow(4)
    table.scrollToBottom()
    table.grab()
    assert model.index(9_999, Column.SCAN).data() == "10000.tif"
    assert max(asked) <= PAGE
    assert sum(asked) <= 6 * PAGE
    before = len(asked)
    model.touch([1, 2, 3], {})
    table.grab()
    assert len(asked) - before <= 1, "rows that are not seen are not read again"
    table.show_ids(np.arange(10_000, 0, -1))
    assert table.selected_ids() == [5], "what is selected stays selected in another order"
