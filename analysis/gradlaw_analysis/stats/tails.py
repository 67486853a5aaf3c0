"""Tails of Student's statistic: of the normal law, and of skewed ones."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import special

from gradlaw_analysis.stats.sample import Floats

NUM_DRAWS = 200_000
LARGEST_SAMPLE = 200


def upper_tail(t: float, num_seeds: int, *, skewed: bool) -> float:
    """P(T >= t) of Student's one-sample statistic.

    Args:
        t: Statistic, may be infinite.
        num_seeds: At least 2.
        skewed: Take the larger of the tails under the normal and the exponential law. Skewness moves mass
            into the tail that faces away from it, so this holds the level for laws up to the exponential's
            skewness of 2, on whichever side.
    """
    normal = float(special.stdtr(num_seeds - 1, -t))
    if not skewed:
        return normal
    draws = _exponential_statistics(num_seeds)
    hits = NUM_DRAWS - int(np.searchsorted(draws, t, side="left"))
    return max(normal, (1 + hits) / (1 + NUM_DRAWS))


def critical(alpha: float, num_seeds: int, *, skewed: bool) -> float:
    """The statistic from which :func:`upper_tail` is at most ``alpha``; infinite if none is."""
    normal = float(special.stdtrit(num_seeds - 1, 1 - alpha))
    if not skewed:
        return normal
    hits = math.floor(alpha * (1 + NUM_DRAWS)) - 1
    if hits < 1:
        return math.inf
    return max(normal, float(_exponential_statistics(num_seeds)[NUM_DRAWS - hits]))


@lru_cache(maxsize=32)
def _exponential_statistics(num_seeds: int) -> Floats:
    """Sorted draws of -T for exponential data: the heavier of its tails on top.

    Past 200 seeds those of 200 are used, which only errs to the safe side: the skewness of a mean falls.
    """
    if num_seeds > LARGEST_SAMPLE:
        return _exponential_statistics(LARGEST_SAMPLE)
    rng = np.random.default_rng(num_seeds)
    chunks = []
    for _ in range(10):
        sample = rng.standard_exponential((NUM_DRAWS // 10, num_seeds))
        chunks.append((1 - sample.mean(axis=1)) * math.sqrt(num_seeds) / sample.std(axis=1, ddof=1))
    return np.sort(np.concatenate(chunks))
