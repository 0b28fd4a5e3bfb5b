"""The subcommand doctor: versions, devices that are really used, and a test of every model."""

from __future__ import annotations

import argparse

from engine.cli.common import Command, usable_models
from engine.errors import EngineError
from engine.jobs import JobContext


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _doctor(options: argparse.Namespace, context: JobContext) -> None:
    from engine.doctor import examine, json_of, lines_of

    found = examine(usable_models(), context)
    if options.json:
        print(json_of(found))
    else:
        print("\n".join(lines_of(found)))
    if not found.tests and not found.problems:
        raise EngineError("No model is installed.", "doctor.models")
    if found.failed:
        total = len(found.tests) + len(found.problems)
        raise EngineError("{failed} of {total} models fail.", "doctor.failed", failed=found.failed, total=total)


COMMANDS = (Command("doctor", "test this installation: devices, models, speed", _doctor_arguments, _doctor),)
