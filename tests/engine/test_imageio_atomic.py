"""Files are written atomically, and never over an opened file."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine import imageio
from engine.errors import WriteError
from engine.raster import Raster


def raster():
    return Raster(np.random.default_rng(1).integers(0, 65536, (300, 400, 3), np.uint16))


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def failed(code, act):
    with pytest.raises(WriteError) as caught:
        act()
    assert caught.value.code == code
    assert caught.value.text().endswith(".")
    return caught.value.text()


def test_a_file_is_replaced_at_the_end(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with imageio.atomic_write(path) as file:
        file.write(b"new")
        file.seek(0)
        assert file.read() == b"new"
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    imageio.atomic_write_bytes(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert names(tmp_path) == ["a.txt"]


def test_the_old_file_survives_any_failure(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def interrupted(failure):
        with imageio.atomic_write(path) as file:
            file.write(b"half")
            raise failure

    for failure in (ValueError("a defect"), KeyboardInterrupt()):
        with pytest.raises(type(failure)):
            interrupted(failure)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "write.full"),
        (errno.EDQUOT, "write.full"),
        (errno.EROFS, "write.readonly"),
        (errno.EIO, "write.failed"),
    ],
)
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failures_of_the_disk(tmp_path, monkeypatch, number, code, step):
    path = tmp_path / "a.tif"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, step, fail)
    failed(code, lambda: imageio.write(raster(), path))
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.tif"]


@pytest.mark.skipif(os.name == "nt", reason="file size limits are POSIX")
@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_a_full_disk(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")
    program = (
        "import resource, signal, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from engine import imageio\n"
        "from engine.errors import WriteError\n"
        "from engine.raster import Raster\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "pixels = np.random.default_rng(1).integers(0, 65536, (300, 400, 3), np.uint16)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "try:\n"
        "    imageio.write(Raster(pixels), Path(sys.argv[1]))\n"
        "except WriteError as error:\n"
        "    print(error.code, error.text())\n"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, cwd=root)
    assert run.stderr == ""
    assert run.stdout.startswith("write.full There is not enough room")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == [f"a{suffix}"]


def test_missing_folders(tmp_path):
    failed("write.folder", lambda: imageio.write(raster(), tmp_path / "none" / "a.tif"))
    failed("write.folder", lambda: imageio.write_mask(np.zeros((2, 2), np.uint8), tmp_path / "none" / "a.png"))
    (tmp_path / "file").write_bytes(b"")
    failed("write.folder", lambda: imageio.write(raster(), tmp_path / "file" / "a.tif"))
    failed("write.suffix", lambda: imageio.write(raster(), tmp_path / "a.gif"))
    failed("write.suffix", lambda: imageio.write(raster(), tmp_path / "a.bmp"))
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(WriteError):
        imageio.write(raster(), tmp_path / "folder.tif")
    assert names(tmp_path) == ["file", "folder.tif"]


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX")
def test_permissions_are_those_of_any_file(tmp_path):
    path = tmp_path / "a.png"
    old = os.umask(0o027)
    try:
        imageio.atomic_write_bytes(path, b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    imageio.atomic_write_bytes(path, b"y")
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_are_followed(tmp_path):
    (tmp_path / "real.txt").write_bytes(b"old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    imageio.atomic_write_bytes(tmp_path / "link.txt", b"new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_bytes() == b"new"


def test_long_names_are_written(tmp_path):
    path = tmp_path / ("a" * 250 + ".png")
    imageio.atomic_write_bytes(path, b"x")
    assert path.read_bytes() == b"x"


def test_targets(tmp_path):
    scan, other = tmp_path / "scan.tif", tmp_path / "other.tif"
    scan.write_bytes(b"scan")
    other.write_bytes(b"other")
    imageio.check_target(other, [scan])
    imageio.check_target(tmp_path / "new.PNG", [scan])
    imageio.check_target(tmp_path / "new.ora", [scan], suffixes=(".ora",))
    failed("write.source", lambda: imageio.check_target(scan, [other, scan]))
    failed("write.source", lambda: imageio.check_target(tmp_path / "x" / ".." / "scan.tif", [scan]))
    failed("write.source", lambda: imageio.check_target(tmp_path / "new.tif", [tmp_path / "new.tif"]))
    failed("write.suffix", lambda: imageio.check_target(tmp_path / "a.gif", []))
    failed("write.suffix", lambda: imageio.check_target(tmp_path / "a", []))
    failed("write.folder", lambda: imageio.check_target(tmp_path / "none" / "a.tif", []))
    (tmp_path / "folder.tif").mkdir()
    failed("write.folder", lambda: imageio.check_target(tmp_path / "folder.tif", []))


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_targets_through_links(tmp_path):
    scan = tmp_path / "scan.tif"
    scan.write_bytes(b"scan")
    (tmp_path / "soft.tif").symlink_to(scan)
    os.link(scan, tmp_path / "hard.tif")
    (tmp_path / "folder").symlink_to(tmp_path)
    for target in ("soft.tif", "hard.tif", "folder/scan.tif"):
        failed("write.source", lambda target=target: imageio.check_target(tmp_path / target, [scan]))


def test_read_only_places(tmp_path, monkeypatch):
    # Patches os.access, because root may write everywhere.
    (tmp_path / "a.tif").write_bytes(b"kept")
    for locked in (tmp_path, tmp_path / "a.tif"):
        monkeypatch.setattr(os, "access", lambda path, _, locked=locked: Path(path) != locked)
        failed("write.readonly", lambda: imageio.check_target(tmp_path / "a.tif", []))
