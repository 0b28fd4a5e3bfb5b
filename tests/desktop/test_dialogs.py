"""Dialogs, options, shortcuts and settings, without anybody answering."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QKeySequence
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from desktop.actions import ROWS
from desktop.app import Program
from desktop.dialogs.settings import SettingsDialog, ShortcutsDialog
from desktop.settings import Look, Settings, SettingsStore
from desktop.theme import icon
from engine import imageio
from engine.resources import resource
from tests.conftest import noise_raster
from tests.desktop.acting import key, open_scan, trigger


def test_settings_survive_and_damaged_ones_fall_back(tmp_path: Path, qapp: object) -> None:
    file = tmp_path / "settings.ini"
    store = SettingsStore(file)
    store.settings.look.theme = "light"
    store.settings.tools.size = 77
    store.settings.repair.values["feather"] = 9.0
    for number in range(20):
        store.remember_file(Path(f"/scans/{number}.tif"))
    store.save()
    again = SettingsStore(file).settings
    assert (again.look.theme, again.tools.size, again.repair.values["feather"]) == ("light", 77, 9.0)
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
    dialog = SettingsDialog(program.shell, program.store.settings.look)
    assert dialog.look() == program.store.settings.look
    dialog.deleteLater()
    wanted = Look("light", 0.5, "#ff0000ff", "")
    monkeypatch.setattr(SettingsDialog, "ask", classmethod(lambda *_: wanted))
    trigger(program, "settings")
    assert view.surround == QColor(128, 128, 128)
    assert program.store.settings.look == wanted
    monkeypatch.setattr(SettingsDialog, "ask", classmethod(lambda *_: Look()))
    trigger(program, "settings")


def test_a_monitor_profile_that_is_missing_is_said(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    program.store.settings.look.monitor = str(tmp_path / "none.icc")
    imageio.write(noise_raster(64, 64), tmp_path / "s.png")
    open_scan(qtbot, program, tmp_path / "s.png")
    assert "none.icc" in program.window.strip.text


def test_shortcuts_are_searched_changed_and_never_twice(
    qtbot: QtBot, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialog = ShortcutsDialog(program.shell, program.window.actions_.by_id)
    dialog._search.setText("heal")
    shown = [row for row in range(dialog._table.rowCount()) if not dialog._table.isRowHidden(row)]
    assert 0 < len(shown) < 6
    dialog._edits["heal"].setKeySequence(QKeySequence("Ctrl+Z"))
    assert "Ctrl+Z" in dialog._note.text()
    dialog._edits["heal"].setKeySequence(QKeySequence("Ctrl+H"))
    assert not dialog._note.text()
    wanted = dialog.shortcuts()
    dialog.deleteLater()
    monkeypatch.setattr(ShortcutsDialog, "ask", classmethod(lambda *_: wanted))
    trigger(program, "shortcuts")
    assert program.store.settings.shortcuts == {"heal": "Ctrl+H"}
    assert program.window.actions_.by_id["heal"].shortcut() == QKeySequence("Ctrl+H")
    assert program.window.actions_.by_id["heal"].toolTip().endswith("(Ctrl+H)")


def test_every_command_has_a_tooltip_and_no_shortcut_is_given_twice(program: Program) -> None:
    keys = [row.shortcut for row in ROWS if row.shortcut]
    assert len(keys) == len(set(keys))
    for row in ROWS:
        action = program.window.actions_.by_id[row.id]
        assert action.toolTip()
        native = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
        assert action.toolTip().endswith(f"({native})") == bool(native)


def test_every_icon_that_is_named_exists_and_is_drawn(program: Program) -> None:
    named = {row.icon for row in ROWS if row.icon} | {"lacuna", "cancel", "lock", "eye", "eye-off", "add", "remove"}
    assert named <= {path.stem for path in resource("icons").glob("*.svg")}
    for name in named:
        image = icon(name).pixmap(24, 24).toImage()
        assert any(image.pixelColor(x, y).alpha() > 0 for x in range(24) for y in range(24)), name


def test_problems_stay_until_they_are_closed(program: Program) -> None:
    strip = program.window.strip
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
    by_id = program.window.actions_.by_id
    assert not by_id["heal"].isEnabled()
    assert not program.window.task.button.isEnabled()
    assert by_id["open"].isEnabled()
    imageio.write(noise_raster(64, 64), tmp_path / "s.png")
    open_scan(qtbot, program, tmp_path / "s.png")
    assert by_id["heal"].isEnabled()
    assert program.window.task.button.isEnabled()
    assert not by_id["undo"].isEnabled()
    assert not by_id["layer_merge"].isEnabled()
    trigger(program, "mask_invert")
    assert by_id["undo"].isEnabled()


def test_tab_hides_the_panels_and_f6_moves_the_keyboard(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    imageio.write(noise_raster(64, 64), tmp_path / "s.png")
    _, view = open_scan(qtbot, program, tmp_path / "s.png")
    key(program, Qt.Key.Key_Tab)
    assert not program.shell.options.isVisible()
    key(program, Qt.Key.Key_Tab)
    assert program.shell.options.isVisible()
    program.shell.activateWindow()
    view.setFocus()
    visited = []
    for _ in range(4):
        trigger(program, "next_area")
        visited.append(program.shell.focusWidget())
    assert len(set(visited)) >= 3
    assert view not in visited[:2]


def test_the_status_bar_tells_the_truth(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    raster = noise_raster(64, 64)
    imageio.write(raster, tmp_path / "s.tif")
    _, view = open_scan(qtbot, program, tmp_path / "s.tif")
    status = program.window.status
    place = view.to_widget(10.5, 20.5).toPoint()
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
    navigator = program.window.navigator
    qtbot.waitUntil(lambda: navigator._image is not None)
    view.zoom_to(4.0)
    target = navigator._target()
    QTest.mouseClick(navigator, Qt.MouseButton.LeftButton, pos=target.center().toPoint())
    middle = view.to_image(view.rect().center().toPointF())
    assert np.allclose(middle, (700, 500), atol=20)
