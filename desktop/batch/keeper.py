"""The batch of the program: keeps its table and its run, and tells the window what changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from desktop.batch.runner import (
    Added,
    Feed,
    RunHandle,
    RunOptions,
    Snapshot,
    Wanted,
    add_scans,
    run_batch,
    take_snapshot,
    write_report,
)
from desktop.batch.words import added_in_words, counts_in_words, words
from desktop.settings import BatchSettings
from desktop.work.base import Urgency
from desktop.work.threads import JobCentre, Lane, Ticket, Work
from engine.batch.plan import Plan, plan_of
from engine.batch.pool import fitting_workers
from engine.batch.rows import Row, State
from engine.batch.table import JobTable
from engine.batch.views import View, rows_at
from engine.errors import EngineError

_LOOK_MS = 150
"""Time between two looks at what the run has told."""
_VIEW_LOOKS = 7
"""Looks between two questions for the rows of a view, while a run changes which rows belong to it."""


class Phase(Enum):
    """What the run of the batch is doing."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSING = "pausing"
    CANCELLING = "cancelling"


class BatchKeeper(QObject):
    """The batch of the program. GUI thread.

    Args:
        jobs: the job centre.
        settings: what the restorer has chosen; read when it is needed.
        folder: the program's folder for the table; made when it is needed.
        protected: returns the files that are open in the window.

    Attributes:
        view: which rows are asked for; ``refresh`` asks.
        counts: the number of scans of each state, as they were asked for last.
        phase: what the run does.

    Signals:
        shown: the rows of the view were asked for; carries a Snapshot.
        touched: rows changed; carries their numbers, or None for all, and the shares of the running ones.
        changed: phase, counts or folder have changed.
        listing: folders are being read; carries what was found so far in words, or "" at the end.
        said: carries a sentence.
        failed: carries an EngineError.
        ended: a run came to its end; carries a sentence.
    """

    shown = Signal(object)
    touched = Signal(object, object)
    changed = Signal()
    listing = Signal(str)
    said = Signal(str)
    failed = Signal(object)
    ended = Signal(str)

    def __init__(
        self, jobs: JobCentre, settings: BatchSettings, folder: Path, protected: Callable[[], Sequence[Path]]
    ) -> None:
        super().__init__()
        self._jobs, self._settings, self._protected = jobs, settings, protected
        self._path = folder / "batch.sqlite"
        self._table: JobTable | None = None
        self._asking: Ticket | None = None
        self._ask_again = False
        self._listings: list[Ticket] = []
        self._run: Ticket | None = None
        self._handle, self._feed = RunHandle(), Feed()
        self._looks = 0
        self.view = View()
        self.counts: dict[State, int] = {}
        self.phase = Phase.IDLE
        self._timer = QTimer(self)
        self._timer.setInterval(_LOOK_MS)
        self._timer.timeout.connect(self._look)

    # -- reading ----------------------------------------------------------------------------------------------

    def rows(self, ids: Sequence[int]) -> list[Row]:
        """The rows with these numbers, as they are in the table now."""
        if self._table is None and self._path.exists():
            try:
                self._table = JobTable(self._path)
            except EngineError as error:
                self.failed.emit(error)
        return rows_at(self._table, ids) if self._table is not None and ids else []

    def refresh(self) -> None:
        """Ask for the rows of ``view``; ``shown`` carries them."""
        if self._asking is not None:
            self._ask_again = True
            return
        if not self._path.exists():
            return
        path, view = self._path, self.view
        self._asking = ticket = self._submit(
            words("Reading the table"), lambda _: take_snapshot(path, view), urgency=Urgency.REPAIR
        )
        ticket.done.connect(self._on_snapshot)
        ticket.failed.connect(self.failed)
        ticket.ended.connect(self._on_asked)

    def _submit(self, title: str, work: Work, urgency: Urgency = Urgency.WHOLE_PICTURE) -> Ticket:
        return self._jobs.submit(title, Lane.LISTS, lambda: work, urgency=urgency, shown=False)

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        self.counts = snapshot.counts
        self.shown.emit(snapshot)
        self.changed.emit()

    def _on_asked(self) -> None:
        self._asking = None
        if self._ask_again:
            self._ask_again = False
            self.refresh()

    # -- what is to be done -----------------------------------------------------------------------------------

    @property
    def total(self) -> int:
        """The number of scans."""
        return sum(self.counts.values())

    @property
    def folder(self) -> Path:
        """The output folder."""
        return Path(self._settings.folder)

    def plan(self) -> Plan:
        """What the settings say is to be done with every scan.

        Raises:
            SettingsError, ReadError: the settings cannot be used.
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
        )

    def _wanted(self) -> Wanted:
        folders = {Path(path): name for path, name in self._settings.folders.items()}
        return Wanted(self._path, self.plan(), self.folder, folders)

    def add(self, paths: Sequence[Path]) -> None:
        """Take files and the pictures of folders into the table, now and on another thread."""
        inputs = [path.absolute() for path in paths]
        if not inputs:
            return
        self._remember_folders([path for path in inputs if path.is_dir()])
        if not self._settings.folder:
            self._settings.folder = str(_suggested_folder(inputs[0]))
            self.changed.emit()
        try:
            wanted = self._wanted()
        except EngineError as error:
            self.failed.emit(error)
            return
        ticket = self._submit(
            words("Reading folders"),
            lambda context: add_scans(wanted, inputs, context, running=self._run is not None),
        )
        self._follow_listing(ticket)
        ticket.done.connect(self._on_added)

    def _follow_listing(self, ticket: Ticket) -> None:
        self._listings.append(ticket)
        ticket.changed.connect(lambda: self._on_listing(ticket))
        ticket.failed.connect(self.failed)
        ticket.ended.connect(lambda: self._on_listed(ticket))
        self.changed.emit()

    def _remember_folders(self, folders: Sequence[Path]) -> None:
        """A folder's own name stands before the paths of its scans, but not if it is the first and only one."""
        known = self._settings.folders
        alone = not known and not self.total and len(folders) == 1
        for folder in folders:
            name, number = folder.name or "root", 1
            while name in known.values():
                number += 1
                name = f"{folder.name} ({number})"
            known.setdefault(str(folder), "" if alone else name)

    def _on_listing(self, ticket: Ticket) -> None:
        if ticket.step:
            self.listing.emit(words("Reading folders: {0} pictures so far").format(ticket.step))
            self.refresh()

    def _on_added(self, added: Added) -> None:
        self.said.emit(added_in_words(added.count, added.left_out))

    def _on_listed(self, ticket: Ticket) -> None:
        self._listings.remove(ticket)
        if not self._listings:
            self.listing.emit("")
        self.touched.emit(None, {})
        self.refresh()
        self.changed.emit()

    # -- the run ----------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether folders are being read."""
        return bool(self._listings)

    def start(self) -> None:
        """Run the batch."""
        if self._run is not None or self.busy:
            return
        try:
            wanted = self._wanted()
        except EngineError as error:
            self.failed.emit(error)
            return
        self._handle = RunHandle()
        options = RunOptions(fitting_workers(), self._handle, self._feed)
        self._run = ticket = self._jobs.submit(
            words("Batch"), Lane.BATCH, lambda: lambda context: run_batch(wanted, options, context)
        )
        ticket.done.connect(self._on_run_done)
        ticket.failed.connect(self.failed)
        ticket.ended.connect(self._on_run_ended)
        self._set_phase(Phase.RUNNING)
        self._timer.start()

    def pause_after(self) -> None:
        """End the run after the pictures that are being worked on."""
        self._handle.stop(now=False)
        self._set_phase(Phase.PAUSING)

    def cancel(self) -> None:
        """Break the run off; what is being worked on is pending again."""
        if self._run is not None:
            self._set_phase(Phase.CANCELLING)
            self._run.cancel()

    def stop(self) -> None:
        """The program ends."""
        self._timer.stop()
        if self._table is not None:
            self._table.close()
            self._table = None

    def write_report(self, done: Callable[[Path], None]) -> None:
        """Write the report as the table is now; ``done`` gets the path of its page."""
        try:
            wanted = self._wanted()
        except EngineError as error:
            self.failed.emit(error)
            return
        ticket = self._submit(words("Writing the report"), lambda _: write_report(wanted))
        ticket.done.connect(done)
        ticket.failed.connect(self.failed)

    def _set_phase(self, phase: Phase) -> None:
        self.phase = phase
        self.changed.emit()

    def _look(self) -> None:
        """Pass on what the run has told since the last look."""
        changed, shares, notices = self._feed.take()
        for sentence in notices:
            self.said.emit(sentence)
        self._looks += 1
        if changed:
            self.touched.emit(changed, shares)
        if self._looks % _VIEW_LOOKS == 0:
            self.refresh()

    def _on_run_done(self, came_to_end: bool) -> None:  # noqa: FBT001 - Qt's signal
        if came_to_end:
            self.counts = self._count()
            self.ended.emit(words("The batch has ended: {0}.").format(counts_in_words(self.counts)))

    def _on_run_ended(self) -> None:
        self._run = None
        self._timer.stop()
        self._look()
        self.touched.emit(None, {})
        self._set_phase(Phase.IDLE)
        self.refresh()

    def _count(self) -> dict[State, int]:
        return self._table.counts() if self._table is not None else {}


def _suggested_folder(given: Path) -> Path:
    """Where results go unless the restorer says otherwise: beside the folder of the scans."""
    folder = given if given.is_dir() else given.parent
    return folder.with_name(f"{folder.name} restored") if given.is_dir() else folder / "restored"
