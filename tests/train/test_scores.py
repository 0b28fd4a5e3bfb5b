"""Evaluation of every task on tiny models, and the report."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from engine.errors import ReadError, SettingsError
from engine.runtime.cards import ModelCard, Port, Registry, Stage, TileRules, Training, write_card
from engine.runtime.session import Device
from engine.train.damage.shapes import CLASS_OF, CLASSES
from engine.train.data.photographs import to_picture, to_tensor
from engine.train.measure import pages, peers, report
from engine.train.measure.evaluate import HEADLINES, evaluate, evaluate_all, headline_scores, score, write_scores
from engine.train.measure.protocols import MARKED, PROTOCOLS, add_known_losses, crop_middle
from tests.train.scenes import scene


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photographs for validation, one of them broken, and one for training."""
    folder = tmp_path_factory.mktemp("photographs")
    # Names whose hash puts them into the validation tenth.
    names = [f"p{number}.png" for number in range(200) if _validates(f"p{number}.png")][:3]
    for seed, name in enumerate(names):
        Image.fromarray(scene(96, 112, seed)).save(folder / name)
    (folder / names[0]).write_bytes(b"rubbish")
    Image.fromarray(scene(96, 112)).save(folder / "training_1.png")
    return folder


def _validates(name: str) -> bool:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 10 == 0


def tiny_card(
    folder: Path, task: str, inputs: tuple[Port, ...], nodes: list[onnx.NodeProto], output: Port
) -> ModelCard:
    """A minimal ONNX model with its card, in a folder with the name of its task."""

    def info(port: Port) -> onnx.ValueInfoProto:
        shape = ["n", port.channels, *([port.size] * 2 if port.size else ["h", "w"])]
        return helper.make_tensor_value_info(port.name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(nodes, task, [info(port) for port in inputs], [info(output)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    home = folder / f"tiny_{task}"
    home.mkdir(parents=True)
    onnx.save(model, str(home / "model.onnx"))
    digest = hashlib.sha256((home / "model.onnx").read_bytes()).hexdigest()
    card = ModelCard(
        id=home.name,
        task=task,
        title=task,
        version="1",
        licence="Apache-2.0",
        opset=18,
        tile=TileRules(default=128, minimum=64, overlap=16, context=16, multiple=8),
        stages=(Stage("model.onnx", digest, inputs, (output,)),),
        labels=CLASSES if task == "detect" else (),
        training=Training(parameters=1000, minutes=1.0),
        folder=home,
    )
    write_card(card, home)
    return card


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with one model for each task but heal: two that change nothing and one that finds what is bright."""
    folder = tmp_path / "models"
    picture, same = Port("picture", "picture"), Port("same", "picture")
    tiny_card(folder, "clean", (picture,), [helper.make_node("Identity", ["picture"], ["same"])], same)
    thumbnail = Port("thumbnail", "thumbnail", size=64)
    nodes = [
        helper.make_node("ReduceMean", ["thumbnail"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["mean", "mean"], ["nothing"]),
        helper.make_node("Add", ["picture", "nothing"], ["same"]),
    ]
    tiny_card(folder, "tone", (picture, thumbnail), nodes, same)
    nodes = [
        helper.make_node("Constant", [], ["limit"], value_float=0.9),
        helper.make_node("Constant", [], ["axes"], value_ints=[1]),
        helper.make_node("ReduceMin", ["picture", "axes"], ["white"], keepdims=1),
        helper.make_node("Greater", ["white", "limit"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["plane"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["plane"] * len(CLASSES), ["probability"], axis=1),
    ]
    tiny_card(folder, "detect", (picture,), nodes, Port("probability", "probability", channels=len(CLASSES)))
    return folder


def cards_of(folder: Path) -> list[ModelCard]:
    registry = Registry(user_folder=folder, shipped=folder / "none")
    assert not registry.problems()
    return registry.cards()


# -- protocols and evaluation -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "name"), [(task, p.name) for task, rows in PROTOCOLS.items() for p in rows])
def test_every_protocol_damages_the_same_way_each_time(task: str, name: str) -> None:
    protocol = next(p for p in PROTOCOLS[task] if p.name == name)
    picture = scene(90, 107)
    case, again = protocol.make(picture, 3), protocol.make(picture, 3)
    assert case.given.dtype == np.uint8
    assert np.array_equal(case.given, again.given)
    if task.startswith("upscale"):
        times = int(task[-1])
        assert case.original.shape == (*(times * side for side in case.given.shape[:2]), 3)
        assert max(case.original.shape[:2]) <= max(picture.shape[:2]) // 2
        return
    assert case.given.shape == picture.shape
    assert np.array_equal(case.original, picture)
    assert np.array_equal(case.given, picture) == (name in ("undamaged", "sound"))
    if task in ("heal", "detect"):
        assert case.mask is not None
        assert case.mask.any() != (name == "undamaged")
    other = protocol.make(picture, 4)
    drawn = name not in ("blur", "jpeg", "low_resolution", "undamaged", "sound")
    assert np.array_equal(case.given, other.given) != drawn


def test_the_protocols_are_of_the_strength_they_say() -> None:
    assert {CLASS_OF[kind] for kind in MARKED} == set(CLASSES)
    rows = {task: {p.name: p for p in protocols} for task, protocols in PROTOCOLS.items()}
    grey = np.full((96, 96, 3), 128, np.uint8)
    noisy = rows["clean"]["noise"].make(grey, 0).given
    assert noisy.std() == pytest.approx(25, rel=0.05)
    hole = rows["heal"]["boxes"].make(grey, 0).mask
    assert hole is not None
    assert np.count_nonzero(hole) == pytest.approx(24 * 24, rel=0.1)
    assert np.array_equal(to_picture(to_tensor(scene())[0]), scene())
    assert crop_middle(scene(500, 300)).shape == (384, 300, 3)


def test_the_shipped_model_is_scored_beside_its_peers(photographs: Path) -> None:
    card = Registry(user_folder=photographs / "none").card("heal")
    table = evaluate(card, photographs, device=Device.CPU, most=2)
    assert table.keys() == {"scratches", "strokes", "boxes"}
    for rows in table.values():
        assert list(rows) == ["model", *peers.PEERS["heal"]]
        for row in rows.values():
            assert row["pictures"] == 1  # the broken one is left out
            assert row["seconds"] > 0
            assert 5 < row["psnr"] < row["whole_psnr"] < 60
            assert 0 < row["ms_ssim"] <= 1
    assert table["scratches"]["model"]["psnr"] > 15
    scores = headline_scores("heal", table)
    assert {"scratches_hole_psnr", "strokes_hole_psnr", "scratches_navier_stokes"} <= scores.keys()
    assert scores["strokes_hole_psnr"] == round(table["strokes"]["model"]["psnr"], 2)


def test_models_of_all_tasks_are_scored_and_the_scores_written(photographs: Path, models: Path) -> None:
    tables = evaluate_all(cards_of(models), photographs, device=Device.CPU)
    tables = {card.id: table for card, table in zip(cards_of(models), tables, strict=True)}
    assert tables.keys() == {"tiny_clean", "tiny_tone", "tiny_detect"}
    for protocol in PROTOCOLS["clean"]:
        rows = tables["tiny_clean"][protocol.name]
        # An identity model has the score of the given picture.
        assert rows["model"]["psnr"] == pytest.approx(rows["untouched"]["psnr"])
        assert rows["model"]["pictures"] == 2
    assert tables["tiny_tone"]["fading"]["model"]["structure"] == pytest.approx(1, abs=1e-3)
    assert tables["tiny_tone"]["fading"]["untouched"]["delta_e"] > 5
    detect = tables["tiny_detect"]
    assert set(CLASSES) | {"mixed", "undamaged"} == set(detect)
    assert 0 <= detect["undamaged"]["model"]["flagged"] < 0.5
    for card in cards_of(models):
        scored = write_scores(card, tables[card.id])
        assert scored.scores
        assert any(name.startswith(HEADLINES[card.task].protocols[0]) for name in scored.scores)
    for card in cards_of(models):
        kept = json.loads((card.folder / "scores.json").read_text())
        for protocol, rows in tables[card.id].items():
            assert kept[protocol]["model"] == pytest.approx(rows["model"], abs=1e-5)
        assert card.scores == headline_scores(card.task, tables[card.id])


def test_detection_is_scored_on_held_out_scanned_damage_at_several_thresholds(
    photographs: Path, models: Path, tmp_path: Path
) -> None:
    (tmp_path / "textures" / "film_stain").mkdir(parents=True)
    blob = cv2.circle(np.zeros((100, 100), np.uint8), (50, 50), 40, 255, -1)
    cv2.imwrite(str(tmp_path / "textures" / "film_stain" / "1.png"), blob)
    cards = [card for card in cards_of(models) if card.task == "detect"]
    (table,) = evaluate_all(cards, photographs, textures=tmp_path / "textures", device=Device.CPU)
    assert {"film", "film_0.3", "film_0.5", "film_0.97"} <= table.keys()
    assert table["film"].keys() == {"model", "top_hat", "median_residue"}
    # The model outputs the probability 1 for nearly white pixels, so the threshold has no effect.
    assert table["film_0.3"]["model"] == table["film_0.97"]["model"] == table["film"]["model"]
    assert table["film"]["model"]["pictures"] == 2
    assert 0 < table["film"]["model"]["recall_stain"] < 1
    bins = [table[f"reliability_{place / 10:g}"]["model"] for place in range(10)]
    # The model is certain of everything it says.
    assert [row["pixels"] > 0 for row in bins] == [True, *[False] * 8, True]
    assert (bins[0]["probability"], bins[9]["probability"]) == (0, 1)
    scored = write_scores(cards[0], table)
    assert scored.scores["film_f1"] == round(table["film"]["model"]["f1"], 2)


def test_losses_of_an_archive_are_filled_but_not_scored(photographs: Path, models: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    readable = [path for path in sorted(photographs.glob("p*.png")) if path.stat().st_size > 100]
    lost = np.zeros((96, 112), np.uint8)
    lost[:, :56] = 255
    for path in readable:
        Image.fromarray(lost).save(masks / path.name)
    card = Registry(user_folder=photographs / "none").card("heal")
    whole = evaluate(card, photographs, device=Device.CPU)
    table = evaluate_all([card], photographs, masks=masks, device=Device.CPU)[0]
    for protocol in ("scratches", "strokes"):
        row = table[protocol]["model"]
        assert row["pictures"] == 2
        # Half of the picture is lost, so the scored holes are harder to fill.
        assert 5 < row["psnr"] < whole[protocol]["model"]["psnr"] + 3
        assert row["whole_psnr"] > row["psnr"] + 5
    with pytest.raises(SettingsError, match="heal only"):
        evaluate_all(cards_of(models), photographs, masks=masks)


def test_add_known_losses_separates_scored_holes_from_losses() -> None:
    picture = scene(60, 60)
    case = PROTOCOLS["heal"][2].make(picture, 0)
    lost = np.zeros((60, 60), np.uint8)
    assert case.mask is not None
    lost[: int(np.flatnonzero(case.mask.any(axis=1)).mean())] = 1
    both = add_known_losses(case, lost)
    assert both.judged is not None
    assert 0 < np.count_nonzero(both.judged) < np.count_nonzero(case.mask)
    assert both.mask is not None
    assert np.array_equal(both.mask > 0, (case.mask > 0) | (lost > 0))
    assert np.array_equal(both.judged > 0, (case.mask > 0) & (lost == 0))
    assert (both.given[both.mask > 0] == 255).all()
    wrong = np.where(lost[..., None] > 0, np.uint8(0), picture)
    assert score("heal", both, wrong)["whole_psnr"] == 100


def test_no_readable_photograph_is_an_error(tmp_path: Path, models: Path) -> None:
    name = next(f"p{number}.png" for number in range(200) if _validates(f"p{number}.png"))
    for broken in (name, "x1.png"):
        (tmp_path / broken).write_bytes(b"rubbish")
    with pytest.raises(SettingsError, match="can be read"):
        evaluate(cards_of(models)[0], tmp_path)


# -- report -------------------------------------------------------------------------------------------------------


def test_the_report_is_one_table_of_models_and_peers(models: Path, tmp_path: Path) -> None:
    clean = next(card for card in cards_of(models) if card.task == "clean")
    rows = {
        "model": {"psnr": 30.25, "seconds": 0.5, "pictures": 3.0},
        "non_local_means": {"psnr": 29.0, "seconds": 1.0, "pictures": 3.0},
    }
    write_scores(clean, {"noise": rows})
    text = report.write_report(models, tmp_path / "out").read_text(encoding="utf-8")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    assert len({len(line) for line in lines}) == 1
    table = {line[0]: line for line in lines}
    assert table["tiny_clean"][1] == "**30.25**"
    assert table["tiny_clean"][-4:] == ["0.00", "1", "0.50", "3"]
    assert table["*non local means*"][1] == "29.00"
    assert table["*non local means*"][2] == "–"
    assert {"**tone**", "tiny_tone", "*top hat*"} <= table.keys()
    assert "**heal**" not in table


def test_bad_models_are_named_in_the_report(models: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no model"):
        report.write_report(tmp_path / "nothing", tmp_path)
    (models / "tiny_clean" / "scores.json").write_text("{")
    with pytest.raises(ReadError, match="scores"):
        report.write_report(models, tmp_path)


def test_the_page_shows_every_system_on_every_picture(models: Path, tmp_path: Path) -> None:
    heal = Registry(user_folder=tmp_path / "none").card("heal")
    pictures = [("first <scan>", scene(80, 100)), ("second", scene(300, 280))]
    page, sheet = pages.picture_page(
        [heal, *cards_of(models)], pictures, tmp_path / "out", credit="By nobody", device=Device.CPU
    )
    text = page.read_text(encoding="utf-8")
    columns = {"heal": 4, "clean": 4, "tone": 4, "detect": 4}
    assert text.count("<img ") == len(pictures) * sum(columns.values())
    for said in ("first &lt;scan&gt;, tiny_clean", "second, heal", "By nobody", "top hat"):
        assert said in text
    assert page.stat().st_size < pages.MOST_HTML
    assert sheet.stat().st_size < pages.MOST_PNG
    with Image.open(sheet) as shown:
        assert shown.width > 4 * 200
        assert shown.height > 8 * 200


def test_impossible_pages_are_refused(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="at least one"):
        pages.picture_page([], [("a", scene())], tmp_path)
    monkeypatch.setattr(pages, "MOST_HTML", 1000)
    clean = [card for card in cards_of(models) if card.task == "clean"]
    with pytest.raises(SettingsError, match="take fewer"):
        pages.picture_page(clean, [("a", scene())], tmp_path)
    assert not (tmp_path / "systems.html").exists()


def test_the_pictures_that_come_with_the_report_are_credited() -> None:
    pictures = pages.default_pictures()
    for name, picture in pictures:
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        assert name in pages.CREDITS
