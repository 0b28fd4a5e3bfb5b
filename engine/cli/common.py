"""What every subcommand shares."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.imageio import WriteOptions
from engine.jobs import JobContext
from engine.output import Output


@dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        name: the word on the command line.
        help: one line.
        arguments: adds its arguments to a parser.
        run: does it; raises EngineError for exit code 1.
    """

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, JobContext], None]


def add_writer_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that every command which writes a picture takes."""
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the file to write")
    parser.add_argument("--depth", type=int, choices=[8, 16], help="bits a sample (default: as the scan)")
    parser.add_argument("--profile", default="keep", metavar="keep|srgb|FILE", help="colour profile (default keep)")
    parser.add_argument("--quality", type=_quality, metavar="1-100", help="of JPEG; makes WebP lossy")
    parser.add_argument("--no-record", action="store_true", help="write no OUT.record.json")


def _quality(word: str) -> int:
    if not word.isdecimal() or not 1 <= int(word) <= 100:
        raise argparse.ArgumentTypeError(f"{word} is not a whole number from 1 to 100")
    return int(word)


def output_of(options: argparse.Namespace) -> Output:
    """What those arguments say."""
    quality = options.quality
    write = WriteOptions(depth=options.depth)
    if quality is not None:
        write = WriteOptions(depth=options.depth, quality=quality, lossless=False)
    return Output(options.output, write, options.profile, record=not options.no_record)


def say(notices: Sequence[str]) -> None:
    """Tell the user, on stderr, what is good to know."""
    for notice in dict.fromkeys(notices):
        print(notice, file=sys.stderr)
