"""Every model that ships, chosen in the window and run on a scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.dialogs.export import FileDialogs
from engine.runtime.cards import SHIPPED, Registry, read_card
from engine.tasks import TASKS
from tests import tiny_models
from tests.desktop.acting import combo, drag, mask, open_scan, pick, picture

OFFERED = [path.parent.name for path in sorted(SHIPPED.glob("*/card.toml")) if TASKS[read_card(path).task].repairs]
"""Models that the Repair panel offers."""


@pytest.mark.parametrize("id_", OFFERED)
def test_a_shipped_model_runs_in_the_window(
    id_: str, qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Registry(user_folder=scan.parent / "none").card(id_)
    task = TASKS[card.task]
    workspace, view = open_scan(qtbot, program, scan)
    before = picture(workspace)
    if task.wants_mask:
        drag(view, [(60, 80), (90, 80)])
    painted = mask(workspace) > 0
    pick(program, "Task", card.task)
    pick(program, "Model", id_)
    if task.gives == "picture":
        monkeypatch.setattr(FileDialogs, "save_picture", classmethod(lambda *_: scan.with_name("large.tif")))
    QTest.mouseClick(program.contents.task.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=120000)
    if task.gives == "findings":
        # Findings are listed and do not change the picture.
        assert np.array_equal(picture(workspace), before)
        return
    if task.gives == "picture":
        qtbot.waitUntil(lambda: program.contents.photos.photo is not workspace, timeout=20000)
        scale, large = card.tile.scale, program.contents.photos.photo
        assert large is not None
        assert picture(large).shape == (before.shape[0] * scale, before.shape[1] * scale, before.shape[2])
        assert not workspace.document.state.layers
        return
    (layer,) = workspace.document.state.layers
    assert layer.made_by[0].model == id_
    after = picture(workspace)
    assert (after != before).any()
    if task.wants_mask:
        # The panel feathers by two pixels.
        far = ~_around(painted, 4)
        assert np.array_equal(after[far], before[far])
    workspace.undo.undo()
    assert np.array_equal(picture(workspace), before)


def test_a_model_that_finds_faces_is_no_repair(qtbot: QtBot, program: Program, scan: Path) -> None:
    open_scan(qtbot, program, scan)
    panel, registry = program.contents.task, program.contents.context.registry
    tiny_models.spotter(scan.parent / "models")
    panel.load()
    tasks = combo(program, "Task")
    assert {registry.cards(id_) != [] for id_ in TASKS} == {True}
    assert {tasks.itemData(row) for row in range(tasks.count())} == TASKS.keys() - {"faces"}


def _around(painted: np.ndarray, reach: int) -> np.ndarray:
    """The bounding box of a mask, enlarged by ``reach`` pixels on each side, as a boolean array."""
    rows, columns = np.nonzero(painted)
    near = np.zeros_like(painted)
    top, left = max(0, rows.min() - reach), max(0, columns.min() - reach)
    near[top : rows.max() + reach + 1, left : columns.max() + reach + 1] = True
    return near
