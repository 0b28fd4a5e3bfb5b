"""The engine: arrays in, arrays out. No Qt, no desktop."""

import os

__version__ = "0.1.0"
"""Version of the program; the package metadata is generated from it."""

# onnxruntime 1.29 and later sends telemetry: model names and hashes, a device id, a database in the home folder.
# The library reads this variable once, when it is loaded. Every entry point imports this package first, and child
# processes inherit the variable. It overrides the environment, so that nobody else's setting can turn telemetry on.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# NumPy's linear algebra in one thread: its own threads wait by spinning, beside those of onnxruntime and of a batch's
# workers. The tone of 24 megapixels takes half the time so, and NumPy itself is loaded in two thirds of it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
