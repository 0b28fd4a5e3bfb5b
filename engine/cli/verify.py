"""The subcommand verify: pictures against their records and their scans."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from engine.cli.common import Command
from engine.errors import EngineError, Words
from engine.jobs import JobContext


def _verify_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", type=Path, metavar="OUT", help="a picture, or a folder of pictures")
    parser.add_argument(
        "--source",
        type=Path,
        metavar="IN",
        help="also compare with the scan, or with the scans in a folder of the same layout",
    )


def _verify(options: argparse.Namespace, context: JobContext) -> None:
    from engine.verify import verify

    result = verify(options.target, options.source, context)
    unrecorded = Words("It has no record beside it.")
    lines = [(misfit.path, misfit.reason) for misfit in result.misfits]
    lines += [(path, unrecorded) for path in result.unrecorded]
    for path, reason in sorted(lines, key=lambda line: line[0]):
        print(f"{path}: {reason}", file=sys.stderr)
    if result.fits:
        print(_all_fit(result.pictures, result.uncompared))
        return
    if not result.pictures and not lines:
        raise EngineError("There is no picture in {folder}.", "verify.none", folder=options.target)
    raise EngineError(
        "Pictures checked: {pictures}. Things that do not fit: {misfits}. Pictures without a record: {unrecorded}.",
        "verify.misfit",
        pictures=result.pictures,
        misfits=len(result.misfits),
        unrecorded=len(result.unrecorded),
    )


def _all_fit(pictures: int, uncompared: int) -> str:
    said = "The picture is as its record says"
    if pictures > 1:
        said = f"All {pictures} pictures are as their records say"
    if uncompared:
        which = "its samples" if pictures == 1 else f"the samples of {uncompared}"
        said += f"; {which} could not be compared with the scan, because all were converted when it was written"
    return said + "."


COMMANDS = (Command("verify", "check that pictures are as their records say", _verify_arguments, _verify),)
