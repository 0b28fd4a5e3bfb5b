"""Readers that fail in each way a reader can: the fuzzer itself is tested with them."""

from __future__ import annotations

import ctypes
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from engine.errors import ReadError
from tests.fuzz.reader import Reader


def _refuses(path: Path) -> None:
    raise ReadError(f"{path.name} is refused.", "fuzz.test")


def _mumbles(path: Path) -> None:
    raise ReadError(path.name, "fuzz.test")


def _raises(_: Path) -> None:
    raise ValueError("a defect")


def _warns(_: Path) -> None:
    warnings.warn("a warning", stacklevel=1)


def _crashes(_: Path) -> None:
    ctypes.string_at(0)


def _hangs(_: Path) -> None:
    while True:
        time.sleep(60)


def _eats(_: Path) -> None:
    bytearray(1 << 45)


def _prints(_: Path) -> None:
    os.write(1, b"a library prints\n")


def _reader(read: Callable[[Path], None]) -> Reader:
    return Reader(".txt", lambda: [b"sound"], lambda random, data: data + random.randbytes(3), read)


READERS = {
    "reads": _reader(lambda _: None),
    "refuses": _reader(_refuses),
    "mumbles": _reader(_mumbles),
    "raises": _reader(_raises),
    "warns": _reader(_warns),
    "crashes": _reader(_crashes),
    "hangs": _reader(_hangs),
    "eats": _reader(_eats),
    "prints": _reader(_prints),
}
