"""The gradient noise scale against all possible draws, and against exact moments."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from gradlaw.engine.streams import User, streams_for
from gradlaw.errors import ConfigurationError
from gradlaw.probes import NoiseScale
from gradlaw.probes.noise_scale import estimate_noise
from gradlaw.random import Streams, streams_of
from gradlaw.rules import SGD

GRADIENTS = np.array([[1.0, 0.5], [-2.0, 1.0], [3.0, 4.0]])
SQUARED = (GRADIENTS.mean(axis=0) ** 2).sum()
TRACE = GRADIENTS.var(axis=0).sum()


def _all_estimates(small: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Both estimates for each of the 3^(small draws) equally likely draws of rows."""
    rows = np.array(list(product(range(3), repeat=small * draws)))
    batches = GRADIENTS[rows].reshape(len(rows), draws, small, 2).mean(axis=2)
    found = torch.vmap(lambda g: estimate_noise(g, small))(torch.from_numpy(batches))
    return found.grad_squared.numpy(), found.trace.numpy()


@pytest.mark.parametrize(("small", "draws"), [(1, 2), (1, 5), (2, 2), (2, 3), (3, 2)])
def test_unbiased_over_all_draws(small: int, draws: int) -> None:
    squared, trace = _all_estimates(small, draws)
    np.testing.assert_allclose(squared.mean(), SQUARED, rtol=1e-12)
    np.testing.assert_allclose(trace.mean(), TRACE, rtol=1e-12)


def test_the_ratio_of_single_draws_is_biased() -> None:
    """Denominators of both signs: the mean of ratios misses the noise scale, the ratio of means does not."""
    squared, trace = _all_estimates(2, 3)
    assert (squared < 0.0).any()
    ratio = trace / squared
    assert abs(ratio.mean() / (TRACE / SQUARED) - 1.0) > 0.3
    np.testing.assert_allclose(trace.mean() / squared.mean(), TRACE / SQUARED, rtol=1e-12)


@pytest.mark.parametrize(("small", "draws"), [(1, 2), (4, 6)])
def test_formula_of_the_paper(small: int, draws: int) -> None:
    gradients = np.random.default_rng(1).normal(size=(draws, 7))
    big = small * draws
    small_squared, big_squared = (gradients**2).sum(axis=1).mean(), (gradients.mean(axis=0) ** 2).sum()
    found = estimate_noise(torch.from_numpy(gradients), small)
    squared = (big * big_squared - small * small_squared) / (big - small)
    np.testing.assert_allclose(found.grad_squared, squared, rtol=1e-12)
    trace = (small_squared - big_squared) / (1.0 / small - 1.0 / big)
    np.testing.assert_allclose(found.trace, trace, rtol=1e-12)


def _per_example(task: Any, seed: int) -> np.ndarray:
    """Per-example gradients of least squares over the training rows at the start, [rows, 3]."""
    rows = task.split(streams_of(seed)).train.numpy()
    X, y = task.X.numpy()[rows], task.y.numpy()[rows]
    return X * (X @ task.init(streams_of(seed))[0]["w"].numpy() - y)[:, None]


def test_rows_are_those_of_the_trials_own_streams(train: Callable[..., Any], least_squares: Any) -> None:
    """Each member from its own training rows; nothing moves at lr 0, but every step draws anew."""
    task, seeds, steps = least_squares(12, num_test=4), (3, 8), 4
    probe = NoiseScale(small=2, num_draws=3)
    trained = train(task, SGD(), ({"lr": 0.0},), seeds=seeds, steps=steps, probes=(probe,))
    for member, seed in enumerate(seeds):
        gradients = _per_example(task, seed)
        for step in range(steps + 1):
            streams = streams_for(Streams(torch.tensor(seed), torch.tensor(step)), User.PROBE)
            drawn = gradients[streams.integers("order", 8, (3, 2)).numpy()].mean(axis=1)
            trace = 2 * drawn.var(axis=0, ddof=1).sum()
            squared = (drawn.mean(axis=0) ** 2).sum() - trace / 6
            row = {"noise_trace": trace, "noise_grad_squared": squared, "noise_scale": trace / squared}
            for column, value in row.items():
                np.testing.assert_allclose(trained.metrics(member, column)[step], value, rtol=1e-10)


def test_averages_approach_the_exact_moments(train: Callable[..., Any], least_squares: Any) -> None:
    task, seeds = least_squares(12, num_test=4), (3, 8)
    trained = train(task, SGD(), ({"lr": 0.0},), seeds=seeds, steps=250, probes=(NoiseScale(),))
    for member, seed in enumerate(seeds):
        gradients = _per_example(task, seed)
        exact = {
            "noise_grad_squared": (gradients.mean(axis=0) ** 2).sum(),
            "noise_trace": gradients.var(axis=0).sum(),
        }
        for column, value in exact.items():
            drawn = trained.metrics(member, column)
            error = drawn.std(ddof=1) / np.sqrt(len(drawn))
            assert abs(drawn.mean() - value) < 3.5 * error
            assert error < 0.1 * value


def test_all_settings_out_of_range_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)small 0; allowed: >= 1.*num_draws 1; allowed: >= 2"):
        NoiseScale(small=0, num_draws=1)
