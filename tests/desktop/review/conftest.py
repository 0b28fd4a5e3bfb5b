"""Fixtures: a picture with defects, and models that find and heal them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.runtime.cards import Registry
from tests.desktop import tiny
from tests.desktop.reviewing import BLOTS, write_blots


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Only the tiny models."""
    tiny.add_all(tmp_path / "models")
    return Registry(user_folder=tmp_path / "models", shipped=tmp_path / "none")


@pytest.fixture
def blots(tmp_path: Path) -> Path:
    """A scan with five defects: dust twice, a scratch, a faint hair with two certain ends, and a fainter scratch."""
    return write_blots(tmp_path / "blots.png", *BLOTS)
