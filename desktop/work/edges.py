"""Drawing the edges that a repair would follow, so that the restorer can change them first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from desktop.document.compose import Composite
from desktop.document.edits import Compound, Edit, Paint
from desktop.document.model import Document, Layer, State
from desktop.document.targets import EDGE_MAP, EDGE_REACH
from desktop.document.tiles import TileDelta, TileMap, compact
from desktop.work.base import Job, NextActive, Outcome, TaskRequest, TaskRunner, index_above
from engine.jobs import JobContext

if TYPE_CHECKING:
    from engine.runtime.cards import Registry
    from engine.tasks import Marks

_LABEL = "Draw edges"


@dataclass(frozen=True, kw_only=True)
class DrawEdges(Job):
    """The first half of a repair that follows edges: those it would draw replace the edge map, to be painted on.

    Attributes:
        request: of the repair.
    """

    request: TaskRequest
    changes = False


class EdgesRunner(TaskRunner[DrawEdges]):
    """Runs a ``DrawEdges``."""

    def __init__(self, job: DrawEdges, document: Document, registry: Registry) -> None:
        super().__init__(job, document, registry, job.request)

    def freeze(self, active: Layer | None) -> Callable[[JobContext], Outcome]:
        """The picture that is read is the one that the repair will read."""
        from engine.tasks import draw_edges

        document = self._document
        job = self._task_input(Composite.of(document.state, below=index_above(document, active)))

        def work(context: JobContext) -> Outcome:
            marks = draw_edges(job, context)
            return Outcome(marks, marks.device.value)

        return work

    def edit(self, outcome: Outcome) -> tuple[Edit | None, NextActive]:
        """Where the mask is the map is stored even without an edge: no edge is an answer, too."""
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
    """The edge map goes; None when there is none."""
    return Compound("Clear edges", clear_edges_edits("Clear edges", state)) if state.edges is not None else None


def clear_edges_edits(label: str, state: State) -> list[Edit]:
    """The edits by which the edge map goes, and the mask that it was drawn for."""
    return [
        Paint(label, target, TileDelta({cell: (tile, None) for cell, tile in target.read(state).stored.items()}))
        for target in (EDGE_MAP, EDGE_REACH)
    ]


def _marks_map(marks: Marks, shape: tuple[int, int]) -> TileMap:
    """Marks as a map of the picture's (height, width)."""
    tiles = TileMap.empty(shape, np.uint8)
    edit = tiles.edit()
    for rect, part in marks.pieces:
        edit.write(rect, part)
    return edit.commit().apply_to(tiles)
