"""The driver of NVIDIA's graphics cards, asked through its own library (NVML), which comes with every driver."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Any

_TEXT = 96
"""Longest text of the library, bytes."""


@dataclass(frozen=True)
class GraphicsCard:
    """A graphics card: its name, and its memory in bytes, all and unused."""

    name: str
    memory: int
    free: int


@dataclass(frozen=True)
class Driver:
    """The driver of NVIDIA's graphics cards.

    Attributes:
        version: its own, for example ``580.65.06``.
        cuda: the newest CUDA that it can run, for example ``13.0``.
        cards: the graphics cards that it found.
    """

    version: str
    cuda: str
    cards: tuple[GraphicsCard, ...]


class _Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


def nvidia_driver(library: Any = None) -> Driver | None:
    """Ask the driver; None where there is none, or where it does not answer. Any thread.

    Args:
        library: NVML; None = that of the system.
    """
    try:
        nvml = library or ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
        if nvml.nvmlInit_v2() != 0:
            return None
        try:
            return _ask(nvml)
        finally:
            nvml.nvmlShutdown()
    except (OSError, AttributeError):
        # AttributeError: a library so old that it lacks one of the functions.
        return None


def _ask(nvml: Any) -> Driver | None:
    version, number, count = ctypes.create_string_buffer(_TEXT), ctypes.c_int(), ctypes.c_uint()
    answers = (
        nvml.nvmlSystemGetDriverVersion(version, ctypes.c_uint(_TEXT)),
        nvml.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(number)),
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)),
    )
    if any(answers):
        return None
    cards = [_card(nvml, index) for index in range(count.value)]
    cuda = f"{number.value // 1000}.{number.value % 1000 // 10}"
    return Driver(_text(version), cuda, tuple(card for card in cards if card is not None))


def _card(nvml: Any, index: int) -> GraphicsCard | None:
    handle, name, memory = ctypes.c_void_p(), ctypes.create_string_buffer(_TEXT), _Memory()
    if nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)):
        return None
    nvml.nvmlDeviceGetName(handle, name, ctypes.c_uint(_TEXT))
    nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
    return GraphicsCard(_text(name), int(memory.total), int(memory.free))


def _text(buffer: Any) -> str:
    return str(buffer.value.decode(errors="replace"))
