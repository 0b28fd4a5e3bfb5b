"""Scores of exported models, run through ``engine.tasks`` on the validation tenth, and of the classical peers."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import ReadError, SettingsError
from engine.imageio import atomic_write_bytes
from engine.raster import ArrayMask, ArraySource, Mask
from engine.runtime.cards import ModelCard, write_card
from engine.runtime.session import Device
from engine.tasks import TASKS, FaceSettings, TaskInput, make_settings, run_task
from engine.train.data.archives import mask_reader
from engine.train.data.photographs import OLD_PACKS, LossReader, photograph_paths, read_photograph
from engine.train.data.textures import read_frames, read_textures
from engine.train.measure import metrics
from engine.train.measure.faces import THRESHOLDS, face_cases, face_scores, model_finder
from engine.train.measure.film import BALANCED, Detector, FilmCase, film_case, film_scores, model_detector, reliability
from engine.train.measure.peers import PEERS, Peer
from engine.train.measure.protocols import PROTOCOLS, Case, add_known_losses, crop_middle

Metrics = dict[str, float]
Table = dict[str, dict[str, Metrics]]
"""Protocol -> method (``model`` or a peer) -> metric -> mean over the photographs."""


@dataclass(frozen=True)
class Headline:
    """The few scores of a kind of model that go into its card.

    Attributes:
        metric: the metric by which models of this kind are compared.
        name: its name in the card, after the name of the protocol.
        peer: the classical peer that is named beside it; empty if there is none.
        protocols: the protocols whose scores go into the card.
    """

    metric: str
    name: str
    peer: str
    protocols: tuple[str, ...]


HEADLINES = {
    "heal": Headline("psnr", "hole_psnr", "navier_stokes", ("scratches", "strokes", "boxes")),
    "clean": Headline("psnr", "psnr", "non_local_means", ("noise", "blur", "jpeg")),
    "tone": Headline("delta_e", "delta_e", "auto_levels", ("fading", "yellowing", "channels")),
    "upscale2": Headline("psnr", "luma_psnr", "bicubic", ("reduced",)),
    "upscale4": Headline("psnr", "luma_psnr", "bicubic", ("reduced",)),
    "detect": Headline("f1", "f1", "top_hat", ("mixed", "film")),
    "faces": Headline("recall", "recall", "", ("faces",)),
}


SCORED_WITH = {"heal": {"texture": 0.0}}
"""Kind of model -> settings for scoring that differ from the defaults: added grain lowers PSNR by its nature."""


def model_as_peer(card: ModelCard, device: Device, values: Mapping[str, float] | None = None) -> Peer:
    """A function with the signature of a peer that runs a model through its task.

    Args:
        card: the model.
        device: where it runs.
        values: settings by name; the others have their defaults.
    """
    task = TASKS[card.task]
    settings = make_settings(card.task, card, values or {})

    def run(picture: metrics.Picture, mask: Mask | None) -> NDArray[np.uint8]:
        wanted = ArrayMask(mask) if task.wants_mask and mask is not None else None
        result = run_task(TaskInput(card.task, ArraySource(picture), None, wanted, settings, card, device))
        if task.gives == "findings":
            return np.asarray(result.marks(settings).mask())
        return np.asarray(result.pixels if task.gives == "picture" else result.apply_to(picture), np.uint8)

    return run


def evaluate(card: ModelCard, folder: Path, *, device: Device = Device.AUTO, most: int | None = None) -> Table:
    """Score one model and the classical peers of its task; see ``evaluate_all``."""
    return evaluate_all([card], folder, device=device, most=most)[0]


def evaluate_all(
    cards: Sequence[ModelCard],
    folder: Path,
    *,
    masks: Path | None = None,
    textures: Path | None = None,
    faces: Path | None = None,
    unseen: bool = False,
    device: Device = Device.AUTO,
    most: int | None = None,
) -> list[Table]:
    """Score models on the same pictures. The peers of a kind of model run only once.

    Args:
        cards: the exported models, of one task or several.
        folder: photographs; the middles of the validation tenth are used, unreadable files are skipped.
        masks: for an archive of damaged scans, masks of what they have lost (``archives.mask_reader``). The losses are
            filled along with the holes of a protocol, and are not scored.
        textures: folder of scanned damage, whose held-out part detection is also scored on
            (``engine.train.measure.film``); None = only on drawn damage.
        faces: table of the boxes of faces (``boxes.read_boxes``), for models that find faces; these see whole pictures.
        unseen: whether all photographs of the folder are used, because none of them was trained on.
        device: where the models run.
        most: largest number of photographs; None = all.

    Returns:
        A table for each model, in their order. Its rows hold the metrics of ``score``, ``seconds`` per megapixel, and
        ``pictures``, the number of photographs.

    Raises:
        SettingsError: no photograph for validation can be read, the masks do not fit, or they are given for models that
            do not heal; or models that find faces are to be scored without a table of faces.
        EngineError: a model cannot be run.
    """
    if masks is not None and any(card.task != "heal" for card in cards):
        raise SettingsError("Masks of what scans have lost can be used for scoring models of heal only.", "train.masks")
    paths = photograph_paths(folder, validation=True)
    paths = (sorted([*paths, *photograph_paths(folder, validation=False)]) if unseen else paths)[:most]
    tables = [_face_rows(card, paths, faces, device) if card.task == "faces" else Table() for card in cards]
    kinds = dict.fromkeys(kind_of(card) for card in cards if card.task != "faces")
    pictures = read_middles(paths, mask_reader(masks, folder) if masks else None) if kinds else []
    for kind in kinds:
        # By their index, because two models that are compared may have the same id.
        fitting = [(str(i), card) for i, card in enumerate(cards) if kind_of(card) == kind]
        models = {place: model_as_peer(card, device, SCORED_WITH.get(kind)) for place, card in fitting}
        peers = PEERS[kind]
        for protocol in PROTOCOLS[kind]:
            rows = _run_protocol(kind, protocol.make, pictures, models | peers)
            for place in models if rows else ():
                row = {"model": rows[place]} | {name: dict(rows[name]) for name in peers}
                tables[int(place)][protocol.name] = row
        if kind == "detect" and textures is not None:
            cases = film_cases(folder, textures, most)
            scored = {name: film_scores(cases, _as_detector(peer))[0.5] for name, peer in peers.items()}
            for place, card in fitting:
                tables[int(place)] |= _film_rows(film_scores(cases, model_detector(card, device)), scored, len(cases))
                tables[int(place)] |= _reliability_rows(reliability(cases, card, device))
    return tables


def film_cases(folder: Path, textures: Path, most: int | None = None, *, held_out: bool = True) -> list[FilmCase]:
    """The cases of the film protocol: damage on the validation photographs that are not old.

    Args:
        folder: of photographs.
        textures: folder of scanned damage.
        most: largest number of photographs; None = all.
        held_out: the damage that is held out of trainings; False: the other damage, and composited elsewhere.

    Raises:
        SettingsError: no photograph or no texture can be read.
    """
    paths = [path for path in photograph_paths(folder, validation=True) if not path.name.startswith(OLD_PACKS)]
    pictures = [picture for picture, _ in read_middles(paths[:most])]
    damage, frames = read_textures(textures, validation=held_out), read_frames(textures, validation=held_out)
    first = 0 if held_out else 10_000
    return [film_case(damage, frames, picture, number) for number, picture in enumerate(pictures, first)]


def _face_rows(card: ModelCard, paths: list[Path], table: Path | None, device: Device) -> Table:
    """Rows ``faces`` at the model's own threshold, and ``faces_T`` at every threshold T.

    Raises:
        SettingsError: there is no table of faces, or none of the photographs is in it.
    """
    if table is None:
        raise SettingsError("To score a model that finds faces, a table of faces is needed (--faces).", "train.faces")
    find = model_finder(card, device, FaceSettings(threshold=THRESHOLDS[0]))
    by_threshold = face_scores(find, face_cases(paths, table))
    own = make_settings("faces", card, {}).threshold
    curve: Table = {f"faces_{threshold:g}": {"model": row} for threshold, row in by_threshold.items()}
    return {"faces": {"model": by_threshold[min(by_threshold, key=lambda one: abs(one - own))]}} | curve


def _as_detector(peer: Peer) -> Detector:
    return lambda picture: {0.5: peer(picture, None)}


def _film_rows(by_threshold: dict[float, Metrics], peers: dict[str, Metrics], count: int) -> Table:
    """Rows ``film`` at the threshold ``BALANCED``, beside the peers, and ``film_T`` at every threshold T."""
    pictures = {"pictures": float(count)}
    curve: Table = {f"film_{threshold:g}": {"model": row | pictures} for threshold, row in by_threshold.items()}
    main = {"model": by_threshold[BALANCED] | pictures} | {name: row | pictures for name, row in peers.items()}
    return {"film": main} | curve


def _reliability_rows(bins: NDArray[np.float64]) -> Table:
    """Rows ``reliability_P`` for each range of probabilities that begins at P."""
    names = ("probability", "damaged", "pixels")
    return {
        f"reliability_{number / len(bins):g}": {"model": dict(zip(names, map(float, row), strict=True))}
        for number, row in enumerate(bins)
    }


def kind_of(card: ModelCard) -> str:
    """The kind of a model, a row of ``PROTOCOLS``: its task, for enlarging with the factor."""
    return card.task if card.tile.scale == 1 else f"{card.task}{card.tile.scale}"


def read_middles(paths: list[Path], read_lost: LossReader | None = None) -> list[tuple[metrics.Picture, Mask | None]]:
    """The middles of all photographs that can be read, and of the masks of what each has lost.

    Raises:
        SettingsError: none can be read.
    """
    pictures = []
    for path in paths:
        try:
            picture = read_photograph(path)
        except ReadError:
            continue
        lost = None if read_lost is None else crop_middle(read_lost(path, picture))
        pictures.append((crop_middle(picture), lost))
    if not pictures:
        raise SettingsError(
            "None of the {count} photographs for validation can be read.", "train.data", count=len(paths)
        )
    return pictures


def _run_protocol(
    kind: str,
    make: Callable[[metrics.Picture, int], Case],
    pictures: list[tuple[metrics.Picture, Mask | None]],
    methods: dict[str, Peer],
) -> dict[str, Metrics]:
    """Run methods on a protocol: method -> means of its metrics over the pictures."""
    collected: dict[str, list[Metrics]] = {name: [] for name in methods}
    for index, (picture, lost) in enumerate(pictures):
        case = make(picture, index) if lost is None else add_known_losses(make(picture, index), lost)
        if case.judged is not None and not case.judged.any():
            continue
        megapixels = case.given.shape[0] * case.given.shape[1] / 1e6
        for name, method in methods.items():
            # Copies, because a peer may work in place. The mask of a detection case is the truth and is not passed.
            given = case.given.copy()
            mask = case.mask.copy() if case.mask is not None and kind == "heal" else None
            start = time.perf_counter()
            result = method(given, mask)
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
        case: the damaged picture and its original.
        result: picture (H, W, 3), or mask (H, W) for detection.

    Returns:
        heal: psnr and ssim inside the hole, whole_psnr, whole_ssim, ms_ssim, high_frequency; clean: psnr, ssim,
        ms_ssim; upscale: psnr of the luma, ssim; tone: delta_e, psnr, structure (against the damaged picture); detect:
        precision, recall, f1, and flagged, the share of all pixels that were found.
    """
    return _SCORES[kind](case, result)


def _score_heal(case: Case, result: NDArray[np.uint8]) -> Metrics:
    hole = case.mask if case.judged is None else case.judged
    assert case.mask is not None
    assert hole is not None
    if case.judged is not None:
        # Pixels whose original is not known must not count as errors.
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
    precision, recall, f1 = metrics.detection_scores(result, case.mask)
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
    """The few scores that a card shows, of the model and of one classical peer."""
    headline = HEADLINES[kind]
    methods = {"model": headline.name, headline.peer: headline.peer}
    scores = {
        f"{protocol}_{name}": round(table[protocol][method][headline.metric], 2)
        for method, name in methods.items()
        for protocol in headline.protocols
        if protocol in table and method in table[protocol]
    }
    if "faces" in table:
        scores["faces_wrong"] = round(table["faces"]["model"]["wrong"], 4)
    if "undamaged" in table:
        scores["undamaged_flagged"] = round(table["undamaged"]["model"]["flagged"], 4)
    return scores


def write_scores(card: ModelCard, table: Table) -> ModelCard:
    """Write the headline scores of a table into the card, and the whole table into ``scores.json`` beside it.

    Raises:
        WriteError: a file cannot be written.
    """
    scored = dataclasses.replace(card, scores=headline_scores(kind_of(card), table))
    rounded = {p: {f: {m: round(v, 5) for m, v in r.items()} for f, r in rows.items()} for p, rows in table.items()}
    write_card(scored, card.folder)
    atomic_write_bytes(card.folder / "scores.json", (json.dumps(rounded, indent=1) + "\n").encode())
    return scored
