"""Handmade ONNX models of a few nodes with known results, for tests of the tasks."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engine.runtime.cards import LAYOUTS, ModelCard, Port, Setting, Stage, TileRules, read_card, write_card

PICTURE, MASK, EDGES = Port("picture", "picture"), Port("mask", "mask", channels=1), Port("edges", "edges", channels=1)
RESULT = Port("result", "picture")
STRENGTH = Setting("strength", "Strength", 0.0, 1.0, 0.25)
SMALL = TileRules(default=96, minimum=32, overlap=16, context=8, multiple=16)


def save(
    folder: Path, id_: str, task: str, *stages: Stage, tile: TileRules = SMALL, title: str = "", **more: Any
) -> ModelCard:
    """Write a model card to ``folder / id``, where its stages are, and read it again."""
    card = ModelCard(id_, task, title or id_, "1", "CC0-1.0", 18, tile, stages, **more)
    write_card(card, folder / id_)
    return read_card(folder / id_ / "card.toml")


def stage(
    folder: Path,
    file: str,
    nodes: list[onnx.NodeProto],
    inputs: tuple[Port, ...],
    outputs: tuple[Port, ...],
    **constants: np.ndarray,
) -> Stage:
    """Write an ONNX file; returns its description for the card."""
    folder.mkdir(parents=True, exist_ok=True)
    ranks = {layout: len(layout) for layout in LAYOUTS}
    values = {
        port.name: helper.make_tensor_value_info(port.name, TensorProto.FLOAT, [None] * ranks[port.layout])
        for port in (*inputs, *outputs)
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [values[port.name] for port in inputs],
        [values[port.name] for port in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    (folder / file).write_bytes(data)
    return Stage(file, hashlib.sha256(data).hexdigest(), inputs, outputs)


def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    """A node; ``inputs`` are names separated by spaces, ``-`` for one that is left out."""
    return helper.make_node(kind, [word.strip("-") for word in inputs.split()], [output], **attributes)


def identity(folder: Path, id_: str = "same", task: str = "clean") -> ModelCard:
    """The result is the unchanged picture."""
    nodes = [node("Identity", "picture", "result")]
    return save(folder, id_, task, stage(folder / id_, "model.onnx", nodes, (PICTURE,), (RESULT,)))


def smoother(folder: Path) -> ModelCard:
    """The result is the mean of 5 x 5 pixels."""
    nodes = [node("Conv", "picture kernel", "result", group=3, pads=[2, 2, 2, 2])]
    kernel = np.full((3, 1, 5, 5), 0.04, np.float32)
    return save(
        folder,
        "smoother",
        "clean",
        stage(folder / "smoother", "model.onnx", nodes, (PICTURE,), (RESULT,), kernel=kernel),
    )


def darker(folder: Path) -> ModelCard:
    """The result is half of the picture."""
    nodes = [node("Mul", "picture half", "result")]
    half = np.full(1, 0.5, np.float32)
    return save(
        folder, "darker", "clean", stage(folder / "darker", "model.onnx", nodes, (PICTURE,), (RESULT,), half=half)
    )


def tinter(folder: Path) -> ModelCard:
    """The result is the picture with more red and less blue."""
    nodes = [node("Mul", "picture tint", "result")]
    tint = np.array([1.2, 1.0, 0.8], np.float32)[None, :, None, None]
    return save(
        folder, "tinter", "clean", stage(folder / "tinter", "model.onnx", nodes, (PICTURE,), (RESULT,), tint=tint)
    )


def dimmer(folder: Path) -> ModelCard:
    """The result is the picture times the strength, which is 0.25 by default."""
    nodes = [node("Mul", "picture amount", "result")]
    ports = (PICTURE, Port("amount", "strength", channels=1, layout="N"))
    made = stage(folder / "dimmer", "model.onnx", nodes, ports, (RESULT,))
    return save(folder, "dimmer", "clean", made, settings=(STRENGTH,))


def toner(folder: Path) -> ModelCard:
    """The result is the mean colour of the thumbnail of the whole picture, everywhere."""
    nodes = [
        node("ReduceMean", "small axes", "mean", keepdims=1),
        node("Mul", "picture zero", "nothing"),
        node("Add", "nothing mean", "result"),
    ]
    constants: dict[str, np.ndarray] = {"axes": np.array([2, 3], np.int64), "zero": np.zeros(1, np.float32)}
    ports = (PICTURE, Port("small", "thumbnail", size=16))
    return save(folder, "toner", "tone", stage(folder / "toner", "model.onnx", nodes, ports, (RESULT,), **constants))


def finder(folder: Path, id_: str = "finder", task: str = "detect", sure: float = 0.9) -> ModelCard:
    """Nearly white pixels are a scratch with the probability ``sure``, nearly black ones a stain with 0.8."""
    nodes = [
        node("ReduceMean", "picture axis", "grey", keepdims=1),
        node("Greater", "grey high", "is_white"),
        node("Less", "grey low", "is_black"),
        node("Cast", "is_white", "white", to=TensorProto.FLOAT),
        node("Cast", "is_black", "black", to=TensorProto.FLOAT),
        node("Mul", "white sure", "scratch"),
        node("Mul", "black less_sure", "stain"),
        node("Concat", "scratch stain", "probability", axis=1),
    ]
    numbers = {"high": 0.9, "low": 0.1, "sure": sure, "less_sure": 0.8}
    constants = {name: np.full(1, value, np.float32) for name, value in numbers.items()}
    outputs = (Port("probability", "probability", channels=2),)
    made = stage(folder / id_, "model.onnx", nodes, (PICTURE,), outputs, axis=np.array([1], np.int64), **constants)
    return save(folder, id_, task, made, labels=("scratch", "stain"))


def speck_finder(folder: Path) -> ModelCard:
    """Finds only specks of about 3 px: pixels far brighter than the mean of 9 x 9 px are damage with 0.9."""
    nodes = [
        node("ReduceMean", "picture axis", "grey", keepdims=1),
        node("AveragePool", "grey", "mean", kernel_shape=[9, 9], pads=[4, 4, 4, 4], count_include_pad=0),
        node("Sub", "grey mean", "excess"),
        node("Greater", "excess high", "is_speck"),
        node("Cast", "is_speck", "speck", to=TensorProto.FLOAT),
        node("Mul", "speck sure", "probability"),
    ]
    constants = {name: np.full(1, value, np.float32) for name, value in {"high": 0.35, "sure": 0.9}.items()}
    outputs = (Port("probability", "probability", channels=1),)
    folder_of = folder / "speck_finder"
    made = stage(folder_of, "model.onnx", nodes, (PICTURE,), outputs, axis=np.array([1], np.int64), **constants)
    return save(folder, "speck_finder", "detect", made, labels=("damage",))


def edger(folder: Path) -> ModelCard:
    """First stage: the edges are the picture's brightness. Second stage: the result is as bright as the edges."""
    first = stage(
        folder / "edger",
        "edges.onnx",
        [node("ReduceMean", "picture axis", "edges", keepdims=1), node("Identity", "mask", "unused")],
        (PICTURE, MASK),
        (EDGES,),
        axis=np.array([1], np.int64),
    )
    second = stage(
        folder / "edger",
        "fill.onnx",
        [node("Concat", "edges edges edges", "result", axis=1)],
        (PICTURE, MASK, EDGES),
        (RESULT,),
    )
    return save(folder, "edger", "heal", first, second)


def masker(folder: Path, mask_means: int) -> ModelCard:
    """A heal model whose result is the mask: white where it is 1."""
    made = stage(
        folder / "masker",
        "model.onnx",
        [node("Concat", "mask mask mask", "result", axis=1), node("Identity", "picture", "unused")],
        (PICTURE, MASK),
        (RESULT,),
    )
    return save(folder, "masker", "heal", made, mask_means=mask_means)


def prior(folder: Path, side: int = 64) -> ModelCard:
    """A generator of smooth pictures of 64 px that depend on 8 of the 64 numbers of the latent code."""
    random = np.random.default_rng(3)
    basis = np.zeros((64, 3 * 8 * 8), np.float32)
    basis[:8] = random.normal(0, 1, (8, 3 * 8 * 8))
    mixed = np.zeros((3, 64), np.float32)
    mixed[:, :3] = np.eye(3)
    encoder = stage(
        folder / "prior",
        "encoder.onnx",
        [
            node("ReduceMean", "picture axes", "mean", keepdims=0),
            node("MatMul", "mean mixed", "latent"),
            node("Identity", "mask", "unused"),
        ],
        (PICTURE, MASK),
        (Port("latent", "latent", channels=64, layout="NC"),),
        axes=np.array([2, 3], np.int64),
        mixed=mixed,
    )
    generator = stage(
        folder / "prior",
        "generator.onnx",
        [
            node("MatMul", "latent basis", "flat"),
            node("Sigmoid", "flat", "squeezed"),
            node("Reshape", "squeezed shape", "coarse"),
            node("Resize", "coarse - scales", "result", mode="linear"),
        ],
        (Port("latent", "latent", channels=64, layout="NC"),),
        (RESULT,),
        basis=basis,
        shape=np.array([-1, 3, 8, 8], np.int64),
        scales=np.array([1, 1, side / 8, side / 8], np.float32),
    )
    tile = TileRules(default=64, minimum=64, overlap=8, context=16, multiple=64)
    variation = Setting("variation", "Variation", 0.0, 99.0, 0.0)
    return save(folder, "prior", "heal", encoder, generator, tile=tile, settings=(variation,))


def enlarger(folder: Path, scale: int = 2, says: int = 0, id_: str = "", **more: Any) -> ModelCard:
    """The mean of 5 x 5 pixels, enlarged bilinearly; ``says`` is the scale in its card, if it differs."""
    id_ = id_ or f"enlarger{scale}"
    nodes = [
        node("Conv", "picture kernel", "smooth", group=3, pads=[2, 2, 2, 2]),
        node("Resize", "smooth - scales", "enlarged", mode="linear"),
    ]
    made = stage(
        folder / id_,
        "model.onnx",
        nodes,
        (PICTURE,),
        (Port("enlarged", "picture"),),
        kernel=np.full((3, 1, 5, 5), 0.04, np.float32),
        scales=np.array([1, 1, scale, scale], np.float32),
    )
    tile = TileRules(default=96, minimum=32, overlap=16, context=8, scale=says or scale)
    return save(folder, id_, "upscale", made, tile=tile, **more)


def cleaner(folder: Path) -> ModelCard:
    """The result is the picture minus the noise level / 255."""
    nodes = [node("Div", "level full", "share"), node("Sub", "picture share", "result")]
    ports = (PICTURE, Port("level", "noise_level", channels=1, high=255.0, layout="N"))
    made = stage(folder / "cleaner", "model.onnx", nodes, ports, (RESULT,), full=np.full(1, 255, np.float32))
    return save(folder, "cleaner", "clean", made, settings=(Setting("noise_level", "Noise level", 0.0, 60.0, 0.0),))


def endless(folder: Path, id_: str = "clean") -> ModelCard:
    """A model that practically never ends, to be cancelled."""
    body = helper.make_graph(
        [node("Identity", "go", "on"), node("Relu", "before", "after")],
        "round",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, None),
        ],
    )
    nodes = [node("Loop", "rounds - picture", "result", body=body)]
    rounds = np.array(2**62, np.int64)
    made = stage(folder / id_, "model.onnx", nodes, (PICTURE,), (RESULT,), rounds=rounds)
    return save(folder, id_, "clean", made)


def spotter(folder: Path, id_: str = "spotter", lacks: int = 0) -> ModelCard:
    """A face of 16 x 24 px is around each white square of 4 x 4 px, with the mean brightness of the square as score.

    Args:
        folder: where the model is written.
        id_: its name.
        lacks: columns by which its maps are too narrow.
    """
    nodes = [
        node("ReduceMean", "picture axis", "grey", keepdims=1),
        node("AveragePool", "grey", "whole", kernel_shape=[4, 4], strides=[4, 4]),
        node("Slice", "whole begin end columns", "heat"),
        node("Mul", "heat nothing", "zero"),
        node("Add", "zero high", "height"),
        node("Add", "zero wide", "width"),
        node("Concat", "height width", "size", axis=1),
        node("Concat", "zero zero", "offset", axis=1),
    ]
    constants: dict[str, np.ndarray] = {
        "axis": np.array([1], np.int64),
        "begin": np.array([lacks], np.int64),
        "end": np.array([1 << 30], np.int64),
        "columns": np.array([3], np.int64),
        "nothing": np.zeros(1, np.float32),
        "high": np.log(np.full(1, 6, np.float32)),
        "wide": np.log(np.full(1, 4, np.float32)),
    }
    outputs = Port("heat", "heat", channels=1), Port("size", "size", channels=2), Port("offset", "offset", channels=2)
    made = stage(folder / id_, "model.onnx", nodes, (PICTURE,), outputs, **constants)
    return save(folder, id_, "faces", made, tile=TileRules(default=96, minimum=32, overlap=0, context=0, multiple=16))
