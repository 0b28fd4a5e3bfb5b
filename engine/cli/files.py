"""The subcommands convert and info, which run no model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from engine import imageio
from engine.cli.common import Command, add_writer_arguments, write_repaired
from engine.errors import ReadError
from engine.jobs import JobContext
from engine.output import RepairResult
from engine.record import record_matches, record_path


def _convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN")
    add_writer_arguments(parser)


def _convert(options: argparse.Namespace, context: JobContext) -> None:
    write_repaired(options, context, "convert", lambda scan, _: RepairResult(scan))


def _info_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _info(options: argparse.Namespace, context: JobContext) -> None:
    from engine import colour

    probe = imageio.probe(options.file)
    notices, opens = list(probe.notices), probe.refusal is None
    if probe.refusal:
        notices.append(probe.refusal)
    else:
        # Only reading it shows whether it can be opened.
        try:
            imageio.read(options.file, context)
        except ReadError as error:
            notices.append(error.text())
            opens = False
    facts: dict[str, Any] = {
        "file": str(options.file),
        "format": probe.format,
        "width": probe.width,
        "height": probe.height,
        "channels": None if probe.refusal else ("grey" if probe.channels == 1 else "RGB"),
        "depth": probe.depth,
        "compression": probe.compression,
        "profile": colour.description(probe.profile),
        "resolution": [probe.resolution.x, probe.resolution.y] if probe.resolution else None,
        "metadata": list(probe.metadata),
        "pages": probe.pages,
        "opens": opens,
        "record": _record(options.file, notices),
        "notices": notices,
    }
    if options.json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    words = {True: "yes", False: "no", None: "not stated"}
    for name, value in facts.items():
        values = value if isinstance(value, list) else [value]
        text = ", ".join(words[v] if v is None or isinstance(v, bool) else str(v) for v in values) or "none"
        print(f"{name:12} {text}")


def _record(file: Path, notices: list[str]) -> str:
    """Text about the record beside a picture; appends a notice when it does not match the picture."""
    if not record_path(file).exists():
        return "none"
    belongs = record_matches(file)
    if belongs is False:
        notices.append("The record beside it is about another picture.")
    elif belongs is None:
        notices.append("It is not known whether the record beside it is about this picture.")
    return {True: "of this picture", False: "of another picture", None: "unknown"}[belongs]


COMMANDS = (
    Command("convert", "write a picture in another format, depth or profile", _convert_arguments, _convert),
    Command("info", "show what a picture file holds and whether it can be opened", _info_arguments, _info),
)
