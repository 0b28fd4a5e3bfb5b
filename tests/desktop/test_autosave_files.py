"""What autosave leaves on the disk: in which order, for how long, and what becomes of it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.photo.files import TRASH_DAYS
from desktop.settings import SettingsStore
from engine.runtime.cards import Registry
from tests.desktop.acting import drag, open_scan
from tests.desktop.test_recovery import autosave


def in_the_trash(state: Path, name: str, days: float, manifest: str | None = None) -> Path:
    folder = state / "trash" / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(manifest or json.dumps({"source": f"/scans/{name}.tif"}))
    (folder / "forgotten").touch()
    then = time.time() - 24 * 60 * 60 * days
    os.utime(folder / "forgotten", (then, then))
    return folder


def test_the_trash_is_emptied_after_its_days(
    qtbot: QtBot, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next start, whether anybody looks into it or not."""
    state = tmp_path / "state"
    young, old, damaged = (
        in_the_trash(state, "young", TRASH_DAYS - 1),
        in_the_trash(state, "old", TRASH_DAYS + 1),
        in_the_trash(state, "damaged", TRASH_DAYS - 1, "{"),
    )
    program = Program(state, SettingsStore(tmp_path / "settings.ini"), registry)
    program.start([])
    qtbot.waitUntil(lambda: not old.exists())
    assert list(program.files.forgotten_work().values()) == [Path("/scans/young.tif")]
    assert young.exists()
    assert damaged.exists(), "nobody asked for it to go"
    program.window.close()
    program.stop()
    program.window.deleteLater()


def test_work_without_a_manifest_is_tidied_away(program: Program, tmp_path: Path) -> None:
    folder = tmp_path / "state" / "sessions" / "old"
    (folder / "tiles").mkdir(parents=True)
    assert not program.files.abandoned_work()
    assert not folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the paths of open files are read from /proc")
def test_tiles_are_on_the_disk_before_the_manifest_that_names_them(
    qtbot: QtBot, program: Program, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    drag(view, [(20, 20), (390, 290)])
    events: list[tuple[str, str]] = []
    fsync, replace_file = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        events.append(("synced", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        events.append(("placed", str(target)))
        replace_file(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", noted_fsync)
        patched.setattr(os, "replace", noted_replace)
        folder = autosave(qtbot, workspace)
    manifest = events.index(("placed", str(folder / "manifest.json")))
    tiles = {str(path) for path in (folder / "tiles").glob("*.z")}
    assert len(tiles) > 1
    for tile in tiles:
        assert events.index(("placed", tile)) < events.index(("synced", tile)) < manifest
    names = events.index(("synced", str(folder / "tiles")))
    assert max(events.index(("placed", tile)) for tile in tiles) < names < manifest
    assert any(what == "synced" and Path(place).parent == folder for what, place in events[:manifest]), "its contents"
    assert ("synced", str(folder)) in events[manifest:], "its name"
