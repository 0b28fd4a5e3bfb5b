"""The tools, at the end of the Repair menu, and the keys of the brush."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from desktop.frame.actions import Action, always

if TYPE_CHECKING:
    from desktop.frame.context import Context

_BRUSH_STEP = 1.15
_HARDNESS_STEP = 0.25
_DIGIT_SECONDS = 0.6
"""Two digits within this time are one number."""
_TOOLS = (
    ("brush", "Brush", "B", "Paint the mask"),
    ("eraser", "Eraser", "E", "Take away from the mask"),
    ("rectangle", "Rectangle", "M", "Mask a rectangle"),
    ("lasso", "Lasso", "L", "Mask a free outline"),
    ("spot", "Spot heal", "J", "Each stroke is healed on release"),
    ("hand", "Hand", "H", "Move the picture; a click chooses the defect under it"),
    ("zoom", "Zoom", "Z", "Zoom in; with Alt, out"),
)


def _take(id_: str) -> Callable[[Context], object]:
    return lambda context: context.tools.take(id_)


def _resize(factor: float) -> Callable[[Context], object]:
    """What makes the brush larger or smaller, by a pixel at least."""

    def run(context: Context) -> None:
        size = context.tools.brush.size
        step = max(1.0, abs(size * (factor - 1)))
        context.tools.set_size(size + (step if factor > 1 else -step))

    return run


def _harden(step: float) -> Callable[[Context], object]:
    return lambda context: context.tools.set_hardness(context.tools.brush.hardness + step)


class _OpacityKeys:
    """The digits set the brush's opacity: 5 is 50 %, 0 is 100 %, and 5 quickly followed by 7 is 57 %."""

    def __init__(self) -> None:
        self._digit, self._since = 0, 0.0

    def press(self, digit: int) -> Callable[[Context], object]:
        """What a digit does."""

        def run(context: Context) -> None:
            before, now = self._digit, time.monotonic()
            quick = now - self._since < _DIGIT_SECONDS
            self._digit, self._since = digit, now
            if quick and (before or digit):
                self._digit, self._since = 0, 0.0
                context.tools.set_opacity((10 * before + digit) / 100)
            else:
                context.tools.set_opacity((digit or 10) / 10)

        return run


_KEYS = _OpacityKeys()


ACTIONS = (
    *(
        Action(
            id=f"tool_{id_}",
            menu="Repair",
            text=text,
            run=_take(id_),
            enabled=always,
            shortcuts=(key,),
            tip=tip,
            icon=id_,
            group="tool",
            separator=id_ == "brush",
            while_dragging=True,
        )
        for id_, text, key, tip in _TOOLS
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
            run=_KEYS.press(digit),
            shortcuts=(str(digit),),
            while_dragging=True,
        )
        for digit in (*range(1, 10), 0)
    ),
)
