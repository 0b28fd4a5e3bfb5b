"""The command line of the training: ``python -m engine.train list | fit | evaluate | export``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from engine.errors import EngineError, SettingsError
from engine.runtime.cards import ModelCard, Training, read_card
from engine.runtime.session import Device
from engine.train.evaluate import evaluate_heal, write_scores
from engine.train.export import export_model, read_weights
from engine.train.loop import Budget, Trainer, fit, read_checkpoint
from engine.train.settings import read_recipe, recipe_from_dict, recipe_names


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 done, 1 a sentence on stderr, 2 usage."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except EngineError as error:
        print(error.sentence, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine.train", description="Train, score and export the models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("list", help="the recipes")
    command.set_defaults(command=_list)

    command = commands.add_parser("fit", help="train a recipe on a folder of photographs, then export it")
    command.add_argument("recipe", help="name of a shipped recipe, or a TOML file")
    command.add_argument("--data", type=Path, required=True, metavar="DIR", help="photographs, subfolders too")
    command.add_argument("--run", type=Path, metavar="DIR", help="run folder (default runs/RECIPE)")
    command.add_argument("--minutes", type=float, default=60, help="length of the schedule (default 60)")
    command.add_argument("--slice", type=float, metavar="MINUTES", help="stop after so long; go on later with --resume")
    command.add_argument("--resume", action="store_true", help="go on from the run folder's newest checkpoint")
    command.add_argument(
        "--start", type=Path, metavar="MODEL", help="begin with the weights of an exported model's folder"
    )
    command.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting, e.g. data.batch=8"
    )
    command.set_defaults(command=_fit)

    command = commands.add_parser("export", help="write model.onnx and card.toml from a run folder")
    command.add_argument("run", type=Path)
    command.add_argument(
        "-o", "--output", type=Path, required=True, metavar="MODEL", help="folder to write; its name is the id"
    )
    command.add_argument("--data-note", default="", help="what it was trained on, for the card")
    command.add_argument("--credits", type=Path, metavar="TSV", help="table whose CC BY credit lines go into the card")
    command.set_defaults(command=_export)

    command = commands.add_parser("evaluate", help="score an exported model on the validation tenth")
    command.add_argument("model", type=Path, help="folder with card.toml")
    command.add_argument("--data", type=Path, required=True, metavar="DIR")
    command.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    command.add_argument("--most", type=int, metavar="N", help="use only N photographs")
    command.add_argument("--write", action="store_true", help="put the scores into the card")
    command.set_defaults(command=_evaluate)
    return parser


def _list(_: argparse.Namespace) -> None:
    for name in recipe_names():
        recipe = read_recipe(name)
        print(f"{name:16} {recipe.task:10} {recipe.title}")


def _fit(options: argparse.Namespace) -> None:
    recipe = read_recipe(options.recipe, options.set)
    run: Path = options.run or Path("runs") / recipe.name
    trainer = Trainer(recipe, run, _device(options.device))
    resumed = options.resume and trainer.resume()
    if not resumed and any(run.glob("step-*.pt")):
        raise SettingsError(f"{run} already holds a training; go on with --resume or name another --run.", "train.run")
    if options.start and not resumed:
        trainer.start_from(read_weights(options.start / "model.onnx"))
    fit(trainer, options.data, Budget(options.minutes, options.slice), say=lambda line: print(line, flush=True))
    if trainer.elapsed >= 60 * options.minutes:
        card = _export_run(run, run / recipe.name, options.data.name, None)
        print(f"exported {run / recipe.name} ({card.training.parameters / 1e6:.2f} million parameters)")


def _export(options: argparse.Namespace) -> None:
    card = _export_run(options.run, options.output, options.data_note, options.credits)
    print(f"exported {options.output}: {card.path(card.stages[0]).stat().st_size / 1e6:.2f} MB")


def _export_run(run: Path, output: Path, data: str, credits_file: Path | None) -> ModelCard:
    """The averaged weights of a run's newest checkpoint, exported."""
    checkpoints = sorted(run.glob("step-*.pt"))
    if not checkpoints:
        raise SettingsError(f"{run} holds no checkpoint.", "train.run")
    state = read_checkpoint(checkpoints[-1], torch.device("cpu"))
    recipe = recipe_from_dict(json.loads(state["recipe"]))
    prefix = "module."
    weights = {n.removeprefix(prefix): v for n, v in state["average"].items() if n.startswith(prefix)}
    training = Training(
        recipe=recipe.name,
        data=data,
        machine=state["machine"],
        minutes=round(state["elapsed"] / 60, 2),
        pictures_seen=state["step"] * recipe.data.batch,
        parameters=sum(value.numel() for value in weights.values()),
        credits=_credit_lines(credits_file) if credits_file else (),
    )
    return export_model(recipe, weights, output, training)


def _credit_lines(table: Path) -> tuple[str, ...]:
    """The credits of a tab-separated table with the columns file, licence, source, credit: a line a picture."""
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()[1:]]
    return tuple(f"{file}: {(credit.strip() or source)} [{licence}]" for file, licence, source, credit in rows)


def _evaluate(options: argparse.Namespace) -> None:
    card = read_card(options.model / "card.toml")
    table = evaluate_heal(card, options.data, device=Device(options.device), most=options.most)
    for protocol, rows in table.items():
        for name, row in rows.items():
            print(f"{protocol:10} {name:14} hole PSNR {row['psnr']:6.2f} dB  {row['seconds']:6.2f} s/megapixel")
    if options.write:
        write_scores(card, table)


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise SettingsError("CUDA was asked for, but torch finds none here.", "device.cuda")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


if __name__ == "__main__":
    sys.exit(main())
