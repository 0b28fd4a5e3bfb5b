"""The tools of the window: a new one is a class in a module here, and a row and an instance in this file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from desktop.tools.base import Tool


@dataclass(frozen=True)
class ToolRow:
    """How a tool is offered.

    Attributes:
        id: its name in settings and commands; its icon has the same name.
        text: its name in the menu.
        key: its shortcut.
        tip: what it does, in a few words.
    """

    id: str
    text: str
    key: str
    tip: str


TOOLS = (
    ToolRow("brush", "Brush", "B", "Paint the mask"),
    ToolRow("eraser", "Eraser", "E", "Take away from the mask"),
    ToolRow("rectangle", "Rectangle", "M", "Mask a rectangle"),
    ToolRow("lasso", "Lasso", "L", "Mask a free outline"),
    ToolRow("spot", "Spot heal", "J", "Each stroke is healed on release"),
    ToolRow("hand", "Hand", "H", "Move the picture; a click chooses the defect under it"),
    ToolRow("zoom", "Zoom", "Z", "Zoom in; with Alt, out"),
)
"""In the order of the tool bar."""


def make_tools() -> dict[str, Tool]:
    """The tools by their ids."""
    # The rows are needed before the window is up, these modules with what they import only after.
    from desktop.tools.brush import BrushTool, EraserTool, SpotHealTool
    from desktop.tools.navigate import HandTool, ZoomTool
    from desktop.tools.select import LassoTool, RectangleTool

    made = (BrushTool(), EraserTool(), RectangleTool(), LassoTool(), SpotHealTool(), HandTool(), ZoomTool())
    return {tool.id: tool for tool in made}
