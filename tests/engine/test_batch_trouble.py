"""Batches on full disks, on shares that break, and steered before they have begun; with workers that do no work."""

from __future__ import annotations

import errno
import os
import queue
import shutil
import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from engine.batch import Listener, Patience, open_batch
from engine.batch import run as batch_run
from engine.batch.gather import Gathered, Scan
from engine.batch.plan import Plan
from engine.batch.pool import Event, WorkerProcess
from engine.batch.rows import Outcome, State
from engine.batch.run import BatchRun
from engine.batch.table import JobTable
from engine.batch.watch import watch
from engine.batch.work import Job
from engine.errors import ReadError, WriteError
from tests.quick_workers import DONE, PLAN, Answers

LONG = 60
"""Seconds after which what does not happen has failed the test."""
SOON = Patience(first=0.01, longest=0.02, share=0.3)
NO_ROOM = Outcome(State.FAILED, "There is not enough room.", "write.full")


def scans(folder: Path, *names: str) -> list[Scan]:
    return [Scan(folder / "box" / name, PurePosixPath(name), folder / "box", 1, 1) for name in names]


def list_scans(table: JobTable, folder: Path, *names: str) -> None:
    table.list_scans(PLAN, "f", scans(folder, *names), Gathered(), folder)


def fill_disk(table: JobTable) -> None:
    """Leave no room for any change of the scans: each needs pages that SQLite may not add to the file any more."""
    table.query("CREATE TABLE IF NOT EXISTS filler (data BLOB)")
    grow = "INSERT INTO filler VALUES (zeroblob(20000))"
    table.query(f"CREATE TEMP TRIGGER IF NOT EXISTS grow AFTER UPDATE ON main.scans BEGIN {grow}; END")
    (pages,) = table.query("PRAGMA page_count").fetchone()
    table.query(f"PRAGMA max_page_count={pages}")


def make_room(table: JobTable) -> None:
    table.query("PRAGMA max_page_count=1000000")


# -- full disks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before it begins", "a result is written", "a result finds no room"])
def test_a_table_on_a_full_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    monkeypatch.setattr(batch_run, "_ROOM", 1 << 62)
    said: list[str] = []

    def told(sentence: str) -> None:
        said.append(sentence)
        if "It goes on when there is room." in sentence:
            make_room(table)
            monkeypatch.setattr(batch_run, "_ROOM", 0)

    with JobTable(tmp_path / "table") as table:
        list_scans(table, tmp_path, "a.tif", "b.tif")
        if when == "before it begins":
            fill_disk(table)
        workers = Answers(NO_ROOM if when == "a result finds no room" else DONE)
        listener = Listener(notice=told, started=lambda _: None if said else fill_disk(table))
        assert BatchRun(table, tmp_path, "f", 1, workers, listener, SOON).run()
        assert table.counts()[State.DONE] == 2
    assert [sentence.split(". ")[-1] for sentence in said] == ["It goes on when there is room.", "Going on."]


def test_a_run_that_waits_for_room_can_be_ended(tmp_path: Path) -> None:
    with JobTable(tmp_path / "table") as table:
        list_scans(table, tmp_path, "a.tif", "b.tif")
        listener = Listener(notice=lambda _: run.stop(now=True), started=lambda _: fill_disk(table))
        run = BatchRun(table, tmp_path, "f", 1, Answers(), listener, SOON)
        assert not run.run()
        make_room(table)
        table.put_back_running()
        assert table.counts()[State.PENDING] == 2


# -- shares -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", ["box", "a.tif", "out"])
def test_a_share_that_breaks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    stat, box = os.stat, tmp_path / "box"
    box.mkdir()
    (box / "a.tif").write_bytes(b"x")
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(Plan, "check", lambda *_: "f")

    def broken(path: str | Path, **how: Any) -> os.stat_result:
        if Path(path).name == gone:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return stat(path, **how)

    monkeypatch.setattr(os, "stat", broken)
    with (
        pytest.raises((ReadError, WriteError), match="Stale file handle"),
        open_batch([box / "a.tif" if gone == "a.tif" else box], tmp_path / "out", PLAN),
    ):
        pass


def test_an_output_folder_with_results_that_is_gone_is_not_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its share is not mounted; the table is elsewhere. A watch waits for it."""
    monkeypatch.setattr(Plan, "check", lambda *_: "f")
    box, out, away, place = (tmp_path / name for name in ("box", "out", "away", "table"))
    ending, said, looks = threading.Event(), list[str](), list[int]()
    box.mkdir()
    (box / "a.tif").write_bytes(b"x")

    def look() -> dict[Path, str]:
        looks.append(1)
        if len(looks) == 1:
            out.rename(away)
        if len(looks) == 50:
            ending.set()
        return {box: ""}

    def told(sentence: str) -> None:
        said.append(sentence)
        away.rename(out)
        (box / "b.tif").write_bytes(b"x")

    with open_batch([box], out, PLAN, place) as batch:
        listener = Listener(finished=lambda row, _: ending.set() if row.relative == "b.tif" else None)
        watch(batch, lambda: BatchRun(batch.table, out, "f", 1, Answers(), listener, SOON), ending, told, 0.0, look)
        assert batch.table.counts()[State.DONE] == 2
    assert len(said) == 1
    assert str(out) in said[0]
    out.rename(away)
    with pytest.raises(WriteError, match="is gone"), open_batch([box], out, PLAN, place):
        pass
    assert not out.exists()
    # One that nothing is in, or that a person has made again, is taken.
    out.mkdir()
    with open_batch([box], out, PLAN, place) as batch:
        assert batch.table.counts()[State.PENDING] == 2
    shutil.rmtree(out)
    with open_batch([box], out, PLAN, place) as batch:
        assert batch.table.counts()[State.PENDING] == 2


# -- steering ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("now", [False, True])
def test_a_run_that_is_ended_before_it_begins_does_no_work(tmp_path: Path, *, now: bool) -> None:
    workers = Answers()
    with JobTable(tmp_path / "table") as table:
        list_scans(table, tmp_path, "a.tif", "b.tif")
        run = BatchRun(table, tmp_path, "f", 1, workers, Listener(), SOON)
        run.stop(now=now)
        assert not run.run()
    assert workers.asked == []


def test_a_run_that_is_held_twice_tells_that_it_is_paused(tmp_path: Path) -> None:
    """The second time is between the reports of its two workers."""

    class Pausing(Answers):
        """Reports once that it is paused, and is done when it may go on."""

        def start(self, job: Job) -> None:
            self.job, self.reported = job, False

        def hold(self, *, on: bool) -> None:
            if on and not self.reported:
                self.reported = True
                self._on_event(Event(self, {"id": self.job.id, "held": True}))
                if self.job.id == 1:
                    run.hold(True)
            elif not on:
                super().start(self.job)

    def new_worker(on_event: Callable[[Event], None]) -> Answers:
        return Pausing()(on_event)

    def paused() -> None:
        told.append(1)
        run.hold(False)

    told: list[int] = []
    listener = Listener(started=lambda row: run.hold(True) if row.id == 2 else None, paused=paused)
    with JobTable(tmp_path / "table") as table:
        list_scans(table, tmp_path, "a.tif", "b.tif")
        run = BatchRun(table, tmp_path, "f", 2, new_worker, listener, SOON)
        guard = threading.Timer(LONG, run.stop, kwargs={"now": True})
        guard.start()
        assert run.run()
        guard.cancel()
        guard.join()
        assert table.counts()[State.DONE] == 2
    assert told == [1]


# -- workers ----------------------------------------------------------------------------------------------------------


def test_a_worker_takes_no_code_from_the_folder_it_is_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("numpy.py", "engine.py"):
        (tmp_path / name).write_text("raise SystemExit('of the folder')", encoding="utf-8")
    events = queue.SimpleQueue[Event]()
    worker = WorkerProcess(1, events.put)
    try:
        assert events.get(timeout=LONG).message == {"ready": True}, worker.death()
    finally:
        worker.end()
