"""Batches under a person's hands: held, cancelled, reordered, resized, and with results beside the scans."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import imageio
from engine.batch import Batch, Listener, open_batch, pool
from engine.batch.folders import common_folder
from engine.batch.gather import Gathered, gather
from engine.batch.naming import preview_names
from engine.batch.pace import Pace
from engine.batch.plan import plan_of
from engine.batch.process import _Process
from engine.batch.report import report_counts
from engine.batch.rows import Row, State
from engine.batch.work import Job
from engine.errors import SettingsError, WriteError
from engine.raster import ArraySource
from engine.recipes import read_recipe, run_recipe
from engine.runtime.cards import Registry
from engine.runtime.session import Device, Session
from tests import tiny_models
from tests.conftest import write_scan

ROOT = Path(__file__).parents[2]
RECIPE = 'title = "Mine"\n[[steps]]\ntask = "clean"\nmodel = "{model}"\n'
LONG = 60
"""Seconds after which what does not happen has failed the test."""


@pytest.fixture(autouse=True)
def _models(shelf: Path) -> None:
    """The user's own models, for this process and its workers: ``smoother``, and ``never``, which never ends."""
    tiny_models.smoother(shelf)
    tiny_models.endless(shelf, "never")


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """Four scans, of 25 windows each."""
    for number in range(4):
        write_scan(tmp_path / "box" / f"{number}.tif", number, 300, 300)
    return tmp_path / "box"


def recipe(folder: Path, model: str = "smoother") -> Path:
    path = folder / f"{model}.toml"
    path.write_text(RECIPE.format(model=model), encoding="utf-8")
    return path


@contextmanager
def opened(inputs: list[Path], out: Path, mine: Path, *, same_run: bool = False, **plan: object) -> Iterator[Batch]:
    made = plan_of(str(mine), device="cpu", **plan)
    with open_batch(inputs, out, made, same_run=same_run) as batch:
        yield batch


def states(batch: Batch) -> dict[str, str]:
    return {row.relative: row.state.value for row in batch.table.rows()}


def restored(path: Path, mine: Path) -> np.ndarray:
    """What a recipe makes of a scan, without a batch."""
    pixels = ArraySource(imageio.read(path).pixels)
    return run_recipe(read_recipe(str(mine)), pixels, None, Registry(), Device.CPU).pixels()


# -- pausing ----------------------------------------------------------------------------------------------------------


def test_a_held_worker_stops_after_the_window_it_is_at_and_goes_on(
    box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model tells of its windows; the pause is asked for while it is in its third one."""
    windows, held = list[int](), list[int]()
    plain = Session.run

    def run(session: Session, *given: Any) -> list[np.ndarray]:
        windows.append(1)
        if len(windows) == 3:
            send({"hold": True})
            with process._changed:
                assert process._changed.wait_for(lambda: process._held, LONG)
        return plain(session, *given)

    def send(message: dict[str, object]) -> None:
        orders.write(json.dumps(message) + "\n")
        orders.flush()

    monkeypatch.setattr(Session, "run", run)
    (stdin, to_worker), (from_worker, stdout) = os.pipe(), os.pipe()
    mine, out = recipe(tmp_path), tmp_path / "out"
    out.mkdir()
    with (
        os.fdopen(stdin) as taken,
        os.fdopen(to_worker, "w") as orders,
        os.fdopen(from_worker) as told,
        os.fdopen(stdout, "w") as said,
    ):
        monkeypatch.setattr(sys, "stdin", taken)
        process = _Process(said)
        worker = threading.Thread(target=process.run)
        worker.start()
        plan = plan_of(str(mine), device="cpu")
        job = Job(7, str(box / "0.tif"), str(out), "0.tif", vars(plan), "f")
        send({"job": vars(job)})
        for line in told:
            message = json.loads(line)
            if "held" in message:
                held.append(len(windows))
                send({"hold": False})
            if "outcome" in message:
                break
        assert message["outcome"]["state"] == "done"
        orders.close()
        worker.join(LONG)
    assert held == [3]
    assert len(windows) > 10
    assert np.array_equal(imageio.read(out / "0.tif").pixels, restored(box / "0.tif", mine))


def test_a_run_is_held_with_one_scan_cancelled_and_moved_ones_first(box: Path, tmp_path: Path) -> None:
    """Held when two are at work; one of them is cancelled, the other goes on; results are those without a pause."""
    out, mine = tmp_path / "out", recipe(tmp_path)
    started: list[str] = []
    seen: list[dict[str, str]] = []

    def begun(row: Row) -> None:
        started.append(row.relative)
        if len(started) == 2:
            run.hold(True)

    def paused() -> None:
        seen.append(states(batch))
        run.cancel(3)
        run.hold(False)

    with opened([box], out, mine) as batch:
        batch.table.move([3, 4], "first")
        run = batch.runner(2, Listener(started=begun, paused=paused))
        assert run.run()
        assert started[:2] == ["2.tif", "3.tif"]
        assert len(started) == 4
        assert seen == [{"0.tif": "pending", "1.tif": "pending", "2.tif": "running", "3.tif": "running"}]
        assert states(batch) == {"0.tif": "done", "1.tif": "done", "2.tif": "cancelled", "3.tif": "done"}
        assert report_counts(batch.table)["pending"] == 1
        assert not (out / "2.tif").exists()
        # It is not done again until somebody asks for it.
        batch.list_scans(same_run=True)
        assert not batch.table.has_pending()
        batch.table.retry([1, 3])
        assert batch.runner(1, Listener()).run()
        assert set(states(batch).values()) == {"done"}
    for name in started:
        assert np.array_equal(imageio.read(out / name).pixels, restored(box / name, mine))


def test_a_held_run_can_be_broken_off(box: Path, tmp_path: Path) -> None:
    with opened([box], tmp_path / "out", recipe(tmp_path)) as batch:
        run = batch.runner(1, Listener(started=lambda _: run.hold(True), paused=lambda: run.stop(now=True)))
        assert not run.run()
        assert report_counts(batch.table)["pending"] == 4
    assert not list((tmp_path / "out").glob("*.tif"))


def test_a_held_worker_ends_with_the_process_that_started_it(box: Path, tmp_path: Path) -> None:
    """A process that is killed leaves its end of the pipe closed."""
    plan = plan_of(str(recipe(tmp_path)), device="cpu")
    job = Job(1, str(box / "0.tif"), str(tmp_path), "result.tif", vars(plan), "f")
    line = [sys.executable, "-m", "engine.batch.process"]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps({"hold": True}) + "\n" + json.dumps({"job": vars(job)}) + "\n")
        worker.stdin.flush()
        assert [json.loads(worker.stdout.readline()) for _ in range(2)] == [{"ready": True}, {"id": 1, "held": True}]
        worker.stdin.close()
        assert worker.wait(LONG) == 0
    assert not (tmp_path / "result.tif").exists()


# -- workers ----------------------------------------------------------------------------------------------------------


def test_a_run_takes_more_and_fewer_workers_while_it_works(box: Path, tmp_path: Path) -> None:
    """The model never ends: what is started stays at work until it is cancelled."""
    started: list[int] = []

    def begun(row: Row) -> None:
        started.append(row.id)
        if len(started) == 1:
            run.use_workers(2)
        else:
            # The one whose scan is cancelled is one too many then.
            run.use_workers(1)
            run.cancel(started[0])
            look()

    def look() -> None:
        """Look again at each event until one has been cancelled."""
        if batch.table.counts()[State.CANCELLED]:
            counts.append(len(run._workers))
            run.stop(now=True)
        else:
            run._events.put(look)

    counts: list[int] = []
    with opened([box], tmp_path / "out", recipe(tmp_path, "never")) as batch:
        run = batch.runner(1, Listener(started=begun))
        assert not run.run()
        assert (started, counts) == ([1, 2], [1])
        assert states(batch) == {"0.tif": "cancelled", "1.tif": "pending", "2.tif": "pending", "3.tif": "pending"}


def test_a_core_can_be_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_MEMORY", 1)
    for cores, fitting in ((1, (1, 1)), (2, (2, 1)), (8, (8, 7))):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid, cores=cores: set(range(cores)))
        assert (pool.fitting_workers(), pool.fitting_workers(leave_core=True)) == fitting


def test_the_time_left_is_that_of_the_last_pictures_without_pauses() -> None:
    now = [100.0]
    pace = Pace(1000, lambda: now[0])
    assert pace.seconds_left() is None
    pace.finished(400, worked=False)
    assert pace.seconds_left() is None
    now[0] += 10
    pace.finished(100)
    assert pace.seconds_left() == 50
    pace.hold(True)
    now[0] += 1000
    pace.hold(False)
    now[0] += 10
    pace.finished(200)
    assert (pace.left, pace.seconds_left()) == (300, 20)
    # Pictures of long ago do not count.
    for _ in range(150):
        now[0] += 1
        pace.finished(1)
    assert pace.seconds_left() == pace.left == 150


# -- names and places of results --------------------------------------------------------------------------------------


def test_results_can_stand_beside_the_scans_and_are_no_scans(tmp_path: Path) -> None:
    box, far, mine = tmp_path / "box", tmp_path / "far", recipe(tmp_path)
    write_scan(box / "a.tif", 1, 40)
    write_scan(box / "1910" / "a.tif", 2, 40)
    write_scan(far / "b.png", 3, 40)
    (box / "link").symlink_to(far)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.[tp][in][fg]")}
    with opened([box], box, mine, beside="restored") as batch:
        assert batch.runner(1, Listener()).run()
        assert {row.output for row in batch.table.rows()} == {
            "restored/a.tif",
            "1910/restored/a.tif",
            "link/restored/b.png",
        }
        assert (far / "restored" / "b.png").is_file()
    # A folder more: the common folder is another one now. What is done is found, and no result is taken for a scan,
    # even one that has lost its record.
    more = tmp_path / "more"
    write_scan(more / "c.tif", 4, 40)
    (box / "restored" / "a.tif.record.json").rename(tmp_path / "kept.json")
    with opened([box, more], common_folder([box, more]), mine, beside="restored") as batch:
        (tmp_path / "kept.json").rename(box / "restored" / "a.tif.record.json")
        assert batch.runner(1, Listener()).run()
        assert {row.output: row.state for row in batch.table.rows()} == {
            "box/restored/a.tif": State.UP_TO_DATE,
            "box/1910/restored/a.tif": State.UP_TO_DATE,
            "box/link/restored/b.png": State.UP_TO_DATE,
            "more/restored/c.tif": State.DONE,
        }
    left_out = Gathered()
    assert len(list(gather([box, more], tmp_path / "out", left_out))) == 4
    assert left_out.ignored["output"] == 8
    assert before == {path: path.read_bytes() for path in before}


def test_a_batch_beside_the_scans_must_have_them_all_in_its_folder(tmp_path: Path) -> None:
    write_scan(tmp_path / "box" / "a.tif", 1, 40)
    mine = recipe(tmp_path)
    with (
        pytest.raises(SettingsError, match="Not all scans are below"),
        opened([tmp_path / "box"], tmp_path / "other", mine, beside="restored"),
    ):
        pass
    for name in ("a/b", "..", ".hidden", "lacuna-report", "a?", " "):
        with (
            pytest.raises(SettingsError, match=r"The subfolder .* cannot be used: "),
            opened([tmp_path / "box"], tmp_path / "box", mine, beside=name),
        ):
            pass


def test_names_are_shown_before_as_a_run_gives_them(box: Path, tmp_path: Path) -> None:
    write_scan(box / "0.png", 9, 40)
    write_scan(box / "sub" / "0.tif", 9, 40)
    found = list(gather([box], None, Gathered()))
    names = preview_names("{name}-{n:00}-{date}", "mine", ".tif", "", found, date.today())  # noqa: DTZ011
    with opened([box], tmp_path / "out", recipe(tmp_path), template="{name}-{n:00}-{date}", suffix=".tif") as batch:
        assert names == [row.output for row in batch.table.rows()]
    names = preview_names("{name}", "mine", ".tif", "done", found, date(2026, 5, 1))
    assert names[:2] == ["done/0.tif", "done/0-tif.tif"]
    assert names[-1] == "sub/done/0.tif"
    with pytest.raises(SettingsError, match=r"without \{name\} or \{n\} all results would get the same name"):
        preview_names("{parent}", "mine", "", "", found, date(2026, 5, 1))


def test_the_table_can_be_elsewhere_in_a_batch_with_a_new_folder(box: Path, tmp_path: Path) -> None:
    plan = plan_of(str(recipe(tmp_path)), device="cpu")
    out = tmp_path / "new" / "out"
    with open_batch([box], out, plan, table=tmp_path / "tables" / "mine.sqlite") as batch:
        assert batch.table.counts()[State.PENDING] == 4
        # The folder is still one batch's only.
        with pytest.raises(WriteError, match="is being worked on by"), open_batch([box], out, plan):
            pass
