"""The pages of the manual, from the parser of the command line."""

from __future__ import annotations

from argparse_manpage.manpage import Manpage

from desktop.work.commands import FLATTEN
from engine import __version__
from engine.cli import make_parser


def manuals() -> dict[str, str]:
    """The pages as roff, by the name of the command."""
    parser = make_parser([FLATTEN])
    parser.description = (
        "Restore photographs. lacuna FILE... opens the window with files; both programs take the same commands."
    )
    page = Manpage(parser)
    page.description, page.manual, page.source = "restore photographs", "Lacuna", f"Lacuna {__version__}"
    return {"lacuna": str(page), "lacuna-cli": ".so man1/lacuna.1\n"}
