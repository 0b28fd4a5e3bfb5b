"""Luma of ITU-R BT.601: the one place in the training for its weights."""

from __future__ import annotations

from torch import Tensor

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
"""Weights of R, G and B."""


def luma(photo: Tensor) -> Tensor:
    """Luma (B, 1, H, W) of sRGB (B, 3, H, W)."""
    red, green, blue = LUMA_WEIGHTS
    return red * photo[:, :1] + green * photo[:, 1:2] + blue * photo[:, 2:]
