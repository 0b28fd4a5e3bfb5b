"""``lacuna verify``: records, digests and the promise that nothing changes outside of the repairs."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from desktop.document.edits import AddLayer, TurnPicture
from desktop.document.geometry import Turn
from desktop.document.model import Document
from desktop.document.project import Snapshot
from desktop.work.flatten import export
from engine import cli, imageio
from engine.errors import ReadError
from engine.jobs import Cancelled, JobContext
from engine.output import Output, RepairResult, repair_file, write_result
from engine.raster import ArrayMask, ArraySource, Raster, Rect
from engine.record import (
    LOCAL,
    Edited,
    Repair,
    ScanFile,
    file_digest,
    read_record,
    read_scan,
    record_bytes,
    record_path,
)
from engine.tasks import TASKS, HealSettings, TaskInput, run_task
from engine.verify import Verification, verify
from tests import tiny_models
from tests.conftest import noise_raster

BOX = Rect(10, 20, 30, 25)


def healed(scan: Raster, box: Rect = BOX) -> Raster:
    pixels = scan.pixels.copy()
    pixels[box.slices()] ^= 3
    return scan.with_pixels(pixels)


def repair(task: str = "heal", *boxes: Rect) -> Repair:
    return Repair(task, task, "1", "00", "cpu", boxes=tuple((b.left, b.top, b.right, b.bottom) for b in boxes))


def make(
    scan: Path, out: Path, repairs: tuple[Repair, ...] = (repair("heal", BOX),), change: Callable[..., Raster] = healed
) -> None:
    """Write a scan and its repaired picture."""
    for path in (scan, out):
        path.parent.mkdir(parents=True, exist_ok=True)
    if not scan.exists():
        imageio.write(noise_raster(60, 80, dtype=np.uint8), scan)
    repair_file(scan, Output(out), "heal", lambda raster, _: RepairResult(change(raster), repairs))


def reasons(result: Verification) -> list[str]:
    return [str(misfit.reason) for misfit in result.misfits]


def edit_record(picture: Path, **entries: Any) -> None:
    record_path(picture).write_bytes(record_bytes(read_record(picture) | entries))


def tamper(picture: Path, x: int, y: int) -> None:
    """Change a pixel, and write the digest of the new file into the record."""
    raster = imageio.read(picture)
    pixels = raster.pixels.copy()
    pixels[y, x] ^= 1
    imageio.write(raster.with_pixels(pixels), picture)
    edit_record(picture, written=read_record(picture)["written"] | {"sha256": file_digest(picture)})


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Folders of scans and of pictures in the same layout; the suffixes differ."""
    for name in ("a", "deep/b", "deep/er/c"):
        make(tmp_path / f"in/{name}.tif", tmp_path / f"out/{name}.png")
    return tmp_path / "out", tmp_path / "in"


def test_a_folder_that_fits(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    out, source = folders
    assert verify(out) == verify(out, source) == Verification(3, (), (), 0)
    assert cli.main(["verify", str(out), "--source", str(source)]) == 0
    assert capsys.readouterr().out == "All 3 pictures are as their records say.\n"
    assert cli.main(["verify", str(out / "a.png"), "--source", str(source / "a.tif")]) == 0
    assert capsys.readouterr().out == "The picture is as its record says.\n"
    assert verify(out / "deep/b.png", source / "deep").fits


def test_everything_that_does_not_fit_is_named(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = folders
    (out / "a.png").write_bytes((out / "a.png").read_bytes() + b"\0")
    record_path(out / "deep/b.png").unlink()
    (out / "deep/er/c.png").unlink()
    (out / "deep/er/d.jpg").write_bytes(b"no picture")
    record_path(out / "deep/er/d.jpg").write_text("{")
    (out / ".hidden.png").touch()
    (out / "notes.txt").touch()
    (out / "lacuna-report").mkdir()
    (out / "lacuna-report" / "small.jpg").touch()
    assert cli.main(["verify", str(out)]) == 1
    said, err = capsys.readouterr()
    lines = err.splitlines()
    assert said == ""
    assert [line.split(": ")[0] for line in lines[:-1]] == [
        str(out / name) for name in ("a.png", "deep/b.png", "deep/er/c.png.record.json", "deep/er/d.jpg")
    ]
    for line, words in zip(
        lines, ("SHA-256", "no record", "picture of this record is missing", "damaged"), strict=False
    ):
        assert words in line
    assert lines[-1] == "Pictures checked: 3. Things that do not fit: 3. Pictures without a record: 1."


def test_a_change_outside_of_the_repairs_is_found(folders: tuple[Path, Path]) -> None:
    out, source = folders
    tamper(out / "a.png", 30, 20)
    assert verify(out).fits
    assert reasons(verify(out, source)) == [
        "3 samples outside of the repaired places differ from the scan, the first at 30, 20.",
        "303 samples differ from the scan, and its record says 300.",
    ]
    # A sample that is the scan's again, inside.
    raster = imageio.read(source / "deep/b.tif")
    tamper(out / "deep/b.png", 12, 22)
    imageio.write(healed(raster, Rect(11, 20, 30, 25)), out / "deep/b.png")
    edit_record(
        out / "deep/b.png",
        written=read_record(out / "deep/b.png")["written"] | {"sha256": file_digest(out / "deep/b.png")},
    )
    assert reasons(verify(out / "deep", source / "deep")) == [
        "285 samples differ from the scan, and its record says 300."
    ]


def test_another_scan_and_a_missing_one(folders: tuple[Path, Path]) -> None:
    out, source = folders
    imageio.write(noise_raster(61, 80, dtype=np.uint8), source / "a.tif")
    (source / "deep/b.tif").unlink()
    edit_record(out / "deep/er/c.png", source=None)
    result = verify(out, source)
    assert [misfit.path.name for misfit in result.misfits] == ["a.png", "b.png", "c.png"]
    for said, words in zip(
        reasons(result), ("a.tif is not the scan", "b.tif is not in", "does not say which"), strict=True
    ):
        assert words in said
    assert verify(out).fits
    for name in ("n" * 300, "a\0b", "\ud800", "..", "/"):
        edit_record(out / "deep/er/c.png", source={"file": name, "sha256": "00"})
        assert len(verify(out / "deep/er", source / "deep/er").misfits) == 1
    edit_record(out / "deep/er/c.png", source={"file": "../er/c.tif", "sha256": None})
    assert reasons(verify(out / "deep/er", source / "deep/er")) == [
        "The record does not say of which bytes the scan consisted."
    ]


@pytest.mark.parametrize(
    "damage", [{"written": 3}, {"repairs": [3]}, {"samples_changed": "x"}, {"source": "x"}, {"areas": [[1]]}]
)
def test_damaged_entries_of_a_record(folders: tuple[Path, Path], damage: dict[str, Any]) -> None:
    out, _ = folders
    edit_record(out / "a.png", **damage)
    (said,) = reasons(verify(out))
    assert "record of a.png is damaged" in said


def test_repairs_of_the_whole_picture_are_counted_and_nothing_more(tmp_path: Path) -> None:
    scan, out = tmp_path / "scan.png", tmp_path / "out.png"
    make(
        scan,
        out,
        (repair("heal", BOX), repair("clean", Rect(0, 0, 80, 60))),
        lambda raster: healed(raster, Rect(0, 0, 80, 60)),
    )
    assert verify(out, scan) == Verification(1, (), (), 0)
    edit_record(out, samples_changed=5)
    assert len(verify(out, scan).misfits) == 1


def test_pictures_that_were_converted_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan, out = tmp_path / "scan.png", tmp_path / "out.jpg"
    make(scan, out)
    assert verify(out, scan) == Verification(1, (), (), 1)
    assert cli.main(["verify", str(out), "--source", str(scan)]) == 0
    assert "could not be compared" in capsys.readouterr().out
    assert verify(out).uncompared == 0


def test_a_grey_scan_in_a_format_without_grey(tmp_path: Path) -> None:
    scan, out = tmp_path / "scan.png", tmp_path / "out.webp"
    imageio.write(noise_raster(60, 80, 1, np.uint8), scan)
    make(scan, out)
    assert verify(out, scan) == Verification(1, (), (), 0)
    tamper(out, 50, 50)
    assert len(verify(out, scan).misfits) == 2


def test_enlarged_pictures(tmp_path: Path) -> None:
    scan, out = tmp_path / "scan.png", tmp_path / "out.png"

    def enlarge(raster: Raster) -> Raster:
        return raster.with_pixels(raster.pixels.repeat(2, 0).repeat(2, 1))

    make(scan, out, (repair("upscale", Rect(0, 0, 80, 60)),), enlarge)
    assert verify(out, scan).fits
    make(scan, out, (repair("heal", BOX),), enlarge)
    assert reasons(verify(out, scan)) == ["It has another size than its scan, but its record tells of no enlarging."]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_scan_that_is_stored_in_another_orientation(tmp_path: Path, orientation: int) -> None:
    scan, out = tmp_path / "scan.jpg", tmp_path / "out.tif"
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(noise_raster(60, 80, dtype=np.uint8).pixels).save(scan, exif=exif)
    make(scan, out)
    assert verify(out, scan) == Verification(1, (), (), 0)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", range(4))
def test_pictures_that_were_turned_and_painted_by_hand(tmp_path: Path, mirrored: bool, quarters: int) -> None:
    scan, out = tmp_path / "scan.tif", tmp_path / "out.png"
    raster = noise_raster(60, 80, dtype=np.uint8)
    imageio.write(raster, scan)
    before = np.ascontiguousarray(np.rot90(raster.pixels[:, ::-1] if mirrored else raster.pixels, quarters))
    after = healed(Raster(before), Rect(3, 4, 9, 9))
    source = ScanFile(scan, file_digest(scan))
    for areas, fits in (((Rect(3, 4, 9, 9),), True), ((Rect(4, 4, 9, 9),), False)):
        edited = Edited(areas, mirrored, quarters)
        write_result(
            after,
            Output(out),
            scan=before,
            source=source,
            repairs=[repair("heal", BOX)],
            command="export",
            edited=edited,
        )
        assert verify(out, scan).fits == fits


@pytest.mark.parametrize("turn", [None, *Turn])
def test_an_export_of_the_window_that_was_painted_by_hand(tmp_path: Path, turn: Turn | None) -> None:
    scan, out = tmp_path / "scan.tif", tmp_path / "out.tif"
    imageio.write(noise_raster(), scan)
    raster, file = read_scan(scan)
    document = Document(raster)
    layer = document.new_layer("by hand")
    pixels, mask = layer.pixels.edit(), layer.mask.edit()
    pixels.write(Rect(0, 0, 400, 300), np.full((300, 400, 3), 9, np.uint16))
    for rect in (Rect(250, 250, 262, 259), Rect(20, 30, 31, 33)):
        mask.write(rect, np.full((rect.height, rect.width), 128, np.uint8))
    layer = layer.with_pixels(pixels.commit().apply_to(layer.pixels), mask.commit().apply_to(layer.mask))
    AddLayer("add", layer, 0).apply(document)
    if turn is not None:
        TurnPicture(turn, document.state).apply(document)
    export(dataclasses.replace(Snapshot.of(document), scan=file), Output(out))
    assert verify(out, scan) == Verification(1, (), (), 0)
    assert read_record(out)["samples_changed"] == 3 * (12 * 9 + 11 * 3)
    tamper(out, 100, 100)
    assert len(verify(out, scan).misfits) == 2


def test_wrong_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(tmp_path)]) == 1
    assert "There is no picture in" in capsys.readouterr().err
    assert cli.main(["verify", str(tmp_path / "none")]) == 1
    assert "does not exist" in capsys.readouterr().err
    make(tmp_path / "scan.png", tmp_path / "out.png")
    with pytest.raises(ReadError):
        verify(tmp_path / "out.png", tmp_path / "none.png")
    assert verify(tmp_path / "scan.png") == Verification(1, (tmp_path / "scan.png",), (), 0)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_to_folders_are_not_followed(folders: tuple[Path, Path]) -> None:
    out, _ = folders
    (out / "loop").symlink_to(out)
    assert verify(out).pictures == 3


def test_cancelling(folders: tuple[Path, Path]) -> None:
    context = JobContext()
    context.cancel()
    with pytest.raises(Cancelled):
        verify(*folders, context)


def test_local_tasks_are_those_of_parts() -> None:
    whole = {task.id for task in TASKS.values() if task.gives in ("patch", "picture") and not task.wants_mask}
    assert set(TASKS) - whole == LOCAL


@given(
    st.lists(
        st.tuples(st.integers(0, 99), st.integers(0, 89), st.integers(1, 30), st.integers(1, 9)), min_size=1, max_size=4
    ),
    st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.9, 7.0]),
    st.sampled_from([0.0, 0.5, 1.0, 2.01, 5.0, 6.9]),
    st.booleans(),
)
def test_a_heal_changes_nothing_outside_of_its_boxes(
    tmp_path_factory: pytest.TempPathFactory,
    marks: list[tuple[int, int, int, int]],
    grow: float,
    feather: float,
    soft: bool,
) -> None:
    card = _masker(tmp_path_factory)
    mask = np.zeros((90, 100), np.uint8)
    for x, y, width, height in marks:
        mask[y : y + height, x : x + width] = 255
        if soft:
            mask[y, x] = 1
    picture = np.full((90, 100, 3), 7, np.uint8)
    settings = HealSettings(grow=grow, feather=feather, texture=0.0)
    patch = run_task(TaskInput("heal", ArraySource(picture), None, ArrayMask(mask), settings, card))
    changed = (patch.apply_to(picture) != picture).any(axis=2)
    assert changed.any()
    for box in patch.boxes:
        changed[box.slices()] = False
    assert not changed.any()


def _masker(factory: pytest.TempPathFactory, made: list[Any] = []) -> Any:  # noqa: B006 - kept between examples
    if not made:
        made.append(tiny_models.masker(factory.mktemp("models"), 1))
    return made[0]


def test_a_real_heal_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    imageio.write(noise_raster(80, 90), tmp_path / "scan.tif")
    mask = np.zeros((80, 90), np.uint8)
    mask[20:24, 10:40] = mask[60:70, 70:75] = 255
    imageio.write_mask(mask, tmp_path / "mask.png")
    words = ["heal", "scan.tif", "-o", "out.tif", "--mask", "mask.png", "--grow", "1.5", "--feather", "2.5"]
    assert cli.main(words) == 0
    assert cli.main(["verify", "out.tif", "--source", "scan.tif"]) == 0
    assert json.loads(record_path(tmp_path / "out.tif").read_text())["samples_changed"] > 0
    assert verify(tmp_path / "out.tif", tmp_path).fits
