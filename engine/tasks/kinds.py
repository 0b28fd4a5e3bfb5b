"""The kinds of model that the tasks can run, told apart by what their tensors carry, and what else must fit."""

from __future__ import annotations

from engine.errors import ModelError
from engine.runtime.cards import ModelCard, Port

Signature = tuple[tuple[str, str], ...]
"""What a model's stages take and give: pairs of roles, each sorted and joined by spaces; its settings left out."""

_SPATIAL = ("picture", "mask", "edges", "thumbnail", "probability")
_CHANNELS = {"picture": 3, "thumbnail": 3, "mask": 1, "edges": 1}
_LARGEST_WINDOW = 4096
"""The smallest window of a model may have so many pixels a side: more of them hardly fit into a memory."""


def signature(card: ModelCard) -> Signature:
    """What kind of model it is, by what its stages carry."""
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
    """Refuse a model that wants or gives what its task has not or cannot use, rather than to work wrongly with it.

    Args:
        card: the model.
        kinds: what its stages may take and give.
        free: names of settings that steer the task and not a tensor.
        enlarges: whether its pictures must come out larger, or as large as they went in.

    Raises:
        ModelError: ``model.kind``; says what does not fit.
    """
    reason = _unfit_kind(card, kinds, enlarges) or _unfit_settings(card, free) or _unfit_windows(card)
    ports = [port for stage in card.stages for port in (*stage.inputs, *stage.outputs)]
    adjustable = {setting.name for setting in card.settings}
    for port in ports:
        reason = reason or _unfit_port(port, adjustable=port.role in adjustable)
    if reason:
        raise ModelError(f"The model {card.id} is not of a kind that {card.task} can run: {reason}.", "model.kind")


def _unfit_kind(card: ModelCard, kinds: tuple[Signature, ...], enlarges: bool) -> str:  # noqa: FBT001
    if signature(card) not in kinds:
        return f"it {_in_words(signature(card))}, but one is wanted that {' or that '.join(map(_in_words, kinds))}"
    if enlarges and card.tile.scale == 1:
        return "its pictures come out as large as they went in (scale = 1)"
    if not enlarges and card.tile.scale > 1:
        return f"its pictures come out {card.tile.scale} times as large as they went in"
    return ""


def _in_words(kind: Signature) -> str:
    """For instance: takes mask and picture and gives picture."""
    return ", then ".join(
        f"takes {' and '.join(takes.split()) or 'nothing'} and gives {' and '.join(gives.split()) or 'nothing'}"
        for takes, gives in kind
    )


def _unfit_settings(card: ModelCard, free: tuple[str, ...]) -> str:
    roles = {port.role for stage in card.stages for port in stage.inputs}
    for setting in card.settings:
        if setting.name not in roles and setting.name not in free:
            return f"nothing takes its setting {setting.name!r}"
        if not setting.low <= setting.default <= setting.high:
            return f"its setting {setting.name!r} starts outside of its own range"
    return ""


def _unfit_windows(card: ModelCard) -> str:
    if card.tile.minimum > _LARGEST_WINDOW:
        return f"its smallest window has {card.tile.minimum} pixels a side, and {_LARGEST_WINDOW} are the most"
    return ""


def _unfit_port(port: Port, *, adjustable: bool) -> str:
    spatial = port.role in _SPATIAL
    layouts = ("NCHW", "NHWC") if spatial else ("N",) if adjustable else ("NC",)
    if port.layout not in layouts:
        return f"{port.name!r} has the layout {port.layout}, not {' or '.join(layouts)}"
    if spatial and port.colour_space != "sRGB":
        return f"{port.name!r} is in the colour space {port.colour_space}, and only sRGB is understood"
    if port.channels != _CHANNELS.get(port.role, port.channels):
        return f"{port.name!r} has {port.channels} channels, not {_CHANNELS[port.role]}"
    if port.role == "thumbnail" and port.size == 0:
        return f"the size of {port.name!r} is missing"
    if port.role != "thumbnail" and port.size > 0:
        return f"{port.name!r} has a size of its own; a model of one size says it by its windows"
    if port.size > _LARGEST_WINDOW:
        return f"{port.name!r} has {port.size} pixels a side, and {_LARGEST_WINDOW} are the most"
    return ""
