"""The subcommand models: list, show, verify, add and remove."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from engine.cli.common import Command, say, usable_models
from engine.errors import EngineError
from engine.jobs import JobContext

_SHOWN = 3
"""Number of scores of each model in the list."""


def _models_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="list | show ID | verify | add CARD | remove ID")
    parser.set_defaults(action=_models_list)
    actions.add_parser("list", help="list the installed models").set_defaults(action=_models_list)
    show = actions.add_parser("show", help="print a model's card")
    show.add_argument("id")
    show.set_defaults(action=_models_show)
    actions.add_parser("verify", help="compare all files with their checksums").set_defaults(action=_models_verify)
    add = actions.add_parser("add", help="add a third party's model by its card.toml")
    add.add_argument("card", type=Path)
    add.set_defaults(action=_models_add)
    remove = actions.add_parser("remove", help="remove an added model")
    remove.add_argument("id")
    remove.set_defaults(action=_models_remove)


def _models(options: argparse.Namespace, context: JobContext) -> None:
    options.action(options, context)


def _models_list(_: argparse.Namespace, _context: JobContext) -> None:
    registry = usable_models()
    cards = registry.cards()
    width = max((len(card.id) for card in cards), default=0)
    for card in cards:
        scores = ", ".join(f"{name} {value:g}" for name, value in list(card.scores.items())[:_SHOWN])
        more = f" and {len(card.scores) - _SHOWN} more" if len(card.scores) > _SHOWN else ""
        print(f"{card.id:{width}}  {card.task:8} {card.version:12} {scores}{more}")
    lost = [card.lost for card in cards if card.lost is not None]
    say([problem.text() for problem in (*registry.problems(), *lost)])


def _models_show(options: argparse.Namespace, _context: JobContext) -> None:
    card = usable_models().card(options.id)
    file = card.folder / "card.toml"
    text = file.read_text(encoding="utf-8")
    if card.training.credits:
        # There may be hundreds of credit lines.
        listed = re.compile(r"^credits = \[$.*?^\]$", re.MULTILINE | re.DOTALL)
        text = listed.sub(lambda _: f"# credits: {len(card.training.credits)} lines in {file}", text)
    print(text, end="")


def _models_verify(_: argparse.Namespace, context: JobContext) -> None:
    problems = []
    for entry, problem in usable_models().verify(context):
        if problem is None:
            print(f"{entry.id:20} ok")
        else:
            problems.append(problem)
    if problems:
        say([problem.text() for problem in problems])
        raise EngineError("{count} of the models cannot be used.", "model.verify", count=len(problems))


def _models_add(options: argparse.Namespace, context: JobContext) -> None:
    from engine.runtime.cards import read_card
    from engine.tasks import try_model

    try_model(read_card(options.card), context)
    print(f"added {usable_models().add(options.card).id}")


def _models_remove(options: argparse.Namespace, _context: JobContext) -> None:
    usable_models().remove(options.id)
    print(f"removed {options.id}")


COMMANDS = (Command("models", "list, show, verify, add and remove models", _models_arguments, _models),)
