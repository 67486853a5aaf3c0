"""The seam between what runs and where: one abstract method, one contract for every launcher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from gradlaw.busy import Usage
from gradlaw.engine.footprint import Footprint
from gradlaw.pack import Compile, Pack, Training
from gradlaw.store.attempts import Seen
from gradlaw.store.leases import Tenant


@dataclass(frozen=True, kw_only=True)
class Order:
    """One pack to run, with all that a worker needs to run and commit it.

    Attributes:
        pack: What to run.
        store: Path of the store.
        device: Torch device, for example "cpu" or "cuda"; "auto", which the launcher settles.
        threads: CPUs the pack asks for, and threads torch may use, >= 1.
        gpu_share: Share of a GPU the pack asks for, in (0, 1], where it trains on one.
        memory_bytes: Memory the pack asks for and keeps to; 0: an estimate, which binds nothing.
        footprint: About what the program takes, by which a worker bounds the width; None: not known.
        width: Most trials in one batched program; None: chosen by a short measurement.
        widest: Trials in one batched program that memory allows, >= 1, however the width is chosen; None: not
            known.
        compile: "always", "never", or "auto": where the work left pays for it.
        alike: Packs with this program that the worker may expect: what is compiled for one serves all.
        flush_s: Seconds between live parts, > 0.
        time_limit_s: Seconds after which unfinished trials are timed out, at the next step or measurement,
            or None.
        checkpoint_s: Seconds between checkpoints, > 0, at ends of segments; infinite: none are kept.
        attempts: Failed attempts so far, by trial id, where there are any.
        tenant: For whom the pack's lease is taken.
        seen: Attempts at the pack that the driver saw when it decided to run it.
    """

    pack: Pack
    store: str
    device: str = "cpu"
    threads: int = 1
    gpu_share: float = 1.0
    memory_bytes: int = 0
    footprint: Footprint | None = None
    width: int | None = None
    widest: int | None = None
    compile: Compile = "auto"
    alike: int = 1
    flush_s: float = 10.0
    time_limit_s: float | None = None
    checkpoint_s: float = 300.0
    attempts: Mapping[str, int] = field(default_factory=dict)
    tenant: Tenant = field(default_factory=Tenant)
    seen: Seen = field(default_factory=Seen)

    @property
    def trains(self) -> bool:
        """Whether the pack trains; what does not needs no device but the CPU."""
        return isinstance(self.pack.program, Training)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a worker tells the driver at a flush, small whatever the pack holds.

    Attributes:
        pack_id: Which pack.
        trials_done: Trials ended so far.
        steps_done: Trial-steps done so far.
        width: Trials in one batch while it runs; 0 at the end, and before it is known.
        states: Number of trials by final state, once the pack is committed; empty before.
        finished: Whether the pack is committed, or nothing more comes of it.
        error: The cause where the pack failed; "" otherwise.
        note: Why the pack ran otherwise than it might have: not compiled, one trial at a time, on from a
            checkpoint or without one that is there; else "".
        lost: Whether the failure may not be in the store, because the worker died or could not begin.
        device: Torch device of what trains, told by the launcher before the first such pack; "" else.
        usage: What the worker used for it, once it is committed; None before.
        out_of_memory: Whether it was lost for lack of memory: what is left of the pack is then split.
        held: Whether nothing was run, because another runs the pack or has committed it meanwhile.
        stopped: Whether the pack ended before it was done, because the run is told to end.
    """

    pack_id: str
    trials_done: int = 0
    steps_done: int = 0
    width: int = 0
    states: Mapping[str, int] = field(default_factory=dict)
    finished: bool = False
    error: str = ""
    note: str = ""
    lost: bool = False
    device: str = ""
    usage: Usage | None = None
    out_of_memory: bool = False
    held: bool = False
    stopped: bool = False


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """Where orders would run, before they do.

    Attributes:
        device: Torch device of what trains; "auto": whatever this process has.
        num_workers: Orders that would run at once, >= 1.
        notes: What is to be known of it, in lines.
    """

    device: str
    num_workers: int = 1
    notes: tuple[str, ...] = ()


OnReport = Callable[[Report], None]


class Launcher(ABC):
    """Runs orders.

    What must hold of every launcher:

    - Every order ends as a commit in the store, or as a report with an error, or as one that says that
      another holds the pack; the store is the truth. After a report of a pack that was stopped, the orders
      that have not begun need not be begun.
    - Before the first pack of them that trains begins, a report tells the device.
    - A pack that fails does not keep another from running, except where ``run`` raises.
    - An interrupt leaves what is committed as it is.
    """

    name: ClassVar[str]

    def foresee(self, orders: Sequence[Order]) -> Foreseen:
        """Where orders would run, by what ``run`` looks at; one after another in this process, if not said.

        Args:
            orders: What would run, at least one.

        Raises:
            UsageError: What ``run`` refuses.
        """
        return Foreseen(device=orders[0].device)

    @abstractmethod
    def run(self, orders: Sequence[Order], on_report: OnReport) -> None:
        """Runs all orders and returns when each has ended.

        Args:
            orders: What to run, most wanted first.
            on_report: Called in this process for every report, from one thread.
        """

    def run_rounds(self, rounds: Iterator[Sequence[Order]], on_report: OnReport) -> None:
        """Runs rounds of orders one after another, and returns when there are no more.

        Args:
            rounds: Is asked for the next once all orders before have ended, or need not begin, until it
                ends. One without orders says that the next may be long in coming: workers are let go.
            on_report: As of :meth:`run`.
        """
        for orders in rounds:
            if orders:
                self.run(orders, on_report)
