"""Processes that are terminated or killed leave no partial files."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import imageio
from engine.cli.signals import cancelled_by_signals
from engine.imageio import atomic
from engine.jobs import JobContext
from engine.runtime.cards import Registry
from tests.conftest import noise_raster
from tests.tiny_models import endless

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

ROOT = Path(__file__).parents[2]
ENDINGS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
LONG = 60
"""Seconds after which a process that does not end has failed the test."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    imageio.write(noise_raster(), tmp_path / "in.tif")
    return tmp_path


def started(program: str, *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(".*"))


@pytest.fixture
def writer(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has written half a file."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from engine import imageio\n"
        "with imageio.atomic_write(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half')\n"
        "    print('writing', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = started(program, folder / "out.bin")
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    assert len(hidden(folder)) == 1
    yield process
    process.kill()
    process.communicate()


def new_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset the set of cleaned folders, as in a new process."""
    monkeypatch.setattr(atomic, "_swept", set())


def test_temporary_files_of_a_killed_process_are_deleted_by_the_next_run(
    folder: Path, writer: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = hidden(folder)
    new_run(monkeypatch)
    imageio.atomic_write_bytes(folder / "a", b"a")
    assert hidden(folder) == left, "the file of a living process"
    os.utime(folder / left[0], (0, 0))
    new_run(monkeypatch)
    imageio.atomic_write_bytes(folder / "a", b"a")
    assert hidden(folder) == left, "the file of a living process that is slow"
    writer.kill()
    writer.wait()
    assert hidden(folder) == left
    new_run(monkeypatch)
    imageio.atomic_write_bytes(folder / "a", b"a")
    assert hidden(folder) == []
    assert not (folder / "out.bin").exists()


def test_a_temporary_file_in_use_is_not_deleted(
    folder: Path, writer: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    new_run(monkeypatch)
    imageio.atomic_write_bytes(folder / "a", b"a")
    writer.communicate(timeout=LONG)
    assert (folder / "out.bin").read_bytes() == b"half"
    assert hidden(folder) == []


@pytest.fixture
def adder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has copied half of a model to the user's models."""
    card = endless(folder / "theirs")
    program = (
        "import shutil, sys\n"
        "from pathlib import Path\n"
        "from engine.runtime.cards import Registry\n"
        "copyfile = shutil.copyfile\n"
        "def slowly(source, target):\n"
        "    copyfile(source, target)\n"
        "    print('copying', flush=True)\n"
        "    sys.stdin.read()\n"
        "shutil.copyfile = slowly\n"
        "models = Path(sys.argv[1])\n"
        "Registry(models, models / 'none').add(Path(sys.argv[2]))\n"
    )
    process = started(program, folder / "models", card.folder / "card.toml")
    assert process.stdout is not None
    assert process.stdout.readline() == "copying\n"
    yield process
    process.kill()
    process.communicate()


def test_a_model_half_added_by_a_killed_process_is_swept_and_that_of_a_living_one_is_not(
    folder: Path, adder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = folder / "models"
    (left,) = models.iterdir()
    new_run(monkeypatch)
    assert not [card for card in Registry(models).cards() if card.folder.parent == models]
    assert list(models.iterdir()) == [left], "the folder of a living process"
    adder.kill()
    adder.wait()
    new_run(monkeypatch)
    Registry(models).cards()
    assert list(models.iterdir()) == []


def test_a_model_that_is_being_added_is_there_when_others_swept(
    folder: Path, adder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    new_run(monkeypatch)
    Registry(folder / "models").cards()
    adder.communicate(timeout=LONG)
    assert [path.name for path in (folder / "models").iterdir()] == ["clean"]


def test_an_addition_that_is_called_off_leaves_nothing(folder: Path, adder: subprocess.Popen[str]) -> None:
    adder.send_signal(signal.SIGINT)
    adder.communicate(timeout=LONG)
    assert list((folder / "models").iterdir()) == []


def test_only_files_of_this_program_are_deleted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = f".lacuna-{atomic._machine()}-{'0' * 16}.tmp"
    others = [".lacuna-notes.tmp", ".lacuna-0123456789abcdef.tmp.bak", f".lacuna-{'1' * 8}-{'0' * 16}.tmp"]
    others += [f"lacuna-{'0' * 16}.tmp", f".lacuna-{'2' * 16}.tmp"]
    for name in [ours, *others]:
        (folder / name).write_bytes(b"x")
    (folder / f".lacuna-{'3' * 16}.tmp").mkdir()
    (folder / f".lacuna-{atomic._machine()}-{'4' * 16}.tmp").symlink_to(folder / "in.tif")
    kept = sorted({path.name for path in folder.iterdir()} - {ours})
    new_run(monkeypatch)
    imageio.atomic_write_bytes(folder / "in.tif", b"new")
    assert sorted(path.name for path in folder.iterdir()) == kept


def test_without_locks_and_from_another_computer_only_old_files_are_deleted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    here = folder / f".lacuna-{atomic._machine()}-{'0' * 16}.tmp"
    for path, locks in ((here, False), (folder / f".lacuna-{'1' * 8}-{'0' * 16}.tmp", True)):
        with monkeypatch.context() as patched:
            if not locks:
                patched.setattr(atomic.fcntl, "flock", refuse)
            path.write_bytes(b"x")
            new_run(patched)
            imageio.atomic_write_bytes(folder / "a", b"a")
            assert path.exists()
            os.utime(path, (time.time(), time.time() - 2 * 24 * 3600))
            new_run(patched)
            imageio.atomic_write_bytes(folder / "a", b"b")
            assert not path.exists()
    assert (folder / "a").read_bytes() == b"b"


def test_a_temporary_file_deleted_before_its_lock_is_recreated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, swept = atomic._lock, []

    def late(descriptor: int, *, wait: bool) -> bool | None:
        for path in [] if swept else list(folder.glob(".lacuna-*")):
            path.unlink()
            swept.append(path)
        return lock(descriptor, wait=wait)

    monkeypatch.setattr(atomic, "_lock", late)
    imageio.atomic_write_bytes(folder / "a", b"a")
    assert swept
    assert (folder / "a").read_bytes() == b"a"
    assert hidden(folder) == []


SLOW_WRITER = (
    "import sys, time\n"
    "from engine import cli\n"
    "from engine.jobs import JobContext\n"
    "progress = JobContext.progress\n"
    "def slowly(self, share, step=''):\n"
    "    if step == 'Writing' and share > 0:\n"
    "        print('writing', flush=True)\n"
    "        while not self.cancelled:\n"
    "            time.sleep(0.01)\n"
    "    progress(self, share, step)\n"
    "JobContext.progress = slowly\n"
    "sys.exit(cli.main(sys.argv[1:]))\n"
)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_signal_ends_a_command_as_ctrl_c_does(folder: Path, ending: signal.Signals) -> None:
    (folder / "out.tif").write_bytes(b"old")
    process = started(SLOW_WRITER, "convert", folder / "in.tif", "-o", folder / "out.tif")
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    assert hidden(folder)
    process.send_signal(ending)
    _, said = process.communicate(timeout=LONG)
    assert (process.returncode, said) == (1, "Cancelled; nothing was written.\n")
    assert (folder / "out.tif").read_bytes() == b"old"
    assert sorted(path.name for path in folder.iterdir()) == ["in.tif", "out.tif"]


def test_a_signal_stops_a_model_that_runs(folder: Path) -> None:
    card = endless(folder / "theirs")
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from engine import cli\n"
        "from engine.runtime import cards\n"
        "from engine.runtime.session import Session\n"
        "cards.SHIPPED = Path(sys.argv.pop(1))\n"
        "cards.Registry.__init__.__defaults__ = (None, cards.SHIPPED)\n"
        "run = Session.run\n"
        "def told(*arguments):\n"
        "    print('running', flush=True)\n"
        "    return run(*arguments)\n"
        "Session.run = told\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    words = ["clean", folder / "in.tif", "-o", folder / "out.tif", "--device", "cpu"]
    process = started(program, card.folder.parent, *words)
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=LONG)
    assert (process.returncode, said) == (1, "Cancelled; nothing was written.\n")


@pytest.mark.parametrize("module", ["engine", "desktop"])
def test_ctrl_c_while_the_program_starts_prints_no_traceback(module: str) -> None:
    program = (
        "import os, runpy, signal, sys\n"
        "class Press:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'numpy':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Press())\n"
        "sys.argv[1:] = ['info', 'none.tif']\n"
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
    )
    process = started(program)
    said = process.communicate(timeout=LONG)
    assert said == ("", "")
    assert process.returncode == -signal.SIGINT


def test_a_second_signal_stops_the_command_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    context, cancelled = JobContext(), threading.Event()
    monkeypatch.setattr(context, "cancel", cancelled.set)
    before = [signal.getsignal(number) for number in ENDINGS]

    def press_twice() -> None:
        with cancelled_by_signals(context):
            os.kill(os.getpid(), signal.SIGTERM)
            assert cancelled.wait(LONG)
            os.kill(os.getpid(), signal.SIGHUP)
            cancelled.wait(0)

    with pytest.raises(KeyboardInterrupt):
        press_twice()
    assert [signal.getsignal(number) for number in ENDINGS] == before


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with cancelled_by_signals(JobContext()):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
