"""Several processes that train as one, a device each, as ``torchrun`` starts them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch
from torch import distributed


@contextlib.contextmanager
def joined_processes(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that ``torchrun`` started, if it did; gives the device of this one.

    GPUs talk through NCCL, CPUs through gloo. Without ``torchrun`` nothing happens.
    """
    if "LOCAL_RANK" not in os.environ:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
        # Who leaves first breaks the others' connections.
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Of this process; the one with 0 writes files and speaks."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def processes() -> int:
    """How many train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def agreed(now: float, device: torch.device) -> float:
    """The first process's clock: all must end, validate and save in the same step."""
    if not distributed.is_initialized():
        return now
    shared = torch.tensor([now], dtype=torch.float64, device=device)
    distributed.broadcast(shared, 0)
    return float(shared)
