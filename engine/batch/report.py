"""The report of a batch: JSON, CSV, and a page with pictures before and after."""

from __future__ import annotations

import csv
import html
import io
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine import __version__
from engine.batch.folders import make_folder
from engine.batch.rows import CHIPS, UNDONE, Outcome, Row, State
from engine.batch.table import JobTable
from engine.batch.work import preview_path
from engine.imageio import atomic_write, atomic_write_bytes

_SHOWN = 2000
"""Most scans on the page of those that failed, and of the others; the CSV has all."""


def write_report(table: JobTable, output: Path, folder: Path) -> Path:
    """Write ``report.json``, ``report.csv`` and ``report.html``.

    Args:
        table: the table of the batch.
        output: its output folder.
        folder: to write into; it is made if it does not exist, in a folder that does.

    Returns:
        The path of the JSON file.

    Raises:
        WriteError: a file cannot be written.
    """
    # Not the output folder, whose disk may be gone for a while.
    make_folder(folder, below=folder.parent)
    _write_json(table, folder / "report.json")
    _write_csv(table, folder / "report.csv")
    atomic_write_bytes(folder / "report.html", _page(table, output, folder).encode(errors="replace"))
    return folder / "report.json"


def report_counts(table: JobTable) -> dict[str, int]:
    """Number of files by what became of them; what is being worked on, waits or was cancelled counts as pending."""
    counts = table.counts()
    pending = sum(counts.pop(state) for state in UNDONE)
    return {state.value: count for state, count in counts.items()} | {
        "pending": pending,
        "ignored": sum(table.ignored().values()),
    }


def counts_in_words(counts: dict[str, int]) -> str:
    """What ``report_counts`` counted, as a part of a sentence."""
    return ", ".join(f"{counts[name]} {title}" for name, title in _TITLES.items() if counts[name]) or "no pictures"


def _entry(row: Row) -> dict[str, Any]:
    told = row.outcome or Outcome(State.PENDING)
    state = State.PENDING if row.state in UNDONE else row.state
    ended = row.outcome is not None and row.state not in (State.PENDING, State.RUNNING)
    return {
        "source": row.relative,
        "output": row.output,
        "state": state.value,
        "reason": told.reason if state is State.FAILED else "",
        "seconds": told.seconds if ended else 0.0,
        "device": told.device if ended else "",
        "found": told.found if ended else {},
        "chips": list(told.chips) if ended else [],
        "steps": list(told.steps) if ended else [],
        "left_out": told.left_out if ended else {},
        "notices": [*_renamed(row), *(told.notices if ended else ())],
        "source_sha256": told.source_sha256 if ended else "",
        "output_sha256": told.output_sha256 if ended else "",
    }


def _renamed(row: Row) -> list[str]:
    return ["Its result could not have the name of the template, because that of another scan has it."] * row.renamed


def _write_json(table: JobTable, path: Path) -> None:
    """Written row by row: a table may have hundreds of thousands."""
    plan = table.plan()
    head = {
        "recipe": plan.recipe,
        "version": __version__,
        "counts": report_counts(table),
        "ignored": table.ignored(),
    }
    with atomic_write(path) as file:
        # File names may hold bytes that are not valid UTF-8.
        file.write(json.dumps(head, indent=1)[:-2].encode() + b',\n "files": [')
        for number, row in enumerate(table.rows()):
            file.write((",\n  " if number else "\n  ").encode() + json.dumps(_entry(row)).encode())
        file.write(b"\n ]\n}\n")


def _write_csv(table: JobTable, path: Path) -> None:
    columns = list(_entry(Row(0, Path(), "", Path(), "", "", False, 0, 0, State.PENDING, None)))
    with atomic_write(path) as file:
        text = io.TextIOWrapper(file, "utf-8-sig", errors="backslashreplace", newline="", write_through=True)
        rows = csv.DictWriter(text, columns)
        rows.writeheader()
        for row in table.rows():
            rows.writerow({name: _cell(value) for name, value in _entry(row).items()})
        text.detach()


def _cell(value: object) -> str:
    """A value as one cell; one that begins like a formula is kept from being one in a spreadsheet."""
    if isinstance(value, dict):
        value = "; ".join(f"{name}: {one}" for name, one in value.items())
    elif isinstance(value, list):
        value = "; ".join(str(one) for one in value)
    text = str(value)
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


_STYLE = """\
body { background: #2e2e2e; color: #d0d0d0; font: 14px system-ui, sans-serif; margin: 24px }
h1 { font-weight: 500 } td, th { padding: 4px 10px; text-align: left; font-weight: 400; vertical-align: top }
th { color: #9a9a9a } tr.failed td { color: #f0a0a0 } a { color: #9cc4e8 }
.pair { position: relative; display: inline-block; width: 256px; overflow: hidden }
.pair img { display: block; width: 512px }
.pair div { position: absolute; inset: 0 auto 0 0; width: 50%; overflow: hidden }
.pair .after img { margin-left: -256px } .pair .after { left: 0; width: 100%; position: relative }
.pair input { position: absolute; inset: auto 0 4px 0; width: 96%; opacity: 0.6 }
"""

_SCRIPT = """\
for (const pair of document.querySelectorAll('.pair'))
  pair.querySelector('input').oninput = event => pair.querySelector('.before').style.width = event.target.value + '%'
"""

_TITLES = {
    "done": "done",
    "up_to_date": "up to date",
    "failed": "failed",
    "pending": "not yet done",
    "ignored": "left out",
}


def _page(table: JobTable, output: Path, folder: Path) -> str:
    said, plan = counts_in_words(report_counts(table)), table.plan()
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Batch: {html.escape(plan.recipe)}</title><style>{_STYLE}</style>",
        f"<h1>{html.escape(said)}</h1>",
        f"<p>Recipe {html.escape(plan.recipe)}, Lacuna {__version__}. All rows: <a href=report.csv>report.csv</a></p>",
        "<table><tr><th>before and after<th>scan<th>result<th>state<th>found<th>steps<th>left out<th>seconds</tr>",
    ]
    parts += _page_rows(table, output, folder)
    return "\n".join([*parts, f"</table><script>{_SCRIPT}</script></html>", ""])


def _page_rows(table: JobTable, output: Path, folder: Path) -> Iterator[str]:
    seen = Counter[bool]()
    for row in table.rows():
        failed = row.state is State.FAILED
        seen[failed] += 1
        if seen[failed] > _SHOWN:
            continue
        entry = _entry(row)
        cells = [
            entry["source"],
            entry["output"],
            _TITLES[entry["state"]],
            *map(_cell, (entry["found"], entry["steps"])),
        ]
        cells += [_cell(list(entry["left_out"].values())), f"{entry['seconds']:.1f}"]
        if row.state is State.FOUND:
            cells[2] = "waits for decisions"
        if entry["chips"]:
            cells[3] += f" ({', '.join(CHIPS[name] for name in entry['chips'])})"
        if entry["reason"]:
            cells[2] = f"{cells[2]}: {entry['reason']}"
        text = "".join(f"<td>{html.escape(cell)}" for cell in cells)
        yield f"<tr class={entry['state']}><td>{_pair(preview_path(output, row.output), folder)}{text}</tr>"
    if left := sum(max(0, count - _SHOWN) for count in seen.values()):
        yield f"<tr><td colspan=8>and {left} more, which report.csv lists</tr>"


def _pair(preview: Path, folder: Path) -> str:
    """The picture before, which a slider draws over the one after; nothing if there is no preview."""
    if not os.path.exists(preview):  # noqa: PTH110 - Path.exists raises where a share is gone
        return ""
    try:
        source = preview.relative_to(folder).as_posix()
    except ValueError:
        source = preview.absolute().as_uri()
    picture = f"<img loading=lazy alt='' src='{html.escape(source, quote=True)}'>"
    slider = "<input type=range value=50 aria-label='before and after'>"
    return f"<div class=pair><div class=after>{picture}</div><div class=before>{picture}</div>{slider}</div>"
