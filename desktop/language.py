"""The language of the window: words that the engine and the document only carry are made here."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from engine.errors import EngineError


def sentence_of(error: EngineError) -> str:
    """What happened, for the restorer. Any thread."""
    return error.text(lambda template: QCoreApplication.translate("errors", template))
