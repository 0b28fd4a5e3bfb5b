"""Damaged projects and autosaved work found by fuzzing: refused with a sentence, or opened without invalid parts."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from desktop.document.autosave_folder import AutosaveFolder
from desktop.document.compose import Composite, flatten
from desktop.document.edits import AddLayer
from desktop.document.model import Document
from desktop.document.opening import file_stamp, open_document, open_project
from desktop.document.project import OpenedFile, Snapshot, write_project
from desktop.document.recovery import autosaved_source, recover
from engine import colour, imageio
from engine.errors import ReadError
from engine.raster import Raster, Rect
from tests.conftest import noise_raster
from tests.document.test_edits import filled_layer

ADOBE = bytes(imagecodecs.cms_profile("adobergb"))
CUT_OFF = ADOBE[:400]
OF_ANOTHER_KIND = (ADOBE[:16] + b"GRAY" + ADOBE[20:]).replace(b"rTRC", b"kTRC", 1)


def project(folder: Path, change: Callable[[dict[str, bytes]], None], profile: bytes | None = ADOBE) -> Path:
    path = folder / "work.ora"
    write_project(Snapshot.of(Document(noise_raster(40, 60, profile=profile))), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def render(document: Document) -> None:
    colour.to_screen(flatten(Composite.of(document.state)), document.profile)


@pytest.mark.parametrize("profile", [b"", b"rubbish", CUT_OFF, OF_ANOTHER_KIND])
@pytest.mark.parametrize("own", [True, False])
def test_an_unusable_profile_is_ignored_with_a_notice(tmp_path: Path, profile: bytes, own: bool) -> None:
    def change(members: dict[str, bytes]) -> None:
        if own:
            members["lacuna/profile.icc"] = profile
            return
        for name in [name for name in members if name.startswith("lacuna/")]:
            del members[name]
        pixels = imageio.decode_png(members["data/scan.png"], 10_000)
        members["data/scan.png"] = imageio.encode_png(pixels, profile)

    document = open_project(project(tmp_path, change))
    assert document.profile is None
    assert any("profile" in notice for notice in document.notices)
    render(document)


def manifest(**entries: Any) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        text = json.dumps(json.loads(members["lacuna/document.json"]) | entries, allow_nan=True)
        # JSON has no infinity, but 1e999 is read as one.
        members["lacuna/document.json"] = text.replace("Infinity", "1e999").encode()

    return change


@pytest.mark.parametrize("resolution", [[1e308, 1], [0, 0], [-300, 300], [float("inf"), 1]])
def test_a_resolution_that_makes_no_sense_is_ignored(tmp_path: Path, resolution: list[float]) -> None:
    document = open_project(project(tmp_path, manifest(resolution=resolution)))
    assert document.resolution is None
    write_project(Snapshot.of(document), tmp_path / "again.ora")


@pytest.mark.parametrize("entry", ["x", "name"])
def test_a_sentence_about_a_project_stays_one(tmp_path: Path, entry: str) -> None:
    """Long texts of the file are cut in error messages."""
    row = {"id": 1, "name": "n" * 5000, "src": "data/scan.png" if entry == "name" else "s" * 5000, "x": 0, "y": 0}
    row |= {"opacity": 1, "blend": "NORMAL", "visible": True, "cells": [], "made_by": []}
    with pytest.raises(ReadError) as caught:
        open_project(project(tmp_path, manifest(layers=[row])))
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("own", [True, False])
def test_layers_that_share_one_picture_are_not_unpacked_again_and_again(tmp_path: Path, own: bool) -> None:
    document = Document(noise_raster(40, 60))
    for number in range(3):
        AddLayer("add", filled_layer(document, Rect(10, 10, 30, 30), number), number).apply(document)
    write_project(Snapshot.of(document), tmp_path / "work.ora")

    def change(members: dict[str, bytes]) -> None:
        names = [name for name in members if name.startswith("data/layer")]
        if own:
            for name in names:
                text = members["lacuna/document.json"].decode()
                members["lacuna/document.json"] = text.replace(name, names[0]).encode()
            return
        for name in names:
            members["stack.xml"] = members["stack.xml"].replace(name.encode(), names[0].encode())

    with zipfile.ZipFile(tmp_path / "work.ora") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(tmp_path / "work.ora", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    if own:
        with pytest.raises(ReadError, match="share one picture"):
            open_project(tmp_path / "work.ora")
        return
    opened = open_project(tmp_path / "work.ora")
    assert not opened.state.layers
    assert any("merged picture" in notice for notice in opened.notices)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """An autosave folder with one layer, and its scan."""
    scan = tmp_path / "scan.tif"
    imageio.write(noise_raster(300, 300), scan)
    document = open_document(scan)
    AddLayer("add", filled_layer(document, Rect(10, 10, 290, 200)), 0).apply(document)
    folder = tmp_path / "autosave"
    AutosaveFolder(folder).autosave(Snapshot.of(document, OpenedFile(scan, file_stamp(scan)), 1))
    assert recover(folder).document.state.layers
    return folder


def rewrite_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "manifest.json"
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY\x01\x00\x76\x00{'descr': '|u1', 'shape': (((",
        b"\x93NUMPY\x01\x00\x46\x00" + b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999, 9999999)}",
        bytes(100 << 20),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_only_an_invalid_tile_is_lost(saved: Path, data: bytes, named: bool) -> None:
    """Also if its name matches its contents, as in a file made with intent."""
    tile = next((saved / "tiles").iterdir())
    key = hashlib.blake2b(data, digest_size=16).hexdigest() if named else tile.stem
    text = (saved / "manifest.json").read_text()
    assert tile.stem in text
    tile.unlink()
    tile.with_stem(key).write_bytes(zlib.compress(data))
    (saved / "manifest.json").write_text(text.replace(tile.stem, key))
    assert any("parts are damaged" in notice for notice in recover(saved).document.notices)


def test_only_a_tile_with_changed_contents_is_lost(saved: Path) -> None:
    tile = next((saved / "tiles").iterdir())
    data = bytearray(zlib.decompress(tile.read_bytes()))
    data[-1] ^= 1
    tile.write_bytes(zlib.compress(bytes(data)))
    document = recover(saved).document
    assert "1 of the autosaved parts are damaged; there the work is missing." in document.notices


@pytest.mark.parametrize("opacity", [float("-inf"), float("inf"), float("nan"), -3, 10**30])
def test_an_opacity_that_makes_no_sense_is_kept_within_its_range(saved: Path, opacity: float) -> None:
    text = (saved / "manifest.json").read_text().replace('"opacity": 1.0', f'"opacity": {opacity:e}')
    text = text.replace("inf", "1e999").replace("nan", "-1e999")
    (saved / "manifest.json").write_text(text)
    document = recover(saved).document
    assert 0 <= document.state.layers[0].opacity <= 1
    write_project(Snapshot.of(document), saved.parent / "work.ora")


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"source": ' + "[" * 100_000, "9" * 5000, "NaN", "[]", "3", "null", '{"source": 3}', "\xff"],
)
def test_an_invalid_manifest_counts_as_no_work(saved: Path, text: str) -> None:
    (saved / "manifest.json").write_bytes(text.encode("latin-1"))
    assert autosaved_source(saved) is None
    with pytest.raises(ReadError):
        recover(saved)


@pytest.mark.parametrize("entry", ["stamp", "sha256", "turns", "layers", "mask", "review"])
@pytest.mark.parametrize("value", [None, 3, 1e300, "x", [], [3], {}, {"a": 3}, [[]], [{}], {"1,1": "../x"}, {"x": "y"}])
def test_an_entry_of_another_kind_is_refused_or_does_no_harm(saved: Path, entry: str, value: object) -> None:
    rewrite_manifest(saved, lambda table: table.update({entry: value}))
    try:
        document = recover(saved).document
    except ReadError as error:
        assert error.text().endswith(".")  # noqa: PT017 - both ends are right
    else:
        render(document)


def test_a_grey_project_keeps_its_grey_profile(tmp_path: Path) -> None:
    path = tmp_path / "grey.ora"
    grey = Raster(np.full((20, 20, 1), 90, np.uint8), OF_ANOTHER_KIND)
    write_project(Snapshot.of(Document(grey)), path)
    document = open_project(path)
    assert document.profile == OF_ANOTHER_KIND
    assert not document.notices
