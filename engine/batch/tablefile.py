"""The file of a batch's table: its layout in SQLite, transactions, locks and facts."""

from __future__ import annotations

import os
import platform
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Self

from engine.batch.naming import plain_bytes
from engine.errors import EngineError, ReadError, WriteError

VERSION = 2
"""Of the layout of the table; a newer one is refused, an older one is brought up to date."""
_APPLICATION = 0x4C61634A
"""SQLite's application id of these files."""
_CACHE = 32 << 10
"""Memory for parts of the file, KiB: names in no order are put into indexes of hundreds of thousands."""
_BUSY = 60
"""Seconds that one connection waits for another to complete a change."""
_LISTING = threading.RLock()
"""Held while a thread lists scans: two listings would give the same numbers and names. Another process cannot hold a
table at the same time, see ``held``, so this is for the threads of one."""
_LOOK = 0.1
"""Seconds between two looks whether a listing of another thread has ended."""


_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE scans (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    listing INTEGER NOT NULL,
    path BLOB NOT NULL UNIQUE,
    -- The path without case, by which a scan is found on a disk that ignores it.
    plain_path BLOB NOT NULL DEFAULT x'',
    relative BLOB NOT NULL,
    root BLOB NOT NULL,
    output BLOB NOT NULL,
    planned BLOB NOT NULL,
    named TEXT NOT NULL,
    renamed INTEGER NOT NULL,
    size INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    state TEXT NOT NULL,
    fingerprint TEXT NOT NULL DEFAULT '',
    outcome TEXT,
    -- The order in which scans are done; each row has another one.
    place INTEGER NOT NULL,
    -- Taken out of the batch by a person, until a new run is listed.
    removed INTEGER NOT NULL DEFAULT 0,
    -- What lists are searched and sorted by: names without case, and numbers of the outcome.
    plain_name BLOB NOT NULL,
    plain_output BLOB NOT NULL,
    found INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0,
    -- Whether it was looked through, whether a person has decided about what was found, and the numbers of that.
    waits INTEGER NOT NULL DEFAULT 0,
    decided INTEGER NOT NULL DEFAULT 0,
    accepted INTEGER NOT NULL DEFAULT 0,
    kept INTEGER NOT NULL DEFAULT 0,
    to_do INTEGER NOT NULL DEFAULT 0,
    unsure INTEGER NOT NULL DEFAULT 0,
    -- The number of the last change of what is shown of the row; see the trigger.
    changed INTEGER NOT NULL
);

CREATE INDEX by_state ON scans (run, state, place, size);

CREATE INDEX by_place ON scans (run, place);

CREATE INDEX by_plain_path ON scans (plain_path);

CREATE INDEX by_output ON scans (output);

CREATE INDEX by_change ON scans (changed);

CREATE INDEX by_renamed ON scans (run) WHERE renamed;

CREATE TRIGGER altered
AFTER UPDATE OF run, relative, output, renamed, state, outcome, place, decided, accepted, kept, to_do ON scans BEGIN
    UPDATE scans SET changed = (SELECT max(changed) FROM scans) + 1 WHERE id = new.id;
END;
"""


class TableFile:
    """The file of a batch's table, opened by one thread. See ``JobTable``.

    Args:
        path: the file; it is made if it does not exist.

    Raises:
        ReadError: ``batch.table``: it is no table of a batch, is damaged, or was made by a newer version.
        WriteError: it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._rows = sqlite3.connect(path, timeout=_BUSY, isolation_level=None)
        except sqlite3.Error as error:
            raise _unwritable(path, error) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._rows.close()
            raise _unusable(path, str(error)) from error
        except EngineError:
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
        one(f"PRAGMA cache_size=-{_CACHE}")
        if not kind:
            with self._changing():
                for statement in _SCHEMA.split(";\n\n"):
                    one(statement)
                one(f"PRAGMA application_id={_APPLICATION}")
                one(f"PRAGMA user_version={VERSION}")
        elif version < VERSION:
            self._add_plain_paths()

    def _add_plain_paths(self) -> None:
        """Bring a table of version 1 up to date."""
        self._rows.create_function("plain", 1, lambda path: plain_bytes(os.fsdecode(path)))
        with self._changing():
            # Another connection may have done it meanwhile.
            if self._do("PRAGMA user_version").fetchone()[0] < VERSION:
                self._do("ALTER TABLE scans ADD COLUMN plain_path BLOB NOT NULL DEFAULT x''")
                self._do("UPDATE scans SET plain_path = plain(path)")
                self._do("CREATE INDEX by_plain_path ON scans (plain_path)")
                self._do(f"PRAGMA user_version={VERSION}")

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
            WriteError: ``write.full``: there is no room on the disk for a change, which was not made;
                ``batch.table``: the table cannot be read or written any more.
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

    def query(self, statement: str, *values: object) -> sqlite3.Cursor:
        """The result of a statement that changes nothing, to be read at once. Raises as all else here."""
        return self._do(statement, *values)

    def _fact(self, name: str) -> str | None:
        row = self._do("SELECT value FROM facts WHERE name = ?", name).fetchone()
        return None if row is None else str(row[0])

    def _set_facts(self, **facts: str) -> None:
        with self._changing():
            self._put_facts(**facts)

    def _put_facts(self, **facts: str) -> None:
        for name, value in facts.items():
            # A look at a folder that is watched writes nothing as long as nothing has changed.
            change = "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
            self._do(f"{change} WHERE value <> excluded.value", name, value)

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

    @contextmanager
    def listing(self, check: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Context manager: no other thread lists scans meanwhile; waits for one that does.

        Args:
            check: called again and again while it waits; what it raises ends that.
        """
        while not _LISTING.acquire(timeout=_LOOK):
            check()
        try:
            yield
        finally:
            _LISTING.release()

    @staticmethod
    def is_listed_elsewhere() -> bool:
        """Whether another thread lists scans now."""
        free = _LISTING.acquire(blocking=False)
        if free:
            _LISTING.release()
        return not free


def _unusable(path: Path, reason: str) -> ReadError:
    return ReadError("The table {table} cannot be used: {reason}.", "batch.table", table=path, reason=reason)


def _unwritable(path: Path, error: sqlite3.Error) -> WriteError:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return WriteError("There is not enough room on the disk for the table {table}.", "write.full", table=path)
    return WriteError("The table {table} cannot be made: {reason}.", "batch.table", table=path, reason=error)
