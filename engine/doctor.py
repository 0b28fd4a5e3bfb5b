"""What this installation can do: versions, devices that are really used, and a test of every model on them."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine import __version__
from engine.errors import EngineError, ModelError, Words
from engine.health import places, unused_card
from engine.jobs import JobContext
from engine.raster import ArraySource, Floats
from engine.recipes import RECIPES
from engine.runtime.cards import ModelCard, Registry
from engine.runtime.driver import Driver, nvidia_driver
from engine.runtime.session import Device, Library, library, missing_cuda_file
from engine.tasks import TaskInput, make_settings
from engine.tasks.base import Model, run_shrinking, to_planes

TOLERANCE = 0.02
"""Largest difference of a result on a graphics card from that on the processor, of the largest value and at least of 1.
Graphics cards multiply with fewer digits; in a picture this is five grey levels of 255."""
_GB = 1e9
_REPEATS = 3
"""Runs on the graphics card that are timed; the fastest counts."""


@dataclass(frozen=True)
class Trial:
    """One window of a model on one device.

    Attributes:
        device: where it was to run.
        providers: what onnxruntime ran it with, as its sessions say after the run.
        side: of the window, pixels.
        megapixels: a second, of the picture that goes in.
        difference: largest difference from the processor's result, see ``TOLERANCE``; None for the processor itself.
    """

    device: Device
    providers: tuple[str, ...]
    side: int
    megapixels: float
    difference: float | None = None


@dataclass(frozen=True)
class ModelTest:
    """The test of a model: its trials, on the processor first, and why it did not pass (None: it passed)."""

    id: str
    task: str
    trials: tuple[Trial, ...]
    problem: EngineError | None = None

    @property
    def uses_card(self) -> bool:
        """Whether it ran on a graphics card."""
        return any(trial.device is Device.CUDA for trial in self.trials)


@dataclass(frozen=True)
class Memory:
    """Memory of the computer in bytes: all, what is free for programs, and what this program uses."""

    total: int
    available: int
    own: int


@dataclass(frozen=True)
class Places:
    """Where files are; they need not exist.

    Attributes:
        models: of the program.
        added_models: by the user.
        recipes: of the program.
        settings: file with the settings of the window.
        work: unsaved work of the window.
    """

    models: Path
    added_models: Path
    recipes: Path
    settings: Path
    work: Path


@dataclass(frozen=True)
class Diagnosis:
    """The result of ``examine``.

    Attributes:
        version: of the program.
        python, system: version of Python; name and version of the operating system.
        cores: processor cores that the system shows.
        memory: of the computer.
        library: the installed onnxruntime.
        driver: of NVIDIA's graphics cards; None if there is none.
        places: where files are.
        tests: of all models whose cards can be used.
        problems: models whose cards cannot be used, and models of this installation that are missing.
        advice: why the graphics card is not used and what to do about it, as sentences; or that it is used. After that
            folders that cannot be written, and disks that are nearly full.
    """

    version: str
    python: str
    system: str
    cores: int
    memory: Memory
    library: Library
    driver: Driver | None
    places: Places
    tests: tuple[ModelTest, ...]
    problems: tuple[ModelError, ...]
    advice: tuple[Words, ...]

    @property
    def used(self) -> tuple[str, ...]:
        """The providers with which models really ran, each once: the first that each session asks."""
        return tuple(dict.fromkeys(trial.providers[0] for test in self.tests for trial in test.trials))

    @property
    def failed(self) -> int:
        """Number of models that cannot be used or did not pass."""
        return len(self.problems) + sum(test.problem is not None for test in self.tests)


def examine(
    registry: Registry,
    context: JobContext | None = None,
    seen: Callable[[Diagnosis], None] | None = None,
    *,
    twice: bool = True,
) -> Diagnosis:
    """Look at this installation and test every model on one window; takes about a minute on two cores. Any thread.

    On the processor a model passes when two runs give the same finite numbers, on a graphics card when the result is
    nearly that of the processor (``TOLERANCE``). Each model is run where the program would run it by default.

    Args:
        registry: the models.
        context: progress and cancellation, also inside of a run.
        seen: called with what is known so far, still without advice: before the first model and after each.
        twice: False runs each model only once on the processor, in half the time: its result is not compared.

    Raises:
        Cancelled: the context was cancelled.
    """
    used, cards, tests = context or JobContext(), registry.cards(), list[ModelTest]()
    known, tell = _look(registry), seen or (lambda _: None)
    tell(known)
    for done, card in enumerate(cards):
        part = used.part(done / len(cards), (done + 1) / len(cards))
        part.progress(0.0, card.title)
        tests.append(_test(card, part, twice=twice))
        tell(replace(known, tests=tuple(tests)))
    used.progress(1.0)
    found, driver = known.library, known.driver
    unused = found.has_cuda and driver is not None and not any(test.uses_card for test in tests)
    advice = advise(found, driver, tests, missing_cuda_file() if unused else "")
    folders = [known.places.work, known.places.settings.parent]
    advice += tuple(problem.words for problem in places(folders))
    return replace(known, memory=_memory(), tests=tuple(tests), advice=advice)


def _look(registry: Registry) -> Diagnosis:
    """What is known without running a model."""
    return Diagnosis(
        version=__version__,
        python=platform.python_version(),
        system=platform.platform(),
        cores=os.cpu_count() or 1,
        memory=_memory(),
        library=library(),
        driver=nvidia_driver(),
        places=_places(registry),
        tests=(),
        problems=tuple(registry.problems()),
        advice=(),
    )


def advise(found: Library, driver: Driver | None, tests: Sequence[ModelTest], missing: str) -> tuple[Words, ...]:
    """Why models do not run on a graphics card, and what to do about it.

    Args:
        found: the installed onnxruntime.
        driver: of NVIDIA's graphics cards.
        tests: of the models.
        missing: a file that onnxruntime needs for CUDA and does not find.
    """
    on_card = [test for test in tests if test.uses_card]
    sentences = []
    if on_card:
        left = ", ".join(test.id for test in tests if test.trials and not test.uses_card)
        if left:
            said = "These models fell back to the processor, although others run on the graphics card: {models}."
            sentences.append(Words(said, models=left))
        else:
            sentences.append(Words("The models run on the graphics card."))
        failed = ", ".join(test.id for test in on_card if test.problem is not None)
        if failed:
            said = (
                "Until the driver or the model is mended, run these models on the processor (--device cpu): {models}."
            )
            sentences.append(Words(said, models=failed))
        return tuple(sentences)
    if driver is None or not driver.cards:
        if not found.has_cuda:
            # No driver would change it.
            return (Words("The models run on the processor."),)
        said = "No graphics card of NVIDIA answers: the models run on the processor, and there is nothing to compare."
        return Words(said), Words("If this computer has such a card, install or update NVIDIA's driver for it.")
    return (Words("There is a graphics card, but the models run on the processor."), _remedy(found, driver, missing))


def _remedy(found: Library, driver: Driver, missing: str) -> Words:
    """What to do when a graphics card is there and not used."""
    unused = unused_card(found, driver, missing)
    if unused is not None:
        return unused.remedy
    said = (
        "Driver {version} is there, but onnxruntime fell back to the processor. Restart the computer, above all after "
        "an update of the driver; if that does not help, install the libraries again "
        '(pip install --force-reinstall "onnxruntime-gpu[cuda,cudnn]").'
    )
    return Words(said, version=driver.version)


def _test(card: ModelCard, context: JobContext, *, twice: bool) -> ModelTest:
    trials: list[Trial] = []
    try:
        given = _task_input(card, Device.CPU)
        trial, expected = run_shrinking(
            given, lambda model, side: _try_processor(card, model, side, context, twice=twice), context
        )
        trials.append(trial)
        model = Model(_task_input(card, Device.AUTO), Device.AUTO)
        if model.device is Device.CUDA:
            trials += _try_card(card, model, trial.side, expected, context)
    except EngineError as error:
        return ModelTest(card.id, card.task, tuple(trials), error)
    difference = max((trial.difference or 0.0 for trial in trials), default=0.0)
    problem = None
    if difference > TOLERANCE:
        said = "The results of the model {model} on the graphics card and on the processor differ by {share:.3f}."
        problem = ModelError(said, "doctor.differs", model=card.id, share=difference)
    return ModelTest(card.id, card.task, tuple(trials), problem)


def _task_input(card: ModelCard, device: Device) -> TaskInput:
    """The input of a model's task with its default settings; the picture in it is not used."""
    nothing = ArraySource(np.zeros((1, 1, 3), np.uint8))
    return TaskInput(card.task, nothing, None, None, make_settings(card.task, card, {}), card, device)


def _try_processor(
    card: ModelCard, model: Model, side: int, context: JobContext, *, twice: bool
) -> tuple[Trial, list[np.ndarray]]:
    """Run a model on the processor, perhaps twice; its trial and its result.

    Raises:
        ModelError: the results differ, or as ``Session.run``.
        Cancelled, OutOfMemory: see ``Session.run``.
    """
    expected, seconds = _timed(card, model, side, context)
    again, seconds = _timed(card, model, side, context) if twice else (expected, seconds)
    if not all(np.array_equal(one, other) for one, other in zip(expected, again, strict=True)):
        said = "The model {model} gave two results in two runs on the processor."
        raise ModelError(said, "doctor.unsteady", model=card.id)
    return Trial(Device.CPU, model.providers, side, _megapixels(side, seconds)), expected


def _try_card(card: ModelCard, model: Model, side: int, expected: list[np.ndarray], context: JobContext) -> list[Trial]:
    """Run a model on the graphics card. No trial when onnxruntime gave the card up during the run."""
    got, _ = _timed(card, model, side, context)
    seconds = min(_timed(card, model, side, context)[1] for _ in range(_REPEATS))
    providers = model.providers
    if not providers[0].startswith("CUDA"):
        return []
    return [Trial(Device.CUDA, providers, side, _megapixels(side, seconds), _difference(expected, got))]


def _difference(expected: list[np.ndarray], got: list[np.ndarray]) -> float:
    """Largest difference of two results, of the largest value and at least of 1; infinite for other shapes."""
    worst = 0.0
    for one, other in zip(expected, got, strict=True):
        if one.shape != other.shape:
            return float("inf")
        if one.size:
            worst = max(worst, float(np.abs(one - other).max()) / max(1.0, float(np.abs(one).max())))
    return worst


def _timed(card: ModelCard, model: Model, side: int, context: JobContext) -> tuple[list[np.ndarray], float]:
    """The outputs of all stages for the test window, one stage feeding the next, and the seconds that they took."""
    tensors, outputs = _window(card, side), []
    start = time.perf_counter()
    for number, stage in enumerate(card.stages):
        context.check()
        made = model.run(number, context, **tensors)
        outputs += made
        tensors |= {port.role: output for port, output in zip(stage.outputs, made, strict=True)}
    return outputs, time.perf_counter() - start


def _window(card: ModelCard, side: int) -> dict[str, Floats]:
    """The test window by role of a model's inputs: a coloured ramp with noise, with a square hole for a mask."""
    random = np.random.default_rng(1)
    tensors = {}
    for port in (port for stage in card.stages for port in stage.inputs):
        size = port.size or side
        if port.role in ("picture", "thumbnail"):
            y, x = np.mgrid[0:size, 0:size] / size
            ramp = np.stack([x, y, (x + y) / 2], axis=2) * 0.8 + 0.1
            tensors[port.role] = to_planes(np.clip(ramp + random.normal(0, 0.02, ramp.shape), 0, 1))
        elif port.role == "mask":
            hole = np.zeros((size, size), np.float32)
            hole[size // 3 : size // 2, size // 3 : size // 2] = 1
            tensors[port.role] = to_planes(hole)
    if "mask" in tensors:
        tensors["picture"] = tensors["picture"] * (1 - tensors["mask"])
    return tensors


def _megapixels(side: int, seconds: float) -> float:
    return side * side / 1e6 / max(seconds, 1e-9)


def _memory() -> Memory:
    import psutil

    computer = psutil.virtual_memory()
    return Memory(int(computer.total), int(computer.available), int(psutil.Process().memory_info().rss))


def _places(registry: Registry) -> Places:
    import platformdirs

    shipped, added = registry.folders
    # Where Qt keeps an INI file of this program's.
    home = Path.home() / ".config"
    variable = "APPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME"
    settings = Path(os.environ.get(variable) or home) / "lacuna" / "lacuna.ini"
    work = Path(platformdirs.user_state_dir("lacuna", appauthor=False))
    return Places(shipped, added, RECIPES, settings, work)


def json_of(found: Diagnosis) -> str:
    """A diagnosis as JSON; memory is in bytes."""
    return json.dumps(_facts(found), indent=1, ensure_ascii=False)


def _facts(found: Diagnosis) -> dict[str, Any]:
    return {
        "version": found.version,
        "python": found.python,
        "system": found.system,
        "cores": found.cores,
        "memory": asdict(found.memory),
        "onnxruntime": {
            "package": found.library.package,
            "version": found.library.version,
            "cuda": found.library.cuda or None,
        },
        "providers": {"present": found.library.providers, "used": found.used},
        "driver": asdict(found.driver) if found.driver is not None else None,
        "places": {name: str(path) for name, path in asdict(found.places).items()},
        "models": [
            {
                "id": test.id,
                "task": test.task,
                "passed": test.problem is None,
                "reason": str(test.problem) if test.problem is not None else None,
                "devices": [_trial_facts(trial) for trial in test.trials],
            }
            for test in found.tests
        ],
        "problems": [str(problem) for problem in found.problems],
        "advice": [str(sentence) for sentence in found.advice],
        "passed": bool(found.tests) and not found.failed,
    }


def _trial_facts(trial: Trial) -> dict[str, Any]:
    return {
        "device": trial.device.value,
        "providers": trial.providers,
        "window": trial.side,
        "megapixels_per_second": round(trial.megapixels, 4),
        "difference": trial.difference,
    }


def lines_of(found: Diagnosis) -> list[str]:
    """A diagnosis as lines of text."""
    runtime, driver, memory, places = found.library, found.driver, found.memory, found.places
    built = f", built for CUDA {runtime.cuda}" if runtime.cuda else ""
    rows = [
        ("Lacuna", f"{found.version} (Python {found.python}, {found.system})"),
        ("onnxruntime", f"{runtime.package} {runtime.version}{built}"),
        ("it has", ", ".join(runtime.providers)),
        ("really used", ", ".join(found.used) or "none"),
        ("driver", f"{driver.version}, CUDA up to {driver.cuda}" if driver is not None else "none of NVIDIA's"),
        *(
            ("graphics card", f"{card.name}, {card.free / _GB:.1f} of {card.memory / _GB:.1f} GB free")
            for card in (driver.cards if driver is not None else ())
        ),
        ("processor", f"{found.cores} cores"),
        ("memory", f"{memory.available / _GB:.1f} of {memory.total / _GB:.1f} GB free"),
        ("models", str(places.models)),
        ("added models", str(places.added_models)),
        ("recipes", str(places.recipes)),
        ("settings", str(places.settings)),
        ("unsaved work", str(places.work)),
    ]
    width = max((len(test.id) for test in found.tests), default=0)
    return [
        *(f"{name:14} {value}" for name, value in rows),
        "",
        *(line for test in found.tests for line in _test_lines(test, width)),
        *(str(problem) for problem in found.problems),
        "",
        *map(str, found.advice),
    ]


def _test_lines(test: ModelTest, width: int) -> list[str]:
    runs = "; ".join(_trial_words(trial) for trial in test.trials)
    lines = [f"{'ok' if test.problem is None else 'FAILED':6} {test.id:{width}}  {test.task:8} {runs}".rstrip()]
    return lines if test.problem is None else [*lines, f"       {test.problem}"]


def _trial_words(trial: Trial) -> str:
    differs = f", differs by {trial.difference:.4f}" if trial.difference is not None else ""
    return f"{trial.device.value} {trial.megapixels:.3g} megapixels/s{differs}"
