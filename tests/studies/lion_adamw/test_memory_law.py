"""The mean age against its sum, AdamW's own moments, and numbers worked out before."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradlaw_studies.lion_adamw.law import mean_age


@given(st.floats(0.01, 0.9999), st.integers(1, 2000))
def test_the_closed_form_is_the_sum(beta, num):
    ages = np.arange(num)
    weights = (1 - beta) * beta**ages / -math.expm1(num * math.log(beta))
    assert mean_age(beta, num) == pytest.approx(float((ages * weights).sum()), rel=1e-6, abs=1e-7)


def test_limits_and_known_values():
    assert mean_age(0.9, 100_000) == pytest.approx(9.0)
    assert mean_age(0.99999, 101) == pytest.approx(50.0, rel=1e-3), "a plain mean of all gradients"
    # 142 and 149 at step 300, where the limits are 999 and 9,999
    assert mean_age(0.999, 301) == pytest.approx(142.4, abs=0.1)
    assert mean_age(0.9999, 301) == pytest.approx(149.2, abs=0.1)


@pytest.mark.parametrize(("beta1", "beta2"), [(0.9, 0.99), (0.9, 0.9), (0.99, 0.9)])
def test_it_is_what_a_steady_drift_adds_to_a_step_of_torch_adam(beta1, beta2):
    """On a gradient that grows as 1 + d s, with d tiny, m^ / sqrt(v^) lags by d (c_n(beta2) - c_n(beta1))."""
    num, drift = 60, 1e-6
    param = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.Adam([param], lr=1.0, betas=(beta1, beta2), eps=0.0)
    for step in range(num):
        before = param.item()
        param.grad = torch.full((1,), 1.0 + drift * (step - num + 1), dtype=torch.float64)
        optimizer.step()
    moved = before - param.item()
    expected = drift * (mean_age(beta2, num) - mean_age(beta1, num))
    assert moved - 1.0 == pytest.approx(expected, rel=1e-3, abs=1e-10)
