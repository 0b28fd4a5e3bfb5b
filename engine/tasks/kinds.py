"""The kinds of models, recognised by the roles of their tensors, and checks of whether a task can run a model."""

from __future__ import annotations

from engine.errors import ModelError, Words
from engine.runtime.cards import ModelCard, Port

Signature = tuple[tuple[str, str], ...]
"""For each stage of a model the roles of its inputs (without settings) and outputs, sorted and joined by spaces."""

_SPATIAL = ("picture", "mask", "edges", "thumbnail", "probability", "heat", "size", "offset")
_CHANNELS = {"picture": 3, "thumbnail": 3, "mask": 1, "edges": 1, "heat": 1, "size": 2, "offset": 2}
_LARGEST_WINDOW = 4096
"""Largest side of a model's smallest window, pixels: larger ones rarely fit into memory."""


def signature(card: ModelCard) -> Signature:
    """The signature of a model, which tells its kind."""
    adjustable = {setting.name for setting in card.settings}
    return tuple(
        (
            " ".join(sorted(port.role for port in stage.inputs if port.role not in adjustable)),
            " ".join(sorted(port.role for port in stage.outputs)),
        )
        for stage in card.stages
    )


def check_kind(
    card: ModelCard, kinds: tuple[Signature, ...], free: tuple[str, ...] = (), *, enlarges: bool = False
) -> None:
    """Refuse a model with inputs, outputs, settings or windows that its task does not support.

    Args:
        card: the model.
        kinds: the supported signatures.
        free: names of settings that are not inputs of the model but of the task.
        enlarges: whether the output must be larger than the input (True) or of the same size (False).

    Raises:
        ModelError: ``model.kind``; says what is not supported.
    """
    reason = _unfit_kind(card, kinds, enlarges) or _unfit_settings(card, free) or _unfit_windows(card)
    ports = [port for stage in card.stages for port in (*stage.inputs, *stage.outputs)]
    adjustable = {setting.name for setting in card.settings}
    for port in ports:
        reason = reason or _unfit_port(port, adjustable=port.role in adjustable)
    if reason:
        raise ModelError(
            "The model {model} is not of a kind that {able} can run: {reason}.",
            "model.kind",
            model=card.id,
            able=card.task,
            reason=reason,
        )


def _unfit_kind(card: ModelCard, kinds: tuple[Signature, ...], enlarges: bool) -> Words | None:  # noqa: FBT001
    if signature(card) not in kinds:
        wanted = " or that ".join(map(_describe, kinds))
        return Words("it {does}, but one is wanted that {wanted}", does=_describe(signature(card)), wanted=wanted)
    if enlarges and card.tile.scale == 1:
        return Words("its pictures come out as large as they went in (scale = 1)")
    if not enlarges and card.tile.scale > 1:
        return Words("its pictures come out {scale} times as large as they went in", scale=card.tile.scale)
    return None


def _describe(kind: Signature) -> str:
    """For instance: takes mask and picture and gives picture."""
    return ", then ".join(
        f"takes {' and '.join(takes.split()) or 'nothing'} and gives {' and '.join(gives.split()) or 'nothing'}"
        for takes, gives in kind
    )


def _unfit_settings(card: ModelCard, free: tuple[str, ...]) -> Words | None:
    roles = {port.role for stage in card.stages for port in stage.inputs}
    for setting in card.settings:
        if setting.name not in roles and setting.name not in free:
            return Words("nothing takes its setting {setting!r}", setting=setting.name)
        if not setting.low <= setting.default <= setting.high:
            return Words("its setting {setting!r} starts outside of its own range", setting=setting.name)
    return None


def _unfit_windows(card: ModelCard) -> Words | None:
    smallest, most = card.tile.minimum, _LARGEST_WINDOW
    if smallest > most:
        said = "its smallest window has {smallest} pixels a side, and {most} are the most"
        return Words(said, smallest=smallest, most=most)
    return None


def _unfit_port(port: Port, *, adjustable: bool) -> Words | None:
    spatial, name = port.role in _SPATIAL, port.name
    layouts = ("NCHW", "NHWC") if spatial else ("N",) if adjustable else ("NC",)
    wanted = _CHANNELS.get(port.role, port.channels)
    said, values = "", dict[str, object]()
    if port.layout not in layouts:
        said = "{name!r} has the layout {layout}, not {wanted}"
        values = {"layout": port.layout, "wanted": " or ".join(layouts)}
    elif spatial and port.colour_space != "sRGB":
        said, values = "{name!r} is in the colour space {space}, not in sRGB", {"space": port.colour_space}
    elif port.channels != wanted:
        said, values = "{name!r} has {own} channels, not {wanted}", {"own": port.channels, "wanted": wanted}
    elif port.role == "thumbnail" and port.size == 0:
        said = "the size of {name!r} is missing"
    elif port.role != "thumbnail" and port.size > 0:
        said = "{name!r} has a size of its own; a model of one size says it by its windows"
    elif port.size > _LARGEST_WINDOW:
        said = "{name!r} has {own} pixels a side, and {most} are the most"
        values = {"own": port.size, "most": _LARGEST_WINDOW}
    return Words(said, name=name, **values) if said else None
