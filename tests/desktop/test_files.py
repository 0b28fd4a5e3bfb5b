"""Export, projects, closing, rotating."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

import desktop.photo.files
from desktop.app import Program
from desktop.dialogs.export import ExportDialog, FileDialogs
from desktop.dialogs.questions import Closing, Questions
from desktop.document.project import Snapshot
from engine import colour, imageio
from engine.imageio import WriteOptions
from engine.jobs import JobContext
from engine.output import Output
from engine.runtime.session import SESSIONS, Device
from tests.conftest import noise_raster
from tests.desktop.acting import drag, heal, mask, open_scan, picture, trigger
from tests.document.test_project import layered_document, rewrite, save


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
    program.store.settings.repair.of("heal").values["feather"] = 0.0
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
    trigger(program, "export")
    assert "Choose another name" in program.contents.strip.text
    assert not program.files.writing
    assert scan.read_bytes() == data


def test_the_export_dialog_says_what_will_happen(qtbot: QtBot, program: Program, scan: Path, tmp_path: Path) -> None:
    dialog = ExportDialog(program.window, [scan], 16, tmp_path / "out.tif")
    assert dialog._export.isEnabled()
    assert "bit for bit" in dialog._note.text()
    dialog._path.setText(str(tmp_path / "out.jpg"))
    assert "re-encoded" in dialog._note.text()
    assert dialog.choice().options == WriteOptions(depth=None, quality=92, lossless=True)
    for impossible in (scan, "~nobody-at-all/x.tif", "x" * 300 + ".tif", "nul\0.tif"):
        dialog._path.setText(str(impossible))
        assert not dialog._export.isEnabled()
    dialog._path.setText(str(tmp_path / "nowhere" / "out.tif"))
    assert not dialog._export.isEnabled()
    dialog.deleteLater()


def test_an_export_whose_record_would_have_too_long_a_name_is_refused_before_the_work(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("a" * 244 + ".tif")
    dialog = ExportDialog(program.window, [scan], 16, long)
    assert not dialog._export.isEnabled()
    assert "record" in dialog._note.text()
    dialog._record.setChecked(False)
    assert dialog._export.isEnabled()
    dialog.deleteLater()
    open_scan(qtbot, program, scan)
    monkeypatch.setattr(ExportDialog, "ask", classmethod(lambda *_: Output(long)))
    monkeypatch.setattr(FileDialogs, "save_picture", classmethod(lambda *_: long))
    jobs: list[object] = []
    program.jobs.added.connect(jobs.append)
    for id_ in ("export", "enlarge_2"):
        program.contents.strip._clear()
        trigger(program, id_)
        assert "too long for the record" in program.contents.strip.text
    assert not jobs


def test_the_export_dialog_never_writes_over_its_profile(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "screen.tif"
    profile.write_bytes(colour.srgb())
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(profile), ""))
    dialog = ExportDialog(program.window, [scan], 16, profile)
    assert dialog._export.isEnabled()
    dialog._profile.setCurrentIndex(2)
    dialog._profile.activated.emit(2)
    assert not dialog._export.isEnabled()
    dialog.deleteLater()


def test_the_export_dialog_measures_the_size(qtbot: QtBot, program: Program, scan: Path, tmp_path: Path) -> None:
    workspace, _ = open_scan(qtbot, program, scan)
    target = tmp_path / "out.tif"
    measure = lambda output: program.files.measure(workspace, output)  # noqa: E731
    dialog = ExportDialog(program.window, [scan], 16, target, measure)
    qtbot.waitUntil(lambda: "MB" in dialog._size.text(), timeout=10000)
    assert dialog._size.text() == f"{scan.stat().st_size / 1e6:.1f} MB"
    dialog._path.setText(str(tmp_path / "out.jpg"))
    assert dialog._size.text() == ""
    dialog.reject()
    assert not target.exists()
    dialog.deleteLater()


def test_an_export_is_measured_in_the_session_folder_which_goes_also_after_a_kill(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _ = open_scan(qtbot, program, scan)
    places: list[Path] = []
    real = desktop.photo.files.export

    def noted(snapshot: Snapshot, output: Output, command: str, context: JobContext) -> tuple[str, ...]:
        places.append(output.path)
        return real(snapshot, output, command, context)

    monkeypatch.setattr(desktop.photo.files, "export", noted)
    with qtbot.waitSignal(program.files.measure(workspace, Output(tmp_path / "out.png")).done):
        pass
    folder = workspace.autosave.folder.folder
    assert [place.parent for place in places] == [folder]
    assert not list(folder.iterdir())


def test_undo_steps_beyond_the_memory_go_to_the_session_folder_and_still_work(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("desktop.photo.autosave.UNDO_BYTES", 100_000)
    workspace, view = open_scan(qtbot, program, scan)
    masks = [mask(workspace)]
    for y in range(40, 260, 40):
        drag(view, [(40, y), (200, y + 10), (360, y)])
        masks.append(mask(workspace))

    def held() -> int:
        steps = [workspace.undo.command(i) for i in range(workspace.undo.count())]
        return sum(delta.nbytes for step in steps for delta in step.edit.deltas())

    qtbot.waitUntil(lambda: held() <= 100_000)
    # Two autosaves, the second of which deletes tiles that only the first one needed.
    folder = workspace.autosave.folder.folder
    for id_ in ("mask_clear", "undo"):
        workspace.save_for_recovery()
        qtbot.waitUntil(lambda: not workspace.autosave.busy)
        trigger(program, id_)
    assert list((folder / "tiles").glob("*.z"))
    for expected in reversed(masks[:-1]):
        trigger(program, "undo")
        assert np.array_equal(mask(workspace), expected)
    for expected in masks[1:]:
        trigger(program, "redo")
        assert np.array_equal(mask(workspace), expected)


def test_missing_cuda_is_reported_and_the_mask_stays(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    card = program.registry.default("heal")
    if SESSIONS.open(card, card.stages[0], Device.AUTO).device is Device.CUDA:
        pytest.skip("this machine has CUDA")
    program.contents.task._device.setCurrentIndex(2)
    program.contents.task._device.activated.emit(2)
    drag(view, [(50, 50), (90, 50)])
    trigger(program, "heal")
    qtbot.waitUntil(lambda: "CUDA was asked for" in program.contents.strip.text, timeout=20000)
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


def test_a_project_of_another_program_is_not_overwritten_without_asking(
    qtbot: QtBot, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def foreign(parts: dict[str, bytes]) -> None:
        for name in [name for name in parts if name.startswith("lacuna/")]:
            del parts[name]

    theirs = rewrite(save(layered_document(), tmp_path / "theirs.ora"), foreign)
    data, asked = theirs.read_bytes(), []
    workspace, view = open_scan(qtbot, program, theirs)
    drag(view, [(50, 50), (90, 50)])

    def ask(_cls: type, _parent: object, suggestion: Path) -> Path:
        asked.append(suggestion)
        return tmp_path / "ours.ora"

    monkeypatch.setattr(FileDialogs, "save_project", classmethod(ask))
    with qtbot.waitSignal(program.files.said):
        trigger(program, "save")
    assert asked
    assert theirs.read_bytes() == data
    assert (tmp_path / "ours.ora").is_file()
    with qtbot.waitSignal(program.files.said):
        drag(view, [(50, 90), (90, 90)])
        trigger(program, "save")
    assert len(asked) == 1
    assert not workspace.unsaved


def test_nothing_is_written_over_the_file_of_another_tab(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, project = tmp_path / "other.png", tmp_path / "work.ora"
    imageio.write(noise_raster(), other)
    open_scan(qtbot, program, other)
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: project))
    with qtbot.waitSignal(program.files.said):
        trigger(program, "save_as")
    kept = other.read_bytes(), project.read_bytes()
    _, view = open_scan(qtbot, program, scan)
    drag(view, [(50, 50), (90, 50)])
    monkeypatch.setattr(ExportDialog, "ask", classmethod(lambda *_: Output(other)))
    monkeypatch.setattr(FileDialogs, "save_mask", classmethod(lambda *_: other))
    for id_ in ("save_as", "export", "mask_save"):
        program.contents.strip._clear()
        trigger(program, id_)
        assert "Choose another name" in program.contents.strip.text
    assert not program.files.writing
    assert (other.read_bytes(), project.read_bytes()) == kept


def test_undoing_during_a_save_leaves_unsaved_work(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: tmp_path / "work.ora"))
    with qtbot.waitSignal(program.files.written):
        trigger(program, "save")
    drag(view, [(50, 50), (90, 50)])
    with qtbot.waitSignal(program.files.written):
        trigger(program, "save")
        trigger(program, "undo")
    assert workspace.unsaved


def test_the_scan_behind_a_project_is_not_exported_over(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_scan(qtbot, program, scan)
    project, data = tmp_path / "work.ora", scan.read_bytes()
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: project))
    with qtbot.waitSignal(program.files.said):
        trigger(program, "save_as")
    trigger(program, "close")
    open_scan(qtbot, program, project)
    monkeypatch.setattr(ExportDialog, "ask", classmethod(lambda *_: Output(scan)))
    monkeypatch.setattr(Questions, "overwrite", classmethod(lambda *_: True))
    trigger(program, "export")
    assert "Choose another name" in program.contents.strip.text
    assert not program.files.writing
    assert scan.read_bytes() == data
    monkeypatch.setattr(ExportDialog, "ask", classmethod(lambda *_: Output(tmp_path / "out.tif")))
    with qtbot.waitSignal(program.files.said):
        trigger(program, "export")
    record = json.loads((tmp_path / "out.tif.record.json").read_text())
    assert record["source"] == {"file": scan.name, "sha256": hashlib.sha256(data).hexdigest()}


def test_closing_with_unsaved_work_asks(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: Closing.CANCEL))
    program.window.close()
    assert program.window.isVisible()
    assert program.contents.photos.tabs.count() == 1
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: Closing.DISCARD))
    trigger(program, "close")
    assert program.contents.photos.tabs.count() == 0


def test_closing_can_save_first(
    qtbot: QtBot, program: Program, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    project = tmp_path / "kept.ora"
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: Closing.SAVE))
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: project))
    with qtbot.waitSignal(program.window.closed):
        program.window.close()
    assert project.is_file()


def test_a_save_that_meets_something_unexpected_is_told_and_loses_nothing(
    qtbot: QtBot,
    program: Program,
    scan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(150, 150), (260, 170)])
    project, told = tmp_path / "kept.ora", []
    monkeypatch.setattr("desktop.frame.notifier.show_crash", lambda what, *_, saved: told.append((what, saved)))
    monkeypatch.setattr("desktop.photo.files.write_project", lambda *_: 1 // 0)
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: Closing.SAVE))
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: project))
    program.window.close()
    qtbot.waitUntil(lambda: bool(told), timeout=10000)
    assert told == [("ZeroDivisionError: integer division or modulo by zero", True)]
    assert "ZeroDivisionError" in caplog.text
    caplog.clear()
    qtbot.waitUntil(lambda: not program.files.writing)
    assert program.window.isVisible(), "it does not close, and nothing hangs"
    assert workspace.unsaved
    assert not project.exists()
    assert (workspace.autosave.folder.folder / "manifest.json").is_file()
    monkeypatch.undo()
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: project))
    with qtbot.waitSignal(program.files.said):
        trigger(program, "save")
    assert not workspace.unsaved


def test_turns_are_undone_and_exported(qtbot: QtBot, program: Program, scan: Path) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    before = picture(workspace)
    for id_ in ("rotate_left", "flip_horizontal", "rotate_half", "flip_vertical", "rotate_right"):
        trigger(program, id_)
    qtbot.waitUntil(lambda: bool(workspace.document.state.scan.levels))
    assert view.viewport.visible_image().width() == pytest.approx(workspace.document.bounds.width)
    assert np.array_equal(picture(workspace), np.rot90(np.rot90(np.rot90(before)[:, ::-1], 2)[::-1], -1))
    while workspace.undo.canUndo():
        workspace.undo.undo()
    assert np.array_equal(picture(workspace), before)
