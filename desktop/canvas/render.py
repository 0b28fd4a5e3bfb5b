"""From document tiles to images for the screen: reduced or magnified, colour managed, cached, and redrawn in parts."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QColor, QImage

from desktop.document.compose import ComposeCache, Composite
from desktop.document.tiles import LEVELS, TileMap
from engine import colour
from engine.raster import TILE, Rect
from engine.resample import magnify

CRISP = 2.0
"""Zoom from which pixels are shown as squares."""


@dataclass(frozen=True)
class Frame:
    """A zoom, and the size of the whole picture at it.

    Screen rectangles count device pixels from the corner of the zoomed picture.

    Attributes:
        zoom: device pixels per image pixel.
        width, height: of the picture, image pixels.
    """

    zoom: float
    width: int
    height: int

    @property
    def bounds(self) -> Rect:
        """The whole picture on the screen; partly covered pixels count."""
        return Rect(0, 0, math.ceil(self.width * self.zoom - 1e-6), math.ceil(self.height * self.zoom - 1e-6))

    def to_screen(self, rect: Rect) -> Rect:
        """The screen pixels that an image rectangle touches, with a pixel of margin for smoothing."""
        if not rect:
            return Rect(0, 0, 0, 0)
        margin = math.ceil(2 * self.zoom) if self.zoom < CRISP else 0
        return (
            Rect(
                math.floor(rect.left * self.zoom) - 1 - margin,
                math.floor(rect.top * self.zoom) - 1 - margin,
                math.ceil(rect.right * self.zoom) + 1 + margin,
                math.ceil(rect.bottom * self.zoom) + 1 + margin,
            )
            & self.bounds
        )

    def fitting(self, width: int, height: int) -> float:
        """The zoom at which the picture fits into so many device pixels with a margin."""
        margin = 32
        return min(max(1, width - margin) / self.width, max(1, height - margin) / self.height)

    @property
    def level(self) -> int:
        """The reduction that is read: the smallest that is not smaller than the screen's."""
        return max(0, min(LEVELS, math.floor(math.log2(1 / self.zoom) + 1e-9)))

    def source(self, rect: Rect, level: int) -> tuple[Rect, float, tuple[float, float]]:
        """What to read of a level for a screen rectangle.

        Returns:
            The rectangle in pixels of the level, their size on the screen, and where its corner lies in ``rect``.
        """
        scale = self.zoom * (1 << level)
        whole = Rect(0, 0, -(-self.width >> level), -(-self.height >> level))
        part = Rect(
            math.floor(rect.left / scale) - 2,
            math.floor(rect.top / scale) - 2,
            math.ceil(rect.right / scale) + 2,
            math.ceil(rect.bottom / scale) + 2,
        )
        part &= whole
        return part, scale, (part.left * scale - rect.left, part.top * scale - rect.top)


def source_region(composite: Composite, frame: Frame, rect: Rect) -> tuple[Rect, int]:
    """What is read of a composed picture for a screen rectangle: a rectangle of a level, and the level."""
    # A quick look while the reductions are being made.
    level = frame.level if composite.scan.levels or not frame.level else min(LEVELS, frame.level + 1)
    return frame.source(rect, level)[0], level


def picture_pixels(
    composite: Composite,
    frame: Frame,
    rect: Rect,
    profile: bytes | None,
    monitor: bytes | None,
    cache: ComposeCache | None = None,
) -> NDArray[np.uint8]:
    """A screen rectangle of a composed picture, (h, w, 4) in Qt's RGB32 byte order."""
    part, level = source_region(composite, frame, rect)
    _, scale, offset = frame.source(rect, level)
    pixels = composite.read(part, level, cache)
    size = (rect.width, rect.height)
    smooth = frame.zoom < CRISP
    if scale >= 1:
        # Fewer pixels before than after: convert the colours first.
        shown = colour.to_screen(pixels, profile, monitor)
        shown = _resample(shown, scale, offset, size, smooth=smooth)
    else:
        shown = colour.to_screen(_resample(pixels, scale, offset, size, smooth=smooth), profile, monitor)
    result = np.full((*shown.shape[:2], 4), 255, np.uint8)
    # Not cvtColor, whose threads wait for those that make the reductions.
    cv2.mixChannels([np.ascontiguousarray(shown)], [result], [0, 2, 1, 1, 2, 0])
    return result


def veil_pixels(
    masks: list[TileMap], frame: Frame, rect: Rect, colour_: QColor, edges: TileMap | None = None
) -> NDArray[np.uint8] | None:
    """The coloured veil of some masks over a screen rectangle, (h, w, 4) premultiplied; None where there is nothing.

    Edges are drawn over it in the opposite colour, and as strong from afar as from near.
    """
    veil = _veil_values(masks, frame, rect)
    lines = _veil_values([edges], frame, rect, 1 << frame.level) if edges is not None else None
    if lines is None:
        return _veil_table(colour_)[veil] if veil is not None else None
    opposite = QColor.fromHsvF((colour_.hsvHueF() + 0.5) % 1.0, 1.0, 1.0)
    drawn = _veil_table(opposite)[lines]
    if veil is None:
        return drawn
    through = (255 - drawn[..., 3:]).astype(np.uint16) * _veil_table(colour_)[veil]
    return np.asarray(drawn + (through + 127) // 255, np.uint8)


def _veil_values(masks: list[TileMap], frame: Frame, rect: Rect, strength: int = 1) -> NDArray[np.uint8] | None:
    """The most that some masks have, times a strength, over a screen rectangle (h, w); None where there is nothing."""
    part, scale, offset = frame.source(rect, frame.level)
    shown: NDArray[np.uint8] | None = None
    for mask in masks:
        if mask.touches(part, frame.level):
            values = mask.read(part, frame.level)
            shown = values if shown is None else np.maximum(shown, values)
    if shown is None or not shown.any():
        return None
    if strength > 1:
        shown = np.minimum(shown.astype(np.uint16) * strength, 255).astype(np.uint8)
    return _resample(shown, scale, offset, (rect.width, rect.height), smooth=frame.zoom < CRISP)


def _resample(
    pixels: NDArray[np.generic], scale: float, offset: tuple[float, float], size: tuple[int, int], *, smooth: bool
) -> NDArray[np.uint8]:
    if scale == 1 and offset[0] == int(offset[0]) and offset[1] == int(offset[1]):
        x, y = -int(offset[0]), -int(offset[1])
        part = pixels[y : y + size[1], x : x + size[0]]
        if part.shape[:2] == (size[1], size[0]):
            return part  # type: ignore[return-value]
    return magnify(pixels, scale, offset, size, smooth=smooth)


def _veil_table(colour_: QColor) -> NDArray[np.uint8]:
    """Mask value -> premultiplied BGRA."""
    alpha = np.arange(256, dtype=np.float32) / 255 * np.float32(colour_.alphaF())
    channels = [colour_.blueF(), colour_.greenF(), colour_.redF(), 1.0]
    return np.rint(np.stack([alpha * np.float32(c) for c in channels], axis=1) * 255).astype(np.uint8)


class ImageCache:
    """Screen tiles as images, the most recently used ones, within a number of bytes. GUI thread only."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._tiles: OrderedDict[tuple[str, float, int, int], CachedTile] = OrderedDict()

    def get(self, key: tuple[str, float, int, int]) -> CachedTile | None:
        """A tile, if it is there; it counts as used now."""
        tile = self._tiles.get(key)
        if tile is not None:
            self._tiles.move_to_end(key)
        return tile

    def put(self, key: tuple[str, float, int, int], pixels: NDArray[np.uint8] | None, rect: Rect) -> CachedTile:
        """Keep a tile; None is one where nothing is drawn."""
        self.drop(key)
        tile = CachedTile(pixels, rect, opaque=key[0] != "veil")
        self._tiles[key] = tile
        self._held += tile.nbytes
        while self._held > self._limit and len(self._tiles) > 1:
            self._held -= self._tiles.popitem(last=False)[1].nbytes
        return tile

    def drop(self, key: tuple[str, float, int, int]) -> None:
        """Forget one tile."""
        tile = self._tiles.pop(key, None)
        if tile is not None:
            self._held -= tile.nbytes

    def invalidate(self, kind: str, frame: Frame, rect: Rect) -> None:
        """The picture changed in an image rectangle: tiles of the frame's zoom are redrawn there, others forgotten."""
        touched = frame.to_screen(rect)
        for key, tile in list(self._tiles.items()):
            if key[0] != kind:
                continue
            if key[1] != frame.zoom:
                self.drop(key)
            elif tile.rect & touched:
                tile.dirty |= tile.rect & touched

    def clear(self, kind: str | None = None) -> None:
        """Forget all, or all of a kind."""
        for key in [key for key in self._tiles if kind in (None, key[0])]:
            self.drop(key)


class CachedTile:
    """One tile's image; shares its memory with an array, so that a part can be redrawn in place.

    Attributes:
        rect: the screen rectangle.
        dirty: the part of it that is out of date.
        image: None where nothing is drawn.
    """

    def __init__(self, pixels: NDArray[np.uint8] | None, rect: Rect, *, opaque: bool) -> None:
        self.rect = rect
        self.dirty = Rect(0, 0, 0, 0)
        self.image: QImage | None = None
        self._pixels = pixels
        if pixels is not None:
            height, width = pixels.shape[:2]
            kind = QImage.Format.Format_RGB32 if opaque else QImage.Format.Format_ARGB32_Premultiplied
            self.image = QImage(pixels.data, width, height, width * 4, kind)

    @property
    def nbytes(self) -> int:
        """Memory, with what keeping the tile costs."""
        return 256 + (self._pixels.nbytes if self._pixels is not None else 0)

    def redraw(self, part: Rect, pixels: NDArray[np.uint8] | None) -> None:
        """Replace a part of the image; None clears it."""
        if self._pixels is not None:
            self._pixels[part.slices(self.rect)] = 0 if pixels is None else pixels


def screen_tiles(rect: Rect, frame: Frame) -> list[tuple[int, int, Rect]]:
    """The screen tiles (column, row, rectangle) that a screen rectangle touches."""
    inside = rect & frame.bounds
    return [(x, y, Rect.of_cell((x, y), TILE) & frame.bounds) for x, y in inside.cells(TILE)]
