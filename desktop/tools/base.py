"""A tool: an object with press, move, release and cancel, that gets pointer events in image coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    # The settings need this module before the window is up: nothing heavy yet.
    from desktop.document.model import Document
    from desktop.document.targets import Target
    from desktop.document.tiles import TileDelta, TileEdit, TileMap


@dataclass(frozen=True)
class PointerEvent:
    """Where the pointer is and what is held down.

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
    """A brush as the options bar sets it; every tool that paints with one has its own.

    Attributes:
        size: diameter, image pixels.
        hardness: 0 = all fading, 1 = a sharp edge.
        opacity: the most that one stroke covers, 0..1.
        pen_size, pen_opacity: whether the pen's pressure scales them.
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
"""Name of the brush that draws edges, which are thin, with whichever tool."""


@dataclass
class ToolSettings:
    """What the options bar sets.

    Attributes:
        brushes: by the id of the tool that paints with it, and ``EDGES``.
        adding: tools add to what is painted; otherwise they take away.
    """

    brushes: dict[str, BrushSettings] = field(default_factory=dict)
    adding: bool = True

    def brush(self, name: str) -> BrushSettings:
        """A brush, to be read and changed."""
        start = BrushSettings(size=2.0) if name == EDGES else BrushSettings()
        return self.brushes.setdefault(name, start)


@dataclass(frozen=True)
class Cursor:
    """How the canvas shows a tool: a ring of the brush's size, or a pointer of a named shape.

    Attributes:
        diameter: of the ring, image pixels; None for no ring.
        shape: ``cross``, ``hand`` or ``zoom``, used when there is no ring.
        adding: whether the ring is of a brush that adds.
    """

    diameter: float | None = None
    shape: str = "cross"
    adding: bool = True


class ToolContext(Protocol):
    """What a tool may use of the open photograph. Everything on the GUI thread."""

    @property
    def document(self) -> Document:
        """The document."""

    @property
    def brush(self) -> BrushSettings:
        """The brush of the tool in hand, for what is painted."""

    @property
    def adding(self) -> bool:
        """Whether tools add to what is painted; otherwise they take away."""

    @property
    def target(self) -> Target:
        """What is painted."""

    def show_live(self, edits: Mapping[Target, TileEdit]) -> None:
        """Show an unfinished stroke; the dirty rectangles of its edits are taken."""

    def show_spot(self, edit: TileEdit | None) -> None:
        """Show the unfinished stroke of a spot heal over the picture; None takes it away."""

    def cancel_live(self) -> None:
        """Show everything as it was before the stroke."""

    def paint(self, label: str, deltas: Mapping[Target, TileDelta]) -> None:
        """Make a finished stroke one undo step."""

    def heal_spot(self, mask: TileMap) -> None:
        """Heal under a mask of its own."""

    def scroll(self, dx: float, dy: float) -> None:
        """Move the picture under the window by image pixels."""

    def zoom(self, x: float, y: float, steps: int) -> None:
        """Zoom in or out around an image point."""

    def choose(self, x: float, y: float) -> None:
        """Choose the defect at an image point, if there is one."""


class Tool:
    """A tool at rest does nothing; subclasses override what they need. One drag at a time."""

    id = ""
    """Its name in settings and commands."""
    label = ""
    """For the history panel and the tooltip."""
    paints = False
    """Whether what it paints is to be seen."""

    def press(self, context: ToolContext, event: PointerEvent) -> None:
        """The button or pen went down."""

    def move(self, context: ToolContext, event: PointerEvent) -> None:
        """It moved while down."""

    def release(self, context: ToolContext, event: PointerEvent) -> None:
        """It went up: the drag becomes one undo step."""

    def click(self, context: ToolContext, event: PointerEvent) -> None:
        """After the release, when it went up where it had gone down."""

    def cancel(self, context: ToolContext) -> None:
        """The drag is called off: as if it never began."""

    def cursor(self, brush: BrushSettings, *, adding: bool) -> Cursor:
        """How the pointer looks, by the brush and by whether the options bar says to add."""
        del brush
        return Cursor(adding=adding)

    def outline(self) -> list[tuple[float, float]]:
        """An unfinished shape to be drawn, as a closed line of image points."""
        return []
