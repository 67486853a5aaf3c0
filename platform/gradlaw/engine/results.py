"""What running a pack yields: progress while it runs, and one result a trial."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

from gradlaw.pack import Member
from gradlaw.trial import State

Mode = Literal["eager", "compiled", "loop", "measurement"]


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a trial was computed. With these fixed, a rerun is bitwise equal.

    Attributes:
        device: For example "cpu" or "cuda:0".
        mode: "eager": vmapped over the pack; "compiled": likewise, as one compiled program; "loop": one
            trial at a time, without vmap; "measurement".
        width: Trials in one batched program at the start, padding included.
        threads: Threads of torch's operators.
        dtype: "float32" or "float64"; "" for a measurement.
        reason: Why this mode was taken, where it was not the first choice.
    """

    device: str
    mode: Mode
    width: int
    threads: int
    dtype: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """How one trial ended.

    Attributes:
        trial_id: The trial's fingerprint.
        state: Its state.
        reason: Why, in a sentence; "" for a trial that is done.
        steps_done: Steps trained; for a diverged trial the first step that was not finite or in bounds.
        wall_s: The trial's share of the wall time of the batch it ran in, in seconds.
        execution: How it was computed; None where it did not start.
    """

    trial_id: str
    state: State
    reason: str
    steps_done: int
    wall_s: float
    execution: Execution | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a pack is: counts of trials and of trial-steps, and how many trials one batch holds now."""

    trials_done: int
    trials_total: int
    steps_done: int
    steps_total: int
    width: int


Run = Generator[Progress, None, tuple[TrialResult, ...]]
"""A pack that runs: yields progress, returns one result a member, in the pack's order."""


def ended(member: Member, state: State, reason: str, *, wall_s: float = 0.0) -> TrialResult:
    """The result of a trial that trained no step to the end."""
    return TrialResult(
        trial_id=member.trial.trial_id, state=state, reason=reason, steps_done=0, wall_s=wall_s
    )
