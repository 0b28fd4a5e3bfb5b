"""Photographs to train on, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.small import make_photographs


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``scans`` and ``masks``; not to be written to."""
    root = tmp_path_factory.mktemp("data")
    make_photographs(root)
    return root
