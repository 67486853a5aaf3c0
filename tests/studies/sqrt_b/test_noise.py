import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from gradlaw_studies.sqrt_b.controls import clip, transformed_std, window_variances
from gradlaw_studies.sqrt_b.noise import (
    batch_noise,
    exact_kurtosis,
    excess_kurtosis,
    partition_variances,
    population,
    prefix_sums,
    sample_variance,
    total_variance,
)

torch.set_num_threads(1)
RNG = np.random.default_rng(5)
LOSSES = torch.tensor(RNG.gamma(1.0, size=6))
GRADIENTS = torch.tensor(RNG.normal(size=(6, 4)) + 0.5)
DIRECTIONS = np.array([[0.6, 0.0, 0.8, 0.0], [0.0, 1.0, 0.0, 0.0]])


def every_draw(size):
    """All ordered draws with replacement: an expectation over them is exact."""
    return torch.tensor(list(itertools.product(range(6), repeat=size)))


def test_prefix_sums_are_those_of_the_first_rows():
    values = torch.tensor(RNG.normal(size=(9, 3)))
    indices = torch.tensor(RNG.integers(0, 9, (7, 8)))
    for size, sums in prefix_sums(values, indices, (1, 2, 8)):
        expected = values[indices[:, :size]].sum(dim=1)
        torch.testing.assert_close(sums.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_noise_of_all_draws_is_exactly_sigma_over_root_b(size):
    held = population(LOSSES, GRADIENTS, DIRECTIONS)
    draws = every_draw(size)
    ((_, scalars),) = prefix_sums(held.scalars, draws, (size,))
    ((_, vectors),) = prefix_sums(held.vectors, draws, (size,))
    noise = batch_noise(held, scalars, vectors, size)
    unbiased = math.sqrt(len(draws) / (len(draws) - 1))  # std is of a sample, and this is all of them
    projections = GRADIENTS.numpy() @ DIRECTIONS.T
    sigma = {
        "loss": LOSSES.numpy().std(),
        "projection": math.sqrt(projections.var(axis=0).mean()),
        "total": math.sqrt(GRADIENTS.numpy().var(axis=0).sum()),
    }
    for quantity, value in sigma.items():
        assert held.sigmas[quantity] == pytest.approx(value, rel=1e-6)
        assert noise.std[quantity] == pytest.approx(value * unbiased / math.sqrt(size), rel=1e-5)
    assert noise.excess_kurtosis["loss"] == pytest.approx(stats.kurtosis(LOSSES.numpy()) / size, abs=1e-4)
    alone = stats.kurtosis(projections, axis=0).mean() / size
    assert noise.excess_kurtosis["projection"] == pytest.approx(alone, abs=1e-4)
    means = GRADIENTS[draws].mean(dim=1)
    assert noise.norm2 == pytest.approx(float((means**2).sum(dim=1).mean()), rel=1e-5)


def test_moments_over_draws_agree_with_numpy_and_scipy():
    values = torch.tensor(RNG.normal(size=(50, 3)) ** 3)
    np.testing.assert_allclose(sample_variance(values), np.var(values.numpy(), axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(excess_kurtosis(values), stats.kurtosis(values.numpy()), rtol=1e-12)
    trace = np.trace(np.cov(values.numpy().T))
    assert total_variance(values.to(torch.float32)) == pytest.approx(trace, rel=1e-5)


def test_pooling_directions_of_unequal_variance_would_mimic_heavy_tails():
    draws = torch.tensor(RNG.normal(size=(20_000, 2))) * torch.tensor([1.0, 10.0])
    assert excess_kurtosis(draws).mean().item() == pytest.approx(0.0, abs=0.15)
    assert excess_kurtosis(draws.reshape(-1, 1)).item() > 2.0


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_exact_kurtosis_is_that_of_all_draws(size):
    centred = LOSSES - LOSSES.mean()
    means = LOSSES[every_draw(size)].mean(dim=1).numpy()
    assert exact_kurtosis(centred, size, 100).value == pytest.approx(stats.kurtosis(means), rel=1e-9)


def test_a_kurtosis_is_measurable_where_it_passes_three_standard_errors():
    heavy = torch.tensor(np.r_[np.zeros(500), 10.0])
    law = exact_kurtosis(heavy - heavy.mean(), 1, 100_000)
    assert law.measurable
    flat = torch.tensor(stats.norm.ppf((np.arange(1000) + 0.5) / 1000))
    law = exact_kurtosis(flat, 16, 100_000)
    assert not law.measurable
    assert law.standard_error == pytest.approx(math.sqrt(24 / 100_000), rel=0.02)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_partitions_have_the_law_without_a_finite_population_factor(size):
    # All 720 orders of six rows: the mean of the sample variances is S^2 / B to rounding.
    values = torch.stack((LOSSES, GRADIENTS[:, 0]), dim=1)
    orders = torch.tensor(list(itertools.permutations(range(6))))
    expected = values.numpy().var(axis=0, ddof=1) / size
    np.testing.assert_allclose(partition_variances(values, orders, size), expected, rtol=1e-5)


def test_partitions_that_leave_rows_over_keep_the_law():
    values = LOSSES[:5, None]
    orders = torch.tensor(list(itertools.permutations(range(5))))
    expected = values.numpy().var(axis=0, ddof=1) / 2
    np.testing.assert_allclose(partition_variances(values, orders, 2), expected, rtol=1e-5)


def test_windows_are_all_contiguous_batches_wrapped_around():
    values = torch.tensor(RNG.normal(size=(10, 2)))
    values = values - values.mean(dim=0)
    for size, variances in window_variances(values, (1, 3, 5)):
        rolled = [np.roll(values.numpy(), -start, axis=0)[:size].mean(axis=0) for start in range(10)]
        np.testing.assert_allclose(variances, np.var(rolled, axis=0), rtol=1e-10)


def test_windows_over_sorted_rows_keep_the_variance_between_classes():
    sorted_rows = torch.tensor([-1.0, 1.0]).repeat_interleave(64)[:, None]
    variances = dict(window_variances(sorted_rows, (1, 16)))
    assert variances[1].item() == pytest.approx(1.0)
    assert variances[16].item() > 0.8  # the law says 1 / 16


def test_clipping_bounds_the_norm_and_leaves_what_is_small():
    gradients = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    expected = torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]])
    torch.testing.assert_close(clip(1.0)(gradients), expected)


def test_the_std_of_transformed_gradients():
    gradients = torch.tensor(RNG.normal(size=(40, 4)), dtype=torch.float32)
    signs = np.sign(gradients.numpy())
    std = transformed_std(gradients, torch.sign, torch.tensor(DIRECTIONS))
    projections = (signs @ DIRECTIONS.T).var(axis=0, ddof=1).mean()
    assert std["projection"] == pytest.approx(math.sqrt(projections), rel=1e-5)
    assert std["total"] == pytest.approx(math.sqrt(signs.var(axis=0, ddof=1).sum()), rel=1e-5)
