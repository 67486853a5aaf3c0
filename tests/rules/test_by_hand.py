"""Variants that no library has, and Muon, against references written apart; and preconditioners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import pytest
import rules_by_hand as by_hand
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradlaw.errors import ConfigurationError
from gradlaw.random import streams_of
from gradlaw.rule import Rule
from gradlaw.rules.adagrad import Adagrad
from gradlaw.rules.adam import Adam, AdamW, AMSGrad
from gradlaw.rules.muon import Muon, orthogonal
from gradlaw.rules.nadam import NAdam
from gradlaw.rules.rmsprop import RMSprop
from gradlaw.rules.sgd import SGD, HeavyBall
from gradlaw.rules.sign import Lion, Signum

STEPS = 25
lrs = st.floats(1e-5, 0.05)
decays = st.one_of(st.just(0.0), st.floats(0.0, 0.2))
betas = st.one_of(st.just(0.0), st.floats(0.0, 0.9999))
starts = st.floats(-2.0, 2.0)
few = settings(max_examples=15, deadline=None, derandomize=True)


def _slope(x: Any) -> Any:
    """Of -cos(2 x) / 2 + x^2 / 4 + x / 3, for a float, an array or a tensor."""
    sine = torch.sin if isinstance(x, Tensor) else np.sin
    return sine(2.0 * x) + 0.5 * x + 1.0 / 3.0


class _Oracle:
    def grad(self, params: dict[str, Tensor], **_: Any) -> dict[str, Tensor]:
        return {name: _slope(param) for name, param in params.items()}


def _tensors(rule: Rule, hp: Mapping[str, float]) -> dict[str, Tensor]:
    given = {item.name: item.default for item in rule.hyperparameters if type(item.default) is float} | hp
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in given.items()}


def _path(rule: Rule, start: Any, hp: Mapping[str, float], steps: int = STEPS) -> Iterator[Any]:
    """The parameter "x" after each step, and the states on the way."""
    params = {"x": torch.as_tensor(start, dtype=torch.float64)}
    state, tensors = rule.init(params, streams_of(0)), _tensors(rule, hp)
    for t in range(steps):
        params, state = rule.step(_Oracle(), params, state, tensors, torch.tensor(t))
        yield params["x"].numpy()


def _agree(rule: Rule, start: float, hp: Mapping[str, float], expected: Iterator[float]) -> None:
    found = [float(x) for x in _path(rule, start, hp)]
    scale = max(abs(x) for x in found)
    np.testing.assert_allclose(found, list(islice(expected, STEPS)), rtol=1e-10, atol=1e-10 * scale)


@pytest.mark.parametrize("bias_correction", [False, True])
@pytest.mark.parametrize("eps_inside", [False, True])
@pytest.mark.parametrize("rule", [Adam, AdamW, AMSGrad])
@given(lr=lrs, beta1=betas, beta2=betas, eps=st.floats(1e-12, 1e-2), weight_decay=decays, start=starts)
@few
def test_adam_s_variants(
    rule: type[Adam], eps_inside: bool, bias_correction: bool, start: float, **hp: Any
) -> None:
    structural = {"bias_correction": bias_correction, "eps_inside": eps_inside}
    rest = {"decoupled": rule is AdamW, "largest": rule is AMSGrad}
    _agree(rule(**structural), start, hp, by_hand.adam(start, _slope, **hp, **structural, **rest))


@given(lr=lrs, beta1=betas, beta2=betas, eps=st.floats(1e-12, 1e-2), weight_decay=decays, start=starts)
@few
def test_lion_with_a_smooth_sign(start: float, **hp: Any) -> None:
    _agree(Lion(), start, hp, by_hand.smooth_lion(start, _slope, **hp))


@given(lr=lrs, beta2=st.floats(0.05, 0.9999), eps=st.floats(1e-8, 1e-2), momentum=betas, start=starts)
@few
def test_centered_rmsprop_without_cancellation(start: float, **hp: Any) -> None:
    """Where nearly equal gradients leave a difference of squares no digits."""
    _agree(RMSprop(centered=True), start, hp, by_hand.centered_rmsprop(start, _slope, **hp))


@pytest.mark.parametrize("shape", [(3, 5), (6, 2), (4, 4), (1, 3)])
@pytest.mark.parametrize("nesterov", [True, False])
@given(
    lr=lrs,
    momentum=betas,
    weight_decay=decays,
    ns_eps=st.floats(1e-12, 2.0),
    ns_steps=st.integers(1, 7),
    lr_scale=st.sampled_from(["original", "match_rms_adamw"]),
    seed=st.integers(0, 99),
)
@few
def test_muon(shape: tuple[int, int], nesterov: bool, ns_steps: int, lr_scale: str, **hp: Any) -> None:
    start = np.random.default_rng(hp.pop("seed")).normal(size=shape)
    structural: dict[str, Any] = {"nesterov": nesterov, "ns_steps": ns_steps, "lr_scale": lr_scale}
    expected = by_hand.muon(start, _slope, **hp, **structural)
    for ours, theirs in zip(_path(Muon(**structural), start, hp, 12), expected, strict=False):
        assert np.linalg.norm(ours - theirs) <= 1e-10 * np.linalg.norm(theirs)


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (16, 16)])
@pytest.mark.parametrize("lr_scale", ["original", "match_rms_adamw"])
def test_muon_is_torch_s_but_for_bfloat16(shape: tuple[int, int], lr_scale: str) -> None:
    start = torch.from_numpy(np.random.default_rng(3).normal(size=shape))
    hp = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1, "ns_eps": 1e-7}
    leaf = start.clone().requires_grad_()
    theirs = torch.optim.Muon([leaf], lr=0.02, momentum=0.9, weight_decay=0.1, adjust_lr_fn=lr_scale)
    for ours in _path(Muon(lr_scale=lr_scale), start, hp, 3):
        leaf.grad = _slope(leaf.detach())
        theirs.step()
        moved = leaf.detach().numpy()
        # against the way it went, not its size, which three steps hardly change
        assert np.linalg.norm(ours - moved) <= 2e-2 * np.linalg.norm(moved - start.numpy())


def test_five_newton_schulz_steps_bring_singular_values_near_one() -> None:
    matrix = torch.from_numpy(np.random.default_rng(1).normal(size=(12, 40)))
    values = torch.linalg.svdvals(orthogonal(matrix, torch.tensor(1e-7), 5))
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
    # a matrix of no size stays one
    assert not orthogonal(torch.zeros(3, 2), torch.tensor(1e-7), 5).any()


def test_muon_leaves_to_adamw_what_is_no_matrix_and_what_is_named() -> None:
    draw = np.random.default_rng(5)
    shapes = {"embedding": (5, 3), "weight": (4, 3), "bias": (4,), "kernel": (2, 2, 3), "gain": ()}
    start = {name: torch.from_numpy(np.asarray(draw.normal(size=shape))) for name, shape in shapes.items()}
    rule = Muon(adamw_tensors="embedding")
    hp = _tensors(rule, {"lr": 0.01, "adamw_lr_share": 0.3, "weight_decay": 0.05, "beta1": 0.8})
    params, state = start, rule.init(start, streams_of(0))
    leaves = {name: value.clone().requires_grad_() for name, value in start.items() if name != "weight"}
    betas = (0.8, 0.999)
    theirs = torch.optim.AdamW(list(leaves.values()), lr=0.003, betas=betas, weight_decay=0.05)
    for t in range(10):
        params, state = rule.step(_Oracle(), params, state, hp, torch.tensor(t))
        for leaf in leaves.values():
            leaf.grad = _slope(leaf.detach())
        theirs.step()
    for name, leaf in leaves.items():
        np.testing.assert_allclose(params[name], leaf.detach(), rtol=1e-12)
    own = {"lr": 0.01, "momentum": 0.95, "weight_decay": 0.05, "ns_eps": 1e-7}
    structural: dict[str, Any] = {"ns_steps": 5, "nesterov": True, "lr_scale": "original"}
    expected = by_hand.muon(start["weight"].numpy(), _slope, **own, **structural)
    np.testing.assert_allclose(params["weight"], list(islice(expected, 10))[-1], rtol=1e-10)


def test_muon_names_the_tensors_it_does_not_find() -> None:
    params = {"a": torch.zeros(2, 2), "b": torch.zeros(2)}
    with pytest.raises(ConfigurationError, match="adamw_tensors: got c, d; allowed: a, b"):
        Muon(adamw_tensors="d a c").init(params, streams_of(0))


def test_relatives_agree_where_they_must() -> None:
    start = np.random.default_rng(2).normal(size=7)

    def end(rule: Rule, **hp: float) -> Any:
        return list(_path(rule, start, {"lr": 0.01, **hp}))[-1]

    plain = end(SGD(), weight_decay=0.1)
    np.testing.assert_array_equal(end(HeavyBall(), momentum=0.0, dampening=0.7, weight_decay=0.1), plain)
    signum = end(Signum(), momentum=0.8, weight_decay=0.1)
    np.testing.assert_array_equal(end(Lion(), beta1=0.8, beta2=0.8, weight_decay=0.1), signum)
    # Adam without a mean of gradients and without bias correction is RMSprop
    rmsprop = end(RMSprop(), beta2=0.9, eps=1e-6)
    adam = end(Adam(bias_correction=False), beta1=0.0, beta2=0.9, eps=1e-6)
    np.testing.assert_allclose(adam, rmsprop, rtol=1e-13)
    # the smooth sign of a gradient far above eps is the sign
    np.testing.assert_allclose(end(Lion(), eps=1e-30), end(Lion()), rtol=1e-12)
    # coupled and decoupled decay are not one thing
    assert not np.allclose(end(Adam(), weight_decay=0.5), end(AdamW(), weight_decay=0.5))


@pytest.mark.parametrize(
    ("rule", "divisor"),
    [
        (Adagrad(), lambda n, v: np.sqrt(0.0 + n * 4.0) + 1e-3),
        (RMSprop(), lambda n, v: np.sqrt(v) + 1e-3),
        (Adam(), lambda n, v: (1 - 0.5**n) * (2.0 + 1e-3)),
        (Adam(bias_correction=False), lambda n, v: np.sqrt(v) + 1e-3),
        (Adam(eps_inside=True), lambda n, v: (1 - 0.5**n) * np.sqrt(4.0 + 1e-3)),
        (AdamW(), lambda n, v: (1 - 0.5**n) * (2.0 + 1e-3)),
        (AMSGrad(), lambda n, v: (1 - 0.5**n) * (2.0 + 1e-3)),
        (NAdam(), lambda n, v: 2.0 + 1e-3),
    ],
)
def test_preconditioner_of_a_constant_gradient(rule: Rule, divisor: Any) -> None:
    """With gradients of 2 alone, v after n steps is 4 (1 - beta2^n), and bias correction undoes that."""

    class Flat:
        def grad(self, params: Any, **_: Any) -> Any:
            return {name: torch.full_like(param, 2.0) for name, param in params.items()}

    params = {"x": torch.zeros(3, dtype=torch.float64)}
    given = {"lr": 0.1, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3, "weight_decay": 0.0}
    hp, state = _tensors(rule, given), rule.init(params, streams_of(0))
    start = rule.preconditioner(state, params, hp, torch.tensor(0))
    assert start is not None
    assert bool((torch.isfinite(start["x"]) & (start["x"] > 0.0)).all())
    for t in range(4):
        before = params
        params, state = rule.step(Flat(), params, state, hp, torch.tensor(t))
        found = rule.preconditioner(state, params, hp, torch.tensor(t + 1))
        assert found is not None
        expected = divisor(t + 1, 4.0 * (1 - 0.9 ** (t + 1)))
        np.testing.assert_allclose(found["x"], np.full(3, expected), rtol=1e-12)
        if isinstance(rule, Adam):  # it divides the mean of the gradients
            step = 0.1 * 2.0 * (1 - 0.5 ** (t + 1)) / expected
            np.testing.assert_allclose(before["x"] - params["x"], np.full(3, step), rtol=1e-12)


@pytest.mark.parametrize("rule", [SGD(), HeavyBall(), Lion(), Signum(), Muon()])
def test_rules_without_a_divisor_have_no_preconditioner(rule: Rule) -> None:
    params = {"x": torch.zeros(2, 2)}
    state = rule.init(params, streams_of(0))
    assert rule.preconditioner(state, params, _tensors(rule, {}), torch.tensor(0)) is None
