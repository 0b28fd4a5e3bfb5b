"""The window in which recipes are made: edit, save, try, restore, and the same result everywhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtGui import QAction
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.dialogs.export import FileDialogs
from desktop.dialogs.questions import Closing, Conflict, Questions
from desktop.dialogs.recipes import RecipesWindow
from engine import cli, imageio
from engine.batch.plan import plan_of
from engine.batch.rows import State
from engine.batch.work import Job, Restorer
from engine.recipes import Step, read_recipe, recipe_names
from engine.review import Verdict
from engine.runtime.cards import Registry
from tests import tiny_models
from tests.conftest import noise_raster
from tests.desktop.acting import LEFT, open_scan, picture, trigger

pytestmark = pytest.mark.usefixtures("own_recipes")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A model for every step of a recipe, also for the command line."""
    shelf = tmp_path / "shelf"
    for make in (tiny_models.darker, tiny_models.cleaner, tiny_models.toner):
        make(shelf)
    tiny_models.save(shelf, "darker", "clean", *tiny_models.darker(shelf).stages, default=True)
    tiny_models.finder(shelf, sure=0.99)
    tiny_models.masker(shelf, 0)
    monkeypatch.setattr(Registry.__init__, "__defaults__", (shelf / "none", shelf))
    return Registry()


@pytest.fixture
def scratched(tmp_path: Path) -> Path:
    """A scan with a white scratch."""
    pixels = noise_raster().pixels.copy()
    pixels[100:102, 50:200] = 65535
    imageio.write(noise_raster().with_pixels(pixels), tmp_path / "old.tif")
    return tmp_path / "old.tif"


def opened(program: Program) -> RecipesWindow:
    trigger(program, "recipes")
    return program.contents.context.show_recipes()


def restore_entry(program: Program, title: str) -> QAction:
    menu = program.contents.menus.menus["Repair"]
    menu.aboutToShow.emit()
    (action,) = [action for action in menu.actions() if action.text() == f"Restore, {title}"]
    return action


def click(editor: RecipesWindow, id_: str) -> None:
    assert editor.buttons[id_].isEnabled(), id_
    QTest.mouseClick(editor.buttons[id_], LEFT)


def same_elsewhere(name: str, scan: Path, wanted: np.ndarray, registry: Registry) -> None:
    """The command line and a worker of a batch give exactly these pixels."""
    out = scan.with_name(f"{name}.tif")
    assert cli.main(["restore", str(scan), "-o", str(out), "--recipe", name, "--device", "cpu"]) == 0
    assert np.array_equal(imageio.read(out).pixels, wanted)
    plan = plan_of(name, device="cpu", exists="replace")
    job = Job(1, str(scan), str(scan.parent), f"{name}-2.tif", dataclasses.asdict(plan), plan.check(registry))
    assert Restorer(registry).do(job).state is State.DONE
    assert np.array_equal(imageio.read(scan.with_name(f"{name}-2.tif")).pixels, wanted)


def test_a_recipe_made_in_the_window_gives_the_same_there_on_the_command_line_and_in_a_batch(
    qtbot: QtBot, program: Program, scratched: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _ = open_scan(qtbot, program, scratched)
    editor, before = opened(program), picture(workspace)
    assert editor.recipe.title == "Gentle"
    assert not editor.buttons["save"].isEnabled()
    click(editor, "duplicate")
    QTest.keyClicks(editor.title, "Glass plates")
    editor.steps.add_step("clean")
    editor.steps.sliders["strength"]._number.setValue(60)
    qtbot.waitUntil(editor.isActiveWindow)
    editor.steps.list.setFocus()
    QTest.keyClick(editor.steps.list, Qt.Key.Key_Down, Qt.KeyboardModifier.AltModifier)
    wanted = (Step("detect", "", {"threshold": 0.97, "grow": 2}), Step("heal", "", {"feather": 2}))
    clean = Step("clean", "", {"strength": 0.6})
    assert editor.steps.steps == (*wanted, clean)
    # What is as by default is not written.
    editor.steps.sliders["strength"]._number.setValue(100)
    assert editor.steps.steps[-1] == Step("clean")
    editor.steps.sliders["strength"]._number.setValue(60)
    # Tried on the picture, which stays as it is; the window is larger than the screen that is none.
    editor.resize(1190, 760)
    qtbot.waitUntil(lambda: editor.preview.picture.width() > 400)
    QTest.mouseClick(editor.preview.button, LEFT)
    qtbot.waitUntil(lambda: bool(editor.preview.picture.images), timeout=60000)
    tried_before, tried = editor.preview.picture.images
    assert "1 defects were healed" in editor.preview.note.text()
    assert np.array_equal(picture(workspace), before)
    assert workspace.undo.count() == 0
    click(editor, "save")
    assert read_recipe("glass-plates").steps == (*wanted, clean)
    restore_entry(program, "Glass plates").trigger()
    qtbot.waitUntil(lambda: program.contents.strip.button is not None, timeout=60000)
    QTest.mouseClick(program.contents.strip.button, LEFT)
    qtbot.waitUntil(lambda: not workspace.queue.busy, timeout=60000)
    assert workspace.undo.undoText() == "Restore, Glass plates"
    result = picture(workspace)
    assert not np.array_equal(result, before)
    same_elsewhere("glass-plates", scratched, result, registry)
    # The whole of this small picture was tried.
    assert (tried.width(), tried.height()) == (400, 300)
    pixel = tried.pixelColor(120, 101)
    assert np.abs(result[101, 120] / 257 - [pixel.red(), pixel.green(), pixel.blue()]).max() <= 1
    # Cleaned before the search, the damage cannot be shown first: the recipe runs at once, and as elsewhere.
    workspace.undo.undo()
    assert np.array_equal(picture(workspace), before)
    monkeypatch.setattr(Questions, "recipe_title", classmethod(lambda *_: "Clean first"))
    editor.steps.list.model().moveRow(QModelIndex(), 2, QModelIndex(), 0)
    # Little enough that the scratch is found behind it.
    editor.steps.sliders["strength"]._number.setValue(10)
    click(editor, "save_as")
    assert [step.task for step in read_recipe("clean-first").steps] == ["clean", "detect", "heal"]
    restore_entry(program, "Clean first").trigger()
    qtbot.waitUntil(lambda: workspace.undo.undoText() == "Restore, Clean first", timeout=60000)
    assert [layer.name.split()[0] for layer in workspace.document.state.layers] == ["Clean", "Repair"]
    same_elsewhere("clean-first", scratched, picture(workspace), registry)
    assert not workspace.defects.counts[Verdict.HEALED], "it has searched for itself"
    # A file is tried in the same way; cancelled, what was shown stays.
    editor.preview_file(scratched)
    qtbot.waitUntil(lambda: not editor.preview.running, timeout=60000)
    of_file = editor.preview.picture.images
    assert of_file[0] == tried_before
    assert of_file[1] != tried
    editor.preview_file(scratched)
    editor.preview.cancel()
    assert not editor.preview.running
    assert editor.preview.picture.images is of_file


def test_what_is_wrong_or_was_changed_elsewhere_is_not_saved(
    qtbot: QtBot, program: Program, tmp_path: Path, own_recipes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = opened(program)
    click(editor, "new")
    assert editor.note.text() == "Add the steps that the recipe takes, in their order."
    editor.steps.add_step("heal")
    assert not editor.buttons["save"].isEnabled()
    assert "Heal needs a step that finds damage" in editor.steps.list.item(0).text()
    editor.steps.list.setCurrentRow(-1)
    editor.steps.add_step("detect")
    editor.steps.add_step("clean")
    editor.steps.model.setCurrentIndex(editor.steps.model.findData("cleaner"))
    editor.steps.model.activated.emit(editor.steps.model.currentIndex())
    editor.steps.sliders["noise_level"]._number.setValue(20)
    click(editor, "save")
    assert recipe_names()[3:] == ["new-recipe"]
    assert editor.recipe.steps[1] == Step("clean", "cleaner", {"noise_level": 20})
    # A model that lacks a setting takes it away.
    editor.steps.model.setCurrentIndex(editor.steps.model.findData("darker"))
    editor.steps.model.activated.emit(editor.steps.model.currentIndex())
    assert editor.recipe.steps[1] == Step("clean", "darker")
    file = own_recipes / "new-recipe.toml"
    theirs = file.read_text() + "# theirs\n"
    file.write_text(theirs)
    for answer, kept in ((Conflict.CANCEL, True), (Conflict.OVERWRITE, False)):
        monkeypatch.setattr(Questions, "changed_elsewhere", classmethod(lambda *_, answer=answer: answer))
        click(editor, "save")
        assert (file.read_text() == theirs) == kept
    assert not editor.changed
    # Deleted by somebody else: it can still be saved under its name.
    file.unlink()
    editor.summary.setText("Cleans.")
    editor.summary.textEdited.emit("Cleans.")
    click(editor, "save")
    assert 'summary = "Cleans."' in file.read_text()
    # Files from elsewhere.
    (tmp_path / "bad.toml").write_text('title = "Bad"\n[[steps]]\ntask = "clean"\nsettings = { nois = 1 }\n')
    monkeypatch.setattr(FileDialogs, "open_recipe", classmethod(lambda *_: tmp_path / "bad.toml"))
    click(editor, "import")
    assert editor.note.text().startswith("The recipe bad.toml cannot be used: line 4: clean has no setting 'nois'")
    monkeypatch.setattr(FileDialogs, "save_recipe", classmethod(lambda *_: tmp_path / "mine.toml"))
    click(editor, "export")
    assert (tmp_path / "mine.toml").read_bytes() == file.read_bytes()
    monkeypatch.setattr(FileDialogs, "open_recipe", classmethod(lambda *_: tmp_path / "mine.toml"))
    click(editor, "import")
    assert recipe_names()[3:] == ["mine", "new-recipe"]
    # Left with changes, and asked; then deleted.
    editor.steps.remove_step()
    asked: list[str] = []

    def cancel(_cls: type, _parent: object, title: str) -> Closing:
        asked.append(title)
        return Closing.CANCEL

    monkeypatch.setattr(Questions, "unsaved_recipe", classmethod(cancel))
    editor.list.setCurrentRow(0)
    qtbot.waitUntil(lambda: editor.list.currentRow() == 3)
    assert not editor.close()
    assert not program.window.close()
    assert asked == ["New recipe"] * 3
    monkeypatch.setattr(Questions, "delete_recipe", classmethod(lambda *_: True))
    click(editor, "delete")
    assert recipe_names()[3:] == ["new-recipe"]
    assert editor.recipe.title == "Gentle"
    assert editor.close()
