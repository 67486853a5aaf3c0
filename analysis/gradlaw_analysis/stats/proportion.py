"""Proportions: exact binomial tests where each seed is one Bernoulli trial, otherwise t over shares."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import special, stats

from gradlaw.claim import Proportion
from gradlaw_analysis.stats.effect import Effect, undecided
from gradlaw_analysis.stats.sample import finite, require, require_columns
from gradlaw_analysis.stats.student import both_sides, student

ROUNDING = 1e-12  # a bound such as 0.3 - 0.1 - 0.2 counts as 0


def proportion_effect(test: Proportion, sample: pd.DataFrame, rng: np.random.Generator) -> Effect:  # noqa: ARG001
    """Effect of :class:`gradlaw.claim.Proportion`.

    Raises:
        ClaimError: For a total that is not positive, or successes outside [0, total].
    """
    require_columns(sample, ("seed", "successes", "total"), "Proportion")
    successes, total = finite(sample, "successes"), finite(sample, "total")
    require(sample, total > 0, "total", "positive")
    require(sample, (successes >= 0) & (successes <= total), "successes", "from 0 to total")
    counts = pd.DataFrame({"seed": sample["seed"], "successes": successes, "total": total})
    by_seed = counts.groupby("seed", sort=True).sum()
    if bool((by_seed["total"] == 1).all()) and bool(by_seed["successes"].isin([0, 1]).all()):
        return bernoulli(test, int(by_seed["successes"].sum()), len(by_seed))
    shares = (by_seed["successes"] / by_seed["total"]).to_numpy(dtype=np.float64)
    return student(test, shares, num_excluded=0)


def bernoulli(test: Proportion, successes: int, num_seeds: int) -> Effect:
    """Exact binomial tests and Wilson's score interval (J. Am. Stat. Assoc. 22, 1927, 209-212).

    The interval inverts the score test, so near a bound it may disagree with the exact test; the
    test decides.
    """
    if num_seeds < 2:
        return undecided(successes / num_seeds if num_seeds else np.nan, num_seeds, 0)
    share = successes / num_seeds
    closed = test.direction is None

    def interval(level: float) -> tuple[float, float]:
        bounds = stats.binomtest(successes, num_seeds).proportion_ci(level, method="wilson")
        return float(bounds.low), float(bounds.high)

    p_claim, p_complement = both_sides(
        test,
        lambda bound: binomial_above(successes, num_seeds, bound, closed=closed),
        lambda bound: binomial_above(num_seeds - successes, num_seeds, 1 - bound, closed=closed),
    )
    return Effect(
        estimate=share,
        p_claim=p_claim,
        p_complement=p_complement,
        num_seeds=num_seeds,
        num_excluded=0,
        interval=interval,
        sd=float(np.sqrt(share * (1 - share))),
    )


def binomial_above(successes: int, num_seeds: int, bound: float, *, closed: bool = False) -> float:
    """P(X >= successes) at the share ``bound``: p of "the share is at most ``bound``".

    No share lies below 0 or above 1, so such bounds need no test. With ``closed`` (equivalence regions
    contain their ends) a share of exactly 0 counts as inside a region that begins at 0.
    """
    if bound < -ROUNDING or (closed and bound <= ROUNDING):
        return 0.0
    if bound >= 1 - ROUNDING:
        return 1.0
    if successes == 0:
        return 1.0
    # The binomial tail as an incomplete beta integral (Abramowitz & Stegun, eq. 26.5.24).
    return float(special.betainc(successes, num_seeds - successes + 1, max(bound, 0.0)))
