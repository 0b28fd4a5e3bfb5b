"""Failures that a restorer can do something about.

    EngineError            anything below; its sentence is fit to be shown as it is
    |-- ReadError          a file cannot be read as a picture, a mask or a project
    |-- WriteError         a file cannot be written; nothing half-written is left
    |-- SettingsError      a setting, mask, profile or recipe that cannot be used
    |-- ModelError         a model card or model file that cannot be used
    `-- DeviceError        the wanted device is absent or ran out of memory

Everything else that escapes is a defect of the program and goes to the crash report.
"""

from __future__ import annotations

from collections.abc import Callable

_LONGEST = 400
"""Letters of a value that stand in a sentence."""


class Words:
    """A sentence or a part of one, made where it is shown: there the language is known.

    Args:
        template: English; the values stand in it by their names, ``{file}`` for instance. A translation has another
            template with the same names.
        values: what the template names: text, numbers, other ``Words``, or an ``EngineError`` that is the reason.
    """

    def __init__(self, template: str, **values: object) -> None:
        self.template = template
        # Anything else would keep whole pictures alive as long as the words are kept.
        self.values = {
            name: value if isinstance(value, str | int | float | Words | EngineError) else str(value)
            for name, value in values.items()
        }

    def text(self, translate: Callable[[str], str] = str) -> str:
        """The words.

        Args:
            translate: from a template to that of another language.
        """
        said = {
            name: value.text(translate) if isinstance(value, Words | EngineError) else _shortened(value)
            for name, value in self.values.items()
        }
        return translate(self.template).format_map(said)

    def __str__(self) -> str:
        return self.text()


def _shortened(value: object) -> object:
    """Names and messages out of files may be endless: of long ones the middle is left out."""
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[: _LONGEST // 2]}…{value[-_LONGEST // 2 :]}"
    return value


class EngineError(Exception):
    """An expected failure. It carries what happened; the sentence about it is made where it is shown.

    Args:
        template: what happened, for a restorer, as a whole sentence; see ``Words``.
        code: stable identifier for scripts and tests, ``area.reason``.
        values: what the template names.
    """

    def __init__(self, template: str, code: str, **values: object) -> None:
        super().__init__(template, code)
        self.words = Words(template, **values)
        self.code = code

    def text(self, translate: Callable[[str], str] = str) -> str:
        """The sentence; see ``Words.text``."""
        return self.words.text(translate)

    def __str__(self) -> str:
        return self.text()


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
