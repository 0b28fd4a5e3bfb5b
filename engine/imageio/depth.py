"""Conversion between 8 and 16 bits per sample."""

from __future__ import annotations

import numpy as np

from engine.raster import Pixels, from_float

_SEED = 20_077
_BLOCK = 1 << 20
"""Samples per seeded generator, so that the dither depends only on the position of a sample."""


def to_depth(pixels: Pixels, depth: int) -> Pixels:
    """Convert samples to 8 or 16 bits; the same array where nothing changes.

    8 to 16 bits is exact (times 257). To 8 bits, each sample x becomes floor(x / 257 + u) with u uniform in [0, 1): the
    error stays under one level and is zero on average, and what came from 8 bits comes back exactly. The dither is the
    same in every run. Floats in 0..1 are clipped and rounded to 16 bits first.

    Args:
        pixels: uint8, uint16 or float, any shape.
        depth: 8 or 16.
    """
    if pixels.dtype.kind == "f":
        pixels = from_float(pixels, np.dtype(np.uint16))
    if pixels.dtype.itemsize * 8 == depth:
        return pixels
    if depth == 16:
        return pixels * np.uint16(257)
    flat = np.ascontiguousarray(pixels).reshape(-1)
    result = np.empty(flat.shape, np.uint8)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        noise = np.random.default_rng((_SEED, start)).integers(0, 257, block.size, np.uint16)
        raised = block + noise.astype(np.uint32)
        np.floor_divide(raised, np.uint32(257), out=result[start : start + _BLOCK], casting="unsafe")
    return result.reshape(pixels.shape)
