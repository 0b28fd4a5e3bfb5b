"""The subcommand flatten. It loads the document only when it runs, so that no other subcommand waits for that."""

from __future__ import annotations

import argparse
from pathlib import Path

from engine.cli import Command, add_writer_arguments, output_of, say
from engine.jobs import JobContext


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", type=Path, metavar="PROJECT.ora")
    add_writer_arguments(parser)


def _run(options: argparse.Namespace, context: JobContext) -> None:
    from desktop.document.opening import open_project
    from desktop.document.project import Snapshot
    from desktop.work.flatten import export
    from engine.output import check_place

    output = output_of(options)
    check_place(output, [options.project])
    document = open_project(options.project, context.part(0.0, 0.4))
    notices = export(Snapshot.of(document), output, "flatten", context.part(0.4, 1.0))
    say([*document.notices, *notices])


FLATTEN = Command("flatten", "write a project's visible picture to a file", _arguments, _run)
