"""The process that tries the files of one reader; reports the start and outcome of each on stdout as JSON lines."""

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
    """A reader of the program by its name, or ``faulty.NAME``, a failing one for tests."""
    if name.startswith("faulty."):
        from tests.fuzz import faulty

        return faulty.READERS[name.removeprefix("faulty.")]
    from tests.fuzz.readers import READERS

    return READERS[name]


def mutated_file(reader: Reader, name: str, seed: int, case: int) -> bytes:
    """The contents of the file number ``case``; the same for the same seed and number."""
    random = Random(f"{name} {seed} {case}")
    return reader.mutate(random, random.choice(reader.seeds()))


def try_file(reader: Reader, file: Path) -> str:
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
    """Try the files from one number up to another; see ``tests.fuzz.__main__``."""
    # What libraries print to stdout is redirected to stderr, as stdout is for the report.
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
            file.write_bytes(mutated_file(reader, name, seed, case))
            # Saved before it is read, so that a file that crashes the process is kept.
            kept = keep / f"{name}-{seed}-{case}{reader.suffix}"
            shutil.copyfile(file, kept)
            try:
                say({try_file(reader, file): True})
                kept.unlink()
            except Exception:  # noqa: BLE001 - that is what is looked for
                said = traceback.format_exc(limit=-5, chain=False)
                say({"failure": said if len(said) < 3000 else f"{said[:1500]} ... {said[-1500:]}"})
            shutil.rmtree(folder)
        say({"case": last})


if __name__ == "__main__":
    main(sys.argv[1:])
