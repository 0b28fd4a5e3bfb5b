"""Turns errors of the engine into sentences in the language of the window."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from engine.errors import EngineError


def sentence_of(error: EngineError) -> str:
    """The translated sentence of an error. Any thread."""
    return error.text(lambda template: QCoreApplication.translate("errors", template))
