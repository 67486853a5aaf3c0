"""A trial: one configuration and one seed, known by its fingerprint; and the states it can end in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from gradlaw.fingerprint import digest
from gradlaw.hyperparameter import Scalar


class State(StrEnum):
    """How a trial ended. Every trial ends as a row with one of these."""

    DONE = "done"
    REACHED_TARGET = "reached_target"
    DIVERGED = "diverged"
    STOPPED = "stopped"
    SKIPPED = "skipped"
    OUT_OF_MEMORY = "out_of_memory"
    ERROR = "error"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    FAILED = "failed"


RETRIABLE = frozenset({State.ERROR, State.TIMED_OUT, State.LOST})
"""States after which a trial runs again, until it has ``MAX_ATTEMPTS`` rows; then it is ``failed``."""

FINAL = frozenset(set(State) - RETRIABLE)
"""States after which a trial is not run again (``failed``: unless asked to)."""

MAX_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration and one seed.

    The fingerprint is independent of study, preset, probes, device and launcher: two studies that ask
    for the same trial share it.

    Attributes:
        task: Name and version of the task or measurement, as ``name@version``.
        rule: ``name@version`` of the rule; "" for a measurement.
        schedule: ``name@version`` of the schedule; "" for a measurement.
        hyperparameters: Resolved values of those that differ from their declared default.
        seed: Names all of the trial's random streams, >= 0.
        steps: Steps trained, >= 0.
        dtype: "float32" or "float64".
        data_digest: Digest of the task's data; "" where there is none.
        target: Where it ends early, encoded; "" where nowhere.
        cohort: Digest of the trials it shares a budget with; "" where none.
    """

    task: str
    rule: str = ""
    schedule: str = ""
    hyperparameters: Mapping[str, Scalar]
    seed: int
    steps: int = 0
    dtype: str = "float64"
    data_digest: str = ""
    target: str = ""
    cohort: str = ""

    @cached_property
    def trial_id(self) -> str:
        """Twenty hexadecimal digits (80 bits: a collision in 10^9 trials has a chance below 1e-6)."""
        fields = {
            "task": self.task,
            "rule": self.rule,
            "schedule": self.schedule,
            "hyperparameters": dict(self.hyperparameters),
            "seed": self.seed,
            "steps": self.steps,
            "dtype": self.dtype,
            "data_digest": self.data_digest,
        }
        # left out where absent, so that trials made before these fields existed keep their identity
        fields.update({name: value for name in ("target", "cohort") if (value := getattr(self, name))})
        return digest(fields, length=20)
