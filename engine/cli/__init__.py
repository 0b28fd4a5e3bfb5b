"""The command line: the subcommands of Lacuna.

Also ``python -m engine``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, Self

from engine import __version__
from engine.cli import batch, doctor, files, models, pictures, repairs, review, verify
from engine.cli.common import Command, add_writer_arguments, output_of, say
from engine.cli.signals import cancelled_by_signals
from engine.errors import EngineError
from engine.jobs import Cancelled, JobContext

COMMANDS = (
    *repairs.COMMANDS,
    *pictures.COMMANDS,
    *batch.COMMANDS,
    *review.COMMANDS,
    *files.COMMANDS,
    *models.COMMANDS,
    *verify.COMMANDS,
    *doctor.COMMANDS,
)

__all__ = ["COMMANDS", "Command", "add_writer_arguments", "main", "make_parser", "output_of", "say"]


def main(arguments: Sequence[str] | None = None, more: Sequence[Command] = ()) -> int:
    """Run one subcommand.

    Args:
        arguments: the arguments after the program's name; None = those of this process.
        more: further commands beside the engine's own.

    Returns:
        Exit status: 0 = done, 1 = failed or cancelled by Ctrl+C, SIGTERM or SIGHUP, with a sentence on stderr. Usage
        errors exit with 2. ``Command.own_status`` and what a command returns may say otherwise.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names may hold characters that stdout cannot encode, which must not be an error.
        sys.stdout.reconfigure(errors="backslashreplace")
    options = make_parser(more).parse_args(arguments)
    came: list[int] = []
    status: int | None = 0
    try:
        with _Bar(sys.stderr) as bar:
            context = JobContext(bar.show)
            with cancelled_by_signals(context) as came:
                status = options.command.run(options, context)
        sys.stdout.flush()
    except EngineError as error:
        print(error.text(), file=sys.stderr)
        return 1
    except (KeyboardInterrupt, Cancelled):
        if options.command.own_status:
            return 128 + (came[0] if came else signal.SIGINT)
        # After SIGHUP the terminal may be gone.
        with contextlib.suppress(OSError):
            print("Cancelled; nothing was written.", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader closed the pipe; what is flushed at exit goes to the null device.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status or 0


def make_parser(more: Sequence[Command] = ()) -> argparse.ArgumentParser:
    """The parser of all subcommands; ``command`` of what it returns is the one that was given.

    Args:
        more: as for ``main``.
    """
    parser = argparse.ArgumentParser(prog="lacuna", description="Restore photographs.")
    parser.add_argument("--version", action="version", version=f"lacuna {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (*COMMANDS, *more):
        sub = commands.add_parser(command.name, help=command.help, description=command.help)
        command.arguments(sub)
        sub.set_defaults(command=command)
    return parser


class _Bar:
    """A progress bar on a terminal, nothing elsewhere. What is printed meanwhile appears above it."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._shown = stream, ""
        self._wanted = stream.isatty()
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if self._wanted:
            self._held.enter_context(contextlib.redirect_stderr(_Above(self, sys.stderr)))
            self._held.enter_context(contextlib.redirect_stdout(_Above(self, sys.stdout)))
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        self._held.close()

    def show(self, share: float, step: str) -> None:
        """Redraw the bar when the percentage or the step changed."""
        percent = round(100 * share)
        bar = f"[{'=' * (percent // 4):25}] {percent:3d} % {step[:40]:40}"
        if self._wanted and bar != self._shown:
            self._shown = bar
            self._write(f"\r{bar}")

    def clear(self) -> None:
        """Take the bar away until it is shown again."""
        if self._shown:
            self._write("\r" + " " * 78 + "\r")
            self._shown = ""

    def _write(self, text: str) -> None:
        # A closed terminal must not change the result.
        with contextlib.suppress(OSError):
            self._stream.write(text)
            self._stream.flush()


class _Above(io.TextIOBase):
    """A stream that takes the bar away before it writes."""

    def __init__(self, bar: _Bar, stream: Any) -> None:
        self._bar, self._stream = bar, stream

    def write(self, text: str) -> int:
        self._bar.clear()
        return int(self._stream.write(text))

    def flush(self) -> None:
        self._stream.flush()
