"""After a crash, but not after a normal exit, the next start offers the unsaved work."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zlib
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
from desktop.document.autosave_folder import VERSION, AutosaveFolder
from desktop.document.opening import open_document
from desktop.document.project import OpenedFile, Snapshot
from desktop.document.recovery import autosaved_source, recover
from desktop.document.targets import REPAIR_MASK
from desktop.photo.files import Files
from desktop.photo.workspace import Workspace
from desktop.settings import SettingsStore
from engine import imageio
from engine.errors import ReadError
from engine.raster import Rect
from engine.runtime.cards import Registry
from tests.conftest import noise_raster
from tests.desktop.acting import drag, heal, hold_tasks, key, mask, open_scan, picture, trigger
from tests.document.test_edits import paint
from tests.document.test_project import layered_document, save


def autosave(qtbot: QtBot, workspace: Workspace) -> Path:
    """Autosave a photograph and wait for it; returns the autosave folder."""
    folder = workspace.autosave.folder.folder
    workspace.save_for_recovery()
    qtbot.waitUntil(lambda: (folder / "manifest.json").is_file() and not workspace.autosave.busy, timeout=10000)
    return folder


@pytest.fixture
def second(qtbot: QtBot, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch):
    """A function that starts a second program with a copy of the autosave folder that the first one left."""
    programs = []

    def start(folder: Path, answer: Recovery) -> tuple[Program, list[list[Path]]]:
        state = tmp_path / "state-after"
        shutil.copytree(folder, state / "sessions" / folder.name, ignore=shutil.ignore_patterns("*.lock"))
        asked: list[list[Path]] = []

        def ask(
            _cls: type, _parent: object, abandoned: dict[Path, Path], forgotten: dict[Path, Path]
        ) -> dict[Path, Recovery]:
            asked.append([*abandoned.values(), *forgotten.values()])
            return dict.fromkeys([*abandoned, *forgotten], answer)

        monkeypatch.setattr(RecoverDialog, "ask", classmethod(ask))
        program = Program(state, SettingsStore(tmp_path / "settings-after.ini"), registry)
        program.start([])
        programs.append(program)
        qtbot.waitUntil(lambda: program.ready and bool(program.contents.task.models))
        return program, asked

    yield start
    for program in programs:
        program.window.close()
        program.stop()
        program.window.deleteLater()


def test_autosaved_work_is_offered_and_complete(qtbot: QtBot, program: Program, scan: Path, second) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    heal(qtbot, program, workspace)
    trigger(program, "rotate_left")
    drag(view, [(20, 20), (50, 20)])
    folder = autosave(qtbot, workspace)
    other, asked = second(folder, Recovery.OPEN)
    qtbot.waitUntil(lambda: other.contents.photos.photo is not None, timeout=10000)
    recovered = other.contents.photos.photo
    assert asked == [[scan]]
    assert recovered.unsaved
    assert np.array_equal(picture(recovered), picture(workspace))
    assert np.array_equal(mask(recovered), mask(workspace))
    assert recovered.document.state.layers[0].name == workspace.document.state.layers[0].name


def test_forgotten_work_is_in_the_trash_and_comes_back_from_there(
    qtbot: QtBot, program: Program, scan: Path, second, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    other, asked = second(autosave(qtbot, workspace), Recovery.FORGET)
    assert asked
    assert not other.files.abandoned_work()
    assert other.contents.photos.photo is None
    monkeypatch.setattr(
        RecoverDialog, "ask", classmethod(lambda _cls, _parent, _here, trash: dict.fromkeys(trash, Recovery.OPEN))
    )
    trigger(other, "recover")
    qtbot.waitUntil(lambda: other.contents.photos.photo is not None, timeout=10000)
    assert np.array_equal(mask(other.contents.photos.photo), mask(workspace))
    assert not other.files.forgotten_work()


def test_a_stroke_that_waits_for_its_heal_is_recovered_as_a_part_of_the_mask(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, second, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = hold_tasks(monkeypatch)
    workspace, view = open_scan(qtbot, program, scan)
    key(program, Qt.Key.Key_J)
    drag(view, [(200, 100), (220, 100)])
    assert not mask(workspace).any()
    folder = autosave(qtbot, workspace)
    other, _ = second(folder, Recovery.OPEN)
    qtbot.waitUntil(lambda: other.contents.photos.photo is not None, timeout=10000)
    assert mask(other.contents.photos.photo)[100, 200:220].min() == 255
    gate.set()
    qtbot.waitUntil(lambda: not workspace.queue.busy and not workspace.autosave.busy, timeout=30000)
    assert not mask(workspace).any()
    other, _ = second(Path(shutil.copytree(autosave(qtbot, workspace), tmp_path / "after")), Recovery.OPEN)
    qtbot.waitUntil(lambda: other.contents.photos.photo is not None, timeout=10000)
    assert not mask(other.contents.photos.photo).any()
    assert len(other.contents.photos.photo.document.state.layers) == 1


def test_work_that_cannot_be_read_is_kept_in_the_trash(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, second
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    folder = autosave(qtbot, workspace)
    (folder / "manifest.json").write_text('{"torn')
    other, asked = second(folder, Recovery.OPEN)
    assert not asked
    kept = tmp_path / "state-after" / "trash" / folder.name
    assert sorted(path.name for path in kept.iterdir()) == ["forgotten", "manifest.json", "tiles"]
    assert not other.files.abandoned_work()


def test_work_left_for_later_is_offered_again(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, second
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    folder = autosave(qtbot, workspace)
    other, asked = second(folder, Recovery.LATER)
    assert asked == [[scan]]
    assert other.contents.photos.photo is None
    other.window.close()
    other.stop()
    assert list(other.files.abandoned_work().values()) == [scan]


def test_the_dialog_sorts_work_into_open_later_and_forgotten(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Questions, "forget", classmethod(lambda *_: True))
    found = {tmp_path / name: Path(f"/scans/{name}.tif") for name in ("one", "two")}
    for button, answer in (
        ("open_button", Recovery.OPEN),
        ("forget_button", Recovery.FORGET),
        ("later_button", Recovery.LATER),
    ):
        dialog = RecoverDialog(program.window, found)
        dialog._list.item(1).setCheckState(Qt.CheckState.Unchecked)
        QTest.mouseClick(getattr(dialog, button), Qt.MouseButton.LeftButton)
        assert list(dialog.answers().values()) == [answer, Recovery.LATER]
        dialog.deleteLater()


def test_the_dialog_stays_when_nothing_is_to_be_forgotten_after_all(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[list[str]] = []
    monkeypatch.setattr(
        Questions, "forget", classmethod(lambda _cls, _parent, names, _days: named.append(names) and False)
    )
    here, trash = ({tmp_path / name: Path(f"/scans/{name}.tif")} for name in ("here", "trash"))
    dialog = RecoverDialog(program.window, here, trash)
    dialog.show()
    dialog._list.item(1).setCheckState(Qt.CheckState.Checked)
    QTest.mouseClick(dialog.forget_button, Qt.MouseButton.LeftButton)
    assert named == [["here.tif"]]
    assert dialog.isVisible()
    assert set(dialog.answers().values()) == {Recovery.LATER}
    dialog._list.item(0).setCheckState(Qt.CheckState.Unchecked)
    assert dialog.open_button.isEnabled()
    assert not dialog.forget_button.isEnabled()
    dialog.close()
    dialog.deleteLater()


def test_a_second_program_leaves_open_photographs_alone(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, registry: Registry
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    folder = autosave(qtbot, workspace)
    beside = Files(program.jobs, registry, tmp_path / "state")
    assert beside.abandoned_work() == {}
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


def test_work_done_during_a_save_stays_autosaved(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: tmp_path / "work.ora"))
    with qtbot.waitSignal(program.files.written):
        trigger(program, "save")
        drag(view, [(20, 20), (50, 20)])
        workspace.save_for_recovery()
    other, _ = second(autosave(qtbot, workspace), Recovery.OPEN)
    qtbot.waitUntil(lambda: other.contents.photos.photo is not None, timeout=10000)
    assert np.array_equal(mask(other.contents.photos.photo), mask(workspace))


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
        workspace.save_for_recovery()
    other, _ = second(autosave(qtbot, workspace), Recovery.OPEN)
    qtbot.waitUntil(lambda: other.contents.photos.photo is not None, timeout=10000)
    recovered = other.contents.photos.photo
    assert np.array_equal(mask(recovered), mask(workspace))
    assert np.array_equal(picture(recovered), picture(workspace))
    # Saving asks for a name: it may have been saved under another one before the crash.
    assert recovered.project is None


def test_a_scan_that_was_replaced_while_open_gets_no_layers_of_the_old_one(
    qtbot: QtBot, program: Program, scan: Path, second
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    imageio.write(noise_raster(dtype=np.uint8), scan)
    drag(view, [(150, 150), (260, 170)])
    other, _ = second(autosave(qtbot, workspace), Recovery.OPEN)
    qtbot.waitUntil(lambda: "was changed" in other.contents.strip.text, timeout=10000)
    assert other.contents.photos.photo is None


def test_an_older_snapshot_does_not_replace_a_newer_one(tmp_path: Path) -> None:
    document = open_document(save(layered_document(), tmp_path / "p.ora"))
    session = AutosaveFolder(tmp_path / "session")
    opened = OpenedFile(tmp_path / "p.ora", document.stamp)
    base = Snapshot(document.state, None, None, document.metadata, opened=opened)
    paint(document, REPAIR_MASK, Rect(100, 100, 150, 150), 77).apply(document)
    session.autosave(replace(base, state=document.state, number=2))
    session.autosave(replace(base, number=1))
    tiles = recover(session.folder).document.state.mask
    assert (tiles.read(Rect(100, 100, 150, 150)) == 77).all()


def test_undone_work_is_not_offered(qtbot: QtBot, program: Program, scan: Path, second) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    folder = autosave(qtbot, workspace)
    trigger(program, "undo")
    workspace.save_for_recovery()
    qtbot.waitUntil(lambda: not (folder / "manifest.json").exists(), timeout=10000)
    trigger(program, "redo")
    other, _ = second(autosave(qtbot, workspace), Recovery.OPEN)
    qtbot.waitUntil(lambda: other.contents.photos.photo is not None, timeout=10000)
    assert np.array_equal(mask(other.contents.photos.photo), mask(workspace))


def test_tiles_that_no_autosave_needs_are_deleted(qtbot: QtBot, program: Program, scan: Path) -> None:
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
    workspace.save_for_recovery()
    drag(view, [(20, 20), (50, 20)])
    other, _ = second(autosave(qtbot, workspace), Recovery.OPEN)
    qtbot.waitUntil(lambda: other.contents.photos.photo is not None, timeout=10000)
    assert np.array_equal(mask(other.contents.photos.photo), mask(workspace))


@pytest.mark.parametrize("harm", ["gone", "changed", "newer", "manifest"])
def test_work_that_cannot_be_recovered_is_reported_and_kept(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, second, harm: str
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    folder = autosave(qtbot, workspace)
    if harm == "gone":
        scan.unlink()
    elif harm == "changed":
        imageio.write(noise_raster(50, 50), scan)
    else:
        text, version = (folder / "manifest.json").read_text(), f'"version": {VERSION}'
        assert version in text
        harmed = text.replace(version, f'"version": {VERSION + 1}' if harm == "newer" else version)
        (folder / "manifest.json").write_text(harmed if harm == "newer" else text.replace('"layers"', '"lawyers"'))
    other, _ = second(folder, Recovery.OPEN)
    expected = {"gone": "is not at", "changed": "was changed", "newer": "newer version", "manifest": "damaged"}[harm]
    qtbot.waitUntil(lambda: expected in other.contents.strip.text, timeout=10000)
    assert other.contents.photos.photo is None
    # The work is still there for another try.
    other.window.close()
    other.stop()
    assert (tmp_path / "state-after" / "sessions" / folder.name / "manifest.json").is_file()


def test_only_a_damaged_tile_is_lost(qtbot: QtBot, program: Program, scan: Path, second) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    folder = autosave(qtbot, workspace)
    cells = json.loads((folder / "manifest.json").read_text())["mask"]
    assert len(cells) == 2
    (folder / "tiles" / f"{cells['0,0']}.z").write_bytes(b"")
    other, _ = second(folder, Recovery.OPEN)
    qtbot.waitUntil(lambda: "1 of the autosaved parts" in other.contents.strip.text, timeout=10000)
    recovered = other.contents.photos.photo
    assert recovered is not None
    assert not mask(recovered)[:, :256].any()
    assert np.array_equal(mask(recovered)[:, 256:], mask(workspace)[:, 256:])


def test_an_incomplete_tile_file_is_written_again(qtbot: QtBot, program: Program, scan: Path, second) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (200, 170)])
    folder = autosave(qtbot, workspace)
    (tile,) = (folder / "tiles").glob("*.z")
    whole = tile.read_bytes()
    # As after a power cut: the file exists, but its contents are incomplete.
    tile.write_bytes(whole[: len(whole) // 2])
    beside = AutosaveFolder(folder)
    assert beside.put(workspace.document.state.mask.stored[0, 0]) == tile.stem
    assert tile.read_bytes() == whole
    tile.write_bytes(zlib.compress(b"something else"))
    with pytest.raises(ReadError, match="damaged"):
        AutosaveFolder(folder).get(tile.stem)


def test_a_copied_or_touched_scan_is_still_the_same(qtbot: QtBot, program: Program, scan: Path, second) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    folder = autosave(qtbot, workspace)
    os.utime(scan, (1_000_000_000, 1_000_000_000))
    other, _ = second(folder, Recovery.OPEN)
    qtbot.waitUntil(lambda: other.contents.photos.photo is not None, timeout=10000)
    assert np.array_equal(mask(other.contents.photos.photo), mask(workspace))


def test_a_normal_exit_leaves_no_autosave_folder(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    autosave(qtbot, workspace)
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: Closing.DISCARD))
    program.window.close()
    program.stop()
    assert not list((tmp_path / "state" / "sessions").glob("*"))


PAINTING = """
import sys
from pathlib import Path
from PySide6.QtCore import QTimer
import desktop.app
from desktop.document.edits import Paint
from desktop.document.targets import REPAIR_MASK
from engine.raster import Rect

class Painting(desktop.app.Program):
    def start(self, paths, **options):
        super().start(paths, **options)
        self.timer = QTimer()
        self.timer.timeout.connect(self.paint)
        self.timer.start(50)

    def paint(self):
        photo = self.contents.photos.photo if self.ready else None
        if photo is None:
            return
        if not photo.undo.count():
            edit = photo.document.state.mask.edit()
            edit.change(Rect(10, 10, 60, 60), lambda view, _: view.fill(255))
            photo.push(Paint("Brush", REPAIR_MASK, edit.commit()))
            if "autosave" in sys.argv:
                photo.save_for_recovery()
        elif not photo.autosave.busy:
            self.timer.stop()
            print("painted", flush=True)

desktop.app.Program = Painting
sys.exit(desktop.app.run([sys.argv[1]]))
"""


@pytest.mark.parametrize(
    ("end", "first"), [("SIGKILL", "autosave"), ("SIGTERM", ""), ("SIGHUP", ""), ("SIGINT", "")], ids=lambda word: word
)
def test_however_the_program_ends_the_next_start_offers_the_work(
    qtbot: QtBot,
    scan: Path,
    tmp_path: Path,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
    first: str,
) -> None:
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen", "XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", PAINTING, str(scan), first],
        env=environment | {"XDG_CONFIG_HOME": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "painted"
        process.send_signal(getattr(signal, end))
        _, said = process.communicate(timeout=30)
        assert process.returncode == (-signal.SIGKILL if end == "SIGKILL" else 1)
        assert "Traceback" not in said
    answer = classmethod(lambda _cls, _parent, found, _trash: dict.fromkeys(found, Recovery.OPEN))
    monkeypatch.setattr(RecoverDialog, "ask", answer)
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: Closing.DISCARD))
    program = Program(tmp_path / "lacuna", SettingsStore(tmp_path / "settings.ini"), registry)
    program.start([])
    qtbot.waitUntil(lambda: program.ready and program.contents.photos.photo is not None, timeout=20000)
    assert mask(program.contents.photos.photo)[10:60, 10:60].min() == 255
    program.window.close()
    program.stop()
    program.window.deleteLater()
