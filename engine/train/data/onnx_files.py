"""Reading ONNX files as graphs, to take weights from them or to change them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.errors import ModelError


def read_onnx(file: Path) -> Any:
    """The ``onnx.ModelProto`` of a file.

    Raises:
        ModelError: it is missing or cannot be read.
    """
    import onnx

    try:
        return onnx.load(str(file))
    except Exception as error:
        # onnx raises errors of protobuf, which have no common base class with OSError.
        raise ModelError(
            "The model {file} cannot be read: {reason}.", "model.missing", file=file, reason=error
        ) from error
