"""The names that the results of a batch get."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import PurePosixPath

from engine.batch.gather import Scan
from engine.errors import SettingsError
from engine.imageio import format_of
from engine.record import REPORT_FOLDER

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_NUMBER = re.compile(r"n(?::(0+))?")
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')
"""Characters that no file name has on Windows."""


def check_template(template: str) -> None:
    """Refuse a naming template that cannot give names.

    Raises:
        SettingsError: says what is wrong with it.
    """
    rest = _PLACEHOLDER.sub("", template)
    unknown = [word for word in _PLACEHOLDER.findall(template) if word not in _WORDS and not _NUMBER.fullmatch(word)]
    reason = ""
    if unknown:
        reason = f"{{{unknown[0]}}} is not known; there are {{name}}, {{recipe}}, {{date}}, {{n:0000}} and {{parent}}"
    elif "{" in rest or "}" in rest:
        reason = "a brace is not closed"
    elif _FORBIDDEN.search(rest) or "\\" in rest:
        reason = "it has a character that not every disk takes in a name"
    elif not template.strip() or PurePosixPath(template).is_absolute() or ".." in PurePosixPath(template).parts:
        reason = "it must give a name below the output folder"
    elif "{name}" not in template and not any(_NUMBER.fullmatch(word) for word in _PLACEHOLDER.findall(template)):
        reason = "without {name} or {n} all results would get the same name"
    if reason:
        raise SettingsError(
            "The names {names!r} cannot be used: {reason}.", "batch.template", names=template, reason=reason
        )


_WORDS = ("name", "recipe", "date", "parent")


def check_beside(name: str) -> None:
    """Refuse a name that the subfolders for results beside the scans cannot have; "" = there are none.

    Raises:
        SettingsError: says what is wrong with it.
    """
    reason = ""
    if name and (_FORBIDDEN.search(name) or "/" in name or "\\" in name):
        reason = "it has a character that not every disk takes in a name"
    elif name != name.strip() or name.startswith(".") or name.endswith("."):
        reason = "it begins or ends with a space or a full stop"
    elif name == REPORT_FOLDER:
        reason = "the report of a batch is in the folder of that name"
    if reason:
        raise SettingsError(
            "The subfolder {name!r} cannot be used: {reason}.", "batch.beside", name=name, reason=reason
        )


def suffix_for(source: str, wanted: str) -> str:
    """The suffix of a result: the wanted one, or that of the scan where its format keeps samples as they are.

    Args:
        source: name of the scan.
        wanted: a suffix with its dot; "" = none is wanted.
    """
    if wanted:
        return wanted
    suffix = PurePosixPath(source).suffix
    row = format_of(suffix) if suffix else None
    return suffix if row is not None and row.writer is not None and row.lossless is True else ".tif"


class Namer:
    """Gives each scan the path of its result below the output folder, each path once.

    Args:
        template: checked by ``check_template``; its result stands in the scan's own folder below the output folder.
        recipe: name of the recipe.
        suffix: of all results; "" = see ``suffix_for``.
        day: for ``{date}``.
        taken: paths that are given already.
        beside: name of a subfolder, in the scan's own folder, for its result; "" = none.
    """

    def __init__(
        self, template: str, recipe: str, suffix: str, day: date, taken: Iterable[str] = (), beside: str = ""
    ) -> None:
        check_template(template)
        self._template, self._recipe, self._suffix, self._day = template, recipe, suffix, day
        self._before, self._given, self._beside = {plain(path) for path in taken}, set[str](), beside

    def release(self, paths: Iterable[str]) -> None:
        """Paths that were given before, and can be given again unless that was done already."""
        self._before.difference_update(plain(path) for path in paths)

    def _is_free(self, path: str) -> bool:
        return plain(path) not in self._before and plain(path) not in self._given

    def name(self, relative: PurePosixPath, number: int, folder: PurePosixPath | None = None) -> tuple[str, bool]:
        """The path of a scan's result, and whether it had to differ because another result has the name.

        Args:
            relative: the scan's path below what was given.
            number: its number in the batch, from 1 on.
            folder: path of the scan's own folder below the output folder; None = that of ``relative``.
        """
        values = {
            "name": relative.stem,
            # A recipe's name is free text.
            "recipe": _FORBIDDEN.sub("-", self._recipe).replace("/", "-").replace("\\", "-"),
            "date": self._day.isoformat(),
            "parent": relative.parent.name,
        }

        def fill(match: re.Match[str]) -> str:
            count = _NUMBER.fullmatch(match[1])
            return _part(values[match[1]]) if count is None else f"{number:0{len(count[1] or '0')}d}"

        stem = _PLACEHOLDER.sub(fill, self._template).strip("/")
        folder = (relative.parent if folder is None else folder) / self._beside
        suffix = suffix_for(relative.name, self._suffix)
        # Of two scans that differ in nothing but the suffix, the second one's result tells which.
        tries = [stem, f"{stem}-{relative.suffix[1:]}"]
        for word in tries:
            path = str(folder / (word + suffix))
            if self._is_free(path):
                break
        else:
            copy = 2
            while not self._is_free(path := str(folder / f"{stem} ({copy}){suffix}")):
                copy += 1
        self._given.add(plain(path))
        return path, path != str(folder / (stem + suffix))


def preview_names(template: str, recipe: str, suffix: str, beside: str, scans: Sequence[Scan], day: date) -> list[str]:
    """The names that the results of some scans would get in a new batch of these scans.

    Args:
        template: as of ``Namer``.
        recipe: name of the recipe.
        suffix: as of ``Namer``.
        beside: as ``Plan.beside``.
        scans: in their order in the batch.
        day: for ``{date}``.

    Returns:
        Paths below the output folder, or below what was given if results are kept beside the scans.

    Raises:
        SettingsError: the template or the subfolder cannot be used.
    """
    check_beside(beside)
    namer = Namer(template, recipe, suffix, day, (), beside)
    return [namer.name(scan.relative, number)[0] for number, scan in enumerate(scans, 1)]


def _part(value: str) -> str:
    """A value as a part of a name: never one that leads to another folder."""
    return "-" if not value.strip(".") else value


def plain(path: str) -> str:
    """What two paths share on a disk that ignores case or the composition of accents."""
    return unicodedata.normalize("NFC", path).casefold()


def plain_bytes(path: str) -> bytes:
    """``plain`` as it is stored and searched; file names may hold bytes that are no text."""
    return plain(path).encode("utf-8", "surrogatepass")
