"""A batch on a Dask cluster: a real scheduler and two worker processes on the loopback, one of which is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import imageio
from engine.batch import Cluster, Listener, open_batch
from engine.batch.cluster import Place
from engine.batch.plan import plan_of
from engine.batch.rows import Outcome, Row, State
from engine.errors import DeviceError
from tests import tiny_models
from tests.conftest import noise_raster

ROOT = Path(__file__).parents[2]
RECIPE = 'title = "Mine"\n[[steps]]\ntask = "clean"\nmodel = "smoother"\n'
LONG = 60

pytestmark = [
    # The library's own, of its event loop.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


class Machines:
    """A scheduler and its workers, each a process."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / "scheduler.json"
        self._all: list[subprocess.Popen[bytes]] = []
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-show", "--scheduler-file", str(self._file))
        while not self._file.exists() or not self._file.stat().st_size:
            assert self._all[0].poll() is None
        self.address = json.loads(self._file.read_text(encoding="utf-8"))["address"]
        self.workers = [self.start_worker() for _ in range(2)]

    def start_worker(self) -> subprocess.Popen[bytes]:
        return self._start("worker", self.address, "--nthreads", "1", "--no-nanny")

    def _start(self, kind: str, *words: str) -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *words, "--no-dashboard"]
        with (self._folder / f"{kind}-{len(self._all)}.log").open("wb") as log:
            process = subprocess.Popen(line, cwd=ROOT, stdout=log, stderr=log)
        self._all.append(process)
        return process

    def wait_for_workers(self) -> None:
        import distributed

        with distributed.Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(len(self.workers), timeout=LONG)

    def stop(self) -> None:
        for process in reversed(self._all):
            process.kill()
            process.wait()


@pytest.fixture
def machines(tmp_path: Path, shelf: Path) -> Iterator[Machines]:
    tiny_models.smoother(shelf)
    (tmp_path / "cluster").mkdir()
    machines = Machines(tmp_path / "cluster")
    try:
        machines.wait_for_workers()
        yield machines
    finally:
        machines.stop()


def test_a_machine_that_dies_costs_nothing_but_the_scan_it_was_at(machines: Machines, tmp_path: Path) -> None:
    box, out = tmp_path / "box", tmp_path / "out"
    box.mkdir()
    for number in range(16):
        imageio.write(noise_raster(200, 200), box / f"{number:02}.tif")
    (tmp_path / "mine.toml").write_text(RECIPE, encoding="utf-8")
    finished: list[str] = []
    made: dict[str, int] = {}

    def told(row: Row, outcome: Outcome) -> None:
        finished.append(row.relative)
        if outcome.state is State.DONE:
            made[row.output] = (out / row.output).stat().st_mtime_ns
        if len(finished) == 3:
            machines.workers[0].kill()

    with (
        open_batch([box], out, plan_of(str(tmp_path / "mine.toml"), device="cpu")) as batch,
        Cluster(machines.address) as cluster,
    ):
        assert cluster.places == 4
        assert batch.cluster_runner(cluster, Listener(finished=told)).run()
        rows = list(batch.table.rows())
    assert sorted(finished) == sorted(row.relative for row in rows)
    assert {row.state for row in rows} <= {State.DONE, State.UP_TO_DATE}
    assert len(list(out.glob("*.tif"))) == 16
    # Nothing that was done was written a second time.
    assert {name: (out / name).stat().st_mtime_ns for name in made} == made


def test_a_machine_that_dies_before_its_result_was_fetched(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell, told = Place._tell, []

    def kill_first(self: Place, id_: int, future: object) -> None:
        told.append(id_)
        if len(told) == 1:
            for worker in machines.workers:
                worker.kill()
                worker.wait()
            machines.start_worker()
        tell(self, id_, future)

    monkeypatch.setattr(Place, "_tell", kill_first)
    box = tmp_path / "box"
    box.mkdir()
    imageio.write(noise_raster(120, 90), box / "a.tif")
    (tmp_path / "mine.toml").write_text(RECIPE, encoding="utf-8")
    with (
        open_batch([box], tmp_path / "out", plan_of(str(tmp_path / "mine.toml"), device="cpu")) as batch,
        Cluster(machines.address) as cluster,
    ):
        assert batch.cluster_runner(cluster, Listener()).run()
        (row,) = batch.table.rows()
    # What the dead machine had written was found, and not made again.
    assert row.state is State.UP_TO_DATE, row.outcome.reason


def test_results_are_those_of_this_computer(machines: Machines, tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.mkdir()
    imageio.write(noise_raster(120, 90), box / "a.tif")
    (tmp_path / "mine.toml").write_text(RECIPE, encoding="utf-8")
    digests = []
    for name in ("here", "there"):
        with open_batch([box], tmp_path / name, plan_of(str(tmp_path / "mine.toml"), device="cpu")) as batch:
            if name == "here":
                assert batch.runner(1, Listener()).run()
            else:
                with Cluster(machines.address) as cluster:
                    assert batch.cluster_runner(cluster, Listener()).run()
            (row,) = batch.table.rows()
            assert row.outcome is not None
            digests.append(row.outcome.output_sha256)
    assert digests[0] == digests[1] != ""


def test_a_scheduler_that_dies_ends_the_run_with_a_sentence(
    machines: Machines, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import dask

    box, out = tmp_path / "box", tmp_path / "out"
    box.mkdir()
    for number in range(12):
        imageio.write(noise_raster(200, 200), box / f"{number:02}.tif")
    (tmp_path / "mine.toml").write_text(RECIPE, encoding="utf-8")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        open_batch([box], out, plan_of(str(tmp_path / "mine.toml"), device="cpu")) as batch,
        pytest.raises(DeviceError, match="The scheduler of the cluster is gone"),
        Cluster(machines.address) as cluster,
    ):
        batch.cluster_runner(cluster, Listener(finished=lambda *_: machines.stop())).run()
    # The library logs that it could not connect again.
    caplog.clear()
    with open_batch([box], out, plan_of(str(tmp_path / "mine.toml"), device="cpu")) as batch:
        assert batch.table.counts()[State.PENDING] > 0
        assert batch.runner(2, Listener()).run()
    assert len(list(out.glob("*.tif"))) == 12


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.batch.cluster._ANSWER", 1)
    with pytest.raises(DeviceError, match=r"The scheduler at tcp://127\.0\.0\.1:9 does not answer"):
        Cluster("tcp://127.0.0.1:9")
