"""Nothing calls the network, and nothing is written beside what was asked for: 20 s of the real program, watched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.runtime import session
from tests.quiet.watch import ROOT, Watched


@pytest.mark.parametrize(
    ("name", "files"), [("window", set()), ("heal", {"work/healed.tif", "work/healed.tif.record.json"})]
)
def test_what_lives_20_s_calls_nobody_and_leaves_only_its_own_files(
    lives: dict[str, Watched], name: str, files: set[str]
) -> None:
    seen = lives[name].wait()
    assert seen.status == 0, seen.output
    assert seen.output.endswith("True\n"), "onnxruntime was never loaded, so this says nothing"
    own = [lives[name].folder / place for place in ("work", "cache/lacuna", "config/lacuna", "state/lacuna")]
    assert seen.foreign(own) == set()
    assert {path for path in seen.files if path.split("/")[1] != "lacuna"} == files


def test_the_watch_would_see_onnxruntime_report_to_its_maker(lives: dict[str, Watched]) -> None:
    """When this fails the library has changed its ways; then look again at what turns its reports off."""
    seen = lives["library"].wait()
    assert seen.status == 0, seen.output
    assert any(kind == "look-up" and "microsoft" in where for kind, where in seen.events), seen.events
    assert any("onnxruntime" in path for path in seen.files)


@pytest.mark.parametrize("said", ["0", ""])
def test_the_switch_is_set_before_anything_of_ours_whatever_the_environment_says(said: str) -> None:
    code = (
        "import engine, os, subprocess, sys; assert 'onnxruntime' not in sys.modules;"
        "sys.exit(subprocess.call([sys.executable, '-c', 'import os; print(os.environ[\"ORT_DISABLE_TELEMETRY\"])']))"
    )
    environment = os.environ | {"ORT_DISABLE_TELEMETRY": said, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=Path(__file__).parent, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (0, "1\n"), result.stderr


def test_the_library_is_also_told_by_its_own_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows needs both; elsewhere the call does nothing more."""
    import onnxruntime

    told: list[str] = []
    real = onnxruntime.get_available_providers
    monkeypatch.setattr(onnxruntime, "disable_telemetry_events", lambda: told.append("off"))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [told.append("used"), *real()][1:])
    session._library.cache_clear()
    session.available_devices()
    assert told == ["off", "used"]
