"""The edits of a document. Each is one undo step, which holds only what it changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from desktop.document.blend import BlendMode
from desktop.document.compose import Composite
from desktop.document.geometry import Transform, Turn
from desktop.document.model import Change, Document, Layer, State
from desktop.document.targets import EDGE_MAP, EDGE_REACH, Target
from engine.jobs import JobContext
from engine.raster import Rect
from engine.record import Repair
from engine.review import Filters, Judgement, Point, Review, UndoReview, transform_judgements
from engine.tiles import TileDelta, TileMap


class Edit(ABC):
    """One undo step. ``apply`` and ``revert`` are called alternately, beginning with ``apply``. GUI thread."""

    label: str
    """Its name in the history panel."""
    saved = True
    """Whether it changes anything that project files keep."""

    @abstractmethod
    def apply(self, document: Document) -> None:
        """Change the document.

        Raises:
            ReadError: tiles that were moved to disk cannot be read back.
        """

    @abstractmethod
    def revert(self, document: Document) -> None:
        """Restore the document exactly as it was before; raises as ``apply``."""

    def merge_with(self, _later: Edit) -> Edit | None:
        """One edit that does this and the next one; None when they are separate undo steps."""
        return None

    def deltas(self) -> list[TileDelta]:
        """The tiles that it holds; they can be moved to disk."""
        return []


class Paint(Edit):
    """A finished stroke, selection or filter on a paint target.

    Args:
        label: for the history.
        target: the map that was painted.
        delta: its change.
    """

    def __init__(self, label: str, target: Target, delta: TileDelta) -> None:
        self.label, self._target, self._delta = label, target, delta
        self.saved = target.saved

    def apply(self, document: Document) -> None:
        self._exchange(document, self._delta.apply_to)

    def revert(self, document: Document) -> None:
        self._exchange(document, self._delta.remove_from)

    def _exchange(self, document: Document, how: Callable[[TileMap], TileMap]) -> None:
        before = document.state
        after = self._target.put(before, how(self._target.read(before)))
        change = self._target.change(self._delta.extent)
        came_or_went = self._target.exists(before) != self._target.exists(after)
        document.update(after, replace(change, layers=change.layers or came_or_went))

    def deltas(self) -> list[TileDelta]:
        return [self._delta]


class AddLayer(Edit):
    """Adds a layer at an index, 0 = just above the scan."""

    def __init__(self, label: str, layer: Layer, index: int) -> None:
        self.label, self._stored, self._index = label, _UndoLayer(layer), index

    def apply(self, document: Document) -> None:
        layer = self._stored.layer
        layers = list(document.state.layers)
        layers.insert(self._index, layer)
        document.update(replace(document.state, layers=tuple(layers)), _layer_change(layer))

    def revert(self, document: Document) -> None:
        layer = document.state.layers[self._index]
        layers = list(document.state.layers)
        del layers[self._index]
        document.update(replace(document.state, layers=tuple(layers)), _layer_change(layer))

    def deltas(self) -> list[TileDelta]:
        return self._stored.deltas


class RemoveLayer(Edit):
    """Removes a layer."""

    def __init__(self, label: str, state: State, id_: int) -> None:
        self.label = label
        self._adding = AddLayer(label, state.layer(id_), state.index(id_))

    def apply(self, document: Document) -> None:
        self._adding.revert(document)

    def revert(self, document: Document) -> None:
        self._adding.apply(document)

    def deltas(self) -> list[TileDelta]:
        return self._adding.deltas()


class MoveLayer(Edit):
    """Moves a layer to another index."""

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
    """Changes properties of a layer: name, opacity, blend mode or visibility.

    Args:
        label: for the history.
        layer: as it is before.
        properties: the new values by name.
        gesture: number of a slider drag, 0 = none. Edits of the same drag, layer and property are merged to one step.
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

    def merge_with(self, later: Edit) -> Edit | None:
        if not isinstance(later, SetLayer) or not self._gesture or self._merge_key != later._merge_key:  # noqa: SLF001 - its own class
            return None
        later._before = self._before  # noqa: SLF001
        return later

    @property
    def _merge_key(self) -> tuple[int, int, tuple[str, ...]]:
        return self._gesture, self._id, tuple(self._after)

    def _set(self, document: Document, properties: dict[str, Any]) -> None:
        layer = replace(document.state.layer(self._id), **properties)
        picture = Rect(0, 0, 0, 0) if properties.keys() == {"name"} else layer.content.extent()
        document.update(document.state.with_layer(layer), Change(picture=picture, layers=True))


class AddToLayer(Edit):
    """Adds repaired pixels to an existing layer.

    Args:
        label: for the history.
        id_: of the layer.
        pixels: change of its pixels.
        mask: change of its mask.
        made_by: the repair, for the record.
    """

    def __init__(self, label: str, id_: int, pixels: TileDelta, mask: TileDelta, made_by: Repair) -> None:
        self.label, self._id, self._pixels, self._mask, self._made_by = label, id_, pixels, mask, made_by

    def apply(self, document: Document) -> None:
        layer = document.state.layer(self._id)
        made_by = (*layer.made_by, self._made_by)
        layer = layer.with_pixels(self._pixels.apply_to(layer.pixels), self._mask.apply_to(layer.mask))
        self._put(document, replace(layer, made_by=made_by))

    def revert(self, document: Document) -> None:
        layer = document.state.layer(self._id)
        made_by = layer.made_by[:-1]
        layer = layer.with_pixels(self._pixels.remove_from(layer.pixels), self._mask.remove_from(layer.mask))
        self._put(document, replace(layer, made_by=made_by))

    def _put(self, document: Document, layer: Layer) -> None:
        extent = self._pixels.extent | self._mask.extent
        document.update(document.state.with_layer(layer), Change(picture=extent, layers=True))

    def deltas(self) -> list[TileDelta]:
        return [self._pixels, self._mask]


class ReplaceReview(Edit):
    """Replaces the document's review by that of another search, or removes it."""

    def __init__(self, label: str, state: State, review: Review | None) -> None:
        self.label = label
        self._before, self._after = UndoReview(state.review), UndoReview(review)

    def apply(self, document: Document) -> None:
        document.update(replace(document.state, review=self._after.review), Change(review=True))

    def revert(self, document: Document) -> None:
        document.update(replace(document.state, review=self._before.review), Change(review=True))

    def deltas(self) -> list[TileDelta]:
        return [*self._before.deltas, *self._after.deltas]


class UpdateReview(Edit):
    """Changes the filters, judgements or recipe of the document's review.

    Args:
        label: for the history.
        review: as it is before.
        filters: the new ones; None = unchanged.
        judgements: added as the latest; those about other defects stay.
        recipe: name of the recipe that is continued after the review; None = unchanged.
        gesture: number of a slider drag, 0 = none. Edits of the same drag are merged to one step.
    """

    def __init__(
        self,
        label: str,
        review: Review,
        *,
        filters: Filters | None = None,
        judgements: Mapping[Point, Judgement] | None = None,
        recipe: str | None = None,
        gesture: int = 0,
    ) -> None:
        self.label, self._gesture = label, gesture
        self._before = review.filters, review.recipe
        self._after = filters or review.filters, review.recipe if recipe is None else recipe
        # Thousands of defects may be judged one by one: each step holds only the judgements it changes.
        self._decided = dict(judgements or {})
        self._replaced = review.positions(self._decided) if self._decided else {}

    def apply(self, document: Document) -> None:
        self._set(document, self._after, lambda review: review.with_judgements(self._decided))

    def revert(self, document: Document) -> None:
        self._set(document, self._before, lambda review: review.without_judgements(self._decided, self._replaced))

    def merge_with(self, later: Edit) -> Edit | None:
        if not isinstance(later, UpdateReview) or not self._gesture or self._gesture != later._gesture:  # noqa: SLF001 - its own class
            return None
        later._before = self._before  # noqa: SLF001
        return later

    def _set(
        self,
        document: Document,
        settings: tuple[Filters, str],
        judgements: Callable[[Review], Mapping[Point, Judgement]],
    ) -> None:
        review, (filters, recipe) = document.state.review, settings
        assert review is not None
        review = replace(review, filters=filters, recipe=recipe, judgements=judgements(review))
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

    def deltas(self) -> list[TileDelta]:
        return [delta for edit in self._edits for delta in edit.deltas()]


class TurnPicture(Edit):
    """Rotates or flips the whole picture with its layers and masks, without loss.

    The constructor does the work and may run on any thread.

    Args:
        turn: how.
        state: of the document.
        context: progress and cancellation.

    Raises:
        Cancelled: the context was cancelled.
    """

    def __init__(self, turn: Turn, state: State, context: JobContext | None = None) -> None:
        self.label = turn.title
        # The old state is kept, not computed back: transformed tiles can cover more cells than the ones before.
        transform = Transform.of_turn(turn, state.scan.bounds)
        self._before, self._after = (
            _UndoState(state),
            _UndoState(transform_state(state, transform, context or JobContext())),
        )

    def apply(self, document: Document) -> None:
        document.update(self._after.state, Change(layers=True, size=True, review=True))

    def revert(self, document: Document) -> None:
        document.update(self._before.state, Change(layers=True, size=True, review=True))

    def deltas(self) -> list[TileDelta]:
        return [*self._before.deltas, *self._after.deltas]


def merge_down(state: State, id_: int, empty: Layer, context: JobContext | None = None) -> Edit:
    """Merge a layer with the one below it; the visible picture stays the same. Any thread.

    The result is a normal, opaque layer that holds the composed picture wherever one of the two layers shows.

    Args:
        state: of the document.
        id_: of the upper layer.
        empty: a new, empty layer of the document, for the result.
        context: progress and cancellation.

    Raises:
        Cancelled: the context was cancelled.
    """
    context = context or JobContext()
    index = state.index(id_)
    upper, lower = state.layers[index], state.layers[index - 1]
    composite, above = Composite.of(state, below=index + 1), [layer.operation() for layer in (lower, upper)]
    pixels, mask = empty.pixels.edit(), empty.mask.edit()
    cells = sorted({cell for operation in above for cell in operation.cells()})
    for done, cell in enumerate(cells):
        context.progress(done / len(cells), "merging")
        rect = Rect.of_cell(cell) & state.scan.bounds
        shows = np.zeros((rect.height, rect.width), bool)
        for layer, operation in zip((lower, upper), above, strict=True):
            if layer.shows and operation.touches(cell, 0):
                shows |= layer.mask.tile(cell) > 0
        pixels.write(rect, composite.read(rect))
        mask.write(rect, np.where(shows, np.uint8(255), np.uint8(0)))
    merged = empty.with_pixels(pixels.commit().apply_to(empty.pixels), mask.commit().apply_to(empty.mask))
    # A layer that is not visible contributes no pixels, so its repairs are not recorded either.
    shown = [layer for layer in (lower, upper) if layer.shows and not layer.mask.is_empty()]
    merged = replace(merged, name=lower.name, made_by=tuple(repair for layer in shown for repair in layer.made_by))
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


def transform_state(state: State, transform: Transform, context: JobContext | None = None) -> State:
    """A state with everything rotated or flipped, without loss. Any thread.

    Raises:
        Cancelled: the context was cancelled.
    """
    context = context or JobContext()
    scan = transform.tiles(state.scan.with_levels(()))
    layers = []
    for number, layer in enumerate(state.layers):
        part = context.part(number / len(state.layers), (number + 1) / len(state.layers))
        content = layer.content.transformed(transform, scan, part.part(0.0, 0.8))
        layers.append(replace(layer, content=content, mask=transform.tiles(layer.mask, None, part.part(0.8, 1.0))))
    edges, guided = (transform.tiles(tiles) if tiles is not None else None for tiles in (state.edges, state.guided))
    review = transform_review(state.review, transform) if state.review is not None else None
    geometry = state.geometry.transformed(transform)
    return State(scan, tuple(layers), transform.tiles(state.mask), geometry, edges, guided, review)


def transform_review(review: Review, transform: Transform) -> Review:
    """A review with its map and its judgements rotated or flipped."""
    judgements = transform_judgements(review.judgements, transform.rect)
    return replace(review, damage=transform.tiles(review.damage), judgements=judgements)


def _layer_change(layer: Layer) -> Change:
    return Change(picture=layer.content.extent(), layers=True)


def _empty_like(tiles: TileMap) -> TileMap:
    """An empty map of the same shape and type."""
    return TileMap.empty(tiles.shape, tiles.dtype, holes=tiles.holes)


def _tiles_of(tiles: TileMap) -> TileDelta:
    """The stored tiles of a map, as the delta that adds them to ``_empty_like`` of it."""
    return TileDelta({cell: (None, tile) for cell, tile in tiles.stored.items()})


class _UndoLayer:
    """A layer as an undo step holds it: its tiles are deltas, which can be moved to disk."""

    def __init__(self, layer: Layer) -> None:
        self._maps = {name: (_empty_like(tiles), _tiles_of(tiles)) for name, tiles in layer.content.maps().items()}
        content = layer.content.with_maps({name: empty for name, (empty, _) in self._maps.items()})
        self._mask = _tiles_of(layer.mask)
        self._bare = replace(layer, content=content, mask=_empty_like(layer.mask))

    @property
    def layer(self) -> Layer:
        """The layer."""
        maps = {name: tiles.apply_to(empty) for name, (empty, tiles) in self._maps.items()}
        content = self._bare.content.with_maps(maps)
        return replace(self._bare, content=content, mask=self._mask.apply_to(self._bare.mask))

    @property
    def deltas(self) -> list[TileDelta]:
        """Its tiles."""
        return [*(tiles for _, tiles in self._maps.values()), self._mask]


class _UndoState:
    """A whole state as an undo step holds it: all tiles but the scan's are deltas, which can be moved to disk."""

    def __init__(self, state: State) -> None:
        self._layers = [_UndoLayer(layer) for layer in state.layers]
        self._mask, self._review = _tiles_of(state.mask), UndoReview(state.review)
        targets = (EDGE_MAP, EDGE_REACH)
        self._edges = {target: _tiles_of(target.read(state)) for target in targets if target.exists(state)}
        # The reductions of the scan are computed again when they are needed.
        self._bare = State(state.scan.with_levels(()), (), _empty_like(state.mask), state.geometry)

    @property
    def state(self) -> State:
        """The state."""
        layers = tuple(stored.layer for stored in self._layers)
        mask = self._mask.apply_to(self._bare.mask)
        state = replace(self._bare, layers=layers, mask=mask, review=self._review.review)
        for target, tiles in self._edges.items():
            state = target.put(state, tiles.apply_to(target.read(state)))
        return state

    @property
    def deltas(self) -> list[TileDelta]:
        """Its tiles."""
        layers = [delta for stored in self._layers for delta in stored.deltas]
        return [*layers, self._mask, *self._edges.values(), *self._review.deltas]
