"""``--smoke``: the self-test of an installation, above all of a frozen one, in which parts are easily left out.

The window comes first and the models after it, in the order of a user's session: on Windows onnxruntime has failed to
load after another library.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import __version__
from engine.errors import EngineError
from engine.resources import resource

if TYPE_CHECKING:
    from PySide6.QtCore import QMessageLogContext, QtMsgType

_PATIENCE = 120_000
"""Longest time that the window may take to show the sample, milliseconds."""
_ASKS = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname")
"""Python's audit events of asking the network."""


@dataclass
class _Smoke:
    """What was tried so far.

    Attributes:
        folder: temporary folder for all that is written.
        models: folder of the models.
        screen: Qt's name of where the window was shown; ``offscreen`` without a display.
        seconds: that the parts took.
        problems: why it fails, as sentences.
    """

    folder: Path = Path()
    models: Path = field(default_factory=lambda: resource("models"))
    screen: str = ""
    formats: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a part, and note what goes wrong in it."""
        start = time.perf_counter()
        try:
            yield
        except EngineError as error:
            self.problems.append(f"{name}: {error.text()}")
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is what is looked for
            self.problems.append(f"{name}: {type(error).__name__}: {error}")
        self.seconds[name] = round(time.perf_counter() - start, 2)


def main(arguments: Sequence[str]) -> int:
    """Run the self-test; prints one line of JSON on stdout. Main thread.

    Args:
        arguments: those of the program.

    Returns:
        0 if everything works, 1 if not: then ``problems`` says why.
    """
    parser = argparse.ArgumentParser(prog="lacuna", description="Test this installation.")
    parser.add_argument("--smoke", action="store_true", required=True, help="try formats, models and the window")
    parser.add_argument("--without-model", metavar="ID", help="as if this model were missing, which must fail")
    options = parser.parse_args(arguments)
    asked, smoke = _watch_network(), _Smoke()
    with (
        smoke.part("all"),
        tempfile.TemporaryDirectory(prefix="lacuna-smoke-", ignore_cleanup_errors=True) as name,
        contextlib.redirect_stdout(sys.stderr),
    ):
        smoke.folder = Path(name)
        if options.without_model:
            smoke.models = _models_without(options.without_model, smoke)
        _try_all(smoke)
    smoke.problems += [f"network: the program asked for {where}" for where in dict.fromkeys(asked)]
    print("\n".join(smoke.problems) or "Everything works.", file=sys.stderr, flush=True)
    print(json.dumps(_result(smoke), ensure_ascii=False), flush=True)
    return 1 if smoke.problems else 0


def _result(smoke: _Smoke) -> dict[str, Any]:
    return {
        "ok": not smoke.problems,
        "version": __version__,
        "formats": smoke.formats,
        "models": smoke.passed,
        "seconds": smoke.seconds.pop("all"),
        "screen": smoke.screen,
        "parts": smoke.seconds,
        "problems": smoke.problems,
    }


def _models_without(id_: str, smoke: _Smoke) -> Path:
    """A copy of the models that lacks one."""
    if not (smoke.models / id_).is_dir():
        smoke.problems.append(f"There is no model {id_} to be left out.")
    return Path(shutil.copytree(smoke.models, smoke.folder / "models", ignore=shutil.ignore_patterns(id_)))


def _watch_network() -> list[str]:
    """A list that gets what Python code of this process asks the network for from now on."""
    asked: list[str] = []

    def hear(event: str, values: tuple[Any, ...]) -> None:
        if event in _ASKS and not (event == "socket.connect" and isinstance(values[1], str | bytes)):
            asked.append(f"{event.removeprefix('socket.')} {values[1:]}")

    sys.addaudithook(hear)
    return asked


def _try_all(smoke: _Smoke) -> None:
    sample = smoke.folder / "the sample.tif"
    shutil.copyfile(resource("samples", "astronaut.tif"), sample)
    with smoke.part("window"):
        _try_window(smoke, sample)
    with smoke.part("formats"):
        _try_formats(smoke)
    with smoke.part("commands"):
        _try_commands(smoke, sample)
    with smoke.part("batch"):
        _try_batch(smoke, sample)
    with smoke.part("models"):
        _try_models(smoke)
    with smoke.part("connections"):
        _try_connections()


def _try_window(smoke: _Smoke, sample: Path) -> None:
    """Show the window with the sample, on the screen if there is one."""
    from PySide6.QtCore import QEventLoop, QTimer, qInstallMessageHandler

    from desktop.app import Program
    from desktop.display import create_application
    from desktop.settings import SettingsStore
    from engine.runtime.cards import Registry

    born = _process().create_time()
    app = create_application("lacuna")
    before = qInstallMessageHandler(_say_of_qt)
    registry = Registry(smoke.folder / "added", smoke.models)
    program = Program(smoke.folder / "state", SettingsStore(smoke.folder / "settings.ini"), registry)
    loop, look = QEventLoop(), QTimer(interval=5)

    def seen(name: str) -> None:
        smoke.seconds[name] = round(time.time() - born, 2)

    def look_for_picture() -> None:
        view = program.contents.photos.view if program.ready else None
        if view is not None and view.workspace is not None and view.workspace.document.state.scan.levels:
            view.repaint()
            seen("start to picture")
            loop.quit()

    program.window.painted.connect(lambda: seen("start to window"))
    look.timeout.connect(look_for_picture)
    program.start([sample])
    look.start()
    QTimer.singleShot(_PATIENCE, loop, loop.quit)
    loop.exec()
    look.stop()
    smoke.screen = app.platformName()
    program.window.close()
    program.stop()
    qInstallMessageHandler(before)
    if "start to picture" not in smoke.seconds:
        raise TimeoutError("the sample did not appear")


def _say_of_qt(_kind: QtMsgType, _context: QMessageLogContext, text: str) -> None:
    """Pass on what Qt says, without what it says of every window on a screen that is none."""
    if not text.startswith("This plugin does not support"):
        print(text, file=sys.stderr)


def _try_formats(smoke: _Smoke) -> None:
    from engine.imageio.trial import try_formats

    for name, problem in try_formats(smoke.folder):
        if problem:
            smoke.problems.append(f"{name}: {problem}")
        else:
            smoke.formats.append(name)


def _try_commands(smoke: _Smoke, sample: Path) -> None:
    """Find the damage of the sample, heal it, check the result against the sample, and export it as another file."""
    healed = smoke.folder / "healed.tif"
    mask = resource("samples", "astronaut-mask.png")
    _run("detect", sample, "-o", smoke.folder / "found.png")
    _run("heal", sample, "-o", healed, "--mask", mask, "--feather", 2)
    _run("verify", healed, "--source", sample)
    _run("convert", healed, "-o", smoke.folder / "exported.png", "--depth", 8, "--profile", "srgb")
    if healed.read_bytes() == sample.read_bytes():
        raise ValueError("nothing was healed")


def _try_batch(smoke: _Smoke, sample: Path) -> None:
    """Restore a folder, in a worker process."""
    box, results = smoke.folder / "box", smoke.folder / "results"
    box.mkdir()
    shutil.copyfile(sample, box / "sample.tif")
    _run("batch", box, "-o", results, "--recipe", "gentle", "--workers", 1)
    _run("verify", results / "sample.tif", "--source", box / "sample.tif")


def _run(*words: object) -> None:
    """Run a subcommand.

    Raises:
        RuntimeError: it ended with another status than 0.
    """
    from engine import cli

    status = cli.main([str(word) for word in words])
    if status:
        raise RuntimeError(f"lacuna {words[0]} ended with status {status}")


def _try_models(smoke: _Smoke) -> None:
    """Run every model on one window."""
    from engine.doctor import examine
    from engine.runtime.cards import Registry
    from engine.tasks import check_card

    found = examine(Registry(smoke.folder / "added", smoke.models, check=check_card), twice=False)
    smoke.passed = [test.id for test in found.tests if test.problem is None]
    smoke.problems += [f"models: {test.problem.text()}" for test in found.tests if test.problem is not None]
    smoke.problems += [f"models: {problem.text()}" for problem in found.problems]


def _try_connections() -> None:
    """Look for connections that no Python code made."""
    open_ = [line for line in _process().net_connections(kind="inet") if line.raddr]
    if open_:
        raise ConnectionError(f"there is a connection to {open_[0].raddr}")


def _process() -> Any:
    import psutil

    return psutil.Process()
