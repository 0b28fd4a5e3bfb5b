"""``make installer``: freezes the program, tries it, and leaves what is to be downloaded in ``dist``.

Usage: python packaging/build.py [--releases URL]

Needs Python and nothing else: it makes an environment in ``build/venv`` with what the program needs and what
``pyproject.toml`` lists under ``installer``, and goes on in it with ``assemble.py``.

Two packages are exchanged for smaller ones with the same modules: onnxruntime without CUDA, OpenCV without contrib.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "build" / "venv"
EXCHANGED = {
    "onnxruntime-gpu": "onnxruntime",
    "opencv-contrib-python-headless": "opencv-python-headless",
}


def main() -> int:
    """Make the environment and build in it; returns the exit status."""
    python = environment(PLACE, [*runtime(), *tools()])
    here = ROOT / "packaging"
    environment_ = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(here)])}
    return subprocess.call([python, str(here / "assemble.py"), *sys.argv[1:]], cwd=ROOT, env=environment_)


def environment(place: Path, requirements: list[str]) -> str:
    """The Python of an environment with these packages, in the versions of ``constraints.txt``.

    It is made anew when the requirements, the versions or this Python have changed.
    """
    constraints = ROOT / "constraints.txt"
    told = "\n".join([sys.version, *requirements, constraints.read_text(encoding="utf-8")])
    mark, wanted = place / "made-of", hashlib.sha256(told.encode()).hexdigest()
    python = str(place / ("Scripts" if os.name == "nt" else "bin") / "python")
    if not mark.is_file() or mark.read_text(encoding="utf-8") != wanted:
        print(f"Making {place.relative_to(ROOT)}", flush=True)
        venv.create(place, clear=True, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(constraints)]
        subprocess.run([*install, *requirements], check=True)
        mark.write_text(wanted, encoding="utf-8")
    return python


def runtime() -> list[str]:
    """What the program itself needs, with the smaller packages."""
    return [_exchange(requirement) for requirement in _project()["dependencies"]]


def tools() -> list[str]:
    """What makes the installers."""
    return list(_project()["optional-dependencies"]["installer"])


def _project() -> dict[str, dict[str, list[str]] | list[str]]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]


def _exchange(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    return EXCHANGED.get(name[0], name[0]) + requirement[name.end() :] if name else requirement


if __name__ == "__main__":
    sys.exit(main())
