"""Learning to find faces: the table of boxes, crops and their truth, labels from a teacher, scores."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from engine.errors import ModelError, SettingsError
from engine.runtime.cards import Registry, Training
from engine.runtime.session import Device
from engine.tasks import FaceSettings, make_settings
from engine.tasks.faces import decode
from engine.train.__main__ import main
from engine.train.data import faces
from engine.train.data.batches import Sources
from engine.train.data.boxes import read_boxes, write_boxes
from engine.train.data.photographs import write_picture
from engine.train.data.teacher import label_faces
from engine.train.measure import bench
from engine.train.measure.faces import FaceCase, face_scores, model_finder, pairs_of
from engine.train.run import losses
from engine.train.run.export import export_model, read_weights
from engine.train.run.trainer import Trainer
from tests import tiny_models
from tests.train.small import CPU, small, sources

# -- the table of boxes -------------------------------------------------------------------------------------------


def test_a_table_of_boxes_is_read_as_it_was_written(tmp_path: Path) -> None:
    wanted = {"b.jpg": np.array([[1.5, 2, 30, 40.5, 0.75], [0, 0, 9, 9, 0.2]]), "a b.jpg": np.zeros((0, 5))}
    write_boxes(tmp_path / "t.tsv", wanted)
    read = read_boxes(tmp_path / "t.tsv")
    assert read.keys() == wanted.keys()
    assert all(np.array_equal(read[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    "line",
    ["a.jpg\t1\t2\t3", "a.jpg\t1\t2\t3\tx\t1", "\t1\t2\t3\t4\t1", "a.jpg\t1\t2\t0\t4\t1", "a.jpg\t1\tnan\t3\t4\t1"],
)
def test_a_line_of_another_form_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "t.tsv"
    path.write_text(f"file\tx\ty\twidth\theight\tscore\nb.jpg\n{line}\n")
    with pytest.raises(SettingsError, match="Line 3 of the table of faces"):
        read_boxes(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_boxes(tmp_path / "none.tsv")


# -- crops and their truth ----------------------------------------------------------------------------------------


def decoded(planes: np.ndarray) -> np.ndarray:
    return decode(planes[:1], planes[1:3], planes[3:5], 0.99)[0]


def test_the_truth_decodes_to_the_boxes() -> None:
    boxes = np.array([[10, 20, 31, 52, 0.9], [70, 30, 130, 101, 0.6]])
    planes = faces.truth_planes(boxes, 160)
    assert planes.shape == (faces.PLANES, 40, 40)
    assert np.sort(decoded(planes), axis=0) == pytest.approx(boxes[:, :4], abs=1e-3)
    assert planes[5].sum() == pytest.approx(2, abs=1e-4)
    assert planes[6].all()


def test_what_is_doubtful_small_or_cut_off_is_neither_found_nor_missed() -> None:
    boxes = np.array([[10, 20, 40, 60, 0.3], [80, 20, 86, 27, 0.9], [140, 60, 180, 100, 0.9], [300, 0, 340, 40, 0.9]])
    planes = faces.truth_planes(boxes, 160)
    assert not planes[:6].any()
    assert planes[6, 9, 6] == planes[6, 5, 20] == planes[6, 20, 37] == 0
    assert planes[6].mean() > 0.9
    whole = faces.truth_planes(np.array([[115, 60, 165, 100, 0.9]]), 160)
    assert decoded(whole) == pytest.approx(np.array([[115, 60, 165, 100]]), abs=1e-3)


def test_only_the_centre_of_a_large_face_is_left_open() -> None:
    planes = faces.truth_planes(np.array([[30, 20, 130, 140, 0.9]]), 160)
    assert not planes[:6].any()
    assert planes[6, 19, 19] == planes[6, 20, 20] == 0
    # Its eyes and its mouth are no faces.
    assert planes[6, 12, 15] == planes[6, 12, 25] == planes[6, 29, 20] == 1


def test_a_face_before_a_doubtful_one_counts() -> None:
    planes = faces.truth_planes(np.array([[0, 0, 70, 70, 0.3], [40, 40, 60, 60, 0.9]]), 160)
    assert planes[0, 12, 12] == planes[6, 12, 12] == 1
    assert planes[6, 3, 3] == 0


@pytest.mark.parametrize(("corner", "zoom"), [((10, 2), 1.0), ((-30, -12), 0.5), ((33, 21), 2.0), ((500, 500), 1.0)])
def test_a_cut_moves_the_boxes_with_the_picture(corner: tuple[float, float], zoom: float) -> None:
    picture = np.zeros((100, 120, 3), np.uint8)
    picture[40:60, 50:80] = 255
    piece, boxes = faces.cut(picture, np.array([[50, 40, 80, 60, 0.9]]), corner, zoom, 96, 7)
    assert piece.shape == (96, 96, 3)
    left, top, right, bottom, _ = boxes[0]
    inside = np.zeros((96, 96), bool)
    inside[round(max(0, top)) : round(max(0, bottom)), round(max(0, left)) : round(max(0, right))] = True
    assert np.array_equal(piece[..., 0] > 127, inside)
    assert (piece == 7).any() == (corner[0] < 0 or corner[0] > 120)


def test_batches_hold_faces_that_are_aged_and_damaged(folder: Path) -> None:
    recipe = small("faces", "damage.strongest=0.1")
    batches = faces.FaceBatches(recipe, sources(folder), CPU, validation=False)
    assert len(batches.photographs) > 60
    first = batches.draw(4)
    for _ in range(6):
        batch = batches.draw(4)
    for one in (first, batch):
        assert one.damaged.shape == (4, 3, 64, 64)
        assert one.truth.shape == (4, faces.PLANES, 16, 16)
    assert (first.truth[:, 0] == 1).any()
    # Of later batches most crops are drawn again.
    assert len(batches._kept) == 4 + 6


def test_a_large_crop_is_put_together_from_pieces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "SPLIT_SHARE", 1.0)
    monkeypatch.setattr(faces, "FACELESS_SHARE", 0.0)
    batches = faces.FaceBatches(small("faces"), sources(folder), CPU, validation=False)
    picture, planes = batches._crop(512)
    assert (picture.shape, planes.shape) == ((512, 512, 3), (faces.PLANES, 128, 128))
    boxes = decoded(planes)
    # Each of the sixteen pieces is drawn around a face.
    assert {(int(x) // 128, int(y) // 128) for x, y in (boxes[:, :2] + boxes[:, 2:]) / 2} == {
        (column, row) for column in range(4) for row in range(4)
    }


def test_places_that_are_wrongly_taken_for_faces_are_drawn_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small("faces", "negatives={share=0.5,candidates=12,kept=2,pool=5,every=1}")
    batches = faces.FaceBatches(recipe, sources(folder), CPU, validation=False)

    class Bright(torch.nn.Module):
        """Takes what is bright for a face, wherever it is."""

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            # In training mode the statistics of normalisation would change.
            assert not self.training
            heat = 20 * torch.nn.functional.avg_pool2d(pictures.mean(dim=1, keepdim=True), faces.CELL) - 10
            return torch.cat([heat, torch.zeros(len(heat), 4, *heat.shape[2:])], dim=1)

    network, seen = Bright(), list[np.ndarray]()
    square = faces.cut
    # Black beyond the photographs, instead of a random grey.
    monkeypatch.setattr(faces, "cut", lambda *given: square(*given[:-1], 0))
    cut = faces.FaceBatches._cut

    def spy(self: faces.FaceBatches, *given: object) -> object:
        drawn = cut(self, *given)  # type: ignore[arg-type]
        seen.append(drawn[0])
        return drawn

    monkeypatch.setattr(faces.FaceBatches, "_cut", spy)
    batches.search(network)
    assert network.training
    assert len(batches._hard) == 2
    brightest = sorted(float(piece[..., 0].reshape(64, 4, 64, 4).mean(axis=(1, 3)).max()) for piece in seen)
    for place in batches._hard:
        piece, _ = cut(batches, place, np.full(2, 32.0), 64)
        assert float(piece[30:34, 30:34].mean()) > brightest[-2] - 25
    for _ in range(3):
        batches.search(network)
    assert len(batches._hard) == 5
    # Where there are faces, the surest places are faces that have no label.
    assert {place.photograph for place in batches._hard} <= set(batches._without.tolist())
    # Pieces without a face are drawn around these places, as often as the recipe says.
    monkeypatch.setattr(faces, "FACELESS_SHARE", 1.0)
    drawn = list[object]()
    monkeypatch.setattr(
        faces.FaceBatches, "_cut", lambda self, place, *more: drawn.append(place) or cut(self, place, *more)
    )
    for _ in range(60):
        batches._piece(64)
    assert 15 <= sum(place in batches._hard for place in drawn) <= 45


def test_a_mirrored_crop_has_mirrored_faces() -> None:
    planes = torch.from_numpy(faces.truth_planes(np.array([[10, 20, 31, 52, 0.9]]), 64))
    picture = torch.arange(3 * 64 * 64).reshape(3, 64, 64)
    mirrored, other = faces._mirrored(picture, planes)
    assert torch.equal(mirrored, picture.flip(2))
    assert decoded(other.numpy()) == pytest.approx(np.array([[33, 20, 54, 52]]), abs=1e-3)


def test_without_a_table_nothing_is_learnt(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fit", "faces", "--data", str(folder / "scans"), "--run-dir", str(tmp_path / "run"), "--device", "cpu"]
    assert main([*words, "--minutes", "0.01"]) == 1
    assert "--faces TABLE" in capsys.readouterr().err
    write_boxes(tmp_path / "other.tsv", {"other.jpg": np.zeros((0, 5))})
    with pytest.raises(SettingsError, match="is in the table of faces"):
        faces.FaceBatches(
            small("faces"), Sources(folder / "scans", faces=tmp_path / "other.tsv"), CPU, validation=False
        )


def test_the_losses_have_the_values_of_their_formulas() -> None:
    truth = torch.from_numpy(faces.truth_planes(np.array([[8, 8, 24, 24, 0.9]]), 32))[None]
    output = torch.zeros(1, 5, 8, 8)
    probability, heat = 0.5, truth[0, 0].double().numpy()
    wanted = -(np.where(heat == 1, 1, (1 - heat) ** 4) * 0.25 * np.log(probability)).sum()
    assert float(losses.face_heat(output, truth)) == pytest.approx(wanted, rel=1e-5)
    # Four cells on a side, and the middle of the face is the corner of its cell.
    assert float(losses.face_size(output, truth)) == pytest.approx(2 * np.log(4), rel=1e-5)
    perfect = torch.cat([torch.where(truth[:, :1] == 1, 20.0, -20.0), truth[:, 1:5]], dim=1)
    assert float(losses.face_heat(perfect, truth)) < 1e-3
    assert float(losses.face_size(perfect, truth)) == float(losses.face_offset(perfect, truth)) == 0
    ignored = truth.clone()
    ignored[:, 6] = 0
    assert float(losses.face_heat(output, ignored)) == pytest.approx(-0.25 * np.log(0.5), rel=1e-5)


# -- the network --------------------------------------------------------------------------------------------------


def test_an_exported_network_has_no_normalisation_gives_the_same_and_can_be_trained_on(tmp_path: Path) -> None:
    recipe = small("faces")
    trainer = Trainer(recipe, tmp_path / "run", CPU)
    network = trainer.system.generator
    random = torch.Generator().manual_seed(2)
    for norm in (layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.2, generator=random)
        norm.running_var.uniform_(0.5, 2, generator=random)
    network.eval()
    picture = torch.rand(2, 3, 64, 96, generator=random)
    plain = network.exports()[0].module
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in plain.modules())
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules())
    expected = network(picture)
    assert torch.allclose(torch.cat([torch.logit(plain(picture)[0]), *plain(picture)[1:]], dim=1), expected, atol=1e-3)
    export_model(recipe, network.state_dict(), tmp_path / "faces", Training("faces", "", "", 0, 0, 0))
    weights = read_weights(recipe, tmp_path / "faces")
    again = Trainer(recipe, tmp_path / "again", CPU)
    again.start_from(weights)
    # Without normalisation training and use are alike.
    assert torch.allclose(again.system.generator.train()(picture), expected, atol=0.02)
    assert torch.allclose(again.average.module(picture), expected, atol=0.02)
    again.run.mkdir()
    again.save_step()
    third = Trainer(recipe, tmp_path / "again", CPU)
    assert third.resume()
    assert torch.allclose(third.system.generator(picture), again.system.generator(picture))


# -- the teacher --------------------------------------------------------------------------------------------------


def write_teacher(path: Path, *, names: tuple[str, ...] = ("537", "538", "539")) -> None:
    """A network as CenterFace was exported: fixed shapes, its weights among its inputs, values of 0 to 255.

    It sees a face of 40 px around each cell whose mean is white.
    """
    heat, size, offset = names
    nodes = [
        helper.make_node("Conv", ["input.1", "kernel"], ["mean"], strides=[4, 4]),
        helper.make_node("Sigmoid", ["mean"], ["537"]),
        helper.make_node("Conv", ["input.1", "zeros", "ten"], ["538"], strides=[4, 4]),
        helper.make_node("Conv", ["input.1", "zeros"], ["539"], strides=[4, 4]),
        helper.make_node("Conv", ["input.1", "zeros"], ["540"], strides=[4, 4]),
    ]
    for node in nodes:
        node.output[0] = {"537": heat, "538": size, "539": offset}.get(node.output[0], node.output[0])
    weights = {
        "kernel": np.full((1, 3, 4, 4), 10 / 48 / 255, np.float32) * 2,
        "zeros": np.zeros((2, 3, 4, 4), np.float32),
        "ten": np.log(np.full(2, 10, np.float32)),
    }

    def info(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    nodes[0].input.append("shift")
    weights["shift"] = np.full(1, -15, np.float32)
    inputs = [info("input.1", (10, 3, 32, 32)), *[info(name, array.shape) for name, array in weights.items()]]
    outputs = [info(heat, (10, 1, 8, 8)), *[info(name, (10, 2, 8, 8)) for name in (size, offset, "540")]]
    graph = helper.make_graph(
        nodes, "teacher", inputs, outputs, [numpy_helper.from_array(a, n) for n, a in weights.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4)
    path.write_bytes(model.SerializeToString())


def test_a_teacher_labels_photographs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_teacher(tmp_path / "teacher.onnx")
    photographs = tmp_path / "photographs"
    (photographs / "more").mkdir(parents=True)
    picture = np.zeros((150, 192, 3), np.uint8)
    write_picture(photographs / "more" / "none.png", picture)
    picture[48:56, 96:104] = 255
    write_picture(photographs / "one.png", picture)
    (photographs / "torn.jpg").write_bytes(b"torn")
    words = ["label-faces", str(tmp_path / "teacher.onnx"), "--data", str(photographs), "-o", str(tmp_path / "t.tsv")]
    assert main([*words, "--sides", "96", "192"]) == 0
    assert "2 photographs" in capsys.readouterr().out
    boxes = read_boxes(tmp_path / "t.tsv")
    assert boxes.keys() == {"none.png", "one.png"}
    assert not len(boxes["none.png"])
    # A box of 40 px in the picture of half the size, and those of 40 px in that of full size.
    sides = boxes["one.png"][:, 2] - boxes["one.png"][:, 0]
    assert {round(side) for side in sides} == {80, 40}
    assert boxes["one.png"][:, 4].min() > 0.9


def test_only_a_picture_that_shows_something_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_teacher(tmp_path / "teacher.onnx")
    picture = np.zeros((96, 192, 3), np.uint8)
    picture[48:52, 96:100] = 255  # four pixels are one grey cell in the picture of half the size
    write_picture(tmp_path / "one.png", picture)
    told: list[str] = []
    assert label_faces(tmp_path / "teacher.onnx", tmp_path, tmp_path / "t.tsv", (96, 192), say=told.append) == 1
    assert not len(read_boxes(tmp_path / "t.tsv")["one.png"])
    assert label_faces(tmp_path / "teacher.onnx", tmp_path, tmp_path / "t.tsv", (192,), say=told.append) == 1
    assert len(read_boxes(tmp_path / "t.tsv")["one.png"]) == 1


def test_another_network_is_no_teacher(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_picture(tmp_path / "one.png", np.zeros((96, 96, 3), np.uint8))
    write_teacher(tmp_path / "other.onnx", names=("a", "b", "c"))
    with pytest.raises(ModelError, match="is not CenterFace: it has no tensor '537'"):
        label_faces(tmp_path / "other.onnx", tmp_path, tmp_path / "t.tsv")
    (tmp_path / "torn.onnx").write_bytes(b"torn")
    with pytest.raises(ModelError, match="cannot be read"):
        label_faces(tmp_path / "torn.onnx", tmp_path, tmp_path / "t.tsv")
    words = ["label-faces", str(tmp_path / "other.onnx"), "--data", str(tmp_path), "-o", str(tmp_path / "t.tsv")]
    assert main([*words, "--sides", "5"]) == 1
    assert "A side of 5 px" in capsys.readouterr().err
    with pytest.raises(SettingsError, match="holds no photographs"):
        label_faces(tmp_path / "other.onnx", tmp_path / "none", tmp_path / "t.tsv")
    assert not (tmp_path / "t.tsv").exists()


# -- scores -------------------------------------------------------------------------------------------------------


def test_each_face_is_found_once() -> None:
    true = np.array([[0, 0, 10, 10, 0.9], [20, 0, 30, 10, 0.9]])
    found = np.array([[0, 1, 10, 11, 0.9], [1, 0, 11, 10, 0.8], [25, 5, 35, 15, 0.7]])
    assert pairs_of(found, true) == [(0, 0)]
    assert pairs_of(found, true[:0]) == []


def test_scores_count_found_missed_and_wrong_faces(tmp_path: Path) -> None:
    card = tiny_models.spotter(tmp_path)

    def case(*places: tuple[int, int], boxes: tuple[tuple[float, ...], ...]) -> FaceCase:
        picture = np.zeros((72, 96, 3), np.uint8)
        for x, y in places:
            picture[y : y + 4, x : x + 4] = 153
        return FaceCase("", picture, np.array(boxes, float).reshape(-1, 5))

    cases = [
        case((20, 32), (60, 32), boxes=((14, 22, 30, 46, 0.9),)),
        case(boxes=((54, 22, 70, 46, 0.9), (10, 10, 11, 11, 0.9))),
        case((40, 32), boxes=((5, 5, 15, 15, 0.4),)),
        case(boxes=()),
    ]
    rows = face_scores(model_finder(card, Device.CPU, FaceSettings(threshold=0.5)), cases)
    row = rows[0.5]
    assert (row["recall"], row["wrong"], row["extra"]) == (1 / 2, 1 / 2, 1 / 2)
    assert (row["faces"], row["faceless"], row["pictures"]) == (2, 2, 4)
    assert (rows[0.8]["recall"], rows[0.8]["wrong"]) == (0, 0)


def test_a_model_is_scored_from_the_command_line(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = tiny_models.spotter(tmp_path)
    words = ["evaluate", str(card.folder), "--data", str(folder / "scans"), "--device", "cpu"]
    assert main(words) == 1
    assert "--faces" in capsys.readouterr().err
    words += ["--faces", str(folder / "faces.tsv")]
    assert main([*words, "--write"]) == 0
    held_out = json.loads((card.folder / "scores.json").read_text())["faces"]["model"]["pictures"]
    assert 0 < held_out < 45
    assert "faces_recall" in (card.folder / "card.toml").read_text()
    assert main([*words, "--unseen", "--write"]) == 0
    assert json.loads((card.folder / "scores.json").read_text())["faces"]["model"]["pictures"] == 90


def test_the_bench_runs_the_command_and_needs_a_table(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_models.spotter(tmp_path / "models")
    monkeypatch.setattr(Registry.__init__, "__defaults__", (tmp_path / "none", tmp_path / "models"))
    words = ["bench", "faces", "--data", str(folder / "scans")]
    assert main(words) == 1
    assert "--faces" in capsys.readouterr().err
    claims = list(bench.measure(folder / "scans", None, None, ["faces"], folder / "faces.tsv"))
    assert ["recall" in claims[0].what, "wrong boxes" in claims[1].what, "parameters" in claims[2].what] == [True] * 3
    assert [claim.must for claim in claims[:2]] == [(0.9, 1), (0, 0.05)]
    assert 0 <= claims[0].value <= 1
    assert capsys.readouterr().out == "", "the commands are quiet"
    bright = np.zeros((72, 96, 3), np.uint8)
    bright[32:36, 20:24] = 153
    with tempfile.TemporaryDirectory() as scratch:
        found = bench.Bench([], [], {}, [], Path(scratch)).find_faces(bright)
    card = Registry().default("faces")
    expected = model_finder(card, Device.CPU, make_settings("faces", card, {}))(bright)
    assert found.shape == expected.shape
    assert found == pytest.approx(expected, abs=0.11)
