"""The table of a batch: an SQLite file with a row for each scan, its state and its result."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import platform
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Self

from engine.batch.gather import Gathered, Scan
from engine.batch.naming import Namer
from engine.batch.plan import Plan
from engine.batch.reviews import Totals, review_path
from engine.batch.rows import Outcome, ReviewNumbers, Row, State
from engine.errors import ReadError, WriteError
from engine.record import REPORT_FOLDER

VERSION = 1
"""Of the layout of the table; a newer one is refused."""
_APPLICATION = 0x4C61634A
"""SQLite's application id of these files."""
_AT_ONCE = 1000
"""Scans that are added in one transaction."""


_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE scans (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    listing INTEGER NOT NULL,
    path BLOB NOT NULL UNIQUE,
    relative BLOB NOT NULL,
    root BLOB NOT NULL,
    output BLOB NOT NULL,
    planned BLOB NOT NULL,
    named TEXT NOT NULL,
    renamed INTEGER NOT NULL,
    size INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    state TEXT NOT NULL,
    waits INTEGER NOT NULL DEFAULT 0,
    decided INTEGER NOT NULL DEFAULT 0,
    accepted INTEGER NOT NULL DEFAULT 0,
    kept INTEGER NOT NULL DEFAULT 0,
    to_do INTEGER NOT NULL DEFAULT 0,
    unsure INTEGER NOT NULL DEFAULT 0,
    fingerprint TEXT NOT NULL DEFAULT '',
    outcome TEXT
);
CREATE INDEX by_state ON scans (run, state, id);
CREATE INDEX by_output ON scans (output);
"""


class JobTable:
    """The table of a batch, of the thread that opened it.

    Other threads and processes open it on their own, and read while a run writes.

    Args:
        path: the file; it is made if it does not exist.

    Raises:
        ReadError: ``batch.table``: it is no table of a batch, is damaged, or was made by a newer version.
        WriteError: it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._rows = sqlite3.connect(path, timeout=10, isolation_level=None)
        except sqlite3.Error as error:
            raise _unwritable(path, error) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._rows.close()
            raise _unusable(path, str(error)) from error
        except ReadError:
            self._rows.close()
            raise

    def _prepare(self) -> None:
        one = self._rows.execute
        kind, version = one("PRAGMA application_id").fetchone()[0], one("PRAGMA user_version").fetchone()[0]
        if kind not in (0, _APPLICATION) or (kind == 0 and one("SELECT count(*) FROM sqlite_schema").fetchone()[0]):
            raise _unusable(self.path, "it is a database of another program")
        if version > VERSION:
            raise _unusable(self.path, "it was made by a newer version of this program")
        one("PRAGMA journal_mode=WAL")
        one("PRAGMA synchronous=NORMAL")
        if not kind:
            with self._changing():
                for statement in _SCHEMA.split(";"):
                    one(statement)
                one(f"PRAGMA application_id={_APPLICATION}")
                one(f"PRAGMA user_version={VERSION}")

    def close(self) -> None:
        """Close the connection."""
        self._rows.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _do(self, statement: str, *values: object) -> sqlite3.Cursor:
        """Execute a statement.

        Raises:
            WriteError: ``batch.table``: the table cannot be read or written any more.
        """
        try:
            return self._rows.execute(statement, values)
        except sqlite3.Error as error:
            raise _unwritable(self.path, error) from error

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Context manager: one transaction."""
        self._do("BEGIN IMMEDIATE")
        try:
            yield
            self._do("COMMIT")
        except BaseException:
            if self._rows.in_transaction:
                self._rows.rollback()
            raise

    # -- who works on it ----------------------------------------------------------------------------------------------

    @contextmanager
    def held(self, *places: Path) -> Iterator[None]:
        """Context manager: no other process may hold the table meanwhile. The system ends that with the process.

        Args:
            places: further files that are locked in the same way, and made if they do not exist: for what else two
                processes must not share.

        Raises:
            WriteError: ``batch.held``; names the process that holds it.
        """
        with ExitStack() as locks:
            for place in (self.path.with_name(self.path.name + "-held"), *places):
                # A lock of SQLite's own on a file beside it: the table itself stays readable.
                try:
                    lock = locks.enter_context(closing(sqlite3.connect(place, timeout=0, isolation_level=None)))
                    lock.execute("BEGIN EXCLUSIVE")
                except sqlite3.Error as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                        raise _unwritable(place, error) from error
                    raise WriteError(
                        "The batch {table} is being worked on by {holder}. Wait for it, or end it first.",
                        "batch.held",
                        table=self.path,
                        holder=self._fact("holder") or "another process",
                    ) from error
            self._set_facts(holder=f"process {os.getpid()} on {platform.node() or 'this computer'}")
            yield

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
                and scans that are not among these stay in it.
        """
        before = self.plan() if self._fact("plan") else None
        unfinished = self._fact("fingerprint") == fingerprint and before is not None and before.exists == plan.exists
        unfinished = unfinished and (same_run or self._fact("ended") == "0")
        run, listing = int(self._fact("run") or 0) + (not unfinished), int(self._fact("listing") or 0) + 1
        facts = {"run": str(run), "listing": str(listing), "ended": "0", "fingerprint": fingerprint}
        self._set_facts(**facts, plan=json.dumps(dataclasses.asdict(plan)), folder=json.dumps(str(folder)))
        names = self._do("SELECT output FROM scans UNION SELECT planned FROM scans")
        day = datetime.now().astimezone().date()
        template, suffix = plan.naming
        namer = Namer(template, plan.recipe, suffix, day, [os.fsdecode(name) for (name,) in names])
        lister = _Lister(run, listing, namer, _names_of(plan), self._highest() + 1, plan)
        keep = {"done", "up_to_date", "found"} if unfinished or plan.exists != "replace" else {"found"}
        keep |= {"failed"} if same_run else set()
        stream = iter(scans)
        while some := list(itertools.islice(stream, _AT_ONCE)):
            with self._changing():
                for scan in some:
                    self._list(scan, lister, self._state_kept(scan, fingerprint, folder, keep))
        with self._changing():
            self._do("UPDATE scans SET state = 'pending' WHERE state = 'running'")
            if not same_run:
                self._do("UPDATE scans SET run = 0 WHERE run = ? AND listing <> ?", run, listing)
        self._set_facts(ignored=json.dumps(left_out.ignored))

    def _highest(self) -> int:
        """The highest number of a row; 0 in an empty table."""
        return int(self._do("SELECT coalesce(max(id), 0) FROM scans").fetchone()[0])

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
            return str(row[0]) if review_path(folder, scan.path).is_file() else None
        try:
            status = (folder / os.fsdecode(row[1])).stat()
        except OSError:
            return None
        kept = (status.st_size, status.st_mtime_ns) == (outcome.output_size, outcome.output_modified)
        return str(row[0]) if kept else None

    def _list(self, scan: Scan, lister: _Lister, kept: str | None) -> None:
        """Take one scan into the table, or note that it is listed again."""
        path = os.fsencode(scan.path)
        columns = "id, run, output, planned, renamed, named, decided"
        known = self._do(f"SELECT {columns} FROM scans WHERE path = ?", path).fetchone()  # noqa: S608 - these
        id_, before, output, planned, renamed, named, decided = known or (lister.next_id(), 0, b"", b"", 0, "", 0)
        state = kept or "pending"
        if state == "found":
            state = lister.state_of_found(decided=bool(decided))
        if state == "done" and before != lister.run:
            state = "up_to_date"
        if named != lister.named:
            name, renamed = lister.namer.name(scan.relative, id_)
            output = planned = os.fsencode(name)
            state = "pending"
        self._do(
            "INSERT INTO scans (id, run, listing, path, relative, root, output, planned, named, renamed, size,"
            " modified, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
            " ON CONFLICT (path) DO UPDATE SET run = ?2, listing = ?3, relative = ?5, root = ?6, output = ?7,"
            " planned = ?8, named = ?9, renamed = ?10, size = ?11, modified = ?12, state = ?13",
            id_,
            lister.run,
            lister.listing,
            path,
            os.fsencode(str(scan.relative)),
            os.fsencode(scan.root),
            output,
            planned,
            lister.named,
            renamed,
            scan.size,
            scan.modified,
            state,
        )

    def is_scan(self, path: Path) -> bool:
        """Whether a path leads to a scan of the table."""
        real = os.fsencode(os.path.realpath(path))
        return self._do("SELECT 1 FROM scans WHERE path = ?", real).fetchone() is not None

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
            self._do("UPDATE scans SET output = ? WHERE id = ?", raw, row.id)
        return dataclasses.replace(row, output=name)

    def take(self) -> Row | None:
        """The next scan that is pending, which becomes ``RUNNING``; None if there is none."""
        with self._changing():
            rows = self._select("WHERE run = ? AND state = 'pending' ORDER BY id LIMIT 1", self.run)
            for row in rows:
                self._do("UPDATE scans SET state = 'running' WHERE id = ?", row.id)
                return dataclasses.replace(row, state=State.RUNNING)
        return None

    def finish(self, id_: int, outcome: Outcome) -> None:
        """Write what became of a scan."""
        with self._changing():
            made = self._fact("fingerprint") or ""
            told = json.dumps(outcome.to_dict())
            change = "UPDATE scans SET state = ?, outcome = ?, fingerprint = ? WHERE id = ?"
            self._do(change, outcome.state.value, told, made, id_)
            if outcome.review:
                self._do("UPDATE scans SET waits = 1, decided = 0 WHERE id = ?", id_)
                self._note_review(id_, ReviewNumbers(**outcome.review))
            elif outcome.state is not State.FAILED:
                self._do("UPDATE scans SET waits = 0 WHERE id = ?", id_)
            if outcome.modified:
                change = "UPDATE scans SET size = ?, modified = ? WHERE id = ?"
                self._do(change, outcome.size, outcome.modified, id_)

    def put_back(self, ids: Iterable[int]) -> None:
        """Make scans pending again whose work was broken off."""
        with self._changing():
            for id_ in ids:
                self._do("UPDATE scans SET state = 'pending' WHERE id = ?", id_)

    def end_run(self) -> None:
        """Note that the run came to its end, so that the next one is a new one."""
        self._set_facts(ended="1")

    # -- decisions about what was found -------------------------------------------------------------------------------

    def decide(self, ids: Iterable[int], decided: bool) -> None:  # noqa: FBT001 - ``decide(ids, False)`` takes it back
        """Note whether a person has decided about what was found in scans: these are healed by the next run."""
        with self._changing():
            for id_ in ids:
                self._do("UPDATE scans SET decided = ?, waits = 1 WHERE id = ?", decided, id_)
                # A result that exists was made by other decisions.
                again = "UPDATE scans SET state = 'found' WHERE id = ? AND state IN ('done', 'up_to_date')"
                self._do(again, id_)

    def note_review(self, id_: int, numbers: ReviewNumbers) -> None:
        """Write how many defects of a scan are decided about, after its review was written."""
        with self._changing():
            self._note_review(id_, numbers)

    def _note_review(self, id_: int, numbers: ReviewNumbers) -> None:
        change = "UPDATE scans SET accepted = ?, kept = ?, to_do = ?, unsure = ? WHERE id = ?"
        self._do(change, *dataclasses.astuple(numbers), id_)

    def undecided(self) -> Iterator[Row]:
        """The last run's scans that were looked through and wait for decisions, in order."""
        yield from self._select("WHERE run = ? AND waits AND NOT decided ORDER BY id", self.run)

    def totals(self) -> Totals:
        """What the next run heals of the last run's scans, because it was decided."""
        counted = "coalesce(sum(accepted), 0), coalesce(sum(accepted > 0), 0), coalesce(sum(accepted = 0), 0)"
        where = "run = ? AND waits AND decided"
        return Totals(*self._do(f"SELECT {counted} FROM scans WHERE {where}", self.run).fetchone())  # noqa: S608

    def waiting(self) -> tuple[int, int]:
        """Number of the last run's scans that wait for decisions, and of the defects found in them."""
        counted = "count(*), coalesce(sum(accepted + kept + to_do), 0)"
        where = "run = ? AND waits AND NOT decided"
        found = self._do(f"SELECT {counted} FROM scans WHERE {where}", self.run).fetchone()  # noqa: S608
        return int(found[0]), int(found[1])

    # -- what became of it --------------------------------------------------------------------------------------------

    @property
    def run(self) -> int:
        """Number of the last run, from 1 on."""
        return int(self._fact("run") or 0)

    def plan(self) -> Plan:
        """What the last run does with every scan."""
        return Plan.from_dict(json.loads(self._fact("plan") or "{}"))

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
        """The last run's scans, in order."""
        yield from self._select("WHERE run = ? ORDER BY id", self.run)

    def _select(self, condition: str, *values: object) -> Iterator[Row]:
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

    def _fact(self, name: str) -> str | None:
        row = self._do("SELECT value FROM facts WHERE name = ?", name).fetchone()
        return None if row is None else str(row[0])

    def _set_facts(self, **facts: str) -> None:
        with self._changing():
            for name, value in facts.items():
                self._do("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, value)


@dataclass
class _Lister:
    """What is the same for all scans of a listing, and the number of the next new row."""

    run: int
    listing: int
    namer: Namer
    named: str
    number: int
    plan: Plan

    def next_id(self) -> int:
        self.number += 1
        return self.number - 1

    def state_of_found(self, *, decided: bool) -> str:
        """The state of a scan that was looked through and is as it was then."""
        if self.plan.detect_only:
            return "up_to_date"
        return "found" if self.plan.review and not decided else "pending"


def _names_of(plan: Plan) -> str:
    """What the names of results depend on."""
    return json.dumps([*plan.naming, plan.recipe if "{recipe}" in plan.template else ""])


def _unusable(path: Path, reason: str) -> ReadError:
    return ReadError("The table {table} cannot be used: {reason}.", "batch.table", table=path, reason=reason)


def _unwritable(path: Path, error: sqlite3.Error) -> WriteError:
    return WriteError("The table {table} cannot be made: {reason}.", "batch.table", table=path, reason=error)
