"""The tools, at the end of the Repair menu, and the keys for the brush settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from desktop.frame.actions import Action, always
from desktop.tools.table import TOOLS

if TYPE_CHECKING:
    from desktop.frame.context import Context

_BRUSH_STEP = 1.15
_HARDNESS_STEP = 0.25


def _take(id_: str) -> Callable[[Context], object]:
    return lambda context: context.tools.select(id_)


def _resize(factor: float) -> Callable[[Context], object]:
    """The command that changes the brush size by a factor, but at least by one pixel."""

    def run(context: Context) -> None:
        size = context.tools.brush.size
        step = max(1.0, abs(size * (factor - 1)))
        context.tools.set_size(size + (step if factor > 1 else -step))

    return run


def _harden(step: float) -> Callable[[Context], object]:
    return lambda context: context.tools.set_hardness(context.tools.brush.hardness + step)


def _opacity(digit: int) -> Callable[[Context], object]:
    return lambda context: context.tools.press_digit(digit)


ACTIONS = (
    *(
        Action(
            id=f"tool_{tool.id}",
            menu="Repair",
            text=tool.text,
            run=_take(tool.id),
            enabled=always,
            shortcuts=(tool.key,),
            tip=tool.tip,
            icon=tool.id,
            group="tool",
            separator=tool is TOOLS[0],
            while_dragging=True,
        )
        for tool in TOOLS
    ),
    Action(
        id="swap",
        menu="Repair",
        text="Swap Add and Remove",
        run=lambda context: context.tools.set_adding(adding=not context.tools.settings.adding),
        enabled=always,
        shortcuts=("X",),
        separator=True,
        while_dragging=True,
    ),
    *(
        Action(
            id=id_,
            menu="Repair",
            text=text,
            run=run,
            enabled=always,
            shortcuts=(key,),
            repeats=True,
            while_dragging=True,
        )
        for id_, text, key, run in (
            ("smaller", "Smaller Brush", "[", _resize(1 / _BRUSH_STEP)),
            ("larger", "Larger Brush", "]", _resize(_BRUSH_STEP)),
            ("softer", "Softer Brush", "Shift+[", _harden(-_HARDNESS_STEP)),
            ("harder", "Harder Brush", "Shift+]", _harden(_HARDNESS_STEP)),
        )
    ),
    *(
        Action(
            id=f"opacity_{digit}",
            text=f"Brush opacity {digit * 10 or 100} %",
            run=_opacity(digit),
            shortcuts=(str(digit),),
            while_dragging=True,
        )
        for digit in (*range(1, 10), 0)
    ),
)
