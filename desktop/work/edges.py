"""Draws the edges that would guide a repair, so that the restorer can edit them first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from desktop.document.compose import Composite
from desktop.document.edits import Compound, Edit, Paint
from desktop.document.model import Document, Layer, State
from desktop.document.targets import EDGE_MAP, EDGE_REACH
from desktop.work.base import Job, NextActive, Outcome, TaskRequest, TaskRunner, index_above
from engine.jobs import JobContext
from engine.tiles import TileDelta, TileMap, compact

if TYPE_CHECKING:
    from engine.runtime.cards import Registry
    from engine.tasks import Marks

_LABEL = "Draw edges"


@dataclass(frozen=True, kw_only=True)
class DrawEdges(Job):
    """Runs the edge stage of an edge-guided repair; its edges replace the edge map, which can then be painted.

    Attributes:
        request: the repair.
    """

    request: TaskRequest
    changes = False


class EdgesRunner(TaskRunner[DrawEdges]):
    """Executes ``DrawEdges``."""

    def __init__(self, job: DrawEdges, document: Document, registry: Registry) -> None:
        super().__init__(job, document, registry, job.request)

    def freeze(self, active: Layer | None) -> Callable[[JobContext], Outcome]:
        """Freeze the same picture that the repair will read: all that is visible up to the active layer."""
        from engine.tasks import draw_edges

        document = self._document
        job = self._task_input(Composite.of(document.state, below=index_above(document, active)))

        def work(context: JobContext) -> Outcome:
            marks = draw_edges(job, context)
            return Outcome(marks, marks.device.value)

        return work

    def edit(self, outcome: Outcome) -> tuple[Edit | None, NextActive]:
        """Replace the edge map. Tiles under the mask are stored even without an edge: that too guides the repair."""
        state, mask, transform = self._document.state, self.mask, self._transform()
        frozen = transform.bounds
        drawn = transform.tiles(_marks_map(outcome.result, (frozen.height, frozen.width)))
        cells = {cell for rect in (mask.occupied() if mask is not None else ()) for cell in rect.cells()}
        before = EDGE_MAP.read(state).stored
        changes = {
            cell: (before.get(cell), compact(drawn.tile(cell)) if cell in cells or cell in drawn.stored else None)
            for cell in {*cells, *drawn.stored, *before}
        }
        steps = [Paint(_LABEL, EDGE_MAP, TileDelta(changes))]
        if mask is not None:
            before = EDGE_REACH.read(state).stored
            kept = {cell: (before.get(cell), mask.stored.get(cell)) for cell in {*before, *mask.stored}}
            steps.append(Paint(_LABEL, EDGE_REACH, TileDelta(kept)))
        return Compound(_LABEL, steps), EDGE_MAP


def clear_edges(state: State) -> Edit | None:
    """The edit that removes the edge map; None when there is none."""
    return Compound("Clear edges", clear_edges_edits("Clear edges", state)) if state.edges is not None else None


def clear_edges_edits(label: str, state: State) -> list[Edit]:
    """The edits that remove the edge map, and the mask for which it was drawn."""
    return [
        Paint(label, target, TileDelta({cell: (tile, None) for cell, tile in target.read(state).stored.items()}))
        for target in (EDGE_MAP, EDGE_REACH)
    ]


def _marks_map(marks: Marks, shape: tuple[int, int]) -> TileMap:
    """Marks as a tile map (height, width) uint8."""
    tiles = TileMap.empty(shape, np.uint8)
    edit = tiles.edit()
    for rect, part in marks.pieces:
        edit.write(rect, part)
    return edit.commit().apply_to(tiles)
