"""The engine: arrays in, arrays out. No Qt, no desktop."""

import os

__version__ = "0.1.0"
"""Of the program; the package's metadata take it from here."""

# onnxruntime 1.29 and later reports to its maker: model names and hashes, a device's id, a database in the home folder.
# The library reads this once, when it is loaded. Every way in imports this package first, and processes started from
# here inherit it. It is set whatever the environment says: nothing that somebody else set may turn reporting on.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
