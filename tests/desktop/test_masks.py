"""Painting the mask."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QPointingDevice, QTabletEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.dialogs.export import FileDialogs
from engine import imageio
from engine.raster import Rect
from tests.desktop.acting import LEFT, at, drag, key, mask, open_scan, pixel_at, trigger, trigger_job


def test_a_stroke_is_one_undo_step_and_is_shown_as_overlay(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    plain = pixel_at(view, 200, 150)
    drag(view, [(180, 150), (200, 150), (230, 160)])
    assert workspace.undo.count() == 1
    assert mask(workspace)[150, 200] == 255
    assert pixel_at(view, 200, 150)[0] > plain[0] + 20
    trigger(program, "veil")
    assert np.abs(pixel_at(view, 200, 150) - plain).max() <= 1
    trigger(program, "undo")
    assert not mask(workspace).any()
    trigger(program, "redo")
    assert mask(workspace)[150, 200] == 255


def test_escape_cancels_a_stroke(qtbot: QtBot, program: Program, scan: Path) -> None:
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
    program.contents.tools.set_size(40)
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


def test_size_and_opacity_keys(qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    settings = program.store.settings.tools.brush("brush")
    size = settings.size
    key(program, Qt.Key.Key_BracketRight)
    assert settings.size > size
    key(program, Qt.Key.Key_BracketLeft)
    assert settings.size == pytest.approx(size, rel=0.05)
    key(program, Qt.Key.Key_5)
    drag(view, [(100, 100), (120, 100)])
    assert mask(workspace)[100, 110] == 128
    clock = (1e9 + seconds for seconds in (0.0, 0.2, 1.0, 2.0, 2.1))
    monkeypatch.setattr("desktop.frame.toolbox.time", SimpleNamespace(monotonic=lambda: next(clock)))
    for digit, opacity in ((5, 0.5), (7, 0.57), (0, 1.0), (0, 1.0), (8, 0.08)):
        key(program, Qt.Key(Qt.Key.Key_0 + digit))
        assert settings.opacity == pytest.approx(opacity)


def test_pen_pressure_scales_the_stroke(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    program.contents.tools.set_size(60)
    pen = QPointingDevice.primaryPointingDevice()

    def pen_event(kind: QTabletEvent.Type, x: float, y: float, pressure: float) -> None:
        place = view.viewport.to_widget(x, y)
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
    program.contents.tools.select("rectangle")
    drag(view, [(50, 60), (90, 100)])
    inside = np.zeros_like(mask(workspace))
    inside[60:100, 50:90] = 255
    assert np.array_equal(mask(workspace), inside)
    program.contents.tools.select("lasso")
    drag(view, [(200, 50), (300, 50), (300, 150), (200, 150)])
    assert mask(workspace)[100, 250] == 255
    assert mask(workspace)[160, 250] == 0
    assert workspace.undo.count() == 2
    drag(view, [(195, 45), (305, 45), (305, 155), (195, 155)], Qt.KeyboardModifier.AltModifier)
    assert np.array_equal(mask(workspace), inside)


def test_mask_commands(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    program.contents.tools.select("rectangle")
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
    with qtbot.waitSignal(workspace.message):
        trigger(program, "mask_load")
    assert "10 x 10" in program.contents.strip.text


def test_loading_a_mask_can_be_called_off_while_the_picture_is_read(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _ = open_scan(qtbot, program, scan)
    path, began, gate, read = tmp_path / "mask.png", threading.Event(), threading.Event(), []
    imageio.write_mask(np.full((300, 400), 255, np.uint8), path)
    real = imageio.read_mask

    def waiting(*arguments: Any) -> object:
        began.set()
        assert gate.wait(60)
        read.append(real(*arguments))
        return read[0]

    monkeypatch.setattr(imageio, "read_mask", waiting)
    monkeypatch.setattr(FileDialogs, "open_mask", classmethod(lambda *_: path))
    ticket = trigger_job(program, "mask_load")
    qtbot.waitUntil(began.is_set)
    with qtbot.waitSignal(ticket.cancelled):
        ticket.cancel()
        gate.set()
    assert not read
    assert not mask(workspace).any()
