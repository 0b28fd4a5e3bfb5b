"""Finds out whether layers hide a repair below them."""

from __future__ import annotations

import numpy as np

from desktop.document.blend import BlendMode
from desktop.document.model import Layer, State
from engine.raster import Rect

_MOST_CELLS = 64
"""Tiles of a layer that are sampled, so that the check takes no noticeable time."""
_MOSTLY = 0.5
"""Share of a repair, 0..1, that may be hidden without a message."""


def covering_layer(state: State, id_: int) -> Layer | None:
    """The layer that hides more than half of what another layer shows; None if none does.

    Args:
        state: of the document.
        id_: of the layer below.
    """
    below, above = state.layer(id_), state.layers[state.index(id_) + 1 :]
    solid = [layer for layer in above if layer.shows and layer.opacity == 1.0 and layer.blend is BlendMode.NORMAL]
    solid = [layer for layer in solid if layer.has_pixels]
    cells = sorted(below.operation().cells())
    for layer in solid:
        shown = hidden = 0
        for cell in cells[:: max(1, len(cells) // _MOST_CELLS)]:
            rect = Rect.of_cell(cell) & state.scan.bounds
            seen = below.mask.read(rect) > 0
            shown += int(np.count_nonzero(seen))
            if layer.pixels.holds(cell):
                hidden += int(np.count_nonzero(seen & (layer.mask.read(rect) == np.iinfo(np.uint8).max)))
        if hidden > _MOSTLY * shown:
            return layer
    return None
