"""A picture and its record match, or a mismatch is detected."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import cli, imageio
from engine.errors import WriteError
from engine.imageio import atomic
from engine.output import Output, write_result
from engine.raster import Raster
from engine.record import record_matches, record_path
from tests.conftest import noise_raster


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    imageio.write(noise_raster(40, 60), tmp_path / "in.tif")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(path: Path, level: int = 0) -> None:
    raster = Raster(np.full((40, 60, 3), level, np.uint8))
    write_result(raster, Output(path), scan=raster.pixels, source=None, repairs=[], command="test")


def told(path: Path) -> dict[str, Any]:
    return json.loads(record_path(path).read_text())["written"]


@pytest.mark.parametrize("name", ["out.tif", "out.png", "out.jpg", "out.webp"])
def test_a_record_holds_the_digest_of_its_file(folder: Path, name: str) -> None:
    assert cli.main(["convert", "in.tif", "-o", name]) == 0
    data = (folder / name).read_bytes()
    expected = {"file": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "size": [60, 40]}
    assert expected.items() <= told(folder / name).items()
    assert record_matches(folder / name) is True


def info(name: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """The record line of ``info``, and its last notice."""
    capsys.readouterr()
    assert cli.main(["info", name, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    return facts["record"], ([""] + facts["notices"])[-1]


def test_info_says_whether_the_record_matches_the_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert info("in.tif", capsys) == ("none", "")
    assert cli.main(["convert", "in.tif", "-o", "out.tif"]) == 0
    assert info("out.tif", capsys) == ("of this picture", "")
    assert cli.main(["info", "out.tif"]) == 0
    assert "of this picture" in capsys.readouterr().out
    imageio.write(noise_raster(41, 60), folder / "out.tif")
    said = info("out.tif", capsys)
    assert said == ("of another picture", "The record beside it is about another picture.")
    for text in ("{}", "[]", "{", '{"written": 3}', "[" * 100_000, '{"written": {"sha256": null, "sha": 1}}'):
        (folder / "out.tif.record.json").write_text(text)
        assert info("out.tif", capsys)[0] == ("of another picture" if "sha256" in text else "unknown")


def test_picture_and_record_match_when_two_write_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform == "win32":
        pytest.skip("folders are not locked on Windows: the digest tells")
    out, replace, lock = folder / "out.png", os.replace, atomic._lock
    first_is_between, second_waits = threading.Event(), threading.Event()

    def slowly(source: Path, target: Path) -> None:
        replace(source, target)
        if target == out and not first_is_between.is_set():
            first_is_between.set()
            assert second_waits.wait(10)

    def watched(descriptor: int, *, wait: bool) -> bool | None:
        locked = lock(descriptor, wait=wait)
        if locked is False:
            second_waits.set()
        return locked

    monkeypatch.setattr(os, "replace", slowly)
    monkeypatch.setattr(atomic, "_lock", watched)
    monkeypatch.setattr(atomic, "_LOCK_TIMEOUT", 60.0)
    first = threading.Thread(target=written, args=(out, 1))
    first.start()
    assert first_is_between.wait(10)
    written(out, 2)
    first.join()
    assert imageio.read(out).pixels.max() == 2
    assert record_matches(out) is True


def test_without_a_lock_a_mismatch_of_picture_and_record_is_detected(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, replace = folder / "out.png", os.replace

    def between(source: Path, target: Path) -> None:
        replace(source, target)
        if target == out:
            monkeypatch.setattr(os, "replace", replace)
            written(out, 2)

    monkeypatch.setattr(atomic, "_lock", lambda *_, **__: None)
    monkeypatch.setattr(os, "replace", between)
    written(out, 1)
    assert imageio.read(out).pixels.max() == 2
    assert record_matches(out) is False


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_record_that_cannot_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """On failure nothing is replaced, or, after the picture was replaced, its old record is deleted."""
    out = folder / "out.png"
    written(out, 1)
    before, work, calls = out.read_bytes(), getattr(os, step), []

    def second_fails(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(5, "input/output error")
        work(*arguments)

    monkeypatch.setattr(os, step, second_fails)
    with pytest.raises(WriteError) as caught:
        written(out, 2)
    assert sorted(folder.glob(".*")) == []
    if step == "fsync":
        assert caught.value.code == "write.failed"
        assert out.read_bytes() == before
        assert record_matches(out) is True
    else:
        assert caught.value.code == "write.companion"
        assert "out.png was written, but out.png.record.json" in caught.value.text()
        assert imageio.read(out).pixels.max() == 2
        assert not record_path(out).exists()
