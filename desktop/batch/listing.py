"""The list of a batch: its table, what is wanted of it, and what is added, changed and asked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from desktop.batch.runner import (
    Added,
    Snapshot,
    Wanted,
    add_scans,
    change_rows,
    settle_interrupted,
    take_snapshot,
)
from desktop.batch.steering import Shares
from desktop.batch.words import added_in_words, words
from desktop.settings import BatchSettings
from desktop.work.base import Urgency
from desktop.work.threads import JobCentre, Lane, Ticket, Work
from engine.batch.folders import free_folder_name
from engine.batch.gather import Scan
from engine.batch.naming import preview_names
from engine.batch.plan import Plan, plan_of
from engine.batch.rows import Row, State
from engine.batch.table import JobTable
from engine.batch.views import View, rows_at
from engine.errors import EngineError, WriteError

_LISTING_SECONDS = 1.0
"""Time between two questions for the rows while folders are being read: they can be hundreds of thousands."""
_SETTLE_MS = 400
"""Time without a change of the names after which the results in the table are named anew."""
_SOME_SCAN = Scan(Path(), PurePosixPath("scan-0417.tif"), Path(), 0, 0)


class BatchList(QObject):
    """The list of a batch. GUI thread.

    Args:
        jobs: the job centre.
        settings: what the restorer has chosen; ``settings_changed`` is called when it was changed.
        folder: the program's folder for the table; made when it is needed.

    Attributes:
        view: which rows are asked for; ``refresh`` asks.
        snapshot: what the table held when it was asked last; None = nothing yet.

    Signals:
        shown: the table was asked; carries the Snapshot.
        touched: rows changed; carries their numbers, or None for all, and the shares of the running ones.
        changed: what the attributes say has changed.
        remembered: the settings know other folders, and must be saved: the list is on the disk already.
        listing: folders are being read; carries what was found so far in words, or "" at the end.
        said: carries a sentence that need not be read.
        failed: carries an EngineError.
    """

    shown = Signal(object)
    touched = Signal(object, object)
    changed = Signal()
    remembered = Signal()
    listing = Signal(str)
    said = Signal(str)
    failed = Signal(object)

    def __init__(self, jobs: JobCentre, settings: BatchSettings, folder: Path) -> None:
        super().__init__()
        self._jobs, self._settings = jobs, settings
        self._path = folder / "batch.sqlite"
        self._table: JobTable | None = None
        self._asking: Ticket | None = None
        self._ask_again = False
        self._listings: list[Ticket] = []
        self._naming: Ticket | None = None
        self._listed_for: Plan | None = None
        self._shares: Shares = {}
        self._refreshed = 0.0
        self.view = View()
        self.snapshot: Snapshot | None = None
        self._name_timer = QTimer(self)
        self._name_timer.setInterval(_SETTLE_MS)
        self._name_timer.setSingleShot(True)
        self._name_timer.timeout.connect(self._name_again)
        if self._on_disk:
            self._submit(lambda _: settle_interrupted(self._path)).ended.connect(self.refresh)

    @property
    def running(self) -> bool:
        """Whether a run works on it."""
        return False

    def stop(self) -> None:
        """The program ends."""
        self._name_timer.stop()
        if self._table is not None:
            self._table.close()
            self._table = None

    # -- reading ----------------------------------------------------------------------------------------------

    @property
    def counts(self) -> dict[State, int]:
        """The number of scans of each state, as the table was asked last."""
        return self.snapshot.counts if self.snapshot is not None else {}

    @property
    def total(self) -> int:
        """The number of scans."""
        return sum(self.counts.values())

    @property
    def _on_disk(self) -> bool:
        """Whether there is a table; not where its folder cannot be entered."""
        return os.path.exists(self._path)  # noqa: PTH110 - never raises

    def rows(self, ids: Sequence[int]) -> list[Row]:
        """The rows with these numbers, as they are in the table now."""
        table = self._opened()
        return rows_at(table, ids) if table is not None and ids else []

    def _opened(self) -> JobTable | None:
        """This thread's own connection to the table; None if there is none."""
        if self._table is None and self._on_disk:
            try:
                self._table = JobTable(self._path)
            except EngineError as error:
                self.failed.emit(error)
        return self._table

    def refresh(self) -> None:
        """Ask the table; ``shown`` carries the answer."""
        if self._asking is not None:
            self._ask_again = True
            return
        if not self._on_disk:
            return
        self._asking = self._submit(partial(ignoring_context, take_snapshot, self._path, self.view), Urgency.REPAIR)
        self._asking.done.connect(self._on_snapshot)
        self._asking.ended.connect(self._on_asked)

    def _submit(self, work: Work, urgency: Urgency = Urgency.WHOLE_PICTURE) -> Ticket:
        ticket = self._jobs.submit(words("Batch"), Lane.LISTS, lambda: work, urgency=urgency, shown=False)
        ticket.failed.connect(self.failed)
        return ticket

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.shown.emit(snapshot)
        self.changed.emit()

    def _on_asked(self) -> None:
        self._asking = None
        if self._ask_again:
            self._ask_again = False
            self.refresh()

    # -- what is wanted ---------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The output folder."""
        beside = self._settings.place == "beside"
        return Path(self._settings.above if beside else self._settings.folder)

    def plan(self) -> Plan:
        """What the settings say is to be done with every scan.

        Raises:
            SettingsError: the recipe cannot be used.
        """
        chosen = self._settings
        return plan_of(
            chosen.recipe,
            template=chosen.names,
            suffix=chosen.suffix,
            depth=chosen.depth or None,
            profile=chosen.profile,
            device=chosen.device,
            exists=chosen.exists,
            beside=chosen.subfolder if chosen.place == "beside" else "",
            review=chosen.review,
        )

    def _wanted(self) -> Wanted | None:
        """What is wanted; None, after a sentence, if that cannot be used."""
        folders = {Path(path): name for path, name in self._settings.folders.items()}
        try:
            return Wanted(self._path, self.plan(), self.folder, folders)
        except EngineError as error:
            self.failed.emit(error)
            return None

    def example(self) -> list[tuple[str, str]]:
        """Some scans with the names that the template gives their results.

        Raises:
            SettingsError: the template or the recipe cannot be used.
        """
        rows = self.snapshot.first if self.snapshot is not None else ()
        scans = [Scan(row.path, PurePosixPath(row.relative), row.root, 0, 0) for row in rows] or [_SOME_SCAN]
        plan, day = self.plan(), datetime.now().astimezone().date()
        names = preview_names(plan.template, plan.recipe, plan.suffix, plan.beside, scans, day)
        return [(str(scan.relative), name) for scan, name in zip(scans, names, strict=True)]

    def settings_changed(self) -> None:
        """The settings were changed: results are named anew, soon, if their names may differ."""
        if self.total and not self.running:
            self._name_timer.start()
        self.changed.emit()

    def _name_again(self) -> None:
        try:
            self.example()
        except EngineError:
            # The window says so beside the template.
            return
        wanted = self._wanted()
        if wanted is None or self.running or self._listed_for == wanted.plan:
            return
        if self._naming is not None:
            self._naming.cancel()
        self._naming = self._list(wanted, [], again=True)

    def begin_anew(self) -> None:
        """Put a table that cannot be used aside, and begin with an empty list."""
        number = 1
        while (aside := self._path.with_name(f"batch-{number}.sqlite")).exists():
            number += 1
        try:
            # What SQLite has not moved into the database yet lies beside it; the database itself comes last.
            for ending in ("-wal", "-shm", ""):
                part = Path(f"{self._path}{ending}")
                if part.exists():
                    part.rename(f"{aside}{ending}")
        except OSError as error:
            self.failed.emit(
                WriteError(
                    "The list {table} cannot be put aside: {reason}.",
                    "batch.aside",
                    table=self._path,
                    reason=error.strerror or error,
                )
            )
            return
        self.snapshot = Snapshot(np.empty(0, np.int64), {}, (), 0, 0)
        self.said.emit(words("The old list is kept as {0}.").format(aside))
        self.changed.emit()

    # -- adding and changing ----------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether folders are being read."""
        return bool(self._listings)

    def add(self, paths: Sequence[Path]) -> None:
        """Take files and the pictures of folders into the table."""
        inputs = [path.absolute() for path in paths]
        if not inputs:
            return
        # On a share each look may take its time.
        ticket = self._submit(lambda _: [path for path in inputs if os.path.isdir(path)])  # noqa: PTH112 - never raises
        self._listings.append(ticket)
        ticket.done.connect(lambda folders: self._add(ticket, inputs, folders))
        ticket.ended.connect(lambda: self._on_listing_ended(ticket))
        self.changed.emit()

    def _add(self, looked: Ticket, inputs: Sequence[Path], folders: Sequence[Path]) -> None:
        self._listings.remove(looked)
        if self._is_empty:
            self._forget_folders()
        self._remember_folders(folders)
        if not self._settings.folder:
            first = inputs[0]
            self._settings.folder = str(_beside_folder(first) if first in folders else first.parent / "restored")
        self.remembered.emit()
        wanted = self._wanted()
        if wanted is None:
            return
        try:
            self.example()
        except EngineError:
            # Names that cannot be given yet are no reason to lose what was dropped.
            wanted = replace(wanted, plan=replace(wanted.plan, template="{name}", beside=""))
        # Names beside the scans depend on the folder that is above all of them.
        changed = bool(wanted.plan.beside) or self._listed_for != wanted.plan
        again = not self.running and changed and bool(self.total)
        self._list(wanted, inputs, again=again).done.connect(self._on_added)
        self.changed.emit()

    def _list(self, wanted: Wanted, inputs: Sequence[Path], *, again: bool) -> Ticket:
        running = self.running
        ticket = self._submit(lambda context: add_scans(wanted, inputs, context, running=running, again=again))
        self._listings.append(ticket)
        ticket.changed.connect(lambda: self._on_listing(ticket))
        ticket.done.connect(self._on_listed)
        ticket.ended.connect(lambda: self._on_listing_ended(ticket))
        self.changed.emit()
        return ticket

    @property
    def _is_empty(self) -> bool:
        """Whether there are no scans, as far as is known."""
        return not self.total and not self.busy and (self.snapshot is not None or not self._on_disk)

    def _forget_folders(self) -> None:
        """Forget the folders of scans that were removed, and the output folder if it followed from them."""
        folders = self._settings.folders
        if any(self._settings.folder == str(_beside_folder(Path(path))) for path in folders):
            self._settings.folder = ""
        folders.clear()

    def _remember_folders(self, folders: Sequence[Path]) -> None:
        """A folder's own name stands before the paths of its scans, but not if it is the first and only one."""
        known = self._settings.folders
        alone = not known and self._is_empty and len(folders) == 1
        for folder in folders:
            known.setdefault(str(folder), "" if alone else free_folder_name(folder, known.values()))

    def _on_listing(self, ticket: Ticket) -> None:
        if ticket.step and ticket in self._listings:
            self.listing.emit(words("Reading folders: {0} pictures so far").format(ticket.step))
            now = time.monotonic()
            if now - self._refreshed > _LISTING_SECONDS:
                self._refreshed = now
                self.refresh()

    def _on_listed(self, added: Added) -> None:
        self._listed_for = added.plan
        if added.plan.beside:
            self._settings.above = str(added.folder)
        if not self.running:
            # The settings may have changed meanwhile.
            self._name_timer.start()

    def _on_added(self, added: Added) -> None:
        self.said.emit(added_in_words(added.count, added.left_out))

    def _on_listing_ended(self, ticket: Ticket) -> None:
        if ticket in self._listings:
            self._listings.remove(ticket)
        self._naming = None if self._naming is ticket else self._naming
        if not self._listings:
            self.listing.emit("")
        self._on_rows_changed()

    def _on_rows_changed(self) -> None:
        self.touched.emit(None, self._shares)
        self.refresh()
        self.changed.emit()

    def move(self, ids: Sequence[int], *, first: bool) -> None:
        """Have scans done before or after all others."""
        self._change(lambda table: table.move(ids, "first" if first else "last"))

    def remove(self, ids: Sequence[int]) -> None:
        """Take scans out of the batch; no file is touched."""
        self._change(lambda table: table.remove(ids))

    def _change(self, change: Callable[[JobTable], object]) -> Ticket:
        ticket = self._submit(partial(ignoring_context, change_rows, self._path, change), Urgency.REPAIR)
        ticket.ended.connect(self._on_rows_changed)
        return ticket


def ignoring_context(work: Callable[..., object], *values: object) -> object:
    """Call work that takes no context, which is the last of the values."""
    return work(*values[:-1])


def _beside_folder(folder: Path) -> Path:
    """Where the results of a folder go unless the restorer says otherwise."""
    return folder.with_name(f"{folder.name} restored")
