"""The rows of a batch's table: a scan, its state, and what became of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any


class State(Enum):
    """The state of a scan in a batch. The values are written to files."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    UP_TO_DATE = "up_to_date"
    FAILED = "failed"
    FOUND = "found"
    """Looked through; waits for a person's decisions about what was found."""
    CANCELLED = "cancelled"


UNDONE = frozenset({State.PENDING, State.RUNNING, State.FOUND, State.CANCELLED})
"""States of scans that have no result yet; a report counts them as pending."""

CHIPS = {
    "face": "face nearby",
    "much": "much of the picture",
    "edge": "along an edge of the picture's own",
    "unsure": "unsure",
}
"""Why a person should look at what was found in a scan: names, as files hold them, and words for people."""


@dataclass(frozen=True)
class ReviewNumbers:
    """Numbers of the listed defects of a scan that was looked through.

    Attributes:
        accepted, kept, to_do: by verdict; what is healed already counts as accepted.
        unsure: those of them that are healed only once a person accepted them.
    """

    accepted: int = 0
    kept: int = 0
    to_do: int = 0
    unsure: int = 0

    @property
    def found(self) -> int:
        """All of them."""
        return self.accepted + self.kept + self.to_do


@dataclass(frozen=True)
class Outcome:
    """What became of one scan. Plain data, which workers send.

    Attributes:
        state: ``DONE``, ``UP_TO_DATE``, ``FAILED`` or ``FOUND``.
        reason: of a failure, a sentence.
        code: of a failure, as ``EngineError.code``.
        seconds: of work.
        device: where the last model ran.
        steps: the tasks that changed the picture, in order.
        left_out: task -> why it was left out, a sentence.
        found: number of damages by class.
        notices: sentences for the user.
        source_sha256, output_sha256: digests of the scan and of the result; "" = unknown.
        output_size, output_modified: bytes, and nanoseconds since 1970, of the result.
        size, modified: of the scan before it was read; 0 = it was not read.
        chips: names of ``CHIPS``, if it was looked through.
        review: the ``ReviewNumbers`` of a review that this work made or found; empty = it was no search.
    """

    state: State
    reason: str = ""
    code: str = ""
    seconds: float = 0.0
    device: str = ""
    steps: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    source_sha256: str = ""
    output_sha256: str = ""
    output_size: int = 0
    output_modified: int = 0
    size: int = 0
    modified: int = 0
    chips: tuple[str, ...] = ()
    review: dict[str, int] = field(default_factory=dict)

    def timed(self, seconds: float, size: int, modified: int) -> Outcome:
        """A copy that states how long it took, and size and time of the scan before it was read."""
        return dataclasses.replace(self, seconds=round(seconds, 3), size=size, modified=modified)

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return dataclasses.asdict(self) | {"state": self.state.value}

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> Outcome:
        """The inverse of ``to_dict``, also after a round trip through JSON."""
        lists = {name: tuple(table.get(name, ())) for name in ("steps", "notices", "chips")}
        return cls(**{**table, **lists, "state": State(table["state"])})


@dataclass(frozen=True)
class Row:
    """A scan in the table.

    Attributes:
        id: number of the row.
        path: the scan.
        relative: its path below what was given.
        root: the folder that was given.
        output: path of its result below the output folder.
        planned: the path that it would have if nothing that is to be kept had it.
        renamed: whether the result could not have the name of the template, because another has it.
        size, modified: of the scan when it was listed, bytes and nanoseconds since 1970.
        outcome: what became of it; None = nothing yet.
        decided: whether a person has decided about what was found in it.
        numbers: of what was found and decided, if it was looked through.
    """

    id: int
    path: Path
    relative: str
    root: Path
    output: str
    planned: str
    renamed: bool
    size: int
    modified: int
    state: State
    outcome: Outcome | None
    decided: bool = False
    numbers: ReviewNumbers = ReviewNumbers()
