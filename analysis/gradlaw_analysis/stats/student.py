"""Student's t over one estimate a seed: mean, slope and paired difference."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from gradlaw.claim import Mean, PairedDifference, Proportion, Slope
from gradlaw_analysis.stats.effect import Effect, undecided
from gradlaw_analysis.stats.sample import Floats, finite, require_columns, seed_means
from gradlaw_analysis.stats.tails import critical, upper_tail

Located = Mean | Slope | PairedDifference | Proportion


def mean_effect(test: Mean, sample: pd.DataFrame, rng: np.random.Generator) -> Effect:  # noqa: ARG001
    """Effect of :class:`gradlaw.claim.Mean`: rows of a seed are averaged, then t over seeds."""
    require_columns(sample, ("seed", "value"), "Mean")
    return student(test, seed_means(sample, "value"), num_excluded=0, skewed=test.skewed)


def slope_effect(test: Slope, sample: pd.DataFrame, rng: np.random.Generator) -> Effect:  # noqa: ARG001
    """Effect of :class:`gradlaw.claim.Slope`; a seed with a series of one distinct x is excluded."""
    require_columns(sample, ("seed", "x", "y"), "Slope")
    rows = pd.DataFrame({"seed": sample["seed"], "x": finite(sample, "x"), "y": finite(sample, "y")})
    rows["series"] = sample["series"] if "series" in sample.columns else 0
    grouped = rows.groupby(["seed", "series"], sort=True, dropna=False)
    centred_x = rows["x"] - grouped["x"].transform("mean")
    centred_y = rows["y"] - grouped["y"].transform("mean")
    # Distinct x are counted, not their spread: rounding leaves a spread where all x are equal.
    usable = grouped["x"].nunique().ge(2).groupby("seed").all()
    products = pd.DataFrame({"seed": rows["seed"], "series": rows["series"]})
    products["xy"], products["xx"] = centred_x * centred_y, centred_x**2
    sums = products.loc[rows["seed"].map(usable)].groupby(["seed", "series"], dropna=False).sum()
    slopes = (sums["xy"] / sums["xx"]).groupby("seed").mean()
    estimates = slopes.to_numpy(dtype=np.float64)
    return student(test, estimates, num_excluded=int((~usable).sum()), skewed=test.skewed)


def paired_effect(test: PairedDifference, sample: pd.DataFrame, rng: np.random.Generator) -> Effect:  # noqa: ARG001
    """Effect of :class:`gradlaw.claim.PairedDifference`; a seed with an arm missing is excluded.

    Pairs are formed within a series, so that arms are never compared over different sets of series.
    """
    require_columns(sample, ("seed", "arm", "value"), "PairedDifference")
    rows = pd.DataFrame({"seed": sample["seed"], "arm": sample["arm"], "value": finite(sample, "value")})
    rows["series"] = sample["series"] if "series" in sample.columns else 0
    rows = rows.loc[rows["arm"].isin(test.arms)]
    cells = rows.groupby(["seed", "series", "arm"], sort=True, dropna=False)["value"].mean()
    table = cells.unstack("arm").reindex(columns=pd.Index(test.arms))
    differences = table[test.arms[0]] - table[test.arms[1]]
    usable = differences.notna().groupby("seed").all()
    estimates = differences.groupby("seed").mean().loc[usable].to_numpy(dtype=np.float64)
    return student(test, estimates, num_excluded=int((~usable).sum()), skewed=test.skewed)


def student(test: Located, estimates: Floats, *, num_excluded: int, skewed: bool = False) -> Effect:
    """One-sample t tests of the claim and of its complement.

    Equivalence is Schuirmann's two one-sided tests (J. Pharmacokinet. Biopharm. 15, 1987): p_claim is the
    larger of the two. p_complement doubles the smaller of the two tests beyond the margin, as either may
    refute. With a direction the claim is tested at ``target`` and the complement at ``margin`` short of it.

    Args:
        test: Target, margin and direction.
        estimates: One estimate a seed, shape (num_seeds,).
        num_excluded: Seeds left out before.
        skewed: Whether to guard against skewed seeds, see :func:`gradlaw_analysis.stats.tails.upper_tail`.
    """
    num = len(estimates)
    if num < 2:
        return undecided(float(estimates[0]) if num else math.nan, num, num_excluded)
    mean, sd = float(np.mean(estimates)), spread(estimates)
    error = sd / math.sqrt(num)

    def exceeds(excess: float) -> float:
        if error == 0.0:  # without spread only the sign of the excess counts
            return 0.0 if excess > tolerance else 1.0
        return upper_tail(excess / error, num, skewed=skewed)

    tolerance = rounding(max(abs(mean), abs(test.target) + test.margin))
    p_claim, p_complement = both_sides(
        test, lambda bound: exceeds(mean - bound), lambda bound: exceeds(bound - mean)
    )
    return Effect(
        estimate=mean,
        p_claim=p_claim,
        p_complement=p_complement,
        num_seeds=num,
        num_excluded=num_excluded,
        interval=lambda level: t_interval(mean, error, num, level, skewed=skewed),
        sd=sd,
    )


def both_sides(
    test: Located, above: Callable[[float], float], below: Callable[[float], float]
) -> tuple[float, float]:
    """Returns p of the claim and of its complement, given the p of lying above and below a bound."""
    low, high = test.target - test.margin, test.target + test.margin
    if test.direction == "greater":
        return above(test.target), below(low)
    if test.direction == "less":
        return below(test.target), above(high)
    return max(above(low), below(high)), min(1.0, 2 * min(below(low), above(high)))


def spread(estimates: Floats) -> float:
    """Standard deviation over seeds, and exactly 0 where the estimates differ by rounding alone."""
    sd = float(np.std(estimates, ddof=1))
    return sd if sd > rounding(float(np.max(np.abs(estimates)))) else 0.0


def rounding(scale: float) -> float:
    """The difference below which two float64 means of size ``scale`` count as equal."""
    return 16 * float(np.finfo(np.float64).eps) * scale


def t_interval(
    centre: float, error: float, num_seeds: int, level: float, *, skewed: bool = False
) -> tuple[float, float]:
    """Two-sided Student interval at ``level`` in (0, 1)."""
    if error == 0.0:
        return centre, centre
    half = critical((1 - level) / 2, num_seeds, skewed=skewed) * error
    return centre - half, centre + half
