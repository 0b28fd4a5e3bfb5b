"""Batches in real worker processes: from the command line, through crashes, deaths, full disks and vanished folders."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import engine.batch
from engine import imageio
from engine.batch import Batch, Listener, Patience, open_batch
from engine.batch import run as batch_run
from engine.batch.gather import Scan
from engine.batch.plan import plan_of
from engine.batch.pool import WORKER_COMMAND, WorkerProcess
from engine.batch.report import report_counts
from engine.batch.rows import Outcome, Row, State
from engine.batch.table import JobTable
from engine.batch.watch import Settled, watch
from engine.raster import ArraySource, Raster
from engine.recipes import read_recipe, run_recipe
from engine.record import read_record
from engine.runtime.cards import Registry
from engine.runtime.session import Device
from tests import tiny_models
from tests.conftest import noise_raster

ROOT = Path(__file__).parents[2]
RECIPE = 'title = "Mine"\n[[steps]]\ntask = "clean"\nmodel = "{model}"\n'
LONG = 60
"""Seconds after which a process that does not end has failed the test."""


@pytest.fixture(autouse=True)
def _models(shelf: Path) -> None:
    """The user's own models, for this process and its workers: ``smoother``, and ``never``, which never ends."""
    tiny_models.smoother(shelf)
    tiny_models.endless(shelf, "never")


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A folder with four scans, one of them two folders further down."""
    box = tmp_path / "box"
    (box / "1910" / "may").mkdir(parents=True)
    for number, name in enumerate(("a.tif", "b.tif", "c.png", "1910/may/d.tif")):
        pixels = noise_raster(40, 60).pixels.copy()
        pixels[0, 0] = number
        imageio.write(Raster(pixels), box / name)
    return box


def recipe(folder: Path, model: str = "smoother") -> Path:
    path = folder / f"{model}.toml"
    path.write_text(RECIPE.format(model=model), encoding="utf-8")
    return path


def command(*words: object) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "engine", "batch", *map(str, words)]
    return subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True, encoding="utf-8")


def ran(*words: object) -> tuple[int, str]:
    with command(*words) as process:
        _, said = process.communicate(timeout=LONG)
    return process.returncode, said


def report(out: Path) -> dict:
    return json.loads((out / "lacuna-report" / "report.json").read_text(encoding="utf-8"))


def states(out: Path) -> dict[str, str]:
    return {row["source"]: row["state"] for row in report(out)["files"]}


# -- the command line -------------------------------------------------------------------------------------------------


def test_a_folder_is_mirrored_and_every_result_is_that_of_the_recipe(box: Path, tmp_path: Path) -> None:
    (box / "broken.tif").write_bytes(b"II*\0 and nothing more")
    (box / "Thumbs.db").write_bytes(b"")
    out, mine = tmp_path / "out", recipe(tmp_path)
    status, said = ran(box, "-o", out, "--recipe", mine, "--workers", 2)
    assert status == 3, said
    told = report(out)
    assert told["counts"] == {"done": 4, "up_to_date": 0, "failed": 1, "pending": 0, "ignored": 1}
    assert "broken.tif" in said
    for row in told["files"]:
        if row["source"] == "broken.tif":
            assert row["state"] == "failed"
            assert row["reason"].endswith(".")
            continue
        scan, made = imageio.read(box / row["source"]), imageio.read(out / row["output"])
        wanted = run_recipe(read_recipe(str(mine)), ArraySource(scan.pixels), None, Registry(), Device.CPU)
        assert np.array_equal(made.pixels, wanted.pixels())
        record = read_record(out / row["output"])
        assert (record["source"]["sha256"], record["written"]["sha256"]) == (row["source_sha256"], row["output_sha256"])
        assert row["steps"] == ["clean"]
    with (out / "lacuna-report" / "report.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [row["state"] for row in csv.DictReader(file)] == [row["state"] for row in told["files"]]
    page = (out / "lacuna-report" / "report.html").read_text(encoding="utf-8")
    assert page.count("class=pair") == 4
    for source in page.split("src='")[1:]:
        assert (out / "lacuna-report" / source.split("'")[0]).is_file()
    # Again: what is done is not done again, and what failed fails again.
    before = {
        row["output"]: (out / row["output"]).stat().st_mtime_ns for row in told["files"] if row["state"] == "done"
    }
    status, said = ran(box, "-o", out, "--recipe", mine)
    assert status == 3
    assert report(out)["counts"] == {"done": 0, "up_to_date": 4, "failed": 1, "pending": 0, "ignored": 1}
    assert before == {name: (out / name).stat().st_mtime_ns for name in before}


def test_results_are_known_by_their_records_when_the_table_is_gone(box: Path, tmp_path: Path) -> None:
    out, mine = tmp_path / "out", recipe(tmp_path)
    assert ran(box, "-o", out, "--recipe", mine)[0] == 0
    for name in ("batch.sqlite", "batch.sqlite-held"):
        (out / "lacuna-report" / name).unlink()
    edited = imageio.read(out / "b.tif").pixels.copy()
    edited[:5] = 0
    imageio.write(Raster(edited), out / "b.tif")
    (box / "a.tif").write_bytes((box / "1910" / "may" / "d.tif").read_bytes())
    status, said = ran(box, "-o", out, "--recipe", mine)
    assert status == 3
    assert states(out) == {"a.tif": "done", "b.tif": "failed", "c.png": "up_to_date", "1910/may/d.tif": "up_to_date"}
    assert "b.tif exists and is not as a batch wrote it" in said
    assert np.array_equal(imageio.read(out / "b.tif").pixels, edited)
    assert ran(box, "-o", out, "--recipe", mine, "--exists", "keep")[0] == 0
    assert np.array_equal(imageio.read(out / "b.tif").pixels, edited)
    assert (out / "b (2).tif").is_file()
    # The second result is the scan's own from now on, and the edited file nobody's.
    before = (out / "b (2).tif").stat().st_mtime_ns
    assert ran(box, "-o", out, "--recipe", mine, "--exists", "replace")[0] == 0
    assert (out / "b (2).tif").stat().st_mtime_ns > before
    assert np.array_equal(imageio.read(out / "b.tif").pixels, edited)


def test_what_cannot_begin_says_why_and_leaves_nothing(box: Path, tmp_path: Path) -> None:
    out, mine = tmp_path / "out", recipe(tmp_path)
    other = tmp_path / "other.toml"
    other.write_text(RECIPE.format(model="nobodys"), encoding="utf-8")
    for words, said in (
        ((box, "-o", box, "--recipe", mine), "choose another folder"),
        ((box, "-o", out, "--recipe", other), "nobodys"),
        ((box, "-o", out, "--recipe", mine, "--name", "{nme}"), "is not known"),
        ((box, "-o", out, "--recipe", mine, "--format", "gif"), "cannot be written as .gif"),
        ((box, "-o", out, "--recipe", mine, "--profile", box / "a.tif"), "is not an ICC profile"),
        ((tmp_path / "nothing", "-o", out, "--recipe", mine), "does not exist"),
    ):
        status, told = ran(*words)
        assert status == 1
        assert said in told
    assert not list(out.rglob("*.tif"))


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    box, out, mine = tmp_path / "box", tmp_path / "out", recipe(tmp_path)
    box.mkdir()
    for number in range(12):
        imageio.write(noise_raster(300, 300), box / f"{number:02}.tif")
    with command(box, "-o", out, "--recipe", mine, "--workers", 1) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("done: 00.tif")
        process.kill()
    made = {path: path.stat().st_mtime_ns for path in out.glob("*.tif")}
    assert 1 <= len(made) < 12
    # What a killed process leaves half written is swept away by the next.
    (out / ".lacuna-00000000-0123456789abcdef.tmp").mkdir()
    status, _ = ran(box, "-o", out, "--recipe", mine)
    assert status == 0
    counts = report(out)["counts"]
    assert (counts["done"] + counts["up_to_date"], counts["pending"], counts["failed"]) == (12, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert len(list(out.glob("*.tif"))) == 12


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_run_with_the_table_whole(box: Path, tmp_path: Path, number: int, status: int) -> None:
    out = tmp_path / "out"
    imageio.write(noise_raster(40, 60), box / "a0.tif")
    process = command(box, "-o", out, "--recipe", recipe(tmp_path, "never"), "--workers", 1)
    with process:
        # The model never ends: when a worker has been started, it is at work soon.
        place = out / "lacuna-report" / "batch.sqlite"
        while not place.exists() and process.poll() is None:
            pass
        process.send_signal(number)
        _, said = process.communicate(timeout=LONG)
    assert process.returncode == status, said
    assert "Traceback" not in said
    with JobTable(place) as table:
        assert table.counts()[State.PENDING] in (0, 5)
    # Who breaks it off does not wait for a report.
    assert not (out / "lacuna-report" / "report.json").exists()
    assert not list(out.glob("*.tif"))


# -- in this process --------------------------------------------------------------------------------------------------


@contextmanager
def opened(box: Path, out: Path, mine: Path, **settings: object) -> Iterator[Batch]:
    plan = plan_of(str(mine), device="cpu", **settings)
    with open_batch([box], out, plan) as batch:
        yield batch


SOON = Patience(first=0.02, longest=0.05, share=0.5)


def outcomes(batch: Batch) -> dict[str, Outcome | None]:
    return {row.relative: row.outcome for row in batch.table.rows()}


def test_a_worker_that_dies_fails_its_scan_and_is_replaced(box: Path, tmp_path: Path) -> None:
    """The model never ends, so every worker is killed at its work."""
    with opened(box, tmp_path / "out", recipe(tmp_path, "never")) as batch:
        killed: list[int] = []

        def kill(row: Row, _share: float, _step: str) -> None:
            (worker,) = run._workers
            if worker.pid not in killed:
                killed.append(worker.pid)
                os.kill(worker.pid, signal.SIGKILL)

        run = batch.runner(1, Listener(progress=kill))
        assert run.run()
        assert len(killed) == 4
        for outcome in outcomes(batch).values():
            assert outcome is not None
            assert outcome.state is State.FAILED
            assert "probably because the memory was not enough" in outcome.reason


def test_no_worker_is_started_without_work(box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def counted(*arguments: object) -> WorkerProcess:
        started.append(1)
        return WorkerProcess(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.batch, "WorkerProcess", counted)
    for wanted in (4, 0):
        with opened(box, tmp_path / "out", recipe(tmp_path)) as batch:
            assert batch.runner(8, Listener()).run()
        assert len(started) == wanted
        started.clear()


def test_a_run_can_end_after_the_pictures_it_is_at_and_go_on_later(box: Path, tmp_path: Path) -> None:
    out, mine = tmp_path / "out", recipe(tmp_path)
    with opened(box, out, mine) as batch:
        run = batch.runner(1, Listener(progress=lambda *_: run.stop(now=False)))
        assert not run.run()
        counts = report_counts(batch.table)
        assert (counts["done"], counts["pending"]) == (1, 3)
    with opened(box, out, mine) as batch:
        assert batch.runner(2, Listener()).run()
        assert report_counts(batch.table)["done"] == 4


def test_a_run_can_break_off_what_it_is_at(box: Path, tmp_path: Path) -> None:
    with opened(box, tmp_path / "out", recipe(tmp_path, "never")) as batch:
        run = batch.runner(2, Listener(progress=lambda *_: run.stop(now=True)))
        assert not run.run()
        assert report_counts(batch.table)["pending"] == 4
    assert not list((tmp_path / "out").glob("*.tif"))


def limited(soft: int) -> Callable[..., WorkerProcess]:
    """Makes workers that can write only so many bytes to a file, as on a disk that is full."""

    def make(*arguments: object) -> WorkerProcess:
        import resource

        worker = WorkerProcess(*arguments)  # type: ignore[arg-type]
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
        return worker

    return make


def test_a_full_disk_pauses_the_run_until_there_is_room(
    box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    monkeypatch.setattr(engine.batch, "WorkerProcess", limited(4096))
    monkeypatch.setattr(batch_run, "_ROOM", 1 << 62)
    said: list[str] = []

    def make_room(sentence: str) -> None:
        said.append(sentence)
        if "is full" in sentence:
            for worker in run._workers:
                resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            monkeypatch.setattr(batch_run, "_ROOM", 0)

    with opened(box, tmp_path / "out", recipe(tmp_path)) as batch:
        run = batch.runner(1, Listener(notice=make_room), SOON)
        assert run.run()
        assert report_counts(batch.table)["done"] == 4
    assert [sentence.split(". ")[-1] for sentence in said] == ["It goes on when there is room.", "Going on."]


def test_a_folder_that_vanishes_is_waited_for(box: Path, tmp_path: Path) -> None:
    away, said = tmp_path / "away", list[str]()

    def bring_back(sentence: str) -> None:
        said.append(sentence)
        if "is gone" in sentence:
            away.rename(box)

    with opened(box, tmp_path / "out", recipe(tmp_path)) as batch:
        box.rename(away)
        assert batch.runner(1, Listener(notice=bring_back), SOON).run()
        assert report_counts(batch.table)["done"] == 4, outcomes(batch)
    assert len(said) == 2


def test_a_folder_that_stays_away_fails_its_scans(box: Path, tmp_path: Path) -> None:
    with opened(box, tmp_path / "out", recipe(tmp_path)) as batch:
        box.rename(tmp_path / "away")
        assert batch.runner(1, Listener(), SOON).run()
        assert report_counts(batch.table)["failed"] == 4
        reasons = {outcome.reason for outcome in outcomes(batch).values() if outcome is not None}
        assert any("is gone" in reason for reason in reasons)


def test_an_output_folder_that_vanishes_is_not_made_anew(box: Path, tmp_path: Path) -> None:
    """It may be the mount point of a disk that is gone: a new folder would fill the disk below."""
    out = tmp_path / "out"
    with opened(box, out, recipe(tmp_path)) as batch:
        out.rename(tmp_path / "away")
        assert batch.runner(1, Listener(), SOON).run()
        assert report_counts(batch.table)["failed"] == 4
        assert not out.exists()


def test_the_program_itself_can_be_a_worker() -> None:
    """A frozen program has no Python beside it, and starts itself."""
    line = [sys.executable, "-m", "desktop", WORKER_COMMAND]
    done = subprocess.run(line, cwd=ROOT, input="", capture_output=True, text=True, timeout=LONG)
    assert (done.returncode, done.stdout) == (0, '{"ready": true}\n')


def test_a_watched_folder_gives_its_scans_when_they_are_complete(box: Path, tmp_path: Path) -> None:
    """A scan that grows is left until it has been still; the look at the folder is the only clock."""
    late, ending = box / "late.tif", threading.Event()
    whole = (box / "a.tif").read_bytes()
    finished: list[str] = []

    def told(row: Row, _outcome: Outcome) -> None:
        finished.append(row.relative)
        if row.relative == "late.tif":
            ending.set()

    def write(data: bytes) -> None:
        late.write_bytes(data)
        # Never old by its own time, however long a look takes.
        os.utime(late, (time.time() + 3600,) * 2)

    class Scanner(Settled):
        """Writes another part of the late scan whenever it is asked about it."""

        asked = 0

        def __call__(self, scan: Scan) -> bool:
            if scan.path == late:
                self.asked += 1
                if self.asked < 4:
                    write(whole[: len(whole) * self.asked // 3])
            return super().__call__(scan)

    for path in [path for path in box.rglob("*") if path.is_file()]:
        os.utime(path, (0, 0))
    settled = Scanner(0.05)
    write(b"")
    with open_batch([box], tmp_path / "out", plan_of(str(recipe(tmp_path)), device="cpu"), settled=settled) as batch:
        assert batch.table.counts()[State.PENDING] == 4
        watch(batch, lambda: batch.runner(1, Listener(finished=told)), ending, print, 0.01)
        assert sorted(finished) == ["1910/may/d.tif", "a.tif", "b.tif", "c.png", "late.tif"]
        assert report_counts(batch.table)["done"] == 5
    assert (tmp_path / "out" / "late.tif").is_file()


def test_a_watch_ends_with_ctrl_c(box: Path, tmp_path: Path) -> None:
    for path in [path for path in box.rglob("*") if path.is_file()]:
        os.utime(path, (0, 0))
    with command(box, "-o", tmp_path / "out", "--recipe", recipe(tmp_path), "--watch", "--workers", 1) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(4)]
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=LONG)
    assert [line.split(":")[0] for line in lines] == ["done"] * 4
    assert process.returncode == 130
    assert "4 done" in said
