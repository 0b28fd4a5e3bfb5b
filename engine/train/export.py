"""From torch to ONNX: half-precision storage, parity on odd sizes, and the model card, in one command."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import io
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.errors import EngineError, ModelError
from engine.jobs import JobContext
from engine.runtime.cards import ModelCard, Port, Stage, TileRules, Training, read_card, write_card
from engine.runtime.session import SESSIONS, Device
from engine.train.nets import NETWORKS, build
from engine.train.settings import Recipe

OPSET = 18
HALF = ".half"
"""Ending of the names of weights stored as float16."""
PARITY = 1e-3
"""Largest difference between torch and ONNX that is let through, of full scale."""
PARITY_SIZES = ((32, 64), (96, 160), (224, 32))
"""Height and width of the pictures compared: three odd sizes."""


def export_model(
    recipe: Recipe, weights: dict[str, Tensor], folder: Path, training: Training, version: str | None = None
) -> ModelCard:
    """Write ``model.onnx`` and ``card.toml`` for trained weights, after checking them.

    Args:
        recipe: what was trained.
        weights: state of the generator; rounded to float16 here.
        folder: made if missing; the card's id is its name.
        training: where the weights come from, for the card.
        version: of the model; today's date when None.

    Returns:
        The card that was written.

    Raises:
        ModelError: ONNX and torch disagree by ``PARITY`` or more; nothing is written.
    """
    network = build(NETWORKS, recipe.network.name, recipe.network.options).eval()
    network.load_state_dict({name: _rounded(value) for name, value in weights.items()})
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / ".model.onnx.partial"
    try:
        partial.write_bytes(_with_half_weights(_to_onnx(network)))
        card = _card(recipe, folder.name, partial, training, network, version)
        difference = parity(network, card, partial)
        if difference >= PARITY:
            raise ModelError(
                f"ONNX and torch differ by {difference:.2e} of full scale; nothing was exported.", "train.parity"
            )
        os.replace(partial, folder / "model.onnx")
    except OSError as error:
        raise EngineError(f"The model could not be written: {error}.", "train.export") from error
    finally:
        partial.unlink(missing_ok=True)
    write_card(card, folder)
    return read_card(folder / "card.toml")


def parity(network: nn.Module, card: ModelCard, file: Path) -> float:
    """Largest difference between a network and its ONNX file over three odd sizes, of full scale."""
    stage = card.stages[0]
    local = Stage(file.name, stage.sha256, stage.inputs, stage.outputs)
    session = SESSIONS.open(_replaced(card, file, local), local, Device.CPU)
    random = np.random.default_rng(7)
    worst = 0.0
    for height, width in PARITY_SIZES:
        picture = random.random((1, 3, height, width), np.float32)
        mask = (random.random((1, 1, height, width)) < 0.3).astype(np.float32)
        mask[..., : height // 2, : width // 3] = 1
        (result,) = session.run({"picture": picture * (1 - mask), "mask": mask}, JobContext())
        with torch.no_grad():
            wanted = network(torch.from_numpy(picture * (1 - mask)), torch.from_numpy(mask)).numpy()
        worst = max(worst, float(np.abs(result - wanted).max()))
    return worst


def read_weights(file: Path) -> dict[str, Tensor]:
    """The weights inside an exported ``model.onnx``, as float32, under the network's own names.

    Raises:
        ModelError: the file cannot be read.
    """
    import onnx
    from onnx import numpy_helper

    try:
        model = onnx.load(str(file))
    except Exception as error:
        # onnx raises protobuf's own errors, which share no base class with OSError.
        raise ModelError(f"The model {file} cannot be read: {error}.", "model.missing") from error
    weights = {}
    for tensor in model.graph.initializer:
        if tensor.name.endswith((HALF, ".weight", ".bias")):
            array = numpy_helper.to_array(tensor).astype(np.float32)
            weights[tensor.name.removesuffix(HALF)] = torch.from_numpy(array.copy())
    return weights


def _rounded(value: Tensor) -> Tensor:
    value = value.detach().cpu()
    return value.half().float() if value.is_floating_point() else value


def _to_onnx(network: nn.Module) -> Any:
    multiple = int(network.MULTIPLE)  # type: ignore[arg-type]
    height, width = torch.export.Dim("height", min=2), torch.export.Dim("width", min=2)
    shape = {0: torch.export.Dim("batch", min=1), 2: multiple * height, 3: multiple * width}
    picture, mask = torch.rand(2, 3, 3 * multiple, 2 * multiple), torch.ones(2, 1, 3 * multiple, 2 * multiple)
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            # The exporter warns of its own insides.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network,
                (picture, mask),
                input_names=["picture", "mask"],
                output_names=["filled"],
                dynamic_shapes={"picture": shape, "mask": shape},
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    finally:
        quiet.setLevel(level)
    assert program is not None
    return program.model_proto


def _with_half_weights(model: Any) -> bytes:
    """Store large float32 weights as float16 with a cast behind each; onnxruntime folds the casts when it loads."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name.endswith((".weight", ".bias")):
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name + HALF))
            casts.append(helper.make_node("Cast", [name + HALF], [name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        graph.node.insert(0, node)
    del graph.value_info[:]
    for node in graph.node:
        # The exporter's notes name source files of the machine it ran on.
        del node.metadata_props[:]
        node.doc_string = ""
    del model.metadata_props[:]
    del graph.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _card(
    recipe: Recipe, id_: str, file: Path, training: Training, network: nn.Module, version: str | None
) -> ModelCard:
    multiple = int(network.MULTIPLE)  # type: ignore[arg-type]
    stage = Stage(
        file="model.onnx",
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        inputs=(Port("picture", "picture"), Port("mask", "mask", channels=1)),
        outputs=(Port("filled", "picture"),),
    )
    return ModelCard(
        id=id_,
        task=recipe.task,
        title=recipe.title,
        summary=recipe.summary,
        version=version or dt.datetime.now(dt.UTC).strftime("%Y.%m.%d"),
        licence="Apache-2.0",
        opset=OPSET,
        tile=TileRules(default=512, minimum=128, overlap=32, context=64, multiple=multiple),
        stages=(stage,),
        training=training,
    )


def _replaced(card: ModelCard, file: Path, stage: Stage) -> ModelCard:
    import dataclasses

    return dataclasses.replace(card, folder=file.parent, stages=(stage,))
