"""The subcommands that run one model: detect, heal, clean, tone, faces."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine import imageio
from engine.cli.common import (
    Command,
    add_model_arguments,
    add_writer_arguments,
    choose_model,
    output_of,
    say,
    task_input,
    write_repaired,
)
from engine.errors import SettingsError
from engine.jobs import JobContext
from engine.output import RepairResult
from engine.raster import ArrayMask, Raster
from engine.record import Repair

if TYPE_CHECKING:
    from engine.tasks import Faces, Findings, Marks, TaskInput

# -- heal ---------------------------------------------------------------------------------------------------------


def _heal_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser)
    add_writer_arguments(parser)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--mask", type=Path, metavar="M", help="picture of the same size; white = repair")
    where.add_argument(
        "--auto", action="store_true", help="heal all damage that the detector finds, but for large areas"
    )
    parser.add_argument("--grow", type=float, metavar="PX", help="enlarge the mask first (default 0)")
    parser.add_argument("--feather", type=float, metavar="PX", help="then fade it outwards (default 0)")
    parser.add_argument("--texture", type=float, metavar="0..1", help="grain added to the fill (default 1; 0 = smooth)")
    parser.add_argument("--variation", type=float, metavar="N", help="number of the fill, if a model has several")
    parser.add_argument("--edges", type=Path, metavar="FILE", help="edges to fill along, white (some models only)")
    parser.add_argument("--save-edges", type=Path, metavar="FILE.png", help="also write the edges that the model draws")


def _heal(options: argparse.Namespace, context: JobContext) -> None:
    from engine.recipes import notices_of_unsure, refusal_to_heal
    from engine.tasks import draw_edges, run_task, wants_edges

    card, settings = choose_model(
        "heal",
        options.model,
        grow=options.grow,
        feather=options.feather,
        texture=options.texture,
        variation=options.variation,
    )
    detector = choose_model("detect", None) if options.auto else None
    if (options.edges or options.save_edges) and not wants_edges(card):
        raise SettingsError("The model {model} does not work along edges.", "heal.edges", model=card.id)
    read = [path for path in (options.mask, options.edges) if path is not None]
    drawn: list[Marks] = []
    if options.save_edges:
        _check_second(options.save_edges, [options.input, *read, *output_of(options).inputs], options.output, ".png")

    def repair(scan: Raster, context: JobContext) -> RepairResult:
        repairs: list[Repair] = []
        notices: tuple[str, ...] = ()
        if detector is not None:
            search = task_input("detect", scan, *detector, options.device)
            findings: Findings = run_task(search, context.part(0.0, 0.25))
            found = findings.marks(detector[1], context.part(0.25, 0.3), leave_unsure=True)
            if unfit := refusal_to_heal(found):
                raise unfit
            mask, repairs, notices = found.mask(), [found.repair(search)], notices_of_unsure(found)
        else:
            mask = imageio.read_mask(options.mask, context.part(0.0, 0.2))
        guide = ArrayMask(imageio.read_mask(options.edges, context.part(0.2, 0.3))) if options.edges else None
        given = task_input("heal", scan, card, settings, options.device, ArrayMask(mask), guide)
        if options.save_edges:
            drawn.append(draw_edges(given, context.part(0.3, 0.4)))
        patch = run_task(given, context.part(0.4, 1.0))
        healed = scan.with_pixels(patch.apply_to(scan.pixels))
        return RepairResult(healed, [*repairs, patch.repair(given)], notices)

    write_repaired(options, context, "heal", repair, read)
    for marks in drawn:
        imageio.write_mask(marks.mask(), options.save_edges)


def _check_second(target: Path, read: Sequence[Path], output: Path, suffix: str) -> None:
    """Refuse a second output file that is an input or the first output, before any work is done.

    Raises:
        WriteError: see ``imageio.check_target``.
        SettingsError: both outputs are one file.
    """
    imageio.check_target(target, read, (suffix,))
    if imageio.same_file(target, output):
        raise SettingsError(
            "{file} cannot be written twice: give each file its own name.", "cli.same_file", file=target.name
        )


# -- clean, tone --------------------------------------------------------------------------------------------------


def _tone_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser)
    add_writer_arguments(parser)
    parser.add_argument("--strength", type=float, metavar="0..1", help="strength (default: that of the model, else 1)")


def _clean_arguments(parser: argparse.ArgumentParser) -> None:
    _tone_arguments(parser)
    parser.add_argument(
        "--noise-level",
        type=float,
        metavar="SIGMA",
        help="standard deviation of the noise, 0 to 75 of 255; 0 = the model estimates it (default; some models only)",
    )


def _picture_command(task: str, *names: str) -> Callable[[argparse.Namespace, JobContext], None]:
    """The run function of a task that changes the whole picture; ``names`` are its settings."""

    def run(options: argparse.Namespace, context: JobContext) -> None:
        from engine.recipes import left_alone
        from engine.tasks import run_task

        card, settings = choose_model(task, options.model, **{name: getattr(options, name) for name in names})

        def repair(scan: Raster, context: JobContext) -> RepairResult:
            given = task_input(task, scan, card, settings, options.device)
            patch = run_task(given, context)
            if not patch.pieces:
                return RepairResult(scan, notices=(str(left_alone(task)),))
            return RepairResult(scan.with_pixels(patch.apply_to(scan.pixels)), [patch.repair(given)])

        write_repaired(options, context, task, repair)

    return run


_clean, _tone = _picture_command("clean", "strength", "noise_level"), _picture_command("tone", "strength")


# -- detect -------------------------------------------------------------------------------------------------------


def _detect_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="MASK.png", help="the repair mask; white = damaged"
    )
    parser.add_argument("--json", type=Path, metavar="FILE.json", help="also write the list of defects")
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="probability that damage must reach (default: that of the model, else 0.5)",
    )
    parser.add_argument("--grow", type=float, metavar="PX", help="enlarge the mask (default 2)")
    parser.add_argument("--smallest", type=float, metavar="PX", help="ignore smaller damage (default 4)")
    parser.add_argument("--largest", type=float, metavar="PX", help="ignore larger damage (default: no limit)")
    parser.add_argument("--longest", type=float, metavar="X", help="ignore damage longer than X times its width")
    parser.add_argument(
        "--widest", type=float, metavar="PERCENT", help="leave out damage wider than PERCENT of the short side"
    )


def _detect(options: argparse.Namespace, context: JobContext) -> None:
    from engine.tasks import run_task, scales_in_words

    imageio.check_target(options.output, [options.input], (".png",))
    if options.json:
        _check_second(options.json, [options.input], options.output, ".json")
    card, settings = choose_model(
        "detect",
        options.model,
        threshold=options.threshold,
        grow=options.grow,
        smallest=options.smallest,
        largest=options.largest,
        elongation=options.longest,
        widest=options.widest,
    )
    scan = imageio.read(options.input, context.part(0.0, 0.2))
    given = task_input("detect", scan, card, settings, options.device)
    findings: Findings = run_task(given, context.part(0.2, 0.9))
    marks = findings.marks(settings, context.part(0.9, 0.95), leave_unsure=options.widest is not None)
    kinds = Counter(defect.kind for defect in marks.defects)
    imageio.write_mask(marks.mask(), options.output)
    if options.json:
        imageio.atomic_write_bytes(options.json, _defects_json(options.input, given, marks).encode())
    found = ", ".join(f"{kind} {number}" for kind, number in kinds.most_common()) or "no damage found"
    scales = scales_in_words(marks.scales)
    print(f"{found} (looked {scales})" if scales else found)
    say(scan.notices)


def _defects_json(path: Path, given: TaskInput, marks: Marks) -> str:
    """The defects as JSON text; boxes are left, top, right, bottom."""
    height, width = marks.shape
    repair = dataclasses.asdict(marks.repair(given))
    del repair["boxes"]
    defects = [
        {
            "kind": defect.kind,
            "score": round(defect.score, 4),
            "box": dataclasses.astuple(defect.box),
            "area": defect.area,
            "elongation": round(defect.elongation, 2),
            "width": round(defect.width, 1),
            "outline": defect.outline,
        }
        for defect in marks.defects
    ]
    return json.dumps({"file": path.name, "size": [width, height], **repair, "defects": defects}, indent=1) + "\n"


# -- faces --------------------------------------------------------------------------------------------------------


def _faces_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.add_argument("--threshold", type=float, metavar="T", help="score that a face must reach (default 0.9)")


def _faces(options: argparse.Namespace, context: JobContext) -> None:
    from engine.tasks import run_task

    card, settings = choose_model("faces", options.model, threshold=options.threshold)
    scan = imageio.read(options.input, context.part(0.0, 0.5))
    found: Faces = run_task(task_input("faces", scan, card, settings, options.device), context.part(0.5, 1.0))
    rows = [
        {name: round(value, 3 if name == "score" else 1) for name, value in dataclasses.asdict(face).items()}
        for face in found.faces
    ]
    if options.json:
        print(json.dumps({"faces": rows}, indent=1))
    else:
        for row in rows:
            print("{width:.0f} x {height:.0f} px at {x:.0f}, {y:.0f} ({score:.2f})".format(**row))
        if not rows:
            print("no face found")
    say(scan.notices)


COMMANDS = (
    Command("detect", "find the damage of a scan and write it as a mask", _detect_arguments, _detect),
    Command("heal", "fill the masked parts of a scan", _heal_arguments, _heal),
    Command("clean", "remove noise, grain and blur from a scan", _clean_arguments, _clean),
    Command("tone", "correct the tone and colours of a faded scan", _tone_arguments, _tone),
    Command(
        "faces",
        "list the faces of a scan with their places, in pixels of the upright picture",
        _faces_arguments,
        _faces,
    ),
)
