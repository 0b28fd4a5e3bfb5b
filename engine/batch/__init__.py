"""Batches: the same recipe on many scans, in worker processes, with a table that survives whatever happens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.batch.cluster import Cluster
from engine.batch.folders import check_below, is_same_folder, make_folder, report_folder
from engine.batch.gather import Gathered, Scan, gather
from engine.batch.plan import Plan
from engine.batch.pool import Event, Worker, WorkerProcess, fitting_workers
from engine.batch.report import write_report
from engine.batch.run import BatchRun, Listener, Patience
from engine.batch.table import JobTable
from engine.batch.watch import Settled
from engine.errors import SettingsError
from engine.runtime.cards import Registry
from engine.tasks import check_card

__all__ = [
    "TABLE",
    "Batch",
    "Cluster",
    "Listener",
    "Patience",
    "Plan",
    "hold_batch",
    "open_batch",
    "open_table",
    "report_folder",
]

TABLE, _HELD = "batch.sqlite", "held"
"""Names of the table in the report's folder, and of the file that is locked while a process works into that folder."""


@dataclass
class Batch:
    """A batch that is held by this process; of the thread that opened it. See ``open_batch``.

    Attributes:
        table: its table.
        folder: its output folder.
        report: the folder of its report.
        plan: what it does with every scan, and its fingerprint.
        inputs: scans and folders of scans.
        settled: tells which scans may be taken already; None = all.
        check: see ``open_batch``.
        names: see ``gather``.
    """

    table: JobTable
    folder: Path
    report: Path
    plan: Plan
    fingerprint: str
    inputs: Sequence[Path]
    settled: Settled | None = None
    check: Callable[[], None] = lambda: None
    names: Mapping[Path, str] | None = None

    def list_scans(self, *, same_run: bool = False) -> None:
        """Take the scans that its inputs have now into the table; raises as ``gather``.

        Args:
            same_run: see ``JobTable.list_scans``.
        """
        left_out = Gathered()
        avoided = None if self.plan.beside else self.folder
        scans = filter(self._wanted, gather(self.inputs, avoided, left_out, self.plan.beside, self.names))
        with self.table.listing(self.check):
            self.table.list_scans(self.plan, self.fingerprint, scans, left_out, self.folder, same_run=same_run)

    def _wanted(self, scan: Scan) -> bool:
        self.check()
        return self.settled is None or self.settled(scan)

    def runner(
        self,
        workers: int | None,
        listener: Listener,
        patience: Patience | None = None,
        threads: int | None = None,
        *,
        leave_core: bool = False,
    ) -> BatchRun:
        """What runs it on this computer.

        Args:
            workers: number of processes; None = as many as fit this computer.
            listener: is told what happens.
            patience: how to wait for what is missing.
            threads: of each process's models; None = so many that all cores have work.
            leave_core: of what is None above, leave one core to other programs.
        """
        fitting = fitting_workers(leave_core=leave_core)

        def new_worker(on_event: Callable[[Event], None]) -> Worker:
            return WorkerProcess(threads or max(1, fitting // run.workers), on_event)

        run = BatchRun(self.table, self.folder, self.fingerprint, workers or fitting, new_worker, listener, patience)
        return run

    def cluster_runner(self, cluster: Cluster, listener: Listener, patience: Patience | None = None) -> BatchRun:
        """What runs it on many machines, all of which have the scans and the output folder at the same paths."""
        return BatchRun(self.table, self.folder, self.fingerprint, cluster.places, cluster.place, listener, patience)

    def write_report(self) -> Path:
        """Write the report as it stands; returns the path of its JSON file. Raises as ``write_report``."""
        return write_report(self.table, self.folder, self.report)


@contextmanager
def open_batch(
    inputs: Sequence[Path],
    folder: Path,
    plan: Plan,
    table: Path | None = None,
    report: Path | None = None,
    settled: Settled | None = None,
    check: Callable[[], None] = lambda: None,
    *,
    same_run: bool = False,
) -> Iterator[Batch]:
    """Context manager: a batch, new or gone on with, with all scans of its inputs in its table.

    Args:
        inputs: scans and folders of scans.
        folder: the output folder; it is made if it does not exist. With ``Plan.beside``: ``common_folder(inputs)``.
        plan: what to do with every scan.
        table: file of the table; None = in the folder ``lacuna-report`` below the output folder.
        report: folder of the report; None = that folder.
        settled: tells which scans may be taken already; None = all.
        check: called for each scan that is found; raises Cancelled when the batch is not wanted any more.
        same_run: see ``JobTable.list_scans``.

    Raises:
        ReadError: an input does not exist, or the table cannot be used.
        WriteError: the output folder or the table cannot be made, the folder is gone although results are in it, or
            another process holds the table.
        SettingsError, ModelError: the plan cannot be carried out.
    """
    fingerprint = plan.check(Registry(check=check_card))
    own, folder = report_folder(folder), folder.absolute()
    with hold_batch(table or own / TABLE, plan, folder, inputs) as rows:
        batch = Batch(rows, folder, report or own, plan, fingerprint, inputs, settled, check)
        batch.list_scans(same_run=same_run)
        yield batch


@contextmanager
def hold_batch(place: Path, plan: Plan, folder: Path, inputs: Sequence[Path]) -> Iterator[JobTable]:
    """Context manager: the table of a batch, held by this process; nothing in it is being worked on any more.

    Args:
        place: the file of the table. It and the output folder are made if they do not exist.
        plan: what is to be done with every scan.
        folder: the output folder, a whole path.
        inputs: scans and folders of scans.

    Raises:
        ReadError: the table cannot be used, or a share is gone.
        WriteError, SettingsError: as ``open_batch``.
    """
    if plan.beside:
        check_below(inputs, folder)
    elif any(is_same_folder(path, folder) for path in inputs):
        raise SettingsError(
            "The scans are in {folder} themselves: choose another folder for the results.",
            "batch.folder",
            folder=folder,
        )
    if os.path.isfile(place):  # noqa: PTH113 - Path.is_file raises where a share is gone
        with JobTable(place) as rows:
            rows.check_folder(folder)
    own = report_folder(folder)
    # Scans of several disks may have a common folder that nobody can write to.
    needed = [folder, place.parent] if plan.beside else [folder, place.parent, own]
    for path in needed:
        make_folder(path)
    with JobTable(place) as rows, rows.held(*([own / _HELD] if own in needed else [])):
        rows.put_back_running()
        yield rows


@contextmanager
def open_table(path: Path) -> Iterator[JobTable]:
    """Context manager: the table of a batch that was run before, held by this process as ``open_batch`` does.

    Raises:
        ReadError: it cannot be used.
        WriteError: another process holds it.
    """
    with JobTable(path) as table:
        own = report_folder(table.folder)
        with table.held(*([own / _HELD] if os.path.isdir(own) else [])):  # noqa: PTH112 - Path.is_dir may raise
            yield table
