"""The command line: detect, heal, clean, tone, upscale, restore, convert, info, models. Also ``python -m engine``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from engine.cli import files, models, pictures, repairs
from engine.cli.common import Command, add_writer_arguments, output_of, say
from engine.errors import EngineError
from engine.jobs import Cancelled, JobContext

COMMANDS = (*repairs.COMMANDS, *pictures.COMMANDS, *files.COMMANDS, *models.COMMANDS)

__all__ = ["COMMANDS", "Command", "add_writer_arguments", "main", "output_of", "say"]


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
