"""The oracle's answers against formulas written out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gradlaw.engine.oracle import Draw, TrialOracle
from gradlaw.errors import UsageError
from gradlaw.random import Streams, streams_of
from gradlaw.task import Taps
from gradlaw.tasks.digits import DigitsMLP, DigitsMLPBatchNorm

DEVICE, DTYPE = torch.device("cpu"), torch.float64


def _oracle(task: Any, size: int = 12) -> tuple[TrialOracle, dict[str, torch.Tensor], Any]:
    streams = streams_of(2)
    params, buffers = task.init(streams)

    def draws(number: int) -> Draw:
        batch = task.batch(torch.arange(size) + 100 * number, streams)
        return Draw(batch, task.noise(batch, streams))

    return TrialOracle(task, params, buffers, draws), params, draws


def _least_squares_oracle(task: Any) -> tuple[TrialOracle, dict[str, torch.Tensor]]:
    params, _ = task.init(streams_of(2))
    rows = [torch.arange(6), torch.arange(6, 12)]
    return (
        TrialOracle(task, params, {}, lambda number: Draw(task.batch(rows[number], streams_of(2)), None)),
        params,
    )


def test_value_gradient_and_hessian_of_least_squares(least_squares: Any) -> None:
    task = least_squares()
    oracle, params = _least_squares_oracle(task)
    w, v = params["w"].numpy(), np.array([1.0, -2.0, 0.5])
    for draw, part in ((0, slice(0, 6)), (1, slice(6, 12))):
        X, y = task.X.numpy()[part], task.y.numpy()[part]
        r = X @ w - y
        np.testing.assert_allclose(oracle.value(params, draw=draw), 0.5 * (r**2).mean(), rtol=1e-14)
        np.testing.assert_allclose(oracle.grad(params, draw=draw)["w"], X.T @ r / 6, rtol=1e-13)
        hvp = oracle.hvp(params, {"w": torch.from_numpy(v)}, draw=draw)["w"]
        np.testing.assert_allclose(hvp, X.T @ (X @ v) / 6, rtol=1e-13)
        signal = oracle.layer_signals(params, draw=draw)["w"]
        np.testing.assert_allclose(signal.input, X, rtol=0)
        np.testing.assert_allclose(signal.delta[:, 0], r / 6, rtol=1e-13)


def test_the_hessian_of_a_network_is_that_of_autograd() -> None:
    task = DigitsMLP(width=3).to(DEVICE, DTYPE)
    oracle, params, draws = _oracle(task)
    names = list(params)
    vector = {name: streams_of(9).normal("noise", tuple(p.shape)) for name, p in params.items()}
    leaves = [params[name].clone().requires_grad_() for name in names]
    loss = task.loss(dict(zip(names, leaves, strict=True)), {}, draws(0).batch, None, Taps()).loss
    first = torch.autograd.grad(loss, leaves, create_graph=True)
    inner = sum((g * vector[name]).sum() for g, name in zip(first, names, strict=True))
    expected = torch.autograd.grad(inner, leaves)
    ours = oracle.hvp(params, vector)
    for name, theirs in zip(names, expected, strict=True):
        torch.testing.assert_close(ours[name], theirs, rtol=1e-10, atol=1e-13)


def test_layer_signals_make_up_the_gradient() -> None:
    """For a linear layer the gradient by the weight is delta' input: an identity of backpropagation."""
    oracle, params, _ = _oracle(DigitsMLP(width=5).to(DEVICE, DTYPE))
    gradient = oracle.grad(params)
    products = [signal.delta.T @ signal.input for signal in oracle.layer_signals(params).values()]
    weights = [g for g in gradient.values() if g.ndim == 2]
    assert len(products) == len(weights) == 2
    for ours, theirs in zip(products, weights, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-14)


def test_everything_runs_under_vmap(least_squares: Any) -> None:
    task = least_squares()
    start = torch.stack([task.init(streams_of(seed))[0]["w"] for seed in (1, 2, 3)])

    def ask(w: torch.Tensor) -> Any:
        params = {"w": w}
        oracle = TrialOracle(
            task, params, {}, lambda _: Draw(task.batch(torch.arange(12), streams_of(0)), None)
        )
        hvp = oracle.hvp(params, params)["w"]
        return oracle.value(params), oracle.grad(params)["w"], hvp, oracle.layer_signals(params)["w"].delta

    packed = torch.vmap(ask)(start)
    for member in range(3):
        for alone, batched in zip(ask(start[member]), packed, strict=True):
            torch.testing.assert_close(alone, batched[member], rtol=1e-12, atol=1e-14)


def test_the_step_s_loss_is_at_the_parameters_before_it(least_squares: Any) -> None:
    """A rule may look elsewhere first; the loss recorded is still the one at the start."""
    oracle, params = _least_squares_oracle(least_squares())
    elsewhere = {"w": params["w"] + 1.0}
    oracle.grad(elsewhere)
    oracle.grad(params, draw=1)
    fresh, _ = _least_squares_oracle(least_squares())
    assert oracle.outcome()[0] == fresh.value(params)
    assert oracle.outcome()[0] != fresh.value(elsewhere)


def test_buffers_move_by_the_first_evaluation_at_draw_0_alone() -> None:
    task = DigitsMLPBatchNorm().to(DEVICE, DTYPE)
    oracle, params, _ = _oracle(task)
    once, _, _ = _oracle(task)
    once.value(params)
    oracle.value(params, draw=1)
    for _ in range(3):
        oracle.grad(params)
    ours, expected = oracle.outcome()[1], once.outcome()[1]
    assert expected.keys() == ours.keys()
    assert all(torch.equal(ours[name], expected[name]) for name in expected)
    start = task.init(streams_of(2))[1]
    assert any(not torch.equal(ours[name], start[name]) for name in start)


def test_feedback_for_a_layer_without_taps_is_refused(least_squares: Any) -> None:
    oracle, params = _least_squares_oracle(least_squares())
    with pytest.raises(UsageError, match=r"got \['nowhere'\]; allowed: layers that least_squares taps: w"):
        oracle.grad(params, feedback={"nowhere": params["w"]})


def test_a_batch_is_drawn_once_a_step(least_squares: Any) -> None:
    task, drawn = least_squares(), []
    params, _ = task.init(streams_of(0))

    def draws(number: int) -> Draw:
        drawn.append(number)
        return Draw(task.batch(torch.arange(3), Streams(torch.tensor(0), torch.tensor(0))), None)

    oracle = TrialOracle(task, params, {}, draws)
    oracle.value(params)
    oracle.grad(params)
    oracle.grad(params, draw=2)
    oracle.hvp(params, params)
    assert drawn == [0, 2]
