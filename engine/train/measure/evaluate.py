"""Scores on the validation tenth, through ``engine.tasks`` with the exported file, beside the classical peers."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.errors import ReadError, SettingsError
from engine.imageio import atomic_write_bytes
from engine.raster import ArrayMask, ArraySource, Mask
from engine.runtime.cards import ModelCard, write_card
from engine.runtime.session import Device
from engine.tasks import TASKS, Job, make_settings, run_job
from engine.train.data.archives import mask_reader
from engine.train.data.batches import photograph_paths, read_photograph
from engine.train.measure import metrics
from engine.train.measure.peers import PEERS, Peer
from engine.train.measure.protocols import PROTOCOLS, Case, beside, middle

if TYPE_CHECKING:
    from engine.train.data.batches import LostIn

Metrics = dict[str, float]
Table = dict[str, dict[str, Metrics]]
"""Protocol -> filler (``model`` or a peer) -> metric -> mean over the photographs."""


@dataclass(frozen=True)
class Headline:
    """Which few scores of a task go into the card.

    Attributes:
        metric: by which models of the task are compared.
        name: how the card calls it, after the name of the protocol.
        peer: the classical way that is named beside it.
        protocols: where it is taken.
    """

    metric: str
    name: str
    peer: str
    protocols: tuple[str, ...]


HEADLINES = {
    "heal": Headline("psnr", "hole_psnr", "navier_stokes", ("scratches", "strokes", "boxes")),
    "clean": Headline("psnr", "psnr", "non_local_means", ("noise", "blur", "jpeg")),
    "tone": Headline("delta_e", "delta_e", "auto_levels", ("fading", "yellowing")),
    "upscale2": Headline("psnr", "luma_psnr", "bicubic", ("reduced",)),
    "upscale4": Headline("psnr", "luma_psnr", "bicubic", ("reduced",)),
    "detect": Headline("f1", "f1", "top_hat", ("mixed",)),
}


FAITHFUL = {"heal": {"texture": 0.0}}
"""Settings with which a task is scored, where it starts with others: grain that is put in cannot be where it was."""


def model_filler(card: ModelCard, device: Device, values: Mapping[str, float] | None = None) -> Peer:
    """Run a model through its task, as the window and the command line do.

    Args:
        card: the model.
        device: where it runs.
        values: settings by name; the others are those it starts with there.
    """
    task = TASKS[card.task]
    settings = make_settings(card.task, card, values or {})

    def fill(picture: metrics.Picture, mask: Mask | None) -> NDArray[np.uint8]:
        wanted = ArrayMask(mask) if task.wants_mask and mask is not None else None
        result = run_job(Job(card.task, ArraySource(picture), None, wanted, settings, card, device))
        if task.gives == "findings":
            return np.asarray(result.marks(settings).mask())
        return np.asarray(result.pixels if task.gives == "picture" else result.apply_to(picture), np.uint8)

    return fill


def evaluate(card: ModelCard, folder: Path, *, device: Device = Device.AUTO, most: int | None = None) -> Table:
    """Score one model and the classical peers of its task; see ``evaluate_all``."""
    return evaluate_all([card], folder, device=device, most=most)[0]


def evaluate_all(
    cards: Sequence[ModelCard],
    folder: Path,
    *,
    masks: Path | None = None,
    device: Device = Device.AUTO,
    most: int | None = None,
) -> list[Table]:
    """Score models on the same pictures; the peers of a task run once, whatever number of models it has.

    Args:
        cards: the exported models, of one task or several.
        folder: photographs; only the middles of the validation tenth are used, files that cannot be read are not.
        masks: for an archive of damaged scans, a folder of masks of what they have lost (``archive.mask_reader``): that
            is filled along with the holes of a protocol, and does not count.
        device: where the models run.
        most: use only so many photographs.

    Returns:
        A table a model, in their order. Each row holds the task's metrics (``score``), ``seconds`` per megapixel, and
        ``pictures``, the number of photographs.

    Raises:
        SettingsError: there is no readable photograph for validation, the masks do not fit, or are given for models
            that do not heal.
        EngineError: a model cannot be run.
    """
    if masks is not None and any(card.task != "heal" for card in cards):
        raise SettingsError("Masks of what scans have lost can be used for scoring models of heal only.", "train.masks")
    pictures = readable(photograph_paths(folder, validation=True)[:most], mask_reader(masks, folder) if masks else None)
    tables: list[Table] = [{} for _ in cards]
    for kind in dict.fromkeys(kind_of(card) for card in cards):
        # By place: two models that are compared may have one name.
        fitting = [(str(i), card) for i, card in enumerate(cards) if kind_of(card) == kind]
        models = {place: model_filler(card, device, FAITHFUL.get(kind)) for place, card in fitting}
        peers = PEERS[kind]
        for protocol in PROTOCOLS[kind]:
            rows = _run_protocol(kind, protocol.make, pictures, models | peers)
            for place in models if rows else ():
                row = {"model": rows[place]} | {name: dict(rows[name]) for name in peers}
                tables[int(place)][protocol.name] = row
    return tables


def kind_of(card: ModelCard) -> str:
    """The row of ``PROTOCOLS`` by which a model is scored: its task, and how many times it enlarges."""
    return card.task if card.tile.scale == 1 else f"{card.task}{card.tile.scale}"


def readable(paths: list[Path], lost_in: LostIn | None = None) -> list[tuple[metrics.Picture, Mask | None]]:
    """The middles of those photographs that can be read, and of what each has lost.

    Raises:
        SettingsError: none can be.
    """
    pictures = []
    for path in paths:
        try:
            picture = read_photograph(path)
        except ReadError:
            continue
        lost = None if lost_in is None else middle(lost_in(path, picture))
        pictures.append((middle(picture), lost))
    if not pictures:
        raise SettingsError(f"None of the {len(paths)} photographs for validation can be read.", "train.data")
    return pictures


def _run_protocol(
    kind: str,
    make: Callable[[metrics.Picture, int], Case],
    pictures: list[tuple[metrics.Picture, Mask | None]],
    fillers: dict[str, Peer],
) -> dict[str, Metrics]:
    """Filler -> means of its metrics over the pictures."""
    collected: dict[str, list[Metrics]] = {name: [] for name in fillers}
    for index, (picture, lost) in enumerate(pictures):
        case = make(picture, index) if lost is None else beside(make(picture, index), lost)
        if case.judged is not None and not case.judged.any():
            continue
        megapixels = case.given.shape[0] * case.given.shape[1] / 1e6
        for name, fill in fillers.items():
            # A peer may work in place, and the mask of a detection is not for its eyes.
            given = case.given.copy()
            mask = case.mask.copy() if case.mask is not None and kind == "heal" else None
            start = time.perf_counter()
            result = fill(given, mask)
            seconds = (time.perf_counter() - start) / megapixels
            collected[name].append(score(kind, case, result) | {"seconds": seconds})
    return {
        name: {metric: float(np.mean([row[metric] for row in rows])) for metric in rows[0]}
        | {"pictures": float(len(rows))}
        for name, rows in collected.items()
        if rows
    }


def score(kind: str, case: Case, result: NDArray[np.uint8]) -> Metrics:
    """The metrics of one result.

    Args:
        kind: a row of ``PROTOCOLS``.
        case: what was given and what would be right.
        result: picture (H, W, 3), of a detection mask (H, W).

    Returns:
        heal: psnr and ssim inside the hole, whole_psnr, whole_ssim, ms_ssim, high_frequency; clean: psnr, ssim,
        ms_ssim; upscale: psnr of the luma, ssim; tone: delta_e, psnr, structure (against what was given); detect:
        precision, recall, f1, and flagged, the share of the picture's pixels that were found.
    """
    return _SCORES[kind](case, result)


def _score_heal(case: Case, result: NDArray[np.uint8]) -> Metrics:
    hole = case.mask if case.judged is None else case.judged
    assert case.mask is not None
    assert hole is not None
    if case.judged is not None:
        # What nobody knows is no error.
        result = np.where(((case.mask > 0) & (hole == 0))[..., None], case.original, result)
    return {
        "psnr": metrics.psnr(result, case.original, hole),
        "ssim": metrics.ssim(result, case.original, hole),
        "whole_psnr": metrics.psnr(result, case.original),
        "whole_ssim": metrics.ssim(result, case.original),
        "ms_ssim": metrics.ms_ssim(result, case.original),
        "high_frequency": metrics.high_frequency_ratio(result, case.original, hole),
    }


def _score_upscale(case: Case, result: NDArray[np.uint8]) -> Metrics:
    return {"psnr": metrics.luma_psnr(result, case.original, 4), "ssim": metrics.ssim(result, case.original)}


def _score_clean(case: Case, result: NDArray[np.uint8]) -> Metrics:
    return {
        "psnr": metrics.psnr(result, case.original),
        "ssim": metrics.ssim(result, case.original),
        "ms_ssim": metrics.ms_ssim(result, case.original),
    }


def _score_tone(case: Case, result: NDArray[np.uint8]) -> Metrics:
    return {
        "delta_e": metrics.delta_e(result, case.original),
        "psnr": metrics.psnr(result, case.original),
        "structure": metrics.structure(case.given, result),
    }


def _score_detect(case: Case, result: NDArray[np.uint8]) -> Metrics:
    assert case.mask is not None
    precision, recall, f1 = metrics.detection(result, case.mask)
    return {"precision": precision, "recall": recall, "f1": f1, "flagged": float(np.mean(result > 0))}


_SCORES: dict[str, Callable[[Case, NDArray[np.uint8]], Metrics]] = {
    "heal": _score_heal,
    "clean": _score_clean,
    "tone": _score_tone,
    "upscale2": _score_upscale,
    "upscale4": _score_upscale,
    "detect": _score_detect,
}


def headline_scores(kind: str, table: Table) -> dict[str, float]:
    """The few scores that a card shows: of the model and of one classical peer."""
    headline = HEADLINES[kind]
    fillers = {"model": headline.name, headline.peer: headline.peer}
    scores = {
        f"{protocol}_{name}": round(table[protocol][filler][headline.metric], 2)
        for filler, name in fillers.items()
        for protocol in headline.protocols
        if protocol in table
    }
    if "undamaged" in table:
        scores["undamaged_flagged"] = round(table["undamaged"]["model"]["flagged"], 4)
    return scores


def write_scores(card: ModelCard, table: Table) -> ModelCard:
    """Put the headline scores of a table into the card and, whole, into ``scores.json`` beside it.

    Raises:
        WriteError: they cannot be written.
    """
    scored = dataclasses.replace(card, scores=headline_scores(kind_of(card), table))
    rounded = {p: {f: {m: round(v, 5) for m, v in r.items()} for f, r in rows.items()} for p, rows in table.items()}
    write_card(scored, card.folder)
    atomic_write_bytes(card.folder / "scores.json", (json.dumps(rounded, indent=1) + "\n").encode())
    return scored
