"""Processes that live for 20 s are begun by the first test of all and asked by the last: they run beside the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine import imageio
from engine.runtime.cards import SHIPPED
from tests.conftest import noise_raster
from tests.quiet.watch import NEEDS, Watched, python

_PLACES = {"test_the_watch.py": 0, "test_quiet.py": 2}
_LIVE = str(Path(__file__).with_name("live.py"))
_LIBRARY_ALONE = """
import sys, time, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
time.sleep(20)
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _PLACES.get(item.path.name, 1))


@pytest.fixture(scope="session")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Watched]]:
    """The window with a scan, a heal on the command line, and onnxruntime without anything of ours, 20 s each.

    ``ORT_DISABLE_TELEMETRY`` is 0 for the first two: what the environment says must not matter.
    """
    if NEEDS:
        pytest.skip(NEEDS)
    root = tmp_path_factory.mktemp("quiet")
    scan, mask = root / "scan.tif", root / "mask.png"
    imageio.write(noise_raster(), scan)
    drawn = np.zeros((300, 400), np.uint8)
    drawn[100:104, 50:120] = 255
    imageio.write_mask(drawn, mask)
    heal = ["engine", "heal", str(scan), "-o", "healed.tif", "--mask", str(mask)]
    begun = {
        "window": Watched(
            python(_LIVE, "20", "desktop", str(scan)),
            root / "window",
            QT_QPA_PLATFORM="offscreen",
            ORT_DISABLE_TELEMETRY="0",
        ),
        "heal": Watched(python(_LIVE, "20", *heal), root / "heal", ORT_DISABLE_TELEMETRY="0"),
        "library": Watched(python("-c", _LIBRARY_ALONE, str(SHIPPED / "tone" / "model.onnx")), root / "library"),
    }
    yield begun
    for life in begun.values():
        life.stop()
