"""The measures of ``make bench``. Each runs in a new process and returns its values by name."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

SIDE = 10_000
"""Side of the 100-megapixel picture."""
_CACHE = Path(tempfile.gettempdir()) / "lacuna-bench"


def opening() -> dict[str, float]:
    """Time from opening a 100 MP 16-bit RGB TIFF to its first paint, divided by that of the codec alone."""
    import tifffile

    numbers = {}
    for compression in ("uncompressed", "deflate"):
        path = large_tiff(compression)
        codec = best_of(4, lambda path=path: tifffile.imread(path))
        with program() as (running, wait):
            start = time.perf_counter()
            running.contents.photos.open([path])
            wait(lambda: front_canvas(running) is not None and front_canvas(running).frames > 0)
            numbers[f"ratio_{compression}"] = (time.perf_counter() - start) / codec
            numbers[f"codec_{compression}_s"] = codec
    return numbers


def memory() -> dict[str, float]:
    """Peak memory of the process with an open 100 MP document and its reductions, divided by its raw pixels."""
    import resource

    path = large_tiff("uncompressed")
    with program() as (running, wait):
        running.contents.photos.open([path])
        wait(lambda: running.contents.photos.photo is not None)
        wait(lambda: bool(running.contents.photos.photo.document.state.scan.levels))
        wait(lambda: front_canvas(running).frames > 0)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"ratio": peak / (SIDE * SIDE * 6), "peak_mb": peak / 1e6}


def painting() -> dict[str, float]:
    """Brush events on a 100 MP document with five layers: edit, recomposition and repaint; then undo."""
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    from desktop.document.targets import REPAIR_MASK, LayerMask

    with program() as (running, wait):
        workspace, view = open_layered(running, wait)
        view.viewport.zoom_to(1.0)
        view.viewport.centre_on(SIDE / 2, SIDE / 2)
        running.contents.tools.set_size(200)
        wait(lambda: view.complete)
        numbers: dict[str, float] = {}
        layer = workspace.document.state.layers[2]
        for name, target in (("repair_mask_ms", REPAIR_MASK), ("layer_mask_ms", LayerMask(layer.id))):
            workspace.set_target(target)
            if target is not REPAIR_MASK:
                running.contents.tools.select("eraser")
            settle(wait, view)
            middle = view.rect().center()
            QTest.mousePress(view, Qt.MouseButton.LeftButton, pos=middle)
            times = []
            for step in range(80):
                place = middle + type(middle)(int(300 * np.cos(step / 9)), int(200 * np.sin(step / 7)))
                times.append(milliseconds(lambda place=place: QTest.mouseMove(view, place)))
            QTest.mouseRelease(view, Qt.MouseButton.LeftButton, pos=place)
            settle(wait, view)
            numbers[name] = float(np.percentile(times, 95))
            undo = [milliseconds(step) for _ in range(5) for step in (workspace.undo.undo, workspace.undo.redo)]
            numbers[name.replace("_ms", "_undo_ms")] = float(np.median(undo[::2]))
    return numbers


def moving() -> dict[str, float]:
    """Pan and zoom repaints of a 100 MP document with five layers in a 1600 x 1000 canvas."""
    with program() as (running, wait):
        _, view = open_layered(running, wait)
        view.viewport.zoom_to(1.0)
        numbers = {}
        for name, places in (("pan_new_ms", 1), ("pan_cached_ms", 2)):
            times = []
            for _ in range(places):
                view.viewport.centre_on(SIDE / 2 - 1500, SIDE / 2)
                settle(wait, view)
                times = [milliseconds(lambda: view.viewport.scroll_by(37, 11)) for _ in range(60)]
            numbers[name] = float(np.percentile(times, 95))
        zooms = [1.0, 0.8, 0.64, 0.5, 0.4, 0.3, 0.2, 0.15, 1.25, 1.6, 2.0, 3.0, 5.0]
        for name in ("zoom_new_ms", "zoom_cached_ms"):
            times = []
            for zoom in zooms:
                if name == "zoom_cached_ms":
                    # The tiles of this zoom are cached then.
                    settle_at(view, zoom, wait)
                    times.append(milliseconds(view.update))
                else:
                    times.append(milliseconds(lambda zoom=zoom: view.viewport.zoom_to(zoom)))
                    settle(wait, view)
            numbers[name] = float(np.percentile(times, 95))
    return numbers


def healing() -> dict[str, float]:
    """Time for healing the same scratch in a 1 MP and in a 100 MP document, and for cancelling a heal."""
    from desktop.document.model import Document
    from engine.jobs import Cancelled, JobContext
    from engine.raster import Raster

    times = {}
    for side in (1000, SIDE):
        document = Document(Raster(picture(side)))
        heal(document, JobContext())
        times[side] = best_of(3, lambda document=document: heal(document, JobContext()))
    import threading

    context = JobContext()
    asked = []

    def cancel() -> None:
        asked.append(time.perf_counter())
        context.cancel()

    timer = threading.Timer(0.15, cancel)
    timer.start()
    try:
        while True:
            heal(Document(Raster(picture(1000))), context, width=300)
    except Cancelled:
        cancelled = 1000 * (time.perf_counter() - asked[0])
    return {"ratio": times[SIDE] / times[1000], "cancel_ms": cancelled, "seconds_1mp": times[1000]}


def blocking() -> dict[str, float]:
    """The longest time for which the GUI thread is blocked during long edits of 100 MP with five layers."""
    from desktop.document.geometry import Turn
    from desktop.document.targets import REPAIR_MASK
    from engine import imageio

    numbers = {}
    with program() as (running, wait):
        workspace, view = open_layered(running, wait, whole=True)
        # The window is repainted during the measurement.
        settle(wait, view)
        workspace.set_active(workspace.document.state.layers[-1].id)
        edits = {"merge_ms": workspace.merge_down, "turn_ms": lambda: workspace.turn(Turn.RIGHT)}
        for name, edit in edits.items():
            numbers[name] = longest_pause(lambda edit=edit: (run_edit(workspace, edit, wait), settle(wait, view)))
        _CACHE.mkdir(exist_ok=True)
        path = _CACHE / "mask.png"
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[::7, : SIDE // 2] = 255
        imageio.write_mask(mask, path)
        workspace.set_target(REPAIR_MASK)
        numbers["mask_ms"] = longest_pause(
            lambda: run_edit(workspace, lambda: running.files.load_mask(workspace, path), wait)
        )
    return numbers


def remembering() -> dict[str, float]:
    """Time of a stroke after 4,000 undo steps, divided by that after 100."""
    from desktop.document.targets import REPAIR_MASK
    from engine.raster import Rect

    times: dict[int, float] = {}
    with program() as (running, wait):
        workspace, _ = open_layered(running, wait)

        def stroke(number: int) -> float:
            edit = workspace.document.state.mask.edit()
            x, y = 40 * (number % 200), 40 * (number // 200)
            edit.change(Rect(x, y, x + 30, y + 30), lambda view, _: view.fill(255))
            delta = edit.commit()
            return milliseconds(lambda: workspace.paint("Brush", {REPAIR_MASK: delta}))

        for number in range(4001):
            stroke(number)
            if number in (100, 4000):
                times[number] = float(np.median([stroke(10_000 + number + more) for more in range(60)]))
    return {"ratio": times[4000] / times[100], "stroke_ms": times[4000]}


def waiting() -> dict[str, float]:
    """Time that a heal waits during a search for damage in 100 MP, divided by that of one window of the search."""
    from desktop.work.base import TaskRequest
    from engine.runtime.session import Session

    runs: list[tuple[str, float, float]] = []
    plain = Session.run

    def watched(session: Session, *inputs: object) -> object:
        start = time.perf_counter()
        result = plain(session, *inputs)
        runs.append((session._stage.outputs[0].role, start, time.perf_counter()))
        return result

    Session.run = watched
    delays = []
    with program() as (running, wait):
        workspace, _ = open_layered(running, wait)
        heal_at(workspace, 300, wait)
        pauses = np.random.default_rng(0).uniform(0.2, 2.0, 7)
        finding = workspace.queue.find(TaskRequest("detect", running.registry.default("detect").id, "cpu", {}))
        wait(lambda: finding.progress > 0.02)
        for number, pause in enumerate(pauses, 1):
            until = time.perf_counter() + pause
            wait(lambda until=until: time.perf_counter() > until)
            before = len(runs)
            asked = time.perf_counter()
            heal_at(workspace, 300 + 300 * number, wait)
            delays.append(next(start for role, start, _ in runs[before:] if role == "picture") - asked)
        assert finding.progress < 1
        finding.cancel()
        wait(lambda: not workspace.queue.busy)
    starts = [start if role == "probability" else None for role, start, _ in runs]
    whole = [later - one for one, later in itertools.pairwise(starts) if one is not None and later is not None]
    return {"windows": max(delays) / float(np.median(whole)), "window_s": float(np.median(whole))}


def starting() -> dict[str, float]:
    """Time from the start of the process to a visible window, divided by that of an empty PySide6 main window."""
    bare = (
        "from PySide6.QtWidgets import QApplication, QMainWindow;"
        "app = QApplication([]); window = QMainWindow(); window.resize(1480, 940); window.show(); app.processEvents()"
    )
    # As ``lacuna`` starts, until the window is painted.
    ours = (
        "import os, sys\n"
        "from desktop.frame.main_window import MainWindow\n"
        "def painted(window, event):\n"
        "    print(int('onnxruntime' in sys.modules), flush=True)\n"
        "    os._exit(0)\n"
        "MainWindow.paintEvent = painted\n"
        "from desktop.__main__ import main\n"
        "sys.argv[1:] = []\n"
        "main()"
    )
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    # As on a user's computer, where modules are compiled once.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:

        def start(code: str) -> bytes:
            return subprocess.run(
                [sys.executable, "-c", code], env=environment | {"HOME": folder}, check=True, capture_output=True
            ).stdout

        start(ours)
        imported = int(start(ours))
        one, other = best_of(5, lambda: start(bare)), best_of(5, lambda: start(ours))
    return {"ratio": other / one, "onnxruntime_imported": imported, "bare_s": one, "ours_s": other}


def fidelity() -> dict[str, float]:
    """Number of samples outside the mask that differ from the scan after heal and export, over all kinds of scans."""
    import imagecodecs

    from desktop.document.opening import open_document
    from desktop.document.project import Snapshot
    from desktop.work.flatten import export
    from engine import imageio
    from engine.jobs import JobContext
    from engine.output import Output
    from engine.raster import Raster

    adobe = bytes(imagecodecs.cms_profile("adobergb"))
    differ = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for dtype in (np.uint8, np.uint16):
            for profile in (None, adobe):
                for suffix in (".tif", ".png"):
                    source, target = folder / f"in{suffix}", folder / f"out{suffix}"
                    pixels = (picture(700) >> (8 if dtype == np.uint8 else 0)).astype(dtype)
                    imageio.write(Raster(pixels, profile), source)
                    document = open_document(source)
                    mask = heal(document, JobContext())
                    export(Snapshot.of(document), Output(target))
                    result = imageio.read(target).pixels
                    assert (result != pixels).any()
                    differ += int((result != pixels)[mask.read(mask.bounds) == 0].sum())
    return {"samples_differ": differ}


# -- scenes -------------------------------------------------------------------------------------------------------


def picture(side: int) -> np.ndarray:
    """A picture (side, side, 3) uint16 with structure and grain, which repeats every 500 px."""
    tile = np.random.default_rng(0).normal(0, 400, (500, 500, 3))
    y, x = np.mgrid[0:500, 0:500] * (2 * np.pi / 500)
    tile += 32000 + 14000 * np.sin(x * 3 + np.cos(y * 2))[..., None] + 6000 * np.cos(y * 5)[..., None]
    repeats = -(-side // 500)
    return np.tile(tile.astype(np.uint16), (repeats, repeats, 1))[:side, :side].copy()


def large_tiff(compression: str) -> Path:
    """The path of a 100 MP 16-bit RGB TIFF; it is kept in the temporary folder for later runs."""

    _CACHE.mkdir(exist_ok=True)
    path = _CACHE / f"{compression}-{SIDE}.tif"
    if not path.exists():
        kind = {"uncompressed": "none"}.get(compression, compression)
        code = (
            "import sys; from pathlib import Path; from tests.bench.measures import *;"
            "from engine import imageio; from engine.imageio import WriteOptions; from engine.raster import Raster;"
            f"imageio.write(Raster(picture(SIDE)), Path({str(path)!r}), WriteOptions(compression={kind!r}))"
        )
        # In another process, so that its memory is not measured.
        subprocess.run([sys.executable, "-c", code], check=True)
    return path


@contextmanager
def program() -> Iterator[tuple[object, Callable]]:
    """The running application, and a function that processes its events until a condition holds."""
    from PySide6.QtCore import QEventLoop, QTimer
    from PySide6.QtWidgets import QApplication

    from desktop.app import Program
    from desktop.settings import SettingsStore

    app = QApplication.instance() or QApplication([])

    # Wakes the event loop, which waits for events as in the real program.
    ticking = QTimer()
    ticking.start(2)

    def wait(condition: Callable[[], bool], seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "the benchmark waited in vain"
            app.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        running = Program(folder, SettingsStore(folder / "settings.ini"))
        running.start([])
        running.window.resize(2000, 1200)
        wait(lambda: running.ready and bool(running.contents.task.models))
        try:
            yield running, wait
        finally:
            for view in running.contents.photos.views():
                running.contents.photos._remove(view)
            running.window.close()
            running.stop()


def open_layered(running: object, wait: Callable, *, whole: bool = False) -> tuple[object, object]:
    """Open a 100 MP document with five layers in the middle or, with ``whole``, of full size; canvas 1600 x 1000."""
    from desktop.document.autosave_folder import AutosaveFolder
    from desktop.document.edits import AddLayer
    from desktop.document.model import Document
    from desktop.photo.workspace import Workspace
    from engine.raster import Raster, Rect

    document = Document(Raster(picture(SIDE)))
    workspace = Workspace(
        document, Path("bench.tif"), AutosaveFolder(Path(tempfile.mkdtemp())), running.jobs, running.registry
    )
    running.contents.photos._on_opened(workspace)
    view = front_canvas(running)
    view.setFixedSize(1600, 1000)
    rect = Rect(0, 0, SIDE, SIDE) if whole else Rect(4000, 4200, 6000, 5800)
    for number in range(5):
        layer = document.new_layer(f"layer {number}")
        pixels, mask = layer.pixels.edit(), layer.mask.edit()
        pixels.write(rect, np.full((rect.height, rect.width, 3), 9000 * number, np.uint16))
        mask.write(rect, np.random.default_rng(number).integers(0, 90, (rect.height, rect.width)).astype(np.uint8))
        made = layer.with_pixels(pixels.commit().apply_to(layer.pixels), mask.commit().apply_to(layer.mask))
        workspace.push(AddLayer("add", made, number))
    wait(lambda: document.state.scan.levels)
    return workspace, view


def heal(document: object, context: object, width: int = 40) -> object:
    """Heal a scratch in the first megapixel of a document without a window; returns the mask."""
    from desktop.document.edits import Paint
    from desktop.document.targets import REPAIR_MASK
    from desktop.work.base import TaskRequest
    from desktop.work.repair import ApplyTask, ApplyTaskRunner
    from engine.raster import Rect
    from engine.runtime.cards import Registry
    from engine.tiles import TileMap

    edit = TileMap.empty(document.state.mask.shape, np.uint8).edit()
    for step in range(0, 400, 4):
        edit.change(
            Rect(150 + step, 150 + step // 2, 150 + step + width // 4, 156 + step // 2), lambda view, _: view.fill(255)
        )
    delta = edit.commit()
    mask = delta.apply_to(edit.source)
    Paint("Brush", REPAIR_MASK, delta).apply(document)
    request = TaskRequest("heal", "heal", "cpu", {"grow": 0.0, "feather": 0.0}, new_layer=True)
    runner = ApplyTaskRunner(ApplyTask(request=request, mask=mask, spot=False), document, Registry())
    result = runner.freeze(None)(context)
    done, _ = runner.edit(result)
    done.apply(document)
    return mask


def heal_at(workspace: object, place: int, wait: Callable) -> None:
    """Paint a small square of the repair mask, heal it, and wait."""
    from desktop.document.targets import REPAIR_MASK
    from desktop.work.base import TaskRequest
    from engine.raster import Rect

    edit = workspace.document.state.mask.edit()
    edit.change(Rect(place, place, place + 20, place + 20), lambda view, _: view.fill(255))
    workspace.paint("Brush", {REPAIR_MASK: edit.commit()})
    ended: list[bool] = []
    ticket = workspace.queue.apply(TaskRequest("heal", "heal", "cpu", {}))
    ticket.ended.connect(lambda: ended.append(True))
    wait(lambda: bool(ended))


def run_edit(workspace: object, ask: Callable[[], object], wait: Callable) -> None:
    """Start an edit and process events until its undo step was pushed."""
    steps = workspace.undo.index()
    ask()
    wait(lambda: workspace.undo.index() > steps)


def longest_pause(action: Callable[[], object]) -> float:
    """The longest time between two iterations of the event loop during an action, milliseconds."""
    from PySide6.QtCore import QTimer

    beats = [time.perf_counter()]
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append(time.perf_counter()))
    timer.start(0)
    action()
    timer.stop()
    beats.append(time.perf_counter())
    return 1000 * max(later - before for before, later in itertools.pairwise(beats))


def milliseconds(action: Callable[[], object]) -> float:
    """Time until an action is done and its changes are painted, milliseconds."""
    from PySide6.QtWidgets import QApplication

    start = time.perf_counter()
    action()
    QApplication.sendPostedEvents()
    QApplication.processEvents()
    return 1000 * (time.perf_counter() - start)


def settle(wait: Callable, view: object) -> None:
    """Process events until the canvas is painted with all tiles."""
    frames = view.frames
    view.update()
    wait(lambda: view.frames > frames and view.complete)


def settle_at(view: object, zoom: float, wait: Callable) -> None:
    """Set a zoom and wait until it is painted with all tiles."""
    view.viewport.zoom_to(zoom)
    settle(wait, view)


def front_canvas(running: object) -> object:
    """The canvas that is shown; None without a photograph."""
    return running.contents.photos.view


def best_of(runs: int, action: Callable[[], object]) -> float:
    """Time of the fastest of some runs, seconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)
