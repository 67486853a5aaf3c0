"""Program and Pack: trials of equal shape, run together as one batched program on one device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from gradlaw.ending import Halving, Target
from gradlaw.fingerprint import source_digest
from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.measurement import Measurement
from gradlaw.probe import Probe, TableProbe
from gradlaw.rule import Rule
from gradlaw.schedules import Schedule
from gradlaw.table import Table
from gradlaw.task import Task
from gradlaw.trial import Trial

Sampling = Literal["iid", "epoch"]
Compile = Literal["auto", "always", "never"]
"""Whether steps are compiled; "auto": where the work left pays for it."""

HALF_REASON = "on a CPU half precision has neither the kernels nor the range"


class Dtype(Hyperparameter):
    """The dtype of trials: says why half precision is refused."""

    def check(self, value: object) -> str | None:
        """As of any hyperparameter, with the reason."""
        fault = super().check(value)
        return f"{fault}: {HALF_REASON}" if fault and value in ("float16", "bfloat16", "half") else fault


DTYPE = Dtype(name="dtype", default="float32", choices=("float32", "float64"))

ENGINE_HYPERPARAMETERS = (
    Hyperparameter(
        name="batch_size",
        default=0,
        low=0,
        structural=True,
        doc="samples a step; 0: the whole training set, in one batch",
    ),
    Hyperparameter(
        name="sampling",
        default="iid",
        choices=("iid", "epoch"),
        structural=True,
        doc="iid: with replacement; epoch: a permutation each epoch, the last partial batch dropped",
    ),
)
"""What the engine itself reads of a trial's hyperparameters."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """What every member of a pack has in common: everything that changes shapes or control flow.

    Attributes:
        task, rule, schedule: Constructed with their structural hyperparameters.
        probes: Read at logged steps.
        batch_size: Samples a step; 0: the whole training set.
        sampling: How batches are drawn.
        accumulate: Parts in which a batch is taken, >= 1: more take less memory, and give the same.
        steps: Steps of the longest trial, >= 0; each trains its own ``trial.steps``.
        log_every: Steps between rows of ``metrics``, >= 1; step 0 and a trial's last are always logged.
        dtype: "float32" or "float64".
        loss_bound: A loss above it counts as divergence.
        target, halving: Early ends.
    """

    task: Task
    rule: Rule
    schedule: Schedule
    probes: tuple[Probe, ...] = ()
    batch_size: int = 0
    sampling: Sampling = "iid"
    accumulate: int = 1
    steps: int
    log_every: int = 1
    dtype: Literal["float32", "float64"] = "float32"
    loss_bound: float = 1e6
    target: Target | None = None
    halving: Halving | None = None


Program = Training | Measurement
"""What a pack runs: a training program, or a measurement."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One trial of a pack with all its resolved hyperparameters, defaults included."""

    trial: Trial
    hyperparameters: Mapping[str, Scalar]


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Members that run together.

    Attributes:
        pack_id: Digest of the program and of all trial ids it was cut with.
        study: Name of the study.
        program: What they run; None for members that are not to run at all.
        members: The members to run now: all it was cut with, or those the store still lacks.
    """

    pack_id: str
    study: str
    program: Program | None
    members: tuple[Member, ...]

    @property
    def exclusive(self) -> bool:
        """Whether it must run alone on its machine."""
        return isinstance(self.program, Measurement) and self.program.exclusive


def program_tables(program: Program) -> tuple[Table, ...]:
    """The tables, beside ``trials`` and ``metrics``, that a program fills."""
    if isinstance(program, Measurement):
        return program.tables()
    return tuple(
        table for probe in program.probes if isinstance(probe, TableProbe) for table in probe.tables()
    )


def program_source(program: Program | None) -> str:
    """Digests of the source of what a program is made of, separated by spaces; "" where there is no source.

    First that of task, rule and schedule, or measurement; then those of the probes, in the order of their own
    digests, by which ``trials`` lists them.
    """
    if program is None:
        return ""
    if not isinstance(program, Training):
        return source_digest(type(program))
    probes = {probe.digest: source_digest(type(probe)) for probe in program.probes}
    parts = (program.task, program.rule, program.schedule)
    return joined_source(source_digest(*map(type, parts)), probes)


def joined_source(trained: str, probes: Mapping[str, str]) -> str:
    """What :func:`program_source` gives, of its parts: those of the probes by their own digests."""
    return " ".join([trained, *(probes[probe] for probe in sorted(probes))])


def parted_source(source: str, probes: Iterable[str]) -> tuple[str, dict[str, str]]:
    """The parts of :func:`joined_source`.

    >>> parted_source("6f1c 0a5e", {"full_loss@1:44136fa3"})
    ('6f1c', {'full_loss@1:44136fa3': '0a5e'})
    """
    trained, *each = source.split(" ")
    return trained, dict(zip(sorted(probes), each, strict=False))


def probe_digests(program: Program | None) -> set[str]:
    """Digests of the probes that a program measures with."""
    return {probe.digest for probe in program.probes} if isinstance(program, Training) else set()
