"""What a window sees of a batch's table and changes in it, on its own connection while a run goes."""

from __future__ import annotations

import threading
from pathlib import Path, PurePosixPath

from engine.batch.gather import Gathered, Scan
from engine.batch.plan import Plan
from engine.batch.rows import Outcome, State
from engine.batch.table import JobTable
from engine.batch.views import _STATES, Order, View, changed_since, collisions, row_ids, rows_at

PLAN = Plan("mine", "")
NAMES = ("b/Öl 2.tif", "a.tif", "b/öl 1.tif", "a.jpg", "c.tif", "z.tif")


def list_scans(table: JobTable, folder: Path, *names: str, same_run: bool = False) -> None:
    scans = [Scan(folder / name, PurePosixPath(name), folder, 1, 1) for name in names]
    table.list_scans(PLAN, "f", scans, Gathered(), folder, same_run=same_run)


def take_all(table: JobTable) -> list[str]:
    taken = []
    while (row := table.take()) is not None:
        taken.append(row.relative)
    return taken


def test_views_search_sort_and_filter(tmp_path: Path) -> None:
    with JobTable(tmp_path / "table") as table:
        list_scans(table, tmp_path, *NAMES)
        for found, seconds in ((3, 1.0), (1, 9.0)):
            row = table.take()
            assert row is not None
            table.finish(row.id, Outcome(State.DONE, found={"scratch": found}, seconds=seconds), "f")
        row = table.take()
        assert row is not None
        table.finish(row.id, Outcome(State.FAILED, "It is broken."), "f")
        assert table.take() is not None
        table.cancel([5])

        def names(**view: object) -> list[str]:
            ids = row_ids(table, View(**view))  # type: ignore[arg-type]
            return [row.relative for row in rows_at(table, ids)]

        assert set(_STATES) == set(State)
        assert names() == list(NAMES)
        orders: dict[Order, list[str]] = {
            "name": ["a.jpg", "a.tif", "b/öl 1.tif", "b/Öl 2.tif", "c.tif", "z.tif"],
            # That of a.jpg is a-jpg.tif, as another one has the name.
            "output": ["a.jpg", "a.tif", "b/öl 1.tif", "b/Öl 2.tif", "c.tif", "z.tif"],
            "state": ["a.jpg", "z.tif", "b/öl 1.tif", "c.tif", "b/Öl 2.tif", "a.tif"],
            "found": ["b/öl 1.tif", "a.jpg", "c.tif", "z.tif", "a.tif", "b/Öl 2.tif"],
            "seconds": ["b/öl 1.tif", "a.jpg", "c.tif", "z.tif", "b/Öl 2.tif", "a.tif"],
        }
        for order, wanted in orders.items():
            assert names(order=order) == wanted, order
        assert names(order="found", descending=True)[:2] == ["b/Öl 2.tif", "a.tif"]
        assert names(search="ÖL", order="name", descending=True) == ["b/Öl 2.tif", "b/öl 1.tif"]
        assert names(search="A-J") == ["a.jpg"]
        assert names(search="%") == []
        assert names(states=frozenset({State.DONE, State.CANCELLED}), order="name") == ["a.tif", "b/Öl 2.tif", "c.tif"]
        assert names(states=frozenset()) == []
        assert [row.relative for row in rows_at(table, collisions(table))] == ["a.jpg"]
        assert rows_at(table, [99, 2, 1])[0].id == 2


def test_only_what_has_changed_is_told(tmp_path: Path) -> None:
    with JobTable(tmp_path / "table") as table, JobTable(tmp_path / "table") as other:
        list_scans(table, tmp_path, *NAMES)
        ids, mark = changed_since(other, 0)
        assert ids.tolist() == [1, 2, 3, 4, 5, 6]
        list_scans(table, tmp_path, *NAMES, same_run=True)
        assert changed_since(other, mark)[0].tolist() == []
        assert table.take() is not None
        table.move([4, 2], "last")
        table.remove([6])
        ids, mark = changed_since(other, mark)
        assert ids.tolist() == [1, 2, 4, 6]
        ids, same = changed_since(other, mark)
        assert (ids.tolist(), same) == ([], mark)


def test_another_connection_changes_what_is_to_be_done(tmp_path: Path) -> None:
    with JobTable(tmp_path / "table") as table, JobTable(tmp_path / "table") as other:
        list_scans(table, tmp_path, *NAMES)
        running = table.take()
        assert running is not None
        other.move([6, 5], "first")
        other.move([2], "last")
        other.cancel([3, running.id])
        other.remove([4, running.id])
        assert take_all(table) == ["c.tif", "z.tif", "a.tif"]
        assert [row.relative for row in other.rows()] == ["b/Öl 2.tif", "a.tif", "b/öl 1.tif", "c.tif", "z.tif"]
        # Failed and cancelled ones are done again; those that are at work stay as they are.
        table.finish(5, Outcome(State.FAILED, "It is broken.", seconds=2.0), "f")
        table.finish(6, Outcome(State.FAILED, "It is broken."), "f")
        assert table.end_run()
        other.retry([running.id, 3, 5])
        assert not table.end_run()
        assert take_all(table) == ["c.tif", "b/öl 1.tif"]
        other.retry(None)
        assert take_all(table) == ["z.tif"]


def test_cancelled_and_removed_scans_stay_so_until_a_new_run(tmp_path: Path) -> None:
    with JobTable(tmp_path / "table") as table:
        list_scans(table, tmp_path, *NAMES)
        table.cancel([1])
        table.remove([2])
        at_work = table.take()
        # More scans come while it works.
        with JobTable(tmp_path / "table") as other:
            list_scans(other, tmp_path, *NAMES, "new.tif", same_run=True)
        assert at_work is not None
        assert [(row.id, row.state.value) for row in table.rows()][:2] == [(1, "cancelled"), (at_work.id, "running")]
        assert take_all(table) == ["a.jpg", "c.tif", "z.tif", "new.tif"]
        list_scans(table, tmp_path, *NAMES)
        assert take_all(table) == list(NAMES)


def test_two_connections_that_write_wait_for_each_other(tmp_path: Path) -> None:
    """A window sorts and moves while a run takes and finishes, and reads its rows one by one meanwhile."""
    names = [f"{number}.tif" for number in range(400)]
    ended, problems = threading.Event(), list[BaseException]()
    with JobTable(tmp_path / "table") as table:
        list_scans(table, tmp_path, *names)

        def window() -> None:
            try:
                with JobTable(tmp_path / "table") as own:
                    while not ended.is_set():
                        own.move(row_ids(own, View(frozenset({State.PENDING})))[-3:], "first")
                        own.retry(None)
                        for row, _ in zip(own.rows(), range(3), strict=False):
                            own.cancel([row.id])
            except BaseException as error:  # noqa: BLE001 - told to the test
                problems.append(error)

        thread = threading.Thread(target=window)
        thread.start()
        try:
            for row in table.rows():
                if (taken := table.take()) is not None:
                    table.finish(taken.id, Outcome(State.DONE if row.id % 5 else State.FAILED), "f")
        finally:
            ended.set()
            thread.join()
        assert not problems
        assert table.counts()[State.DONE] > 100
