"""Every reader is tried on a few corrupted files; ``make fuzz`` tries thousands."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fuzz.__main__ import ROOT, fuzz
from tests.fuzz.readers import READERS
from tests.fuzz.worker import mutated_file, try_file

FEW = 20
SECONDS = 20


@pytest.mark.parametrize("name", READERS)
def test_a_few_wrong_files(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    sound = reader.seeds()
    for number, data in enumerate(sound):
        folder = tmp_path / f"sound{number}"
        folder.mkdir()
        (folder / f"file{reader.suffix}").write_bytes(data)
        try_file(reader, folder / f"file{reader.suffix}")
    reader = replace(reader, seeds=lambda: sound)
    changed = 0
    for case in range(FEW):
        folder = tmp_path / str(case)
        folder.mkdir()
        data = mutated_file(reader, name, 0, case)
        changed += data not in sound
        (folder / f"file{reader.suffix}").write_bytes(data)
        try_file(reader, folder / f"file{reader.suffix}")
    assert changed > FEW // 2


@pytest.mark.parametrize(
    "name", ["tiff", "png", "jpeg", "webp", "bmp", "masks", "projects", "autosaves", "reviews", "models"]
)
def test_most_sound_files_are_read(name: str, tmp_path: Path) -> None:
    """Otherwise the fuzzer would not get beyond the first check."""
    reader, read = READERS[name], []
    for number, data in enumerate(sound := reader.seeds()):
        (folder := tmp_path / str(number)).mkdir()
        (folder / f"file{reader.suffix}").write_bytes(data)
        read.append(try_file(reader, folder / f"file{reader.suffix}"))
    assert read.count("read") >= 0.6 * len(sound)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raises", "^Traceback.*ValueError: a defect"),
        ("mumbles", "^Traceback.*no sentence"),
        ("warns", "^Traceback.*UserWarning: a warning"),
        ("eats", "^Traceback.*MemoryError"),
        ("crashes", "^the process ended .SIGSEGV"),
        ("hangs", "^took longer than 1 s"),
    ],
)
def test_failures_are_found_and_kept(name: str, said: str, tmp_path: Path) -> None:
    limit = 1.0 if name == "hangs" else SECONDS
    # After a crash a new process continues.
    cases = [5, 6] if name in ("raises", "crashes") else [5]
    outcome = fuzz(f"faulty.{name}", cases[0], cases[-1] + 1, 1, tmp_path, limit)
    assert sorted(outcome.failures) == cases
    assert outcome.cases == len(cases)
    assert all(re.search(said, what, re.DOTALL) for what in outcome.failures.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"faulty.{name}-1-{case}.txt" for case in cases]
    assert (tmp_path / f"faulty.{name}-1-5.txt").read_bytes().startswith(b"sound")


@pytest.mark.parametrize(("name", "refused"), [("reads", 0), ("prints", 0), ("refuses", 3)])
def test_success_and_refusal_are_not_failures(name: str, refused: int, tmp_path: Path) -> None:
    outcome = fuzz(f"faulty.{name}", 0, 3, 1, tmp_path)
    assert (outcome.cases, outcome.refused, outcome.failures) == (3, refused, {})
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--mutations", "3", "--keep", str(tmp_path)]
    done = subprocess.run([*command, "recipes"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "3 files" in done.stdout
    wrong = subprocess.run([*command, "nonsense"], cwd=ROOT, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "no reader 'nonsense'" in wrong.stderr


def test_a_number_always_gives_the_same_file() -> None:
    sound = READERS["png"].seeds()
    reader = replace(READERS["png"], seeds=lambda: sound)
    assert mutated_file(reader, "png", 4, 7) == mutated_file(reader, "png", 4, 7)
    assert mutated_file(reader, "png", 4, 7) != mutated_file(reader, "png", 5, 7)
