"""Models of a few operations whose results can be told by hand, with their cards."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from PySide6.QtGui import QColor, QImage

from engine.runtime.cards import ModelCard, Port, Setting, Stage, TileRules, write_card

PICTURE, MASK = Port("picture", "picture"), Port("mask", "mask", 1)
EDGES, FILLED = Port("edges", "edges", 1), Port("filled", "picture")
STRENGTH = Setting("strength", "Strength", 0.0, 1.0, 0.5)


def add_all(folder: Path) -> None:
    """One model of each kind: their ids are what they do."""
    grey = [("Mul", ["picture", "known"], "kept"), ("Mul", ["mask", "half"], "grey"), ("Add", ["kept", "grey"], "out")]
    plain = Stage("model.onnx", "", (PICTURE, MASK), (FILLED,))
    _add(folder, "heal", "heal", [plain], [[("Sub", ["one", "mask"], "known"), *grey]])
    edges = Stage("edges.onnx", "", (PICTURE, MASK), (EDGES,))
    fill = Stage("fill.onnx", "", (PICTURE, MASK, EDGES), (FILLED,))
    # All that is lost is edge, and edges are filled with white, the rest with black.
    black = [
        ("Mul", ["picture", "zero"], "dark"),
        ("Mul", ["mask", "zero"], "none"),
        ("Add", ["dark", "none"], "all"),
    ]
    _add(
        folder,
        "along_edges",
        "heal",
        [edges, fill],
        [[("Mul", ["mask", "one"], "out")], [*black, ("Add", ["all", "edges"], "out")]],
    )
    invert = Stage("model.onnx", "", (PICTURE,), (FILLED,))
    _add(folder, "clean", "clean", [invert], [[("Sub", ["one", "picture"], "out")]], title="Invert")
    darken = Stage("model.onnx", "", (PICTURE, Port("strength", "strength", 1, layout="N")), (FILLED,))
    _add(
        folder,
        "darken",
        "clean",
        [darken],
        [[("Sub", ["one", "strength"], "share"), ("Mul", ["picture", "share"], "out")]],
        settings=(STRENGTH,),
        sheet="samples.png",
        summary="Makes everything darker.",
    )
    planes = Stage("model.onnx", "", (PICTURE,), (Port("classes", "probability", 3),))
    _add(
        folder,
        "detect",
        "detect",
        [planes],
        [[("Mul", ["picture", "one"], "out")]],
        labels=("dust", "scratch", "hair"),
    )
    sheet = QImage(64, 48, QImage.Format.Format_RGB32)
    sheet.fill(QColor(90, 90, 90))
    assert sheet.save(str(folder / "darken" / "samples.png"))


def _add(
    folder: Path,
    id_: str,
    task: str,
    stages: list[Stage],
    graphs: list[list[tuple[str, list[str], str]]],
    title: str = "",
    **more: object,
) -> None:
    place = folder / id_
    place.mkdir(parents=True)
    written = []
    for stage, graph in zip(stages, graphs, strict=True):
        (place / stage.file).write_bytes(_model(stage, graph))
        digest = hashlib.sha256((place / stage.file).read_bytes()).hexdigest()
        written.append(dataclasses.replace(stage, sha256=digest))
    card = ModelCard(id_, task, title or id_, "1", "CC0-1.0", 17, TileRules(256, 64, 16, 32, 8), tuple(written), **more)  # type: ignore[arg-type]
    write_card(card, place)


def _model(stage: Stage, graph: list[tuple[str, list[str], str]]) -> bytes:
    """An ONNX file of (operation, inputs, output) rows; the last one's output is the stage's."""
    (output,) = stage.outputs
    nodes = [helper.make_node(kind, names, [out if out != "out" else output.name]) for kind, names, out in graph]
    constants = [
        helper.make_tensor(name, TensorProto.FLOAT, [1], np.array([value], np.float32))
        for name, value in (("zero", 0.0), ("half", 0.5), ("one", 1.0))
    ]
    made = helper.make_graph(nodes, stage.file, [_info(p) for p in stage.inputs], [_info(output)], constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _info(port: Port) -> onnx.ValueInfoProto:
    shape = ["n", port.channels, "h", "w"] if port.layout == "NCHW" else [1]
    return helper.make_tensor_value_info(port.name, TensorProto.FLOAT, shape)
