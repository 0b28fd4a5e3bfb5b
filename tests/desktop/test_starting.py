"""Ctrl+C while the window comes up: the real program ends without a traceback, whatever it is doing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from desktop.__main__ import _arguments
from desktop.app import Program, SignalWatch

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

ROOT = Path(__file__).parents[2]
WHEN_IMPORTED = """
class Press:
    def find_spec(self, name, *_):
        if name == {module!r}:
            press()
sys.meta_path.insert(0, Press())
"""
WHEN_CALLED = """
import {module}
real = {module}.{function}
def pressed(*arguments, **options):
    press()
    return real(*arguments, **options)
{module}.{function} = pressed
"""
RUN = """
import os, runpy, signal, sys
def press():
    os.kill(os.getpid(), signal.SIGINT)
{hook}
sys.argv[1:] = []
runpy.run_module("desktop", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("hook", "status", "said"),
    [
        (WHEN_IMPORTED.format(module="PySide6.QtWidgets"), -signal.SIGINT, ""),
        (WHEN_CALLED.format(module="desktop.settings", function="SettingsStore.__init__"), 1, "Cancelled.\n"),
        (WHEN_CALLED.format(module="desktop.frame.main_window", function="MainWindow.showEvent"), 1, ""),
        (WHEN_IMPORTED.format(module="desktop.frame.contents"), 1, ""),
        (WHEN_CALLED.format(module="desktop.panels.task", function="TaskPanel.load"), 1, ""),
    ],
    ids=["imports", "before the window", "shown", "furnished", "models read"],
)
def test_ctrl_c_while_the_window_comes_up_prints_no_traceback(
    tmp_path: Path, hook: str, status: int, said: str
) -> None:
    folders = {name: str(tmp_path) for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    process = subprocess.run(
        [sys.executable, "-c", RUN.format(hook=hook)],
        env=os.environ | folders | {"QT_QPA_PLATFORM": "offscreen"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    said_by_qt = "This plugin does not support propagateSizeHints()\n"
    assert (process.stdout, process.stderr.replace(said_by_qt, "")) == ("", said)
    assert process.returncode == status


def test_a_signal_that_was_ignored_stays_ignored(program: Program) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        watch = SignalWatch(program)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        watch.stop()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_window_is_painted_before_pictures_and_commands_are_imported(tmp_path: Path) -> None:
    """Their modules take a multiple of the window's time."""
    code = (
        "import os, sys; from desktop.frame.main_window import MainWindow\n"
        "def painted(*_):\n"
        "    print(*({'numpy', 'cv2', 'engine.cli', 'PySide6.QtNetwork'} & {*sys.modules}), flush=True); os._exit(0)\n"
        "MainWindow.paintEvent = painted\n"
        "from desktop.__main__ import main\n"
        "sys.argv[1:] = sys.argv[1:2]; main()"
    )
    environment = os.environ | {"HOME": str(tmp_path), "QT_QPA_PLATFORM": "offscreen"}
    words = [sys.executable, "-c", code, str(ROOT / "resources" / "samples" / "astronaut.tif")]
    assert subprocess.check_output(words, env=environment, cwd=ROOT, text=True) == "\n"


def test_what_a_frozen_program_starts_does_not_load_its_libraries(tmp_path: Path) -> None:
    """Its worker, too: it is prepared by its own bootloader, which believes what it finds in the environment."""
    code = (
        "import os, sys; sys.frozen, sys.executable = True, sys.argv[1]\n"
        "from desktop.__main__ import main\n"
        "sys.argv[1:] = ['info', 'nothing.tif']; main()\n"
        "print(os.environ.get('LD_LIBRARY_PATH'), [name for name in os.environ if name.startswith('_PYI')])\n"
        "from engine.batch.pool import _command; print(_command())"
    )
    (tmp_path / "lacuna-cli").touch()
    own = {"LD_LIBRARY_PATH": "/program", "LD_LIBRARY_PATH_ORIG": "/before", "_PYI_ARCHIVE_FILE": "x", "_PYI_X": "1"}
    words = [sys.executable, "-c", code, str(tmp_path / "lacuna")]
    said = subprocess.check_output(words, env=os.environ | own, cwd=ROOT, text=True, stderr=subprocess.DEVNULL)
    assert said == f"/before []\n['{tmp_path / 'lacuna-cli'}', 'batch-worker']\n"


def test_calls_for_help(monkeypatch: pytest.MonkeyPatch) -> None:
    def words(*given: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["lacuna", *given])
        return _arguments()

    assert words("help") == ["--help"]
    assert words("help", "heal") == ["heal", "--help"]
    assert words() == []
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", "/program/lacuna-cli")
    assert words() == ["--help"]
    assert words("info", "a.tif") == ["info", "a.tif"]
