"""Finds out whether layers hide a repair below them."""

from __future__ import annotations

from collections import Counter

import numpy as np

from desktop.document.blend import BlendMode
from desktop.document.model import Layer, State
from engine.raster import Rect
from engine.tiles import TileMap

_MOST_CELLS = 64
"""Tiles of a layer that are sampled, so that the check takes no noticeable time."""
_OPAQUE = 0.75 * 255
"""Mask value times opacity from which a layer hides what is below: hardly anything of a repair shows through."""
_MOSTLY = 0.5
"""Share of a repair, 0..1, that may be hidden without a message."""


def covering_layer(state: State, id_: int, where: TileMap | None = None) -> Layer | None:
    """The layer that hides most of another layer; None if the layers above hide at most half of it together.

    Args:
        state: of the document.
        id_: of the layer below.
        where: mask of the pixels that count; None = all that the layer shows.
    """
    below, above = state.layer(id_), state.layers[state.index(id_) + 1 :]
    solid = [layer for layer in above if layer.shows and layer.blend is BlendMode.NORMAL and layer.has_pixels]
    cells = sorted(below.operation().cells() & (below.operation().cells() if where is None else where.stored.keys()))
    shown, hidden = 0, Counter[int]()
    for cell in cells[:: max(1, len(cells) // _MOST_CELLS)] if solid else []:
        rect = Rect.of_cell(cell) & state.scan.bounds
        seen = below.mask.read(rect) > 0
        if where is not None:
            seen &= where.read(rect) > 0
        shown += int(np.count_nonzero(seen))
        for layer in reversed(solid):
            if layer.pixels.holds(cell):
                covered = seen & (layer.mask.read(rect) * layer.opacity >= _OPAQUE)
                hidden[layer.id] += int(np.count_nonzero(covered))
                # A pixel counts only for the topmost layer that hides it.
                seen &= ~covered
    return state.layer(hidden.most_common(1)[0][0]) if hidden.total() > _MOSTLY * shown else None
