"""Starts the program: with a subcommand on the command line, otherwise the window, with files to open."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Until a handler is installed, Ctrl+C ends the program without a traceback from an import.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    """The entry point ``lacuna``: 0 done, 1 after a sentence on stderr, 2 wrong usage."""
    import multiprocessing

    multiprocessing.freeze_support()
    try:
        return _start()
    except KeyboardInterrupt:
        # Pressed while the program was starting.
        print("Cancelled.", file=sys.stderr)
        return 1


def _start() -> int:
    arguments = sys.argv[1:]
    from desktop.work.flatten import FLATTEN
    from engine import cli

    if arguments == ["batch-worker"]:
        # A frozen program starts itself so, see engine.batch.pool.
        from engine.batch.process import main as work

        return work()
    if arguments[:1] == ["--smoke"]:
        from desktop.smoke import main as try_all

        if not _has_display():
            os.environ["QT_QPA_PLATFORM"] = "offscreen"
        return try_all(arguments)
    names = [command.name for command in (*cli.COMMANDS, FLATTEN)]
    if arguments and (arguments[0] in names or arguments[0].startswith("-")):
        return cli.main(arguments, [FLATTEN])
    if arguments and not any(Path(word).exists() for word in arguments):
        known = ", ".join(names)
        print(f"{arguments[0]!r} is neither a file nor a command. Commands: {known}.", file=sys.stderr)
        return 2
    if not _has_display():
        print("There is no display for the window. Without one: lacuna --help", file=sys.stderr)
        return 1
    from desktop.app import run

    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return run(arguments)


def _has_display() -> bool:
    if not sys.platform.startswith("linux"):
        return True
    wanted = os.environ.get("QT_QPA_PLATFORM", "")
    return bool(wanted or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


if __name__ == "__main__":
    sys.exit(main())
