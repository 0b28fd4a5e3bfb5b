"""The command line: detect, heal, clean, tone, faces, upscale, restore, convert, info, models, verify, doctor.

Also ``python -m engine``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, Self

from engine import __version__
from engine.cli import doctor, files, models, pictures, repairs, verify
from engine.cli.common import Command, add_writer_arguments, output_of, say
from engine.cli.signals import cancelled_by_signals
from engine.errors import EngineError
from engine.jobs import Cancelled, JobContext

COMMANDS = (
    *repairs.COMMANDS,
    *pictures.COMMANDS,
    *files.COMMANDS,
    *models.COMMANDS,
    *verify.COMMANDS,
    *doctor.COMMANDS,
)

__all__ = ["COMMANDS", "Command", "add_writer_arguments", "main", "output_of", "say"]


def main(arguments: Sequence[str] | None = None, more: Sequence[Command] = ()) -> int:
    """Run one subcommand.

    Args:
        arguments: the arguments after the program's name; None = those of this process.
        more: further commands beside the engine's own.

    Returns:
        Exit status: 0 = done, 1 = failed or cancelled by Ctrl+C, SIGTERM or SIGHUP, with a sentence on stderr. Usage
        errors exit with 2.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names may hold characters that stdout cannot encode, which must not be an error.
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
        # After SIGHUP the terminal may be gone.
        with contextlib.suppress(OSError):
            print("Cancelled; nothing was written.", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader closed the pipe; what is flushed at exit goes to the null device.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


class _Bar:
    """A progress bar on a terminal, nothing elsewhere. Output printed meanwhile is shown when the bar is removed."""

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
        """Redraw the bar when the percentage changed."""
        percent = round(100 * share)
        if self._wanted and percent != self._shown:
            self._shown = percent
            self._write(f"\r[{'=' * (percent // 4):25}] {percent:3d} % {step[:40]:40}")

    def _clear(self) -> None:
        if self._shown >= 0:
            self._write("\r" + " " * 78 + "\r")

    def _write(self, text: str) -> None:
        # A closed terminal must not change the result.
        with contextlib.suppress(OSError):
            self._stream.write(text)
            self._stream.flush()
