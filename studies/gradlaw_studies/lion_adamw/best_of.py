"""The best of k configurations: what tuning with a smaller budget would have found. Losses: lower is better.

From n values found by random search, sorted as x_(1) <= ... <= x_(n), k drawn without replacement have the
smallest at rank i in C(n - i, k - 1) of C(n, k) subsets, so that

    E[min of k] = sum_{i=1..n-k+1} x_(i) C(n - i, k - 1) / C(n, k).

If the n are independent draws of a search, this is an unbiased estimate of what k draws would find (Dodge et
al. 1909.03004, section 3, have the same with replacement, which is biased: Tang et al. 2004.13705). Values
that a sampler chose after looking at others are no such draws.

Bootstrap intervals of this curve cover too little, and nothing bounds a mean from n values alone. The median
of the best of k is bounded: P(min of k <= x) = 1 - (1 - F(x))^k is 1/2 at the quantile q = 1 - 2^(-1/k) of F,
and a quantile has exact intervals between order statistics, whatever F is (Lourie et al. 2311.09480 build
bands on the same ground). At larger k the n values bound it from above alone.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


def expected_best(values: ArrayLike, k: int) -> float:
    """Mean of the smallest of k of ``values``, over all subsets of size k.

    Args:
        values: n values, n >= k, in any order; infinite ones are allowed.
        k: At least 1.

    Raises:
        ValueError: If k is not from 1 to n, or a value is not a number.

    >>> expected_best([3.0, 1.0, 2.0], 2)
    1.3333333333333333
    """
    ordered = _ordered(values, k)
    num = len(ordered)
    subsets = math.comb(num, k)
    shares = [math.comb(num - rank, k - 1) / subsets for rank in range(1, num - k + 2)]
    return float(np.dot(shares, ordered[: len(shares)]))


def median_best(values: ArrayLike, k: int, level: float) -> tuple[float, float]:
    """An interval for the median of the best of k independent draws, from n independent draws.

    With B ~ Bin(n, q) and q = 1 - 2^(-1/k), the interval from x_(l) to x_(u) misses the median on either side
    with probability at most (1 - level) / 2: P(B < l) and P(B >= u). Ties only widen it.

    Args:
        values: n values, n >= k.
        k: At least 1.
        level: Coverage, in (0, 1).

    Returns:
        Both ends; -inf or inf where no order statistic bounds the median.

    Raises:
        ValueError: As :func:`expected_best`, or a level outside (0, 1).
    """
    if not 0.0 < level < 1.0:
        msg = f"level: got {level}, allowed (0, 1)"
        raise ValueError(msg)
    ordered = _ordered(values, k)
    num = len(ordered)
    miss, quantile = (1.0 - level) / 2, -math.expm1(-math.log(2.0) / k)
    ranks = np.arange(num + 2)
    below = stats.binom.cdf(ranks - 1, num, quantile)  # P(B < rank)
    low = int(ranks[below <= miss].max())
    high = int(ranks[1.0 - below <= miss].min())
    padded = [-math.inf, *ordered.tolist(), math.inf]
    return padded[low], padded[high]


def running_best(values: ArrayLike) -> list[float]:
    """The best so far, in the order in which the values were found.

    >>> running_best([3.0, 1.0, 2.0])
    [3.0, 1.0, 1.0]
    """
    return [float(value) for value in np.minimum.accumulate(np.asarray(values, dtype=np.float64))]


def _ordered(values: ArrayLike, k: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    found = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if not 1 <= k <= len(found):
        msg = f"k: got {k}, allowed 1 .. {len(found)}, the number of values"
        raise ValueError(msg)
    if np.isnan(found).any():
        msg = f"values: got {int(np.isnan(found).sum())} that are no numbers, allowed none; inf is worst"
        raise ValueError(msg)
    return found
