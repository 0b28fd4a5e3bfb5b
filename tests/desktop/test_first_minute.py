"""What the program says by itself: problems of the installation, crashes, About and updates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QListWidget, QPlainTextEdit
from pytestqt.qtbot import QtBot

from desktop import crashes
from desktop.app import Program
from desktop.crashes import MOST, CrashFolder
from desktop.dialogs import about
from desktop.dialogs.about import AboutWindow
from desktop.dialogs.crashes import CrashesWindow
from desktop.dialogs.doctor import DoctorWindow
from desktop.dialogs.models import ModelsWindow
from desktop.dialogs.settings import ShortcutRow, ShortcutsDialog
from desktop.frame.commands import help_
from desktop.settings import SettingsStore
from engine import __version__, health, resources
from engine.runtime.cards import Registry
from tests.desktop import tiny
from tests.desktop.acting import LEFT, trigger

ROOT = Path(__file__).parents[2]
CRASH = """
import faulthandler, sys
from pathlib import Path
from desktop.crashes import CrashFolder
CrashFolder(Path(sys.argv[1]), lambda: "auto").watch_native()
faulthandler._sigsegv()
"""


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Handmade models, the program's own as it were."""
    tiny.add_all(tmp_path / "shipped")
    return Registry(tmp_path / "models", tmp_path / "shipped")


@pytest.fixture(autouse=True)
def _no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "nvidia_driver", lambda: None)


@pytest.fixture
def again(qtbot: QtBot, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    """A start in the same folders, with the settings as they are then, and with the hook for exceptions."""
    # The tests have their own use for these.
    monkeypatch.setattr(crashes.faulthandler, "enable", lambda *_: None)
    monkeypatch.setattr(crashes.faulthandler, "disable", lambda: None)
    for name in ("sys.excepthook", "threading.excepthook"):
        monkeypatch.setattr(name, sys.__excepthook__)
    program = Program(tmp_path / "state", SettingsStore(tmp_path / "settings.ini"), registry)
    program.start([], catch=True)
    qtbot.waitUntil(lambda: program.ready)
    yield program
    program.window.close()
    program.stop()
    program.window.deleteLater()


def build(monkeypatch: pytest.MonkeyPatch, folder: Path, **entries: object) -> None:
    """Have an installation with this ``build.json``, and a folder with licences."""
    (folder / "licences").mkdir(parents=True)
    (folder / "build.json").write_text(json.dumps(entries))

    def resource(*parts: str) -> Path:
        return folder.joinpath(*parts)

    monkeypatch.setattr(resources, "resource", resource)
    monkeypatch.setattr(about, "resource", resource)


def looked(qtbot: QtBot, program: Program) -> None:
    """Wait until the check in the background has ended: its settings are written when it has."""
    qtbot.waitUntil(lambda: program.store.settings.said.version == __version__)


def test_a_deleted_model_is_named_once_and_the_button_shows_more(
    qtbot: QtBot, tmp_path: Path, registry: Registry, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "shipped" / "heal" / "model.onnx").unlink()
    program: Program = request.getfixturevalue("program")
    strip = program.contents.strip
    qtbot.waitUntil(lambda: strip.text == "The model heal lacks its file model.onnx.")
    program.contents.strip.say("Something else.")
    assert "heal lacks" in strip.text, "it waits until it is read"
    assert strip.button is not None
    assert strip.button.text() == "Check This Computer"
    QTest.mouseClick(strip.button, LEFT)
    qtbot.waitUntil(lambda: program.window.findChild(DoctorWindow) is not None)
    program.window.findChild(DoctorWindow).reject()
    assert "heal lacks" not in strip.text
    assert SettingsStore(tmp_path / "settings.ini").settings.said.problems == ("models heal",)
    # A new problem speaks again, and names all.
    (tmp_path / "shipped" / "clean" / "card.toml").write_text("nonsense")
    program.contents.checkup.start()
    qtbot.waitUntil(lambda: "These models are missing or damaged: clean, heal." in strip.text)
    strip._close.click()
    strip.say("")
    program.contents.checkup.start()
    qtbot.waitUntil(lambda: not [t for t in program.jobs.children() if getattr(t, "title", "").startswith("Looking")])
    assert "damaged" not in strip.text


def test_nothing_is_said_of_what_is_fine_nor_again_of_what_was_closed(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "shipped.txt").write_text("repaint\n")
    store = SettingsStore(tmp_path / "settings.ini")
    store.settings.said.version, store.settings.said.problems = __version__, ("models repaint",)
    store.save()
    program: Program = request.getfixturevalue("again")
    looked(qtbot, program)
    qtbot.waitUntil(lambda: not [t for t in program.jobs.children() if getattr(t, "title", "").startswith("Looking")])
    assert program.contents.strip.text == ""
    # In the next version it is.
    program.store.settings.said.version = "0.0"
    program.contents.checkup.start()
    said = f"The model repaint is missing in {shipped}. Install Lacuna again."
    qtbot.waitUntil(lambda: program.contents.strip.text == said)


def test_an_exception_leaves_a_report_that_can_be_read_copied_and_deleted(
    qtbot: QtBot, program: Program, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    told: list[Path] = []
    monkeypatch.setattr("desktop.frame.notifier.show_crash", lambda _what, _trace, report, **_: told.append(report))
    monkeypatch.setenv("HOME", str(tmp_path))
    for _ in range(2):
        try:
            (tmp_path / "scan of grandmother.tif").read_bytes()
        except OSError as error:
            program.crashes.report(error)
    qtbot.waitUntil(lambda: len(told) == 2)
    caplog.clear()
    assert told[0] == told[1], "the same exception is reported once"
    trigger(program, "crashes")
    window = program.window.findChild(CrashesWindow)
    text = window.findChild(QPlainTextEdit).toPlainText()
    assert "~/scan of grandmother.tif" in text
    assert str(tmp_path) not in text
    for part in (
        f"Lacuna {__version__}",
        f"Python {sys.version.split()[0]}",
        "Qt 6",
        "Happened: 20",
        "chosen at that time: auto",
        "Traceback",
    ):
        assert part in text
    QTest.mouseClick(window.copy, LEFT)
    assert QGuiApplication.clipboard().text() == text
    QTest.mouseClick(window.delete, LEFT)
    assert not told[0].exists()
    assert window.findChild(QListWidget).count() == 0
    assert not window.copy.isEnabled()
    window.reject()


def test_at_most_20_reports_are_kept_and_a_folder_that_cannot_be_used_is_no_second_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = CrashFolder(tmp_path / "crashes")
    for number in range(MOST + 3):
        assert folder.write(f"error {number}") is not None
    assert len(folder.reports()) == MOST
    (tmp_path / "file").write_text("")
    closed = CrashFolder(tmp_path / "file" / "crashes")
    assert closed.write("error") is None
    monkeypatch.setattr(Path, "glob", lambda *_: Path("/none").iterdir())
    assert closed.watch_native() == 0
    assert closed.reports() == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX")
def test_a_crash_of_native_code_is_said_at_the_next_start(
    qtbot: QtBot, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = tmp_path / "state" / "crashes"
    words = [sys.executable, "-c", CRASH, str(place)]
    subprocess.run(words, env=os.environ | {"HOME": str(tmp_path)}, cwd=ROOT, stderr=subprocess.DEVNULL)
    # Another one was killed: nobody can do anything about that.
    (place / "running-4000000000.txt").write_text(f"Lacuna\n{crashes._DUMP}\n")
    program: Program = request.getfixturevalue("again")
    strip = program.contents.strip
    assert strip.text == "Lacuna crashed the last time. A report of it stays on this computer."
    assert [path.name.split("-")[0] for path in sorted(place.iterdir())] == ["crash", "running"]
    assert strip.button is not None
    QTest.mouseClick(strip.button, LEFT)
    window = program.window.findChild(CrashesWindow)
    text = window.findChild(QPlainTextEdit).toPlainText()
    assert "Segmentation fault" in text
    assert [line.split(":")[0] for line in text.splitlines()[:2]] == ["Crashed", "Started"]
    window.reject()
    assert strip.text == ""
    program.stop()
    assert [path.name.split("-")[0] for path in sorted(place.iterdir())] == ["crash"], "an end as it should be"
    once_more = CrashFolder(place)
    assert once_more.watch_native() == 0
    once_more.stop()


def test_about_and_updates_say_what_the_build_wrote(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    page = "https://example.org/lacuna/releases"
    facts = {"version": "9.8.7", "commit": "0a1b2c3", "date": "2026-11-28", "releases": page}
    build(monkeypatch, tmp_path / "resources", **facts)
    opened: list[QUrl] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: bool(opened.append(url)) or True)
    program: Program = request.getfixturevalue("program")
    assert program.contents.menus.by_id["updates"].isVisible()
    trigger(program, "updates")
    assert opened == [QUrl(page)]
    trigger(program, "about")
    window = program.window.findChild(AboutWindow)
    said = " ".join(label.text() for label in window.findChildren(QLabel))
    assert all(fact in said for fact in ("Lacuna 9.8.7", "0a1b2c3", "2026-11-28", "Apache", "Qt 6"))
    QTest.mouseClick(window.licences, LEFT)
    assert opened[1] == QUrl.fromLocalFile(str(tmp_path / "resources" / "licences"))
    QTest.mouseClick(window.models, LEFT)
    program.window.findChild(ModelsWindow).reject()
    window.reject()


@pytest.mark.parametrize(
    "text", ["", "[1]", "{", '{"version": 3}', "[" * 100_000, '{"version": "1", "releases": "file:///etc"}']
)
def test_a_build_file_that_is_none_is_as_if_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "build.json").write_text(text)
    monkeypatch.setattr(resources, "resource", tmp_path.joinpath)
    made = resources.build()
    assert made is None or made.releases == ""


def test_a_checkout_offers_no_updates_nor_a_shortcut_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(resources, "build", lambda: None)
    monkeypatch.setattr(help_, "build", lambda: None)
    program: Program = request.getfixturevalue("program")
    assert not program.contents.menus.by_id["updates"].isVisible()
    asked: list[str] = []

    def answer(_parent: object, rows: list[ShortcutRow]) -> dict[str, str]:
        asked.extend(row.id for row in rows)
        return {row.id: row.key for row in rows}

    monkeypatch.setattr(ShortcutsDialog, "ask", answer)
    trigger(program, "shortcuts")
    assert "about" in asked
    assert "updates" not in asked
    assert program.store.settings.shortcuts == {}
