"""What every test returns: an estimate, an interval at any level, and the p of both sides."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Interval = Callable[[float], tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One statistic over the seeds of a sample.

    Attributes:
        estimate: Point estimate, in the units of the sample; NaN without data.
        p_claim: p of the null hypothesis that the claim is false (small: supported), in [0, 1].
        p_complement: p of the null hypothesis that the claim holds or misses by at most its margin
            (small: refuted), in [0, 1].
        num_seeds: Seeds behind the estimate.
        num_excluded: Seeds of the sample left out because their design is incomplete.
        interval: Two-sided confidence interval at a level in (0, 1); infinite without two seeds.
        sd: Standard deviation over seeds, where the statistic is a mean of one estimate a seed.
        reason: Why nothing can be decided, or None.
    """

    estimate: float
    p_claim: float
    p_complement: float
    num_seeds: int
    num_excluded: int
    interval: Interval
    sd: float | None = None
    reason: str | None = None


def undecided(estimate: float, num_seeds: int, num_excluded: int) -> Effect:
    """The effect of fewer than two seeds: no spread can be estimated, so nothing is decided."""
    excluded = f" ({num_excluded} excluded: incomplete)" if num_excluded else ""
    return Effect(
        estimate=estimate,
        p_claim=1.0,
        p_complement=1.0,
        num_seeds=num_seeds,
        num_excluded=num_excluded,
        interval=lambda _level: (-math.inf, math.inf),
        reason=f"{num_seeds} usable seeds{excluded}, at least 2 needed",
    )
