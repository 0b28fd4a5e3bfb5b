"""The Mask menu: commands that change a whole mask, and the edge map."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from desktop.frame.actions import Action

if TYPE_CHECKING:
    from desktop.document.edits import Edit
    from desktop.document.model import State
    from desktop.document.targets import Target
    from desktop.frame.context import Context
    from desktop.photo.workspace import Workspace
    from desktop.work.base import Outcome
    from engine.jobs import JobContext
    from engine.raster import Mask

AT_ONCE = 4_000_000
"""``filter_cost`` up to which a command runs on the GUI thread, in less than 100 ms; above, it is a job."""


def _filter(photo: Workspace, label: str, change: Callable[[Mask], Mask], reach: float) -> None:
    """Change the whole mask of the paint target; see ``tools.select.filter_mask`` for the arguments."""
    from desktop.tools.select import filter_cost, filter_mask

    def make(state: State, target: Target, context: JobContext) -> Edit | None:
        return filter_mask(state, target, label, change, reach, context)

    photo.change_mask(label, make, at_once=filter_cost(photo.mask(), reach) <= AT_ONCE)


def _invert(context: Context) -> None:
    from engine import masks

    if context.photo is not None:
        _filter(context.photo, context.window.tr("Invert mask"), masks.invert, math.inf)


def _clear(context: Context) -> None:
    if context.photo is not None:
        _filter(context.photo, context.window.tr("Clear mask"), lambda mask: mask * 0, 0)


def _grow(context: Context) -> None:
    from engine import masks

    if context.photo is not None:
        amount = context.task.amount
        _filter(context.photo, context.window.tr("Grow mask"), lambda mask: masks.grow(mask, amount), amount)


def _shrink(context: Context) -> None:
    from engine import masks

    if context.photo is not None:
        amount = context.task.amount
        _filter(context.photo, context.window.tr("Shrink mask"), lambda mask: masks.shrink(mask, amount), amount)


def _feather(context: Context) -> None:
    from desktop.tools.select import filter_cost, filter_mask
    from engine import masks

    photo, label, width = context.photo, context.window.tr("Feather mask"), context.task.amount
    if photo is None:
        return

    def make(state: State, target: Target, context: JobContext) -> Edit | None:
        # Determined for the whole mask, not tile by tile, or there would be seams.
        soft = masks.is_soft(target.read(state))
        return filter_mask(state, target, label, lambda mask: masks.feather(mask, width, soft=soft), width, context)

    photo.change_mask(label, make, at_once=filter_cost(photo.mask(), width) <= AT_ONCE)


def _ask_load(context: Context) -> None:
    from desktop.dialogs.export import FileDialogs

    photo = context.photo
    if photo is not None:
        path = FileDialogs.open_mask(context.window, photo.source.parent)
        if path is not None:
            context.files.load_mask(photo, path)


def _ask_save(context: Context) -> None:
    from desktop.dialogs.export import FileDialogs

    photo = context.photo
    if photo is not None:
        path = FileDialogs.save_mask(context.window, context.folder_of(photo) / f"{photo.source.stem}-mask.png")
        if path is not None and context.may_write(path, (".png",)):
            context.files.save_mask(photo, path)


def _draw_edges(context: Context) -> None:
    photo = context.photo
    if photo is None:
        return
    ticket = context.start_task(lambda: photo.queue.draw_edges(context.task.request(new_layer=False)))
    if ticket is not None:
        ticket.done.connect(photo.while_open(partial(_on_edges_drawn, context, photo)))


def _on_edges_drawn(context: Context, photo: Workspace, _outcome: Outcome) -> None:
    if photo is context.photo:
        context.switch("veil", True)
    words = "These edges will be followed. Paint what is missing, erase what is wrong, then press Heal."
    context.say_of(photo, context.window.tr(words))


def _paint_edges(context: Context, on: bool) -> None:  # noqa: FBT001 - a switch's state
    from desktop.document.targets import EDGE_MAP, REPAIR_MASK

    if context.photo is not None:
        context.photo.set_target(EDGE_MAP if on else REPAIR_MASK)


def _paints_edges(context: Context) -> bool:
    from desktop.document.targets import EDGE_MAP

    return context.photo is not None and context.photo.target == EDGE_MAP


def _clear_edges(context: Context) -> None:
    if context.photo is not None:
        context.photo.clear_edges()


def _edges_can_be_drawn(context: Context) -> bool:
    return context.photo is not None and context.task.draws_edges


def _has_edges(context: Context) -> bool:
    return context.photo is not None and context.photo.edges is not None


ACTIONS = (
    Action(id="mask_invert", menu="Mask", text="Invert", run=_invert, shortcuts=("Ctrl+Shift+I",)),
    Action(id="mask_clear", menu="Mask", text="Clear", run=_clear, shortcuts=("Ctrl+D",)),
    Action(
        id="mask_grow",
        menu="Mask",
        text="Grow",
        run=_grow,
        tip="Enlarge the mask by the amount in the Repair panel",
        separator=True,
    ),
    Action(
        id="mask_shrink",
        menu="Mask",
        text="Shrink",
        run=_shrink,
        tip="Reduce the mask by the amount in the Repair panel",
    ),
    Action(
        id="mask_feather",
        menu="Mask",
        text="Feather",
        run=_feather,
        tip="Fade the mask outwards over the amount in the Repair panel",
    ),
    Action(id="mask_load", menu="Mask", text="Load…", run=_ask_load, separator=True),
    Action(id="mask_save", menu="Mask", text="Save…", run=_ask_save),
    Action(
        id="edges_draw",
        menu="Mask",
        text="Draw Edges",
        run=_draw_edges,
        enabled=_edges_can_be_drawn,
        tip="Show the edges that the repair will follow, to add to them or take some away",
        separator=True,
    ),
    Action(
        id="edges_paint",
        menu="Mask",
        text="Paint Edges",
        toggle=_paint_edges,
        enabled=_has_edges,
        checked=_paints_edges,
        tip="The brush adds edges, the eraser takes them away",
        icon="brush",
    ),
    Action(
        id="edges_clear",
        menu="Mask",
        text="Clear Edges",
        run=_clear_edges,
        enabled=_has_edges,
        tip="Clear the edges: the model finds them by itself again",
        icon="trash",
    ),
)
