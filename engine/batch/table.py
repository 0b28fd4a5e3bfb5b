"""The table of a batch: an SQLite file with a row for each scan, its state and its result."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from engine.batch.gather import Gathered, Scan
from engine.batch.lister import Known, Lister, names_of
from engine.batch.naming import plain_bytes
from engine.batch.plan import Plan
from engine.batch.reviews import Totals, review_path
from engine.batch.rows import Outcome, ReviewNumbers, Row, State
from engine.batch.tablefile import TableFile
from engine.errors import WriteError
from engine.record import REPORT_FOLDER

_FORGOTTEN = "?4 = 'pending' AND NOT (waits AND decided)"
"""Which rows forget what became of them when they are listed: what was found is kept while it is to be healed."""
_WAITS = "waits AND NOT decided AND state IN ('found', 'done', 'up_to_date')"
"""Which rows wait for a person now: not those that will perhaps be looked through again."""
_AT_ONCE = 1000
"""Scans that are added in one transaction, or read at a time."""


class JobTable(TableFile):
    """The table of a batch, of the thread that opened it.

    Other threads and processes open it on their own: they read while a run writes, and may change what is to be done.
    A change waits for those of others.

    Args:
        path: the file; it is made if it does not exist.

    Raises:
        ReadError: ``batch.table``: it is no table of a batch, is damaged, or was made by a newer version.
        WriteError: it cannot be made.
    """

    # -- what is to be done -------------------------------------------------------------------------------------------

    def list_scans(
        self,
        plan: Plan,
        fingerprint: str,
        scans: Iterable[Scan],
        left_out: Gathered,
        folder: Path,
        *,
        same_run: bool = False,
        added: bool = False,
    ) -> None:
        """Take the scans of a run into the table, each with the name of its result.

        A run that had not ended goes on: what it did stays done. Else a scan that is done stays so if it, the plan and
        the result are as they were then, and becomes ``UP_TO_DATE``. Everything else is to be done.

        Args:
            plan: what to do.
            fingerprint: of the plan.
            scans: taken one by one, so that many need no memory.
            left_out: what was left out of them; complete when they have been taken.
            folder: the output folder.
            same_run: go on with the run that there was, also if it had ended: what failed stays so if it is as it was,
                scans that were cancelled or removed stay so, and scans that are not among these stay in it. It may
                be running meanwhile, on another connection.
            added: a person adds these, so those that were removed come back.

        Raises:
            WriteError: see ``check_folder``; then nothing is changed.
        """
        with self.listing():
            self.check_folder(folder)
            before = self.plan() if self._fact("plan") else None
            unfinished = self.fingerprint == fingerprint and before is not None and before.exists == plan.exists
            unfinished = unfinished and (same_run or self._fact("ended") == "0")
            run, listing = self.run + (not unfinished), int(self._fact("listing") or 0) + (not same_run)
            facts = {"run": str(run), "listing": str(listing), "ended": "0", "fingerprint": fingerprint}
            named = names_of(plan, folder)
            facts |= {"plan": json.dumps(dataclasses.asdict(plan)), "named": named, "folder": json.dumps(str(folder))}
            taken = self._taken_names(plan, named, run if same_run else None)
            with self._changing():
                if same_run and not unfinished:
                    # All of them stay in it, also if this is broken off before they were listed again.
                    self._do("UPDATE scans SET run = ? WHERE run = ?", run, self.run)
                self._put_facts(**facts)
            number, place = self._do("SELECT coalesce(max(id), 0), coalesce(max(place), 0) FROM scans").fetchone()
            above = folder if plan.beside else None
            lister = Lister(run, listing, taken, named, above, same_run, added, number, place, plan)
            keep = {"done", "up_to_date", "found"} if unfinished or plan.exists != "replace" else {"found"}
            keep |= {"failed"} if same_run else set()
            stream = iter(scans)
            while some := list(itertools.islice(stream, _AT_ONCE)):
                with self._changing():
                    for scan in some:
                        self._list(scan, lister, self._state_kept(scan, fingerprint, folder, keep))
            if not same_run:
                self.put_back_running()
                self._do("UPDATE scans SET run = 0 WHERE run = ? AND listing <> ?", run, listing)
            self._set_facts(ignored=json.dumps(left_out.ignored))

    def _taken_names(self, plan: Plan, named: str, run: int | None) -> Callable[[], list[str]]:
        """What returns the names that no further result may get: there is no need of them until a scan is new.

        Args:
            plan: of the listing.
            named: see ``names_of``.
            run: scans of this run whose names are of another template get new ones; None: no scan does.
        """
        if plan.beside and self._fact("named") != named:
            # Those names may be below another folder, and a result's name depends on its own folder only.
            return list
        which, values = ("1", ()) if run is None else ("run <> ? OR named = ?", (run, named))
        names = f"SELECT output FROM scans WHERE {which} UNION SELECT planned FROM scans WHERE {which}"  # noqa: S608
        return lambda: [os.fsdecode(name) for (name,) in self._do(names, *values, *values)]

    def _state_kept(self, scan: Scan, fingerprint: str, folder: Path, states: set[str]) -> str | None:
        """The state of a scan that need not be done again, one of some states; None for others."""
        row = self._do(
            "SELECT state, output, outcome FROM scans WHERE path = ? AND size = ? AND modified = ? AND fingerprint = ?",
            os.fsencode(scan.path),
            scan.size,
            scan.modified,
            fingerprint,
        ).fetchone()
        if row is None or row[0] not in states:
            return None
        outcome = Outcome.from_dict(json.loads(row[2]))
        if outcome.state is State.FAILED:
            return str(row[0])
        if outcome.state is State.FOUND:
            # Path.is_file raises where a share is gone.
            return str(row[0]) if os.path.isfile(review_path(folder, scan.path)) else None  # noqa: PTH113
        try:
            status = (folder / os.fsdecode(row[1])).stat()
        except OSError:
            return None
        kept = (status.st_size, status.st_mtime_ns) == (outcome.output_size, outcome.output_modified)
        return str(row[0]) if kept else None

    def _list(self, scan: Scan, lister: Lister, kept: str | None) -> None:
        """Take one scan into the table, or note that it is listed again."""
        path, relative, root = os.fsencode(scan.path), os.fsencode(str(scan.relative)), os.fsencode(scan.root)
        columns = "id, run, removed, state, output, planned, renamed, named, relative, root, size, modified"
        known = self._do(f"SELECT {columns}, decided FROM scans WHERE path = ?", path).fetchone()  # noqa: S608 - these
        before = Known(*known[:-1]) if known else lister.new()
        state = kept or "pending"
        if state == "found":
            state = lister.state_of_found(decided=bool(known[-1]))
        if state == "done" and before.run != lister.run:
            state = "up_to_date"
        output, planned, renamed = before.output, before.planned, before.renamed
        if before.named != lister.named:
            name, renamed = lister.name(scan, before)
            output = planned = os.fsencode(name)
            state = "pending"
        if lister.same_run and before.state in ("cancelled", "running"):
            state = before.state
        run = 0 if lister.same_run and before.removed and not lister.added else lister.run
        now = Known(
            before.id,
            run,
            int(not run),
            state,
            output,
            planned,
            int(renamed),
            lister.named,
            relative,
            root,
            scan.size,
            scan.modified,
        )
        if now == before:
            # The rows of a folder that is watched are not told to have changed at each look. Which were listed is asked
            # only by a new run.
            if not lister.same_run:
                self._do("UPDATE scans SET listing = ? WHERE id = ?", lister.listing, before.id)
            return
        self._do(
            f"INSERT INTO scans ({columns}, listing, path, place, plain_name, plain_output, plain_path,"  # noqa: S608
            " changed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"
            " (SELECT coalesce(max(changed), 0) + 1 FROM scans))"
            " ON CONFLICT (path) DO UPDATE SET run = ?2, removed = ?3, state = ?4, output = ?5, planned = ?6,"
            " renamed = ?7, named = ?8, relative = ?9, root = ?10, size = ?11, modified = ?12, listing = ?13,"
            " plain_name = ?16, plain_output = ?17,"
            f" outcome = CASE WHEN {_FORGOTTEN} THEN NULL ELSE outcome END,"
            f" found = CASE WHEN {_FORGOTTEN} THEN 0 ELSE found END,"
            f" seconds = CASE WHEN {_FORGOTTEN} THEN 0 ELSE seconds END",
            *now,
            lister.listing,
            path,
            lister.place,
            plain_bytes(str(scan.relative)),
            plain_bytes(os.fsdecode(output)),
            plain_bytes(os.fsdecode(path)),
        )

    def is_scan(self, path: Path) -> bool:
        """Whether a path leads to a scan of the table, also on a disk that ignores case."""
        real = os.path.realpath(path)
        found = self._do("SELECT path FROM scans WHERE plain_path = ?", plain_bytes(real)).fetchall()
        return any(scan == os.fsencode(real) or _is_same_file(real, os.fsdecode(scan)) for (scan,) in found)

    def give_copy_name(self, row: Row, folder: Path) -> Row:
        """Give a scan's result a name that nothing in the table and on the disk has, beside the one that is kept."""
        planned = PurePosixPath(row.planned)
        for number in itertools.count(2):
            name = str(planned.with_name(f"{planned.stem} ({number}){planned.suffix}"))
            raw = os.fsencode(name)
            given = self._do("SELECT 1 FROM scans WHERE output = ? OR planned = ?", raw, raw).fetchone()
            if given is None and not os.path.lexists(folder / name):
                break
        with self._changing():
            self._do("UPDATE scans SET output = ?, plain_output = ? WHERE id = ?", raw, plain_bytes(name), row.id)
        return dataclasses.replace(row, output=name)

    def take(self) -> Row | None:
        """The next scan that is pending, which becomes ``RUNNING``; None if there is none."""
        with self._changing():
            rows = self.rows_where("WHERE run = ? AND state = 'pending' ORDER BY place LIMIT 1", self.run)
            for row in rows:
                self._do("UPDATE scans SET state = 'running' WHERE id = ?", row.id)
                return dataclasses.replace(row, state=State.RUNNING)
        return None

    def finish(self, id_: int, outcome: Outcome, fingerprint: str) -> None:
        """Write what became of a scan, and the fingerprint of the plan by which it was done."""
        with self._changing():
            told = json.dumps(outcome.to_dict())
            change = "UPDATE scans SET state = ?, outcome = ?, fingerprint = ?, found = ?, seconds = ? WHERE id = ?"
            found = sum(outcome.found.values())
            self._do(change, outcome.state.value, told, fingerprint, found, outcome.seconds, id_)
            if outcome.review:
                self._do("UPDATE scans SET waits = 1, decided = 0 WHERE id = ?", id_)
                self._note_review(id_, ReviewNumbers(**outcome.review))
            elif outcome.state is not State.FAILED:
                self._do("UPDATE scans SET waits = 0 WHERE id = ?", id_)
            if outcome.modified:
                change = "UPDATE scans SET size = ?, modified = ? WHERE id = ?"
                self._do(change, outcome.size, outcome.modified, id_)

    def put_back(self, ids: Iterable[int], state: State = State.PENDING) -> None:
        """Make scans whose work was broken off pending again, or cancelled."""
        with self._changing():
            for id_ in ids:
                self._do("UPDATE scans SET state = ? WHERE id = ?", state.value, id_)

    def put_back_running(self) -> None:
        """Make all scans pending again that are marked as being worked on, by a process that has ended."""
        self._do("UPDATE scans SET state = 'pending' WHERE state = 'running'")

    def has_pending(self) -> bool:
        """Whether a scan of the last run is still to be taken."""
        found = self._do("SELECT 1 FROM scans WHERE run = ? AND state = 'pending' LIMIT 1", self.run)
        return found.fetchone() is not None

    def end_run(self) -> bool:
        """Note that the run came to its end, so that the next one is a new one; False if a scan is still pending."""
        with self._changing():
            ended = not self.has_pending()
            if ended:
                self._put_facts(ended="1")
        return ended

    # -- what a person decides, also while another connection runs it ----------------------------------------------

    def retry(self, ids: Iterable[int] | None) -> None:
        """Make scans that failed or were cancelled pending again; others of these stay as they are.

        Args:
            ids: rows; None = all that failed.
        """
        change = "UPDATE scans SET state = 'pending', outcome = NULL, found = 0, seconds = 0 WHERE run = ? AND "
        with self._changing():
            if ids is None:
                self._do(change + "state = 'failed'", self.run)
            else:
                which = "state IN ('failed', 'cancelled') AND id IN (SELECT value FROM json_each(?))"
                self._do(change + which, self.run, _listed(ids))
            self._put_facts(ended="0")

    def cancel(self, ids: Iterable[int]) -> None:
        """Take pending scans out of the run until ``retry``; others stay as they are, see ``BatchRun.cancel``."""
        with self._changing():
            change = (
                "UPDATE scans SET state = 'cancelled' WHERE run = ? AND state = 'pending'"
                " AND id IN (SELECT value FROM json_each(?))"
            )
            self._do(change, self.run, _listed(ids))

    def running(self) -> frozenset[int]:
        """The last run's scans that are being worked on."""
        found = self._do("SELECT id FROM scans WHERE run = ? AND state = 'running'", self.run)
        return frozenset(id_ for (id_,) in found)

    def move(self, ids: Iterable[int], to: Literal["first", "last"]) -> None:
        """Have scans done before or after all others, in the order that they have among themselves."""
        with self._changing():
            which = "SELECT id FROM scans WHERE id IN (SELECT value FROM json_each(?)) ORDER BY place"
            moved = self._do(which, _listed(ids)).fetchall()
            low, high = self._do("SELECT min(place), max(place) FROM scans").fetchone() if moved else (0, 0)
            for place, (id_,) in enumerate(moved, high + 1 if to == "last" else low - len(moved)):
                self._do("UPDATE scans SET place = ? WHERE id = ?", place, id_)

    def remove(self, ids: Iterable[int]) -> None:
        """Take scans out of the batch; files stay where they are. Scans that are being worked on stay.

        A new run takes them again if it is given them.
        """
        with self._changing():
            change = (
                "UPDATE scans SET run = 0, removed = 1 WHERE run = ? AND state <> 'running'"
                " AND id IN (SELECT value FROM json_each(?))"
            )
            self._do(change, self.run, _listed(ids))

    # -- decisions about what was found -------------------------------------------------------------------------------

    def decide(self, ids: Iterable[int], decided: bool) -> None:  # noqa: FBT001 - ``decide(ids, False)`` takes it back
        """Note whether a person has decided about what was found in scans: these are healed by the next run."""
        with self._changing():
            for id_ in ids:
                self._do("UPDATE scans SET decided = ?, waits = 1 WHERE id = ?", decided, id_)
                # A result that exists was made by other decisions; what is not decided any more is not to be healed.
                states = "state IN ('done', 'up_to_date') OR (state = 'pending' AND NOT decided)"
                self._do(f"UPDATE scans SET state = 'found' WHERE id = ? AND ({states})", id_)  # noqa: S608 - these

    def note_review(self, id_: int, numbers: ReviewNumbers) -> None:
        """Write how many defects of a scan are decided about, after its review was written."""
        with self._changing():
            self._note_review(id_, numbers)

    def _note_review(self, id_: int, numbers: ReviewNumbers) -> None:
        change = "UPDATE scans SET accepted = ?, kept = ?, to_do = ?, unsure = ? WHERE id = ?"
        self._do(change, *dataclasses.astuple(numbers), id_)

    def undecided(self) -> Iterator[Row]:
        """The last run's scans that were looked through and wait for decisions, in order."""
        yield from self.rows_where("WHERE run = ? AND waits AND NOT decided ORDER BY id", self.run)

    def waiting_ids(self) -> list[int]:
        """The same scans in the order of the work; those in which nothing was found come last."""
        order = "(accepted + kept + to_do = 0), place"
        which = f"SELECT id FROM scans WHERE run = ? AND state = 'found' AND NOT decided ORDER BY {order}"  # noqa: S608
        return [int(id_) for (id_,) in self._do(which, self.run)]

    def totals(self) -> Totals:
        """What the next run heals of the last run's scans, because it was decided."""
        counted = "coalesce(sum(accepted), 0), coalesce(sum(accepted > 0), 0), coalesce(sum(accepted = 0), 0)"
        where = "run = ? AND waits AND decided"
        return Totals(*self._do(f"SELECT {counted} FROM scans WHERE {where}", self.run).fetchone())  # noqa: S608

    def waiting(self) -> tuple[int, int]:
        """Number of the last run's scans that wait for decisions, and of the defects found in them."""
        counted = "count(*), coalesce(sum(accepted + kept + to_do), 0)"
        where = f"run = ? AND {_WAITS}"
        found = self._do(f"SELECT {counted} FROM scans WHERE {where}", self.run).fetchone()  # noqa: S608
        return int(found[0]), int(found[1])

    def check_folder(self, folder: Path) -> None:
        """Refuse an output folder with results that is gone: its disk or share is not there.

        Made anew it would be empty, on the disk below, and everything would be done again.

        Raises:
            WriteError: ``batch.gone``.
        """
        if os.path.isdir(folder) or folder != self.folder:  # noqa: PTH112 - Path.is_dir raises where a share is gone
            return
        made = "SELECT 1 FROM scans WHERE run = ? AND state IN ('done', 'up_to_date') LIMIT 1"
        if self._do(made, self.run).fetchone() is not None:
            said = "The folder {folder} is gone, with results of this batch. If they are not wanted, make it again."
            raise WriteError(said, "batch.gone", folder=folder)

    # -- what became of it --------------------------------------------------------------------------------------------

    @property
    def run(self) -> int:
        """Number of the last run, from 1 on."""
        return int(self._fact("run") or 0)

    def plan(self) -> Plan:
        """What the last run does with every scan."""
        return Plan.from_dict(json.loads(self._fact("plan") or "{}"))

    @property
    def fingerprint(self) -> str:
        """Of the plan by which scans were listed last; "" = that could not be carried out, or nothing was listed."""
        return self._fact("fingerprint") or ""

    @property
    def folder(self) -> Path:
        """The output folder: that of the last run, or the one that holds this table, if it was moved."""
        below = self.path.absolute().parent
        return below.parent if below.name == REPORT_FOLDER else Path(json.loads(self._fact("folder") or '""'))

    def ignored(self) -> dict[str, int]:
        """Reason -> number of files that the last run left out."""
        found: dict[str, int] = json.loads(self._fact("ignored") or "{}")
        return found

    def counts(self) -> dict[State, int]:
        """Number of the last run's scans in each state."""
        found = self._do("SELECT state, count(*) FROM scans WHERE run = ? GROUP BY state", self.run)
        return dict.fromkeys(State, 0) | {State(state): count for state, count in found}

    def pending(self) -> tuple[int, int]:
        """Bytes and number of the last run's scans that are not done."""
        found = self._do(
            "SELECT coalesce(sum(size), 0), count(*) FROM scans WHERE run = ? AND state IN ('pending', 'running')",
            self.run,
        ).fetchone()
        return int(found[0]), int(found[1])

    def rows(self) -> Iterator[Row]:
        """The last run's scans, in the order in which they were found first."""
        last: int | None = 0
        while last is not None:
            # Some at a time: a statement that is not at its end would keep this connection from writing.
            some = list(self.rows_where("WHERE id > ? AND +run = ? ORDER BY id LIMIT ?", last, self.run, _AT_ONCE))
            yield from some
            last = some[-1].id if some else None

    def first_rows(self, count: int) -> list[Row]:
        """Some of the last run's scans, in the order of the work."""
        return list(self.rows_where("WHERE run = ? ORDER BY place LIMIT ?", self.run, count))

    def roots(self) -> list[Path]:
        """What was given of which the last run's scans are: each folder once."""
        found = self._do("SELECT DISTINCT root FROM scans WHERE run = ?", self.run)
        return [Path(os.fsdecode(root)) for (root,) in found]

    def rows_where(self, condition: str, *values: object) -> Iterator[Row]:
        """The rows of a condition in SQL, to be read at once."""
        columns = (
            "id, path, relative, root, output, planned, renamed, size, modified, state, outcome, decided,"
            " accepted, kept, to_do, unsure"
        )
        for row in self._do(f"SELECT {columns} FROM scans {condition}", *values):  # noqa: S608 - of this class
            id_, path, relative, root, output, planned, renamed, size, modified, state, outcome, decided, *numbers = row
            yield Row(
                id_,
                Path(os.fsdecode(path)),
                os.fsdecode(relative),
                Path(os.fsdecode(root)),
                os.fsdecode(output),
                os.fsdecode(planned),
                bool(renamed),
                size,
                modified,
                State(state),
                Outcome.from_dict(json.loads(outcome)) if outcome else None,
                bool(decided),
                ReviewNumbers(*numbers),
            )


def _is_same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)  # noqa: PTH121 - paths as text
    except OSError:
        return False


def _listed(ids: Iterable[int]) -> str:
    """As a value for ``json_each``."""
    return json.dumps([int(id_) for id_ in ids])
