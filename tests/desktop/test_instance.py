"""A second start: its files are opened in the window that is there, whatever became of that program."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QCoreApplication
from PySide6.QtGui import QFileOpenEvent
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.display import Application
from desktop.instance import Instance

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the folders of the second start are set as on Linux")

ROOT = Path(__file__).parents[2]
ASKED = """
import sys, os
from pathlib import Path
from PySide6.QtCore import QCoreApplication
from PySide6.QtGui import QFileOpenEvent
from desktop import instance
app = QCoreApplication([])
instance.PATIENCE = 0.2
start = instance.Instance(Path(sys.argv[1]))
print(start.give([Path(name) for name in sys.argv[2:]]), flush=True)
"""


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the settings of this process and of those that it starts."""
    for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # The path of a socket has at most 107 bytes, which pytest's own folders nearly fill.
    with tempfile.TemporaryDirectory() as name:
        monkeypatch.setenv("HOME", name)
        yield Path(name) / ".config" / "lacuna"


@pytest.fixture
def first(qtbot: QtBot, home: Path) -> Iterator[Instance]:
    """The start that is asked."""
    instance = Instance(home)
    assert not instance.give([])
    instance.listen()
    yield instance
    instance.stop()


def begin(folder: Path, code: str, *words: str | bytes) -> str:
    """What a start prints, while nothing happens in this process."""
    run = subprocess.run([sys.executable, "-c", code, folder, *words], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


def test_a_second_start_opens_its_files_in_the_first_window_and_ends(
    qtbot: QtBot, program: Program, first: Instance, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_ACTIVATION_TOKEN", "from the launcher")
    tokens: list[str | None] = []
    activate = program.window.activateWindow
    monkeypatch.setattr(
        program.window,
        "activateWindow",
        lambda: (tokens.append(os.environ.get("XDG_ACTIVATION_TOKEN")), activate()),
    )
    first.asked.connect(program.open_more)
    folder = scan.parent / "照片 und mehr"
    folder.mkdir()
    names = ["扫描 1.tif", os.fsdecode(b"no text \xff.tif")]
    for name in names:
        os.link(scan, folder / name)
    program.window.showMinimized()
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    # Paths that count from the folder where the second is started.
    second = subprocess.Popen([sys.executable, "-m", "desktop", *names], cwd=folder, stderr=subprocess.PIPE)
    qtbot.waitUntil(lambda: len(program.contents.photos.views()) == 2, timeout=20000)
    qtbot.waitUntil(lambda: second.poll() is not None, timeout=20000)
    assert (second.returncode, second.communicate()[1]) == (0, b"")
    opened = {view.workspace.source for view in program.contents.photos.views() if view.workspace is not None}
    assert opened == {folder / name for name in names}
    assert not program.window.isMinimized()
    assert tokens == ["from the launcher"]
    # Not for the programs that this one starts.
    assert "XDG_ACTIVATION_TOKEN" not in os.environ


def test_a_program_that_hangs_is_left_alone_and_gets_nothing_when_it_wakes(first: Instance, home: Path) -> None:
    asked: list[object] = []
    first.asked.connect(lambda *words: asked.append(words))
    assert begin(home, ASKED, "a.tif") == "False\n"
    for _ in range(20):
        QCoreApplication.processEvents()
    assert not asked


def test_what_a_killed_program_left_is_no_obstacle(qtbot: QtBot, home: Path) -> None:
    begin(home, ASKED + "start.listen(); os._exit(0)")
    left = {path.name for path in home.iterdir()}
    assert len(left) == 2, "a lock and a socket"
    instance = Instance(home)
    assert not instance.give([])
    instance.listen()
    assert {path.name for path in home.iterdir()} == left
    instance.stop()
    assert not [*home.iterdir()]


def test_other_displays_and_homes_have_windows_of_their_own(
    first: Instance, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where no lock can be made, every start is the first."""
    for name, value in (("DISPLAY", ":4000"), ("XDG_STATE_HOME", str(tmp_path / "state"))):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert not Instance(home).give([])
    (tmp_path / "file").touch()
    nowhere = Instance(tmp_path / "file" / "folder")
    assert not nowhere.give([])
    nowhere.listen()
    nowhere.stop()


def test_words_of_another_program_are_ignored(qtbot: QtBot, first: Instance, home: Path) -> None:
    from PySide6.QtNetwork import QLocalSocket

    (name,) = (str(path) for path in home.iterdir() if not path.suffix)
    with qtbot.assertNotEmitted(first.asked):
        for words in (b"hello\n", b"[]\n", b'{"paths": [3], "token": ""}\n', b'{"paths": null}\n'):
            socket = QLocalSocket()
            socket.connectToServer(name)
            assert socket.waitForConnected(5000)
            with qtbot.waitSignal(socket.disconnected):
                socket.write(words)


def test_a_file_that_macos_wants_opened_is_heard_of(qtbot: QtBot, qapp: Application, tmp_path: Path) -> None:
    with qtbot.waitSignal(qapp.file_wanted) as wanted:
        QCoreApplication.sendEvent(qapp, QFileOpenEvent(str(tmp_path / "scan.tif")))
    assert wanted.args == [tmp_path / "scan.tif"]
