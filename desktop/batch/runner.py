"""What the lanes of a batch do: list scans, run the batch, watch folders, write the report. No Qt here."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from desktop.batch.steering import Feed, RunHandle
from engine.errors import ModelError, ReadError, SettingsError, WriteError
from engine.jobs import Cancelled, JobContext

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from engine.batch import Batch
    from engine.batch.gather import Scan
    from engine.batch.plan import Plan
    from engine.batch.reviews import Totals
    from engine.batch.rows import Outcome, Row, State
    from engine.batch.run import BatchRun
    from engine.batch.table import JobTable
    from engine.batch.views import View

_FIRST = 3
"""Scans of which the names of the results are shown as an example."""
_TOLD_EVERY = 200
"""Scans after which the number that was found is told."""


@dataclass(frozen=True)
class Wanted:
    """What a batch is to do, and where.

    Attributes:
        table: the file of its table.
        plan: what is done with every scan.
        folder: the output folder; with ``Plan.beside`` one above all scans.
        folders: the folders that were given -> what stands before the paths of their scans.
    """

    table: Path
    plan: Plan
    folder: Path
    folders: Mapping[Path, str]


@dataclass(frozen=True)
class Snapshot:
    """What a table holds at one time.

    Attributes:
        ids: the numbers of the rows of a view, in order.
        counts: the number of scans of each state.
        first: some of the first rows, in the order of the work.
        left: bytes of the scans that are pending or running.
        renamed: the number of results that could not have the name of the template.
        waiting: the number of scans that wait for decisions, and of the defects found in them.
        decided: what the next run heals, because it is decided; None = nothing.
    """

    ids: NDArray[np.int64]
    counts: dict[State, int]
    first: tuple[Row, ...]
    left: int
    renamed: int
    waiting: tuple[int, int] = (0, 0)
    decided: Totals | None = None


@dataclass(frozen=True)
class Added:
    """What a listing did.

    Attributes:
        count: the number of scans that it added.
        left_out: reason -> the number of files that it left out.
        folder: the output folder.
        plan: by which it listed.
        folders: those of the folders that were given which it listed, as ``Wanted.folders``.
    """

    count: int
    left_out: dict[str, int]
    folder: Path
    plan: Plan
    folders: Mapping[Path, str]


def take_snapshot(table: Path, view: View) -> Snapshot:
    """What the table holds now. Raises ReadError, WriteError as ``JobTable``."""
    from engine.batch.table import JobTable
    from engine.batch.views import collisions, row_ids

    with JobTable(table) as rows:
        first = tuple(rows.first_rows(_FIRST))
        left, _ = rows.pending()
        totals, renamed = rows.totals(), len(collisions(rows))
        decided = totals if totals.files + totals.without else None
        return Snapshot(row_ids(rows, view), rows.counts(), first, left, renamed, rows.waiting(), decided)


def settle_interrupted(table: Path) -> None:
    """Make scans pending again that a program was working on when it was killed, unless another one works on them."""
    from engine.batch.table import JobTable

    with JobTable(table) as rows, suppress(WriteError), rows.held():
        rows.put_back_running()


def change_rows(table: Path, change: Callable[[JobTable], object]) -> object:
    """Change what is to be done, also while a run works on it; returns what the change returns."""
    from engine.batch.table import JobTable

    with JobTable(table) as rows:
        return change(rows)


def add_scans(wanted: Wanted, inputs: Sequence[Path], context: JobContext, *, running: bool, again: bool) -> Added:
    """Take files and the pictures of folders into the table.

    Args:
        wanted: the batch.
        inputs: files and folders.
        context: progress and cancellation.
        running: whether a run of this program works on the table: then what is added is listed as that run does it,
            whatever is wanted by now.
        again: also list what is in the table, because the names of the results may have changed.

    Raises:
        ReadError, WriteError, SettingsError: as ``gather`` and ``JobTable``.
        Cancelled: it was cancelled; what was found until then stays in the table.
    """
    from engine.batch.folders import make_folder
    from engine.batch.gather import Gathered, gather
    from engine.batch.table import JobTable

    make_folder(wanted.table.parent)
    with ExitStack() as stack:
        table = stack.enter_context(JobTable(wanted.table))
        if not running:
            stack.enter_context(table.held())
        stack.enter_context(table.listing(lambda: context.progress(0.0)))
        wanted, fingerprint = _of_run(wanted, table, inputs) if running and table.run else _anew(wanted, table, inputs)
        plan, before, ignored = wanted.plan, sum(table.counts().values()), table.ignored()
        left_out = Gathered()
        left_out.ignored.update(ignored)
        avoided = None if plan.beside else wanted.folder
        # What is left out of a folder is counted once, however often that is given.
        roots = table.roots()
        anew = [path for path in inputs if path in roots]
        first = [path for path in inputs if path not in roots]
        for known in (True, False) if again else (False,):
            scans = (
                _listed_scans(table, wanted)
                if known
                else itertools.chain(
                    gather(first, avoided, left_out, plan.beside, wanted.folders),
                    gather(anew, avoided, Gathered(), plan.beside, wanted.folders),
                )
            )
            found = _told(scans, context)
            table.list_scans(plan, fingerprint, found, left_out, wanted.folder, same_run=True, added=not known)
        new = {reason: count - ignored.get(reason, 0) for reason, count in left_out.ignored.items()}
        listed = {folder: name for folder, name in wanted.folders.items() if folder in inputs}
        return Added(sum(table.counts().values()) - before, new, wanted.folder, plan, listed)


def _of_run(wanted: Wanted, table: JobTable, inputs: Sequence[Path]) -> tuple[Wanted, str]:
    """What the run does that works on the table, with its fingerprint. Raises SettingsError if it cannot take these."""
    from engine.batch.folders import check_below

    wanted = replace(wanted, plan=table.plan(), folder=table.folder)
    if wanted.plan.beside:
        check_below(inputs, wanted.folder)
    return wanted, table.fingerprint


def _anew(wanted: Wanted, table: JobTable, inputs: Sequence[Path]) -> tuple[Wanted, str]:
    """What is wanted, with its fingerprint. Raises SettingsError as ``_placed``."""
    wanted = _placed(wanted, table, inputs)
    try:
        return wanted, _fingerprint(wanted.plan)
    except (ModelError, SettingsError, ReadError):
        # What cannot be run can be listed; why it cannot is said when it is to be run.
        return wanted, ""


def _placed(wanted: Wanted, table: JobTable, inputs: Sequence[Path]) -> Wanted:
    """With the folder that is above all scans, if results are kept beside them. Raises SettingsError if none is."""
    from engine.batch.folders import common_folder

    if not wanted.plan.beside:
        return wanted
    return replace(wanted, folder=common_folder([*table.roots(), *inputs]))


def _told(scans: Iterator[Scan], context: JobContext) -> Iterator[Scan]:
    for number, scan in enumerate(scans):
        if number % _TOLD_EVERY == 0:
            context.progress(0.0, f"{number:,}")
        yield scan


def _listed_scans(table: JobTable, wanted: Wanted) -> Iterator[Scan]:
    """The scans of the table as they are on the disk now; those that have vanished fail when their turn comes."""
    from engine.batch.views import View, row_ids

    # The rows of the run as it is now: listing them may begin another one.
    return _scans_of(table, row_ids(table, View()), wanted)


def _scans_of(table: JobTable, ids: NDArray[np.int64], wanted: Wanted) -> Iterator[Scan]:
    from engine.batch.gather import Scan
    from engine.batch.views import rows_at

    pages = (ids[start : start + _TOLD_EVERY] for start in range(0, len(ids), _TOLD_EVERY))
    for row in (row for page in pages for row in rows_at(table, page.tolist())):
        inside = PurePosixPath(row.relative).parent
        prefix = wanted.folders.get(row.root, "")
        inside = inside.relative_to(prefix) if prefix and inside.is_relative_to(prefix) else inside
        size, modified = row.size, row.modified
        try:
            status = row.path.stat()
            size, modified = status.st_size, status.st_mtime_ns
        except OSError:
            pass
        yield Scan(row.path, PurePosixPath(row.relative), row.root, size, modified, inside)


@dataclass(frozen=True)
class RunOptions:
    """How a batch is run.

    Attributes:
        handle: steers it.
        feed: is told what happens.
        leave_core: leave a core to other programs.
        again: list the scans again first, because something may have changed since they were listed.
        protected: files that are open in the window, which no result may overwrite.
    """

    handle: RunHandle
    feed: Feed
    leave_core: bool
    again: bool
    protected: Sequence[Path] = ()


def run_batch(wanted: Wanted, options: RunOptions, context: JobContext) -> bool:
    """Run the batch and write its report; then, if that is wanted, go on with what comes into its folders.

    A run that is cancelled writes no report.

    Returns:
        Whether it came to its end, and was not stopped.

    Raises:
        ReadError, WriteError, SettingsError, ModelError, DeviceError: it cannot be run, or not any more.
        Cancelled: the context was cancelled; what was worked on is pending again.
    """
    from engine.batch import Batch, hold_batch, report_folder
    from engine.batch.gather import Gathered
    from engine.batch.table import JobTable
    from engine.batch.watch import Settled, watch

    handle, feed, plan = options.handle, options.feed, wanted.plan
    with JobTable(wanted.table) as table:
        wanted = _placed(wanted, table, [])
    with hold_batch(wanted.table, plan, wanted.folder, list(wanted.folders)) as table:
        fingerprint, inputs = _fingerprint(plan), list(wanted.folders)
        handle.watch_also(wanted.folders)
        if options.again or table.fingerprint != fingerprint:
            left_out = Gathered()
            left_out.ignored.update(table.ignored())
            scans = _told(_listed_scans(table, wanted), context)
            with table.listing(context.check):
                table.list_scans(plan, fingerprint, scans, left_out, wanted.folder, same_run=True)
        for row, outcome in _leave_open(table, wanted.folder, options.protected, fingerprint):
            feed.finished(row, outcome)
        batch = Batch(
            table,
            wanted.folder,
            report_folder(wanted.folder),
            plan,
            fingerprint,
            inputs,
            Settled(),
            context.check,
            wanted.folders,
        )
        new_run = partial(_new_run, batch, options, context)
        with context.on_cancel(lambda: handle.stop(now=True)):
            try:
                ended = _run_once(batch, new_run, feed, context)
                if ended:
                    feed.came_to_end(watching=handle.watching)
                    due = watch(batch, new_run, handle.watch_ended, feed.notice, folders=lambda: handle.folders)
                    if due and not context.cancelled:
                        _report(batch, feed)
            finally:
                handle.attach(None)
                feed.clear()
        return ended


def _new_run(batch: Batch, options: RunOptions, context: JobContext) -> BatchRun:
    """A run that the handle steers, and of which the feed and the list of jobs hear."""
    from engine.batch import Listener

    feed, (_, left), ended = options.feed, batch.table.pending(), itertools.count(1)

    def finished(row: Row, outcome: Outcome) -> None:
        feed.finished(row, outcome)
        # The run itself ends when it is cancelled.
        with suppress(Cancelled):
            context.progress(next(ended) / max(1, left))

    listener = Listener(finished, feed.progress, feed.notice, feed.started, feed.paused)
    run = batch.runner(None, listener, leave_core=options.leave_core)
    options.handle.attach(run)
    return run


def write_report(wanted: Wanted) -> Path:
    """Write the report as the table is now; returns its page. Raises as ``engine.batch.report.write_report``."""
    from engine.batch.folders import report_folder
    from engine.batch.report import write_report as write
    from engine.batch.table import JobTable

    with JobTable(wanted.table) as table:
        return write(table, wanted.folder, report_folder(wanted.folder)).with_name("report.html")


def _run_once(batch: Batch, new_run: Callable[[], BatchRun], feed: Feed, context: JobContext) -> bool:
    """Run it, and write the report however it ends; but who cancels it does not want to wait for that."""
    try:
        return new_run().run()
    finally:
        if not context.cancelled:
            _report(batch, feed)


def _report(batch: Batch, feed: Feed) -> None:
    """Write the report; that it cannot be written must not hide how the run ended."""
    try:
        batch.write_report()
    except WriteError as error:
        feed.notice(error.text())


def _leave_open(
    table: JobTable, folder: Path, protected: Sequence[Path], fingerprint: str
) -> list[tuple[Row, Outcome]]:
    """Note that scans fail whose results would be written over a file that is open in the window; returns these."""
    from engine.batch.rows import Outcome, State
    from engine.batch.views import View, row_ids, rows_at

    real, looks = Path(os.path.realpath(folder)), table.plan().review
    failed: list[tuple[Row, Outcome]] = []
    for path in protected:
        here = Path(os.path.realpath(path))
        if not here.is_relative_to(real):
            continue
        output = here.relative_to(real).as_posix()
        ids = row_ids(table, View(states=frozenset([State.PENDING]), search=here.name))
        for row in rows_at(table, ids.tolist()):
            if row.output == output and (row.decided or not looks):
                said = f"{row.output} is open, and would be written over. Close it first, then retry."
                failed.append((row, Outcome(State.FAILED, said, "batch.open")))
                table.finish(row.id, failed[-1][1], fingerprint)
    return failed


def _fingerprint(plan: Plan) -> str:
    from engine.runtime.cards import Registry
    from engine.tasks import check_card

    return plan.check(Registry(check=check_card))
