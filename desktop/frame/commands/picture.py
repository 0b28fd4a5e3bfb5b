"""The Picture menu: rotate and flip."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from desktop.frame.actions import Action

if TYPE_CHECKING:
    from desktop.frame.context import Context


def _turn(name: str) -> Callable[[Context], object]:
    """The command that turns the picture, by a name of ``geometry.Turn``."""

    def run(context: Context) -> None:
        from desktop.document.geometry import Turn

        if context.photo is not None:
            context.photo.turn(Turn[name])

    return run


ACTIONS = (
    Action(
        id="rotate_left",
        menu="Picture",
        text="Rotate Left",
        run=_turn("LEFT"),
        shortcuts=("Ctrl+Alt+L",),
        icon="rotate-left",
    ),
    Action(
        id="rotate_right",
        menu="Picture",
        text="Rotate Right",
        run=_turn("RIGHT"),
        shortcuts=("Ctrl+Alt+R",),
        icon="rotate-right",
    ),
    Action(id="rotate_half", menu="Picture", text="Rotate by 180°", run=_turn("HALF")),
    Action(
        id="flip_horizontal",
        menu="Picture",
        text="Flip Horizontally",
        run=_turn("FLIP_HORIZONTAL"),
        separator=True,
    ),
    Action(id="flip_vertical", menu="Picture", text="Flip Vertically", run=_turn("FLIP_VERTICAL")),
)
