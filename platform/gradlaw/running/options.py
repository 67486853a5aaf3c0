"""How, not what, to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import get_args

import torch

from gradlaw.launch.base import Order
from gradlaw.launch.room import AUTO
from gradlaw.pack import Compile, Pack
from gradlaw.planning.shard import Shard
from gradlaw.running.stop import Stop
from gradlaw.running.tally import RunProgress
from gradlaw.running.telling import Say
from gradlaw.store.leases import Tenant

OnProgress = Callable[[RunProgress], None]

LEAST_GB, MOST_GB = 1.0, 2**20
MOST_CPUS = 2**16
"""No machine has more; much larger numbers the system cannot take."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How, not what, to run.

    Attributes:
        launcher: "inline" or "ray".
        address: Of a running Ray cluster.
        device: Torch device of every pack that trains; "auto": GPUs if there are any where it runs, else
            CPUs.
        cpus: CPUs a pack asks Ray for, and threads torch may use in it, >= 1.
        gpus: Share of a GPU a pack asks Ray for and keeps to, in (0, 1]; None: a whole one where it trains on
            GPUs, as it always has inline.
        memory_gb: GiB of memory a pack asks Ray for and keeps to; None: about what it takes, which binds
            nothing.
        width: Most trials in one batched program; None: chosen by a short measurement.
        compile: "always", "never", or "auto": where the work left pays for it.
        flush_s: Seconds between live parts, > 0.
        time_limit_s: Seconds a pack may take, or None.
        checkpoint_s: Seconds between checkpoints of a pack, > 0, at ends of segments; infinite: none.
        retry_failed: Whether trials that failed for good, or for lack of memory, are tried again.
        shard: The share of the plan to run; None: all of it.
        stop: By which the run can be told to end soon, packs with checkpoints.
        on_progress: Called at every launch and every report.
        say: Called with lines worth reading.
    """

    launcher: str = "inline"
    address: str | None = None
    device: str = AUTO
    cpus: int = 1
    gpus: float | None = None
    memory_gb: float | None = None
    width: int | None = None
    compile: Compile = "auto"
    flush_s: float = 10.0
    time_limit_s: float | None = None
    checkpoint_s: float = 300.0
    retry_failed: bool = False
    shard: Shard | None = None
    stop: Stop = field(default_factory=Stop)
    on_progress: OnProgress | None = None
    say: Say | None = None

    def faults(self) -> list[str]:
        """What is impossible, a line a fault."""
        faults = [
            f"{name}: got {value}, allowed > 0"
            for name in ("flush_s", "time_limit_s", "checkpoint_s")
            for value in (getattr(self, name),)
            if value is not None and not value > 0
        ]
        if self.width is not None and self.width < 1:
            faults.append(f"width: got {self.width}, allowed >= 1")
        if self.compile not in get_args(Compile):
            faults.append(f"compile: got {self.compile!r}, allowed one of {', '.join(get_args(Compile))}")
        return [*faults, *self._resource_faults()]

    def _resource_faults(self) -> Iterator[str]:
        if not 1 <= self.cpus <= MOST_CPUS:
            yield f"cpus: got {self.cpus}, allowed >= 1 and <= {MOST_CPUS}"
        if self.gpus is not None and not 0.0 < self.gpus <= 1.0:
            yield f"gpus: got {self.gpus:g}, allowed > 0 and <= 1: a pack trains on one device"
        if self.gpus is not None and self.device == "cpu":
            yield f"gpus: got {self.gpus:g} with the device cpu; allowed with cuda or auto"
        if self.gpus is not None and self.launcher == "inline":
            what = "whose packs have the GPU of this process to themselves"
            yield f"gpus: got {self.gpus:g} with the launcher inline, {what}; allowed with ray"
        if self.memory_gb is not None and not LEAST_GB <= self.memory_gb <= MOST_GB:
            allowed = f"allowed >= {LEAST_GB:g} and <= {MOST_GB}"
            yield f"memory_gb: got {self.memory_gb:g}, {allowed}: half a GiB torch takes itself"
        if self.address and self.launcher == "inline":
            yield f"address: got {self.address!r} with the launcher inline; allowed with ray"
        if self.device == AUTO:
            return
        try:
            device = torch.device(self.device)
            if self.launcher == "inline" or device.type == "meta":
                torch.zeros(1, device=device).item()  # a device may hold shapes without numbers
        except (RuntimeError, AssertionError) as error:
            cause = str(error).partition("\n")[0].partition(". ")[0]
            yield f"device: got {self.device!r}, allowed auto or a device of this machine: {cause}"
            return
        if self.launcher == "ray" and device.index is not None:
            yield f"device: got {self.device!r}, allowed {device.type}: which one, Ray says"

    def order(self, pack: Pack, store: str, tenant: Tenant) -> Order:
        """An order of any pack, with what is the same in all."""
        return Order(
            pack=pack,
            store=store,
            device=self.device,
            threads=self.cpus,
            gpu_share=1.0 if self.gpus is None else float(self.gpus),
            memory_bytes=int((self.memory_gb or 0.0) * 2**30),
            width=self.width,
            compile=self.compile,
            flush_s=self.flush_s,
            time_limit_s=self.time_limit_s,
            checkpoint_s=self.checkpoint_s,
            tenant=tenant,
        )
