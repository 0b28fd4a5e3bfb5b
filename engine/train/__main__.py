"""The command line of the training: ``python -m engine.train list | show | fit | export | evaluate | ...``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from engine.errors import EngineError, SettingsError
from engine.runtime.cards import SHIPPED, ModelCard, Registry, Training, read_card
from engine.runtime.session import Device
from engine.train.data.batches import Sources
from engine.train.recipe import TrainingRecipe, read_training_recipe, recipe_from_dict, training_recipe_names
from engine.train.run.calibrate import calibrate_weights
from engine.train.run.export import (
    count_parameters,
    export_model,
    read_arrays,
    read_weights,
    write_sample_sheet,
)
from engine.train.run.loop import Budget, fit
from engine.train.run.parallel import process_group, rank
from engine.train.run.trainer import Trainer, newest_checkpoint

RUNS = Path("runs")


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Exit status: 0 done, 1 failed with a sentence on stderr, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except EngineError as error:
        print(error.text(), file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine.train", description="Train, score and export the models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("list", help="the recipes")
    command.set_defaults(command=_list)

    command = commands.add_parser("show", help="a recipe with all its settings, or a sheet of all damage")
    command.add_argument("what", metavar="RECIPE|degrade")
    command.add_argument("--picture", type=Path, help="of the sheet (default: one of scikit-image's)")
    command.add_argument("-o", "--output", type=Path, default=Path("degrade.png"), help="of the sheet (PNG)")
    command.set_defaults(command=_show)

    _add_fit(commands.add_parser("fit", help="train a recipe on a folder of photographs, then export it"))

    command = commands.add_parser("export", help="write the ONNX files and card.toml from a run folder")
    command.add_argument("run", type=Path)
    command.add_argument(
        "-o", "--output", type=Path, required=True, metavar="MODEL", help="folder to write; its name is the id"
    )
    command.add_argument("--data-note", default="", help="what it was trained on, for the card")
    command.add_argument(
        "--data", type=Path, metavar="DIR", help="photographs to calibrate a detector on (held-out ones)"
    )
    command.add_argument("--textures", type=Path, metavar="DIR", help="scanned damage to calibrate it on")
    command.add_argument("--credits", type=Path, metavar="TSV", help="table whose CC BY credit lines go into the card")
    command.set_defaults(command=_export)

    command = commands.add_parser("evaluate", help="score exported models on the validation tenth, beside their peers")
    command.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="folder with card.toml")
    command.add_argument("--data", type=Path, required=True, metavar="DIR")
    command.add_argument("--masks", type=Path, metavar="DIR", help="of damaged scans: where they are lost")
    command.add_argument("--textures", type=Path, metavar="DIR", help="scanned damage to score detection on")
    command.add_argument("--faces", type=Path, metavar="TABLE", help="boxes of the faces, as label-faces writes them")
    command.add_argument("--unseen", action="store_true", help="use all photographs: none of them was trained on")
    command.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    command.add_argument("--most", type=int, metavar="N", help="use only N photographs")
    command.add_argument("--write", action="store_true", help="put the scores into the cards")
    command.set_defaults(command=_evaluate)

    command = commands.add_parser("bench", help="measure the numbers that the shipped models must reach")
    command.add_argument(
        "parts", nargs="*", metavar="PART", help="heal, clean, upscale, detect, tone, faces, tiling (default: all)"
    )
    command.add_argument("--data", type=Path, required=True, metavar="DIR")
    command.add_argument("--textures", type=Path, metavar="DIR", help="scanned damage to composite for detection")
    command.add_argument("--faces", type=Path, metavar="TABLE", help="boxes of the faces, as label-faces writes them")
    command.add_argument("--most", type=int, metavar="N", help="use only N photographs")
    command.set_defaults(command=_bench)

    command = commands.add_parser("age", help="make an archive of damaged scans, to try the unsupervised training on")
    command.add_argument("--data", type=Path, required=True, metavar="DIR", help="sound photographs")
    command.add_argument("--textures", type=Path, metavar="DIR", help="scanned damage to composite")
    command.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="gets scans and masks")
    command.set_defaults(command=_age)

    command = commands.add_parser("label-faces", help="have a teacher (CenterFace) find the faces to train on")
    command.add_argument("teacher", type=Path, metavar="TEACHER.onnx")
    command.add_argument("--data", type=Path, required=True, metavar="DIR", help="photographs, subfolders too")
    command.add_argument("-o", "--output", type=Path, required=True, metavar="TABLE", help="file to write (TSV)")
    command.add_argument(
        "--sides",
        type=int,
        nargs="+",
        default=[960],
        metavar="PX",
        help="long sides at which pictures are looked at: at the first, and where it shows anything, at the others",
    )
    command.set_defaults(command=_label_faces)

    command = commands.add_parser("report", help="a table of all systems and a page of pictures")
    command.add_argument("--models", type=Path, default=SHIPPED, metavar="DIR", help="default: those that ship")
    command.add_argument("--pictures", type=Path, metavar="DIR", help="rows of the page (default: scikit-image's)")
    command.add_argument("--samples", action="store_true", help="only a page of pictures restored by a recipe")
    command.add_argument("--textures", type=Path, metavar="DIR", help="scanned damage to composite on the samples")
    command.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    command.set_defaults(command=_report)
    return parser


def _add_fit(command: argparse.ArgumentParser) -> None:
    command.add_argument("recipe", help="name of a shipped recipe, or a TOML file")
    command.add_argument("--data", type=Path, required=True, metavar="DIR", help="photographs, subfolders too")
    command.add_argument("--masks", type=Path, metavar="DIR", help="of damaged scans: NAME.png, white = lost")
    command.add_argument("--old", type=Path, metavar="DIR", help="old prints (default: half of the photographs, aged)")
    command.add_argument("--textures", type=Path, metavar="DIR", help="scanned damage to composite")
    command.add_argument("--faces", type=Path, metavar="TABLE", help="boxes of the faces, as label-faces writes them")
    # Not --run or --start: torchrun would take them for beginnings of its own options.
    command.add_argument("--run-dir", dest="run", type=Path, metavar="DIR", help="default: runs/RECIPE")
    command.add_argument("--minutes", type=float, default=60, help="length of the schedule (default 60)")
    command.add_argument("--slice", type=float, metavar="MINUTES", help="stop after so long; go on later with --resume")
    command.add_argument("--resume", action="store_true", help="go on from the run folder's newest checkpoint")
    command.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="MODEL",
        help="begin with the weights of an exported model's folder, or of a file NAME.npz of arrays by parameter name",
    )
    command.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting, e.g. data.batch=8"
    )
    command.set_defaults(command=_fit)


def _list(_: argparse.Namespace) -> None:
    cards = {card.training.recipe: card for card in Registry().cards()}
    for name in training_recipe_names():
        recipe = read_training_recipe(name)
        card = cards.get(name)
        trained = f"{card.training.minutes:.0f} min, {card.training.parameters / 1e6:.2f} M" if card else "not trained"
        print(f"{name:20} {recipe.task:8} {recipe.system:13} {trained:18} {recipe.title}")


def _show(options: argparse.Namespace) -> None:
    if options.what != "degrade":
        print(json.dumps(read_training_recipe(options.what).as_dict(), indent=1))
        return
    from engine.train.data.photographs import read_photograph
    from engine.train.measure.contact import contact_sheet
    from engine.train.measure.pages import default_pictures

    picture = read_photograph(options.picture) if options.picture else default_pictures()[0][1]
    contact_sheet(picture, options.output)
    print(f"wrote {options.output}")


def _fit(options: argparse.Namespace) -> None:
    recipe = read_training_recipe(options.recipe, options.set)
    run: Path = options.run or RUNS / recipe.name
    sources = Sources(options.data, options.masks, options.old, options.textures, options.faces)
    with process_group(_device(options.device)) as device:
        trainer = Trainer(recipe, run, device)
        budget = Budget(options.minutes, options.slice)
        resumed = options.resume and trainer.resume()
        if options.resume and not resumed:
            print(f"{run} holds no checkpoint: a new training begins.")
        if not resumed and any(run.glob("step-*.pt")):
            raise SettingsError(
                "{run} already holds a training; go on with --resume or name another --run-dir.", "train.run", run=run
            )
        if options.start and not resumed:
            trainer.start_from(_start_weights(recipe, options.start))
        fit(trainer, sources, budget, say=lambda line: print(line, flush=True))
        finished = trainer.elapsed >= 60 * options.minutes and rank() == 0
    if finished:
        calibrate_on = sources if recipe.system == "detect" and sources.textures else None
        if recipe.system == "detect" and calibrate_on is None:
            print("not calibrated: that needs scanned damage (--textures)")
        card = _export_run(run, run / recipe.name, options.data.name, None, calibrate_on)
        print(f"exported {run / recipe.name} ({card.training.parameters / 1e6:.2f} million parameters)")


def _start_weights(recipe: TrainingRecipe, start: Path) -> dict[str, torch.Tensor]:
    """The weights that ``--from`` names."""
    return read_arrays(start) if start.suffix == ".npz" else read_weights(recipe, start)


def _export(options: argparse.Namespace) -> None:
    sources = Sources(options.data, textures=options.textures) if options.data else None
    card = _export_run(options.run, options.output, options.data_note, options.credits, sources)
    size = sum(card.path(stage).stat().st_size for stage in card.stages)
    print(f"exported {options.output}: {size / 1e6:.2f} MB")


def _export_run(
    run: Path, output: Path, data: str, credits_file: Path | None, calibrate_on: Sources | None = None
) -> ModelCard:
    """Export the averaged weights of the newest checkpoint of a run; those of a detector can be calibrated first."""
    state = newest_checkpoint(run, torch.device("cpu"))
    recipe = recipe_from_dict(json.loads(state["recipe"]))
    prefix = "module."
    weights = {n.removeprefix(prefix): v for n, v in state["average"].items() if n.startswith(prefix)}
    if calibrate_on is not None:
        if recipe.system != "detect":
            raise SettingsError(
                "Only detectors are calibrated, and {recipe} is none.", "train.calibrate", recipe=recipe.name
            )
        weights = calibrate_weights(recipe, weights, calibrate_on)
    training = Training(
        recipe=recipe.name,
        data=data,
        machine=state["machine"],
        minutes=round(state["elapsed"] / 60, 2),
        pictures_seen=state["seen"],
        parameters=count_parameters(recipe),
        credits=_credit_lines(credits_file) if credits_file else (),
    )
    return write_sample_sheet(export_model(recipe, weights, output, training))


def _credit_lines(table: Path) -> tuple[str, ...]:
    """The credit lines from a tab-separated table with the columns file, licence, source, credit."""
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()[1:]]
    return tuple(f"{file}: {(credit.strip() or source)} [{licence}]" for file, licence, source, credit in rows)


def _evaluate(options: argparse.Namespace) -> None:
    from engine.train.measure.evaluate import evaluate_all, write_scores

    cards = [read_card(model / "card.toml") for model in options.models]
    tables = evaluate_all(
        cards,
        options.data,
        masks=options.masks,
        textures=options.textures,
        faces=options.faces,
        unseen=options.unseen,
        device=Device(options.device),
        most=options.most,
    )
    for card, table in zip(cards, tables, strict=True):
        print(card.folder)
        for protocol, rows in table.items():
            for name, row in rows.items():
                print(f"  {protocol:15} {name:16} " + "  ".join(f"{key} {value:.3f}" for key, value in row.items()))
        if options.write:
            write_scores(card, table)


def _bench(options: argparse.Namespace) -> None:
    from engine.train.measure.bench import measure

    missed = 0
    for claim in measure(options.data, options.textures, options.most, options.parts, options.faces):
        print(claim.line(), flush=True)
        missed += not claim.holds
    if missed:
        raise SettingsError("{missed} of the numbers do not hold.", "train.bench", missed=missed)


def _age(options: argparse.Namespace) -> None:
    from engine.train.data.archives import age_archive

    print(f"wrote {age_archive(options.data, options.output, options.textures)} scans and their masks")


def _label_faces(options: argparse.Namespace) -> None:
    from engine.train.data.teacher import label_faces

    if unfit := [side for side in options.sides if not 96 <= side <= 4096]:
        raise SettingsError("A side of {side} px is too small or too large: 96 to 4096.", "train.faces", side=unfit[0])
    count = label_faces(options.teacher, options.data, options.output, options.sides)
    print(f"wrote the faces of {count} photographs to {options.output}")


def _report(options: argparse.Namespace) -> None:
    from engine.train.data.photographs import SUFFIXES, read_photograph
    from engine.train.data.textures import read_frames, read_textures
    from engine.train.measure.pages import CREDITS, Print, default_pictures, old_prints, picture_page, sample_page
    from engine.train.measure.report import write_report

    if options.pictures:
        files = sorted(path for path in options.pictures.iterdir() if path.suffix.lower() in SUFFIXES)
        pictures, credit = [(path.stem, read_photograph(path)) for path in files], ""
    else:
        pictures, credit = default_pictures(), CREDITS
    if options.samples:
        textures = read_textures(options.textures, validation=True) if options.textures else {}
        frames = read_frames(options.textures, validation=True) if options.textures else []
        own = [Print(*picture) for picture in pictures] if options.pictures else old_prints(textures, frames)
        for path in sample_page(own, options.output, credit=credit):
            print(f"wrote {path}")
        return
    table = write_report(options.models, options.output)
    print(table.read_text(encoding="utf-8"))
    print(f"wrote {table}")
    cards = [read_card(path) for path in sorted(options.models.glob("*/card.toml"))]
    for path in picture_page(cards, pictures, options.output, credit=credit):
        print(f"wrote {path}")


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise SettingsError("CUDA was asked for, but torch finds none here.", "device.cuda")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


if __name__ == "__main__":
    sys.exit(main())
