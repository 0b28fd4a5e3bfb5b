"""The base class of tools, and what they get: pointer events in image coordinates, and a context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    # The settings import this module before the window is shown, so it must not import NumPy.
    from desktop.document.model import Document
    from desktop.document.targets import Target
    from engine.tiles import TileDelta, TileEdit, TileMap


@dataclass(frozen=True)
class PointerEvent:
    """Position of the pointer, and modifier keys.

    Attributes:
        x, y: image coordinates, pixels; may lie outside the picture.
        pressure: of the pen, 0..1; 1 for a mouse.
        shift, alt: modifier keys.
    """

    x: float
    y: float
    pressure: float = 1.0
    shift: bool = False
    alt: bool = False


MINIMUM_SIZE, MAXIMUM_SIZE = 1.0, 2000.0
"""Diameters that a brush may have, image pixels."""


@dataclass
class BrushSettings:
    """The settings of a brush in the options bar; every painting tool has its own.

    Attributes:
        size: diameter, image pixels.
        hardness: 0..1; 0 = fades from the centre, 1 = a sharp edge.
        opacity: maximum coverage of one stroke, 0..1.
        pen_size, pen_opacity: whether the pen's pressure scales size and opacity.
    """

    size: float = 24.0
    hardness: float = 0.8
    opacity: float = 1.0
    pen_size: bool = True
    pen_opacity: bool = False

    def __post_init__(self) -> None:
        if not (MINIMUM_SIZE <= self.size <= MAXIMUM_SIZE and 0 <= self.hardness <= 1 and 0 <= self.opacity <= 1):
            raise ValueError("brush")


EDGES = "edges"
"""Key of the brush for the edge map, which all tools share; edges are thin."""


@dataclass
class ToolSettings:
    """What the options bar sets.

    Attributes:
        brushes: by tool id, and ``EDGES``.
        adding: whether tools add to the paint target; otherwise they remove from it.
    """

    brushes: dict[str, BrushSettings] = field(default_factory=dict)
    adding: bool = True

    def brush(self, name: str) -> BrushSettings:
        """The settings of a brush, to be read and changed in place; created with defaults where missing."""
        start = BrushSettings(size=2.0) if name == EDGES else BrushSettings()
        return self.brushes.setdefault(name, start)


@dataclass(frozen=True)
class Cursor:
    """How the canvas shows a tool: a ring of the brush's size, or a pointer of a named shape.

    Attributes:
        diameter: of the ring, image pixels; None for no ring.
        shape: ``cross``, ``hand`` or ``zoom``, used when there is no ring.
        adding: whether the brush of the ring adds.
    """

    diameter: float | None = None
    shape: str = "cross"
    adding: bool = True


class ToolContext(Protocol):
    """The part of the open photograph that tools may use. GUI thread."""

    @property
    def document(self) -> Document:
        """The document."""

    @property
    def brush(self) -> BrushSettings:
        """The brush of the current tool for the paint target."""

    @property
    def adding(self) -> bool:
        """Whether tools add to the paint target; otherwise they remove from it."""

    @property
    def target(self) -> Target:
        """The paint target."""

    def show_live(self, edits: Mapping[Target, TileEdit]) -> None:
        """Show an unfinished stroke; resets the dirty rectangles of its edits."""

    def show_spot(self, edit: TileEdit | None) -> None:
        """Show the unfinished stroke of a spot heal over the picture; None removes it."""

    def cancel_live(self) -> None:
        """Discard the unfinished stroke."""

    def paint(self, label: str, deltas: Mapping[Target, TileDelta]) -> None:
        """Make a finished stroke one undo step."""

    def heal_spot(self, mask: TileMap) -> None:
        """Heal the pixels of a mask that is not the repair mask."""

    def scroll(self, dx: float, dy: float) -> None:
        """Scroll the view by image pixels."""

    def zoom(self, x: float, y: float, steps: int) -> None:
        """Zoom in or out around an image point."""

    def choose(self, x: float, y: float) -> None:
        """Select the defect at an image point, if there is one."""


class Tool:
    """A tool that does nothing; subclasses override what they need. GUI thread; one drag at a time."""

    id = ""
    """Its name in settings and commands."""
    label = ""
    """Its name in the history panel and the tooltip."""
    paints = False
    """Whether it paints the paint target, so that the mask overlay should be visible."""

    def press(self, context: ToolContext, event: PointerEvent) -> None:
        """The mouse button or pen was pressed."""

    def move(self, context: ToolContext, event: PointerEvent) -> None:
        """The pointer moved while pressed."""

    def release(self, context: ToolContext, event: PointerEvent) -> None:
        """The pointer was released: the drag becomes one undo step."""

    def click(self, context: ToolContext, event: PointerEvent) -> None:
        """Called after ``release`` if the pointer was released where it had been pressed."""

    def cancel(self, context: ToolContext) -> None:
        """The drag was cancelled: undo everything since ``press``."""

    def cursor(self, brush: BrushSettings, *, adding: bool) -> Cursor:
        """The pointer's look.

        Args:
            brush: of this tool.
            adding: whether the options bar says to add.
        """
        del brush
        return Cursor(adding=adding)

    def outline(self) -> list[tuple[float, float]]:
        """The unfinished shape to draw, as the points (x, y) of a closed line in image coordinates."""
        return []
