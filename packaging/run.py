"""``make run``: opens the window with the sample; without a display, heals the sample on the command line.

Usage: python packaging/run.py [FOLDER], the folder for the results without a display, ``out`` by default.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from engine.resources import resource

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Start the program; returns its exit status."""
    sample = resource("samples", "astronaut.tif")
    display = not sys.platform.startswith("linux") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    lacuna = [sys.executable, "-m", "desktop"]
    if display:
        status = subprocess.call([sys.executable, str(ROOT / "packaging" / "linux" / "libraries.py")])
        if status:
            return status
        return subprocess.call([*lacuna, str(sample)], cwd=ROOT)
    print("There is no display here, so the sample is healed without a window.")
    out = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "out"
    out.mkdir(exist_ok=True)
    before, after, picture = out / "sample-before.png", out / "sample-after.tif", out / "sample-after.png"
    mask = resource("samples", "astronaut-mask.png")
    commands = (
        ["convert", str(sample), "-o", str(before), "--depth", "8", "--profile", "srgb", "--no-record"],
        ["heal", str(sample), "-o", str(after), "--mask", str(mask), "--feather", "2"],
        ["convert", str(after), "-o", str(picture), "--depth", "8", "--profile", "srgb", "--no-record"],
    )
    for command in commands:
        status = subprocess.call([*lacuna, *command], cwd=ROOT)
        if status:
            return status
    for what, path in (
        ("before", before),
        ("after", picture),
        ("after, 16 bit", after),
        ("record", after.with_name(after.name + ".record.json")),
    ):
        print(f"{what:14} {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
