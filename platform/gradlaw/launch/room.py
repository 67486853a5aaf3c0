"""What a worker makes of the share of a node that it was given: device, memory, the width of batches."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace

import torch

from gradlaw.engine.memory import kept_to, widest_batch
from gradlaw.launch.base import Order

AUTO = "auto"
WORKER_BYTES = 512 * 2**20
"""What a process takes that has torch and Ray loaded; measured, rounded up."""
_USABLE = 0.9
"""Share of a GPU's memory that batches may fill: the rest goes to the context and to fragments."""


def local_device(asked: str) -> str:
    """The device asked for; for "auto" a GPU if this process sees one, else the CPU."""
    if asked != AUTO:
        return asked
    return "cuda" if torch.cuda.is_available() else "cpu"


def bounded(order: Order, node_cpus: float, node_bytes: float) -> Order:
    """An order whose batches are as wide as this worker's share of its node allows.

    Args:
        order: Its device is settled.
        node_cpus: CPUs of the node, > 0.
        node_bytes: Memory of the node that packs may fill.
    """
    if order.device.startswith("cuda"):
        index = torch.device(order.device).index  # None: the current one
        total = torch.cuda.get_device_properties(index).total_memory
        torch.cuda.set_per_process_memory_fraction(order.gpu_share, index)
        return replace(order, widest=widest_for(order, order.gpu_share * total * _USABLE))
    share = order.memory_bytes or node_bytes * min(1.0, order.threads / node_cpus)
    return replace(order, widest=widest_for(order, share - WORKER_BYTES))


def widest_for(order: Order, room_bytes: float) -> int | None:
    """Trials in one batch that so much memory holds, beside what was known before; None: nothing is known."""
    if order.footprint is None:
        return order.widest
    task_bytes, member_bytes = order.footprint
    fitting = widest_batch(room_bytes - task_bytes, member_bytes)
    return fitting if order.widest is None else min(fitting, order.widest)


def confined(order: Order) -> AbstractContextManager[None]:
    """While entered, this process keeps to the memory asked for on the host, if any was."""
    return kept_to(0 if order.device.startswith("cuda") else order.memory_bytes)
