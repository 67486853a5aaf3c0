"""Student's t against scipy, and what must not change it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gradlaw.claim import Mean, PairedDifference, Slope
from gradlaw.errors import ClaimError
from gradlaw_analysis.stats import evaluate
from gradlaw_analysis.stats.tails import critical, upper_tail


def run(test, columns):
    return evaluate(test, pd.DataFrame(columns), rng=np.random.default_rng(0))


def noise(size, seed=0):
    return np.random.default_rng(seed).standard_normal(size)


def test_equivalence_is_two_one_sided_t_tests():
    values = noise(8)
    effect = run(Mean(target=0.2, margin=1.0, sd=1), {"seed": range(8), "value": values})
    above = stats.ttest_1samp(values, -0.8, alternative="greater").pvalue
    below = stats.ttest_1samp(values, 1.2, alternative="less").pvalue
    assert effect.p_claim == pytest.approx(max(above, below), rel=1e-9)
    beyond = stats.ttest_1samp(values, 1.2, alternative="greater").pvalue
    short = stats.ttest_1samp(values, -0.8, alternative="less").pvalue
    assert effect.p_complement == pytest.approx(min(1, 2 * min(beyond, short)), rel=1e-9)
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert effect.interval(0.9) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert (effect.estimate, effect.num_seeds, effect.num_excluded) == (pytest.approx(values.mean()), 8, 0)


@pytest.mark.parametrize(
    ("direction", "claim", "beyond"), [("greater", "greater", 0.1), ("less", "less", 0.5)]
)
def test_direction_tests_the_target_and_refutes_past_the_margin(direction, claim, beyond):
    values = noise(6) + 0.4
    effect = run(Mean(target=0.3, margin=0.2, direction=direction, sd=1), {"seed": range(6), "value": values})
    opposite = "less" if claim == "greater" else "greater"
    assert effect.p_claim == pytest.approx(stats.ttest_1samp(values, 0.3, alternative=claim).pvalue, rel=1e-9)
    expected = stats.ttest_1samp(values, beyond, alternative=opposite).pvalue
    assert effect.p_complement == pytest.approx(expected, rel=1e-9)


def test_rows_of_a_seed_count_once():
    once = run(Mean(target=0, margin=1, sd=1), {"seed": [1, 2, 3], "value": [0.1, 0.2, 0.4]})
    thrice = run(
        Mean(target=0, margin=1, sd=1),
        {"seed": [1, 1, 1, 2, 3, 3], "value": [0.0, 0.1, 0.2, 0.2, 0.3, 0.5]},
    )
    assert thrice.p_claim == pytest.approx(once.p_claim, rel=1e-9)
    assert thrice.num_seeds == 3


def test_slope_agrees_with_linregress_for_each_series():
    seeds, x = np.repeat(np.arange(4), 10), np.tile(np.arange(5.0), 8)
    series = np.tile(np.repeat(["init", "end"], 5), 4)
    y = -0.5 * x + noise(40)
    frame = pd.DataFrame({"seed": seeds, "x": x, "y": y, "series": series})
    slopes = [
        np.mean([stats.linregress(part.x, part.y).slope for _, part in rows.groupby("series")])
        for _, rows in frame.groupby("seed")
    ]
    effect = run(Slope(target=-0.5, margin=0.1, sd=1), frame)
    assert effect.estimate == pytest.approx(np.mean(slopes), rel=1e-9)
    assert effect.sd == pytest.approx(np.std(slopes, ddof=1), rel=1e-9)


def test_slope_excludes_a_seed_with_one_distinct_x():
    x = [0.0, 1.0, 0.0, 1.0, 0.1, 0.1]
    effect = run(
        Slope(target=1, margin=1, sd=1), {"seed": [0, 0, 1, 1, 2, 2], "x": x, "y": [0, 1.1, 0, 0.9, 3, 4]}
    )
    assert (effect.num_seeds, effect.num_excluded) == (2, 1)
    assert effect.estimate == pytest.approx(1.0)


def test_paired_difference_agrees_with_ttest_rel_and_excludes_half_pairs():
    left, right = noise(7) + 1, noise(7, seed=1)
    frame = pd.DataFrame(
        {
            "seed": [*range(7), *range(7), 7, 8],
            "arm": ["a"] * 7 + ["b"] * 7 + ["a", "b"],
            "value": np.concatenate([left, right, [9.0, 9.0]]),
        }
    )
    effect = run(PairedDifference(arms=("a", "b"), margin=0, direction="greater", sd=1), frame)
    assert effect.p_claim == pytest.approx(
        stats.ttest_rel(left, right, alternative="greater").pvalue, rel=1e-9
    )
    assert (effect.num_seeds, effect.num_excluded) == (7, 2)


@pytest.mark.parametrize(
    ("direction", "target", "claim", "complement"),
    [
        ("greater", 0.2, 0.0, 1.0),
        ("greater", 0.3, 1.0, 1.0),
        ("greater", 0.5, 1.0, 0.0),
        (None, 0.3, 0.0, 1.0),
    ],
)
def test_seeds_that_agree_exactly_decide_by_sign_and_not_by_rounding(direction, target, claim, complement):
    values = [0.1 + 0.2, 0.3, 0.3, 0.3]  # differ in the last bit
    effect = run(
        Mean(target=target, margin=0.1, direction=direction, sd=1), {"seed": range(4), "value": values}
    )
    assert (effect.p_claim, effect.p_complement) == (claim, complement)
    assert effect.interval(0.95) == (effect.estimate, effect.estimate)


def test_fewer_than_two_seeds_decide_nothing():
    effect = run(Mean(target=0, margin=1, sd=1), {"seed": [3, 3], "value": [0.0, 0.1]})
    assert (effect.p_claim, effect.p_complement, effect.num_seeds) == (1.0, 1.0, 1)
    assert effect.reason == "1 usable seeds, at least 2 needed"
    assert effect.interval(0.95) == (-np.inf, np.inf)
    empty = run(Mean(target=0, margin=1, sd=1), {"seed": [], "value": []})
    assert np.isnan(empty.estimate)
    assert empty.num_seeds == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, None, "no number"])
def test_a_value_that_is_no_number_names_its_seed(bad):
    with pytest.raises(ClaimError, match=r"column 'value' must be a finite number.*at seed 17"):
        run(Mean(target=0, margin=1, sd=1), {"seed": [1, 17, 4], "value": [0.0, bad, 1.0]})


def test_missing_columns_and_seeds_are_named():
    with pytest.raises(ClaimError, match=r"Slope .* missing columns x, y; got seed, z; needed seed, x, y"):
        run(Slope(target=0, margin=1, sd=1), {"seed": [1], "z": [0]})
    with pytest.raises(ClaimError, match="a row without a seed"):
        run(Mean(target=0, margin=1, sd=1), {"seed": [1, None], "value": [0.0, 1.0]})


finite = st.floats(-100, 100).map(lambda value: round(value, 3))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), finite), min_size=2, max_size=30),
    st.randoms(use_true_random=False),
    st.floats(-50, 50),
    st.floats(0.01, 100),
)
def test_row_order_shift_and_scale_change_nothing(rows, random, shift, scale):
    seeds, values = zip(*rows, strict=True)
    before = run(Mean(target=0, margin=1, sd=1), {"seed": seeds, "value": values})
    order = random.sample(range(len(rows)), len(rows))
    moved = {"seed": [seeds[i] for i in order], "value": [scale * (values[i] + shift) for i in order]}
    after = run(Mean(target=scale * shift, margin=scale, sd=1), moved)
    assert after.estimate == pytest.approx(scale * (before.estimate + shift), abs=1e-9 * scale * 200)
    if before.sd is None or before.sd > 1e-6 or before.sd == after.sd == 0:
        assert after.p_claim == pytest.approx(before.p_claim, abs=1e-6)
        assert after.p_complement == pytest.approx(before.p_complement, abs=1e-6)


@pytest.mark.parametrize("t", [-1.0, 0.0, 2.5, 40.0])
def test_tail_of_the_normal_law_is_students(t):
    assert upper_tail(t, 7, skewed=False) == pytest.approx(stats.t.sf(t, 6), rel=1e-9)
    assert critical(0.025, 7, skewed=False) == pytest.approx(stats.t.isf(0.025, 6), rel=1e-9)


def test_tail_of_skewed_laws_is_the_exponentials():
    sample = np.random.default_rng(99).standard_exponential((100_000, 5))
    t = (1 - sample.mean(axis=1)) / stats.sem(sample, axis=1)
    bound = critical(0.025, 5, skewed=True)
    assert (t >= bound).mean() == pytest.approx(0.025, abs=0.002)
    assert upper_tail(bound, 5, skewed=True) <= 0.025
    assert upper_tail(bound - 0.05, 5, skewed=True) > 0.025
    assert upper_tail(np.inf, 5, skewed=True) < 1e-5
    assert critical(1e-7, 5, skewed=True) == np.inf
    assert critical(0.025, 300, skewed=True) == critical(0.025, 200, skewed=True)


def test_declared_skewness_widens_the_interval():
    columns = {"seed": range(10), "value": noise(10)}
    plain, guarded = (run(Mean(target=0, margin=1, sd=1, skewed=skewed), columns) for skewed in (False, True))
    assert guarded.interval(0.95)[1] > plain.interval(0.95)[1]
    assert guarded.p_claim > plain.p_claim
