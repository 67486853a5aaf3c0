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
"""States after which a trial is not run again (those of ``GIVEN_UP``: unless asked to)."""

GIVEN_UP = frozenset({State.FAILED, State.OUT_OF_MEMORY})
"""States that may be the machine's fault: a trial is run again, once, if asked to."""

SETTLED = FINAL - GIVEN_UP
"""States after which a trial is not run again, asked or not."""

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
        loss_bound: Loss above which it diverged, > 0; 0 for a measurement.
        log_every: Steps between its rows of ``metrics``, and between looks at its target, >= 1; 0 for a
            measurement.
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
    loss_bound: float = 0.0
    log_every: int = 0
    target: str = ""
    cohort: str = ""
    _id: str = field(default="", init=False, repr=False, compare=False)

    @property
    def trial_id(self) -> str:
        """Twenty hexadecimal digits: the digest of all that the trial names."""
        if not self._id:
            object.__setattr__(self, "_id", digest(_fields(self), length=ID_LENGTH))
        return self._id


class Family:
    """Trials that differ in hyperparameters, seed and cohort alone: what they share is encoded once.

    Args:
        trial: Any trial of the family.
    """

    def __init__(self, trial: Trial) -> None:
        self._like = trial
        rest = {name: value for name, value in _fields(trial).items() if name not in _VARYING}
        self._alone = encode_around(rest, _VARYING[1:])
        self._shared = encode_around(rest, _VARYING)

    def trial(
        self, hyperparameters: Mapping[str, Scalar], encoded: str, seed: int, cohort: str = ""
    ) -> Trial:
        """One trial, equal to one made from scratch; much faster made.

        Args:
            hyperparameters: As of :class:`Trial`.
            encoded: Their encoding, made once for all seeds.
            seed: As of :class:`Trial`.
            cohort: As of :class:`Trial`.
        """
        like = self._like
        trial = Trial(
            task=like.task,
            rule=like.rule,
            schedule=like.schedule,
            hyperparameters=hyperparameters,
            seed=seed,
            steps=like.steps,
            dtype=like.dtype,
            data_digest=like.data_digest,
            loss_bound=like.loss_bound,
            log_every=like.log_every,
            target=like.target,
            cohort=cohort,
        )
        if cohort:
            start, first, second, end = self._shared
            text = f"{start}{encode(cohort)}{first}{encoded}{second}i{seed}{end}"
        else:
            start, second, end = self._alone
            text = f"{start}{encoded}{second}i{seed}{end}"
        object.__setattr__(trial, "_id", digest_of_text(text, length=ID_LENGTH))
        return trial


_VARYING = ("cohort", "hyperparameters", "seed")
_WHERE_THERE = ("loss_bound", "log_every", "target", "cohort")


def _fields(trial: Trial) -> dict[str, object]:
    """What identifies a trial."""
    named = {
        "task": trial.task,
        "rule": trial.rule,
        "schedule": trial.schedule,
        "hyperparameters": dict(trial.hyperparameters),
        "seed": trial.seed,
        "steps": trial.steps,
        "dtype": trial.dtype,
        "data_digest": trial.data_digest,
    }
    # left out where absent: a measurement has none of them
    return named | {name: value for name in _WHERE_THERE if (value := getattr(trial, name))}
