"""The tools, the chosen one, and the settings of its brush."""

from __future__ import annotations

import math
import time

from PySide6.QtCore import QObject, Signal

from desktop.tools.base import EDGES, MAXIMUM_SIZE, MINIMUM_SIZE, BrushSettings, Tool, ToolSettings
from desktop.tools.table import make_tools

_DIGIT_SECONDS = 0.6
"""Two digits typed within this time are one number."""


class Toolbox(QObject):
    """The tools of one window, which all photographs share. GUI thread; edits the settings in place.

    Attributes:
        tools: by id.
        settings: of all tools.

    Signals:
        selected: another tool was chosen.
        changed: a setting, or the brush to which the settings apply, changed.
    """

    selected = Signal()
    changed = Signal()

    def __init__(self, settings: ToolSettings) -> None:
        super().__init__()
        self.settings = settings
        self.tools = make_tools()
        self._tool = self.tools["brush"]
        self._edges = False
        self._digit, self._digit_since = 0, -math.inf

    @property
    def tool(self) -> Tool:
        """The chosen tool."""
        return self._tool

    def select(self, id_: str) -> None:
        """Choose a tool by its id."""
        self._tool = self.tools[id_]
        self.selected.emit()
        self.changed.emit()

    @property
    def brush(self) -> BrushSettings:
        """The brush of the chosen tool for the paint target."""
        return self.settings.brush(EDGES if self._edges and self._tool.paints else self._tool.id)

    def use_edge_brush(self, *, on: bool) -> None:
        """Whether the paint target is the edge map, which has its own brush settings."""
        if on != self._edges:
            self._edges = on
            self.changed.emit()

    def set_size(self, size: float) -> None:
        """Set the diameter in image pixels, clamped to the range of a brush."""
        self._set(size=min(MAXIMUM_SIZE, max(MINIMUM_SIZE, size)))

    def set_hardness(self, hardness: float) -> None:
        """Set the hardness, clamped to 0..1."""
        self._set(hardness=min(1.0, max(0.0, hardness)))

    def set_opacity(self, opacity: float) -> None:
        """Set the opacity, 0..1."""
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
        """Set ``pen_size`` or ``pen_opacity``: whether the pen's pressure scales them."""
        self._set(**uses)

    def set_adding(self, *, adding: bool) -> None:
        """Set whether the tools add to the paint target or remove from it."""
        self.settings.adding = adding
        self.changed.emit()

    def _set(self, **values: float | bool) -> None:
        for name, value in values.items():
            setattr(self.brush, name, value)
        self.changed.emit()
