"""python -m engine: the command line without the desktop."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Until the command line installs its own handler, Ctrl+C ends the program without a traceback from the imports.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    """Run the command line and return its exit status."""
    from engine.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
