"""Conversion between tables (TOML, JSON) and dataclasses. Strict: an unknown entry is an error that names it."""

from __future__ import annotations

import dataclasses
import json
import reprlib
import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

_LARGEST = 2**53
"""Larger integers are not exact in a float, nor in many JSON and TOML readers."""


class EntryError(ValueError):
    """An entry of a table cannot be used.

    Args:
        message: fit for the user.
        entry: full name of the entry, ``steps[0].settings.grow``.
    """

    def __init__(self, message: str, entry: str) -> None:
        super().__init__(message)
        self.entry = entry


def parse_toml(data: bytes) -> dict[str, Any]:
    """Parse the contents of a TOML file.

    Raises:
        ValueError: it is not valid TOML, or nested too deeply to parse; the message is fit for the user.
    """
    try:
        return tomllib.loads(data.decode())
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except ValueError as error:
        raise _readable_error(error) from error


def parse_json(data: bytes | str) -> Any:
    """Parse the contents of a JSON file; NaN and infinity are refused. Raises as ``parse_toml``."""
    try:
        return json.loads(data.decode() if isinstance(data, bytes) else data, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except ValueError as error:
        raise _readable_error(error) from error


_TOO_DEEP = "it is nested too deeply"


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _readable_error(error: ValueError) -> ValueError:
    if isinstance(error, UnicodeDecodeError):
        return ValueError("it is not text in UTF-8")
    if isinstance(error, tomllib.TOMLDecodeError | json.JSONDecodeError):
        return error
    # Python refuses integers of more than 4300 digits.
    return ValueError("it holds a number that makes no sense")


def from_table(cls: type[T], table: Any, prefix: str = "") -> T:
    """Build a dataclass, also with nested dataclasses, from nested dictionaries.

    Fields may be int, float (an int is accepted), str, bool, dict (``dict[str, float]`` is checked, a plain ``dict``
    holds any table), a tuple of one such type, or a dataclass. Fields of type Path or with ``compare=False`` are not
    part of a table. Numbers must lie within +-2^53.

    Args:
        cls: the dataclass.
        table: its fields by name.
        prefix: put before the names of entries in error messages, for nested tables.

    Raises:
        EntryError: an entry is unknown, missing, of the wrong type or too large; the message names it.
        ValueError: the dataclass refuses an entry.
    """
    if not isinstance(table, dict):
        raise EntryError(f"{prefix.rstrip('.')} must be a table", prefix.rstrip("."))
    own = [field.name for field in dataclasses.fields(cls) if not field.compare]  # type: ignore[arg-type]
    hints = {name: hint for name, hint in get_type_hints(cls).items() if hint is not Path and name not in own}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in hints:
            raise EntryError(f"unknown entry {prefix}{_shortened(key)}", f"{prefix}{key}")
        values[key] = _value(hints[key], value, f"{prefix}{key}")
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if field.name in hints and field.name not in values and not optional:
            raise EntryError(f"{prefix}{field.name} is missing", f"{prefix}{field.name}")
    return cls(**values)


def to_toml(table: dict[str, Any]) -> str:
    """Format nested dictionaries from ``dataclasses.asdict`` as TOML; values of type Path are left out."""
    lines: list[str] = []
    _append(table, "", lines)
    return "\n".join(lines) + "\n"


def _value(hint: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_table(hint, value, f"{name}.")  # type: ignore[arg-type]
    origin = get_origin(hint) or hint
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise EntryError(f"{name} must be a list", name)
        return tuple(_value(get_args(hint)[0], item, f"{name}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise EntryError(f"{name} must be a table", name)
        inner = get_args(hint)[1] if get_args(hint) else Any
        if inner is Any:
            return value
        return {key: _value(inner, item, f"{name}.{_shortened(key)}") for key, item in value.items()}
    if isinstance(value, int | float) and (value > _LARGEST or value < -_LARGEST):
        raise EntryError(f"{name} is no number that makes sense", name)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise EntryError(f"{name} must be of type {hint.__name__}, not {reprlib.repr(value)}", name)
    return value


def _shortened(key: str) -> str:
    return reprlib.repr(key)[1:-1]


def _append(table: dict[str, Any], name: str, lines: list[str]) -> None:
    """Append the lines of a table: plain values first, then its tables and lists of tables, as TOML requires."""
    nested: list[tuple[str, Any]] = []
    for key, value in table.items():
        if isinstance(value, Path):
            continue
        if isinstance(value, dict) or (isinstance(value, tuple) and value and isinstance(value[0], dict)):
            nested.append((f"{name}.{key}" if name else key, value))
        else:
            lines.append(f"{key} = {_toml_value(value)}")
    for path, value in nested:
        for item in (value,) if isinstance(value, dict) else value:
            lines += ["", f"[{path}]" if isinstance(value, dict) else f"[[{path}]]"]
            _append(item, path, lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, tuple | list) and len(value) > 3:
        return "[\n" + "".join(f"    {_toml_value(item)},\n" for item in value) + "]"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    # Strings, numbers and booleans are written the same in JSON and TOML.
    return json.dumps(value, ensure_ascii=False)
