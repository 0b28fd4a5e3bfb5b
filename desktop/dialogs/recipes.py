"""The window in which recipes are made, changed and tried."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QEvent, QSignalBlocker, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QIcon, QKeySequence, QPalette, QPixmap, QShortcut
from PySide6.QtWidgets import (
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from desktop.dialogs.export import FileDialogs
from desktop.dialogs.questions import Closing, Conflict, Questions
from desktop.dialogs.recipe_preview import RecipePreview
from desktop.dialogs.recipe_steps import RecipeSteps
from desktop.language import sentence_of
from desktop.panels.widgets import size_window
from desktop.theme import icon
from desktop.work.preview import TakeSample, file_sample
from desktop.work.threads import JobCentre
from engine import imageio
from engine.errors import EngineError, SettingsError
from engine.recipes import (
    Recipe,
    delete_recipe,
    free_name,
    import_recipe,
    is_shipped,
    parse_recipe,
    read_recipe,
    recipe_file,
    recipe_names,
    recipe_toml,
    save_recipe,
    step_problem,
)
from engine.runtime.cards import Registry

TakeShown = Callable[[bool], tuple[str, TakeSample] | None]
"""Gives title and samples of the photograph that is shown, whole (True) or the part in view; None if there is none."""
_NEW = Recipe("", "New recipe", ())


class RecipesWindow(QWidget):
    """The list of recipes, the editor of the chosen one, and its preview. Not modal. GUI thread.

    Recipes that ship are shown and cannot be changed. A recipe that was changed or made and is left unsaved is asked
    about.

    Args:
        parent: the main window.
        registry: the models.
        jobs: runs previews.
        device: returns where models run: ``auto``, ``cpu`` or ``cuda``.
        monitor: returns the screen's ICC profile; None is sRGB.
        shown: see ``TakeShown``.
    """

    def __init__(
        self,
        parent: QWidget,
        registry: Registry,
        jobs: JobCentre,
        device: Callable[[], str],
        monitor: Callable[[], bytes | None],
        shown: TakeShown,
    ) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self._registry, self._shown = registry, shown
        self._name = ""
        """Of the chosen recipe; empty for one that was never saved."""
        self._read = _NEW
        """The chosen recipe as it was read; its name is kept if its file states one."""
        self._saved = _NEW
        """The chosen recipe as it was shown first or last saved."""
        self._contents: bytes | None = None
        """Of its file; None if it has none."""
        self._tried: Path | None = None
        """The file on which a recipe was tried last."""
        self._problem = ""
        """Why its file cannot be read."""
        self.setWindowTitle(self.tr("Recipes[*]"))
        self._make_fields()
        self.preview = RecipePreview(registry, jobs, device, monitor)
        self._lay_out()
        self.list.currentItemChanged.connect(self._on_chosen)
        for field in (self.title, self.summary):
            field.textEdited.connect(self._show_state)
        self.steps.changed.connect(self._show_state)
        self.preview.button.clicked.connect(self.preview_photo)
        QShortcut(QKeySequence.StandardKey.Save, self, self.save)
        QShortcut(QKeySequence.StandardKey.Close, self, self.close)
        self._load_first()

    # -- construction -----------------------------------------------------------------------------------------

    def _make_fields(self) -> None:
        self.list = QListWidget()
        self.list.setAccessibleName(self.tr("Recipes"))
        # Own recipes are in line with those that have a lock.
        empty = QPixmap(16, 16)
        empty.fill(Qt.GlobalColor.transparent)
        self._no_icon = QIcon(empty)
        self.list.setIconSize(empty.size())
        self.title, self.summary = QLineEdit(), QLineEdit()
        self.summary.setPlaceholderText(self.tr("what it does, in one sentence"))
        self.steps = RecipeSteps(self._registry)
        self.note = QLabel()
        self.note.setWordWrap(True)
        # A fixed height, so that nothing moves when the text changes.
        self.note.setMinimumHeight(3 * self.fontMetrics().height())
        self.note.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.note.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.buttons: dict[str, QPushButton] = {}
        for id_, text, tip, do in (
            ("new", self.tr("New"), self.tr("Make an empty recipe"), self.new),
            ("duplicate", self.tr("Duplicate"), self.tr("Make a copy of the chosen recipe"), self.duplicate),
            ("import", self.tr("Import…"), self.tr("Add a recipe file from elsewhere"), self.import_file),
            ("export", self.tr("Export…"), self.tr("Write the recipe as it is here to a file"), self.export_file),
            ("delete", self.tr("Delete…"), self.tr("Delete the chosen recipe"), self.delete),
            ("revert", self.tr("Revert"), self.tr("Go back to what was last saved"), self.revert),
            ("save_as", self.tr("Save As…"), self.tr("Save under another title"), self.save_as),
            ("save", self.tr("Save"), self.tr("Save the recipe"), self.save),
        ):
            self.buttons[id_] = button = QPushButton(text)
            button.setToolTip(tip)
            button.clicked.connect(do)
        self.buttons["save"].setObjectName("primary")

    def _lay_out(self) -> None:
        left, middle = QWidget(), QWidget()
        column = QVBoxLayout(left)
        column.addWidget(self.list, 1)
        grid = QGridLayout()
        grid.setSpacing(4)
        for place, id_ in enumerate(("new", "duplicate", "import", "export", "delete")):
            grid.addWidget(self.buttons[id_], place // 2, place % 2)
        column.addLayout(grid)
        form = QFormLayout()
        form.addRow(self.tr("Title"), self.title)
        form.addRow(self.tr("Summary"), self.summary)
        line = QHBoxLayout()
        line.addWidget(self.buttons["revert"])
        line.addStretch(1)
        line.addWidget(self.buttons["save_as"])
        line.addWidget(self.buttons["save"])
        column = QVBoxLayout(middle)
        column.setSpacing(8)
        column.addLayout(form)
        column.addWidget(self.steps, 1)
        column.addWidget(self.note)
        column.addLayout(line)
        right = QWidget()
        QVBoxLayout(right).addWidget(self.preview)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        for part, stretch in ((left, 0), (middle, 0), (right, 1)):
            splitter.addWidget(part)
            splitter.setStretchFactor(splitter.count() - 1, stretch)
        splitter.setChildrenCollapsible(False)
        splitter.setSizes([230, 400, 560])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(splitter)
        size_window(self, 1190, 760)

    # -- the list ---------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """List the recipes again."""
        with QSignalBlocker(self.list):
            self.list.clear()
            for name in [*recipe_names(), *([] if self._name else [""])]:
                self._add_row(name)
            row = next((row for row in range(self.list.count()) if self._name_in(row) == self._name), -1)
            self.list.setCurrentRow(row)

    def _add_row(self, name: str) -> None:
        title, tip = self.recipe.title, self.tr("Not saved yet.")
        if name:
            try:
                recipe = read_recipe(name)
                title, tip = recipe.title, recipe.summary
            except EngineError as error:
                title, tip = name, sentence_of(error)
        item = QListWidgetItem(title)
        item.setToolTip(tip)
        item.setData(Qt.ItemDataRole.UserRole, name)
        item.setIcon(icon("lock") if is_shipped(name) else self._no_icon)
        if is_shipped(name):
            item.setToolTip(self.tr("{0} Comes with Lacuna.").format(tip))
        self.list.addItem(item)

    def _name_in(self, row: int) -> str:
        return str(self.list.item(row).data(Qt.ItemDataRole.UserRole))

    def _on_chosen(self) -> None:
        # A question must not open, nor the list change, while it is still busy with the click.
        QTimer.singleShot(0, self, self._choose)

    def _choose(self) -> None:
        row = self.list.currentRow()
        name = self._name_in(row) if row >= 0 else self._name
        if name != self._name:
            if self.may_leave():
                self._load(name)
            self.refresh()

    def _load_first(self) -> None:
        self._load(recipe_names()[0])
        self.refresh()

    def _load(self, name: str) -> None:
        """Read a recipe and show it."""
        self._name, self._contents, self._problem = name, None, ""
        self._read = replace(_NEW, title=name)
        try:
            path, self._contents = recipe_file(name)
            self._read = parse_recipe(self._contents, path.name)
        except EngineError as error:
            self._problem = sentence_of(error)
        self._show_recipe(self._read)

    # -- the recipe -------------------------------------------------------------------------------------------

    @property
    def recipe(self) -> Recipe:
        """The recipe as edited."""
        title, summary = (
            "".join(c for c in field.text().strip() if c.isprintable()) for field in (self.title, self.summary)
        )
        return replace(self._read, title=title, summary=summary, steps=self.steps.steps, text="")

    @property
    def changed(self) -> bool:
        """Whether the recipe is not what was read or last saved."""
        return self.recipe != self._saved or (not self._name and bool(self._saved.steps))

    @property
    def _own(self) -> bool:
        """Whether the recipe can be changed."""
        return not is_shipped(self._name) and not self._problem

    def _show_recipe(self, recipe: Recipe) -> None:
        """Show a recipe to be edited; ``_name`` and the others say where it comes from."""
        self.title.setText(recipe.title)
        self.summary.setText(recipe.summary)
        for field in (self.title, self.summary):
            field.setReadOnly(not self._own)
            field.setCursorPosition(0)
        self.steps.show_steps(recipe.steps, editable=self._own)
        self._saved = self.recipe
        hint = self.tr(
            "Preview tries the recipe on the photograph that is open in the main window. Nothing is changed."
        )
        self.preview.clear(hint)
        self._show_state()

    def _problems(self) -> dict[int, str]:
        """A sentence for each step that is wrong, by its index."""
        recipe = self.recipe
        found = {row: step_problem(recipe, row, self._registry) for row in range(len(recipe.steps))}
        said = {row: sentence_of(problem.reason) for row, problem in found.items() if problem is not None}
        return {row: sentence[:1].upper() + sentence[1:] for row, sentence in said.items()}

    def _show_state(self) -> None:
        """Show what is wrong with the recipe, and what can be done with it."""
        recipe, problems = self.recipe, self._problems()
        self.steps.show_problems(problems)
        note = self._problem
        if not note and not recipe.title:
            note = self.tr("Give the recipe a title.")
        elif not note and not recipe.steps:
            note = self.tr("Add the steps that the recipe takes, in their order.")
        usable = not note and not problems
        if usable and is_shipped(self._name):
            note = self.tr("This recipe comes with Lacuna. Duplicate it to make one of your own.")
        elif usable and self._name:
            note = self.tr("On the command line: --recipe {0}").format(shlex.quote(self._name))
        elif problems and not note:
            note = self.tr("Step {0}: {1}").format(*next((row + 1, said) for row, said in problems.items()))
        self._say(note, problem=not usable)
        self.setWindowModified(self.changed)
        if (item := self.list.currentItem()) is not None and not self._problem:
            item.setText(recipe.title)
        able = {
            "duplicate": not self._problem,
            "export": usable,
            "delete": not is_shipped(self._name),
            "revert": self._own and self.changed and bool(self._name),
            "save_as": usable,
            "save": usable and self._own and self.changed,
        }
        for id_, on in able.items():
            self.buttons[id_].setEnabled(on)
        self.preview.button.setEnabled(usable)
        self.preview.follow(recipe)

    def _say(self, text: str, *, problem: bool = True) -> None:
        self.note.setText(text)
        self.note.setForegroundRole(QPalette.ColorRole.Accent if problem else QPalette.ColorRole.PlaceholderText)

    # -- commands ---------------------------------------------------------------------------------------------

    def new(self) -> None:
        """Begin an empty recipe."""
        if self.may_leave():
            self._begin(_NEW)

    def duplicate(self) -> None:
        """Begin a copy of the chosen recipe, as it is edited."""
        copy = self.recipe
        if self.may_leave():
            self._begin(replace(copy, name="", title=self.tr("{0} copy").format(copy.title)))

    def _begin(self, recipe: Recipe) -> None:
        """Show a recipe that has no file yet."""
        self._name, self._contents, self._problem, self._read = "", None, "", replace(recipe, name="")
        self._show_recipe(recipe)
        self.refresh()
        self.title.setFocus()
        self.title.selectAll()

    def revert(self) -> None:
        """Go back to what was last saved."""
        self._load(self._name)
        self.refresh()

    def save(self) -> bool:
        """Save the recipe; False when it was not saved."""
        if not self.buttons["save"].isEnabled():
            return False
        return self._write(self._name or free_name(self.recipe.title), self._contents)

    def save_as(self) -> bool:
        """Save the recipe under another title; False when it was not saved."""
        title = Questions.recipe_title(self, self.recipe.title)
        if not title:
            return False
        self.title.setText(title)
        return self._write(free_name(title), None)

    def _write(self, name: str, known: bytes | None) -> bool:
        """Write the recipe under a name; see ``save_recipe``."""
        recipe = self.recipe
        if recipe.name in ("", self._name):
            recipe = replace(recipe, name=name)
        try:
            self._contents = save_recipe(recipe, name, known)
        except EngineError as error:
            if error.code == "recipe.changed":
                return self._resolve_conflict(name)
            self._say(sentence_of(error))
            return False
        self._name, self._read = name, recipe
        self._saved = self.recipe
        for field in (self.title, self.summary):
            field.setReadOnly(False)
        self.steps.set_editable(editable=True)
        self._show_state()
        self.refresh()
        return True

    def _resolve_conflict(self, name: str) -> bool:
        """Somebody else changed the file: ask what to do. Returns whether the recipe was saved."""
        answer = Questions.changed_elsewhere(self, f"{name}.toml")
        if answer is Conflict.SAVE_AS:
            return self.save_as()
        if answer is Conflict.OVERWRITE:
            try:
                theirs = recipe_file(name)[1]
            except SettingsError:
                # It was deleted meanwhile.
                theirs = None
            return self._write(name, theirs)
        if answer is Conflict.OPEN_THEIRS:
            # This one has no file any more; theirs stands in the list.
            self._name, self._contents, self._read = "", None, replace(self._read, name="")
            self.refresh()
            self._show_state()
        return False

    def delete(self) -> None:
        """Delete the recipe's file, after a question."""
        if not Questions.delete_recipe(self, self.recipe.title or self._name):
            return
        try:
            if self._name:
                delete_recipe(self._name)
        except EngineError as error:
            self._say(sentence_of(error))
            return
        self._load_first()

    def import_file(self) -> None:
        """Ask for a recipe file and copy it to the user's own recipes."""
        path = FileDialogs.open_recipe(self) if self.may_leave() else None
        if path is None:
            return
        try:
            name = import_recipe(path)
        except EngineError as error:
            self._say(sentence_of(error))
            return
        self._load(name)
        self.refresh()

    def export_file(self) -> None:
        """Ask for a file and write the recipe, as it is edited, to it."""
        stem = self._name or free_name(self.recipe.title)
        path = FileDialogs.save_recipe(self, Path.home() / f"{stem}.toml")
        if path is None:
            return
        recipe = self.recipe
        if recipe.name == self._name:
            recipe = replace(recipe, name="")
        # A file that was not edited is copied with its comments.
        data = self._contents if self._contents is not None and not self.changed else None
        try:
            imageio.check_target(path, [], (".toml",))
            imageio.atomic_write_bytes(path, data or recipe_toml(recipe, path.stem).encode())
        except EngineError as error:
            self._say(sentence_of(error))
            return
        self._say(self.tr("Exported {0}.").format(path.name), problem=False)

    # -- preview ----------------------------------------------------------------------------------------------

    def preview_photo(self) -> None:
        """Try the recipe, as it is edited, on the photograph that is shown, or else on the file that was tried last."""
        shown = self._shown(self.preview.whole)
        if shown is None and self._tried is not None:
            self.preview_file(self._tried)
        elif shown is None:
            self.preview.clear(self.tr("No photograph is open. Open one in the main window to try the recipe on it."))
        else:
            title, take = shown
            self.preview.start(self.recipe, take, title)

    def preview_file(self, path: Path, name: str = "") -> None:
        """Try the recipe, as it is edited, on a picture file, which is not changed.

        Args:
            path: the picture.
            name: of the recipe to try, if it has one and no edited one would be lost.
        """
        if name in recipe_names() and name != self._name and not self.changed:
            self._load(name)
            self.refresh()
        self._tried = path
        self.preview.start(self.recipe, file_sample(path, whole=self.preview.whole), path.name)

    # -- leaving ----------------------------------------------------------------------------------------------

    def may_leave(self) -> bool:
        """Whether the recipe can be left: it is saved, or may be forgotten, or the user says so."""
        if not self.changed or self._problem:
            return True
        answer = Questions.unsaved_recipe(self, self.recipe.title)
        return self.save() if answer is Closing.SAVE else answer is Closing.DISCARD

    def closeEvent(self, event: QCloseEvent) -> None:
        if not self.may_leave():
            event.ignore()
            return
        self.preview.cancel()
        if self.changed:
            self._load_first()
        event.accept()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.ActivationChange and self.isActiveWindow() and not self.changed:
            # Somebody else may have changed the files meanwhile.
            self._follow_files()

    def _follow_files(self) -> None:
        """Read again what is shown if the files are others now."""
        shown = [self._name_in(row) for row in range(self.list.count())]
        try:
            same = shown == recipe_names() and recipe_file(self._name)[1] == self._contents
        except EngineError:
            same = False
        if not same and self._name:
            self._load(self._name if self._name in recipe_names() else recipe_names()[0])
            self.refresh()
