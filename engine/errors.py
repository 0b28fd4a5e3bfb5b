"""Expected errors: failures that a user can do something about.

    EngineError            base class; its text is a sentence that can be shown to the user as it is
    |-- ReadError          a file cannot be read as a picture, a mask or a project
    |-- WriteError         a file cannot be written; nothing half-written is left
    |-- SettingsError      a setting, mask, profile or recipe that cannot be used
    |-- ModelError         a model card or model file that cannot be used
    `-- DeviceError        the wanted device is absent or ran out of memory

Any other exception that is not caught is a bug and goes to the crash report.
"""

from __future__ import annotations

from collections.abc import Callable

_LONGEST = 400
"""Values longer than this many characters are shortened in a sentence."""


class Words:
    """A sentence or a part of one, formatted only where it is shown, because the language is known there.

    Args:
        template: English text with named placeholders such as ``{file}``. A translation is another template with the
            same placeholders.
        values: a value for each placeholder: text, numbers, other ``Words``, or the ``EngineError`` that is the cause.
    """

    def __init__(self, template: str, **values: object) -> None:
        self.template = template
        # Other objects are converted to text now: a reference could keep a whole picture in memory.
        self.values = {
            name: value if isinstance(value, str | int | float | Words | EngineError) else str(value)
            for name, value in values.items()
        }

    def text(self, translate: Callable[[str], str] = str) -> str:
        """The formatted text.

        Args:
            translate: returns the template in the user's language; the default leaves it in English.
        """
        shown = {
            name: value.text(translate) if isinstance(value, Words | EngineError) else _shortened(value)
            for name, value in self.values.items()
        }
        return translate(self.template).format_map(shown)

    def __str__(self) -> str:
        return self.text()


def _shortened(value: object) -> object:
    """A value with the middle of overlong text left out: names and messages from files can have any length."""
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[: _LONGEST // 2]}…{value[-_LONGEST // 2 :]}"
    return value


class EngineError(Exception):
    """An expected failure, as a template and its values; the sentence is formatted where it is shown.

    Args:
        template: what happened, as a whole sentence for the user; see ``Words``.
        code: stable identifier for scripts and tests, ``area.reason``.
        values: a value for each placeholder of the template.
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
    """A file cannot be written; an existing file at its path is unchanged."""


class SettingsError(EngineError):
    """A value given by the user cannot be used."""


class ModelError(EngineError):
    """A model card or its files are missing, damaged or do not fit together."""


class DeviceError(EngineError):
    """The wanted device is absent, or its memory is not enough."""
