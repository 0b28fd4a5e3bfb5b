"""Filling the middle of large damages from so far away that a whole damage fits into a window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine import masks
from engine.raster import Floats, Mask, Rect
from engine.resample import magnify
from engine.tasks.view import Scene, View
from engine.tiling import around

_NEAR, _FAR = 24, 56
"""Distance from what is known, pixels: up to the first all is filled up close, from the second on from afar."""
_SEEN = 512
"""However large its windows, a model looks no farther than about half of this, pixels."""
_LEAST = 8
"""A model of windows smaller than so many times ``_NEAR`` sees less around it, and looks from afar sooner."""


class Afar:
    """Large damages of one picture. Up close a model knows little in their middle, and every window something else.

    Args:
        scene: the picture.
        boxes: the damages.
        window: side of the model's windows, pixels.
        multiple: sides of windows are multiples of this.
        fill: the model: a view -> (h, w, 3).
    """

    def __init__(
        self, scene: Scene, boxes: list[Rect], window: int, multiple: int, fill: Callable[[View], Floats]
    ) -> None:
        self._scene, self._boxes, self._multiple, self._fill_view = scene, boxes, multiple, fill
        self._window = min(window, _SEEN)
        self._near = max(1, min(_NEAR, window // _LEAST))
        self._far = self._near * _FAR / _NEAR
        self._seen: dict[Rect, tuple[Floats, Rect, int]] = {}

    def blend_into(self, picture: Floats, inside: Rect, lost: Mask) -> Floats:
        """What was filled up close (h, w, 3), and what was filled from afar where all that is known is far away.

        Raises:
            SettingsError: nothing of the picture is known.
        """
        depth = masks.depth(lost)
        if depth.max() <= self._near:
            return picture
        result = picture.copy()
        for box in self._boxes:
            cut = box & inside
            if not cut:
                continue
            deep = (depth[cut.slices(inside)] - self._near) / (self._far - self._near)
            share = np.clip(deep, 0, 1)[..., None]
            if share.any():
                if box not in self._seen:
                    self._seen[box] = self._filled(box)
                filled, area, step = self._seen[box]
                offset = float(area.left - cut.left), float(area.top - cut.top)
                far = magnify(filled, float(step), offset, (cut.width, cut.height), smooth=True)
                part = result[cut.slices(inside)]
                part += share * (far - part)
        return result

    def _filled(self, box: Rect) -> tuple[Floats, Rect, int]:
        """A box and its surroundings filled: (h, w, 3), what it shows, and the side of its pixels."""
        # The damage takes about a third of the window, its surroundings another.
        step = -(-3 * max(box.width, box.height) // self._window)
        area = around(box, self._scene.bounds, step * self._window // 6, step * self._multiple, 1) & self._scene.bounds
        return self._fill_view(self._scene.reduced(area, step, self._multiple)), area, step
