"""Every change to a document: named, revertible, and as large as what it touches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desktop.document.compose import Composite
from desktop.document.model import EDGES, GUIDED, BlendMode, Change, Document, Layer, State
from desktop.document.review import Filters, Judgement, KeptReview, Point, Review, placed
from desktop.document.tiles import TileEdit, TileMap, TilePatch
from engine.raster import Rect
from engine.record import Repair


class Edit(ABC):
    """One undo step. ``apply`` and ``revert`` take turns, beginning with ``apply``."""

    label: str
    """For the history panel."""
    saved = True
    """Whether files keep what it does."""

    @abstractmethod
    def apply(self, document: Document) -> None:
        """Do it."""

    @abstractmethod
    def revert(self, document: Document) -> None:
        """Take it back; the document is then as it was, bit for bit."""

    def merged(self, _later: Edit) -> Edit | None:
        """One edit instead of this and the next one, or None when they are two steps."""
        return None

    def patches(self) -> list[TilePatch]:
        """The tile patches among what it holds; they can be put away."""
        return []


class PaintMask(Edit):
    """A finished stroke, selection or filter on the repair mask, on a layer's mask, or on the edge map.

    Args:
        label: for the history.
        target: id of the layer whose mask it is; None is the repair mask, ``EDGES`` the edge map, ``GUIDED`` the mask
            that this was drawn for.
        patch: what changed.
    """

    def __init__(self, label: str, target: int | None, patch: TilePatch) -> None:
        self.label, self._target, self._patch = label, target, patch
        self.saved = target not in (EDGES, GUIDED)

    def apply(self, document: Document) -> None:
        self._exchange(document, self._patch.applied)

    def revert(self, document: Document) -> None:
        self._exchange(document, self._patch.reverted)

    def _exchange(self, document: Document, how: Callable[[TileMap], TileMap]) -> None:
        before = document.state
        after = with_mask(before, self._target, how(mask_of(before, self._target)))
        change = mask_change(self._target, self._patch.extent)
        came_or_went = (before.edges is None) != (after.edges is None)
        document.update(after, replace(change, layers=change.layers or came_or_went))

    def patches(self) -> list[TilePatch]:
        return [self._patch]


class AddLayer(Edit):
    """A new layer at an index, 0 = just above the scan."""

    def __init__(self, label: str, layer: Layer, index: int) -> None:
        self.label, self._kept, self._index = label, _Kept(layer), index

    def apply(self, document: Document) -> None:
        layer = self._kept.layer
        layers = list(document.state.layers)
        layers.insert(self._index, layer)
        document.update(replace(document.state, layers=tuple(layers)), _layer_change(layer))

    def revert(self, document: Document) -> None:
        layer = document.state.layers[self._index]
        layers = list(document.state.layers)
        del layers[self._index]
        document.update(replace(document.state, layers=tuple(layers)), _layer_change(layer))

    def patches(self) -> list[TilePatch]:
        return self._kept.patches


class RemoveLayer(Edit):
    """A layer goes."""

    def __init__(self, label: str, state: State, id_: int) -> None:
        self.label = label
        self._adding = AddLayer(label, state.layer(id_), state.index(id_))

    def apply(self, document: Document) -> None:
        self._adding.revert(document)

    def revert(self, document: Document) -> None:
        self._adding.apply(document)

    def patches(self) -> list[TilePatch]:
        return self._adding.patches()


class MoveLayer(Edit):
    """A layer changes places."""

    def __init__(self, label: str, state: State, id_: int, index: int) -> None:
        self.label = label
        self._from, self._to = state.index(id_), index

    def apply(self, document: Document) -> None:
        self._move(document, self._from, self._to)

    def revert(self, document: Document) -> None:
        self._move(document, self._to, self._from)

    def _move(self, document: Document, start: int, end: int) -> None:
        layers = list(document.state.layers)
        layer = layers.pop(start)
        layers.insert(end, layer)
        document.update(replace(document.state, layers=tuple(layers)), _layer_change(layer))


class SetLayer(Edit):
    """Other properties of a layer: name, opacity, blend mode or visibility.

    Args:
        label: for the history.
        layer: as it is before.
        properties: what becomes of it.
        gesture: edits of one property of one layer with the same number above 0 are one step: a slider that is dragged.
    """

    def __init__(
        self, label: str, layer: Layer, properties: dict[str, str | float | bool | BlendMode], gesture: int = 0
    ) -> None:
        self.label, self._id, self._gesture = label, layer.id, gesture
        self._before: dict[str, Any] = {name: getattr(layer, name) for name in properties}
        self._after: dict[str, Any] = dict(properties)

    def apply(self, document: Document) -> None:
        self._set(document, self._after)

    def revert(self, document: Document) -> None:
        self._set(document, self._before)

    def merged(self, later: Edit) -> Edit | None:
        if not isinstance(later, SetLayer) or not self._gesture or self._merge_key != later._merge_key:  # noqa: SLF001 - its own class
            return None
        later._before = self._before  # noqa: SLF001
        return later

    @property
    def _merge_key(self) -> tuple[int, int, tuple[str, ...]]:
        return self._gesture, self._id, tuple(self._after)

    def _set(self, document: Document, properties: dict[str, Any]) -> None:
        layer = replace(document.state.layer(self._id), **properties)
        picture = Rect(0, 0, 0, 0) if properties.keys() == {"name"} else layer.pixels.extent()
        document.update(document.state.with_layer(layer), Change(picture=picture, layers=True))


class JoinLayer(Edit):
    """More repaired pixels on a layer that is there."""

    def __init__(self, label: str, id_: int, pixels: TilePatch, mask: TilePatch, made_by: Repair) -> None:
        self.label, self._id, self._pixels, self._mask, self._made_by = label, id_, pixels, mask, made_by

    def apply(self, document: Document) -> None:
        layer = document.state.layer(self._id)
        pixels, mask = self._pixels.applied(layer.pixels), self._mask.applied(layer.mask)
        self._put(document, replace(layer, pixels=pixels, mask=mask, made_by=(*layer.made_by, self._made_by)))

    def revert(self, document: Document) -> None:
        layer = document.state.layer(self._id)
        pixels, mask = self._pixels.reverted(layer.pixels), self._mask.reverted(layer.mask)
        self._put(document, replace(layer, pixels=pixels, mask=mask, made_by=layer.made_by[:-1]))

    def _put(self, document: Document, layer: Layer) -> None:
        extent = self._pixels.extent | self._mask.extent
        document.update(document.state.with_layer(layer), Change(picture=extent, layers=True))

    def patches(self) -> list[TilePatch]:
        return [self._pixels, self._mask]


class PutReview(Edit):
    """Another search for damage instead of the one before, or none."""

    def __init__(self, label: str, state: State, review: Review | None) -> None:
        self.label = label
        self._before, self._after = KeptReview(state.review), KeptReview(review)

    def apply(self, document: Document) -> None:
        document.update(replace(document.state, review=self._after.review), Change(review=True))

    def revert(self, document: Document) -> None:
        document.update(replace(document.state, review=self._before.review), Change(review=True))

    def patches(self) -> list[TilePatch]:
        return [*self._before.patches, *self._after.patches]


class SetReview(Edit):
    """Other filters of a review, or more judgements.

    Args:
        label: for the history.
        review: as it is before.
        filters: the new ones; None = they stay.
        judgements: what is decided now; what was decided about other defects stays.
        gesture: edits with the same number above 0 are one step: a slider that is dragged.
    """

    def __init__(
        self,
        label: str,
        review: Review,
        *,
        filters: Filters | None = None,
        judgements: Mapping[Point, Judgement] | None = None,
        gesture: int = 0,
    ) -> None:
        self.label, self._gesture = label, gesture
        self._before, self._after = review.filters, filters or review.filters
        # Thousands of defects may be decided one by one: a step holds what it changes and no more.
        self._decided = dict(judgements or {})
        self._replaced = review.places(self._decided) if self._decided else {}

    def apply(self, document: Document) -> None:
        self._set(document, self._after, lambda review: review.judged(self._decided))

    def revert(self, document: Document) -> None:
        self._set(document, self._before, lambda review: review.unjudged(self._decided, self._replaced))

    def merged(self, later: Edit) -> Edit | None:
        if not isinstance(later, SetReview) or not self._gesture or self._gesture != later._gesture:  # noqa: SLF001 - its own class
            return None
        later._before = self._before  # noqa: SLF001
        return later

    def _set(
        self, document: Document, filters: Filters, judgements: Callable[[Review], Mapping[Point, Judgement]]
    ) -> None:
        review = document.state.review
        assert review is not None
        review = replace(review, filters=filters, judgements=judgements(review))
        document.update(replace(document.state, review=review), Change(review=True))


class Compound(Edit):
    """Several edits as one step."""

    def __init__(self, label: str, edits: Sequence[Edit]) -> None:
        self.label, self._edits = label, tuple(edits)
        self.saved = any(edit.saved for edit in edits)

    def apply(self, document: Document) -> None:
        for edit in self._edits:
            edit.apply(document)

    def revert(self, document: Document) -> None:
        for edit in reversed(self._edits):
            edit.revert(document)

    def patches(self) -> list[TilePatch]:
        return [patch for edit in self._edits for patch in edit.patches()]


class Turn(Enum):
    """The ways a picture is turned."""

    LEFT = "Rotate left"
    RIGHT = "Rotate right"
    HALF = "Rotate by 180°"
    FLIP_HORIZONTAL = "Flip horizontally"
    FLIP_VERTICAL = "Flip vertically"

    @property
    def inverse(self) -> Turn:
        """What takes it back."""
        return {Turn.LEFT: Turn.RIGHT, Turn.RIGHT: Turn.LEFT}.get(self, self)

    def array(self, array: NDArray[Any]) -> NDArray[Any]:
        """A turned view of (h, w, ...)."""
        if self is Turn.FLIP_HORIZONTAL:
            return array[:, ::-1]
        if self is Turn.FLIP_VERTICAL:
            return array[::-1]
        return np.rot90(array, {Turn.LEFT: 1, Turn.HALF: 2, Turn.RIGHT: 3}[self])

    def rect(self, rect: Rect, bounds: Rect) -> Rect:
        """Where a rectangle of a picture comes to lie."""
        left, top, right, bottom = rect.left, rect.top, rect.right, rect.bottom
        width, height = bounds.width, bounds.height
        return {
            Turn.LEFT: Rect(top, width - right, bottom, width - left),
            Turn.RIGHT: Rect(height - bottom, left, height - top, right),
            Turn.HALF: Rect(width - right, height - bottom, width - left, height - top),
            Turn.FLIP_HORIZONTAL: Rect(width - right, top, width - left, bottom),
            Turn.FLIP_VERTICAL: Rect(left, height - bottom, right, height - top),
        }[self]


def turns_between(earlier: tuple[str, ...], later: tuple[str, ...]) -> tuple[str, ...]:
    """The turns that lead from one state's orientation to another's, both counted from the same scan."""
    common = 0
    while common < min(len(earlier), len(later)) and earlier[common] == later[common]:
        common += 1
    back = tuple(Turn[name].inverse.name for name in reversed(earlier[common:]))
    return back + later[common:]


class TurnPicture(Edit):
    """The whole picture turned, layers and masks too, without loss."""

    def __init__(self, turn: Turn, state: State) -> None:
        self.label, self._turn = turn.value, turn
        # Kept, not turned back: tiles that turn to and fro would become more and more. The reductions are made again.
        self._bare = State(state.scan.with_levels(()), (), _emptied(state.mask), state.turns)
        self._review = KeptReview(state.review)
        self._mask = _contents(state.mask)
        drawn = {EDGES: state.edges, GUIDED: state.guided}
        self._drawn = {target: _contents(tiles) for target, tiles in drawn.items() if tiles is not None}
        self._layers = [_Kept(layer) for layer in state.layers]

    @property
    def _before(self) -> State:
        layers = tuple(kept.layer for kept in self._layers)
        mask = self._mask.applied(self._bare.mask)
        before = replace(self._bare, layers=layers, mask=mask, review=self._review.review)
        for target, contents in self._drawn.items():
            before = with_mask(before, target, contents.applied(mask_of(before, target)))
        return before

    def apply(self, document: Document) -> None:
        document.update(turned(self._before, self._turn), Change(layers=True, size=True, review=True))

    def revert(self, document: Document) -> None:
        document.update(self._before, Change(layers=True, size=True, review=True))

    def patches(self) -> list[TilePatch]:
        drawn = [self._mask, *self._drawn.values(), *self._review.patches]
        return [*drawn, *(patch for kept in self._layers for patch in kept.patches)]


def merge_down(document: Document, id_: int) -> Edit:
    """Join a layer with the one below it so that the picture stays as it is.

    The result is a normal, opaque layer that carries the composed picture wherever one of the two shows.
    """
    state = document.state
    index = state.index(id_)
    upper, lower = state.layers[index], state.layers[index - 1]
    composite = Composite.of(state, below=index + 1)
    empty = document.new_layer(lower.name)
    pixels, mask = empty.pixels.edit(), empty.mask.edit()
    for cell in {*upper.pixels.stored, *lower.pixels.stored}:
        rect = Rect.of_cell(cell) & document.bounds
        shows = np.zeros((rect.height, rect.width), bool)
        for layer in (upper, lower):
            if cell in layer.pixels.stored and layer.visible:
                shows |= layer.mask.tile(cell) > 0
        pixels.write(rect, composite.read(rect))
        mask.write(rect, np.where(shows, np.uint8(255), np.uint8(0)))
    merged = replace(
        empty,
        pixels=pixels.commit().applied(empty.pixels),
        mask=mask.commit().applied(empty.mask),
        made_by=(*lower.made_by, *upper.made_by),
    )
    label = f"Merge {upper.name} down"
    without_upper = replace(state, layers=(*state.layers[:index], *state.layers[index + 1 :]))
    return Compound(
        label,
        [
            RemoveLayer(label, state, upper.id),
            RemoveLayer(label, without_upper, lower.id),
            AddLayer(label, merged, index - 1),
        ],
    )


def mask_of(state: State, target: int | None) -> TileMap:
    """The repair mask, a layer's mask, the edge map or the mask it was drawn for (empty where there is none)."""
    if target == EDGES:
        # With holes, so that one without any edge is not none.
        return state.edges or TileMap.empty(state.mask.shape, np.uint8, holes=True)
    if target == GUIDED:
        return state.guided or TileMap.empty(state.mask.shape, np.uint8)
    return state.mask if target is None else state.layer(target).mask


def edit_mask(state: State, target: int | None) -> TileEdit:
    """Begin to change the repair mask, the edge map, or a layer's mask where the layer has pixels."""
    if target is None or target == EDGES:
        return mask_of(state, target).edit()
    layer = state.layer(target)
    return layer.mask.edit(layer.pixels)


def with_mask(state: State, target: int | None, mask: TileMap) -> State:
    """A state with what ``mask_of`` gives replaced; an edge map or its mask that stores nothing is none."""
    if target is None:
        return replace(state, mask=mask)
    if target == EDGES:
        return replace(state, edges=mask if mask.stored else None)
    if target == GUIDED:
        return replace(state, guided=mask if mask.stored else None)
    return state.with_layer(replace(state.layer(target), mask=mask))


def mask_change(target: int | None, rect: Rect) -> Change:
    """What painting a mask touches."""
    return Change(mask=rect) if target in (None, EDGES, GUIDED) else Change(picture=rect, layers=True)


def turned(state: State, turn: Turn) -> State:
    """Everything of a state turned, without loss."""
    scan = turned_tiles(state.scan, turn)
    layers = tuple(
        replace(layer, pixels=turned_tiles(layer.pixels, turn, scan), mask=turned_tiles(layer.mask, turn))
        for layer in state.layers
    )
    edges, guided = (turned_tiles(tiles, turn) if tiles is not None else None for tiles in (state.edges, state.guided))
    review = turned_review(state.review, turn) if state.review is not None else None
    return State(scan, layers, turned_tiles(state.mask, turn), (*state.turns, turn.name), edges, guided, review)


def turned_review(review: Review, turn: Turn) -> Review:
    """A review with its map and its judgements turned."""
    bounds = review.damage.bounds
    judgements = placed(review.judgements, lambda rect: turn.rect(rect, bounds))
    return replace(review, damage=turned_tiles(review.damage, turn), judgements=judgements)


def turned_tiles(tiles: TileMap, turn: Turn, below: TileMap | None = None) -> TileMap:
    """One map turned.

    Args:
        tiles: of the whole picture.
        turn: how.
        below: turned already; fills what holes leave of a tile that comes to lie across two.
    """
    bounds = tiles.bounds
    return tiles.transformed(turn.array, lambda rect: turn.rect(rect, bounds), below)


def _layer_change(layer: Layer) -> Change:
    return Change(picture=layer.pixels.extent(), layers=True)


def _emptied(tiles: TileMap) -> TileMap:
    """A map like another, with nothing in it."""
    return TileMap.empty(tiles.shape, tiles.dtype, holes=tiles.holes)


def _contents(tiles: TileMap) -> TilePatch:
    """What fills ``_emptied`` again."""
    return TilePatch({cell: (None, tile) for cell, tile in tiles.stored.items()})


class _Kept:
    """A layer that an edit holds on to; its tiles can be put away."""

    def __init__(self, layer: Layer) -> None:
        self._shell = replace(layer, pixels=_emptied(layer.pixels), mask=_emptied(layer.mask))
        self._pixels, self._mask = _contents(layer.pixels), _contents(layer.mask)

    @property
    def layer(self) -> Layer:
        pixels, mask = self._pixels.applied(self._shell.pixels), self._mask.applied(self._shell.mask)
        return replace(self._shell, pixels=pixels, mask=mask)

    @property
    def patches(self) -> list[TilePatch]:
        return [self._pixels, self._mask]
