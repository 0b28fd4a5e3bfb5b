"""Converts document tiles to screen images: scales them, converts colours, caches them, and redraws parts."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QColor, QImage

from desktop.document.compose import ComposeCache, Composite
from engine import colour
from engine.raster import TILE, Rect
from engine.resample import magnify
from engine.tiles import LEVELS, TileMap

CRISP = 2.0
"""Zoom from which pixels are shown as squares, without interpolation."""


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
        """The screen rectangle of the whole picture; partly covered pixels are included."""
        return Rect(0, 0, math.ceil(self.width * self.zoom - 1e-6), math.ceil(self.height * self.zoom - 1e-6))

    def to_screen(self, rect: Rect) -> Rect:
        """The screen pixels that depend on an image rectangle, including the reach of the interpolation."""
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
        """The zoom at which the picture fits into a width and height in device pixels, with a margin."""
        margin = 32
        return min(max(1, width - margin) / self.width, max(1, height - margin) / self.height)

    @property
    def level(self) -> int:
        """The level of the tile maps that is read: the coarsest that is not coarser than the screen."""
        return max(0, min(LEVELS, math.floor(math.log2(1 / self.zoom) + 1e-9)))

    def source(self, rect: Rect, level: int) -> tuple[Rect, float, tuple[float, float]]:
        """What to read of a level for a screen rectangle.

        Returns:
            The rectangle in pixels of the level; the size of such a pixel in screen pixels; and the position of the
            rectangle's corner relative to that of ``rect``, screen pixels.
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
    """What is read of a composed picture for a screen rectangle: the rectangle in pixels of a level, and the level."""
    # One level coarser while the scan's reductions are not computed: faster, and replaced when they are.
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
    """Render a screen rectangle of a composed picture.

    Args:
        composite: the picture.
        frame: zoom and size.
        rect: the screen rectangle.
        profile: ICC profile of the picture; None is sRGB, or grey without profile.
        monitor: ICC profile of the screen; None is sRGB.
        cache: of composed tiles.

    Returns:
        (h, w, 4) uint8 in Qt's RGB32 byte order, in the screen's colour space.
    """
    part, level = source_region(composite, frame, rect)
    _, scale, offset = frame.source(rect, level)
    pixels = composite.read(part, level, cache)
    size = (rect.width, rect.height)
    smooth = frame.zoom < CRISP
    if scale >= 1:
        # Magnified: there are fewer pixels before, so colours are converted first.
        shown = colour.to_screen(pixels, profile, monitor)
        shown = _resample(shown, scale, offset, size, smooth=smooth)
    else:
        shown = colour.to_screen(_resample(pixels, scale, offset, size, smooth=smooth), profile, monitor)
    result = np.full((*shown.shape[:2], 4), 255, np.uint8)
    # Not cvtColor: it would wait for OpenCV threads that compute reductions.
    cv2.mixChannels([np.ascontiguousarray(shown)], [result], [0, 2, 1, 1, 2, 0])
    return result


def veil_pixels(
    masks: list[TileMap], frame: Frame, rect: Rect, colour_: QColor, edges: TileMap | None = None
) -> NDArray[np.uint8] | None:
    """Render the overlay of masks and edges for a screen rectangle.

    Args:
        masks: of which the maximum is shown.
        frame: zoom and size.
        rect: the screen rectangle.
        colour_: with alpha, for a mask value of 255.
        edges: the edge map, drawn over the masks in the opposite colour; not fainter at small zooms.

    Returns:
        (h, w, 4) uint8, premultiplied BGRA; None where nothing is masked.
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
    """The maximum of some masks times a factor in a screen rectangle, (h, w) uint8; None where it is 0 everywhere."""
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
    """Keeps the most recently used screen tiles. GUI thread.

    Keys are (kind, zoom, column, row).

    Args:
        limit: bytes that are kept at most; one tile is always kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._tiles: OrderedDict[tuple[str, float, int, int], CachedTile] = OrderedDict()

    def get(self, key: tuple[str, float, int, int]) -> CachedTile | None:
        """A cached tile, which becomes the most recently used one; None if it is not cached."""
        tile = self._tiles.get(key)
        if tile is not None:
            self._tiles.move_to_end(key)
        return tile

    def put(self, key: tuple[str, float, int, int], pixels: NDArray[np.uint8] | None, rect: Rect) -> CachedTile:
        """Cache a tile; pixels of None mean that nothing is drawn there."""
        self.drop(key)
        tile = CachedTile(pixels, rect, opaque=key[0] != "veil")
        self._tiles[key] = tile
        self._held += tile.nbytes
        while self._held > self._limit and len(self._tiles) > 1:
            self._held -= self._tiles.popitem(last=False)[1].nbytes
        return tile

    def drop(self, key: tuple[str, float, int, int]) -> None:
        """Remove one tile."""
        tile = self._tiles.pop(key, None)
        if tile is not None:
            self._held -= tile.nbytes

    def invalidate(self, kind: str, frame: Frame, rect: Rect) -> None:
        """An image rectangle changed: mark it in the tiles of the frame's zoom, and remove tiles of other zooms."""
        touched = frame.to_screen(rect)
        for key, tile in list(self._tiles.items()):
            if key[0] != kind:
                continue
            if key[1] != frame.zoom:
                self.drop(key)
            elif tile.rect & touched:
                tile.dirty |= tile.rect & touched

    def clear(self, kind: str | None = None) -> None:
        """Remove all tiles, or all of a kind."""
        for key in [key for key in self._tiles if kind in (None, key[0])]:
            self.drop(key)


class CachedTile:
    """The image of a screen tile. It shares memory with an array, so that a part can be redrawn in place.

    Attributes:
        rect: its screen rectangle.
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
        """Bytes, including an estimate for the Python objects."""
        return 256 + (self._pixels.nbytes if self._pixels is not None else 0)

    def redraw(self, part: Rect, pixels: NDArray[np.uint8] | None) -> None:
        """Replace a part of the image; None clears it."""
        if self._pixels is not None:
            self._pixels[part.slices(self.rect)] = 0 if pixels is None else pixels


def screen_tiles(rect: Rect, frame: Frame) -> list[tuple[int, int, Rect]]:
    """The screen tiles (column, row, rectangle) that a screen rectangle touches."""
    inside = rect & frame.bounds
    return [(x, y, Rect.of_cell((x, y), TILE) & frame.bounds) for x, y in inside.cells(TILE)]
