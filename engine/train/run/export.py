"""Export of trained weights to ONNX with half-precision storage and a model card; reading weights back."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import hashlib
import io
import logging
import math
import os
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.errors import EngineError, ModelError
from engine.imageio import atomic_write_bytes
from engine.jobs import JobContext
from engine.runtime.cards import ModelCard, Stage, Training, read_card, write_card
from engine.runtime.session import SESSIONS, Device
from engine.train.data.onnx_files import read_onnx
from engine.train.data.photographs import palette_png
from engine.train.nets import NETWORKS, Export, Generator, build
from engine.train.nets.cost import example_tensor
from engine.train.recipe import TrainingRecipe

OPSET = 18
HALF = ".half"
"""Ending of the names of weights stored as float16."""
SMALLEST = 8
"""Tensors of fewer values are stored as float32."""
PARITY = 1e-3
"""Largest accepted difference between torch and ONNX, of full scale."""
PARITY_SIZES = ((2, 3), (3, 5), (7, 2))
"""Heights and widths at which torch and ONNX are compared, in multiples of the network's multiple."""


def export_model(
    recipe: TrainingRecipe, weights: dict[str, Tensor], folder: Path, training: Training, version: str | None = None
) -> ModelCard:
    """Write the ONNX files and ``card.toml`` of trained weights, after comparing them with torch.

    Args:
        recipe: the training recipe.
        weights: state of the generator; rounded to float16 here.
        folder: created if it is missing; its name becomes the id of the card.
        training: origin of the weights, for the card.
        version: version of the model; None = today's date.

    Returns:
        The card as written.

    Raises:
        ModelError: ONNX and torch differ by ``PARITY`` or more; nothing is written.
        EngineError: a file cannot be written.
    """
    network = build(NETWORKS, recipe.network.name, recipe.network.options).eval()
    network.load_state_dict(weights)
    folder.mkdir(parents=True, exist_ok=True)
    exports = network.exports()
    for export in exports:
        # After the export merged what is merged, so that torch and ONNX have the same weights.
        for value in (*export.module.parameters(), *export.module.buffers()):
            value.data = _round_to_half(value.data)
    partials = [folder / f".{export.file}.partial" for export in exports]
    try:
        for export, partial in zip(exports, partials, strict=True):
            partial.write_bytes(_store_weights_as_half(_to_onnx(export, network.TILE.default)))
        stages = tuple(_stage(export, partial) for export, partial in zip(exports, partials, strict=True))
        card = _make_card(recipe, folder.name, stages, training, network, version)
        for export, stage, partial in zip(exports, stages, partials, strict=True):
            difference = parity(export, stage, card, partial)
            if difference >= PARITY:
                raise ModelError(
                    "ONNX and torch differ by {difference:.2e} of full scale; nothing was exported.",
                    "train.parity",
                    difference=difference,
                )
        for export, partial in zip(exports, partials, strict=True):
            os.replace(partial, folder / export.file)
    except OSError as error:
        raise EngineError("The model could not be written: {reason}.", "train.export", reason=error) from error
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)
    write_card(card, folder)
    return read_card(folder / "card.toml")


def parity(export: Export, stage: Stage, card: ModelCard, file: Path) -> float:
    """Largest difference between a network and its ONNX file over ``PARITY_SIZES``, of full scale."""
    local = dataclasses.replace(stage, file=file.name)
    session = SESSIONS.open(dataclasses.replace(card, folder=file.parent, stages=(local,)), local, Device.CPU)
    random = np.random.default_rng(7)
    worst = 0.0
    for number, places in enumerate(PARITY_SIZES):
        side = (
            (export.multiple * places[0], export.multiple * places[1]) if export.multiple else (card.tile.default,) * 2
        )
        inputs = {port.role: example_tensor(port, side, random, batch=number + 1) for port in export.inputs}
        results = session.run(inputs, JobContext())
        with torch.no_grad():
            expected = export.module(*[torch.from_numpy(inputs[port.role]) for port in export.inputs])
        for result, one in zip(results, expected if isinstance(expected, tuple) else (expected,), strict=True):
            worst = max(worst, float(np.abs(result - one.numpy()).max()))
    return worst


def _stage(export: Export, partial: Path) -> Stage:
    return Stage(export.file, hashlib.sha256(partial.read_bytes()).hexdigest(), export.inputs, export.outputs)


def count_parameters(recipe: TrainingRecipe) -> int:
    """Number of parameters of the exported files of a recipe's network."""
    exports = build(NETWORKS, recipe.network.name, recipe.network.options).exports()
    return sum(value.numel() for value in {id(v): v for one in exports for v in one.module.parameters()}.values())


def read_weights(recipe: TrainingRecipe, folder: Path) -> dict[str, Tensor]:
    """Weights of an exported model as float32, by the names of the parameters of the recipe's network.

    Raises:
        ModelError: a file is missing or cannot be read.
    """
    from onnx import numpy_helper

    network = build(NETWORKS, recipe.network.name, recipe.network.options)
    names = {id(value): name for name, value in (*network.named_parameters(), *network.named_buffers())}
    weights = {}
    for export in network.exports():
        model = read_onnx(folder / export.file)
        inside = (*export.module.named_parameters(), *export.module.named_buffers())
        whole = {name: names[id(value)] for name, value in inside if id(value) in names}
        for tensor in model.graph.initializer:
            name = tensor.name.removesuffix(HALF)
            own = whole.get(name) or _own_name(name, list(names.values()))
            if own:
                weights[own] = torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
    return weights


def _own_name(name: str, names: list[str]) -> str | None:
    """The name in a network of a weight of a merged copy or of an older export, where a wrapper put a word before it.

    None if the network has none of that name.
    """
    return max((own for own in names if f".{name}".endswith(f".{own}")), key=len, default=None)


def read_arrays(path: Path) -> dict[str, Tensor]:
    """Weights from a NumPy archive (.npz) with one array for each parameter, by the parameter's name, as float32.

    Raises:
        ModelError: the file cannot be read, or holds anything but numeric arrays.
    """
    try:
        # NumPy leaves a file open that it opened and cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelError(
            "The weights {path} cannot be read: {reason}.", "train.start", path=path, reason=error
        ) from error
    unfit = [name for name, values in arrays.items() if values.dtype.kind not in "fiu"]
    if unfit or not arrays:
        what = f"{unfit[0]}, which is not of numbers" if unfit else "no array"
        raise ModelError("The file of weights {path} holds {what}.", "train.start", path=path, what=what)
    return {name: torch.from_numpy(values.astype(np.float32)) for name, values in arrays.items()}


def _round_to_half(value: Tensor) -> Tensor:
    value = value.detach().cpu()
    return value.half().float() if value.is_floating_point() else value


def _to_onnx(export: Export, fixed: int) -> Any:
    """The ONNX model, for batches and pictures of any size, or of one side where the network takes only one."""
    random = np.random.default_rng(1)
    multiple = export.multiple
    side = (3 * multiple, 2 * multiple) if multiple > 1 else (48, 32) if multiple else (fixed, fixed)
    height, width = torch.export.Dim("height", min=2), torch.export.Dim("width", min=2)
    batch = torch.export.Dim("batch", min=1)
    shapes = []
    for port in export.inputs:
        shape: dict[int, Any] = {0: batch}
        if port.layout == "NCHW" and multiple and not port.size:
            shape |= {2: multiple * height, 3: multiple * width} if multiple > 1 else {2: height, 3: width}
        shapes.append(shape)
    examples = tuple(torch.from_numpy(example_tensor(port, side, random, batch=2)) for port in export.inputs)
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        # Without gradients the graph is the same, and is made in four fifths of the time.
        with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            # The exporter warns of its own code.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                export.module,
                examples,
                input_names=[port.name for port in export.inputs],
                output_names=[port.name for port in export.outputs],
                dynamic_shapes=tuple(shapes),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    finally:
        quiet.setLevel(level)
    assert program is not None
    return program.model_proto


def _store_weights_as_half(model: Any) -> bytes:
    """Store large float32 weights as float16, each with a cast after it; onnxruntime folds the casts when it loads."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and math.prod(tensor.dims) >= SMALLEST:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name + HALF))
            casts.append(helper.make_node("Cast", [name + HALF], [name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        graph.node.insert(0, node)
    del graph.value_info[:]
    for node in graph.node:
        # The metadata of the exporter names source files of this machine.
        del node.metadata_props[:]
        node.doc_string = ""
    del model.metadata_props[:]
    del graph.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _make_card(
    recipe: TrainingRecipe,
    id_: str,
    stages: tuple[Stage, ...],
    training: Training,
    network: Generator,
    version: str | None,
) -> ModelCard:
    return ModelCard(
        id=id_,
        task=recipe.task,
        title=recipe.title,
        summary=recipe.summary,
        version=version or dt.datetime.now(dt.UTC).strftime("%Y.%m.%d"),
        licence="Apache-2.0",
        opset=OPSET,
        tile=network.TILE,
        stages=stages,
        default=recipe.default,
        study=recipe.study,
        settings=recipe.settings,
        labels=network.LABELS,
        training=training,
    )


def write_sample_sheet(card: ModelCard, columns: int = 8) -> ModelCard:
    """Write a sheet of samples beside the card of a model that makes pictures from latents, and name it in the card."""
    stage = card.stages[-1]
    if [port.role for port in stage.inputs] != ["latent"]:
        return card
    latent = np.random.default_rng(1).standard_normal((columns * columns, stage.inputs[0].channels), np.float32)
    (samples,) = SESSIONS.open(card, stage, Device.CPU).run({"latent": latent}, JobContext())
    side = samples.shape[2]
    rows = samples.transpose(0, 2, 3, 1).reshape(columns, columns, side, side, 3).transpose(0, 2, 1, 3, 4)
    sheet = (rows.reshape(columns * side, columns * side, 3).clip(0, 1) * 255).round().astype(np.uint8)
    atomic_write_bytes(card.folder / "samples.png", palette_png(sheet))
    write_card(dataclasses.replace(card, sheet="samples.png"), card.folder)
    return read_card(card.folder / "card.toml")
