"""Only regular files are read or overwritten, and never input files."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from desktop.work.commands import FLATTEN
from engine import cli, imageio
from engine.errors import EngineError, ReadError, WriteError
from engine.imageio.plain import open_plain
from engine.output import Output, check_place
from engine.runtime.cards import read_card
from tests.conftest import noise_raster

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices in folders are POSIX")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    imageio.write(noise_raster(40, 60), tmp_path / "in.tif")
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 10:20] = 255
    imageio.write_mask(mask, tmp_path / "mask.png")
    (tmp_path / "screen.icc").write_bytes(_profile())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _profile() -> bytes:
    from engine import colour

    return colour.srgb()


@pytest.fixture(params=["device", "link", "pipe", "socket"])
def special(request: pytest.FixtureRequest, folder: Path) -> Iterator[Path]:
    """A special file in the folder, named ``*.png``; checks at the end that it still exists."""
    path = folder / "special.png"
    opened = socket.socket(socket.AF_UNIX)
    if request.param in ("device", "link"):
        # A device node of its own: if the test fails under root, /dev/null must not be lost.
        device = path if request.param == "device" else folder / "device"
        try:
            os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        except OSError:
            if request.param == "device":
                pytest.skip("only an administrator makes devices")
            device = Path(os.devnull)
        if request.param == "link":
            path.symlink_to(device)
    elif request.param == "pipe":
        os.mkfifo(path)
    else:
        opened.bind("special.png")
    yield path
    opened.close()
    assert not path.is_file()
    path.unlink()


def code(act) -> str:
    with pytest.raises(EngineError) as caught:
        act()
    assert caught.value.text().endswith(".")
    return caught.value.code


def test_only_plain_files_are_replaced(special: Path) -> None:
    assert code(lambda: imageio.check_target(special, [])) == "write.special"
    assert code(lambda: imageio.atomic_write_bytes(special, b"x")) == "write.special"
    assert special.exists()
    assert not special.is_file()


def test_a_path_that_became_a_special_file_meanwhile_is_not_replaced(folder: Path) -> None:
    target = folder / "out.png"

    def meanwhile() -> None:
        with imageio.atomic_write(target) as file:
            file.write(b"x")
            os.mkfifo(target)

    assert code(meanwhile) == "write.special"
    assert stat.S_ISFIFO(target.stat().st_mode)
    assert sorted(folder.glob(".*")) == []


@pytest.mark.parametrize(
    "words",
    [
        ["convert", "in.tif", "-o", "special.png"],
        ["heal", "in.tif", "-o", "special.png", "--mask", "mask.png"],
        [
            "heal",
            "in.tif",
            "-o",
            "o.tif",
            "--mask",
            "mask.png",
            "--model",
            "edgeconnect",
            "--save-edges",
            "special.png",
        ],
        ["detect", "in.tif", "-o", "special.png"],
        ["convert", "special.png", "-o", "o.tif"],
        ["info", "special.png"],
        ["heal", "in.tif", "-o", "o.tif", "--mask", "special.png"],
        ["convert", "in.tif", "-o", "o.tif", "--profile", "special.png"],
        ["models", "add", "special.png"],
        ["flatten", "special.png", "-o", "o.tif"],
    ],
)
def test_a_command_refuses_special_files(
    special: Path, words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.tasks.run_task", lambda *_: pytest.fail("worked for nothing"))
    assert cli.main(words, [FLATTEN]) == 1
    assert "special.png" in capsys.readouterr().err
    assert not Path("o.tif").exists()


def test_nothing_waits_for_a_pipe(folder: Path) -> None:
    for name, read in (
        ("pipe.toml", lambda path: cli.main(["restore", "in.tif", "-o", "o.tif", "--recipe", path.name])),
        ("card.toml", read_card),
        ("any", open_plain),
    ):
        os.mkfifo(folder / name)
        try:
            assert read(folder / name) == 1
        except (EngineError, OSError) as error:
            assert "pipe" in str(error)  # noqa: PT017 - some say it by their exit status


def test_a_pipe_that_took_a_picture_s_place_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "in.png")
    monkeypatch.setattr("engine.imageio.special_kind", lambda _: "")
    monkeypatch.setattr("engine.imageio.plain.special_kind", lambda _: "")
    with pytest.raises(ReadError, match="pipe"):
        imageio.read(folder / "in.png")


def test_a_looping_link_is_refused(folder: Path) -> None:
    (folder / "round.tif").symlink_to("round.tif")
    assert code(lambda: imageio.check_target(folder / "round.tif", [])) == "write.special"
    assert code(lambda: imageio.read(folder / "round.tif")) == "read.special"


def test_a_dangling_link_is_followed_when_writing(folder: Path) -> None:
    (folder / "link.png").symlink_to("real.png")
    imageio.check_target(folder / "link.png", [])
    imageio.atomic_write_bytes(folder / "link.png", b"x")
    assert (folder / "link.png").is_symlink()
    assert (folder / "real.png").read_bytes() == b"x"


def test_a_profile_is_never_the_output(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "screen.tif").symlink_to("screen.icc")
    (folder / "screen.png").symlink_to("screen.icc")
    edges = ["--mask", "mask.png", "--model", "edgeconnect", "--save-edges", "screen.png"]
    for words in (
        ["convert", "in.tif", "-o", "screen.tif"],
        ["heal", "in.tif", "-o", "screen.tif", "--mask", "mask.png"],
        ["heal", "in.tif", "-o", "o.tif", *edges],
    ):
        assert cli.main([*words, "--profile", "screen.icc"]) == 1
        assert "opened" in capsys.readouterr().err
    assert (folder / "screen.icc").read_bytes() == _profile()
    assert not (folder / "o.tif").exists()


def test_a_name_too_long_for_its_record_is_refused_before_the_work(folder: Path) -> None:
    fits, long = "a" * (255 - 4 - 12) + ".tif", "a" * (255 - 4 - 11) + ".tif"
    check_place(Output(folder / fits), [])
    assert code(lambda: check_place(Output(folder / long), [])) == "write.name"
    check_place(Output(folder / long, record=False), [])
    assert code(lambda: check_place(Output(folder / ("a" * 252 + ".tif"), record=False), [])) == "write.name"
    assert cli.main(["convert", "in.tif", "-o", long]) == 1
    assert cli.main(["convert", "in.tif", "-o", fits]) == 0
    assert cli.main(["convert", "in.tif", "-o", long, "--no-record"]) == 0


def test_a_folder_too_deep_for_the_hidden_file_is_refused_before_the_work(folder: Path) -> None:
    deep = folder
    while len(str(deep)) + 101 < 4070:
        deep /= "d" * 100
    deep /= "d" * (4070 - len(str(deep)) - 1)
    deep.mkdir(parents=True)
    assert code(lambda: imageio.check_target(deep / "a.png", [])) == "write.name"


def test_a_path_where_the_record_cannot_be_written_is_refused_before_the_work(folder: Path) -> None:
    (folder / "o.tif.record.json").mkdir()
    with pytest.raises(WriteError, match=r"o\.tif\.record\.json"):
        check_place(Output(folder / "o.tif"), [])
    check_place(Output(folder / "o.tif", record=False), [])


def test_an_impossible_name_is_not_the_same_file_as_another(folder: Path) -> None:
    assert not imageio.same_file(folder / "in.tif", Path("in\0.tif"))
    assert code(lambda: imageio.check_target(folder / "o\0.tif", [])) == "write.name"
