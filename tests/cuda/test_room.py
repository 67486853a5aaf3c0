"""What a worker makes of its share of a GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from emulated_cuda import emulated_cuda

from gradlaw.engine.footprint import Footprint
from gradlaw.launch.base import Order
from gradlaw.launch.room import bounded, local_device
from gradlaw.pack import Pack

MIB = 2**20
PACK = Pack(pack_id="pack", study="study", program=None, members=())


def test_batches_and_allocations_keep_to_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1,024 MiB a quarter, of which a tenth is left: 230.4 MiB, less 30 of the task, at 10 a trial."""
    fractions: list[tuple[float, int | None]] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *own: fractions.append(own))
    order = Order(pack=PACK, store="", device="cuda", gpu_share=0.25, footprint=Footprint(30 * MIB, 10 * MIB))
    with emulated_cuda(memory_bytes=1024 * MIB):
        assert bounded(order, 8, 0.0).widest == 20
        assert bounded(replace(order, footprint=None), 8, 0.0).widest is None
        assert bounded(replace(order, device="cuda:1", gpu_share=1.0), 8, 0.0).widest == 89
        assert local_device("auto") == "cuda"
    assert fractions == [(0.25, None), (0.25, None), (1.0, 1)]
