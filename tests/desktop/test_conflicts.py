"""Projects changed by another program or written by a newer version are not overwritten without asking."""

from __future__ import annotations

import json
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.dialogs.export import FileDialogs
from desktop.dialogs.questions import Conflict, Questions
from desktop.document.opening import open_project
from desktop.document.project import VERSION
from desktop.photo.workspace import Workspace
from desktop.work.threads import Lane
from tests.desktop.acting import drag, mask, open_scan, trigger
from tests.document.test_project import layered_document, rewrite, save


def open_changed_elsewhere(qtbot: QtBot, program: Program, project: Path) -> tuple[Workspace, bytes]:
    """Open a project and paint a stroke; another program changes the file meanwhile. Returns its new bytes too."""
    save(layered_document(), project)
    workspace, view = open_scan(qtbot, program, project)
    drag(view, [(150, 150), (200, 170)])
    other = open_project(project)
    other.restore(other.state)
    save(other, project)
    return workspace, project.read_bytes()


def answer(monkeypatch: pytest.MonkeyPatch, what: Conflict) -> list[str]:
    asked: list[str] = []

    def ask(_cls: type, _parent: object, name: str) -> Conflict:
        asked.append(name)
        return what

    monkeypatch.setattr(Questions, "changed_elsewhere", classmethod(ask))
    return asked


def test_an_unchanged_project_file_is_overwritten_without_a_question(
    qtbot: QtBot, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, asked = tmp_path / "work.ora", answer(monkeypatch, Conflict.CANCEL)
    save(layered_document(), project)
    workspace, view = open_scan(qtbot, program, project)
    for end in (180, 220):
        drag(view, [(150, 150), (200, end)])
        with qtbot.waitSignal(program.files.written):
            trigger(program, "save")
        assert not workspace.unsaved
    assert not asked


def test_cancel_writes_nothing(qtbot: QtBot, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, theirs = open_changed_elsewhere(qtbot, program, tmp_path / "work.ora")
    asked = answer(monkeypatch, Conflict.CANCEL)
    trigger(program, "save")
    assert asked == ["work.ora"]
    assert not program.files.writing
    assert (tmp_path / "work.ora").read_bytes() == theirs
    assert workspace.unsaved


def test_overwrite_writes_mine(qtbot: QtBot, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, _ = open_changed_elsewhere(qtbot, program, tmp_path / "work.ora")
    answer(monkeypatch, Conflict.OVERWRITE)
    with qtbot.waitSignal(program.files.written):
        trigger(program, "save")
    mine = open_project(tmp_path / "work.ora").state.mask
    assert np.array_equal(mine.read(mine.bounds), mask(workspace))
    assert not workspace.unsaved


def test_save_as_leaves_theirs(qtbot: QtBot, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, theirs = open_changed_elsewhere(qtbot, program, tmp_path / "work.ora")
    answer(monkeypatch, Conflict.SAVE_AS)
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: tmp_path / "mine.ora"))
    with qtbot.waitSignal(program.files.written):
        trigger(program, "save")
    assert (tmp_path / "work.ora").read_bytes() == theirs
    assert workspace.project == tmp_path / "mine.ora"
    assert not workspace.unsaved


def test_the_changed_file_is_opened_too_and_mine_keeps_its_work(
    qtbot: QtBot, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, theirs = open_changed_elsewhere(qtbot, program, tmp_path / "work.ora")
    answer(monkeypatch, Conflict.OPEN_THEIRS)
    with qtbot.waitSignal(program.files.opened, timeout=20000):
        trigger(program, "save")
    assert program.contents.photos.tabs.count() == 2
    assert workspace.unsaved
    assert workspace.project is None, "mine asks where it is saved"
    assert (tmp_path / "work.ora").read_bytes() == theirs


@pytest.mark.parametrize("command", ["save", "save_as"])
def test_theirs_is_not_saved_over_while_it_is_open_in_another_tab(
    qtbot: QtBot, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    _, theirs = open_changed_elsewhere(qtbot, program, tmp_path / "work.ora")
    mine = program.contents.photos.view
    answer(monkeypatch, Conflict.OPEN_THEIRS)
    with qtbot.waitSignal(program.files.opened, timeout=20000):
        trigger(program, "save")
    program.contents.photos.tabs.setCurrentWidget(mine)
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: tmp_path / "work.ora"))
    trigger(program, command)
    assert "Choose another name" in program.contents.strip.text
    assert not program.files.writing
    assert (tmp_path / "work.ora").read_bytes() == theirs


def test_saving_under_its_own_name_asks_too(
    qtbot: QtBot, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the system's dialog asked: that is about a file that exists, not about one that was changed."""
    _, theirs = open_changed_elsewhere(qtbot, program, tmp_path / "work.ora")
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: tmp_path / "link" / "work.ora"))
    asked = answer(monkeypatch, Conflict.CANCEL)
    trigger(program, "save_as")
    assert asked == ["work.ora"]
    assert (tmp_path / "work.ora").read_bytes() == theirs


def test_another_programs_project_that_was_changed_asks_before_it_is_saved_over(
    qtbot: QtBot, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = rewrite(save(layered_document(), tmp_path / "work.ora"), lambda parts: parts.pop("lacuna/document.json"))
    workspace, view = open_scan(qtbot, program, project)
    assert workspace.project is None
    drag(view, [(150, 150), (200, 170)])
    rewrite(project, lambda parts: parts.update(note=b"theirs"))
    theirs = project.read_bytes()
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: project))
    asked = answer(monkeypatch, Conflict.CANCEL)
    trigger(program, "save")
    assert asked == ["work.ora"]
    assert project.read_bytes() == theirs


def test_what_is_changed_while_saving_waits_is_not_overwritten(
    qtbot: QtBot, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, gate = tmp_path / "work.ora", threading.Event()
    save(layered_document(), project)
    workspace, view = open_scan(qtbot, program, project)
    drag(view, [(150, 150), (200, 170)])
    asked = answer(monkeypatch, Conflict.CANCEL)
    program.jobs.submit("Exporting", Lane.IO, lambda: lambda _: gate.wait(30))
    trigger(program, "save")
    rewrite(project, lambda parts: parts.update(note=b"theirs"))
    theirs = project.read_bytes()
    with qtbot.waitSignal(program.files.written):
        gate.set()
    assert project.read_bytes() == theirs
    assert "changed by another program meanwhile" in program.contents.strip.text
    assert workspace.unsaved
    trigger(program, "save")
    assert asked == ["work.ora"]


def test_two_saves_that_wait_for_one_another_are_no_conflict(
    qtbot: QtBot, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, asked = tmp_path / "work.ora", answer(monkeypatch, Conflict.CANCEL)
    save(layered_document(), project)
    workspace, view = open_scan(qtbot, program, project)
    for end in (180, 220):
        drag(view, [(150, 150), (200, end)])
        trigger(program, "save")
    qtbot.waitUntil(lambda: not program.files.writing)
    assert not workspace.unsaved
    assert not asked
    assert not program.contents.strip._problems


def set_version(project: Path, version: int, **more: object) -> Path:
    with zipfile.ZipFile(project) as archive:
        own = json.loads(archive.read("lacuna/document.json"))
    told = json.dumps(own | {"version": version} | more).encode()
    return rewrite(project, lambda parts: parts.update({"lacuna/document.json": told}))


def test_a_newer_versions_project_is_opened_but_not_saved_over(
    qtbot: QtBot, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = set_version(save(layered_document(), tmp_path / "work.ora"), VERSION + 1)
    before = project.read_bytes()
    workspace, view = open_scan(qtbot, program, project)
    assert "newer version" in program.contents.strip.text
    assert len(workspace.document.state.layers) == 4
    drag(view, [(150, 150), (200, 170)])
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: project))
    trigger(program, "save")
    assert not program.files.writing
    assert "was opened" in program.contents.strip.text
    assert project.read_bytes() == before
    monkeypatch.setattr(FileDialogs, "save_project", classmethod(lambda *_: tmp_path / "mine.ora"))
    with qtbot.waitSignal(program.files.written):
        trigger(program, "save")
    assert len(open_project(tmp_path / "mine.ora").state.layers) == 4
    drag(view, [(100, 150), (120, 170)])
    with qtbot.waitSignal(program.files.written):
        trigger(program, "save")
    assert not workspace.unsaved, "mine is saved over as any other"
    assert project.read_bytes() == before


def test_a_newer_versions_project_is_known_also_where_its_layers_are_told_otherwise(tmp_path: Path) -> None:
    project = set_version(save(layered_document(), tmp_path / "work.ora"), VERSION + 1, stack="told otherwise")
    assert open_project(project).newer_project


def test_an_older_versions_project_opens_and_is_saved_as_a_newer_one(
    qtbot: QtBot, program: Program, tmp_path: Path
) -> None:
    project = save(layered_document(), tmp_path / "work.ora")
    with zipfile.ZipFile(project) as archive:
        own = json.loads(archive.read("lacuna/document.json"))
    for row in own["layers"]:
        del row["content"]
    project = set_version(project, 1, layers=own["layers"])
    workspace, view = open_scan(qtbot, program, project)
    assert workspace.project == project
    assert len(workspace.document.state.layers) == 4
    drag(view, [(150, 150), (200, 170)])
    with qtbot.waitSignal(program.files.written):
        trigger(program, "save")
    with zipfile.ZipFile(project) as archive:
        assert json.loads(archive.read("lacuna/document.json"))["version"] == VERSION


def test_unknown_parts_are_reported_before_they_are_lost(qtbot: QtBot, program: Program, tmp_path: Path) -> None:
    project = set_version(save(layered_document(), tmp_path / "work.ora"), VERSION, curves=[1, 2])
    workspace, _ = open_scan(qtbot, program, project)
    assert "does not know (curves)" in program.contents.strip.text
    assert workspace.project is None, "it is not saved over unasked"
