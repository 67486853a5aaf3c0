"""Who draws from a trial's streams in training. No two users share (seed, stream, step, part, user).

| user       | draws                                   | stream | step           |
|------------|-----------------------------------------|--------|----------------|
| TASK       | ``Task.init``, ``Task.split``           | theirs | 0              |
| ORDER      | rows of a batch, with replacement       | order  | the step       |
| EPOCH      | the permutation of one epoch            | order  | the epoch      |
| BATCH      | ``Task.batch`` (all of a stream's data) | theirs | the step       |
| NOISE      | ``Task.noise``                          | theirs | the step       |
| RULE       | ``Rule.init``                           | theirs | 0              |
| EVALUATION | ``Task.batch`` of whole sets            | theirs | 0              |
| PROBE      | ``MetricProbe.read``                    | theirs | the step       |

``part`` belongs to the user: a task may use any. Draw d >= 1 of the oracle adds 8 d to ORDER, BATCH and
NOISE. Measurements and table probes draw as user 0, in parts or steps they choose.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

from gradlaw.random import Streams


class User(IntEnum):
    """The fourth word of the generator's counter, at draw 0."""

    TASK = 0
    ORDER = 1
    EPOCH = 2
    BATCH = 3
    NOISE = 4
    RULE = 5
    EVALUATION = 6
    PROBE = 7


_USERS_PER_DRAW = 8


def streams_for(streams: Streams, user: User, *, draw: int = 0) -> Streams:
    """The streams of one user, at its first part."""
    return replace(streams, part=0, user=int(user) + _USERS_PER_DRAW * draw)
