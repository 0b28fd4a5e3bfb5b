"""Paint targets: the repair mask, the edge map, a layer's mask or a layer's pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from desktop.document.model import Change, Layer, State
from engine.raster import Rect
from engine.tiles import TileEdit, TileMap


class Target(ABC):
    """Identifies one tile map of a document's state. A value object."""

    saved = True
    """Whether it is saved in project files."""

    @abstractmethod
    def exists(self, state: State) -> bool:
        """Whether the state has it."""

    @abstractmethod
    def name(self, state: State) -> str:
        """The words in the interface, as a part of a sentence: ``the mask of Repair 3``."""

    @abstractmethod
    def read(self, state: State) -> TileMap:
        """The map; an empty one where the state has none."""

    @abstractmethod
    def put(self, state: State, tiles: TileMap) -> State:
        """The state with this map replaced."""

    def edit(self, state: State) -> TileEdit:
        """Begin an edit of the map."""
        return self.read(state).edit()

    def change(self, rect: Rect) -> Change:
        """What has to be redrawn when a rectangle of the map changed."""
        return Change(mask=rect)


@dataclass(frozen=True)
class RepairMask(Target):
    """Where the restorer wants the picture repaired."""

    def exists(self, state: State) -> bool:
        del state
        return True

    def name(self, state: State) -> str:
        del state
        return "the repair mask"

    def read(self, state: State) -> TileMap:
        return state.mask

    def put(self, state: State, tiles: TileMap) -> State:
        return replace(state, mask=tiles)


@dataclass(frozen=True)
class EdgeMap(Target):
    """The edges that guide the next repair. A map without stored tiles counts as no edge map."""

    saved = False

    def exists(self, state: State) -> bool:
        return state.edges is not None

    def name(self, state: State) -> str:
        del state
        return "the edges"

    def read(self, state: State) -> TileMap:
        # With holes, so that a map in which all edges were erased differs from no map.
        return state.edges or TileMap.empty(state.mask.shape, np.uint8, holes=True)

    def put(self, state: State, tiles: TileMap) -> State:
        return replace(state, edges=tiles if tiles.stored else None)


@dataclass(frozen=True)
class EdgeReach(Target):
    """The repair mask for which the edge map was drawn: the edges guide repairs only there. No tool paints it."""

    saved = False

    def exists(self, state: State) -> bool:
        return state.guided is not None

    def name(self, state: State) -> str:
        del state
        return "the reach of the edges"

    def read(self, state: State) -> TileMap:
        return state.guided or TileMap.empty(state.mask.shape, np.uint8)

    def put(self, state: State, tiles: TileMap) -> State:
        return replace(state, guided=tiles if tiles.stored else None)


@dataclass(frozen=True)
class LayerMask(Target):
    """Where a layer shows; can be painted only in cells in which the layer has something to show.

    Attributes:
        layer: its id.
    """

    layer: int

    def exists(self, state: State) -> bool:
        return state.find(self.layer) is not None

    def name(self, state: State) -> str:
        return f"the mask of {state.layer(self.layer).name}"

    def read(self, state: State) -> TileMap:
        return state.layer(self.layer).mask

    def put(self, state: State, tiles: TileMap) -> State:
        return state.with_layer(replace(state.layer(self.layer), mask=tiles))

    def edit(self, state: State) -> TileEdit:
        layer = state.layer(self.layer)
        return layer.mask.edit(layer.content.mask_within())

    def change(self, rect: Rect) -> Change:
        return Change(picture=rect, layers=True)


@dataclass(frozen=True)
class LayerPixels(Target):
    """The pixels of a layer with pixel content; its mask says where they show.

    Attributes:
        layer: its id.
    """

    layer: int

    def exists(self, state: State) -> bool:
        layer = state.find(self.layer)
        return layer is not None and layer.has_pixels

    def name(self, state: State) -> str:
        return f"the pixels of {state.layer(self.layer).name}"

    def read(self, state: State) -> TileMap:
        return state.layer(self.layer).pixels

    def put(self, state: State, tiles: TileMap) -> State:
        layer: Layer = state.layer(self.layer)
        return state.with_layer(layer.with_pixels(tiles, layer.mask))

    def change(self, rect: Rect) -> Change:
        return Change(picture=rect, layers=True)


REPAIR_MASK = RepairMask()
EDGE_MAP = EdgeMap()
EDGE_REACH = EdgeReach()
