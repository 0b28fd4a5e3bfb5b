"""What holds for every test: no leaked thread, no Qt warning, no stray log line; its own program for each window."""

from __future__ import annotations

import logging
import os
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
    from pytestqt.qtbot import QtBot

    from desktop.app import Program

# A window that nobody sees, wherever the tests are started.
os.environ["QT_QPA_PLATFORM"] = "offscreen"

hypothesis.settings.register_profile("lacuna", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.load_profile("lacuna")


@pytest.fixture(autouse=True)
def _no_stray_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A log line of warning or above, from anybody, fails the test."""
    yield
    records = [r for when in ("setup", "call") for r in caplog.get_records(when) if r.levelno >= logging.WARNING]
    assert not records, [record.getMessage() for record in records]


@pytest.fixture(autouse=True)
def _no_leaked_threads() -> Iterator[None]:
    """A thread that outlives the test fails it (onnxruntime's and OpenCV's own pools are no Python threads)."""
    before = set(threading.enumerate())
    yield
    leaked = [thread.name for thread in threading.enumerate() if thread not in before and not thread.daemon]
    assert not leaked, leaked


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """The models that ship, and an empty place for added ones."""
    return Registry(user_folder=tmp_path / "models")


@pytest.fixture
def program(qtbot: QtBot, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    """The whole application with its own settings and sessions; closed without questions at the end."""
    from desktop.app import Program
    from desktop.dialogs.questions import Closing, Questions, Waiting
    from desktop.settings import SettingsStore

    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: Closing.DISCARD))
    monkeypatch.setattr(Questions, "waiting", classmethod(lambda *_: Waiting.DISCARD))
    program = Program(tmp_path / "state", SettingsStore(tmp_path / "settings.ini"), registry)
    program.window.resize(1280, 860)
    program.start([])
    qtbot.waitUntil(lambda: program.ready and bool(program.contents.task.models))
    yield program
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: Closing.DISCARD))
    monkeypatch.setattr(Questions, "waiting", classmethod(lambda *_: Waiting.DISCARD))
    program.window.close()
    program.stop()
    program.window.deleteLater()


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A 16-bit scan on the disk."""
    from engine import imageio

    path = tmp_path / "scan.tif"
    imageio.write(noise_raster(), path)
    return path


@pytest.fixture
def other(scan: Path) -> Path:
    """A second scan beside the first."""
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
