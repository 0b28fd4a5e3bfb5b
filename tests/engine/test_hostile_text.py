"""Malformed cards, recipes, records and settings give a sentence and do not affect anything else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QSettings

from desktop.settings import Settings, SettingsStore
from engine import cli, imageio, tables
from engine.errors import ModelError, ReadError, SettingsError
from engine.recipes import read_recipe
from engine.record import Repair
from engine.runtime.cards import SHIPPED, Registry, read_card
from tests.conftest import noise_raster

ROOT = Path(__file__).parents[2]
HUGE, DEEP = "1" + "0" * 400, 100_000


@dataclass(frozen=True)
class Small:
    number: int = 0
    share: float = 0.0
    words: tuple[str, ...] = ()
    values: dict[str, float] = field(default_factory=dict)


@pytest.mark.parametrize(
    "text",
    [
        f"number = {HUGE}",
        f"number = -{HUGE}",
        f"share = {HUGE}",
        f"share = {'9' * 5000}",
        f"number = 0x{'f' * 6000}",
        "share = inf",
        "share = -1e999",
        f"values = {{ a = {HUGE} }}",
        f"words = {'[' * DEEP}",
        f"words = {'[' * 300}{']' * 300}",
        f"{'.'.join(['a'] * 5000)} = 1",
        f"share = {'{ a = ' * 2000}1{' }' * 2000}",
        f"{'x' * 100_000} = 1",
    ],
)
def test_absurd_toml_is_refused_in_a_short_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        tables.from_table(Small, tables.parse_toml(text.encode()))
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["[" * DEEP, '{"a":' * DEEP, "9" * 5000, "NaN", "[Infinity]", b"\xff\xfe", "{"])
def test_absurd_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        tables.parse_json(text)


def card_text() -> str:
    return (SHIPPED / "tone" / "card.toml").read_text(encoding="utf-8").replace('id = "tone"', 'id = "bad"', 1)


BAD_CARDS = {
    "huge": card_text().replace("opset = 18", f"opset = {HUGE}").encode(),
    "huge tile": card_text().replace("default = ", f"default = {HUGE}0", 1).encode(),
    "deep": b"id = " + b"[" * DEEP,
    "not text": b"\xff\xfe\x00",
    "empty": b"",
    "a zero in a name": card_text().replace('file = "model.onnx"', 'file = "model\\u0000.onnx"').encode(),
    "out of its folder": card_text().replace('file = "model.onnx"', 'file = ".."').encode(),
    "a drive": card_text().replace('file = "model.onnx"', "file = 'C:model.onnx'").encode(),
    "no stages": b'id = "bad"\ntask = "tone"\ntitle = ""\nversion = ""\nlicence = ""\nopset = 1\nstages = []\n'
    b"[tile]\ndefault = 1\nminimum = 1\noverlap = 0\ncontext = 0\n",
    "range": card_text().replace("high = 1.0", "high = 0.0").encode(),
    "layout": card_text().replace('"NCHW"', '"WHCN"').encode(),
    "mask": card_text().replace("mask_means = 1", "mask_means = 2").encode(),
    "endless id": card_text().replace('id = "bad"', f'id = "{"a" * 300}"').encode(),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    imageio.write(noise_raster(40, 60), tmp_path / "in.tif")
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 10:20] = 255
    imageio.write_mask(mask, tmp_path / "mask.png")
    (tmp_path / "models").mkdir()
    monkeypatch.setattr(Registry.__init__, "__defaults__", (tmp_path / "models", SHIPPED))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", BAD_CARDS)
def test_one_bad_card_breaks_nothing_else_and_can_be_removed(
    folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = folder / "models" / "bad"
    place.mkdir()
    (place / "card.toml").write_bytes(BAD_CARDS[kind])
    with pytest.raises(ModelError):
        read_card(place / "card.toml")
    for words in (
        ["models"],
        ["models", "show", "heal"],
        ["heal", "in.tif", "-o", "out.tif", "--mask", "mask.png", "--device", "cpu"],
        ["restore", "in.tif", "-o", "out.tif", "--recipe", "gentle", "--device", "cpu"],
    ):
        assert cli.main(words) == 0, words
    capsys.readouterr()
    for words in (["models", "show", "bad"], ["models", "add", str(place / "card.toml")], ["models", "verify"]):
        assert cli.main(words) == 1, words
        said = capsys.readouterr().err
        assert str(place) in said
        assert len(said) < 1000
    assert cli.main(["models", "list"]) == 0
    seen = capsys.readouterr()
    assert str(place) in seen.err
    assert "heal" in seen.out
    assert cli.main(["models", "remove", "bad"]) == 0
    assert not place.exists()
    assert (SHIPPED / "heal" / "card.toml").exists()


def test_a_folder_with_a_bad_card_is_not_overwritten(registry: Registry, tmp_path: Path) -> None:
    """The folder can only be reused after the user removes the bad model."""
    theirs = tmp_path / "theirs"
    shutil.copytree(SHIPPED / "tone", theirs)
    (theirs / "card.toml").write_text(card_text())
    registry.add(theirs / "card.toml")
    (tmp_path / "models" / "bad" / "card.toml").write_bytes(b"")
    with pytest.raises(ModelError, match="already"):
        registry.add(theirs / "card.toml")
    registry.remove("bad")
    assert registry.add(theirs / "card.toml").id == "bad"


def test_an_added_model_that_is_a_link_is_unlinked_and_no_more(registry: Registry, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    shutil.copytree(SHIPPED / "tone", theirs)
    (theirs / "card.toml").write_text(card_text())
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "bad").symlink_to(theirs)
    registry.remove("bad")
    assert (theirs / "model.onnx").exists()
    assert not (tmp_path / "models" / "bad").exists()


@pytest.mark.parametrize("id_", ["..", ".", "../heal", "", "a/b", "x\0y"])
def test_only_models_are_removed(registry: Registry, tmp_path: Path, id_: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "heal").mkdir()
    (tmp_path / "card.toml").write_text("")
    with pytest.raises(ModelError, match="no model"):
        registry.remove(id_)
    assert (tmp_path / "card.toml").exists()


def denied(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """Simulate missing permission for a folder, because root, who may run the tests, always has it."""
    real = {name: getattr(os, name) for name in ("stat", "listdir", "scandir", "open")}

    def guarded(name: str):
        def call(path: object = ".", *arguments: object, **more: object) -> object:
            inside = Path(path) if isinstance(path, str | Path) else Path()
            if place in inside.parents or (inside == place and name != "stat"):
                raise PermissionError(13, "Permission denied", str(path))
            return real[name](path, *arguments, **more)

        return call

    for name in real:
        monkeypatch.setattr(os, name, guarded(name))
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != place)


def test_unreadable_folders_are_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    locked = folder / "locked"
    locked.mkdir()
    shutil.copy(folder / "in.tif", locked)
    denied(monkeypatch, locked)
    monkeypatch.setattr(Registry.__init__, "__defaults__", (locked, SHIPPED))
    for words in (
        ["info", str(locked / "in.tif")],
        ["convert", str(locked / "in.tif"), "-o", "out.tif"],
        ["convert", "in.tif", "-o", str(locked / "out.tif")],
        ["convert", "in.tif", "-o", str(locked / "deeper" / "out.tif")],
        ["convert", "in.tif", "-o", "out.tif", "--profile", str(locked / "x.icc")],
        ["restore", "in.tif", "-o", "out.tif", "--recipe", str(locked / "x.toml")],
        ["models", "add", str(locked / "card.toml")],
        ["models", "verify"],
    ):
        assert cli.main(words) == 1, words
        said = capsys.readouterr().err
        assert any(word in said for word in ("ermission", "may not", "read-only")), said
    assert cli.main(["models"]) == 0
    seen = capsys.readouterr()
    assert "locked" in seen.err
    assert "heal" in seen.out


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"title = '\xff'", "not text in UTF-8"),
        (b"title = " + b"[" * DEEP, "nested too deeply"),
        (f"title = 'x'\n[[steps]]\ntask = 'clean'\nsettings = {{ strength = {HUGE} }}".encode(), "makes sense"),
        (b"", "is missing"),
        (f"title = 'x'\n[[steps]]\ntask = '{'x' * 5000}'".encode(), "is no step"),
        (f"title = 'x'\n[[steps]]\ntask = 'clean'\nsettings = {{ {'x' * 5000} = 1 }}".encode(), "has no setting"),
        (b"x" * (2 << 20), "cannot be read"),
    ],
)
def test_bad_recipes_are_refused(folder: Path, data: bytes, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.toml").write_bytes(data)
    with pytest.raises(SettingsError, match=said) as caught:
        read_recipe("mine.toml")
    assert len(caught.value.text()) < 300
    assert cli.main(["restore", "in.tif", "-o", "out.tif", "--recipe", "mine.toml"]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["none", "none.toml", "in.tif/x.toml", "a\0b", "../none"])
def test_a_missing_recipe_is_an_error(folder: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="There is no recipe") as caught:
        read_recipe(name)
    assert "standard" in caught.value.text()


@pytest.mark.parametrize("box", [[float("inf"), 0, 0, 0], [float("nan"), 0, 0, 0], [1], 3, None])
def test_a_damaged_record_of_a_repair_is_an_error(box: object) -> None:
    table = dict.fromkeys(("task", "model", "version", "checksum", "device"), "")
    for hostile in (table | {"boxes": [box]}, table | {"settings": 3}, [table], None):
        with pytest.raises(ReadError):
            Repair.from_dict(hostile)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "[" * DEEP,
        '{"look": ' + "[" * DEEP,
        f'{{"look": {{"surround": {HUGE}}}}}',
        f'{{"tools": {{"size": {HUGE}}}}}',
        f'{{"look": {{"surround": {"9" * 5000}}}}}',
        '{"look": {"surround": NaN}}',
        '{"repair": {"tasks": {"heal": 3}}, "recent": [3], "shortcuts": {"a": 1}}',
        "[]",
        "\x00",
    ],
)
def test_a_settings_file_never_keeps_the_window_from_opening(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.ini"
    store = QSettings(str(file), QSettings.Format.IniFormat)
    store.setValue("settings", text)
    store.sync()
    assert SettingsStore(file).settings == Settings()


def test_names_that_cannot_be_printed_do_not_stop_a_command(folder: Path) -> None:
    name = os.fsdecode(b"Gro\xdf.tif")
    try:
        shutil.copy(folder / "in.tif", folder / name)
    except OSError:
        pytest.skip("this disk takes no such names")
    for encoding in ("utf-8", "ascii"):
        shown = subprocess.run(
            [sys.executable, "-m", "engine", "info", os.fsencode(folder / name), "--json"],
            cwd=ROOT,
            capture_output=True,
            env=os.environ | {"PYTHONIOENCODING": encoding},
        )
        assert shown.stderr == b""
        assert json.loads(shown.stdout)["width"] == 60
