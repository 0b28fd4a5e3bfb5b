"""python -m engine: the command line without the desktop."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Until the command line listens, Ctrl+C ends the program without a traceback out of the imports.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    """Run the command line; its exit status."""
    from engine.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
