"""What a network computes: example inputs for its ports, and multiplications for a megapixel."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from engine.runtime.cards import Port
from engine.train.nets.blocks import Generator


def example_tensor(
    port: Port, side: tuple[int, int], random: np.random.Generator, batch: int = 1
) -> NDArray[np.float32]:
    """Random values that a port accepts.

    Args:
        port: an input of an exported file.
        side: height and width, for ports whose size is not fixed.
        random: seeded generator.
        batch: number of pictures.

    Returns:
        (batch,), (batch, channels) or (batch, channels, height, width), as the port's layout says.
    """
    if port.layout == "N":
        return random.random(batch, np.float32)
    if port.layout == "NC":
        return random.standard_normal((batch, port.channels), np.float32)
    height, width = (port.size, port.size) if port.size else side
    values = random.random((batch, port.channels, height, width), np.float32)
    if port.role in ("mask", "edges"):
        values = (values < 0.3).astype(np.float32)
        values[..., : height // 2, : width // 3] = 1
    return values


def gigamacs(network: Generator, side: int = 512) -> float:
    """Multiply-accumulate operations of all exported files of a network, 10^9 for a megapixel of input."""
    from torch.utils.flop_counter import FlopCounterMode

    random = np.random.default_rng(1)
    network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for export in network.exports():
            export.module(*[torch.from_numpy(example_tensor(port, (side, side), random)) for port in export.inputs])
    # The counter counts a multiplication and an addition as two operations.
    return float(counter.get_total_flops() / 2 / (side**2 / 1e6) / 1e9)
