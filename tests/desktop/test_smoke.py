"""The self-test of an installation: it tries the window, all formats and all models, and it can fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from engine.resources import resource
from tests import tiny_models

ROOT = Path(__file__).parents[2]
START = """
import sys
from pathlib import Path
import engine.resources
root = Path(sys.argv.pop(1))
engine.resources._root = lambda: root
import socket
from desktop.__main__ import main
from desktop import smoke
def asking(*arguments):
    with socket.socket() as one:
        one.settimeout(0.01)
        one.connect_ex(("127.0.0.1", 9))
# With the models that ship these take long, and they are tried in every installation that is built.
smoke._try_commands, smoke._try_batch = asking, lambda *_: None
sys.exit(main())
"""


def test_what_is_missing_and_what_asks_the_network_fails(tmp_path: Path) -> None:
    root = tmp_path / "resources"
    root.mkdir()
    for path in resource().iterdir():
        if path.name != "models":
            (root / path.name).symlink_to(path)
    (root / "models").mkdir()
    tiny_models.smoother(root / "models")
    tiny_models.masker(root / "models", 1)
    (root / "models" / "shipped.txt").write_text("smoother\nmasker\n")
    words = [sys.executable, "-c", START, str(root), "--smoke", "--without-model", "smoother"]
    (tmp_path / "tmp").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    result = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    found = json.loads(result.stdout.splitlines()[-1])
    assert (result.returncode, found["ok"]) == (1, False), result.stderr
    assert set(found["models"]) == {"masker"}
    asked, missing = sorted(found["problems"], reverse=True)
    assert missing.startswith("models: The model smoother is missing in ")
    assert "127.0.0.1" in asked
    assert {"TIFF LZW", "PNG", "JPEG", "WebP", "BMP"} <= set(found["formats"])
    assert found["parts"]["start to picture"] > found["parts"]["start to window"] > 0
    assert list((tmp_path / "tmp").iterdir()) == []
