"""The window as a restorer uses it: real buttons, real strokes, and a look at the pixels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QImage, QPointingDevice, QTabletEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QListView
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.canvas.view import CanvasView
from desktop.dialogs.export import ExportDialog, FileDialogs
from desktop.dialogs.questions import Closing, Questions
from desktop.document.compose import Composite, flatten
from desktop.workspace import Workspace
from engine import imageio
from engine.imageio import WriteOptions
from engine.output import Output
from engine.raster import Raster, Rect
from engine.runtime.session import SESSIONS, Device
from tests.conftest import noise_raster

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.tif"
    imageio.write(noise_raster(), path)
    return path


def open_scan(qtbot: QtBot, program: Program, path: Path) -> tuple[Workspace, CanvasView]:
    with qtbot.waitSignal(program.files.opened, timeout=20000):
        program.window.open_paths([path])
    view, workspace = program.window.view, program.window.workspace
    assert view is not None
    assert workspace is not None
    qtbot.waitUntil(lambda: workspace.document.state.scan.has_levels)
    view.zoom_to(1.0)
    view.setFocus()
    return workspace, view


def at(view: CanvasView, x: float, y: float) -> QPoint:
    place = view.to_widget(x, y)
    return QPoint(math.floor(place.x()), math.floor(place.y()))


def drag(
    view: CanvasView, points: list[tuple[float, float]], modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier
) -> None:
    QTest.mousePress(view, LEFT, modifier, at(view, *points[0]))
    for point in points[1:]:
        QTest.mouseMove(view, at(view, *point))
    QTest.mouseRelease(view, LEFT, modifier, at(view, *points[-1]))


def key(program: Program, key_: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    QTest.keyClick(program.window.view or program.shell, key_, modifier)


def trigger(program: Program, id_: str) -> None:
    action = program.window.actions_.by_id[id_]
    assert action.isEnabled(), id_
    action.trigger()


def picture(workspace: Workspace) -> np.ndarray:
    return flatten(Composite.of(workspace.document.state))


def mask(workspace: Workspace) -> np.ndarray:
    tiles = workspace.document.state.mask
    return tiles.read(tiles.bounds)


def shot(view: CanvasView) -> np.ndarray:
    image = view.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width() * 3].reshape(image.height(), image.width(), 3).astype(int)


def seen(view: CanvasView, x: int, y: int) -> np.ndarray:
    place = at(view, x + 0.5, y + 0.5)
    return shot(view)[place.y(), place.x()]


def heal(qtbot: QtBot, program: Program, workspace: Workspace) -> None:
    with qtbot.waitSignal(workspace.undo.indexChanged, timeout=60000):
        QTest.mouseClick(program.window.task.button, LEFT)
    qtbot.waitUntil(lambda: not workspace.busy)


# -- opening and looking ------------------------------------------------------------------------------------------


def test_a_scan_opens_and_is_shown_in_its_colours(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    expected = (picture(workspace)[120, 200] / 257).round()
    assert np.abs(seen(view, 200, 120) - expected).max() <= 1
    assert program.store.settings.recent[0] == str(scan)


def test_an_adobe_rgb_scan_is_shown_converted(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    import imagecodecs

    adobe = bytes(imagecodecs.cms_profile("adobergb"))
    pixels = np.full((64, 64, 3), (30000, 50000, 30000), np.uint16)
    imageio.write(Raster(pixels, adobe), tmp_path / "green.tif")
    _, view = open_scan(qtbot, program, tmp_path / "green.tif")
    raw = np.array([30000, 50000, 30000]) / 257
    assert seen(view, 30, 30)[0] < raw[0] - 10


def test_drop_opens_and_a_second_drop_shows_the_same_tab(qtbot: QtBot, program: Program, scan: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(scan))])
    for _ in range(2):
        event = QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, LEFT, Qt.KeyboardModifier.NoModifier)
        program.shell.dropEvent(event)
        qtbot.waitUntil(lambda: program.window.tabs.count() == 1)
    assert program.window.tabs.count() == 1


@pytest.mark.parametrize("name", ["missing.tif", "text.tif"])
def test_what_cannot_be_opened_is_said_in_the_strip(qtbot: QtBot, program: Program, tmp_path: Path, name: str) -> None:
    (tmp_path / "text.tif").write_text("not a picture")
    with qtbot.waitSignal(program.files.failed):
        program.window.open_paths([tmp_path / name])
    assert name in program.window.strip.text or "picture" in program.window.strip.text
    assert program.window.tabs.count() == 0


def test_zoom_keys_and_wheel_keep_the_point_under_the_pointer(qtbot: QtBot, program: Program, scan: Path) -> None:
    _, view = open_scan(qtbot, program, scan)
    place = QPointF(view.width() / 2 + 40, view.height() / 2 + 25)
    before = view.to_image(place)
    view.zoom_by(1.25, place)
    assert view.to_image(place) == pytest.approx(before, abs=1)
    trigger(program, "zoom_in")
    assert view.zoom == 1.5
    trigger(program, "actual")
    assert view.zoom == 1.0
    trigger(program, "fit")
    assert view.visible().width() == pytest.approx(400)
    for _ in range(60):
        trigger(program, "zoom_in")
    assert view.zoom == 32.0


def test_pixels_are_crisp_above_200_percent(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    board = np.zeros((32, 32, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    imageio.write(Raster(board), tmp_path / "board.png")
    _, view = open_scan(qtbot, program, tmp_path / "board.png")
    view.zoom_to(8.0)
    corner = at(view, 10, 10)
    square = shot(view)[corner.y() : corner.y() + 8, corner.x() : corner.x() + 8]
    assert np.unique(square).tolist() == [255]
    assert np.unique(shot(view)[corner.y() + 40 : corner.y() + 80, corner.x() + 40 : corner.x() + 80]).tolist() == [
        0,
        255,
    ]


def test_middle_button_space_and_hand_tool_pan(qtbot: QtBot, program: Program, scan: Path) -> None:
    _, view = open_scan(qtbot, program, scan)
    view.zoom_to(4.0)
    middle = view.rect().center()

    def pan(button: Qt.MouseButton) -> tuple[float, float]:
        start = view.to_image(QPointF(0, 0))
        QTest.mousePress(view, button, pos=middle)
        QTest.mouseMove(view, middle + QPoint(40, 20))
        QTest.mouseRelease(view, button, pos=middle + QPoint(40, 20))
        end = view.to_image(QPointF(0, 0))
        return start[0] - end[0], start[1] - end[1]

    assert pan(Qt.MouseButton.MiddleButton) == (10, 5)
    QTest.keyPress(view, Qt.Key.Key_Space)
    assert pan(LEFT) == (10, 5)
    QTest.keyRelease(view, Qt.Key.Key_Space)
    program.window.select_tool("hand")
    assert pan(LEFT) == (10, 5)
    program.window.select_tool("brush")
    assert pan(LEFT) == (0, 0)


def test_the_divider_shows_the_scan_on_its_left_and_can_be_dragged(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (250, 150)])
    heal(qtbot, program, workspace)
    for layer in workspace.document.state.layers:
        program.window.layers.toggle_visible(layer)
    trigger(program, "divider")
    plain = shot(view)
    split = view.width() // 2
    QTest.mousePress(view, LEFT, pos=QPoint(split, 300))
    QTest.mouseMove(view, QPoint(split + 100, 300))
    QTest.mouseRelease(view, LEFT, pos=QPoint(split + 100, 300))
    assert not np.array_equal(plain, shot(view))
    assert workspace.undo.count() == 3
    key(program, Qt.Key.Key_Backslash)
    assert workspace.undo.count() == 3


# -- the mask -----------------------------------------------------------------------------------------------------


def test_a_stroke_is_one_undo_step_and_shows_as_a_veil(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    plain = seen(view, 200, 150)
    drag(view, [(180, 150), (200, 150), (230, 160)])
    assert workspace.undo.count() == 1
    assert mask(workspace)[150, 200] == 255
    assert seen(view, 200, 150)[0] > plain[0] + 20
    trigger(program, "veil")
    assert np.abs(seen(view, 200, 150) - plain).max() <= 1
    trigger(program, "undo")
    assert not mask(workspace).any()
    trigger(program, "redo")
    assert mask(workspace)[150, 200] == 255


def test_escape_calls_a_stroke_off(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    QTest.mousePress(view, LEFT, pos=at(view, 100, 100))
    QTest.mouseMove(view, at(view, 140, 100))
    assert workspace.document.shown.mask.read(Rect(120, 100, 121, 101)) == 255
    QTest.keyClick(view, Qt.Key.Key_Escape)
    QTest.mouseRelease(view, LEFT, pos=at(view, 140, 100))
    assert workspace.undo.count() == 0
    assert not mask(workspace).any()
    assert workspace.document.shown is workspace.document.state


def test_shift_draws_a_straight_line_from_the_last_stroke(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(60, 60), (61, 60)])
    drag(view, [(260, 160), (260, 160)], Qt.KeyboardModifier.ShiftModifier)
    assert mask(workspace)[110, 160] == 255
    assert mask(workspace)[60, 160] == 0


def test_eraser_x_and_alt_remove(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    program.window.options.set_size(40)
    for how in ("eraser", "swap", "alt"):
        trigger(program, "mask_invert") if not mask(workspace).any() else None
        assert mask(workspace)[100, 100] == 255
        if how == "eraser":
            key(program, Qt.Key.Key_E)
            drag(view, [(100, 100), (110, 100)])
            key(program, Qt.Key.Key_B)
        elif how == "swap":
            key(program, Qt.Key.Key_X)
            drag(view, [(100, 100), (110, 100)])
            key(program, Qt.Key.Key_X)
        else:
            drag(view, [(100, 100), (110, 100)], Qt.KeyboardModifier.AltModifier)
        assert mask(workspace)[100, 105] == 0
        trigger(program, "undo")


def test_size_and_opacity_keys(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    settings = program.store.settings.tools
    size = settings.size
    key(program, Qt.Key.Key_BracketRight)
    assert settings.size > size
    key(program, Qt.Key.Key_BracketLeft)
    assert settings.size == pytest.approx(size, rel=0.05)
    key(program, Qt.Key.Key_5)
    drag(view, [(100, 100), (120, 100)])
    assert mask(workspace)[100, 110] == 128
    key(program, Qt.Key.Key_0)
    assert settings.opacity == 1.0


def test_pen_pressure_scales_the_stroke(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    program.window.options.set_size(60)
    pen = QPointingDevice.primaryPointingDevice()

    def pen_event(kind: QTabletEvent.Type, x: float, y: float, pressure: float) -> None:
        place = view.to_widget(x, y)
        buttons = LEFT if kind != QTabletEvent.Type.TabletRelease else Qt.MouseButton.NoButton
        event = QTabletEvent(
            kind, pen, place, place, pressure, 0, 0, 0, 0, 0, Qt.KeyboardModifier.NoModifier, LEFT, buttons
        )
        QApplication.sendEvent(view, event)

    for y, pressure in ((80, 0.2), (200, 1.0)):
        pen_event(QTabletEvent.Type.TabletPress, 100, y, pressure)
        pen_event(QTabletEvent.Type.TabletMove, 200, y, pressure)
        pen_event(QTabletEvent.Type.TabletRelease, 200, y, pressure)
    widths = [(mask(workspace)[y - 40 : y + 40, 150] > 127).sum() for y in (80, 200)]
    assert widths[0] == pytest.approx(widths[1] * 0.2, abs=2)
    assert workspace.undo.count() == 2


def test_rectangle_and_lasso(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    program.window.select_tool("rectangle")
    drag(view, [(50, 60), (90, 100)])
    inside = np.zeros_like(mask(workspace))
    inside[60:100, 50:90] = 255
    assert np.array_equal(mask(workspace), inside)
    program.window.select_tool("lasso")
    drag(view, [(200, 50), (300, 50), (300, 150), (200, 150)])
    assert mask(workspace)[100, 250] == 255
    assert mask(workspace)[160, 250] == 0
    assert workspace.undo.count() == 2
    drag(view, [(195, 45), (305, 45), (305, 155), (195, 155)], Qt.KeyboardModifier.AltModifier)
    assert np.array_equal(mask(workspace), inside)


def test_mask_commands(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    program.window.select_tool("rectangle")
    drag(view, [(100, 100), (140, 140)])
    counts = {}
    for name in ("mask_grow", "mask_shrink", "mask_feather"):
        trigger(program, name)
        counts[name] = int((mask(workspace) > 0).sum())
        trigger(program, "undo")
    assert counts["mask_grow"] > 1600 > counts["mask_shrink"]
    assert counts["mask_feather"] > 1600
    trigger(program, "mask_invert")
    assert (mask(workspace) == 255).sum() == 300 * 400 - 1600
    trigger(program, "mask_clear")
    assert not mask(workspace).any()


def test_masks_are_loaded_and_saved(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(100, 100), (180, 120)])
    painted = mask(workspace)
    path = tmp_path / "mask.png"
    monkeypatch.setattr(FileDialogs, "save_mask", classmethod(lambda *_: path))
    with qtbot.waitSignal(program.files.said):
        trigger(program, "mask_save")
    trigger(program, "mask_clear")
    monkeypatch.setattr(FileDialogs, "open_mask", classmethod(lambda *_: path))
    with qtbot.waitSignal(workspace.undo.indexChanged):
        trigger(program, "mask_load")
    assert np.array_equal(mask(workspace), painted)
    imageio.write_mask(np.zeros((10, 10), np.uint8), path)
    with qtbot.waitSignal(program.files.failed):
        trigger(program, "mask_load")
    assert "10 x 10" in program.window.strip.text


# -- healing ------------------------------------------------------------------------------------------------------


def test_heal_makes_a_layer_and_changes_nothing_outside_the_mask(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    before = picture(workspace)
    drag(view, [(150, 150), (260, 170)])
    painted = mask(workspace)
    program.store.settings.repair.values["feather"] = 0.0
    heal(qtbot, program, workspace)
    after = picture(workspace)
    assert not np.array_equal(after[painted == 255], before[painted == 255])
    assert np.array_equal(after[painted == 0], before[painted == 0])
    assert not mask(workspace).any()
    (layer,) = workspace.document.state.layers
    assert layer.made_by[0].model == "heal"
    assert program.window.status.findChildren(type(program.window.strip)) == []
    trigger(program, "undo")
    assert np.array_equal(picture(workspace), before)
    assert np.array_equal(mask(workspace), painted)
    trigger(program, "redo")
    assert np.array_equal(picture(workspace), after)


def test_a_second_heal_joins_the_layer_and_alt_makes_a_new_one(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    for points in ([(50, 50), (90, 50)], [(50, 200), (90, 200)]):
        drag(view, points)
        heal(qtbot, program, workspace)
    assert len(workspace.document.state.layers) == 1
    assert len(workspace.document.state.layers[0].made_by) == 2
    drag(view, [(300, 50), (340, 50)])
    with qtbot.waitSignal(workspace.undo.indexChanged, timeout=60000):
        trigger(program, "heal_new")
    qtbot.waitUntil(lambda: not workspace.busy)
    assert len(workspace.document.state.layers) == 2


def test_painting_goes_on_while_jobs_run_and_what_was_painted_stays(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(50, 50), (90, 50)])
    trigger(program, "heal")
    drag(view, [(50, 200), (90, 200)])
    trigger(program, "heal")
    drag(view, [(300, 200), (340, 200)])
    qtbot.waitUntil(lambda: not workspace.busy, timeout=60000)
    assert len(workspace.document.state.layers[0].made_by) == 2
    assert mask(workspace)[200, 320] == 255
    assert not mask(workspace)[:, :200].any()


def test_a_cancelled_heal_leaves_everything_as_it_was(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(50, 50), (90, 50)])
    tickets = []
    program.jobs.added.connect(tickets.append)
    trigger(program, "heal")
    with qtbot.waitSignal(tickets[0].cancelled):
        tickets[0].cancel()
    assert not workspace.busy
    assert not workspace.document.state.layers
    assert mask(workspace).any()


def test_heal_without_a_mask_says_what_to_do(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, _ = open_scan(qtbot, program, scan)
    QTest.mouseClick(program.window.task.button, LEFT)
    assert "Paint over the damage" in program.window.strip.text
    assert workspace.undo.count() == 0


def test_spot_heal_heals_each_stroke_on_release(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    before = picture(workspace)
    key(program, Qt.Key.Key_J)
    with qtbot.waitSignal(workspace.undo.indexChanged, timeout=60000):
        drag(view, [(200, 100), (220, 100)])
    qtbot.waitUntil(lambda: not workspace.busy)
    assert workspace.undo.count() == 1
    assert not mask(workspace).any()
    assert not np.array_equal(picture(workspace)[100, 210], before[100, 210])


def test_a_result_is_dropped_when_the_picture_was_turned_meanwhile(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(50, 50), (90, 50)])
    trigger(program, "heal")
    trigger(program, "rotate_left")
    qtbot.waitUntil(lambda: not workspace.busy, timeout=60000)
    assert not workspace.document.state.layers
    assert mask(workspace).any()
    assert "turned" in program.window.strip.text


# -- layers -------------------------------------------------------------------------------------------------------


def click_row(view: QListView, row: int, place: QPoint) -> None:
    QTest.mouseClick(view.viewport(), LEFT, pos=place)


def test_painting_on_a_layers_mask_takes_the_repair_away_and_brings_it_back(
    qtbot: QtBot, program: Program, scan: Path
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    before = picture(workspace)
    drag(view, [(150, 150), (260, 150)])
    heal(qtbot, program, workspace)
    healed = picture(workspace)
    panel = program.window.layers
    program.shell.panels["Layers"].raise_()
    row = panel.view.visualRect(panel.model.index(0))
    click_row(panel.view, 0, panel.rows.mask_rect(row).center())
    assert workspace.target == workspace.document.state.layers[0].id
    key(program, Qt.Key.Key_E)
    program.window.options.set_size(60)
    drag(view, [(200, 150), (205, 150)])
    assert np.array_equal(picture(workspace)[150, 202], before[150, 202])
    assert np.array_equal(picture(workspace)[150, 160], healed[150, 160])
    key(program, Qt.Key.Key_B)
    drag(view, [(200, 150), (205, 150)])
    assert np.array_equal(picture(workspace)[150, 202], healed[150, 202])
    key(program, Qt.Key.Key_Escape)
    assert workspace.target is None
    click_row(panel.view, 0, panel.rows.mask_rect(row).center())
    assert workspace.target is not None
    click_row(panel.view, 0, panel.rows.picture_rect(row).center())
    assert workspace.target is None
    assert not mask(workspace).any()


def test_eye_opacity_blend_rename_reorder_and_delete(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    before = picture(workspace)
    for x in (60, 200):
        drag(view, [(x, 100), (x + 50, 100)])
        with qtbot.waitSignal(workspace.undo.indexChanged, timeout=60000):
            trigger(program, "heal_new")
        qtbot.waitUntil(lambda: not workspace.busy)
    panel, undo = program.window.layers, workspace.undo
    row = panel.view.visualRect(panel.model.index(0))
    program.shell.panels["Layers"].raise_()
    click_row(panel.view, 0, panel.rows.eye_rect(row).center())
    assert not workspace.document.state.layers[1].visible
    assert np.array_equal(picture(workspace)[:, 190:], before[:, 190:])
    trigger(program, "undo")
    count = undo.count()
    panel._opacity.pressed.emit()
    for value in (90, 60, 30):
        panel._opacity.changed.emit(value)
    assert undo.index() == count
    assert workspace.document.state.layers[1].opacity == pytest.approx(0.3)
    panel._blend.setCurrentIndex(3)
    panel._blend.activated.emit(3)
    assert workspace.document.state.layers[1].blend.name == "OVERLAY"
    panel.model.setData(panel.model.index(0), "Crack")
    assert workspace.document.state.layers[1].name == "Crack"
    trigger(program, "layer_down")
    assert [layer.name for layer in workspace.document.state.layers][0] == "Crack"
    trigger(program, "layer_duplicate")
    assert len(workspace.document.state.layers) == 3
    before_merge = picture(workspace)
    trigger(program, "layer_merge")
    assert len(workspace.document.state.layers) == 2
    assert np.array_equal(picture(workspace), before_merge)
    trigger(program, "layer_delete")
    assert len(workspace.document.state.layers) == 1
    while undo.canUndo():
        undo.undo()
    assert np.array_equal(picture(workspace), before)


def test_history_goes_back_with_a_click(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    for y in (50, 100, 150):
        drag(view, [(50, y), (90, y)])
    history = program.window.history.view
    rect = history.visualRect(history.model().index(1, 0))
    QTest.mouseClick(history.viewport(), LEFT, pos=rect.center())
    assert workspace.undo.index() == 1
    assert mask(workspace)[50, 70] == 255
    assert mask(workspace)[100, 70] == 0


# -- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_the_export_differs_from_the_scan_only_under_the_mask(
    qtbot: QtBot, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type, suffix: str
) -> None:
    import imagecodecs

    profile = bytes(imagecodecs.cms_profile("adobergb"))
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    imageio.write(noise_raster(dtype=dtype, profile=profile), source)
    workspace, view = open_scan(qtbot, program, source)
    drag(view, [(150, 150), (260, 170)])
    painted = mask(workspace)
    program.store.settings.repair.values["feather"] = 0.0
    heal(qtbot, program, workspace)
    monkeypatch.setattr(ExportDialog, "ask", classmethod(lambda *_: Output(target)))
    with qtbot.waitSignal(program.files.said):
        trigger(program, "export")
    scan, result = imageio.read(source), imageio.read(target)
    assert result.profile == scan.profile
    assert result.resolution == scan.resolution
    assert np.array_equal(result.pixels[painted == 0], scan.pixels[painted == 0])
    assert not np.array_equal(result.pixels, scan.pixels)
    assert (tmp_path / f"out{suffix}.record.json").is_file()


def test_export_onto_the_scan_is_refused(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_scan(qtbot, program, scan)
    data = scan.read_bytes()
    monkeypatch.setattr(ExportDialog, "ask", classmethod(lambda *_: Output(scan)))
    monkeypatch.setattr(Questions, "overwrite", classmethod(lambda *_: True))
    with qtbot.waitSignal(program.files.failed):
        trigger(program, "export")
    assert scan.read_bytes() == data


def test_the_export_dialog_says_what_will_happen(qtbot: QtBot, program: Program, scan: Path, tmp_path: Path) -> None:
    dialog = ExportDialog(program.shell, scan, 16, tmp_path / "out.tif")
    assert dialog._export.isEnabled()
    assert "bit for bit" in dialog._note.text()
    dialog._path.setText(str(tmp_path / "out.jpg"))
    assert "re-encoded" in dialog._note.text()
    assert dialog.choice().options == WriteOptions(depth=None, quality=92, lossless=True)
    dialog._path.setText(str(scan))
    assert not dialog._export.isEnabled()
    dialog._path.setText(str(tmp_path / "nowhere" / "out.tif"))
    assert not dialog._export.isEnabled()
    dialog.deleteLater()


def test_the_export_dialog_measures_the_size(qtbot: QtBot, program: Program, scan: Path, tmp_path: Path) -> None:
    workspace, _ = open_scan(qtbot, program, scan)
    target = tmp_path / "out.tif"
    measure = lambda output: program.files.measure(workspace, output)  # noqa: E731
    dialog = ExportDialog(program.shell, scan, 16, target, measure)
    qtbot.waitUntil(lambda: "MB" in dialog._size.text(), timeout=10000)
    assert dialog._size.text() == f"{scan.stat().st_size / 1e6:.1f} MB"
    dialog._path.setText(str(tmp_path / "out.jpg"))
    assert dialog._size.text() == ""
    dialog.reject()
    assert not target.exists()
    dialog.deleteLater()


def test_undo_steps_beyond_the_memory_go_to_the_session_folder_and_still_work(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("desktop.workspace.UNDO_BYTES", 100_000)
    workspace, view = open_scan(qtbot, program, scan)
    masks = [mask(workspace)]
    for y in range(40, 260, 40):
        drag(view, [(40, y), (200, y + 10), (360, y)])
        masks.append(mask(workspace))
    held = sum(workspace.undo.command(i).edit.nbytes for i in range(workspace.undo.count()))
    assert held <= 100_000
    assert list((workspace.session.folder / "tiles").glob("*.z"))
    for expected in reversed(masks[:-1]):
        trigger(program, "undo")
        assert np.array_equal(mask(workspace), expected)
    for expected in masks[1:]:
        trigger(program, "redo")
        assert np.array_equal(mask(workspace), expected)


def test_cuda_that_is_not_there_is_said_and_the_mask_stays(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    card = program.registry.default("heal")
    if SESSIONS.open(card, card.stages[0], Device.AUTO).device is Device.CUDA:
        return
    program.window.task._device.setCurrentIndex(2)
    program.window.task._device.activated.emit(2)
    drag(view, [(50, 50), (90, 50)])
    trigger(program, "heal")
    qtbot.waitUntil(lambda: "CUDA was asked for" in program.window.strip.text, timeout=20000)
    assert mask(workspace).any()
    assert not workspace.document.state.layers


def test_a_project_is_saved_and_opened_again(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    heal(qtbot, program, workspace)
    drag(view, [(20, 20), (50, 20)])
    trigger(program, "rotate_right")
    project = tmp_path / "work.ora"
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: project))
    assert workspace.unsaved
    with qtbot.waitSignal(program.files.said):
        trigger(program, "save")
    assert not workspace.unsaved
    state, composed, masked = workspace.document.state, picture(workspace), mask(workspace)
    trigger(program, "close")
    again, _ = open_scan(qtbot, program, project)
    assert np.array_equal(picture(again), composed)
    assert np.array_equal(mask(again), masked)
    assert again.document.state.layers[0].made_by == state.layers[0].made_by


def test_closing_with_unsaved_work_asks(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: Closing.CANCEL))
    program.shell.close()
    assert program.shell.isVisible()
    assert program.window.tabs.count() == 1
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: Closing.DISCARD))
    trigger(program, "close")
    assert program.window.tabs.count() == 0


def test_closing_can_save_first(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    project = tmp_path / "kept.ora"
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: Closing.SAVE))
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: project))
    with qtbot.waitSignal(program.shell.closed):
        program.shell.close()
    assert project.is_file()


def test_turns_are_undone_and_exported(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    before = picture(workspace)
    for id_ in ("rotate_left", "flip_horizontal", "rotate_half", "flip_vertical", "rotate_right"):
        trigger(program, id_)
    qtbot.waitUntil(lambda: workspace.document.state.scan.has_levels)
    assert view.visible().width() == pytest.approx(workspace.document.bounds.width)
    assert np.array_equal(picture(workspace), np.rot90(np.rot90(np.rot90(before)[:, ::-1], 2)[::-1], -1))
    while workspace.undo.canUndo():
        workspace.undo.undo()
    assert np.array_equal(picture(workspace), before)
