"""Page's and Jonckheere's tests against scipy and full enumeration."""

from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gradlaw.claim import Trend
from gradlaw.errors import ClaimError
from gradlaw_analysis.stats import evaluate, trend


def run(test, columns):
    return evaluate(test, pd.DataFrame(columns), rng=np.random.default_rng(0))


def blocks_frame(blocks):
    num, levels = np.shape(blocks)
    return {
        "seed": np.repeat(np.arange(num), levels),
        "level": np.tile(np.arange(levels) * 10.0, num),
        "value": np.ravel(blocks),
    }


@pytest.mark.parametrize(("num", "levels"), [(2, 3), (5, 4), (8, 6)])
def test_page_is_scipys_exact_test(num, levels):
    blocks = np.random.default_rng(num).standard_normal((num, levels)) + 0.4 * np.arange(levels)
    effect = run(Trend(direction="greater", num_levels=levels), blocks_frame(blocks))
    exact = stats.page_trend_test(blocks, method="exact")
    assert effect.p_claim == pytest.approx(exact.pvalue, rel=1e-9)
    falling = stats.page_trend_test(blocks[:, ::-1], method="exact")
    assert effect.p_complement == pytest.approx(falling.pvalue, rel=1e-9)
    rhos = [stats.spearmanr(block, np.arange(levels)).statistic for block in blocks]
    assert effect.estimate == pytest.approx(np.mean(rhos))


def test_page_with_ties_is_the_enumeration():
    blocks = np.array([[1.0, 1.0, 2.0], [0.0, 3.0, 3.0], [5.0, 5.0, 5.0], [2.0, 1.0, 4.0]])
    ranks, positions = stats.rankdata(blocks, axis=1), np.arange(1, 4)
    sums = [
        sum(float(np.dot(order, positions)) for order in orders)
        for orders in product(*(list(permutations(block)) for block in ranks))
    ]
    expected = np.mean(np.array(sums) >= float((ranks @ positions).sum()) - 1e-9)
    assert trend.page_p(blocks) == pytest.approx(expected, rel=1e-12)


def test_page_beyond_the_exact_range_is_scipys_asymptotic_one():
    blocks = np.random.default_rng(1).standard_normal((30, 12)) + 0.03 * np.arange(12)
    expected = stats.page_trend_test(blocks, method="asymptotic").pvalue
    assert trend.page_p(blocks) == pytest.approx(expected, rel=1e-6)
    assert trend.page_p(np.ones((3, 12))) == 1.0


def test_smallest_p_of_page_is_one_order_in_k_factorial_a_block():
    perfect = run(Trend(direction="less", num_levels=3), blocks_frame([[3.0, 2.0, 1.0]] * 4))
    assert perfect.p_claim == pytest.approx(6.0**-4)
    assert (perfect.estimate, perfect.interval(0.95)) == (-1.0, (-1.0, -1.0))


def test_page_excludes_seeds_without_every_level():
    frame = pd.DataFrame(blocks_frame(np.random.default_rng(0).standard_normal((4, 3))))
    effect = run(Trend(direction="greater", num_levels=3), frame.drop(index=4))
    assert (effect.num_seeds, effect.num_excluded) == (3, 1)
    lone = run(Trend(direction="greater", num_levels=3), frame.iloc[:5])
    assert lone.reason == "1 usable seeds (1 excluded: incomplete), at least 2 needed"
    none = run(Trend(direction="greater", num_levels=4), frame)
    assert (none.num_seeds, none.num_excluded) == (0, 4)


def test_jonckheere_with_ties_is_the_enumeration():
    level = np.array([0.0, 0, 0, 1, 1, 2, 2, 2])
    value = np.array([1.0, 2, 2, 2, 3, 1, 3, 4])

    def statistic(values):  # J itself, ties one half
        return sum(
            (values[b] > values[a]) + 0.5 * (values[b] == values[a])
            for a in range(8)
            for b in range(8)
            if level[a] < level[b]
        )

    drawn = np.random.default_rng(3)
    observed = statistic(value)
    full = np.array([statistic(np.array(order)) for order in {tuple(p) for p in permutations(value)}])
    rising, falling = trend.jonckheere_p(level, value, drawn)
    assert rising == pytest.approx((full >= observed).mean(), abs=4 * np.sqrt(0.25 / trend.NUM_PERMUTATIONS))
    assert falling == pytest.approx((full <= observed).mean(), abs=4 * np.sqrt(0.25 / trend.NUM_PERMUTATIONS))


def test_jonckheere_agrees_with_its_normal_approximation_for_many_seeds():
    rng = np.random.default_rng(5)
    level = np.repeat(np.arange(3.0), 14)
    value = rng.standard_normal(42) + 0.35 * level
    # Hollander & Wolfe, Nonparametric Statistical Methods, eqs. 6.17-6.19.
    pairs = value[None, :] > value[:, None]
    statistic = pairs[level[:, None] < level[None, :]].sum()
    mean = (42**2 - 3 * 14**2) / 4
    variance = (42**2 * (2 * 42 + 3) - 3 * 14**2 * (2 * 14 + 3)) / 72
    expected = stats.norm.sf((statistic - mean) / np.sqrt(variance))
    effect = run(
        Trend(direction="greater", num_levels=3, blocked=False),
        {"seed": np.arange(42), "level": level, "value": value},
    )
    assert effect.p_claim == pytest.approx(expected, abs=0.005)
    assert effect.estimate == pytest.approx(stats.kendalltau(level, value).statistic)
    low, high = effect.interval(0.95)
    assert -1 <= low < effect.estimate < high <= 1


def test_levels_must_be_as_declared():
    frame = blocks_frame(np.zeros((3, 4)))
    with pytest.raises(ClaimError, match="num_levels=3 but its sample has 4"):
        run(Trend(direction="greater", num_levels=3), frame)
    with pytest.raises(ClaimError, match=r"several rows for one .*blocked=True"):
        run(Trend(direction="greater", num_levels=4, blocked=False), frame)
    with pytest.raises(ClaimError, match="num_levels=5 but its sample has 4"):
        run(Trend(direction="greater", num_levels=5, blocked=False), frame)


def test_two_unblocked_seeds_decide_nothing():
    effect = run(
        Trend(direction="greater", num_levels=2, blocked=False),
        {"seed": [0, 1], "level": [0, 1], "value": [0, 1]},
    )
    assert effect.p_claim == 1.0
    assert effect.reason is not None
