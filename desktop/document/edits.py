"""Every change to a document: named, revertible, and as large as what it touches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from desktop.document.blend import BlendMode
from desktop.document.compose import Composite
from desktop.document.geometry import Motion, Turn
from desktop.document.model import Change, Document, Layer, State
from desktop.document.review import Filters, Judgement, KeptReview, Point, Review, moved_judgements
from desktop.document.targets import EDGE_MAP, EDGE_REACH, Target
from desktop.document.tiles import TileDelta, TileMap
from engine.jobs import JobContext
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

    def deltas(self) -> list[TileDelta]:
        """The tiles among what it holds; they can be put away."""
        return []


class Paint(Edit):
    """A finished stroke, selection or filter on something that can be painted.

    Args:
        label: for the history.
        target: what was painted.
        delta: what changed of it.
    """

    def __init__(self, label: str, target: Target, delta: TileDelta) -> None:
        self.label, self._target, self._delta = label, target, delta
        self.saved = target.saved

    def apply(self, document: Document) -> None:
        self._exchange(document, self._delta.applied)

    def revert(self, document: Document) -> None:
        self._exchange(document, self._delta.reverted)

    def _exchange(self, document: Document, how: Callable[[TileMap], TileMap]) -> None:
        before = document.state
        after = self._target.put(before, how(self._target.read(before)))
        change = self._target.change(self._delta.extent)
        came_or_went = self._target.exists(before) != self._target.exists(after)
        document.update(after, replace(change, layers=change.layers or came_or_went))

    def deltas(self) -> list[TileDelta]:
        return [self._delta]


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

    def deltas(self) -> list[TileDelta]:
        return self._kept.deltas


class RemoveLayer(Edit):
    """A layer goes."""

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
        picture = Rect(0, 0, 0, 0) if properties.keys() == {"name"} else layer.content.extent()
        document.update(document.state.with_layer(layer), Change(picture=picture, layers=True))


class JoinLayer(Edit):
    """More repaired pixels on a layer that is there."""

    def __init__(self, label: str, id_: int, pixels: TileDelta, mask: TileDelta, made_by: Repair) -> None:
        self.label, self._id, self._pixels, self._mask, self._made_by = label, id_, pixels, mask, made_by

    def apply(self, document: Document) -> None:
        layer = document.state.layer(self._id)
        made_by = (*layer.made_by, self._made_by)
        layer = layer.with_pixels(self._pixels.applied(layer.pixels), self._mask.applied(layer.mask))
        self._put(document, replace(layer, made_by=made_by))

    def revert(self, document: Document) -> None:
        layer = document.state.layer(self._id)
        made_by = layer.made_by[:-1]
        layer = layer.with_pixels(self._pixels.reverted(layer.pixels), self._mask.reverted(layer.mask))
        self._put(document, replace(layer, made_by=made_by))

    def _put(self, document: Document, layer: Layer) -> None:
        extent = self._pixels.extent | self._mask.extent
        document.update(document.state.with_layer(layer), Change(picture=extent, layers=True))

    def deltas(self) -> list[TileDelta]:
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

    def deltas(self) -> list[TileDelta]:
        return [*self._before.deltas, *self._after.deltas]


class SetReview(Edit):
    """Other filters of a review, or more judgements.

    Args:
        label: for the history.
        review: as it is before.
        filters: the new ones; None = they stay.
        judgements: what is decided now; what was decided about other defects stays.
        recipe: which recipe goes on afterwards; None = as before.
        gesture: edits with the same number above 0 are one step: a slider that is dragged.
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
        self, document: Document, told: tuple[Filters, str], judgements: Callable[[Review], Mapping[Point, Judgement]]
    ) -> None:
        review, (filters, recipe) = document.state.review, told
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
    """The whole picture turned, layers and masks too, without loss.

    Args:
        turn: how.
        state: the picture before.
        context: progress and cancellation of turning everything, which is done here; any thread.

    Raises:
        Cancelled: the context was cancelled.
    """

    def __init__(self, turn: Turn, state: State, context: JobContext | None = None) -> None:
        self.label = turn.title
        # Kept, not turned back: tiles that turn to and fro would become more and more.
        motion = Motion.of_turn(turn, state.scan.bounds)
        self._before, self._after = _KeptState(state), _KeptState(moved(state, motion, context or JobContext()))

    def apply(self, document: Document) -> None:
        document.update(self._after.state, Change(layers=True, size=True, review=True))

    def revert(self, document: Document) -> None:
        document.update(self._before.state, Change(layers=True, size=True, review=True))

    def deltas(self) -> list[TileDelta]:
        return [*self._before.deltas, *self._after.deltas]


def merge_down(state: State, id_: int, empty: Layer, context: JobContext | None = None) -> Edit:
    """Join a layer with the one below it so that the picture stays as it is. Any thread.

    The result is a normal, opaque layer that carries the composed picture wherever one of the two shows.

    Args:
        state: the document's.
        id_: of the upper layer.
        empty: a new layer of the document, for the result.
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
    merged = empty.with_pixels(pixels.commit().applied(empty.pixels), mask.commit().applied(empty.mask))
    # What did not show is not in the result either, and no record lists it.
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


def moved(state: State, motion: Motion, context: JobContext | None = None) -> State:
    """Everything of a state moved, without loss. Any thread.

    Raises:
        Cancelled: the context was cancelled.
    """
    context = context or JobContext()
    scan = motion.tiles(state.scan.with_levels(()))
    layers = []
    for number, layer in enumerate(state.layers):
        part = context.part(number / len(state.layers), (number + 1) / len(state.layers))
        content = layer.content.moved(motion, scan, part.part(0.0, 0.8))
        layers.append(replace(layer, content=content, mask=motion.tiles(layer.mask, None, part.part(0.8, 1.0))))
    edges, guided = (motion.tiles(tiles) if tiles is not None else None for tiles in (state.edges, state.guided))
    review = moved_review(state.review, motion) if state.review is not None else None
    geometry = state.geometry.moved(motion)
    return State(scan, tuple(layers), motion.tiles(state.mask), geometry, edges, guided, review)


def moved_review(review: Review, motion: Motion) -> Review:
    """A review with its map and its judgements moved."""
    judgements = moved_judgements(review.judgements, motion.rect)
    return replace(review, damage=motion.tiles(review.damage), judgements=judgements)


def _layer_change(layer: Layer) -> Change:
    return Change(picture=layer.content.extent(), layers=True)


def _emptied(tiles: TileMap) -> TileMap:
    """A map like another, with nothing in it."""
    return TileMap.empty(tiles.shape, tiles.dtype, holes=tiles.holes)


def _contents(tiles: TileMap) -> TileDelta:
    """What fills ``_emptied`` again."""
    return TileDelta({cell: (None, tile) for cell, tile in tiles.stored.items()})


class _Kept:
    """A layer that an edit holds on to; its tiles can be put away."""

    def __init__(self, layer: Layer) -> None:
        self._maps = {name: (_emptied(tiles), _contents(tiles)) for name, tiles in layer.content.maps().items()}
        content = layer.content.with_maps({name: empty for name, (empty, _) in self._maps.items()})
        self._mask = _contents(layer.mask)
        self._bare = replace(layer, content=content, mask=_emptied(layer.mask))

    @property
    def layer(self) -> Layer:
        """The layer with its tiles."""
        maps = {name: tiles.applied(empty) for name, (empty, tiles) in self._maps.items()}
        content = self._bare.content.with_maps(maps)
        return replace(self._bare, content=content, mask=self._mask.applied(self._bare.mask))

    @property
    def deltas(self) -> list[TileDelta]:
        """The tiles."""
        return [*(tiles for _, tiles in self._maps.values()), self._mask]


class _KeptState:
    """A whole state that an edit holds on to; all its tiles but the scan can be put away."""

    def __init__(self, state: State) -> None:
        self._layers = [_Kept(layer) for layer in state.layers]
        self._mask, self._review = _contents(state.mask), KeptReview(state.review)
        targets = (EDGE_MAP, EDGE_REACH)
        self._drawn = {target: _contents(target.read(state)) for target in targets if target.exists(state)}
        # The reductions of the scan are made again when they are needed.
        self._bare = State(state.scan.with_levels(()), (), _emptied(state.mask), state.geometry)

    @property
    def state(self) -> State:
        """The state with its tiles."""
        layers = tuple(kept.layer for kept in self._layers)
        mask = self._mask.applied(self._bare.mask)
        state = replace(self._bare, layers=layers, mask=mask, review=self._review.review)
        for target, tiles in self._drawn.items():
            state = target.put(state, tiles.applied(target.read(state)))
        return state

    @property
    def deltas(self) -> list[TileDelta]:
        """The tiles."""
        layers = [delta for kept in self._layers for delta in kept.deltas]
        return [*layers, self._mask, *self._drawn.values(), *self._review.deltas]
