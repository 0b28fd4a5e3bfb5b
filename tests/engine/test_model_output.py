"""The output of a network is checked before it is used."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from engine import imageio
from engine.errors import ModelError
from engine.raster import ArrayMask, ArraySource
from engine.runtime.cards import ModelCard, Port
from engine.runtime.session import Device
from engine.tasks import TASKS, TaskInput, run_task
from tests.conftest import noise_raster
from tests.tiny_models import MASK, PICTURE, RESULT, node, save, stage

NUMBERS = {
    "nothing": np.zeros(1, np.float32),
    "many": np.full(1, 3e38, np.float32),
    "first": np.zeros(1, np.int64),
}
NOT_FINITE = {
    "nan": [node("Mul", "picture nothing", "zero"), node("Div", "zero zero", "result")],
    "inf": [node("Div", "picture nothing", "result")],
    "huge": [node("Mul", "picture many", "result")],
    "-inf": [node("Neg", "picture", "dark"), node("Div", "dark nothing", "result")],
    "one pixel": [
        node("Max", "picture", "brightest"),
        node("ReduceMax", "brightest", "top", keepdims=1),
        node("Sub", "picture top", "below"),
        node("Log", "below", "result"),
    ],
}


def model(folder: Path, nodes: list, task: str = "clean", output: Port = RESULT) -> ModelCard:
    inputs = (PICTURE, MASK) if task == "heal" else (PICTURE,)
    unused = [node("Identity", "mask", "unused")] if task == "heal" else []
    more = {"labels": ("scratch", "stain")} if task == "detect" else {}
    made = stage(folder / "wrong", "model.onnx", nodes + unused, inputs, (output,), **NUMBERS)
    return save(folder, "wrong", task, made, **more)


def run(card: ModelCard) -> object:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 10:20] = 255
    job = TaskInput(
        card.task,
        ArraySource(noise_raster(40, 60).pixels),
        None,
        ArrayMask(mask),
        TASKS[card.task].settings(),
        card,
        Device.CPU,
    )
    return run_task(job)


@pytest.mark.parametrize("kind", NOT_FINITE)
@pytest.mark.parametrize("task", ["clean", "heal"])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, kind: str, task: str) -> None:
    with pytest.raises(ModelError, match="no numbers") as caught:
        run(model(tmp_path, NOT_FINITE[kind], task))
    assert caught.value.code == "model.numbers"


def test_values_outside_of_a_picture_are_clipped(tmp_path: Path) -> None:
    patch = run(model(tmp_path, [node("Neg", "picture", "result")]))
    assert all(piece.pixels.max() == 0 for piece in patch.pieces)


PROBABILITY = Port("result", "probability", channels=2)


@pytest.mark.parametrize(
    ("task", "output", "nodes"),
    [
        ("clean", RESULT, [node("ReduceMean", "picture", "result", keepdims=0)]),
        ("clean", RESULT, [node("Unsqueeze", "picture first", "result")]),
        ("clean", RESULT, [node("Concat", "picture picture", "result", axis=1)]),
        ("clean", RESULT, [node("Concat", "picture picture", "result", axis=3)]),
        ("clean", RESULT, [node("Cast", "picture", "result", to=TensorProto.INT64)]),
        ("clean", RESULT, [node("Cast", "picture", "result", to=TensorProto.STRING)]),
        ("clean", RESULT, [node("SequenceConstruct", "picture", "result")]),
        ("detect", PROBABILITY, [node("Identity", "picture", "result")]),
        ("heal", RESULT, [node("Shape", "picture", "sides"), node("Cast", "sides", "result", to=TensorProto.FLOAT)]),
    ],
)
def test_output_of_another_kind_than_the_card_says_is_refused(
    tmp_path: Path, task: str, output: Port, nodes: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    # onnx's own checker would refuse to save such a file.
    monkeypatch.setattr("onnx.checker.check_model", lambda _: None)
    with pytest.raises(ModelError) as caught:
        run(model(tmp_path, nodes, task, output))
    assert caught.value.text().count("wrong") or "model.onnx" in caught.value.text()
    assert caught.value.code in ("model.output", "model.run", "model.ports")


def test_half_precision_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx.checker.check_model", lambda _: None)
    nodes = [node("Mul", "picture picture", "square"), node("Cast", "square", "result", to=TensorProto.FLOAT16)]
    card, file = model(tmp_path, nodes), tmp_path / "wrong"
    loaded = onnx.load(file / "model.onnx")
    loaded.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(loaded, file / "model.onnx")
    made = replace(card.stages[0], sha256=hashlib.sha256((file / "model.onnx").read_bytes()).hexdigest())
    patch = run(save(tmp_path, "wrong", "clean", made))
    assert max(piece.pixels.max() for piece in patch.pieces) > 40_000


def test_a_command_says_so_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from engine import cli
    from engine.runtime.cards import Registry

    model(tmp_path / "mine", NOT_FINITE["nan"])
    imageio.write(noise_raster(40, 60), tmp_path / "in.tif")
    monkeypatch.setattr(Registry.__init__, "__defaults__", (tmp_path / "mine", tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["clean", "in.tif", "-o", "out.tif", "--model", "wrong"]) == 1
    assert "no numbers" in capsys.readouterr().err
    assert not (tmp_path / "out.tif").exists()
