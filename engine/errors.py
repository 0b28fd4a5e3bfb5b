"""Failures that a restorer can do something about.

    EngineError            anything below; the sentence is fit to be shown as it is
    |-- ReadError          a file cannot be read as a picture, a mask or a project
    |-- WriteError         a file cannot be written; nothing half-written is left
    |-- SettingsError      a setting, mask, profile or recipe that cannot be used
    |-- ModelError         a model card or model file that cannot be used
    `-- DeviceError        the wanted device is absent or ran out of memory

Everything else that escapes is a defect of the program and goes to the crash report.
"""

from __future__ import annotations


class EngineError(Exception):
    """An expected failure.

    Args:
        sentence: what happened, for a restorer, as a whole sentence.
        code: stable identifier for scripts and tests, ``area.reason``.
    """

    def __init__(self, sentence: str, code: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code


class ReadError(EngineError):
    """A file is missing, unreadable, or not what it says it is."""


class WriteError(EngineError):
    """A file cannot be written; what was there before is still there."""


class SettingsError(EngineError):
    """A value given by the user cannot be used."""


class ModelError(EngineError):
    """A model card or its files are missing, damaged or do not fit together."""


class DeviceError(EngineError):
    """The wanted device is absent, or its memory is not enough."""
