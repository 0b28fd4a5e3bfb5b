"""Checks for the system libraries that Qt needs on Linux, and installs missing ones or prints how to.

As root on Debian or Ubuntu they are installed; otherwise the command is printed. Prints nothing when none is missing.
Uses only the standard library, because nothing else may be installed yet.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from desktop import system_libraries


def main() -> int:
    """Returns 0 when no library is missing (any more), 1 after printing which are."""
    absent = system_libraries.missing()
    if absent and os.geteuid() == 0 and shutil.which("apt-get"):
        packages = system_libraries.packages(absent)
        print(f"Installing system libraries for the window: {packages}", flush=True)
        _run_quietly(["apt-get", "update", "--quiet"])
        _run_quietly(["apt-get", "install", "--yes", *packages.split()])
    sentence = system_libraries.complaint() if absent else ""
    if sentence:
        print(sentence, file=sys.stderr)
    return 1 if sentence else 0


def _run_quietly(command: list[str]) -> None:
    """Run a command; its output is printed only if it fails, because apt also prints harmless warnings."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, errors="replace")
    if result.returncode:
        print(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
