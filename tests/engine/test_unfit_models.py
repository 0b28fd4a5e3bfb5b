"""Models that can never run are refused at once; layouts and ranges that a card declares are applied."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from engine import cli, imageio
from engine.errors import ModelError
from engine.raster import ArrayMask, ArraySource
from engine.runtime.cards import SHIPPED, ModelCard, Port, Registry, Setting, Stage, TileRules, read_card
from engine.runtime.session import Device
from engine.tasks import TASKS, TaskInput, check_card, run_task, try_model
from tests import tiny_models
from tests.conftest import noise_raster
from tests.tiny_models import MASK, PICTURE, RESULT, SMALL, darker, finder, identity, node, prior, save, stage


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    imageio.write(noise_raster(40, 60), tmp_path / "in.tif")
    monkeypatch.setattr(Registry.__init__, "__defaults__", (tmp_path / "models", SHIPPED))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("id_", sorted(path.parent.name for path in SHIPPED.glob("*/card.toml")))
def test_what_ships_can_run(id_: str) -> None:
    try_model(read_card(SHIPPED / id_ / "card.toml"))


def with_port(card: ModelCard, **changes: Any) -> ModelCard:
    """The card with changes to its first input."""
    first = card.stages[0]
    changed = replace(first, inputs=(replace(first.inputs[0], **changes), *first.inputs[1:]))
    return replace(card, stages=(changed, *card.stages[1:]))


def with_setting(card: ModelCard, *values: Any) -> ModelCard:
    port = Port("picture", "strength", channels=1, layout="N")
    first = card.stages[0]
    return replace(card, stages=(replace(first, inputs=(*first.inputs, port)),), settings=(Setting(*values),))


UNFIT: dict[str, tuple[Callable[[ModelCard], ModelCard], str]] = {
    "task": (lambda card: replace(card, task="paint"), "'paint', which is none of heal, clean"),
    "kind": (lambda card: with_port(card, role="thing"), "takes thing and gives picture, but one is wanted"),
    "nothing": (lambda card: replace(card, stages=(Stage("model.onnx", "", (), ()),)), "takes nothing"),
    "layout": (lambda card: with_port(card, layout="NC"), "the layout NC, not NCHW or NHWC"),
    "colours": (lambda card: with_port(card, colour_space="Lab"), "colour space Lab"),
    "channels": (lambda card: with_port(card, channels=4), "4 channels, not 3"),
    "size": (lambda card: with_port(card, size=256), "a size of its own"),
    "scale": (lambda card: replace(card, tile=replace(SMALL, scale=2)), "2 times as large"),
    "upscale": (lambda card: replace(card, task="upscale"), "as large as they went in"),
    "windows": (lambda card: replace(card, tile=TileRules(20000, 20000, 0, 0)), "20000 pixels a side"),
    "setting": (lambda card: replace(card, settings=(Setting("a", "A", 0, 1, 0),)), "nothing takes its setting 'a'"),
    "default": (lambda card: with_setting(card, "strength", "S", 0.0, 1.0, 2.0), "outside of its own range"),
    "range": (lambda card: with_setting(card, "strength", "S", 0.0, 9.0, 5.0), "Strength goes from 0 to 1"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_card_that_cannot_be_run_is_refused_with_the_reason(
    folder: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change, said = UNFIT[what]
    card = change(identity(folder / "theirs", "bad"))
    with pytest.raises(ModelError, match=said) as caught:
        check_card(card)
    assert caught.value.text().startswith(("The model bad", "The settings of the model bad"))
    tiny_models.write_card(card, folder / "theirs" / "bad")
    assert cli.main(["models", "add", "theirs/bad/card.toml"]) == 1
    assert said in capsys.readouterr().err
    assert not (folder / "models").exists()
    # As if the user had copied it into the folder by hand.
    shutil.copytree(folder / "theirs" / "bad", folder / "models" / "bad")
    for words in (["models"], ["clean", "in.tif", "-o", "out.tif", "--device", "cpu"]):
        assert cli.main(words) == 0
    seen = capsys.readouterr()
    assert said in seen.err
    assert "bad " not in seen.out
    for words in (
        ["models", "show", "bad"],
        ["clean", "in.tif", "-o", "o.tif", "--model", "bad"],
        ["models", "verify"],
    ):
        assert cli.main(words) == 1
        assert said in capsys.readouterr().err
    assert cli.main(["models", "remove", "bad"]) == 0


def test_an_unfit_model_never_becomes_a_task_s_default(tmp_path: Path) -> None:
    card = tiny_models.enlarger(tmp_path, 2, id_="alpha", default=True)
    tiny_models.write_card(with_port(card, channels=4), tmp_path / "alpha")
    registry = Registry(tmp_path, SHIPPED, check=check_card)
    assert registry.default("upscale").id == "upscale2"
    assert [problem.code for problem in registry.problems()] == ["model.kind"]
    with pytest.raises(ModelError, match="4 channels"):
        registry.card("alpha")


@pytest.mark.parametrize("labels", [(), ("scratch",), ("scratch", ""), ("scratch", "scratch"), ("a", "b", "c")])
def test_a_detector_names_each_of_its_maps(tmp_path: Path, labels: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match="does not name each"):
        check_card(replace(finder(tmp_path), labels=labels))


def test_a_generator_of_whole_pictures_has_windows_of_one_size(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="of one fixed size"):
        check_card(replace(prior(tmp_path), tile=TileRules(128, 64, 8, 16, 64)))


def file_with(folder: Path, change: Callable[[onnx.ModelProto], None], tile: TileRules = SMALL) -> ModelCard:
    """An identity model whose ONNX file was changed."""
    card = identity(folder, "bad")
    model = onnx.load(folder / "bad" / "model.onnx")
    change(model)
    data = model.SerializeToString()
    (folder / "bad" / "model.onnx").write_bytes(data)
    made = replace(card.stages[0], sha256=hashlib.sha256(data).hexdigest())
    return save(folder, "bad", "clean", made, tile=tile)


def sides(*values: int | str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        for value in (model.graph.input[0], model.graph.output[0]):
            value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, TensorProto.FLOAT, values))

    return change


def kind(model: onnx.ModelProto) -> None:
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.elem_type = TensorProto.INT64


def another_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(onnx.helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    model.graph.node.append(node("Identity", "more", "unused"))


def half_as_large(model: onnx.ModelProto) -> None:
    del model.graph.node[:]
    model.graph.node.append(node("AveragePool", "picture", "result", kernel_shape=[2, 2], strides=[2, 2]))


def nothing_at_all(model: onnx.ModelProto) -> None:
    del model.graph.node[:]


FILES: dict[str, tuple[Callable[[onnx.ModelProto], None], str]] = {
    "axes": (sides("n", 3, "h"), "has 3 axes for 'picture', and the card says NCHW"),
    "channels": (sides("n", 1, "h", "w"), "has 1 channels for 'picture', and the card says 3"),
    "one size": (sides("n", 3, 256, 256), "takes 256 pixels a side"),
    "type": (kind, "decimal numbers of 32 bits are wanted"),
    "input": (another_input, "wants 'more', which its card does not name"),
    "smaller": (half_as_large, "has another size"),
    "broken": (nothing_at_all, "could not be loaded"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_is_not_what_its_card_says_is_refused(
    folder: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change, said = FILES[what]
    card = file_with(folder / "theirs", change)
    check_card(card)
    with pytest.raises(ModelError, match="was tried and does not work") as caught:
        try_model(card)
    assert said in caught.value.text()
    assert cli.main(["models", "add", "theirs/bad/card.toml"]) == 1
    assert said in capsys.readouterr().err
    assert not (folder / "models").exists()


@pytest.mark.parametrize("what", [sides(1, 3, 64, 64), sides("n", 3, "h", "w")])
def test_a_file_of_one_size_runs_when_the_card_says_so(
    folder: Path, what: Callable[[onnx.ModelProto], None], capsys: pytest.CaptureFixture[str]
) -> None:
    try_model(file_with(folder / "theirs", what, TileRules(64, 64, 8, 8, 64)))
    assert cli.main(["models", "add", "theirs/bad/card.toml"]) == 0
    assert cli.main(["models"]) == 0
    assert "bad" in capsys.readouterr().out
    assert cli.main(["clean", "in.tif", "-o", "out.tif", "--model", "bad"]) == 0
    assert np.array_equal(imageio.read(folder / "out.tif").pixels, imageio.read(folder / "in.tif").pixels)


def result(card: ModelCard, mask: bool = False) -> np.ndarray:
    pixels, hole = noise_raster(40, 60).pixels, np.zeros((40, 60), np.uint8)
    hole[10:20, 10:30] = 255
    more = {"texture": 0.0} if mask else {}
    settings = TASKS[card.task].settings(**more)
    job = TaskInput(card.task, ArraySource(pixels), None, ArrayMask(hole), settings, card, Device.CPU)
    return run_task(job).apply_to(pixels)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_layouts_and_ranges_that_a_card_declares_are_honoured(
    tmp_path: Path, layout: str, low: float, high: float
) -> None:
    """The output is half of the picture for every layout and range."""
    ports = [replace(port, layout=layout, low=low, high=high) for port in (PICTURE, RESULT)]
    nodes = [node("Sub", "picture low", "above"), node("Mul", "above half", "less"), node("Add", "less low", "result")]
    numbers = {"half": np.full(1, 0.5, np.float32), "low": np.full(1, low, np.float32)}
    made = stage(tmp_path / "same", "model.onnx", nodes, (ports[0],), (ports[1],), **numbers)
    card = save(tmp_path, "same", "clean", made)
    try_model(card)
    plain = result(darker(tmp_path))
    assert np.abs(result(card).astype(int) - plain).max() <= 1


def test_two_cards_of_one_file_are_each_honoured(tmp_path: Path) -> None:
    """One of them a corrected copy of the other, for instance."""
    nodes, half = [node("Mul", "picture half", "result")], np.full(1, 0.5, np.float32)
    results = []
    for low in (0.0, -1.0):
        ports = [replace(port, low=low) for port in (PICTURE, RESULT)]
        made = stage(tmp_path / f"from{low:g}", "model.onnx", nodes, (ports[0],), (ports[1],), half=half)
        results.append(result(save(tmp_path, f"from{low:g}", "clean", made)).astype(float))
    # Half of what is told from -1 on lies half way to the middle of the range.
    assert np.abs(results[1] - (results[0] + 65535 / 4)).max() <= 2


@pytest.mark.parametrize("mask_means", [0, 1])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_mask_s_layout_and_range_are_honoured(tmp_path: Path, layout: str, mask_means: int) -> None:
    """The model outputs its mask: lost pixels are 1, or 0 if the card says so."""
    mask, filled = (replace(port, layout=layout, low=-1.0) for port in (MASK, RESULT))
    nodes = [
        node("Concat", "mask mask mask", "result", axis=3 if layout == "NHWC" else 1),
        node("Identity", "picture", "unused"),
    ]
    made = stage(tmp_path / "masker", "model.onnx", nodes, (PICTURE, mask), (filled,))
    healed = result(save(tmp_path, "masker", "heal", made, mask_means=mask_means), mask=True)
    assert np.all(healed[10:20, 10:30] == (65535 if mask_means else 0))


def test_last_channels_are_found_in_the_file_too(tmp_path: Path) -> None:
    card = file_with(tmp_path, sides("n", "h", "w", 3))
    first = card.stages[0]
    with pytest.raises(ModelError, match="takes 3 pixels a side"):
        try_model(card)
    turned = replace(
        first,
        inputs=tuple(replace(port, layout="NHWC") for port in first.inputs),
        outputs=tuple(replace(port, layout="NHWC") for port in first.outputs),
    )
    try_model(replace(card, stages=(turned,)))
