"""The best of k against all subsets, closed forms and simulation."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from gradlaw_studies.lion_adamw.best_of import expected_best, median_best, running_best

VALUES = np.random.default_rng(3).exponential(size=9)


@pytest.mark.parametrize("k", range(1, 10))
def test_expected_best_is_the_mean_over_all_subsets(k):
    smallest = [min(subset) for subset in combinations(VALUES, k)]
    assert expected_best(VALUES, k) == pytest.approx(np.mean(smallest), rel=1e-12)


def test_expected_best_from_the_mean_to_the_minimum():
    assert expected_best(VALUES, 1) == pytest.approx(VALUES.mean())
    assert expected_best(VALUES, 9) == VALUES.min()
    curve = [expected_best(VALUES, k) for k in range(1, 10)]
    assert curve == sorted(curve, reverse=True)


def test_ties_and_infinite_values():
    tied = [2.0, 2.0, 1.0, math.inf]
    assert expected_best(tied, 4) == 1.0
    assert expected_best(tied, 3) == pytest.approx((1.0 + 1.0 + 1.0 + 2.0) / 4)
    assert expected_best(tied, 1) == math.inf


def test_expected_best_is_unbiased():
    """The smallest of k exponentials has mean 1/k; with replacement the estimate would be too large."""
    drawn = np.random.default_rng(11).exponential(size=(4000, 12))
    for k in (2, 6, 10):
        estimates = [expected_best(row, k) for row in drawn]
        error = np.std(estimates) / math.sqrt(len(estimates))
        assert abs(np.mean(estimates) - 1 / k) < 4 * error


@pytest.mark.parametrize(("num", "k"), [(24, 1), (24, 3), (24, 8), (60, 8)])
def test_median_interval_covers_what_it_says(num, k):
    """Of k exponentials the smallest has median ln(2) / k; coverage is at least 90%, ranks being discrete."""
    truth = math.log(2) / k
    drawn = np.random.default_rng(7).exponential(size=(3000, num))
    ends = np.array([median_best(row, k, 0.9) for row in drawn])
    above, below = (ends[:, 0] > truth).mean(), (ends[:, 1] < truth).mean()
    noise = 4 * math.sqrt(0.05 * 0.95 / len(drawn))
    assert above <= 0.05 + noise
    assert below <= 0.05 + noise
    assert below > 0.0  # it can miss


def test_median_interval_at_one_is_that_of_the_sign_test():
    """The median itself: the interval inverts the sign test, for n = 10 at 95% from x_(2) to x_(9)."""
    values = np.arange(1.0, 11.0)
    assert median_best(values, 1, 0.95) == (2.0, 9.0)
    assert 2 * stats.binom.cdf(1, 10, 0.5) <= 0.05 < 2 * stats.binom.cdf(2, 10, 0.5)


def test_few_values_bound_a_long_search_from_above_alone():
    low, high = median_best(VALUES, 9, 0.9)
    assert low == -math.inf
    assert high in VALUES
    assert median_best([1.0], 1, 0.9) == (-math.inf, math.inf)


def test_running_best_never_rises():
    assert running_best([5.0, 7.0, 4.0, 4.5]) == [5.0, 5.0, 4.0, 4.0]


@pytest.mark.parametrize("k", [0, 10])
def test_more_than_there_are_cannot_be_drawn(k):
    with pytest.raises(ValueError, match=f"k: got {k}, allowed 1 .. 9"):
        expected_best(VALUES, k)


def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match="got 1 that are no numbers"):
        expected_best([1.0, math.nan], 1)
    with pytest.raises(ValueError, match="level: got 1, allowed"):
        median_best([1.0], 1, 1)
