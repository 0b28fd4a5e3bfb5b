"""What a layer shows. A new kind of layer is a subclass of ``Content``: how it is drawn, rotated and saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from desktop.document.blend import BlendMode, draw
from desktop.document.geometry import Transform
from engine.jobs import JobContext
from engine.raster import Mask, Pixels, Rect
from engine.tiles import Cell, TileMap


class Operation(ABC):
    """One step of composing a picture, applied to the result of the steps below it. Immutable; any thread."""

    @abstractmethod
    def cells(self) -> set[Cell]:
        """The full-resolution tiles that it may change; all others stay as they are."""

    @abstractmethod
    def touches(self, cell: Cell, level: int) -> bool:
        """Whether it may change a tile of a level."""

    @abstractmethod
    def prepare(self, rect: Rect, level: int, keep_going: Callable[[], bool]) -> bool:
        """Compute the reductions that rendering a rectangle needs, in small steps; see ``TileMap.prepare``."""

    @abstractmethod
    def render(self, below: Pixels, rect: Rect, level: int) -> Pixels | None:
        """The result for a rectangle within one tile of a level.

        Args:
            below: result of the steps below, (h, w, c).
            rect: in the pixels of the level.
            level: reduction by 2**level.

        Returns:
            An array of the shape and type of ``below``; None where nothing changes.
        """

    @abstractmethod
    def inputs(self, cell: Cell, level: int) -> tuple[tuple[object, ...], tuple[Hashable, ...]]:
        """All that ``render`` depends on in a tile besides ``below``: immutable arrays, and values. For caching."""


@dataclass(frozen=True)
class DrawPixels(Operation):
    """Draws pixels through a mask over what is below."""

    pixels: TileMap
    mask: TileMap
    opacity: float
    blend: BlendMode

    def cells(self) -> set[Cell]:
        return set(self.pixels.stored)

    def touches(self, cell: Cell, level: int) -> bool:
        return self.pixels.holds(cell, level) and self.mask.holds(cell, level)

    def prepare(self, rect: Rect, level: int, keep_going: Callable[[], bool]) -> bool:
        return self.mask.prepare(rect, level, keep_going) and self.pixels.prepare(rect, level, keep_going)

    def render(self, below: Pixels, rect: Rect, level: int) -> Pixels | None:
        mask: Mask = self.mask.read(rect, level)
        if not mask.any():
            return None
        return draw(below, self.pixels.read(rect, level), mask, self.opacity, self.blend)

    def inputs(self, cell: Cell, level: int) -> tuple[tuple[object, ...], tuple[Hashable, ...]]:
        return (self.pixels.at(cell, level), self.mask.at(cell, level)), (self.opacity, self.blend)


class Content(ABC):
    """What a layer shows, without its mask, opacity and blend mode. Immutable."""

    kind: ClassVar[str]
    """Its name in files."""

    @abstractmethod
    def operation(self, mask: TileMap, opacity: float, blend: BlendMode) -> Operation:
        """The step that draws it through a layer's mask.

        Args:
            mask: (h, w) uint8, 255 = shown.
            opacity: 0..1.
            blend: how it is combined with what is below.
        """

    @abstractmethod
    def extent(self) -> Rect:
        """The bounding box of all that it can show, in image pixels."""

    @abstractmethod
    def mask_within(self) -> TileMap | None:
        """A map whose stored tiles are the only cells in which the layer's mask can be painted; None: all cells."""

    @abstractmethod
    def transformed(self, transform: Transform, scan: TileMap, context: JobContext) -> Content:
        """The content after the picture was rotated or flipped.

        Args:
            transform: what was done to the picture.
            scan: the scan, transformed already.
            context: progress and cancellation.

        Raises:
            Cancelled: the context was cancelled.
        """

    @abstractmethod
    def maps(self) -> Mapping[str, TileMap]:
        """Its tile maps by name: undo moves them to disk, autosave and projects save them."""

    @abstractmethod
    def with_maps(self, maps: Mapping[str, TileMap]) -> Content:
        """The same content with other maps under the same names."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything besides the maps, as a JSON object; no entry is called ``kind``."""

    @classmethod
    @abstractmethod
    def from_parts(cls, settings: Mapping[str, Any], maps: Mapping[str, TileMap]) -> Content:
        """Make the content from what ``settings`` and ``maps`` returned; raises as ``content_from``."""


@dataclass(frozen=True)
class PixelContent(Content):
    """Pixels of the picture's size, channels and sample type; nothing shows where no tile is stored."""

    kind = "pixels"
    pixels: TileMap

    def operation(self, mask: TileMap, opacity: float, blend: BlendMode) -> Operation:
        return DrawPixels(self.pixels, mask, opacity, blend)

    def extent(self) -> Rect:
        return self.pixels.extent()

    def mask_within(self) -> TileMap | None:
        return self.pixels

    def transformed(self, transform: Transform, scan: TileMap, context: JobContext) -> Content:
        return PixelContent(transform.tiles(self.pixels, scan, context))

    def maps(self) -> Mapping[str, TileMap]:
        return {"pixels": self.pixels}

    def with_maps(self, maps: Mapping[str, TileMap]) -> Content:
        return PixelContent(maps["pixels"])

    def settings(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_parts(cls, settings: Mapping[str, Any], maps: Mapping[str, TileMap]) -> Content:
        del settings
        return cls(maps["pixels"])


KINDS: dict[str, type[Content]] = {PixelContent.kind: PixelContent}
"""The kinds of content by ``Content.kind``."""


def content_from(kind: str, settings: Mapping[str, Any], maps: Mapping[str, TileMap]) -> Content:
    """The content that a file describes.

    Args:
        kind: a key of ``KINDS``.
        settings: what ``Content.settings`` returned when it was saved.
        maps: what ``Content.maps`` returned then.

    Raises:
        ValueError, LookupError, TypeError: the kind is unknown, or the parts do not fit it.
    """
    if kind not in KINDS:
        raise ValueError(f"layers of the kind {kind!r} are not known")
    return KINDS[kind].from_parts(settings, maps)
