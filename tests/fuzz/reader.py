"""What a reader is to the fuzzer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        suffix: of its files.
        seeds: sound files.
        mutate: changes one.
        read: reads a file, which lies alone in a folder, and uses what it gave.
    """

    suffix: str
    seeds: Callable[[], list[bytes]]
    mutate: Callable[[Random, bytes], bytes]
    read: Callable[[Path], None]
