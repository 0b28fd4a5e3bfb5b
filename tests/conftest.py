"""Checks for every test - no leaked threads, no warnings in the log - and fixtures for models, program and scans."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest

from engine.raster import Raster, Resolution
from engine.runtime.cards import Registry

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication
    from pytestqt.qtbot import QtBot

    from desktop.app import Program

# Windows are never shown, even if there is a display.
os.environ["QT_QPA_PLATFORM"] = "offscreen"
# Nor do tests see the models and recipes of whoever runs them (on Linux).
os.environ["XDG_DATA_HOME"] = os.path.join(os.devnull, "none")  # noqa: PTH118 - an environment variable is text

hypothesis.settings.register_profile("lacuna", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.load_profile("lacuna")


@pytest.fixture(scope="session")
def qapp_cls() -> type[QApplication]:
    """The class that pytest-qt makes the application of."""
    from desktop.display import Application

    return Application


@pytest.fixture(autouse=True)
def _no_stray_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test in which anything logs a warning or an error."""
    yield
    records = [r for when in ("setup", "call") for r in caplog.get_records(when) if r.levelno >= logging.WARNING]
    assert not records, [record.getMessage() for record in records]


@pytest.fixture(autouse=True)
def _no_leaked_threads() -> Iterator[None]:
    """Fail a test that leaves a Python thread (those of onnxruntime and OpenCV are not Python threads)."""
    before = set(threading.enumerate())
    yield
    leaked = [thread.name for thread in threading.enumerate() if thread not in before and not thread.daemon]
    assert not leaked, leaked


@pytest.fixture
def own_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's own recipes, which does not exist yet."""
    folder = tmp_path / "own" / "recipes"
    for module in ("files", "own"):
        monkeypatch.setattr(f"engine.recipes.{module}.own_folder", lambda: folder)
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """The models that ship, and an empty folder for added ones."""
    return Registry(user_folder=tmp_path / "models")


@pytest.fixture
def program(qtbot: QtBot, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    """The running application with its own settings and autosave folder; closed without questions at the end."""
    from desktop.app import Program
    from desktop.dialogs.questions import Closing, Questions, Waiting
    from desktop.settings import SettingsStore

    for name in ("unsaved", "unsaved_recipe"):
        monkeypatch.setattr(Questions, name, classmethod(lambda *_: Closing.DISCARD))
    monkeypatch.setattr(Questions, "waiting", classmethod(lambda *_: Waiting.DISCARD))
    program = Program(tmp_path / "state", SettingsStore(tmp_path / "settings.ini"), registry)
    program.window.resize(1280, 860)
    program.start([])
    qtbot.waitUntil(lambda: program.ready and bool(program.contents.task.models))
    yield program
    for name in ("unsaved", "unsaved_recipe"):
        monkeypatch.setattr(Questions, name, classmethod(lambda *_: Closing.DISCARD))
    monkeypatch.setattr(Questions, "waiting", classmethod(lambda *_: Waiting.DISCARD))
    program.window.close()
    program.stop()
    program.window.deleteLater()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's own models, for this process and those that it starts; models run on one thread."""
    if sys.platform != "linux":
        pytest.skip("user folders are set as on Linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "data" / "lacuna" / "models"


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """The file of a 16-bit scan."""
    from engine import imageio

    path = tmp_path / "scan.tif"
    imageio.write(noise_raster(), path)
    return path


@pytest.fixture
def other(scan: Path) -> Path:
    """The file of a second scan in the same folder."""
    path = scan.with_name("other.tif")
    path.write_bytes(scan.read_bytes())
    return path


def noise_raster(
    height: int = 300, width: int = 400, channels: int = 3, dtype: type = np.uint16, profile: bytes | None = None
) -> Raster:
    """A smooth picture with noise on it, so that a heal has something to continue."""
    random = np.random.default_rng(5)
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([x / width, y / height, (x + y) / (width + height)], axis=2)[..., :channels]
    top = np.iinfo(dtype).max
    values = ramp * 0.7 + 0.15 + random.normal(0, 0.01, ramp.shape)
    return Raster((np.clip(values, 0, 1) * top).astype(dtype), profile, Resolution(600, 600))


def write_scan(path: Path, mark: int, height: int = 40, width: int = 60) -> Path:
    """Write a scan whose first pixel tells it from others."""
    from engine import imageio

    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = noise_raster(height, width).pixels.copy()
    pixels[0, 0] = mark
    imageio.write(Raster(pixels), path)
    return path
