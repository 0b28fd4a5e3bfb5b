"""Dialogs, options, shortcuts and settings."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QKeySequence
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QDialogButtonBox
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.dialogs.settings import SettingsDialog, ShortcutRow, ShortcutsDialog
from desktop.frame.commands import ACTIONS
from desktop.settings import Look, Settings, SettingsStore
from desktop.theme import icon
from engine import imageio
from engine.resources import resource
from tests.conftest import noise_raster
from tests.desktop.acting import key, open_scan, pixel_at, trigger


def test_settings_survive_and_damaged_ones_fall_back(tmp_path: Path, qapp: object) -> None:
    file = tmp_path / "settings.ini"
    store = SettingsStore(file)
    store.settings.look.theme = "light"
    store.settings.tools.brush("brush").size = 77
    store.settings.tools.brush("eraser").size = 5
    store.settings.repair.of("heal").values["feather"] = 9.0
    for number in range(20):
        store.remember_file(Path(f"/scans/{number}.tif"))
    store.save()
    again = SettingsStore(file).settings
    assert (again.look.theme, again.repair.of("heal").values["feather"]) == ("light", 9.0)
    assert [again.tools.brush(name).size for name in ("brush", "eraser", "spot")] == [77, 5, 24]
    assert len(again.recent) == 12
    assert again.recent[0] == str(Path("/scans/19.tif"))
    file.write_text('[General]\nsettings="{\\"look\\": {\\"theme\\": \\"pink\\"}, \\"recent\\": [\\"a.tif\\"]}"\n')
    damaged = SettingsStore(file).settings
    assert damaged.look == Look()
    assert damaged.recent == ("a.tif",)
    file.write_text("not an ini file \x00")
    assert SettingsStore(file).settings == Settings()


def test_the_look_is_applied(qtbot: QtBot, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imageio.write(noise_raster(64, 64), tmp_path / "s.png")
    _, view = open_scan(qtbot, program, tmp_path / "s.png")
    dialog = SettingsDialog(program.window, program.store.settings.look)
    assert dialog.look() == program.store.settings.look
    dialog.deleteLater()
    wanted = Look("light", 0.5, "#ff0000ff", "")
    monkeypatch.setattr(SettingsDialog, "ask", classmethod(lambda *_: wanted))
    trigger(program, "settings")
    assert view.surround == QColor(128, 128, 128)
    assert program.store.settings.look == wanted
    monkeypatch.setattr(SettingsDialog, "ask", classmethod(lambda *_: Look()))
    trigger(program, "settings")


def test_a_missing_monitor_profile_is_reported(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    program.store.settings.look.monitor = str(tmp_path / "none.icc")
    imageio.write(noise_raster(64, 64), tmp_path / "s.png")
    open_scan(qtbot, program, tmp_path / "s.png")
    assert "none.icc" in program.contents.strip.text


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
@pytest.mark.parametrize("kind", ["rubbish", "cut off", "pipe"])
def test_a_monitor_profile_that_is_none_is_said_once_and_the_picture_is_shown(
    qtbot: QtBot, program: Program, tmp_path: Path, kind: str
) -> None:
    profile = tmp_path / "screen.icc"
    if kind == "pipe":
        os.mkfifo(profile)
    else:
        profile.write_bytes(b"rubbish" if kind == "rubbish" else bytes(imagecodecs.cms_profile("adobergb"))[:300])
    program.store.settings.look.monitor = str(profile)
    raster = noise_raster(64, 64)
    imageio.write(raster, tmp_path / "s.png")
    _, view = open_scan(qtbot, program, tmp_path / "s.png")
    assert "screen.icc" in program.contents.strip.text
    assert np.abs(pixel_at(view, 30, 30) - raster.pixels[30, 30] / 257).max() <= 1


def shortcut_rows() -> list[ShortcutRow]:
    rows = []
    for action in ACTIONS:
        first = next(iter(action.shortcuts), "")
        rows.append(ShortcutRow(action.id, action.text, first, first, action.shortcuts[1:]))
    return rows


def test_shortcuts_are_searched_and_changed_and_cannot_be_used_twice(
    qtbot: QtBot, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialog = ShortcutsDialog(program.window, shortcut_rows())
    dialog._search.setText("heal")
    shown = [row for row in range(dialog._table.rowCount()) if not dialog._table.isRowHidden(row)]
    assert 0 < len(shown) < 6
    dialog._edits["heal"].setKeySequence(QKeySequence("Ctrl+Z"))
    assert "Ctrl+Z" in dialog._note.text()
    dialog._edits["heal"].setKeySequence(QKeySequence("Ctrl+H"))
    assert not dialog._note.text()
    # Also if it is the second shortcut of the other command.
    dialog._edits["heal"].setKeySequence(QKeySequence("Ctrl+="))
    assert "Ctrl+=" in dialog._note.text()
    assert "Zoom In" in dialog._note.text()
    assert not dialog._buttons.button(QDialogButtonBox.StandardButton.Ok).isEnabled()
    dialog._edits["heal"].setKeySequence(QKeySequence("Ctrl+H"))
    assert dialog._buttons.button(QDialogButtonBox.StandardButton.Ok).isEnabled()
    wanted = dialog.shortcuts()
    dialog.deleteLater()
    monkeypatch.setattr(ShortcutsDialog, "ask", classmethod(lambda *_: wanted))
    trigger(program, "shortcuts")
    assert program.store.settings.shortcuts == {"heal": "Ctrl+H"}
    assert program.contents.menus.by_id["heal"].shortcut() == QKeySequence("Ctrl+H")
    assert program.contents.menus.by_id["heal"].toolTip().endswith("(Ctrl+H)")


def test_a_key_used_twice_in_the_settings_belongs_to_the_first_action(program: Program) -> None:
    menus = program.contents.menus
    menus.set_shortcuts({"mask_clear": "Ctrl+=", "mask_invert": "Ctrl+=", "heal": "Ctrl+Z"})
    keys = [key for action in menus.by_id.values() for key in action.shortcuts()]
    assert len(keys) == len(set(keys))
    assert menus.by_id["mask_clear"].shortcuts() == [QKeySequence("Ctrl+=")]
    assert menus.by_id["zoom_in"].shortcuts() == [QKeySequence("Ctrl++")]
    assert menus.by_id["heal"].shortcut() == QKeySequence("Ctrl+Z")
    assert menus.by_id["undo"].shortcut().isEmpty()


def test_every_command_has_a_tooltip_and_no_shortcut_is_given_twice(program: Program) -> None:
    keys = [QKeySequence(key) for action in ACTIONS for key in action.shortcuts]
    assert len(keys) == len(set(keys))
    for record in ACTIONS:
        action = program.contents.menus.by_id[record.id]
        assert action.toolTip()
        native = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
        assert action.toolTip().endswith(f"({native})") == bool(native)


def test_every_icon_that_is_named_exists_and_is_drawn(program: Program) -> None:
    named = {action.icon for action in ACTIONS if action.icon} | {"lacuna", "cancel", "eye", "eye-off", "add", "remove"}
    assert named <= {path.stem for path in resource("icons").glob("*.svg")}
    for name in named:
        image = icon(name).pixmap(24, 24).toImage()
        assert any(image.pixelColor(x, y).alpha() > 0 for x in range(24) for y in range(24)), name


def test_problems_stay_until_they_are_closed(program: Program) -> None:
    strip = program.contents.strip
    strip.warn("The disk is full.")
    strip.say("Exported a.tif.")
    assert strip.text == "The disk is full.\nExported a.tif."
    strip.warn("The disk is full.")
    strip._timer.timeout.emit()
    assert strip.text == "The disk is full."
    QTest.mouseClick(strip._close, Qt.MouseButton.LeftButton)
    assert strip.text == ""
    strip.say("Saved.")
    strip._timer.timeout.emit()
    assert strip.text == ""


def test_commands_are_enabled_only_when_they_can_be_used(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    by_id = program.contents.menus.by_id
    assert not by_id["heal"].isEnabled()
    assert not program.contents.task.button.isEnabled()
    assert by_id["open"].isEnabled()
    imageio.write(noise_raster(64, 64), tmp_path / "s.png")
    open_scan(qtbot, program, tmp_path / "s.png")
    assert by_id["heal"].isEnabled()
    assert program.contents.task.button.isEnabled()
    assert not by_id["undo"].isEnabled()
    assert not by_id["layer_merge"].isEnabled()
    trigger(program, "mask_invert")
    assert by_id["undo"].isEnabled()


def test_tab_hides_the_panels_and_f6_moves_the_keyboard(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    imageio.write(noise_raster(64, 64), tmp_path / "s.png")
    _, view = open_scan(qtbot, program, tmp_path / "s.png")
    key(program, Qt.Key.Key_Tab)
    assert not program.window.options.isVisible()
    key(program, Qt.Key.Key_Tab)
    assert program.window.options.isVisible()
    program.window.activateWindow()
    view.setFocus()
    visited = []
    for _ in range(4):
        trigger(program, "next_area")
        visited.append(program.window.focusWidget())
    assert len(set(visited)) >= 3
    assert view not in visited[:2]


def test_the_status_bar_shows_position_samples_and_facts_of_the_scan(
    qtbot: QtBot, program: Program, tmp_path: Path
) -> None:
    raster = noise_raster(64, 64)
    imageio.write(raster, tmp_path / "s.tif")
    _, view = open_scan(qtbot, program, tmp_path / "s.tif")
    status = program.contents.status
    place = view.viewport.to_widget(10.5, 20.5).toPoint()
    QTest.mouseMove(view, place)
    view.pointed.emit((10.5, 20.5))
    assert status._place.text() == "10, 20"
    assert [int(part.split()[1]) for part in status._values.text().split("  ")] == raster.pixels[20, 10].tolist()
    assert "16 bit" in status._kind.text()
    assert "untagged" in status._kind.text()
    assert status._resolution.text() == "600 dpi"
    assert status._zoom.text() == "100 %"
    view.pointed.emit(None)
    assert status._place.text() == ""


def test_the_navigator_moves_the_view(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    imageio.write(noise_raster(1000, 1400), tmp_path / "s.tif")
    _, view = open_scan(qtbot, program, tmp_path / "s.tif")
    navigator = program.contents.navigator
    qtbot.waitUntil(lambda: navigator._image is not None)
    view.viewport.zoom_to(4.0)
    target = navigator._target()
    QTest.mouseClick(navigator, Qt.MouseButton.LeftButton, pos=target.center().toPoint())
    middle = view.viewport.to_image(view.rect().center().toPointF())
    assert np.allclose(middle, (700, 500), atol=20)
