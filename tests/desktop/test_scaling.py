"""Screens with a scale: in a process of its own, because Qt reads the scale once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOOK = """
import os, sys
from pathlib import Path
import numpy as np
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QApplication, QWidget
app = QApplication([])
from desktop.canvas.view import CanvasView
from desktop.document.autosave_folder import AutosaveFolder
from desktop.document.model import Document
from desktop.photo.workspace import Workspace
from desktop.tools.base import ToolSettings
from desktop.work.threads import JobCentre
from engine.raster import Raster
from engine.runtime.cards import Registry
folder = Path(sys.argv[1])
white = Document(Raster(np.full((600, 600, 3), 255, np.uint8)))
photo = Workspace(white, folder / "x.tif", AutosaveFolder(folder), JobCentre(), Registry(folder))
around, view = QWidget(), CanvasView(ToolSettings())
around.resize(700, 700)
view.setParent(around)
view.setGeometry(46, 102, 395, 395)
view.surround = QColor("black")
view.show_workspace(photo)
around.show()
view.viewport.zoom_to(2.0)
view.viewport.centre_on(300, 300)
view.viewport.scroll_by(35, 25)
view.complete = False
while not view.complete:
    around.grab()
shown = around.grab().toImage().convertToFormat(QImage.Format.Format_Grayscale8)
grey = np.frombuffer(shown.constBits(), np.uint8).reshape(shown.height(), -1)
print(view.viewport.ratio, np.unique(grey[135:610, 65:540]), flush=True)
os._exit(0)
"""


def test_tiles_leave_no_gaps_where_the_canvas_begins_between_two_pixels_of_the_screen(tmp_path: Path) -> None:
    environment = os.environ | {"QT_SCALE_FACTOR": "1.25", "QT_QPA_PLATFORM": "offscreen"}
    words = [sys.executable, "-c", LOOK, str(tmp_path)]
    assert subprocess.check_output(words, env=environment, cwd=ROOT, text=True) == "1.25 [255]\n"
