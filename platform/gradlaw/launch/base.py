"""The seam between what runs and where: one abstract method, one contract for every launcher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import ClassVar

from gradlaw.pack import Compile, Pack


@dataclass(frozen=True, kw_only=True)
class Order:
    """One pack to run, with all that a worker needs to run and commit it.

    Attributes:
        pack: What to run.
        store: Path of the store.
        device: Torch device, for example "cpu" or "cuda".
        threads: Threads torch may use, >= 1.
        width: Most trials in one batched program; None: chosen by a short measurement.
        compile: "always", "never", or "auto": where the work left pays for it.
        alike: Packs with this program that the worker may expect: what is compiled for one serves all.
        flush_s: Seconds between live parts, > 0.
        time_limit_s: Seconds after which unfinished trials are timed out, at the next step or measurement,
            or None.
        checkpoint_s: Seconds between checkpoints, > 0, at ends of segments; infinite: none are kept.
        attempts: Failed attempts so far, by trial id, where there are any.
    """

    pack: Pack
    store: str
    device: str = "cpu"
    threads: int = 1
    width: int | None = None
    compile: Compile = "auto"
    alike: int = 1
    flush_s: float = 10.0
    time_limit_s: float | None = None
    checkpoint_s: float = 300.0
    attempts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a worker tells the driver at a flush, small whatever the pack holds.

    Attributes:
        pack_id: Which pack.
        trials_done: Trials ended so far.
        steps_done: Trial-steps done so far.
        states: Number of trials by final state, once the pack is committed; empty before.
        finished: Whether the pack is committed.
        error: The cause where the pack failed; "" otherwise.
        note: Why the pack ran otherwise than it might have: not compiled, one trial at a time, on from a
            checkpoint or without one that is there; else "".
        lost: Whether the failure may not be in the store, because the worker died or could not begin.
    """

    pack_id: str
    trials_done: int = 0
    steps_done: int = 0
    states: Mapping[str, int] = field(default_factory=dict)
    finished: bool = False
    error: str = ""
    note: str = ""
    lost: bool = False


OnReport = Callable[[Report], None]


class Launcher(ABC):
    """Runs orders.

    What must hold of every launcher:

    - Every order ends as a commit in the store, or as a report with an error; the store is the truth.
    - A pack that fails does not keep another from running, except where ``run`` raises.
    - An interrupt leaves what is committed as it is.
    """

    name: ClassVar[str]

    def session(self) -> AbstractContextManager[None]:
        """What several calls of ``run`` may share; nothing, where a launcher says nothing else."""
        return nullcontext()

    @abstractmethod
    def run(self, orders: Sequence[Order], on_report: OnReport) -> None:
        """Runs all orders and returns when each has ended.

        Args:
            orders: What to run, most wanted first.
            on_report: Called in this process for every report, from one thread.
        """
