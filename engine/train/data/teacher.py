"""Labels from a teacher: the boxes of faces in photographs, found by a foreign network that is never shipped."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.errors import ModelError, ReadError, SettingsError
from engine.raster import ArraySource
from engine.runtime.cards import ModelCard, Port, Stage, TileRules
from engine.runtime.session import Device
from engine.tasks import FaceSettings, TaskInput, run_task
from engine.tasks.faces import DOUBTFUL, unite
from engine.train.data.boxes import Boxes, write_boxes
from engine.train.data.onnx_files import read_onnx
from engine.train.data.photographs import SUFFIXES, read_photograph

TILE = TileRules(default=960, minimum=96, overlap=0, context=0, multiple=32)

_INPUT = Port("input.1", "picture", high=255.0)
_OUTPUTS = (Port("537", "heat", channels=1), Port("538", "size", channels=2), Port("539", "offset", channels=2))
"""The tensors of CenterFace (Xu et al., CenterFace: joint face detection and alignment using face as point, 2020)."""


def label_faces(
    teacher: Path, folder: Path, output: Path, sides: Sequence[int] = (960,), *, say: Callable[[str], None] = print
) -> int:
    """Find the faces of all photographs of a folder with a teacher, and write their boxes for ``read_boxes``.

    Args:
        teacher: ``centerface.onnx``.
        folder: photographs, subfolders too; files that cannot be read are left out.
        output: the file to write. Boxes that are less sure than faces are in it too, so that training can ignore them.
        sides: each photograph is looked at with its long side resized to the first of these, pixels, and, where that
            finds anything, even doubtful, to the others too.
        say: called with messages for a person.

    Returns:
        The number of photographs.

    Raises:
        ModelError: the teacher cannot be read, or is not CenterFace.
        SettingsError: there is no photograph.
        WriteError: the file cannot be written.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not paths:
        raise SettingsError("{folder} holds no photographs.", "train.data", folder=folder)
    found: dict[str, Boxes] = {}
    with _as_model(teacher) as card:
        cards = [replace(card, tile=replace(TILE, default=side // 32 * 32, minimum=side // 32 * 32)) for side in sides]
        for number, path in enumerate(paths):
            try:
                picture = read_photograph(path)
            except ReadError:
                continue
            found[path.name] = _look(cards, picture)
            if (number + 1) % 100 == 0:
                say(f"{number + 1} of {len(paths)} photographs")
    write_boxes(output, found)
    return len(found)


def _look(cards: Sequence[ModelCard], picture: np.ndarray) -> Boxes:
    """The boxes (n, 5) that any of several cards finds in a picture, the surest first."""
    views = []
    for card in cards:
        settings = FaceSettings(threshold=DOUBTFUL)
        found = run_task(TaskInput("faces", ArraySource(picture), None, None, settings, card, Device.CPU)).boxes()
        views.append((found[:, :4], found[:, 4]))
        if not len(found) and len(views) == 1:
            break
    boxes, scores = unite(views)
    return np.concatenate([boxes, scores[:, None]], axis=1)


@contextmanager
def _as_model(teacher: Path) -> Iterator[ModelCard]:
    """The teacher as a model of the task ``faces``, in a folder that is deleted afterwards.

    Raises:
        ModelError: it cannot be read, or lacks a tensor.
    """
    model = read_onnx(teacher)
    named = {value.name for value in (*model.graph.input, *model.graph.output)}
    if missing := [port.name for port in (_INPUT, *_OUTPUTS) if port.name not in named]:
        raise ModelError(
            "The teacher {file} is not CenterFace: it has no tensor {name!r}.",
            "train.teacher",
            file=teacher,
            name=missing[0],
        )
    data = _with_any_size(model)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "teacher.onnx").write_bytes(data)
        stage = Stage("teacher.onnx", hashlib.sha256(data).hexdigest(), (_INPUT,), _OUTPUTS)
        yield ModelCard("teacher", "faces", "Teacher", "1", "MIT", 9, TILE, (stage,), folder=Path(folder))


def _with_any_size(model: object) -> bytes:
    """The file of a network for pictures of any size, with only the tensors of the ports as inputs and outputs.

    CenterFace was exported for pictures of one size, and lists its weights among its inputs.
    """
    graph = model.graph  # type: ignore[attr-defined]
    for values, ports in ((graph.input, (_INPUT,)), (graph.output, _OUTPUTS)):
        kept = [value for value in values if value.name in {port.name for port in ports}]
        del values[:]
        values.extend(kept)
        for value in values:
            for axis, side in enumerate(value.type.tensor_type.shape.dim):
                if axis != 1:
                    side.dim_param = f"{value.name}_{axis}"
    return bytes(model.SerializeToString())  # type: ignore[attr-defined]
