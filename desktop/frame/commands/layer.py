"""The Layer menu."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from desktop.frame.actions import Action

if TYPE_CHECKING:
    from desktop.frame.context import Context


def _has_layer(context: Context) -> bool:
    return context.photo is not None and context.photo.active is not None


def _has_lower(context: Context) -> bool:
    """Whether there is a layer below the active one."""
    photo = context.photo
    return photo is not None and photo.active is not None and photo.document.state.layers[0].id != photo.active.id


def _has_upper(context: Context) -> bool:
    """Whether there is a layer above the active one."""
    photo = context.photo
    return photo is not None and photo.active is not None and photo.document.state.layers[-1].id != photo.active.id


def _duplicate(context: Context) -> None:
    if context.photo is not None:
        context.photo.duplicate_layer()


def _merge(context: Context) -> None:
    if context.photo is not None:
        context.photo.merge_down()


def _paint_mask(context: Context, on: bool) -> None:  # noqa: FBT001 - a switch's state
    from desktop.document.targets import REPAIR_MASK, LayerMask

    photo = context.photo
    if photo is not None:
        photo.set_target(LayerMask(photo.active.id) if on and photo.active is not None else REPAIR_MASK)


def _paints_mask(context: Context) -> bool:
    from desktop.document.targets import LayerMask

    return context.photo is not None and isinstance(context.photo.target, LayerMask)


def _move(step: int) -> Callable[[Context], object]:
    """The command that moves the active layer up (1) or down (-1)."""

    def run(context: Context) -> None:
        photo = context.photo
        if photo is not None and photo.active is not None:
            photo.move_layer(photo.active.id, photo.document.state.index(photo.active.id) + step)

    return run


def _delete(context: Context) -> None:
    from desktop.document.edits import RemoveLayer

    photo = context.photo
    if photo is not None and photo.active is not None:
        photo.push(RemoveLayer(context.window.tr("Delete layer"), photo.document.state, photo.active.id))


ACTIONS = (
    Action(
        id="layer_duplicate",
        menu="Layer",
        text="Duplicate",
        run=_duplicate,
        enabled=_has_layer,
        shortcuts=("Ctrl+J",),
        icon="duplicate",
    ),
    Action(
        id="layer_merge",
        menu="Layer",
        text="Merge Down",
        run=_merge,
        enabled=_has_lower,
        shortcuts=("Ctrl+E",),
        icon="merge",
    ),
    Action(
        id="layer_rename",
        menu="Layer",
        text="Rename",
        run=lambda context: context.layers.rename(),
        enabled=_has_layer,
        shortcuts=("F2",),
    ),
    Action(
        id="layer_mask",
        menu="Layer",
        text="Paint the Layer's Mask",
        toggle=_paint_mask,
        enabled=_has_layer,
        checked=_paints_mask,
        icon="mask",
    ),
    Action(
        id="layer_up",
        menu="Layer",
        text="Move Up",
        run=_move(1),
        enabled=_has_upper,
        shortcuts=("Ctrl+]",),
        icon="up",
        separator=True,
    ),
    Action(
        id="layer_down",
        menu="Layer",
        text="Move Down",
        run=_move(-1),
        enabled=_has_lower,
        shortcuts=("Ctrl+[",),
        icon="down",
    ),
    Action(
        id="layer_delete",
        menu="Layer",
        text="Delete Layer",
        run=_delete,
        enabled=_has_layer,
        shortcuts=("Ctrl+Delete",),
        icon="trash",
        separator=True,
    ),
)
