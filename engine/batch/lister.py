"""What a listing of a batch's table knows of its scans, and the names that it gives."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from engine.batch.gather import Scan
from engine.batch.naming import Namer
from engine.batch.plan import Plan


class Known(NamedTuple):
    """What a listing knows of a row, or changes in it."""

    id: int
    run: int
    removed: int
    state: str
    output: bytes
    planned: bytes
    renamed: int
    named: str
    relative: bytes
    root: bytes
    size: int
    modified: int


@dataclass
class Lister:
    """What is the same for all scans of a listing, and the highest number and place of a row.

    Attributes:
        taken: returns the names that are given already.
        above: the folder below which results are kept beside the scans; None = they are not.
    """

    run: int
    listing: int
    taken: Callable[[], list[str]]
    named: str
    above: Path | None
    same_run: bool
    added: bool
    number: int
    place: int
    plan: Plan

    @functools.cached_property
    def _namer(self) -> Namer:
        day = datetime.now().astimezone().date()
        template, suffix = self.plan.naming
        return Namer(template, self.plan.recipe, suffix, day, self.taken(), self.plan.beside)

    def new(self) -> Known:
        """A row that is not in the table yet."""
        self.number, self.place = self.number + 1, self.place + 1
        return Known(self.number, 0, 0, "", b"", b"", 0, "", b"", b"", 0, 0)

    def name(self, scan: Scan, before: Known) -> tuple[str, bool]:
        """See ``Namer.name``; the names that the scan's result had until now are free for it."""
        folder = None if self.above is None else PurePosixPath(scan.folder.relative_to(self.above).as_posix())
        self._namer.release(os.fsdecode(name) for name in (before.output, before.planned))
        return self._namer.name(scan.relative, before.id, folder)

    def state_of_found(self, *, decided: bool) -> str:
        """The state of a scan that was looked through and is as it was then."""
        if self.plan.detect_only:
            return "up_to_date"
        return "found" if self.plan.review and not decided else "pending"


def names_of(plan: Plan, folder: Path) -> str:
    """What the names of results depend on."""
    facts = [*plan.naming, plan.recipe if "{recipe}" in plan.template else ""]
    return json.dumps([*facts, plan.beside, str(folder)] if plan.beside else facts)
