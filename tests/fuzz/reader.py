"""Description of a reader for the fuzzer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        suffix: suffix of its files.
        seeds: gives valid files.
        mutate: corrupts a file.
        read: reads a file, which is alone in its folder, and uses the result.
    """

    suffix: str
    seeds: Callable[[], list[bytes]]
    mutate: Callable[[Random, bytes], bytes]
    read: Callable[[Path], None]
