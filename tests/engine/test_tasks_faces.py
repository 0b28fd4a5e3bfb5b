"""Finding faces: boxes in the pixels of the scan, without doubles, and the command that lists them."""

from __future__ import annotations

import json
import math
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from engine import cli, imageio
from engine.errors import ModelError, SettingsError
from engine.raster import ArraySource, Raster
from engine.runtime.cards import Registry
from engine.runtime.session import Device
from engine.tasks import Face, Faces, FaceSettings, TaskInput, check_card, faces, run_task, try_model
from tests import tiny_models


def spots(height: int, width: int, *places: tuple[int, int], side: int = 4, channels: int = 3) -> np.ndarray:
    """A black picture with white squares at places (x, y)."""
    picture = np.zeros((height, width, channels), np.uint8)
    for x, y in places:
        picture[y : y + side, x : x + side] = 255
    return picture


def find(folder: Path, picture: np.ndarray, threshold: float = 0.5) -> Faces:
    card = tiny_models.spotter(folder)
    found = run_task(TaskInput("faces", ArraySource(picture), None, None, FaceSettings(threshold), card, Device.CPU))
    assert isinstance(found, Faces)
    return found


def box(face: Face) -> tuple[float, ...]:
    return tuple(round(value, 2) for value in astuple(face)[:4])


def test_a_box_lies_around_the_centre_of_a_face(tmp_path: Path) -> None:
    found = find(tmp_path, spots(72, 96, (40, 32)))
    assert (found.shape, found.device) == ((72, 96), Device.CPU)
    assert [box(face) for face in found.faces] == [(34, 22, 16, 24)]
    assert found.faces[0].score == pytest.approx(1)


@pytest.mark.parametrize("channels", [1, 3])
def test_boxes_of_a_large_scan_are_in_its_own_pixels(tmp_path: Path, channels: int) -> None:
    found = find(tmp_path, spots(288, 384, (160, 128), side=16, channels=channels))
    assert [box(face) for face in found.faces] == [(136, 88, 64, 96)]
    # Not a whole number of times as large: 250 px are reduced to 96.
    found = find(tmp_path, spots(120, 250, (100, 50), side=30), threshold=0.3)
    assert found.faces
    assert all(f.x < 115 < f.x + f.width and f.y < 65 < f.y + f.height for f in found.faces)


def test_a_small_scan_is_enlarged_and_a_tiny_one_not_too_much(tmp_path: Path) -> None:
    found = find(tmp_path, spots(36, 48, (20, 16), side=2), threshold=0.3)
    (face,) = found.faces
    assert (face.width, face.height) == pytest.approx((8, 12))
    assert (face.x + 4, face.y + 6) == pytest.approx((21, 17), abs=0.6)
    assert find(tmp_path, spots(1, 1)).faces == ()


def test_large_faces_are_found_in_a_reduced_picture(tmp_path: Path) -> None:
    card = tiny_models.spotter(tmp_path)
    picture = spots(72, 96, (40, 32), side=8)
    widths = []
    for smallest in (32, 96):
        used = replace(card, tile=replace(card.tile, minimum=smallest))
        found = run_task(TaskInput("faces", ArraySource(picture), None, None, FaceSettings(), used, Device.CPU))
        widths.append([round(face.width) for face in found.faces])
    assert widths == [[16, 32], [16]]


def test_boxes_end_at_the_edge_of_the_scan(tmp_path: Path) -> None:
    (face,) = find(tmp_path, spots(72, 96, (0, 0))).faces
    assert box(face) == (0, 0, 10, 14)


def test_faces_come_by_their_score_and_the_threshold_leaves_out_the_unsure(tmp_path: Path) -> None:
    picture = spots(72, 96, (20, 32), (60, 32))
    picture[32:36, 20:24] = 180
    sure, unsure = find(tmp_path, picture).faces
    assert (round(sure.x), round(unsure.x)) == (54, 14)
    assert unsure.score == pytest.approx(180 / 255, abs=1e-3)
    assert [round(face.x) for face in find(tmp_path, picture, 0.8).faces] == [54]


def test_of_two_boxes_of_one_face_the_surer_one_is_kept(tmp_path: Path) -> None:
    picture = spots(72, 96, (40, 32), (48, 32))
    picture[32:36, 40:44] = 200
    # Of boxes of 16 px at a distance of 8 px a third is shared.
    assert [round(face.x) for face in find(tmp_path, picture).faces] == [42]
    assert len(find(tmp_path, spots(72, 96, (40, 32), (52, 32))).faces) == 2


def test_overlaps_are_shares_of_the_common_area() -> None:
    boxes = np.array([[0, 0, 4, 4], [2, 0, 6, 4], [4, 4, 8, 8], [0, 0, 0, 0]], float)
    assert faces.overlaps(boxes[:1], boxes) == pytest.approx(np.array([[1, 8 / 24, 0, 0]]))


def test_sizes_and_offsets_are_in_cells_down_and_to_the_right() -> None:
    heat, size, offset = (np.zeros((planes, 20, 30), np.float32) for planes in (1, 2, 2))
    heat[0, 7, 11] = 0.8
    size[:, 7, 11] = math.log(5), math.log(3)
    offset[:, 7, 11] = 0.25, -0.5
    boxes, scores = faces.decode(heat, size, offset, 0.5)
    assert boxes.tolist() == pytest.approx(np.array([[38, 21, 50, 41]]))
    assert scores.tolist() == pytest.approx([0.8])


def test_absurd_sizes_are_limited() -> None:
    heat, size, offset = (
        np.ones((1, 4, 4), np.float32),
        np.full((2, 4, 4), 1e6, np.float32),
        np.zeros((2, 4, 4), np.float32),
    )
    boxes, _ = faces.decode(heat, size, offset, 0.5)
    assert np.isfinite(boxes).all()


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    card = replace(tiny_models.identity(tmp_path), task="faces")
    with pytest.raises(ModelError, match="heat and offset and size"):
        check_card(card)
    try_model(tiny_models.spotter(tmp_path))


def test_maps_of_another_size_are_refused(tmp_path: Path) -> None:
    card = tiny_models.spotter(tmp_path, "narrow", lacks=1)
    with pytest.raises(ModelError, match="not a quarter as large") as caught:
        run_task(TaskInput("faces", ArraySource(spots(72, 96)), None, None, FaceSettings(), card, Device.CPU))
    assert caught.value.code == "model.output"


def test_a_threshold_has_a_range() -> None:
    with pytest.raises(SettingsError, match=r"Certainty goes from 0\.05 to 0\.99"):
        FaceSettings(threshold=1.5)


# -- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scan with one face at 136, 88; only the tiny model is installed."""
    tiny_models.spotter(tmp_path / "shelf")
    monkeypatch.setattr(Registry.__init__, "__defaults__", (tmp_path / "none", tmp_path / "shelf"))
    path = tmp_path / "scan.tif"
    imageio.write(Raster(spots(288, 384, (160, 128), side=16)), path)
    return path


def run(*words: object) -> int:
    return cli.main(["faces", *map(str, words), "--device", "cpu"])


def test_the_command_lists_the_faces(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(scan.parent.iterdir())
    assert run(scan, "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed == {"faces": [{"x": 136.0, "y": 88.0, "width": 64.0, "height": 96.0, "score": 1.0}]}
    assert run(scan) == 0
    assert capsys.readouterr().out == "64 x 96 px at 136, 88 (1.00)\n"
    assert sorted(scan.parent.iterdir()) == before


def test_the_places_are_those_of_the_upright_picture(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    turned = scan.with_suffix(".png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter to the right
    Image.fromarray(np.rot90(spots(288, 384, (160, 128), side=16))).save(turned, exif=exif)
    assert run(turned, "--json") == 0
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    assert (face["x"], face["y"]) == (136.0, 88.0)


def test_a_scan_without_faces_is_no_error(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imageio.write(Raster(spots(64, 64)), scan)
    assert run(scan) == 0
    assert capsys.readouterr().out == "no face found\n"
    assert run(scan, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"faces": []}


def test_what_cannot_be_done_is_said(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torn = scan.with_name("torn.tif")
    torn.write_bytes(scan.read_bytes()[:100])
    for words, sentence in (
        ((scan.with_name("none.tif"),), "none.tif"),
        ((torn,), "torn.tif"),
        ((scan, "--threshold", "7"), "Certainty goes from 0.05 to 0.99."),
        ((scan, "--model", "heal"), "There is no model 'heal'. Models: spotter."),
    ):
        assert run(*words) == 1
        told = capsys.readouterr()
        assert (told.out, told.err.count("\n")) == ("", 1)
        assert sentence in told.err


def test_without_a_model_it_says_so(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Registry.__init__, "__defaults__", (tmp_path / "none", tmp_path / "none"))
    assert run(scan) == 1
    assert capsys.readouterr().err == "No model for faces is installed.\n"
