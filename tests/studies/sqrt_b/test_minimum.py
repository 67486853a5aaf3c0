import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from gradlaw.errors import UsageError
from gradlaw.tasks.digits import load_digits_arrays
from gradlaw_studies.sqrt_b.minimum import softmax_minimum


def test_the_minimum_is_the_one_scikit_learn_finds():
    images, classes = (array[:400] for array in load_digits_arrays())
    found = softmax_minimum(images, classes, 0.05)
    assert found.gradient_norm < 1e-9
    ones = np.hstack((images, np.ones((400, 1))))  # it does not penalize an intercept of its own
    model = LogisticRegression(C=1 / (0.05 * 400), fit_intercept=False, tol=1e-10, max_iter=10_000)
    weights = model.fit(ones, classes).coef_
    logits = ones @ weights.T
    cross_entropy = np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(400), classes])
    assert found.minimum == pytest.approx(cross_entropy + 0.025 * (weights**2).sum(), abs=1e-9)


def test_no_direction_leads_below_it_even_when_full_newton_steps_overshoot():
    # Large inputs make the first full step overshoot; a general-purpose solver finds the same minimum.
    rng = np.random.default_rng(2)
    images, classes = rng.normal(size=(30, 3)) * 40, rng.integers(0, 3, 30)
    found = softmax_minimum(images, classes, 1e-3)

    def loss(flat):
        weights = flat.reshape(3, 4)
        logits = np.hstack((images, np.ones((30, 1)))) @ weights.T
        top = logits.max(axis=1)
        log_sum = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        return np.mean(log_sum - logits[np.arange(30), classes]) + 5e-4 * (flat**2).sum()

    best = min(minimize(loss, rng.normal(size=12) * 0.01, method="BFGS").fun for _ in range(3))
    assert found.minimum == pytest.approx(best, abs=1e-6)


def test_without_regularization_there_is_no_minimum_to_find():
    with pytest.raises(UsageError, match="l2: got 0"):
        softmax_minimum(np.eye(2), np.array([0, 1]), 0.0)
