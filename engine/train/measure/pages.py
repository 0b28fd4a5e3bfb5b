"""Pages of pictures: the results of all models side by side, and photographs restored by a recipe."""

from __future__ import annotations

import base64
import html
import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from engine.errors import SettingsError
from engine.imageio import atomic_write_bytes
from engine.raster import ArrayMask, ArraySource, Mask, Rect
from engine.recipes import FoundDamage, RestoreResult, read_recipe, run_recipe
from engine.runtime.cards import ModelCard, Registry
from engine.runtime.session import Device
from engine.tasks import Findings, TaskInput, make_settings, run_task
from engine.train.damage import ageing
from engine.train.damage.shapes import draw_mask
from engine.train.data.photographs import palette_png
from engine.train.measure.evaluate import HEADLINES, model_as_peer
from engine.train.measure.faces import FRAME, faces_in
from engine.train.measure.film import composite_film
from engine.train.measure.metrics import Picture, count_objects, near
from engine.train.measure.peers import PEERS
from engine.train.measure.protocols import Case, degraded_case, drawn_damage_case

SHOWN = {"coffee": "coffee cup", "chelsea": "cat", "astronaut": "astronaut", "camera": "camera"}
"""Pictures of scikit-image that are shown by default -> their names on the page; their licences allow it."""

CREDITS = (
    "Pictures from scikit-image: coffee cup by Rachel Michetti (CC0), cat by Stefan van der Walt (CC0), astronaut by "
    "NASA (public domain), camera by Lav Varshney (CC0). The damage was added by Lacuna."
)

SIDE = 256
"""Side of the squares that are damaged and restored, pixels."""

MOST_HTML, MOST_PNG = 4_000_000, 2_500_000
"""Largest size of the files that are written, bytes."""

_TITLES = {
    "heal": "Heal: white is lost",
    "clean": "Clean: noise, blur and JPEG",
    "tone": "Tone: faded and yellowed",
    "detect": "Detect: red is what was found",
}


@dataclass(frozen=True)
class Section:
    """A section of a page: a row of cells for each picture, each cell (SIDE, SIDE, 3) uint8."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Picture, ...], ...]


def default_pictures() -> list[tuple[str, Picture]]:
    """Names and pixels of the pictures from scikit-image; ``CREDITS`` names their authors."""
    from skimage import data

    pictures = [(name, np.asarray(getattr(data, key)(), np.uint8)) for key, name in SHOWN.items()]
    return [(name, p if p.ndim == 3 else np.repeat(p[..., None], 3, axis=2)) for name, p in pictures]


def picture_page(
    cards: Sequence[ModelCard],
    pictures: Sequence[tuple[str, Picture]],
    output: Path,
    *,
    credit: str = "",
    device: Device = Device.AUTO,
) -> tuple[Path, Path]:
    """Write ``systems.html`` and ``systems.png`` with a row for each picture and a column for each model.

    Args:
        cards: the models; each is shown in the section of its task.
        pictures: name and uint8 (H, W, 3) sRGB of each row; the middle square is resized, damaged (always in the same
            way) and restored.
        output: folder to write into; created if it is missing.
        credit: text at the foot of the page.
        device: where the models run.

    Raises:
        SettingsError: there is no picture or no model, or there are too many for a page.
        EngineError: a model cannot be run.
        WriteError: a file cannot be written.
    """
    if not cards or not pictures:
        raise SettingsError("A page of pictures needs at least one model and one picture.", "train.report")
    squares = [_middle_square(picture) for _, picture in pictures]
    tasks = [task for task in _TITLES if any(card.task == task for card in cards)]
    sections = [_section(task, [card for card in cards if card.task == task], squares, device) for task in tasks]
    page = Page("The systems side by side", tuple(sections), tuple(name for name, _ in pictures), credit)
    return page.write(output, "systems")


@dataclass(frozen=True)
class Print:
    """An old print for the page of samples.

    Attributes:
        name: of its row.
        picture: uint8 (H, W, 3) sRGB.
        damage: (H, W), above 0 = damaged; None where it is not known.
    """

    name: str
    picture: Picture
    damage: Mask | None = None


def sample_page(
    prints: Sequence[Print], output: Path, *, credit: str = "", device: Device = Device.AUTO
) -> tuple[Path, Path]:
    """Write ``samples.html`` and ``samples.png``: prints searched and restored by the standard recipe, at 100 %.

    All that was found is healed, as after a review in which all of it is accepted.

    Args:
        prints: one for each row; the square with the most damage is shown, with a face if there is one. Where the
            damage is known, the page says how much of it was found at the default threshold, missed, and wrongly
            flagged in the whole picture.
        output: folder to write into; created if it is missing.
        credit: text at the foot of the page.
        device: where the models run.

    Raises:
        SettingsError: there is no picture, or there are too many for a page.
        EngineError: a model cannot be run.
        WriteError: a file cannot be written.
    """
    if not prints:
        raise SettingsError("A page of pictures needs at least one picture.", "train.report")
    recipe, registry = read_recipe("standard"), Registry()
    detector = registry.default("detect")
    names, rows = [], []
    for one in prints:
        given = ArraySource(one.picture)
        settings = make_settings("detect", detector, {})
        search = TaskInput("detect", given, None, None, settings, detector, device)
        findings: Findings = run_task(search)
        found = findings.marks(replace(settings, grow=0.0)).mask()
        marks = findings.marks(settings)
        accepted = FoundDamage(ArrayMask(marks.mask()) if marks.pieces else None, marks.repair(search))
        done = run_recipe(recipe, given, None, registry, device, found=accepted)
        names.append(one.name + _counts_in_words(one, found))
        rows.append(_restoration_steps(one, faces_in(one.picture, device), found, done))
    section = Section(
        f"Restored by the recipe {recipe.title}, all that was found accepted, at 100 %; boxes: faces",
        _STEPS,
        tuple(rows),
    )
    return Page("Before and after", (section,), tuple(names), credit).write(output, "samples")


_STEPS = ("scan", "green: found, red: missed, orange: wrong", "healed", "restored")
_FOUND, _MISSED, _WRONG = (60, 220, 60), (255, 0, 0), (255, 160, 0)


def _counts_in_words(one: Print, found: Mask) -> str:
    if one.damage is None:
        return ""
    hits, missed, wrong = count_objects(found, one.damage)
    return f"\n{hits} found\n{missed} missed\n{wrong} wrong"


def _restoration_steps(one: Print, faces: list[Rect], found: Mask, done: RestoreResult) -> tuple[Picture, ...]:
    """The same square of a print after each of ``_STEPS``; the marked one has boxes around the faces, too."""
    healed = one.picture
    for repair, patch in done.patches:
        healed = np.asarray(patch.apply_to(healed), np.uint8) if repair.task == "heal" else healed
    damage = found if one.damage is None else one.damage
    marked = one.picture.copy()
    for face in faces:
        cv2.rectangle(marked, (face.left, face.top), (face.right, face.bottom), FRAME, 1)
    near_damage, near_found = near(damage > 0, 2), near(found > 0, 2)
    for colour, where in (
        (_FOUND, (found > 0) & near_damage),
        (_MISSED, (damage > 0) & ~near_found),
        (_WRONG, (found > 0) & ~near_damage),
    ):
        marked = _overlay(marked, where, colour)
    stages = (one.picture, marked, healed, np.asarray(done.pixels(), np.uint8))
    square = _most_masked_square(damage, faces[0] if faces else None)
    return tuple(_pad_to_square(stage[square.slices()]) for stage in stages)


def _most_masked_square(mask: np.ndarray, face: Rect | None) -> Rect:
    """The square of SIDE px in which most is masked, of those that show a face in full if there are any.

    It is smaller where the picture is smaller.
    """
    whole = Rect.of_shape(mask.shape)
    sums = cv2.boxFilter((mask > 0).astype(np.float32), -1, (SIDE, SIDE), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    inside = sums[: max(1, whole.height - SIDE + 1), : max(1, whole.width - SIDE + 1)]
    if face is not None and (showing := inside[_starts(face.top, face.bottom), _starts(face.left, face.right)]).size:
        # The least sum is 0.
        showing += 1 + inside.max()
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return Rect(int(left), int(top), int(left) + SIDE, int(top) + SIDE) & whole


def _starts(low: int, high: int) -> slice:
    """Where a square can begin to hold all from ``low`` to ``high``."""
    return slice(max(0, high - SIDE), max(0, low + 1))


def _pad_to_square(part: Picture) -> Picture:
    """Pad a picture that is smaller than a square with grey."""
    cell = np.full((SIDE, SIDE, 3), 46, np.uint8)
    cell[: part.shape[0], : part.shape[1]] = part
    return cell


def old_prints(textures: Mapping[str, list[Mask]], frames: list[Mask]) -> list[Print]:
    """The pictures of ``default_pictures`` as old prints: faded, yellowed, grainy and damaged, always alike.

    Args:
        textures: scanned damage by class, which is composited as in the film protocol; empty = drawn damage instead.
        frames: label maps of film frames, for the same.
    """
    aged = []
    for number, (name, picture) in enumerate(default_pictures()):
        old = degraded_case(picture, number, _age_as_print).given
        if textures:
            damaged, classes = composite_film(textures, frames, old, np.random.default_rng(number))
            aged.append(Print(name, np.asarray(np.clip(np.rint(damaged), 0, 255), np.uint8), classes))
        else:
            case = drawn_damage_case(("dust", "scratch", "hair"), old, number)
            aged.append(Print(name, case.given, case.mask))
    return aged


def _age_as_print(photo: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    grainy = ageing.film_grain(photo, torch.tensor([0.04]), torch.tensor([0.7]), ageing.normal(photo, random, 1))
    return _fade_and_yellow(grainy, random)


@dataclass(frozen=True)
class Page:
    """A page of sections, all of which have the same rows."""

    title: str
    sections: tuple[Section, ...]
    names: tuple[str, ...]
    credit: str

    def write(self, output: Path, name: str) -> tuple[Path, Path]:
        """Write ``name.html`` and ``name.png`` into a folder, which is created if it is missing."""
        output.mkdir(parents=True, exist_ok=True)
        page, sheet = output / f"{name}.html", output / f"{name}.png"
        atomic_write_bytes(page, _largest_that_fits(lambda side: _html(self, side), MOST_HTML))
        atomic_write_bytes(sheet, _largest_that_fits(lambda side: palette_png(_sheet(self, side)), MOST_PNG))
        return page, sheet


def _middle_square(picture: Picture) -> Picture:
    """The middle square of a picture, resized to SIDE px."""
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    middle = np.ascontiguousarray(picture[top : top + side, left : left + side])
    filter_ = cv2.INTER_AREA if side >= SIDE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(middle, (SIDE, SIDE), interpolation=filter_), np.uint8)


def _section(task: str, cards: list[ModelCard], squares: list[Picture], device: Device) -> Section:
    peer = HEADLINES[task].peer
    methods = {peer.replace("_", " "): PEERS[task][peer]} | {card.id: model_as_peer(card, device) for card in cards}
    rows = []
    for number, square in enumerate(squares):
        case = _example_case(task, square, number)
        results = [method(case.given.copy(), case.mask) for method in methods.values()]
        shown = [_overlay(case.given, result, _MISSED) if task == "detect" else result for result in results]
        rows.append((case.original, case.given, *shown))
    return Section(_TITLES[task], ("original", "damaged", *methods), tuple(rows))


def _example_case(task: str, picture: Picture, number: int) -> Case:
    """The damaged square with which the models of a task are shown."""
    if task == "heal":
        random = np.random.default_rng(number)
        shares = {"scratch": 0.02, "dust": 0.005, "crease": 0.02, "stroke": 0.05}
        masks = [draw_mask(kind, picture.shape[:2], share, random) for kind, share in shares.items()]
        mask = np.maximum.reduce(masks)
        return Case(np.where(mask[..., None] > 0, np.uint8(255), picture), picture, mask)
    if task == "detect":
        return drawn_damage_case(("dust", "hair", "scratch", "stain"), picture, number)
    return degraded_case(picture, number, _blur_and_add_noise if task == "clean" else _fade_and_yellow)


def _blur_and_add_noise(photo: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    blurred = ageing.defocus_blur(photo, torch.tensor([1.2]))
    noisy = ageing.gaussian_noise(blurred, torch.tensor([0.06]), ageing.normal(photo, random, 3))
    return ageing.jpeg(noisy, torch.tensor([40.0]))


def _fade_and_yellow(photo: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    faded = ageing.fading(photo, ageing.uniform(photo, random, 0.25, 0.5, 3), torch.tensor([[0.98, 0.95, 0.88]]))
    return ageing.yellowing(faded, torch.tensor([0.6]), torch.tensor([[0.93, 0.8, 0.5]]))


def _overlay(picture: Picture, mask: np.ndarray, colour: tuple[int, int, int]) -> Picture:
    tinted = (0.3 * picture + 0.7 * np.array(colour)).astype(np.uint8)
    return np.where(mask[..., None] > 0, tinted, picture)


def _largest_that_fits(make: Callable[[int], bytes], most: int) -> bytes:
    """The bytes of a page with the largest cells for which it is not larger than ``most`` bytes."""
    for side in (SIDE, 224, 192, 160, 144, 128, 112, 96, 80, 64, 48, 32):
        made = make(side)
        if len(made) <= most:
            return made
    raise SettingsError("So many pictures and systems do not fit onto one page; take fewer.", "train.report")


def _resize_cell(cell: Picture, side: int) -> Picture:
    return cell if side == SIDE else np.asarray(cv2.resize(cell, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


_STYLE = """\
body { background: #2e2e2e; color: #d0d0d0; font: 14px system-ui, sans-serif; margin: 24px }
h1, h2 { font-weight: 500 } td, th { padding: 3px; text-align: center; font-weight: 400 }
th[scope=row] { text-align: right } img { display: block } .wide { overflow-x: auto }
"""


def _html(page: Page, side: int) -> bytes:
    title, names = html.escape(page.title), page.names
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>",
    ]
    for section in page.sections:
        heads = "".join(f"<th scope=col>{html.escape(name)}</th>" for name in section.columns)
        parts.append(f"<h2>{html.escape(section.title)}</h2><div class=wide><table><tr><td></td>{heads}</tr>")
        for name, row in zip(names, section.rows, strict=True):
            cells = "".join(
                f"<td>{_img(cell, f'{name}, {column}', side)}</td>"
                for cell, column in zip(row, section.columns, strict=True)
            )
            head = html.escape(name).replace("\n", "<br>")
            parts.append(f"<tr><th scope=row>{head}</th>{cells}</tr>")
        parts.append("</table></div>")
    parts.append(f"<p>{html.escape(page.credit)}</p></html>\n")
    return "\n".join(parts).encode()


def _img(cell: Picture, alternative: str, side: int) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(_resize_cell(cell, side)).save(buffer, "JPEG", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f"<img alt='{html.escape(alternative)}' width={side} height={side} src='data:image/jpeg;base64,{data}'>"


def _sheet(page: Page, side: int) -> Picture:
    """All sections as one picture, with names."""
    from PIL import Image, ImageDraw, ImageFont

    sections, names = page.sections, page.names
    font, large = ImageFont.load_default(13), ImageFont.load_default(18)
    gap, head, left = 4, 52, 24 + max(int(font.getlength(line)) for name in names for line in name.split("\n"))
    width = left + max(len(section.columns) for section in sections) * (side + gap) + gap
    credit = textwrap.fill(page.credit, max(20, (width - 20) // 8))
    height = sum(head + len(names) * (side + gap) for section in sections) + 30 + 18 * credit.count("\n")
    sheet = Image.new("RGB", (width, height), (46, 46, 46))
    draw = ImageDraw.Draw(sheet)
    top = 0
    for section in sections:
        draw.text((left, top + 8), section.title, (224, 224, 224), large)
        for column, name in enumerate(section.columns):
            draw.text((left + column * (side + gap), top + head - 4), name, (208, 208, 208), font, anchor="ls")
        top += head
        for name, row in zip(names, section.rows, strict=True):
            draw.text((left - 10, top + side // 2), name, (208, 208, 208), font, anchor="rm", align="right")
            for column, cell in enumerate(row):
                sheet.paste(Image.fromarray(_resize_cell(cell, side)), (left + column * (side + gap), top))
            top += side + gap
    draw.multiline_text((10, top + 6), credit, (160, 160, 160), font)
    return np.asarray(sheet)
