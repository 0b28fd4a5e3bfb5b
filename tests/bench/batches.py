"""The measures of ``make bench`` that concern batches. Each runs in a new process and returns its values by name."""

from __future__ import annotations

import functools
import queue
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from engine import imageio
from engine.batch import Listener, open_batch
from engine.batch.plan import Plan, plan_of
from engine.batch.pool import fitting_workers
from engine.batch.rows import State
from engine.batch.run import BatchRun
from engine.raster import ArrayMask, ArraySource, Raster
from engine.restore import restore_file
from engine.runtime.cards import Registry
from engine.runtime.session import SESSIONS, Device
from engine.tasks import TaskInput, check_card, make_settings, run_task

_WINDOW = 1000
"""Side of a picture that is one window of the model for cleaning."""


def machinery() -> dict[str, float]:
    """Time of a batch of 200 small scans in one worker, over that of restoring them one after another here, less 1."""
    with folder_of_scans(200, 400) as box:
        plan, registry = plan_of("gentle", device="cpu"), Registry(check=check_card)
        recipe, plain = plan.made_recipe(), box.parent / "plain"
        plain.mkdir()
        SESSIONS.threads = 1

        def here() -> None:
            for path in sorted(box.iterdir()):
                restore_file(path, recipe, plan.output(plain / path.name, {}), Device.CPU, registry=registry)

        restore_file(next(box.iterdir()), recipe, plan.output(plain / "first.tif", {}), Device.CPU, registry=registry)
        own = seconds(here)
        whole = seconds(lambda: run(box, plan, 1))
    return {"share": whole / own - 1, "tasks_s": own, "batch_s": whole}


def workers() -> dict[str, float]:
    """Time of a batch of 60 scans in one worker over that in two, on two cores; each has one thread."""
    with folder_of_scans(60, 500) as box:
        plan = plan_of("gentle", device="cpu")
        one, two = (seconds(lambda count=count: run(box, plan, count)) for count in (1, 2))
    return {"inverse": two / one, "ratio": one / two}


def resuming() -> dict[str, float]:
    """Seconds from opening a half-done batch of 1,000 scans to the first that is new."""
    with folder_of_scans(1000, 48) as box:
        plan, out = plan_of("gentle", device="cpu"), box.parent / "resumed"
        done = 0

        def count(*_: object) -> None:
            nonlocal done
            done += 1
            if done == 500:
                runner.stop(now=True)

        with open_batch([box], out, plan) as batch:
            runner = batch.runner(2, Listener(finished=count))
            runner.run()
        first: list[float] = []

        def note(*_: object) -> None:
            first.append(time.perf_counter())
            runner.stop(now=True)

        start = time.perf_counter()
        with open_batch([box], out, plan) as batch:
            runner = batch.runner(2, Listener(finished=note))
            runner.run()
    return {"first_s": first[0] - start}


def queue_window() -> dict[str, float]:
    """Longest event of the window, ms, while a batch of 10,000 scans runs in it; and memory that 10,000 take, MB."""
    import gc
    import shutil

    import psutil

    from tests.bench.measures import longest_pause, program

    def memory() -> float:
        gc.collect()
        return psutil.Process().memory_info().rss / 1e6

    with folder_of_scans(1, 48) as box, program() as (running, wait):
        few, many = box.parent / "few", box.parent / "many"
        for folder, count in ((few, 100), (many, 9_900)):
            folder.mkdir()
            for number in range(count):
                shutil.copyfile(box / "0000.tif", folder / f"{number:04}.tif")
        running.store.settings.batch.recipe = "gentle"
        running.store.settings.batch.device = "cpu"
        window = running.contents.batches.window
        keeper = window.keeper
        window.bring()
        window.add([few])
        wait(lambda: window.model.rowCount() == 100 and not keeper.busy)
        before = memory()
        listing = longest_pause(lambda: (window.add([many]), wait(lambda: window.model.rowCount() == 10_000, 300)))
        wait(lambda: not keeper.busy)
        window.table.scrollToBottom()
        growth = memory() - before
        keeper.start()
        wait(lambda: bool(keeper._shares))

        def work() -> None:
            ended = time.perf_counter() + 8
            for number in range(9):
                at = time.perf_counter() + 0.8
                wait(lambda at=at: time.perf_counter() > at)
                window.table.verticalScrollBar().setValue(number * 1100)
            wait(lambda: time.perf_counter() > ended)

        running_ms = longest_pause(work)
        done = keeper.total - sum(keeper.counts[state] for state in (State.PENDING, State.RUNNING))
        keeper.cancel()
        wait(lambda: keeper._run is None)
    return {"running_ms": running_ms, "listing_ms": listing, "growth_mb": growth, "done": done}


def queueing() -> dict[str, float]:
    """Growth of this process from a batch of 100 queued scans to one of 10,000 that runs, with a view of it, MB."""
    import os

    from engine.batch.views import View, changed_since, row_ids, rows_at

    peaks = []
    for count in (100, 10_000):
        with folder_of_scans(1, 48) as box:
            (scan,) = box.iterdir()
            for number in range(1, count):
                os.link(scan, box / f"{number:05}.tif")
            with open_batch([box], box.parent / "out", plan_of("gentle", device="cpu")) as batch:
                runner = batch.runner(1, Listener(finished=lambda *_: runner.stop(now=True)))  # noqa: B023
                runner.run()
                ids = row_ids(batch.table, View(order="name"))
                assert len(ids) == count
                assert len(changed_since(batch.table, 0)[0]) == count
                rows_at(batch.table, ids[:60])
                batch.write_report()
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return {"growth_mb": peaks[1] - peaks[0], "peak_mb": peaks[1]}


def holding() -> dict[str, float]:
    """What a batch on all cores costs a heal of a spot for which it is held, and when it pauses, over its windows."""
    SESSIONS.threads = 1
    registry = Registry(check=check_card)
    random = np.random.default_rng(0)
    tasks = [functools.partial(run_task, _input(registry, task)) for task in ("heal", "clean")]
    heal_s, window_s = (min(seconds(task) for _ in range(4)) for task in tasks)
    at_work, paused = queue.SimpleQueue[int](), queue.SimpleQueue[float]()
    runs: list[BatchRun] = []

    def work(box: Path) -> None:
        recipe = box.parent / "clean.toml"
        recipe.write_text('title = "Clean"\n[[steps]]\ntask = "clean"\n', encoding="utf-8")
        listener = Listener(
            progress=lambda row, *_: at_work.put(row.id), paused=lambda: paused.put(time.perf_counter())
        )
        with open_batch([box], box.parent / "out", plan_of(str(recipe), device="cpu")) as batch:
            runs.append(batch.runner(None, listener, threads=1))
            runs[0].run()

    losses, waits = [], []
    with folder_of_scans(60, _WINDOW) as box:
        thread = threading.Thread(target=work, args=(box,))
        thread.start()
        while at_work.get(timeout=120) < fitting_workers():
            pass
        for pause in random.uniform(1.0, 2.0, 6):
            time.sleep(pause * window_s)
            asked = time.perf_counter()
            runs[0].hold(True)
            tasks[0]()
            losses.append(time.perf_counter() - asked - heal_s)
            waits.append(paused.get(timeout=120) - asked)
            runs[0].hold(False)
        runs[0].stop(now=True)
        thread.join()
    pause = float(np.median(waits))
    return {"heal": max(losses) / window_s, "pause": pause / window_s, "window_s": window_s, "heal_s": heal_s}


def _input(registry: Registry, task: str) -> TaskInput:
    """A task on a picture of one window; what is to be healed of it is a spot of 20 px."""
    picture = np.random.default_rng(0).integers(90, 110, (_WINDOW, _WINDOW, 3)).astype(np.uint8)
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[400:420, 400:420] = 255
    card = registry.default(task)
    settings = make_settings(task, card, {})
    return TaskInput(task, ArraySource(picture), None, ArrayMask(mask), settings, card, Device.CPU)


def run(box: Path, plan: Plan, count: int) -> None:
    """Run a batch into a new folder, in workers of one thread each."""
    with open_batch([box], Path(tempfile.mkdtemp(dir=box.parent)), plan) as batch:
        assert batch.runner(count, Listener(), threads=1).run()


@contextmanager
def folder_of_scans(count: int, side: int) -> Iterator[Path]:
    """Scans of noise on a ramp, all different, with a white scratch each."""
    with tempfile.TemporaryDirectory(prefix="lacuna-bench-") as scratch:
        box = Path(scratch) / "box"
        box.mkdir()
        random = np.random.default_rng(1)
        ramp = np.linspace(0.2, 0.8, side)[:, None, None] * np.ones((1, side, 3))
        for number in range(count):
            values = (ramp + random.normal(0, 0.01, ramp.shape)) * 255
            pixels = np.clip(values, 0, 255).astype(np.uint8)
            pixels[side // 2, side // 8 : side // 2] = 255
            imageio.write(Raster(pixels), box / f"{number:04}.tif")
        yield box


def seconds(action: Callable[[], object]) -> float:
    """Time that a call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
