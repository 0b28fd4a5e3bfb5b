"""Luma of pictures in torch."""

from __future__ import annotations

from torch import Tensor

from engine.raster import LUMA


def luma(photo: Tensor) -> Tensor:
    """Luma (B, 1, H, W) of sRGB (B, 3, H, W)."""
    red, green, blue = LUMA
    return red * photo[:, :1] + green * photo[:, 1:2] + blue * photo[:, 2:]
