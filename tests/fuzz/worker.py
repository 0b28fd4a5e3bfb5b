"""The process that reads the files of one reader; says on stdout what it begins and how that ended."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from random import Random
from typing import Any

from engine.errors import EngineError
from tests.fuzz.reader import Reader


def named(name: str) -> Reader:
    """A reader of the program, or ``faulty.NAME``: one that fails, for tests."""
    if name.startswith("faulty."):
        from tests.fuzz import faulty

        return faulty.READERS[name.removeprefix("faulty.")]
    from tests.fuzz.readers import READERS

    return READERS[name]


def made(reader: Reader, name: str, seed: int, case: int) -> bytes:
    """The file of a number: always the same."""
    random = Random(f"{name} {seed} {case}")
    return reader.mutate(random, random.choice(reader.seeds()))


def tried(reader: Reader, file: Path) -> str:
    """Read a file: ``read``, or ``refused``.

    Raises:
        Exception: anything else is a failure.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            reader.read(file)
    except EngineError as error:
        refused = error
    else:
        return "read"
    assert refused.text().endswith("."), f"no sentence: {refused.text()!r}"
    assert len(refused.text()) < 1000, f"an endless sentence: {refused.text()!r}"
    return "refused"


def main(words: list[str]) -> None:
    """Try files from one number up to another; see ``tests.fuzz.__main__``."""
    # Libraries may print what they like: that goes where errors go.
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(line: dict[str, Any]) -> None:
        channel.write(json.dumps(line) + "\n")

    name, first, last, seed, keep, memory = words[0], *map(int, words[1:4]), Path(words[4]), int(words[5])
    reader = named(name)
    sound = reader.seeds()
    reader = Reader(reader.suffix, lambda: sound, reader.mutate, reader.read)
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lacuna-fuzz-") as place:
        for case in range(first, last):
            say({"case": case})
            folder = Path(place) / "case"
            folder.mkdir()
            file = folder / f"file{reader.suffix}"
            file.write_bytes(made(reader, name, seed, case))
            # Kept before it is read: what ends the process is kept too.
            kept = keep / f"{name}-{seed}-{case}{reader.suffix}"
            shutil.copyfile(file, kept)
            try:
                say({tried(reader, file): True})
                kept.unlink()
            except Exception:  # noqa: BLE001 - that is what is looked for
                said = traceback.format_exc(limit=-5, chain=False)
                say({"failure": said if len(said) < 3000 else f"{said[:1500]} ... {said[-1500:]}"})
            shutil.rmtree(folder)
        say({"case": last})


if __name__ == "__main__":
    main(sys.argv[1:])
