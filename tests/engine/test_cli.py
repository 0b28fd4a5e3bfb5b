"""The command line, as scripts use it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from desktop.document.edits import AddLayer
from desktop.document.model import BlendMode, Document
from desktop.document.project import Snapshot, write_project
from desktop.work.commands import FLATTEN
from engine import cli, imageio
from engine.errors import EngineError
from engine.raster import Rect
from engine.record import ScanFile
from tests.conftest import noise_raster
from tests.document.test_edits import filled_layer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    imageio.write(noise_raster(), tmp_path / "in.tif")
    mask = np.zeros((300, 400), np.uint8)
    mask[100:110, 50:200] = 255
    imageio.write_mask(mask, tmp_path / "mask.png")
    return tmp_path


def run(folder: Path, *words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.chdir(folder)
    return cli.main(list(words), [FLATTEN])


@pytest.mark.parametrize("out", ["out.tif", "out.png"])
def test_heal_writes_a_file_that_differs_only_under_the_mask(
    folder: Path, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        run(folder, "heal", "in.tif", "-o", out, "--mask", "mask.png", "--device", "cpu", monkeypatch=monkeypatch) == 0
    )
    scan, result = imageio.read(folder / "in.tif"), imageio.read(folder / out)
    mask = imageio.read_mask(folder / "mask.png")
    assert np.array_equal(result.pixels[mask == 0], scan.pixels[mask == 0])
    assert (result.pixels[mask > 0] != scan.pixels[mask > 0]).mean() > 0.9
    assert result.resolution == scan.resolution
    record = json.loads((folder / f"{out}.record.json").read_text())
    changed = int((result.pixels != scan.pixels).sum())
    assert record["samples_changed"] == changed
    assert record["share_changed"] == changed / scan.pixels.size
    assert record["repairs"][0]["model"] == "heal"
    assert record["repairs"][0]["boxes"] == [[50, 100, 200, 110]]
    assert len(record["source"]["sha256"]) == 64
    assert record["versions"]["onnxruntime"]


def test_heal_at_another_depth_and_profile_and_without_a_record(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [
        "heal",
        "in.tif",
        "-o",
        "out.tif",
        "--mask",
        "mask.png",
        "--depth",
        "8",
        "--profile",
        "srgb",
        "--no-record",
    ]
    assert run(folder, *words, monkeypatch=monkeypatch) == 0
    result = imageio.read(folder / "out.tif")
    assert result.depth == 8
    assert result.profile
    assert not (folder / "out.tif.record.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["heal", "none.tif", "-o", "out.tif", "--mask", "mask.png"], "none.tif"),
        (["heal", "in.tif", "-o", "out.tif", "--mask", "none.png"], "none.png"),
        (["heal", "in.tif", "-o", "in.tif", "--mask", "mask.png"], "in.tif"),
        (["heal", "in.tif", "-o", "mask.png", "--mask", "mask.png"], "mask.png"),
        (["heal", "in.tif", "-o", "nowhere/out.tif", "--mask", "mask.png"], "nowhere"),
        (["heal", "in.tif", "-o", "out.xyz", "--mask", "mask.png"], "xyz"),
        (["heal", "in.tif", "-o", "out.tif", "--mask", "small.png"], "8 x 9"),
        (["heal", "in.tif", "-o", "out.tif", "--mask", "empty.png"], "empty"),
        (["heal", "in.tif", "-o", "out.tif", "--mask", "mask.png", "--model", "none"], "none"),
        (["heal", "in.tif", "-o", "out.tif", "--mask", "mask.png", "--grow", "-3"], "Grow"),
        (["heal", "in.tif", "-o", "out.tif", "--mask", "mask.png", "--profile", "none.icc"], "none.icc"),
        (["heal", "in.tif", "-o", "out.tif", "--mask", "mask.png", "--profile", "mask.png"], "profile"),
        (["flatten", "in.tif", "-o", "out.tif"], "in.tif"),
        (["info", "none.tif"], "none.tif"),
        (["models", "show", "none"], "none"),
    ],
)
def test_impossible_commands_fail_with_a_sentence_and_write_nothing(
    folder: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    imageio.write_mask(np.full((9, 8), 255, np.uint8), folder / "small.png")
    imageio.write_mask(np.zeros((300, 400), np.uint8), folder / "empty.png")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert run(folder, *words, monkeypatch=monkeypatch) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


QUALITY = ["convert", "in.tif", "-o", "o.jpg", "--quality", "300"]


@pytest.mark.parametrize(
    "words", [["heal"], ["paint"], ["heal", "in.tif", "-o", "o.tif"], ["convert", "in.tif"], QUALITY, []]
)
def test_usage_errors_exit_with_2(folder: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as raised:
        run(folder, *words, monkeypatch=monkeypatch)
    assert raised.value.code == 2


def test_convert_keeps_samples_and_says_what_is_lost(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "convert", "in.tif", "-o", "out.png", monkeypatch=monkeypatch) == 0
    assert np.array_equal(imageio.read(folder / "out.png").pixels, imageio.read(folder / "in.tif").pixels)
    assert run(folder, "convert", "in.tif", "-o", "out.jpg", "--quality", "80", monkeypatch=monkeypatch) == 0
    assert "8 bit" in capsys.readouterr().err


def test_info_tells_what_a_file_holds(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "info", "in.tif", "--json", monkeypatch=monkeypatch) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["width"], facts["height"], facts["depth"], facts["channels"]) == (400, 300, 16, "RGB")
    assert facts["resolution"] == [600, 600]
    assert facts["profile"] == "untagged"
    assert facts["opens"] is True
    assert run(folder, "info", "in.tif", monkeypatch=monkeypatch) == 0
    assert "400" in capsys.readouterr().out


def test_models_lists_shows_and_verifies(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["models"], ["models", "list"], ["models", "verify"], ["models", "show", "heal"]):
        assert run(folder, *words, monkeypatch=monkeypatch) == 0
        assert "heal" in capsys.readouterr().out


def test_the_record_holds_the_notices_of_writing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words, expected in (
        (["a.tif"], {"depth": 16, "samples_kept": True}),
        (["a.png", "--depth", "8"], {"depth": 8, "samples_kept": False}),
        (["a.webp"], {"depth": 8, "samples_kept": False}),
        (["b.tif", "--profile", "srgb"], {"depth": 16, "samples_kept": False}),
    ):
        assert run(folder, "convert", "in.tif", "-o", *words, monkeypatch=monkeypatch) == 0
        record = json.loads((folder / f"{words[0]}.record.json").read_text())
        assert expected.items() <= record["written"].items()


def test_a_project_given_as_a_picture_is_refused_with_advice(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = Document(imageio.read(folder / "in.tif"))
    write_project(Snapshot.of(document), folder / "work.ora")
    assert run(folder, "convert", "work.ora", "-o", "c.tif", monkeypatch=monkeypatch) == 1
    assert "lacuna flatten" in capsys.readouterr().err


def test_flatten_writes_what_is_visible(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from desktop.document.compose import Composite, flatten

    document = Document(imageio.read(folder / "in.tif"))
    layer = replace(filled_layer(document, Rect(20, 30, 250, 200)), blend=BlendMode.SOFT_LIGHT, opacity=0.6)
    AddLayer("add", layer, 0).apply(document)
    document.scan_file = ScanFile(folder / "in.tif")
    write_project(Snapshot.of(document), folder / "work.ora")
    assert run(folder, "flatten", "work.ora", "-o", "flat.tif", monkeypatch=monkeypatch) == 0
    assert np.array_equal(imageio.read(folder / "flat.tif").pixels, flatten(Composite.of(document.state)))


def test_the_program_runs_as_a_module_and_draws_no_bar_into_a_pipe(folder: Path) -> None:
    words = ["heal", str(folder / "in.tif"), "-o", str(folder / "o.tif"), "--mask", str(folder / "mask.png")]
    for module in ("engine", "desktop"):
        result = subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 0
        assert result.stderr == ""
        (folder / "o.tif").unlink()


def test_a_name_that_is_no_utf8_is_recorded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "Gro\udcdf.png"
    try:
        imageio.write(noise_raster(), folder / name)
    except (OSError, EngineError):
        pytest.skip("this disk takes no such names")
    assert run(folder, "convert", name, "-o", "out.tif", monkeypatch=monkeypatch) == 0
    assert "Gro" in json.loads((folder / "out.tif.record.json").read_text())["source"]["file"]


def test_a_record_never_stays_beside_another_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(folder, "convert", "in.tif", "-o", "out.tif", monkeypatch=monkeypatch) == 0
    assert (folder / "out.tif.record.json").exists()
    assert run(folder, "convert", "in.tif", "-o", "out.tif", "--no-record", monkeypatch=monkeypatch) == 0
    assert not (folder / "out.tif.record.json").exists()


def test_impossible_outputs_are_refused_before_any_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    imageio.write(noise_raster(8, 16_500), folder / "wide.tif")
    monkeypatch.setattr("engine.tasks.run_task", lambda *_: pytest.fail("worked for nothing"))
    assert run(folder, "clean", "wide.tif", "-o", "out.webp", monkeypatch=monkeypatch) == 1
    assert "16383" in capsys.readouterr().err
    assert run(folder, "clean", "in.tif", "-o", "out.tif", "--profile", "none.icc", monkeypatch=monkeypatch) == 1
    assert "none.icc" in capsys.readouterr().err


def test_on_a_terminal_the_progress_bar_is_removed_before_the_output(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run(folder, "info", "in.tif", "--json", monkeypatch=monkeypatch) == 0
    seen = capsys.readouterr()
    assert json.loads(seen.out)["width"] == 400
    assert "100 %" in seen.err
    assert seen.err.endswith("\r")
    assert run(folder, "info", "none.tif", monkeypatch=monkeypatch) == 1
    assert "none.tif" in capsys.readouterr().err.split("\r")[-1]


def test_the_compression_of_tiff_can_be_chosen(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for word, name in (("none", "none"), ("lzw", "LZW"), ("deflate", "Deflate")):
        target = tmp_path / f"{word}.tif"
        assert cli.main(["convert", str(scan), "-o", str(target), "--compression", word]) == 0
        assert imageio.probe(target).compression == name
        assert np.array_equal(imageio.read(target).pixels, imageio.read(scan).pixels)
    assert cli.main(["convert", str(scan), "-o", str(tmp_path / "a.png"), "--compression", "lzw"]) == 1
    assert capsys.readouterr().err == "Only TIFF has a choice of compression, and a.png is none.\n"
    assert not (tmp_path / "a.png").exists()


def test_a_command_does_not_load_what_only_others_need(scan: Path) -> None:
    """``lacuna info`` answers at once; on Windows every library that is loaded is looked through, too."""
    code = (
        "import sys; from desktop.__main__ import main\n"
        "sys.argv[1:] = ['info', sys.argv[1]]; main()\n"
        "print({'cv2', 'PySide6', 'onnxruntime', 'sqlite3', 'desktop.document', 'http.client'} & {*sys.modules})"
    )
    said = subprocess.check_output([sys.executable, "-c", code, str(scan)], cwd=ROOT, text=True)
    assert said.splitlines()[-1] == "set()"
