"""A handmade model for each task in the window; their ids say what they do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PySide6.QtGui import QColor, QImage

from engine.runtime.cards import Port, Setting, TileRules
from tests.tiny_models import EDGES, MASK, PICTURE, RESULT, node, save, stage

TILE = TileRules(256, 64, 16, 32, 8)
STRENGTH = Setting("strength", "Strength", 0.0, 1.0, 0.5)
ZERO, HALF, ONE = ({name: np.full(1, value, np.float32)} for name, value in (("zero", 0), ("half", 0.5), ("one", 1)))


def add_all(folder: Path) -> None:
    """Write models of all tasks but tone to a folder."""
    _add_heal(folder)
    _add_along_edges(folder)
    made = stage(folder / "clean", "model.onnx", [node("Sub", "one picture", "result")], (PICTURE,), (RESULT,), **ONE)
    save(folder, "clean", "clean", made, tile=TILE, title="Invert")
    _add_darken(folder)
    nodes, planes = [node("Identity", "picture", "classes")], (Port("classes", "probability", 3),)
    made = stage(folder / "detect", "model.onnx", nodes, (PICTURE,), planes)
    save(folder, "detect", "detect", made, tile=TILE, labels=("dust", "scratch", "hair"))


def _add_heal(folder: Path) -> None:
    """Masked pixels become grey."""
    nodes = [
        node("Sub", "one mask", "known"),
        node("Mul", "picture known", "kept"),
        node("Mul", "mask half", "grey"),
        node("Add", "kept grey", "result"),
    ]
    made = stage(folder / "heal", "model.onnx", nodes, (PICTURE, MASK), (RESULT,), **ONE, **HALF)
    save(folder, "heal", "heal", made, tile=TILE)


def _add_along_edges(folder: Path) -> None:
    """All masked pixels are edges; edges are filled with white, the rest with black."""
    place = folder / "along_edges"
    kept = [node("Mul", "picture zero", "dark"), node("Identity", "mask", "edges")]
    drawn = stage(place, "edges.onnx", kept, (PICTURE, MASK), (EDGES,), **ZERO)
    nodes = [
        node("Mul", "picture zero", "dark"),
        node("Mul", "mask zero", "none"),
        node("Add", "dark none", "black"),
        node("Add", "black edges", "result"),
    ]
    filled = stage(place, "fill.onnx", nodes, (PICTURE, MASK, EDGES), (RESULT,), **ZERO)
    save(folder, "along_edges", "heal", drawn, filled, tile=TILE)


def _add_darken(folder: Path) -> None:
    """The picture becomes darker by the strength; with a sample sheet."""
    nodes = [node("Sub", "one strength", "share"), node("Mul", "picture share", "result")]
    ports = (PICTURE, Port("strength", "strength", 1, layout="N"))
    made = stage(folder / "darken", "model.onnx", nodes, ports, (RESULT,), **ONE)
    more = {"settings": (STRENGTH,), "sheet": "samples.png", "summary": "Makes everything darker."}
    save(folder, "darken", "clean", made, tile=TILE, **more)
    sheet = QImage(64, 48, QImage.Format.Format_RGB32)
    sheet.fill(QColor(90, 90, 90))
    assert sheet.save(str(folder / "darken" / "samples.png"))
