"""Time and memory of a run, from a short measurement of its programs; see :mod:`gradlaw.engine.estimate`."""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from gradlaw.engine.estimate import Cost, cost_of
from gradlaw.engine.memory import first_line, process_bytes
from gradlaw.errors import ConfigurationError, UsageError, all_faults
from gradlaw.fingerprint import digest
from gradlaw.hyperparameter import Scalar
from gradlaw.measurement import Measurement
from gradlaw.pack import ENGINE_HYPERPARAMETERS, Compile, Pack, Training, probe_digests
from gradlaw.random import streams_of

BUDGET_S = 20.0
"""Seconds after which no further program is measured."""

# Measured on two cores, warm: a run's own start, and what a pack takes beside its steps, mostly its commit.
_START_S = {"inline": 1.0, "ray": 10.0}
_PACK_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a run is expected to take.

    Attributes:
        wall_s: Seconds; what measurements take, which train nothing, left out.
        at_most: Whether it may well be less.
        num_workers: Packs that run at a time.
        num_programs: Training programs of different shapes.
        num_measured: So many of them were measured; the others are taken in proportion to them.
        memory_bytes: Of the largest worker.
        notes: What could not be measured, in lines worth reading.
    """

    wall_s: float
    at_most: bool
    num_workers: int
    num_programs: int
    num_measured: int
    memory_bytes: int
    notes: tuple[str, ...]


@dataclass
class _Program:
    """Packs that run one program."""

    training: Training
    packs: list[Pack] = field(default_factory=list)

    @property
    def largest(self) -> Pack:
        return max(self.packs, key=lambda pack: len(pack.members))

    @property
    def rows(self) -> int:
        """Rows of the data in one trial-step."""
        return self.training.batch_size or self.training.task.num_rows or 1

    @property
    def load(self) -> int:
        """Rows of the data in all trial-steps."""
        return self.rows * sum(member.trial.steps + 1 for pack in self.packs for member in pack.members)

    def work(self) -> float:
        """Multiplications of a trial-step, as those of a network of dense layers go."""
        seed = self.packs[0].members[0].trial.seed
        params, _ = self.training.task.init(streams_of(seed))
        return float(self.rows * sum(value.numel() for value in params.values()))


def expect(
    packs: Sequence[Pack],
    *,
    launcher: str = "inline",
    device: str = "cpu",
    num_workers: int = 1,
    width: int | None = None,
    compile: Compile = "auto",  # noqa: A002 - as in torch
    time_limit_s: float | None = None,
) -> Expected:
    """What running packs takes.

    Args:
        packs: What is to run.
        launcher: Its name.
        device: Torch device of every pack; nothing is measured if this machine has none.
        num_workers: Packs that run at a time, >= 1, if there are so many.
        width: Most trials in one batched program, or None.
        compile: Whether steps are to be compiled.
        time_limit_s: Seconds a pack may take, or None.

    Raises:
        ConfigurationError: What a run refuses, all of it.
    """
    process = process_bytes()
    programs = _programs(packs)
    costs, failed = _measure(programs, device, width, compile)
    taken = {id(pack): _PACK_S for pack in packs}
    most, at_most = 0, False
    for key, program in programs.items():
        cost = costs.get(key) or _in_proportion(program, costs, programs)
        if cost is None:
            continue
        at_most = at_most or cost.at_most
        most = max(most, cost.pack_bytes(program.training, program.largest.members))
        for pack in program.packs:
            wall_s = cost.pack_s(program.training, pack.members)
            taken[id(pack)] += wall_s if time_limit_s is None else min(wall_s, time_limit_s)
    num_workers = min(num_workers, max(1, len(packs)))
    wall_s = _START_S.get(launcher, 0.0) + _span([taken[id(pack)] for pack in packs], num_workers)
    return Expected(
        wall_s=wall_s,
        at_most=at_most,
        num_workers=num_workers,
        num_programs=len(programs),
        num_measured=len(costs),
        memory_bytes=process + most,
        notes=(*dict.fromkeys(failed), *_measurements(packs)),
    )


def _programs(packs: Sequence[Pack]) -> dict[str, _Program]:
    """The training programs by all that their shapes depend on."""
    keys: dict[int, str] = {}
    found: dict[str, _Program] = {}
    for pack in packs:
        if isinstance(pack.program, Training):
            training = pack.program
            if id(training) not in keys:
                keys[id(training)] = _key(training, pack)
            found.setdefault(keys[id(training)], _Program(training)).packs.append(pack)
    return found


def _key(training: Training, pack: Pack) -> str:
    parts = (training.task, training.rule, training.schedule)
    declared = [item for part in parts for item in part.hyperparameters] + [*ENGINE_HYPERPARAMETERS]
    values = pack.members[0].hyperparameters
    structural: dict[str, Scalar] = {
        item.name: values[item.name] for item in declared if item.structural and item.name in values
    }
    return digest(
        [
            [f"{type(part).__module__}.{type(part).__qualname__} {part.name}" for part in parts],
            training.task.data_digest(),
            structural,
            sorted(probe_digests(training)),
            [training.steps, training.log_every, training.dtype, training.accumulate],
            [str(training.target), str(training.halving)],
        ]
    )


def _measure(
    programs: dict[str, _Program],
    device: str,
    width: int | None,
    compile: Compile,  # noqa: A002
) -> tuple[dict[str, Cost], list[str]]:
    """Costs by program, those with most to do first; and what could not be measured."""
    if programs and not _is_here(device):
        return {}, [f"not measured: packs train on {device}, and this machine has none"]
    begun = time.perf_counter()
    costs: dict[str, Cost] = {}
    failed: list[str] = []
    with all_faults() as faults:
        for key, program in sorted(programs.items(), key=lambda item: -item[1].load):
            if costs and time.perf_counter() - begun > BUDGET_S:
                break
            largest = program.largest
            try:
                costs[key] = cost_of(
                    program.training,
                    largest.members,
                    device=device,
                    width=width,
                    compile=compile,
                    alike=sum(pack.program is largest.program for pack in program.packs),
                )
            except ConfigurationError as error:
                faults += error.faults
            except UsageError as error:
                faults.append(str(error))
            except Exception as error:  # noqa: BLE001 - a run would record it as the trials' end
                cause = f"{type(error).__name__}: {first_line(error)}"
                failed.append(f"not measured: task {program.training.task.name} raised {cause}")
    return costs, failed


def _is_here(device: str) -> bool:
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):
        return False
    return True


def _in_proportion(program: _Program, costs: dict[str, Cost], programs: dict[str, _Program]) -> Cost | None:
    """The cost of a program that was not measured: that of the nearest in work, more if it does more."""
    if not costs:
        return None
    try:
        work = {key: programs[key].work() for key in costs}
        own = program.work()
    except Exception:  # noqa: BLE001 - a task that cannot start costs nothing
        return None
    nearest = min(work, key=lambda key: abs(work[key] - own))
    return costs[nearest].scaled(max(1.0, own / max(1.0, work[nearest])))


def _span(taken: Sequence[float], num_workers: int) -> float:
    """Seconds until the last of the packs ends, each begun by the first worker that is free."""
    free = [0.0] * num_workers
    for wall_s in taken:
        heapq.heapreplace(free, free[0] + wall_s)
    return max(free)


def _measurements(packs: Sequence[Pack]) -> list[str]:
    num_members = sum(len(pack.members) for pack in packs if isinstance(pack.program, Measurement))
    if not num_members:
        return []
    return [f"not measured: {num_members:,} trials that are measurements, which train nothing"]
