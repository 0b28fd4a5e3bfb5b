"""The tool in hand, and the brush that the options bar sets."""

from __future__ import annotations

import math
import time

from PySide6.QtCore import QObject, Signal

from desktop.tools.base import EDGES, MAXIMUM_SIZE, MINIMUM_SIZE, BrushSettings, Tool, ToolSettings
from desktop.tools.brush import BrushTool, EraserTool, SpotHealTool
from desktop.tools.navigate import HandTool, ZoomTool
from desktop.tools.select import LassoTool, RectangleTool

_DIGIT_SECONDS = 0.6
"""Two digits within this time are one number."""


class Toolbox(QObject):
    """The tools of one window, which all photographs share. GUI thread; edits the settings in place.

    Attributes:
        tools: by their ids.
        settings: of all of them.

    Signals:
        taken: another tool is in hand.
        changed: a setting, or the brush that is set, is another.
    """

    taken = Signal()
    changed = Signal()

    def __init__(self, settings: ToolSettings) -> None:
        super().__init__()
        self.settings = settings
        made = (BrushTool(), EraserTool(), RectangleTool(), LassoTool(), SpotHealTool(), HandTool(), ZoomTool())
        self.tools: dict[str, Tool] = {tool.id: tool for tool in made}
        self._tool = self.tools["brush"]
        self._edges = False
        self._digit, self._digit_since = 0, -math.inf

    @property
    def tool(self) -> Tool:
        """The one in hand."""
        return self._tool

    def take(self, id_: str) -> None:
        """Take a tool in hand."""
        self._tool = self.tools[id_]
        self.taken.emit()
        self.changed.emit()

    @property
    def brush(self) -> BrushSettings:
        """The brush of the tool in hand, for what is painted."""
        return self.settings.brush(EDGES if self._edges and self._tool.paints else self._tool.id)

    def paint_edges(self, *, on: bool) -> None:
        """What is painted are edges, which have a brush of their own, or something else."""
        if on != self._edges:
            self._edges = on
            self.changed.emit()

    def set_size(self, size: float) -> None:
        """Another diameter, kept within what a brush may have."""
        self._set(size=min(MAXIMUM_SIZE, max(MINIMUM_SIZE, size)))

    def set_hardness(self, hardness: float) -> None:
        """Another hardness, kept within 0..1."""
        self._set(hardness=min(1.0, max(0.0, hardness)))

    def set_opacity(self, opacity: float) -> None:
        """Another opacity, 0..1."""
        self._set(opacity=opacity)

    def press_digit(self, digit: int) -> None:
        """Set the opacity by a digit: 5 is 50 %, 0 is 100 %, and 5 quickly followed by 7 is 57 %."""
        before, now = self._digit, time.monotonic()
        quick = now - self._digit_since < _DIGIT_SECONDS
        self._digit, self._digit_since = digit, now
        if quick and (before or digit):
            self._digit, self._digit_since = 0, -math.inf
            self.set_opacity((10 * before + digit) / 100)
        else:
            self.set_opacity((digit or 10) / 10)

    def set_pen(self, **uses: bool) -> None:
        """Whether the pen's pressure scales ``pen_size`` and ``pen_opacity``."""
        self._set(**uses)

    def set_adding(self, *, adding: bool) -> None:
        """Whether the tools add to what is painted or take away."""
        self.settings.adding = adding
        self.changed.emit()

    def _set(self, **values: float | bool) -> None:
        for name, value in values.items():
            setattr(self.brush, name, value)
        self.changed.emit()
