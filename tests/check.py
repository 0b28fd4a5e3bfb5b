"""``make test``: checks format, lint, types and import contracts, and runs the tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
STEPS = (
    ("format", [BIN / "ruff", "format", "--check", "--quiet", "."]),
    ("lint", [BIN / "ruff", "check", "--quiet", "--output-format", "concise", "."]),
    ("types", [BIN / "mypy"]),
    ("import contracts", [BIN / "lint-imports", "--no-cache"]),
    ("tests", [sys.executable, "-m", "pytest", "--quiet", "--numprocesses", "2", "--dist", "worksteal", *sys.argv[1:]]),
)


def main() -> int:
    """Run all steps; returns 0 when all passed."""
    # Two processes run tests, each on one core.
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen", "OMP_NUM_THREADS": "1"}
    failed = []
    for name, command in STEPS:
        start = time.monotonic()
        quiet = name == "import contracts"
        result = subprocess.run(
            [str(part) for part in command], cwd=ROOT, env=environment, check=False, capture_output=quiet, text=quiet
        )
        if result.returncode:
            failed.append(name)
            if quiet:
                print(result.stdout, result.stderr)
        print(f"{'FAILED' if result.returncode else 'ok':6} {name} ({time.monotonic() - start:.0f} s)", flush=True)
    if failed:
        print("Failed: " + ", ".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
