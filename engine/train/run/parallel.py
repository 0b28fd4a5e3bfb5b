"""Training with several processes, one for each device, as started by ``torchrun``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch
from torch import distributed


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[torch.device]:
    """Join the process group if ``torchrun`` started this process, and give the device of this process.

    The backend is NCCL on GPUs and gloo on CPUs. Without ``torchrun`` there is no group.
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
        # A process that leaves early would break the connections of the others.
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Rank of this process. Only rank 0 writes files and prints."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def process_count() -> int:
    """Number of processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def shared_clock(now: float, device: torch.device) -> float:
    """The clock of rank 0, so that all processes end, validate and save in the same step."""
    if not distributed.is_initialized():
        return now
    shared = torch.tensor([now], dtype=torch.float64, device=device)
    distributed.broadcast(shared, 0)
    return float(shared)
