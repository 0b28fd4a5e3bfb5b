"""The table of all systems and the page of pictures that shows them side by side."""

from __future__ import annotations

import base64
import html
import io
import json
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from engine.errors import ReadError, SettingsError
from engine.imageio import atomic_write_bytes
from engine.runtime.cards import ModelCard, Registry
from engine.runtime.session import Device
from engine.train import ageing
from engine.train.evaluate import HEADLINES, Metrics, Table, model_filler
from engine.train.metrics import Picture
from engine.train.peers import PEERS
from engine.train.protocols import Case, marked, spoil
from engine.train.shapes import draw_mask

if TYPE_CHECKING:
    from PIL import Image

# -- the table ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """One score of the table: ``best`` picks the value that is printed bold, None where more is not better."""

    title: str
    protocol: str
    metric: str
    digits: int = 2
    best: Callable[[Sequence[float]], float] | None = max


def _columns(metric: str, unit: str, *protocols: str) -> tuple[Column, ...]:
    return tuple(Column(f"{protocol.replace('_', ' ')}, {unit}", protocol, metric) for protocol in protocols)


COLUMNS: dict[str, tuple[Column, ...]] = {
    "heal": (
        *_columns("psnr", "hole dB", "scratches", "strokes", "boxes"),
        Column("strokes, hole SSIM", "strokes", "ssim", 3),
        Column("strokes, MS-SSIM", "strokes", "ms_ssim", 4),
        Column("strokes, detail", "strokes", "high_frequency", 2, None),
    ),
    "clean": _columns("psnr", "dB", "noise", "blur", "jpeg", "low_resolution", "grain", "occlusion"),
    "tone": (
        Column("fading, ΔE", "fading", "delta_e", 2, min),
        Column("yellowing, ΔE", "yellowing", "delta_e", 2, min),
        *_columns("psnr", "dB", "fading", "yellowing"),
        Column("fading, structure", "fading", "structure", 3),
        Column("yellowing, structure", "yellowing", "structure", 3),
    ),
    "detect": (
        Column("mixed, precision", "mixed", "precision", 3),
        Column("mixed, recall", "mixed", "recall", 3),
        Column("mixed, F1", "mixed", "f1", 3),
        Column("scratch, F1", "scratch", "f1", 3),
        Column("dust, F1", "dust", "f1", 3),
        Column("undamaged, flagged", "undamaged", "flagged", 4, min),
    ),
}
"""Task -> the scores that stand in the table; six each, so that all tasks fit into one."""

MEASURED = """\
Each model's exported file was run through the task that the window and the command line use, with the settings it
starts with there, on the middle 384 px of photographs that were never trained on (a tenth, by hash of the file name).
Damage and classical ways (*slanted*) are the same for all models of a task. Bold = best of its task. – = not measured.

* **heal**: PSNR and SSIM inside the hole: scratches of 1-6 px over 4 % of the picture, strokes of 12-36 px over 17 %,
  one square hole of a quarter of the side. *Detail* is the energy of the Laplacian in the hole over that of the
  original (1 = as lively, less = blurred).
* **clean**: PSNR of the whole picture: white noise of sigma 25, defocus of 2.5 px, JPEG of quality 15, half the
  resolution, film grain, small flat boxes.
* **tone**: mean CIEDE2000 (less is better) and PSNR against the photograph before it aged; *structure* is the SSIM of
  the luma before and after the correction once tones are matched by rank (1 = nothing moved).
* **detect**: pixels of drawn damage, 2 px tolerance; *mixed* is damage of three kinds at once; *flagged* is the share
  of an undamaged photograph that was taken for damage.

*s/Mpx* is the mean time for a megapixel of these small pictures on the machine that scored; minutes are of training.
"""

_DETAILS = ("parameters", "MB", "minutes", "s/Mpx", "photographs")


def write_report(models: Path, output: Path) -> Path:
    """Write ``systems.md``: one table of all systems and their classical peers, from cards and ``scores.json``.

    Args:
        models: folder of model folders.
        output: folder to write into; made if need be.

    Raises:
        SettingsError: there is no model.
        ModelError: a card cannot be read.
        ReadError: a ``scores.json`` is damaged.
        WriteError: the file cannot be written.
    """
    registry = Registry(user_folder=models, shipped=models / "none")
    cards = registry.cards()
    for problem in registry.problems():
        raise problem
    if not cards:
        raise SettingsError(f"{models} holds no model to report on.", "train.report")
    width = max(len(columns) for columns in COLUMNS.values())
    lines = [_line(["system", *[""] * width, *_DETAILS]), _line(["---", *["---:"] * (width + len(_DETAILS))])]
    for task in COLUMNS:
        shelf = [card for card in cards if card.task == task]
        if shelf:
            lines += _task_lines(task, shelf)
    text = "\n".join(["# The systems side by side", "", *lines, "", "## How it was measured", "", MEASURED])
    output.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(output / "systems.md", text.encode())
    return output / "systems.md"


def _task_lines(task: str, cards: list[ModelCard]) -> list[str]:
    """A line of column names, one a model, one a peer."""
    columns = COLUMNS[task]
    tables = {card.id: _read_scores(card) for card in cards}
    rows = {card.id: {p: fillers["model"] for p, fillers in tables[card.id].items()} for card in cards}
    details = {card.id: _details(card) for card in cards}
    # The peers are the same for all models of a task; where runs differ, the largest counts.
    largest = max(tables.values(), key=lambda table: max((_photographs(f["model"]) for f in table.values()), default=0))
    for name in PEERS[task]:
        key = f"*{name.replace('_', ' ')}*"
        rows[key] = {protocol: fillers[name] for protocol, fillers in largest.items() if name in fillers}
        details[key] = ["–", "–", "–"]
    cells = {name: [row.get(c.protocol, {}).get(c.metric) for c in columns] for name, row in rows.items()}
    best = [
        column.best([v for v in values if v is not None])
        if column.best and any(v is not None for v in values)
        else None
        for column, values in zip(columns, zip(*cells.values(), strict=True), strict=True)
    ]
    lines = [_line([f"**{task}**", *(f"**{column.title}**" for column in columns), *[""] * len(_DETAILS)])]
    for name, values in cells.items():
        scores = [_number(v, c.digits, v == b) for v, c, b in zip(values, columns, best, strict=True)]
        lines.append(_line([name, *scores, *details[name], *_run_details(list(rows[name].values()))]))
    return lines


def _read_scores(card: ModelCard) -> Table:
    path = card.folder / "scores.json"
    if not path.exists():
        return {}
    try:
        table: Table = json.loads(path.read_text(encoding="utf-8"))
        return {protocol: rows for protocol, rows in table.items() if "model" in rows}
    except (OSError, ValueError, TypeError) as error:
        raise ReadError(f"The scores {path} cannot be read: {error}.", "train.scores") from error


def _details(card: ModelCard) -> list[str]:
    size = sum(card.path(stage).stat().st_size for stage in card.stages if card.path(stage).exists())
    training = card.training
    return [f"{training.parameters / 1e6:.2f} M", f"{size / 1e6:.2f}", f"{training.minutes:.0f}"]


def _run_details(rows: list[Metrics]) -> list[str]:
    if not rows:
        return ["–", "–"]
    photographs = max(_photographs(row) for row in rows)
    return [f"{np.mean([row['seconds'] for row in rows]):.2f}", str(photographs) if photographs else "–"]


def _photographs(row: Metrics) -> int:
    """How many photographs a row was measured on; 0 where old scores do not say."""
    return int(row.get("pictures", 0))


def _number(value: float | None, digits: int, bold: bool) -> str:  # noqa: FBT001 — a value of the cell
    if value is None:
        return "–"
    return f"**{value:.{digits}f}**" if bold else f"{value:.{digits}f}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


# -- the page of pictures -----------------------------------------------------------------------------------------

SHOWN = {"coffee": "coffee cup", "chelsea": "cat", "rocket": "rocket", "camera": "camera"}
"""Pictures of scikit-image that are shown when none are given -> their names on the page; all are free of rights."""

CREDITS = (
    "Pictures from scikit-image: coffee cup by Rachel Michetti (CC0), cat by Stefan van der Walt (CC0), rocket by "
    "SpaceX (public domain), camera by Lav Varshney (CC0). The damage was added by Lacuna."
)

SIDE = 256
"""Side of the squares in which pictures are damaged and restored, pixels."""

MOST_HTML, MOST_PNG = 2_000_000, 2_500_000
"""Largest files that are written, bytes."""

_TITLES = {
    "heal": "Heal: white is lost",
    "clean": "Clean: noise, blur and JPEG",
    "tone": "Tone: faded and yellowed",
    "detect": "Detect: red is what was found",
}


@dataclass(frozen=True)
class Section:
    """A task on the page: a row of cells for each picture, each cell (SIDE, SIDE, 3) uint8."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Picture, ...], ...]


def default_pictures() -> list[tuple[str, Picture]]:
    """Name and pixels of the pictures that come with scikit-image; ``CREDITS`` says whose they are."""
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
    """Write ``systems.html`` and ``systems.png``: pictures from top to bottom, systems from left to right.

    Args:
        cards: the models; each is shown under its task.
        pictures: name and uint8 (H, W, 3) sRGB of each row; the middle square is reduced, aged the same way every time,
            and restored.
        output: folder to write into; made if need be.
        credit: line at the foot of the page.
        device: where the models run.

    Raises:
        SettingsError: there is no picture or no model, or so many that no page holds them.
        EngineError: a model cannot be run.
        WriteError: a file cannot be written.
    """
    if not cards or not pictures:
        raise SettingsError("A page of pictures wants at least one model and one picture.", "train.report")
    names = [name for name, _ in pictures]
    squares = [_square(picture) for _, picture in pictures]
    tasks = [task for task in _TITLES if any(card.task == task for card in cards)]
    sections = [_section(task, [card for card in cards if card.task == task], squares, device) for task in tasks]
    output.mkdir(parents=True, exist_ok=True)
    page, sheet = output / "systems.html", output / "systems.png"
    atomic_write_bytes(page, _fitting(lambda side: _html(sections, names, credit, side), MOST_HTML))
    atomic_write_bytes(sheet, _fitting(lambda side: _png(_sheet(sections, names, credit, side)), MOST_PNG))
    return page, sheet


def _square(picture: Picture) -> Picture:
    """The middle square, SIDE px."""
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    middle = np.ascontiguousarray(picture[top : top + side, left : left + side])
    way = cv2.INTER_AREA if side >= SIDE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(middle, (SIDE, SIDE), interpolation=way), np.uint8)


def _section(task: str, cards: list[ModelCard], squares: list[Picture], device: Device) -> Section:
    peer = HEADLINES[task].peer
    ways = {peer.replace("_", " "): PEERS[task][peer]} | {card.id: model_filler(card, device) for card in cards}
    rows = []
    for number, square in enumerate(squares):
        case = _aged(task, square, number)
        results = [way(case.given.copy(), case.mask) for way in ways.values()]
        shown = [_in_red(case.given, result) if task == "detect" else result for result in results]
        rows.append((case.original, case.given, *shown))
    return Section(_TITLES[task], ("original", "damaged", *ways), tuple(rows))


def _aged(task: str, picture: Picture, number: int) -> Case:
    """What a system of a task is shown with."""
    if task == "heal":
        random = np.random.default_rng(number)
        shares = {"scratch": 0.02, "dust": 0.005, "crease": 0.02, "stroke": 0.05}
        masks = [draw_mask(kind, picture.shape[:2], share, random) for kind, share in shares.items()]
        mask = np.maximum.reduce(masks)
        return Case(np.where(mask[..., None] > 0, np.uint8(255), picture), picture, mask)
    if task == "detect":
        return marked(("dust", "hair", "scratch", "stain"), picture, number)
    return spoil(picture, number, _spoilt if task == "clean" else _old)


def _spoilt(photo: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    blurred = ageing.defocus_blur(photo, torch.tensor([1.2]))
    noisy = ageing.gaussian_noise(blurred, torch.tensor([0.06]), ageing.normal(photo, random, 3))
    return ageing.jpeg(noisy, torch.tensor([40.0]))


def _old(photo: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    faded = ageing.fading(photo, ageing.uniform(photo, random, 0.25, 0.5, 3), torch.tensor([[0.98, 0.95, 0.88]]))
    return ageing.yellowing(faded, torch.tensor([0.6]), torch.tensor([[0.93, 0.8, 0.5]]))


def _in_red(picture: Picture, mask: np.ndarray) -> Picture:
    red = (0.3 * picture + 0.7 * np.array([255, 0, 0])).astype(np.uint8)
    return np.where(mask[..., None] > 0, red, picture)


def _fitting(make: Callable[[int], bytes], most: int) -> bytes:
    """A page with the largest cells that keep it below a number of bytes."""
    for side in (SIDE, 224, 192, 160, 144, 128, 112, 96, 80, 64, 48, 32):
        made = make(side)
        if len(made) <= most:
            return made
    raise SettingsError("So many pictures and systems do not fit onto one page; take fewer.", "train.report")


def _reduced(cell: Picture, side: int) -> Picture:
    return cell if side == SIDE else np.asarray(cv2.resize(cell, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


_STYLE = """\
body { background: #2e2e2e; color: #d0d0d0; font: 14px system-ui, sans-serif; margin: 24px }
h1, h2 { font-weight: 500 } td, th { padding: 3px; text-align: center; font-weight: 400 }
th[scope=row] { text-align: right } img { display: block } .wide { overflow-x: auto }
"""


def _html(sections: list[Section], names: list[str], credit: str, side: int) -> bytes:
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>The systems side by side</title><style>{_STYLE}</style><h1>The systems side by side</h1>",
    ]
    for section in sections:
        heads = "".join(f"<th scope=col>{html.escape(name)}</th>" for name in section.columns)
        parts.append(f"<h2>{html.escape(section.title)}</h2><div class=wide><table><tr><td></td>{heads}</tr>")
        for name, row in zip(names, section.rows, strict=True):
            cells = "".join(
                f"<td>{_img(cell, f'{name}, {column}', side)}</td>"
                for cell, column in zip(row, section.columns, strict=True)
            )
            parts.append(f"<tr><th scope=row>{html.escape(name)}</th>{cells}</tr>")
        parts.append("</table></div>")
    parts.append(f"<p>{html.escape(credit)}</p></html>\n")
    return "\n".join(parts).encode()


def _img(cell: Picture, alternative: str, side: int) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(_reduced(cell, side)).save(buffer, "JPEG", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f"<img alt='{html.escape(alternative)}' width={side} height={side} src='data:image/jpeg;base64,{data}'>"


def _sheet(sections: list[Section], names: list[str], credit: str, side: int) -> Image.Image:
    """All sections below each other, with names."""
    from PIL import Image, ImageDraw, ImageFont

    font, large = ImageFont.load_default(13), ImageFont.load_default(18)
    gap, head, left = 4, 52, 24 + max(int(font.getlength(name)) for name in names)
    width = left + max(len(section.columns) for section in sections) * (side + gap) + gap
    credit = textwrap.fill(credit, max(20, (width - 20) // 8))
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
            draw.text((left - 10, top + side // 2), name, (208, 208, 208), font, anchor="rm")
            for column, cell in enumerate(row):
                sheet.paste(Image.fromarray(_reduced(cell, side)), (left + column * (side + gap), top))
            top += side + gap
    draw.multiline_text((10, top + 6), credit, (160, 160, 160), font)
    return sheet


def _png(sheet: Image.Image) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    # 256 colours: a third of the size, so the cells can be larger.
    palette = sheet.quantize(256, Image.Quantize.MEDIANCUT)
    sheet.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
