"""The measures of ``make bench`` that concern batches. Each runs in a new process and returns its values by name."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from engine import imageio
from engine.batch import Listener, open_batch
from engine.batch.plan import Plan, plan_of
from engine.batch.rows import State
from engine.raster import Raster
from engine.restore import restore_file
from engine.runtime.cards import Registry
from engine.runtime.session import SESSIONS, Device
from engine.tasks import check_card


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
