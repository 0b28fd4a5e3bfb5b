"""The report: a table of all models and their classical peers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import ReadError, SettingsError
from engine.imageio import atomic_write_bytes
from engine.runtime.cards import ModelCard, Registry
from engine.train.measure.evaluate import Metrics, Table, kind_of
from engine.train.measure.peers import PEERS

# -- the table ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """A score in the table; ``best`` picks the value that is printed bold, None = no value is."""

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
        *(
            Column(f"{protocol}, ΔE", protocol, "delta_e", 2, min)
            for protocol in ("channels", "dyes", "crossover", "uneven", "fading")
        ),
        Column("fading, structure", "fading", "structure", 3),
    ),
    "detect": (
        Column("film, precision", "film", "precision", 3),
        Column("film, recall", "film", "recall", 3),
        Column("film, F1", "film", "f1", 3),
        Column("film, thin found", "film", "thin", 3),
        Column("film, flagged undamaged", "film", "flagged", 4, min),
        Column("mixed, F1", "mixed", "f1", 3),
    ),
    "faces": (
        Column("faces, recall", "faces", "recall", 3),
        Column("wrong in a picture without", "faces", "wrong", 3, min),
        Column("extra in a picture with", "faces", "extra", 3, min),
        Column("seconds a scan", "faces", "scan_seconds", 3, min),
    ),
    "upscale2": (Column("x2, luma dB", "reduced", "psnr"), Column("x2, SSIM", "reduced", "ssim", 4)),
    "upscale4": (Column("x4, luma dB", "reduced", "psnr"), Column("x4, SSIM", "reduced", "ssim", 4)),
}
"""Kind of model -> its scores in the table; six at most, so that all kinds fit into one table."""

MEASURED = """\
Each model's exported file was run through the task that the window and the command line use, with default settings
(heal without texture), on the middle 384 px of photographs that were never trained on (a tenth, by hash of the file
name). Damage and classical methods (*in italics*) are the same for all models of a task. Bold = best of its task.
– = not measured.

* **heal**: PSNR and SSIM inside the hole: scratches of 1-6 px over 4 % of the picture, strokes of 12-36 px over 17 %,
  one square hole of a quarter of the side. *Detail* is the energy of the Laplacian in the hole over that of the
  original (1 = the same, less = blurred).
* **clean**: PSNR of the whole picture: white noise of sigma 25, defocus of 2.5 px, JPEG of quality 15, half the
  resolution, film grain, small flat boxes.
* **upscale**: PSNR of the luma and SSIM of photographs that were halved, and then reduced two or four times.
* **tone**: mean CIEDE2000 (less is better) against the photograph before it aged: lift, gain and gamma drawn for each
  channel and less colour (*channels*); two families that no training contains, dyes that absorb in all channels and
  tints of shadows and highlights in opposite colours (*crossover*); prints that faded unevenly; dyes faded as in an
  old training (*fading*). *structure* is the SSIM of the luma before and after the correction once tones are matched
  by rank (1 = nothing moved).
* **detect**: *film* is held-out scanned damage composited otherwise than in training, scored by pixels with 2 px
  tolerance over all pictures together; *thin found* is the share of hairs and scratches of which half is found,
  *flagged* the share of the undamaged pictures that was taken for damage. *mixed* is drawn damage of three kinds, as
  in training.
* **faces**: against the boxes of CenterFace at 960 px: share of the faces of 20 px and more that is found (boxes that
  share 0.4 of their common area), boxes in a picture without a face, boxes that CenterFace lacks in one with faces.

*s/Mpx* is the mean time for a megapixel of these small pictures on the machine that scored; minutes are of training.
"""

_DETAILS = ("parameters", "MB", "minutes", "s/Mpx", "photographs")


def write_report(models: Path, output: Path) -> Path:
    """Write ``systems.md``, a table of all models and their classical peers, from cards and ``scores.json``.

    Args:
        models: folder of model folders.
        output: folder to write into; created if it is missing.

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
        raise SettingsError("{models} holds no model to report on.", "train.report", models=models)
    width = max(len(columns) for columns in COLUMNS.values())
    lines = [_table_row(["system", *[""] * width, *_DETAILS]), _table_row(["---", *["---:"] * (width + len(_DETAILS))])]
    for task in COLUMNS:
        of_kind = [card for card in cards if kind_of(card) == task]
        if of_kind:
            lines += _rows_of_kind(task, of_kind)
    text = "\n".join(["# The systems side by side", "", *lines, "", "## How it was measured", "", MEASURED])
    output.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(output / "systems.md", text.encode())
    return output / "systems.md"


def _rows_of_kind(task: str, cards: list[ModelCard]) -> list[str]:
    """A row of column names, and a row for each model and each peer of a kind."""
    columns = COLUMNS[task]
    tables = {card.id: _read_scores(card) for card in cards}
    rows = {card.id: {p: methods["model"] for p, methods in tables[card.id].items()} for card in cards}
    details = {card.id: _details(card) for card in cards}
    # The peers are the same for all models of a kind; the scores from the largest number of photographs are taken.
    largest = max(
        tables.values(),
        key=lambda table: max((_photographs(methods["model"]) for methods in table.values()), default=0),
    )
    for name in PEERS[task]:
        key = f"*{name.replace('_', ' ')}*"
        rows[key] = {protocol: methods[name] for protocol, methods in largest.items() if name in methods}
        details[key] = ["–", "–", "–"]
    cells = {name: [row.get(c.protocol, {}).get(c.metric) for c in columns] for name, row in rows.items()}
    best = [
        column.best([v for v in values if v is not None])
        if column.best and any(v is not None for v in values)
        else None
        for column, values in zip(columns, zip(*cells.values(), strict=True), strict=True)
    ]
    lines = [_table_row([f"**{task}**", *(f"**{column.title}**" for column in columns), *[""] * len(_DETAILS)])]
    for name, values in cells.items():
        scores = [_number(v, c.digits, v == b) for v, c, b in zip(values, columns, best, strict=True)]
        lines.append(_table_row([name, *scores, *details[name], *_run_details(list(rows[name].values()))]))
    return lines


def _read_scores(card: ModelCard) -> Table:
    path = card.folder / "scores.json"
    if not path.exists():
        return {}
    try:
        table: Table = json.loads(path.read_text(encoding="utf-8"))
        return {protocol: rows for protocol, rows in table.items() if "model" in rows}
    except (OSError, ValueError, TypeError) as error:
        raise ReadError(
            "The scores {path} cannot be read: {reason}.", "train.scores", path=path, reason=error
        ) from error


def _details(card: ModelCard) -> list[str]:
    size = sum(card.path(stage).stat().st_size for stage in card.stages if card.path(stage).exists())
    training = card.training
    return [f"{training.parameters / 1e6:.2f} M", f"{size / 1e6:.2f}", f"{training.minutes:.0f}"]


def _run_details(rows: list[Metrics]) -> list[str]:
    if not rows:
        return ["–", "–"]
    photographs = max(_photographs(row) for row in rows)
    return [
        f"{np.mean([row['seconds'] for row in rows if 'seconds' in row]):.2f}",
        str(photographs) if photographs else "–",
    ]


def _photographs(row: Metrics) -> int:
    """Number of photographs that a row was measured on; 0 = unknown, in old scores."""
    return int(row.get("pictures", 0))


def _number(value: float | None, digits: int, bold: bool) -> str:  # noqa: FBT001 - always called with a computed value
    if value is None:
        return "–"
    return f"**{value:.{digits}f}**" if bold else f"{value:.{digits}f}"


def _table_row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
