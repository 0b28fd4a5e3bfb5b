"""What a layer shows. A new kind of layer is a class here: how it is drawn, moved, kept for undo and named in files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from desktop.document.blend import BlendMode, draw
from desktop.document.geometry import Transform
from desktop.document.tiles import Cell, TileMap
from engine.jobs import JobContext
from engine.raster import Mask, Pixels, Rect


class Operation(ABC):
    """One step of drawing a picture: it changes what the steps before it have drawn. Immutable; any thread."""

    @abstractmethod
    def cells(self) -> set[Cell]:
        """The tiles of the picture outside which it changes nothing."""

    @abstractmethod
    def touches(self, cell: Cell, level: int) -> bool:
        """Whether it may change a tile of a level."""

    @abstractmethod
    def prepare(self, rect: Rect, level: int, keep_going: Callable[[], bool]) -> bool:
        """Make what drawing a rectangle needs, in small steps; as ``TileMap.prepare``."""

    @abstractmethod
    def render(self, below: Pixels, rect: Rect, level: int) -> Pixels | None:
        """What it makes of a rectangle that lies within one tile of a level.

        Args:
            below: what is drawn there so far, (h, w, c).
            rect: in the pixels of the level.
            level: reduction by 2**level.

        Returns:
            The same shape and type; None where it changes nothing.
        """

    @abstractmethod
    def inputs(self, cell: Cell, level: int) -> tuple[tuple[object, ...], tuple[Hashable, ...]]:
        """What its drawing of a tile follows from: arrays, which never change, and values."""


@dataclass(frozen=True)
class DrawPixels(Operation):
    """Draws pixels through a mask over what is there."""

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
        """How it is drawn through a layer's mask."""

    @abstractmethod
    def extent(self) -> Rect:
        """A rectangle around all that it can show."""

    @abstractmethod
    def mask_within(self) -> TileMap | None:
        """The map outside whose stored tiles a mask would have nothing to show; None: it shows everywhere."""

    @abstractmethod
    def transformed(self, transform: Transform, scan: TileMap, context: JobContext) -> Content:
        """As it is once the picture was moved; the scan is the moved one.

        Raises:
            Cancelled: the context was cancelled.
        """

    @abstractmethod
    def maps(self) -> Mapping[str, TileMap]:
        """Its tiles by a name for files; undo puts them away, autosave and projects keep them."""

    @abstractmethod
    def with_maps(self, maps: Mapping[str, TileMap]) -> Content:
        """The same with other tiles under the same names."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything else, as JSON takes it; no entry is called ``kind``."""

    @classmethod
    @abstractmethod
    def from_parts(cls, settings: Mapping[str, Any], maps: Mapping[str, TileMap]) -> Content:
        """The content again; errors as of ``content_from``."""


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
"""The kinds of content by their names in files."""


def content_from(kind: str, settings: Mapping[str, Any], maps: Mapping[str, TileMap]) -> Content:
    """The content that a file tells of.

    Args:
        kind: a name of ``KINDS``.
        settings: as ``Content.settings`` gave them.
        maps: as ``Content.maps`` gave them.

    Raises:
        ValueError, LookupError, TypeError: the kind is unknown, or the parts do not fit it.
    """
    if kind not in KINDS:
        raise ValueError(f"layers of the kind {kind!r} are not known")
    return KINDS[kind].from_parts(settings, maps)
