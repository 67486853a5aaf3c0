"""A trial: one configuration and one seed, known by its fingerprint; and the states it can end in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gradlaw.fingerprint import digest, digest_of_text, encode, encode_around
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


ID_LENGTH = 20
"""Hexadecimal digits of a trial's id: 80 bits; a collision in 10^9 trials has a chance below 1e-6."""


@dataclass(frozen=True, kw_only=True, slots=True)
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
    _id: str = field(default="", init=False, repr=False, compare=False)

    @property
    def trial_id(self) -> str:
        """Twenty hexadecimal digits: the digest of all that the trial names."""
        if not self._id:
            fields = _without_seed(self) | {"seed": self.seed}
            object.__setattr__(self, "_id", digest(fields, length=ID_LENGTH))
        return self._id


class Configuration:
    """All of a trial but its seed and cohort, encoded once: each further trial costs one hash.

    Args:
        trial: Any trial of the configuration; in no cohort.
    """

    __slots__ = ("_end", "_start", "_trial")

    def __init__(self, trial: Trial) -> None:
        assert not trial.cohort
        self._trial = trial
        self._start, self._end = encode_around(_without_seed(trial), ["seed"])

    def trial(self, seed: int, cohort: str = "") -> Trial:
        """The trial of a seed, in a cohort if one is named; equal to one made from scratch."""
        like = self._trial
        trial = Trial(
            task=like.task,
            rule=like.rule,
            schedule=like.schedule,
            hyperparameters=like.hyperparameters,
            seed=seed,
            steps=like.steps,
            dtype=like.dtype,
            data_digest=like.data_digest,
            target=like.target,
            cohort=cohort,
        )
        text = f"{self._start}i{seed}{self._end}"
        if cohort:
            text = f'{{"cohort":{encode(cohort)},{text[1:]}'  # in order, it is the first of all names
        object.__setattr__(trial, "_id", digest_of_text(text, length=ID_LENGTH))
        return trial


def _without_seed(trial: Trial) -> dict[str, object]:
    """What identifies a trial, but for its seed."""
    named = {
        "task": trial.task,
        "rule": trial.rule,
        "schedule": trial.schedule,
        "hyperparameters": dict(trial.hyperparameters),
        "steps": trial.steps,
        "dtype": trial.dtype,
        "data_digest": trial.data_digest,
    }
    # left out where absent, so that trials made before these fields existed keep their identity
    return named | {name: value for name in ("target", "cohort") if (value := getattr(trial, name))}
