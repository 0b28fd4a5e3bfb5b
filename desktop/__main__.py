"""Starts the program: with a subcommand on the command line, otherwise the window, with files to open."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from engine.resources import is_frozen

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Until a handler is installed, Ctrl+C ends the program without a traceback from an import.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    """The entry point ``lacuna``: 0 done, 1 after a sentence on stderr, 2 wrong usage."""
    try:
        return _start()
    except KeyboardInterrupt:
        # Pressed while the program was starting.
        print("Cancelled.", file=sys.stderr)
        return 1


def _start() -> int:
    arguments = _arguments()
    _ensure_home()
    _forget_bootloader()
    if arguments == ["batch-worker"]:
        # A frozen program starts itself so, see engine.batch.pool.
        from engine.batch.process import main as work

        return work()
    if arguments[:1] == ["--smoke"]:
        from desktop.smoke import main as try_all

        if not _has_display():
            os.environ["QT_QPA_PLATFORM"] = "offscreen"
        return try_all(arguments)
    if arguments and (_may_be_command(arguments[0]) or not _names_file(arguments)):
        # Not imported for the window, because it takes a multiple of the window's time.
        from desktop.work.commands import FLATTEN
        from engine import cli

        names = [command.name for command in (*cli.COMMANDS, FLATTEN)]
        if arguments[0] in names or arguments[0].startswith("-"):
            return cli.main(arguments, [FLATTEN])
        if not _names_file(arguments):
            known = ", ".join(names)
            print(f"{arguments[0]!r} is neither a file nor a command. Commands: {known}.", file=sys.stderr)
            return 2
    if not _has_display():
        print("There is no display for the window. Without one: lacuna --help", file=sys.stderr)
        return 1
    _use_utf8()
    try:
        from desktop.app import run
    except ImportError:
        from desktop import system_libraries

        sentence = system_libraries.complaint()
        if not sentence:
            raise
        print(sentence, file=sys.stderr)
        return 1

    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return run(arguments)


def _arguments() -> list[str]:
    """The words after the program's name; a call for help is ``--help``."""
    words = sys.argv[1:]
    if not words and is_frozen() and Path(sys.executable).stem == "lacuna-cli":
        # The window is the other program.
        return ["--help"]
    return [*words[1:], "--help"] if words[:1] == ["help"] else words


def _forget_bootloader() -> None:
    """Take out of the environment what PyInstaller's bootloader put there for this process alone.

    Programs that are started from here, such as a browser, would load this one's libraries, and this program itself,
    as a worker of a batch, would believe that it has been prepared.
    """
    if is_frozen():
        for name in [name for name in os.environ if name.startswith("_PYI_")]:
            del os.environ[name]
        if sys.platform.startswith("linux"):
            before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
            os.environ.pop("LD_LIBRARY_PATH", None)
            if before is not None:
                os.environ["LD_LIBRARY_PATH"] = before


def _may_be_command(word: str) -> bool:
    """Whether a word may be a command or an option, and not a path with a dot or a separator."""
    return word.startswith("-") or (word.isascii() and word.isalpha())


def _use_utf8() -> None:
    """Start again with names of files in UTF-8 if they have another encoding: Qt knows no other on Linux."""
    if os.name == "posix" and sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.execve(sys.executable, sys.orig_argv, os.environ | {"PYTHONUTF8": "1"})  # noqa: S606 - this very program


def _names_file(words: list[str]) -> bool:
    return any(os.path.lexists(word) for word in words)


def _ensure_home() -> None:
    """Set HOME where it is missing. Without it Qt and Python look for the user's files in different places."""
    if os.name == "posix" and not os.path.isabs(os.environ.get("HOME", "")):  # noqa: PTH117 - it may be empty
        os.environ.pop("HOME", None)
        home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
        # A user without an entry in the system's table of users has none, and nothing can be kept.
        os.environ["HOME"] = home if os.path.isabs(home) else "/nonexistent"  # noqa: PTH117


def _has_display() -> bool:
    if not sys.platform.startswith("linux"):
        return True
    wanted = os.environ.get("QT_QPA_PLATFORM", "")
    return bool(wanted or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


if __name__ == "__main__":
    sys.exit(main())
