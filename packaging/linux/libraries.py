"""Checks for the system libraries that Qt needs on Linux, and installs missing ones or prints how to.

As root on Debian or Ubuntu they are installed; otherwise the command is printed. Prints nothing when none is missing.
Uses only the standard library, because nothing else may be installed yet.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys

PACKAGES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
}


def missing() -> list[str]:
    """Names of the Debian packages whose library cannot be loaded."""
    packages = []
    for library, package in PACKAGES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            packages.append(package)
    return packages


def main() -> int:
    """Returns 0 when no library is missing (any more), 1 after printing which are."""
    if not sys.platform.startswith("linux"):
        return 0
    packages = missing()
    if not packages:
        return 0
    line = "apt-get install --yes " + " ".join(packages)
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"Installing system libraries for the window: {' '.join(packages)}", flush=True)
        _run_quietly(["apt-get", "update", "--quiet"])
        _run_quietly(line.split())
        packages = missing()
        if not packages:
            return 0
        line = "apt-get install --yes " + " ".join(packages)
    print("Lacuna's window needs system libraries that are missing here.", file=sys.stderr)
    print(f"On Debian or Ubuntu:\n    sudo {line}", file=sys.stderr)
    print("On other systems, packages with these files: " + ", ".join(PACKAGES), file=sys.stderr)
    return 1


def _run_quietly(command: list[str]) -> None:
    """Run a command; its output is printed only if it fails, because apt also prints harmless warnings."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, errors="replace")
    if result.returncode:
        print(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
