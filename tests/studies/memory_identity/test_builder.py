"""The builder against dense Jacobians, Hessians and the algebra of heavy ball by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from smooth_loss import SmoothLoss, flat
from torch import Tensor
from torch.func import hessian, jacrev

from gradlaw.random import streams_of
from gradlaw.rules.sgd import HeavyBall
from gradlaw_studies.memory_identity.builder import (
    correction,
    memory,
    of_rule,
    velocity,
)

Params = dict[str, Tensor]
LOSS = SmoothLoss(4)


def _odd(past: Sequence[Params], n: int) -> Params:
    """A rule of no known form: a quotient and a product over the past, weights that change with the step."""
    slopes = [LOSS.grad(point) for point in past]
    mean = {key: sum(slope[key] / (k + n + 1) for k, slope in enumerate(slopes)) for key in past[0]}
    size = sum(torch.stack([(value**2).sum() for value in slope.values()]).sum() for slope in slopes)
    oldest = {key: torch.tanh(value) for key, value in past[-1].items()}
    return {key: value / (1.0 + size) + 0.1 * n * oldest[key] for key, value in mean.items()}


def _heavy_ball(momentum: float) -> object:
    def optimizer(past: Sequence[Params], n: int) -> Params:
        slopes = [LOSS.grad(point) for point in past]
        return {key: sum(momentum**k * slope[key] for k, slope in enumerate(slopes)) for key in past[0]}

    return optimizer


def _unflat(vector: Tensor) -> Params:
    return {"weight": vector[:2].reshape(1, 2), "bias": vector[2:]}


@pytest.mark.parametrize("n", [0, 1, 5])
def test_it_is_the_sum_over_dense_jacobians(n: int) -> None:
    """Every dF_r/dtheta_{n-k,j} as a matrix of numbers, the double sum written out."""
    params = LOSS.start()

    def of_rows(rows: Tensor) -> Tensor:
        return flat(_odd([_unflat(row) for row in rows], n))

    jacobians = jacrev(of_rows)(flat(params).expand(n + 1, 3).clone())  # [r, k, j]
    expected = torch.zeros(3, dtype=torch.float64)
    for k in range(1, n + 1):
        for s in range(n - k, n):
            expected += jacobians[:, k] @ flat(_odd([params] * (s + 1), s))
    found = flat(correction(_odd, params, n))
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)
    assert (n == 0) == bool((found == 0).all())


@pytest.mark.parametrize("n", [1, 4, 12])
def test_heavy_ball_is_the_one_by_hand(n: int) -> None:
    b, params = 0.7, LOSS.start()
    dense = hessian(lambda vector: LOSS.value(_unflat(vector)))(flat(params))
    slope = flat(LOSS.grad(params))
    past = sum(b**k * (1 - b ** (s + 1)) / (1 - b) for k in range(1, n + 1) for s in range(n - k, n))
    optimizer = _heavy_ball(b)
    np.testing.assert_allclose(flat(correction(optimizer, params, n)), past * dense @ slope, rtol=1e-11)
    whole = (1 - b ** (n + 1)) / (1 - b)
    np.testing.assert_allclose(flat(velocity(optimizer, params, n)), whole * slope, rtol=1e-12)


def test_a_rule_is_the_optimizer_that_it_is() -> None:
    """Fed with its own path the rule's optimizer gives that path; heavy ball's is the sum over the past."""
    hp = {"lr": 0.05, "momentum": 0.7, "dampening": 0.0, "weight_decay": 0.0}
    tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in hp.items()}
    rule, params = HeavyBall(), LOSS.start()
    optimizer = of_rule(rule, LOSS, tensors, streams_of(0))
    path = memory(optimizer, params, lr=0.05, num_steps=6)
    by_hand = memory(_heavy_ball(0.7), params, lr=0.05, num_steps=6)
    assert len(path) == 7
    for mine, other in zip(path, by_hand, strict=True):
        np.testing.assert_allclose(flat(mine), flat(other), rtol=1e-13)
    state = rule.init(params, streams_of(0))
    for step in range(6):
        params, state = rule.step(LOSS, params, state, tensors, torch.tensor(step))
    np.testing.assert_allclose(flat(path[-1]), flat(params), rtol=1e-13)
