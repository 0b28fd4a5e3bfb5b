"""The engine: arrays in, arrays out. No Qt, no desktop."""

import os

__version__ = "0.1.0"
"""Version of the program; the package metadata is generated from it."""

# onnxruntime 1.29 and later sends telemetry: model names and hashes, a device id, a database in the home folder.
# The library reads this variable once, when it is loaded. Every entry point imports this package first, and child
# processes inherit the variable. It overrides the environment, so that nobody else's setting can turn telemetry on.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
