"""A tool: an object with press, move, release and cancel, that gets pointer events in image coordinates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from desktop.document.model import Document
    from desktop.document.tiles import TileEdit, TileMap, TilePatch


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


@dataclass
class ToolSettings:
    """What the options bar sets, shared by all tools.

    Attributes:
        size: diameter of the brush, image pixels.
        hardness: 0 = all fading, 1 = a sharp edge.
        opacity: the most that one stroke covers, 0..1.
        pen_size, pen_opacity: whether the pen's pressure scales them.
        adding: paint adds to the mask; otherwise it removes.
        edge_size: diameter of the brush that draws edges, which are thin.
    """

    size: float = 24.0
    hardness: float = 0.8
    opacity: float = 1.0
    pen_size: bool = True
    pen_opacity: bool = False
    adding: bool = True
    edge_size: float = 2.0

    def for_edges(self) -> ToolSettings:
        """As they are while the edge map is painted: the brush has the size for edges."""
        return replace(self, size=self.edge_size)


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
    def settings(self) -> ToolSettings:
        """The options bar."""

    @property
    def target(self) -> int | None:
        """The layer whose mask is painted, None for the repair mask, or ``EDGES``."""

    def show_live(self, edit: TileEdit) -> None:
        """Show an unfinished edit of the target mask; its dirty rectangle is taken."""

    def show_spot(self, edit: TileEdit | None) -> None:
        """Show the unfinished stroke of a spot heal over the picture; None takes it away."""

    def cancel_live(self) -> None:
        """Show the target mask as it was."""

    def paint(self, label: str, patch: TilePatch) -> None:
        """Make a finished edit of the target mask one undo step."""

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

    label = ""
    """For the history panel and the tooltip."""

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

    def cursor(self, settings: ToolSettings) -> Cursor:
        """How the pointer looks."""
        del settings
        return Cursor()

    def outline(self) -> list[tuple[float, float]]:
        """An unfinished shape to be drawn, as a closed line of image points."""
        return []
