"""What a batch must never do: overwrite a scan, lose a result, leave its folder, or hide how it ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine import imageio
from engine.batch import Listener, open_batch
from engine.batch.plan import plan_of
from engine.batch.report import report_counts
from engine.batch.rows import State
from engine.batch.work import Job, Restorer
from engine.output import Output
from engine.recipes import read_recipe
from engine.restore import restore_file
from engine.runtime.session import Device
from tests import tiny_models
from tests.conftest import write_scan

ROOT = Path(__file__).parents[2]
LONG = 60
RECIPE = 'title = "Mine"\n{more}\n[[steps]]\ntask = "clean"\nmodel = "smoother"\n'


@pytest.fixture
def mine(tmp_path: Path, shelf: Path) -> Path:
    """A recipe file of the user, whose model smooths."""
    tiny_models.smoother(shelf)
    return recipe(tmp_path)


def recipe(folder: Path, more: str = "") -> Path:
    path = folder / "mine.toml"
    path.write_text(RECIPE.format(more=more), encoding="utf-8")
    return path


def ran(inputs: list[Path], out: Path, mine: Path, workers: int = 1, **settings: object) -> dict[str, str]:
    """Run a batch; returns the path of each scan below what was given, and its result or its failure."""
    with open_batch(inputs, out, plan_of(str(mine), device="cpu", **settings)) as batch:
        assert batch.runner(workers, Listener()).run()
        rows = list(batch.table.rows())
    told = {}
    for row in rows:
        assert row.outcome is not None
        told[row.relative] = row.outcome.reason if row.state is State.FAILED else row.output
    return told


def test_a_scan_is_never_the_place_of_a_result(mine: Path, tmp_path: Path) -> None:
    box = tmp_path / "box"
    kept = [write_scan(box / name, number).read_bytes() for number, name in enumerate(("b.png", "b.tif"))]
    told = ran([box / "b.png", box / "b.tif"], box, mine, exists="replace", suffix=".tif")
    assert "that of a scan" in told["b.png"]
    assert told["b.tif"] == "b-tif.tif"
    # A link in the output folder leads to a scan, too.
    out = tmp_path / "out"
    out.mkdir()
    (out / "b.tif").symlink_to(box / "b.tif")
    assert "that of a scan" in ran([box / "b.tif"], out, mine, exists="replace")["b.tif"]
    assert [(box / name).read_bytes() for name in ("b.png", "b.tif")] == kept


def test_a_result_that_a_person_made_is_not_replaced_unasked(mine: Path, tmp_path: Path) -> None:
    """Its record is like that of a batch, and tells the same scan."""
    box, out = tmp_path / "box", tmp_path / "out"
    write_scan(box / "a.tif", 1)
    out.mkdir()
    plan, work = plan_of(str(mine), device="cpu"), Restorer()

    def done(fingerprint: str) -> tuple[State, str]:
        outcome = work.do(Job(1, str(box / "a.tif"), str(out), "a.tif", vars(plan), fingerprint))
        return outcome.state, outcome.code

    assert [done("f"), done("f"), done("of another recipe")] == [
        (State.DONE, ""),
        (State.UP_TO_DATE, ""),
        (State.DONE, ""),
    ]
    restore_file(box / "a.tif", read_recipe(str(mine)), Output(out / "a.tif"), Device.CPU)
    exported = (out / "a.tif").read_bytes()
    assert done("f") == (State.FAILED, "batch.exists")
    assert (out / "a.tif").read_bytes() == exported


def test_copies_get_names_that_no_other_scan_has(mine: Path, tmp_path: Path) -> None:
    box, out = tmp_path / "box", tmp_path / "out"
    write_scan(box / "a.tif", 1)
    write_scan(box / "a (2).tif", 2)
    foreign = write_scan(out / "a.tif", 3).read_bytes()
    told = ran([box], out, mine, workers=2, exists="keep")
    assert told == {"a (2).tif": "a (2).tif", "a.tif": "a (3).tif"}
    for name, mark in (("a (2).tif", 2), ("a (3).tif", 1)):
        digest = imageio.read(box / ("a.tif" if mark == 1 else "a (2).tif"))
        assert not np.array_equal(imageio.read(out / name).pixels, digest.pixels)
    assert (out / "a.tif").read_bytes() == foreign
    # Again, and with the table lost: no more copies.
    assert ran([box], out, mine, exists="keep") == told
    assert sorted(path.name for path in out.glob("*.tif")) == ["a (2).tif", "a (3).tif", "a.tif"]


def test_a_recipe_of_a_stranger_cannot_lead_out_of_the_folder(mine: Path, tmp_path: Path) -> None:
    box, out = tmp_path / "box", tmp_path / "deep" / "out"
    write_scan(box / "a.tif", 1)
    recipe(tmp_path, 'name = ".."')
    assert ran([box], out, mine, template="{recipe}/{name}") == {"a.tif": "-/a.tif"}
    assert not (tmp_path / "deep" / "a.tif").exists()


def test_a_scan_is_one_scan_however_it_is_given(mine: Path, tmp_path: Path) -> None:
    box, out = tmp_path / "box", tmp_path / "out"
    write_scan(box / "a.tif", 1)
    (tmp_path / "link").symlink_to(box)
    (box / "same.tif").symlink_to(box / "a.tif")
    told = ran([tmp_path / "x" / ".." / "box", tmp_path / "link", box / "a.tif"], out, mine)
    assert len(told) == 1
    assert ran([box], out, mine).keys() == {"a.tif"}
    assert len(list(out.rglob("*.tif"))) == 1


def test_a_stopped_run_goes_on_only_with_what_is_given_again(mine: Path, tmp_path: Path) -> None:
    one, two, out = tmp_path / "one", tmp_path / "two", tmp_path / "out"
    write_scan(one / "a.tif", 1)
    write_scan(two / "b.tif", 2)
    with open_batch([one, two], out, plan_of(str(mine), device="cpu")) as batch:
        run = batch.runner(1, Listener())
        run.stop(now=True)
        assert not run.run()
    with open_batch([one], out, plan_of(str(mine), device="cpu")) as batch:
        assert batch.runner(1, Listener()).run()
        assert report_counts(batch.table)["done"] == 1
    assert [path.name for path in out.rglob("*.tif")] == ["a.tif"]


def test_replace_after_a_stopped_run_replaces_everything(mine: Path, tmp_path: Path) -> None:
    box, out = tmp_path / "box", tmp_path / "out"
    for number in range(3):
        write_scan(box / f"{number}.tif", number)
    with open_batch([box], out, plan_of(str(mine), device="cpu")) as batch:
        run = batch.runner(1, Listener(finished=lambda *_: run.stop(now=False)))
        assert not run.run()
    first = out / "0.tif"
    before = first.stat().st_mtime_ns
    ran([box], out, mine, exists="replace")
    assert first.stat().st_mtime_ns > before


def test_numbers_go_on_where_they_were(mine: Path, tmp_path: Path) -> None:
    box, out = tmp_path / "box", tmp_path / "out"
    write_scan(box / "b.tif", 1)
    assert ran([box], out, mine, template="{n:000}") == {"b.tif": "001.tif"}
    write_scan(box / "a.tif", 2)
    assert ran([box], out, mine, template="{n:000}") == {"a.tif": "002.tif", "b.tif": "001.tif"}


def test_a_closed_pipe_ends_nothing(mine: Path, tmp_path: Path) -> None:
    box, out = tmp_path / "box", tmp_path / "out"
    for number in range(3):
        write_scan(box / f"{number}.tif", number)
    read, write = os.pipe()
    line = [sys.executable, "-m", "engine", "batch", str(box), "-o", str(out), "--recipe", str(mine)]
    process = subprocess.Popen(line, cwd=ROOT, stderr=write)
    os.close(write)
    os.close(read)
    assert process.wait(LONG) == 0
    assert len(list(out.glob("*.tif"))) == 3


def test_two_runs_do_not_share_an_output_folder(mine: Path, tmp_path: Path) -> None:
    box, out = tmp_path / "box", tmp_path / "out"
    write_scan(box / "a.tif", 1)
    line = [sys.executable, "-m", "engine", "batch", str(box), "-o", str(out), "--recipe", str(mine)]
    with open_batch([box], out, plan_of(str(mine), device="cpu")):
        done = subprocess.run([*line, "--table", str(tmp_path / "t")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "is being worked on by" in done.stderr


def test_a_watch_does_not_do_failed_scans_again_and_counts_them(mine: Path, tmp_path: Path) -> None:
    box, out = tmp_path / "box", tmp_path / "out"
    write_scan(box / "a.tif", 1)
    (box / "broken.tif").write_bytes(b"II*\0 and nothing more")
    with open_batch([box], out, plan_of(str(mine), device="cpu")) as batch:
        assert batch.runner(1, Listener()).run()
        batch.list_scans(same_run=True)
        assert batch.table.pending()[1] == 0
        counts = report_counts(batch.table)
        assert (counts["done"], counts["failed"]) == (1, 1)
        (box / "broken.tif").write_bytes(b"II*\0 and a little more of it")
        batch.list_scans(same_run=True)
        assert batch.table.pending()[1] == 1
