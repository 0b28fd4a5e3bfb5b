"""Long edits run in jobs; the memory of undo steps is counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

import desktop.photo.editor
import desktop.photo.workspace
from desktop.app import Program
from desktop.dialogs.export import FileDialogs
from desktop.document.edits import AddLayer, Paint
from desktop.document.model import State
from desktop.document.targets import REPAIR_MASK
from desktop.photo.undo_memory import UndoMemory
from desktop.photo.workspace import Workspace
from desktop.work.threads import Lane, Ticket
from engine import imageio
from engine.jobs import JobContext
from engine.raster import Rect
from engine.tiles import TileDelta
from tests.desktop.acting import drag, key, mask, open_scan, picture, trigger
from tests.document.test_edits import filled_layer


@pytest.fixture
def changes_are_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every edit is large enough for a job."""
    monkeypatch.setattr(desktop.photo.editor, "AT_ONCE", -1)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """An event; until it is set, jobs wait in their progress steps."""
    gate, progress = threading.Event(), JobContext.progress

    def held(self: JobContext, share: float, step: str = "") -> None:
        while self._report is not None and not gate.wait(0.01):
            self.check()
        progress(self, share, step)

    monkeypatch.setattr(JobContext, "progress", held)
    yield gate
    gate.set()


def two_layers(workspace: Workspace) -> None:
    for number, rect in enumerate((Rect(0, 0, 300, 200), Rect(100, 50, 400, 300))):
        workspace.push(AddLayer("add", filled_layer(workspace.document, rect, number, 200), number))
    workspace.undo.setClean()


def wait_until_idle(qtbot: QtBot, workspace: Workspace) -> None:
    qtbot.waitUntil(lambda: not [t for t in workspace._tickets if t.urgency], timeout=10000)


@pytest.mark.usefixtures("changes_are_jobs")
def test_merging_and_turning_are_jobs_with_the_same_result(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, _ = open_scan(qtbot, program, scan)
    two_layers(workspace)
    before = picture(workspace)
    trigger(program, "layer_merge")
    assert len(workspace.document.state.layers) == 2, "not yet"
    qtbot.waitUntil(lambda: len(workspace.document.state.layers) == 1)
    assert np.array_equal(picture(workspace), before)
    assert workspace.active is workspace.document.state.layers[0]
    trigger(program, "rotate_left")
    qtbot.waitUntil(lambda: workspace.document.state.geometry.quarters == 1)
    assert np.array_equal(picture(workspace), np.rot90(before))
    trigger(program, "undo")
    trigger(program, "undo")
    assert np.array_equal(picture(workspace), before)
    assert len(workspace.document.state.layers) == 2


@pytest.mark.usefixtures("changes_are_jobs")
@pytest.mark.parametrize("command", ["layer_merge", "rotate_half", "mask_load"])
def test_long_edits_can_be_cancelled(
    qtbot: QtBot,
    program: Program,
    scan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gate: threading.Event,
    command: str,
) -> None:
    gate.set()
    workspace, _ = open_scan(qtbot, program, scan)
    two_layers(workspace)
    steps, before = workspace.undo.count(), workspace.document.state
    imageio.write_mask(np.full((300, 400), 255, np.uint8), tmp_path / "mask.png")
    monkeypatch.setattr(FileDialogs, "open_mask", classmethod(lambda *_: tmp_path / "mask.png"))
    gate.clear()
    trigger(program, command)
    (ticket,) = [ticket for ticket in workspace._tickets if ticket.urgency]
    qtbot.waitUntil(lambda: ticket.state.name == "RUNNING")
    ticket.cancel()
    wait_until_idle(qtbot, workspace)
    gate.set()
    assert workspace.undo.count() == steps
    assert workspace.document.state.same_work(before)


@pytest.mark.usefixtures("changes_are_jobs")
def test_what_is_painted_during_a_rotation_is_rotated_too(
    qtbot: QtBot, program: Program, scan: Path, gate: threading.Event
) -> None:
    gate.set()
    workspace, view = open_scan(qtbot, program, scan)
    two_layers(workspace)
    gate.clear()
    trigger(program, "rotate_half")
    qtbot.waitUntil(lambda: any(ticket.state.name == "RUNNING" for ticket in workspace._tickets))
    drag(view, [(60, 100), (110, 100)])
    painted = mask(workspace)
    assert painted.any()
    gate.set()
    qtbot.waitUntil(lambda: workspace.document.state.geometry.quarters == 2, timeout=10000)
    assert np.array_equal(mask(workspace), painted[::-1, ::-1])


def test_a_cancelled_preparation_of_the_view_is_not_repeated(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def endless(_state: State, context: JobContext) -> None:
        begun.set()
        while True:
            context.check()

    monkeypatch.setattr(desktop.photo.workspace, "_make_reductions", endless)
    tickets: list[Ticket] = []
    program.jobs.added.connect(lambda ticket: tickets.append(ticket) if ticket.lane is Lane.IO else None)
    with qtbot.waitSignal(program.files.opened, timeout=20000):
        program.contents.photos.open([scan])
    qtbot.waitUntil(begun.is_set)
    ticket = tickets[-1]
    assert ticket.title == "Preparing the view"
    with qtbot.waitSignal(ticket.ended):
        ticket.cancel()
    # Whatever comes now comes before what is asked for after it.
    with qtbot.waitSignal(program.jobs.submit("after", Lane.IO, lambda: lambda _: None).done):
        pass
    assert [ticket.title for ticket in tickets[1:]] == ["Preparing the view", "after"]


def test_ctrl_y_redoes_and_the_scan_can_be_hidden(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    workspace.push(AddLayer("add", filled_layer(workspace.document, Rect(100, 100, 140, 140)), 0))
    trigger(program, "undo")
    key(program, Qt.Key.Key_Y, Qt.KeyboardModifier.ControlModifier)
    assert workspace.document.state.layers
    shown, exported = view.grab().toImage(), picture(workspace)
    trigger(program, "scan")
    assert workspace.scan_hidden
    assert not workspace.unsaved or workspace.undo.count() == 1
    image = view.grab().toImage()
    beside, inside = (view.viewport.to_widget(x, 120).toPoint() for x in (300, 120))
    grey = image.pixelColor(beside)
    assert grey.red() == grey.green() == grey.blue()
    assert abs(grey.red() - 128) <= 1
    assert image.pixelColor(inside) == shown.pixelColor(inside)
    assert np.array_equal(picture(workspace), exported), "it is only out of sight"
    trigger(program, "scan")
    assert view.grab().toImage().pixelColor(beside) == shown.pixelColor(beside)


# -- what undo holds ----------------------------------------------------------------------------------------------


class Step:
    """A step that holds a number of bytes."""

    def __init__(self, size: int, *, saved: bool) -> None:
        tile = np.arange(size, dtype=np.uint8)[None]
        delta = TileDelta({(0, 0): (None, tile)} if size else {})
        self.edit = Paint("paint", REPAIR_MASK, delta)
        self.edit.saved = saved


@given(st.lists(st.tuples(st.sampled_from(["add", "truncate", "refresh", "take"]), st.integers(0, 200), st.booleans())))
def test_the_counted_memory_is_that_of_the_steps(moves: list[tuple[str, int, bool]]) -> None:
    memory, steps, taken = UndoMemory(), [], []
    for move, number, saved in moves:
        if move == "add":
            steps.append(Step(number, saved=saved))
            memory.add(steps[-1])
        elif move == "truncate":
            del steps[number % (len(steps) + 1) :]
            memory.truncate(len(steps))
        elif move == "refresh" and steps:
            steps[-1].edit = Step(number, saved=saved).edit
            memory.refresh_last()
        elif move == "take":
            taken += memory.take_oldest(number)
    held = [delta for step in steps for delta in step.edit.deltas() if not any(delta is other for other in taken)]
    assert memory.nbytes == sum(delta.nbytes for delta in held)
    for one in range(len(steps) + 1):
        for other in range(one, len(steps) + 1):
            assert memory.changes_saved_work(one, other) == any(step.edit.saved for step in steps[one:other])
