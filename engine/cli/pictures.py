"""The subcommands restore (several models by a recipe), recipes (their list) and upscale."""

from __future__ import annotations

import argparse
from pathlib import Path

from engine import imageio
from engine.cli.common import (
    Command,
    add_device_argument,
    add_model_arguments,
    add_writer_arguments,
    choose_model,
    output_of,
    say,
    task_input,
    usable_models,
    write_repaired,
)
from engine.errors import SettingsError
from engine.jobs import JobContext
from engine.output import RepairResult
from engine.raster import Raster


def _upscale_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser)
    add_writer_arguments(parser)
    parser.add_argument("--scale", type=int, choices=[2, 4], help="factor by which width and height grow (default 2)")


def _upscale(options: argparse.Namespace, context: JobContext) -> None:
    from engine.tasks import model_of_scale, run_task

    id_, scale = options.model, options.scale
    card, settings = choose_model("upscale", id_ or model_of_scale(usable_models(), scale or 2).id)
    if scale not in (None, card.tile.scale):
        raise SettingsError(
            "The model {model} enlarges {able} times, not {scale}.",
            "upscale.scale",
            model=card.id,
            able=card.tile.scale,
            scale=scale,
        )

    def repair(scan: Raster, context: JobContext) -> RepairResult:
        imageio.check_size(options.output, card.tile.scale * scan.width, card.tile.scale * scan.height)
        given = task_input("upscale", scan, card, settings, options.device)
        enlarged = run_task(given, context)
        return RepairResult(enlarged.raster(scan), [enlarged.repair(given)])

    write_repaired(options, context, "upscale", repair)


def _restore_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="the scan")
    add_device_argument(parser)
    add_writer_arguments(parser)
    parser.add_argument(
        "--recipe",
        default="standard",
        metavar="NAME|FILE.toml",
        help="gentle, standard, strong, one of your own, or a recipe file (default: standard)",
    )


def _restore(options: argparse.Namespace, context: JobContext) -> None:
    from engine.recipes import read_recipe
    from engine.restore import restore_file
    from engine.runtime.session import Device

    recipe, device = read_recipe(options.recipe), Device(options.device)
    say(restore_file(options.input, recipe, output_of(options), device, context).notices)


def _recipes_arguments(_: argparse.ArgumentParser) -> None:
    pass


def _recipes(_: argparse.Namespace, _context: JobContext) -> None:
    from engine.recipes import read_recipe, recipe_names

    names = recipe_names()
    problems = []
    for name in names:
        try:
            recipe = read_recipe(name)
        except SettingsError as error:
            problems.append(error.text())
        else:
            print(f"{name:{max(map(len, names))}}  {recipe.summary or recipe.title}")
    say(problems)


COMMANDS = (
    Command("upscale", "enlarge a scan 2 or 4 times", _upscale_arguments, _upscale),
    Command("restore", "find and heal damage, clean and correct the tone, by a recipe", _restore_arguments, _restore),
    Command("recipes", "list the recipes: those that ship and your own", _recipes_arguments, _recipes),
)
