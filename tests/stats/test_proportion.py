"""Proportions against scipy's binomial test and Wilson's published interval."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gradlaw.claim import Proportion
from gradlaw.errors import ClaimError
from gradlaw_analysis.stats import evaluate
from gradlaw_analysis.stats.proportion import bernoulli


def run(test, columns):
    return evaluate(test, pd.DataFrame(columns), rng=np.random.default_rng(0))


def test_one_bernoulli_a_seed_is_tested_exactly():
    successes = [1, 1, 1, 1, 1, 1, 1, 0, 0, 0]
    columns = {"seed": range(10), "successes": successes, "total": 1}
    effect = run(Proportion(target=0.4, margin=0.3), columns)
    above = stats.binomtest(7, 10, 0.1, alternative="greater").pvalue
    below = stats.binomtest(7, 10, 0.7, alternative="less").pvalue
    assert effect.p_claim == pytest.approx(max(above, below))
    greater = run(Proportion(target=0.4, margin=0.1, direction="greater"), columns)
    assert greater.p_claim == pytest.approx(stats.binomtest(7, 10, 0.4, alternative="greater").pvalue)
    assert greater.p_complement == pytest.approx(stats.binomtest(7, 10, 0.3, alternative="less").pvalue)


def test_wilson_interval_is_newcombes_published_one():
    # Newcombe, Stat. Med. 17 (1998), table I, method 3: 15 of 148.
    interval = bernoulli(Proportion(target=0.1, margin=0.1), 15, 148).interval(0.95)
    assert interval == pytest.approx((0.0624, 0.1605), abs=5e-5)


@pytest.mark.parametrize(
    ("successes", "direction", "target", "margin", "claim"),
    [
        (0, None, 0.1, 0.1, 0.9 * 0 + 0.8**5),  # the region begins at 0: only its upper end is tested
        (5, None, 0.9, 0.1, 0.8**5),
        (0, "greater", 0.0, 0.0, 1.0),
        (1, "greater", 0.0, 0.0, 0.0),
        (5, "less", 1.0, 0.0, 1.0),
    ],
)
def test_shares_at_the_ends(successes, direction, target, margin, claim):
    effect = bernoulli(Proportion(target=target, margin=margin, direction=direction), successes, 5)
    assert effect.p_claim == pytest.approx(claim)


def test_shares_of_a_seed_go_to_student():
    columns = {"seed": [0, 0, 1, 2], "successes": [1, 1, 3, 4], "total": [2, 2, 4, 4]}
    effect = run(Proportion(target=0.5, margin=0.1, direction="greater", sd=0.1), columns)
    expected = stats.ttest_1samp([0.5, 0.75, 1.0], 0.5, alternative="greater").pvalue
    assert effect.p_claim == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("successes", "total", "message"),
    [(1, 0, "'total' must be positive"), (3, 2, "'successes' must be from 0")],
)
def test_impossible_counts_are_named(successes, total, message):
    with pytest.raises(ClaimError, match=message):
        run(Proportion(target=0.5, margin=0.1), {"seed": [1], "successes": [successes], "total": [total]})


def test_one_seed_decides_nothing():
    effect = run(Proportion(target=0.5, margin=0.5), {"seed": [1], "successes": [1], "total": [1]})
    assert (effect.p_claim, effect.reason) == (1.0, "1 usable seeds, at least 2 needed")
