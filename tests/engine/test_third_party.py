"""Third parties' models without a card: what their files say, the cards that are made of it, and trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine import cli, imageio
from engine.errors import ModelError
from engine.jobs import Cancelled, JobContext
from engine.raster import ArrayMask, ArraySource
from engine.runtime.cards import SHIPPED, Registry, read_card
from engine.runtime.session import Device
from engine.tasks import check_card
from engine.third_party import Answers, Scan, card_of, read_model, try_on
from tests.conftest import noise_raster
from tests.tiny_models import node

Sides = list[int | str | None] | None
OPEN: Sides = ["n", 3, "h", "w"]
ONE: Sides = ["n", 1, "h", "w"]
FLOAT, HALF, BYTE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8


def foreign(
    path: Path,
    inputs: dict[str, Sides],
    outputs: dict[str, Sides],
    nodes: list[onnx.NodeProto],
    constants: dict[str, Any] | None = None,
    kind: int = FLOAT,
) -> Path:
    """Write an ONNX file; inputs and outputs by name with their sides."""
    given, made = (
        [helper.make_tensor_value_info(name, kind, sides) for name, sides in part.items()] for part in (inputs, outputs)
    )
    numbers = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(nodes, "foreign", given, made, numbers)
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    )
    return path


def same(path: Path, sides: Sides = OPEN, made: Sides | str = "", kind: int = FLOAT) -> Path:
    """An identity model with other declared sides."""
    outputs = sides if isinstance(made, str) else made
    return foreign(path, {"x": sides}, {"y": outputs}, [node("Identity", "x", "y")], kind=kind)


def filler(path: Path) -> Path:
    """Takes BGR from -1 to 1 and a mask that is 0 where the picture is lost, and fills with pure blue."""
    nodes = [node("Mul", "img m", "known"), node("Sub", "one m", "lost"), node("Mul", "lost blue", "fill")]
    blue = np.array([1, -1, -1], np.float32)[None, :, None, None]
    numbers = {"one": np.ones(1, np.float32), "blue": blue}
    return foreign(path, {"img": OPEN, "m": ONE}, {"y": OPEN}, [*nodes, node("Add", "known fill", "y")], numbers)


def add_input(count: int) -> Callable[[Path], Path]:
    names = [f"x{number}" for number in range(count)]
    return lambda path: foreign(path, dict.fromkeys(names, OPEN), {"y": OPEN}, [node("Sum", " ".join(names), "y")])


def outside(path: Path) -> Path:
    """Its weights are in a second file."""
    weights = {"w": np.ones((3, 40, 40), np.float32)}
    foreign(path, {"x": [1, 3, 40, 40]}, {"y": [1, 3, 40, 40]}, [node("Mul", "x w", "y")], weights)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=16)
    assert path.with_name("weights.bin").exists()
    return path


def written(text: bytes) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_bytes(text)
        return path

    return write


def cast(path: Path) -> Path:
    return foreign(path, {"x": OPEN}, {"y": OPEN}, [node("Cast", "x", "y", to=BYTE)])


def _bytes_out(path: Path) -> Path:
    given = helper.make_tensor_value_info("x", FLOAT, OPEN)
    made = helper.make_tensor_value_info("y", BYTE, OPEN)
    graph = helper.make_graph([node("Cast", "x", "y", to=BYTE)], "foreign", [given], [made])
    return written(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    )(path)


UNFIT: dict[str, tuple[Callable[[Path], Path], str]] = {
    "rubbish": (written(b"rubbish"), "It is not an ONNX model that can be run here: "),
    "empty": (written(b""), "It is not an ONNX model that can be run here: "),
    "missing": (lambda path: path, "cannot be read: No such file or directory."),
    "folder": (lambda path: path.parent, "cannot be read: "),
    "weights": (outside, "Its weights are in a second file beside it."),
    "three": (add_input(3), "it has 3 inputs (x0, x1, x2); one picture is wanted, or a picture and a mask."),
    "two": (add_input(2), "not x0 1 x 3 x any x any and x1"),
    "half": (lambda path: same(path, kind=HALF), "'x' takes numbers of the type float16; decimal numbers of 32 bits"),
    "bytes": (lambda path: same(path, kind=BYTE), "takes numbers of the type uint8"),
    "rank": (lambda path: same(path, None), "'x' does not say how many axes it has."),
    "axes": (lambda path: same(path, [3, "h", "w"]), "'x' has 3 axes; pictures have 4."),
    "batch": (lambda path: same(path, [4, 3, "h", "w"]), "holds 4 pictures at a time; one is wanted."),
    "grey": (lambda path: same(path, ONE), "a picture of 3 channels is wanted as its input"),
    "oblong": (lambda path: same(path, [1, 3, 64, 96]), "only pictures of 96 x 64 pixels"),
    "half fixed": (lambda path: same(path, [1, 3, 64, "w"]), "only pictures of any x 64 pixels"),
    "output": (_bytes_out, "its output 'y' gives numbers of the type uint8"),
    "flat": (
        lambda path: foreign(
            path,
            {"x": OPEN},
            {"y": ["n", 3]},
            [node("ReduceMax", "x axes", "y", keepdims=0)],
            {"axes": np.array([2, 3], np.int64)},
        ),
        "its output 'y' has 2 axes; pictures have 4.",
    ),
    "pooled": (
        lambda path: foreign(
            path,
            {"x": [1, 3, 64, 64]},
            {"y": [1, 3, 32, 32]},
            [node("AveragePool", "x", "y", kernel_shape=[2, 2], strides=[2, 2])],
        ),
        "it gives y 1 x 3 x 32 x 32; a picture is wanted of the same size or",
    ),
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_file_that_can_never_run_is_refused_at_once(tmp_path: Path, what: str) -> None:
    make, said = UNFIT[what]
    with pytest.raises(ModelError) as caught:
        read_model(make(tmp_path / "theirs.onnx"))
    sentence = caught.value.text()
    assert "cannot be " in sentence
    assert said in sentence.replace("n x 3", "1 x 3").replace("any x 3", "1 x 3")
    assert sentence.endswith(".")


def answers(task: str = "clean", **more: Any) -> Answers:
    return Answers(task, "Théirs, 2nd", "MIT", "https://example.org", "Does something.", "x", "y", **more)


@pytest.fixture
def models(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models", SHIPPED, check=check_card)


def scan() -> Scan:
    raster = noise_raster(500, 600)
    return Scan(ArraySource(raster.pixels), None, None, (550.0, 100.0))


def test_what_a_file_says_fills_the_form(tmp_path: Path) -> None:
    path = tmp_path / "theirs.onnx"
    found = read_model(same(path))
    assert (found.tasks, found.pictures, found.layouts, found.side) == (
        ("clean", "tone", "upscale", "detect"),
        ("x",),
        ("NCHW",),
        0,
    )
    found = read_model(same(path, [1, 64, 64, 3]))
    assert (found.tasks, found.layouts, found.side) == (("clean", "tone", "detect"), ("NHWC",), 64)
    assert read_model(same(path, [None] * 4)).layouts == ("NCHW", "NHWC")
    found = read_model(filler(path))
    assert (found.tasks, found.pictures) == (("heal",), ("img",))
    nodes = [node("Resize", "x - scales", "y")]
    scales = {"scales": np.array([1, 1, 4, 4], np.float32)}
    found = read_model(foreign(path, {"x": [1, 3, 64, 64]}, {"y": [1, 3, 256, 256]}, nodes, scales))
    assert (found.tasks, found.scale("y"), found.side) == (("upscale",), 4, 64)
    more = [node("Identity", "x", "y"), node("ReduceMean", "x axis", "odds", keepdims=1)]
    axis = {"axis": np.array([1], np.int64)}
    found = read_model(foreign(path, {"x": OPEN}, {"y": OPEN, "odds": ONE}, more, axis))
    assert (found.results("clean"), found.results("detect"), found.planes("odds")) == (("y",), ("y", "odds"), 1)


def test_ranges_channels_and_mask_of_the_form_are_used(tmp_path: Path, models: Registry) -> None:
    found = read_model(filler(tmp_path / "theirs.onnx"))
    said = Answers("heal", "Blue", "MIT", "", "", "img", "y", order="BGR", takes=(-1, 1), gives=(-1, 1), mask_means=0)
    pixels = noise_raster(300, 300).pixels
    hole = np.zeros((300, 300), np.uint8)
    hole[140:160, 130:170] = 255
    shown = try_on(
        card_of(found, said, models),
        Scan(ArraySource(pixels), None, ArrayMask(hole), (150, 150)),
        Device.CPU,
        JobContext(),
    )
    # 300 px are 37 times 8: the trial is 296 px wide, and lies 2 px inside.
    assert shown.after.shape == (296, 296, 3)
    inside = shown.after[138:158, 128:168].reshape(-1, 3).mean(axis=0)
    assert inside[2] > 200
    assert max(inside[:2]) < 60
    assert (shown.before[150, 150] != shown.after[150, 150]).any()
    assert np.array_equal(shown.before[0], shown.after[0])
    assert shown.changed == pytest.approx(hole.astype(bool).sum() / 296**2, rel=0.01)


def test_a_wrong_multiple_shows_in_the_trial(tmp_path: Path, models: Registry) -> None:
    """The model halves its picture four times, and doubles it again."""
    nodes = [
        node("AveragePool", "x", "small", kernel_shape=[16, 16], strides=[16, 16]),
        node("Resize", "small - scales", "y"),
    ]
    path = foreign(
        tmp_path / "theirs.onnx", {"x": OPEN}, {"y": OPEN}, nodes, {"scales": np.array([1, 1, 16, 16], np.float32)}
    )
    found = read_model(path)
    with pytest.raises(ModelError, match="another size"):
        try_on(card_of(found, answers(), models), scan(), Device.CPU, JobContext())
    shown = try_on(card_of(found, answers(multiple=16), models), scan(), Device.CPU, JobContext())
    assert shown.before.shape == shown.after.shape == (368, 368, 3)
    assert shown.changed > 0.9
    cancelled = JobContext()
    cancelled.cancel()
    with pytest.raises(Cancelled):
        try_on(card_of(found, answers(multiple=16), models), scan(), Device.CPU, cancelled)


def test_enlarging_and_searching_are_tried_too(tmp_path: Path, models: Registry) -> None:
    nodes = [node("Resize", "x - scales", "y")]
    path = foreign(
        tmp_path / "large.onnx", {"x": OPEN}, {"y": OPEN}, nodes, {"scales": np.array([1, 1, 3, 3], np.float32)}
    )
    card = card_of(read_model(path), answers("upscale", scale=3), models)
    shown = try_on(card, scan(), Device.CPU, JobContext())
    assert (shown.before.shape, shown.after.shape) == ((184, 184, 3), (552, 552, 3))
    with pytest.raises(ModelError, match="does not enlarge 2 times"):
        try_on(card_of(read_model(path), answers("upscale", scale=2), models), scan(), Device.CPU, JobContext())
    with pytest.raises(ModelError, match="come out as large as they went in"):
        card_of(read_model(path), answers("upscale"), models)
    nodes = [node("Identity", "x", "y")]
    path = foreign(tmp_path / "find.onnx", {"x": OPEN}, {"y": OPEN}, nodes)
    with pytest.raises(ModelError, match="does not name each"):
        card_of(read_model(path), answers("detect", labels=("dust",)), models)
    bright = np.full((200, 200, 3), 30, np.uint8)
    bright[90:110, 90:110] = 250
    card = card_of(read_model(path), answers("detect", labels=("dust", "hair", "tear")), models)
    shown = try_on(card, Scan(ArraySource(bright), None, None, (0, 0)), Device.CPU, JobContext())
    assert 0.005 < shown.changed < 0.05
    assert shown.after[100, 100, 0] > shown.after[100, 100, 1] + 50


def test_an_accepted_model_is_installed_as_by_the_command(
    tmp_path: Path, models: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = same(tmp_path / "theirs.onnx", [1, 64, 64, 3])
    card = card_of(read_model(path), answers(layout="NHWC"), models)
    added = models.add_card(card)
    assert (added.id, added.folder) == ("th_irs_2nd", tmp_path / "models" / "th_irs_2nd")
    assert read_card(added.folder / "card.toml") == card
    assert sorted(file.name for file in added.folder.iterdir()) == ["card.toml", "theirs.onnx"]
    with pytest.raises(ModelError, match="already a model with the title"):
        card_of(read_model(path), answers(), models)
    with pytest.raises(ModelError, match="title and a licence"):
        card_of(read_model(path), replace(answers(), licence=" "), models)
    # The model of a task's name would be its default.
    assert card_of(read_model(path), replace(answers(), title="Upscale"), models).id == "upscale_2"
    monkeypatch.setattr(Registry.__init__, "__defaults__", (tmp_path / "models", SHIPPED))
    imageio.write(noise_raster(70, 90), tmp_path / "in.tif")
    words = ["clean", str(tmp_path / "in.tif"), "-o", str(tmp_path / "out.tif"), "--model", added.id]
    assert cli.main(words) == 0
    path.write_bytes(b"another file now")
    with pytest.raises(ModelError, match="checksum"):
        models.add_card(replace(card, id="again"))
    models.remove(added.id)
    assert not added.folder.exists()
    assert cli.main(["models", "show", added.id]) == 1
    assert "There is no model" in capsys.readouterr().err


def test_a_verification_reads_every_byte_again(tmp_path: Path, models: Registry) -> None:
    models.add_card(card_of(read_model(same(tmp_path / "theirs.onnx")), answers(), models))
    file = tmp_path / "models" / "th_irs_2nd" / "theirs.onnx"
    before, data = file.stat(), bytearray(file.read_bytes())
    assert {entry.id: problem for entry, problem in models.verify(JobContext())}["th_irs_2nd"] is None
    data[-1] ^= 1
    file.write_bytes(data)
    import os

    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = {entry.id: problem for entry, problem in models.verify(JobContext())}
    assert [id_ for id_, problem in found.items() if problem is not None] == ["th_irs_2nd"]
    assert "theirs.onnx" in str(found["th_irs_2nd"])
