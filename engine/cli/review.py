"""The subcommand review: decides about what a batch found, without a window."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from engine.cli.common import Command
from engine.errors import ReadError
from engine.jobs import JobContext


def _review_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", type=Path, metavar="TABLE", help="table of a batch, or its folder of results")
    parser.add_argument(
        "--accept",
        choices=["certain", "all", "none"],
        required=True,
        help="of every scan that waits for decisions: what the recipe would heal unasked; every defect; nothing",
    )


def _review(options: argparse.Namespace, context: JobContext) -> int:
    from engine.batch import TABLE, open_table, report_folder
    from engine.batch.deciding import accept_rows

    place = report_folder(options.table) / TABLE if os.path.isdir(options.table) else options.table  # noqa: PTH112
    if not os.path.isfile(place):  # noqa: PTH113 - Path's raise where a share is gone
        raise ReadError("There is no table of a batch at {table}.", "batch.table", table=place)
    with open_table(place) as table:
        _, failed = accept_rows(table, table.undecided(), options.accept, context)
        totals = table.totals()
    for row, error in failed:
        print(f"{row.relative}: {error.text()}", file=sys.stderr)
    print(totals.sentence())
    return 3 if failed else 0


COMMANDS = (Command("review", "decide about what a batch with --review found", _review_arguments, _review),)
