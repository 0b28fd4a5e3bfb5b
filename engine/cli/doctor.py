"""The subcommand doctor: versions, devices that are really used, and a test of every model."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING, Any

from engine.cli.common import Command, usable_models
from engine.errors import EngineError
from engine.jobs import JobContext

if TYPE_CHECKING:
    from engine.doctor import Diagnosis, ModelTest, Trial

_GB = 1e9


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _doctor(options: argparse.Namespace, context: JobContext) -> None:
    from engine.doctor import examine

    found = examine(usable_models(), context)
    if options.json:
        print(json.dumps(_facts(found), indent=1, ensure_ascii=False))
    else:
        print("\n".join(_lines(found)))
    if not found.tests and not found.problems:
        raise EngineError("No model is installed.", "doctor.models")
    if found.failed:
        total = len(found.tests) + len(found.problems)
        raise EngineError("{failed} of {total} models fail.", "doctor.failed", failed=found.failed, total=total)


def _facts(found: Diagnosis) -> dict[str, Any]:
    """A diagnosis as JSON data; memory is in bytes."""
    return {
        "version": found.version,
        "python": found.python,
        "system": found.system,
        "cores": found.cores,
        "memory": dataclasses.asdict(found.memory),
        "onnxruntime": {
            "package": found.library.package,
            "version": found.library.version,
            "cuda": found.library.cuda or None,
        },
        "providers": {"present": found.library.providers, "used": found.used},
        "driver": dataclasses.asdict(found.driver) if found.driver is not None else None,
        "places": {name: str(path) for name, path in dataclasses.asdict(found.places).items()},
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


def _lines(found: Diagnosis) -> list[str]:
    """A diagnosis as lines of text."""
    library, driver, memory, places = found.library, found.driver, found.memory, found.places
    built = f", built for CUDA {library.cuda}" if library.cuda else ""
    rows = [
        ("Lacuna", f"{found.version} (Python {found.python}, {found.system})"),
        ("onnxruntime", f"{library.package} {library.version}{built}"),
        ("it has", ", ".join(library.providers)),
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


COMMANDS = (Command("doctor", "test this installation: devices, models, speed", _doctor_arguments, _doctor),)
