"""Censored event times of two arms: log-rank by permutation within seeds, restricted mean times."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd

from gradlaw.claim import Survival
from gradlaw.errors import ClaimError
from gradlaw_analysis.stats.effect import Effect, undecided
from gradlaw_analysis.stats.sample import Floats, finite, require, require_columns, require_single
from gradlaw_analysis.stats.student import spread, t_interval

Bools = npt.NDArray[np.bool_]
EXACT_SEEDS = 14
NUM_SWAPS = 19_999


def survival_effect(test: Survival, sample: pd.DataFrame, rng: np.random.Generator) -> Effect:
    """Effect of :class:`gradlaw.claim.Survival`; seeds without both arms are excluded.

    p comes from swapping the two arms within each seed (twins share their streams, so they are
    exchangeable if the arm does not matter): all 2^n swaps up to 14 seeds, then 19,999 at random.
    The interval is Student's over the jackknife pseudo-values of the difference of restricted means
    (Andersen, Hansen & Klein, Lifetime Data Anal. 10, 2004); without censoring they are the
    paired differences of min(time, horizon).

    Raises:
        ClaimError: For negative times, ``observed`` that is not boolean, several rows a seed and arm, or
            a horizon past the last time of an arm that still has survivors.
    """
    require_columns(sample, ("seed", "arm", "time", "observed"), "Survival")
    rows = sample.loc[sample["arm"].isin(test.arms)]
    require_single(rows, ("seed", "arm"), "reduce to one event time a seed and arm")
    times = finite(rows, "time")
    require(rows, times >= 0, "time", "at least 0")
    require(rows, rows["observed"].isin([True, False]).to_numpy(dtype=bool), "observed", "true or false")
    time, observed, num_excluded = _pairs(test, rows, times)
    num = len(time)
    if num < 2:
        return undecided(math.nan, num, num_excluded)
    _require_horizon(test, time, observed)
    estimate = rmst_difference(time, observed, test.horizon)
    kept = ~np.eye(num, dtype=bool)
    without = np.array([rmst_difference(time[keep], observed[keep], test.horizon) for keep in kept])
    pseudo = num * estimate - (num - 1) * without
    longer, shorter = swap_p(time, observed, rng)
    error = spread(pseudo) / math.sqrt(num)
    return Effect(
        estimate=estimate,
        p_claim=longer if test.direction == "greater" else shorter,
        p_complement=shorter if test.direction == "greater" else longer,
        num_seeds=num,
        num_excluded=num_excluded,
        interval=lambda level: t_interval(estimate, error, num, level),
    )


def _pairs(test: Survival, rows: pd.DataFrame, times: Floats) -> tuple[Floats, Bools, int]:
    """Times and flags of complete seeds, shape (num_seeds, 2) in the order of ``test.arms``."""
    cells = pd.DataFrame(
        {"seed": rows["seed"], "arm": rows["arm"], "time": times, "observed": rows["observed"].astype(float)}
    )
    table = cells.pivot(index="seed", columns="arm").reindex(
        columns=pd.MultiIndex.from_product([["time", "observed"], list(test.arms)])
    )
    complete = table.dropna()
    values = complete.to_numpy(dtype=np.float64).reshape(-1, 4)
    return values[:, :2], values[:, 2:] > 0.5, len(table) - len(complete)


def _require_horizon(test: Survival, time: Floats, observed: Bools) -> None:
    for column, arm in enumerate(test.arms):
        last = float(time[:, column].max())
        survivors = not observed[time[:, column] == last, column].all()
        if last < test.horizon and survivors:
            msg = (
                f"the restricted mean of arm {arm!r} is undefined: its last time {last:g} is censored and "
                f"before the horizon {test.horizon:g}; declare a horizon of at most {last:g}"
            )
            raise ClaimError(msg)


def rmst_difference(time: Floats, observed: Bools, horizon: float) -> float:
    """Restricted mean time of arm 0 less that of arm 1; arrays of shape (num_seeds, 2)."""
    return rmst(time[:, 0], observed[:, 0], horizon) - rmst(time[:, 1], observed[:, 1], horizon)


def rmst(time: Floats, observed: Bools, horizon: float) -> float:
    """Area under the Kaplan-Meier curve from 0 to ``horizon``, in the units of ``time``.

    Kaplan & Meier, J. Am. Stat. Assoc. 53 (1958), 457-481; past the last time the curve stays level.

    >>> rmst(np.array([1.0, 2.0, 3.0]), np.array([True, False, True]), 4.0)
    2.333...
    """
    events = np.unique(time[observed & (time < horizon)])
    at_risk = (time >= events[:, None]).sum(axis=1)
    deaths = ((time == events[:, None]) & observed).sum(axis=1)
    survival = np.concatenate([[1.0], np.cumprod(1 - deaths / at_risk)])
    edges = np.concatenate([[0.0], events, [horizon]])
    return float((survival * np.diff(edges)).sum())


def logrank(time: Floats, observed: Bools, in_first: Bools) -> Floats:
    """Log-rank statistics, positive where the first arm lasts longer.

    Mantel, Cancer Chemother. Rep. 50 (1966), 163-170: (expected - observed events of the first arm) over
    the root of the summed hypergeometric variances.

    Args:
        time: All rows of both arms, shape (N,).
        observed: Whether each time is an event, shape (N,).
        in_first: Whether a row is of the first arm, shape (B, N): B assignments at once.

    Returns:
        Shape (B,); 0 where there is no variance.
    """
    events = np.unique(time[observed])
    risk = (time >= events[:, None]).astype(np.float64)
    dies = ((time == events[:, None]) & observed).astype(np.float64)
    at_risk, deaths = risk.sum(axis=1), dies.sum(axis=1)
    first = in_first.astype(np.float64)
    share = first @ risk.T / at_risk
    excess = (deaths * share - first @ dies.T).sum(axis=1)
    spare = np.where(at_risk > 1, (at_risk - deaths) / np.maximum(at_risk - 1, 1), 0.0)
    variance = (deaths * share * (1 - share) * spare).sum(axis=1)
    statistic = np.zeros(len(excess))
    varies = variance > 0
    statistic[varies] = excess[varies] / np.sqrt(variance[varies])
    return statistic


def swap_p(time: Floats, observed: Bools, rng: np.random.Generator) -> tuple[float, float]:
    """One-sided p that arm 0 takes longer, and that it takes shorter; arrays of shape (num_seeds, 2)."""
    num = len(time)
    exact = num <= EXACT_SEEDS
    if exact:
        swapped = ((np.arange(2**num)[:, None] >> np.arange(num)) & 1).astype(bool)
    else:
        swapped = rng.random((NUM_SWAPS, num)) < 0.5
        swapped[0] = False
    # Row i of arm 0 is entry i, of arm 1 entry num + i; a swap moves one out of and one into the first arm.
    statistics = logrank(time.T.ravel(), observed.T.ravel(), np.concatenate([~swapped, swapped], axis=1))
    longer = int((statistics >= statistics[0] - 1e-9).sum())
    shorter = int((statistics <= statistics[0] + 1e-9).sum())
    return longer / len(swapped), shorter / len(swapped)
