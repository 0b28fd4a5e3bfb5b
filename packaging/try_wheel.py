"""Builds the wheel into ``dist``, and tries it in an empty environment, away from this checkout.

Usage: python packaging/try_wheel.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"


def main() -> int:
    """Returns 0 when the wheel heals and passes the self-test."""
    for old in DIST.glob("*.whl"):
        old.unlink()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(DIST), str(ROOT)], check=True)
    (wheel,) = DIST.glob("lacuna-*.whl")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        print(f"Installing {wheel.name} in an empty environment", flush=True)
        venv.create(place / "venv", with_pip=True)
        programs = place / "venv" / ("Scripts" if os.name == "nt" else "bin")
        install = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "-c", str(ROOT / "constraints.txt"), str(wheel)], check=True)
        start, result = time.perf_counter(), _smoke(programs / "lacuna", place)
    if result.returncode:
        print(f"The wheel does not work:\n{result.stdout}", file=sys.stderr)
        return 1
    found = json.loads(result.stdout.splitlines()[-1])
    print(json.dumps({"wheel": wheel.name, "formats": len(found["formats"]), "models": len(found["models"])}))
    print(f"{wheel.stat().st_size / 1e6:.1f} MB, tried in {time.perf_counter() - start:.0f} s")
    return 0


def _smoke(program: Path, place: Path) -> subprocess.CompletedProcess[str]:
    """Run the self-test in another folder, without this environment's variables."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    command = [str(program), "--smoke"]
    return subprocess.run(command, cwd=place, env=environment, check=False, stdout=subprocess.PIPE, text=True)


if __name__ == "__main__":
    sys.exit(main())
