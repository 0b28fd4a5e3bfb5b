"""Data types shared by all modules: pictures, masks, rectangles, sample types.

Pictures are NumPy arrays (height, width, channels), C-contiguous, channels grey (1) or RGB (3), of one of three sample
types: ``uint8``, ``uint16``, or ``float32`` in 0..1. Values are encoded by the picture's ICC profile (sRGB where it
has none). Masks are ``uint8`` (height, width): 255 = repair, 0 = keep. Arrays passed between modules are read-only.
Coordinates are pixels, x to the right and y down, the origin at the top left corner of the top left pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
"""(H, W, C) uint8, uint16 or float32 in 0..1."""
Floats = NDArray[np.float32]
Mask = NDArray[np.uint8]
"""(H, W) uint8, 255 = repair."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in the luma of ITU-R BT.601."""

TILE = 256
"""Side of the square cells in which pictures are stored, compared and undone, pixels."""


@dataclass(frozen=True, order=True)
class Rect:
    """A rectangle in pixels; ``right`` and ``bottom`` are exclusive. Empty when it has no area."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns, never negative."""
        return max(0, self.right - self.left)

    @property
    def height(self) -> int:
        """Rows, never negative."""
        return max(0, self.bottom - self.top)

    @property
    def area(self) -> int:
        """Pixels inside."""
        return self.width * self.height

    def __bool__(self) -> bool:
        """Whether any pixel lies inside."""
        return self.area > 0

    def __and__(self, other: Rect) -> Rect:
        """The intersection; empty when there is none."""
        return Rect(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    def __or__(self, other: Rect) -> Rect:
        """The smallest rectangle around both; an empty one is ignored."""
        if not self or not other:
            return self or other
        return Rect(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def contains(self, other: Rect) -> bool:
        """Whether the other lies wholly inside."""
        return (self & other) == other

    def grown(self, margin: int) -> Rect:
        """The rectangle enlarged by a margin on every side (reduced when negative)."""
        return Rect(self.left - margin, self.top - margin, self.right + margin, self.bottom + margin)

    def moved(self, dx: int, dy: int) -> Rect:
        """The rectangle shifted by (dx, dy)."""
        return Rect(self.left + dx, self.top + dy, self.right + dx, self.bottom + dy)

    def slices(self, origin: Rect | None = None) -> tuple[slice, slice]:
        """Row and column slices, relative to the top left corner of ``origin`` (None = of the picture)."""
        dx, dy = (origin.left, origin.top) if origin else (0, 0)
        return slice(self.top - dy, self.bottom - dy), slice(self.left - dx, self.right - dx)

    def cells(self, size: int = TILE) -> Iterator[tuple[int, int]]:
        """Grid cells (column, row) of a given size that the rectangle touches, row by row."""
        if self:
            for row in range(self.top // size, (self.bottom - 1) // size + 1):
                for column in range(self.left // size, (self.right - 1) // size + 1):
                    yield column, row

    @classmethod
    def of_cell(cls, cell: tuple[int, int], size: int = TILE) -> Rect:
        """The square of a grid cell (column, row)."""
        return cls(cell[0] * size, cell[1] * size, (cell[0] + 1) * size, (cell[1] + 1) * size)

    @classmethod
    def of_shape(cls, shape: tuple[int, ...]) -> Rect:
        """The rectangle of a whole array of this shape (height, width, ...)."""
        return cls(0, 0, shape[1], shape[0])


@dataclass(frozen=True)
class Resolution:
    """Dots per inch, horizontally and vertically."""

    x: float
    y: float


@dataclass(frozen=True)
class Metadata:
    """Metadata of a picture, as the raw bytes of each standard.

    Attributes:
        exif: TIFF-structured block, without the ``Exif`` prefix of JPEG files.
        xmp: XMP packet.
        iptc: IPTC-IIM records.
        tags: further TIFF tags to keep, tag number -> (TIFF data type, value).
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    tags: dict[int, tuple[int, Any]] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Names of the standards that are present."""
        return [name for name in ("exif", "xmp", "iptc") if getattr(self, name)]


@dataclass(frozen=True)
class Raster:
    """A picture in its file's own sample type, with its profile and metadata. Immutable; the pixels are read-only.

    Attributes:
        pixels: (H, W, 1 or 3), upright: the file's EXIF orientation is already applied.
        profile: ICC profile; None is an untagged picture, taken for sRGB and exported untagged.
        resolution: dots per inch; None when the file does not state it.
        metadata: EXIF, XMP, IPTC and further tags.
        notices: sentences for the user about contents of the file that were dropped.
    """

    pixels: Pixels
    profile: bytes | None = None
    resolution: Resolution | None = None
    metadata: Metadata = field(default_factory=Metadata)
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.pixels.flags.writeable = False

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def channels(self) -> int:
        """1 = grey, 3 = RGB."""
        return int(self.pixels.shape[2])

    @property
    def depth(self) -> int:
        """Bits a sample: 8, 16 or 32."""
        return self.pixels.dtype.itemsize * 8

    def with_pixels(self, pixels: Pixels) -> Raster:
        """The same picture with other pixels."""
        return replace(self, pixels=pixels)


class PixelSource(Protocol):
    """A picture whose rectangles can be read one at a time: an array, or the composited layers of a document."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The sample type."""

    def read(self, rect: Rect) -> Pixels:
        """Pixels of a rectangle inside the picture, (h, w, channels). Any thread."""


class MaskSource(Protocol):
    """A mask whose rectangles can be read one at a time, and which knows where it is not empty."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height and width; further entries are ignored."""

    def read_mask(self, rect: Rect) -> Mask:
        """The mask of a rectangle inside the picture, (h, w) uint8. Any thread."""

    def occupied(self) -> list[Rect]:
        """Non-overlapping rectangles that cover all values above 0."""


@dataclass(frozen=True)
class ArraySource:
    """An array as a ``PixelSource``."""

    pixels: Pixels

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.pixels.shape
        return height, width, channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """The sample type."""
        return self.pixels.dtype

    def read(self, rect: Rect) -> Pixels:
        """A read-only view."""
        view: Pixels = self.pixels[rect.slices()]
        view.flags.writeable = False
        return view


@dataclass(frozen=True)
class ArrayMask:
    """An array as a ``MaskSource``."""

    mask: Mask

    @property
    def shape(self) -> tuple[int, ...]:
        """Height and width."""
        return self.mask.shape

    def read_mask(self, rect: Rect) -> Mask:
        """A read-only view."""
        view = self.mask[rect.slices()]
        view.flags.writeable = False
        return view

    def occupied(self) -> list[Rect]:
        """The cells of the ``TILE`` grid that have any value above 0."""
        whole = Rect.of_shape(self.mask.shape)
        cells = (Rect.of_cell(cell) & whole for cell in whole.cells())
        return [cell for cell in cells if self.mask[cell.slices()].any()]


def assemble(cells: Mapping[tuple[int, int], NDArray[Any]], rect: Rect, empty: NDArray[Any]) -> NDArray[Any]:
    """Copy a rectangle out of cells of the ``TILE`` grid.

    Args:
        cells: (column, row) -> (h, w, ...) from the cell's top left corner; cells at the picture's edge may be smaller.
        rect: the rectangle; must not reach beyond the picture where cells are smaller.
        empty: the value where there is no cell, of the cells' sample type, (...).

    Returns:
        (h, w, ...), a new array.
    """
    result = np.empty((rect.height, rect.width, *empty.shape), empty.dtype)
    result[...] = empty
    for cell in rect.cells():
        if cell in cells:
            square = Rect.of_cell(cell)
            shared = square & rect
            result[shared.slices(rect)] = cells[cell][shared.slices(square)]
    return result


def contiguous(array: NDArray[Any]) -> NDArray[Any]:
    """The array in C order, a copy only where it is not; also with the usual strides along axes of length 1.

    NumPy ignores the strides of such axes, but codecs check them: they would refuse a mirrored picture one pixel wide.
    """
    return np.ascontiguousarray(array).reshape(-1).reshape(array.shape)


def maximum(dtype: np.dtype[Any]) -> float:
    """The value of white: 255, 65535 or 1."""
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def to_float(pixels: Pixels) -> Floats:
    """Any sample type to float32 in 0..1; ``from_float`` gives the same integers again."""
    if pixels.dtype.kind == "f":
        return np.asarray(pixels, np.float32)
    return np.asarray(pixels.astype(np.float32) / np.float32(maximum(pixels.dtype)), np.float32)


def from_float(values: Floats, dtype: np.dtype[Any]) -> Pixels:
    """float32 to a sample type: clipped to 0..1 and rounded to the nearest."""
    if dtype.kind == "f":
        return np.asarray(np.clip(values, 0, 1), dtype)
    top = maximum(dtype)
    return np.asarray(np.clip(np.rint(values * np.float32(top)), 0, top), dtype)


def mix(below: Pixels, above: Pixels, weight: Mask, opacity: float = 1.0) -> Pixels:
    """Alpha blending: below + (above - below) opacity weight / 255, rounded; equal to ``below`` where the weight is 0.

    All repairs are blended with this function, in documents and on the command line.

    Args:
        below: (h, w, c); the result has its sample type.
        above: the same shape; the sample type of ``below``, or float32 in its range.
        weight: (h, w).
        opacity: 0..1.
    """
    share = (weight.astype(np.float32) * np.float32(opacity) / np.float32(255))[..., None]
    base = below.astype(np.float32)
    mixed = base + (above.astype(np.float32) - base) * share
    if below.dtype.kind == "f":
        return mixed
    return np.asarray(np.rint(np.clip(mixed, 0, maximum(below.dtype))), below.dtype)


def to_grey(rgb: Floats) -> Floats:
    """Mean of the three channels, (h, w, 3) -> (h, w, 1): undoes repeating a grey scan to three channels."""
    return np.asarray(rgb.mean(axis=2, keepdims=True), np.float32)
