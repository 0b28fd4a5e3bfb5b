"""Starts the program: a subcommand runs without the window, anything else opens it."""

from __future__ import annotations

import multiprocessing
import sys


def main() -> int:
    """The entry point ``lacuna``."""
    multiprocessing.freeze_support()
    arguments = sys.argv[1:]
    from engine import cli

    names = {command.name for command in cli.COMMANDS} | {"flatten"}
    if arguments and (arguments[0] in names or arguments[0].startswith("-")):
        from desktop.flatten import FLATTEN

        return cli.main(arguments, [FLATTEN])
    from desktop.app import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
