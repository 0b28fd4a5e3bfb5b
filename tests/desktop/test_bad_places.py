"""Folders and files of the user that cannot be used, models that are gone: the window works, and says what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import QByteArray, QSettings
from pytestqt.qtbot import QtBot

from desktop import __main__ as start
from desktop.app import Program
from desktop.settings import Look, Settings, SettingsStore
from engine import cli
from engine.errors import ModelError
from engine.runtime.cards import SHIPPED, Registry
from tests.desktop.acting import drag, open_scan, trigger

IMPOSSIBLE = "n" * 300
"""A name that no file system takes: each question about the file fails, also for root."""


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """The models that ship, of which two were deleted and one has lost its file."""
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    for path in SHIPPED.iterdir():
        if path.name not in ("heal", "detect", "tone"):
            (shipped / path.name).symlink_to(path)
    (shipped / "tone").mkdir()
    (shipped / "tone" / "card.toml").symlink_to(SHIPPED / "tone" / "card.toml")
    return Registry(tmp_path / "models", shipped)


def test_every_model_that_ships_is_in_the_list_that_misses_it() -> None:
    named = (SHIPPED / "shipped.txt").read_text().split()
    assert named == sorted(path.parent.name for path in SHIPPED.glob("*/card.toml"))


def test_a_deleted_model_is_named_and_no_other_takes_its_place(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [problem.words.values["model"] for problem in registry.problems()] == ["detect", "heal"]
    with pytest.raises(ModelError, match=r"The model heal is missing in .*Install Lacuna again"):
        registry.default("heal")
    assert registry.default("clean").id == "clean"
    monkeypatch.setattr(Registry.__init__, "__defaults__", (registry.folders[1], registry.folders[0]))
    assert cli.main(["models"]) == 0
    said = capsys.readouterr().err
    for sentence in ("The model detect is missing", "The model heal is missing", "tone lacks its file model.onnx"):
        assert sentence in said


def test_the_window_names_a_deleted_model_when_its_task_is_wanted(qtbot: QtBot, program: Program, scan: Path) -> None:
    assert "The model detect is missing" in program.contents.task._note.text()
    _, view = open_scan(qtbot, program, scan)
    trigger(program, "defects_find")
    assert "The model detect is missing" in program.contents.strip.text
    drag(view, [(100, 100), (150, 100)])
    trigger(program, "heal")
    assert "The model heal is missing" in program.contents.strip.text
    models = program.contents.task._model
    assert (models.currentIndex(), models.placeholderText()) == (-1, "Choose a model")
    models.setCurrentIndex(models.findData("unsupervised"))
    models.activated.emit(models.currentIndex())
    assert program.contents.task.request(new_layer=False).model == "unsupervised"
    assert program.contents.task.request(new_layer=False, task="clean").model == "clean"
    trigger(program, "models")
    trigger(program, "recipes")


def test_without_a_folder_for_its_work_the_window_opens_and_says_so_once(
    qtbot: QtBot, tmp_path: Path, scan: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = tmp_path / IMPOSSIBLE
    monkeypatch.setattr("engine.recipes.files.own_folder", lambda: nowhere / "recipes")
    program = Program(nowhere / "state", SettingsStore(nowhere / "settings.ini"), registry)
    said: list[str] = []
    monkeypatch.setattr("desktop.panels.messages.LOG.info", said.append)
    program.start([scan])
    try:
        qtbot.waitUntil(lambda: program.ready and program.contents.photos.photo is not None, timeout=20000)
        view, photo = program.contents.photos.view, program.contents.photos.photo
        assert view is not None
        assert photo is not None
        for x in (100, 200):
            drag(view, [(x, 100), (x + 50, 100)])
            photo.autosave.save()
            qtbot.waitUntil(lambda: not photo.autosave.busy)
            program.store.save()
        assert [sentence.split(".")[0] for sentence in said] == [
            f"The settings cannot be saved in {tmp_path}/{IMPOSSIBLE}, so changes of them last until Lacuna is closed",
            "The work could not be autosaved",
        ]
        trigger(program, "batch")
        program.menus.menus["Repair"].aboutToShow.emit()
        program.contents.batches.window.close()
        photo.undo.setIndex(0)
    finally:
        program.window.close()
        program.stop()
        program.window.deleteLater()


def write(file: Path, settings: object) -> None:
    store = QSettings(str(file), QSettings.Format.IniFormat)
    store.setValue("geometry", QByteArray(b"as it was"))
    store.setValue("settings", settings)
    store.sync()


@pytest.mark.parametrize("broken", ["noise", "cut off", "no json", "one part", "a folder", "without settings"])
def test_a_broken_settings_file_is_kept_aside_and_what_is_whole_is_used(tmp_path: Path, broken: str) -> None:
    file, whole = tmp_path / "lacuna.ini", '{"look": {"theme": "light"}, "recent": ["a"]}'
    write(file, {"no json": whole[:-1], "one part": whole.replace("[", "[3, ")}.get(broken, whole))
    if broken == "a folder":
        file.unlink()
        file.mkdir()
    elif broken == "noise":
        file.write_bytes(bytes(range(256)) * 9)
    elif broken == "cut off":
        file.write_bytes(file.read_bytes()[:-20])
    elif broken == "without settings":
        file.write_text("no settings at all\n")
    before = file.read_bytes() if file.is_file() else None
    said: list[str] = []
    store = SettingsStore(file)
    store.report_to(said.append)
    assert store.settings == (Settings(look=Look("light")) if broken == "one part" else Settings())
    aside = file.with_name("lacuna.ini.broken")
    assert said == [
        f"Not all settings in {file} can be used, so defaults take their place. The file is kept as {aside.name}."
    ]
    assert aside.is_dir() if before is None else aside.read_bytes() == before
    assert bytes(store.geometry()[0].data()) == (b"as it was" if broken in ("no json", "one part", "cut off") else b"")
    again = SettingsStore(file)
    again.report_to(said.append)
    assert again.settings == store.settings
    assert len(said) == 1


def test_an_empty_or_missing_settings_file_is_nothing_to_tell(tmp_path: Path) -> None:
    (tmp_path / "empty.ini").touch()
    said: list[str] = []
    for name in ("empty.ini", "missing.ini"):
        SettingsStore(tmp_path / name).report_to(said.append)
    assert said == []
    assert [path.name for path in tmp_path.iterdir()] == ["empty.ini"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no HOME and takes all names")
def test_qt_and_python_agree_on_home_and_on_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for home in (None, "", "relative"):
        monkeypatch.delenv("HOME", raising=False)
        if home is not None:
            monkeypatch.setenv("HOME", home)
        start._ensure_home()
        assert Path(os.environ["HOME"]).is_absolute()
        assert os.environ["HOME"] != "/"
    code = "import sys; from desktop.__main__ import _use_utf8; _use_utf8(); print(ascii(sys.argv[1]))"
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = [sys.executable, "-c", code, "扫描".encode()]
    root = Path(__file__).parents[2]
    assert subprocess.check_output(words, env=os.environ | locale, cwd=root, text=True) == "'\\u626b\\u63cf'\n"
