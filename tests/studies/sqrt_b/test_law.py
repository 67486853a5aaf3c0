import itertools
import math

import numpy as np
import pytest
from scipy import stats

from gradlaw.errors import UsageError
from gradlaw_studies.sqrt_b.law import (
    batch_sizes,
    cumulants,
    finite_population_factor,
    kurtosis_standard_error,
    log_slope,
    moments_of_mean,
    two_batch_estimate,
    uncorrected_slope,
)

VALUES = np.array([0.3, -1.2, 4.0, 0.0, 0.7])


def raw_moments(values, order):
    return [float(np.mean(values**r)) for r in range(order + 1)]


def test_batch_sizes_end_at_half_the_rows():
    assert batch_sizes(2) == (1,)
    assert batch_sizes(476) == (1, 2, 4, 8, 16, 32, 64, 128)
    assert batch_sizes(1024)[-1] == 512
    assert batch_sizes(1023)[-1] == 256
    with pytest.raises(UsageError, match="num_rows: got 1"):
        batch_sizes(1)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_the_finite_population_factor_is_that_of_all_subsets(size):
    means = [np.mean(subset) for subset in itertools.combinations(VALUES, size)]
    exact = VALUES.std() / math.sqrt(size) * finite_population_factor(5, size)
    assert np.std(means) == pytest.approx(exact, abs=1e-14)


def test_the_slope_without_correction_is_the_published_one():
    assert uncorrected_slope(1617, batch_sizes(1617)) == pytest.approx(-0.522, abs=5e-4)
    assert uncorrected_slope(10**9, batch_sizes(1617)) == pytest.approx(-0.5, abs=1e-6)


def test_the_slope_agrees_with_scipy():
    sizes, stds = (1, 3, 8, 20), (5.0, 2.0, 2.5, 0.3)
    expected = stats.linregress(np.log(sizes), np.log(stds)).slope
    assert log_slope(sizes, stds) == pytest.approx(expected, rel=1e-12)


def test_cumulants_of_a_poisson_law_are_all_its_mean():
    moments = [float(stats.poisson(1.7).moment(r)) if r else 1.0 for r in range(9)]
    np.testing.assert_allclose(cumulants(moments)[1:], 1.7, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_moments_of_the_mean_are_those_of_all_ordered_draws(size):
    means = np.array([np.mean(draw) for draw in itertools.product(VALUES, repeat=size)])
    np.testing.assert_allclose(
        moments_of_mean(raw_moments(VALUES, 8), size), raw_moments(means, 8), rtol=1e-9
    )


def test_the_excess_kurtosis_of_the_mean_falls_as_one_over_the_batch_size():
    centred = VALUES - VALUES.mean()
    for size in (1, 2, 3, 4):
        means = [np.mean(draw) for draw in itertools.product(centred, repeat=size)]
        assert stats.kurtosis(means) == pytest.approx(stats.kurtosis(VALUES) / size, rel=1e-10)


def test_the_standard_error_of_a_kurtosis_is_what_repeated_samples_show():
    # Skewed and heavy-tailed, so that every term of the formula counts.
    rng = np.random.default_rng(1)
    population = rng.gamma(2.0, size=400)
    population -= population.mean()
    draws = rng.choice(population, size=(1500, 4000))
    found = stats.kurtosis(draws, axis=1).std()
    assert kurtosis_standard_error(raw_moments(population, 8), 4000) == pytest.approx(found, rel=0.08)


def test_the_two_batch_estimate_inverts_its_definition():
    trace, norm2 = two_batch_estimate(4, 64, 0.5 + 30 / 4, 0.5 + 30 / 64)
    assert (trace, norm2) == (pytest.approx(30), pytest.approx(0.5))


def test_the_two_batch_estimate_is_unbiased_over_all_draws():
    # Every ordered pair of two-dimensional gradients: the expectation is exact, not simulated.
    gradients = np.array([[1.0, 0.2], [-0.4, 2.0], [0.9, -1.0]])
    trace, norm2 = gradients.var(axis=0).sum(), (gradients.mean(axis=0) ** 2).sum()
    norms = {
        size: np.mean(
            [(np.mean(draw, axis=0) ** 2).sum() for draw in itertools.product(gradients, repeat=size)]
        )
        for size in (1, 3)
    }
    assert two_batch_estimate(1, 3, norms[1], norms[3]) == (pytest.approx(trace), pytest.approx(norm2))
