"""The run of a batch: starts it, steers it, and tells the window what it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from pathlib import Path

from PySide6.QtCore import QTimer, Signal

from desktop.batch.decided import DecidedList
from desktop.batch.giving_way import EditorWatch
from desktop.batch.listing import ignoring_context
from desktop.batch.runner import Added, RunOptions, Snapshot, Wanted, run_batch, write_report
from desktop.batch.steering import Feed, RunHandle
from desktop.batch.words import counts_in_words, waiting_in_words, words
from desktop.settings import BatchSettings
from desktop.work.threads import JobCentre, Lane, Ticket
from engine.batch.pace import Pace
from engine.batch.pool import fitting_workers
from engine.batch.rows import State
from engine.batch.table import JobTable
from engine.errors import EngineError, SettingsError

_LOOK_MS = 150
"""Time between two looks at what the run has told."""
_VIEW_LOOKS = 7
"""Looks between two questions for the rows of the view, while a run changes which belong to it."""


class Phase(Enum):
    """What the run of the batch is doing."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSING = "pausing"
    HOLDING = "holding"
    HELD = "held"
    CANCELLING = "cancelling"
    WATCHING = "watching"


class BatchKeeper(DecidedList):
    """The batch of the program: a list that can be run. GUI thread.

    Args:
        jobs, settings, folder: see ``BatchList``.
        protected: returns the files that are open in the window.

    Attributes:
        phase: what the run does.
        giving_way: whether it is held because the editor computes.
        watching: whether folders are to be watched after the run.

    Signals:
        noticed: carries a sentence about the run that must be read, such as that the disk is full.
        began: a run has begun.
        ended: a run came to its end; carries a sentence.
    """

    noticed = Signal(str)
    began = Signal()
    ended = Signal(str)

    def __init__(
        self, jobs: JobCentre, settings: BatchSettings, folder: Path, protected: Callable[[], Sequence[Path]]
    ) -> None:
        super().__init__(jobs, settings, folder)
        self._protected = protected
        self._run: Ticket | None = None
        self._ran_for: Wanted | None = None
        self._resumes = False
        self._handle, self._feed = RunHandle(), Feed()
        self._pace = Pace(0)
        self._looks = 0
        self.phase = Phase.IDLE
        self.giving_way = self.watching = False
        self._look_timer = QTimer(self)
        self._look_timer.setInterval(_LOOK_MS)
        self._look_timer.timeout.connect(self._look)
        self._editor = EditorWatch(jobs)
        self._editor.changed.connect(self._give_way)

    @property
    def paused(self) -> bool:
        """Whether a run was ended early, and can go on."""
        return self._run is None and self._resumes

    @property
    def running(self) -> bool:
        return self._run is not None

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        self._pace.left = snapshot.left
        super()._on_snapshot(snapshot)

    def _on_added(self, added: Added) -> None:
        self._resumes = False
        self._handle.watch_also(added.folders)
        super()._on_added(added)

    def retry(self, ids: Sequence[int] | None) -> None:
        """Make scans that failed or were cancelled pending again; None = all that failed, which are then done."""
        ticket = self._change(lambda table: table.retry(ids))
        if ids is None and not self.running:
            ticket.done.connect(self.start)

    def cancel_scans(self, ids: Sequence[int]) -> None:
        """Break scans off, or take them out of the run, until they are retried."""
        for id_ in set(ids) & set(self._shares):
            self._handle.cancel(id_)

        def cancel(table: JobTable) -> frozenset[int]:
            table.cancel(ids)
            return table.running() & set(ids)

        # Those that the run had taken in the meantime.
        self._change(cancel).done.connect(self._cancel_taken)

    def _cancel_taken(self, ids: frozenset[int]) -> None:
        for id_ in ids:
            self._handle.cancel(id_)

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
        if self._run is not None or self.busy or wanted is None or not self._has_place(wanted):
            return
        self._name_timer.stop()
        self._handle, self._pace = RunHandle(), Pace(self.snapshot.left if self.snapshot else 0)
        self._handle.hold(on=self._editor.busy)
        if self.watching:
            self._handle.watch_ended.clear()
        # Listing them takes those in that are decided.
        again = not self._resumes or self._listed_for != wanted.plan or self.totals is not None
        options = RunOptions(self._handle, self._feed, self._settings.leave_core, again, self._protected())
        self._listed_for, self._resumes = wanted.plan, False
        self._run = ticket = self._jobs.submit(
            words("Batch"), Lane.BATCH, lambda: lambda context: run_batch(wanted, options, context)
        )
        ticket.done.connect(lambda came_to_end: self._on_run_done(wanted, came_to_end=came_to_end))
        ticket.failed.connect(self.failed)
        ticket.ended.connect(self._on_run_ended)
        self._look_timer.start()
        self.began.emit()
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
        self._handle.use_workers(fitting_workers(leave_core=on, running=len(self._shares)))

    def write_report(self, done: Callable[[Path], None]) -> None:
        """Write the report as the table is now; ``done`` gets the path of its page."""
        wanted = self._wanted()
        if wanted is not None and self._has_place(wanted):
            self._submit(partial(ignoring_context, write_report, wanted)).done.connect(done)

    def _has_place(self, wanted: Wanted) -> bool:
        """Whether the results have a folder; says so if not."""
        if not wanted.folder.is_absolute():
            said = SettingsError("Choose the folder of the results first.", "batch.folder")
            self.failed.emit(said)
        return wanted.folder.is_absolute()

    def stop(self) -> None:
        self._look_timer.stop()
        super().stop()

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
        if table is None:
            return
        counts, (waiting, defects) = table.counts(), table.waiting()
        said = words("The batch has ended: {0}.").format(counts_in_words(counts, counts[State.FOUND] - waiting))
        if waiting:
            said = f"{said} {waiting_in_words(waiting, defects)}."
        self.ended.emit(said)

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
