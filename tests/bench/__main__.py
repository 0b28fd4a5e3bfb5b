"""``make bench``: measures performance, compares it with its limits, and prints JSON lines.

Each measure runs three times, each in its own process; the best run counts, because timings are noisy. Ratios compare
two times of the same run. ``python -m tests.bench NAME`` runs one measure once and prints its values.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench import batches, measures

ROOT = Path(__file__).resolve().parents[2]
RUNS = 3


@dataclass(frozen=True)
class Row:
    """One number of the table.

    Attributes:
        measure: the function of ``measures`` or ``batches`` that returns it.
        key: of the value in what it returns.
        limit: the largest value that passes.
        what: description.
    """

    measure: str
    key: str
    limit: float
    what: str


ROWS = (
    Row("opening", "ratio_uncompressed", 1.5, "open a 100 MP TIFF to first picture / codec alone (uncompressed)"),
    Row("opening", "ratio_deflate", 1.5, "open a 100 MP TIFF to first picture / codec alone (Deflate)"),
    Row("memory", "ratio", 2.2, "peak memory of that document, untouched / raw pixels"),
    Row("painting", "repair_mask_ms", 16, "brush event on 100 MP, 5 layers, 200 px brush, repair mask, 95 %"),
    Row("painting", "layer_mask_ms", 16, "the same on a layer's mask (recomposes the layers), 95 %"),
    Row("painting", "repair_mask_undo_ms", 16, "undo of that stroke on the repair mask"),
    Row("painting", "layer_mask_undo_ms", 16, "undo of that stroke on the layer's mask"),
    Row("moving", "pan_cached_ms", 16, "pan repaint, 1600 x 1000, cached, 95 %"),
    Row("moving", "pan_new_ms", 60, "pan repaint, 1600 x 1000, not cached, 95 %"),
    Row("moving", "zoom_cached_ms", 16, "zoom repaint, 1600 x 1000, cached, 95 %"),
    Row("moving", "zoom_new_ms", 60, "zoom repaint, 1600 x 1000, not cached, 95 %"),
    Row("healing", "ratio", 1.3, "heal the same scratch in 100 MP / in 1 MP, file reading apart"),
    Row("healing", "cancel_ms", 200, "cancel of a running heal"),
    Row("blocking", "merge_ms", 100, "longest pause of the window while a layer of 100 MP is merged down"),
    Row("blocking", "turn_ms", 100, "longest pause of the window while 100 MP with four layers are turned"),
    Row("blocking", "mask_ms", 100, "longest pause of the window while a mask of 100 MP is loaded"),
    Row("remembering", "ratio", 1.5, "a stroke after 4,000 undo steps / after 100"),
    Row("waiting", "windows", 1, "wait of a heal while damage is looked for / one window of the search"),
    Row("starting", "ratio", 1.5, "window visible / bare PySide6 main window"),
    Row("starting", "onnxruntime_imported", 0, "onnxruntime imported before the window is visible"),
    Row("machinery", "share", 0.05, "batch of 200 small scans in one worker / the tasks alone, less 1"),
    Row("workers", "inverse", 1 / 1.7, "time of a batch in two workers on two cores / in one"),
    Row("resuming", "first_s", 2, "half-done batch of 1,000 scans: seconds to the first new one"),
    Row("queue_window", "running_ms", 50, "longest event of the window of batches, 10,000 queued scans, running"),
    Row("queue_window", "growth_mb", 100, "memory that the window takes from 100 to 10,000 queued scans, MB"),
    Row("queueing", "growth_mb", 100, "memory growth from 100 queued scans to 10,000, MB"),
    Row(
        "holding", "windows", 1, "what a heal of a spot loses to a batch that is held for it / one window of the batch"
    ),
    Row("fidelity", "samples_differ", 0, "samples outside the mask that differ after heal and export"),
)


def main() -> int:
    """Run all measures, or the one that is named; returns 0 when all rows pass."""
    if len(sys.argv) > 1:
        home = measures if hasattr(measures, sys.argv[1]) else batches
        print(json.dumps(getattr(home, sys.argv[1])()))
        return 0
    failed = 0
    results: dict[str, list[dict[str, float]]] = {}
    for row in ROWS:
        if row.measure not in results:
            results[row.measure] = [_run(row.measure) for _ in range(RUNS)]
        seen = [result[row.key] for result in results[row.measure]]
        best = min(seen)
        holds = best <= row.limit
        failed += not holds
        line = {"what": row.what, "value": round(best, 3), "limit": row.limit, "holds": holds}
        print(json.dumps(line | {"runs": [round(value, 3) for value in seen]}), flush=True)
    return 1 if failed else 0


def _run(measure: str) -> dict[str, float]:
    result = subprocess.run(
        [sys.executable, "-m", "tests.bench", measure],
        cwd=ROOT,
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        sys.exit(f"{measure} failed:\n{result.stderr}")
    values: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return values


if __name__ == "__main__":
    sys.exit(main())
