"""What moves keeps its place, shape and dtype; who ends early does so where it would alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gradlaw.ending import Target
from gradlaw.errors import UsageError
from gradlaw.random import Streams
from gradlaw.rule import Hyper, Moved, Oracle, Rule
from gradlaw.rules import SGD
from gradlaw.task import Batch, Buffers, LossOutput, Noise, Params, Pytree, Taps, Task

Train = Callable[..., Any]


class Two(Task):
    """l(a, b) = (a - 1)^2 + 2 (b + 3)^2: two parameters of one shape."""

    name, num_rows = "two", 1

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        return {"a": torch.zeros(1).double(), "b": torch.zeros(1).double()}, {}

    def batch(self, indices: Tensor, streams: Streams) -> Batch:
        return indices

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        loss = ((params["a"] - 1.0) ** 2 + 2.0 * (params["b"] + 3.0) ** 2).sum()
        return LossOutput(loss, loss[None], {})


class Reversed(SGD):
    """Gives what it moved in another order than it got it."""

    def step(self, oracle: Oracle, params: Params, state: Pytree, hp: Hyper, t: Tensor) -> Moved:
        moved, state = super().step(oracle, params, state, hp, t)
        return dict(reversed(moved.items())), dict(reversed(state.items()))


class Counting(Rule):
    """Counts in whole numbers, then in others."""

    name, hyperparameters = "counting", SGD.hyperparameters

    def init(self, params: Params, streams: Streams) -> Pytree:
        return torch.tensor(0)

    def step(self, oracle: Oracle, params: Params, state: Pytree, hp: Hyper, t: Tensor) -> Moved:
        oracle.grad(params)
        return params, state + 0.5


def test_the_order_in_which_a_rule_names_tensors_is_of_no_account(train: Train) -> None:
    trained = train(Two(), Reversed(), ({"lr": 0.1},), steps=30)
    a, b = trained.weights(0)
    np.testing.assert_allclose([a, b], [1.0 - 0.8**30, -3.0 * (1.0 - 0.6**30)], rtol=1e-12)


@pytest.mark.parametrize("width", [None, 1])
def test_a_state_that_changes_its_dtype_is_refused_by_name(train: Train, width: int | None) -> None:
    with pytest.raises(UsageError, match=r"state: got \(\) torch\.float32, at the start \(\) torch\.int64"):
        train(Two(), Counting(), ({"lr": 0.1},), width=width)


def test_a_target_is_looked_at_where_the_trial_itself_logs(train: Train, least_squares: Any) -> None:
    """Not where a neighbour's last step has a row."""
    arms = tuple({"lr": 0.02, "steps": steps} for steps in (35, 100, 45))
    losses = train(least_squares(), SGD(), arms[1:2]).metrics(0)
    settings = {"log_every": 10, "target": Target(metric="loss", value=float(losses[33]))}
    trained = train(least_squares(), SGD(), arms, **settings)
    assert [(item.state, item.steps_done) for item in trained.results] == [
        ("reached_target", 35),
        ("reached_target", 40),
        ("reached_target", 40),
    ]
    assert trained.rows(1, "metrics")["step"].tolist() == [0, 10, 20, 30, 40]


class Spoiling(SGD):
    """What it makes of step 10 is not finite."""

    def step(self, oracle: Oracle, params: Params, state: Pytree, hp: Hyper, t: Tensor) -> Moved:
        moved, state = super().step(oracle, params, state, hp, t)
        return {name: torch.where(t == 10, torch.inf, value) for name, value in moved.items()}, state


def test_a_target_is_reached_at_the_parameters_before_the_step(
    train: Train, least_squares: Any, weights: Any
) -> None:
    """Whatever the step makes of them; one step short of it the trial diverges."""
    plain = train(least_squares(), SGD(), ({"lr": 0.05},), probes=(weights(at_steps=(10,)),))
    losses = plain.metrics(0)
    for value, state in ((losses[10], "reached_target"), (losses[11], "diverged")):
        target = Target(metric="loss", value=float(value))
        trained = train(least_squares(), Spoiling(), ({"lr": 0.05},), target=target)
        assert (trained.results[0].state, trained.results[0].steps_done) == (state, 10)
        assert len(trained.metrics(0)) == (11 if state == "reached_target" else 10)
        if state == "reached_target":
            assert np.array_equal(trained.weights(0), plain.weights(0))


class Falling(Task):
    """l(w) = w: the loss is a view of the parameter."""

    name, num_rows = "falling", 1

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        return {"w": torch.zeros(1).double()}, {}

    def batch(self, indices: Tensor, streams: Streams) -> Batch:
        return indices

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        return LossOutput(params["w"][0], params["w"], {})


@pytest.mark.slow
def test_a_loss_that_is_a_view_of_a_parameter_is_that_before_the_step(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    trained = train(Falling(), SGD(), ({"lr": 0.5}, {"lr": 1.0}), steps=4, compile="always")
    assert trained.results[0].execution.mode == "compiled"
    assert trained.metrics(0).tolist() == [0.0, -0.5, -1.0, -1.5, -2.0]
    assert trained.metrics(1).tolist() == [0.0, -1.0, -2.0, -3.0, -4.0]
