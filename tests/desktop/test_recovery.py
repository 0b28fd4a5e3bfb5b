"""After a crash the next start offers the work; after a proper end it does not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.dialogs.export import FileDialogs
from desktop.dialogs.questions import Closing, Questions
from desktop.dialogs.recover import RecoverDialog, Recovery
from desktop.document.project import OpenedFile, Snapshot
from desktop.document.autosave_folder import AutosaveFolder, autosaved_source, open_document, recover
from desktop.photo.files import Files
from desktop.settings import SettingsStore
from desktop.photo.workspace import Workspace
from engine import imageio
from engine.raster import Rect
from engine.runtime.cards import Registry
from tests.conftest import noise_raster
from tests.desktop.acting import drag, heal, mask, open_scan, picture, trigger
from tests.document.test_edits import paint
from tests.document.test_project import layered, save


def autosave(qtbot: QtBot, workspace: Workspace) -> Path:
    """Autosave, and a copy of the session folder as a crash would leave it."""
    folder = workspace.keeper.session.folder
    workspace.autosave()
    qtbot.waitUntil(lambda: (folder / "manifest.json").is_file() and not workspace.keeper.busy, timeout=10000)
    return folder


@pytest.fixture
def second(qtbot: QtBot, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch):
    """Starts a second program over the sessions that a crashed one left."""
    programs = []

    def start(folder: Path, answer: Recovery) -> tuple[Program, list[list[Path]]]:
        state = tmp_path / "state-after"
        shutil.copytree(folder, state / "sessions" / folder.name, ignore=shutil.ignore_patterns("*.lock"))
        asked: list[list[Path]] = []

        def ask(_cls: type, _parent: object, abandoned: dict[Path, Path]) -> dict[Path, Recovery]:
            asked.append(list(abandoned.values()))
            return dict.fromkeys(abandoned, answer)

        monkeypatch.setattr(RecoverDialog, "ask", classmethod(ask))
        program = Program(state, SettingsStore(tmp_path / "settings-after.ini"), registry)
        program.start([])
        programs.append(program)
        qtbot.waitUntil(lambda: program.furnished and bool(program.window.task.models))
        return program, asked

    yield start
    for program in programs:
        program.shell.close()
        program.stop()
        program.shell.deleteLater()


def test_autosaved_work_is_offered_and_complete(qtbot: QtBot, program: Program, scan: Path, second) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    heal(qtbot, program, workspace)
    trigger(program, "rotate_left")
    drag(view, [(20, 20), (50, 20)])
    folder = autosave(qtbot, workspace)
    other, asked = second(folder, Recovery.OPEN)
    qtbot.waitUntil(lambda: other.window.workspace is not None, timeout=10000)
    recovered = other.window.workspace
    assert asked == [[scan]]
    assert recovered.unsaved
    assert np.array_equal(picture(recovered), picture(workspace))
    assert np.array_equal(mask(recovered), mask(workspace))
    assert recovered.document.state.layers[0].name == workspace.document.state.layers[0].name


def test_refused_work_is_forgotten(qtbot: QtBot, program: Program, scan: Path, second) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    other, asked = second(autosave(qtbot, workspace), Recovery.FORGET)
    assert asked
    assert not other.files.abandoned()
    assert other.window.workspace is None


def test_work_left_for_later_is_offered_again(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, second
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    folder = autosave(qtbot, workspace)
    other, asked = second(folder, Recovery.LATER)
    assert asked == [[scan]]
    assert other.window.workspace is None
    other.shell.close()
    other.stop()
    assert list(other.files.abandoned().values()) == [scan]


def test_the_dialog_sorts_work_into_open_later_and_forgotten(program: Program, tmp_path: Path) -> None:
    found = {tmp_path / name: Path(f"/scans/{name}.tif") for name in ("one", "two")}
    for button, answer in (
        ("open_button", Recovery.OPEN),
        ("forget_button", Recovery.FORGET),
        ("later_button", Recovery.LATER),
    ):
        dialog = RecoverDialog(program.shell, found)
        dialog._list.item(1).setCheckState(Qt.CheckState.Unchecked)
        QTest.mouseClick(getattr(dialog, button), Qt.MouseButton.LeftButton)
        assert list(dialog.answers().values()) == [answer, Recovery.LATER]
        dialog.deleteLater()


def test_a_second_program_leaves_open_photographs_alone(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, registry: Registry
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    folder = autosave(qtbot, workspace)
    beside = Files(program.jobs, registry, tmp_path / "state" / "sessions")
    assert beside.abandoned() == {}
    assert (folder / "manifest.json").is_file()


def test_saved_work_is_not_offered_again(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    folder = autosave(qtbot, workspace)
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: tmp_path / "work.ora"))
    trigger(program, "save")
    qtbot.waitUntil(lambda: not (folder / "manifest.json").exists(), timeout=10000)
    assert autosaved_source(folder) is None
    drag(view, [(20, 20), (50, 20)])
    assert autosave(qtbot, workspace) == folder


def test_work_that_was_autosaved_behind_a_save_stays(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: tmp_path / "work.ora"))
    with qtbot.waitSignal(program.files.written):
        trigger(program, "save")
        drag(view, [(20, 20), (50, 20)])
        workspace.autosave()
    other, _ = second(autosave(qtbot, workspace), Recovery.OPEN)
    qtbot.waitUntil(lambda: other.window.workspace is not None, timeout=10000)
    assert np.array_equal(mask(other.window.workspace), mask(workspace))


@pytest.mark.parametrize("turn", [None, "rotate_half"])
def test_a_project_that_is_saved_over_while_it_is_changed_is_recovered_as_it_is(
    qtbot: QtBot,
    program: Program,
    scan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    second,
    turn: str | None,
) -> None:
    project = tmp_path / "work.ora"
    open_scan(qtbot, program, scan)
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: project))
    with qtbot.waitSignal(program.files.written):
        trigger(program, "save")
    trigger(program, "close")
    workspace, view = open_scan(qtbot, program, project)
    drag(view, [(150, 150), (260, 170)])
    if turn is not None:
        trigger(program, turn)
    with qtbot.waitSignal(program.files.written):
        trigger(program, "save")
        drag(view, [(20, 20), (50, 20)])
        workspace.autosave()
    other, _ = second(autosave(qtbot, workspace), Recovery.OPEN)
    qtbot.waitUntil(lambda: other.window.workspace is not None, timeout=10000)
    recovered = other.window.workspace
    assert np.array_equal(mask(recovered), mask(workspace))
    assert np.array_equal(picture(recovered), picture(workspace))
    # It may have been saved elsewhere before the crash, so it asks where.
    assert recovered.project is None


def test_a_scan_that_was_replaced_while_open_gets_no_layers_of_the_old_one(
    qtbot: QtBot, program: Program, scan: Path, second
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    imageio.write(noise_raster(dtype=np.uint8), scan)
    drag(view, [(150, 150), (260, 170)])
    other, _ = second(autosave(qtbot, workspace), Recovery.OPEN)
    qtbot.waitUntil(lambda: "was changed" in other.window.strip.text, timeout=10000)
    assert other.window.workspace is None


def test_saving_in_trouble_wins_over_an_autosave_that_is_under_way(tmp_path: Path) -> None:
    document = open_document(save(layered(), tmp_path / "p.ora"))
    session = AutosaveFolder(tmp_path / "session")
    opened = OpenedFile(tmp_path / "p.ora", document.stamp)
    base = Snapshot(document.state, None, None, document.metadata, opened=opened)
    paint(document, None, Rect(100, 100, 150, 150), 77).apply(document)
    session.autosave(replace(base, state=document.state, number=2))
    session.autosave(replace(base, number=1))
    tiles = recover(session.folder).document.state.mask
    assert (tiles.read(Rect(100, 100, 150, 150)) == 77).all()


def test_work_that_was_taken_back_is_not_offered(qtbot: QtBot, program: Program, scan: Path, second) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    folder = autosave(qtbot, workspace)
    trigger(program, "undo")
    workspace.autosave()
    qtbot.waitUntil(lambda: not (folder / "manifest.json").exists(), timeout=10000)
    trigger(program, "redo")
    other, _ = second(autosave(qtbot, workspace), Recovery.OPEN)
    qtbot.waitUntil(lambda: other.window.workspace is not None, timeout=10000)
    assert np.array_equal(mask(other.window.workspace), mask(workspace))


def test_what_no_autosave_needs_any_more_is_tidied_away(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    folder = autosave(qtbot, workspace)
    first = set((folder / "tiles").iterdir())
    drag(view, [(150, 150), (260, 200)])
    autosave(qtbot, workspace)
    named = json.loads((folder / "manifest.json").read_text())["mask"].values()
    assert first
    assert {path.stem for path in (folder / "tiles").iterdir()} == set(named)


def test_what_changes_during_an_autosave_is_saved_after_it(qtbot: QtBot, program: Program, scan: Path, second) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    workspace.autosave()
    drag(view, [(20, 20), (50, 20)])
    other, _ = second(autosave(qtbot, workspace), Recovery.OPEN)
    qtbot.waitUntil(lambda: other.window.workspace is not None, timeout=10000)
    assert np.array_equal(mask(other.window.workspace), mask(workspace))


@pytest.mark.parametrize("harm", ["gone", "changed", "tile", "manifest"])
def test_work_that_cannot_be_recovered_is_said_and_kept(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, second, harm: str
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    folder = autosave(qtbot, workspace)
    if harm == "gone":
        scan.unlink()
    elif harm == "changed":
        imageio.write(noise_raster(50, 50), scan)
    elif harm == "tile":
        for tile in (folder / "tiles").glob("*.z"):
            tile.write_bytes(b"broken")
    else:
        text = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(text.replace('"layers"', '"lawyers"'))
    other, _ = second(folder, Recovery.OPEN)
    expected = {"gone": "is not at", "changed": "was changed", "tile": "damaged", "manifest": "damaged"}[harm]
    qtbot.waitUntil(lambda: expected in other.window.strip.text, timeout=10000)
    assert other.window.workspace is None
    # The work is still there for another try.
    other.shell.close()
    other.stop()
    assert (tmp_path / "state-after" / "sessions" / folder.name / "manifest.json").is_file()


def test_a_copied_or_touched_scan_is_still_the_same(qtbot: QtBot, program: Program, scan: Path, second) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    folder = autosave(qtbot, workspace)
    os.utime(scan, (1_000_000_000, 1_000_000_000))
    other, _ = second(folder, Recovery.OPEN)
    qtbot.waitUntil(lambda: other.window.workspace is not None, timeout=10000)
    assert np.array_equal(mask(other.window.workspace), mask(workspace))


def test_a_proper_end_leaves_no_session(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    autosave(qtbot, workspace)
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: Closing.DISCARD))
    program.shell.close()
    program.stop()
    assert not list((tmp_path / "state" / "sessions").glob("*"))


KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from desktop.app import Program
from desktop.document.project import OpenedFile, Snapshot
from desktop.document.autosave_folder import AutosaveFolder, autosaved_source, open_document, recover
from desktop.photo.files import Files
from desktop.dialogs.export import FileDialogs
from desktop.settings import SettingsStore
import numpy as np
from engine.raster import Rect
from desktop.document.edits import PaintMask
state, scan = Path(sys.argv[1]), Path(sys.argv[2])
app = QApplication([])
program = Program(state, SettingsStore(state / "settings.ini"))
program.start([scan])
def paint():

    workspace = program.window.workspace if program.furnished else None
    if workspace is None:
        return
    timer.stop()
    edit = workspace.document.state.mask.edit()
    edit.change(Rect(10, 10, 60, 60), lambda view, _: view.fill(255))
    workspace.push(PaintMask("Brush", None, edit.commit()))
    workspace.autosave()
    def saved():
        if not workspace.keeper.busy:
            print("saved", flush=True)
    check.timeout.connect(saved)
    check.start(50)
timer, check = QTimer(), QTimer()
timer.timeout.connect(paint)
timer.start(50)
app.exec()
"""


def test_after_kill_9_the_next_start_offers_the_work(
    qtbot: QtBot, scan: Path, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "killed"
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(state), str(scan)],
        env=environment,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "saved"
        process.send_signal(signal.SIGKILL)
    answer = classmethod(lambda _cls, _parent, found: dict.fromkeys(found, Recovery.OPEN))
    monkeypatch.setattr(RecoverDialog, "ask", answer)
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: Closing.DISCARD))
    program = Program(state, SettingsStore(state / "settings.ini"), registry)
    program.start([])
    qtbot.waitUntil(lambda: program.furnished and program.window.workspace is not None, timeout=20000)
    assert mask(program.window.workspace)[10:60, 10:60].min() == 255
    program.shell.close()
    program.stop()
    program.shell.deleteLater()
