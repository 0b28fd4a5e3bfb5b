"""A wheel, built and installed without a network, works in an environment without this checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import engine
from engine import imageio
from engine.resources import resource
from engine.runtime.cards import SHIPPED

ROOT = Path(__file__).parents[2]
WINDOW = """
import sys, time
from pathlib import Path
from PySide6.QtWidgets import QApplication
from desktop.app import Program
from desktop.frame.photos import SAMPLE
from desktop.settings import SettingsStore
app = QApplication([])
program = Program(Path("state"), SettingsStore(Path("settings.ini")))
program.start([SAMPLE])
until = time.monotonic() + 60
while not (program.ready and program.contents.task.models and program.contents.photos.photo):
    assert time.monotonic() < until
    app.processEvents()
icons = [not action.icon().isNull() for action in program.menus.by_id.values()]
print(len(program.contents.task.models) > 3, SAMPLE.is_file(), bool(app.styleSheet()), any(icons))
program.window.close()
program.stop()
"""


class Installed:
    """An installation in a folder.

    Attributes:
        site: the folder with the wheel's packages.
    """

    def __init__(self, site: Path, others: Path, state: Path) -> None:
        self.site = site
        # With -S Python uses only this path: neither this checkout nor its metadata.
        self._environment = {
            "PYTHONPATH": os.pathsep.join([str(site), str(others)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "QT_QPA_PLATFORM": "offscreen",
            "HOME": str(state),
            "PATH": os.environ["PATH"],
        }

    def run(self, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """Run Python with some arguments in a folder."""
        return subprocess.run(
            [sys.executable, "-S", *words], cwd=folder, env=self._environment, capture_output=True, text=True
        )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, installed in a folder."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    alone = ["--no-deps", "--no-index"]
    subprocess.run([*pip, "wheel", *alone, "--no-build-isolation", "-w", str(folder), str(ROOT)], check=True)
    (built,) = folder.glob("lacuna-*.whl")
    subprocess.run([*pip, "install", *alone, "--target", str(folder / "site"), str(built)], check=True)
    return folder / "site"


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dependencies that are installed here, without Lacuna."""
    folder = tmp_path_factory.mktemp("others")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "lacuna" not in path.name:
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(params=["with its metadata", "without its metadata"])
def installed(request: pytest.FixtureRequest, wheel: Path, others: Path, tmp_path: Path) -> Installed:
    if request.param == "with its metadata":
        return Installed(wheel, others, tmp_path)
    shutil.copytree(wheel, tmp_path / "site", ignore=shutil.ignore_patterns("*.dist-info"), copy_function=os.link)
    return Installed(tmp_path / "site", others, tmp_path)


def test_an_installed_wheel_has_its_models_and_heals(installed: Installed, scan: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    where = installed.run(folder, "-c", "import engine, desktop; print(engine.__file__, desktop.__file__)")
    assert where.stdout.split() == [str(installed.site / name / "__init__.py") for name in ("engine", "desktop")]
    script = str(installed.site / "bin" / "lacuna")
    assert installed.run(folder, script, "--version").stdout == f"lacuna {engine.__version__}\n"
    assert "600" in installed.run(folder, script, "info", str(scan)).stdout
    models = installed.run(folder, script, "models").stdout.splitlines()
    assert [line.split()[0] for line in models] == sorted(c.parent.name for c in SHIPPED.glob("*/card.toml"))
    drawn = np.zeros((300, 400), np.uint8)
    drawn[100:104, 50:120] = 255
    imageio.write_mask(drawn, tmp_path / "mask.png")
    healed = installed.run(folder, script, "heal", str(scan), "-o", "out.tif", "--mask", str(tmp_path / "mask.png"))
    assert (healed.returncode, healed.stderr) == (0, "")
    changed = (imageio.read(scan).pixels != imageio.read(folder / "out.tif").pixels).any(axis=2)
    assert not changed[drawn == 0].any()
    assert changed[drawn > 0].mean() > 0.9
    assert json.loads((folder / "out.tif.record.json").read_text())["program"] == f"lacuna {engine.__version__}"


@pytest.mark.parametrize("installed", ["without its metadata"], indirect=True)
def test_an_installed_wheel_opens_its_window(installed: Installed, tmp_path: Path) -> None:
    result = installed.run(tmp_path, "-c", WINDOW)
    assert (result.returncode, result.stdout) == (0, "True True True True\n"), result.stderr


def test_a_wheel_carries_no_report_and_only_names_of_ours(wheel: Path) -> None:
    names = {path.name for path in wheel.iterdir()}
    assert names == {"desktop", "engine", "bin", f"lacuna-{engine.__version__}.dist-info"}
    shipped = {path.name for path in (wheel / "engine" / "_resources").iterdir()}
    assert shipped == {"help", "icons", "models", "recipes", "samples", "themes"}
    # Models may take 28 MB, and all else hardly an eighth of that. What pip compiles is not in the wheel.
    files = [path for path in wheel.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files) < 31_500_000


def test_a_frozen_program_finds_its_files_where_it_was_unpacked_or_beside_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "lacuna"))
    assert resource("models", "heal") == tmp_path / "resources" / "models" / "heal"
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path / "unpacked"), raising=False)
    assert resource() == tmp_path / "unpacked" / "resources"
