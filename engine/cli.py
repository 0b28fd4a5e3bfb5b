"""The command line: heal, convert, info, models. Also ``python -m engine``."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from engine import imageio
from engine.errors import EngineError, ReadError
from engine.imageio import WriteOptions
from engine.jobs import Cancelled, JobContext
from engine.output import Output, write_result
from engine.raster import ArrayMask, ArraySource
from engine.record import ScanFile


@dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        name: the word on the command line.
        help: one line.
        arguments: adds its arguments to a parser.
        run: does it; raises EngineError for exit code 1.
    """

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, JobContext], None]


def main(arguments: Sequence[str] | None = None, more: Sequence[Command] = ()) -> int:
    """Run one subcommand.

    Args:
        arguments: words after the program's name; None = those it was started with.
        more: commands beside the engine's own.

    Returns:
        0 done, 1 after a sentence on stderr; usage errors exit with 2.
    """
    parser = argparse.ArgumentParser(prog="lacuna", description="Restore photographs.")
    parser.add_argument("--version", action="version", version=f"lacuna {version('lacuna')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (*COMMANDS, *more):
        sub = commands.add_parser(command.name, help=command.help, description=command.help)
        command.arguments(sub)
        sub.set_defaults(run=command.run)
    options = parser.parse_args(arguments)
    bar = _Bar(sys.stderr)
    try:
        options.run(options, JobContext(bar.show))
    except EngineError as error:
        bar.clear()
        print(error.sentence, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, Cancelled):
        bar.clear()
        print("Cancelled; nothing was written.", file=sys.stderr)
        return 1
    bar.clear()
    return 0


def add_writer_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that every command which writes a picture takes."""
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the file to write")
    parser.add_argument("--depth", type=int, choices=[8, 16], help="bits a sample (default: as the scan)")
    parser.add_argument("--profile", default="keep", metavar="keep|srgb|FILE", help="colour profile (default keep)")
    parser.add_argument("--quality", type=_quality, metavar="1-100", help="of JPEG; makes WebP lossy")
    parser.add_argument("--no-record", action="store_true", help="write no OUT.record.json")


def _quality(word: str) -> int:
    if not word.isdecimal() or not 1 <= int(word) <= 100:
        raise argparse.ArgumentTypeError(f"{word} is not a whole number from 1 to 100")
    return int(word)


def output_of(options: argparse.Namespace) -> Output:
    """What those arguments say."""
    quality = options.quality
    write = WriteOptions(depth=options.depth)
    if quality is not None:
        write = WriteOptions(depth=options.depth, quality=quality, lossless=False)
    return Output(options.output, write, options.profile, record=not options.no_record)


def say(notices: Sequence[str]) -> None:
    """Tell the user, on stderr, what is good to know."""
    for notice in dict.fromkeys(notices):
        print(notice, file=sys.stderr)


# -- heal ---------------------------------------------------------------------------------------------------------


def _heal_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="the scan")
    add_writer_arguments(parser)
    parser.add_argument(
        "--mask", type=Path, required=True, metavar="M", help="picture of the same size; white = repair"
    )
    parser.add_argument("--grow", type=float, default=0.0, metavar="PX", help="enlarge the mask first (default 0)")
    parser.add_argument("--feather", type=float, default=0.0, metavar="PX", help="then fade it outwards (default 0)")
    parser.add_argument("--model", metavar="ID", help="model (default: the task's own)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")


def _heal(options: argparse.Namespace, context: JobContext) -> None:
    from engine.runtime.cards import Registry
    from engine.runtime.session import Device
    from engine.tasks import HealSettings, Job, run_job

    output = output_of(options)
    imageio.check_target(output.path, [options.input, options.mask])
    settings = HealSettings(options.grow, options.feather)
    registry = Registry()
    card = registry.card(options.model) if options.model else registry.default("heal")
    scan = imageio.read(options.input, context.part(0.0, 0.2))
    mask = imageio.read_mask(options.mask)
    job = Job(
        "heal",
        ArraySource(scan.pixels),
        scan.profile,
        ArrayMask(mask),
        settings,
        card,
        Device(options.device),
    )
    patch = run_job(job, context.part(0.2, 0.8))
    healed = scan.with_pixels(patch.apply_to(scan.pixels))
    notices = write_result(
        healed,
        output,
        scan=scan.pixels,
        source=ScanFile(options.input),
        repairs=[patch.repair(job)],
        command="heal",
        context=context.part(0.8, 1.0),
    )
    say([*scan.notices, *notices])


# -- convert ------------------------------------------------------------------------------------------------------


def _convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN")
    add_writer_arguments(parser)


def _convert(options: argparse.Namespace, context: JobContext) -> None:
    output = output_of(options)
    imageio.check_target(output.path, [options.input])
    scan = imageio.read(options.input, context.part(0.0, 0.5))
    notices = write_result(
        scan,
        output,
        scan=scan.pixels,
        source=ScanFile(options.input),
        repairs=[],
        command="convert",
        context=context.part(0.5, 1.0),
    )
    say([*scan.notices, *notices])


# -- info ---------------------------------------------------------------------------------------------------------


def _info_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _info(options: argparse.Namespace, context: JobContext) -> None:
    from engine import colour

    probe = imageio.probe(options.file)
    notices, opens = list(probe.notices), probe.refusal is None
    if probe.refusal:
        notices.append(probe.refusal)
    else:
        # Whether it opens is known when it was opened.
        try:
            imageio.read(options.file, context)
        except ReadError as error:
            notices.append(error.sentence)
            opens = False
    facts: dict[str, Any] = {
        "file": str(options.file),
        "format": probe.format,
        "width": probe.width,
        "height": probe.height,
        "channels": None if probe.refusal else ("grey" if probe.channels == 1 else "RGB"),
        "depth": probe.depth,
        "compression": probe.compression,
        "profile": colour.description(probe.profile),
        "resolution": [probe.resolution.x, probe.resolution.y] if probe.resolution else None,
        "metadata": list(probe.metadata),
        "pages": probe.pages,
        "opens": opens,
        "notices": notices,
    }
    if options.json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    words = {True: "yes", False: "no", None: "not stated"}
    for name, value in facts.items():
        values = value if isinstance(value, list) else [value]
        text = ", ".join(words[v] if v is None or isinstance(v, bool) else str(v) for v in values) or "none"
        print(f"{name:12} {text}")


# -- models -------------------------------------------------------------------------------------------------------


def _models_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="list | show ID | verify | add CARD | remove ID")
    parser.set_defaults(action=_models_list)
    actions.add_parser("list", help="the models at hand").set_defaults(action=_models_list)
    show = actions.add_parser("show", help="a model's card")
    show.add_argument("id")
    show.set_defaults(action=_models_show)
    actions.add_parser("verify", help="compare all files with their checksums").set_defaults(action=_models_verify)
    add = actions.add_parser("add", help="add a third party's model by its card.toml")
    add.add_argument("card", type=Path)
    add.set_defaults(action=_models_add)
    remove = actions.add_parser("remove", help="remove an added model")
    remove.add_argument("id")
    remove.set_defaults(action=_models_remove)


def _models(options: argparse.Namespace, _context: JobContext) -> None:
    options.action(options)


def _models_list(_: argparse.Namespace) -> None:
    from engine.runtime.cards import Registry

    registry = Registry()
    for card in registry.cards():
        scores = ", ".join(f"{name} {value:g}" for name, value in card.scores.items())
        print(f"{card.id:16} {card.task:8} {card.version:12} {scores}")
    say([problem.sentence for problem in registry.problems()])


def _models_show(options: argparse.Namespace) -> None:
    from engine.runtime.cards import Registry

    card = Registry().card(options.id)
    file = card.folder / "card.toml"
    text = file.read_text(encoding="utf-8")
    if card.training.credits:
        # Hundreds of lines that nobody wants on a screen.
        listed = re.compile(r"^credits = \[$.*?^\]$", re.MULTILINE | re.DOTALL)
        text = listed.sub(lambda _: f"# credits: {len(card.training.credits)} lines in {file}", text)
    print(text, end="")


def _models_verify(_: argparse.Namespace) -> None:
    from engine.runtime.cards import Registry

    registry = Registry()
    problems = list(registry.problems())
    for card in registry.cards():
        try:
            card.verify()
        except EngineError as error:
            problems.append(error)  # type: ignore[arg-type]
        else:
            print(f"{card.id:16} ok")
    if problems:
        raise EngineError("\n".join(problem.sentence for problem in problems), "model.verify")


def _models_add(options: argparse.Namespace) -> None:
    from engine.runtime.cards import Registry

    print(f"added {Registry().add(options.card).id}")


def _models_remove(options: argparse.Namespace) -> None:
    from engine.runtime.cards import Registry

    Registry().remove(options.id)
    print(f"removed {options.id}")


COMMANDS = (
    Command("heal", "fill the masked parts of a scan", _heal_arguments, _heal),
    Command("convert", "open and write again: formats, depth, profile, metadata", _convert_arguments, _convert),
    Command("info", "what a file holds, and what Lacuna would do with it", _info_arguments, _info),
    Command("models", "list, show, verify, add and remove models", _models_arguments, _models),
)


class _Bar:
    """A progress bar on a terminal, nothing in a pipe."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._shown = stream, -1
        self._wanted = stream.isatty()

    def show(self, share: float, step: str) -> None:
        """Draw it anew when it moved by a percent."""
        percent = round(100 * share)
        if self._wanted and percent != self._shown:
            self._shown = percent
            self._stream.write(f"\r[{'=' * (percent // 4):25}] {percent:3d} % {step[:40]:40}")
            self._stream.flush()

    def clear(self) -> None:
        """Take it away."""
        if self._shown >= 0:
            self._stream.write("\r" + " " * 78 + "\r")
            self._stream.flush()
