"""python -m engine: the command line without the desktop."""

import sys

from engine.cli import main

sys.exit(main())
