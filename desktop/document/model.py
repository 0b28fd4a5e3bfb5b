"""The document: the scan, the repair layers above it and the repair mask. It does not know who watches it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from desktop.document.blend import BlendMode
from desktop.document.content import Content, Operation, PixelContent
from desktop.document.geometry import Geometry
from desktop.document.review import Review
from desktop.document.tiles import TileMap
from engine.raster import Metadata, Pixels, Raster, Rect, Resolution
from engine.record import Repair, ScanFile


@dataclass(frozen=True)
class Layer:
    """Something that is drawn over what is below, and where it shows. Immutable; the document replaces it.

    Attributes:
        id: unique within the document and for good.
        content: what it shows.
        mask: (h, w) uint8, 255 = shown.
        opacity: 0..1.
        made_by: the repairs that went into it, for the record.
    """

    id: int
    name: str
    content: Content
    mask: TileMap
    opacity: float = 1.0
    blend: BlendMode = BlendMode.NORMAL
    visible: bool = True
    made_by: tuple[Repair, ...] = ()

    @property
    def pixels(self) -> TileMap:
        """The pixels of a layer that shows pixels.

        Raises:
            TypeError: it shows something else.
        """
        if not isinstance(self.content, PixelContent):
            raise TypeError(f"a layer of {self.content.kind} has no pixels")
        return self.content.pixels

    @property
    def has_pixels(self) -> bool:
        """Whether it shows pixels."""
        return isinstance(self.content, PixelContent)

    @property
    def shows(self) -> bool:
        """Whether anything of it can be seen, wherever its mask lets it."""
        return self.visible and self.opacity > 0

    def with_pixels(self, pixels: TileMap, mask: TileMap) -> Layer:
        """The same layer showing other pixels through another mask."""
        return replace(self, content=PixelContent(pixels), mask=mask)

    def operation(self) -> Operation:
        """How it is drawn."""
        return self.content.operation(self.mask, self.opacity, self.blend)


@dataclass(frozen=True)
class State:
    """Everything of a document that edits change; a snapshot is a reference to one.

    Attributes:
        scan: the locked bottom layer.
        layers: above it, bottom first.
        mask: the repair mask.
        geometry: how the picture lies.
        edges: the edge map that the next repair follows, (h, w) uint8, 255 = edge; None without one. It is gone once
            it was used, and no file keeps it.
        guided: the repair mask as it was when the edge map was drawn: the edges are followed there alone.
        review: what the latest search for damage saw, and what was decided about it; None without one.
    """

    scan: TileMap
    layers: tuple[Layer, ...]
    mask: TileMap
    geometry: Geometry
    edges: TileMap | None = None
    guided: TileMap | None = None
    review: Review | None = None

    def same_work(self, other: State) -> bool:
        """Whether it is the same as another state in all that is saved: not the scan's reductions, nor the edges."""
        same = self.layers is other.layers and self.mask is other.mask and self.review is other.review
        return same and self.geometry == other.geometry

    def repairs(self) -> list[Repair]:
        """The repairs of which anything shows, each once, those of lower layers first: what a record lists.

        A layer counts that is visible, not fully transparent, and whose mask is not empty; a copy of a layer adds
        nothing to what its original lists.
        """
        shown = [layer for layer in self.layers if layer.shows and not layer.mask.is_empty()]
        # Settings are a dictionary, so repairs cannot be keys; their text tells them apart as well.
        return list({repr(repair): repair for layer in shown for repair in layer.made_by}.values())

    def layer(self, id_: int) -> Layer:
        """The layer of an id.

        Raises:
            KeyError: there is none.
        """
        return self.layers[self.index(id_)]

    def index(self, id_: int) -> int:
        """Where a layer stands, 0 = just above the scan.

        Raises:
            KeyError: there is none.
        """
        for index, layer in enumerate(self.layers):
            if layer.id == id_:
                return index
        raise KeyError(id_)

    def find(self, id_: int | None) -> Layer | None:
        """The layer of an id; None where there is none."""
        return next((layer for layer in self.layers if layer.id == id_), None)

    def with_layer(self, layer: Layer) -> State:
        """With a layer replaced by one of the same id."""
        index = self.index(layer.id)
        return replace(self, layers=(*self.layers[:index], layer, *self.layers[index + 1 :]))


@dataclass(frozen=True)
class Change:
    """What an edit touched, so that the window redraws no more than that.

    Attributes:
        picture: where the composed picture differs.
        mask: where the repair mask or the edge map differs.
        layers: whether the list of layers or a layer's properties changed, or an edge map came or went.
        size: whether the picture was turned.
        review: whether the search for damage is another, or what was decided about it.
    """

    picture: Rect = field(default_factory=lambda: Rect(0, 0, 0, 0))
    mask: Rect = field(default_factory=lambda: Rect(0, 0, 0, 0))
    layers: bool = False
    size: bool = False
    review: bool = False

    def __or__(self, other: Change) -> Change:
        """Both."""
        return Change(
            self.picture | other.picture,
            self.mask | other.mask,
            self.layers or other.layers,
            self.size or other.size,
            self.review or other.review,
        )


class Document:
    """One picture being edited. Written by the GUI thread only; snapshots go to workers.

    Args:
        raster: the scan; its pixels become the base of the bottom layer, without a copy.
    """

    def __init__(self, raster: Raster) -> None:
        self.profile: bytes | None = raster.profile
        self.resolution: Resolution | None = raster.resolution
        self.metadata: Metadata = raster.metadata
        self.notices: tuple[str, ...] = raster.notices
        self.scan_file: ScanFile | None = None
        """The scan's own file, which may be another than the project that was opened."""
        self.own_project = False
        """Whether it was read from a project of this program, which may be saved over without loss."""
        self.newer_project = False
        """Whether it was read from a project of a newer version of this program, which must not be saved over."""
        self.stamp: tuple[int, int] | None = None
        """Size and time of change of the file when it was opened."""
        self._ids = itertools.count(1)
        scan = TileMap.of_array(raster.pixels)
        geometry = Geometry(width=scan.shape[1], height=scan.shape[0])
        self._state = State(scan, (), TileMap.empty(scan.shape[:2], np.uint8), geometry)
        self._live: State | None = None
        self._watchers: list[Callable[[Change], None]] = []

    def restore(self, state: State) -> None:
        """Begin with a state that was saved; before anybody watches."""
        self._state = state
        ids = [layer.id for layer in state.layers] + ([state.review.id] if state.review is not None else [])
        self._ids = itertools.count(1 + max(ids, default=0))

    @property
    def state(self) -> State:
        """The present state: an immutable snapshot that any thread may read."""
        return self._state

    @property
    def shown(self) -> State:
        """The state with the stroke that is being painted, for the canvas alone: its tiles may still change."""
        return self._live or self._state

    @property
    def bounds(self) -> Rect:
        """The whole picture."""
        return self._state.scan.bounds

    @property
    def channels(self) -> int:
        """1 = grey, 3 = RGB."""
        return self._state.scan.shape[2]

    @property
    def depth(self) -> int:
        """Bits a sample."""
        return self._state.scan.dtype.itemsize * 8

    def new_id(self) -> int:
        """An id no layer and no search of this document ever had."""
        return next(self._ids)

    def new_layer(self, name: str) -> Layer:
        """An empty layer, not yet part of the document."""
        scan = self._state.scan
        pixels = TileMap.empty(scan.shape, scan.dtype, holes=True)
        return Layer(self.new_id(), name, PixelContent(pixels), TileMap.empty(scan.shape[:2], np.uint8))

    def raster(self, pixels: Pixels) -> Raster:
        """Pixels with the scan's profile, resolution and metadata."""
        return Raster(pixels, self.profile, self.resolution, self.metadata)

    def watch(self, watcher: Callable[[Change], None]) -> None:
        """Have a function called after every change, on the GUI thread."""
        self._watchers.append(watcher)

    def show(self, state: State | None, change: Change) -> None:
        """Let the canvas show a stroke in the making; None shows the present state again."""
        self._live = state
        self._tell(change)

    def forget_watchers(self) -> None:
        """Call nobody any more."""
        self._watchers.clear()

    def update(self, state: State, change: Change) -> None:
        """Take on a new state and tell the watchers. Only edits call this."""
        self._state, self._live = state, None
        self._tell(change)

    def attach_levels(self, base: TileMap, levels: tuple[Pixels, ...]) -> None:
        """Take over the reductions of the scan that a worker made, unless the picture was turned meanwhile."""
        if self._state.scan.base is base.base:
            self._state = replace(self._state, scan=self._state.scan.with_levels(levels))
            if self._live is not None:
                self._live = replace(self._live, scan=self._state.scan)
            self._tell(Change(picture=self.bounds))

    def _tell(self, change: Change) -> None:
        for watcher in self._watchers:
            watcher(change)
