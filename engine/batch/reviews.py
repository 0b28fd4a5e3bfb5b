"""What was found in the scans of a batch, and the decisions about it: a file for each scan.

The file is JSON: a review as documents have it, its damage map as a PNG of the tiles that hold any, and what is known
of the search.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from engine import imageio, tables
from engine.batch.rows import CHIPS, ReviewNumbers
from engine.errors import EngineError, ReadError
from engine.jobs import JobContext
from engine.masks import MAX_DAMAGE_SHARE
from engine.outlines import (
    JudgedDefect,
    Outlines,
    defect_mask,
    defects_to_heal,
    judgements_of,
    linked_defects,
    listed_defects,
    outline_defects,
)
from engine.raster import TILE
from engine.recipes import FoundDamage
from engine.record import REPORT_FOLDER
from engine.review import Review, Verdict, pack_damage, review_from_json, review_json, unpack_damage

Accept = Literal["certain", "all", "none"]
"""What of a whole scan is accepted: what a recipe would heal unasked, every listed defect, or nothing."""

_VERSION = 1
"""Of the layout of the files; a newer one is refused."""
_LARGEST = 512 << 20
"""Larger files are refused, bytes."""
_MOST_CELLS = 1 << 16
"""More tiles of damage are refused: those of a picture of four thousand megapixels."""


@dataclass(frozen=True)
class Look:
    """A scan that was looked through.

    Attributes:
        review: what was found, and the decisions about it.
        source_sha256: digest of the scan's file.
        search: tells the search from other ones (``Plan.search_id``).
        found: number of listed defects by class.
        chips: names of ``CHIPS``.
    """

    review: Review
    source_sha256: str
    search: str
    found: Mapping[str, int]
    chips: tuple[str, ...]

    @property
    def decisions(self) -> str:
        """A digest of the review: results made by the same decisions are the same."""
        facts = review_json(self.review) | {"cells": sorted(self.review.damage.stored)}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Totals:
    """What is healed of the scans that are decided about.

    Attributes:
        defects: number of accepted ones.
        files: number of scans that have any.
        without: number of scans that have none.
    """

    defects: int
    files: int
    without: int

    def sentence(self) -> str:
        """In words: ``Heal 4,210 defects in 37 files; 12 files have none.``, for example."""
        none = f"{self.without:,} {'file has' if self.without == 1 else 'files have'} none"
        if not self.files:
            return f"Nothing is to be healed: {none}."
        defects, files = (_count(self.defects, "defect"), _count(self.files, "file"))
        return f"Heal {defects} in {files}{f'; {none}' if self.without else ''}."


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'s' * (number != 1)}"


# -- files ------------------------------------------------------------------------------------------------------------


def review_path(folder: Path, scan: Path) -> Path:
    """The file of a scan's review.

    Args:
        folder: the output folder of the batch.
        scan: the real path of the scan, as its row has it.
    """
    name = hashlib.sha256(os.fsencode(scan)).hexdigest()[:32]
    return folder / REPORT_FOLDER / "reviews" / name[:2] / f"{name}.json"


def read_review(path: Path) -> Review:
    """The review of a file; raises as ``read_look``."""
    return read_look(path).review


def write_review(path: Path, review: Review) -> None:
    """Replace the review of a file, atomically; what else the file knows of the search stays.

    Raises:
        ReadError: as ``read_look``: the file must be there.
        WriteError: it cannot be written.
    """
    write_look(path, replace(read_look(path), review=review))


def read_look(path: Path) -> Look:
    """Read the file of a scan that was looked through. Any thread.

    Raises:
        ReadError: ``review.missing``, ``review.read`` or ``review.damaged``.
    """
    try:
        return _look_of(tables.parse_json(imageio.read_plain(path, _LARGEST)))
    except FileNotFoundError as error:
        said = (
            "What was found in the scan is not known: its review {file} is gone. Look through it again with --review."
        )
        raise ReadError(said, "review.missing", file=path.name) from error
    except OSError as error:
        said = "The review {file} cannot be read: {reason}."
        raise ReadError(said, "review.read", file=path.name, reason=error.strerror or error) from error
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, EngineError) as error:
        said = "The review {file} is damaged, and nothing was healed by it. Look through the scan again with --review."
        raise ReadError(said, "review.damaged", file=path.name) from error


def _look_of(table: Any) -> Look:
    if int(table["version"]) > _VERSION:
        raise ValueError("made by a newer version")
    height, width = (int(side) for side in table["size"])
    cells = [(int(column), int(row)) for column, row in table["cells"]]
    if not (0 < height < 1 << 31 and 0 < width < 1 << 31) or len(cells) > _MOST_CELLS or len(set(cells)) < len(cells):
        raise ValueError("an impossible size")
    # The sheet is nearly square, so it has at most one row of empty tiles.
    data = base64.b64decode(table["damage"], validate=True)
    sheet = imageio.decode_png(data, 2 * TILE**2 * max(1, len(cells)))
    review = review_from_json(table["review"], unpack_damage(sheet, cells, (height, width)))
    if review.search is None or not table["source_sha256"]:
        raise ValueError("a review without a search, or of no scan")
    found = {str(kind): int(count) for kind, count in table["found"].items()}
    chips = tuple(chip for chip in CHIPS if chip in table["chips"])
    return Look(review, str(table["source_sha256"]), str(table["search"]), found, chips)


def write_look(path: Path, look: Look) -> None:
    """Write the file of a scan that was looked through, atomically, into a folder that exists.

    Raises:
        WriteError: as ``atomic_write``.
    """
    damage = look.review.damage
    table = {
        "version": _VERSION,
        "source_sha256": look.source_sha256,
        "search": look.search,
        "found": dict(look.found),
        "chips": list(look.chips),
        "size": list(damage.shape[:2]),
        "cells": sorted(damage.stored),
        "review": review_json(look.review),
        "damage": base64.b64encode(imageio.encode_png(pack_damage(damage))).decode(),
    }
    imageio.atomic_write_bytes(path, json.dumps(table).encode())


# -- decisions --------------------------------------------------------------------------------------------------------


def accept(review: Review, what: Accept, outlines: Outlines | None = None) -> Review:
    """Decide about a whole scan. Decisions that were made already stay, unless nothing is accepted at all.

    Args:
        review: what was found.
        what: accepts all defects to do that a recipe would heal unasked (none, if they cover so much of the picture
            that the recipe heals nothing), all defects to do, or nothing.
        outlines: of the review; None = they are computed.
    """
    outlines = outlines or outline_defects(review)
    items = listed_defects(outlines, review)
    healed = sum(item.defect.area for item in items if not item.unsure) <= MAX_DAMAGE_SHARE * review.damage.bounds.area

    def decision(item: JudgedDefect) -> Verdict:
        if what == "none":
            return Verdict.KEPT
        if item.verdict is not Verdict.TO_DO or (what == "certain" and item.unsure):
            return item.verdict
        return Verdict.ACCEPTED if what == "all" or healed else Verdict.KEPT

    pairs = [(item, decision(item)) for item in items]
    changed = [replace(item, verdict=verdict) for item, verdict in pairs if verdict is not item.verdict]
    decided = judgements_of([*linked_defects(outlines, review, changed), *changed], outlines.threshold)
    return replace(review, judgements=review.with_judgements(decided))


def numbers_of(review: Review, outlines: Outlines | None = None) -> ReviewNumbers:
    """How many of the listed defects are decided about.

    Args:
        review: the review.
        outlines: of it; None = they are computed.
    """
    items = listed_defects(outlines or outline_defects(review), review)
    verdicts = Counter(item.verdict for item in items)
    accepted = verdicts[Verdict.ACCEPTED] + verdicts[Verdict.HEALED]
    unsure = sum(item.unsure for item in items)
    return ReviewNumbers(accepted, verdicts[Verdict.KEPT], verdicts[Verdict.TO_DO], unsure)


def accepted_damage(review: Review, context: JobContext | None = None) -> FoundDamage:
    """The damage that is healed by the decisions, as a document heals it. Any thread.

    Raises:
        Cancelled: the context was cancelled.
    """
    assert review.search is not None
    used = context or JobContext()
    items = defects_to_heal(listed_defects(outline_defects(review, used.part(0.0, 0.5)), review))
    defects = [item.defect for item in items]
    mask = defect_mask(review, defects, used.part(0.5, 1.0)) if defects else None
    boxes = tuple(dataclasses.astuple(defect.box) for defect in defects)
    return FoundDamage(mask, replace(review.search, boxes=boxes))
