"""Filling the middle of large damages at a reduced scale, at which a whole damage fits into one window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine import masks
from engine.raster import Floats, Mask, Rect
from engine.resample import magnify
from engine.tasks.view import Scene, View
from engine.tiling import window_around

_NEAR, _FAR = 24, 56
"""Depth inside a damage, pixels: up to the first the full-scale fill is used, from the second on the reduced one."""
_SEEN = 512
"""Largest window that is used here, pixels: models use hardly any context farther than half of this."""
_LEAST = 8
"""For windows smaller than this many times ``_NEAR`` the two depths are reduced in proportion."""


class CoarseFill:
    """Fills of the large damages of one picture at a reduced scale, computed when first needed.

    At full scale the middle of a large damage is far from known pixels, and neighbouring windows fill it differently.

    Args:
        scene: the picture.
        boxes: the damages.
        window: side of the model's windows, pixels.
        multiple: sides of windows are multiples of this.
        fill: runs the model: a view -> (h, w, 3) in model space.
    """

    def __init__(
        self, scene: Scene, boxes: list[Rect], window: int, multiple: int, fill: Callable[[View], Floats]
    ) -> None:
        self._scene, self._boxes, self._multiple, self._fill_view = scene, boxes, multiple, fill
        self._window = min(window, _SEEN)
        self._near = max(1, min(_NEAR, window // _LEAST))
        self._far = self._near * _FAR / _NEAR
        self._seen: dict[Rect, tuple[Floats, Rect, int]] = {}

    def apply_to(self, picture: Floats, inside: Rect, lost: Mask) -> Floats:
        """Replace the full-scale fill by the coarse one deep inside the damages, with a smooth transition.

        Args:
            picture: (h, w, 3) in model space, filled at full scale.
            inside: its place in the picture.
            lost: (h, w), above 0 = filled.

        Returns:
            (h, w, 3); ``picture`` itself where no damage is that deep.

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
                    self._seen[box] = self._fill(box)
                filled, area, step = self._seen[box]
                offset = float(area.left - cut.left), float(area.top - cut.top)
                far = magnify(filled, float(step), offset, (cut.width, cut.height), smooth=True)
                part = result[cut.slices(inside)]
                part += share * (far - part)
        return result

    def _fill(self, box: Rect) -> tuple[Floats, Rect, int]:
        """Fill a box at reduced scale: the filled view (h, w, 3), the area that it shows, and the reduction factor."""
        # The damage takes about a third of the window's side, and the context a sixth on each side of it.
        step = -(-3 * max(box.width, box.height) // self._window)
        area = (
            window_around(box, self._scene.bounds, step * self._window // 6, step * self._multiple, 1)
            & self._scene.bounds
        )
        return self._fill_view(self._scene.reduced(area, step, self._multiple)), area, step
