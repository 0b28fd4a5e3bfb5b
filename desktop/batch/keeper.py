"""The batch of the program: its table, what is wanted of it, and the run that works on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import Enum
from functools import partial
from pathlib import Path, PurePosixPath

from PySide6.QtCore import QObject, QTimer, Signal

from desktop.batch.giving_way import EditorWatch
from desktop.batch.runner import (
    Added,
    RunOptions,
    Snapshot,
    Wanted,
    add_scans,
    change_rows,
    run_batch,
    settle_interrupted,
    take_snapshot,
    write_report,
)
from desktop.batch.steering import Feed, RunHandle, Shares
from desktop.batch.words import added_in_words, counts_in_words, words
from desktop.settings import BatchSettings
from desktop.work.base import Urgency
from desktop.work.threads import JobCentre, Lane, Ticket, Work
from engine.batch.gather import Scan
from engine.batch.naming import preview_names
from engine.batch.pace import Pace
from engine.batch.plan import Plan, plan_of
from engine.batch.pool import fitting_workers
from engine.batch.rows import Row, State
from engine.batch.table import JobTable
from engine.batch.views import View, rows_at
from engine.errors import EngineError

_LOOK_MS = 150
"""Time between two looks at what the run has told."""
_VIEW_LOOKS = 7
"""Looks between two questions for the rows of the view, while a run changes which belong to it."""
_LISTING_SECONDS = 1.0
"""Time between two questions for the rows while folders are being read: they can be hundreds of thousands."""
_SETTLE_MS = 400
"""Time without a change of the names after which the results in the table are named anew."""
_SOME_SCAN = Scan(Path(), PurePosixPath("scan-0417.tif"), Path(), 0, 0)


class Phase(Enum):
    """What the run of the batch is doing."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSING = "pausing"
    HOLDING = "holding"
    HELD = "held"
    CANCELLING = "cancelling"
    WATCHING = "watching"


class BatchKeeper(QObject):
    """The batch of the program. GUI thread.

    Args:
        jobs: the job centre.
        settings: what the restorer has chosen; ``settings_changed`` is called when it was changed.
        folder: the program's folder for the table; made when it is needed.
        protected: returns the files that are open in the window.

    Attributes:
        view: which rows are asked for; ``refresh`` asks.
        snapshot: what the table held when it was asked last; None = nothing yet.
        phase: what the run does.
        giving_way: whether it is held because the editor computes.
        watching: whether folders are to be watched after the run.

    Signals:
        shown: the table was asked; carries the Snapshot.
        touched: rows changed; carries their numbers, or None for all, and the shares of the running ones.
        changed: what the attributes say has changed.
        listing: folders are being read; carries what was found so far in words, or "" at the end.
        said: carries a sentence that need not be read.
        noticed: carries a sentence about the run that must be read, such as that the disk is full.
        failed: carries an EngineError.
        ended: a run came to its end; carries a sentence.
    """

    shown = Signal(object)
    touched = Signal(object, object)
    changed = Signal()
    listing = Signal(str)
    said = Signal(str)
    noticed = Signal(str)
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
        self._naming: Ticket | None = None
        self._listed_for: Plan | None = None
        self._run: Ticket | None = None
        self._ran_for: Wanted | None = None
        self._resumes = False
        self._handle, self._feed = RunHandle(), Feed()
        self._pace = Pace(0)
        self._shares: Shares = {}
        self._looks, self._refreshed = 0, 0.0
        self.view = View()
        self.snapshot: Snapshot | None = None
        self.phase = Phase.IDLE
        self.giving_way = self.watching = False
        self._look_timer, self._name_timer = QTimer(self), QTimer(self)
        self._look_timer.setInterval(_LOOK_MS)
        self._look_timer.timeout.connect(self._look)
        self._name_timer.setInterval(_SETTLE_MS)
        self._name_timer.setSingleShot(True)
        self._name_timer.timeout.connect(self._name_again)
        self._editor = EditorWatch(jobs)
        self._editor.changed.connect(self._give_way)
        if self._path.exists():
            self._submit(lambda _: settle_interrupted(self._path)).ended.connect(self.refresh)

    # -- reading ----------------------------------------------------------------------------------------------

    @property
    def counts(self) -> dict[State, int]:
        """The number of scans of each state, as the table was asked last."""
        return self.snapshot.counts if self.snapshot is not None else {}

    @property
    def total(self) -> int:
        """The number of scans."""
        return sum(self.counts.values())

    def rows(self, ids: Sequence[int]) -> list[Row]:
        """The rows with these numbers, as they are in the table now."""
        table = self._opened()
        return rows_at(table, ids) if table is not None and ids else []

    def _opened(self) -> JobTable | None:
        """This thread's own connection to the table; None if there is none."""
        if self._table is None and self._path.exists():
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
        if not self._path.exists():
            return
        self._asking = self._submit(partial(_ignoring_context, take_snapshot, self._path, self.view), Urgency.REPAIR)
        self._asking.done.connect(self._on_snapshot)
        self._asking.ended.connect(self._on_asked)

    def _submit(self, work: Work, urgency: Urgency = Urgency.WHOLE_PICTURE) -> Ticket:
        ticket = self._jobs.submit(words("Batch"), Lane.LISTS, lambda: work, urgency=urgency, shown=False)
        ticket.failed.connect(self.failed)
        return ticket

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._pace.left = snapshot.left
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
        if self.total and self._run is None:
            self._name_timer.start()
        self.changed.emit()

    def _name_again(self) -> None:
        try:
            self.example()
        except EngineError:
            # The window says so beside the template.
            return
        wanted = self._wanted()
        if wanted is None or self._run is not None or self._listed_for == wanted.plan:
            return
        if self._naming is not None:
            self._naming.cancel()
        self._naming = self._list(wanted, [], again=True)

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
        if self._is_empty:
            self._forget_folders()
        self._remember_folders([path for path in inputs if path.is_dir()])
        if not self._settings.folder:
            self._settings.folder = str(_suggested_folder(inputs[0]))
        wanted = self._wanted()
        if wanted is None:
            return
        # Names beside the scans depend on the folder that is above all of them.
        changed = bool(wanted.plan.beside) or self._listed_for != wanted.plan
        again = self._run is None and changed and bool(self.total)
        self._list(wanted, inputs, again=again).done.connect(self._on_added)
        self.changed.emit()

    def _list(self, wanted: Wanted, inputs: Sequence[Path], *, again: bool) -> Ticket:
        running = self._run is not None
        ticket = self._submit(lambda context: add_scans(wanted, inputs, context, running=running, again=again))
        self._listings.append(ticket)
        ticket.changed.connect(lambda: self._on_listing(ticket))
        ticket.done.connect(lambda added: self._on_listed(wanted.plan, added))
        ticket.ended.connect(lambda: self._on_listing_ended(ticket))
        self.changed.emit()
        return ticket

    @property
    def _is_empty(self) -> bool:
        """Whether there are no scans, as far as is known."""
        return not self.total and not self.busy and (self.snapshot is not None or not self._path.exists())

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
            name, number = folder.name or "root", 1
            while name in known.values():
                number += 1
                name = f"{folder.name} ({number})"
            known.setdefault(str(folder), "" if alone else name)

    def _on_listing(self, ticket: Ticket) -> None:
        if ticket.step and ticket in self._listings:
            self.listing.emit(words("Reading folders: {0} pictures so far").format(ticket.step))
            now = time.monotonic()
            if now - self._refreshed > _LISTING_SECONDS:
                self._refreshed = now
                self.refresh()

    def _on_listed(self, plan: Plan, added: Added) -> None:
        self._listed_for = plan
        if plan.beside:
            self._settings.above = str(added.folder)
        if self._run is None:
            # The settings may have changed meanwhile.
            self._name_timer.start()

    def _on_added(self, added: Added) -> None:
        self._resumes = False
        self.said.emit(added_in_words(added.count, added.left_out))

    def _on_listing_ended(self, ticket: Ticket) -> None:
        self._listings.remove(ticket)
        self._naming = None if self._naming is ticket else self._naming
        if not self._listings:
            self.listing.emit("")
        self._on_rows_changed()

    def _on_rows_changed(self) -> None:
        self.touched.emit(None, self._shares)
        self.refresh()
        self.changed.emit()

    def retry(self, ids: Sequence[int] | None) -> None:
        """Make scans that failed or were cancelled pending again; None = all that failed, which are then done."""
        ticket = self._change(lambda table: table.retry(ids))
        if ids is None and self._run is None:
            ticket.done.connect(self.start)

    def cancel_scans(self, ids: Sequence[int]) -> None:
        """Break scans off, or take them out of the run, until they are retried."""
        for id_ in set(ids) & set(self._shares):
            self._handle.cancel(id_)
        self._change(lambda table: table.cancel(ids))

    def move(self, ids: Sequence[int], *, first: bool) -> None:
        """Have scans done before or after all others."""
        self._change(lambda table: table.move(ids, "first" if first else "last"))

    def remove(self, ids: Sequence[int]) -> None:
        """Take scans out of the batch; no file is touched."""
        self._change(lambda table: table.remove(ids))

    def _change(self, change: Callable[[JobTable], object]) -> Ticket:
        ticket = self._submit(partial(_ignoring_context, change_rows, self._path, change), Urgency.REPAIR)
        ticket.ended.connect(self._on_rows_changed)
        return ticket

    # -- the run ----------------------------------------------------------------------------------------------

    @property
    def can_watch(self) -> bool:
        """Whether folders can be watched: they were run with these settings, and it was seen what that does."""
        if not self._settings.folders or self._ran_for is None:
            return False
        try:
            return (self._ran_for.plan, self._ran_for.folder) == (self.plan(), self.folder)
        except EngineError:
            return False

    @property
    def seconds_left(self) -> float | None:
        """Time that the run still takes, as far as it can be told."""
        return self._pace.seconds_left() if self._run is not None else None

    def start(self) -> None:
        """Run the batch, or go on with it."""
        wanted = self._wanted()
        if self._run is not None or self.busy or wanted is None:
            return
        self._name_timer.stop()
        self._handle, self._pace = RunHandle(), Pace(self.snapshot.left if self.snapshot else 0)
        self._handle.hold(on=self._editor.busy)
        if self.watching:
            self._handle.watch_ended.clear()
        again = not self._resumes or self._listed_for != wanted.plan
        options = RunOptions(self._handle, self._feed, self._settings.leave_core, again, self._protected())
        self._listed_for, self._resumes = wanted.plan, False
        self._run = ticket = self._jobs.submit(
            words("Batch"), Lane.BATCH, lambda: lambda context: run_batch(wanted, options, context)
        )
        ticket.done.connect(lambda came_to_end: self._on_run_done(wanted, came_to_end=came_to_end))
        ticket.failed.connect(self.failed)
        ticket.ended.connect(self._on_run_ended)
        self._look_timer.start()
        self._set_phase(Phase.RUNNING)

    def pause_after(self) -> None:
        """End the run after the pictures that are being worked on."""
        self._handle.stop(now=False)
        self._set_phase(Phase.PAUSING)

    def pause_now(self) -> None:
        """Hold the run within a window of work."""
        self._set_phase(Phase.HOLDING)
        self._hold()

    def resume(self) -> None:
        """Go on after ``pause_now``, or start."""
        if self.phase not in (Phase.HOLDING, Phase.HELD):
            self.start()
            return
        self._set_phase(Phase.RUNNING)
        self._hold()

    def cancel(self) -> None:
        """Break the run off; what is being worked on is pending again."""
        if self._run is not None:
            self._set_phase(Phase.CANCELLING)
            self._run.cancel()

    def watch(self, *, on: bool) -> None:
        """Watch the folders from now on, after the run, or not any more."""
        self.watching = on
        if not on:
            self._handle.watch_ended.set()
        elif self._run is None:
            self.start()
        else:
            self._handle.watch_ended.clear()
        self.changed.emit()

    def leave_core(self, *, on: bool) -> None:
        """Leave a core to other programs, or use the whole machine; also while it runs."""
        self._settings.leave_core = on
        self._handle.use_workers(fitting_workers(leave_core=on))

    def write_report(self, done: Callable[[Path], None]) -> None:
        """Write the report as the table is now; ``done`` gets the path of its page."""
        wanted = self._wanted()
        if wanted is not None:
            self._submit(partial(_ignoring_context, write_report, wanted)).done.connect(done)

    def stop(self) -> None:
        """The program ends."""
        self._look_timer.stop()
        self._name_timer.stop()
        if self._table is not None:
            self._table.close()
            self._table = None

    def _set_phase(self, phase: Phase) -> None:
        if phase is not self.phase:
            self.phase = phase
            self.changed.emit()

    def _give_way(self) -> None:
        self.giving_way = self._editor.busy and self._run is not None
        self._hold()
        self.changed.emit()

    def _hold(self) -> None:
        on = self.phase in (Phase.HOLDING, Phase.HELD) or self.giving_way
        self._pace.hold(on)
        self._handle.hold(on=on)

    def _look(self) -> None:
        """Pass on what the run has told since the last look."""
        told = self._feed.take()
        for sentence in told.notices:
            self.noticed.emit(sentence)
        for row, outcome in told.ended:
            self._pace.finished(row.size, worked=outcome.state is not State.UP_TO_DATE)
        self._shares = told.shares
        if told.changed:
            self.touched.emit(told.changed, told.shares)
        self._looks += 1
        if told.came_to_end:
            self._tell_end()
        if self.phase is Phase.HOLDING and told.paused:
            self._set_phase(Phase.HELD)
        if self.phase in (Phase.RUNNING, Phase.WATCHING):
            self._set_phase(Phase.WATCHING if told.watching and not told.shares else Phase.RUNNING)
        if self._looks % _VIEW_LOOKS == 0:
            self.refresh()

    def _tell_end(self) -> None:
        table = self._opened()
        counts = counts_in_words(table.counts()) if table is not None else ""
        self.ended.emit(words("The batch has ended: {0}.").format(counts))

    def _on_run_done(self, wanted: Wanted, *, came_to_end: bool) -> None:
        self._resumes = not came_to_end
        if came_to_end:
            self._ran_for = wanted

    def _on_run_ended(self) -> None:
        self._run, self.giving_way = None, False
        self._look_timer.stop()
        self._look()
        self.watching = False
        self._set_phase(Phase.IDLE)
        self._on_rows_changed()


def _ignoring_context(work: Callable[..., object], *values: object) -> object:
    """Call work that takes no context, which is the last of the values."""
    return work(*values[:-1])


def _suggested_folder(given: Path) -> Path:
    """Where results go unless the restorer says otherwise: beside the folder of the scans."""
    return _beside_folder(given) if given.is_dir() else given.parent / "restored"


def _beside_folder(folder: Path) -> Path:
    return folder.with_name(f"{folder.name} restored")
