"""Batches that look first: reviews, decisions and masks, and that what was decided is what is healed."""

from __future__ import annotations

import base64
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from engine import cli, imageio
from engine.batch import Batch, open_batch
from engine.batch.cluster import _do
from engine.batch.deciding import accept_rows
from engine.batch.look import look_through
from engine.batch.plan import Plan, plan_of
from engine.batch.pool import Event
from engine.batch.report import report_counts
from engine.batch.reviews import Accept, Totals, numbers_of, read_review, review_path, write_review
from engine.batch.rows import Outcome, ReviewNumbers, Row, State
from engine.batch.run import BatchRun
from engine.batch.work import Job
from engine.errors import ReadError
from engine.outlines import judgements_of, listed_defects, outline_defects
from engine.raster import ArraySource, Raster
from engine.recipes import RestoreResult, read_recipe, run_recipe
from engine.record import read_record
from engine.review import Verdict
from engine.runtime.cards import Registry
from engine.runtime.session import Device
from tests import tiny_models
from tests.conftest import noise_raster

ROOT = Path(__file__).parents[2]
LONG = 60
DETECT = '[[steps]]\ntask = "detect"\nmodel = "finder"\n'
HEAL = '[[steps]]\ntask = "heal"\nmodel = "masker"\n'
CLEAN = '[[steps]]\ntask = "clean"\nmodel = "smoother"\n'


@pytest.fixture
def mine(tmp_path: Path, shelf: Path) -> Path:
    """A recipe file of the user, whose models find white and black, paint white, and smooth."""
    tiny_models.finder(shelf)
    tiny_models.masker(shelf, 1)
    tiny_models.smoother(shelf)
    return recipe(tmp_path)


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """Scans with a scratch, a speck and a large stain (a.tif), without damage (a.png), and lined with white (w.tif)."""
    box = tmp_path / "box"
    box.mkdir()
    imageio.write(Raster(damaged()), box / "a.tif")
    plain = noise_raster(200, 300, dtype=np.uint8).pixels
    imageio.write(Raster(plain), box / "a.png")
    white = plain.copy()
    white[:120:2] = 255
    imageio.write(Raster(white), box / "w.tif")
    return box


def damaged() -> np.ndarray:
    pixels = noise_raster(200, 300, dtype=np.uint8).pixels.copy()
    pixels[20, 10:100] = 255
    pixels[40, 120:124] = 255
    pixels[60:90, 40:70] = 0
    return pixels


def recipe(folder: Path, steps: str = DETECT + HEAL + CLEAN, name: str = "mine") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(f'title = "Mine"\n{steps}', encoding="utf-8")
    return path


class Here:
    """A ``Worker`` that works at once, in this process."""

    def __init__(self, on_event: Callable[[Event], None]) -> None:
        self.job: Job | None = None
        self.ready = True
        self._on_event = on_event

    def start(self, job: Job) -> None:
        self.job = job
        # As it is sent to other machines.
        self._on_event(Event(self, {"id": job.id, "outcome": _do(dataclasses.asdict(job))}))

    def cancel(self) -> None:
        pass

    def end(self) -> None:
        pass

    def death(self) -> str:
        return ""


@contextmanager
def opened(box: Path, out: Path, mine: Path, **settings: object) -> Iterator[Batch]:
    with open_batch([box], out, plan_of(str(mine), device="cpu", **settings)) as batch:
        yield batch


def ran(box: Path, out: Path, mine: Path, **settings: object) -> dict[str, Row]:
    """Run a batch; returns its rows by the scans' names."""
    with opened(box, out, mine, **settings) as batch:
        assert BatchRun(batch.table, batch.folder, batch.fingerprint, 1, Here).run()
        return {row.relative: row for row in batch.table.rows()}


def states(rows: dict[str, Row]) -> dict[str, str]:
    return {name: row.state.value for name, row in rows.items()}


def outcome(row: Row) -> Outcome:
    assert row.outcome is not None
    return row.outcome


def decide(box: Path, out: Path, mine: Path, what: Accept, *names: str) -> Totals:
    """Decide about scans, all if none is named."""
    with opened(box, out, mine, review=True) as batch:
        rows = [row for row in batch.table.undecided() if row.relative in names or not names]
        assert accept_rows(batch.table, rows, what)[1] == []
        return batch.table.totals()


def restored(scan: Path, mine: Path) -> RestoreResult:
    """What the recipe makes of a scan without a batch."""
    registry = Registry()
    return run_recipe(read_recipe(str(mine)), ArraySource(imageio.read(scan).pixels), None, registry, Device.CPU)


def pixels(path: Path) -> np.ndarray:
    return imageio.read(path).pixels


# -- on the command line ----------------------------------------------------------------------------------------------


def batch_line(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    status = cli.main(list(map(str, words)))
    said = capsys.readouterr()
    return status, said.out + said.err


def test_accepting_what_is_certain_gives_what_a_batch_without_review_gives(
    box: Path, mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, out = tmp_path / "plain", tmp_path / "out"
    ran(box, plain, mine)
    line = ("batch", box, "-o", out, "--recipe", mine, "--device", "cpu", "--workers", 1)
    status, said = batch_line(capsys, *line, "--review")
    assert status == 0, said
    assert "looked through: a.tif: 3 found: scratch 2, stain 1 (unsure)" in said
    assert "3 files wait for decisions about 63 defects." in said
    assert f"lacuna review {out} --accept certain|all|none" in said
    assert not list(out.glob("*.*"))
    report = json.loads((out / "lacuna-report" / "report.json").read_text(encoding="utf-8"))
    assert report["counts"] == {"done": 0, "up_to_date": 0, "failed": 0, "pending": 3, "ignored": 0}
    (row,) = (row for row in report["files"] if row["source"] == "a.tif")
    assert (row["state"], row["found"], row["chips"]) == ("pending", {"scratch": 2, "stain": 1}, ["unsure"])
    assert "waits for decisions" in (out / "lacuna-report" / "report.html").read_text(encoding="utf-8")
    # Another process works on it: nothing is decided meanwhile.
    with opened(box, out, mine, review=True):
        status, said = batch_line(capsys, "review", out, "--accept", "certain")
        assert status == 1
        assert "is being worked on by" in said
    status, said = batch_line(capsys, "review", out / "lacuna-report" / "batch.sqlite", "--accept", "certain")
    assert (status, said) == (0, "Heal 2 defects in 1 file; 2 files have none.\n")
    rows = ran(box, out, mine)
    assert states(rows) == {"a.png": "done", "a.tif": "done", "w.tif": "done"}
    for name, row in rows.items():
        assert np.array_equal(pixels(out / row.output), pixels(plain / row.output)), name
        one, other = (read_record(folder / row.output)["repairs"] for folder in (out, plain))
        for record in (*one, *other):
            record["boxes"].sort()
        # Of the picture that is lined with white the recipe heals nothing, and says what it found there.
        assert one == other or name == "w.tif"
    assert states(ran(box, out, mine)) == dict.fromkeys(states(rows), "up_to_date")


def test_what_cannot_be_reviewed_is_refused(
    box: Path, mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean, twice = recipe(tmp_path, CLEAN, "clean"), recipe(tmp_path, DETECT + HEAL + DETECT, "twice")
    for words, said in (
        (("batch", box, "-o", tmp_path / "out", "--recipe", clean, "--review"), "does not look for damage"),
        (("batch", box, "-o", tmp_path / "out", "--recipe", clean, "--detect-only"), "does not look for damage"),
        (("batch", box, "-o", tmp_path / "out", "--recipe", twice, "--review"), "more than once"),
        (("batch", box, "-o", tmp_path / "out", "--recipe", mine, "--detect-only", "--format", "tif"), "as PNG"),
        (("review", tmp_path / "out", "--accept", "all"), "There is no table of a batch"),
        (("review", box / "a.tif", "--accept", "all"), "cannot be used"),
    ):
        status, told = batch_line(capsys, *words)
        assert status == 1
        assert said in told
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_killed_while_it_looks_loses_nothing(mine: Path, tmp_path: Path) -> None:
    box, out = tmp_path / "box", tmp_path / "out"
    box.mkdir()
    for number in range(12):
        imageio.write(noise_raster(300, 300, dtype=np.uint8), box / f"{number:02}.tif")
    line = [sys.executable, "-m", "engine", "batch", str(box), "-o", str(out), "--recipe", str(mine), "--review"]
    with subprocess.Popen([*line, "--workers", "1"], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("looked through: 00.tif: no damage")
        process.kill()
    made = {path: path.stat().st_mtime_ns for path in out.rglob("reviews/*/*.json")}
    assert 1 <= len(made) < 12
    assert set(states(ran(box, out, mine, review=True)).values()) == {"found"}
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert len(list(out.rglob("reviews/*/*.json"))) == 12


# -- decisions --------------------------------------------------------------------------------------------------------


def test_decided_scans_are_healed_and_others_wait_or_are_restored_by_the_recipe(
    box: Path, mine: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert states(ran(box, out, mine, review=True)) == {"a.png": "found", "a.tif": "found", "w.tif": "found"}
    assert decide(box, out, mine, "all", "a.tif") == Totals(3, 1, 0)
    rows = ran(box, out, mine, review=True)
    assert states(rows) == {"a.png": "found", "a.tif": "done", "w.tif": "found"}
    assert rows["a.tif"].numbers == ReviewNumbers(accepted=3, unsure=1)
    # All that was accepted is painted white, also the stain; then the whole picture is smoothed.
    result = pixels(out / "a.tif")
    assert result[75, 55].min() > 250
    assert outcome(rows["a.tif"]).steps == ("detect", "heal", "clean")
    assert decide(box, out, mine, "none", "w.tif") == Totals(0, 0, 1)
    rows = ran(box, out, mine)
    assert states(rows) == {"a.png": "done", "a.tif": "up_to_date", "w.tif": "done"}
    for name in ("a.png", "w.tif"):
        wanted = restored(box / name, recipe(tmp_path, CLEAN, "clean"))
        assert np.array_equal(pixels(out / rows[name].output), wanted.pixels())
    assert outcome(rows["w.tif"]).steps == ("detect", "clean")
    assert outcome(rows["w.tif"]).left_out == {"heal": "No damage was accepted: nothing was healed."}
    assert outcome(rows["a.png"]).left_out == {"heal": "No damage was found: nothing was healed."}
    # A result is made again by the decisions when it is lost, and when everything is to be replaced.
    (out / "a.tif").unlink()
    assert states(ran(box, out, mine))["a.tif"] == "done"
    assert states(ran(box, out, mine, exists="replace"))["a.tif"] == "done"
    assert np.array_equal(pixels(out / "a.tif"), result)


def test_what_a_recipe_does_before_its_search_is_done_before_the_look(box: Path, mine: Path, tmp_path: Path) -> None:
    out, late = tmp_path / "out", recipe(tmp_path, CLEAN + DETECT + HEAL, "late")
    found = outcome(ran(box / "a.tif", out, late, review=True)["a.tif"]).found
    decide(box / "a.tif", out, late, "certain")
    ran(box / "a.tif", out, late)
    wanted = restored(box / "a.tif", late)
    assert wanted.marks is not None
    assert sum(found.values()) == len(wanted.marks.defects) + len(wanted.marks.unsure) == 2
    assert np.array_equal(pixels(out / "a.tif"), wanted.pixels())


def test_single_decisions_are_those_of_a_document(box: Path, mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = ran(box, out, mine, review=True)
    assert rows["a.tif"].numbers == ReviewNumbers(to_do=3, unsure=1)
    path = review_path(out, rows["a.tif"].path)
    review = read_review(path)
    outlines = outline_defects(review)
    scratch, speck, stain = sorted(listed_defects(outlines, review), key=lambda item: item.defect.box.top)
    decided = [dataclasses.replace(scratch, verdict=Verdict.KEPT), dataclasses.replace(stain, verdict=Verdict.ACCEPTED)]
    judged = judgements_of(decided, outlines.threshold)
    write_review(path, dataclasses.replace(review, judgements=review.with_judgements(judged)))
    with opened(box, out, mine, review=True) as batch:
        row = rows["a.tif"]
        batch.table.note_review(row.id, numbers_of(read_review(path)))
        assert next(r for r in batch.table.undecided() if r.id == row.id).numbers == ReviewNumbers(1, 1, 1, 1)
    # The decisions are there next week, and stay when the rest is accepted.
    assert read_review(path).judgements == judged
    assert decide(box, out, mine, "certain", "a.tif") == Totals(2, 1, 0)
    ran(box, out, mine, review=True)
    result, scan = pixels(out / "a.tif"), damaged()
    healed = restored(box / "a.tif", recipe(tmp_path, CLEAN, "clean")).pixels()
    assert np.array_equal(result[15:25, 10:100], healed[15:25, 10:100])
    assert scan[75, 55].max() == 0
    assert result[75, 55].min() > 250
    assert speck.unsure is False


def test_decisions_are_not_laid_over_another_picture(box: Path, mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran(box, out, mine, review=True)
    decide(box, out, mine, "all")
    # The same bytes with another time are the same picture.
    (box / "w.tif").write_bytes((box / "w.tif").read_bytes())
    changed = damaged()
    changed[100, 10:20] = 255
    imageio.write(Raster(changed), box / "a.tif")
    rows = ran(box, out, mine)
    assert states(rows) == {"a.png": "done", "a.tif": "found", "w.tif": "done"}
    assert not rows["a.tif"].decided
    assert "It was looked through again, and waits for new decisions." in outcome(rows["a.tif"]).notices[0]
    assert outcome(rows["a.tif"]).found == {"scratch": 3, "stain": 1}
    assert not (out / "a.tif").exists()
    assert read_review(review_path(out, rows["a.tif"].path)).judgements == {}


def test_decisions_about_what_another_search_found_are_not_used(box: Path, mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran(box, out, mine, review=True)
    decide(box, out, mine, "all", "a.tif")
    recipe(tmp_path, DETECT + "settings = { threshold = 0.9 }\n" + HEAL + CLEAN)
    rows = ran(box, out, mine)
    assert states(rows) == {"a.png": "done", "a.tif": "found", "w.tif": "done"}
    assert not rows["a.tif"].decided
    assert outcome(rows["a.tif"]).notices[0].startswith("The recipe looks for damage in another way")
    assert not (out / "a.tif").exists()
    # The search's own decisions count, and what follows it may change.
    decide(box, out, mine, "all", "a.tif")
    recipe(tmp_path, DETECT + "settings = { threshold = 0.9 }\n" + HEAL)
    assert states(ran(box, out, mine))["a.tif"] == "done"


def test_a_damaged_review_is_a_sentence_and_can_be_made_again(
    box: Path, mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    rows = ran(box, out, mine, review=True)
    path = review_path(out, rows["a.tif"].path)
    good = json.loads(path.read_text(encoding="utf-8"))
    bomb = base64.b64encode(imageio.encode_png(np.zeros((4096, 4096, 1), np.uint8))).decode()
    for name, value in (
        ("version", 2),
        ("size", [0, 160]),
        ("size", [10**30, 160]),
        ("cells", [[0, 0], [0, 0]]),
        ("cells", [[9, 9]]),
        ("damage", "%%%"),
        ("damage", bomb),
        ("found", []),
        ("review", good["review"] | {"search": None}),
        ("review", good["review"] | {"judgements": [[500, 500, [0, 0, 1, 1], 0.5, "kept", None]]}),
    ):
        path.write_text(json.dumps(good | {name: value}), encoding="utf-8")
        with pytest.raises(ReadError, match=r"is damaged.*Look through the scan again with --review\."):
            read_review(path)
    path.write_text("[" * 100_000, encoding="utf-8")
    status, said = batch_line(capsys, "review", out, "--accept", "none")
    assert status == 3
    assert "a.tif: The review" in said
    assert "Nothing is to be healed: 2 files have none.\n" in said
    # It is not healed by decisions that are lost, however often it is tried.
    path.write_text(json.dumps(good), encoding="utf-8")
    decide(box, out, mine, "none")
    path.write_text("{}", encoding="utf-8")
    for _ in range(2):
        row = ran(box, out, mine)["a.tif"]
        assert (row.state, outcome(row).code) == (State.FAILED, "review.damaged")
    row = ran(box, out, mine, review=True)["a.tif"]
    assert (row.state, row.decided, outcome(row).found) == (State.FOUND, False, {"scratch": 2, "stain": 1})
    path.unlink()
    assert ran(box, out, mine, review=True)["a.tif"].state is State.FOUND
    assert path.exists()


# -- masks ------------------------------------------------------------------------------------------------------------


def test_detect_only_writes_masks_that_decisions_can_follow(box: Path, mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    imageio.write(noise_raster(30, 40), out / "a-mask.png")
    foreign = (out / "a-mask.png").read_bytes()
    rows = ran(box, out, mine, detect_only=True)
    # Of a.png and a.tif one mask has the name alone, where a file is that this program did not write.
    assert {name: row.output for name, row in rows.items()} == {
        "a.png": "a-mask.png",
        "a.tif": "a-mask-tif.png",
        "w.tif": "w-mask.png",
    }
    assert states(rows) == {"a.png": "failed", "a.tif": "done", "w.tif": "done"}
    assert "exists and is not as a batch wrote it" in outcome(rows["a.png"]).reason
    assert (out / "a-mask.png").read_bytes() == foreign
    marks = restored(box / "a.tif", mine).marks
    assert marks is not None
    mask = imageio.read(out / "a-mask-tif.png")
    assert (mask.channels, mask.depth) == (1, 8)
    assert np.array_equal(mask.pixels[..., 0], marks.mask())
    # The recipe would heal nothing of the picture that is lined with white.
    assert not pixels(out / "w-mask.png").any()
    (out / "a-mask.png").unlink()
    (out / "w-mask.png").unlink()
    rows = ran(box, out, mine, detect_only=True)
    assert states(rows) == {"a.png": "done", "a.tif": "up_to_date", "w.tif": "done"}
    assert decide(box, out, mine, "all") == Totals(63, 2, 1)
    rows = ran(box, out, mine)
    assert states(rows) == {"a.png": "done", "a.tif": "done", "w.tif": "done"}
    assert pixels(out / rows["a.tif"].output)[75, 55].min() > 250
    with opened(box, out, mine) as batch:
        assert report_counts(batch.table)["up_to_date"] == 3


# -- reasons to look --------------------------------------------------------------------------------------------------


def test_chips_say_why_a_person_should_look(mine: Path, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    for make in (tiny_models.finder, tiny_models.spotter):
        make(shelf)
    plan = plan_of(str(recipe(tmp_path, DETECT, "detect")), device="cpu")
    grey = np.full((192, 384, 3), 30, np.uint8)

    def chips(picture: np.ndarray, plan: Plan = plan) -> tuple[str, ...]:
        return look_through(Raster(picture), plan, Registry(shelf, shelf))[0].chips

    def with_white(*rows: slice, columns: slice, below: int = 30) -> np.ndarray:
        picture = grey.copy()
        picture[100:] = below
        for row in rows:
            picture[row, columns] = 255
        return picture

    assert chips(grey) == ()
    assert chips(with_white(slice(99, 100), columns=slice(20, 180))) == ()
    # Between a darker and a lighter part of the picture.
    assert chips(with_white(slice(99, 100), columns=slice(20, 180), below=60)) == ("edge",)
    assert chips(with_white(slice(98, 100), columns=slice(20, 24), below=60)) == ()
    many = [slice(row, row + 1) for row in range(16, 90, 12)]
    assert chips(with_white(*many, columns=slice(20, 180))) == ("much",)
    assert chips(with_white(slice(80, 96), columns=slice(80, 96))) == ("face", "unsure")
    # Without a model for faces there is no such chip.
    (shelf / "spotter" / "card.toml").unlink()
    assert chips(with_white(slice(80, 96), columns=slice(80, 96))) == ("unsure",)
