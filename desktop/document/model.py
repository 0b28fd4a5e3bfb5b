"""The document: the scan, the repair layers above it and the repair mask."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from desktop.document.blend import BlendMode
from desktop.document.content import Content, Operation, PixelContent
from desktop.document.geometry import Geometry
from engine.raster import Metadata, Pixels, Raster, Rect, Resolution
from engine.record import Repair, ScanFile
from engine.review import Review
from engine.tiles import TileMap


@dataclass(frozen=True)
class Layer:
    """A layer: content that is drawn over what is below, through a mask. Immutable; the document replaces it.

    Attributes:
        id: never reused within the document.
        content: what it shows.
        mask: (h, w) uint8, 255 = shown.
        opacity: 0..1.
        made_by: the repairs that it consists of, for the record.
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
        """Whether it can be seen where its mask is not empty."""
        return self.visible and self.opacity > 0

    def with_pixels(self, pixels: TileMap, mask: TileMap) -> Layer:
        """The same layer with other pixels and another mask."""
        return replace(self, content=PixelContent(pixels), mask=mask)

    def operation(self) -> Operation:
        """The step that draws it."""
        return self.content.operation(self.mask, self.opacity, self.blend)


@dataclass(frozen=True)
class State:
    """Everything of a document that edits can change. Immutable; a snapshot is a reference to one.

    Attributes:
        scan: the locked bottom layer, (h, w, c).
        layers: above it, bottom first.
        mask: the repair mask, (h, w) uint8, 255 = repair.
        geometry: the orientation of the picture.
        edges: the edge map that guides the next repair, (h, w) uint8, 255 = edge; None without one. It is removed once
            it was used, and not saved.
        guided: the repair mask for which the edge map was drawn, (h, w) uint8: the edges guide repairs only there.
        review: the latest search for damage and the decisions about it; None without one.
    """

    scan: TileMap
    layers: tuple[Layer, ...]
    mask: TileMap
    geometry: Geometry
    edges: TileMap | None = None
    guided: TileMap | None = None
    review: Review | None = None

    def same_work(self, other: State) -> bool:
        """Whether all that is saved is the same as in another state. Edges and the scan's reductions are not saved."""
        same = self.layers is other.layers and self.mask is other.mask and self.review is other.review
        return same and self.geometry == other.geometry

    def repairs(self) -> list[Repair]:
        """The repairs that can be seen, as a record lists them: each once, those of lower layers first.

        Only layers count that are visible, not fully transparent, and whose mask is not empty. A repair that is in
        several layers, because one is a copy, is listed once.
        """
        shown = [layer for layer in self.layers if layer.shows and not layer.mask.is_empty()]
        # ``Repair.settings`` is a dictionary, so repairs are not hashable; their ``repr`` is the key instead.
        return list({repr(repair): repair for layer in shown for repair in layer.made_by}.values())

    def layer(self, id_: int) -> Layer:
        """The layer with an id.

        Raises:
            KeyError: there is none.
        """
        return self.layers[self.index(id_)]

    def index(self, id_: int) -> int:
        """The index of a layer, 0 = just above the scan.

        Raises:
            KeyError: there is none.
        """
        for index, layer in enumerate(self.layers):
            if layer.id == id_:
                return index
        raise KeyError(id_)

    def find(self, id_: int | None) -> Layer | None:
        """The layer with an id; None where there is none."""
        return next((layer for layer in self.layers if layer.id == id_), None)

    def with_layer(self, layer: Layer) -> State:
        """The state with a layer replaced by one of the same id."""
        index = self.index(layer.id)
        return replace(self, layers=(*self.layers[:index], layer, *self.layers[index + 1 :]))


@dataclass(frozen=True)
class Change:
    """What an edit changed, so that only that is redrawn.

    Attributes:
        picture: where the composed picture changed.
        mask: where the repair mask or the edge map changed.
        layers: the list of layers or a layer's properties changed, or an edge map was added or removed.
        size: the picture was rotated or flipped.
        review: the search for damage or the decisions about it changed.
    """

    picture: Rect = field(default_factory=lambda: Rect(0, 0, 0, 0))
    mask: Rect = field(default_factory=lambda: Rect(0, 0, 0, 0))
    layers: bool = False
    size: bool = False
    review: bool = False

    def __or__(self, other: Change) -> Change:
        """The union of both."""
        return Change(
            self.picture | other.picture,
            self.mask | other.mask,
            self.layers or other.layers,
            self.size or other.size,
            self.review or other.review,
        )


class Document:
    """One picture being edited. GUI thread; workers get its ``state``.

    Args:
        raster: the scan; its pixels become the base of the bottom layer, without a copy.
    """

    def __init__(self, raster: Raster) -> None:
        self.profile: bytes | None = raster.profile
        self.resolution: Resolution | None = raster.resolution
        self.metadata: Metadata = raster.metadata
        self.notices: tuple[str, ...] = raster.notices
        self.scan_file: ScanFile | None = None
        """The scan's file; not the project, where a project was opened."""
        self.own_project = False
        """Whether it was read from a project of this program that can be overwritten without losing anything."""
        self.newer_project = False
        """Whether it was read from a project of a newer version of this program, which must not be overwritten."""
        self.batch_review: Review | None = None
        """The review that its batch keeps, as it was when this was opened; what is judged then is no unsaved work."""
        self.stamp: tuple[int, int] | None = None
        """Size in bytes and modification time in ns of the file when it was opened."""
        self._ids = itertools.count(1)
        scan = TileMap.of_array(raster.pixels)
        geometry = Geometry(width=scan.shape[1], height=scan.shape[0])
        self._state = State(scan, (), TileMap.empty(scan.shape[:2], np.uint8), geometry)
        self._live: State | None = None
        self._watchers: list[Callable[[Change], None]] = []

    def restore(self, state: State) -> None:
        """Set the initial state, as it was saved. Called before anybody watches."""
        self._state = state
        ids = [layer.id for layer in state.layers] + ([state.review.id] if state.review is not None else [])
        self._ids = itertools.count(1 + max(ids, default=0))

    @property
    def state(self) -> State:
        """The current state: immutable, any thread may read it."""
        return self._state

    @property
    def shown(self) -> State:
        """The state with the unfinished stroke, for the canvas only: its tiles may still change."""
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
        """Bits per sample."""
        return self._state.scan.dtype.itemsize * 8

    def new_id(self) -> int:
        """An id that no layer and no search of this document had before."""
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
        """Call a function after every change, on the GUI thread."""
        self._watchers.append(watcher)

    def show(self, state: State | None, change: Change) -> None:
        """Let the canvas show a state with an unfinished stroke; None shows the current state again."""
        self._live = state
        self._tell(change)

    def forget_watchers(self) -> None:
        """Remove all functions added by ``watch``."""
        self._watchers.clear()

    def update(self, state: State, change: Change) -> None:
        """Set a new state and call the watchers. Only edits call this."""
        self._state, self._live = state, None
        self._tell(change)

    def attach_levels(self, base: TileMap, levels: tuple[Pixels, ...]) -> None:
        """Attach the reductions of the scan that a worker computed, unless the scan was rotated or flipped since.

        Args:
            base: the scan that was reduced.
            levels: see ``engine.resample.reductions``.
        """
        if self._state.scan.base is base.base:
            self._state = replace(self._state, scan=self._state.scan.with_levels(levels))
            if self._live is not None:
                self._live = replace(self._live, scan=self._state.scan)
            self._tell(Change(picture=self.bounds))

    def _tell(self, change: Change) -> None:
        for watcher in self._watchers:
            watcher(change)
