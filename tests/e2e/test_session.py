"""The main workflow on the sample, in the window and without a display."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.dialogs.export import ExportDialog
from desktop.frame.commands.file import _folder
from desktop.frame.photos import SAMPLE
from engine import imageio
from engine.output import Output
from tests.desktop.acting import drag, heal, mask, picture, trigger

ROOT = Path(__file__).parents[2]


def test_paint_heal_undo_redo_export_on_the_sample(
    qtbot: QtBot, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with qtbot.waitSignal(program.files.opened, timeout=20000):
        program.window.start_page.sample_wanted.emit()
    workspace, view = program.contents.photos.photo, program.contents.photos.view
    assert workspace is not None
    assert view is not None
    assert _folder(program.contents.context) == Path.home(), "a newcomer's scans are not beside the sample"
    view.viewport.zoom_to(1.0)
    trigger(program, "heal")
    assert "Paint over the damage first" in program.contents.strip.text
    scan = picture(workspace)
    # The crease over the forehead.
    drag(view, [(150, 2), (165, 45), (180, 90), (192, 130)])
    assert program.contents.strip.text == ""
    painted = mask(workspace)
    program.store.settings.repair.of("heal").values["feather"] = 2.0
    heal(qtbot, program, workspace)
    healed = picture(workspace)
    assert healed[painted > 0].mean() < scan[painted > 0].mean() - 2000, "the white crease has become darker"
    trigger(program, "undo")
    assert np.array_equal(picture(workspace), scan)
    trigger(program, "redo")
    assert np.array_equal(picture(workspace), healed)
    monkeypatch.setattr(ExportDialog, "ask", classmethod(lambda *_: Output(tmp_path / "out.tif")))
    with qtbot.waitSignal(program.files.said, timeout=20000):
        trigger(program, "export")
    original, result = imageio.read(SAMPLE), imageio.read(tmp_path / "out.tif")
    assert result.profile == original.profile
    assert np.array_equal(result.pixels, healed)
    from engine import masks

    reach = masks.feather(painted, 2)
    assert np.array_equal(result.pixels[reach == 0], original.pixels[reach == 0])
    record = json.loads((tmp_path / "out.tif.record.json").read_text())
    assert record["repairs"][0]["model"] == "heal"


def test_without_a_display_the_sample_is_healed_headless(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    result = subprocess.run(
        [sys.executable, str(ROOT / "packaging" / "run.py"), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    for name in ("sample-before.png", "sample-after.png", "sample-after.tif", "sample-after.tif.record.json"):
        assert (tmp_path / name).is_file()
        assert name in result.stdout
    before, after = imageio.read(SAMPLE).pixels, imageio.read(tmp_path / "sample-after.tif").pixels
    assert 0.05 < (before != after).any(axis=2).mean() < 0.5


@pytest.mark.parametrize("start", ["make run", "lacuna"])
def test_missing_system_libraries_are_named_with_the_line_that_installs_them(start: str) -> None:
    """In the program Qt fails where its plug-in cannot be loaded, which is played by a folder without plug-ins."""
    begin = {
        "make run": "sys.path.insert(0, 'packaging/linux'); import libraries; sys.exit(libraries.main())",
        "lacuna": "sys.argv[1:] = []; from desktop.__main__ import main; sys.exit(main())",
    }
    code = (
        "import os, sys; os.geteuid = lambda: 1000; from desktop import system_libraries;"
        f"system_libraries.PACKAGES = {{'libnothing.so.9': 'libnothing9'}}; {begin[start]}"
    )
    environment = os.environ | {"QT_QPA_PLATFORM": "xcb", "QT_QPA_PLATFORM_PLUGIN_PATH": os.devnull}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    assert "are missing here: libnothing.so.9." in result.stderr
    assert result.stderr.endswith("    sudo apt install libnothing9\n")
    present = subprocess.run([sys.executable, "packaging/linux/libraries.py"], cwd=ROOT, capture_output=True, text=True)
    assert (present.returncode, present.stderr) == (0, "")


@pytest.mark.parametrize(("status", "left"), [(0, []), (100, ["libGL.so.1"])])
def test_what_apt_prints_is_shown_only_when_it_fails(tmp_path: Path, status: int, left: list[str]) -> None:
    apt = tmp_path / "apt-get"
    apt.write_text(f"#!/bin/sh\necho debconf: delaying package configuration >&2\nexit {status}\n")
    apt.chmod(0o755)
    code = (
        "import sys; sys.path.insert(0, 'packaging/linux'); import libraries, os;"
        f"missing = [['libGL.so.1'], {left}]; libraries.system_libraries.missing = lambda: missing.pop(0);"
        "os.geteuid = lambda: 0; sys.exit(libraries.main())"
    )
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == (1 if left else 0)
    assert "Installing system libraries" in result.stdout
    if left:
        assert "debconf: delaying" in result.stderr
        assert "sudo apt install libgl1" in result.stderr
    else:
        assert result.stderr == ""


def test_a_display_that_does_not_answer_is_said_in_a_sentence_and_qt_does_not_abort(tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("QT_QPA_PLATFORM", "WAYLAND_DISPLAY")
    }
    environment |= {"DISPLAY": "unix:4000", "HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-m", "desktop"], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert result.stderr == "The display unix:4000 does not answer, so there is no window. Without one: lacuna --help\n"
    assert not list(tmp_path.iterdir())
