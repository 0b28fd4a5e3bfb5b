"""The digest in records and projects is that of the bytes that were decoded, or absent."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from desktop.document.model import Document
from desktop.document.opening import open_document
from desktop.document.project import Snapshot, write_project
from desktop.document.project_reader import read_project
from desktop.work.flatten import export
from engine import cli, imageio
from engine.output import Output
from engine.raster import Raster
from engine.record import ScanFile, read_scan
from tests.conftest import noise_raster


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    imageio.write(noise_raster(40, 60), tmp_path / "in.tif")
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 10:20] = 255
    imageio.write_mask(mask, tmp_path / "mask.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def told(path: Path) -> Any:
    return json.loads(path.with_name(path.name + ".record.json").read_text())["source"]["sha256"]


def put_another_there(path: Path) -> None:
    """Replace the file at a path by another one."""
    imageio.write(noise_raster(41, 60), path)


def write_into(path: Path) -> None:
    """Modify a file in place."""
    with path.open("r+b") as file:
        file.seek(200)
        file.write(b"other bytes")
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg", "a.webp", "a.bmp"])
def test_every_format_is_read_with_its_digest(folder: Path, name: str) -> None:
    path = folder / name
    if name == "a.bmp":
        from PIL import Image

        Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(path)
    else:
        imageio.write(noise_raster(40, 60), path)
    expected = sha256(path)
    raster, scan = read_scan(path)
    path.unlink()
    assert scan.with_digest() == ScanFile(path, expected)
    assert raster.pixels.shape[2] == 3


def test_the_digest_of_a_scan_replaced_while_reading_is_that_of_the_bytes_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, expected, decode = folder / "in.tif", sha256(folder / "in.tif"), imageio.tiff.decode

    def meanwhile(*arguments: Any, **more: Any) -> Any:
        pixels = decode(*arguments, **more)
        put_another_there(path)
        return pixels

    monkeypatch.setattr(imageio.tiff, "decode", meanwhile)
    _, scan = read_scan(path)
    assert sha256(path) != expected
    assert scan.with_digest().sha256 == expected


def test_a_scan_that_was_written_to_while_it_was_read_has_no_digest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = imageio.tiff.decode

    def meanwhile(*arguments: Any, **more: Any) -> Any:
        pixels = decode(*arguments, **more)
        write_into(folder / "in.tif")
        return pixels

    monkeypatch.setattr(imageio.tiff, "decode", meanwhile)
    _, scan = read_scan(folder / "in.tif")
    assert scan.with_digest().sha256 == ""


@pytest.mark.parametrize(
    "words",
    [
        ["heal", "in.tif", "-o", "out.tif", "--mask", "mask.png"],
        ["clean", "in.tif", "-o", "out.tif"],
        ["upscale", "in.tif", "-o", "out.tif"],
        ["restore", "in.tif", "-o", "out.tif", "--recipe", "standard"],
    ],
)
def test_the_record_of_a_command_names_the_scan_it_worked_on(
    folder: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import engine.recipes.run
    import engine.tasks

    path, expected, run_task = folder / "in.tif", sha256(folder / "in.tif"), engine.tasks.run_task

    def meanwhile(*arguments: Any) -> Any:
        put_another_there(path)
        return run_task(*arguments)

    for module in (engine.tasks, engine.recipes.run):
        monkeypatch.setattr(module, "run_task", meanwhile)
    assert cli.main([*words, "--device", "cpu"]) == 0
    assert sha256(path) != expected
    assert told(folder / "out.tif") == expected


def test_the_record_of_convert_has_the_digest_too(folder: Path) -> None:
    expected = sha256(folder / "in.tif")
    assert cli.main(["convert", "in.tif", "-o", "out.tif"]) == 0
    assert told(folder / "out.tif") == expected


def test_the_window_s_record_and_project_name_the_scan_that_was_opened(folder: Path) -> None:
    path, expected = folder / "in.tif", sha256(folder / "in.tif")
    document = open_document(path)
    put_another_there(path)
    snapshot = Snapshot.of(document)
    export(snapshot, Output(folder / "out.tif"))
    write_project(snapshot, folder / "work.ora")
    assert sha256(path) != expected
    assert told(folder / "out.tif") == expected
    assert read_project(folder / "work.ora").scan_file == ScanFile(path, expected)


def test_a_file_that_a_project_only_names_is_never_read(folder: Path) -> None:
    """A hostile manifest may name any file of the system; its digest must not be given away."""
    secret = folder / "secret"
    secret.write_bytes(b"secret")
    document = Document(Raster(noise_raster(40, 60).pixels))
    document.scan_file = ScanFile(secret)
    write_project(Snapshot.of(document), folder / "work.ora")
    assert sha256(secret).encode() not in zipfile.ZipFile(folder / "work.ora").read("lacuna/document.json")
    export(Snapshot.of(open_document(folder / "work.ora")), Output(folder / "out.tif"))
    assert told(folder / "out.tif") is None
