"""Rules step by step against torch.optim and pytorch_optimizer, in float64, where the gradient moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import pytorch_optimizer
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradlaw.random import streams_of
from gradlaw.rule import Rule
from gradlaw.rules import RULES
from gradlaw.rules.adagrad import Adagrad
from gradlaw.rules.adam import Adam, AdamW, AMSGrad
from gradlaw.rules.nadam import NAdam
from gradlaw.rules.rmsprop import RMSprop
from gradlaw.rules.sgd import SGD, HeavyBall, Nesterov
from gradlaw.rules.sign import Lion, SignSGD, Signum

STEPS = 25
Params = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _wide_scalars() -> Iterator[None]:
    """torch.optim.NAdam keeps a product in torch's default dtype, and float32 is good for 1e-7 alone."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _loss(params: Params) -> Tensor:
    return sum(torch.cos(2.0 * p).sum() + 0.3 * (p**2).sum() + torch.sin(p.sum()) for p in params.values())


class _Oracle:
    """The exact gradient where the other side stands.

    At their own places two right optimizers may part: where steps flip signs, rounding grows without bound.
    """

    def __init__(self, place: Params) -> None:
        self._place = place

    def grad(self, params: Params, **_: Any) -> Params:
        del params
        leaves = {name: p.detach().clone().requires_grad_() for name, p in self._place.items()}
        return dict(zip(leaves, torch.autograd.grad(_loss(leaves), list(leaves.values())), strict=True))


def _start(seed: int) -> Params:
    streams = streams_of(seed)
    return {"a": streams.normal("init", (3, 2)), "b": streams.at(part=1).normal("init", (4,))}


def _ours(rule: Rule, start: Params, hp: Mapping[str, float], theirs: list[Params]) -> list[Params]:
    given = {item.name: item.default for item in rule.hyperparameters if type(item.default) is float} | hp
    tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in given.items()}
    params, state, path = start, rule.init(start, streams_of(0)), []
    for t, place in enumerate([start, *theirs[:-1]]):
        params, state = rule.step(_Oracle(place), params, state, tensors, torch.tensor(t))
        path.append(params)
    return path


def _theirs(make: Callable[[list[Tensor]], Any], start: Params) -> list[Params]:
    leaves = {name: p.clone().requires_grad_() for name, p in start.items()}
    optimizer, path = make(list(leaves.values())), []
    for _ in range(STEPS):
        optimizer.zero_grad()
        _loss(leaves).backward()
        optimizer.step()
        path.append({name: p.detach().clone() for name, p in leaves.items()})
    return path


def _agree(rule: Rule, optimizer: Callable[..., Any], hp: dict[str, float], **fixed: Any) -> None:
    """Every step to 1e-10; ``fixed`` is what only the other side is told."""
    start, theirs = _start(int(hp.pop("seed"))), _in_their_words(hp) | fixed
    right = _theirs(lambda leaves: optimizer(leaves, **theirs), start)
    for step, (ours, expected) in enumerate(zip(_ours(rule, start, hp, right), right, strict=True)):
        for name in ours:
            error = torch.linalg.vector_norm(ours[name] - expected[name])
            assert error <= 1e-10 * torch.linalg.vector_norm(expected[name]), (step, name, float(error))


def _in_their_words(hp: Mapping[str, float]) -> dict[str, Any]:
    theirs: dict[str, Any] = {name: value for name, value in hp.items() if name not in ("beta1", "beta2")}
    return theirs | ({"betas": (hp["beta1"], hp["beta2"])} if "beta1" in hp else {})


lrs = st.floats(1e-5, 0.05)
decays = st.one_of(st.just(0.0), st.floats(0.0, 0.2))
betas = st.one_of(st.just(0.0), st.floats(0.0, 0.9999))
seeds = st.integers(0, 99)
few = settings(max_examples=10, deadline=None, derandomize=True)


@given(lr=lrs, weight_decay=decays, seed=seeds)
@few
def test_sgd(**hp: Any) -> None:
    _agree(SGD(), torch.optim.SGD, hp)


@given(lr=lrs, momentum=betas, dampening=st.floats(0.0, 1.0), weight_decay=decays, seed=seeds)
@few
def test_heavy_ball(**hp: Any) -> None:
    _agree(HeavyBall(), torch.optim.SGD, hp)


@given(lr=lrs, momentum=st.floats(0.01, 0.99), weight_decay=decays, seed=seeds)
@few
def test_nesterov(**hp: Any) -> None:
    _agree(Nesterov(), torch.optim.SGD, hp, nesterov=True)


@given(lr=lrs, eps=st.floats(1e-12, 1e-2), start=st.floats(0.0, 1.0), weight_decay=decays, seed=seeds)
@few
def test_adagrad(start: float, **hp: Any) -> None:
    hp["initial_accumulator"] = start
    given = {name: value for name, value in hp.items() if name not in ("initial_accumulator", "seed")}

    def theirs(leaves: list[Tensor], **_: Any) -> torch.optim.Optimizer:
        return torch.optim.Adagrad(leaves, initial_accumulator_value=start, **given)

    _agree(Adagrad(), theirs, hp)


@pytest.mark.parametrize("centered", [False, True])
@given(
    lr=lrs,
    # below, torch's difference of squares loses more digits than the test may
    beta2=st.floats(0.8, 0.9999),
    eps=st.floats(1e-12, 1e-2),
    momentum=betas,
    weight_decay=decays,
    seed=seeds,
)
@few
def test_rmsprop(centered: bool, beta2: float, **hp: Any) -> None:
    given = {name: value for name, value in hp.items() if name != "seed"}

    def theirs(leaves: list[Tensor], **_: Any) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(leaves, alpha=beta2, centered=centered, **given)

    _agree(RMSprop(centered=centered), theirs, hp | {"beta2": beta2})


@pytest.mark.parametrize(
    ("rule", "optimizer", "fixed"),
    [
        (Adam(), torch.optim.Adam, {}),
        (AdamW(), torch.optim.AdamW, {}),
        (AMSGrad(), torch.optim.Adam, {"amsgrad": True}),
        (AMSGrad(decoupled=True), torch.optim.AdamW, {"amsgrad": True}),
    ],
    ids=["adam", "adamw", "amsgrad", "amsgrad_decoupled"],
)
@given(lr=lrs, beta1=betas, beta2=betas, eps=st.floats(1e-12, 1e-2), weight_decay=decays, seed=seeds)
@few
def test_adam(rule: Rule, optimizer: Any, fixed: dict[str, Any], **hp: Any) -> None:
    _agree(rule, optimizer, hp, **fixed)


@pytest.mark.parametrize("decoupled", [False, True])
@given(
    lr=lrs,
    beta1=betas,
    beta2=betas,
    eps=st.floats(1e-12, 1e-2),
    momentum_decay=st.floats(0.0, 0.1),
    weight_decay=decays,
    seed=seeds,
)
@few
def test_nadam(decoupled: bool, **hp: Any) -> None:
    _agree(NAdam(decoupled=decoupled), torch.optim.NAdam, hp, decoupled_weight_decay=decoupled)


@given(lr=lrs, beta1=betas, beta2=betas, weight_decay=decays, seed=seeds)
@few
def test_lion(**hp: Any) -> None:
    _agree(Lion(), pytorch_optimizer.Lion, hp, weight_decouple=True)


@given(lr=lrs, weight_decay=decays, seed=seeds)
@few
def test_sign_sgd(**hp: Any) -> None:
    _agree(SignSGD(), pytorch_optimizer.SignSGD, hp, momentum=0.0, weight_decouple=True)


@given(lr=lrs, momentum=st.floats(0.0, 0.9999), weight_decay=decays, seed=seeds)
@few
def test_signum(**hp: Any) -> None:
    _agree(Signum(), pytorch_optimizer.SignSGD, hp, weight_decouple=True)


def test_every_registered_rule_is_known_by_its_name() -> None:
    assert {name: rule.name for name, rule in RULES.items()} == {name: name for name in RULES}
