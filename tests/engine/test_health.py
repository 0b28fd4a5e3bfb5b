"""What the quick check of an installation finds without running a model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine import health
from engine.doctor import examine
from engine.health import problems
from engine.runtime.cards import Registry
from engine.runtime.driver import Driver, GraphicsCard
from engine.runtime.session import Library

CARD = GraphicsCard("NVIDIA T4", 1 << 34, 1 << 33)
CPU, CUDA = ("CPUExecutionProvider",), ("CUDAExecutionProvider", "CPUExecutionProvider")


@pytest.fixture
def empty(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models", tmp_path / "shipped")


def said(registry: Registry, *folders: Path, use_card: bool = True) -> list[str]:
    return [str(problem.words) for problem in problems(registry, folders, use_card=use_card)]


def test_folders_that_cannot_be_written_and_full_disks_are_found(
    empty: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "nvidia_driver", lambda: None)
    assert said(empty, tmp_path, tmp_path / "new" / "folder") == []
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(health.os, "access", lambda *_: False)
    assert said(empty, tmp_path / "new") == [
        f"Nothing can be written in {tmp_path / 'new'}, where Lacuna keeps its files."
    ]
    room = shutil.disk_usage(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "full"))
    (tmp_path / "full").mkdir()
    monkeypatch.setattr(
        health.shutil, "disk_usage", lambda path: room._replace(free=3_000_000 if path.name == "full" else 10**10)
    )
    assert said(empty) == [f"There is nearly no free space in {tmp_path / 'full'}: 3 MB."]


@pytest.mark.parametrize(
    ("library", "driver", "missing", "words"),
    [
        (Library("onnxruntime", "1.30", "", CPU), Driver("580.1", "13.0", (CARD,)), "", "onnxruntime cannot use it"),
        (Library("ort", "1.30", "12.8", CUDA), Driver("470.1", "11.4", (CARD,)), "", "470.1 is too old for CUDA 12.8"),
        (Library("ort", "1.30", "12.8", CUDA), Driver("580.1", "13.0", (CARD,)), "libcudnn.so.9", "libcudnn.so.9"),
        (Library("ort", "1.30", "12.8", CUDA), Driver("580.1", "13.0", (CARD,)), "", ""),
        (Library("onnxruntime", "1.30", "", CPU), Driver("580.1", "13.0", ()), "", ""),
    ],
    ids=["not built for it", "old driver", "missing library", "all there", "no card"],
)
def test_a_graphics_card_that_is_not_used_is_found_with_the_reason(
    empty: Registry, monkeypatch: pytest.MonkeyPatch, library: Library, driver: Driver, missing: str, words: str
) -> None:
    monkeypatch.setattr(health, "nvidia_driver", lambda: driver)
    monkeypatch.setattr(health, "library", lambda: library)
    monkeypatch.setattr(health, "missing_cuda_file", lambda: missing)
    sentences = said(empty)
    assert len(sentences) == bool(words)
    assert all(words in sentence for sentence in sentences)
    assert said(empty, use_card=False) == [], "who wants the processor is not told of the card"


def test_the_doctor_names_models_that_the_installation_came_with_and_that_are_gone(
    empty: Registry, tmp_path: Path
) -> None:
    (tmp_path / "shipped").mkdir(exist_ok=True)
    (tmp_path / "shipped" / "shipped.txt").write_text("heal\n")
    found = examine(empty)
    assert [str(problem) for problem in found.problems] == [
        f"The model heal is missing in {tmp_path / 'shipped'}. Install Lacuna again."
    ]
    assert found.failed == 1
