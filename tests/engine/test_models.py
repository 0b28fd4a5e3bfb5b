"""Model cards, the registry and sessions."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from engine.errors import DeviceError, ModelError, Words
from engine.jobs import Cancelled, JobContext
from engine.runtime.cards import SHIPPED, ModelCard, Registry, TileRules, read_card, write_card
from engine.runtime.session import SESSIONS, Device, OutOfMemory, SessionPool, _as_engine_error, available_devices

SHIPPED_IDS = sorted(path.parent.name for path in SHIPPED.glob("*/card.toml"))
HEALERS = ["context_encoder", "dcgan", "edgeconnect", "heal", "partial_convolution", "unsupervised"]


@pytest.fixture
def card(registry: Registry) -> ModelCard:
    return registry.default("heal")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A third party's model: ours under another name."""
    folder = tmp_path / "theirs"
    shutil.copytree(SHIPPED / "heal", folder)
    text = (folder / "card.toml").read_text()
    (folder / "card.toml").write_text(text.replace('id = "heal"', 'id = "theirs"', 1))
    return folder


def test_the_shipped_model_fits_its_card(card: ModelCard) -> None:
    card.verify()
    assert card.task == "heal"
    assert card.licence == "Apache-2.0"
    assert card.training.parameters <= 4_000_000
    assert card.path(card.stages[0]).stat().st_size < 8_000_000
    assert card.training.credits


def test_the_shipped_model_beats_the_classical_filling(card: ModelCard) -> None:
    for kind in ("scratches", "strokes"):
        assert card.scores[f"{kind}_hole_psnr"] > card.scores[f"{kind}_navier_stokes"]


LARGER = {"heal": 8_000_000, "clean": 4_500_000, "upscale4": 1_300_000, "detect": 4_000_000, "faces": 1_500_000}
"""Models that may take more bytes than the others."""


def test_every_system_ships_with_its_scores_and_credits(registry: Registry) -> None:
    cards = registry.cards()
    assert not registry.problems()
    assert {card.task: registry.default(card.task).id for card in cards} == {
        "heal": "heal",
        "clean": "clean",
        "tone": "tone",
        "detect": "detect",
        "upscale": "upscale2",
        "faces": "faces",
    }
    assert sorted(card.id for card in cards if card.task == "heal") == HEALERS
    assert sorted(card.id for card in cards if card.task == "clean") == ["autoencoder", "clean", "enhance"]
    for card in cards:
        card.verify()
        assert card.scores, card.id
        assert card.training.credits, card.id
        assert card.training.minutes > 0, card.id
        size = sum(card.path(stage).stat().st_size for stage in card.stages)
        assert size <= LARGER.get(card.id, 1_000_000), card.id
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) < 28_000_000


def test_a_card_is_written_and_read_again(card: ModelCard, tmp_path: Path) -> None:
    write_card(card, tmp_path)
    assert read_card(tmp_path / "card.toml") == card


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('task = "heal"', ""),
        ('task = "heal"', "task = 3"),
        ('task = "heal"', 'tusk = "heal"'),
        ('id = "heal"', 'id = "../heal"'),
        ('file = "model.onnx"', 'file = "../model.onnx"'),
        ("minimum = 128", "minimum = 7"),
        ("[tile]", "[tile"),
    ],
)
def test_an_impossible_card_is_refused(card: ModelCard, tmp_path: Path, before: str, after: str) -> None:
    text = (card.folder / "card.toml").read_text()
    assert before in text
    (tmp_path / "card.toml").write_text(text.replace(before, after, 1))
    with pytest.raises(ModelError):
        read_card(tmp_path / "card.toml")


def test_impossible_tiles_are_refused() -> None:
    for values in ((512, 128, 80, 64, 32), (100, 128, 32, 64, 32), (512, 100, 32, 64, 32), (512, 128, 32, -1, 32)):
        with pytest.raises(ValueError, match="tile"):
            TileRules(*values)


def test_models_are_added_verified_and_removed(registry: Registry, copy: Path) -> None:
    added = registry.add(copy / "card.toml")
    assert registry.card("theirs") == added
    assert [card.id for card in registry.cards("heal")] == [*HEALERS, "theirs"]
    assert registry.default("heal").id == "heal"
    with pytest.raises(ModelError, match="already"):
        registry.add(copy / "card.toml")
    registry.remove("theirs")
    with pytest.raises(ModelError, match="no model"):
        registry.card("theirs")
    with pytest.raises(ModelError, match="belongs to the program"):
        registry.remove("heal")
    with pytest.raises(ModelError):
        registry.default("paint")


def test_a_changed_or_missing_file_is_refused(registry: Registry, copy: Path) -> None:
    model = copy / "model.onnx"
    data = bytearray(model.read_bytes())
    data[1000] ^= 1
    model.write_bytes(data)
    with pytest.raises(ModelError, match="checksum"):
        registry.add(copy / "card.toml")
    model.unlink()
    with pytest.raises(ModelError, match="lacks"):
        registry.add(copy / "card.toml")
    assert [card.id for card in registry.cards()] == SHIPPED_IDS


def test_a_damaged_card_is_left_out_and_named(registry: Registry, copy: Path, tmp_path: Path) -> None:
    registry.add(copy / "card.toml")
    (tmp_path / "models" / "theirs" / "card.toml").write_text("rubbish")
    assert [card.id for card in registry.cards()] == SHIPPED_IDS
    assert "theirs" in registry.problems()[0].text()
    with pytest.raises(ModelError, match="theirs"):
        registry.card("theirs")


def feeds(size: int = 64) -> dict[str, np.ndarray]:
    return {"picture": np.full((1, 3, size, size), 0.5, np.float32), "mask": np.zeros((1, 1, size, size), np.float32)}


def test_a_session_runs_reports_its_device_and_is_cached(card: ModelCard) -> None:
    session = SESSIONS.open(card, card.stages[0], Device.CPU)
    assert session.device is Device.CPU
    assert SESSIONS.open(card, card.stages[0], Device.CPU) is session
    (filled,) = session.run(feeds(), JobContext())
    assert filled.shape == (1, 3, 64, 64)
    assert np.abs(filled - 0.5).max() < 1e-6


def test_a_run_is_cancelled_while_it_runs(card: ModelCard) -> None:
    session = SESSIONS.open(card, card.stages[0], Device.CPU)
    context = JobContext()
    large = feeds(1536)
    timer = threading.Timer(0.2, context.cancel)
    timer.start()
    with pytest.raises(Cancelled):  # noqa: PT012 - one of the runs is the one that is cancelled
        for _ in range(100):
            session.run(large, context)
    timer.join()
    assert session.run(feeds(), JobContext())[0].shape == (1, 3, 64, 64)


def test_missing_cuda_is_an_error(card: ModelCard) -> None:
    if SessionPool().open(card, card.stages[0], Device.AUTO).device is Device.CPU:
        with pytest.raises(DeviceError, match="CUDA was asked for"):
            SessionPool().open(card, card.stages[0], Device.CUDA)
    assert Device.CPU in available_devices()
    assert SessionPool().open(card, card.stages[0], Device.AUTO).device in (Device.CPU, Device.CUDA)


def test_a_file_that_is_not_a_model_is_an_error(copy: Path) -> None:
    (copy / "model.onnx").write_bytes(b"rubbish")
    card = read_card(copy / "card.toml")
    import hashlib

    stage = dataclasses.replace(card.stages[0], sha256=hashlib.sha256(b"rubbish").hexdigest())
    card = dataclasses.replace(card, stages=(stage,))
    with pytest.raises(ModelError, match="could not be loaded") as caught:
        SessionPool().open(card, stage, Device.CPU)
    assert caught.value.text().endswith(".")
    assert len(_as_engine_error(RuntimeError("x" * 5000), Words("It failed")).text()) < 500


def test_a_card_that_names_a_missing_tensor_is_an_error(card: ModelCard) -> None:
    stage = card.stages[0]
    port = dataclasses.replace(stage.inputs[0], name="nonsense")
    stage = dataclasses.replace(stage, inputs=(port, stage.inputs[1]))
    with pytest.raises(ModelError, match="nonsense"):
        SessionPool().open(dataclasses.replace(card, stages=(stage,)), stage, Device.CPU)


def test_out_of_memory_is_recognised() -> None:
    assert isinstance(
        _as_engine_error(RuntimeError("Failed to allocate memory for requested buffer"), Words("x")), OutOfMemory
    )
    assert isinstance(_as_engine_error(RuntimeError("CUDA error: out of memory"), Words("x")), OutOfMemory)
    assert isinstance(_as_engine_error(RuntimeError("bad shape"), Words("x")), ModelError)
