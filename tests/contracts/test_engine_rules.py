"""What every rule promises the engine: shipped ones, and toys of the kinds a study may bring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from gradlaw.hyperparameter import Hyperparameter
from gradlaw.random import Streams, streams_of
from gradlaw.rule import Hyper, Moved, Oracle, Rule
from gradlaw.rules import RULES, SGD
from gradlaw.rules.memoryless import FOLLOWERS
from gradlaw.task import Params, Pytree
from gradlaw.tasks.digits import DigitsMLP, load_digits_arrays
from gradlaw.tasks.modular_addition import ModularAddition

LR = (Hyperparameter(name="lr", default=0.05, low=0.0),)


class Twin(Rule):
    """Heavy ball beside its memoryless twin, which descends from the same start: two trajectories."""

    name = "twin"
    hyperparameters = LR

    def init(self, params: Params, streams: Streams) -> Pytree:
        return {
            "twin": dict(params),
            "velocity": tree_map(torch.zeros_like, params),
            "gap": _gap(params, params),
        }

    def step(self, oracle: Oracle, params: Params, state: Pytree, hp: Hyper, t: Tensor) -> Moved:
        own, there = oracle.grad(params), oracle.grad(state["twin"])
        velocity = {name: 0.9 * state["velocity"][name] + own[name] for name in params}
        moved = {name: params[name] - hp["lr"] * velocity[name] for name in params}
        twin = {name: state["twin"][name] - 10.0 * hp["lr"] * there[name] for name in params}
        gap = torch.maximum(state["gap"], _gap(moved, twin))
        return moved, {"twin": twin, "velocity": velocity, "gap": gap}


def _gap(left: Params, right: Params) -> Tensor:
    return torch.stack([(left[name] - right[name]).abs().max() for name in left]).max()


class FeedbackAlignment(Rule):
    """Gradient descent whose backward pass goes through fixed random weights (1411.0247)."""

    name = "feedback_alignment"
    hyperparameters = LR

    def init(self, params: Params, streams: Streams) -> Pytree:
        shape = tuple(params["weight2"].shape)
        return {"output": streams.normal("init", shape, params["weight2"].dtype) / 4.0}

    def step(self, oracle: Oracle, params: Params, state: Pytree, hp: Hyper, t: Tensor) -> Moved:
        grads = oracle.grad(params, feedback=state)
        return {name: params[name] - hp["lr"] * grads[name] for name in params}, state


class Newtonish(Rule):
    """Uses everything the oracle offers: a fresh batch, curvature along the gradient, layer signals."""

    name = "newtonish"
    hyperparameters = LR

    def init(self, params: Params, streams: Streams) -> Pytree:
        return ()

    def step(self, oracle: Oracle, params: Params, state: Pytree, hp: Hyper, t: Tensor) -> Moved:
        fresh = oracle.grad(params, draw=1)
        bent = oracle.hvp(params, fresh, draw=2)
        signals = oracle.layer_signals(params)
        lr = hp["lr"] / (1.0 + signals["hidden"].input.square().mean() + oracle.value(params))
        return {name: params[name] - lr * (fresh[name] - 0.1 * bent[name]) for name in params}, state


MAKERS: dict[str, Callable[[], Rule]] = {
    # those without memory share one step
    **{name: rule for name, rule in RULES.items() if rule not in FOLLOWERS},
    "lion_memoryless": RULES["lion_memoryless"],
    "twin": Twin,
    "feedback_alignment": FeedbackAlignment,
    "newtonish": Newtonish,
}


@pytest.fixture(params=list(MAKERS))
def rule(request: pytest.FixtureRequest) -> Rule:
    return MAKERS[request.param]()


def test_it_declares_itself(rule: Rule) -> None:
    assert rule.version >= 1
    names = [item.name for item in rule.hyperparameters]
    assert len(set(names)) == len(names)
    for item in rule.hyperparameters:
        assert item.check(item.default) is None
    assert rule.faults({item.name: item.default for item in rule.hyperparameters}) == []


def test_a_trial_is_the_same_alone_and_in_a_pack(train: Callable[..., Any], rule: Rule) -> None:
    settings = {"steps": 40, "batch_size": 8}
    packed = train(DigitsMLP(), rule, ({"lr": 0.02}, {"lr": 0.005}), seeds=(3, 6), **settings)
    alone = train(DigitsMLP(), rule, ({"lr": 0.005},), seeds=(6,), **settings)
    np.testing.assert_allclose(alone.metrics(0), packed.metrics(3), rtol=1e-9)
    np.testing.assert_allclose(alone.weights(0), packed.weights(3), rtol=1e-9, atol=1e-12)
    # the lr differs inside the pack, and so do the paths; the start does not
    assert packed.metrics(2)[0] == packed.metrics(3)[0]
    assert not np.allclose(packed.weights(2), packed.weights(3))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["twin", "feedback_alignment", "newtonish"])
def test_a_study_s_own_kinds_of_rules_are_the_same_compiled(train: Callable[..., Any], name: str) -> None:
    """Shipped ones: tests/engine/test_compiled.py."""
    arms = ({"lr": 0.02}, {"lr": 0.005}, {"lr": 0.01})
    task = ModularAddition(modulus=3, width=2) if name == "twin" else DigitsMLP()  # the others look at layers
    # drawing batches takes longest to compile, and one of them draws its own
    settings = {"steps": 200, "batch_size": 4 if name == "newtonish" else 0, "log_every": 20}
    compiled = train(task, MAKERS[name](), arms, compile="always", width=2, **settings)
    assert compiled.results[0].execution.mode == "compiled"
    alone = train(task, MAKERS[name](), arms[2:], compile="never", width=1, **settings)
    np.testing.assert_allclose(compiled.metrics(2), alone.metrics(0), rtol=1e-9)
    np.testing.assert_allclose(compiled.weights(2), alone.weights(0), rtol=1e-9, atol=1e-12)


def test_without_a_learning_rate_nothing_moves(train: Callable[..., Any], rule: Rule, weights: Any) -> None:
    trained = train(
        DigitsMLP(), rule, ({"lr": 0.0},), steps=5, batch_size=8, probes=(weights(at_steps=(0, 5)),)
    )
    start, end = trained.weights(0).reshape(2, -1)
    assert np.array_equal(start, end)


def test_it_descends(train: Callable[..., Any], rule: Rule) -> None:
    trained = train(DigitsMLP(), rule, ({"lr": 0.02},), steps=60)
    assert trained.metrics(0)[-1] < 0.99 * trained.metrics(0)[0]


def test_every_member_is_driven_by_its_own_hyperparameters(train: Callable[..., Any], rule: Rule) -> None:
    """A pack of one setting repeated gives one path; so the difference above is the setting's."""
    trained = train(DigitsMLP(), rule, ({"lr": 0.01}, {"lr": 0.01, "copy": 1.0}), steps=10)
    assert np.array_equal(trained.weights(0), trained.weights(1))


def test_feedback_alignment_is_the_hand_written_one(train: Callable[..., Any], weights: Any) -> None:
    """Ten full-batch steps in numpy, errors sent back through fixed random weights."""
    trained = train(DigitsMLP(), FeedbackAlignment(), ({"lr": 0.3},), seeds=(2,), steps=10)
    task = DigitsMLP()
    streams = streams_of(2)
    images, classes = load_digits_arrays()
    rows = task.split(streams).train.numpy()
    X, onehot = images[rows], np.eye(10)[classes[rows]]
    start = task.init(streams)[0]
    W1, b1, W2, b2 = (start[name].numpy() for name in ("weight1", "bias1", "weight2", "bias2"))
    from gradlaw.engine.streams import User, streams_for

    rule_streams = streams_for(streams, User.RULE)
    B = FeedbackAlignment().init(start, rule_streams)["output"].numpy()
    for step in range(10):
        hidden = np.tanh(X @ W1.T + b1)
        logits = hidden @ W2.T + b2
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        share = odds / odds.sum(axis=1, keepdims=True)
        loss = -np.log(share[onehot == 1]).mean()
        np.testing.assert_allclose(trained.metrics(0)[step], loss, rtol=1e-9)
        delta2 = (share - onehot) / len(X)
        delta1 = (delta2 @ B) * (1 - hidden**2)
        W2, b2 = W2 - 0.3 * delta2.T @ hidden, b2 - 0.3 * delta2.sum(axis=0)
        W1, b1 = W1 - 0.3 * delta1.T @ X, b1 - 0.3 * delta1.sum(axis=0)
    parts = {"weight1": W1, "bias1": b1, "weight2": W2, "bias2": b2}
    flat = np.concatenate([parts[name].ravel() for name in start])
    np.testing.assert_allclose(trained.weights(0), flat, rtol=1e-8, atol=1e-11)


def test_the_second_trajectory_is_that_of_its_own_rule(train: Callable[..., Any]) -> None:
    """The twin inside the state moves as gradient descent at ten times the lr does by itself."""

    class Watched(Twin):
        def step(self, oracle: Oracle, params: Params, state: Pytree, hp: Hyper, t: Tensor) -> Moved:
            return state["twin"], super().step(oracle, params, state, hp, t)[1]

    trained = train(DigitsMLP(), Watched(), ({"lr": 0.01},), steps=31)
    plain = train(DigitsMLP(), SGD(), ({"lr": 0.1},), steps=30)
    # Watched shows the twin one step late
    np.testing.assert_allclose(trained.weights(0), plain.weights(0), rtol=1e-9, atol=1e-12)
