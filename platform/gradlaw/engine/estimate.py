"""What a training program costs on this machine, by a few of its own steps: for a dry run.

Steps are timed eagerly. Where a run would compile them, what an earlier compilation noted is taken; without
a note the eager time is what a run takes at most.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from gradlaw.engine.choice import COLD_S, FEW_CALLS, WARM_S, Choice, Found, Note
from gradlaw.engine.chunk import probes_due, snapshot_of
from gradlaw.engine.compiled import Flattened, missing_compiler
from gradlaw.engine.functions import Functions, explain_vmap
from gradlaw.engine.identity import program_key
from gradlaw.engine.machine import step_arguments
from gradlaw.engine.members import Stack, stack
from gradlaw.engine.memory import PeakBytes, is_out_of_memory
from gradlaw.engine.run import program_of
from gradlaw.engine.step import TrialProgram
from gradlaw.pack import Compile, Member, Training
from gradlaw.probe import TableProbe

LIMIT_S = 2.0
"""Seconds in which the parts of one program are repeated; each is run once at least."""
_PARTS, _REPEATS = 4, 20
_LOAD_S = 1.0
"""Seconds to take a compiled program from the cache; measured."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds and bytes of the parts of one program.

    Attributes:
        width: Members in one batch.
        start_s: To make the functions and, where they are compiled, to take them from the cache.
        member_s: To initialize one member.
        step_s: Of one step of a batch, its rows drawn.
        read_s: Of one reading of a batch's metric probes.
        tables_s: Of all readings of one member's table probes.
        member_bytes: Parameters, buffers and state of one member.
        made_bytes: The most that a step or a reading of a batch makes at once.
        at_most: Whether a run may well be shorter: by compiling, or since trials may end early.
    """

    width: int
    start_s: float
    member_s: float
    step_s: float
    read_s: float
    tables_s: float
    member_bytes: int
    made_bytes: int
    at_most: bool

    def scaled(self, factor: float) -> Cost:
        """Of a program that does so many times as much."""
        return replace(
            self,
            member_s=self.member_s * factor,
            step_s=self.step_s * factor,
            read_s=self.read_s * factor,
            tables_s=self.tables_s * factor,
            member_bytes=round(self.member_bytes * factor),
            made_bytes=round(self.made_bytes * factor),
        )

    def pack_s(self, training: Training, members: Sequence[Member]) -> float:
        """Seconds that a pack takes if none of its members ends early."""
        total = self.start_s + len(members) * (self.member_s + self.tables_s)
        for start in range(0, len(members), self.width):
            steps = max(member.trial.steps for member in members[start : start + self.width])
            total += (steps + 1) * self.step_s + rows_logged(steps, training.log_every) * self.read_s
        return total

    def pack_bytes(self, training: Training, members: Sequence[Member]) -> int:
        """Bytes that a pack's tensors take at most; members that share a budget are in memory together."""
        held = len(members) if training.halving else min(len(members), self.width)
        return 2 * held * self.member_bytes + self.made_bytes  # twice: before a step and after it


def rows_logged(steps: int, log_every: int) -> int:
    """Rows of ``metrics`` of one trial: step 0, every ``log_every`` steps, and the last.

    >>> [rows_logged(steps, 4) for steps in (0, 3, 4, 5, 40)]
    [1, 2, 2, 3, 11]
    """
    return -(-steps // log_every) + 1


def cost_of(
    training: Training,
    members: Sequence[Member],
    *,
    device: str = "cpu",
    width: int | None = None,
    compile: Compile = "auto",  # noqa: A002 - as in torch
    alike: int = 1,
) -> Cost:
    """Measures what a program costs: every part once at least, and again while :data:`LIMIT_S` lasts.

    Args:
        training: The program.
        members: Of the largest pack that runs it.
        device: A torch device.
        width: Most members in one batch, or None.
        compile: Whether steps are to be compiled.
        alike: Packs of the run with this program.

    Raises:
        UsageError: What a run refuses.
        Exception: What a task, rule or probe raises in its first step.
    """
    with _one_thread():
        return _Measured(training, members, device, width).cost(compile, alike)


class _Measured:
    """A program's functions on a batch of copies of its first member, and their times."""

    def __init__(self, training: Training, members: Sequence[Member], device: str, width: int | None) -> None:
        self._training, self._members, self._device = training, members, device
        self._program: TrialProgram = program_of(training, members, device)
        choice = Choice(self._program, members, device, width, "never")
        machine = choice.machine()
        self._width = machine.execution.width
        self._one: Stack = stack(self._program, members[:1], torch.device(device))
        self._batch = self._one.taken([0] * self._width)
        self._functions: Functions = machine.functions(self._batch)

    def cost(self, compile: Compile, alike: int) -> Cost:  # noqa: A002 - as in torch
        """What its parts take."""
        functions, one, batch = self._functions, self._one, self._batch
        t = torch.tensor(0, device=batch.device)
        arguments = step_arguments(functions, batch)
        try:
            functions.step.call(*arguments)  # not counted: the first has much to load
        except Exception as error:
            if functions.mode == "loop" or is_out_of_memory(error):
                raise
            explained = explain_vmap(error, self._program, batch)
            raise explained from (error if explained is not error else None)
        step_s, made = self._timed(lambda: functions.step.call(*arguments))
        if size := self._program.sampler.block_steps:
            step_s += self._timed(lambda: functions.rows(batch, t))[0] / size
        read_s = 0.0
        if self._program.probes:
            inputs = Flattened.leaves((batch.fixed, batch.split, batch.moving, t))
            read_s, read_made = self._timed(lambda: functions.read.call(*inputs))
            made = max(made, read_made)
        early = self._training.target is not None or self._training.halving is not None
        cost = Cost(
            width=self._width,
            start_s=0.0,
            member_s=self._timed(lambda: stack(self._program, self._members[:1], batch.device))[0],
            step_s=step_s,
            read_s=read_s,
            tables_s=self._tables_s(),
            member_bytes=one.memory_bytes(),
            made_bytes=made,
            at_most=early,
        )
        return self._compiled(cost, compile, alike)

    def _timed(self, function: Callable[[], object]) -> tuple[float, int]:
        """Median of the seconds of some calls, and the most bytes that one makes at once."""
        started = time.perf_counter()
        with PeakBytes() as bytes_made:
            function()
        first = time.perf_counter() - started  # taken only if there is no time for others
        found: list[float] = []
        while first < LIMIT_S and len(found) < _REPEATS and sum(found) < LIMIT_S / _PARTS:
            started = time.perf_counter()
            function()
            if self._batch.device.type == "cuda":
                torch.cuda.synchronize(self._batch.device)
            found.append(time.perf_counter() - started)
        return statistics.median(found or [first]), bytes_made.peak

    def _tables_s(self) -> float:
        """All readings of the first member's table probes, at most, each probe timed once, at the start."""
        member, total = self._members[0], 0.0
        num_due = Counter(
            id(probe)
            for probes in probes_due(self._training, member.trial.steps).values()
            for probe in probes
        )
        for probe in self._training.probes:
            if not isinstance(probe, TableProbe):
                continue
            crossings = probe.crossings()
            if num_rows := num_due[id(probe)] + len(crossings):
                first = crossings[0] if crossings else None
                snapshot = snapshot_of(self._program.task, self._one, member, 0, 0, first)
                rows_s, _ = self._timed(functools.partial(probe.rows, snapshot))
                total += num_rows * rows_s
        return total

    def _compiled(self, cost: Cost, compile: Compile, alike: int) -> Cost:  # noqa: A002 - as in torch
        """As a run would decide: eager where little is left, else as noted, or unknown but less."""
        if compile == "never" or self._functions.mode != "eager" or missing_compiler(self._device):
            return cost
        if compile == "auto" and self._training.accumulate > 1:
            return cost
        steps, num_members = self._training.steps, len(self._members)
        num_calls = steps * -(-num_members // cost.width)
        total_s = alike * steps * num_members * cost.step_s / cost.width if num_calls >= FEW_CALLS else 0.0
        if compile == "auto" and total_s < WARM_S:
            return cost
        found = self._noted()
        if found is None and compile == "always":
            return replace(cost, start_s=COLD_S / alike, at_most=True)
        if found is None:
            return replace(cost, at_most=cost.at_most or total_s >= COLD_S)
        if compile == "auto" and found.step_s > cost.step_s / cost.width:
            return cost
        width = min(found.width, max(2, num_members))
        return replace(
            cost,
            width=width,
            start_s=_LOAD_S / alike,
            step_s=found.step_s * width,
            read_s=cost.read_s * width / cost.width,
            made_bytes=cost.made_bytes * width // cost.width,
        )

    def _noted(self) -> Found | None:
        """What an earlier compilation of this program noted."""
        try:
            key = program_key(self._program, self._one.taken([0, 0]), self._device)
        except Exception:  # noqa: BLE001 - what has no identity has no note
            return None
        return Note(key).read() if key else None


@contextmanager
def _one_thread() -> Iterator[None]:
    """As many threads as a worker gives torch."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
