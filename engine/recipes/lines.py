"""Finds the line of a recipe's text that an error is about, without a TOML parser of its own."""

from __future__ import annotations

import re

_STEP = re.compile(r"""\s*\[\[\s*["']?steps["']?\s*\]\]""")
_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_ENTRY = re.compile(r"steps\[(\d+)\]\.?(.*)", re.DOTALL)


def split_place(message: str, text: str) -> tuple[str, int | None]:
    """Take the place out of a message of Python's TOML parser.

    Returns:
        The message without it, and the line, counted from 1; None if it states none.
    """
    found = _PLACE.search(message)
    if found is None:
        return message, None
    # The end of a document is the end of its last line.
    line = int(found[1]) if found[1] else len(text.rstrip("\n").split("\n"))
    return message[: found.start()], line


def line_of(text: str, entry: str, steps: int) -> int | None:
    """The line of an entry in a recipe's text.

    The n-th ``[[steps]]`` begins step n, if there are as many of them as steps. Otherwise (an inline list of steps, or
    a text of several lines that holds such a header) nothing is known about the entries of steps.

    Args:
        text: TOML.
        entry: its full name, ``steps[1].settings.grow`` or ``title``; ``steps[1].`` = the step itself.
        steps: number of steps.

    Returns:
        Counted from 1; the beginning of the step where the entry itself is not found; None if it cannot be told.
    """
    lines = text.split("\n")
    heads = [number for number, line in enumerate(lines) if _STEP.match(line)]
    found = _ENTRY.fullmatch(entry)
    if found is None:
        # A table of its own may also stand behind the steps.
        end = min(heads, default=len(lines))
        alone = [*lines[:end], *(line if line.lstrip().startswith("[") else "" for line in lines[end:])]
        place = _line_of_key(alone, entry.partition(".")[0])
        return place + 1 if place is not None else None
    step, inner = int(found[1]), found[2]
    if len(heads) != steps or step >= steps:
        return None
    begin, end = heads[step], [*heads, len(lines)][step + 1]
    place = _line_of_key(lines[begin + 1 : end], inner.rpartition(".")[2]) if inner else None
    return begin + 1 if place is None else begin + place + 2


def _line_of_key(lines: list[str], key: str) -> int | None:
    """The first line, counted from 0, in which a key or a table of this name is defined."""
    word = re.compile(rf"""(?:^|[\s{{,.\[])["']?{re.escape(key)}["']?\s*[=.\]]""")
    return next((number for number, line in enumerate(lines) if word.search(line.partition("#")[0])), None)
