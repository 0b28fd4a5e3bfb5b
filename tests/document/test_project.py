"""OpenRaster files: our own without loss, those of other programs as far as supported, damaged ones refused."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desktop.document.blend import BlendMode
from desktop.document.compose import Composite, flatten
from desktop.document.edits import AddLayer, TurnPicture
from desktop.document.geometry import Turn
from desktop.document.model import Document
from desktop.document.opening import open_project
from desktop.document.project import Snapshot, write_project
from desktop.document.project_reader import read_project
from desktop.document.targets import REPAIR_MASK
from engine import imageio
from engine.errors import EngineError, ReadError, WriteError
from engine.raster import Metadata, Raster, Rect, Resolution
from engine.record import ScanFile
from tests.document.test_edits import REPAIR, filled_layer, make_document, paint, picture

ADOBE = bytes(imagecodecs.cms_profile("adobergb"))


def layered_document(channels: int = 3, dtype: type = np.uint16) -> Document:
    document = make_document(channels, dtype)
    document.resolution = Resolution(600, 300)
    document.metadata = Metadata(xmp=b"<x/>", iptc=b"\x1c\x02\x05\x00\x03abc", tags={34377: (1, b"8BIM")})
    document.profile = ADOBE if channels == 3 else None
    first = replace(filled_layer(document, Rect(10, 20, 100, 110), 1, 200), made_by=(REPAIR,))
    second = replace(
        filled_layer(document, Rect(200, 150, 299, 260), 2, 90),
        blend=BlendMode.SOFT_LIGHT,
        opacity=0.7,
        name="Größe <&>",
    )
    third = replace(filled_layer(document, Rect(0, 0, 30, 30), 3), visible=False)
    for layer in (first, second, third, document.new_layer("empty")):
        AddLayer("add", layer, len(document.state.layers)).apply(document)
    paint(document, REPAIR_MASK, Rect(5, 6, 90, 80), 123).apply(document)
    return document


def save(document: Document, path: Path) -> Path:
    document.scan_file = ScanFile(Path("scan.tif"), "ab")
    write_project(Snapshot.of(document), path)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_project_comes_back_as_it_was(tmp_path: Path, channels: int, dtype: type) -> None:
    document = layered_document(channels, dtype)
    again = open_project(save(document, tmp_path / "p.ora"))
    assert again.profile == document.profile
    assert again.resolution == document.resolution
    assert again.metadata == document.metadata
    assert np.array_equal(picture(again), picture(document))
    before, after = document.state, again.state
    assert np.array_equal(after.mask.read(after.mask.bounds), before.mask.read(before.mask.bounds))
    assert np.array_equal(after.scan.read(after.scan.bounds), before.scan.read(before.scan.bounds))
    assert len(after.layers) == len(before.layers)
    for one, other in zip(after.layers, before.layers, strict=True):
        assert replace(one, content=other.content, mask=other.mask) == other
        assert set(one.pixels.stored) == set(other.pixels.stored)
        assert np.array_equal(one.pixels.read(one.pixels.bounds), other.pixels.read(other.pixels.bounds))
        assert np.array_equal(one.mask.read(one.mask.bounds), other.mask.read(other.mask.bounds))
    assert again.new_id() > max(layer.id for layer in after.layers)


def test_the_file_is_openraster(tmp_path: Path) -> None:
    document = layered_document()
    with zipfile.ZipFile(save(document, tmp_path / "p.ora")) as archive:
        first = archive.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        assert archive.read("mimetype") == b"image/openraster"
        image = ET.fromstring(archive.read("stack.xml"))
        assert (image.get("w"), image.get("h")) == ("300", "270")
        rows = image.findall("./stack/layer")
        assert [row.get("name") for row in rows][-2:] == ["layer 1", "Scan"]
        assert rows[2].get("composite-op") == "svg:soft-light"
        assert rows[1].get("visibility") == "hidden"
        for row in rows:
            png = imageio.decode_png(archive.read(row.get("src")), 10**6)
            assert png.dtype == np.uint16
            assert png.shape[2] == (3 if row.get("name") == "Scan" else 4)
        merged = imageio.decode_png(archive.read("mergedimage.png"), 10**6)
        assert np.array_equal(merged, picture(document))
        thumbnail = imageio.decode_png(archive.read("Thumbnails/thumbnail.png"), 10**6)
        assert max(thumbnail.shape[:2]) <= 256
        assert thumbnail.dtype == np.uint8


def test_a_turned_document_is_saved_turned(tmp_path: Path) -> None:
    document = layered_document()
    TurnPicture(Turn.LEFT, document.state).apply(document)
    again = open_project(save(document, tmp_path / "p.ora"))
    assert np.array_equal(picture(again), picture(document))


@pytest.mark.parametrize(
    ("trouble", "code"), [(OSError(28, "No space left on device"), "write.full"), (MemoryError(), "write.memory")]
)
def test_a_failed_save_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception, code: str
) -> None:
    path = save(layered_document(), tmp_path / "p.ora")
    data = path.read_bytes()

    def full(*_: object, **__: object) -> bytes:
        raise trouble

    monkeypatch.setattr(imageio, "encode_png", full)
    with pytest.raises(WriteError) as caught:
        save(layered_document(), path)
    assert caught.value.code == code
    assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


def test_a_file_of_another_program_opens_with_its_layers(tmp_path: Path) -> None:
    document = layered_document()

    def foreign(parts: dict[str, bytes]) -> None:
        for name in [name for name in parts if name.startswith("lacuna/")]:
            del parts[name]

    again = open_project(rewrite(save(document, tmp_path / "p.ora"), foreign))
    assert again.profile == ADOBE
    assert [layer.name for layer in again.state.layers] == [layer.name for layer in document.state.layers]
    assert np.array_equal(flatten(Composite.of(again.state)), picture(document))


def test_layers_changed_by_another_program_win_over_our_own_part(tmp_path: Path) -> None:
    def rename(parts: dict[str, bytes]) -> None:
        parts["stack.xml"] = parts["stack.xml"].replace(b"layer 1", b"theirs")

    again = open_project(rewrite(save(layered_document(), tmp_path / "p.ora"), rename))
    assert again.state.layers[0].name == "theirs"


def test_an_arrangement_we_do_not_know_opens_as_the_merged_picture(tmp_path: Path) -> None:
    document = layered_document()

    def nested(parts: dict[str, bytes]) -> None:
        text = parts["stack.xml"].decode()
        parts["stack.xml"] = text.replace("<stack>", "<stack><stack>").replace("</stack>", "</stack></stack>").encode()

    again = open_project(rewrite(save(document, tmp_path / "p.ora"), nested))
    assert not again.state.layers
    assert again.notices
    assert np.array_equal(picture(again), picture(document))


BOMB = b"""<?xml version="1.0"?><!DOCTYPE image [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><image w="10" h="10" name="&c;"><stack/></image>"""

# A header that claims 100,000 x 100,000 px.
BOMB_PNG = imageio.encode_png(np.zeros((4, 4, 4), np.uint16)).replace(
    (4).to_bytes(4, "big") * 2, (100_000).to_bytes(4, "big") * 2, 1
)


@pytest.mark.parametrize(
    ("part", "data"),
    [
        ("../evil.png", b""),
        ("/etc/evil.png", b""),
        ("C:\\evil.png", b""),
        ("stack.xml", BOMB),
        ("stack.xml", b"<image"),
        ("stack.xml", b'<?xml version="1.0" encoding="foo"?><image w="10" h="10"><stack/></image>'),
        ("stack.xml", b'<image w="1000000" h="1000000"><stack/></image>'),
        ("stack.xml", b'<image w="ten" h="10"><stack/></image>'),
        ("stack.xml", b'<image w="10" h="10"><stack><layer src="data/none.png"/></stack></image>'),
        ("stack.xml", b""),
        ("data/scan.png", b"no picture"),
        ("lacuna/document.json", b"{"),
        ("lacuna/document.json", b"[]"),
        ("lacuna/mask.png", b""),
        ("lacuna/mask.png", BOMB_PNG),
        ("data/layer1.png", BOMB_PNG),
    ],
)
def test_broken_and_hostile_files_are_refused(tmp_path: Path, part: str, data: bytes) -> None:
    path = rewrite(save(layered_document(), tmp_path / "p.ora"), lambda parts: parts.__setitem__(part, data))
    if part == "lacuna/document.json" and data == b"[]":
        assert open_project(path).state.layers
        return
    with pytest.raises(ReadError):
        read_project(path)


def damaged_json(path: Path, change: Callable[[dict], None]) -> Path:
    def apply(parts: dict[str, bytes]) -> None:
        own = json.loads(parts["lacuna/document.json"])
        change(own)
        parts["lacuna/document.json"] = json.dumps(own).encode()

    return rewrite(path, apply)


@pytest.mark.parametrize(
    "change",
    [
        lambda own: own["layers"][0].pop("cells"),
        lambda own: own["layers"][0].update(src="data/scan.png"),
        lambda own: own["layers"][0].update(blend="NONSENSE"),
        lambda own: own["layers"][0].update(made_by=[{}]),
        lambda own: own["layers"][0].update(x="far"),
        lambda own: own["layers"][0].update(x=float("inf")),
        lambda own: own["layers"][1].update(id=own["layers"][0]["id"]),
        lambda own: own["layers"][0].update(cells=[[1e9, 3]], id=[]),
        lambda own: own.update(layers=3),
        lambda own: own.update(resolution="high"),
    ],
)
def test_a_damaged_description_is_refused(tmp_path: Path, change: Callable[[dict], None]) -> None:
    with pytest.raises(ReadError):
        read_project(damaged_json(save(layered_document(), tmp_path / "p.ora"), change))


def test_a_truncated_or_absent_file_is_refused(tmp_path: Path) -> None:
    path = save(layered_document(), tmp_path / "p.ora")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ReadError):
        read_project(path)
    with pytest.raises(ReadError):
        read_project(tmp_path / "none.ora")


@given(st.data())
def test_damaged_bytes_do_not_crash_the_reader(data: st.DataObject) -> None:
    whole = _example()
    spoilt = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 5))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.ora"
        path.write_bytes(bytes(spoilt))
        with contextlib.suppress(EngineError):
            read_project(path)


def _example() -> bytes:
    document = Document(Raster(np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)))
    AddLayer("add", filled_layer(document, Rect(2, 3, 9, 9)), 0).apply(document)
    buffer = io.BytesIO()
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        buffer.write(save(document, Path(folder) / "p.ora").read_bytes())
    return buffer.getvalue()
