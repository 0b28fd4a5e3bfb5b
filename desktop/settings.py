"""The settings that are kept between starts, as typed dataclasses. The only module that uses QSettings."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PySide6.QtCore import QByteArray, QSettings

from desktop.language import sentence_of
from desktop.tools.base import ToolSettings
from engine import tables
from engine.errors import Words

RECENT = 12
"""Number of recent files that are remembered."""
_WINDOWS = ("geometry", "panels", "batch_geometry", "batch_columns")
"""Keys of what Qt saved of the windows."""


@dataclass
class Look:
    """The look of the window.

    Attributes:
        theme: ``dark``, ``light`` or ``system``.
        surround: grey around the picture, 0..1 in the screen's encoding.
        veil: colour of the mask overlay as ``#AARRGGBB``.
        monitor: path of the screen's ICC profile; empty = the system's, otherwise sRGB.
    """

    theme: str = "dark"
    surround: float = 0.2
    veil: str = "#8ce62828"
    monitor: str = ""

    def __post_init__(self) -> None:
        if self.theme not in ("dark", "light", "system") or not 0 <= self.surround <= 1:
            raise ValueError("look")


@dataclass
class TaskSettings:
    """The choices for one task.

    Attributes:
        model: id of the model; empty = the task's default.
        values: settings by name; those that are missing have their defaults.
    """

    model: str = ""
    values: dict[str, float] = field(default_factory=dict)


@dataclass
class RepairSettings:
    """The choices in the Repair panel.

    Attributes:
        device: ``auto``, ``cpu`` or ``cuda``.
        tasks: the choices for each task, by task id.
    """

    device: str = "auto"
    tasks: dict[str, TaskSettings] = field(default_factory=dict)

    def of(self, task: str) -> TaskSettings:
        """The choices for a task, to be read and changed in place; created with defaults where missing."""
        start = {"feather": 2.0} if task == "heal" else {}
        return self.tasks.setdefault(task, TaskSettings(values=dict(start)))


@dataclass
class BatchSettings:
    """The choices in the window of batches.

    Attributes:
        recipe: name of a recipe that ships, or the path of a recipe file.
        place: ``folder``: results go into one folder; ``beside``: into a subfolder beside each scan.
        folder: for results in one folder; empty = a suggestion that follows from the scans.
        subfolder: name of the subfolder beside each scan.
        names: the template of the results' names.
        suffix: of the results with its dot; empty = that of each scan where its format is lossless.
        depth: bits a sample; 0 = those of each scan.
        profile: ``keep``, ``srgb`` or the path of an ICC profile.
        exists: what happens where a result exists, see ``engine.batch.plan.Plan``.
        device: ``auto``, ``cpu`` or ``cuda``.
        review: look through all scans first, and heal what a person decides.
        leave_core: leave a processor core to other programs.
        above: the folder above all scans, below which results beside them are; follows from the scans.
        folders: the folders that were given -> what stands before the paths of their scans.
    """

    recipe: str = "standard"
    place: str = "folder"
    folder: str = ""
    subfolder: str = "restored"
    names: str = "{name}"
    suffix: str = ""
    depth: int = 0
    profile: str = "keep"
    exists: str = "skip"
    device: str = "auto"
    review: bool = False
    leave_core: bool = True
    above: str = ""
    folders: dict[str, str] = field(default_factory=dict)


@dataclass
class SaidProblems:
    """The problems of this installation that were said, and then closed by the user: they are not said again.

    Attributes:
        version: of the program that said them; another version says them again.
        problems: their keys, see ``engine.health.Problem``.
    """

    version: str = ""
    problems: tuple[str, ...] = ()


@dataclass
class Settings:
    """All settings except the windows' geometry.

    Attributes:
        look: of the window.
        tools: brushes and mode of the tools.
        repair: choices in the Repair panel.
        batch: choices in the window of batches.
        shortcuts: changed shortcuts, action id -> key in portable text.
        recent: paths of recent files, latest first.
        said: problems that need not be said again.
    """

    look: Look = field(default_factory=Look)
    tools: ToolSettings = field(default_factory=ToolSettings)
    repair: RepairSettings = field(default_factory=RepairSettings)
    batch: BatchSettings = field(default_factory=BatchSettings)
    shortcuts: dict[str, str] = field(default_factory=dict)
    recent: tuple[str, ...] = ()
    said: SaidProblems = field(default_factory=SaidProblems)


class SettingsStore:
    """Reads and writes the settings. GUI thread.

    A file that cannot be read, or not all of it, is renamed before the first write and so lost to nobody.

    Args:
        file: an INI file; None = the user's settings.

    Attributes:
        settings: what was read; changed in place, and written by ``save``.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._wanted_file = file
        self._unsaid: list[Words] = []
        self._say: Callable[[str], object] | None = None
        self._saving_fails = False
        self._store = self._open()
        self.settings, whole = self._read()
        if not whole:
            self._set_aside()

    @property
    def file(self) -> Path:
        """The INI file; it need not exist."""
        return Path(self._store.fileName())

    def report_to(self, say: Callable[[str], object]) -> None:
        """Have problems said with a function, also those since the settings were read; each is said once."""
        self._say = say
        unsaid, self._unsaid = self._unsaid, []
        for words in unsaid:
            say(sentence_of(words))

    def save(self) -> None:
        """Write the settings. If that is impossible, it is said, the first time."""
        self._store.setValue("settings", json.dumps(dataclasses.asdict(self.settings)))
        self._store.sync()
        if self._store.status() is QSettings.Status.AccessError and not self._saving_fails:
            self._saving_fails = True
            self._report(
                Words(
                    "The settings cannot be saved in {folder}, so changes of them last until Lacuna is closed.",
                    folder=self.file.parent,
                )
            )

    def geometry(self) -> tuple[QByteArray, QByteArray]:
        """The window's geometry and the state of its panels, as Qt saved them; empty at the first start."""
        return self._bytes("geometry"), self._bytes("panels")

    def save_geometry(self, geometry: QByteArray, panels: QByteArray) -> None:
        """Write the window's geometry and the state of its panels."""
        self._store.setValue("geometry", geometry)
        self._store.setValue("panels", panels)

    def batch_geometry(self) -> tuple[QByteArray, QByteArray]:
        """The geometry of the window of batches and the widths of its columns; empty at the first time."""
        return self._bytes("batch_geometry"), self._bytes("batch_columns")

    def save_batch_geometry(self, geometry: QByteArray, columns: QByteArray) -> None:
        """Write the geometry of the window of batches and the widths of its columns."""
        self._store.setValue("batch_geometry", geometry)
        self._store.setValue("batch_columns", columns)
        # A file without settings is taken for a damaged one.
        self.save()

    def remember_file(self, path: Path) -> None:
        """Put a file first in the list of recent files."""
        others = [name for name in self.settings.recent if name != str(path)]
        self.settings.recent = tuple([str(path), *others][:RECENT])
        self.save()

    def forget_files(self, names: Collection[str]) -> None:
        """Take files off the list of recent files."""
        self.settings.recent = tuple(name for name in self.settings.recent if name not in names)
        self.save()

    def _bytes(self, key: str) -> QByteArray:
        value = self._store.value(key)
        return value if isinstance(value, QByteArray) else QByteArray()

    def _open(self) -> QSettings:
        if self._wanted_file is not None:
            return QSettings(str(self._wanted_file), QSettings.Format.IniFormat)
        return QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "lacuna", "lacuna")

    def _read(self) -> tuple[Settings, bool]:
        """The settings, and whether all were read; parts that are damaged or of another version get their defaults."""
        settings = Settings()
        whole = self._store.contains("settings") or _is_absent(self.file)
        try:
            table = tables.parse_json(str(self._store.value("settings", "{}")))
        except ValueError:
            return settings, False
        if not isinstance(table, dict):
            return settings, False
        for fld in dataclasses.fields(Settings):
            if fld.name in table:
                whole &= _try_set(settings, fld.name, _upgrade(fld.name, table[fld.name]))
        # Always start by adding: removing from an empty mask would seem not to work.
        settings.tools.adding = True
        return settings, whole

    def _set_aside(self) -> None:
        """Rename the file, and write what could be read of it into a new one."""
        file, kept = self.file, {key: self._bytes(key) for key in _WINDOWS}
        aside = file.with_name(f"{file.name}.broken")
        number = 1
        while os.path.lexists(aside):
            number += 1
            aside = file.with_name(f"{file.name}.broken{number}")
        try:
            file.rename(aside)
        except OSError as error:
            self._report(
                Words(
                    "Not all settings in {file} can be used, so defaults take their place: {reason}.",
                    file=file,
                    reason=error.strerror or "",
                )
            )
            return
        self._report(
            Words(
                "Not all settings in {file} can be used, so defaults take their place. The file is kept as {name}.",
                file=file,
                name=aside.name,
            )
        )
        self._store = self._open()
        for key, value in kept.items():
            if not value.isEmpty():
                self._store.setValue(key, value)
        self.save()

    def _report(self, words: Words) -> None:
        self._unsaid.append(words)
        if self._say is not None:
            self.report_to(self._say)


def _is_absent(file: Path) -> bool:
    """Whether there is no file with settings; an empty one holds none either."""
    try:
        return file.is_file() and file.stat().st_size == 0 if os.path.lexists(file) else True
    except OSError:
        return True


def _upgrade(name: str, part: Any) -> Any:
    """Convert a part from an older format: once ``repair`` had only the settings of one task."""
    if name == "repair" and isinstance(part, dict) and "values" in part:
        heal = {key: part[key] for key in ("model", "values") if key in part}
        return {"device": part.get("device", "auto"), "tasks": {"heal": heal}}
    return part


def _try_set(settings: Settings, name: str, value: Any) -> bool:
    """Set a part; False when it cannot be used."""
    try:
        part = tables.from_table(Settings, {name: value})
    except (ValueError, OverflowError, RecursionError):
        return False
    setattr(settings, name, getattr(part, name))
    return True
