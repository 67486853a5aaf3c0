"""The square-root law and its corrections as formulas: standard library only.

N per-sample values x_1 .. x_N with mean mu and population variance sigma^2 = (1/N) sum (x_n - mu)^2; a
mini-batch is the mean of B of them. Its variance is sigma^2 / B with replacement and
sigma^2 / B * (N - B) / (N - 1) without (Cochran, Sampling Techniques, 3rd ed. 1977, theorem 2.2, with
S^2 = sigma^2 N / (N - 1)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradlaw.errors import UsageError


def batch_sizes(num_rows: int) -> tuple[int, ...]:
    """Powers of two from 1 to num_rows / 2.

    >>> batch_sizes(1617)
    (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    """
    if num_rows < 2:
        msg = f"num_rows: got {num_rows}, allowed >= 2 (a batch of one must leave something out)"
        raise UsageError(msg)
    return tuple(2**power for power in range((num_rows // 2).bit_length()))


def finite_population_factor(num_rows: int, batch_size: int) -> float:
    """Std of a mean of B drawn without replacement, over that drawn with: sqrt((N - B) / (N - 1)).

    >>> finite_population_factor(5, 5)
    0.0
    """
    return math.sqrt((num_rows - batch_size) / (num_rows - 1))


def log_slope(sizes: Sequence[int], stds: Sequence[float]) -> float:
    """Least-squares slope of log(std) on log(B)."""
    x, y = [math.log(size) for size in sizes], [math.log(std) for std in stds]
    centre = sum(x) / len(x)
    return sum((a - centre) * b for a, b in zip(x, y, strict=True)) / sum((a - centre) ** 2 for a in x)


def uncorrected_slope(num_rows: int, sizes: Sequence[int]) -> float:
    """The exact slope of log std on log B without replacement, if the factor is left in.

    >>> round(uncorrected_slope(1617, batch_sizes(1617)), 3)
    -0.522
    """
    stds = [finite_population_factor(num_rows, size) / math.sqrt(size) for size in sizes]
    return log_slope(sizes, stds)


def cumulants(moments: Sequence[float]) -> list[float]:
    """Cumulants 0 .. n (the 0th is 0) from raw moments 0 .. n of a distribution (the 0th is 1).

    m_n = sum_k C(n-1, k-1) kappa_k m_{n-k} (Smith, The American Statistician 49, 1995).
    """
    found = [0.0]
    for order in range(1, len(moments)):
        lower = sum(math.comb(order - 1, k - 1) * found[k] * moments[order - k] for k in range(1, order))
        found.append(moments[order] - lower)
    return found


def moments_of_mean(moments: Sequence[float], batch_size: int) -> list[float]:
    """Raw moments 0 .. n of the mean of B independent copies: cumulant r is divided by B^(r-1)."""
    scaled = [value * float(batch_size) ** (1 - order) for order, value in enumerate(cumulants(moments))]
    found = [1.0]
    for order in range(1, len(moments)):
        terms = (math.comb(order - 1, k - 1) * scaled[k] * found[order - k] for k in range(1, order + 1))
        found.append(sum(terms))
    return found


def kurtosis_standard_error(moments: Sequence[float], num_draws: int) -> float:
    """Large-sample standard error of the sample kurtosis m4 / m2^2 of a distribution with mean 0.

    With standardized moments b_r: D Var = b8 - 4 b4 b6 - b4^2 + 4 b4^3 - 8 b3 b5 + 16 b3^2 b4 + 16 b3^2
    (the delta method; Serfling, Approximation Theorems of Mathematical Statistics, 1980, section 2.2).

    Args:
        moments: Moments 0 .. 8, the first of them 0.
        num_draws: D.

    >>> kurtosis_standard_error([1, 0, 1, 0, 3, 0, 15, 0, 105], 24)  # the normal: sqrt(24 / D)
    1.0
    """
    scale = math.sqrt(moments[2])
    b = [value / scale**order for order, value in enumerate(moments)]
    skew2 = b[3] ** 2
    variance = b[8] - 4 * b[4] * b[6] - b[4] ** 2 + 4 * b[4] ** 3
    variance += -8 * b[3] * b[5] + 16 * skew2 * b[4] + 16 * skew2
    return math.sqrt(max(variance, 0.0) / num_draws)


def two_batch_estimate(
    small_size: int, big_size: int, small_norm2: float, big_norm2: float
) -> tuple[float, float]:
    """Unbiased tr(Sigma) and |G|^2 from the mean squared gradient norms at two batch sizes.

    |G|^2 = (Bb |Gb|^2 - Bs |Gs|^2) / (Bb - Bs), tr Sigma = (|Gs|^2 - |Gb|^2) / (1/Bs - 1/Bb)
    (McCandlish et al. 1812.06162, appendix A.1). Unbiased for draws with replacement, since
    E |G_B|^2 = |G|^2 + tr(Sigma) / B; the ratio of the two means is B_simple.

    >>> two_batch_estimate(2, 8, 10 + 12 / 2, 10 + 12 / 8)
    (12.0, 10.0)
    """
    trace = (small_norm2 - big_norm2) / (1 / small_size - 1 / big_size)
    norm2 = (big_size * big_norm2 - small_size * small_norm2) / (big_size - small_size)
    return trace, norm2
