"""Views of a batch's table for a window: which rows, in which order, and which have changed; for 300,000 rows.

All functions take a table that the calling thread has opened for itself. They see what another connection has written.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.batch.naming import plain_bytes
from engine.batch.rows import Row, State
from engine.batch.table import JobTable

Ids = NDArray[np.int64]
Order = Literal["place", "name", "state", "output", "found", "seconds"]

_STATES = (
    State.RUNNING,
    State.FOUND,
    State.PENDING,
    State.FAILED,
    State.CANCELLED,
    State.DONE,
    State.UP_TO_DATE,
)
"""Order of the states in a list that is sorted by them: what a person watches or must do something about first."""
_BY = {
    "place": "place",
    "name": "plain_name",
    "output": "plain_output",
    "found": "found",
    "seconds": "seconds",
    "state": "CASE state " + " ".join(f"WHEN '{state.value}' THEN {n}" for n, state in enumerate(_STATES)) + " END",
}


@dataclass(frozen=True)
class View:
    """Which of a batch's rows are shown, and in which order.

    Attributes:
        states: only rows in one of these states; None = all.
        search: only rows with this text in the path of the scan or of its result, whatever the case; "" = all.
        order: ``place`` is the order in which the scans are done; rows that are equal otherwise are in it.
        descending: the other way round.
    """

    states: frozenset[State] | None = None
    search: str = ""
    order: Order = "place"
    descending: bool = False


def row_ids(table: JobTable, view: View) -> Ids:
    """The rows of a view in its order, (n,) int64."""
    where, values = "run = ?", list[object]([table.run])
    if view.states is not None:
        where += f" AND state IN ({', '.join('?' * len(view.states))})"
        values += [state.value for state in view.states]
    if view.search:
        sought = plain_bytes(view.search)
        where += " AND (instr(plain_name, ?) OR instr(plain_output, ?))"
        values += [sought, sought]
    way = " DESC" if view.descending else ""
    order = _BY[view.order] + way + ("" if view.order == "place" else ", place")
    return _ids(table, f"SELECT id FROM scans WHERE {where} ORDER BY {order}", *values)  # noqa: S608 - of this module


def rows_at(table: JobTable, ids: Iterable[int]) -> list[Row]:
    """Some dozen rows, in the order given; those that are not in the table any more are left out."""
    wanted = [int(id_) for id_ in ids]
    found = {
        row.id: row for row in table.rows_where("WHERE id IN (SELECT value FROM json_each(?))", json.dumps(wanted))
    }
    return [found[id_] for id_ in wanted if id_ in found]


def collisions(table: JobTable) -> Ids:
    """Rows whose result could not have the name of the template, as that of another scan has it; (n,) int64, sorted."""
    return _ids(table, "SELECT id FROM scans WHERE run = ? AND renamed ORDER BY id", table.run)


def changed_since(table: JobTable, mark: int) -> tuple[Ids, int]:
    """The rows that were added, changed or taken out since a mark, and the mark for the next call.

    Args:
        table: the table.
        mark: what the last call returned; 0 = all rows.

    Returns:
        (n,) int64 in the order of their last change, and the new mark.
    """
    found = _ids(table, "SELECT id, changed FROM scans WHERE changed > ? ORDER BY changed", mark).reshape(-1, 2)
    return np.ascontiguousarray(found[:, 0]), int(found[-1, 1]) if len(found) else mark


def _ids(table: JobTable, statement: str, *values: object) -> Ids:
    return np.fromiter(itertools.chain.from_iterable(table.query(statement, *values)), np.int64)
