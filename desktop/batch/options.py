"""The settings of a batch: recipe, where the results go, their names; and, behind a button, the rest."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from desktop.dialogs.export import FileDialogs
from desktop.panels.widgets import WheelGuard
from desktop.settings import BatchSettings
from engine.errors import EngineError
from engine.imageio import FORMATS
from engine.recipes import read_recipe, recipe_names

_FILE = "file"
"""Data of the entry of a list that asks for a file."""


class Options(QWidget):
    """Shows and changes the settings of a batch. GUI thread.

    Args:
        settings: changed in place.

    Signals:
        changed: the user changed a setting.
    """

    changed = Signal()

    def __init__(self, settings: BatchSettings) -> None:
        super().__init__()
        self._settings = settings
        self._make_fields()
        self._make_more()
        self._lay_out()
        self.list_recipes()

    # -- construction -----------------------------------------------------------------------------------------

    def _make_fields(self) -> None:
        self._recipe = _combo(self.tr("Recipe"), self.tr("What is done with every scan"))
        self._recipe.activated.connect(self._on_recipe)
        self._place = _combo(self.tr("Where the results go"), self.tr("Where the results go; scans are never changed"))
        self._place.addItem(self.tr("In one folder"), "folder")
        self._place.addItem(self.tr("Beside the scans, in a subfolder"), "beside")
        self._place.activated.connect(self._on_place)
        self._folder_tip = self.tr("The folder of the results; folders of scans are mirrored below it")
        self._folder = _line(self.tr("Folder of the results"), self._folder_tip)
        self._folder.setPlaceholderText(self.tr("follows from the scans that you drop"))
        self._folder.editingFinished.connect(self._on_folder)
        self._browse = QPushButton(self.tr("Browse…"))
        self._browse.setToolTip(self.tr("Choose the folder of the results"))
        self._browse.clicked.connect(self._on_browse)
        self._names = _line(
            self.tr("Names of the results"),
            self.tr("Names of the results, made of {name}, {recipe}, {date}, {n:0000} and {parent}"),
        )
        self._names.setFixedWidth(200)
        self._names.textEdited.connect(self._on_names)
        self._example = QLabel()
        self._example.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        self._example.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._example.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def _make_more(self) -> None:
        self._more = QToolButton()
        self._more.setText(self.tr("More"))
        self._more.setToolTip(self.tr("Show or hide format, depth, profile, device, and what happens to results"))
        self._more.setCheckable(True)
        self._more.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._more.setArrowType(Qt.ArrowType.RightArrow)
        self._suffix = _combo(self.tr("Format"), self.tr("Format of the results"))
        self._suffix.addItem(self.tr("As the scan, if lossless"), "")
        for row in FORMATS:
            if row.writer is not None:
                self._suffix.addItem(row.name, row.suffixes[0])
        self._depth = _combo(self.tr("Depth"), self.tr("Bits a sample of the results"))
        for text, depth in ((self.tr("As the scan"), 0), (self.tr("8 bit"), 8), (self.tr("16 bit"), 16)):
            self._depth.addItem(text, depth)
        self._profile = _combo(self.tr("Profile"), self.tr("Colour profile of the results"))
        self._profile.addItem(self.tr("Keep the scan's"), "keep")
        self._profile.addItem(self.tr("Convert to sRGB"), "srgb")
        self._profile.addItem(self.tr("Profile file…"), _FILE)
        self._exists = _combo(self.tr("If a result exists"), self.tr("What happens where a result exists already"))
        self._exists.addItem(self.tr("Skip it if it would be the same"), "skip")
        self._exists.addItem(self.tr("Keep both"), "keep")
        self._exists.addItem(self.tr("Replace it"), "replace")
        self._device = _combo(self.tr("Device"), self.tr("Where the models run"))
        for text, device in ((self.tr("Automatic"), "auto"), (self.tr("CPU"), "cpu"), (self.tr("GPU (CUDA)"), "cuda")):
            self._device.addItem(text, device)
        self._suffix.activated.connect(lambda: self._set("suffix", self._suffix.currentData()))
        self._depth.activated.connect(lambda: self._set("depth", self._depth.currentData()))
        self._profile.activated.connect(self._on_profile)
        self._exists.activated.connect(lambda: self._set("exists", self._exists.currentData()))
        self._device.activated.connect(lambda: self._set("device", self._device.currentData()))

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(8)
        where = QHBoxLayout()
        where.setSpacing(8)
        where.addWidget(self._place)
        where.addWidget(self._folder, 1)
        where.addWidget(self._browse)
        names = QHBoxLayout()
        names.setSpacing(8)
        names.addWidget(self._names)
        names.addWidget(self._example, 1)
        names.addWidget(self._more)
        self._recipe.setMinimumWidth(160)
        for row, text, widget, rest in (
            (0, self.tr("Recipe"), self._recipe, None),
            (0, self.tr("Results"), self._place, where),
            (1, self.tr("Names"), self._names, names),
        ):
            label = QLabel(text)
            label.setBuddy(widget)
            column = 2 if rest is where else 0
            grid.addWidget(label, row, column)
            if rest is None:
                grid.addWidget(widget, row, column + 1)
            else:
                grid.addLayout(rest, row, column + 1, 1, 1 if rest is where else 3)
        grid.setColumnStretch(3, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 12, 12, 4)
        layout.setSpacing(8)
        layout.addLayout(grid)
        layout.addWidget(self._more_row())

    def _more_row(self) -> QWidget:
        """The row of the settings that are seldom changed, hidden at first."""
        widget = QWidget()
        line = QHBoxLayout(widget)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(8)
        for text, combo in (
            (self.tr("Format"), self._suffix),
            (self.tr("Depth"), self._depth),
            (self.tr("Profile"), self._profile),
            (self.tr("If a result exists"), self._exists),
            (self.tr("Device"), self._device),
        ):
            label = QLabel(text)
            label.setBuddy(combo)
            line.addWidget(label)
            line.addWidget(combo)
            line.addSpacing(8)
        line.addStretch(1)
        widget.hide()
        self._more.toggled.connect(widget.setVisible)
        self._more.toggled.connect(
            lambda on: self._more.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow)
        )
        return widget

    # -- what is shown ----------------------------------------------------------------------------------------

    def list_recipes(self) -> None:
        """List the recipes that there are now, and show the settings."""
        self._recipe.clear()
        for name in recipe_names():
            try:
                recipe = read_recipe(name)
            except EngineError:
                # The window of recipes says what is wrong with it.
                continue
            self._recipe.addItem(recipe.title, name)
            self._recipe.setItemData(self._recipe.count() - 1, recipe.summary, Qt.ItemDataRole.ToolTipRole)
        self._recipe.addItem(self.tr("Recipe file…"), _FILE)
        self.show_settings()

    def show_settings(self) -> None:
        """Show the settings as they are now."""
        chosen = self._settings
        _choose(self._recipe, chosen.recipe)
        for combo, value in (
            (self._place, chosen.place),
            (self._suffix, chosen.suffix),
            (self._depth, chosen.depth),
            (self._profile, chosen.profile),
            (self._exists, chosen.exists),
            (self._device, chosen.device),
        ):
            _choose(combo, value)
        beside = chosen.place == "beside"
        self._browse.setVisible(not beside)
        name = self.tr("Name of the subfolder") if beside else self.tr("Folder of the results")
        self._folder.setAccessibleName(name)
        tip = self.tr("The subfolder, in each folder of scans, for its results")
        self._folder.setToolTip(tip if beside else self._folder_tip)
        for line, text in ((self._folder, chosen.subfolder if beside else chosen.folder), (self._names, chosen.names)):
            if not line.hasFocus() and line.text() != text:
                line.setText(text)

    def show_example(self, text: str, *, problem: bool = False) -> None:
        """Show what the template makes of the first scans, or why it cannot be used."""
        self._example.setText(text)
        self._example.setToolTip(text)
        self._example.setForegroundRole(QPalette.ColorRole.Accent if problem else QPalette.ColorRole.PlaceholderText)

    # -- answers ----------------------------------------------------------------------------------------------

    def _set(self, name: str, value: object) -> None:
        setattr(self._settings, name, value)
        self.changed.emit()

    def _on_recipe(self) -> None:
        if self._recipe.currentData() != _FILE:
            self._set("recipe", self._recipe.currentData())
            return
        path = FileDialogs.open_file(self, self.tr("Recipe"), self.tr("Recipes"), ("*.toml",))
        if path is not None:
            self._set("recipe", str(path))
        self.show_settings()

    def _on_profile(self) -> None:
        if self._profile.currentData() != _FILE:
            self._set("profile", self._profile.currentData())
            return
        path = FileDialogs.open_file(self, self.tr("Profile"), self.tr("ICC profiles"), ("*.icc", "*.icm"))
        if path is not None:
            self._set("profile", str(path))
        self.show_settings()

    def _on_place(self) -> None:
        self._set("place", self._place.currentData())
        self.show_settings()

    def _on_folder(self) -> None:
        name = "subfolder" if self._settings.place == "beside" else "folder"
        text = self._folder.text().strip()
        if text != getattr(self._settings, name):
            self._set(name, str(Path(text).expanduser()) if text and name == "folder" else text)

    def _on_browse(self) -> None:
        path = FileDialogs.choose_folder(self, self.tr("Folder of the results"), self._settings.folder)
        if path is not None:
            self._folder.setText(str(path))
            self._on_folder()

    def _on_names(self, text: str) -> None:
        self._set("names", text)


def _combo(name: str, tip: str) -> QComboBox:
    combo = QComboBox()
    combo.setAccessibleName(name)
    combo.setToolTip(tip)
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
    WheelGuard(combo)
    return combo


def _line(name: str, tip: str) -> QLineEdit:
    line = QLineEdit()
    line.setAccessibleName(name)
    line.setToolTip(tip)
    return line


def _choose(combo: QComboBox, value: object) -> None:
    """Select the entry with a value; a file gets an entry of its own, before the one that asks for it."""
    if combo.findData(value) < 0 and combo.findData(_FILE) >= 0:
        path = Path(str(value))
        title = path.stem
        if path.suffix == ".toml":
            try:
                title = read_recipe(str(path)).title
            except EngineError:
                # What is wrong with it is said when it is used.
                title = path.name
        combo.insertItem(combo.findData(_FILE), title, value)
        combo.setItemData(combo.findData(value), str(path), Qt.ItemDataRole.ToolTipRole)
    with QSignalBlocker(combo):
        combo.setCurrentIndex(max(0, combo.findData(value)))
