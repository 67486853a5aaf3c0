"""Kernels of memory: paths against the builder, moments against sums, orders against the moments' own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import grad

from gradlaw_studies.memory_identity import builder
from gradlaw_studies.memory_identity.kernels import (
    KERNEL_ORDER,
    KERNELS,
    KernelGap,
    moments,
    problem_of,
    with_memory,
    without_memory,
)

BY_HAND = {
    "exponential": lambda age: 0.8**age,
    "power_3": lambda age: 1 / (age + 1) ** 3,
    "power_2": lambda age: 1 / (age + 1) ** 2,
    "power_1.5": lambda age: 1 / math.sqrt((age + 1) ** 3),
    "uniform": lambda age: 1.0,
}
SEED, LR, STEPS = 3, 0.2, 7


@pytest.mark.parametrize("kernel", KERNELS)
def test_paths_are_the_builder_s(kernel: str) -> None:
    """With memory, without, and with the correction: by automatic differentiation of the definition."""
    problem = problem_of(SEED)
    x, y, start = (torch.from_numpy(part) for part in problem)
    slope = grad(lambda theta: torch.log(torch.cosh(x @ theta - y)).mean())

    def optimizer(past: Sequence[dict[str, Tensor]], n: int) -> dict[str, Tensor]:
        shares = [BY_HAND[kernel](k) for k in range(n + 1)]
        mean = sum(share * slope(point["x"]) for share, point in zip(shares, past, strict=True))
        return {"x": mean / sum(shares)}

    def agree(found: np.ndarray, expected: Sequence[dict[str, Tensor]]) -> None:
        np.testing.assert_allclose(found, np.stack([point["x"] for point in expected[1:]]), rtol=1e-12)

    ages, given = moments(kernel, STEPS, 1), {"lr": LR, "num_steps": STEPS}
    agree(with_memory(problem, kernel, LR, STEPS), builder.memory(optimizer, {"x": start}, **given))
    for share in (0.0, 1.0):
        twin = builder.memoryless(optimizer, {"x": start}, share=share, **given)
        agree(without_memory(problem, share * ages, LR), twin)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("order", [1, 2])
def test_moments_are_those_of_the_shares_up_to_each_step(kernel: str, order: int) -> None:
    for n, found in enumerate(moments(kernel, 5, order)):
        shares = [BY_HAND[kernel](k) for k in range(n + 1)]
        expected = sum(k**order * share for k, share in enumerate(shares)) / sum(shares)
        np.testing.assert_allclose(found, expected, rtol=1e-13)


@cache
def _measured(kernel: str, lr: float) -> Mapping[str, Any]:
    settings = {"kernel": kernel, "lr": lr, "horizon": 4.0}
    return KernelGap().measure(settings, SEED)[KERNEL_ORDER.name]


def _order(kernel: str, corrected: bool, column: str) -> float:
    """The log-log slope from lr 1/256 to 1/512 of a column."""
    values = []
    for lr in (1 / 256, 1 / 512):
        rows = _measured(kernel, lr)
        assert rows["corrected"] == [False, True]
        values.append(rows[column][int(corrected)])
    return math.log2(values[0] / values[1])


@pytest.mark.parametrize(
    ("kernel", "plain", "corrected"),
    [
        ("exponential", 1.0, 2.0),
        ("power_3", 1.0, 1.83),  # h^2 log(1/h): 2 - 1 / (log n + constant)
        ("power_2", 0.83, 1.0),  # h log(1/h) without
        ("power_1.5", 0.5, 0.5),
        ("uniform", 0.0, 0.0),
    ],
)
def test_the_gap_s_order_is_that_of_what_is_left_out(kernel: str, plain: float, corrected: float) -> None:
    for with_it, expected in ((False, plain), (True, corrected)):
        assert abs(_order(kernel, with_it, "gap_max") - expected) < 0.06
        assert abs(_order(kernel, with_it, "left_out") - expected) < 0.06


def test_the_horizon_is_whole_steps() -> None:
    rows = KernelGap().measure({"kernel": "uniform", "lr": 0.3, "horizon": 1.0}, SEED)[KERNEL_ORDER.name]
    path = with_memory(problem_of(SEED), "uniform", 0.3, 3)
    twin = without_memory(problem_of(SEED), np.zeros(3), 0.3)
    assert rows["gap_max"][0] == np.abs(path - twin).max()
    assert rows["left_out"] == pytest.approx([0.3 * 1.0, 0.09 * 5 / 3])  # ages 0, 1, 2
    assert set(rows) == {column.name for column in KERNEL_ORDER.columns}
