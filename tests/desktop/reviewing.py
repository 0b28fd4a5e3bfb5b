"""Helpers for tests of the review of defects."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.canvas.view import CanvasView
from desktop.panels.widgets import ValueSlider
from desktop.photo.workspace import Workspace
from engine import imageio
from engine.raster import Raster
from engine.review import Verdict
from tests.desktop.acting import (
    LEFT,
    open_scan,
    pick,
)

TO_DO, ACCEPTED, KEPT, HEALED = Verdict.TO_DO, Verdict.ACCEPTED, Verdict.KEPT, Verdict.HEALED
# Left, top, width, height, channel and value. The tiny detector finds dust in red, scratches in green, hairs in blue;
# the probability is the brightness.
BLOTS = (
    (20, 20, 8, 8, 0, 255),
    (330, 20, 4, 4, 0, 200),
    (60, 120, 90, 4, 1, 255),
    (260, 100, 40, 8, 2, 110),
    (260, 100, 8, 8, 2, 240),
    (292, 100, 8, 8, 2, 230),
    (330, 280, 8, 8, 1, 150),
)


def write_blots(path: Path, *blots: tuple[int, int, int, int, int, int], size: tuple[int, int] = (560, 600)) -> Path:
    """Write a black scan with coloured blots; returns its path."""
    pixels = np.zeros((*size, 3), np.uint8)
    for left, top, width, height, channel, value in blots:
        pixels[top : top + height, left : left + width, channel] = value
    imageio.write(Raster(pixels), path)
    return path


def find(qtbot: QtBot, program: Program, workspace: Workspace) -> None:
    """Search for damage as the user does, and wait for the list."""
    pick(program, "Task", "detect")
    QTest.mouseClick(program.contents.task.button, LEFT)
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)


def open_and_find(qtbot: QtBot, program: Program, path: Path) -> tuple[Workspace, CanvasView]:
    workspace, view = open_scan(qtbot, program, path)
    find(qtbot, program, workspace)
    return workspace, view


def wait_for_outlines(qtbot: QtBot, workspace: Workspace) -> None:
    """Wait until the defects are outlined."""
    qtbot.waitUntil(lambda: not workspace.defects.outlining, timeout=10000)


def verdicts(workspace: Workspace) -> list[tuple[int, str, Verdict]]:
    return [(item.defect.box.left, item.kind, item.verdict) for item in workspace.defects.items]


def counts(workspace: Workspace) -> Counter[Verdict]:
    return Counter(item.verdict for item in workspace.defects.items)


def current_left(workspace: Workspace) -> int | None:
    """Left edge of the current defect."""
    item = workspace.defects.current
    return item.defect.box.left if item is not None else None


def slider(program: Program, name: str) -> ValueSlider:
    return program.contents.defects.sliders[name]


def button(program: Program, name: str) -> QPushButton:
    buttons = program.contents.defects.findChildren(QPushButton)
    return next(button for button in buttons if button.text() == name and button.isVisibleTo(program.contents.defects))


def heal_found(qtbot: QtBot, program: Program, workspace: Workspace) -> None:
    with qtbot.waitSignal(workspace.undo.indexChanged, timeout=60000):
        QTest.mouseClick(program.contents.defects.heal_button, LEFT)
    qtbot.waitUntil(lambda: not workspace.queue.busy)


def middle(view: CanvasView) -> tuple[float, float]:
    return view.viewport.to_image(view.rect().center().toPointF())
