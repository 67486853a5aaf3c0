"""Divergence: recorded at its step, and without a trace in the neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gradlaw.random import streams_of
from gradlaw.rule import ElementwiseRule, Hyper
from gradlaw.rules import SGD
from gradlaw.task import Pytree
from gradlaw.trial import State

BOUND = 1e4


def _path(task: Any, lr: float, seed: int, steps: int) -> list[float]:
    """Losses of gradient descent on least squares, in numpy."""
    X, y, w = task.X.numpy(), task.y.numpy(), task.init(streams_of(seed))[0]["w"].numpy()
    losses = []
    for _ in range(steps + 1):
        losses.append(0.5 * float(((X @ w - y) ** 2).mean()))
        w = w - lr * X.T @ (X @ w - y) / len(y)
    return losses


def test_the_first_step_above_the_bound_is_recorded(train: Callable[..., Any], least_squares: Any) -> None:
    task = least_squares()
    arms = ({"lr": 0.1}, {"lr": 3.0}, {"lr": 0.2}, {"lr": 40.0})
    trained = train(task, SGD(), arms, steps=40, loss_bound=BOUND)
    for member, arm in enumerate(arms):
        losses = _path(task, arm["lr"], 0, 40)
        above = [step for step, loss in enumerate(losses) if loss > BOUND]
        result = trained.results[member]
        if not above:
            assert (result.state, result.reason, result.steps_done) == (State.DONE, "", 40)
            np.testing.assert_allclose(trained.metrics(member), losses, rtol=1e-9)
            continue
        assert (result.state, result.steps_done) == (State.DIVERGED, above[0])
        assert f"above the bound 10000 at step {above[0]}" in result.reason
        np.testing.assert_allclose(trained.metrics(member), losses[: above[0]], rtol=1e-9)
        assert len(trained.weights(member)) == 0  # its probe was due at the end
    assert trained.results[3].steps_done < trained.results[1].steps_done


def test_neighbours_are_bitwise_unaffected(train: Callable[..., Any], least_squares: Any) -> None:
    sound = train(least_squares(), SGD(), ({"lr": 0.1}, {"lr": 0.11}, {"lr": 0.12}), steps=60)
    mixed = train(least_squares(), SGD(), ({"lr": 0.1}, {"lr": 1e150}, {"lr": 0.12}), steps=60)
    assert mixed.results[1].state == State.DIVERGED
    for member in (0, 2):
        assert np.array_equal(sound.weights(member), mixed.weights(member))
        assert np.array_equal(sound.metrics(member), mixed.metrics(member))


class _Breaks(ElementwiseRule):
    """Gradient descent that yields an infinite parameter at step 5 where ``bad`` is set."""

    name = "breaks"
    hyperparameters = SGD.hyperparameters[:1]

    def init_tensor(self, param: Tensor) -> Pytree:
        return ()

    def update(
        self, grad: Tensor, state: Pytree, param: Tensor, hp: Hyper, t: Tensor
    ) -> tuple[Tensor, Pytree]:
        return torch.where((t == 5) & (hp["bad"] > 0), torch.inf, param - hp["lr"] * grad), ()


@pytest.mark.parametrize("log_every", [1, 4])
def test_a_parameter_that_is_not_finite(
    train: Callable[..., Any], least_squares: Any, weights: Any, log_every: int
) -> None:
    arms = ({"lr": 0.1, "bad": 0.0}, {"lr": 0.1, "bad": 1.0})
    probe = weights(at_steps=(4, 5, 20))
    trained = train(least_squares(), _Breaks(), arms, steps=20, log_every=log_every, probes=(probe,))
    result = trained.results[1]
    assert (result.state, result.steps_done) == (State.DIVERGED, 5)
    assert result.reason == "a parameter was not finite after step 5"
    assert trained.rows(1, "metrics")["step"].tolist() == list(range(0, 5, log_every))
    assert set(trained.rows(1, "weights")["step"]) == {4}
    assert set(trained.rows(0, "weights")["step"]) == {4, 5, 20}


def test_a_loss_that_is_not_finite_at_once(train: Callable[..., Any], least_squares: Any) -> None:
    class Broken(least_squares):
        def init(self, streams: Any) -> Any:
            return {"w": torch.full((3,), torch.nan, dtype=torch.float64)}, {}

    trained = train(Broken(), SGD(), steps=500)
    result = trained.results[0]
    assert (result.state, result.steps_done) == (State.DIVERGED, 0)
    assert result.reason == "loss nan at step 0"
    assert len(trained.metrics(0)) == 0


def test_divergence_at_the_very_last_evaluation(train: Callable[..., Any], least_squares: Any) -> None:
    task = least_squares()
    losses = _path(task, 2.0, 0, 30)
    rising = next(step for step in range(1, 31) if losses[step] > max(losses[:step]))
    trained = train(task, SGD(), ({"lr": 2.0},), steps=rising, loss_bound=max(losses[:rising]) * 1.0001)
    assert (trained.results[0].state, trained.results[0].steps_done) == (State.DIVERGED, rising)
    assert trained.rows(0, "metrics")["step"].tolist() == list(range(rising))
