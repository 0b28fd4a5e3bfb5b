"""Opening files, colours, zoom, pan, before and after."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from desktop.app import Program
from engine import imageio
from engine.raster import Raster
from tests.desktop.acting import LEFT, at, drag, heal, key, open_scan, picture, pixel_at, screenshot, trigger


def test_a_scan_opens_and_is_shown_in_its_colours(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    expected = (picture(workspace)[120, 200] / 257).round()
    assert np.abs(pixel_at(view, 200, 120) - expected).max() <= 1
    assert program.store.settings.recent[0] == str(scan)


def test_an_adobe_rgb_scan_is_shown_converted(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    import imagecodecs

    adobe = bytes(imagecodecs.cms_profile("adobergb"))
    pixels = np.full((64, 64, 3), (30000, 50000, 30000), np.uint16)
    imageio.write(Raster(pixels, adobe), tmp_path / "green.tif")
    _, view = open_scan(qtbot, program, tmp_path / "green.tif")
    raw = np.array([30000, 50000, 30000]) / 257
    assert pixel_at(view, 30, 30)[0] < raw[0] - 10


def test_drop_opens_and_a_second_drop_shows_the_same_tab(qtbot: QtBot, program: Program, scan: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(scan))])

    def drop() -> None:
        event = QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, LEFT, Qt.KeyboardModifier.NoModifier)
        program.window.dropEvent(event)

    with qtbot.waitSignal(program.files.opened, timeout=20000):
        drop()
        # Once more while it is being read.
        drop()
    first = program.contents.photos.view
    other = scan.with_name("other.tif")
    other.write_bytes(scan.read_bytes())
    open_scan(qtbot, program, other)
    drop()
    assert program.contents.photos.view is first
    assert program.contents.photos.tabs.count() == 2
    assert not program.files.opening


@pytest.mark.parametrize("name", ["missing.tif", "text.tif"])
def test_a_file_that_cannot_be_opened_is_reported_in_the_strip(
    qtbot: QtBot, program: Program, tmp_path: Path, name: str
) -> None:
    (tmp_path / "text.tif").write_text("not a picture")
    with qtbot.waitSignal(program.files.failed):
        program.contents.photos.open([tmp_path / name])
    assert name in program.contents.strip.text or "picture" in program.contents.strip.text
    assert program.contents.photos.tabs.count() == 0


def test_zoom_keys_and_wheel_keep_the_point_under_the_pointer(qtbot: QtBot, program: Program, scan: Path) -> None:
    _, view = open_scan(qtbot, program, scan)
    place = QPointF(view.width() / 2 + 40, view.height() / 2 + 25)
    before = view.viewport.to_image(place)
    view.viewport.zoom_to(view.viewport.zoom * 1.25, place)
    assert view.viewport.to_image(place) == pytest.approx(before, abs=1)
    trigger(program, "zoom_in")
    assert view.viewport.zoom == 1.5
    trigger(program, "actual")
    assert view.viewport.zoom == 1.0
    trigger(program, "fit")
    assert view.viewport.visible_image().width() == pytest.approx(400)
    for _ in range(60):
        trigger(program, "zoom_in")
    assert view.viewport.zoom == 32.0


def test_pixels_are_crisp_above_200_percent(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    board = np.zeros((32, 32, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    imageio.write(Raster(board), tmp_path / "board.png")
    _, view = open_scan(qtbot, program, tmp_path / "board.png")
    view.viewport.zoom_to(8.0)
    corner = at(view, 10, 10)
    square = screenshot(view)[corner.y() : corner.y() + 8, corner.x() : corner.x() + 8]
    assert np.unique(square).tolist() == [255]
    assert np.unique(
        screenshot(view)[corner.y() + 40 : corner.y() + 80, corner.x() + 40 : corner.x() + 80]
    ).tolist() == [
        0,
        255,
    ]


def test_middle_button_space_and_hand_tool_pan(qtbot: QtBot, program: Program, scan: Path) -> None:
    _, view = open_scan(qtbot, program, scan)
    view.viewport.zoom_to(4.0)
    middle = view.rect().center()

    def pan(button: Qt.MouseButton) -> tuple[float, float]:
        start = view.viewport.to_image(QPointF(0, 0))
        QTest.mousePress(view, button, pos=middle)
        QTest.mouseMove(view, middle + QPoint(40, 20))
        QTest.mouseRelease(view, button, pos=middle + QPoint(40, 20))
        end = view.viewport.to_image(QPointF(0, 0))
        return start[0] - end[0], start[1] - end[1]

    assert pan(Qt.MouseButton.MiddleButton) == (10, 5)
    QTest.keyPress(view, Qt.Key.Key_Space)
    assert pan(LEFT) == (10, 5)
    QTest.keyRelease(view, Qt.Key.Key_Space)
    program.contents.tools.select("hand")
    assert pan(LEFT) == (10, 5)
    program.contents.tools.select("brush")
    assert pan(LEFT) == (0, 0)


def test_the_divider_shows_the_scan_on_its_left_and_can_be_dragged(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (250, 150)])
    heal(qtbot, program, workspace)
    healed = screenshot(view)
    view.hold_before(held=True)
    scanned = screenshot(view)
    view.hold_before(held=False)
    assert np.array_equal(screenshot(view), healed)
    changed = np.argwhere((healed != scanned).any(axis=2))
    (top, left), (bottom, right) = changed.min(axis=0), changed.max(axis=0)
    trigger(program, "divider")
    split = view.width() // 2

    def pull(target: int) -> np.ndarray:
        QTest.mousePress(view, LEFT, pos=QPoint(split, 300))
        QTest.mouseMove(view, QPoint(target, 300))
        QTest.mouseRelease(view, LEFT, pos=QPoint(target, 300))
        return screenshot(view)

    middle = int(left + right) // 2
    drawn = pull(middle)
    before, after = np.s_[top:bottom, middle - 10 : middle - 4], np.s_[top:bottom, middle + 4 : middle + 10]
    for part, shown, hidden in ((before, scanned, healed), (after, healed, scanned)):
        assert np.array_equal(drawn[part], shown[part])
        assert not np.array_equal(drawn[part], hidden[part])
    assert workspace.undo.count() == 2
    key(program, Qt.Key.Key_Backslash)
    assert workspace.undo.count() == 2
