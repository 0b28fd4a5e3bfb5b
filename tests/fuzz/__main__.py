"""``make fuzz``: runs every file reader of the program on thousands of slightly corrupted files.

    python -m tests.fuzz [READER ...] [--mutations N] [--seed S] [--case N] [--keep FOLDER]

Each reader runs in a process of its own with bounded memory, each file has a time limit. Anything but success or an
``EngineError`` is a failure: a traceback, a warning, a crash of the interpreter, a file that takes too long. A failure
is printed with its seed and number, and its file is kept; ``--case`` tries one number again.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MUTATIONS = 2000
MEMORY = 6 << 30
"""Limit of a reader process's address space, bytes, including that of the libraries that it loads."""
SECONDS = 30.0
"""Time limit of a file."""


@dataclass
class Outcome:
    """Result of fuzzing one reader.

    Attributes:
        cases: number of files that were tried.
        refused: number of them that were refused with an ``EngineError``.
        failures: number of the file -> what happened.
        seconds: total time.
    """

    cases: int = 0
    refused: int = 0
    failures: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0


def fuzz(reader: str, first: int, last: int, seed: int, keep: Path, limit: float = SECONDS) -> Outcome:
    """Try the files ``first``..``last - 1`` in a separate process, which is restarted after each crash or timeout."""
    outcome, start = Outcome(), time.monotonic()
    while first < last:
        first = _run(reader, first, last, seed, keep, outcome, limit)
    outcome.seconds = time.monotonic() - start
    return outcome


def _run(reader: str, first: int, last: int, seed: int, keep: Path, outcome: Outcome, limit: float) -> int:
    """Run one process; returns the number of the file to continue with.

    Raises:
        RuntimeError: the process failed to start.
    """
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.worker",
        reader,
        str(first),
        str(last),
        str(seed),
        str(keep),
        str(MEMORY),
    ]
    case, ended = -1, False
    with tempfile.TemporaryFile("w+b") as said:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=said)
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector, process.stdout:
            selector.register(process.stdout, selectors.EVENT_READ)
            waiting = b""
            while not ended:
                if not selector.select(limit if case >= 0 else 4 * SECONDS):
                    process.kill()
                    process.wait()
                    outcome.failures[case] = f"took longer than {limit:g} s"
                    break
                news = os.read(process.stdout.fileno(), 1 << 16)
                ended = not news
                *lines, waiting = (waiting + news).split(b"\n")
                for line in map(json.loads, lines):
                    case = _count_line(line, outcome, case)
        process.wait()
        said.seek(0)
        last_words = said.read()[-2000:].decode(errors="replace")
    if case < 0:
        raise RuntimeError(f"The process for {reader} did not begin: {last_words}")
    if case < last:
        outcome.failures.setdefault(case, f"the process ended ({_word(process.returncode)}): {last_words}")
        outcome.cases += 1
        return case + 1
    return last


def _count_line(line: dict[str, Any], outcome: Outcome, case: int) -> int:
    """Count a line of the worker's output; returns the number of the file that it is trying."""
    if "failure" in line:
        outcome.failures[case] = line["failure"]
    outcome.cases += "refused" in line or "failure" in line or "read" in line
    outcome.refused += "refused" in line
    return int(line.get("case", case))


def _word(status: int) -> str:
    try:
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"
    except ValueError:
        return str(status)


def main() -> int:
    """Fuzz all readers, or the named ones; exit status 1 if any failed."""
    from tests.fuzz.readers import READERS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Give every reader files that are wrong.")
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(READERS))
    parser.add_argument("--mutations", type=int, default=MUTATIONS, help=f"files a reader (default {MUTATIONS})")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", type=int, help="only the file of this number")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "lacuna-fuzz", help="for failures")
    options = parser.parse_args()
    unknown = [name for name in options.readers if name not in READERS]
    if unknown:
        parser.error(f"there is no reader {unknown[0]!r}; these are: {', '.join(READERS)}")
    first, last = (0, options.mutations) if options.case is None else (options.case, options.case + 1)
    failed = 0
    for name in options.readers or READERS:
        outcome = fuzz(name, first, last, options.seed, options.keep)
        print(
            f"{name:10} {outcome.cases:6} files, {outcome.refused:6} refused, {len(outcome.failures):4} failures,"
            f" {outcome.seconds:5.0f} s",
            flush=True,
        )
        for case, what in sorted(outcome.failures.items()):
            print(f"  --seed {options.seed} --case {case}, kept as {options.keep}/{name}-{options.seed}-{case}.*")
            print("    " + what.strip().replace("\n", "\n    "), flush=True)
        failed += len(outcome.failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
