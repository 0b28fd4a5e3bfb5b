"""What the lanes of a batch do while a run works on its table, without a window; with workers that do no work."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from desktop.batch import runner
from desktop.batch.runner import Wanted, add_scans
from engine.batch.gather import Gathered, gather
from engine.batch.plan import Plan
from engine.batch.rows import Row, State
from engine.batch.run import BatchRun, Listener
from engine.batch.table import JobTable
from engine.errors import SettingsError
from engine.jobs import JobContext
from tests.quick_workers import PLAN, Answers


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


def test_a_run_beside_its_scans_takes_none_of_elsewhere(box: Path, tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, beside="done")
    (tmp_path / "c.tif").write_bytes(b"x")
    with JobTable(tmp_path / "table") as table:
        table.list_scans(plan, "f", gather([box], None, Gathered()), Gathered(), box)
        wanted = Wanted(tmp_path / "table", plan, box, {})
        with pytest.raises(SettingsError, match="Not all scans are below"):
            add_scans(wanted, [tmp_path / "c.tif"], JobContext(), running=True, again=False)
        assert len(states(table)) == 2
