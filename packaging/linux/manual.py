"""The pages of the manual, from the parser of the command line."""

from __future__ import annotations

from argparse_manpage.manpage import Manpage

from desktop.work.flatten import FLATTEN
from engine.cli import make_parser


def manuals() -> dict[str, str]:
    """The pages as roff, by the name of the command."""
    parser = make_parser([FLATTEN])
    parser.prog = "lacuna-cli"
    page = Manpage(parser)
    page.section = "1"
    return {"lacuna-cli": str(page), "lacuna": ".so man1/lacuna-cli.1\n"}
