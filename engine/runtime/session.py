"""Running ONNX models. The only file that knows onnxruntime."""

from __future__ import annotations

import threading
from collections import OrderedDict
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import DeviceError, ModelError
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
            inputs: the card's role of each input -> float32 array in the card's layout.
            context: cancelling it stops the run within some milliseconds.

        Returns:
            The outputs in the card's order, float32 and finite, in the card's layout.

        Raises:
            Cancelled: the job was called off.
            OutOfMemory: a smaller window may do.
            ModelError: the model refused the input or broke, or its output is not what the card says: of another type
                or shape, or with values that are not finite.
        """
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        feeds = {port.name: inputs[port.role] for port in self._stage.inputs}

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
            raise _translated(error, f"The model file {self._stage.file} failed") from error
        return [self._checked(port, output) for port, output in zip(self._stage.outputs, outputs, strict=True)]

    def _checked(self, port: Port, output: Any) -> np.ndarray:
        """An output, if it is what the card says of it."""
        what = f"The model file {self._stage.file} gave for {port.name!r}"
        if not isinstance(output, np.ndarray) or output.dtype.kind != "f":
            raise ModelError(f"{what} something else than decimal numbers.", "model.output")
        axes = len(port.layout)
        if output.ndim != axes or (axes > 1 and output.shape[port.layout.index("C")] != port.channels):
            raise ModelError(
                f"{what} numbers in the shape {list(output.shape)}, not {port.layout} of {port.channels} planes as its "
                "card says.",
                "model.output",
            )
        with np.errstate(over="ignore"):
            values: np.ndarray = np.asarray(output, np.float32)
        # Where any value is no number, the largest and the smallest are none either, and no comparison holds.
        if values.size and not (values.max() <= _LARGEST and values.min() >= -_LARGEST):
            raise ModelError(f"{what} values that are no numbers or far too large to be used.", "model.numbers")
        return values


class SessionPool:
    """Loaded models, the latest few, by checksum and device. Safe on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: OrderedDict[tuple[str, Device], Session] = OrderedDict()

    def open(self, card: ModelCard, stage: Stage, device: Device) -> Session:
        """A loaded model; a second call for the same one is free.

        Raises:
            ModelError: the file is missing, damaged or no ONNX model.
            DeviceError: CUDA was asked for and is not to be had.
        """
        card.verify()
        with self._lock:
            key = (stage.sha256, device)
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
    import onnxruntime

    present = onnxruntime.get_available_providers()
    return [device for device, provider in _PROVIDERS.items() if provider in present]


def _load(card: ModelCard, stage: Stage, device: Device) -> Session:
    import onnxruntime

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
        raise _translated(error, f"The model {card.id} could not be loaded") from error
    got = Device.CUDA if inner.get_providers()[0] == _PROVIDERS[Device.CUDA] else Device.CPU
    if device is Device.CUDA and got is not Device.CUDA:
        raise DeviceError("CUDA was asked for, but it does not work on this computer.", "device.cuda")
    _check_ports(card, stage, inner)
    return Session(inner, stage, got)


def _check_ports(card: ModelCard, stage: Stage, inner: onnxruntime.InferenceSession) -> None:
    present = {node.name for node in [*inner.get_inputs(), *inner.get_outputs()]}
    for port in [*stage.inputs, *stage.outputs]:
        if port.name not in present:
            raise ModelError(f"The model {card.id} has no tensor {port.name!r}, which its card names.", "model.ports")


def _preload_cuda() -> None:
    """Find the CUDA libraries that were installed as Python packages; harmless where there are none."""
    import contextlib
    import io

    import onnxruntime

    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
        onnxruntime.preload_dlls(directory="")


def _translated(error: Exception, what: str) -> DeviceError | ModelError:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    lowered = str(error).lower()
    if any(sign in lowered for sign in ("out of memory", "failed to allocate", "bad_alloc", "alloc failed")):
        return OutOfMemory(f"{what}: the memory is not enough.", "device.memory")
    return ModelError(f"{what}: {text}", "model.run")
