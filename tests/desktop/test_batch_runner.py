"""What the lanes of a batch do while a run works on its table, without a window; with workers that do no work."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from desktop.batch import runner
from desktop.batch.runner import Added, Wanted, add_scans
from desktop.batch.steering import RunHandle
from engine.batch import Batch
from engine.batch.gather import Gathered, Scan, gather
from engine.batch.plan import Plan
from engine.batch.rows import Outcome, Row, State
from engine.batch.run import BatchRun, Listener
from engine.batch.table import JobTable
from engine.batch.watch import watch
from engine.errors import SettingsError
from engine.jobs import JobContext
from tests.quick_workers import PLAN, Answers

LONG = 60


@pytest.fixture
def box(tmp_path: Path) -> Path:
    box = tmp_path / "box"
    box.mkdir()
    for name in ("a.tif", "b.tif"):
        (box / name).write_bytes(b"x")
    (tmp_path / "out").mkdir()
    return box


def list_scans(table: JobTable, box: Path, plan: Plan = PLAN, fingerprint: str = "f") -> None:
    left_out = Gathered()
    table.list_scans(plan, fingerprint, gather([box], None, left_out), left_out, box.parent / "out", same_run=True)


def states(table: JobTable) -> dict[str, State]:
    return {row.relative: row.state for row in table.rows()}


def test_what_a_run_makes_and_takes_is_as_it_began(box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe's file is changed while the run works, and a scan is dropped."""
    monkeypatch.setattr(runner, "_fingerprint", lambda _: "g")
    now = dataclasses.replace(PLAN, template="{name}-x", steps=PLAN.steps.replace("Mine", "New"))
    (tmp_path / "c.tif").write_bytes(b"x")

    def drop(row: Row) -> None:
        if row.relative == "a.tif":
            wanted = Wanted(tmp_path / "table", now, tmp_path / "elsewhere", {})
            added = add_scans(wanted, [tmp_path / "c.tif"], JobContext(), running=True, again=False)
            assert (added.count, added.plan, added.folder) == (1, PLAN, tmp_path / "out")

    with JobTable(tmp_path / "table") as table:
        list_scans(table, box)
        assert BatchRun(table, tmp_path / "out", "f", 1, Answers(), Listener(started=drop)).run()
        assert [row.output for row in table.rows()] == ["a.tif", "b.tif", "c.tif"]
        list_scans(table, box)
        assert set(states(table).values()) == {State.DONE}
        # What was made by the recipe of before is made again by the new one.
        list_scans(table, box, fingerprint="g")
        assert (states(table)["a.tif"], states(table)["b.tif"]) == (State.PENDING, State.PENDING)


def test_two_listings_at_once_give_different_numbers_and_names(box: Path, tmp_path: Path) -> None:
    """A folder is dropped while a watch is in the middle of a look at its own."""
    plan, more, told = dataclasses.replace(PLAN, suffix=".png"), tmp_path / "more", threading.Event()
    more.mkdir()
    (more / "a.jpg").write_bytes(b"x")

    def drop() -> None:
        # It is told of its progress while it waits, and at the first scan.
        wanted = Wanted(tmp_path / "table", plan, tmp_path / "out", {more: ""})
        added.append(add_scans(wanted, [more], JobContext(lambda *_: told.set()), running=True, again=False))

    def look() -> Iterator[Scan]:
        for scan in gather([box], None, Gathered()):
            yield scan
            if scan.path.name == "a.tif":
                thread.start()
                assert told.wait(LONG)

    added: list[Added] = []
    thread = threading.Thread(target=drop)
    with JobTable(tmp_path / "table") as table:
        table.list_scans(plan, "f", [], Gathered(), tmp_path / "out")
        try:
            table.list_scans(plan, "f", look(), Gathered(), tmp_path / "out", same_run=True)
        finally:
            thread.join(LONG)
        assert [row.output for row in table.rows()] == ["a.png", "b.png", "a-jpg.png"]
    assert (added[0].count, added[0].folders) == (1, {more: ""})


def test_a_watch_looks_into_folders_that_are_dropped_meanwhile_and_reports_now_and_then(
    box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[int] = []
    monkeypatch.setattr(Batch, "write_report", lambda _: reports.append(1))
    more, ending, finished, looks = tmp_path / "more", threading.Event(), list[str](), list[int]()
    more.mkdir()
    (more / "c.tif").write_bytes(b"x")
    handle = RunHandle()
    handle.watch_also({box: ""})

    def ended(row: Row, _: Outcome) -> None:
        finished.append(row.relative)
        if row.relative == "b.tif":
            handle.watch_also({more: "more"})
        elif row.relative == "more/c.tif":
            (box / "d.tif").write_bytes(b"x")
        elif row.relative == "d.tif":
            ending.set()

    def look() -> Mapping[Path, str]:
        looks.append(1)
        if len(looks) == 20:
            ending.set()
        return handle.folders

    with JobTable(tmp_path / "table") as table:
        out, listener = tmp_path / "out", Listener(finished=ended)
        batch = Batch(table, out, out / "report", PLAN, "f", [box])
        batch.list_scans()
        due = watch(batch, lambda: BatchRun(table, out, "f", 1, Answers(), listener), ending, print, 0.0, look)
    assert finished == ["a.tif", "b.tif", "more/c.tif", "d.tif"]
    assert (len(reports), due) == (1, True)


def test_a_run_beside_its_scans_takes_none_of_elsewhere(box: Path, tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, beside="done")
    (tmp_path / "c.tif").write_bytes(b"x")
    with JobTable(tmp_path / "table") as table:
        table.list_scans(plan, "f", gather([box], None, Gathered()), Gathered(), box)
        wanted = Wanted(tmp_path / "table", plan, box, {})
        with pytest.raises(SettingsError, match="Not all scans are below"):
            add_scans(wanted, [tmp_path / "c.tif"], JobContext(), running=True, again=False)
        assert len(states(table)) == 2
