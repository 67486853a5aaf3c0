"""Mini-batches as indices into the N stored rows, drawn from the trial's Philox streams.

Each of D draws is one sequence of indices, and its batch of B is the first B of them. So every B has D
independent draws, while batches of different B share samples: noise that is common to neighbouring B
makes a log-log slope steadier, and costs no validity, since seeds, never draws, are the statistical unit.

Parts of stream "noise" used by this study (a trained task without noise uses none of it): 1000
projections, 1001 with replacement, 1002 without, 1003 partitions, 1004 batch norm, 2000 and on kurtosis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradlaw.errors import UsageError
from gradlaw.random_host import HostStreams

PROJECTIONS, REPLACEMENT, NO_REPLACEMENT, PARTITIONS, BATCH_NORM = range(1000, 1005)
KURTOSIS = 2000


def draw_with_replacement(
    streams: HostStreams, num_rows: int, num_draws: int, length: int
) -> NDArray[np.int64]:
    """Independent uniform indices, shape [num_draws, length]."""
    return streams.integers("noise", num_rows, (num_draws, length))


def draw_without_replacement(
    streams: HostStreams, num_rows: int, num_draws: int, length: int
) -> NDArray[np.int64]:
    """The first ``length`` entries of independent uniform permutations, shape [num_draws, length].

    The first steps of Fisher and Yates's shuffle, all draws at once (Knuth, TAOCP 2, algorithm 3.4.2P).

    Raises:
        UsageError: If ``length`` exceeds the number of rows.
    """
    if length > num_rows:
        msg = f"length: got {length}, allowed <= num_rows = {num_rows} without replacement"
        raise UsageError(msg)
    words = streams.words("noise", num_draws * length).reshape(length, num_draws)
    rows = np.tile(np.arange(num_rows)[:, None], (1, num_draws))
    draws = np.arange(num_draws)
    for i in range(length):
        offset = (words[i] * np.uint64(num_rows - i)) >> np.uint64(32)
        chosen = i + offset.astype(np.int64)
        held = rows[i].copy()
        rows[i] = rows[chosen, draws]
        rows[chosen, draws] = held
    return np.ascontiguousarray(rows[:length].T)


def unit_projections(streams: HostStreams, count: int, num_params: int) -> NDArray[np.float64]:
    """``count`` independent directions, uniform on the unit sphere, shape [count, num_params]."""
    drawn = streams.normal("noise", (count, num_params))
    norms: NDArray[np.float64] = np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn / norms
