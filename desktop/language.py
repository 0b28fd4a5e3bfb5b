"""Turns errors and words of the engine into sentences in the language of the window."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from engine.errors import EngineError, Words


def sentence_of(said: EngineError | Words) -> str:
    """The translated sentence of an error or of words. Any thread."""
    return said.text(lambda template: QCoreApplication.translate("errors", template))
