"""Log-rank against scipy, restricted means against a published table, swaps against enumeration."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gradlaw.claim import Survival
from gradlaw.errors import ClaimError
from gradlaw_analysis.stats import evaluate
from gradlaw_analysis.stats.survival import logrank, rmst, swap_p

# Freireich et al., Blood 21 (1963): weeks of remission of 21 pairs of patients, 6-MP against placebo.
PLACEBO = np.array([1, 22, 3, 12, 8, 17, 2, 11, 8, 12, 2, 5, 4, 15, 8, 23, 5, 11, 4, 1, 8], dtype=float)
DRUG = np.array([10, 7, 32, 23, 22, 6, 16, 34, 32, 25, 11, 20, 19, 6, 17, 35, 6, 13, 9, 6, 10], dtype=float)
DRUG_OBSERVED = np.array([1, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0], dtype=bool)


def freireich():
    return pd.DataFrame(
        {
            "seed": [*range(21), *range(21)],
            "arm": ["drug"] * 21 + ["placebo"] * 21,
            "time": np.concatenate([DRUG, PLACEBO]),
            "observed": np.concatenate([DRUG_OBSERVED, np.ones(21, dtype=bool)]),
        }
    )


def run(sample, **changes):
    test = Survival(**{"arms": ("drug", "placebo"), "direction": "greater", "horizon": 23.0} | changes)
    return evaluate(test, sample, rng=np.random.default_rng(0))


def test_logrank_statistic_is_the_published_one_and_scipys():
    sample = freireich()
    first = (sample["arm"] == "drug").to_numpy()
    ours = logrank(sample["time"].to_numpy(), sample["observed"].to_numpy(), first[None, :])[0]
    assert ours**2 == pytest.approx(16.79, abs=0.005)  # Cox & Oakes, Analysis of Survival Data (1984), ch. 7
    scipys = stats.logrank(
        stats.CensoredData(DRUG[DRUG_OBSERVED], right=DRUG[~DRUG_OBSERVED]), stats.CensoredData(PLACEBO)
    )
    assert abs(ours) == pytest.approx(abs(scipys.statistic), rel=1e-9)
    assert ours > 0


def test_restricted_mean_is_the_area_under_scipys_kaplan_meier_curve():
    curve = stats.ecdf(stats.CensoredData(DRUG[DRUG_OBSERVED], right=DRUG[~DRUG_OBSERVED])).sf
    grid = np.linspace(0, 23, 23_001)[:-1] + 0.0005
    assert rmst(DRUG, DRUG_OBSERVED, 23.0) == pytest.approx(curve.evaluate(grid).mean() * 23, rel=1e-4)
    assert rmst(PLACEBO, np.ones(21, dtype=bool), 23.0) == pytest.approx(PLACEBO.mean())


def test_published_trial_is_decided():
    effect = run(freireich())
    assert effect.p_claim < 0.001
    assert effect.p_complement > 0.99
    assert (effect.num_seeds, effect.num_excluded) == (21, 0)
    assert effect.interval(0.95)[0] > 0
    mirrored = run(freireich(), direction="less")
    assert (mirrored.p_claim, mirrored.p_complement) == (effect.p_complement, effect.p_claim)


def test_swaps_are_the_enumeration_of_scipys_statistic():
    time, observed = (
        np.stack([DRUG, PLACEBO], axis=1)[:5],
        np.stack([DRUG_OBSERVED, np.ones(21, bool)], axis=1)[:5],
    )

    def statistic(swap):
        first = [(time[i, s], observed[i, s]) for i, s in enumerate(swap)]
        second = [(time[i, 1 - s], observed[i, 1 - s]) for i, s in enumerate(swap)]
        data = [
            stats.CensoredData([t for t, seen in rows if seen], right=[t for t, seen in rows if not seen])
            for rows in (first, second)
        ]
        return -stats.logrank(*data).statistic

    every = np.array([statistic(swap) for swap in product((0, 1), repeat=5)])
    longer, shorter = swap_p(time, observed, np.random.default_rng(0))
    sign = np.sign(logrank(time.T.ravel(), observed.T.ravel(), np.arange(10)[None, :] < 5)[0]) * np.sign(
        every[0]
    )
    assert longer == pytest.approx((sign * every >= sign * every[0] - 1e-9).mean())
    assert shorter == pytest.approx((sign * every <= sign * every[0] + 1e-9).mean())


def test_without_censoring_the_interval_is_the_paired_t_interval():
    sample = freireich()
    sample["observed"] = True
    effect = run(sample, horizon=15.0)
    differences = np.minimum(DRUG, 15) - np.minimum(PLACEBO, 15)
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert effect.estimate == pytest.approx(differences.mean())
    assert effect.interval(0.95) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_incomplete_seeds_are_excluded():
    effect = run(freireich().drop(index=[3]))
    assert (effect.num_seeds, effect.num_excluded) == (20, 1)
    lone = run(freireich().iloc[[0, 21, 1]])
    assert (lone.num_seeds, lone.num_excluded, lone.p_claim) == (1, 1, 1.0)


def test_bad_samples_are_named():
    with pytest.raises(ClaimError, match=r"arm 'drug' is undefined.*last time 35 is censored.*at most 35"):
        run(freireich(), horizon=40.0)
    with pytest.raises(ClaimError, match="seed 0 has several rows"):
        run(pd.concat([freireich(), freireich()]))
    negative = freireich().assign(time=-1.0)
    with pytest.raises(ClaimError, match="'time' must be at least 0"):
        run(negative)
    with pytest.raises(ClaimError, match="'observed' must be true or false"):
        run(freireich().assign(observed="yes"))
