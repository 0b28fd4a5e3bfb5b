"""The start page from the second start on: recent files as cards."""

from __future__ import annotations

import threading
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QContextMenuEvent, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QListWidgetItem, QMenu, QPushButton
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.document.edits import AddLayer
from desktop.frame import recent
from desktop.frame.cards import _IMAGE, _MISSING, Cards
from desktop.frame.start_page import StartPage
from desktop.settings import SettingsStore
from engine import imageio
from engine.raster import Raster, Rect
from engine.runtime.cards import Registry
from tests.desktop.acting import LEFT, open_scan, trigger
from tests.document.test_edits import filled_layer


def cards(page: StartPage) -> Cards:
    assert page.cards is not None
    return page.cards


def items(page: StartPage) -> list[QListWidgetItem]:
    return cards(page).items_of()


def image_of(item: QListWidgetItem) -> QImage:
    return item.data(_IMAGE)


def choose(page: StartPage, row: int, text: str) -> None:
    """Open the menu of a card with the right button, and choose a command."""
    place = cards(page).visualItemRect(items(page)[row]).center()
    reason = QContextMenuEvent.Reason.Mouse
    QApplication.sendEvent(cards(page).viewport(), QContextMenuEvent(reason, place, QPoint(5, 5)))
    menu = cards(page).findChildren(QMenu)[-1]
    next(action for action in menu.actions() if action.text() == text).trigger()
    menu.close()


def close_all(program: Program) -> None:
    while program.contents.photos.views():
        trigger(program, "close")


def test_recent_files_come_first_and_are_opened_removed_and_cleared(
    qtbot: QtBot, program: Program, scan: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, thumbnails = program.window.start_page, tmp_path / "state" / "thumbnails"
    assert page.cards is None, "the first start shows the three steps"
    assert not page._steps.isHidden()
    imageio.write(
        Raster(np.full((60, 90, 3), (30000, 50000, 30000), np.uint16), bytes(imagecodecs.cms_profile("adobergb"))),
        other,
    )
    for path in (scan, other):
        open_scan(qtbot, program, path)
    qtbot.waitUntil(lambda: len(list(thumbnails.glob("*.png"))) == 2)
    close_all(program)
    assert page.names == [str(other), str(scan)]
    assert not cards(page).isHidden()
    assert page._steps.isHidden()
    qtbot.waitUntil(lambda: all(image_of(item) is not None for item in items(page)))
    first = image_of(items(page)[0])
    assert (first.width(), first.height()) == (90, 60)
    assert first.pixelColor(40, 30).red() < 30000 / 257 - 10, "it is converted to sRGB"
    qtbot.waitUntil(lambda: "changed" in items(page)[1].toolTip())
    assert items(page)[1].toolTip().startswith(str(scan))
    assert items(page)[1].data(Qt.ItemDataRole.AccessibleTextRole).startswith(f"scan.tif, {tmp_path}, changed")

    # By keys, and by a click.
    cards(page).setFocus()
    QTest.keyClick(cards(page), Qt.Key.Key_Right)
    with qtbot.waitSignal(program.files.opened):
        QTest.keyClick(cards(page), Qt.Key.Key_Return)
    assert program.contents.photos.photo.source == scan
    close_all(program)
    with qtbot.waitSignal(program.files.opened):
        QTest.mouseClick(cards(page).viewport(), LEFT, pos=cards(page).visualItemRect(items(page)[1]).center())
    assert program.contents.photos.photo.source == other
    close_all(program)

    shown: list[Path] = []
    monkeypatch.setattr(recent, "show_file", shown.append)
    choose(page, 0, "Show in Folder")
    assert shown == [tmp_path]
    choose(page, 0, "Remove from List")
    assert page.names == [str(scan)] == list(program.store.settings.recent)
    qtbot.waitUntil(lambda: len(list(thumbnails.glob("*.png"))) == 1)
    choose(page, 0, "Clear List")
    assert cards(page).isHidden()
    assert not page._steps.isHidden()
    assert program.store.settings.recent == ()
    qtbot.waitUntil(lambda: not list(thumbnails.glob("*.png")))


def test_the_second_start_reads_no_scan_and_a_drive_that_does_not_answer_holds_up_nothing(
    qtbot: QtBot, tmp_path: Path, registry: Registry, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SettingsStore(tmp_path / "settings.ini")
    for path in (tmp_path / "gone.tif", scan):
        store.remember_file(path)
    answer, find = threading.Event(), recent._find_files

    def waiting(*arguments: object) -> None:
        assert threading.current_thread() is not threading.main_thread()
        assert answer.wait(60)
        find(*arguments)

    monkeypatch.setattr(recent, "_find_files", waiting)
    read: list[object] = []
    monkeypatch.setattr("desktop.photo.files.open_document", lambda *_: read.append(_))
    kept = recent.Thumbnails(tmp_path / "state" / "thumbnails")
    kept._folder.mkdir(parents=True)
    kept.path_of(str(scan)).write_bytes(imageio.encode_png(np.full((30, 40, 3), 90, np.uint8)))
    program = Program(tmp_path / "state", store, registry)
    try:
        page = program.window.start_page
        assert page.names == [str(scan), str(tmp_path / "gone.tif")], "they are there at the first paint"
        program.start([])
        qtbot.waitUntil(lambda: image_of(items(page)[0]) is not None if program.ready else False)
        assert not any(item.data(_MISSING) for item in items(page)), "not known yet"
        answer.set()
        qtbot.waitUntil(lambda: bool(items(page)[1].data(_MISSING)))
        assert items(page)[1].toolTip().endswith("not found")
        assert not items(page)[0].data(_MISSING)
        assert not read
        page.grab()
        with qtbot.waitSignal(program.files.failed):
            QTest.mouseClick(cards(page).viewport(), LEFT, pos=cards(page).visualItemRect(items(page)[1]).center())
        assert "gone.tif" in program.contents.strip.text
    finally:
        answer.set()
        program.window.close()
        program.stop()
        program.window.deleteLater()


def test_cards_wrap_and_the_page_scrolls_in_a_narrow_window(qtbot: QtBot) -> None:
    page = StartPage([f"/scans/box/{number}.tif" for number in range(12)])
    qtbot.addWidget(page)
    page.resize(1100, 800)
    page.show()
    assert len(page.names) == 8
    assert len({cards(page).visualItemRect(item).left() for item in items(page)}) == 4
    assert page.horizontalScrollBar().maximum() == page.verticalScrollBar().maximum() == 0
    page.resize(420, 400)
    qtbot.waitUntil(lambda: len({cards(page).visualItemRect(item).left() for item in items(page)}) == 2)
    qtbot.waitUntil(lambda: page.horizontalScrollBar().maximum() == 0)
    page.activateWindow()
    qtbot.waitUntil(lambda: QApplication.focusWidget() is cards(page), timeout=2000)
    QTest.keyClick(cards(page), Qt.Key.Key_End)
    qtbot.waitUntil(lambda: page.verticalScrollBar().value() > 0)
    order = [cards(page)]
    for _ in range(2):
        QTest.keyClick(order[-1], Qt.Key.Key_Tab)
        order.append(QApplication.focusWidget())
    assert order[1:] == page.findChildren(QPushButton)
    cards(page).show_found(page.names[0], None)
    cards(page).show_picture(page.names[1], QImage(300, 200, QImage.Format.Format_RGB32))
    page.grab()
    assert [button.text() for button in page.findChildren(QPushButton)] == ["Open a scan…", "Open the sample"]


def test_a_thumbnail_shows_the_file_and_not_what_was_done_meanwhile(
    qtbot: QtBot, program: Program, tmp_path: Path, scan: Path
) -> None:
    photo, _ = open_scan(qtbot, program, scan)
    thumbnails = tmp_path / "state" / "thumbnails"
    qtbot.waitUntil(lambda: len(list(thumbnails.glob("*.png"))) == 1)
    (made,) = thumbnails.glob("*.png")
    before = made.read_bytes()
    photo.push(AddLayer("add", filled_layer(photo.document, Rect(0, 0, 300, 200)), 0))
    made.unlink()
    # As when autosaved work is opened.
    program.contents.photos.remembered.emit(photo, scan)
    qtbot.waitUntil(made.exists)
    assert made.read_bytes() == before
    photo.undo.undo()
