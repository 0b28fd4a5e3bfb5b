"""Helpers for tests that use the window like a restorer: buttons, strokes, and pixels on the screen."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QComboBox, QListView
from pytestqt.qtbot import QtBot

import engine.tasks
from desktop.app import Program
from desktop.canvas.view import CanvasView
from desktop.document.compose import Composite, flatten
from desktop.photo.workspace import Workspace
from desktop.work.threads import Lane, Ticket
from engine.jobs import JobContext
from engine.tasks import TaskInput

LEFT = Qt.MouseButton.LeftButton


def open_scan(qtbot: QtBot, program: Program, path: Path) -> tuple[Workspace, CanvasView]:
    with qtbot.waitSignal(program.files.opened, timeout=20000):
        program.contents.photos.open([path])
    view, workspace = program.contents.photos.view, program.contents.photos.photo
    assert view is not None
    assert workspace is not None
    qtbot.waitUntil(lambda: bool(workspace.document.state.scan.levels))
    view.viewport.zoom_to(1.0)
    view.setFocus()
    return workspace, view


def at(view: CanvasView, x: float, y: float) -> QPoint:
    place = view.viewport.to_widget(x, y)
    return QPoint(math.floor(place.x()), math.floor(place.y()))


def drag(
    view: CanvasView, points: list[tuple[float, float]], modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier
) -> None:
    QTest.mousePress(view, LEFT, modifier, at(view, *points[0]))
    for point in points[1:]:
        QTest.mouseMove(view, at(view, *point))
    QTest.mouseRelease(view, LEFT, modifier, at(view, *points[-1]))


def key(program: Program, key_: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    QTest.keyClick(program.contents.photos.view or program.window, key_, modifier)


def trigger(program: Program, id_: str) -> None:
    action = program.contents.menus.by_id[id_]
    assert action.isEnabled(), id_
    action.trigger()


def picture(workspace: Workspace) -> np.ndarray:
    return flatten(Composite.of(workspace.document.state))


def mask(workspace: Workspace) -> np.ndarray:
    tiles = workspace.document.state.mask
    return tiles.read(tiles.bounds)


def screenshot(view: CanvasView) -> np.ndarray:
    image = view.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width() * 3].reshape(image.height(), image.width(), 3).astype(int)


def pixel_at(view: CanvasView, x: int, y: int) -> np.ndarray:
    place = at(view, x + 0.5, y + 0.5)
    return screenshot(view)[place.y(), place.x()]


def heal(qtbot: QtBot, program: Program, workspace: Workspace) -> None:
    with qtbot.waitSignal(workspace.undo.indexChanged, timeout=60000):
        QTest.mouseClick(program.contents.task.button, LEFT)
    qtbot.waitUntil(lambda: not workspace.queue.busy)


def hold_tasks(monkeypatch: pytest.MonkeyPatch, name: str = "run_task") -> threading.Event:
    """Make tasks wait, after their work is done, until the returned event is set."""
    gate = threading.Event()
    real: Callable[[TaskInput, JobContext], object] = getattr(engine.tasks, name)

    def waiting(job: TaskInput, context: JobContext) -> object:
        result = real(job, context)
        assert gate.wait(60)
        return result

    monkeypatch.setattr(engine.tasks, name, waiting)
    return gate


def two_repairs(qtbot: QtBot, program: Program, workspace: Workspace, view: CanvasView) -> None:
    """Paint two strokes, and heal each on its own layer."""
    for x in (60, 200):
        drag(view, [(x, 100), (x + 50, 100)])
        with qtbot.waitSignal(workspace.undo.indexChanged, timeout=60000):
            trigger(program, "heal_new")
        qtbot.waitUntil(lambda: not workspace.queue.busy)


def click_row(view: QListView, row: int, place: QPoint) -> None:
    QTest.mouseClick(view.viewport(), LEFT, pos=place)


def combo(program: Program, name: str) -> QComboBox:
    return next(box for box in program.contents.task.findChildren(QComboBox) if box.accessibleName() == name)


def pick(program: Program, name: str, data: str) -> None:
    """Choose an entry in a list of the Repair panel, as the user does."""
    box = combo(program, name)
    row = box.findData(data)
    assert row >= 0, data
    box.setCurrentIndex(row)
    box.activated.emit(row)


def trigger_job(program: Program, id_: str) -> Ticket:
    """Trigger a command that queues a job; returns its ticket."""
    tickets: list[Ticket] = []
    program.jobs.added.connect(tickets.append)
    trigger(program, id_)
    program.jobs.added.disconnect(tickets.append)
    return next(ticket for ticket in tickets if ticket.lane is Lane.COMPUTE)
