"""The command line: detect, heal, clean, tone, upscale, restore, convert, info, models. Also ``python -m engine``."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, Self

from engine import __version__
from engine.cli import files, models, pictures, repairs
from engine.cli.common import Command, add_writer_arguments, output_of, say
from engine.cli.signals import cancelled_by_signals
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
        0 done, 1 after a sentence on stderr, also when Ctrl+C, SIGTERM or SIGHUP called the work off; usage errors exit
        with 2.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files and models may hold what a terminal or a pipe cannot show: that is no reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(prog="lacuna", description="Restore photographs.")
    parser.add_argument("--version", action="version", version=f"lacuna {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (*COMMANDS, *more):
        sub = commands.add_parser(command.name, help=command.help, description=command.help)
        command.arguments(sub)
        sub.set_defaults(run=command.run)
    options = parser.parse_args(arguments)
    try:
        with _Bar(sys.stderr) as bar:
            context = JobContext(bar.show)
            with cancelled_by_signals(context):
                options.run(options, context)
        sys.stdout.flush()
    except EngineError as error:
        print(error.text(), file=sys.stderr)
        return 1
    except (KeyboardInterrupt, Cancelled):
        # After SIGHUP there may be nobody left to tell.
        with contextlib.suppress(OSError):
            print("Cancelled; nothing was written.", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever reads has read enough; what is still to be flushed at the end goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


class _Bar:
    """A progress bar on a terminal, nothing in a pipe. What is printed meanwhile comes after it."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._shown = stream, -1
        self._wanted = stream.isatty()
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if self._wanted:
            out, err = io.StringIO(), io.StringIO()
            self._held.callback(lambda: sys.stderr.write(err.getvalue()))
            self._held.callback(lambda: sys.stdout.write(out.getvalue()))
            self._held.enter_context(contextlib.redirect_stderr(err))
            self._held.enter_context(contextlib.redirect_stdout(out))
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()
        self._held.close()

    def show(self, share: float, step: str) -> None:
        """Draw it anew when it moved by a percent."""
        percent = round(100 * share)
        if self._wanted and percent != self._shown:
            self._shown = percent
            self._write(f"\r[{'=' * (percent // 4):25}] {percent:3d} % {step[:40]:40}")

    def _clear(self) -> None:
        if self._shown >= 0:
            self._write("\r" + " " * 78 + "\r")

    def _write(self, text: str) -> None:
        # A terminal that was closed is no reason to end otherwise than without one.
        with contextlib.suppress(OSError):
            self._stream.write(text)
            self._stream.flush()
