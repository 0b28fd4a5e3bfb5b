"""Running ONNX models. The only file that knows onnxruntime."""

from __future__ import annotations

import threading
from collections import OrderedDict
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import DeviceError, ModelError, Words
from engine.jobs import Cancelled, JobContext
from engine.runtime.cards import ModelCard, Port, Stage

if TYPE_CHECKING:
    import onnxruntime


class Device(Enum):
    """Where a model is to run. AUTO takes CUDA if it works, else the CPU."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class OutOfMemory(DeviceError):  # noqa: N818 - what happened, not whose fault
    """The device's memory is not enough for this window; a smaller one may do."""


_PROVIDERS = {Device.CPU: "CPUExecutionProvider", Device.CUDA: "CUDAExecutionProvider"}
_CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
_KEPT_SESSIONS = 4
_LARGEST = 1e6
"""No output that stands for anything is larger: pictures lie in 0..1, codes within some units."""


class Session:
    """One file of a model, loaded on a device. Use it on one thread at a time.

    Attributes:
        device: where it really runs, whatever was asked for.
    """

    def __init__(self, inner: onnxruntime.InferenceSession, stage: Stage, device: Device) -> None:
        self._inner = inner
        self._stage = stage
        self.device = device

    def run(self, inputs: dict[str, np.ndarray], context: JobContext) -> list[np.ndarray]:
        """Run the model.

        Args:
            inputs: the card's role of each input -> float32 array. Pictures and maps are NCHW in 0..1 whatever layout
                and range the card says: they are brought there. Others go in as they are.
            context: cancelling it stops the run within some milliseconds.

        Returns:
            The outputs in the card's order, float32 and finite; pictures and maps again NCHW in 0..1.

        Raises:
            Cancelled: the job was called off.
            OutOfMemory: a smaller window may do.
            ModelError: the model refused the input or broke, or its output is not what the card says: of another type
                or shape, or with values that are not finite.
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
            # onnxruntime's exceptions share no base class and tell out-of-memory apart by text alone.
            if context.cancelled:
                raise Cancelled from error
            raise _explained(error, Words("The model file {part} failed", part=self._stage.file)) from error
        pairs = zip(self._stage.outputs, outputs, strict=True)
        return [_from_port(port, self._checked(port, output)) for port, output in pairs]

    def _checked(self, port: Port, output: Any) -> np.ndarray:
        """An output, if it is what the card says of it."""
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
        # Where any value is no number, the largest and the smallest are none either, and no comparison holds.
        if values.size and not (values.max() <= _LARGEST and values.min() >= -_LARGEST):
            raise ModelError(
                "{what} values that are no numbers or far too large to be used.", "model.numbers", what=what
            )
        return values


def _to_port(port: Port, values: np.ndarray) -> np.ndarray:
    """NCHW in 0..1 -> the layout and range of a port for pictures or maps."""
    if port.layout not in ("NCHW", "NHWC"):
        return values
    if (port.low, port.high) != (0.0, 1.0):
        values = values * np.float32(port.high - port.low) + np.float32(port.low)
    return np.ascontiguousarray(values.transpose(0, 2, 3, 1)) if port.layout == "NHWC" else values


def _from_port(port: Port, values: np.ndarray) -> np.ndarray:
    """The way back."""
    if port.layout not in ("NCHW", "NHWC"):
        return values
    if (port.low, port.high) != (0.0, 1.0):
        values = (values - np.float32(port.low)) / np.float32(port.high - port.low)
    return values.transpose(0, 3, 1, 2) if port.layout == "NHWC" else values


class SessionPool:
    """Loaded models, the latest few, by what their cards say and device. Safe on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: OrderedDict[tuple[Stage, Device], Session] = OrderedDict()

    def open(self, card: ModelCard, stage: Stage, device: Device) -> Session:
        """A loaded model; a second call for the same one is free.

        Raises:
            ModelError: the file is missing, damaged or no ONNX model.
            DeviceError: CUDA was asked for and is not to be had.
        """
        card.verify()
        with self._lock:
            # One file may have two cards, which take its tensors for different things.
            key = (stage, device)
            if key not in self._sessions:
                self._sessions[key] = _load(card, stage, device)
                while len(self._sessions) > _KEPT_SESSIONS:
                    self._sessions.popitem(last=False)
            self._sessions.move_to_end(key)
            return self._sessions[key]


SESSIONS = SessionPool()
"""The program's one pool: models are large, and both window and batch use the same ones."""


def available_devices() -> list[Device]:
    """The devices that onnxruntime was built for here; whether CUDA works is known only once a model is loaded."""
    present = _library().get_available_providers()
    return [device for device, provider in _PROVIDERS.items() if provider in present]


@cache
def _library() -> Any:
    """The module onnxruntime, imported at its first use, with its reports to its maker turned off."""
    import onnxruntime

    # What engine/__init__.py sets is enough on Linux and macOS; on Windows this is needed too.
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
    # What goes wrong is raised and told in words; onnxruntime would also print it.
    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    providers: list[Any] = [
        (_PROVIDERS[d], _CUDA_OPTIONS) if d is Device.CUDA else _PROVIDERS[d]
        for d in dict.fromkeys([*wanted, Device.CPU])
    ]
    try:
        inner = onnxruntime.InferenceSession(str(card.path(stage)), options, providers=providers)
    except Exception as error:
        # See Session.run: there is no common base class to catch.
        raise _explained(error, Words("The model {model} could not be loaded", model=card.id)) from error
    got = Device.CUDA if inner.get_providers()[0] == _PROVIDERS[Device.CUDA] else Device.CPU
    if device is Device.CUDA and got is not Device.CUDA:
        raise DeviceError("CUDA was asked for, but it does not work on this computer.", "device.cuda")
    _check_ports(card, stage, inner)
    return Session(inner, stage, got)


def _check_ports(card: ModelCard, stage: Stage, inner: onnxruntime.InferenceSession) -> None:
    """Refuse a file whose tensors are not what the card says of them, as far as the file tells.

    Raises:
        ModelError: ``model.ports``; says what does not fit.
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
            if reason := _misfit(card, port, present[port.name], takes=present is given):
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


def _misfit(card: ModelCard, port: Port, node: Any, *, takes: bool) -> Words | None:
    """What does not fit, as the rest of a sentence; None when all does, or nothing is known."""
    kinds = ("tensor(float)",) if takes else ("tensor(float)", "tensor(float16)", "tensor(double)")
    if node.type not in kinds:
        said = "has {type} for {tensor!r}, and decimal numbers of 32 bits are wanted"
        return Words(said, type=node.type, tensor=port.name)
    # Sides that are free have a name or none. A file may also say nothing at all.
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
    """Find the CUDA libraries that were installed as Python packages; harmless where there are none."""
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
        _library().preload_dlls(directory="")


def _explained(error: Exception, what: Words) -> DeviceError | ModelError:
    """What an exception of onnxruntime means."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    lowered = str(error).lower()
    if any(sign in lowered for sign in ("out of memory", "failed to allocate", "bad_alloc", "alloc failed")):
        return OutOfMemory("{what}: the memory is not enough.", "device.memory", what=what)
    return ModelError("{what}: {reason}.", "model.run", what=what, reason=text.rstrip("."))
