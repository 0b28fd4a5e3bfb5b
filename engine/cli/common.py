"""Shared by the subcommands: common arguments, the choice of a model, and writing the result."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import SettingsError
from engine.imageio import TIFF_COMPRESSIONS, WriteOptions, format_of
from engine.jobs import JobContext
from engine.output import Output, RepairResult, repair_file
from engine.raster import ArraySource, MaskSource, Raster

if TYPE_CHECKING:
    from engine.runtime.cards import ModelCard, Registry
    from engine.tasks import TaskInput


@dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        name: the word on the command line.
        help: one line.
        arguments: adds its arguments to a parser.
        run: runs it; raises EngineError for exit status 1. It may return another status than 0.
        own_status: whether it tells itself what it was when a signal ended it, with the status that shells use for that
            (128 and the signal's number); others leave nothing behind, and end with 1.
    """

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, JobContext], int | None]
    own_status: bool = False


def add_writer_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of every command that writes a picture."""
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the file to write")
    add_format_arguments(parser)
    parser.add_argument(
        "--compression",
        choices=TIFF_COMPRESSIONS,
        help="of TIFF; LZW is for old programs (default: deflate)",
    )
    parser.add_argument("--no-record", action="store_true", help="do not write OUT.record.json")


def add_format_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say how the samples of results are written."""
    parser.add_argument("--depth", type=int, choices=[8, 16], help="bits per sample (default: those of the scan)")
    parser.add_argument("--profile", default="keep", metavar="keep|srgb|FILE", help="colour profile (default: keep)")
    parser.add_argument("--quality", type=_quality, metavar="1-100", help="JPEG quality; makes WebP lossy")


def _quality(word: str) -> int:
    if not word.isdecimal() or not 1 <= int(word) <= 100:
        raise argparse.ArgumentTypeError(f"{word} is not a whole number from 1 to 100")
    return int(word)


def output_of(options: argparse.Namespace) -> Output:
    """The ``Output`` from the arguments of ``add_writer_arguments``."""
    if options.compression and format_of(options.output) is not format_of(".tif"):
        said = "Only TIFF has a choice of compression, and {file} is none."
        raise SettingsError(said, "write.compression", file=options.output.name)
    return Output(
        options.output,
        WriteOptions.asked(options.depth, options.quality, options.compression or TIFF_COMPRESSIONS[0]),
        options.profile,
        record=not options.no_record,
    )


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument of every command that runs models."""
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where the models run")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of every command that runs one model."""
    parser.add_argument("input", type=Path, metavar="IN", help="the scan")
    parser.add_argument("--model", metavar="ID", help="model (default: that of the task)")
    add_device_argument(parser)


def usable_models() -> Registry:
    """The registry of installed models, with those left out that can never run."""
    from engine.runtime.cards import Registry
    from engine.tasks import check_card

    return Registry(check=check_card)


def choose_model(task: str, id_: str | None, **values: float | None) -> tuple[ModelCard, Any]:
    """The named model, or the task's default, and the task's settings for it.

    Args:
        task: a row of ``TASKS``.
        id_: id of a model; None = the task's default.
        values: settings by name; None = the default.

    Raises:
        ModelError: there is no such model.
        SettingsError: it is for another task, or a value is out of range.
    """
    from engine.tasks import make_settings

    registry = usable_models()
    card = registry.card(id_) if id_ else registry.default(task)
    return card, make_settings(task, card, values)


def task_input(
    task: str,
    scan: Raster,
    card: ModelCard,
    settings: Any,
    device: str,
    mask: MaskSource | None = None,
    guide: MaskSource | None = None,
) -> TaskInput:
    """The input of a task on a scan."""
    from engine.runtime.session import Device
    from engine.tasks import TaskInput

    return TaskInput(task, ArraySource(scan.pixels), scan.profile, mask, settings, card, Device(device), guide)


def write_repaired(
    options: argparse.Namespace,
    context: JobContext,
    command: str,
    repair: Callable[[Raster, JobContext], RepairResult],
    others: Sequence[Path] = (),
) -> None:
    """Run ``repair_file`` with a command's input and output, and print the notices."""
    say(repair_file(options.input, output_of(options), command, repair, context, others))


def say(notices: Sequence[str]) -> None:
    """Print notices for the user on stderr, each once."""
    for notice in dict.fromkeys(notices):
        print(notice, file=sys.stderr)
