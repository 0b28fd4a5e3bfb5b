"""The reviewed picture, and the models that find and heal its defects."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.runtime.cards import Registry
from tests.desktop import tiny
from tests.desktop.reviewing import BLOTS, write_blots


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Tiny models alone."""
    tiny.add_all(tmp_path / "models")
    return Registry(user_folder=tmp_path / "models", shipped=tmp_path / "none")


@pytest.fixture
def blots(tmp_path: Path) -> Path:
    """Five defects: two of dust, a scratch, a hair of two sure ends and a fainter scratch."""
    return write_blots(tmp_path / "blots.png", *BLOTS)
