"""The windows Models and This Computer, used like a restorer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.dialogs.add_model import AddModelWindow
from desktop.dialogs.doctor import DoctorWindow
from desktop.dialogs.export import FileDialogs
from desktop.dialogs.models import ModelsWindow
from engine import doctor
from engine.runtime.cards import Registry, read_card
from engine.tasks import check_card
from tests import tiny_models
from tests.desktop import tiny
from tests.desktop.acting import LEFT, combo, drag, heal, open_scan, pick, picture, trigger
from tests.engine.test_third_party import add_input, filler, same


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A few tiny models ship; none is added."""
    monkeypatch.setattr(doctor, "nvidia_driver", lambda: None)
    shipped = tmp_path / "shipped"
    tiny.add_all(shipped)
    tiny_models.identity(shipped, "study").folder.joinpath("card.toml").write_text(
        (shipped / "study" / "card.toml").read_text().replace("study = false", "study = true")
    )
    return Registry(tmp_path / "models", shipped, check=check_card)


def window_of(program: Program, action: str, kind: type[QWidget]) -> QWidget:
    trigger(program, action)
    return next(window for window in program.window.findChildren(kind) if window.isVisible())


def press(window: QWidget, text: str) -> None:
    button = next(button for button in window.findChildren(QPushButton) if button.text() == text)
    assert button.isEnabled(), text
    QTest.mouseClick(button, LEFT)


def rows(window: DoctorWindow) -> list[list[str]]:
    table = window._table
    cells = [[table.item(row, column) for column in range(table.columnCount())] for row in range(table.rowCount())]
    return [[cell.text() if cell is not None else "" for cell in row] for row in cells]


def test_the_doctor_s_window_has_a_line_for_each_model(
    qtbot: QtBot, program: Program, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (registry.folders[0] / "broken").mkdir()
    (registry.folders[0] / "broken" / "card.toml").write_text("id = 3")
    window = window_of(program, "doctor", DoctorWindow)
    assert isinstance(window, DoctorWindow)
    qtbot.waitUntil(window._again.isEnabled, timeout=60000)
    assert window._found is not None
    lines = rows(window)
    assert [line[0] for line in lines] == ["along_edges", "Invert", "darken", "detect", "heal", "study", ""]
    assert all(line[2:4] == ["yes", "two runs agree"] and float(line[4]) > 0 for line in lines[:-1])
    assert "cannot be used" in lines[-1][3]
    assert window._verdict.text() == "1 of 7 models do not work."
    assert "nothing to compare" in window._advice.text()
    press(window, "Copy as Text")
    assert "really used    CPUExecutionProvider" in QGuiApplication.clipboard().text()
    monkeypatch.setattr(FileDialogs, "save_report", classmethod(lambda *_: tmp_path / "report.json"))
    press(window, "Save as JSON…")
    facts = json.loads((tmp_path / "report.json").read_text())
    assert facts == json.loads(doctor.json_of(window._found))
    assert (facts["passed"], facts["providers"]["used"]) == (False, ["CPUExecutionProvider"])
    assert [model["id"] for model in facts["models"]][-1] == "study"
    monkeypatch.setattr(FileDialogs, "save_report", classmethod(lambda *_: tmp_path / "none" / "report.json"))
    press(window, "Save as JSON…")
    assert "does not exist" in window._note.text()
    window.reject()


@pytest.mark.qt_log_ignore("This plugin does not support raise")  # Qt's offscreen screen says so of windows in front
def test_the_doctor_shows_a_line_as_it_comes_and_is_cancelled(
    qtbot: QtBot, program: Program, registry: Registry
) -> None:
    # It is the third, and never ends.
    tiny_models.endless(registry.folders[0], "coma")
    window = window_of(program, "doctor", DoctorWindow)
    assert isinstance(window, DoctorWindow)
    qtbot.waitUntil(lambda: len(rows(window)) == 2, timeout=60000)
    assert not window._copy.isEnabled()
    trigger(program, "doctor")
    assert len([one for one in program.window.findChildren(DoctorWindow) if one.isVisible()]) == 1
    press(window, "Cancel")
    qtbot.waitUntil(window._again.isEnabled, timeout=20000)
    assert "cancelled after 2 models" in window._verdict.text()
    press(window, "Check Again")
    qtbot.waitUntil(lambda: len(rows(window)) == 2, timeout=60000)
    window.close()
    qtbot.waitUntil(lambda: not program.window.findChildren(DoctorWindow))


def tree_texts(window: ModelsWindow) -> dict[str, list[str]]:
    """The names under each heading."""
    listed: dict[str, list[str]] = {}
    for item in window._rows.values():
        group = item.parent()
        assert group is not None
        listed.setdefault(group.text(0), []).append(item.text(0))
    return listed


def test_models_are_listed_and_verified(qtbot: QtBot, program: Program, registry: Registry) -> None:
    (registry.folders[0] / "broken").mkdir()
    (registry.folders[0] / "broken" / "card.toml").write_text("id = 3")
    window = window_of(program, "models", ModelsWindow)
    assert isinstance(window, ModelsWindow)
    listed = tree_texts(window)
    assert listed["Heal"] == ["heal (default)", "along_edges"]
    assert listed["Clean"] == ["Invert (default)", "darken"]
    assert listed["Studies: to compare and to train further, not for work"] == ["study (for Clean)"]
    assert listed["Cannot be used"] == ["broken"]
    window._tree.setCurrentItem(window._rows["darken"])
    labels = [label.text() for label in window._card.findChildren(QLabel)]
    assert {"Makes everything darker.", "CC0-1.0", "The card has none."} <= set(labels)
    assert not window._remove.isEnabled()
    file = registry.folders[0] / "heal" / "model.onnx"
    file.write_bytes(file.read_bytes()[:-1])
    press(window, "Verify Checksums")
    qtbot.waitUntil(window._verify.isEnabled, timeout=20000)
    states = {id_: item.text(3) for id_, item in window._rows.items()}
    assert states == {
        "heal": "damaged",
        "along_edges": "intact",
        "clean": "intact",
        "darken": "intact",
        "detect": "intact",
        "study": "intact",
        "broken": "damaged",
    }
    assert "model.onnx of the model heal is damaged" in window._note.text()
    assert "broken" in window._note.text()
    window.reject()


def choose(window: AddModelWindow, **data: object) -> None:
    for name, wanted in data.items():
        box = getattr(window, name)
        box.setCurrentIndex([box.itemData(row) for row in range(box.count())].index(wanted))


def start_adding(qtbot: QtBot, window: ModelsWindow, path: Path, monkeypatch: pytest.MonkeyPatch) -> AddModelWindow:
    monkeypatch.setattr(FileDialogs, "open_model", classmethod(lambda *_: path))
    press(window, "Add a Model…")
    qtbot.waitUntil(lambda: window.adding is not None, timeout=20000)
    assert window.adding is not None
    return window.adding


def test_a_third_party_s_model_is_tried_added_used_and_removed(
    qtbot: QtBot, program: Program, registry: Registry, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, view = open_scan(qtbot, program, scan)
    window = window_of(program, "models", ModelsWindow)
    assert isinstance(window, ModelsWindow)
    form = start_adding(qtbot, window, filler(tmp_path / "blue_filler.onnx"), monkeypatch)
    assert (form.title.text(), form.task.currentData()) == ("blue filler", "heal")
    assert "takes img: any x 3 x any x any, float" in form._says.text()
    assert not form.scale.isVisibleTo(form)
    assert "licence" in form.note
    assert not form.attempt.isEnabled()
    form.licence.setEditText("MIT")
    choose(form, order="BGR", takes=(-1.0, 1.0), gives=(-1.0, 1.0), mask_use=(1.0, 0))
    assert form.note == ""
    assert not form.accept_button.isEnabled(), "not before a trial"
    assert form.attempt.text() == "Try It on scan.tif"
    QTest.mouseClick(form.attempt, LEFT)
    qtbot.waitUntil(form.accept_button.isEnabled, timeout=20000)
    before, after = form._pair.images
    assert before != after
    assert "on the processor" in form._outcome.text()
    form.source.setText("https://example.org/blue")
    assert not form.accept_button.isEnabled(), "another card than the one that was tried"
    QTest.mouseClick(form.attempt, LEFT)
    qtbot.waitUntil(form.accept_button.isEnabled, timeout=20000)
    QTest.mouseClick(form.accept_button, LEFT)
    qtbot.waitUntil(lambda: window.adding is None, timeout=20000)
    card = read_card(tmp_path / "models" / "blue_filler" / "card.toml")
    assert (card.source, card.mask_means, card.stages[0].inputs[0].order) == ("https://example.org/blue", 0, "BGR")
    assert tree_texts(window)["Heal"][-1] == "blue filler (added by you)"
    # It is in the Repair panel at once, and fills with blue.
    pick(program, "Model", "blue_filler")
    drag(view, [(60, 80), (90, 80)])
    heal(qtbot, program, workspace)
    red, green, blue = picture(workspace)[80, 75].astype(int)
    assert min(blue - red, blue - green) > 50000
    # Another model is chosen at first, so that the right one is removed.
    assert window._remove.isEnabled()
    press(window, "Remove…")
    assert window._question.text.endswith("files are deleted: blue_filler/blue_filler.onnx, blue_filler/card.toml.")
    press(window, "Keep")
    assert window._question.text == ""
    press(window, "Remove…")
    QTest.mouseClick(window._question.agree, LEFT)
    assert not (tmp_path / "models" / "blue_filler").exists()
    assert combo(program, "Model").findData("blue_filler") < 0
    assert "was removed" in window._note.text()
    window.reject()


def test_a_model_that_cannot_be_used_or_does_not_work_is_told(
    qtbot: QtBot, program: Program, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = window_of(program, "models", ModelsWindow)
    assert isinstance(window, ModelsWindow)
    monkeypatch.setattr(FileDialogs, "open_model", classmethod(lambda *_: add_input(3)(tmp_path / "three.onnx")))
    press(window, "Add a Model…")
    qtbot.waitUntil(lambda: "three.onnx cannot be used: it has 3 inputs" in window._note.text(), timeout=20000)
    assert window.adding is None
    # Without a photograph it is tried on the sample. It says that it enlarges twice, and does not.
    form = start_adding(qtbot, window, same(tmp_path / "plain.onnx"), monkeypatch)
    form.licence.setEditText("unknown")
    choose(form, task="upscale", scale=2)
    assert form.scale.isVisibleTo(form)
    assert form.attempt.text() == "Try It on the Sample"
    QTest.mouseClick(form.attempt, LEFT)
    qtbot.waitUntil(form.attempt.isEnabled, timeout=20000)
    assert "does not enlarge 2 times" in form._outcome.text()
    assert not form.accept_button.isEnabled()
    choose(form, task="detect")
    assert form.labels.text() == "damage 1, damage 2, damage 3"
    form.labels.setText("dust, dust, hair")
    assert "does not name each" in form.note
    choose(form, task="clean")
    QTest.mouseClick(form.attempt, LEFT)
    qtbot.waitUntil(form.accept_button.isEnabled, timeout=20000)
    assert form._outcome.text().endswith("It changed nothing here.")
    QTest.keyClick(form, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: window.adding is None)
    assert not (tmp_path / "models").exists()
    window.reject()


def test_a_trial_that_does_not_end_is_cancelled(
    qtbot: QtBot, program: Program, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_models.endless(tmp_path, "made")
    window = window_of(program, "models", ModelsWindow)
    assert isinstance(window, ModelsWindow)
    form = start_adding(qtbot, window, tmp_path / "made" / "model.onnx", monkeypatch)
    form.licence.setEditText("MIT")
    QTest.mouseClick(form.attempt, LEFT)
    qtbot.waitUntil(form._job.cancel.isVisible)
    assert not form.attempt.isEnabled()
    QTest.mouseClick(form._job.cancel, LEFT)
    qtbot.waitUntil(form.attempt.isEnabled, timeout=20000)
    assert not form.accept_button.isEnabled()
    QTest.mouseClick(form.attempt, LEFT)
    qtbot.waitUntil(form._job.cancel.isVisible)
    window.close()
    qtbot.waitUntil(lambda: not program.window.findChildren(ModelsWindow), timeout=20000)
