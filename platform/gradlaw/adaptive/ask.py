"""What an adaptive plan asks for, and how that ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from gradlaw.ending import Target
from gradlaw.hyperparameter import Scalar
from gradlaw.trial import State

Role = Literal["tuning", "fresh", "edge"]


class Ask(NamedTuple):
    """One trial asked for.

    Attributes:
        role: ``tuning``: a configuration of a search's arm; ``fresh``: the best of an arm on a seed of the
            preset; ``edge``: a value of an axis found by bisection.
        search, arm: Names; None for an edge.
        number: Position of the configuration within its arm, from 0; of an edge, that of the combination of
            the rest among those of all grids with an edge.
        seed: The trial's.
        values: The searched hyperparameters by name.
    """

    role: Role
    search: str | None
    arm: str | None
    number: int
    seed: int
    values: Mapping[str, Scalar]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended.

    Attributes:
        state: Its final state.
        steps_done: Its steps.
        last: The last row of ``metrics`` by column, as far as it was asked for.
    """

    state: State
    steps_done: int = 0
    last: Mapping[str, float] = field(default_factory=dict)


class Ended(NamedTuple):
    """What was asked for, and how it ended."""

    ask: Ask
    outcome: Outcome


STEPS_TO_TARGET = "steps_to_target"
"""In place of a column: the steps done of a trial that reached its target."""


def score(outcome: Outcome, metric: str) -> float | None:
    """What a search ranks a trial by; None: last."""
    if metric == STEPS_TO_TARGET:
        return float(outcome.steps_done) if outcome.state is State.REACHED_TARGET else None
    if outcome.state not in (State.DONE, State.REACHED_TARGET):
        return None
    value = outcome.last.get(metric, math.nan)
    return value if math.isfinite(value) else None


def holds(outcome: Outcome, fails: Target | None) -> bool | None:
    """Whether a trial at an edge's value holds; None where it ended otherwise than by its own doing."""
    if outcome.state is State.DIVERGED:
        return False
    if outcome.state not in (State.DONE, State.REACHED_TARGET):
        return None
    if fails is None:
        return True
    value = outcome.last.get(fails.metric, math.nan)
    return value > fails.value if fails.direction == "below" else value < fails.value
