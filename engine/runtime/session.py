"""Running ONNX models. The only module that imports onnxruntime."""

from __future__ import annotations

import ctypes
import inspect
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import DeviceError, ModelError, Words
from engine.jobs import Cancelled, JobContext
from engine.runtime.cards import ModelCard, Port, Stage

if TYPE_CHECKING:
    import onnxruntime


class Device(Enum):
    """Where a model should run. AUTO uses CUDA if it works, else the CPU."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class OutOfMemory(DeviceError):  # noqa: N818 - named as in torch and onnxruntime
    """The device's memory is not enough for this window; a smaller one may fit."""


_PROVIDERS = {Device.CPU: "CPUExecutionProvider", Device.CUDA: "CUDAExecutionProvider"}
_CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
_KEPT_SESSIONS = 4
_ELSEWHERE = "/no-second-file"
"""A folder that does not exist, named to onnxruntime as the place of weights that are not in the model's own file."""
_LARGEST = 1e6
"""Larger output values are refused: pictures lie in 0..1, latent vectors within some units."""


class Session:
    """One file of a model, loaded on a device. One thread at a time.

    Attributes:
        device: where it runs: CPU or CUDA, never AUTO.
    """

    def __init__(self, inner: onnxruntime.InferenceSession, stage: Stage, device: Device) -> None:
        self._inner = inner
        self._stage = stage
        self.device = device

    @property
    def providers(self) -> tuple[str, ...]:
        """What onnxruntime asks to run each part of the model, in this order; a failed run can take one away."""
        return tuple(self._inner.get_providers())

    def run(self, inputs: dict[str, np.ndarray], context: JobContext) -> list[np.ndarray]:
        """Run the model.

        Args:
            inputs: role of each input -> float32 array. Pictures and maps are NCHW in 0..1 and are converted to the
                layout and range of the card. Other inputs are passed unchanged.
            context: cancelling it stops the run within some milliseconds.

        Returns:
            The outputs in the card's order, float32 and finite; pictures and maps are converted back to NCHW in 0..1.

        Raises:
            Cancelled: the job was cancelled.
            OutOfMemory: the memory is not enough; a smaller window may fit.
            ModelError: the run failed, or an output does not match the card: its type, its shape, or values that are
                not finite or larger than 1e6.
        """
        options = _library().RunOptions()
        options.log_severity_level = 4
        feeds = {port.name: _to_port(port, inputs[port.role]) for port in self._stage.inputs}

        def stop() -> None:
            options.terminate = True

        try:
            with context.on_cancel(stop):
                outputs: list[np.ndarray] = self._inner.run([p.name for p in self._stage.outputs], feeds, options)
        except Cancelled:
            raise
        except Exception as error:
            # onnxruntime's exceptions have no common base class, and out-of-memory is only told by the message.
            if context.cancelled:
                raise Cancelled from error
            raise _as_engine_error(error, Words("The model file {part} failed", part=self._stage.file)) from error
        pairs = zip(self._stage.outputs, outputs, strict=True)
        return [_from_port(port, self._check_output(port, output)) for port, output in pairs]

    def _check_output(self, port: Port, output: Any) -> np.ndarray:
        """An output as float32, if it matches the card.

        Raises:
            ModelError: another type or shape, or values that are not finite or too large.
        """
        what = Words("The model file {part} gave for {tensor!r}", part=self._stage.file, tensor=port.name)
        if not isinstance(output, np.ndarray) or output.dtype.kind != "f":
            raise ModelError("{what} something else than decimal numbers.", "model.output", what=what)
        axes = len(port.layout)
        if output.ndim != axes or (axes > 1 and output.shape[port.layout.index("C")] != port.channels):
            raise ModelError(
                "{what} numbers in the shape {shape}, not {layout} of {planes} planes as its card says.",
                "model.output",
                what=what,
                shape=list(output.shape),
                layout=port.layout,
                planes=port.channels,
            )
        with np.errstate(over="ignore"):
            values: np.ndarray = np.asarray(output, np.float32)
        # With a NaN among the values, min and max are NaN too, and both comparisons are false.
        if values.size and not (values.max() <= _LARGEST and values.min() >= -_LARGEST):
            raise ModelError(
                "{what} values that are no numbers or far too large to be used.", "model.numbers", what=what
            )
        return values


def _to_port(port: Port, values: np.ndarray) -> np.ndarray:
    """Convert NCHW in 0..1 to layout, order and range of a port; tensors without height and width are unchanged."""
    if port.layout not in ("NCHW", "NHWC"):
        return values
    if port.order == "BGR":
        values = np.ascontiguousarray(values[:, ::-1])
    if (port.low, port.high) != (0.0, 1.0):
        values = values * np.float32(port.high - port.low) + np.float32(port.low)
    return np.ascontiguousarray(values.transpose(0, 2, 3, 1)) if port.layout == "NHWC" else values


def _from_port(port: Port, values: np.ndarray) -> np.ndarray:
    """The inverse of ``_to_port``."""
    if port.layout not in ("NCHW", "NHWC"):
        return values
    if (port.low, port.high) != (0.0, 1.0):
        values = (values - np.float32(port.low)) / np.float32(port.high - port.low)
    planes = values.transpose(0, 3, 1, 2) if port.layout == "NHWC" else values
    return planes[:, ::-1] if port.order == "BGR" else planes


class SessionPool:
    """A cache of the last few loaded models by what their cards say and device. Any thread.

    Attributes:
        threads: processor threads of the models that are loaded from now on; 0 = one for each core.
    """

    def __init__(self) -> None:
        self.threads = 0
        self._lock = threading.Lock()
        self._sessions: OrderedDict[tuple[Stage, Device], Session] = OrderedDict()

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices on which loaded models run, each once."""
        return tuple(dict.fromkeys(session.device for session in list(self._sessions.values())))

    def open(self, card: ModelCard, stage: Stage, device: Device) -> Session:
        """Load one file of a model, or take it from the cache.

        Raises:
            ModelError: the file is missing, damaged, not an ONNX model, or its tensors do not match the card.
            DeviceError: CUDA was asked for and is not available.
        """
        card.verify()
        with self._lock:
            # Two cards may declare the same file with different layouts or ranges.
            key = (stage, device)
            if key not in self._sessions:
                self._sessions[key] = _load(card, stage, device)
                while len(self._sessions) > _KEPT_SESSIONS:
                    self._sessions.popitem(last=False)
            self._sessions.move_to_end(key)
            return self._sessions[key]


SESSIONS = SessionPool()
"""The pool that the whole program shares, because models are large."""


def available_devices() -> list[Device]:
    """The devices that the installed onnxruntime was built for; whether CUDA works shows when a model is loaded."""
    present = _library().get_available_providers()
    return [device for device, provider in _PROVIDERS.items() if provider in present]


@dataclass(frozen=True)
class Tensor:
    """An input or output of a model file, as the file declares it.

    Attributes:
        name: its name.
        type: of its numbers, in words such as ``float``, ``float16`` or ``uint8``.
        shape: its sides; None = any. Empty: the file does not declare them, or it is a single number.
    """

    name: str
    type: str
    shape: tuple[int | None, ...]


def read_tensors(data: bytes) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The inputs and outputs of an ONNX file, which is loaded on the processor for this. Any thread.

    Args:
        data: the contents of the file.

    Raises:
        ModelError: it is no ONNX model, onnxruntime cannot run it, or its weights are in another file.
        OutOfMemory: the memory is not enough to load it.
    """
    onnxruntime = _library()
    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Otherwise weights would be looked for in the folder in which the program was started.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", _ELSEWHERE)
    try:
        inner = onnxruntime.InferenceSession(data, options, providers=[_PROVIDERS[Device.CPU]])
    except Exception as error:
        # See Session.run: there is no common base class to catch.
        if _ELSEWHERE.strip("/") in str(error):
            said = "Its weights are in a second file beside it. A model in one file is wanted."
            raise ModelError(said, "model.external") from error
        raise _as_engine_error(error, Words("It is not an ONNX model that can be run here")) from error
    given, made = ([_declared(node) for node in nodes] for nodes in (inner.get_inputs(), inner.get_outputs()))
    return tuple(given), tuple(made)


def _declared(node: Any) -> Tensor:
    """An input or output of onnxruntime's. Free axes are strings or None there; a length of 0 means the same."""
    match = re.fullmatch(r"tensor\((\w+)\)", node.type)
    sides = tuple(side if isinstance(side, int) and side > 0 else None for side in node.shape)
    return Tensor(node.name, match.group(1) if match else node.type, sides)


@dataclass(frozen=True)
class Library:
    """The installed onnxruntime.

    Attributes:
        package: name of its package.
        version: of the package.
        cuda: the version of CUDA that it was built for; empty for none.
        providers: what it was built to run models with; whether they work shows only when a model is loaded.
    """

    package: str
    version: str
    cuda: str
    providers: tuple[str, ...]

    @property
    def has_cuda(self) -> bool:
        """Whether it was built to run models on NVIDIA's graphics cards."""
        return _PROVIDERS[Device.CUDA] in self.providers


def library() -> Library:
    """What is known of the installed onnxruntime."""
    module = _library()
    package, cuda = (str(getattr(module, name, "") or "") for name in ("package_name", "cuda_version"))
    # Azure's, which every package has, would ask a service on the network; nothing here ever names it.
    providers = tuple(name for name in module.get_available_providers() if not name.startswith("Azure"))
    return Library(package or "onnxruntime", module.__version__, cuda, providers)


def missing_cuda_file() -> str:
    """The first file of NVIDIA's that onnxruntime needs for CUDA and that is not found; empty where none is known."""
    part = Path(inspect.getfile(_library())).parent / "capi" / "libonnxruntime_providers_cuda.so"
    if not part.exists():
        return ""
    _preload_cuda()
    try:
        ctypes.CDLL(str(part))
    except OSError as error:
        match = re.match(r"([^\s:/]+): cannot open shared object file", str(error))
        return match.group(1) if match else ""
    return ""


@cache
def _library() -> Any:
    """The module onnxruntime, imported at its first use, with its telemetry turned off."""
    import onnxruntime

    # The variable set in engine/__init__.py is enough on Linux and macOS; Windows needs this call too.
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _load(card: ModelCard, stage: Stage, device: Device) -> Session:
    onnxruntime = _library()
    wanted = [Device.CUDA, Device.CPU] if device is Device.AUTO else [device]
    wanted = [d for d in wanted if d in available_devices()]
    if device is Device.CUDA and not wanted:
        raise DeviceError("CUDA was asked for, but this installation of onnxruntime has no CUDA.", "device.cuda")
    if Device.CUDA in wanted:
        _preload_cuda()
    # Errors are raised as exceptions; onnxruntime would print them as well.
    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = SESSIONS.threads
    providers: list[Any] = [
        (_PROVIDERS[d], _CUDA_OPTIONS) if d is Device.CUDA else _PROVIDERS[d]
        for d in dict.fromkeys([*wanted, Device.CPU])
    ]
    try:
        inner = onnxruntime.InferenceSession(str(card.path(stage)), options, providers=providers)
    except Exception as error:
        # See Session.run: there is no common base class to catch.
        raise _as_engine_error(error, Words("The model {model} could not be loaded", model=card.id)) from error
    got = Device.CUDA if inner.get_providers()[0] == _PROVIDERS[Device.CUDA] else Device.CPU
    if device is Device.CUDA and got is not Device.CUDA:
        raise DeviceError("CUDA was asked for, but it does not work on this computer.", "device.cuda")
    _check_ports(card, stage, inner)
    return Session(inner, stage, got)


def _check_ports(card: ModelCard, stage: Stage, inner: onnxruntime.InferenceSession) -> None:
    """Refuse a file whose tensors do not match the card, as far as the file declares them.

    Raises:
        ModelError: ``model.ports``; says what does not match.
    """
    given = {node.name: node for node in inner.get_inputs()}
    made = {node.name: node for node in inner.get_outputs()}
    for ports, present in ((stage.inputs, given), (stage.outputs, made)):
        for port in ports:
            if port.name not in present:
                raise ModelError(
                    "The model {model} has no tensor {tensor!r}, which its card names.",
                    "model.ports",
                    model=card.id,
                    tensor=port.name,
                )
            if reason := _port_mismatch(card, port, present[port.name], takes=present is given):
                raise ModelError(
                    "The file {part} of the model {model} {reason}.",
                    "model.ports",
                    part=stage.file,
                    model=card.id,
                    reason=reason,
                )
    missing = sorted(given.keys() - {port.name for port in stage.inputs})
    if missing:
        raise ModelError(
            "The model {model} wants {tensor!r}, which its card does not name.",
            "model.ports",
            model=card.id,
            tensor=missing[0],
        )


def _port_mismatch(card: ModelCard, port: Port, node: Any, *, takes: bool) -> Words | None:
    """How a tensor differs from its port, as the rest of a sentence; None when nothing is known to differ."""
    kinds = ("tensor(float)",) if takes else ("tensor(float)", "tensor(float16)", "tensor(double)")
    if node.type not in kinds:
        said = "has {type} for {tensor!r}, and decimal numbers of 32 bits are wanted"
        return Words(said, type=node.type, tensor=port.name)
    # Dynamic axes are strings or None. A file may also declare no shape at all.
    sides = list(node.shape)
    if sides and len(sides) != len(port.layout):
        said = "has {axes} axes for {tensor!r}, and the card says {layout}"
        return Words(said, axes=len(sides), tensor=port.name, layout=port.layout)
    size = port.size or (card.tile.default if takes else 0)
    for axis, side in zip(port.layout, sides, strict=False):
        if not isinstance(side, int):
            continue
        if axis == "C" and side != port.channels:
            said = "has {own} channels for {tensor!r}, and the card says {planes}"
            return Words(said, own=side, tensor=port.name, planes=port.channels)
        if axis in "HW" and takes and (side != size or not (port.size or card.tile.multiple == card.tile.default)):
            said = "takes {side} pixels a side for {tensor!r}, and the card's windows are of other sizes"
            return Words(said, side=side, tensor=port.name)
    return None


def _preload_cuda() -> None:
    """Load the CUDA libraries that were installed as Python packages; does nothing where there are none."""
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
        _library().preload_dlls(directory="")


def _as_engine_error(error: Exception, what: Words) -> DeviceError | ModelError:
    """Convert an exception of onnxruntime; ``what`` is the start of the sentence."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    lowered = str(error).lower()
    if any(sign in lowered for sign in ("out of memory", "failed to allocate", "bad_alloc", "alloc failed")):
        return OutOfMemory("{what}: the memory is not enough.", "device.memory", what=what)
    return ModelError("{what}: {reason}.", "model.run", what=what, reason=text.rstrip("."))
